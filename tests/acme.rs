//! Certificates from an authority, Debian's pebble: gained, renewed, and kept while it is away.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::certs::{
    MAIL, ME, MX, again_later, dns, file, is_open, said, server, shown, state, told, vouched,
};
use harness::eventually;
use harness::pebble::Authority;
use harness::wire::Wire;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const FRIEND: &str = "friend@there.example";
const DAY: u64 = 86400;

/// Letters, one after the other, each under TLS over a connection of its own, until `stop`.
fn deliver(mx: SocketAddr, stop: &AtomicBool, delivered: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        let reply = Wire::starttls(mx).0.transact(FRIEND, &[ME], b"Subject: load\r\n\r\nHello.\r\n");
        assert!(reply.starts_with("250"), "{reply}");
        delivered.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_first_certificates_and_two_renewals_while_fifty_connections_deliver() {
    let dns = dns();
    let pebble = Authority::with_lives_of(12).thinking(1).start(&dns);
    let limits = "[limits]\nfree_space = 0\nconnections_per_ip = 200\n";
    let server = server(&dns, &format!("{limits}{}", pebble.table(&[MX, MAIL])));
    let mx = server.mx();
    let own = shown(&server, MX).key;
    let (stop, delivered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..50).map(|_| scope.spawn(|| deliver(mx, &stop, &delivered))).collect();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut seen = [MX, MAIL].map(|name| vec![vouched(&server, name)]);
            let end = Instant::now() + Duration::from_secs(60);
            while seen.iter().any(|seen| seen.len() < 3) {
                assert!(Instant::now() < end, "{seen:?}");
                for (name, seen) in [MX, MAIL].into_iter().zip(&mut seen) {
                    let now = vouched(&server, name);
                    if seen.last().unwrap().fingerprint != now.fingerprint {
                        seen.push(now);
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            assert!(seen.iter().flatten().all(|facts| facts.key == own), "the key stays");
        }));
        stop.store(true, Ordering::Relaxed);
        let failed = load.into_iter().filter_map(|thread| thread.join().err()).count();
        assert_eq!(failed, 0, "of 50 connections");
        seen.unwrap();
    });
    let letters = server.letters("here.example/me");
    assert_eq!(letters.len(), delivered.load(Ordering::Relaxed));
    assert!(letters.iter().all(|letter| letter.contains("ESMTPS")), "each came under TLS");
}

#[test]
fn a_name_that_cannot_be_proved_costs_no_other_its_certificate_and_is_tried_within_bounds() {
    let dns = dns();
    let pebble = Authority::with_lives_of(90 * DAY).patient().start(&dns);
    let late = "late.here.example";
    let mut server = server(&dns, &pebble.table(&[late, MX]));
    let mine = vouched(&server, MX);
    let failures = told(&server, "no certificate", 1);
    assert_eq!((failures[0]["name"].as_str(), failures[0]["attempt"].as_u64()), (Some(late), Some(1)));
    let why = failures[0]["why"].as_str().unwrap();
    assert!(why.contains("the certificate authority says") && why.contains("A and AAAA records"), "{why}");
    eventually("a closed port", || (!is_open(pebble.asks)).then_some(()));
    // However often it is started, it does not come back before its time.
    for _ in 0..3 {
        server = server.again();
        server.settle();
        assert_eq!(vouched(&server, MX).fingerprint, mine.fingerprint);
    }
    assert_eq!((pebble.orders(), said(&server, "no certificate").len()), (2, 1));
    server = again_later(server, 301);
    assert_eq!(told(&server, "no certificate", 2)[1]["attempt"], 2);
    server = again_later(server, 305);
    server.settle();
    assert_eq!(said(&server, "no certificate").len(), 2, "the second wait is longer");
    dns.add(&format!("{late}. 60 IN A 127.0.0.1\n"));
    server = again_later(server, 301 + 605);
    assert_eq!(vouched(&server, late).key, mine.key);
    assert_eq!(state(&server, late)["failures"], 0);
    assert_eq!(pebble.orders(), 4);
    eventually("a closed port", || (!is_open(pebble.asks)).then_some(()));
}

#[test]
fn an_authority_that_is_away_for_days_costs_nothing() {
    let dns = dns();
    let mut pebble = Authority::with_lives_of(10 * DAY).patient().start(&dns);
    let mut server = server(&dns, &pebble.table(&[MX]));
    let first = vouched(&server, MX);
    pebble.stop();
    let kept = std::fs::read(file(&server, MX)).unwrap();
    // Until it expires, and beyond.
    for (nth, days) in [6, 7, 8, 9, 11].into_iter().enumerate() {
        server = again_later(server, days * DAY);
        let failures = if days < 6 + 1 { 0 } else { nth };
        let told = told(&server, "no certificate", failures);
        // Once more at the same time: it is not asked again.
        server = again_later(server, days * DAY + 60);
        server.settle();
        assert_eq!(said(&server, "no certificate").len(), failures, "{days}: {told:?}");
        assert_eq!(shown(&server, MX).fingerprint, first.fingerprint, "after {days} days");
        assert_eq!(std::fs::read(file(&server, MX)).unwrap(), kept);
    }
    let why = said(&server, "no certificate")[0]["why"].as_str().unwrap().to_owned();
    assert!(why.contains("ca.example") && why.contains("Connection refused"), "{why}");
    assert!(!said(&server, "the certificate ends soon and is not renewed").is_empty());
    assert!(!said(&server, "the certificate has expired, and is still shown").is_empty());
    // It comes back without a memory: our account is made once more, of the same key.
    pebble.run_with_lives_of(40 * DAY);
    server = again_later(server, 12 * DAY);
    let second = eventually("another certificate", || {
        Some(shown(&server, MX)).filter(|now| now.fingerprint != first.fingerprint)
    });
    assert_eq!(second.key, first.key);
    assert_eq!(said(&server, "the authority does not know our account any more").len(), 1);
}

