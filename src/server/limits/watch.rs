//! What is known of the places that clients come from, and what they may still do.

use super::notes::Notes;
use super::rates::{Kind, NETWORK, Rates};
use super::table::Table;
use crate::config::{Limits, Network};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shared by all connections.
#[derive(Debug)]
pub struct Watch {
    rates: Rates,
    exempt: Vec<Network>,
    begun: Instant,
    table: Mutex<Table>,
    notes: Notes,
    refusals: Notes,
}

/// One client, by the places that it counts for.
#[derive(Clone, Debug)]
pub struct Client {
    watch: Arc<Watch>,
    /// Its places, each with its share; none for the owner.
    places: Vec<(Network, f64)>,
    /// Nobody counts what it does.
    exempt: bool,
    ip: Option<IpAddr>,
    /// For the log: a line for the network, not for each of its addresses.
    network: Option<Network>,
}

/// A limit that was reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Over {
    pub kind: Kind,
    /// Whether it was the network's share, not that of one address.
    pub network: bool,
    /// How many a minute there may be.
    pub per_minute: u64,
    /// When to come again.
    pub wait: Duration,
}

impl Watch {
    /// For a server with these limits.
    pub fn new(limits: &Limits) -> Arc<Watch> {
        Arc::new(Watch {
            rates: Rates::new(&limits.per_minute),
            exempt: limits.exempt.clone(),
            begun: Instant::now(),
            table: Mutex::new(Table::new()),
            notes: Notes::new(),
            refusals: Notes::of_refusals(),
        })
    }

    /// A client at strangers' door.
    pub fn stranger(self: &Arc<Watch>, ip: IpAddr) -> Client {
        let ip = ip.to_canonical();
        // Whoever has one IPv6 address has 2^64 of them: the network is all that can be remembered.
        let (places, network) = match ip {
            IpAddr::V4(_) => {
                let network = Network::of(ip, 24);
                (vec![(Network::of(ip, 32), 1.0), (network, NETWORK)], network)
            }
            IpAddr::V6(_) => (vec![(Network::of(ip, 64), NETWORK)], Network::of(ip, 64)),
        };
        let exempt = self.exempt.iter().any(|network| network.contains(ip));
        Client { watch: Arc::clone(self), places, exempt, ip: Some(ip), network: Some(network) }
    }

    /// The owner, of whom nothing is counted.
    pub fn owner(self: &Arc<Watch>) -> Client {
        Client { watch: Arc::clone(self), places: Vec::new(), exempt: true, ip: None, network: None }
    }

    fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Counts one more, where that is within the limits of all its places.
    pub fn may(&self, kind: Kind) -> Result<(), Over> {
        self.within(kind)?;
        self.charge(kind, 1);
        Ok(())
    }

    /// Whether one more would be within the limits.
    pub fn within(&self, kind: Kind) -> Result<(), Over> {
        if self.exempt {
            return Ok(());
        }
        let (rates, now) = (&self.watch.rates, self.watch.now());
        let mut table = self.watch.table();
        for (place, share) in &self.places {
            let row = table.row(*place, *share, rates, now);
            if let Some(wait) = row.levels.wait(rates, *share, kind, 1.0) {
                let network = *share > 1.0;
                let per_minute = (rates.per_minute(kind) as f64 * share) as u64;
                return Err(Over { kind, network, per_minute, wait: Duration::from_secs_f64(wait.ceil()) });
            }
        }
        Ok(())
    }

    /// Counts what was done.
    pub fn charge(&self, kind: Kind, count: u64) {
        if self.exempt || count == 0 {
            return;
        }
        let (rates, now) = (&self.watch.rates, self.watch.now());
        let mut table = self.watch.table();
        for (place, share) in &self.places {
            table.row(*place, *share, rates, now).levels.charge(rates, *share, kind, count as f64);
        }
    }

    /// It brought a letter that was accepted.
    pub fn brought(&self) {
        let now = self.watch.now();
        if let Some((place, share)) = self.places.first() {
            self.watch.table().row(*place, *share, &self.watch.rates, now).brought = Some(now);
        }
    }

    /// Whether it is the owner, or brought a letter within a day.
    pub fn is_known(&self) -> bool {
        let now = self.watch.now();
        match self.places.first() {
            None => true,
            Some((place, _)) => self.watch.table().find(*place).is_some_and(|row| row.is_known(now)),
        }
    }

    /// Whether a line about it may be written to the log: one of each kind in a minute.
    pub fn may_tell(&self, what: &str) -> bool {
        self.watch.notes.may_tell(self.network, what)
    }

    /// Whether a line about a refused recipient or message may be written: ten of each kind in a minute. The owner's all may.
    pub fn may_tell_refusal(&self, what: &str) -> bool {
        !self.is_stranger() || self.watch.refusals.may_tell(self.network, what)
    }

    /// Whether it came through strangers' door.
    pub fn is_stranger(&self) -> bool {
        self.ip.is_some()
    }

    /// Its address, for the log.
    pub fn shown(&self) -> Option<String> {
        self.ip.map(|ip| ip.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PerMinute;

    fn watch(exempt: &str) -> Arc<Watch> {
        let per_minute = PerMinute { connections: 1, ..PerMinute::default() };
        let exempt = exempt.parse().into_iter().collect();
        Watch::new(&Limits { per_minute, exempt, ..Limits::default() })
    }

    #[test]
    fn an_address_has_its_limit_its_network_four_times_that_and_the_exempt_none() {
        let watch = watch("192.0.2.0/24");
        let opened = |ip: &str| {
            let client = watch.stranger(ip.parse().unwrap());
            (0..100).take_while(|_| client.may(Kind::Connections).is_ok()).count()
        };
        assert_eq!(opened("192.0.2.1"), 100);
        assert_eq!(["198.51.100.1", "198.51.100.1", "198.51.100.2"].map(opened), [5, 0, 5]);
        assert_eq!([3, 4, 5].map(|n| opened(&format!("198.51.100.{n}"))), [5, 5, 0]);
        assert_eq!(["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(opened), [20, 0, 20]);
        let over = watch.stranger("198.51.100.6".parse().unwrap()).may(Kind::Connections).unwrap_err();
        assert!(over.network && over.per_minute == 4 && over.wait <= Duration::from_secs(15), "{over:?}");
        let over = watch.stranger("198.51.100.1".parse().unwrap()).may(Kind::Connections).unwrap_err();
        assert!(!over.network && over.per_minute == 1 && over.wait <= Duration::from_secs(60), "{over:?}");
    }

    #[test]
    fn who_brought_a_letter_is_known_and_his_neighbour_is_not() {
        let watch = watch("::1");
        let client = |ip: &str| watch.stranger(ip.parse().unwrap());
        client("198.51.100.1").brought();
        assert!(client("198.51.100.1").is_known() && !client("198.51.100.2").is_known());
        client("2001:db8::1").brought();
        assert!(client("2001:db8::2").is_known() && watch.owner().is_known());
    }
}
