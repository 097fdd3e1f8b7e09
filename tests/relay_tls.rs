//! TLS of what is relayed, where neither DANE nor MTA-STS speaks: by opportunity, or as `relay.tls` says; with servers that
//! fail at it, and with Debian's Postfix and Exim.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::home::Home;
use harness::mx::{self, Mx, StartTls};
use harness::peers::{Exim, Postfix};
use harness::pki::{Pki, Shown, self_signed};
use harness::town::{End, ME, Town};
use harness::{Dns, ZONE, eventually};
use std::net::SocketAddr;
use std::sync::Arc;

use End::{Clear, Private, Waits};
use StartTls::{Absent, Closed, Cuts, Garbage, Injects, Leaves, Refused, Shows};

const REQUIRED: &str = "relay.tls = \"require\" demands a right certificate";

/// A domain with one server, and what must become of a letter to it.
struct Row {
    name: &'static str,
    server: Mx,
    /// How many connections that takes; 0: no matter.
    connections: usize,
    end: End,
}

impl Row {
    fn new(name: &'static str, end: End, shows: StartTls) -> Row {
        Row { name, server: Mx::start(shows), connections: 1, end }
    }

    fn connections(self, connections: usize) -> Row {
        Row { connections, ..self }
    }
}

fn label(name: &str) -> String {
    name.replace(' ', "-").to_ascii_lowercase()
}

fn host(name: &str) -> String {
    format!("mx.{}.example", label(name))
}

fn to(name: &str) -> String {
    format!("friend@{}.example", label(name))
}

/// A server of ours among these, with more in `[relay]`.
fn town(pki: &Pki, rows: &[Row], relay: &str) -> Town {
    let dns = Dns::start(ZONE);
    for row in rows {
        let (label, ip) = (label(row.name), row.server.ip);
        dns.add(&format!(
            "{label}.example. 60 IN MX 10 mx.{label}.example.\nmx.{label}.example. 60 IN A {ip}\n"
        ));
    }
    let relay = format!("{}roots = {:?}\n{relay}", mx::relay(), pki.roots());
    Town::start(&Arc::new(Home::new(&dns, ME)), &servers(dns), &relay)
}

/// `[dns]` for a name server that lives as long as the tests do.
fn servers(dns: Dns) -> String {
    let table = format!("[dns]\nservers = [\"{}\"]\n", dns.address());
    std::mem::forget(dns);
    table
}

