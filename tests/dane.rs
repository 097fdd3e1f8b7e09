//! DANE end to end (RFC 7672): the shipped server, names by Debian's knot with a signed root, and other people's servers
//! with TLS. Every row is tried twice: with DNSSEC validated by ourselves, and believed of Debian's unbound.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::mx::{self, Mx, StartTls};
use harness::pki::{Pki, Told, self_signed};
use harness::signed::{Fault, Zone};
use harness::town::{End, World};
use std::fmt::Write;

/// A domain of one server, and what must become of a letter to it.
struct Row {
    /// Says what is tried; also the domain's label.
    name: &'static str,
    shows: StartTls,
    /// TLSA records, without their owner.
    records: Vec<String>,
    end: End,
}

use End::{Clear, Private, Waits};
use StartTls::{Absent, Closed, Refused, Shows};

/// The words of every letter that waits for a right certificate.
const DEMANDED: &str = "demand a certificate that one of them matches (DANE)";
const NO_MATCH: &[&str] = &["no TLSA record matches its certificate", DEMANDED];

fn label(name: &str) -> String {
    name.replace(' ', "-").to_ascii_lowercase()
}

fn host(name: &str) -> String {
    format!("mx.{}.good.test", label(name))
}

fn to(name: &str) -> String {
    format!("friend@{}.good.test", label(name))
}

/// `_25._tcp.owner TLSA …`, relative to its zone.
fn tlsa(owner: &str, record: &str) -> String {
    format!("_{}._tcp.{owner} TLSA {record}\n", mx::port())
}

fn relay(pki: &Pki, more: &str) -> String {
    format!("{}roots = {:?}\n{more}", mx::relay(), pki.roots())
}

