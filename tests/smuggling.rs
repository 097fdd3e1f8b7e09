//! Smuggling (CVE-2023-51764 and its kin): no octets that only resemble the end of a letter end one, at either door, and
//! nothing that we send has another end for anybody.

mod harness;

use harness::post::{ME, Post};
use harness::wire::Wire;
use harness::{Dns, Plan, Server, ZONE, eventually};
use std::net::SocketAddr;

const FRIEND: &str = "friend@there.example";

/// What stands between two lines where only CRLF may.
const BREAKS: [&str; 17] = [
    "\n", "\r", "\0", "\r\n", "\n\r", "\n\n", "\r\r", "\r\0", "\0\n", "\n\0", "\0\0", "\r\r\n", "\r\n\r",
    "\n\r\n", "\r\n\n", "\r\n\0", "\r\0\n",
];

/// A letter and a second one that some reader might see in it.
struct Form {
    name: String,
    octets: Vec<u8>,
}

/// Every break before a dot with every one behind it, and more dots, unless that is an end or no fault.
fn forms(first_line: &str) -> Vec<Form> {
    let mut forms = Vec::new();
    for before in BREAKS {
        for after in BREAKS {
            for dot in [".", ".."] {
                let end = format!("{before}{dot}{after}");
                let octets = format!(
                    "{first_line}\r\n\r\nHello.{end}MAIL FROM:<evil@there.example>\r\nRCPT TO:<me@here.example>\r\nDATA\r\n\
                     Subject: smuggled\r\n\r\nSmuggled.\r\n.\r\n"
                );
                if first_end_is_bent(&octets) {
                    forms.push(Form { name: format!("{end:?}"), octets: octets.into_bytes() });
                }
            }
        }
    }
    assert!(forms.len() > 500, "{}", forms.len());
    forms
}

/// Whether there is a lone CR, lone LF or NUL before the first true end: found by taking all CRLFs out.
fn first_end_is_bent(octets: &str) -> bool {
    let (letter, _) = octets.split_once("\r\n.\r\n").unwrap();
    letter.replace("\r\n", "").contains(['\r', '\n', '\0'])
}

struct Doors {
    server: Server,
    _dns: Dns,
}

impl Doors {
    fn open(limits: &str) -> Doors {
        let dns = Dns::start(ZONE);
        let limits = format!("[limits]\nfree_space = 0\n{limits}");
        let server = Plan::new("mx.here.example", &[ME]).with(&limits).start(&dns);
        Doors { server, _dns: dns }
    }

