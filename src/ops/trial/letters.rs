//! Letters of the trial: written, carried to a door, looked for where they should arrive.

use super::town::{FRIEND, ME, Places};
use crate::error::{Exit, Failure};
use crate::mail::address::Address;
use crate::mail::envelope::{Envelope, Recipient, ReversePath, Sender};
use crate::net::session::Session;
use crate::smtp::client::{Fate, Outcome, Request};
use crate::trust::keys::PrivateKey;
use crate::trust::seal::{Seal, nonce, seal};
use crate::trust::sign::sign;
use serde::Serialize;
use std::io::Cursor;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;

/// How long a letter may take from one end of the town to the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// A letter, as its author wrote it.
pub struct Letter {
    from: &'static str,
    to: &'static str,
    id: String,
    text: String,
}

impl Letter {
    /// A short one.
    pub fn new(from: &'static str, to: &'static str, subject: &str) -> Letter {
        let now = jiff::Zoned::now();
        let date = jiff::fmt::rfc2822::to_string(&now).unwrap_or_default();
        let id = format!("<{}.{}@try.example>", now.timestamp().as_nanosecond(), subject.replace(' ', "-"));
        let text = format!(
            "Date: {date}\r\nFrom: {from}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: {id}\r\n\r\n\
             A letter of `pillarbox try`.\r\n"
        );
        Letter { from, to, id, text }
    }
}

/// What came of a letter that went the whole way.
#[derive(Clone, Debug, Serialize)]
pub struct Way {
    /// `in` or `out`.
    pub way: &'static str,
    /// Whether it arrived.
    pub ok: bool,
    /// Where it lies now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Why it did not arrive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// One letter in (a stranger brings it, `pull` takes it home) and one out (`sendmail` at home, our server, the
/// stranger's server).
pub async fn run(places: &Places) -> Result<Vec<Way>, Failure> {
    let inward = Letter::new(FRIEND, ME, "one letter in");
    let brought = bring(places.mx, &inward).await?;
    let pulled = match brought {
        Fate::Accepted(_) => places.run("home.toml", &["pull"], b"").await.map_err(|failure| failure.message),
        Fate::Refused(reply) => Err(reply.to_string()),
        Fate::Deferred(why) => Err(why),
    };
    let inward = arrived("in", pulled, &places.at("home/mail/here.example/me/new"), &inward).await;

    let outward = Letter::new(ME, FRIEND, "one letter out");
    let sent = places.run("home.toml", &["sendmail", "-t"], outward.text.as_bytes()).await;
    let sent = sent.map_err(|failure| failure.message);
    let outward = arrived("out", sent, &places.at("stranger/mail/there.example/friend/new"), &outward).await;
    Ok(vec![inward, outward])
}

/// Carries a letter to strangers' door, as any mail server would.
pub async fn bring(door: SocketAddr, letter: &Letter) -> Result<Fate, Failure> {
    carry(door, letter, letter.text.clone().into_bytes(), None).await
}

/// Carries a letter to the owner's door, signed and sealed with the key that its author has.
pub async fn submit(places: &Places, letter: &Letter) -> Result<Fate, Failure> {
    let home = if letter.from == ME { "home/mail" } else { "friend" };
    let sender = parse(letter.from)?;
    let Some(domain) = sender.domain() else { return Err(unwell(format!("{sender} has no domain"))) };
    let file = places.at(home).join(format!("{sender}-dkim.pem"));
    let key = PrivateKey::load(&file, sender.local(), domain).map_err(unwell)?;
    let mut signed = sign(letter.text.as_bytes(), &[&key]).map_err(unwell)?;
    signed.extend_from_slice(letter.text.as_bytes());
    carry(places.submission, letter, signed, Some(&key)).await
}

async fn carry(
    door: SocketAddr,
    letter: &Letter,
    message: Vec<u8>,
    key: Option<&PrivateKey>,
) -> Result<Fate, Failure> {
    let (sender, recipient) = (parse(letter.from)?, parse(letter.to)?);
    let stream = TcpStream::connect(door).await.map_err(|error| unwell(format!("{door}: {error}")))?;
    let request = Request {
        envelope: Envelope {
            sender: Sender::new(ReversePath::Address(sender.clone())),
            recipients: vec![Recipient::new(recipient.clone())],
        },
        // The seal comes on top, once the greeting has told for whom; SIZE is an estimate (RFC 1870 section 5).
        size: message.len() as u64,
        eight_bit: false,
        all_or_none: true,
    };
    let open = |server: &str| {
        let Some(key) = key else { return Ok(Cursor::new(message)) };
        let said = Seal {
            time: unix_time(),
            nonce: nonce().map_err(std::io::Error::other)?,
            server: server.to_owned(),
            sender,
            recipients: vec![recipient],
        };
        let mut sealed = seal(&message, &said, key).map_err(std::io::Error::other)?;
        sealed.extend_from_slice(&message);
        Ok(Cursor::new(sealed))
    };
    let mut session = match Session::open_clear(stream, "[127.0.0.1]", Duration::MAX).await {
        Ok(session) => session,
        Err(trouble) => return Ok(trouble.fate()),
    };
    let Outcome { fates, .. } = session.send_made(request, open).await;
    session.quit().await;
    fates.into_iter().next().ok_or_else(|| unwell("the transaction had no outcome"))
}

async fn arrived(way: &'static str, sent: Result<String, String>, directory: &Path, letter: &Letter) -> Way {
    if let Err(why) = sent {
        return Way { way, ok: false, path: None, why: Some(why) };
    }
    let path = wait_for(directory, letter).await;
    let why = path.is_none().then(|| format!("it is not in {}", directory.display()));
    Way { way, ok: path.is_some(), path, why }
}

/// Waits until the letter lies in a Maildir's directory.
pub async fn wait_for(directory: &Path, letter: &Letter) -> Option<PathBuf> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = find(directory, letter);
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn find(directory: &Path, letter: &Letter) -> Option<PathBuf> {
    let paths = std::fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path());
    let holds = |path: &PathBuf| {
        std::fs::read(path)
            .is_ok_and(|text| text.windows(letter.id.len()).any(|part| part == letter.id.as_bytes()))
    };
    paths.into_iter().find(holds)
}

fn parse(address: &str) -> Result<Address, Failure> {
    Address::parse(address).map_err(unwell)
}

fn unix_time() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

fn unwell(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Software, error.to_string())
}