#[track_caller]
fn hold(pki: &Pki, relay: &str, rows: &[Row]) {
    let town = town(pki, rows, relay);
    rows.iter().for_each(|row| town.send(&[&to(row.name)], &format!("<{}>", row.name)));
    let mut faults = Vec::new();
    for row in rows {
        let subject = format!("<{}>", row.name);
        faults.extend(town.judge(&row.server, &subject, &to(row.name), &host(row.name), row.end).err());
        let connections = row.server.connections();
        if row.connections != connections {
            faults.push(format!("{}: {connections} connections", row.name));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn by_opportunity_everything_is_better_than_nothing_and_each_is_recorded() {
    let pki = Pki::new();
    let right = |name: &str| pki.host(&[&host(name)]);
    let rows = [
        Row::new("verified", Private("TLSv1.3 TLS13_AES_256_GCM_SHA384, verified"), Shows(right("verified"))),
        Row::new("older", Private("TLSv1.2 "), Shows(right("older").tls12())),
        Row::new(
            "self signed",
            Private("not verified: its certificate is signed by an unknown authority"),
            Shows(self_signed(&[&host("self signed")])),
        ),
        Row::new(
            "expired",
            Private("not verified: its certificate expired on 2021-01-01"),
            Shows(pki.expired(&[&host("expired")])),
        ),
        Row::new(
            "other name",
            Private("not verified: its certificate is for mx.other.example, not for mx.other-name.example"),
            Shows(pki.host(&["mx.other.example"])),
        ),
        Row::new("absent", Clear("clear: not offered"), Absent),
        Row::new("refused", Clear("454 4.7.0 TLS not available"), Refused("454 4.7.0 TLS not available")),
        Row::new("refused for good", Clear("501 5.5.4 no"), Refused("501 5.5.4 no")),
        // What is broken is tried in clear on a connection of its own.
        Row::new("closed", Clear("clear: TLS failed: it "), Closed).connections(2),
        Row::new(
            "garbage",
            Clear("clear: TLS failed: what it sent is not TLS"),
            Garbage(b"hello, who is there?\r\n"),
        )
        .connections(2),
        Row::new(
            "injected",
            Clear("clear: TLS failed: the server said more behind its reply to STARTTLS"),
            Injects(right("injected"), b"250 2.0.0 all is taken\r\n"),
        )
        .connections(2),
        // Once a letter is under way there is no way back to clear.
        Row::new("leaves", Waits(&["mx.leaves.example"]), Leaves(right("leaves"))),
        Row::new("cuts", Waits(&["mx.cuts.example"]), Cuts(right("cuts"))),
    ];
    hold(&pki, "", &rows);
}

#[test]
fn where_tls_is_required_only_a_right_certificate_will_do_but_for_the_domains_that_are_excepted() {
    let pki = Pki::new();
    let right = |name: &str| pki.host(&[&host(name)]);
    let excepted = "[relay.domains.\"off.example\"]\ntls = \"off\"\n\
                    [relay.domains.\"loose.example\"]\ntls = \"opportunistic\"\n";
    let rows = [
        Row::new("verified", Private(", verified"), Shows(right("verified"))),
        Row::new(
            "self signed",
            Waits(&["unknown authority", REQUIRED]),
            Shows(self_signed(&[&host("self signed")])),
        ),
        Row::new(
            "expired",
            Waits(&["expired on 2021-01-01", REQUIRED]),
            Shows(pki.expired(&[&host("expired")])),
        ),
        Row::new("other", Waits(&["is for mx.a.example", REQUIRED]), Shows(pki.host(&["mx.a.example"]))),
        Row::new("absent", Waits(&["does not offer STARTTLS", REQUIRED]), Absent),
        Row::new("refused", Waits(&["454 4.7.0 no", REQUIRED]), Refused("454 4.7.0 no")),
        Row::new("closed", Waits(&["in the handshake", REQUIRED]), Closed),
        Row::new("off", Clear("clear: relay.tls is off"), Shows(right("off"))),
        Row::new("loose", Private("not verified: "), Shows(self_signed(&[]))),
    ];
    hold(&pki, &format!("tls = \"require\"\n{excepted}"), &rows);
}

#[test]
fn a_domain_can_ask_for_more_than_all_others() {
    let pki = Pki::new();
    let strict = "[relay.domains.\"strict.example\"]\ntls = \"require\"\n";
    let rows = [
        Row::new("strict", Waits(&[REQUIRED]), Shows(self_signed(&[&host("strict")]))),
        Row::new("easy", Private("not verified: "), Shows(self_signed(&[&host("easy")]))),
    ];
    hold(&pki, strict, &rows);
}

#[test]
fn where_tls_is_off_nobody_is_asked_for_it() {
    let pki = Pki::new();
    let rows = [Row::new("offered", Clear("clear: relay.tls is off"), Shows(pki.host(&[&host("offered")])))];
    hold(&pki, "tls = \"off\"\n", &rows);
    let heard = rows[0].server.heard_in_clear();
    assert!(!heard.iter().any(|line| line.starts_with("STARTTLS")), "{heard:?}");
}

#[test]
fn the_queue_shows_what_protected_the_copies_that_are_delivered() {
    let pki = Pki::new();
    let shown = pki.host(&[&host("two")]);
    let rows = [Row::new("two", Private(", verified"), Shows(shown))];
    let town = town(&pki, &rows, "");
    let later = "later@two.example";
    town.send(&[&to("two"), later], "<for two>");
    let letter = rows[0].server.letter("<for two>");
    assert_eq!(letter.to, [to("two")]);
    town.relayed(&to("two"));
    town.put_off(later);
    let told = eventually("both in the queue", || {
        let told = town.shown(later);
        told["recipients"][0]["tls"].is_string().then_some(told)
    });
    let [first, second] = [&told["recipients"][0], &told["recipients"][1]];
    assert_eq!((&first["state"], &second["state"]), (&"delivered".into(), &"pending".into()), "{told}");
    assert_eq!(first["tls"], "TLSv1.3 TLS13_AES_256_GCM_SHA384, verified");
    assert_eq!(first["to"], format!("{} [{}]: 250 2.0.0 taken", host("two"), rows[0].server.ip));
    assert!(
        second["tls"].is_null() && second["reason"].as_str().unwrap().contains("450 4.2.1 later"),
        "{told}"
    );
}

/// One letter to a peer's friend, and the end of the server in good manners; what its log says of the way.
fn relay_to(pki: &Pki, peer: SocketAddr) -> String {
    let dns = Dns::start(ZONE);
    let relay = format!(
        "[relay]\nport = {}\nallow_private = true\nroots = {:?}\ntls = \"require\"\n",
        peer.port(),
        pki.roots()
    );
    let home = Arc::new(Home::new(&dns, ME));
    let mut town = Town::start(&home, &servers(dns), &relay);
    town.send(&["friend@there.example"], "<under TLS>");
    let tls = town.relayed("friend@there.example");
    assert!(town.server.terminate().success());
    tls
}

fn peers_certificate(pki: &Pki) -> Shown {
    pki.host(&["mx.there.example"])
}

#[test]
fn postfix_takes_letters_under_tls_and_says_so() {
    let pki = Pki::new();
    let postfix = Postfix::start_with_tls(&peers_certificate(&pki));
    let tls = relay_to(&pki, postfix.address);
    assert_eq!(tls, "TLSv1.3 TLS13_AES_256_GCM_SHA384, verified");
    postfix.says(&["TLS connection established", "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384"]);
    postfix.says(&["disconnect from", "starttls=1", "quit=1"]);
    let letter = eventually("the letter at the friend's", || postfix.letters().pop());
    assert!(letter.contains("<under TLS>") && letter.contains("using TLSv1.3"), "{letter}");
    let log = postfix.log();
    assert!(!log.contains("lost connection") && !log.contains("improper command"), "{log}");
}

#[test]
fn exim_takes_letters_under_tls_and_says_so() {
    let pki = Pki::new();
    let exim = Exim::stranger_with_tls(&peers_certificate(&pki)).listen();
    let tls = relay_to(&pki, exim.address);
    assert_eq!(tls, "TLSv1.3 TLS13_AES_256_GCM_SHA384, verified");
    let letter = eventually("the letter at the friend's", || exim.letters().pop());
    assert!(letter.contains("<under TLS>") && letter.contains("with esmtps  (TLS1.3) tls"), "{letter}");
    let log = exim.log();
    assert!(log.contains("P=esmtps X=TLS1.3:") && !log.contains("TLS error"), "{log}");
}