    fn both(&self) -> [(SocketAddr, &'static str); 2] {
        [(self.server.mx(), FRIEND), (self.server.submission(), ME)]
    }

    /// A connection that stands before DATA's 354.
    fn ready(&self, (door, from): (SocketAddr, &str)) -> Wire {
        let (mut wire, _) = Wire::greeted(door);
        wire.ask(&format!("MAIL FROM:<{from}>"), "250");
        wire.ask("RCPT TO:<me@here.example>", "250");
        wire
    }

    /// Nothing was stored or queued.
    #[track_caller]
    fn nothing_came_in(&self) {
        assert_eq!(self.server.letters("here.example/me"), Vec::<String>::new());
        let listed = self.server.command(&["queue", "list", "--json"]);
        let queued = String::from_utf8(listed.stdout).unwrap();
        assert!(queued.contains("\"letters\":0,"), "{queued}");
    }
}

/// The letter is refused for good, the end is told, and it is the end: whatever stood behind was no command.
#[track_caller]
fn refused_and_closed(mut wire: Wire, name: &str, code: &str) {
    let reply = wire.reply();
    assert!(reply.starts_with(code), "{name}: {reply}");
    let reply = wire.reply();
    assert!(reply.starts_with("421 4.7.0 Closing"), "{name}: {reply}");
    wire.expect_end();
}

#[test]
fn what_only_resembles_an_end_is_refused_at_both_doors() {
    let doors = Doors::open("");
    for door in doors.both() {
        for form in forms(&format!("From: {}", door.1)) {
            let mut wire = doors.ready(door);
            wire.ask("DATA", "354");
            wire.raw(&form.octets);
            refused_and_closed(wire, &form.name, "550 5.6.0");
        }
    }
    doors.nothing_came_in();
}

#[test]
fn it_does_not_matter_where_the_octets_are_cut() {
    let doors = Doors::open("");
    for (n, form) in forms("From: x@there.example").into_iter().enumerate().filter(|(n, _)| n % 29 == 0) {
        let mut wire = doors.ready(doors.both()[n % 2]);
        wire.ask("DATA", "354");
        // The dot with what surrounds it octet by octet, each in a segment of its own.
        let at = form.octets.windows(6).position(|window| window == b"Hello.").unwrap() + 6;
        wire.raw(&form.octets[..at]);
        for octet in &form.octets[at..at + 9] {
            wire.raw(&[*octet]);
            std::thread::yield_now();
        }
        wire.raw(&form.octets[at + 9..]);
        refused_and_closed(wire, &form.name, "550 5.6.0");
    }
    doors.nothing_came_in();
}

#[test]
fn a_letter_that_is_too_large_has_no_other_end() {
    let doors = Doors::open("message_size = 65536\n");
    let filler = format!("{}\r\n", "x".repeat(78)).repeat(900);
    for door in doors.both() {
        for form in forms(&filler) {
            let mut wire = doors.ready(door);
            wire.ask("DATA", "354");
            wire.raw(&form.octets);
            refused_and_closed(wire, &form.name, "550 5.6.0");
        }
        // Whole and clean, it is refused for its size, at its true end, and the connection goes on.
        let mut wire = doors.ready(door);
        wire.ask("DATA", "354");
        wire.raw(format!("{filler}..\r\n...\r\nMAIL FROM:<evil@there.example>\r\n.\r\n").as_bytes());
        wire.expect("552 5.3.4");
        wire.ask("NOOP", "250");
        wire.ask("DATA", "503");
    }
    doors.nothing_came_in();
}

#[test]
fn nothing_is_smuggled_between_data_and_the_letter() {
    let doors = Doors::open("");
    let second = "MAIL FROM:<evil@there.example>\r\nRCPT TO:<me@here.example>\r\nDATA\r\nsmuggled\r\n.\r\n";
    for door in doors.both() {
        for (data, code) in [
            // No line ends so.
            ("DATA\n", "500 5.5.2"),
            ("DATA\n\r\n", "500 5.5.2"),
            ("DATA\r\r\n", "500 5.5.2"),
            ("DATA\0\r\n", "500 5.5.2"),
            ("DATA\r", "500 5.5.2"),
            ("RSET\n", "500 5.5.2"),
            ("NOOP x\nDATA\r\n", "500 5.5.2"),
            ("NOOP x\rDATA\r\n", "500 5.5.2"),
            // The letter came before the 354.
            ("DATA\r\n", "554 5.5.0"),
            ("DATA\r\n.\r\n", "554 5.5.0"),
            ("DATA\r\n\n.\n", "554 5.5.0"),
        ] {
            let mut wire = doors.ready(door);
            wire.raw(format!("{data}Subject: x\r\n\r\nHello.\r\n.\r\n{second}").as_bytes());
            refused_and_closed(wire, &format!("{data:?}"), code);
        }
    }
    doors.nothing_came_in();
}

#[test]
fn nothing_is_smuggled_in_by_other_protocols() {
    let doors = Doors::open("");
    let commands = "HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<me@here.example>\r\nDATA\r\n";
    for door in doors.both() {
        for first in [
            &b"POST / HTTP/1.1\r\nHost: mx.here.example:25\r\n\r\n"[..],
            b"\x16\x03\x01\x00\xa5\x01\r\n",
            b"\x05\x01\x00",
        ] {
            let mut wire = Wire::connect(door.0);
            wire.expect("220");
            wire.raw(&[first, commands.as_bytes()].concat());
            wire.expect("421 4.7.0 This is a mail server");
            wire.expect_end();
        }
    }
    doors.nothing_came_in();
}

#[test]
fn what_leaves_has_one_end_for_everybody() {
    let post = Post::new("");
    let to = "friend@there.example";
    let sealed = |body: &str| {
        let letter = harness::home::letter(ME, to, "to be sent");
        let letter = [letter.as_slice(), body.as_bytes()].concat();
        post.home.sealed(&letter, "mx.here.example", &[to])
    };
    // What is in CRLF form leaves, each of its lines that begins with a dot under one dot more.
    let dots = ".\r\n..\r\n.MAIL FROM:<evil@there.example>\r\n\r\n.\r\n.\r\n\r\n...\r\n.";
    for body in [dots.to_owned(), format!("{dots}\r\n"), ".\r\n".repeat(20_000)] {
        let (mut wire, _) = Wire::greeted(post.server.submission());
        let mut letter = sealed(&body);
        if !letter.ends_with(b"\r\n") {
            letter.extend_from_slice(b"\r\n");
        }
        let reply = wire.transact(ME, &[to], &letter);
        assert!(reply.starts_with("250"), "{reply}");
    }
    let taken =
        eventually("three letters", || Some(post.sink.letters()).filter(|letters| letters.len() == 3));
    for letter in &taken {
        one_end(&letter.raw);
    }
    assert!(
        taken
            .iter()
            .all(|letter| letter.text.contains("\r\n...\r\n..MAIL FROM:") || letter.raw.len() > 60_000)
    );
    // What is not comes no further than the door.
    for break_ in BREAKS.into_iter().filter(|break_| *break_ != "\r\n") {
        let (mut wire, _) = Wire::greeted(post.server.submission());
        let letter = sealed(&format!("bent{break_}.{break_}MAIL FROM:<evil@there.example>\r\n"));
        let reply = wire.transact(ME, &[to], &letter);
        assert!(reply.starts_with("550 5.6.0"), "{break_:?}: {reply}");
    }
    post.send(&[to], "the last");
    eventually("the last", || (post.sink.count("the last") == 1).then_some(()));
    assert_eq!(post.sink.count("bent"), 0);
    assert_eq!(post.sink.letters().len(), 4);
    for letter in post.sink.letters() {
        one_end(&letter.raw);
    }
}

/// No lone CR or LF, no NUL, and no line that is a dot, or begins with a single one, but the last.
#[track_caller]
fn one_end(raw: &[u8]) {
    let text = String::from_utf8_lossy(raw);
    assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']), "{text:?}");
    let lines: Vec<&str> = text.strip_suffix(".\r\n").unwrap().split("\r\n").collect();
    assert!(lines.iter().all(|line| !line.starts_with('.') || line.starts_with("..")), "{text:?}");
}
