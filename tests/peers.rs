//! Other people's programs at both doors and behind them: Exim and Postfix, the article's own client, swaks, dkimpy with
//! openssl's keys, rsync.

mod harness;

use harness::forge::{Key, dkimpy_verifies};
use harness::home::{Home, letter};
use harness::peers::{Exim, Postfix};
use harness::wire::Wire;
use harness::{Dns, Plan, Server, ZONE, eventually, letters_in};
use pillarbox::mail::address::Domain;
use pillarbox::trust::keys::PrivateKey;
use pillarbox::trust::sign::sign;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

const ME: &str = "me@here.example";
const FRIEND: &str = "friend@there.example";
/// Nobody at the friend's.
const NOBODY: &str = "nobody@there.example";
const PLAIN: &str = "[submission]\naccept = [\"sealed\", \"plain\"]\n";

#[test]
fn exim_delivers_to_mx() {
    let dns = Dns::start(ZONE);
    let ours = Server::ours(&dns);
    let exim = Exim::stranger(ours.mx());
    let output = exim.send(FRIEND, &[ME], &awkward_letter(FRIEND, ME));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = exim.log();
    assert!(log.contains("=> me@here.example") && log.contains("C=\"250"), "{log}");
    assert_awkward(&ours.letters("here.example/me"));
}

#[test]
fn exim_hears_at_once_who_does_not_exist() {
    let dns = Dns::start(ZONE);
    let ours = Server::ours(&dns);
    let exim = Exim::stranger(ours.mx());
    exim.send(FRIEND, &["you@here.example", ME], &awkward_letter(FRIEND, ME));
    let log = exim.log();
    assert!(log.contains("** you@here.example") && log.contains("550 5.1.1"), "{log}");
    assert_awkward(&ours.letters("here.example/me"));
}

#[test]
fn postfix_delivers_to_mx() {
    let dns = Dns::start(ZONE);
    let ours = Server::ours(&dns);
    let postfix = Postfix::start(ours.mx());
    postfix.send(FRIEND, &["you@here.example", ME], &awkward_letter(FRIEND, ME));
    postfix.says(&["to=<me@here.example>", "status=sent (250 "]);
    postfix.says(&["to=<you@here.example>", "dsn=5.1.1", "status=bounced"]);
    assert_awkward(&ours.letters("here.example/me"));
    // Its bounce stays with its own user.
    eventually("the bounce at the friend's", || postfix.letters().pop());
}

#[test]
fn our_relay_delivers_to_exim() {
    let exim = Exim::stranger(nowhere()).listen();
    relay_to(exim.address, &|| exim.letters());
}

#[test]
fn our_relay_delivers_to_postfix() {
    let postfix = Postfix::start(nowhere());
    relay_to(postfix.address, &|| postfix.letters());
    let log = postfix.log();
    assert!(!log.contains("improper command pipelining") && !log.contains("lost connection"), "{log}");
}

/// One letter to two recipients, one of whom does not exist there: the other gets it once, the sender a bounce about him.
fn relay_to(peer: SocketAddr, at_friends: &dyn Fn() -> Vec<String>) {
    let dns = Dns::start(ZONE);
    let ours = Plan::new("mx.here.example", &[ME]).with(&relay(peer)).start(&dns);
    let me = Home::new(&dns, ME);
    let (mut wire, server) = Wire::greeted(ours.submission());
    let to = [FRIEND, NOBODY];
    let reply = wire.transact(ME, &to, &me.sealed(&awkward_letter(ME, FRIEND), &server, &to));
    assert!(reply.starts_with("250"), "{reply}");

    let bounce = eventually("the bounce", || ours.letters("here.example/me").pop());
    assert!(bounce.contains("Return-Path: <>"), "{bounce}");
    assert!(bounce.contains("Final-Recipient: rfc822; nobody@there.example"), "{bounce}");
    assert!(!bounce.contains("Final-Recipient: rfc822; friend"), "{bounce}");
    assert!(bounce.contains("Diagnostic-Code: smtp; 550"), "the peer's own words: {bounce}");
    let letter = eventually("the letter at the friend's", || at_friends().pop());
    assert!(!letter.contains("Envelope-Seal"), "{letter}");
    let record = me.key().txt_record().unwrap();
    assert!(dkimpy_verifies(&without_trace(&letter), &record), "its signature holds: {letter}");
    assert_awkward(&at_friends());
    let queue = ours.state_dir().join("queue");
    eventually("an empty queue", || std::fs::read_dir(&queue).unwrap().next().is_none().then_some(()));
    assert_eq!((at_friends().len(), ours.letters("here.example/me").len()), (1, 1));
}

