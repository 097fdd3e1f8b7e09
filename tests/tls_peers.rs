//! Exim and Postfix as clients of our mx door under TLS: of their own accord, and where they demand it.

mod harness;

use harness::home::letter;
use harness::peers::{Exim, Postfix};
use harness::{Dns, Server, ZONE, eventually};
use pillarbox::net::tls::pair::{Facts, Pair};
use std::path::PathBuf;

const ME: &str = "me@here.example";
const FRIEND: &str = "friend@there.example";

/// What the doors show when they are left to themselves.
fn shown(server: &Server) -> (PathBuf, Facts) {
    let directory = server.state_dir().join("tls");
    let file = directory.join("self-signed.pem");
    let read = |path: &PathBuf| std::fs::read(path).unwrap();
    let pair = Pair::from_pem(&read(&file), &read(&directory.join("key.pem"))).unwrap();
    (file, pair.facts)
}

/// The letter's trace field and the log's line both say that it came so.
#[track_caller]
fn came_under_tls(server: &Server, version: &str, cipher: &str) {
    let letter = eventually("the letter", || server.letters("here.example/me").pop());
    let unfolded = letter.replace("\r\n\t", " ");
    assert!(
        unfolded.contains(" with ESMTPS id ") && unfolded.contains(&format!(" tls {cipher};")),
        "{letter}"
    );
    let tls = format!("\"tls\":\"{version} {cipher}\"");
    eventually("the log's line", || server.log().contains(&tls).then_some(()));
}

/// SHA-256 of the public key as Postfix writes it: what a TLSA record 3 1 1 holds.
fn colons(hash: &[u8]) -> String {
    hash.iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(":")
}

fn postfix(server: &Server, settings: &str) -> Postfix {
    Postfix::with(server.mx(), &format!("smtp_tls_loglevel = 1\n{settings}"))
}

#[test]
fn exim_delivers_under_tls_of_its_own_accord() {
    let dns = Dns::start(ZONE);
    let ours = Server::ours(&dns);
    let exim = Exim::stranger(ours.mx());
    exim.send(FRIEND, &[ME], &letter(FRIEND, ME, "from Exim"));
    let log = exim.log();
    assert!(log.contains("=> me@here.example") && log.contains(" X=TLS1.3:"), "{log}");
    assert!(log.contains("C=\"250") && !log.contains("TLS error"), "{log}");
    came_under_tls(&ours, "TLSv1.3", "TLS_AES_256_GCM_SHA384");
}

#[test]
fn exim_that_demands_our_certificate_delivers_and_one_that_demands_another_does_not() {
    let dns = Dns::start(ZONE);
    let (ours, other) = (Server::ours(&dns), Server::ours(&dns));
    let exim = Exim::demanding(ours.mx(), &shown(&ours).0);
    exim.send(FRIEND, &[ME], &letter(FRIEND, ME, "verified"));
    let log = exim.log();
    assert!(log.contains(" X=TLS1.3:") && log.contains(" CV=yes ") && log.contains("C=\"250"), "{log}");
    came_under_tls(&ours, "TLSv1.3", "TLS_AES_256_GCM_SHA384");

    let exim = Exim::demanding(other.mx(), &shown(&ours).0);
    exim.send(FRIEND, &[ME], &letter(FRIEND, ME, "for somebody else"));
    let log = exim.log();
    assert!(log.contains("certificate invalid") || log.contains("failed"), "{log}");
    assert!(!log.contains("=> me@here.example") && other.letters("here.example/me").is_empty(), "{log}");
}

#[test]
fn postfix_delivers_under_tls_where_it_may_and_where_it_must() {
    let dns = Dns::start(ZONE);
    for (settings, version, cipher) in [
        ("smtp_tls_security_level = may\n", "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        (
            "smtp_tls_security_level = encrypt\nsmtp_tls_mandatory_protocols = >=TLSv1.2, <=TLSv1.2\n",
            "TLSv1.2",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        ),
    ] {
        let ours = Server::ours(&dns);
        let postfix = postfix(&ours, settings);
        postfix.send(FRIEND, &[ME], &letter(FRIEND, ME, "from Postfix"));
        postfix.says(&["TLS connection established to 127.0.0.1", version]);
        postfix.says(&["to=<me@here.example>", "status=sent (250 "]);
        came_under_tls(&ours, version, cipher);
        assert!(!postfix.log().contains("lost connection"), "{}", postfix.log());
    }
}

#[test]
fn postfix_that_pins_our_key_delivers_and_one_that_pins_another_does_not() {
    let dns = Dns::start(ZONE);
    let ours = Server::ours(&dns);
    let key = shown(&ours).1.key;
    let pinned = |key: &[u8]| {
        format!(
            "smtp_tls_security_level = fingerprint\nsmtp_tls_fingerprint_digest = sha256\n\
             smtp_tls_fingerprint_cert_match = {}\n",
            colons(key)
        )
    };
    let wrong = postfix(&ours, &pinned(&[7; 32]));
    wrong.send(FRIEND, &[ME], &letter(FRIEND, ME, "for somebody else"));
    wrong.says(&["to=<me@here.example>", "status=deferred", "Server certificate not verified"]);
    assert!(ours.letters("here.example/me").is_empty());

    let right = postfix(&ours, &pinned(&key));
    right.send(FRIEND, &[ME], &letter(FRIEND, ME, "for us"));
    right.says(&["Verified TLS connection established to 127.0.0.1", "TLSv1.3"]);
    right.says(&["to=<me@here.example>", "status=sent (250 "]);
    came_under_tls(&ours, "TLSv1.3", "TLS_AES_256_GCM_SHA384");
}
