//! STARTTLS: what is forgotten with it, and what is not.

use super::*;

const ENVELOPE: &[u8] = b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<me@here.example>\r\n";

fn offered() -> Driver {
    Driver::with(Door::Mx, Tls::Offered)
}

#[test]
fn what_came_in_clear_behind_starttls_is_never_executed() {
    let injected = "EHLO evil\r\nMAIL FROM:<evil@there.example>\r\nRCPT TO:<me@here.example>\r\nDATA\r\n";
    for injected in [injected, "NOOP\r\n", "NOO", "\r\n", "\u{16}\u{3}\u{1}", "GET / HTTP/1.1\r\n", "\n\0"] {
        let mut driver = offered();
        driver.feed(format!("EHLO x\r\nSTARTTLS\r\n{injected}").as_bytes());
        assert!(driver.secured && driver.said.ends_with(b"220 2.0.0 Begin TLS now\r\n"), "{injected:?}");
        driver.said.clear();
        driver.feed(b"EHLO y\r\n");
        assert!(driver.said.starts_with(b"250-mx.example"), "{injected:?}");
        assert_eq!(driver.session.greeted_as(), Some(("y", true)));
        assert_eq!((driver.events.as_slice(), driver.closed), (&[][..], false), "{injected:?}");
    }
}

#[test]
fn a_transaction_is_void_and_the_greeting_is_forgotten() {
    let mut driver = offered();
    driver.feed(ENVELOPE);
    assert!(driver.session.in_transaction() && !driver.reset);
    driver.feed(b"STARTTLS\r\n");
    assert!(driver.secured && driver.reset && !driver.session.in_transaction());
    assert_eq!(driver.session.greeted_as(), None);
    driver.said.clear();
    driver.feed(b"DATA\r\n");
    assert!(driver.said.starts_with(b"503 5.5.1"));
}

#[test]
fn conduct_is_not_forgotten() {
    let mut driver = offered();
    driver.feed(b"EHLO x\r\n");
    driver.feed(&b"WHAT\r\n".repeat(9));
    let before = driver.session.counts();
    driver.feed(b"STARTTLS\r\n");
    let after = driver.session.counts();
    assert_eq!((after.errors, after.commands), (9, before.commands + 1));
    assert!(driver.secured && !driver.closed);
    driver.feed(b"WHAT\r\n");
    assert!(driver.closed, "the tenth error ends it, wherever the others were made");

    let mut driver = offered();
    driver.feed(b"EHLO x\r\n");
    driver.feed(&b"NOOP\r\n".repeat(98));
    driver.feed(b"STARTTLS\r\nNOOP\r\n");
    driver.feed(b"NOOP\r\n");
    assert!(driver.secured && driver.closed, "the same of commands that bring nothing");
    let mut driver = offered();
    driver.feed(b"EHLO x\r\n");
    driver.feed(&b"NOOP\r\n".repeat(99));
    driver.feed(b"STARTTLS\r\n");
    assert!(driver.closed && !driver.secured, "no handshake for whoever is told to go");
}

#[test]
fn a_handshake_is_asked_for_until_it_was_done_and_answered_by_nothing_else() {
    let mut session = Session::new(settings(Door::Mx, Tls::Offered));
    session.secured();
    session.feed(b"EHLO x\r\nSTARTTLS\r\n");
    assert!(matches!(session.step(), Step::StartTls));
    session.answer(Reply::new(250, 0, 0, "stray"));
    assert!(matches!(session.step(), Step::StartTls));
    let said = session.take_output();
    assert!(String::from_utf8(said).unwrap().contains("250 STARTTLS\r\n220 2.0.0"), "offered until then");
    session.secured();
    assert!(matches!(session.step(), Step::Read));
    assert_eq!(session.take_output(), b"");
    let mut session = Session::new(settings(Door::Mx, Tls::Offered));
    session.feed(b"EHLO x\r\nSTARTTLS\r\n");
    session.abort(Reply::new(421, 3, 2, "going down"));
    assert!(matches!(session.step(), Step::Close));
}
