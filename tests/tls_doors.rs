//! TLS at the doors: letters under it, and what is said before it and around it.

mod harness;

use harness::home::{Home, letter};
use harness::pki::Pki;
use harness::tls::handshake;
use harness::wire::Wire;
use harness::{Dns, Plan, Server, ZONE, eventually};
use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

const ME: &str = "me@here.example";
const FRIEND: &str = "friend@there.example";
const ENVELOPE: [&str; 2] = ["MAIL FROM:<friend@there.example>", "RCPT TO:<me@here.example>"];

fn ours(dns: &Dns) -> Server {
    Plan::new("mx.here.example", &[ME]).with_submissions().start(dns)
}

/// The field that we wrote, unfolded.
fn received(letter: &str) -> String {
    let start = letter.find("Received: ").unwrap();
    let field = letter[start..].replace("\r\n\t", " ");
    field.lines().next().unwrap().to_owned()
}

#[test]
fn strangers_letters_come_under_tls_and_say_so() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    for (version, of) in [("", "TLSv1.3"), ("tlsv1_2", "TLSv1.2")] {
        let mut command = Command::new("swaks");
        command.args(["--server", &server.mx().to_string(), "--from", FRIEND, "--to", ME, "--tls"]);
        command.args(["--helo", "mx.there.example"]);
        if !version.is_empty() {
            command.args(["--tls-protocol", version]);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains(&format!("=== TLS started with cipher {of}")),
            "{said}"
        );
    }
    let letters = server.letters("here.example/me");
    assert_eq!(letters.len(), 2);
    let fields: Vec<String> = letters.iter().map(|letter| received(letter)).collect();
    for cipher in ["tls TLS_AES_256_GCM_SHA384;", "tls TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;"] {
        let tells = |field: &&String| field.contains(" with ESMTPS id ") && field.contains(cipher);
        let field = fields.iter().find(tells).unwrap_or_else(|| panic!("{cipher}: {fields:?}"));
        assert!(field.contains(&format!("for <{ME}> {cipher}")), "{field}");
    }
    let log = server.log();
    for tls in ["TLSv1.3 TLS_AES_256_GCM_SHA384", "TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"] {
        let line = log.lines().find(|line| line.contains(&format!("\"tls\":\"{tls}\"")));
        assert!(line.is_some_and(|line| line.contains("\"code\":250")), "{tls}: {log}");
    }
    // In clear as before, and nothing is claimed.
    let reply = Wire::greeted(server.mx()).0.transact(FRIEND, &[ME], &letter(FRIEND, ME, "in clear"));
    assert!(reply.starts_with("250"), "{reply}");
    let clear = server.letters("here.example/me").into_iter().find(|letter| letter.contains("in clear"));
    let field = received(&clear.unwrap());
    assert!(field.contains(" with ESMTP id ") && !field.contains("tls"), "{field}");
}

#[test]
fn the_owner_submits_under_tls_at_both_of_his_doors() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let me = Home::pinned(&dns, ME, &server);
    for (mut wire, name) in [Wire::starttls(server.submission()), Wire::private(server.submissions())] {
        let sealed = me.sealed(&letter(ME, ME, "sealed"), &name, &[ME]);
        let reply = wire.transact(ME, &[ME], &sealed);
        assert!(reply.starts_with("250"), "{reply}\n{}", server.log());
    }
    let sealed = me.sealed(&letter(ME, ME, "by swaks"), "mx.here.example", &[ME]);
    let file = me.root.path().join("sealed.eml");
    std::fs::write(&file, [sealed, b".\r\n".to_vec()].concat()).unwrap();
    let mut command = Command::new("swaks");
    command.args([
        "--server",
        &server.submissions().to_string(),
        "--tls-on-connect",
        "--from",
        ME,
        "--to",
        ME,
    ]);
    command.args(["--helo", "laptop.example", "--suppress-data", "--no-data-fixup"]);
    let output = command.arg("--data").arg(format!("@{}", file.display())).output().unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), server.log());
    let letters = eventually("all three", || {
        Some(server.letters("here.example/me")).filter(|letters| letters.len() == 3)
    });
    for letter in letters {
        let field = received(&letter);
        assert!(field.starts_with("Received: by mx.here.example with ESMTPSA id "), "{field}");
        assert!(field.contains(" tls TLS_"), "{field}");
    }
}

