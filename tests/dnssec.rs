//! Names with DNSSEC, asked of Debian's knot (and validated by ourselves) and of Debian's unbound (which is believed).

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::runtime;
use harness::signed::{Fault, Resolver, Signed, Zone};
use hickory_proto::dnssec::rdata::{DNSSECRData, RRSIG};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use pillarbox::config::{self, Dnssec};
use pillarbox::mail::address::Domain;
use pillarbox::net::dns::{Dns, DnsError, Known, Located, MailHosts};
use pillarbox::policy::tls::Tlsa;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `[dns]` as a server's configuration has it, through the configuration's own reader.
fn dns(table: &str) -> Dns {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), table).unwrap();
    let sources = config::Sources { file: Some(file.path().to_owned()), overrides: Vec::new() };
    Dns::new(&config::Server::load(&sources).unwrap().dns).unwrap()
}

/// The ways to know: by ourselves, straight from the authority or through a resolver, and from a resolver on the same
/// machine.
struct Ways {
    ways: [(&'static str, Dns); 3],
    _resolver: Resolver,
}

impl Ways {
    fn of(signed: &Signed) -> Ways {
        let resolver = signed.resolver();
        let ways = [
            ("validate", dns(&signed.validate())),
            ("validate through a resolver", dns(&resolver.validate(signed))),
            ("trust", dns(&resolver.trust())),
        ];
        Ways { ways, _resolver: resolver }
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
                own_secure: secure,
                alias: alias.map(name),
            });
            compare(&format!("{way}: locate {host}"), found, expected);
        }
    }

    /// A host with `BOTH` addresses, whose own zone alone is secure or not.
    #[track_caller]
    fn locate_away(&self, host: &str, own_secure: impl Fn(&str) -> bool) {
        for (way, dns) in &self.ways {
            let own_secure = own_secure(way);
            let found = runtime().block_on(dns.locate(&name(host)));
            let addresses = BOTH.iter().map(|text| text.parse::<IpAddr>().unwrap()).collect();
            let expected = Located { addresses, secure: false, own_secure, alias: None };
            compare(&format!("{way}: locate {host}"), found, Ok(expected));
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
    let ways = Ways::of(&signed);
    for zone in ["one.test", "three.test"] {
        let at = |host: &str| format!("{host}.{zone}");
        ways.route(zone, Ok((mx(&[&at("mx")]), true)));
        ways.route(&at("own"), Ok((MailHosts::Implicit, true)));
        ways.route(&at("text"), Ok((MailHosts::NoHosts, true)));
        ways.route(&at("nobody"), Ok((MailHosts::NoDomain, true)));
        ways.locate(&at("mx"), Ok((BOTH, true, None)));
        ways.locate(&at("own"), Ok((&["192.0.2.3"], true, None)));
        ways.locate(&at("nobody"), Ok((&[], true, None)));
        ways.tlsa(&at("mx"), Ok((&[7], true)));
        ways.tlsa(&at("own"), Ok((&[], true)));
        ways.tlsa(&at("nobody"), Ok((&[], true)));
    }
    ways.route("null.test", Ok((MailHosts::NullMx, true)));
    ways.route("nowhere.test", Ok((MailHosts::NoDomain, true)));
}

#[test]
fn insecure_delegations_are_answered_without_a_promise() {
    let signed = Signed::start(&[Zone::unsigned("plain.test", &(good() + "own A 192.0.2.3\n"))]);
    let ways = Ways::of(&signed);
    ways.route("plain.test", Ok((mx(&["mx.plain.test"]), false)));
    ways.route("own.plain.test", Ok((MailHosts::Implicit, false)));
    ways.route("nobody.plain.test", Ok((MailHosts::NoDomain, false)));
    ways.locate("mx.plain.test", Ok((BOTH, false, None)));
    ways.locate("nobody.plain.test", Ok((&[], false, None)));
    ways.tlsa("mx.plain.test", Ok((&[7], false)));
    ways.tlsa("own.plain.test", Ok((&[], false)));
}

#[test]
fn cnames_are_as_good_as_the_whole_way() {
    let aliases = "here CNAME mx\nthere CNAME mx.three.test.\naway CNAME mx.plain.test.\nnone CNAME nobody\n\
                   void CNAME nobody.three.test.\nfour A 192.0.2.6\nfifth CNAME own\nround CNAME go\ngo CNAME round\nown A 192.0.2.3\n\
                   _25._tcp.there CNAME _25._tcp.mx.three.test.\n_25._tcp.away CNAME _25._tcp.mx.plain.test.\n\
                   empty A 192.0.2.6\n_25._tcp.empty CNAME nobody.three.test.\n*._tcp.wild CNAME tlsa\nwild A 192.0.2.4\n\
                   far A 192.0.2.6\n*._tcp.far CNAME nobody.three.test.\n_25._tcp.four CNAME nobody\n";
    let signed = Signed::start(&[
        Zone::signed("one.test", &(good() + aliases + &tlsa_text("tlsa", 9))),
        Zone::nsec3("three.test", &(good() + aliases)),
        Zone::unsigned(
            "plain.test",
            &(good() + "back CNAME mx.one.test.\n_25._tcp.back CNAME tlsa.one.test.\n"),
        ),
    ]);
    let ways = Ways::of(&signed);
    for zone in ["one.test", "three.test"] {
        let at = |host: &str| format!("{host}.{zone}");
        ways.locate(&at("here"), Ok((BOTH, true, Some(&at("mx")))));
        ways.locate(&at("there"), Ok((BOTH, true, Some("mx.three.test"))));
        ways.locate_away(&at("away"), |_| true);
        ways.locate(&at("none"), Ok((&[], true, Some(&at("nobody")))));
        ways.locate(&at("void"), Ok((&[], true, Some("nobody.three.test"))));
        ways.locate(&at("fifth"), Ok((&["192.0.2.3"], true, Some(&at("own")))));
        ways.tlsa(&at("there"), Ok((&[7], true)));
        ways.tlsa(&at("away"), Ok((&[7], false)));
        ways.tlsa(&at("empty"), Ok((&[], true)));
        ways.tlsa(&at("own"), Ok((&[], true)));
        ways.tlsa(&at("four"), Ok((&[], true)));
        ways.tlsa(&at("far"), Ok((&[], true)));
    }
    ways.tlsa("wild.one.test", Ok((&[9], true)));
    ways.locate_away("back.plain.test", |_| false);
    ways.tlsa("back.plain.test", Ok((&[9], false)));
    ways.route("here.one.test", Ok((MailHosts::Implicit, true)));
    ways.locate("round.one.test", Err("round.one.test"));
}

#[test]
fn a_dname_stands_for_the_cnames_below_it() {
    let signed = Signed::start(&[
        Zone::signed("one.test", "sub DNAME three.test.\nplain DNAME plain.test.\n"),
        Zone::nsec3("three.test", &good()),
        Zone::unsigned("plain.test", &good()),
    ]);
    let ways = Ways::of(&signed);
    ways.locate("mx.sub.one.test", Ok((BOTH, true, Some("mx.three.test"))));
    ways.tlsa("mx.sub.one.test", Ok((&[7], true)));
    // What unbound says of the CNAME alone does not help.
    ways.locate_away("mx.plain.one.test", |way| way != "trust");
}

#[test]
fn wildcards_are_as_good_as_the_proof_that_nothing_is_closer() {
    let wild = "* MX 0 mx\n*.deep A 192.0.2.5\nz.deep TXT hello\n*._tcp.mx TLSA 3 1 1 ".to_owned()
        + &"07".repeat(32);
    let wild = wild + "\nmx A 192.0.2.1\nzz TXT last\n*.alias CNAME mx\n*.void CNAME nobody.mx\n";
    let signed = Signed::start(&[Zone::signed("one.test", &wild), Zone::nsec3("three.test", &wild)]);
    let ways = Ways::of(&signed);
    for zone in ["one.test", "three.test"] {
        let at = |host: &str| format!("{host}.{zone}");
        ways.route(&at("any"), Ok((mx(&[&at("mx")]), true)));
        ways.route(&at("zzz"), Ok((mx(&[&at("mx")]), true)));
        ways.route(&at("two.labels"), Ok((mx(&[&at("mx")]), true)));
        ways.route(&at("a.deep"), Ok((MailHosts::Implicit, true)));
        ways.route(&at("z.deep"), Ok((MailHosts::NoHosts, true)));
        ways.locate(&at("b.c.deep"), Ok((&["192.0.2.5"], true, None)));
        ways.locate(&at("any.alias"), Ok((&["192.0.2.1"], true, Some(&at("mx")))));
        ways.tlsa(&at("mx"), Ok((&[7], true)));
        ways.tlsa(&at("any"), Ok((&[], true)));
        // The CNAME comes with the denial of what it leads to, and ways want their proof.
        ways.route(&at("any.alias"), Ok((MailHosts::Implicit, true)));
        ways.route(&at("any.void"), Ok((MailHosts::NoDomain, true)));
    }
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
    let healthy = Ways::of(&signed);
    for (zone, fault) in zones {
        healthy.route(zone, Ok((mx(&[&format!("mx.{zone}")]), true)));
        signed.spoil(zone, fault);
    }
    let ways = Ways::of(&signed);
    for (zone, _) in zones {
        let at = |host: &str| format!("{host}.{zone}");
        ways.route(zone, Err(BOGUS));
        ways.route(&at("nobody"), Err(BOGUS));
        ways.locate(&at("mx"), Err(BOGUS));
        ways.tlsa(&at("mx"), Err(&format!("delv _25._tcp.mx.{zone} TLSA")));
        ways.tlsa(&at("nobody"), Err(BOGUS));
    }
}

#[test]
fn a_server_that_fails_is_a_fault() {
    let signed = Signed::start(&[Zone::dead("dead.test")]);
    let ways = Ways::of(&signed);
    ways.route("dead.test", Err("MX of dead.test"));
    ways.locate("mx.dead.test", Err("of mx.dead.test"));
    ways.tlsa("mx.dead.test", Err("TLSA of _25._tcp.mx.dead.test"));
}

#[test]
fn records_that_change_are_seen_when_they_have_run_out() {
    let mut signed = Signed::start(&[Zone::signed("one.test", &good())]);
    let ways = Ways::of(&signed);
    ways.tlsa("mx.one.test", Ok((&[7], true)));
    signed.set("one.test", &("@ MX 0 mx\nmx A 192.0.2.1\n".to_owned() + &tlsa_text("_25._tcp.mx", 8)));
    for (way, dns) in &ways.ways {
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

#[test]
fn what_does_not_fit_a_datagram_is_fetched_by_tcp() {
    let many: String = (0..60).map(|i| tlsa_text("_25._tcp.mx", i)).collect();
    let signed = Signed::start(&[Zone::signed("one.test", &format!("mx A 192.0.2.1\n{many}"))]);
    for (way, dns) in &Ways::of(&signed).ways {
        let mut found = runtime().block_on(dns.tlsa(&name("mx.one.test"), 25)).unwrap();
        found.value.sort_by(|a, b| a.data.cmp(&b.data));
        let all: Vec<Tlsa> = (0..60).map(|octet| tlsa(&octet)).collect();
        assert_eq!(found, Known { value: all, secure: true }, "{way}");
    }
}

/// A name server between us and knot that changes every answer to a question of one type.
fn liar(server: SocketAddr, kind: RecordType, lie: impl Fn(&mut Message) + Send + 'static) -> SocketAddr {
    meddler(server, move |answer| {
        if answer.queries[0].query_type() == kind {
            lie(answer);
        }
    })
}

/// A name server between us and knot that may change every answer.
fn meddler(server: SocketAddr, lie: impl Fn(&mut Message) + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, asker)) = socket.recv_from(&mut buffer) {
            let onward = UdpSocket::bind("127.0.0.1:0").unwrap();
            onward.send_to(&buffer[..length], server).unwrap();
            let length = onward.recv(&mut buffer).unwrap();
            let mut answer = Message::from_vec(&buffer[..length]).unwrap();
            lie(&mut answer);
            socket.send_to(&answer.to_vec().unwrap(), asker).unwrap();
        }
    });
    address
}

