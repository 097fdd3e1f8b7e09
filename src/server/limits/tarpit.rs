//! Answers that come later and later for whoever tries one name after another. Pure.

use std::time::Duration;

/// Recipients that may be refused in one session at the usual speed: a list has old addresses.
const TOLERATED: u32 = 5;
/// What each further one takes longer than the one before.
const STEP: Duration = Duration::from_secs(1);
/// The longest that one takes; a client waits five minutes for it (RFC 5321 section 4.5.3.2.3).
const LONGEST: Duration = Duration::from_secs(10);

/// What became of the recipients of one session.
#[derive(Debug, Default)]
pub struct Tarpit {
    refused: u32,
    accepted: u32,
}

impl Tarpit {
    /// One was accepted, which makes up for one that was not.
    pub fn accepted(&mut self) {
        self.accepted = self.accepted.saturating_add(1);
    }

    /// One was refused for good: how long to wait before saying so. `notorious`: its place has had many refused before,
    /// in whatever sessions.
    pub fn refused(&mut self, notorious: bool) -> Duration {
        self.refused = self.refused.saturating_add(1);
        let tolerated = if notorious { 0 } else { TOLERATED };
        let over = self.refused.saturating_sub(self.accepted).saturating_sub(tolerated);
        STEP.saturating_mul(over).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_old_addresses_among_good_ones_are_not_felt_and_a_dictionary_is() {
        let mut list = Tarpit::default();
        for _ in 0..50 {
            assert_eq!(list.refused(false), Duration::ZERO);
            list.accepted();
        }
        let mut dictionary = Tarpit::default();
        let seconds: Vec<u64> = (0..20).map(|_| dictionary.refused(false).as_secs()).collect();
        assert_eq!(seconds[..7], [0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(seconds[19], 10);
        assert_eq!(Tarpit::default().refused(true), STEP);
    }
}
