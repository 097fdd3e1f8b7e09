//! The owner's door to the world (port 465): what it takes, from whom, and what it tells a stranger.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::home::{Home, letter};
use harness::signed::{Fault, Signed, Zone};
use harness::wire::Wire;
use harness::{Dns, PILLARBOX, Plan, Server, ZONE, eventually};
use pillarbox::net::tls::pair::Pair;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const ME: &str = "me@here.example";
const YOU: &str = "you@here.example";
const STRANGER: &str = "friend@there.example";
const KEY: &str = "me._domainkey.here.example";

fn plan() -> Plan {
    Plan::new("mx.here.example", &[ME, YOU]).with_submissions()
}

/// A server whose DNS nobody vouches for, and the owner's home.
fn unsigned() -> (Dns, Home, Server) {
    let dns = Dns::start(ZONE);
    let home = Home::new(&dns, ME);
    let server = plan().start(&dns);
    (dns, home, server)
}

fn pin_file(server: &Server) -> PathBuf {
    server.state_dir().join("keys").join(KEY)
}

/// Pins a key as docs/submission.md says.
fn pin(server: &Server, home: &Home) {
    let shown = home.command(&["key", "show", ME], b"");
    assert!(shown.status.success());
    std::fs::create_dir_all(server.state_dir().join("keys")).unwrap();
    std::fs::write(pin_file(server), shown.stdout).unwrap();
}

/// Submits a sealed letter from afar; the reply that ended it.
fn submit(server: &Server, home: &Home, to: &str, subject: &str) -> String {
    let (mut wire, name) = Wire::private(server.submissions());
    wire.transact(ME, &[to], &home.sealed(&letter(ME, to, subject), &name, &[to]))
}

#[test]
fn the_door_is_closed_unless_it_is_opened() {
    let dns = Dns::start(ZONE);
    assert!(Server::ours(&dns).listening.submissions.is_empty());
}

#[test]
fn a_key_that_dnssec_vouches_for_is_enough() {
    let (home, key) = Home::with_key(ME);
    let records = format!("@ MX 10 mx\nmx A 127.0.0.1\n{key}");
    let mut signed = Signed::start(&[Zone::signed("here.example", &records)]);
    let resolver = signed.resolver();
    for dns in [signed.validate(), resolver.trust()] {
        let server = plan().start_with(&dns);
        let reply = submit(&server, &home, YOU, "vouched for");
        assert!(reply.starts_with("250"), "{dns}: {reply}");
        eventually("the letter", || server.letters("here.example/you").pop());
    }
    // The key is gone, and DNSSEC says so.
    let server = plan().start_with(&signed.validate());
    signed.set("here.example", "@ MX 10 mx\nmx A 127.0.0.1\n");
    eventually("the key's end", || {
        submit(&server, &home, YOU, "gone").starts_with("550 5.7.20").then_some(())
    });
    signed.set("here.example", &records);
    eventually("the key again", || submit(&server, &home, YOU, "again").starts_with("250").then_some(()));
    // What is bogus is a fault, not a refusal: the owner comes again. Another server, since answers are kept for five minutes.
    signed.spoil("here.example", Fault::Corrupt);
    let server = plan().start_with(&signed.validate());
    eventually("the fault", || submit(&server, &home, YOU, "bogus").starts_with("451 4.7.0").then_some(()));
}

#[test]
fn a_key_that_nobody_vouches_for_is_not_until_it_is_pinned() {
    let (dns, home, server) = unsigned();
    let reply = submit(&server, &home, YOU, "not vouched for");
    let file = pin_file(&server).display().to_string();
    for words in ["550 5.7.20", "rule 7", "sign the zone here.example", "pillarbox key show", &file] {
        assert!(reply.contains(words), "{words}: {reply}");
    }
    pin(&server, &home);
    assert!(submit(&server, &home, YOU, "pinned").starts_with("250"));
    eventually("the letter", || server.letters("here.example/you").pop());
    // DNS is not asked: neither can it take the key away.
    dns.add(&format!("{KEY}. 60 IN TXT \"v=DKIM1; p=\"\n"));
    assert!(submit(&server, &home, YOU, "revoked in DNS").starts_with("250"));
    // Through the other doors it is asked as ever.
    let (mut wire, name) = Wire::greeted(server.submission());
    let near = home.sealed(&letter(ME, YOU, "near"), &name, &[YOU]);
    let reply = wire.transact(ME, &[YOU], &near);
    assert!(reply.starts_with("550") && reply.contains("rule 1"), "{reply}");
    // A copy that cannot be read is a fault of the server's.
    std::fs::remove_file(pin_file(&server)).unwrap();
    std::fs::create_dir(pin_file(&server)).unwrap();
    let reply = submit(&server, &home, YOU, "unreadable");
    assert!(reply.starts_with("451 4.7.0") && !reply.contains("/"), "{reply}");
    assert!(server.log().contains("a pinned key cannot be read"));
}

