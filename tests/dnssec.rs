//! Names with DNSSEC, asked of Debian's knot (and validated by ourselves) and of Debian's unbound (which is believed).

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::runtime;
use harness::signed::{Fault, Resolver, Signed, Zone};
use pillarbox::config::{self, Dnssec};
use pillarbox::mail::address::Domain;
use pillarbox::net::dns::{Dns, DnsError, Known, Located, MailHosts};
use pillarbox::policy::tls::Tlsa;
use std::net::IpAddr;

/// `[dns]` as a server's configuration has it, through the configuration's own reader.
fn dns(table: &str) -> Dns {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), table).unwrap();
    let sources = config::Sources { file: Some(file.path().to_owned()), overrides: Vec::new() };
    Dns::new(&config::Server::load(&sources).unwrap().dns).unwrap()
}

/// Both ways to know: by ourselves, and from a resolver on the same machine.
struct Both {
    ways: [(&'static str, Dns); 2],
    _resolver: Resolver,
}

impl Both {
    fn of(signed: &Signed) -> Both {
        let resolver = signed.resolver();
        let ways = [("validate", dns(&signed.validate())), ("trust", dns(&resolver.trust()))];
        Both { ways, _resolver: resolver }
    }

    #[track_caller]
    fn route(&self, domain: &str, expected: Result<(MailHosts, bool), &str>) {
        for (way, dns) in &self.ways {
            let found = runtime().block_on(dns.route(&name(domain)));
            let expected = expected.clone().map(|(value, secure)| Known { value, secure });
            compare(&format!("{way}: route {domain}"), found, expected);
        }
    }

    #[track_caller]
    fn locate(&self, host: &str, expected: Result<(&[&str], bool, Option<&str>), &str>) {
        for (way, dns) in &self.ways {
            let found = runtime().block_on(dns.locate(&name(host)));
            let expected = expected.map(|(addresses, secure, alias)| Located {
                addresses: addresses.iter().map(|text| text.parse::<IpAddr>().unwrap()).collect(),
                secure,
                alias: alias.map(name),
            });
            compare(&format!("{way}: locate {host}"), found, expected);
        }
    }

    #[track_caller]
    fn tlsa(&self, host: &str, expected: Result<(&[u8], bool), &str>) {
        for (way, dns) in &self.ways {
            let found = runtime().block_on(dns.tlsa(&name(host), 25));
            let expected =
                expected.map(|(bytes, secure)| Known { value: bytes.iter().map(tlsa).collect(), secure });
            compare(&format!("{way}: tlsa {host}"), found, expected);
        }
    }
}

/// An error is expected by a part of its text.
#[track_caller]
fn compare<T: std::fmt::Debug + PartialEq>(
    what: &str,
    found: Result<T, DnsError>,
    expected: Result<T, &str>,
) {
    match (found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{what}"),
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{what}: {error}"),
        (found, expected) => panic!("{what}: {found:?}, not {expected:?}"),
    }
}

fn name(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn mx(hosts: &[&str]) -> MailHosts {
    let mx = |(at, host): (usize, &&str)| pillarbox::net::dns::Mx { preference: at as u16, host: name(host) };
    MailHosts::Mx(hosts.iter().enumerate().map(mx).collect())
}

/// A 3 1 1 record whose data are all the same octet.
fn tlsa(octet: &u8) -> Tlsa {
    Tlsa { usage: 3, selector: 1, matching: 1, data: vec![*octet; 32] }
}

fn tlsa_text(owner: &str, octet: u8) -> String {
    format!("{owner} TLSA 3 1 1 {}\n", format!("{octet:02x}").repeat(32))
}

/// A domain that takes mail, with TLSA records.
fn good() -> String {
    "@ MX 0 mx\nmx A 192.0.2.1\nmx AAAA 2001:db8::1\n".to_owned() + &tlsa_text("_25._tcp.mx", 7)
}

const BOTH: &[&str] = &["192.0.2.1", "2001:db8::1"];

#[test]
fn secure_answers_and_secure_denials() {
    let null = Zone::signed("null.test", "@ MX 0 .");
    let signed = Signed::start(&[
        Zone::signed("one.test", &(good() + "own A 192.0.2.3\ntext TXT hello\n")),
        Zone::nsec3("three.test", &(good() + "own A 192.0.2.3\ntext TXT hello\n")),
        null,
    ]);
    let both = Both::of(&signed);
    for zone in ["one.test", "three.test"] {
        let at = |host: &str| format!("{host}.{zone}");
        both.route(zone, Ok((mx(&[&at("mx")]), true)));
        both.route(&at("own"), Ok((MailHosts::Implicit, true)));
        both.route(&at("text"), Ok((MailHosts::NoHosts, true)));
        both.route(&at("nobody"), Ok((MailHosts::NoDomain, true)));
        both.locate(&at("mx"), Ok((BOTH, true, None)));
        both.locate(&at("own"), Ok((&["192.0.2.3"], true, None)));
        both.locate(&at("nobody"), Ok((&[], true, None)));
        both.tlsa(&at("mx"), Ok((&[7], true)));
        both.tlsa(&at("own"), Ok((&[], true)));
        both.tlsa(&at("nobody"), Ok((&[], true)));
    }
    both.route("null.test", Ok((MailHosts::NullMx, true)));
    both.route("nowhere.test", Ok((MailHosts::NoDomain, true)));
}

#[test]
fn insecure_delegations_are_answered_without_a_promise() {
    let signed = Signed::start(&[Zone::unsigned("plain.test", &(good() + "own A 192.0.2.3\n"))]);
    let both = Both::of(&signed);
    both.route("plain.test", Ok((mx(&["mx.plain.test"]), false)));
    both.route("own.plain.test", Ok((MailHosts::Implicit, false)));
    both.route("nobody.plain.test", Ok((MailHosts::NoDomain, false)));
    both.locate("mx.plain.test", Ok((BOTH, false, None)));
    both.locate("nobody.plain.test", Ok((&[], false, None)));
    both.tlsa("mx.plain.test", Ok((&[7], false)));
    both.tlsa("own.plain.test", Ok((&[], false)));
}

#[test]
fn cnames_are_as_good_as_the_whole_way() {
    let aliases = "here CNAME mx\nthere CNAME mx.three.test.\naway CNAME mx.plain.test.\nnone CNAME nobody\n\
                   void CNAME nobody.three.test.\nfour CNAME own\nround CNAME go\ngo CNAME round\nown A 192.0.2.3\n\
                   _25._tcp.there CNAME _25._tcp.mx.three.test.\n_25._tcp.away CNAME _25._tcp.mx.plain.test.\n\
                   _25._tcp.void CNAME tlsa.three.test.\n*._tcp.wild CNAME tlsa\nwild A 192.0.2.4\n\
                   *._tcp.far CNAME tlsa.three.test.\n_25._tcp.none CNAME nobody\n";
    let signed = Signed::start(&[
        Zone::signed("one.test", &(good() + aliases + &tlsa_text("tlsa", 9))),
        Zone::nsec3("three.test", &(good() + aliases)),
        Zone::unsigned(
            "plain.test",
            &(good() + "back CNAME mx.one.test.\n_25._tcp.back CNAME tlsa.one.test.\n"),
        ),
    ]);
    let both = Both::of(&signed);
    for zone in ["one.test", "three.test"] {
        let at = |host: &str| format!("{host}.{zone}");
        both.locate(&at("here"), Ok((BOTH, true, Some(&at("mx")))));
        both.locate(&at("there"), Ok((BOTH, true, Some("mx.three.test"))));
        both.locate(&at("away"), Ok((BOTH, false, None)));
        both.locate(&at("none"), Ok((&[], true, Some(&at("nobody")))));
        both.locate(&at("void"), Ok((&[], true, Some("nobody.three.test"))));
        both.locate(&at("four"), Ok((&["192.0.2.3"], true, Some(&at("own")))));
        both.tlsa(&at("there"), Ok((&[7], true)));
        both.tlsa(&at("away"), Ok((&[7], false)));
        both.tlsa(&at("void"), Ok((&[], true)));
        both.tlsa(&at("none"), Ok((&[], true)));
        both.tlsa(&at("far"), Ok((&[], true)));
    }
    both.tlsa("wild.one.test", Ok((&[9], true)));
    both.locate("back.plain.test", Ok((BOTH, false, None)));
    both.tlsa("back.plain.test", Ok((&[9], false)));
    both.route("here.one.test", Ok((MailHosts::Implicit, true)));
    both.locate("round.one.test", Err("round.one.test"));
}

#[test]
fn bogus_answers_are_faults_that_say_so() {
    const BOGUS: &str = "the answer is bogus";
    let zones = [
        ("expired.test", Fault::Expired),
        ("corrupt.test", Fault::Corrupt),
        ("keyless.test", Fault::WrongDs),
    ];
    let mut signed = Signed::start(&zones.map(|(zone, _)| Zone::signed(zone, &good())));
    let healthy = Both::of(&signed);
    for (zone, fault) in zones {
        healthy.route(zone, Ok((mx(&[&format!("mx.{zone}")]), true)));
        signed.spoil(zone, fault);
    }
    let both = Both::of(&signed);
    for (zone, _) in zones {
        let at = |host: &str| format!("{host}.{zone}");
        both.route(zone, Err(BOGUS));
        both.route(&at("nobody"), Err(BOGUS));
        both.locate(&at("mx"), Err(BOGUS));
        both.tlsa(&at("mx"), Err(&format!("delv _25._tcp.mx.{zone} TLSA")));
        both.tlsa(&at("nobody"), Err(BOGUS));
    }
}

#[test]
fn a_server_that_fails_is_a_fault() {
    let signed = Signed::start(&[Zone::dead("dead.test")]);
    let both = Both::of(&signed);
    both.route("dead.test", Err("MX of dead.test"));
    both.locate("mx.dead.test", Err("of mx.dead.test"));
    both.tlsa("mx.dead.test", Err("TLSA of _25._tcp.mx.dead.test"));
}

#[test]
fn records_that_change_are_seen_when_they_have_run_out() {
    let mut signed = Signed::start(&[Zone::signed("one.test", &good())]);
    let both = Both::of(&signed);
    both.tlsa("mx.one.test", Ok((&[7], true)));
    signed.set("one.test", &("@ MX 0 mx\nmx A 192.0.2.1\n".to_owned() + &tlsa_text("_25._tcp.mx", 8)));
    for (way, dns) in &both.ways {
        harness::eventually(way, || {
            let found = runtime().block_on(dns.tlsa(&name("mx.one.test"), 25)).unwrap();
            (found == Known { value: vec![tlsa(&8)], secure: true }).then_some(())
        });
    }
}

#[test]
fn a_wrong_anchor_stops_those_who_insist_and_nobody_else() {
    let signed = Signed::start(&[Zone::signed("one.test", &good())]);
    let servers = vec![signed.address()];
    let ask = |dnssec, anchors| {
        let config = config::Dns { servers: servers.clone(), dnssec, anchors };
        runtime().block_on(Dns::new(&config).unwrap().tlsa(&name("mx.one.test"), 25))
    };
    // The real root's keys have signed nothing here.
    let refused = ask(Some(Dnssec::Validate), None).unwrap_err().to_string();
    assert!(refused.contains("install unbound") && refused.contains(&servers[0].to_string()), "{refused}");
    let secure = ask(Some(Dnssec::Validate), Some(signed.anchor())).unwrap();
    assert!(secure.secure);
    // knot sets no AD bit, and with `off` nobody looks.
    for mode in [None, Some(Dnssec::Trust), Some(Dnssec::Off)] {
        let plain = ask(mode, None).unwrap();
        assert_eq!(plain, Known { value: vec![tlsa(&7)], secure: false }, "{mode:?}");
    }
}
