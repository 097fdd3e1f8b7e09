//! Dates as a header writes them (RFC 5322 section 3.3).

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

/// `Sat, 22 Nov 2025 15:22:00 +0100` of Unix `seconds`, for a clock `offset` seconds east of UTC (taken in whole
/// minutes). What is beyond all calendars is written as 1970, in UTC.
pub fn rfc5322(seconds: i64, offset: i32) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let offset = Offset::from_seconds(offset / 60 * 60).unwrap_or(Offset::UTC);
    time.to_zoned(TimeZone::fixed(offset)).strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
}

/// So many seconds as a person says them: `12 min`.
pub fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ ..100 => format!("{seconds} s"),
        seconds @ ..6_000 => format!("{} min", (seconds + 30) / 60),
        seconds @ ..172_800 => format!("{} h", (seconds + 1_800) / 3_600),
        seconds => format!("{} d", (seconds + 43_200) / 86_400),
    }
}

/// When something is that is so many seconds ahead: `in 12 min`, or `now`.
pub fn ahead(seconds: i64) -> String {
    if seconds <= 0 { "now".into() } else { format!("in {}", span(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::{ahead, rfc5322, span};

    #[test]
    fn spans_are_short_and_round() {
        let said: Vec<String> = [-1, 99, 100, 720, 5_999, 6_000, 172_799, 432_000].map(span).into();
        assert_eq!(said.join(", "), "0 s, 99 s, 2 min, 12 min, 100 min, 2 h, 48 h, 5 d");
        assert_eq!((ahead(0), ahead(60)), ("now".into(), "in 60 s".into()));
    }

    #[test]
    fn dates_are_those_of_the_rfc() {
        assert_eq!(rfc5322(0, 0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(rfc5322(1_763_824_920, 3600), "Sat, 22 Nov 2025 16:22:00 +0100");
        assert_eq!(rfc5322(1_763_824_920, -12_600), "Sat, 22 Nov 2025 11:52:00 -0330");
        assert_eq!(rfc5322(i64::MAX, i32::MAX), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(rfc5322(0, 59), "Thu, 01 Jan 1970 00:00:00 +0000");
    }
}