/// Whoever forges DNS has a key of the owner's name; whoever has the owner's letters has signatures of his.
#[test]
fn whoever_lies_in_dns_or_keeps_letters_submits_nothing() {
    let dns = Dns::start(ZONE);
    let (owner, _) = Home::with_key(ME);
    let forger = Home::new(&dns, ME);
    let server = plan().with("[submission]\naccept = [\"sealed\", \"plain\"]").start(&dns);
    let forged = submit(&server, &forger, YOU, "forged");
    assert!(forged.starts_with("550 5.7.20"), "{forged}");
    pin(&server, &owner);
    let forged = submit(&server, &forger, YOU, "forged");
    assert!(forged.starts_with("550 5.7.20") && forged.contains("no good signature"), "{forged}");
    // The owner is told nothing more, his log is.
    eventually("why", || server.log().contains("or the key is not the pinned one").then_some(()));
    let (mut wire, name) = Wire::private(server.submissions());
    let kept = owner.signed(&letter(ME, YOU, "kept"));
    for (message, words) in [
        (kept.clone(), "Envelope-Seal"),
        (letter(ME, YOU, "bare"), "Envelope-Seal"),
        ([forger.sealed(&letter(ME, YOU, "x"), &name, &[YOU]).as_slice()].concat(), "no good signature"),
    ] {
        let reply = wire.transact(ME, &[YOU], &message);
        assert!(reply.starts_with("550 5.7.") && reply.contains(words), "{words}: {reply}");
    }
    assert!(server.letters("here.example/you").is_empty());
    // The same letter once more is the same; for somebody else it is none.
    let sealed = owner.sealed(&letter(ME, YOU, "once"), &name, &[YOU]);
    assert!(wire.transact(ME, &[YOU], &sealed).starts_with("250"));
    assert!(wire.transact(ME, &[YOU], &sealed).contains("queued before"));
    let reply = wire.transact(ME, &[STRANGER], &sealed);
    assert!(reply.starts_with("550 5.7.1") && reply.contains("not sealed for the recipient"), "{reply}");
    eventually("the letter", || server.letters("here.example/you").pop());
    assert_eq!(server.letters("here.example/you").len(), 1);
}

#[test]
fn a_stranger_learns_no_more_than_at_the_strangers_door() {
    let (_dns, home, server) = unsigned();
    let (mut wire, name) = Wire::private(server.submissions());
    // Whether a sender exists is not told at MAIL, where guesses would cost nothing.
    for from in [ME, "nobody@here.example", STRANGER] {
        wire.ask(&format!("MAIL FROM:<{from}>"), "250");
        wire.ask("RSET", "250");
    }
    wire.ask("MAIL FROM:<>", "550 5.7.1");
    // Who is nobody here hears the same of every recipient.
    for from in ["nobody@here.example", STRANGER] {
        wire.ask(&format!("MAIL FROM:<{from}>"), "250");
        let said: Vec<String> = [YOU, "none@here.example", STRANGER]
            .iter()
            .map(|to| wire.ask(&format!("RCPT TO:<{to}>"), "550 5.7.1"))
            .collect();
        assert!(said.iter().all(|one| *one == said[0] && !one.contains("@")), "{said:?}");
        wire.ask("RSET", "250");
    }
    wire.ask(&format!("MAIL FROM:<{ME}>"), "250");
    wire.ask("RCPT TO:<none@here.example>", "550 5.1.1");
    // Nobody's name servers are asked for a stranger: this domain does not exist, as the owner hears after the proof.
    wire.ask("RCPT TO:<you@nowhere.example>", "250");
    wire.ask("RSET", "250");
    pin(&server, &home);
    let to = "you@nowhere.example";
    let reply = wire.transact(ME, &[to], &home.sealed(&letter(ME, to, "nowhere"), &name, &[to]));
    assert!(reply.starts_with("550 5.1.2") && reply.contains("nowhere.example"), "{reply}");
}

