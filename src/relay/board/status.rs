//! What is known of destinations, and what the owner says about it.

use super::domain::Domain;
use super::lane::Trouble;
use super::{Board, Now};
use crate::mail::address::Host;
use crate::relay::orders::Destination;
use std::sync::Arc;

impl<W: Clone, C> Board<W, C> {
    /// Why a destination is being left alone, if it is, or was until its next probe.
    pub(in crate::relay) fn trouble(&self, host: &Host) -> Option<&Trouble> {
        let domain = self.domains.get(host)?;
        let lane = domain.known().and_then(|known| self.lanes.get(&known.lane));
        domain.trouble.as_ref().or_else(|| lane?.trouble.as_ref())
    }

    /// Forgets what was bad about a destination, and how it was reached.
    pub(in crate::relay) fn pardon(&mut self, host: &Arc<Host>, now: Now) {
        let Some(domain) = self.domains.get_mut(host) else { return };
        domain.pardon();
        self.go_on(host, now);
    }

    /// What the owner wants to know of them.
    pub(in crate::relay) fn destinations(&self, now: i64) -> Vec<Destination> {
        let of = |(host, domain): (&Arc<Host>, &Domain<W>)| {
            let lane = domain.known().and_then(|known| self.lanes.get(&known.lane));
            let closed = self.trouble(host).filter(|trouble| !trouble.is_over(now));
            Destination {
                name: host.to_string(),
                waiting: domain.waiting(),
                connections: lane.map_or(0, |lane| lane.active + lane.idle.len()),
                closed_until: closed.map(|trouble| trouble.until),
                reason: closed.map(|trouble| trouble.reason.clone()),
            }
        };
        let mut all: Vec<Destination> = self.domains.iter().map(of).collect();
        all.retain(|one| one.waiting > 0 || one.connections > 0 || one.closed_until.is_some());
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}