#[test]
fn the_articles_own_client_submits_plainly_and_its_letter_is_spent() {
    let dns = Dns::start(ZONE);
    let stranger = Plan::new("mx.there.example", &[FRIEND, "other@there.example"]).start(&dns);
    let ours = Plan::new("mx.here.example", &[ME]).with(&relay(stranger.mx())).with(PLAIN).start(&dns);
    let me = Home::new(&dns, ME);
    let exim = Exim::article(ours.submission(), &me.mail());
    let letter = unix(&letter(ME, FRIEND, "by the article's client"));

    let first = exim.send(ME, &[FRIEND], &letter);
    assert!(first.status.success(), "{}{}", String::from_utf8_lossy(&first.stderr), ours.log());
    let arrived = eventually("the letter at the friend's", || stranger.letters("there.example/friend").pop());
    assert!(arrived.contains("DKIM-Signature:"), "{arrived}");

    // Exim's signature has no time: the same letter is the same signature again.
    let other = exim.send(ME, &["other@there.example"], &letter);
    assert!(!other.status.success(), "{}", ours.log());
    assert!(exim.log().contains("550 5.7."), "{}", exim.log());
    let again = exim.send(ME, &[FRIEND], &letter);
    assert!(again.status.success(), "a repeat with the same envelope: {}", exim.log());
    assert!(stranger.letters("there.example/other").is_empty());
    assert_eq!(stranger.letters("there.example/friend").len(), 1);
}

#[test]
fn swaks_sends_to_mx_with_and_without_pipelining() {
    let dns = Dns::start(ZONE);
    let ours = Server::ours(&dns);
    for (count, extra) in [&[][..], &["--pipeline"]].into_iter().enumerate() {
        let mut command = Command::new("swaks");
        command.args(["--server", &ours.mx().to_string(), "--from", FRIEND, "--to", ME]);
        let output = command.args(["--helo", "mx.there.example"]).args(extra).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("<-  250-PIPELINING"), "{said}");
        let letters = ours.letters("here.example/me");
        assert_eq!(letters.len(), count + 1);
        assert!(letters.iter().all(|letter| letter.contains("This is a test mailing")), "{letters:?}");
    }
}

#[test]
fn letters_signed_by_dkimpy_with_openssls_keys_are_accepted_and_dkimpy_verifies_ours() {
    let dns = Dns::start(ZONE);
    let ours = Plan::new("mx.here.example", &[ME]).with(PLAIN).start(&dns);
    let domain = Domain::parse("here.example").unwrap();
    for (selector, kind) in [("me", "pkcs1"), ("me.eight", "rsa2048"), ("me.curve", "ed25519")] {
        let key = Key::new("peers", kind);
        let record = key.text("");
        dns.add(&key.zone(selector, "here.example", ""));
        if selector != "me" {
            std::os::unix::fs::symlink("me", ours.maildir("here.example").join(selector)).unwrap();
        }
        let letter = letter(ME, ME, selector);

        let signed = key.dkimpy(selector, "here.example", &letter);
        let (mut wire, _) = Wire::greeted(ours.submission());
        let reply = wire.transact(ME, &[ME], &signed);
        assert!(reply.starts_with("250"), "{selector}: {reply}");
        let arrived = eventually("the letter", || {
            let mut letters = ours.letters("here.example/me").into_iter();
            letters.find(|letter| letter.contains(&format!("Subject: {selector}\r\n")))
        });
        assert!(dkimpy_verifies(&without_trace(&arrived), &record), "{selector}: {arrived}");

        // And the other way round: openssl's key file with our signer.
        let private = PrivateKey::load(&key.pem, selector, &domain).unwrap();
        let mut signed = sign(&letter, &[&private]).unwrap();
        signed.extend_from_slice(&letter);
        assert!(dkimpy_verifies(&signed, &record), "{selector}");
        signed.extend_from_slice(b"P.S.\r\n");
        assert!(!dkimpy_verifies(&signed, &record), "{selector}: it can say no");
    }
}

