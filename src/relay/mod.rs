//! What becomes of a queued letter: copies for directories here, transactions with other people's servers, reports.
//!
//! After its commit an entry is the relay's alone: first `accept`, then `run`, and nobody else, changes its state.

use crate::config;
use crate::net::dns::Dns;
use crate::net::tls::TlsClient;
use crate::policy::retry::{self, Next};
use crate::queue::{Entry, EntryId, Queue, RecipientState, State};
use crate::store::StoreError;
use crate::store::letter::{Spill, SpillRoom};
use crate::store::tree::Store;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use sts::StsCache;
use tokio::sync::{Notify, watch};

mod bounce;
mod courier;
mod desk;
mod local;
pub mod orders;
mod parts;
mod plan;
mod route;
mod send;
pub mod sts;
#[cfg(test)]
mod tests;
mod verdict;
pub mod waiting;

/// How long deliveries in hand may take when the server stops.
const GRACE: Duration = Duration::from_secs(30);

/// What the relay works with. Cheap to clone.
#[derive(Clone)]
pub struct Parts {
    /// The queue.
    pub queue: Queue,
    /// The store, for copies here and for reports.
    pub store: Store,
    /// The resolver.
    pub dns: Dns,
    /// What makes connections private.
    pub tls: TlsClient,
    /// Other domains' MTA-STS policies.
    pub sts: StsCache,
    /// Room for spills.
    pub room: Arc<SpillRoom>,
    /// `[relay]`.
    pub config: config::Relay,
    /// Our name, in EHLO and in reports.
    pub hostname: Arc<str>,
    /// Notified when something was handed over.
    pub wake: Arc<Notify>,
}

/// The relay, with what earlier runs left.
pub struct Relay {
    desk: desk::Desk,
}

impl Relay {
    /// Takes what earlier runs left. To be called before a door opens: what is committed later comes by `accept`, and
    /// one entry must not be in two hands.
    pub async fn open(parts: Parts) -> Relay {
        let mut desk = desk::Desk::new(parts);
        desk.take_backlog();
        Relay { desk }
    }

    /// The way for orders to come in.
    pub fn control(&self) -> orders::Control {
        orders::Control::new().0
    }
}

/// Carries the queue until `stopped` is true; then finishes what is in hand, for 30 seconds at most.
pub async fn run(relay: Relay, mut stopped: watch::Receiver<bool>) {
    let Relay { mut desk } = relay;
    let wake = desk.wake();
    loop {
        desk.start_due();
        tokio::select! {
            // A sender that is gone stops us as well.
            _ = stopped.wait_for(|stop| *stop) => break,
            () = wake.notified() => desk.take_fresh(),
            () = desk.step() => {}
        }
    }
    if tokio::time::timeout(GRACE, desk.drain()).await.is_err() {
        tracing::warn!("ending with deliveries in hand; they are made again at the next start");
    }
}

/// Takes a committed entry over: makes its copies here at once, then leaves it to `run`. What fails stays in the queue
/// and is tried again. Blocks; to be called once for each commit.
pub fn accept(parts: &Parts, id: &EntryId) {
    let outcome = parts.queue.load(id).and_then(|entry| {
        let Some(mut entry) = entry else { return Ok(()) };
        match local::deliver(parts, &mut entry, unix_time()) {
            true => parts.queue.record(&entry),
            false => Ok(()),
        }
    });
    if let Err(error) = outcome {
        tracing::error!(%id, %error, "the copies here are made again by the relay");
    }
    parts.queue.hand_over(*id);
    parts.wake.notify_one();
}

impl Parts {
    /// The message of an entry, as a body that can be copied.
    fn message(&self, entry: &Entry) -> Result<Spill, StoreError> {
        let file = self.queue.open_message(&entry.id)?;
        Spill::of_file(Arc::clone(&self.room), file, entry.size)
            .map_err(|error| StoreError::io(format!("{}: reading a queued message", entry.id), error))
    }

    /// A recipient was not reached, and nothing says that he never will be: tries again later. Whether his time is over
    /// is for the caller to ask first.
    fn put_off(&self, recipient: &mut RecipientState, reason: String, at: i64) {
        recipient.attempts = recipient.attempts.saturating_add(1);
        recipient.next_attempt = at;
        recipient.state = State::Pending { reason: Some(reason) };
    }

    /// The same for a fault of our own, which is never the end of a letter.
    fn put_off_for_fault(&self, recipient: &mut RecipientState, error: &StoreError, now: i64) {
        let at = now.saturating_add(retry::wait(recipient.attempts.saturating_add(1), dice()));
        self.put_off(recipient, error.to_string(), at);
    }

    fn next(&self, entry: &Entry, recipient: &RecipientState, now: i64) -> Next {
        let attempts = recipient.attempts.saturating_add(1);
        retry::next(entry.arrived, attempts, now, dice(), self.config.retry_for)
    }
}

/// Unix time, seconds.
fn unix_time() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A number that nobody has to keep secret: for jitter.
fn dice() -> u16 {
    let mut octets = [0; 2];
    // Without randomness there is no jitter, which is no fault.
    let _ = rustix::rand::getrandom(&mut octets, rustix::rand::GetRandomFlags::empty());
    u16::from_ne_bytes(octets)
}
