//! What a stranger sends to cost us more than it costs him.

mod harness;

use harness::wire::Wire;
use harness::{Dns, PATIENCE, Plan, ZONE};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn a_header_of_thousands_of_fields_is_refused_and_the_next_letter_is_not() {
    let dns = Dns::start(ZONE);
    let server = Plan::new("mx.here.example", &["me@here.example"]).start(&dns);
    let (mut wire, _) = Wire::greeted(server.mx());
    let letter = |fields: usize| format!("{}\r\nHello.\r\n", "x:\r\n".repeat(fields));
    let mut send = |letter: &str| wire.transact("", &["me@here.example"], letter.as_bytes());
    for fields in [2000, 50_000] {
        let reply = send(&letter(fields));
        assert!(reply.starts_with("552 5.3.4"), "{reply}");
    }
    let folded = format!("To: a@there.example{}\r\n\r\n", ",\r\n b@there.example".repeat(5000));
    for fine in [letter(1999), folded] {
        let reply = send(&fine);
        assert!(reply.starts_with("250"), "{reply}");
    }
    assert_eq!(server.letters("here.example/me").len(), 2);
}

#[test]
fn naming_one_address_a_hundred_times_holds_no_more_files_than_once() {
    let dns = Dns::start(ZONE);
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(512), maximum: hard }).unwrap();
    let server = Plan::new("mx.here.example", &["me@here.example"]).start(&dns);
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let mut wires: Vec<Wire> = Vec::new();
    for _ in 0..3 {
        let (mut wire, _) = Wire::greeted(server.mx());
        wire.ask("MAIL FROM:<>", "250");
        for _ in 0..100 {
            wire.ask("RCPT TO:<me@here.example>", "250");
        }
        wires.push(wire);
    }
    assert!(open() < 100, "{} files are open", open());
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(words[3], words[4], "{files}");
}

#[test]
fn a_command_that_drips_for_ever_ends() {
    let dns = Dns::start(ZONE);
    let limits = "[limits]\nfree_space = 0\ncommand_timeout = 2";
    let server = Plan::new("mx.here.example", &["me@here.example"]).with(limits).start(&dns);
    let mut dripping = TcpStream::connect(server.mx()).unwrap();
    let mut reading = Wire::greeted(server.mx()).0;
    let mut heard = dripping.try_clone().unwrap();
    // Who speaks before the greeting has another end.
    heard.read_exact(&mut [0; 3]).unwrap();
    let said = std::thread::spawn(move || std::io::read_to_string(heard).unwrap_or_default());
    // Each octet comes long before the time is over; the line's end never does.
    let deadline = Instant::now() + PATIENCE;
    while !said.is_finished() && Instant::now() < deadline {
        if dripping.write_all(b"N").is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(said.is_finished(), "the connection is still open");
    // A reset may have taken the words away.
    let said = said.join().unwrap();
    assert!(said.is_empty() || said.contains("421 4.4.2"), "{said}");
    reading.expect("421 4.4.2");
}
