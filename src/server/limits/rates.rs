//! What a place may do, and how fast it is forgiven: leaky buckets. Pure; time is an argument.

use crate::config::PerMinute;

/// What is counted of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Connections opened.
    Connections,
    /// Commands said.
    Commands,
    /// Recipients named.
    Recipients,
    /// Errors made.
    Errors,
    /// Octets sent.
    Octets,
    /// Messages begun.
    Messages,
    /// Recipients refused for good: a dictionary's rather than a correspondent's. Nobody is turned away for it; the
    /// tarpit begins earlier.
    Refused,
}

/// How many kinds there are.
const KINDS: usize = 7;

/// This many minutes' worth may come at once: a backlog comes in bursts.
const BURST: f64 = 5.0;

/// What a network may do, as a multiple of what an address may.
pub const NETWORK: f64 = 4.0;

/// Refused recipients that a minute makes forgotten.
const REFUSED: f64 = 10.0;

/// How fast each kind is forgiven, in units a second, for one address; none: it is not counted.
#[derive(Clone, Debug)]
pub struct Rates([Option<f64>; KINDS]);

/// What a place has done and was not forgiven yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Levels {
    levels: [f64; KINDS],
    /// When they were so, in seconds of the table's time.
    at: f64,
}

impl Kind {
    /// As the object of a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Kind::Connections => "connections",
            Kind::Commands => "commands",
            Kind::Recipients => "recipients",
            Kind::Errors => "errors",
            Kind::Octets => "octets",
            Kind::Messages => "messages",
            Kind::Refused => "refused recipients",
        }
    }
}

impl Rates {
    /// From `[limits.per_minute]`.
    pub fn new(config: &PerMinute) -> Rates {
        let PerMinute { connections, commands, recipients, errors, octets, messages } = *config;
        let rate = |per_minute: u64| (per_minute > 0).then_some(per_minute as f64 / 60.0);
        let [connections, commands, recipients] = [connections, commands, recipients].map(rate);
        let [errors, octets, messages] = [errors, octets, messages].map(rate);
        Rates([connections, commands, recipients, errors, octets, messages, Some(REFUSED / 60.0)])
    }

    /// How many a minute an address may have in the long run.
    pub fn per_minute(&self, kind: Kind) -> u64 {
        self.0[kind as usize].map_or(0, |rate| (rate * 60.0).round() as u64)
    }

    /// The most that may stand against a place: as many as `share` addresses.
    fn burst(rate: f64, share: f64) -> f64 {
        rate * 60.0 * BURST * share
    }
}

impl Levels {
    /// Forgives what the time since has made good.
    pub fn forgive(&mut self, rates: &Rates, share: f64, now: f64) {
        let passed = (now - self.at).max(0.0);
        for (level, rate) in self.levels.iter_mut().zip(&rates.0) {
            *level = (*level - rate.unwrap_or(0.0) * share * passed).max(0.0);
        }
        self.at = self.at.max(now);
    }

    /// Seconds until `count` more would be within bounds; none: they are. To be asked after `forgive`.
    pub fn wait(&self, rates: &Rates, share: f64, kind: Kind, count: f64) -> Option<f64> {
        let rate = rates.0[kind as usize]?;
        let above = self.levels[kind as usize] + count - Rates::burst(rate, share);
        (above > 0.0).then(|| above / (rate * share))
    }

    /// Counts what was done. What stands against a place is at most twice what may: it comes back after minutes, not
    /// after days.
    pub fn charge(&mut self, rates: &Rates, share: f64, kind: Kind, count: f64) {
        if let Some(rate) = rates.0[kind as usize] {
            let level = &mut self.levels[kind as usize];
            *level = (*level + count).min(2.0 * Rates::burst(rate, share));
        }
    }

    /// How near it is to a bound: 0 for nothing at all, 1 at the bound.
    pub fn fullness(&self, rates: &Rates, share: f64, now: f64) -> f64 {
        let mut levels = *self;
        levels.forgive(rates, share, now);
        let of =
            |(level, rate): (&f64, &Option<f64>)| rate.map_or(0.0, |rate| level / Rates::burst(rate, share));
        levels.levels.iter().zip(&rates.0).map(of).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(messages: u64) -> Rates {
        Rates::new(&PerMinute { messages, ..PerMinute::default() })
    }

    #[test]
    fn five_minutes_worth_may_come_at_once_and_comes_back_with_time() {
        let rates = rates(6);
        let mut levels = Levels::default();
        for _ in 0..30 {
            assert_eq!(levels.wait(&rates, 1.0, Kind::Messages, 1.0), None);
            levels.charge(&rates, 1.0, Kind::Messages, 1.0);
        }
        let wait = levels.wait(&rates, 1.0, Kind::Messages, 1.0).unwrap();
        assert!((9.9..10.1).contains(&wait), "{wait}");
        assert_eq!(levels.wait(&rates, NETWORK, Kind::Messages, 1.0), None);
        assert_eq!(levels.wait(&rates, 1.0, Kind::Commands, 1.0), None);
        levels.forgive(&rates, 1.0, 10.1);
        assert_eq!(levels.wait(&rates, 1.0, Kind::Messages, 1.0), None);
        // A clock that goes back forgives nothing and breaks nothing.
        levels.forgive(&rates, 1.0, 1.0);
        assert!(levels.wait(&rates, 1.0, Kind::Messages, 2.0).is_some());
        levels.forgive(&rates, 1.0, 1000.0);
        assert_eq!(levels.fullness(&rates, 1.0, 1000.0), 0.0);
    }

    #[test]
    fn what_has_no_limit_is_not_counted_and_a_debt_has_an_end() {
        let free = rates(0);
        let mut levels = Levels::default();
        levels.charge(&free, 1.0, Kind::Messages, 1e12);
        assert_eq!(levels.wait(&free, 1.0, Kind::Messages, 1.0), None);
        levels.charge(&free, 1.0, Kind::Errors, 1e12);
        assert!(levels.wait(&free, 1.0, Kind::Errors, 1.0).unwrap() < 400.0);
    }
}
