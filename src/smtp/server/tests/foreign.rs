//! Other protocols at our port: the end at once, and nothing that stands behind their first octets is a command.

use super::*;

/// What would be smuggled in behind it.
const BEHIND: &[u8] = b"\r\nHELO x\r\nMAIL FROM:<>\r\nRCPT TO:<me@here.example>\r\nDATA\r\n";

fn says(before: &[u8], first: &[u8], cut: usize) -> (String, bool) {
    let mut driver = Driver::new(Door::Mx);
    driver.feed(before);
    driver.said.clear();
    for part in [first, BEHIND].concat().chunks(cut) {
        driver.feed(part);
    }
    assert!(!driver.events.iter().any(|event| event.starts_with("rcpt")), "{:?}", driver.events);
    (String::from_utf8(driver.said).unwrap(), driver.closed)
}

#[test]
fn requests_of_browsers_end_the_session() {
    for first in [
        "GET / HTTP/1.1",
        "get /",
        "POST /x HTTP/1.1",
        "PUT /x HTTP/1.0",
        "HEAD",
        "OPTIONS * HTTP/1.1",
        "CONNECT mx.example:25 HTTP/1.1",
        "DELETE /x",
        "TRACE /",
        "PATCH /",
        "PRI * HTTP/2.0",
        "PROPFIND / HTTP/1.1",
        "FROB / HTTP/9",
        "SSH-2.0-OpenSSH_9.9",
    ] {
        for before in [&b""[..], b"HELO x\r\n", b"HELO x\r\nMAIL FROM:<>\r\n"] {
            for cut in [1, 3, usize::MAX] {
                let (said, closed) = says(before, first.as_bytes(), cut);
                assert!(said.starts_with("421 4.7.0 This is a mail server") && closed, "{first}: {said}");
                assert_eq!(said.lines().count(), 1, "{first}: {said}");
            }
        }
    }
}

#[test]
fn binary_protocols_end_the_session_at_their_first_octet() {
    for first in [
        // TLS, SSL 2, SOCKS 4 and 5, RDP, telnet, nothing.
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"\x80\x2e\x01\x00\x02",
        b"\x04\x01\x00\x19",
        b"\x05\x01\x00",
        b"\x03\x00\x00\x13",
        b"\xff\xf4\xff\xfd\x06",
        b"\x00",
    ] {
        let mut driver = Driver::new(Door::Mx);
        driver.said.clear();
        driver.feed(&first[..1]);
        assert!(driver.closed, "{first:?}");
        assert!(driver.said.starts_with(b"421 4.7.0 This is a mail server"), "{first:?}");
        assert!(says(b"HELO x\r\n", first, 1).1, "{first:?}");
    }
}

#[test]
fn what_only_resembles_a_request_is_an_unknown_command() {
    for first in ["GETTING", "POSTMASTER", "MAIL GET / HTTP/1.1", "NOOP / HTTP/1.1", "HELO GET"] {
        let mut driver = Driver::new(Door::Mx);
        driver.feed(format!("{first}\r\n").as_bytes());
        assert!(!driver.closed, "{first}");
    }
}

#[test]
fn an_open_transaction_is_void_then() {
    let mut driver = Driver::new(Door::Mx);
    driver.feed(b"HELO x\r\nMAIL FROM:<>\r\nGET / HTTP/1.1\r\n");
    assert!(driver.reset && driver.closed);
}