#[test]
fn each_door_offers_what_it_has_and_the_gate_nothing() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    for door in [server.mx(), server.submission()] {
        let mut wire = Wire::greeted(door).0;
        assert!(wire.ask("EHLO x", "250").lines().any(|line| line == "250 STARTTLS"));
        wire.ask("STARTTLS now", "501 5.5.4");
        wire.ask("STARTTLS", "220 2.0.0");
        let mut wire = wire.secure();
        wire.ask(ENVELOPE[0], "503 5.5.1");
        assert!(!wire.ask("EHLO x", "250").contains("STARTTLS"));
        wire.ask("STARTTLS", "503 5.5.1");
    }
    let mut wire = Wire::private(server.submissions()).0;
    assert!(!wire.ask("EHLO x", "250").contains("STARTTLS"));
    wire.ask("STARTTLS", "503 5.5.1");
    let mut gate = Wire::gate(&server, &["here.example"]).0;
    assert!(!gate.ask("EHLO x", "250").contains("STARTTLS"));
    gate.ask("STARTTLS", "502 5.5.1");
}

#[test]
fn each_name_is_shown_its_certificate() {
    let dns = Dns::start(ZONE);
    let (pki, files) = (Pki::new(), tempfile::tempdir().unwrap());
    let at = |name: &str| files.path().join(name);
    let (first, second) = (pki.host(&["mx.here.example"]), pki.host(&["mx.other.example"]));
    first.write(&at("1.pem"), &at("1.key"));
    second.write(&at("2.pem"), &at("2.key"));
    let paths = |ending: &str| [at(&format!("1.{ending}")), at(&format!("2.{ending}"))];
    let tls = format!("[tls]\ncert = {:?}\nkey = {:?}", paths("pem"), paths("key"));
    let server = Plan::new("mx.here.example", &[ME]).with_submissions().with(&tls).start(&dns);
    let rows = [("mx.here.example", &first), ("MX.Other.Example", &second), ("mx.third.example", &first)];
    for (name, wanted) in rows {
        let stream = handshake(TcpStream::connect(server.submissions()).unwrap(), name).unwrap();
        let shown = stream.conn.peer_certificates().unwrap();
        assert_eq!(shown[0].as_ref(), wanted.own().certificate(), "{name}");
    }
}

#[test]
fn what_is_injected_in_clear_behind_starttls_has_no_effect() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let whole = format!(
        "EHLO evil.example\r\n{}\r\n{}\r\nDATA\r\nSubject: injected\r\n\r\nHello.\r\n.\r\n",
        ENVELOPE[0], ENVELOPE[1]
    );
    let envelope = format!("EHLO evil.example\r\n{}\r\n{}\r\n", ENVELOPE[0], ENVELOPE[1]);
    for injected in [whole.as_str(), &envelope, "NOOP\r\n", "RSET", "GET / HTTP/1.1\r\n"] {
        for door in [server.mx(), server.submission()] {
            let (mut wire, _) = Wire::greeted(door);
            wire.raw(format!("STARTTLS\r\n{injected}").as_bytes()).expect("220 2.0.0");
            let mut wire = wire.secure();
            // The first reply under TLS is the one to the first command under TLS.
            wire.ask("RCPT TO:<me@here.example>", "503 5.5.1");
            wire.ask("EHLO x", "250 mx.here.example");
            wire.ask("DATA", "503 5.5.1");
            wire.ask("QUIT", "221");
            wire.expect_end();
        }
    }
    // More than is read at once: the rest stands where the handshake should be, and is none.
    let (mut wire, _) = Wire::greeted(server.mx());
    wire.raw(format!("STARTTLS\r\n{}", envelope.repeat(100)).as_bytes()).expect("220 2.0.0");
    let mut rest = Vec::new();
    let _ = wire.clear().read_to_end(&mut rest);
    assert!(!rest.starts_with(b"2") && !rest.starts_with(b"5"), "{rest:?}");
    assert!(server.letters("here.example/me").is_empty());
    assert!(!server.log().contains("evil.example") && !server.log().contains(FRIEND), "{}", server.log());
}

