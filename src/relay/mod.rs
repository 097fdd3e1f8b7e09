//! What becomes of a queued letter: copies for directories here, transactions with other people's servers, reports.
//!
//! After its commit an entry is the relay's alone: first `accept`, then `run`, and nobody else, changes its state.

use crate::config;
use crate::mail::address::Host;
use crate::net::dns::Dns;
use crate::net::tls::TlsClient;
use crate::policy::retry;
use crate::queue::{Entry, EntryId, Queue, RecipientState, State};
use crate::store::StoreError;
use crate::store::letter::{Spill, SpillRoom};
use crate::store::tree::Store;
use orders::Control;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use sts::StsCache;
use tokio::sync::{mpsc, watch};

mod board;
mod bounce;
mod conclude;
mod courier;
mod desk;
mod fresh;
mod halt;
mod hand;
mod local;
mod look;
pub mod orders;
mod outlook;
mod parts;
mod plan;
mod route;
pub mod rules;
mod send;
pub mod sts;
#[cfg(test)]
mod tests;
mod verdict;
pub mod waiting;

pub use fresh::Fresh;
pub use halt::Halt;

/// How long transactions in hand may take when the server stops.
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
    /// What was committed since the relay looked.
    pub fresh: Arc<Fresh>,
    /// Whether the relay is being stopped.
    pub halt: Arc<Halt>,
}

/// The relay, with what earlier runs left.
pub struct Relay {
    desk: desk::Desk,
    control: Control,
    messages: mpsc::Receiver<orders::Message>,
}

impl Relay {
    /// Takes what earlier runs left. To be called before a door opens: what is committed later comes by `accept`, and
    /// one entry must not be in two hands.
    pub async fn open(parts: Parts) -> Relay {
        let mut desk = desk::Desk::new(parts);
        desk.take_backlog().await;
        let (control, messages) = Control::new();
        Relay { desk, control, messages }
    }

    /// The way to give it orders while it runs.
    pub fn control(&self) -> Control {
        self.control.clone()
    }
}

/// Carries the queue until `stopped` is true; then finishes the transactions in hand, for 30 seconds at most.
pub async fn run(relay: Relay, mut stopped: watch::Receiver<bool>) {
    let Relay { mut desk, control: _control, mut messages } = relay;
    let fresh = desk.fresh();
    loop {
        desk.start_due();
        tokio::select! {
            // A sender that is gone stops us as well.
            _ = stopped.wait_for(|stop| *stop) => break,
            () = fresh.come() => desk.take_fresh(),
            Some(message) = messages.recv() => desk.take_message(message),
            () = desk.step() => {}
        }
    }
    if tokio::time::timeout(GRACE, desk.drain()).await.is_err() {
        tracing::warn!("ending with deliveries in hand; they are made again at the next start");
    }
}

/// Takes a committed entry over: makes its copies here at once, then leaves the rest to `run`. What fails stays in the
/// queue and is tried again. Blocks; to be called once for each commit.
pub fn accept(parts: &Parts, id: &EntryId) {
    let outcome = parts.queue.load(id).and_then(|entry| {
        let Some(mut entry) = entry else { return Ok(None) };
        if local::deliver(parts, &mut entry, &[], unix_time()) {
            parts.queue.record(&entry)?;
        }
        Ok(Some(entry))
    });
    match outcome {
        Ok(Some(entry)) if entry.is_finished() => {}
        Ok(entry) => parts.fresh.hand_over(*id, entry),
        Err(error) => {
            tracing::error!(%id, %error, "the copies here are made again by the relay");
            parts.fresh.hand_over(*id, None);
        }
    }
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
    fn put_off_for_fault(&self, recipient: &mut RecipientState, reason: String, now: i64) {
        let at = now.saturating_add(retry::wait(recipient.attempts.saturating_add(1), dice()));
        self.put_off(recipient, reason, at);
    }
}

/// Whether a destination is this server, as far as the store knows. Blocks.
fn is_ours(parts: &Parts, host: &Host) -> Result<bool, StoreError> {
    match host {
        Host::Domain(domain) => parts.store.is_ours(domain),
        Host::Literal(_) => Ok(false),
    }
}

/// What deals with a stranger's words: a panic there ends one attempt, not the relay. None if there was one.
async fn isolated<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    match tokio::spawn(work).await {
        Ok(done) => Some(done),
        Err(error) if error.is_panic() => {
            tracing::error!(%error, "an attempt broke off; it is made again");
            None
        }
        // The runtime is going down, and this task with it.
        Err(_) => std::future::pending().await,
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