fn validating(signed: &Signed, server: SocketAddr) -> Dns {
    let (servers, dnssec) = (vec![server], Some(Dnssec::Validate));
    Dns::new(&config::Dns { servers, dnssec, anchors: Some(signed.anchor()) }).unwrap()
}

#[test]
fn nobody_on_the_way_takes_tlsa_records_away() {
    let signed = Signed::start(&[
        Zone::signed("one.test", &(good() + "own A 192.0.2.3\n*.wild A 192.0.2.4\nthere.wild A 192.0.2.5\n")),
        Zone::unsigned("plain.test", &good()),
    ]);
    // An empty answer, with no proof, with the SOA of a zone that needs none, and with the proof of another name.
    let elsewhere = |owner: &str| {
        let dns = hickory_proto::rr::rdata::SOA::new(
            Name::from_ascii("ns.").unwrap(),
            Name::from_ascii("root.").unwrap(),
            1,
            3600,
            600,
            86400,
            60,
        );
        Record::from_rdata(Name::from_ascii(owner).unwrap(), 60, RData::SOA(dns))
    };
    let lies: [Vec<Record>; 4] =
        [vec![], vec![elsewhere("plain.test.")], vec![elsewhere("one.test.")], vec![elsewhere(".")]];
    for code in [ResponseCode::NoError, ResponseCode::NXDomain] {
        for authorities in lies.clone() {
            let what = format!("{code} {authorities:?}");
            let liar = liar(signed.address(), RecordType::TLSA, move |answer| {
                answer.metadata.response_code = code;
                answer.answers.clear();
                answer.authorities = authorities.clone();
            });
            let dns = validating(&signed, liar);
            let error = runtime().block_on(dns.tlsa(&name("mx.one.test"), 25)).expect_err(&what);
            assert!(error.to_string().contains("bogus"), "{what}: {error}");
        }
    }
}

