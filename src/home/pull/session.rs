//! One pull from one server: the reader on this thread, a pool that fsyncs, a committer.

use super::Home;
use super::commit::{self, Committed};
use super::journal::{Journal, Key};
use super::receive::{ReceiveError, Received, Receiver, State};
use super::report::{Outcome, Progress};
use super::sync::Pool;
use crate::error::{Exit, Failure};
use crate::home::child::{Gate, Server};
use crate::net::export::{FromHome, VERSION};
use std::io::{BufReader, Read, Write};
use std::sync::mpsc;

/// Batches that may wait for the committer.
const QUEUE: usize = 4;
const READ_BUFFER: usize = 1 << 20;

/// Pulls from `server`: what came, and what went wrong.
pub(super) fn pull(home: &mut Home, server: &Server, addresses: &[String]) -> Outcome {
    let (mut gate, from_gate, to_gate) = match Gate::start(server) {
        Ok(started) => started,
        Err(failure) => return Outcome { failure: Some(failure), ..Outcome::default() },
    };
    let (mut outcome, lost) = exchange(home, from_gate, to_gate, addresses, Progress::new(&server.name));
    if let Some(failure) = &mut outcome.failure {
        let ending = if lost { format!("; {}", gate.epitaph()) } else { String::new() };
        failure.message = format!("{}: {}{ending}", server.name, failure.message);
        gate.kill();
    }
    outcome
}

/// The session over two streams; and whether it failed for want of a gate that can be understood.
pub(super) fn exchange(
    home: &mut Home,
    from_gate: impl Read,
    mut to_gate: impl Write + Send,
    addresses: &[String],
    progress: Progress,
) -> (Outcome, bool) {
    let request = FromHome::Request { version: VERSION, addresses: addresses.to_vec() };
    // A gate that is gone shows on the other way, where the reason can be told.
    let _ = request.write_to(&mut to_gate).and_then(|()| to_gate.flush());

    let Home { places, journal } = home;
    let mut received = Received::default();
    let mut committed = Committed::new();
    let (known, remembered) = (journal.known().collect(), journal.remembered().collect());
    let (batches, queue) = mpsc::sync_channel(QUEUE);
    let (read, stored) = std::thread::scope(|scope| {
        let (journal, committed) = (&mut *journal, &mut committed);
        let committer = scope.spawn(move || commit::run(queue, journal, to_gate, committed));
        let pool = Pool::start(scope);
        let received = &mut received;
        let state = State::default();
        let receiver = Receiver {
            places,
            asked: addresses,
            known,
            remembered,
            batches: Some(batches),
            pool,
            progress,
            received,
            state,
        };
        let read = receiver.run(BufReader::with_capacity(READ_BUFFER, from_gate));
        let stored = committer.join().unwrap_or_else(|_| {
            Err(Failure::new(Exit::Software, "storing letters ended in a panic: please report it"))
        });
        (read, stored)
    });
    let lost = stored.is_ok() && matches!(read, Err(ReceiveError::Wire(_)));
    let failure =
        stored.err().or_else(|| read.err().map(|error| Failure::new(Exit::TempFail, error.to_string())));
    let failure = failure.or(settle(journal, &received).err());
    (outcome(received, &committed, failure), lost)
}

/// Letters that the server has removed need no more than a memory; nor do those that it does not have any more,
/// whose confirmation was lost.
fn settle(journal: &mut Journal, received: &Received) -> Result<(), Failure> {
    let mut keys: Vec<Key> = received.removed.clone();
    if received.complete && received.troubles.is_empty() {
        let waiting = received.mailboxes.iter().flat_map(|mailbox| journal.waiting(mailbox.id));
        keys.extend(waiting.filter(|key| !received.offered.contains(key)));
    }
    journal.settled(keys)
}

fn outcome(received: Received, committed: &Committed, failure: Option<Failure>) -> Outcome {
    let mut mailboxes = Vec::with_capacity(received.mailboxes.len());
    for (index, mailbox) in received.mailboxes.into_iter().enumerate() {
        let mut tally = mailbox.tally;
        (tally.letters, tally.octets) = committed.get(&index).copied().unwrap_or_default();
        mailboxes.push(tally);
    }
    Outcome { mailboxes, unknown: received.unknown, troubles: received.troubles, failure }
}
