//! One letter to one of the owner's servers: connect, seal for that server, transact.
//!
//! The servers are tried in their order. Only a server that was not sent the final dot is followed by the next one: after
//! the dot the letter may be there, and only the same server recognizes its nonce.

use crate::config::{self, Via};
use crate::error::{Exit, Failure};
use crate::home::outbox::Record;
use crate::mail::address::Address;
use crate::mail::envelope::Envelope;
use crate::net::session::Session;
use crate::net::transport::{Assurance, Stderr, Stream, TransportError, reach};
use crate::policy::tls::Tlsa;
use crate::smtp::client::{Fate, Outcome, Request};
use crate::smtp::reply::{Reply, printable};
use crate::trust::keys::PrivateKey;
use crate::trust::seal::{Seal, seal};
use std::cell::Cell;
use std::io::{self, Cursor, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt, Chain, ReadBuf};

/// What we call ourselves: a valid EHLO that says nothing of the home machine.
const HELO: &str = "[127.0.0.1]";
/// Room for the seal and its signature in `SIZE=`, in octets, besides the addresses.
const SEAL_ROOM: u64 = 1500;

/// How long a connection may stay without a greeting: behind TCP, and behind a command that may ask for a passphrase.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(120));
/// How long a command may take to end when the transaction is over.
const FAREWELL: Duration = Duration::from_millis(500);

/// What came of one try.
#[derive(Debug)]
pub enum Verdict {
    /// A server has it, and said this.
    Accepted(String),
    /// A server refused it for good; nobody got it.
    Refused(Failure),
    /// It can be tried again.
    Waits {
        /// Why, in one line.
        why: String,
        /// The server that was sent the final dot: no other one may be asked from now on.
        bound: Option<String>,
    },
    /// The user pressed Ctrl-C.
    Interrupted {
        /// As in `Waits`.
        bound: Option<String>,
    },
}

/// Submits letters; keeps in mind which servers could not be reached.
pub struct Submitter {
    via: Via,
    /// How the server shows that it is the owner's, where the way leads through the world.
    assurance: Option<Assurance>,
    servers: Vec<String>,
    patience: Duration,
    unreachable: Vec<(String, String)>,
    runtime: tokio::runtime::Runtime,
}

impl Submitter {
    /// Fails with 78 when the configuration names no way to a server.
    pub fn new(config: &config::Home) -> Result<Submitter, Failure> {
        let via = config.submit_via.clone();
        let needs_server = match &via {
            Via::Url(url) => url.contains("{server}"),
            Via::Command(words) => words.iter().any(|word| word.contains("{server}")),
        };
        let servers = match &via {
            _ if needs_server => config.server.clone(),
            Via::Url(url) => vec![url.clone()],
            Via::Command(words) => vec![words.join(" ")],
        };
        let assurance = assurance(config)?;
        if servers.is_empty() {
            return Err(Failure::new(Exit::Config, config::NO_SERVER));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Failure::new(Exit::OsErr, format!("no event loop: {error}")))?;
        let patience = if matches!(via, Via::Url(_)) { PATIENCE.0 } else { PATIENCE.1 };
        Ok(Submitter { via, assurance, servers, patience, unreachable: Vec::new(), runtime })
    }

    /// Tries the servers. Where there is a choice, the one that gets the letter is bound to it first: after a crash
    /// behind the final dot only that one may be asked. What happens is told to `told`, a line each.
    pub fn submit(&mut self, letter: &Letter, told: &mut dyn Write) -> Verdict {
        let record = letter.record;
        let servers = match &record.bound {
            Some(bound) if !self.servers.contains(bound) => {
                let why = format!("{bound} may have the letter, but is no longer a server of home.toml");
                return Verdict::Waits { why, bound: None };
            }
            Some(bound) => vec![bound.clone()],
            None => self.servers.clone(),
        };
        let is_choice = servers.len() > 1;
        let mut whys = Vec::new();
        for server in servers {
            if let Some((_, why)) = self.unreachable.iter().find(|(name, _)| *name == server) {
                whys.push(format!("{server}: {why}"));
                continue;
            }
            let _ = writeln!(told, "sendmail: trying {server}");
            let bind = is_choice.then_some(server.as_str());
            let attempt =
                Attempt { letter, record, bind, greeted: Cell::new(false), dot_sent: Cell::new(false) };
            let outcome = self.runtime.block_on(async {
                // Ctrl-C goes to the command as well: what ended it must be asked first.
                tokio::select! {
                    biased;
                    _ = tokio::signal::ctrl_c() => None,
                    outcome = attempt.run(self.way_to(&server), self.patience) => Some(outcome),
                }
            });
            let Some(outcome) = outcome else {
                return Verdict::Interrupted { bound: attempt.dot_sent.get().then_some(server) };
            };
            match judge(&outcome, &server, &record.envelope) {
                Verdict::Waits { why, bound: None } => {
                    let _ = writeln!(told, "sendmail: {why}");
                    if !attempt.greeted.get() {
                        self.unreachable.push((server, why.clone()));
                    }
                    whys.push(why);
                }
                verdict => return verdict,
            }
        }
        Verdict::Waits { why: whys.join("; "), bound: None }
    }
}