#[test]
fn nobody_on_the_way_adds_to_what_is_signed() {
    let signed = Signed::start(&[Zone::signed("one.test", &good()), Zone::unsigned("plain.test", &good())]);
    // The AD bit is the word of somebody whom we do not believe here.
    let boast = liar(signed.address(), RecordType::TLSA, |answer| answer.metadata.authentic_data = true);
    let found = runtime().block_on(validating(&signed, boast).tlsa(&name("mx.plain.test"), 25)).unwrap();
    assert!(!found.secure);
    let added = liar(signed.address(), RecordType::MX, |answer| {
        let mut mx = answer.answers[0].clone();
        mx.data =
            RData::MX(hickory_proto::rr::rdata::MX::new(0, Name::from_ascii("evil.plain.test.").unwrap()));
        answer.answers.push(mx);
    });
    let error = runtime().block_on(validating(&signed, added).route(&name("one.test"))).unwrap_err();
    assert!(error.to_string().contains("bogus"), "{error}");
}

#[test]
fn a_wildcard_does_not_hide_what_is_closer() {
    let text = "*.wild MX 0 mx.evil\nthere.wild MX 0 mx\n* MX 0 mx.evil\ndeep.end TXT hello\n";
    let zones = [Zone::signed("one.test", text), Zone::nsec3("three.test", text)];
    let signed = Signed::start(&zones);
    for zone in ["one.test", "three.test"] {
        for (asked, replayed) in [("there.wild", "other.wild"), ("deep.end", "other"), ("new.end", "other")] {
            let (asked, replayed) = (format!("{asked}.{zone}"), format!("{replayed}.{zone}."));
            // What the wildcard says of another name, with all its proofs, as if it were of this one.
            let server = signed.address();
            let liar = liar(server, RecordType::MX, move |answer| {
                let name = answer.queries[0].name().clone();
                let mut other = harness::signed::asked(server, &replayed, RecordType::MX);
                other.answers.iter_mut().for_each(|record| record.name = name.clone());
                (answer.answers, answer.authorities) = (other.answers, other.authorities);
                answer.metadata.response_code = ResponseCode::NoError;
            });
            let found = runtime().block_on(validating(&signed, liar).route(&name(&asked)));
            let error = found.expect_err(&asked).to_string();
            assert!(error.contains("bogus"), "{asked}: {error}");
        }
    }
}

