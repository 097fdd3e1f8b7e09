//! What is said of certificates, in words.

use crate::net::tls::pair::Facts;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A certificate may have hundreds of names.
const MAX_NAMES: usize = 5;
const DAY: i64 = 24 * 3600;

/// A time in Unix seconds as it is here: `2026-12-24 18:00:00 +01:00`.
pub fn local(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
        Err(_) => format!("{seconds} s after 1970"),
    }
}

/// Names in a list, the first few of many.
pub fn names(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
    match names.len().checked_sub(MAX_NAMES) {
        _ if shown.is_empty() => "no name".into(),
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Until when a certificate is valid: `valid until … (63 days left)`.
pub fn life(facts: &Facts, now: i64) -> String {
    let (begin, end) = (local(facts.not_before), local(facts.not_after));
    if now < facts.not_before {
        return format!("not valid before {begin}");
    }
    match facts.not_after.saturating_sub(now) {
        ..0 => format!("expired {end}"),
        left => format!("valid until {end} ({} left)", span(left)),
    }
}

/// The TLSA record of a server's key at port 25 (RFC 7672 section 3.1.1), a line of a zone.
pub fn tlsa(host: &str, key: &[u8; 32]) -> String {
    format!("_25._tcp.{host}. IN TLSA 3 1 1 {}", hex(key))
}

/// Octets in hexadecimal.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Days where there are any: whoever renews counts in them.
fn span(seconds: i64) -> String {
    match seconds / DAY {
        0 => crate::mail::date::span(seconds),
        1 => "1 day".into(),
        days => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_counted() {
        let many: Vec<String> = (0..8).map(|n| format!("{n}.example")).collect();
        assert_eq!(names(&many), "0.example, 1.example, 2.example, 3.example, 4.example and 3 more");
        assert_eq!((names(&many[..2]), names(&[])), ("0.example, 1.example".into(), "no name".into()));
    }

    #[test]
    fn days_are_counted_while_there_are_any() {
        assert_eq!([3600, DAY, 3 * DAY - 1].map(span), ["60 min", "1 day", "2 days"]);
    }
}
