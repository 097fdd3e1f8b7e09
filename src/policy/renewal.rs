//! When a certificate is renewed, and how long to wait after an attempt that failed. All times are Unix seconds.

use serde::{Deserialize, Serialize};

/// The wait after the first failure.
const FIRST: i64 = 5 * 60;
/// The longest wait of our own choosing.
const LONGEST: i64 = 12 * 3600;
/// The shortest, however short a certificate lives.
const SHORTEST: i64 = 5;
/// The longest wait that an authority may impose (Retry-After): what asks for more was not meant.
const IMPOSED: i64 = 24 * 3600;
/// How many attempts there may be for a name within [`HOUR`], whoever asks for them. Authorities of today allow five
/// failures in that time.
pub const ATTEMPTS: usize = 5;
/// The time in which attempts are counted; a certificate that lives shorter than that is counted by its life.
const HOUR: i64 = 3600;
/// However urgently an authority calls, a certificate is kept so long.
const KEEP: i64 = 2 * 86400;

/// A certificate, as far as its renewal goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it begins to be valid.
    pub begin: i64,
    /// The last second in which it is valid.
    pub end: i64,
    /// Any number that is always the same for one certificate and evenly spread over many. A new one at each start would draw
    /// until the earliest time comes up.
    pub lot: u16,
}

/// When an authority wants a certificate to be renewed (RFC 9773 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its first second.
    pub start: i64,
    /// Its last.
    pub end: i64,
}

impl Life {
    fn span(&self) -> i64 {
        self.end.saturating_sub(self.begin).max(0)
    }

    fn share(&self, of: i64) -> i64 {
        i64::try_from(i128::from(of) * i128::from(self.lot) / i128::from(u16::MAX)).unwrap_or(0)
    }

    /// When its last sixth begins: a renewal should long have come.
    pub fn is_late_at(&self) -> i64 {
        self.begin.saturating_add(self.span() / 6 * 5)
    }
}

/// When it is renewed: when two thirds of its life are over, or up to a thirtieth of it earlier. A window that makes sense
/// is followed instead, at a moment drawn from within, but never later than after five sixths of its life; and not before a
/// day's part of it has passed, so that a window which always lies in the past does not make us renew without end.
pub fn due(life: &Life, window: Option<Window>) -> i64 {
    let span = life.span();
    match window {
        Some(window) if window.end > window.start => {
            let drawn = window.start.saturating_add(life.share(window.end.saturating_sub(window.start)));
            let earliest = spared_until(life, life.begin);
            drawn.clamp(earliest, life.is_late_at().max(earliest))
        }
        _ => life.begin.saturating_add(span / 3 * 2).saturating_sub(life.share(span / 30)),
    }
}

/// Until when a certificate that was gained at `gained` is kept whatever a window says. An authority may have it begin days
/// before that, so its own beginning does not tell.
pub fn spared_until(life: &Life, gained: i64) -> i64 {
    gained.saturating_add((life.span() / 24).min(KEEP))
}

/// The wait after the `failures`th failure in a row: five minutes, doubled each time, to twelve hours; for a certificate
/// whose whole life is `span` seconds never more than a twenty-fourth of it. `imposed` is the authority's own word.
pub fn wait(failures: u32, span: Option<i64>, imposed: Option<i64>) -> i64 {
    let doubled = FIRST << failures.saturating_sub(1).min(10);
    let longest = span.map_or(LONGEST, |span| (span / 24).clamp(SHORTEST, LONGEST));
    doubled.min(longest).max(imposed.unwrap_or(0).clamp(0, IMPOSED))
}

/// The wait after an attempt that did not come to its end because the server was stopped, or killed: shorter, since
/// nobody refused anything.
pub fn wait_after_interruption(failures: u32, span: Option<i64>) -> i64 {
    (wait(failures, span, None) / 30).max(SHORTEST)
}

/// From when on one more attempt may be made after those that began at `attempts` (in their order), so that no
/// [`ATTEMPTS`] and one fall within an hour.
pub fn allowed_from(attempts: &[i64], span: Option<i64>, now: i64) -> i64 {
    let period = span.map_or(HOUR, |span| span.clamp(SHORTEST * 6, HOUR));
    // What lies ahead was written under a clock that has been set back since.
    let past: Vec<i64> = attempts.iter().copied().filter(|at| *at <= now).collect();
    let last = past.len().checked_sub(ATTEMPTS).and_then(|nth| past.get(nth));
    last.map_or(i64::MIN, |at| at.saturating_add(period))
}