impl Submitter {
    async fn way_to(&self, server: &str) -> Result<Stream, TransportError> {
        match (&self.via, &self.assurance) {
            (Via::Url(url), Some(assurance)) => assurance.reach(url, server).await,
            (via, _) => reach(via, server, Stderr::Capture).await,
        }
    }
}

/// What the way needs, if it is under TLS; 78 where it is none that we can go.
fn assurance(config: &config::Home) -> Result<Option<Assurance>, Failure> {
    let wrong = |text: String| Failure::new(Exit::Config, format!("home.toml: {text}"));
    match &config.submit_via {
        Via::Url(url) if url.starts_with("smtps://") => {}
        Via::Url(url) if !url.starts_with("smtp://") => {
            let want = "want smtps://host:port, smtp://host:port, or a command as a list";
            return Err(wrong(format!("submit_via = {url:?}: {want}")));
        }
        // Not to be taken for a protection where there is none.
        _ if !config.submit_tlsa.is_empty() => {
            return Err(wrong("submit_tlsa: submit_via is not smtps://host:port".into()));
        }
        Via::Url(_) | Via::Command(_) => return Ok(None),
    }
    let mut pins = Vec::new();
    for text in &config.submit_tlsa {
        let want = "want \"3 1 1 DIGEST\", as `pillarbox cert status` on the server shows it";
        let pin = text.parse::<Tlsa>();
        pins.push(pin.map_err(|why| wrong(format!("submit_tlsa = {text:?}: {why}; {want}")))?);
    }
    Assurance::new(pins).map(Some).map_err(|why| Failure::new(Exit::OsErr, why))
}

/// What is to be submitted.
pub struct Letter<'a> {
    /// Its envelope and nonce.
    pub record: &'a Record,
    /// The signed bytes.
    pub bytes: &'a [u8],
    /// What seals it.
    pub key: &'a PrivateKey,
    /// Writes down, durably, that a server is about to get it.
    pub bind: &'a dyn Fn(&str) -> io::Result<()>,
}

/// One letter and one server.
struct Attempt<'a> {
    letter: &'a Letter<'a>,
    record: &'a Record,
    /// The server's name, where it is to be bound.
    bind: Option<&'a str>,
    greeted: Cell<bool>,
    dot_sent: Cell<bool>,
}

