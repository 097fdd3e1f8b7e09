//! When a recipient is tried again, and when he is given up. All times are Unix seconds.

/// The first wait, in seconds.
pub const FIRST: i64 = 300;
/// The longest wait, in seconds.
pub const LONGEST: i64 = 4 * 3600;

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again then.
    At(i64),
    /// The time is over: bounce.
    GiveUp,
}

/// What follows a failure after which the next attempt would be made `wait` seconds later. The last attempt is made when
/// `retry_for` seconds have passed since arrival.
pub fn next(arrived: i64, now: i64, wait: i64, retry_for: u64) -> Next {
    let deadline = deadline(arrived, retry_for);
    if now >= deadline { Next::GiveUp } else { Next::At(now.saturating_add(wait).min(deadline)) }
}

/// The wait after the `attempts`th failure. The waits grow by 8/5 from five minutes to four hours; `jitter` (any number,
/// evenly spread) shortens each by up to a quarter, so that what failed together does not come back together.
pub fn wait(attempts: u32, jitter: u16) -> i64 {
    let grow = |wait: i64, _| (wait * 8 / 5).min(LONGEST);
    let full = (1..attempts.min(20)).fold(FIRST, grow);
    full - full / 4 * i64::from(jitter) / i64::from(u16::MAX)
}

/// Whether the time of a next attempt has come. One that is farther ahead than any wait was set by a clock that has been
/// set back since: it has.
pub fn has_come(at: i64, now: i64) -> bool {
    at <= now || at.saturating_sub(now) > LONGEST + FIRST
}

/// From when on the sender is to be told of a delay.
pub fn late(arrived: i64, warn_after: u64) -> i64 {
    arrived.saturating_add_unsigned(warn_after)
}

/// From when on a letter that is not delivered is given up.
pub fn deadline(arrived: i64, retry_for: u64) -> i64 {
    arrived.saturating_add_unsigned(retry_for)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS: u64 = 86400;

    #[test]
    fn waits_grow_from_five_minutes_to_four_hours() {
        let waits: Vec<i64> = (1..=12).map(|attempts| wait(attempts, 0)).collect();
        assert_eq!(waits, [300, 480, 768, 1228, 1964, 3142, 5027, 8043, 12868, 14400, 14400, 14400]);
        assert_eq!(wait(u32::MAX, 0), LONGEST);
        assert_eq!(wait(0, 0), FIRST);
    }

    #[test]
    fn jitter_only_shortens_and_by_a_quarter_at_most() {
        for attempts in 1..20 {
            let full = wait(attempts, 0);
            assert!(wait(attempts, u16::MAX) >= full * 3 / 4);
            assert!(
                wait(attempts, u16::MAX / 2) < full
                    && wait(attempts, u16::MAX / 2) > wait(attempts, u16::MAX)
            );
        }
    }

    #[test]
    fn the_last_attempt_is_at_the_deadline() {
        let deadline = 1000 + 5 * DAYS as i64;
        assert_eq!(next(1000, deadline - 10, 14400, 5 * DAYS), Next::At(deadline));
        assert_eq!(next(1000, deadline, 14400, 5 * DAYS), Next::GiveUp);
        assert_eq!(next(1000, 1005, 300, 5 * DAYS), Next::At(1305));
    }

    #[test]
    fn no_time_is_farther_ahead_than_the_longest_wait() {
        assert!(has_come(1000, 1000) && !has_come(1001, 1000));
        assert!(!has_come(1000 + LONGEST, 1000) && has_come(1000 + 86400, 1000));
        assert!(has_come(i64::MAX, i64::MIN) && has_come(i64::MIN, i64::MAX));
    }

    #[test]
    fn a_clock_that_jumped_is_no_overflow() {
        assert_eq!(next(i64::MAX, i64::MAX, 300, u64::MAX), Next::GiveUp);
        assert_eq!(next(i64::MAX, 0, 300, u64::MAX), Next::At(300));
        assert_eq!(late(i64::MAX, 10), i64::MAX);
    }
}
