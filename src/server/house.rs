//! What every connection shares: configuration, store, queue, resolver, the room for spills.

use super::filter::Filter;
use super::replies;
use crate::config;
use crate::error::{Exit, Failure};
use crate::mail::address::Domain;
use crate::net::dns::Dns;
use crate::queue::Queue;
use crate::relay;
use crate::smtp::reply::Reply;
use crate::store::StoreError;
use crate::store::letter::SpillRoom;
use crate::store::tree::Store;
use crate::system::threads::blocking;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;

/// Headers that are read at once. It is work for the processor alone, done in milliseconds.
const READERS: usize = 4;

/// Shared by all connections.
pub struct House {
    pub config: config::Server,
    /// `config.hostname`, which is a name that DNS could carry.
    pub name: Domain,
    pub store: Store,
    pub queue: Queue,
    pub dns: Dns,
    pub room: Arc<SpillRoom>,
    /// What the relay works with.
    pub relay: relay::Parts,
    /// Turns at reading a header: what that takes for a moment is many times its size.
    pub readers: Semaphore,
    /// The owner's filter, if he has one.
    pub filter: Option<Filter>,
    letters: AtomicU64,
}

impl House {
    /// Opens everything below `state_dir` and the store.
    pub fn open(config: config::Server, filter: Option<Filter>) -> Result<House, Failure> {
        let relay = relay::Parts::open(&config)?;
        let (queue, store, dns) = (relay.queue.clone(), relay.store.clone(), relay.dns.clone());
        let room = Arc::clone(&relay.room);
        let name = Domain::parse(&relay.hostname)
            .map_err(|error| Failure::new(Exit::Config, format!("hostname: {error}")))?;
        if let Err(error) = store.check() {
            tracing::warn!(%error, "letters are answered 451 until this is mended");
        }
        let (readers, letters) = (Semaphore::new(READERS), AtomicU64::new(0));
        Ok(House { config, name, store, queue, dns, room, relay, readers, filter, letters })
    }

    /// An id for a letter, for `Received`, the log and the reply: the time and a count.
    pub fn new_id(&self) -> String {
        let micros = unix_time().as_micros() as u64;
        format!("{micros:x}{:02x}", self.letters.fetch_add(1, Ordering::Relaxed) & 0xff)
    }

    /// Whether a domain is ours, with the reply to a fault.
    pub async fn is_ours(self: &Arc<House>, domain: &Domain) -> Result<bool, Reply> {
        let (house, domain) = (Arc::clone(self), domain.clone());
        blocking(move || house.store.is_ours(&domain).map_err(|error| fault(&error))).await
    }

    /// Whether the disk of `state_dir` has room for the queue and the spills; the dead letters lie there too. Blocks.
    pub fn room_in_state(&self) -> Result<(), StoreError> {
        self.store.check_state(self.config.limits.free_space)
    }
}

/// The reply to a fault of the store, which is also logged with its words.
pub fn fault(error: &StoreError) -> Reply {
    tracing::warn!(%error, "store");
    replies::store_fault(error)
}

/// Time since 1970.
pub fn unix_time() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