#[test]
fn from_staging_to_production_and_back() {
    let dns = dns();
    let staging = Authority::with_lives_of(90 * DAY).start(&dns);
    let production = Authority::with_lives_of(90 * DAY).start(&dns);
    let mut server = server(&dns, &staging.table(&[MX]));
    let own = shown(&server, MX).key;
    let first = vouched(&server, MX);
    let config = std::fs::read_to_string(server.config()).unwrap();
    let change =
        |to: &str| std::fs::write(server.config(), config.replace(&staging.table(&[MX]), to)).unwrap();
    change(&production.table(&[MX, MAIL]));
    server = server.again();
    let shown_first = shown(&server, MX);
    assert!(!shown_first.self_signed, "what is there is shown meanwhile");
    let second = eventually("the other authority's certificate", || {
        Some(shown(&server, MX)).filter(|now| now.issuer != first.issuer)
    });
    assert_eq!((second.key, vouched(&server, MAIL).key), (own, own));
    let accounts = || std::fs::read_dir(server.state_dir().join("tls/accounts")).unwrap().count();
    assert_eq!(accounts(), 2);
    std::fs::write(server.config(), &config).unwrap();
    server = server.again();
    eventually("the first authority's certificate", || {
        Some(shown(&server, MX)).filter(|now| now.issuer == first.issuer)
    });
    assert_eq!(said(&server, "an account with the certificate authority is made").len(), 2);
}

#[test]
fn a_port_that_another_program_has_is_named_and_the_order_waits_for_it() {
    let dns = dns();
    let pebble = Authority::with_lives_of(90 * DAY).patient().start(&dns);
    let other = TcpListener::bind(("127.0.0.1", pebble.asks)).unwrap();
    let mut server = server(&dns, &pebble.table(&[MX]));
    let why = told(&server, "no certificate", 1)[0]["why"].as_str().unwrap().to_owned();
    assert!(
        why.contains("tls.acme.listen 127.0.0.1:") && why.contains("another program listens there"),
        "{why}"
    );
    drop(other);
    server = again_later(server, 301);
    vouched(&server, MX);
    assert_eq!(pebble.orders(), 1, "it was taken up again");
}

#[test]
fn a_program_that_has_one_of_two_addresses_is_named_when_the_authority_came_to_it() {
    let dns = dns();
    let pebble = Authority::with_lives_of(90 * DAY).patient().start(&dns);
    let other = TcpListener::bind(("127.0.0.1", pebble.asks)).unwrap();
    std::thread::spawn(move || other.incoming().for_each(drop));
    let ours = format!("\"127.0.0.1:{0}\", \"127.0.0.2:{0}\"", pebble.asks);
    let table = pebble.table(&[MX]).replace(&format!("\"127.0.0.1:{}\"", pebble.asks), &ours);
    let server = server(&dns, &table);
    let why = told(&server, "no certificate", 1)[0]["why"].as_str().unwrap().to_owned();
    assert!(why.contains("the certificate authority says connection"), "{why}");
    assert!(why.contains("another program listens there"), "{why}");
}

/// As docs/operating.md has it.
#[test]
fn a_key_that_is_replaced_by_hand_is_shown_at_once_and_gets_a_certificate() {
    let dns = dns();
    let pebble = Authority::with_lives_of(90 * DAY).patient().start(&dns);
    let mut server = server(&dns, &pebble.table(&[MX]));
    let first = vouched(&server, MX);
    let directory = server.state_dir().join("tls");
    assert!(server.terminate().success());
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"])
        .arg(directory.join("key.pem"))
        .status();
    assert!(made.unwrap().success());
    server = server.again();
    let own = shown(&server, MX);
    assert_ne!(own.key, first.key, "from the first second");
    let second = vouched(&server, MX);
    assert_eq!(second.key, own.key);
    assert_ne!(second.fingerprint, first.fingerprint);
    // One that is gone is made anew, and that is said: a TLSA record may name the old one.
    assert!(said(&server, "our key was gone, and another is made").is_empty());
    assert!(server.terminate().success());
    std::fs::remove_file(directory.join("key.pem")).unwrap();
    server = server.again();
    assert_ne!(shown(&server, MX).key, own.key);
    assert_eq!(said(&server, "our key was gone, and another is made").len(), 1);
    let mut looked = vec![directory];
    while let Some(path) = looked.pop() {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        if path.is_dir() {
            looked.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}
