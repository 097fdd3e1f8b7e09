//! What can be looked at: configuration, our name, the tree, DNS. Nothing here commits, records or charges, so that
//! `explain` can stand on the same code as the doors.

use super::house::fault;
use crate::config;
use crate::error::{Exit, Failure};
use crate::mail::address::Domain;
use crate::net::dns::Dns;
use crate::policy::inbound::Rules;
use crate::smtp::reply::Reply;
use crate::store::StoreError;
use crate::store::tree::{Mailbox, Store};
use crate::system::threads::blocking;
use std::sync::Arc;

/// What an answer to a client depends on.
pub struct Premises {
    /// server.toml.
    pub config: config::Server,
    /// `config.hostname`, which is a name that DNS could carry.
    pub name: Domain,
    /// The tree.
    pub store: Store,
    /// The resolver.
    pub dns: Dns,
    /// The rules for strangers' letters.
    pub rules: Rules,
    /// `inbound.dnsbl`.
    pub lists: Vec<Domain>,
}

impl Premises {
    /// With a store and a resolver that were opened for `config`.
    pub fn new(config: config::Server, store: Store, dns: Dns) -> Result<Premises, Failure> {
        let name = domain("hostname", &config.hostname)?;
        let rules = Rules {
            broken_dkim: config.inbound.broken_dkim,
            trusted_forwarders: domains("inbound.trusted_forwarders", &config.inbound.trusted_forwarders)?,
        };
        let lists = domains("inbound.dnsbl", &config.inbound.dnsbl)?;
        Ok(Premises { config, name, store, dns, rules, lists })
    }

    /// Whether a domain is ours, with the reply to a fault.
    pub async fn is_ours(self: &Arc<Premises>, domain: &Domain) -> Result<bool, Reply> {
        let (here, domain) = (Arc::clone(self), domain.clone());
        blocking(move || here.store.is_ours(&domain).map_err(|error| fault(&error))).await
    }

    /// Octets that must be free where a letter of `size` octets is to be stored.
    pub fn space_for(&self, size: u64) -> u64 {
        self.config.limits.free_space.saturating_add(size)
    }

    /// Whether a letter of `size` octets could be stored in a mailbox now. Blocks.
    pub fn room_for(&self, mailbox: &Mailbox, size: u64) -> Result<(), StoreError> {
        self.store.check_room(mailbox, self.space_for(size))
    }

    /// Whether the disk of `state_dir` has room for `size` octets in queue or spill; the dead letters lie there too. Blocks.
    pub fn room_in_state(&self, size: u64) -> Result<(), StoreError> {
        self.store.check_state(self.space_for(size))
    }
}

fn domains(key: &str, names: &[String]) -> Result<Vec<Domain>, Failure> {
    names.iter().map(|name| domain(key, name)).collect()
}

fn domain(key: &str, name: &str) -> Result<Domain, Failure> {
    Domain::parse(name).map_err(|error| Failure::new(Exit::Config, format!("{key}: {name:?}: {error}")))
}