/// The owner's letters have a line each; what a stranger brings, for whomever, has ten in a minute.
#[test]
fn what_proves_nothing_does_not_fill_the_log() {
    let (_dns, home, server) = unsigned();
    let (mut wire, _) = Wire::private(server.submissions());
    for _ in 0..30 {
        let reply = wire.transact(ME, &[STRANGER], &letter(ME, STRANGER, "bare"));
        assert!(reply.starts_with("550 5.7.1") && reply.contains("Envelope-Seal"), "{reply}");
    }
    let lines = |server: &Server| server.log().matches("rule 7 (from afar): only letters").count();
    eventually("the lines", || (lines(&server) == 10).then_some(()));
    pin(&server, &home);
    assert!(submit(&server, &home, YOU, "the owner's").starts_with("250"));
    eventually("his line", || server.log().contains("signed by me._domainkey").then_some(()));
    assert_eq!(lines(&server), 10, "{}", server.log());
}

#[test]
fn whoever_guesses_names_is_answered_later_and_later() {
    let (_dns, _home, server) = unsigned();
    let (mut wire, _) = Wire::private(server.submissions());
    wire.ask(&format!("MAIL FROM:<{ME}>"), "250");
    let begun = Instant::now();
    for n in 0..7 {
        wire.ask(&format!("RCPT TO:<guess{n}@here.example>"), "550 5.1.1");
    }
    // One second for the sixth, two for the seventh: the owner, who comes by the other doors, never waits.
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// A home that submits by way of `submit_via`.
fn configure(home: &Home, server: &Server, host: &str, more: &str) {
    let (mail, outbox) = (home.mail(), home.root.path().join("outbox"));
    let port = server.submissions().port();
    let config =
        format!("mail = {mail:?}\noutbox = {outbox:?}\nsubmit_via = \"smtps://{host}:{port}\"\n{more}\n");
    std::fs::write(home.config(), config).unwrap();
}

fn certificate(server: &Server) -> PathBuf {
    server.state_dir().join("tls/self-signed.pem")
}

/// The TLSA record of the server's own certificate.
fn tlsa(server: &Server) -> String {
    let read = |name: &str| std::fs::read(server.state_dir().join("tls").join(name)).unwrap();
    let facts = Pair::from_pem(&read("self-signed.pem"), &read("key.pem")).unwrap().facts;
    let digest: String = facts.key.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("3 1 1 {digest}")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn sent(home: &Home, to: &str, subject: &str) -> Output {
    home.command(&["sendmail", "-v", to], &letter(ME, to, subject))
}

#[test]
fn home_comes_by_a_certificate_that_it_pinned() {
    let (_dns, home, server) = unsigned();
    pin(&server, &home);
    configure(&home, &server, "127.0.0.1", &format!("submit_tlsa = {:?}", tlsa(&server)));
    let output = sent(&home, YOU, "by a pin");
    assert!(output.status.success() && said(&output).contains("250"), "{}", said(&output));
    assert_eq!(
        eventually("the letter", || server.letters("here.example/you").pop()).matches("by a pin").count(),
        1
    );
    // Nothing of the home's is in it, whatever it came by.
    let letter = server.letters("here.example/you").pop().unwrap();
    assert!(!letter.contains("127.0.0.1") && !letter.contains("Envelope-Seal"), "{letter}");
}

#[test]
fn a_certificate_that_is_not_the_right_one_keeps_the_letter_at_home() {
    let (_dns, home, server) = unsigned();
    pin(&server, &home);
    let other = format!("submit_tlsa = \"3 1 1 {}\"", "5a".repeat(32));
    for (more, words) in
        [(other.as_str(), "no TLSA record matches"), ("", "submit_tlsa in home.toml can name")]
    {
        configure(&home, &server, "127.0.0.1", more);
        let output = sent(&home, YOU, "kept");
        let said = said(&output);
        assert!(output.status.success() && said.contains("queued as") && said.contains(words), "{said}");
        let flushed = home.command(&["flush"], b"");
        assert_eq!(flushed.status.code(), Some(75), "{flushed:?}");
    }
    assert!(server.letters("here.example/you").is_empty());
    assert!(!server.log().contains("Envelope-Seal") && !server.log().contains("accepted"));
    configure(&home, &server, "127.0.0.1", &format!("submit_tlsa = [{:?}]", tlsa(&server)));
    let flushed = home.command(&["flush"], b"");
    assert!(flushed.status.success(), "{flushed:?}");
    eventually("both letters", || (server.letters("here.example/you").len() == 2).then_some(()));
}

#[test]
fn the_systems_authorities_vouch_where_nothing_is_pinned() {
    let dns = Dns::start(ZONE);
    let home = Home::new(&dns, ME);
    let server = Plan::new("localhost", &[ME, YOU]).with_submissions().start(&dns);
    pin(&server, &home);
    let send = |host: &str| {
        configure(&home, &server, host, "");
        let mut command = Command::new(PILLARBOX);
        command.arg("--config").arg(home.config()).args(["sendmail", "-v", YOU]);
        // The system's authorities are this one.
        command.env("SSL_CERT_FILE", certificate(&server)).env_remove("SSL_CERT_DIR");
        let mut child =
            command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&letter(ME, YOU, "vouched for")).unwrap();
        said(&child.wait_with_output().unwrap())
    };
    let other_name = send("127.0.0.1");
    assert!(other_name.contains("queued as") && other_name.contains("certificate"), "{other_name}");
    let told = send("localhost");
    assert!(told.contains("250"), "{told}");
    eventually("the letter", || server.letters("here.example/you").pop());
}

/// Passes connections on to `to`. Of the first nothing comes back once the letter is on its way, and when `over` both ends are gone.
fn deaf_way(to: SocketAddr, over: impl FnOnce() + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut over = Some(over);
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(to).unwrap());
            let limit = if over.is_some() { 50_000 } else { usize::MAX };
            let passed = Arc::new(AtomicUsize::new(0));
            let pass = |from: &TcpStream, to: &TcpStream, up: bool| {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                let passed = Arc::clone(&passed);
                std::thread::spawn(move || {
                    let mut octets = vec![0; 4096];
                    while let Ok(count @ 1..) = from.read(&mut octets) {
                        let so_far = passed.fetch_add(if up { count } else { 0 }, Ordering::SeqCst);
                        if (!up && so_far > limit) || to.write_all(&octets[..count]).is_err() {
                            break;
                        }
                    }
                })
            };
            let ways = [pass(&client, &server, true), pass(&server, &client, false)];
            if let Some(over) = over.take() {
                over();
                [client, server].iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
            }
            ways.into_iter().for_each(|way| drop(way.join()));
        }
    });
    address
}

