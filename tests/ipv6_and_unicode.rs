//! The same over IPv6 alone, and with addresses that are not ASCII.

mod harness;

use harness::home::{Home, letter};
use harness::wire::Wire;
use harness::{Dns, Plan, ZONE, eventually};

const ME: &str = "me@here.example";
const FRIEND: &str = "friend@six.example";

/// A stranger who has an AAAA and no A.
const SIX: &str = "\
six.example. 60 IN MX 10 mx.six.example.
mx.six.example. 60 IN AAAA ::1
";

#[test]
fn both_doors_and_the_relay_work_over_ipv6_alone() {
    let dns = Dns::start(&format!("{ZONE}{SIX}"));
    let stranger = Plan::new("mx.six.example", &[FRIEND]).on_ipv6().start(&dns);
    let relay = format!("[relay]\nport = {}\nallow_private = true\n", stranger.mx().port());
    let ours = Plan::new("mx.here.example", &[ME]).on_ipv6().with(&relay).start(&dns);
    assert!(ours.mx().is_ipv6() && ours.submission().is_ipv6());
    let me = Home::new(&dns, ME);

    let (mut wire, _) = Wire::greeted(ours.mx());
    let reply = wire.transact(FRIEND, &[ME], &letter(FRIEND, ME, "in"));
    assert!(reply.starts_with("250"), "{reply}");
    let came = ours.letters("here.example/me");
    assert!(came[0].contains("[IPv6:::1])"), "{}", came[0]);

    let (mut wire, server) = Wire::greeted(ours.submission());
    let message = me.sealed(&letter(ME, FRIEND, "out"), &server, &[FRIEND]);
    let reply = wire.transact(ME, &[FRIEND], &message);
    assert!(reply.starts_with("250"), "{reply}");
    eventually("the letter at the stranger's", || stranger.letters("six.example/friend").pop());
}

#[test]
fn a_utf8_address_is_a_directory_of_that_name_in_any_normal_form() {
    let dns = Dns::start(ZONE);
    let ours = Plan::new("mx.here.example", &["grüße@here.example", "me@xn--bcher-kva.example"]).start(&dns);
    let (mut wire, _) = Wire::greeted(ours.mx());
    wire.ask("EHLO there.example", "250");
    wire.ask("MAIL FROM:<friend@there.example>", "250");
    wire.ask("RCPT TO:<gr\u{fc}\u{df}e@here.example>", "553 5.6.7");
    wire.ask("RSET", "250");
    // Decomposed, and in capitals: the same directory.
    wire.ask("MAIL FROM:<friend@there.example> SMTPUTF8", "250");
    wire.ask("RCPT TO:<GRu\u{308}\u{df}E@here.example>", "250");
    wire.ask("RCPT TO:<me@b\u{fc}cher.example>", "250");
    wire.ask("RCPT TO:<grusse@here.example>", "550 5.1.1");
    wire.ask("DATA", "354");
    let reply = wire.message(&letter("friend@there.example", "grüße@here.example", "für dich")).reply();
    assert!(reply.starts_with("250"), "{reply}");
    for place in ["here.example/grüße", "xn--bcher-kva.example/me"] {
        let letter = eventually(place, || ours.letters(place).pop());
        assert!(letter.contains("Subject: für dich"), "{letter}");
        assert!(letter.contains("with UTF8SMTP"), "{letter}");
    }
}

#[test]
fn a_server_whose_name_is_beyond_ascii_gives_it_as_dns_has_it() {
    let dns = Dns::start(ZONE);
    let server = Plan::new("mx.b\u{fc}cher.example", &["me@here.example"]).start(&dns);
    for door in [server.mx(), server.submission()] {
        let mut wire = Wire::connect(door);
        wire.expect("220 mx.xn--bcher-kva.example ESMTP");
        wire.ask("EHLO mx.there.example", "250 mx.xn--bcher-kva.example");
    }
}