#[test]
fn a_transaction_in_clear_is_forgotten_with_starttls() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let (mut wire, _) = Wire::greeted(server.mx());
    for line in ENVELOPE {
        wire.ask(line, "250");
    }
    wire.ask("STARTTLS", "220 2.0.0");
    let mut wire = wire.secure();
    wire.ask("DATA", "503 5.5.1");
    wire.ask("EHLO x", "250");
    wire.ask("DATA", "503 5.5.1");
    assert!(wire.transact(FRIEND, &[ME], &letter(FRIEND, ME, "anew")).starts_with("250"));
    assert_eq!(server.letters("here.example/me").len(), 1);
}

#[test]
fn conduct_in_clear_counts_under_tls() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let (mut wire, _) = Wire::greeted(server.mx());
    for _ in 0..9 {
        wire.ask("WHAT", "500");
    }
    wire.ask("STARTTLS", "220 2.0.0");
    let mut wire = wire.secure();
    wire.ask("WHAT", "421 4.7.0");
    // The last word came, with close_notify behind it: no error, and nothing more.
    wire.expect_end();
    let mut end = [0];
    assert_eq!(wire.tls().read(&mut end).unwrap(), 0);
}

#[test]
fn the_last_word_arrives_whatever_is_on_its_way_to_us() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let mut wire = Wire::starttls(server.mx()).0;
    wire.raw(&[b"QUIT\r\n".to_vec(), b"NOOP\r\n".repeat(50_000)].concat());
    wire.expect("221");
    wire.expect_end();
    let mut wire = Wire::starttls(server.mx()).0;
    for line in ENVELOPE {
        wire.ask(line, "250");
    }
    wire.ask("DATA", "354");
    wire.raw(b"a lone\nline feed\r\n.\r\n");
    wire.raw(&b"x\r\n".repeat(10_000));
    wire.expect("550 5.6.0");
    wire.expect("421");
    wire.expect_end();
}

#[test]
fn a_large_letter_arrives_whole_under_tls() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let mut large = letter(FRIEND, ME, "large");
    for line in 0..60_000 {
        large.extend_from_slice(format!("line {line} of a letter that takes many records\r\n").as_bytes());
    }
    let mut wire = Wire::starttls(server.mx()).0;
    for subject in ["large", "again"] {
        let reply = wire.transact(FRIEND, &[ME], &large);
        assert!(reply.starts_with("250"), "{subject}: {reply}");
    }
    let sent = String::from_utf8(large).unwrap();
    let letters = server.letters("here.example/me");
    assert!(letters.len() == 2 && letters.iter().all(|letter| letter.ends_with(&sent)));
}

#[test]
fn the_time_for_a_command_begins_anew_with_the_handshake() {
    let dns = Dns::start(ZONE);
    let limits = "[limits]\nfree_space = 0\ncommand_timeout = 3";
    let server = Plan::new("mx.here.example", &[ME]).with(limits).start(&dns);
    let (mut wire, _) = Wire::greeted(server.mx());
    wire.ask("STARTTLS", "220");
    std::thread::sleep(Duration::from_secs(2));
    let mut wire = wire.secure();
    std::thread::sleep(Duration::from_secs(2));
    wire.ask("EHLO x", "250");
    wire.expect("421 4.4.2");
    wire.expect_end();
}