#[test]
fn rsync_drains_a_maildir_while_mail_is_delivered() {
    const SENDERS: usize = 3;
    const EACH: usize = 100;
    let dns = Dns::start(ZONE);
    let ours = Server::ours(&dns);
    let home = tempfile::tempdir().unwrap();
    let drain = || {
        let mut from = ours.maildir("here.example/me").into_os_string();
        from.push("/");
        let mut command = Command::new("rsync");
        command.args(["-a", "--remove-source-files", "--exclude=tmp/"]).arg(from).arg(home.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let running = AtomicUsize::new(SENDERS);
    let mut drained_meanwhile = 0;
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (ours, running) = (&ours, &running);
            scope.spawn(move || {
                let _done = Countdown(running);
                let (mut wire, _) = Wire::greeted(ours.mx());
                for number in (0..EACH).map(|number| sender * EACH + number) {
                    let reply = wire.transact(FRIEND, &[ME], &numbered(number));
                    assert!(reply.starts_with("250"), "{reply}");
                }
            });
        }
        while running.load(Ordering::Relaxed) > 0 {
            drain();
            if running.load(Ordering::Relaxed) > 0 {
                drained_meanwhile = letters_in(&home.path().join("new")).len();
            }
        }
    });
    drain();

    assert!(drained_meanwhile > 0, "nothing was drained while mail came in");
    assert!(ours.letters("here.example/me").is_empty());
    let letters = letters_in(&home.path().join("new"));
    assert_eq!(letters.len(), SENDERS * EACH);
    let mut seen = BTreeSet::new();
    for letter in letters {
        let number = letter.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
        let number: usize = number.parse().unwrap();
        let sent = String::from_utf8(numbered(number)).unwrap();
        let body = |letter: &str| letter.split_once("\r\n\r\n").unwrap().1.to_owned();
        assert!(body(&letter) == body(&sent), "letter {number} is not whole");
        assert!(seen.insert(number), "letter {number} came twice");
    }
}

/// Counts down when it is dropped, be it in a panic.
struct Countdown<'a>(&'a AtomicUsize);

impl Drop for Countdown<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A letter of a size of its own, some larger than what is kept in memory.
fn numbered(number: usize) -> Vec<u8> {
    let lines = if number.is_multiple_of(50) { 6_000 } else { number * 7 % 300 };
    let mut letter = format!("From: {FRIEND}\r\nTo: {ME}\r\nSubject: {number}\r\n\r\n").into_bytes();
    for line in 0..lines {
        letter.extend_from_slice(
            format!("letter {number}, line {line}, and some more words to fill it\r\n").as_bytes(),
        );
    }
    letter
}

/// A letter with what dot-stuffing, folding and line lengths can spoil.
fn awkward_letter(from: &str, to: &str) -> Vec<u8> {
    let mut letter = letter(from, to, "an awkward\r\n letter");
    letter.extend_from_slice(b".\r\n..\r\n.dots\r\n\r\n\r\n");
    letter.extend_from_slice(&[b'x'; 998]);
    letter.extend_from_slice(b"\r\nThe end.\r\n");
    letter
}

/// One such letter and no other is there, with its body as it was.
#[track_caller]
fn assert_awkward(letters: &[String]) {
    assert_eq!(letters.len(), 1, "{letters:?}");
    // Exim and Postfix keep letters with bare line feeds.
    let letter = letters[0].replace("\r\n", "\n");
    assert!(letter.contains("Subject: an awkward\n letter\n"), "{letter}");
    let body = format!("\n\nHello.\n.\n..\n.dots\n\n\n{}\nThe end.\n", "x".repeat(998));
    assert!(letter.ends_with(&body), "{letter}");
}

/// The letter as it was before its deliverer wrote trace fields on top, with the line ends of the wire.
fn without_trace(letter: &str) -> Vec<u8> {
    let start = letter.find("DKIM-Signature:").unwrap_or_else(|| panic!("no signature: {letter}"));
    letter[start..].replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()
}

/// As a program on this side of the wire would write it.
fn unix(letter: &[u8]) -> Vec<u8> {
    letter.iter().copied().filter(|byte| *byte != b'\r').collect()
}

/// The destination of all that we relay.
fn relay(peer: SocketAddr) -> String {
    format!("[relay]\nport = {}\nallow_private = true\n", peer.port())
}

/// For a peer that sends nothing on.
fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}
