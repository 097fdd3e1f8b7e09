//! `queue show`: all that is known of one letter.

use super::table::{local, next_try};
use super::{closures, faulty};
use crate::config::Server;
use crate::error::{Exit, Failure};
use crate::mail::date::span;
use crate::mail::header::split_lenient;
use crate::net::waiting::{Closed, words};
use crate::ops::{become_owner, print, print_json};
use crate::queue::{Entry, EntryId, Look, Looked, Queue, RecipientState, State};
use crate::relay::waiting::Closures;
use crate::smtp::Door;
use indicatif::BinaryBytes;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};

/// The longest header that is looked at.
const HEADER: u64 = 256 << 10;
/// The fields by which a letter is known.
const FIELDS: [&str; 5] = ["Subject", "From", "To", "Date", "Message-ID"];

/// `queue show ID`.
pub fn show(config: &Server, id: &str, json: bool) -> Result<(), Failure> {
    let (look, entry) = find(config, id)?;
    let now = jiff::Timestamp::now().as_second();
    let letter = Letter::of(&entry, fields(&look, &entry)?, &closures(config, now).unwrap_or_default());
    if json { print_json(&letter) } else { print(&letter.text(now)) }
}

/// `queue show ID --message`: the letter itself. On a terminal without the characters that could take it over.
pub fn message(config: &Server, id: &str) -> Result<(), Failure> {
    let (look, entry) = find(config, id)?;
    let mut message = look.open_message(entry.id).map_err(faulty)?;
    let mut out = io::stdout().lock();
    let copied = match out.is_terminal() {
        true => copy_harmless(&mut message, &mut out),
        false => io::copy(&mut message, &mut out).and_then(|_| out.flush()),
    };
    match copied {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::IoErr, format!("the letter {id}: {error}")))
        }
        _ => Ok(()),
    }
}

fn find(config: &Server, id: &str) -> Result<(Look, Box<Entry>), Failure> {
    let Some(id) = EntryId::parse(id) else {
        let text =
            format!("{id:?} is no queue id (20 hexadecimal digits); `pillarbox queue list` shows them");
        return Err(Failure::new(Exit::Usage, text));
    };
    become_owner(config)?;
    let look = Queue::look(&config.state_dir);
    match look.load(id).map_err(faulty)? {
        Some(Looked::Entry(entry)) => Ok((look, entry)),
        None => {
            let text = format!(
                "no letter {id} in the queue (any more); what became of it: pillarbox explain --log {id}"
            );
            Err(Failure::new(Exit::Unavailable, text))
        }
        Some(Looked::Damaged(why)) => {
            let text = format!("{id} is damaged: {}; the server sets it aside in corrupt/", words(&why));
            Err(Failure::new(Exit::DataErr, text))
        }
    }
}

/// A letter as `--json` prints it. Times are Unix seconds.
#[derive(Serialize)]
struct Letter {
    id: String,
    door: &'static str,
    arrived: i64,
    size: u64,
    sender: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    envid: Option<String>,
    smtputf8: bool,
    eight_bit: bool,
    junk: bool,
    header: Vec<Field>,
    recipients: Vec<Person>,
}

#[derive(Serialize)]
struct Field {
    name: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Person {
    recipient: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    orcpt: Option<String>,
    /// `pending`, `delivered` or `failed`.
    state: &'static str,
    attempts: u32,
    /// While he is pending.
    next_attempt: Option<i64>,
    held: bool,
    /// Whether the sender was told of the delay.
    warned: bool,
    /// Why he was not reached.
    reason: Option<String>,
    /// Where to, and the reply.
    to: Option<String>,
    /// What protected the connection, and who was found there.
    tls: Option<String>,
    closed: Option<Closed>,
}

impl Letter {
    fn of(entry: &Entry, header: Vec<Field>, closures: &Closures) -> Letter {
        let sender = &entry.envelope.sender;
        Letter {
            id: entry.id.to_string(),
            door: if entry.door == Door::Mx { "mx" } else { "submission" },
            arrived: entry.arrived,
            size: entry.size,
            sender: words(&sender.path.to_string()),
            envid: sender.envid.as_deref().map(words),
            smtputf8: sender.smtputf8,
            eight_bit: entry.eight_bit,
            junk: entry.junk,
            header,
            recipients: entry.recipients.iter().map(|state| Person::of(state, closures)).collect(),
        }
    }

