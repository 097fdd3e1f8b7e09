//! The outbox: letters that no server took yet.

mod entries;
#[cfg(test)]
mod tests;

pub use entries::{Entry, Outbox, Record, Taken};

use crate::config;
use crate::error::{Exit, Failure};
use crate::home::deferred;
use crate::home::keyring::Keyring;
use crate::home::submit::{Submitter, Verdict};
use crate::mail::date::ahead;
use crate::net::waiting::Waiting;
use serde::Serialize;
use std::fmt;
use std::time::SystemTime;

/// One line of `outbox list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The entry's name.
    pub id: String,
    /// `waiting`, `refused` (by a server, for good) or `damaged`; on a server `deferred` or `held`.
    pub state: &'static str,
    /// The server that has taken it and could not deliver it yet; none: it is at home.
    pub server: Option<String>,
    /// When the letter came in, Unix time in seconds.
    pub created: Option<i64>,
    /// The envelope sender.
    pub sender: Option<String>,
    /// The envelope recipients.
    pub recipients: Vec<String>,
    /// Octets.
    pub size: Option<u64>,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried again, Unix time in seconds, where that is known.
    pub next_attempt: Option<i64>,
    /// What the last try ended with.
    pub said: Option<String>,
}

/// What is in the outbox, oldest first.
pub fn list(config: &config::Home) -> Result<Vec<Listed>, Failure> {
    let outbox = Outbox::at(&config.outbox);
    let ids = outbox.ids().map_err(|error| unreadable(config, &error))?;
    Ok(ids.into_iter().filter_map(|id| listed(&outbox, id)).collect())
}

/// What the servers have taken and could not deliver yet, a line for each recipient; and why a server did not say.
pub fn list_servers(config: &config::Home) -> Result<(Vec<Listed>, Vec<Failure>), Failure> {
    let (mut letters, mut failures) = (Vec::new(), Vec::new());
    for (server, told) in deferred::ask(config)? {
        match told {
            Ok(waiting) => letters.extend(waiting.into_iter().map(|waiting| deferred_at(&server, waiting))),
            Err(failure) => failures.push(failure),
        }
    }
    Ok((letters, failures))
}

/// What a flush made of one letter.
#[derive(Debug)]
pub struct Tried {
    /// The entry's name.
    pub id: String,
    /// What the server said that took it; or why it is still here.
    pub ended: Result<String, Failure>,
}

/// Submits what waits, oldest first; what came of each letter goes to `told`. With `only`, just the entries of these
/// names, and also those that a server refused before. Fails, when all were tried, with the gravest of what happened.
pub fn flush(config: &config::Home, only: &[String], told: &mut dyn FnMut(&Tried)) -> Result<(), Failure> {
    let outbox = Outbox::at(&config.outbox);
    outbox.sweep(SystemTime::now());
    let ids = outbox.ids().map_err(|error| unreadable(config, &error))?;
    if let Some(unknown) = only.iter().find(|id| !ids.contains(id)) {
        let text = format!("no letter {unknown} in the outbox {}", config.outbox.display());
        return Err(Failure::new(Exit::Usage, text));
    }
    let mut submitter = None;
    let mut worst: Option<Failure> = None;
    for id in ids {
        let named = only.contains(&id);
        if !(named || only.is_empty()) || id.ends_with(".damaged") {
            continue;
        }
        let ended = match outbox.take(&id) {
            Ok(Taken::Busy) => continue,
            Ok(Taken::Entry(entry)) if entry.record.refused && !named => continue,
            Ok(Taken::Entry(entry)) => {
                let submitter = match &mut submitter {
                    Some(submitter) => submitter,
                    empty => empty.insert(Submitter::new(config)?),
                };
                again(config, submitter, *entry)
            }
            Ok(Taken::Damaged(aside, why)) => {
                Err(Failure::new(Exit::DataErr, format!("set aside as {}: {why}", aside.display())))
            }
            Err(error) => Err(Failure::new(Exit::TempFail, error.to_string())),
        };
        let tried = Tried { id, ended };
        told(&tried);
        if let Err(failure) = &tried.ended {
            let failure = Failure::new(failure.exit, tried.to_string());
            // A letter that waits is less grave than one that needs its owner.
            if worst.as_ref().is_none_or(|worst| worst.exit == Exit::TempFail) {
                worst = Some(failure);
            }
        }
    }
    worst.map_or(Ok(()), Err)
}