impl Attempt<'_> {
    async fn run(
        &self,
        way: impl Future<Output = Result<Stream, TransportError>>,
        patience: Duration,
    ) -> Outcome {
        let mut stream = match way.await {
            Ok(stream) => stream,
            Err(error) => return self.deferred(&error.to_string()),
        };
        let addresses: u64 = self.addresses().map(|address| address.to_string().len() as u64 * 3 / 2).sum();
        let request = Request {
            envelope: self.record.envelope.clone(),
            size: self.letter.bytes.len() as u64 + SEAL_ROOM + addresses,
            eight_bit: !self.letter.bytes.is_ascii(),
            all_or_none: true,
        };
        let outcome = tokio::select! {
            outcome = self.transact(&mut stream, request) => outcome,
            () = self.ungreeted(patience) => self.deferred(&format!("it did not greet in {patience:?}")),
        };
        match stream.finish(FAREWELL).await {
            // The command's last words are why there was no greeting.
            Err(words) if !self.greeted.get() && !is_refused(&outcome) => self.deferred(&words),
            _ => outcome,
        }
    }

    async fn transact(&self, stream: &mut Stream, request: Request) -> Outcome {
        match Session::open_clear(stream, HELO, Duration::MAX).await {
            Ok(mut session) => {
                let outcome = session.send_made(request, |server_name| self.message(server_name)).await;
                session.quit().await;
                outcome
            }
            Err(trouble) => Outcome::for_all(request.envelope.recipients.len(), trouble.fate()),
        }
    }

    /// Ends when the server has not greeted in time; a user waits for us.
    async fn ungreeted(&self, patience: Duration) {
        tokio::time::sleep(patience).await;
        if self.greeted.get() {
            std::future::pending::<()>().await;
        }
    }

    fn deferred(&self, why: &str) -> Outcome {
        Outcome::for_all(self.record.envelope.recipients.len(), Fate::Deferred(why.to_owned()))
    }

    /// The letter under a fresh seal for the server that greeted us.
    fn message<'s>(&'s self, server_name: &str) -> io::Result<Sealed<'s>> {
        self.greeted.set(true);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = &self.record.envelope.sender.path;
        let sender = path.address().ok_or_else(|| io::Error::other("the letter has no sender"))?;
        let said = Seal {
            time: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
            nonce: self.record.nonce.clone(),
            server: server_name.to_owned(),
            sender: sender.clone(),
            recipients: self.record.envelope.recipients.iter().map(|r| r.address.clone()).collect(),
        };
        let Letter { bytes, key, .. } = *self.letter;
        let sealed = seal(bytes, &said, key).map_err(io::Error::other)?;
        self.bind.map_or(Ok(()), self.letter.bind)?;
        Ok(Watched { inner: Cursor::new(sealed).chain(bytes), ended: &self.dot_sent })
    }

    fn addresses(&self) -> impl Iterator<Item = &Address> {
        let envelope = &self.record.envelope;
        envelope.recipients.iter().map(|recipient| &recipient.address).chain(envelope.sender.path.address())
    }
}

type Sealed<'a> = Watched<'a, Chain<Cursor<Vec<u8>>, &'a [u8]>>;

/// Remembers that a reader was read to its end: behind it comes the final dot.
struct Watched<'a, R> {
    inner: R,
    ended: &'a Cell<bool>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<'_, R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context, into: &mut ReadBuf) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(cx, into);
        if matches!(polled, Poll::Ready(Ok(()))) && into.filled().len() == before {
            this.ended.set(true);
        }
        polled
    }
}

fn is_refused(outcome: &Outcome) -> bool {
    outcome.fates.iter().any(|fate| matches!(fate, Fate::Refused(_)))
}

/// What the recipients' fates mean for the letter, which goes to all of them or to none.
fn judge(outcome: &Outcome, server: &str, envelope: &Envelope) -> Verdict {
    let fates = || envelope.recipients.iter().zip(&outcome.fates);
    for (recipient, fate) in fates() {
        if let Fate::Refused(reply) = fate {
            let text =
                format!("{server} refused <{}>: {}; nobody got the letter", recipient.address, shown(reply));
            return Verdict::Refused(Failure::new(exit_of(reply), text));
        }
    }
    let waits = |why: &str| {
        let bound = outcome.dot_sent.then(|| server.to_owned());
        Verdict::Waits { why: format!("{server}: {why}"), bound }
    };
    for (_, fate) in fates() {
        if let Fate::Deferred(why) = fate {
            return waits(why);
        }
    }
    match outcome.fates.first() {
        Some(Fate::Accepted(reply)) if outcome.fates.len() == envelope.recipients.len() => {
            Verdict::Accepted(format!("{server}: {}", shown(reply)))
        }
        _ => waits("the transaction had no outcome"),
    }
}

/// The exit status that tells a mailer why a server refused for good (RFC 3463 gives the enhanced codes).
fn exit_of(reply: &Reply) -> Exit {
    match (reply.enhanced, reply.code) {
        (Some((_, 1, 1 | 3 | 6)), _) => Exit::NoUser,
        (Some((_, 1, 2 | 10)), _) => Exit::NoHost,
        (Some((_, 7, _)), _) | (None, 530 | 534 | 535 | 538) => Exit::NoPerm,
        _ => Exit::Unavailable,
    }
}

/// The server's words on one line, fit for a terminal.
fn shown(reply: &Reply) -> String {
    printable(&reply.to_string(), 500)
}

#[cfg(test)]
mod tests;
