//! What every connection shares: what can be looked at, and with what a letter is kept.

use super::filter::Filter;
use super::parcel::Desk;
use super::premises::Premises;
use super::replies;
use crate::config;
use crate::error::Failure;
use crate::queue::Queue;
use crate::relay;
use crate::smtp::reply::Reply;
use crate::store::StoreError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Shared by all connections.
pub struct House {
    /// What answers depend on.
    pub premises: Arc<Premises>,
    pub queue: Queue,
    /// Where messages are taken in.
    pub desk: Desk,
    /// What the relay works with.
    pub relay: relay::Parts,
    /// The owner's filter, if he has one.
    pub filter: Option<Filter>,
    letters: AtomicU64,
}

impl House {
    /// Opens everything below `state_dir` and the store.
    pub fn open(config: config::Server, filter: Option<Filter>) -> Result<House, Failure> {
        let relay = relay::Parts::open(&config)?;
        let (queue, desk) = (relay.queue.clone(), Desk::new(Arc::clone(&relay.room)));
        let premises = Premises::new(config, relay.store.clone(), relay.dns.clone())?;
        if let Err(error) = premises.store.check() {
            tracing::warn!(%error, "letters are answered 451 until this is mended");
        }
        Ok(House { premises: Arc::new(premises), queue, desk, relay, filter, letters: AtomicU64::new(0) })
    }

    /// server.toml.
    pub fn config(&self) -> &config::Server {
        &self.premises.config
    }

    /// An id for a letter, for `Received`, the log and the reply: the time and a count.
    pub fn new_id(&self) -> String {
        let micros = unix_time().as_micros() as u64;
        format!("{micros:x}{:02x}", self.letters.fetch_add(1, Ordering::Relaxed) & 0xff)
    }
}

/// The reply to a fault of the store, which is also logged with its words.
pub fn fault(error: &StoreError) -> Reply {
    tracing::warn!(%error, "store");
    replies::store_fault(error)
}

/// The same where a letter was to be stored: the line belongs to its story.
pub fn fault_at(id: &str, error: &StoreError) -> Reply {
    tracing::warn!(id, %error, "not stored");
    replies::store_fault(error)
}

/// Time since 1970.
pub fn unix_time() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