const THEIRS: &str = "_25._tcp.mx.one.test";

/// TLSA records that were there are denied without a proof: whether that counts is for somebody else to say.
fn without_tlsa(answer: &mut Message) {
    answer.answers.clear();
    answer.authorities.clear();
}

fn is_about(answer: &Message, name: &str, kind: RecordType) -> bool {
    let query = &answer.queries[0];
    query.query_type() == kind && *query.name() == Name::from_ascii(name.to_owned() + ".").unwrap()
}

/// All that a zone with NSEC3 says of what it has not, signatures included.
fn denials(server: SocketAddr, zone: &str) -> Vec<Record> {
    let mut found: Vec<Record> = Vec::new();
    for n in 0..60 {
        let answer = harness::signed::asked(server, &format!("no{n}.{zone}."), RecordType::DS);
        for record in answer.authorities {
            let soa = Name::from_ascii(format!("{zone}.")).unwrap() == record.name;
            if !soa && !found.contains(&record) {
                found.push(record);
            }
        }
    }
    assert!(found.len() >= 4, "{found:?}");
    found
}

#[track_caller]
fn is_refused(signed: &Signed, liar: SocketAddr) {
    let dns = validating(signed, signed.address());
    assert!(runtime().block_on(dns.tlsa(&name("mx.one.test"), 25)).unwrap().secure, "without the lie");
    let found = runtime().block_on(validating(signed, liar).tlsa(&name("mx.one.test"), 25));
    let error = found.expect_err("believed").to_string();
    assert!(error.contains("bogus"), "{error}");
}

