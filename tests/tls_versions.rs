//! What is spoken under TLS at the doors, asked by openssl, and by hand where openssl speaks it no more: versions, suites,
//! and what is left out.

mod harness;

use harness::tls::{Answer, FAILURE, VERSION, hello, s_client, s_client_says};
use harness::{Dns, Plan, Server, ZONE};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const ME: &str = "me@here.example";

/// AEAD with forward secrecy, by a key of ECDSA and one of RSA.
const BY_ECDSA: [u16; 3] = [0xc02b, 0xc02c, 0xcca9];
const BY_RSA: [u16; 3] = [0xc02f, 0xc030, 0xcca8];
const OF_13: [u16; 3] = [0x1301, 0x1302, 0x1303];

/// A server whose key is RSA's, as many authorities' customers have it; its files live as long as it does.
fn with_rsa(dns: &Dns) -> (Server, TempDir) {
    let files = tempfile::tempdir().unwrap();
    let (cert, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=mx"]);
    command.args(["-addext", "subjectAltName=DNS:mx.here.example"]).arg("-keyout").arg(&key);
    let made = command.arg("-out").arg(&cert).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let plan = Plan::new("mx.here.example", &[ME]).with_submissions();
    (plan.with(&format!("[tls]\ncert = {cert:?}\nkey = {key:?}")).start(dns), files)
}

fn ours(dns: &Dns) -> Server {
    Plan::new("mx.here.example", &[ME]).with_submissions().start(dns)
}

fn doors(server: &Server) -> [(SocketAddr, &'static [&'static str]); 3] {
    let starttls = &["-starttls", "smtp"][..];
    [(server.mx(), starttls), (server.submission(), starttls), (server.submissions(), &[])]
}

/// Whether QUIT was answered; without STARTTLS openssl says it before it is greeted.
fn was_heard(said: &str) -> bool {
    said.contains("\n221 2.0.0") || said.contains("\n554 5.5.0 you spoke before")
}

#[test]
fn tls_1_2_and_1_3_are_spoken_at_every_door_and_nothing_older() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    for (door, how) in doors(&server) {
        for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let (through, said) = s_client(door, &[how, &[flag, "-msg"]].concat());
            assert!(through && said.contains(&format!("New, {version}, Cipher is ")), "{flag}: {said}");
            assert!(was_heard(&said), "{flag}: {said}");
            // close_notify is our last word; then the connection is closed.
            assert!(said.contains("<<< TLS 1.2, Alert") || said.contains("<<< TLS 1.3, Alert"), "{said}");
            assert!(said.contains("warning close_notify") && said.contains("Compression: NONE"), "{said}");
            for never in ["CertificateRequest", "NewSessionTicket", "Early data was accepted"] {
                assert!(!said.contains(never), "{flag}: {said}");
            }
        }
        for flag in ["-tls1", "-tls1_1"] {
            let old = [how, &[flag, "-cipher", "ALL:@SECLEVEL=0"]].concat();
            let (through, said) = s_client(door, &old);
            let alert = said.contains("SSL alert number 40") || said.contains("SSL alert number 70");
            assert!(!through && alert && said.contains("Cipher is (NONE)"), "{flag}: {said}");
        }
    }
    let log = server.log();
    assert!(log.contains("it speaks neither TLS 1.2 nor TLS 1.3"), "{log}");
}

#[test]
fn versions_that_nobody_should_speak_are_refused_by_hand_too() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let ask =
        |version, suites: &[u16]| hello(TcpStream::connect(server.submissions()).unwrap(), version, suites);
    // RC4, 3DES, CBC, and what is taken with a newer version.
    let suites = [0x0005, 0x000a, 0x002f, 0x0035, 0xc009, 0xc00a, 0xc013, 0xc014, 0xc02b, 0xc02f];
    for version in [0x0300, 0x0301, 0x0302] {
        let answer = ask(version, &suites);
        assert!([VERSION, FAILURE].contains(&answer), "{version:#06x}: {answer:?}");
    }
    assert_eq!(ask(0x0303, &suites), Answer::Hello(0x0303, 0xc02b));
    assert_eq!(ask(0x0304, &OF_13), Answer::Hello(0x0303, 0x1301));
    // SSL 2: its ClientHello is no record of TLS.
    let mut old = TcpStream::connect(server.submissions()).unwrap();
    std::io::Write::write_all(&mut old, &[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1, 0, 0x80]).unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut old, &mut answer).unwrap();
    assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
}

