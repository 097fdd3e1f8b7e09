use super::*;
use crate::mail::address::Address;
use crate::mail::header::split_strict;
use proptest::prelude::*;

fn mailbox(display: &str, address: &str) -> Mailbox {
    Mailbox { display: Some(display.to_owned()), address: Address::parse(address).unwrap() }
}

fn completed_by(message: &str, change: impl Fn(&mut Completion<'_>)) -> Result<String, CompleteError> {
    let identity = mailbox("Me M. Me", "me@example.org");
    let domain = Domain::parse("example.org").unwrap();
    let hosts = [Domain::parse("laptop.lan").unwrap()];
    let mut with = Completion {
        identity: Some(&identity),
        domain: Some(&domain),
        host_domains: &hosts,
        time: 0,
        utc_offset: 3600,
        random: 0xabc,
    };
    change(&mut with);
    complete(&normalize_line_ends(message.as_bytes()), &with).map(|out| String::from_utf8(out).unwrap())
}

fn completed(message: &str) -> String {
    completed_by(message, |_| {}).unwrap()
}

const DATE: &str = "Date: Thu, 01 Jan 1970 01:00:00 +0100\r\n";
const ID: &str = "Message-ID: <00000000000000000000000000000abc@example.org>\r\n";

#[test]
fn a_bare_letter_gets_what_it_lacks() {
    assert_eq!(
        completed("Subject: x\n\nhello\n"),
        format!("Subject: x\r\nFrom: \"Me M. Me\" <me@example.org>\r\n{DATE}{ID}\r\nhello\r\n")
    );
}

#[test]
fn a_whole_letter_stays_byte_for_byte() {
    let whole = "From: A <a@b.example>\r\nDATE: x\r\nmessage-id: <1@b>\r\nTo:  c@d.example,\r\n\te@f.example\r\n\
        MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n\r\nbody\rx\0\r\n";
    assert_eq!(completed(whole), whole);
}

#[test]
fn a_text_without_a_header_is_a_body() {
    let head = format!("From: \"Me M. Me\" <me@example.org>\r\n{DATE}{ID}\r\n");
    assert_eq!(completed("hello\nworld: x\n"), format!("{head}hello\r\nworld: x\r\n"));
    assert_eq!(completed(" hello\n"), format!("{head} hello\r\n"));
    assert_eq!(completed("hello"), format!("{head}hello\r\n"));
    assert_eq!(completed(""), head);
    assert_eq!(completed("Subject: x\nhello\n\nb\n"), format!("Subject: x\r\n{head}hello\r\n\r\nb\r\n"));
}

#[test]
fn a_header_alone_gets_its_end() {
    assert_eq!(
        completed("From: a@b.example\nSubject: x"),
        format!("From: a@b.example\r\nSubject: x\r\n{DATE}{}\r\n", ID.replace("example.org", "b.example"))
    );
}

#[test]
fn blind_copies_and_what_servers_write_are_dropped() {
    let out = completed(
        "From me Mon Jan  1 00:00:00 2026\nReturn-Path: <x@y>\nBCC: secret@x.example,\n\tother@x.example\nTo: a@b.example\n\
         Bcc: more\nResent-Bcc: r\nEnvelope-Seal: v=1\n\nBcc: stays in the body\n",
    );
    assert!(out.starts_with("To: a@b.example\r\nFrom: "), "{out}");
    assert!(out.ends_with("\r\n\r\nBcc: stays in the body\r\n"));
    assert!(
        !out.contains("secret") && !out.contains("more") && !out.contains("v=1") && !out.contains("Return")
    );
}

#[test]
fn unqualified_addresses_get_the_domain() {
    let out = completed(
        "From: me@x.example\nTo: root, \"R\" <admin> (the boss), a@b.example,\n  G: you, \"a b\";\nCc: (c)d\nReply-To: e\nX-To: f\n\n",
    );
    assert!(
        out.contains(
            "To: root@example.org, \"R\" <admin@example.org> (the boss), a@b.example,\r\n  G: you@example.org, \"a b\"@example.org;\r\n"
        ),
        "{out}"
    );
    assert!(out.contains("Cc: (c)d@example.org\r\nReply-To: e@example.org\r\nX-To: f\r\n"));
    let none = completed_by("From: me@x.example\nTo: root\n\n", |with| with.domain = None).unwrap();
    assert!(none.contains("To: root\r\n"));
}

#[test]
fn a_from_of_this_host_becomes_the_identity() {
    for (from, expected) in [
        ("root (Cron Daemon)", "me@example.org (Cron Daemon)"),
        ("Cron <root@laptop.lan>", "Cron <me@example.org>"),
        ("you@example.net", "you@example.net"),
        ("\"A, B\" <root>", "\"A, B\" <me@example.org>"),
    ] {
        let out = completed(&format!("From: {from}\nSender: {from}\n\n"));
        assert!(out.starts_with(&format!("From: {expected}\r\nSender: {expected}\r\n")), "{out}");
    }
    let out = completed_by("From: root\n\n", |with| with.identity = None).unwrap();
    assert!(out.starts_with("From: root@example.org\r\n") && out.contains(ID));
    assert!(completed("From: \nSubject: x\n\n").contains("Subject: x\r\nFrom: \"Me M. Me\""));
}

#[test]
fn without_any_identity_it_says_what_to_do() {
    let error = completed_by("Subject: x\n\n", |with| with.identity = None).unwrap_err();
    assert!(error.0.contains("home.toml"));
    let error = completed_by("From: a@[192.0.2.1]\n\n", |with| {
        with.identity = None;
        with.domain = None;
    });
    assert!(error.unwrap_err().0.contains("Message-ID"));
}

#[test]
fn mime_fields_bring_the_version() {
    assert!(completed("Content-Type: text/plain\n\n").contains("MIME-Version: 1.0\r\n"));
    assert!(!completed("Subject: x\n\n").contains("MIME-Version"));
}

#[test]
fn the_header_names_the_recipients() {
    let named = |message: &str| recipients(message.as_bytes()).0.len();
    assert_eq!(named("To: a, b@c.example\nCc: x:;\nBcc: d\n\nTo: e\n"), 3);
    assert_eq!(named("To: a, b\nResent-To: c\n\n"), 1);
    assert_eq!(recipients(b"To: a b c\n\n").1, ["a b c"]);
}

#[test]
fn line_ends_become_crlf() {
    let ends = |text: &str| String::from_utf8(normalize_line_ends(text.as_bytes()).into_owned()).unwrap();
    assert_eq!(ends("a\nb\r\nc\r\r\nd\re\n\nf"), "a\r\nb\r\nc\r\r\nd\re\r\n\r\nf\r\n");
    assert_eq!(ends(""), "");
    assert_eq!(ends("a\r"), "a\r\r\n");
    assert!(matches!(normalize_line_ends(b"a\r\n\r\n"), std::borrow::Cow::Borrowed(_)));
}

proptest! {
    #[test]
    fn line_ends_do_not_care_where_the_input_was_cut(
        input in prop::collection::vec(prop::sample::select(b"a\r\n".to_vec()), 0..30),
        cuts in prop::collection::vec(0usize..30, 0..6),
    ) {
        let (mut ends, mut out, mut at) = (LineEnds::default(), Vec::new(), 0);
        let mut cuts = cuts;
        cuts.sort_unstable();
        for cut in cuts {
            let cut = cut.min(input.len());
            ends.push(&input[at..cut], &mut out);
            at = cut;
        }
        ends.push(&input[at..], &mut out);
        ends.finish(&mut out);
        prop_assert_eq!(&out, &normalize_line_ends(&input).into_owned());
        prop_assert_eq!(&out, &normalize_line_ends(&out).into_owned());
    }

    #[test]
    fn what_is_complete_stays_as_it_is(message in "([A-Za-z]{1,3}:[ a-z,<>@.()\"]{0,12}\r\n|From: [a-z@.]{1,5}\r\n){0,5}[ a\r\n]{0,10}") {
        let once = completed(&message);
        prop_assert_eq!(completed(&once), once);
    }

    #[test]
    fn anything_may_be_completed(message in prop::collection::vec(any::<u8>(), 0..120)) {
        let identity = mailbox("x", "me@example.org");
        let with = Completion {
            identity: Some(&identity), domain: None, host_domains: &[], time: 0, utc_offset: 0, random: 0,
        };
        let out = complete(&normalize_line_ends(&message), &with).unwrap();
        let _ = split_strict(&out);
        let _ = recipients(&message);
    }
}