#[test]
fn the_ds_records_of_a_stranger_make_nobody_insecure() {
    // Digests of a kind that nobody knows: that zone is insecure. The SOA of an unsigned zone keeps it company.
    let strange = format!("strange NS ns.\nstrange DS 1 13 250 {}\n", "00".repeat(32));
    let signed = Signed::start(&[
        Zone::signed("test", &strange),
        Zone::signed("one.test", &good()),
        Zone::unsigned("plain.test", &good()),
    ]);
    let server = signed.address();
    let liar = meddler(server, move |answer| {
        if is_about(answer, THEIRS, RecordType::TLSA) {
            without_tlsa(answer);
            answer.authorities = harness::signed::asked(server, "one.test.", RecordType::SOA).answers;
            answer.authorities.retain(|record| record.record_type() != RecordType::RRSIG);
        } else if is_about(answer, "one.test", RecordType::DS) {
            answer.answers = harness::signed::asked(server, "strange.test.", RecordType::DS).answers;
            answer.authorities = harness::signed::asked(server, "plain.test.", RecordType::SOA).answers;
        } else if answer.queries[0].name().to_string().contains("one.test") {
            answer.answers.retain(|record| record.record_type() != RecordType::RRSIG);
        }
    });
    is_refused(&signed, liar);
}

#[test]
fn the_opt_out_of_a_registry_says_nothing_of_what_is_below_a_signed_zone() {
    let signed =
        Signed::start(&[Zone::opt_out("test", "a TXT a\nb TXT b\n"), Zone::signed("one.test", &good())]);
    let (server, denials) = (signed.address(), denials(signed.address(), "test"));
    // A zone cut that nobody made, right above the records, in the gap of the registry's chain.
    let liar = meddler(server, move |answer| {
        if is_about(answer, THEIRS, RecordType::TLSA) {
            without_tlsa(answer);
        } else if is_about(answer, THEIRS, RecordType::NS) {
            without_tlsa(answer);
            let mut cut = harness::signed::asked(server, "one.test.", RecordType::NS).answers;
            cut.retain(|record| record.record_type() == RecordType::NS);
            cut.iter_mut().for_each(|record| record.name = Name::from_ascii(format!("{THEIRS}.")).unwrap());
            answer.answers = cut;
            answer.metadata.response_code = ResponseCode::NoError;
        } else if is_about(answer, THEIRS, RecordType::DS) {
            without_tlsa(answer);
            answer.authorities = denials.clone();
            answer.metadata.response_code = ResponseCode::NoError;
        }
    });
    is_refused(&signed, liar);
}

#[test]
fn a_signature_alone_makes_no_wildcard() {
    let signed =
        Signed::start(&[Zone::nsec3("test", "a TXT a\nb TXT b\n"), Zone::signed("one.test", &good())]);
    let denials = denials(signed.address(), "test");
    let liar = liar(signed.address(), RecordType::TLSA, move |answer| {
        answer.answers.retain(|record| record.record_type() == RecordType::RRSIG);
        let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = &answer.answers[0].data else { panic!("a signature") };
        // As if `mx` were not there, and a wildcard in its place.
        let mut input = rrsig.input().clone();
        input.num_labels = 2;
        answer.answers[0].data =
            RData::DNSSEC(DNSSECRData::RRSIG(RRSIG::from_sig(input, rrsig.sig().to_vec())));
        answer.authorities = denials.clone();
    });
    is_refused(&signed, liar);
}