#[test]
fn a_letter_whose_reply_is_lost_with_the_connection_comes_again_and_is_there_once() {
    let (_dns, home, server) = unsigned();
    pin(&server, &home);
    let inbox = server.maildir("here.example/you").join("new");
    let way = deaf_way(server.submissions(), move || {
        let letter = || std::fs::read_dir(&inbox).ok()?.next();
        drop(eventually("the letter", letter));
    });
    configure(&home, &server, "127.0.0.1", &format!("submit_tlsa = {:?}", tlsa(&server)));
    let direct = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), direct.replace(&server.submissions().to_string(), &way.to_string()))
        .unwrap();
    let mut large = letter(ME, YOU, "once");
    large.extend("A letter that is not to be lost, and not to be there twice.\r\n".repeat(2000).bytes());
    let output = home.command(&["sendmail", "-v", YOU], &large);
    assert!(output.status.success() && said(&output).contains("queued as"), "{}", said(&output));
    let flushed = home.command(&["flush"], b"");
    assert!(flushed.status.success(), "{flushed:?}");
    assert!(server.log().contains("the same letter is in the queue, or was"), "{}", server.log());
    assert_eq!(server.letters("here.example/you").len(), 1);
}

#[test]
fn git_sends_patches_from_afar() {
    let (_dns, home, server) = unsigned();
    pin(&server, &home);
    configure(&home, &server, "127.0.0.1", &format!("submit_tlsa = {:?}", tlsa(&server)));
    let directory = home.root.path();
    let sendmail = directory.join("sendmail");
    std::os::unix::fs::symlink(PILLARBOX, &sendmail).unwrap();
    let patch = directory.join("0001.patch");
    let text = format!(
        "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nFrom: {ME}\n\
         Date: Sun, 22 Nov 2026 10:00:00 +0000\nSubject: [PATCH] From afar\n\n---\n a | 1 +\n"
    );
    std::fs::write(&patch, text).unwrap();
    let mut git = Command::new("git");
    git.args(["-c", "user.name=Me", "-c", &format!("user.email={ME}")]);
    git.args(["send-email", "--quiet", "--confirm=never", "--suppress-cc=all"]);
    git.args([&format!("--from={ME}"), &format!("--to={YOU}")]);
    git.arg(format!("--sendmail-cmd={}", sendmail.display())).arg(&patch).current_dir(directory);
    git.env("HOME", directory).env("PILLARBOX_CONFIG", home.config()).stdin(Stdio::null());
    let output = git.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let letter = eventually("the patch", || server.letters("here.example/you").pop());
    assert!(letter.contains("[PATCH] From afar"), "{letter}");
}
