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

#[cfg(test)]
mod tests {
    use super::rfc5322;

    #[test]
    fn dates_are_those_of_the_rfc() {
        assert_eq!(rfc5322(0, 0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(rfc5322(1_763_824_920, 3600), "Sat, 22 Nov 2025 16:22:00 +0100");
        assert_eq!(rfc5322(1_763_824_920, -12_600), "Sat, 22 Nov 2025 11:52:00 -0330");
        assert_eq!(rfc5322(i64::MAX, i32::MAX), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(rfc5322(0, 59), "Thu, 01 Jan 1970 00:00:00 +0000");
    }
}
