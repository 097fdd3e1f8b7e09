//! Opening what the relay works with: by the server, and by an order to a stopped one.

use super::sts::StsCache;
use super::{Parts, rules};
use crate::config;
use crate::error::{Exit, Failure};
use crate::mail::address::Domain;
use crate::net::dial::check_source;
use crate::net::dns::Dns;
use crate::net::tls::TlsClient;
use crate::queue::Queue;
use crate::store::StoreError;
use crate::store::letter::SpillRoom;
use crate::store::tree::Store;
use std::sync::Arc;

/// Octets of a body that are kept in memory before the spill goes to a file.
const SPILL_EACH: usize = 256 << 10;
/// Octets that all bodies together keep in memory.
const SPILL_ALL: usize = 8 << 20;

impl Parts {
    /// Opens everything below `state_dir`, and the store. Only one process at a time has the queue.
    pub fn open(config: &config::Server) -> Result<Parts, Failure> {
        let state = &config.state_dir;
        let fault = |error: StoreError| Failure::new(Exit::TempFail, error.to_string());
        let name = Domain::parse(&config.hostname).map_err(|error| {
            let text = format!("hostname: {error}; set it to this server's full name, mx.example.org");
            Failure::new(Exit::Config, text)
        })?;
        rules::check(&config.relay).map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
        for &from in &config.relay.source {
            // Not the end: the address may come later, and nobody else's letters wait for it.
            if let Err(error) = check_source(from) {
                tracing::error!("{error}; what would be sent from there waits");
            }
        }
        let queue = Queue::open(state).map_err(fault)?;
        let store = Store::open(&config.mail_root, state, &config.inbound.topic_separators).map_err(fault)?;
        let dns = Dns::new(&config.dns).map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
        let keep = config.limits.free_space;
        let room =
            SpillRoom::open_keeping(&state.join("spill"), SPILL_EACH, SPILL_ALL, keep).map_err(fault)?;
        let tls = TlsClient::new(config.relay.roots.as_deref())
            .map_err(|error| Failure::new(Exit::Config, format!("relay.roots: {error}")))?;
        let sts = StsCache::open(state, dns.clone(), tls.clone(), &config.relay);
        Ok(Parts {
            queue,
            store,
            dns,
            tls,
            sts,
            room,
            config: config.relay.clone(),
            hostname: name.as_str().into(),
            fresh: Arc::default(),
            halt: Arc::default(),
        })
    }
}