#[test]
fn a_wildcard_further_up_is_not_denied_by_what_is_closer() {
    let text = format!("mx A 192.0.2.1\n{}", tlsa_text("*.mx", 7));
    for zone in [Zone::signed("one.test", &text), Zone::nsec3("one.test", &text)] {
        let signed = Signed::start(&[zone]);
        let liar = liar(signed.address(), RecordType::TLSA, |answer| {
            answer.answers.clear();
            answer.metadata.response_code = ResponseCode::NXDomain;
        });
        is_refused(&signed, liar);
    }
}

#[test]
fn opt_out_leaves_unsigned_zones_insecure_and_signed_ones_secure() {
    let signed = Signed::start(&[
        Zone::opt_out("test", "a TXT a\nb TXT b\n"),
        Zone::signed("one.test", &good()),
        Zone::unsigned("plain.test", &good()),
        Zone::unsigned("deep.a.test", &good()),
    ]);
    let ways = Ways::of(&signed);
    ways.tlsa("mx.one.test", Ok((&[7], true)));
    ways.route("one.test", Ok((mx(&["mx.one.test"]), true)));
    for zone in ["plain.test", "deep.a.test"] {
        ways.route(zone, Ok((mx(&[&format!("mx.{zone}")]), false)));
        ways.tlsa(&format!("mx.{zone}"), Ok((&[7], false)));
        ways.tlsa(&format!("nobody.{zone}"), Ok((&[], false)));
    }
}

#[test]
fn a_zone_that_is_signed_many_times_over_does_not_keep_us_busy() {
    // Each signature is a question for keys, each of these one for DS records, whose signatures ...
    let names = ["one.test", "b.one.test", "c.b.one.test", "d.c.b.one.test", "e.d.c.b.one.test"];
    let signed = Signed::start(&names.map(|zone| Zone::signed(zone, &good())));
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let liar = meddler(signed.address(), move |answer| {
        counted.fetch_add(1, Ordering::Relaxed);
        for record in answer.answers.clone() {
            let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = &record.data else { continue };
            for n in 0..8 {
                let mut signature = rrsig.sig().to_vec();
                signature[n] ^= 1;
                let rrsig = RRSIG::from_sig(rrsig.input().clone(), signature);
                let data = RData::DNSSEC(DNSSECRData::RRSIG(rrsig));
                answer.answers.insert(0, Record::from_rdata(record.name.clone(), record.ttl, data));
            }
        }
        answer.answers.iter_mut().for_each(|record| record.ttl = 0);
    });
    let found = runtime().block_on(validating(&signed, liar).locate(&name("mx.e.d.c.b.one.test")));
    let count = count.load(Ordering::Relaxed);
    assert!(count < 2000, "{count} questions: {found:?}");
}

#[test]
fn what_could_not_be_asked_for_is_not_called_bogus() {
    let signed = Signed::start(&[Zone::signed("one.test", &good())]);
    // Too long for a datagram, and there is nobody at the port of TCP.
    let liar = meddler(signed.address(), |answer| {
        answer.metadata.truncation = is_about(answer, "one.test", RecordType::DNSKEY);
    });
    let error = runtime().block_on(validating(&signed, liar).tlsa(&name("mx.one.test"), 25)).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("DNSKEY of one.test.: ") && !error.contains("bogus"), "{error}");
}

/// The crate asks about a zone from within the question about the one below it, frame upon frame. The server's threads
/// have twice the stack that is tried here.
#[test]
fn a_name_below_many_zones_fits_into_a_threads_stack() {
    let mut names = vec!["deep.test".to_owned()];
    while names.len() < 30 {
        names.push(format!("z{}.{}", names.len(), names[names.len() - 1]));
    }
    let zone = |name: &String| Zone::signed(name, "@ MX 10 mx\nmx A 192.0.2.1\n");
    let signed = Signed::start(&names.iter().map(zone).collect::<Vec<_>>());
    let dns = dns(&signed.validate());
    // The deeper one first: it finds nothing that is known already.
    for (depth, secure) in [(29, None), (11, Some(true))] {
        let (dns, domain) = (dns.clone(), name(&names[depth]));
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        let asked = thread.spawn(move || runtime().block_on(dns.route(&domain)));
        let found = asked.unwrap().join().unwrap();
        assert_eq!(found.ok().map(|known| known.secure), secure, "below {depth} zones");
    }
}