/// One more try of a letter that waits.
fn again(config: &config::Home, submitter: &mut Submitter, mut entry: Entry) -> Result<String, Failure> {
    let key = Keyring::new(config).load(&entry.record.selector, &entry.record.domain)?;
    let verdict = entry.submit(submitter, &key, &mut std::io::sink());
    entry.record.tries += 1;
    match verdict {
        Verdict::Accepted(said) => {
            entry.remove()?;
            Ok(said)
        }
        Verdict::Refused(failure) => {
            entry.record.refused = true;
            entry.record.said = Some(failure.message.clone());
            entry.save()?;
            Err(failure)
        }
        Verdict::Waits { why, bound } => {
            entry.record.bound = bound.or(entry.record.bound);
            entry.record.said = Some(why.clone());
            entry.save()?;
            Err(Failure::new(Exit::TempFail, format!("still waiting: {why}")))
        }
        Verdict::Interrupted { bound } => {
            entry.record.bound = bound.or(entry.record.bound);
            entry.save()?;
            Err(Failure::new(Exit::TempFail, "interrupted; the letter waits on"))
        }
    }
}

fn listed(outbox: &Outbox, id: String) -> Option<Listed> {
    let blank = Listed {
        id: id.clone(),
        state: "damaged",
        server: None,
        created: None,
        sender: None,
        recipients: Vec::new(),
        size: None,
        tries: 0,
        next_attempt: None,
        said: None,
    };
    match outbox.look(&id) {
        Ok(None) => None,
        Err(error) => Some(Listed { said: Some(error.to_string()), ..blank }),
        Ok(Some(record)) => {
            let recipients = record.envelope.recipients.iter();
            let state = match record.refused {
                _ if id.ends_with(".damaged") => "damaged",
                true => "refused",
                false => "waiting",
            };
            Some(Listed {
                id,
                state,
                server: None,
                created: Some(record.created),
                sender: Some(record.envelope.sender.path.to_string()),
                recipients: recipients.map(|recipient| recipient.address.to_string()).collect(),
                size: Some(record.size),
                tries: record.tries,
                next_attempt: None,
                said: record.said,
            })
        }
    }
}

fn deferred_at(server: &str, waiting: Waiting) -> Listed {
    let left_alone = waiting.closed.as_ref();
    let said = waiting.reason.or_else(|| Some(format!("{} could not be reached", left_alone?.destination)));
    let next = left_alone.map_or(waiting.next_attempt, |closed| closed.until.max(waiting.next_attempt));
    Listed {
        id: waiting.id,
        state: if waiting.held { "held" } else { "deferred" },
        server: Some(server.to_owned()),
        created: Some(waiting.arrived),
        sender: Some(waiting.sender),
        recipients: vec![waiting.recipient],
        size: Some(waiting.size),
        tries: waiting.attempts,
        next_attempt: (!waiting.held && next > 0).then_some(next),
        said,
    }
}

/// One line.
impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ended {
            Ok(said) => write!(f, "{}: sent: {said}", self.id),
            Err(failure) => write!(f, "{}: {failure}", self.id),
        }
    }
}

/// One letter as a person reads it: two lines.
impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let created = self.created.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        let when = created.map_or_else(String::new, |created| {
            created.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
        });
        let size = self.size.map_or_else(String::new, |size| format!("{size} octets, "));
        let sender = self.sender.as_deref().unwrap_or("?");
        write!(f, "{}  {when}  {size}{sender} to {}", self.id, self.recipients.join(", "))?;
        write!(f, "\n    {}", self.state)?;
        if let Some(server) = &self.server {
            write!(f, " at {server}")?;
        }
        if let Some(next) = self.next_attempt {
            write!(f, ", next try {}", ahead(next - jiff::Timestamp::now().as_second()))?;
        }
        match &self.said {
            Some(said) => {
                let tries = if self.tries == 1 { "try" } else { "tries" };
                write!(f, " ({} {tries}): {said}", self.tries)
            }
            None => Ok(()),
        }
    }
}

fn unreadable(config: &config::Home, error: &std::io::Error) -> Failure {
    Failure::new(Exit::TempFail, format!("cannot read the outbox {}: {error}", config.outbox.display()))
}
