//! Each line of the contract, as docs/operating.md states it.

use super::*;

fn accepted(output: &[u8]) -> (Vec<String>, Vec<String>) {
    let judged = judge(0, output).unwrap();
    match judged.verdict {
        FilterVerdict::Accept { fields } => (fields, judged.dropped),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn dropped(output: &[u8], why: &str) {
    let (fields, dropped) = accepted(output);
    assert!(fields.is_empty() && dropped.len() == 1 && dropped[0].contains(why), "{fields:?} {dropped:?}");
}

#[test]
fn the_status_is_the_verdict() {
    let verdict = |status, output: &str| judge(status, output.as_bytes()).map(|judged| judged.verdict);
    assert_eq!(verdict(0, ""), Ok(FilterVerdict::Accept { fields: vec![] }));
    let junk = FilterVerdict::Junk { fields: vec!["X-Spam: yes\r\n".into()] };
    assert_eq!(verdict(1, "X-Spam: yes\n"), Ok(junk.clone()));
    assert_eq!(junk.reply(), None);
    assert_eq!(verdict(75, "busy\n"), Ok(FilterVerdict::Defer { why: "busy".into() }));
    assert_eq!(verdict(75, "busy").unwrap().reply().unwrap().code, 451);
    let refused = verdict(77, "a virus\nsecond line").unwrap();
    assert_eq!(refused, FilterVerdict::Refuse { text: "a virus".into() });
    assert_eq!(refused.reply().unwrap().to_string(), "550 5.7.1 a virus");
    for status in [-1, 2, 64, 74, 76, 78, 126, 127, 128, 137, 255] {
        assert!(verdict(status, "X-Spam: no\n").is_err(), "{status}");
    }
}

#[test]
fn a_stranger_hears_nothing_of_a_fault() {
    let reply = FilterVerdict::Defer { why: "/etc/secret: no such file".into() }.reply().unwrap();
    assert_eq!((reply.code, reply.enhanced), (451, Some((4, 7, 1))));
    assert!(!reply.text.contains("secret"), "{reply}");
}

#[test]
fn a_reply_is_one_harmless_line() {
    let text = |output: &[u8]| match judge(77, output).unwrap().verdict {
        FilterVerdict::Refuse { text } => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(text(b"no\r\n250 ok"), "no");
    assert_eq!(text(b"a\x1b[1m\xff\rb"), "a?[1m\u{fffd}?b");
    assert!(text(b"").contains("refuses") && text(b"\n\nlater").contains("refuses"));
    assert!(text("x".repeat(5000).as_bytes()).chars().count() <= 401);
}

#[test]
fn fields_come_through_as_they_are_folded() {
    let (fields, dropped) = accepted(b"X-Spam: no\r\nX-Long: a,\n\tb,\n c\nX-Empty:\n\n");
    assert_eq!(fields, ["X-Spam: no\r\n", "X-Long: a,\r\n\tb,\r\n c\r\n", "X-Empty:\r\n"]);
    assert!(dropped.is_empty(), "{dropped:?}");
    assert_eq!(accepted(b"X-Spam: no").0, ["X-Spam: no\r\n"]);
}

#[test]
fn what_is_no_field_is_dropped_and_what_stands_beside_it_is_not() {
    let (fields, left_out) = accepted(b"X-A: 1\nnonsense\n with more\n\nX-B: 2\n");
    assert_eq!(fields, ["X-A: 1\r\n", "X-B: 2\r\n"]);
    assert_eq!(left_out.len(), 2, "{left_out:?}");
    dropped(b" X-A: 1\n", "printable ASCII");
    dropped(b"X-A : 1\n", "printable ASCII");
    dropped(b": 1\n", "printable ASCII");
    dropped("X-Ä: 1\n".as_bytes(), "printable ASCII");
    dropped(b"X-\xff: 1\n", "not ASCII");
    dropped(b"X-A: 1\r2\n", "control");
    dropped(b"X-A: 1\r\r\n", "control");
    dropped(b"X-A: 1\x002\n", "control");
    dropped(b"X-A: \x1b[31m\n", "control");
    dropped(b"X-A: \x7f\n", "control");
    dropped("X-A: é\n".as_bytes(), "RFC 2047");
    dropped(b"X-A: 1\n \t\n", "white space");
    dropped(b"X-A: 1\n ok\n \n", "white space");
}

#[test]
fn lines_and_numbers_have_an_end() {
    let line = |octets: usize| format!("X-A: {}\n", "x".repeat(octets - 5));
    assert_eq!(accepted(line(998).as_bytes()).0.len(), 1);
    dropped(line(999).as_bytes(), "998");
    dropped(format!("X-A: 1\n {}\n", "x".repeat(998)).as_bytes(), "998");
    let (fields, dropped) = accepted("X-A: 1\n".repeat(MOST_FIELDS + 9).as_bytes());
    assert_eq!((fields.len(), dropped.len()), (MOST_FIELDS, 1));
}

#[test]
fn what_others_believe_or_act_upon_is_not_the_filters_to_say() {
    for name in [
        "Authentication-Results",
        "authentication-results",
        "Received",
        "RECEIVED-SPF",
        "Return-Path",
        "Delivered-To",
        "DKIM-Signature",
        "DKIM2-Signature",
        "ARC-Seal",
        "ARC-Authentication-Results",
        "Envelope-Seal",
        "From",
        "fROM",
        "Sender",
        "Reply-To",
        "To",
        "Bcc",
        "Subject",
        "Date",
        "Message-Id",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
        "Resent-From",
        "List-Unsubscribe",
        "Disposition-Notification-To",
        "BIMI-Indicator",
        "bimi-location",
        "Autocrypt",
        "Autocrypt-Gossip",
        "Original-From",
        "Original-Message-ID",
        "Followup-To",
        "X-IMAP",
        "X-IMAPbase",
        "X-UID",
        "X-UIDL",
        "X-Keywords",
        "Status",
        "X-Status",
        "X-Mozilla-Status",
        "X-Mozilla-Keys",
        "X-Pillarbox-Junk",
    ] {
        dropped(format!("{name}: mx.here.example; dkim=pass\n").as_bytes(), "of this name");
    }
    for name in
        ["X-Spam-Status", "X-Spam", "X-Virus-Status", "Precedence", "X-Received-By", "Listen", "X-From"]
    {
        assert_eq!(accepted(format!("{name}: 1\n").as_bytes()).0.len(), 1, "{name}");
    }
}