/// Each suite alone, of all that were ever registered, and what is between them.
#[test]
fn no_suite_is_taken_but_aead_with_forward_secrecy() {
    let dns = Dns::start(ZONE);
    let with_ecdsa = ours(&dns);
    let (with_rsa, _files) = with_rsa(&dns);
    for (server, taken) in [(&with_ecdsa, BY_ECDSA), (&with_rsa, BY_RSA)] {
        let ask =
            |version, suite| hello(TcpStream::connect(server.submissions()).unwrap(), version, &[suite]);
        let all = (0x0000..0x0100).chain(0xc000..0xc100).chain(0xcca0..0xccb0).chain(0xfe00..0xff00);
        for suite in all.chain(0xd000..0xd008).chain(0x1300..0x1310) {
            let wanted = if taken.contains(&suite) { Answer::Hello(0x0303, suite) } else { FAILURE };
            assert_eq!(ask(0x0303, suite), wanted, "{suite:#06x}");
        }
        for suite in 0x1300..0x1310 {
            let wanted = if OF_13.contains(&suite) { Answer::Hello(0x0303, suite) } else { FAILURE };
            assert_eq!(ask(0x0304, suite), wanted, "{suite:#06x}");
        }
    }
}

#[test]
fn openssl_gets_through_with_these_suites_alone() {
    let dns = Dns::start(ZONE);
    let with_ecdsa = ours(&dns);
    let (with_rsa, _files) = with_rsa(&dns);
    let known =
        Command::new("openssl").args(["ciphers", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]).output().unwrap();
    let known = String::from_utf8(known.stdout).unwrap();
    let known: Vec<&str> = known.trim().split(':').filter(|name| !name.starts_with("TLS_")).collect();
    assert!(
        known.len() > 100 && known.contains(&"AES128-SHA") && known.contains(&"ADH-AES128-SHA"),
        "{known:?}"
    );
    for (server, key) in [(&with_ecdsa, "ECDSA"), (&with_rsa, "RSA")] {
        let ends = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"];
        let taken = ends.map(|end| format!("ECDHE-{key}-{end}"));
        for name in &known {
            let cipher = format!("{name}:@SECLEVEL=0");
            // Without the doors' greeting: there are hundreds.
            let (through, said) = s_client(server.submissions(), &["-tls1_2", "-cipher", &cipher]);
            assert_eq!(through, taken.iter().any(|taken| taken == name), "{name}: {said}");
        }
    }
}

#[test]
fn no_session_is_resumed_and_none_is_renegotiated() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let kept = tempfile::tempdir().unwrap();
    for (door, how) in doors(&server) {
        for version in ["-tls1_2", "-tls1_3"] {
            let file = kept.path().join(format!("{}{version}", door.port()));
            let session = file.to_str().unwrap();
            let (_, said) = s_client(door, &[how, &[version, "-sess_out", session]].concat());
            assert!(was_heard(&said) && !said.contains("TLS session ticket"), "{said}");
            if Path::new(session).exists() {
                let (through, said) = s_client(door, &[how, &[version, "-sess_in", session]].concat());
                assert!(through && said.contains("New, TLSv1.") && !said.contains("Reused"), "{said}");
            }
        }
        let (_, said) = s_client(door, &[how, &["-tls1_2", "-reconnect"]].concat());
        assert!(!said.contains("Reused") && said.matches("New, TLSv1.2").count() > 1, "{said}");
        let (_, said) = s_client_says(door, &[how, &["-tls1_2", "-msg"]].concat(), "R\nQ\n", false);
        assert!(said.contains("RENEGOTIATING") && said.contains("warning no_renegotiation"), "{said}");
        assert_eq!(said.matches(", ServerHello\n").count(), 1, "{said}");
    }
}
