use super::*;
use crate::config::BrokenDkim;
use crate::policy::inbound::{Evidence, Rules, decide};
use crate::policy::peer::{PeerEvidence, PeerName};
use crate::policy::signature::Verdict;
use crate::policy::spf::{SpfEvidence, SpfIdentity, SpfResult};
use crate::trust::forge::{self, Table, key, wait};
use crate::trust::keys::Algorithm;
use crate::trust::sign;

mod guards;
mod key_records;
mod vectors;

const NOW: i64 = 1_795_341_600;
const LETTER: &str = "From: me@example.net\r\nTo: me@example.org\r\nSubject: hello\r\n\r\nHello.\r\n";

fn gather(message: &[u8], keys: &Table) -> Letter {
    gather_at(NOW, message, keys)
}

fn gather_at(now: i64, message: &[u8], keys: &Table) -> Letter {
    let end = message.windows(4).position(|four| four == b"\r\n\r\n").map_or(message.len(), |at| at + 4);
    let (header, body) = message.split_at(end);
    let mut gathering = Gathering::begin(header, |domain| Ok(domain.as_str() == "example.org")).unwrap();
    body.chunks(3).for_each(|slice| gathering.body(slice));
    wait(gathering.finish(keys, now))
}

/// The reply where nothing but the letter counts.
fn code(message: &[u8], keys: &Table) -> u16 {
    let Letter { authors, signatures } = gather(message, keys);
    let rules = Rules { broken_dkim: BrokenDkim::Reject, trusted_forwarders: Vec::new() };
    let peer = PeerEvidence {
        ip: "192.0.2.1".parse().unwrap(),
        helo: String::new(),
        helo_oddity: None,
        name: PeerName::Missing,
        listings: Vec::new(),
    };
    let spf = SpfEvidence {
        result: SpfResult::None,
        identity: SpfIdentity::MailFrom,
        domain: String::new(),
        why: String::new(),
        steps: Vec::new(),
        explanation: None,
    };
    let evidence = Evidence { authors, signatures, ..Evidence::of_envelope(rules, peer, spf) };
    decide(&evidence).ruling.refusal().map_or(250, |reply| reply.code)
}

fn ours(from: &str) -> bool {
    gather(format!("{from}\r\n\r\n").as_bytes(), &Table::default()).authors.iter().any(|author| author.ours)
}

#[test]
fn a_strangers_signed_letter_passes_and_a_changed_one_is_broken() {
    let key = key("s", "example.net", Algorithm::Rsa2048);
    let keys = Table::default().publish(&key);
    let mut message = sign::sign_at(LETTER.as_bytes(), &[&key], NOW).unwrap();
    message.extend_from_slice(LETTER.as_bytes());
    assert_eq!(gather(&message, &keys).signatures[0].verdict, Verdict::Pass);
    let text = String::from_utf8(message).unwrap();
    let verdict = |text: &str, keys: &Table| gather(text.as_bytes(), keys).signatures[0].verdict.clone();
    assert_eq!(verdict(&text.replace("Hello.", "Hullo."), &keys), Verdict::BrokenBody);
    assert_eq!(verdict(&text.replace("hello", "hullo"), &keys), Verdict::BrokenSignature);
    for top in ["From: boss@example.com\r\n", "From : boss@example.com\r\n", "from\t: boss@example.com\r\n"] {
        let evidence = gather(format!("{top}{text}").as_bytes(), &keys);
        assert_eq!(evidence.signatures[0].verdict, Verdict::BrokenSignature, "{top:?}");
    }
    let down = Table::default().set("s._domainkey.example.net", None);
    assert!(matches!(verdict(&text, &down), Verdict::TempFault(_)));
    assert_eq!(verdict(&text, &Table::default()), Verdict::NoKey);
}

#[test]
fn ten_signatures_are_looked_at_and_each_key_asked_for_once() {
    let key = key("s", "example.net", Algorithm::Ed25519);
    let keys = Table::default().publish(&key);
    let one = sign::sign_at(LETTER.as_bytes(), &[&key], NOW).unwrap();
    let message = [one.repeat(40).as_slice(), LETTER.as_bytes()].concat();
    assert_eq!(gather(&message, &keys).signatures.len(), 10);
    assert_eq!(*keys.asked.lock().unwrap(), ["s._domainkey.example.net"]);
}

/// Answers nobody before it was asked for two names.
struct Slow(tokio::sync::Barrier);

impl KeySource for Slow {
    async fn txt(&self, _: &str) -> Result<Vec<String>, crate::net::dns::DnsError> {
        self.0.wait().await;
        Ok(Vec::new())
    }
}

#[test]
fn keys_are_looked_up_side_by_side() {
    let sign = |selector: &str| {
        let key = key(selector, "example.net", Algorithm::Ed25519);
        sign::sign_at(LETTER.as_bytes(), &[&key], NOW).unwrap()
    };
    let header = [sign("a"), sign("b"), LETTER.into()].concat();
    let gathering = Gathering::begin(&header, |_| Ok(false)).unwrap();
    let keys = Slow(tokio::sync::Barrier::new(2));
    let evidence = wait(async {
        let finish = gathering.finish(&keys, NOW);
        tokio::time::timeout(std::time::Duration::from_secs(20), finish).await
    });
    assert_eq!(evidence.unwrap().signatures.len(), 2);
}

