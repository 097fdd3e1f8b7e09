//! `explain`: what would become of a letter, and why; and what became of one.

mod journal;
mod line;
pub mod log;
mod story;
mod told;

use super::{print, print_json};
use crate::config::Server;
use crate::error::{Exit, Failure};
use crate::mail::address::Address;
use crate::mail::envelope::ReversePath;
use crate::policy::inbound::Evidence;
use crate::policy::results::dkim_result;
use crate::server::explain::{Explanation, Question, explain};
use crate::server::filter::Filter;
use crate::smtp::Door;
use crate::smtp::reply::printable;
use crate::system::user;
use serde_json::{Value, json};
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Characters of a step that are shown.
const STEP: usize = 4000;

/// What was asked on the command line.
#[derive(Debug)]
pub struct Asked {
    /// MAIL FROM; `<>` or nothing for a bounce.
    pub from: String,
    /// RCPT TO.
    pub to: String,
    /// Which door.
    pub door: Door,
    /// The client's address.
    pub ip: IpAddr,
    /// What it says in EHLO.
    pub helo: String,
    /// The letter, `-` for standard input.
    pub message: Option<PathBuf>,
}

/// Answers.
pub fn run(config: Server, asked: Asked, as_json: bool) -> Result<(), Failure> {
    // Read by whoever asks; what the server sees of its tree is seen as the server's user.
    let message = asked.message.as_deref().map(read_letter).transpose()?;
    let filter = start_filter(&config, &asked)?;
    if config.state_dir.exists() {
        user::become_owner(config.user.as_deref(), &config.state_dir)?;
    }
    let question = Question {
        door: asked.door,
        ip: asked.ip,
        helo: asked.helo,
        sender: sender(&asked.from)?,
        recipient: address(&asked.to)?,
        message,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::OsErr, format!("starting threads: {error}")))?;
    let explanation = runtime.block_on(explain(config, question, filter))?;
    match as_json {
        true => print_json(&to_json(&explanation)),
        false => print(&to_text(&explanation)),
    }
}

/// The filter is the server's: where it cannot be started as the server would, nothing is said in its place.
fn start_filter(config: &Server, asked: &Asked) -> Result<Option<Filter>, Failure> {
    match asked.message.is_some() && asked.door == Door::Mx && config.state_dir.exists() {
        true => Filter::start(config),
        false => Ok(None),
    }
}

fn sender(text: &str) -> Result<ReversePath, Failure> {
    match bare(text) {
        "" => Ok(ReversePath::Null),
        text => Ok(ReversePath::Address(address(text)?)),
    }
}

fn address(text: &str) -> Result<Address, Failure> {
    Address::parse(bare(text)).map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

/// Without the brackets that a path has in SMTP.
fn bare(text: &str) -> &str {
    text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text)
}

/// The letter as a client would send it: a file of a Maildir has LF alone.
fn read_letter(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::NoInput, format!("{}: {error}", path.display()));
    let octets = match path.as_os_str() == "-" {
        true => {
            let mut octets = Vec::new();
            std::io::stdin().lock().read_to_end(&mut octets).map_err(failed)?;
            octets
        }
        false => std::fs::read(path).map_err(failed)?,
    };
    if octets.windows(2).any(|pair| pair == b"\r\n") {
        return Ok(octets);
    }
    let mut letter = Vec::with_capacity(octets.len() + octets.len() / 32);
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) => letter.extend_from_slice(&[text, b"\r\n"].concat()),
            None => letter.extend_from_slice(line),
        }
    }
    Ok(letter)
}

fn to_text(explanation: &Explanation) -> String {
    let mut text = String::new();
    for step in &explanation.steps {
        // Strangers said some of it: it must not steer the terminal.
        text.push_str(&format!("{}\n", printable(step, STEP)));
    }
    text.push_str(&format!("\n{}: {}\n", explanation.decision, explanation.reply));
    text
}

fn to_json(explanation: &Explanation) -> Value {
    let evidence = explanation.evidence.as_ref();
    json!({
        "decision": explanation.decision,
        "reply": explanation.reply,
        "steps": explanation.steps,
        "spf": evidence.map(|evidence| evidence.spf.result.word()),
        "dkim": evidence.map(dkim).unwrap_or_default(),
        "dmarc": evidence.and_then(Evidence::dmarc).map(|one| one.result.word()),
        "evidence": evidence.map(in_full),
    })
}

fn dkim(evidence: &Evidence) -> Vec<Value> {
    let each = evidence.signatures.iter().map(|one| {
        let (result, reason) = dkim_result(&one.verdict);
        json!({ "domain": one.domain.as_str(), "selector": one.selector, "result": result, "reason": reason })
    });
    each.collect()
}

fn in_full(evidence: &Evidence) -> Value {
    let dmarc = evidence.dmarc.iter().map(|one| {
        json!({
            "author": one.author.as_str(),
            "result": one.result.word(),
            "policy": one.policy.to_string(),
            "record_at": one.record_at,
            "why": one.why,
        })
    });
    let lists = evidence.peer.listings.iter().map(ToString::to_string);
    json!({
        "spf": { "result": evidence.spf.result.word(), "domain": evidence.spf.domain, "why": evidence.spf.why },
        "dmarc": dmarc.collect::<Vec<_>>(),
        "client": {
            "ip": evidence.peer.ip.to_string(),
            "name": evidence.peer.name.confirmed().map(ToString::to_string),
            "helo": evidence.peer.helo,
            "helo_oddity": evidence.peer.helo_oddity.map(|oddity| oddity.to_string()),
            "lists": lists.collect::<Vec<_>>(),
        },
    })
}
