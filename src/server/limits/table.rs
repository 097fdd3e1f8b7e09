//! What is remembered of places: a table that never grows beyond its bound, whoever comes from how many addresses.
//!
//! It is cut into sets of eight places by a hash that nobody outside can compute. Who is new in a full set takes the place of
//! the one that has least to be remembered for. Whoever comes from many addresses, each seen once or twice, thus
//! displaces his own; to displace a place that is near its bound he must come from eight that are nearer to theirs and
//! fall into its set, which takes some ten thousand of them.

use super::rates::{Levels, Rates};
use crate::config::Network;
use std::hash::{BuildHasher, RandomState};

/// Sets, and places in each: 16,384 places, some 2 MiB once all are taken.
const SETS: usize = 2048;
const WAYS: usize = 8;

/// How long a place is known for a letter that it brought, in seconds.
const KNOWN: f64 = 24.0 * 3600.0;

/// What a letter that was brought lately is worth against being displaced, where 1 is a place at its bound.
const WORTH: f64 = 0.5;

/// One place.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    place: Network,
    /// How many addresses' worth it may do.
    pub share: f64,
    pub levels: Levels,
    /// When it last brought a letter that was accepted, in seconds of the table's time.
    pub brought: Option<f64>,
}

#[derive(Debug)]
pub struct Table {
    sets: Vec<Vec<Row>>,
    hasher: RandomState,
}

impl Table {
    /// An empty one.
    pub fn new() -> Table {
        Table { sets: vec![Vec::new(); SETS], hasher: RandomState::new() }
    }

    /// A place, if it is remembered.
    pub fn find(&self, place: Network) -> Option<&Row> {
        self.sets[self.set(place)].iter().find(|row| row.place == place)
    }

    /// A place, remembered from now on, with what time has forgiven. Takes a constant time.
    pub fn row(&mut self, place: Network, share: f64, rates: &Rates, now: f64) -> &mut Row {
        let set = self.set(place);
        let set = &mut self.sets[set];
        let at = set.iter().position(|row| row.place == place).unwrap_or_else(|| {
            let new = Row { place, share, levels: Levels::default(), brought: None };
            if set.len() < WAYS {
                set.push(new);
                return set.len() - 1;
            }
            let worth = |row: &Row| row.worth(rates, now);
            let least = (0..set.len()).min_by(|a, b| worth(&set[*a]).total_cmp(&worth(&set[*b])));
            let least = least.unwrap_or_default();
            set[least] = new;
            least
        });
        let row = &mut set[at];
        row.levels.forgive(rates, share, now);
        row
    }

    fn set(&self, place: Network) -> usize {
        self.hasher.hash_one(place) as usize % SETS
    }
}

impl Row {
    /// Whether it brought a letter within a day.
    pub fn is_known(&self, now: f64) -> bool {
        self.brought.is_some_and(|then| now - then < KNOWN)
    }

    fn worth(&self, rates: &Rates, now: f64) -> f64 {
        let known = if self.is_known(now) { WORTH } else { 0.0 };
        known + self.levels.fullness(rates, self.share, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PerMinute;
    use crate::server::limits::rates::Kind;
    use std::net::{IpAddr, Ipv4Addr};

    fn place(n: u32) -> Network {
        Network::of(IpAddr::V4(Ipv4Addr::from(n)), 32)
    }

    #[test]
    fn a_hundred_thousand_addresses_seen_once_displace_neither_the_hot_nor_the_known() {
        let rates = Rates::new(&PerMinute::default());
        let mut table = Table::new();
        let hot = table.row(place(1), 1.0, &rates, 0.0);
        hot.levels.charge(&rates, 1.0, Kind::Connections, 1000.0);
        table.row(place(2), 1.0, &rates, 0.0).brought = Some(0.0);
        for n in 0..100_000 {
            let now = f64::from(n) / 10_000.0;
            let row = table.row(place(0x0a00_0000 + n), 1.0, &rates, now);
            row.levels.charge(&rates, 1.0, Kind::Connections, 1.0);
        }
        assert!(table.find(place(1)).is_some_and(|row| row.levels.fullness(&rates, 1.0, 10.0) > 0.5));
        assert!(table.find(place(2)).is_some_and(|row| row.is_known(10.0) && !row.is_known(1e5)));
        assert!(table.sets.iter().map(Vec::len).sum::<usize>() <= SETS * WAYS);
    }
}