#[test]
fn r_and_atps_cause_no_look_up() {
    let key = key("s", "example.net", Algorithm::Ed25519);
    let keys = Table::default().publish(&key);
    let field = forge::sign(LETTER.as_bytes(), &key, |text| {
        text.replace("s=s;", "s=s; r=y; atps=example.com; atpsh=none;")
    });
    let message = [&field, LETTER.as_bytes()].concat();
    assert_eq!(gather(&message, &keys).signatures[0].verdict, Verdict::Pass);
    assert_eq!(*keys.asked.lock().unwrap(), ["s._domainkey.example.net"]);
}

#[test]
fn a_from_of_ours_is_seen_however_it_is_written() {
    for from in [
        "From: me@example.org",
        "FROM : me@example.org",
        "From: a@example.net\r\nFrom: me@example.org",
        "From: a@example.net, Me <me@EXAMPLE.org>",
        "From: Me <me@example.org> <a@example.net>",
        "From: me@example.org.",
        "From: me @ example . org x",
        "From: me@(a comment)example.org, <",
        "From: me@example(comment).org, <",
        "From: <@example.net:me@example.org>, ;",
        "From: (unclosed me@example.org",
        "From: \"unclosed <me@example.org>",
        "From:\r\n me@example.org x",
        "From: =?utf-8?q?Me?= me@example.org",
        "From: =?utf-8?b?bWVAZXhhbXBsZS5vcmc=?=",
        "From: =?utf-8?q?me=40?= =?utf-8?q?example=2Eorg?=",
        "From: =?utf-8?q?me=40example.org=00?=@example.net",
        "From: me@\"example.org\"",
        "From: \"me@example.org\":;",
        "From: \"me@example.org\": a@example.net;",
        "From: me@exam\u{200e}ple.org",
        "From: me\u{202c}@\u{2066}example.org",
        "From: me@exam\u{1}ple.org",
        "From: me@exam\u{85}ple.org",
        "From: me@example.org\u{1}x",
        "From: \"me@example.org\"@example.net",
        "From: <\"me@example.org \"@example.net>",
        "From: =?utf-8?q?me=40exam=08ple.org?=",
        "From: me@(a comment)\"example.org\"",
        "From: me@\"exam\"(a comment)ple.org x",
    ] {
        assert!(ours(from), "{from:?}");
    }
    for from in [
        "From: me@example.net",
        "From: me@notexample.org",
        "From: me@example.org.example.net",
        "From: =?utf-8?q?me=40example.org?= <a@example.net>",
    ] {
        assert!(!ours(from), "{from:?}");
    }
}

#[test]
fn where_from_names_nobody_sender_is_the_author() {
    assert!(ours("Sender: me@example.org"));
    assert!(ours("From: \r\nSender: Me <me@example.org>"));
    assert!(ours("From: Boss\r\nSENDER : me@example.org"));
    assert!(!ours("From: a@example.net\r\nSender: me@example.org"));
    let gathering = Gathering::begin(b"Sender: me@bank.example\r\n\r\n", |_| Ok(false)).unwrap();
    assert_eq!(gathering.author_domains()[0].as_str(), "bank.example");
}

#[test]
fn octets_that_are_no_text_do_not_hide_our_name() {
    let letter = gather(b"From: me@exam\xffple.org\r\n\r\n", &Table::default());
    assert!(letter.authors.iter().any(|author| author.ours));
}

#[test]
fn a_name_that_looks_like_an_address_is_no_address() {
    let judged = |from: &str| {
        let header = format!("From: {from}\r\n\r\n");
        let gathering = Gathering::begin(header.as_bytes(), |_| Ok(false)).unwrap();
        let domains = gathering.author_domains();
        domains.iter().map(|domain| domain.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(judged("you@bank.example <me@there.example>"), ["there.example"]);
    assert_eq!(judged("you@there.example <me@there.example>"), ["there.example"]);
    assert_eq!(judged("\"you@bank.example\" <me@there.example>"), ["there.example"]);
    assert_eq!(judged("\"you@bank.example\"@there.example"), ["there.example"]);
    for several in [
        "you@bank.example, <me@there.example>",
        "<you@bank.example> <me@there.example>",
        "you@bank.example <me@there.example",
        "you@bank.example (<me@there.example>",
        "you@bank.example <me@there.example> x",
        "You <=?utf-8?q?you=40bank.example?=>",
        "You <=?utf-8?q?you=40bank.example=00?=@there.example>",
        "You <you@bank.example\u{1}x>",
    ] {
        assert!(judged(several).contains(&"bank.example".to_owned()), "{several}");
    }
}

#[test]
fn a_from_of_ten_thousand_domains_costs_ten_and_is_told_apart() {
    let from = |count: usize| {
        let mailboxes: Vec<String> = (0..count).map(|n| format!("a@{n}.example")).collect();
        format!("From: {}\r\n\r\n", mailboxes.join(",\r\n "))
    };
    let authors = |count| gather(from(count).as_bytes(), &Table::default()).authors.len();
    assert_eq!((authors(MOST_AUTHORS), authors(100)), (MOST_AUTHORS, MOST_AUTHORS + 1));
    assert_eq!(gather(from(10_000).as_bytes(), &Table::default()).authors.len(), MOST_AUTHORS + 1);
}