/// Whether the time of a next attempt has come. One that is farther ahead than any wait was set by a clock that has been
/// set back since: it has.
pub fn has_come(at: i64, now: i64) -> bool {
    at <= now || at.saturating_sub(now) > IMPOSED
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 86400;
    const QUARTER: Life = Life { begin: 0, end: 90 * DAY, lot: 0 };

    #[test]
    fn two_thirds_of_a_life_and_a_little_less() {
        assert_eq!(due(&QUARTER, None), 60 * DAY);
        assert_eq!(due(&Life { lot: u16::MAX, ..QUARTER }, None), 57 * DAY);
        assert_eq!(due(&Life { begin: 100, end: 130, lot: 0 }, None), 120);
    }

    #[test]
    fn a_window_is_followed_within_reason() {
        let window = |start, end| Some(Window { start: start * DAY, end: end * DAY });
        assert_eq!(due(&QUARTER, window(30, 32)), 30 * DAY);
        assert_eq!(due(&Life { lot: u16::MAX, ..QUARTER }, window(30, 32)), 32 * DAY);
        assert_eq!(due(&QUARTER, window(-9, -8)), 2 * DAY, "always past: not without end");
        assert_eq!(due(&QUARTER, window(400, 500)), 75 * DAY, "never: in time nevertheless");
        assert_eq!(due(&QUARTER, window(32, 32)), 60 * DAY, "no window at all");
        assert_eq!(due(&QUARTER, window(32, 30)), 60 * DAY);
    }

    #[test]
    fn waits_double_from_five_minutes_to_twelve_hours() {
        let waits: Vec<i64> = (1..=9).map(|failures| wait(failures, Some(90 * DAY), None) / 60).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 720]);
        assert_eq!(wait(u32::MAX, None, None), LONGEST);
        assert_eq!(wait(9, Some(6 * DAY), None), 6 * 3600, "a life of six days");
        assert_eq!(wait(9, Some(60), None), SHORTEST, "a life of a minute");
        assert_eq!(wait(1, None, Some(7200)), 7200, "the authority's word");
        assert_eq!(wait(1, None, Some(i64::MAX)), DAY);
        assert_eq!(wait(1, None, Some(-5)), FIRST);
        assert_eq!(wait_after_interruption(1, None), 10);
        assert_eq!(wait_after_interruption(9, Some(60)), SHORTEST);
    }

    #[test]
    fn five_attempts_an_hour_and_no_more() {
        assert!(allowed_from(&[10, 20, 30, 40], None, 50) <= 50);
        assert_eq!(allowed_from(&[10, 20, 30, 40, 50], None, 60), 3610);
        assert_eq!(allowed_from(&[1, 10, 20, 30, 40, 50], None, 60), 3610);
        assert_eq!(allowed_from(&[10, 20, 30, 40, 50], Some(600), 60), 610, "a life of ten minutes");
        assert!(allowed_from(&[900, 901, 902, 903, 904], None, 60) <= 60, "a clock that was set back");
    }

    #[test]
    fn a_time_that_a_fast_clock_wrote_holds_nobody_up() {
        assert!(has_come(5, 5) && !has_come(6, 5) && has_come(5 + 2 * DAY, 5));
    }

    proptest! {
        #[test]
        fn nothing_is_ever_renewed_too_late(
            begin in -DAY..10 * DAY, span in 0..900 * DAY, lot: u16, start: i64, end: i64
        ) {
            let life = Life { begin, end: begin + span, lot };
            for window in [None, Some(Window { start, end })] {
                let due = due(&life, window);
                prop_assert!(due >= life.begin && due <= life.end - span / 6 + 6, "{due}");
            }
        }

        #[test]
        fn no_hour_sees_more_than_five_attempts(gaps in proptest::collection::vec(0i64..2000, 1..60)) {
            let (mut now, mut attempts) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                if allowed_from(&attempts, None, now) <= now {
                    attempts.push(now);
                }
            }
            let crowded = attempts.windows(ATTEMPTS + 1).any(|six| six[ATTEMPTS] - six[0] < HOUR);
            prop_assert!(!crowded, "{attempts:?}");
        }
    }
}