    fn text(&self, now: i64) -> String {
        let mut text = String::new();
        let Letter { id, door, arrived, size, sender, .. } = self;
        let (when, age) = (local(*arrived), span(now - arrived));
        let sender = if sender.is_empty() { "<>" } else { sender };
        // Writing to a String never fails.
        let _ = writeln!(text, "{id}\n  came        {when} ({age} ago), by the {door} door");
        let _ = writeln!(text, "  size        {}", BinaryBytes(*size));
        let _ = writeln!(text, "  from        {sender}");
        if let Some(envid) = &self.envid {
            let _ = writeln!(text, "  ENVID       {envid}");
        }
        for Field { name, text: value } in &self.header {
            let _ = writeln!(text, "  {:<11} {value}", format!("{name}:"));
        }
        for person in &self.recipients {
            person.write(&mut text, now);
        }
        text
    }
}

impl Person {
    fn of(state: &RecipientState, closures: &Closures) -> Person {
        let (is, reason, to, tls) = match &state.state {
            State::Pending { reason } => ("pending", reason.clone(), None, None),
            State::Delivered { to, tls } => ("delivered", None, Some(to.clone()), tls.clone()),
            State::Failed { reason } => ("failed", Some(reason.clone()), None, None),
        };
        let fit = |text: Option<String>| text.as_deref().map(words);
        let pending = state.is_pending();
        Person {
            recipient: words(&state.recipient.address.to_string()),
            orcpt: fit(state.recipient.orcpt.clone()),
            state: is,
            attempts: state.attempts,
            next_attempt: pending.then_some(state.next_attempt),
            held: state.held,
            warned: state.warned,
            reason: fit(reason),
            to: fit(to),
            tls: fit(tls),
            closed: closures.of(state).filter(|_| pending),
        }
    }

    fn write(&self, text: &mut String, now: i64) {
        let Person { recipient, attempts, .. } = self;
        let tries = if *attempts == 1 { "try" } else { "tries" };
        let _ = write!(text, "\n  {recipient}\n    {}", self.state);
        if let Some(next) = self.next_attempt {
            let closed = self.closed.as_ref().map(|closed| (&*closed.destination, closed.until));
            let _ = write!(text, ", {}", next_try(self.held, next, closed, now));
            if closed.is_none() && !self.held && next > now {
                let _ = write!(text, " ({})", local(next));
            }
        }
        let _ =
            writeln!(text, ", {attempts} {tries}{}", if self.warned { ", the sender was told" } else { "" });
        let closed = self.closed.as_ref().and_then(|closed| closed.reason.as_ref());
        for (name, value) in
            [("said", &self.reason), ("to", &self.to), ("over", &self.tls), ("wanted as", &self.orcpt)]
        {
            if let Some(value) = value {
                let _ = writeln!(text, "    {name}: {value}");
            }
        }
        if let Some(why) = closed {
            let _ = writeln!(text, "    left alone: {why}");
        }
    }
}

fn fields(look: &Look, entry: &Entry) -> Result<Vec<Field>, Failure> {
    let mut head = Vec::new();
    let read = look.open_message(entry.id).map_err(faulty)?.take(HEADER).read_to_end(&mut head);
    read.map_err(|error| Failure::new(Exit::TempFail, format!("{}: reading its header: {error}", entry.id)))?;
    let header = split_lenient(&head);
    let found = |name: &'static str| {
        let field = header.first(name)?;
        // An address is shown as it stands: decoded, a name could pass for one.
        let text = if name == "Subject" { field.decoded() } else { field.text() };
        Some(Field { name, text: words(&text) })
    };
    Ok(FIELDS.into_iter().filter_map(found).collect())
}

/// A letter is text of others: what a terminal would obey becomes `?`.
fn copy_harmless(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut from = io::BufReader::new(from);
    let mut line = Vec::new();
    while io::BufRead::read_until(&mut (&mut from).take(64 << 10), b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        let ended = text.ends_with('\n');
        for (number, part) in text.trim_end_matches(['\r', '\n']).split('\t').enumerate() {
            to.write_all(if number > 0 { b"\t" } else { b"" })?;
            to.write_all(crate::smtp::reply::printable(part, usize::MAX).as_bytes())?;
        }
        to.write_all(if ended { b"\n" } else { b"" })?;
        line.clear();
    }
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::copy_harmless;

    #[test]
    fn a_letter_cannot_take_the_terminal_over() {
        let mut shown = Vec::new();
        copy_harmless(&mut &b"a\tb\r\n\x1b[2Jc\xff\r\n\r\nend"[..], &mut shown).unwrap();
        assert_eq!(String::from_utf8(shown).unwrap(), "a\tb\n?[2Jc\u{fffd}\n\nend");
    }
}
