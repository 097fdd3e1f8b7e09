//! The client's session against a server that says anything: it ends, every recipient has a fate, and none is Accepted
//! whose letter was not sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::mail::address::Address;
use pillarbox::mail::envelope::{Envelope, Recipient, ReversePath, Sender};
use pillarbox::smtp::client::{Client, Fate, Request, Step};

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, said) = input;
    let all_or_none = kind & 1 == 1;
    let mut client = Client::new(request(kind));
    // A 0xff ends a packet: the server waits for what the client says next.
    let mut packets = said.split(|octet| *octet == 0xff);
    let (mut wrote, mut sent) = (Vec::new(), false);
    let outcome = loop {
        match client.step() {
            Step::Write(bytes) => {
                assert!(!bytes.is_empty());
                wrote.extend_from_slice(&bytes);
            }
            Step::SendMessage => {
                assert!(!sent, "the letter is sent once");
                sent = true;
            }
            Step::Read => match packets.next() {
                Some(packet) => client.feed(packet),
                None => client.lost("the line is dead"),
            },
            Step::Done(outcome) => break outcome,
        }
    };
    assert_eq!(outcome.fates.len(), 2);
    let accepted = outcome.fates.iter().filter(|fate| matches!(fate, Fate::Accepted(_))).count();
    assert!(accepted == 0 || (sent && outcome.dot_sent));
    assert!(!all_or_none || accepted == 0 || accepted == 2);
    for fate in &outcome.fates {
        match fate {
            Fate::Accepted(reply) => assert!((200..300).contains(&reply.code)),
            Fate::Refused(reply) => assert!(reply.code >= 500, "{reply}"),
            Fate::Deferred(why) => assert!(!why.contains(['\r', '\n', '\0'])),
        }
    }
    let lines = String::from_utf8(wrote).expect("commands are text");
    let verbs = ["EHLO ", "HELO ", "MAIL FROM:<", "RCPT TO:<", "DATA", "QUIT", "."];
    assert!(
        lines.split_terminator("\r\n").all(|line| verbs.iter().any(|verb| line.starts_with(verb))),
        "{lines:?}"
    );
});

fn request(kind: u8) -> Request {
    let address = |text: &str| Address::parse(text).expect("an address");
    let second = if kind & 2 == 0 { "you@there.example" } else { "dü@there.example" };
    Request {
        helo: "mx.here.example".into(),
        envelope: Envelope {
            sender: Sender::new(ReversePath::Address(address("me@here.example"))),
            recipients: ["me@there.example", second].map(|to| Recipient::new(address(to))).into(),
        },
        size: 1000,
        eight_bit: kind & 4 != 0,
        all_or_none: kind & 1 == 1,
    }
}
