//! What the relay must know of a letter to decide when its turn is, in as little memory as that takes.

use super::{Entry, EntryId};
use crate::mail::address::Host;
use std::collections::HashSet;
use std::sync::Arc;

/// A letter that an earlier run left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its name.
    pub id: EntryId,
    /// Unix time of arrival, seconds.
    pub arrived: i64,
    /// Whether the sender was told of the delay of all who are pending.
    pub warned: bool,
    /// Where it is to go. Empty where it could not be read at the start: what it is shows when it is loaded.
    pub parts: Vec<Part>,
}

/// The pending recipients of a letter at one destination, those who are held apart from the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The destination; one for all letters.
    pub host: Arc<Host>,
    /// Unix time, seconds, at which the first of them is due.
    pub next_attempt: i64,
    /// Whether they are held: never due.
    pub held: bool,
}

/// Each host once, however many letters wait for it.
#[derive(Debug, Default)]
pub(super) struct Hosts(HashSet<Arc<Host>>);

impl Hosts {
    fn shared(&mut self, host: &Host) -> Arc<Host> {
        match self.0.get(host) {
            Some(known) => Arc::clone(known),
            None => {
                let host = Arc::new(host.clone());
                self.0.insert(Arc::clone(&host));
                host
            }
        }
    }
}

impl Waiting {
    pub(super) fn of(entry: &Entry, hosts: &mut Hosts) -> Waiting {
        let (mut parts, mut warned) = (Vec::<Part>::new(), true);
        for recipient in entry.recipients.iter().filter(|recipient| recipient.is_pending()) {
            warned &= recipient.warned;
            let (host, at) = (recipient.recipient.address.host(), recipient.next_attempt);
            match parts.iter_mut().find(|part| *part.host == *host && part.held == recipient.held) {
                Some(part) => part.next_attempt = part.next_attempt.min(at),
                None => {
                    parts.push(Part { host: hosts.shared(host), next_attempt: at, held: recipient.held });
                }
            }
        }
        parts.shrink_to_fit();
        Waiting { id: entry.id, arrived: entry.arrived, warned, parts }
    }

    /// One that cannot be read now.
    pub(super) fn unread(id: EntryId) -> Waiting {
        Waiting { id, arrived: id.arrived(), warned: false, parts: Vec::new() }
    }
}
