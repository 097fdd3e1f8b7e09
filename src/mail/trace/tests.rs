use super::*;
use crate::mail::header::{split_lenient, split_strict};
use proptest::prelude::*;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn received(helo: &str, id: &str, recipient: Option<&Address>, rdns: Option<&Domain>) -> String {
    let by = Domain::parse("mx.example.org").unwrap();
    let with = Protocol { extended: true, tls: true, ..Protocol::default() };
    let from = Some(Client { helo, ip: "192.0.2.7".parse().unwrap(), rdns });
    Received { from, by: &by, with, id, recipient, cipher: Some("TLS_AES_128_GCM_SHA256"), time: 0 }
        .to_string()
}

#[test]
fn a_received_field_is_folded_and_complete() {
    let rdns = Domain::parse("out.example.net").unwrap();
    assert_eq!(
        received("mail.example.net", "4Xy.1", Some(&address("me@example.org")), Some(&rdns)),
        "Received: from mail.example.net (out.example.net [192.0.2.7])\r\n\
         \tby mx.example.org with ESMTPS id 4Xy.1 for <me@example.org>\r\n\
         \ttls TLS_AES_128_GCM_SHA256; Thu, 01 Jan 1970 00:00:00 +0000\r\n"
    );
    assert!(received("[192.0.2.9]", "1", None, None).starts_with("Received: from [192.0.2.9] ([192.0.2.7])"));
}

#[test]
fn nothing_of_the_owners_machine_is_in_the_field_of_a_submission() {
    let by = Domain::parse("mx.example.org").unwrap();
    let with = Protocol { extended: true, ..Protocol::default() };
    let text =
        Received { from: None, by: &by, with, id: "1", recipient: None, cipher: None, time: 0 }.to_string();
    assert_eq!(text, "Received: by mx.example.org with ESMTP id 1; Thu, 01 Jan 1970 00:00:00 +0000\r\n");
}

#[test]
fn a_bad_helo_breaks_out_of_nothing() {
    let text = received("x) by evil\r\nBcc: (\\\u{e9}", "a b\r\n;", None, None);
    assert!(text.contains("from [192.0.2.7] ([192.0.2.7] helo=x??by?evil??Bcc:????)"), "{text}");
    assert!(text.contains("id ab tls TLS_AES_128_GCM_SHA256;"), "{text}");
    assert_eq!(split_strict(text.as_bytes()).unwrap().fields.len(), 1);
}

#[test]
fn protocols_have_their_registered_names() {
    let name =
        |extended, utf8, tls, authenticated| Protocol { extended, utf8, tls, authenticated }.to_string();
    assert_eq!(name(false, false, false, false), "SMTP");
    assert_eq!(name(true, false, false, false), "ESMTP");
    assert_eq!(name(true, false, true, false), "ESMTPS");
    assert_eq!(name(true, false, true, true), "ESMTPSA");
    assert_eq!(name(true, true, true, false), "UTF8SMTPS");
    assert_eq!(name(true, true, false, true), "UTF8SMTPA");
}

#[test]
fn an_utf8_recipient_stays_out_of_an_ascii_trace() {
    assert!(!received("a.example", "1", Some(&address("jürgen@example.org")), None).contains("for <"));
}

#[test]
fn what_the_server_writes_is_found_again() {
    assert_eq!(return_path(&ReversePath::Null), "Return-Path: <>\r\n");
    let path = ReversePath::Address(address("\"a b\"@example.net"));
    assert_eq!(return_path(&path), "Return-Path: <\"a b\"@example.net>\r\n");

    let me = address("Me@example.org");
    let message = format!("{}Subject: x\r\n\r\n", delivered_to(&me));
    let header = split_lenient(message.as_bytes());
    let you = address("you@example.org");
    assert!(was_delivered(&header, [&address("me@example.org")].into_iter()));
    assert!(was_delivered(&header, [&you, &me].into_iter()));
    assert!(!was_delivered(&header, [&you, &address("me@example.net")].into_iter()));
    assert!(!was_delivered(&split_lenient(b"\r\n"), [&me].into_iter()));
    assert!(was_delivered(&split_lenient(b"Delivered-To : <me@EXAMPLE.org>\r\n\r\n"), [&me].into_iter()));
}

#[test]
fn hops_are_counted_whatever_their_form() {
    let message = |n: usize| format!("{}\r\n", "Received: x\r\nRECEIVED :\r\n y\r\n".repeat(n)).into_bytes();
    assert_eq!(hops(&split_lenient(&message(7))), 14);
    assert_eq!(hops(&split_lenient(b"X-Received: x\r\n\r\nReceived: x\r\n")), 0);
}

#[test]
fn forged_fields_are_dropped_and_the_rest_is_kept_as_it_was() {
    let message = b"return-path: <x@y.example>\r\nSubject: a\r\n b\r\nDelivered-To : x\r\n y\r\n\
        Authentication-Results: MX.example.org; spf=pass\r\nAuthentication-Results: other.example; none\r\nodd\r\n\r\nb";
    let header = split_lenient(message);
    assert_eq!(
        strip_forged(&header, "mx.example.org"),
        b"Subject: a\r\n b\r\nAuthentication-Results: other.example; none\r\nodd\r\n"
    );
    assert!(without(&header, &["subject", "RETURN-PATH"]).starts_with(b"Delivered-To"));
}

#[test]
fn results_are_ours_however_they_are_written() {
    for (value, ours) in [
        ("mx.example.org; none", true),
        (" mx.example.org 1; none", true),
        ("mx.example.org/1; none", true),
        ("mx.example.org", true),
        ("\r\n\tMX.Example.ORG (x);\r\n none", true),
        ("(a (b) \\) c) mx.example.org;none", true),
        ("\"mx.exam\\ple.org\"; none", true),
        ("mx.example.org.; none", true),
        ("mx.example.org(x); none", true),
        ("; none", true),
        ("(open mx", true),
        ("\"open", true),
        ("mx.example.org\u{b}; none", true),
        ("mx.example.org\u{a0}1; none", true),
        ("mx.example.org, spf=pass", true),
        ("<mx.example.org>; none", true),
        ("\u{1}mx.exam\u{200e}ple.org; none", true),
        ("=?utf-8?q?mx.example.org?=; none", true),
        ("=?utf-8?b?bXguZXhhbXBsZS5vcmc7IG5vbmU=?=", true),
        ("mx.example.net; none", false),
        ("a.mx.example.org; none", false),
        ("other; x=mx.example.org", false),
    ] {
        let message = format!("Authentication-Results: {value}\r\n\r\n");
        let left = without_results_of(&split_lenient(message.as_bytes()), "mx.example.org");
        assert_eq!(left.is_empty(), ours, "{value}");
    }
}

proptest! {
    #[test]
    fn every_helo_and_id_makes_one_strict_field(helo in any::<String>(), id in any::<String>()) {
        let text = received(&helo, &id, None, None);
        prop_assert!(text.is_ascii());
        prop_assert_eq!(split_strict(text.as_bytes()).map(|header| header.fields.len()), Ok(1));
    }

    #[test]
    fn any_header_may_be_stripped(message in prop::collection::vec(any::<u8>(), 0..80), value in "[ab.();\"\\\\ ]{0,12}") {
        let _ = strip_forged(&split_lenient(&message), "a.b");
        let results = format!("Authentication-Results:{value}\r\n");
        let _ = strip_forged(&split_lenient(results.as_bytes()), "a.b");
    }
}
