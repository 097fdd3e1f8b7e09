//! The client's session against a server that says anything: it ends, every recipient has a fate, none is Accepted whose
//! letter was not sent, and no password goes out in clear.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::mail::address::Address;
use pillarbox::mail::envelope::{Envelope, Recipient, ReversePath, Sender};
use pillarbox::smtp::client::{Client, Fate, Hello, Login, Outcome, Privacy, Request, Step, Trouble};

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, said) = input;
    let mut client = Client::new(hello(kind));
    // A 0xff ends a packet: the server waits for what the client says next.
    let mut packets = said.split(|octet| *octet == 0xff);
    let (mut wrote, mut private) = (Vec::new(), false);
    let (mut letters, mut begun, mut sent) = (2, false, false);
    loop {
        match client.step() {
            Step::Write(bytes) => {
                assert!(!bytes.is_empty());
                wrote.extend_from_slice(&bytes);
            }
            Step::SendMessage => {
                assert!(begun && !sent, "the letter is sent once");
                sent = true;
            }
            Step::Read => match packets.next() {
                Some(packet) => client.feed(packet),
                None => client.lost("the line is dead"),
            },
            Step::Handshake => {
                assert!(!private && wrote.ends_with(b"STARTTLS\r\n"));
                check_clear(&wrote);
                wrote.clear();
                private = true;
                client.secured();
            }
            Step::Ready if letters > 0 => {
                letters -= 1;
                (begun, sent) = (true, false);
                client.begin(request(kind));
            }
            Step::Ready => client.quit(),
            Step::Done(outcome) => {
                assert!(std::mem::take(&mut begun));
                check(kind, &outcome, sent);
            }
            Step::Failed(trouble) => check_trouble(&trouble),
            Step::Close => break,
        }
    }
    assert!(!begun, "the letter has an outcome");
    if !private {
        check_clear(&wrote);
    }
    let lines = String::from_utf8(wrote).expect("commands are text");
    let verbs = [
        "EHLO ",
        "HELO ",
        "STARTTLS",
        "AUTH ",
        "bWU=",
        "c2VjcmV0",
        "RSET",
        "MAIL FROM:<",
        "RCPT TO:<",
        "DATA",
        "QUIT",
        ".",
    ];
    assert!(
        lines.split_terminator("\r\n").all(|line| verbs.iter().any(|verb| line.starts_with(verb))),
        "{lines:?}"
    );
});

fn check(kind: u8, outcome: &Outcome, sent: bool) {
    let all_or_none = kind & 1 == 1;
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
}

fn check_trouble(trouble: &Trouble) {
    match trouble {
        Trouble::Refused(reply) => assert!(reply.code >= 500, "{reply}"),
        Trouble::Deferred(why) | Trouble::NoTls(why) | Trouble::Handshake(why) => {
            assert!(!why.contains(['\r', '\n', '\0']));
        }
    }
}

fn check_clear(wrote: &[u8]) {
    let clear = String::from_utf8_lossy(wrote);
    assert!(!clear.contains("AUTH") && !clear.contains("c2VjcmV0"), "{clear}");
}

fn hello(kind: u8) -> Hello {
    let privacy = match kind >> 3 & 3 {
        0 => Privacy::Unasked,
        1 => Privacy::IfOffered,
        _ => Privacy::Demanded,
    };
    let login = (kind & 32 != 0).then(|| Login { user: "me".into(), password: "secret".into() });
    Hello { helo: "mx.here.example".into(), privacy, login }
}

fn request(kind: u8) -> Request {
    let address = |text: &str| Address::parse(text).expect("an address");
    let second = if kind & 2 == 0 { "you@there.example" } else { "dü@there.example" };
    Request {
        envelope: Envelope {
            sender: Sender::new(ReversePath::Address(address("me@here.example"))),
            recipients: ["me@there.example", second].map(|to| Recipient::new(address(to))).into(),
        },
        size: 1000,
        eight_bit: kind & 4 != 0,
        all_or_none: kind & 1 == 1,
    }
}