/// Tries all rows at once, in one signed zone; with more in `[relay]`.
#[track_caller]
fn hold(pki: &Pki, more: &str, rows: Vec<Row>) {
    let servers: Vec<Mx> = rows.iter().map(|row| Mx::start(row.shows.clone())).collect();
    let mut zone = String::new();
    for (row, server) in rows.iter().zip(&servers) {
        let label = label(row.name);
        let _ = write!(zone, "{label} MX 10 mx.{label}\nmx.{label} A {}\n", server.ip);
        for record in &row.records {
            zone.push_str(&tlsa(&format!("mx.{label}"), record));
        }
    }
    let world = World::start(&[Zone::signed("good.test", &zone)], &relay(pki, more), |_| {});
    for (way, town) in &world.towns {
        rows.iter().for_each(|row| town.send(&[&to(row.name)], &format!("{way}: {}", row.name)));
    }
    let mut faults = Vec::new();
    for (way, town) in &world.towns {
        for (row, server) in rows.iter().zip(&servers) {
            let subject = format!("{way}: {}", row.name);
            let end = town.judge(server, &subject, &to(row.name), &host(row.name), row.end);
            faults.extend(end.err());
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A server that shows a right certificate, or whatever `shows` makes of its name, and records that tell of something.
fn row(name: &'static str, end: End, make: impl FnOnce(&str) -> (StartTls, Vec<String>)) -> Row {
    let (shows, records) = make(&host(name));
    Row { name, shows, records, end }
}

#[test]
fn a_letter_goes_where_a_record_of_any_usable_type_matches() {
    let (pki, strangers) = (Pki::new(), Pki::new());
    let mut rows = Vec::new();
    // Of no authority that we know, in another name, and long expired: a record of usage 3 is all that counts.
    for (name, end, selector, matching) in [
        ("3 0 0", Private("DANE 3 0 0"), 0, 0),
        ("3 0 1", Private("DANE 3 0 1"), 0, 1),
        ("3 0 2", Private("DANE 3 0 2"), 0, 2),
        ("3 1 0", Private("DANE 3 1 0"), 1, 0),
        ("3 1 1", Private("DANE 3 1 1"), 1, 1),
        ("3 1 2", Private("DANE 3 1 2"), 1, 2),
    ] {
        rows.push(row(name, end, |_| {
            let shown = strangers.expired(&["mx.other.example"]);
            (Shows(shown.clone()), vec![shown.own().tlsa(3, selector, matching)])
        }));
    }
    for (name, end, selector, matching, root) in [
        ("2 0 0", Private("DANE 2 0 0"), 0, 0, true),
        ("2 0 1", Private("DANE 2 0 1"), 0, 1, true),
        ("2 0 2", Private("DANE 2 0 2"), 0, 2, false),
        ("2 1 0", Private("DANE 2 1 0"), 1, 0, false),
        ("2 1 1", Private("DANE 2 1 1"), 1, 1, true),
        ("2 1 2", Private("DANE 2 1 2"), 1, 2, false),
    ] {
        rows.push(row(name, end, |host| {
            let anchor = if root { strangers.root() } else { strangers.middle() };
            (Shows(strangers.host(&[host])), vec![anchor.tlsa(2, selector, matching)])
        }));
    }
    rows.push(row("TLS 1-2", Private("TLSv1.2"), |_| {
        let shown = self_signed(&["mx.other.example"]).tls12();
        (Shows(shown.clone()), vec![shown.own().tlsa(3, 1, 1)])
    }));
    rows.push(row("a key that is being rolled has both records", Private("DANE 3 1 1"), |_| {
        let (old, new) = (self_signed(&[]), self_signed(&[]));
        (Shows(new.clone()), vec![old.own().tlsa(3, 1, 1), new.own().tlsa(3, 1, 1)])
    }));
    rows.push(row("unusable ones beside a usable one do not count", Private("DANE 3 1 1"), |_| {
        let shown = self_signed(&[]);
        let bad = ["0 0 1", "1 1 1"].map(|kind| format!("{kind} {}", "07".repeat(32)));
        let short = format!("3 0 1 {}", "07".repeat(31));
        (Shows(shown.clone()), [&bad[..], &[short, shown.own().tlsa(3, 1, 1)]].concat())
    }));
    // The client knows this authority, and the record is of another usage and selector than what the others fail by.
    rows.push(row("one record in force is enough", Private("DANE 2 1 1"), |host| {
        let other = self_signed(&[]).own();
        let records = vec![other.tlsa(3, 1, 1), other.tlsa(3, 0, 2), pki.middle().tlsa(2, 1, 1)];
        (Shows(pki.host(&[host])), records)
    }));
    hold(&pki, "", rows);
}

#[test]
fn a_letter_waits_where_no_record_matches_and_never_goes_in_clear() {
    let pki = Pki::new();
    let other = || self_signed(&[]).own();
    let mut rows = Vec::new();
    // An authority that vouches for the name does not help.
    for (name, usage, selector, matching) in [
        ("wrong 3 0 0", 3, 0, 0),
        ("wrong 3 0 1", 3, 0, 1),
        ("wrong 3 0 2", 3, 0, 2),
        ("wrong 3 1 1", 3, 1, 1),
        ("wrong 3 1 2", 3, 1, 2),
        ("wrong 2 0 1", 2, 0, 1),
        ("wrong 2 1 1", 2, 1, 1),
    ] {
        rows.push(row(name, Waits(NO_MATCH), |host| {
            (Shows(pki.host(&[host])), vec![other().tlsa(usage, selector, matching)])
        }));
    }
    rows.push(row("the record of an authority under usage 3", Waits(NO_MATCH), |host| {
        (Shows(pki.host(&[host])), vec![pki.middle().tlsa(3, 1, 1)])
    }));
    rows.push(row("the record of the host under usage 2", Waits(&["(DANE)"]), |host| {
        let shown = self_signed(&[host]);
        (Shows(shown.clone()), vec![shown.own().tlsa(2, 1, 1)])
    }));
    rows.push(row("a key that was rolled without its record", Waits(NO_MATCH), |host| {
        (Shows(pki.host(&[host])), vec![pki.host(&[host]).own().tlsa(3, 1, 1)])
    }));
    rows.push(row("expired under usage 2", Waits(&["expired on 2021-01-01", "2 1 1", "(DANE)"]), |host| {
        (Shows(pki.expired(&[host])), vec![pki.middle().tlsa(2, 1, 1)])
    }));
    rows.push(row("a wrong name under usage 2", Waits(&["is for mx.other.example", "(DANE)"]), |_| {
        (Shows(pki.host(&["mx.other.example"])), vec![pki.root().tlsa(2, 0, 1)])
    }));
    let sure = || vec![other().tlsa(3, 1, 1)];
    rows.push(row("STARTTLS is not offered", Waits(&["STARTTLS", DEMANDED]), |_| (Absent, sure())));
    rows.push(row("STARTTLS is refused", Waits(&["454 4.7.0 not now", DEMANDED]), |_| {
        (Refused("454 4.7.0 not now"), sure())
    }));
    rows.push(row("the handshake breaks", Waits(&["in the handshake", DEMANDED]), |_| (Closed, sure())));
    rows.push(row("garbage for a handshake", Waits(&["not TLS", DEMANDED]), |_| {
        (StartTls::Garbage(b"220 not TLS at all, but text\r\n"), sure())
    }));
    rows.push(row("words behind the reply to STARTTLS", Waits(&["said more behind its reply"]), |_| {
        let shown = self_signed(&[]);
        (StartTls::Injects(shown.clone(), b"250 ok\r\n"), vec![shown.own().tlsa(3, 1, 1)])
    }));
    hold(&pki, "", rows);
}

#[test]
fn unusable_records_alone_demand_tls_with_any_certificate() {
    let pki = Pki::new();
    let digest = "07".repeat(32);
    let mut rows = Vec::new();
    for (name, record) in [
        ("usage 0", format!("0 0 1 {digest}")),
        ("usage 1", format!("1 1 1 {digest}")),
        ("usage 255", format!("255 1 1 {digest}")),
        ("selector 2", format!("3 2 1 {digest}")),
        ("matching type 3", format!("3 1 3 {digest}")),
        ("a digest that is too short", format!("3 1 1 {}", "07".repeat(20))),
        ("no certificate", format!("3 0 0 {digest}")),
    ] {
        rows.push(row(name, Private("not verified: its certificate is signed by"), |host| {
            (Shows(self_signed(&[host])), vec![record])
        }));
    }
    let unusable = || vec![format!("0 0 1 {digest}")];
    rows.push(row("a right certificate all the same", Private(", verified"), |host| {
        (Shows(pki.host(&[host])), unusable())
    }));
    let demanded = "its TLSA records demand TLS, though we can use none of them (DANE)";
    let words: &'static [&'static str] = Box::leak(Box::new([demanded]));
    rows.push(row("no TLS", Waits(words), |_| (Absent, unusable())));
    rows.push(row("broken TLS", Waits(words), |_| (Closed, unusable())));
    hold(&pki, "", rows);
}

#[test]
fn without_records_tls_is_a_matter_of_opportunity() {
    let pki = Pki::new();
    let rows = vec![
        row("verified", Private(", verified"), |host| (Shows(pki.host(&[host])), vec![])),
        row("anybody", Private("not verified: its certificate is signed by"), |host| {
            (Shows(self_signed(&[host])), vec![])
        }),
        row("in clear", Clear("clear: "), |_| (Absent, vec![])),
        row("broken", Clear("clear: TLS failed: it "), |_| (Closed, vec![])),
    ];
    hold(&pki, "", rows);
}

#[test]
fn where_tls_is_required_records_are_enough_and_where_it_is_off_they_count_for_nothing() {
    let pki = Pki::new();
    let required = "relay.tls = \"require\" demands a right certificate";
    let required: &'static [&'static str] = Box::leak(Box::new([required]));
    let unusable = || vec![format!("0 0 1 {}", "07".repeat(32))];
    let rows = vec![
        row("a record", Private("DANE 3 1 1"), |_| {
            let shown = self_signed(&[]);
            (Shows(shown.clone()), vec![shown.own().tlsa(3, 1, 1)])
        }),
        row("a wrong record", Waits(NO_MATCH), |host| (Shows(pki.host(&[host])), vec![wrong()])),
        row("unusable", Waits(required), |host| (Shows(self_signed(&[host])), unusable())),
        row("unusable and verified", Private(", verified"), |host| (Shows(pki.host(&[host])), unusable())),
        row("none", Waits(required), |host| (Shows(self_signed(&[host])), vec![])),
        row("off", Clear("clear: relay.tls is off"), |host| (Shows(pki.host(&[host])), vec![wrong()])),
    ];
    hold(&pki, "tls = \"require\"\n[relay.domains.\"off.good.test\"]\ntls = \"off\"\n", rows);
}

/// A host's address and perhaps a record, in some zone.
fn place(owner: &str, server: &Mx, record: Option<&str>) -> String {
    let record = record.map(|record| tlsa(owner, record)).unwrap_or_default();
    format!("{owner} A {}\n{record}", server.ip)
}

/// A record that nothing matches.
fn wrong() -> String {
    self_signed(&[]).own().tlsa(3, 1, 1)
}

#[test]
fn what_dns_cannot_prove_makes_a_letter_wait_and_what_it_does_not_promise_counts_for_nothing() {
    let pki = Pki::new();
    let shown = self_signed(&[]);
    let told: Told = shown.own();
    let server = || Mx::start(Shows(shown.clone()));
    let (right, wrong) = (told.tlsa(3, 1, 1), wrong());
    let bogus: &[&str] = &["DNSSEC", "bogus", "delv"];
    // Each: domain, its first server, what becomes of the letter there.
    let servers: Vec<Mx> = (0..14).map(|_| server()).collect();
    let [
        dead,
        both,
        sound,
        tlsa_bogus,
        mx_bogus,
        a_bogus,
        plain,
        far,
        near,
        chased,
        own,
        three,
        ignored,
        out,
    ] = &servers[..]
    else {
        unreachable!()
    };
    let good = [
        "dead MX 10 mx.dead\n",
        &place("mx.dead", dead, None),
        "both MX 10 mx.both\nboth MX 20 sound\n",
        &place("mx.both", both, None),
        &place("sound", sound, Some(&right)),
        "records MX 10 mx.records\n",
        &place("mx.records", tlsa_bogus, None),
        "address MX 10 mx.bogus.test.\n",
        &place("mx.near", near, Some(&wrong)),
        "chased MX 10 alias.chased\nalias.chased CNAME real.chased\n",
        &place("real.chased", chased, Some(&right)),
        &tlsa("alias.chased", &wrong),
        "own MX 10 alias.own\nalias.own CNAME real.own\n",
        &place("real.own", own, None),
        &tlsa("alias.own", &right),
        "ignored MX 10 mx.ignored\n",
        &place("mx.ignored", ignored, None),
        "out MX 10 alias.out\nalias.out CNAME out.far-host.test.\n",
        &tlsa("alias.out", &right),
    ]
    .concat();
    let zones = [
        Zone::signed("good.test", &good),
        // Delegated and never loaded: SERVFAIL.
        Zone::dead("_tcp.mx.dead.good.test"),
        Zone::dead("_tcp.mx.both.good.test"),
        Zone::signed("_tcp.mx.records.good.test", &format!("_{} TLSA {right}\n", mx::port())),
        Zone::signed("_tcp.mx.ignored.good.test", &format!("_{} TLSA {right}\n", mx::port())),
        Zone::nsec3("three.test", &format!("@ MX 10 mx\n{}", place("mx", three, None))),
        Zone::signed("bogus.test", &format!("@ MX 10 mx\n{}", place("mx", a_bogus, Some(&right)))),
        Zone::signed("expired.test", &format!("@ MX 10 mx\n{}", place("mx", mx_bogus, Some(&right)))),
        Zone::unsigned("plain.test", &format!("@ MX 10 mx\n{}", place("mx", plain, Some(&wrong)))),
        Zone::unsigned("near.test", "@ MX 10 mx.near.good.test.\n"),
        Zone::signed("far.test", "@ MX 10 mx.far-host.test.\n"),
        Zone::unsigned("far-host.test", &(place("mx", far, Some(&wrong)) + &place("out", out, Some(&wrong)))),
    ];
    let off = "[relay.domains.\"ignored.good.test\"]\ntls = \"off\"\n";
    let world = World::start(&zones, &relay(&pki, off), |signed| {
        signed.spoil("_tcp.mx.records.good.test", Fault::Corrupt);
        signed.spoil("_tcp.mx.ignored.good.test", Fault::Corrupt);
        signed.spoil("bogus.test", Fault::Corrupt);
        signed.spoil("expired.test", Fault::Expired);
    });
    let loose = Private("not verified: ");
    let rows: &[(&str, &str, &Mx, &str, End)] = &[
        (
            "TLSA is SERVFAIL",
            "dead.good.test",
            dead,
            "",
            Waits(&["(DANE) cannot be found out", "SERVFAIL", "delv _"]),
        ),
        (
            "TLSA of one host is SERVFAIL, another one works",
            "both.good.test",
            sound,
            "sound.good.test",
            Private("DANE 3 1 1"),
        ),
        ("TLSA is bogus", "records.good.test", tlsa_bogus, "", Waits(&["(DANE) cannot be found", "bogus"])),
        ("TLSA is bogus, and TLS is off", "ignored.good.test", ignored, "", Clear("relay.tls is off")),
        ("there is no TLSA, by NSEC3", "three.test", three, "mx.three.test", loose),
        ("the address is bogus", "address.good.test", a_bogus, "", Waits(bogus)),
        ("MX is bogus", "bogus.test", a_bogus, "", Waits(bogus)),
        ("signatures expired", "expired.test", mx_bogus, "", Waits(bogus)),
        ("a zone that is not signed", "plain.test", plain, "mx.plain.test", loose),
        ("MX is not signed, its host is", "near.test", near, "mx.near.good.test", loose),
        ("MX is signed, its host is not", "far.test", far, "mx.far-host.test", loose),
        (
            "records where a secure alias leads",
            "chased.good.test",
            chased,
            "real.chased.good.test",
            Private("DANE 3 1 1"),
        ),
        (
            "records at a secure alias itself",
            "own.good.test",
            own,
            "alias.own.good.test",
            Private("DANE 3 1 1"),
        ),
        (
            "records at a secure alias of a host that is not",
            "out.good.test",
            out,
            "alias.out.good.test",
            Private("DANE 3 1 1"),
        ),
    ];
    for (way, town) in &world.towns {
        rows.iter().for_each(|row| town.send(&[&format!("friend@{}", row.1)], &format!("{way}: {}", row.0)));
    }
    let mut faults = Vec::new();
    for (way, town) in &world.towns {
        for &(name, domain, server, sni, end) in rows {
            let (subject, to) = (format!("{way}: {name}"), format!("friend@{domain}"));
            faults.extend(town.judge(server, &subject, &to, sni, end).err());
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(both.connections() + dead.connections() + a_bogus.connections(), 0, "not even a connection");
}

#[test]
fn a_connection_for_a_domain_without_promises_is_not_used_for_one_with_records() {
    let pki = Pki::new();
    let server = Mx::start(Shows(self_signed(&[])));
    let zones = [
        Zone::signed("good.test", &format!("@ MX 10 mx\n{}", place("mx", &server, Some(&wrong())))),
        Zone::unsigned("plain.test", "@ MX 10 mx.good.test.\n"),
    ];
    let world = World::start(&zones, &relay(&pki, ""), |_| {});
    for (way, town) in &world.towns {
        let (plain, good) = ("friend@plain.test", "friend@good.test");
        town.send(&[plain], way);
        assert!(town.relayed(plain).contains("not verified: "), "{way}");
        // That connection waits for another letter now.
        town.send(&[good, plain], way);
        let reason = town.put_off(good);
        assert!(NO_MATCH.iter().all(|words| reason.contains(words)), "{way}: {reason}");
    }
    harness::eventually("both letters of each", || {
        (server.letters().len() == 2 * world.towns.len()).then_some(())
    });
    let letters = server.letters();
    assert!(letters.iter().all(|letter| letter.to == ["friend@plain.test"]), "{letters:?}");
}

#[test]
fn a_host_that_fails_is_passed_over_and_a_mended_zone_delivers_on_retry() {
    let pki = Pki::new();
    let shown = self_signed(&[]);
    let (first, second, lone) =
        (Mx::start(Shows(shown.clone())), Mx::start(Shows(shown.clone())), Mx::start(Shows(shown.clone())));
    let (right, wrong) = (shown.own().tlsa(3, 1, 1), wrong());
    let zone = |record: &str| {
        "@ MX 10 mx1\n@ MX 20 mx2\nlone MX 10 mx.lone\n".to_owned()
            + &place("mx1", &first, Some(&wrong))
            + &place("mx2", &second, Some(&right))
            + &place("mx.lone", &lone, Some(record))
    };
    let mut world = World::start(&[Zone::signed("two.test", &zone(&wrong))], &relay(&pki, ""), |_| {});
    for (way, town) in &world.towns {
        town.send(&["friend@two.test"], way);
        town.send(&["friend@lone.two.test"], way);
        assert!(town.relayed("friend@two.test").contains("DANE 3 1 1"), "{way}");
        assert_eq!(second.letter(way).sni.as_deref(), Some("mx2.two.test"), "{way}");

        let reason = town.put_off("friend@lone.two.test");
        assert!(NO_MATCH.iter().all(|words| reason.contains(words)), "{way}: {reason}");
        // The queue says the same, and the first thing in it is which server it is about.
        let shown = town.shown("friend@lone.two.test");
        let recipient = &shown["recipients"][0];
        let told = recipient["reason"].as_str().or(recipient["closed"]["reason"].as_str()).unwrap();
        assert!(told.starts_with("mx.lone.two.test [") && told.contains(DEMANDED), "{way}: {shown}");
    }
    assert!(first.letters().is_empty() && lone.letters().is_empty() && !lone.took_in_clear());

    world.signed.set("two.test", &zone(&right));
    for (way, town) in &world.towns {
        // The old records live for a second.
        harness::eventually("the letter delivered on retry", || {
            town.retry();
            lone.letters().iter().any(|letter| letter.text.contains(way)).then_some(())
        });
        assert!(town.relayed("friend@lone.two.test").contains("DANE 3 1 1"), "{way}");
    }
    assert!(first.letters().is_empty() && !lone.took_in_clear());
}
