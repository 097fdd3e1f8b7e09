//! `gate queue`: the owner sees which of his letters the server could not deliver yet, and why; nobody else's.

use super::Allowed;
use crate::config;
use crate::error::{Exit, Failure};
use crate::mail::address::Address;
use crate::net::preface::Preface;
use crate::net::waiting::{Line, VERSION};
use crate::queue::{Entry, EntryId, Queue, RecipientState};
use crate::relay::waiting::{Audience, Closures, tell};
use crate::server::allowed::Allowed as Senders;
use crate::server::control::ask;
use crate::smtp::Door;
use crate::store::StoreError;
use crate::store::tree::Store;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes the lines of `net::waiting` to stdout: they are for home, and readable where somebody typed the command.
pub(super) fn run(allowed: &Allowed, config: &config::Server) -> Result<(), Failure> {
    let later = |error: &dyn std::fmt::Display| Failure::new(Exit::TempFail, format!("gate queue: {error}"));
    let preface = Preface { allow: allowed.to_strings() };
    let senders = Senders::from_preface(&preface).map_err(|error| Failure::new(Exit::Config, error))?;
    let store = Store::open(&config.mail_root, &config.state_dir, &config.inbound.topic_separators)
        .map_err(|error| later(&error))?;
    // Without them only the hint is missing that a destination is left alone.
    let destinations = ask::destinations(&config.state_dir).ok().flatten().unwrap_or_default();
    let mut closures = Closures::at(now(), destinations);
    if !senders.is_everything() {
        closures = closures.discreet();
    }
    let out = BufWriter::new(io::stdout().lock());
    let mut owner = Owner { senders, store, last: None, out, failed: None };
    owner.hear(Line::Queue { version: VERSION, server: config.hostname.clone() });
    tell(&Queue::look(&config.state_dir), &closures, &mut owner).map_err(|error| later(&error))?;
    let flushed = owner.out.flush();
    match owner.failed.map_or(flushed, Err) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(later(&error)),
        _ => Ok(()),
    }
}

/// The owner behind an ssh key.
struct Owner<W> {
    senders: Senders,
    store: Store,
    /// The last sender that was looked up: a letter's recipients all have the same one.
    last: Option<(Address, bool)>,
    out: W,
    failed: Option<io::Error>,
}

impl<W: Write> Audience for Owner<W> {
    /// His are the letters that his key could have submitted, by the rule of the submission door. What came in by
    /// strangers' door is nobody's.
    fn wants(&mut self, entry: &Entry, _state: &RecipientState) -> Result<bool, StoreError> {
        if self.senders.is_everything() {
            return Ok(true);
        }
        let Some(sender) = entry.envelope.sender.path.address() else { return Ok(false) };
        if entry.door != Door::Submission {
            return Ok(false);
        }
        if let Some((address, known)) = &self.last
            && address == sender
        {
            return Ok(*known);
        }
        let known = self.senders.may_send_as(&self.store, sender)?;
        self.last = Some((sender.clone(), known));
        Ok(known)
    }

    fn wants_unreadable(&mut self, _id: &EntryId) -> bool {
        self.senders.is_everything()
    }

    fn hear(&mut self, line: Line) -> bool {
        let written = serde_json::to_writer(&mut self.out, &line).map_err(io::Error::from);
        match written.and_then(|()| self.out.write_all(b"\n")) {
            Ok(()) => true,
            Err(error) => {
                self.failed = Some(error);
                false
            }
        }
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
