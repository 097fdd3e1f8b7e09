//! Letters of odd form through strangers' door: taken, and stored octet by octet as they came below our own trace fields.

mod harness;

use harness::wire::Wire;
use harness::{Dns, Plan, Server, ZONE, eventually};
use pillarbox::mail::header::split_strict;

const FRIEND: &str = "friend@there.example";
const ME: &str = "me@here.example";
const YOU: &str = "you@here.example";

const FROM: &str = "From: friend@there.example\r\n";

fn server() -> (Server, Dns) {
    let dns = Dns::start(ZONE);
    (Plan::new("mx.here.example", &[ME, YOU]).start(&dns), dns)
}

/// The only letter of an address is this one, with our own trace fields on top and nothing else.
#[track_caller]
fn assert_stored(server: &Server, place: &str, letter: &[u8]) {
    let directory = server.maildir(place).join("new");
    let files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let stored = std::fs::read(file).unwrap();
    std::fs::remove_file(file).unwrap();
    let came = String::from_utf8_lossy(&letter[..letter.len().min(300)]);
    let shown = String::from_utf8_lossy(&stored[..stored.len().min(1000)]);
    let ours = stored.strip_suffix(letter).unwrap_or_else(|| panic!("{came:?} became {shown:?}"));
    let ours = split_strict(ours).unwrap_or_else(|fault| panic!("{fault}: {shown:?}"));
    let names: Vec<&str> = ours.fields.iter().map(|field| field.name).collect();
    assert_eq!(names[..2], ["Return-Path", "Delivered-To"], "{shown:?}");
    // The lowest of ours, since a letter that begins with a continuation line continues it.
    assert_eq!(names.iter().position(|name| *name == "Received"), Some(names.len() - 1), "{shown:?}");
    assert!(names.len() < 8, "{shown:?}");
}

fn odd_letters() -> Vec<Vec<u8>> {
    let long = "x".repeat(5000);
    let hop = "Received: from a (b [192.0.2.1]\r\n\tby  c ; not a date\r\n";
    let mut letters: Vec<Vec<u8>> = [
        // Nothing at all, a body alone, a header alone with and without its empty line.
        "".to_owned(),
        "\r\n".to_owned(),
        "\r\n\r\nbody\r\n".to_owned(),
        FROM.to_owned(),
        format!("{FROM}\r\n"),
        // Missing, several, unreadable fields.
        format!("{FROM}\r\nno Date\r\n"),
        "Date: x\r\n\r\nno From\r\n".to_owned(),
        format!("{FROM}{FROM}Date: 1\r\nDate: 2\r\nMessage-ID: <a>\r\nMESSAGE-ID: <b>\r\nSubject:\r\nsubject :x\r\n\r\nx\r\n"),
        // Lines that are no fields, and folding that is none.
        format!("{FROM}this is no field\r\n: nor this\r\nNo r: this\r\n\r\nx\r\n"),
        format!(" begins with a continuation\r\n{FROM}\r\nx\r\n"),
        format!("{FROM}Subject: a\r\n \t \r\n b\r\n \r\n\r\nx\r\n"),
        // Trailing spaces and tabs, empty lines at the end, controls.
        format!("{FROM}Subject:  a \t \r\n\r\nx \t\r\n\t\r\n\r\n\r\n\r\n"),
        format!("{FROM}\r\n\x01\x07\x0b\x0c\x1b\x7f\r\n"),
        // Long lines and long folding.
        format!("{FROM}Subject: {long}\r\n\r\n{long}\r\n{long}\r\n"),
        format!("{FROM}To: a@there.example{}\r\n\r\nx\r\n", ",\r\n\tb@there.example".repeat(500)),
        // Trace fields of others, whatever their form and order.
        format!("{hop}{hop}{FROM}{hop}X-Received: x\r\nReceived-SPF: pass\r\n{hop}\r\nx\r\n"),
        format!("Authentication-Results: there.example; none\r\n{FROM}\r\nx\r\n"),
        // Dots, and what looks like an envelope or mbox.
        format!("{FROM}\r\n.\r\n..\r\n...\r\n.x\r\nFrom me\r\n>From me\r\n"),
        // A MIME structure that does not end.
        format!("{FROM}Content-Type: multipart/mixed; boundary=\"x\r\nMIME-Version: 2\r\n\r\n--x\r\n--x\r\n"),
        // More than the 64 KiB that RFC 5321 section 4.5.3.1.7 asks for.
        format!("{FROM}\r\n{}", "0123456789abcdef\r\n".repeat(20_000)),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect();
    // Eight bits in header and body, UTF-8 and not.
    letters.push(format!("{FROM}Subject: \u{fc}\r\n\r\n\u{fc}\r\n").into_bytes());
    letters.push([FROM.as_bytes(), b"Subject: \xfc\xff\xfe\r\n\r\n\x80\x81\xff\r\n"].concat());
    letters.push(
        [
            FROM.as_bytes(),
            b"S\xfcbject: x\r\n\r\n",
            (1..=255u8).filter(|b| !b"\r\n".contains(b)).collect::<Vec<_>>().as_slice(),
            b"\r\n",
        ]
        .concat(),
    );
    letters
}

#[test]
fn what_is_stored_is_what_came() {
    let (server, _dns) = server();
    for letter in odd_letters() {
        let (mut wire, _) = Wire::greeted(server.mx());
        let reply = wire.transact(FRIEND, &[ME], &letter);
        assert!(reply.starts_with("250 2."), "{reply}");
        assert_stored(&server, "here.example/me", &letter);
    }
}

#[test]
fn a_letter_whose_connection_is_lost_is_none() {
    let (server, _dns) = server();
    let sockets = || {
        let links = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
        let links = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    };
    let at_rest = sockets();
    for begun in ["", FROM, "Subject: x\r\n\r\nbody\r\n", "\r\nx\r\n.", "\r\nx\r\n.\r"] {
        let (mut wire, _) = Wire::greeted(server.mx());
        wire.ask(&format!("MAIL FROM:<{FRIEND}>"), "250");
        wire.ask(&format!("RCPT TO:<{ME}>"), "250");
        wire.ask("DATA", "354");
        wire.raw(begun.as_bytes());
    }
    // And one that has been answered is not undone.
    let (mut wire, _) = Wire::greeted(server.mx());
    let reply = wire.transact(FRIEND, &[ME], b"\r\nwhole\r\n");
    assert!(reply.starts_with("250 2."), "{reply}");
    wire.ask(&format!("MAIL FROM:<{FRIEND}>"), "250");
    drop(wire);
    eventually("all connections gone", || (sockets() <= at_rest).then_some(()));
    assert_stored(&server, "here.example/me", b"\r\nwhole\r\n");
}

#[test]
fn so_it_is_by_way_of_the_queue() {
    let (server, _dns) = server();
    for letter in odd_letters() {
        let (mut wire, _) = Wire::greeted(server.mx());
        let reply = wire.transact(FRIEND, &[ME, YOU], &letter);
        assert!(reply.starts_with("250 2."), "{reply}");
        for place in ["here.example/me", "here.example/you"] {
            eventually("a copy", || (server.letters(place).len() == 1).then_some(()));
            assert_stored(&server, place, &letter);
        }
    }
}
