//! The server's session: however what the client says is cut into packets, the same happens and the same is answered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::smtp::Door;
use pillarbox::smtp::reply::Reply;
use pillarbox::smtp::server::{Session, Settings, Step, Tls};
use std::time::Duration;

/// What happened.
#[derive(Debug, Default, PartialEq)]
struct Played {
    events: Vec<String>,
    letters: Vec<Vec<u8>>,
    output: Vec<u8>,
    closed: bool,
}

fuzz_target!(|input: (bool, u64, &[u8])| {
    let (mx, seed, stream) = input;
    let door = if mx { Door::Mx } else { Door::Submission };
    let one_by_one = play(door, stream, |at| at + 1);
    let waits = behind_data(stream);
    let mut state = seed | 1;
    let cut = play(door, stream, |at| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let wanted = at + 1 + (state >> 33) as usize % 97;
        // Nobody may say more before DATA is answered: whoever does is cut off, which is another conversation.
        waits.iter().find(|wait| **wait > at).map_or(wanted, |wait| wanted.min(*wait))
    });
    assert_eq!(one_by_one, cut);
    // All at once: may be cut off, must not end in anything but replies.
    well_formed(&play(door, stream, |_| usize::MAX).output);
    well_formed(&cut.output);
});

/// Where a client has to wait: behind every line that may be a DATA.
fn behind_data(stream: &[u8]) -> Vec<usize> {
    let mut waits = Vec::new();
    let mut at = 0;
    for line in stream.split_inclusive(|octet| *octet == b'\n') {
        at += line.len();
        let line = line.trim_ascii();
        if line.eq_ignore_ascii_case(b"DATA") || line.eq_ignore_ascii_case(b"STARTTLS") {
            waits.push(at);
        }
    }
    waits
}

fn play(door: Door, stream: &[u8], mut next: impl FnMut(usize) -> usize) -> Played {
    let mut session = Session::new(Settings {
        hostname: "mx.here.example".into(),
        door,
        message_size: 200,
        recipients: 3,
        command_timeout: Duration::from_secs(300),
        tls: Tls::Offered,
    });
    let mut played = Played::default();
    let (mut at, mut body) = (0, Vec::new());
    loop {
        match session.step() {
            Step::Read => {
                played.output.extend(session.take_output());
                if at == stream.len() {
                    return played;
                }
                let to = next(at).min(stream.len());
                session.feed(&stream[at..to]);
                at = to;
            }
            Step::Mail(sender) => {
                let said = format!("{sender:?}");
                session.answer(judged(&said));
                played.events.push(said);
            }
            Step::Rcpt(recipient) => {
                let said = format!("{recipient:?}");
                session.answer(judged(&said));
                played.events.push(said);
            }
            Step::Data => {
                played.events.push("DATA".into());
                session.answer(Reply::plain(354, "go on"));
            }
            Step::Body(slice) => {
                assert!(!slice.is_empty());
                body.extend_from_slice(slice);
            }
            Step::EndOfData(end) => {
                let said = format!("{end:?}");
                assert_eq!(end.size, body.len() as u64);
                played.letters.push(std::mem::take(&mut body));
                session.answer(judged(&said));
                played.events.push(said);
            }
            Step::Reset => {
                played.events.push("reset".into());
                // How much was handed out of a letter that is void depends on when that was seen.
                body.clear();
            }
            Step::StartTls => {
                played.events.push("tls".into());
                session.secured();
            }
            Step::Close => {
                played.closed = true;
                played.output.extend(session.take_output());
                return played;
            }
        }
    }
}

/// Now yes, now no, the same for the same words.
fn judged(said: &str) -> Reply {
    match said.bytes().map(u32::from).sum::<u32>() % 11 {
        0 => Reply::new(550, 1, 1, "no"),
        1 => Reply::new(451, 3, 0, "later"),
        _ => Reply::new(250, 0, 0, "yes"),
    }
}

fn well_formed(output: &[u8]) {
    let text = std::str::from_utf8(output).expect("replies are ASCII");
    assert!(text.ends_with("\r\n"));
    for line in text.split_terminator("\r\n") {
        let octets = line.as_bytes();
        assert!(line.len() <= 510 && octets[..3].iter().all(u8::is_ascii_digit), "{line:?}");
        assert!(matches!(octets[3], b' ' | b'-') && !line.contains(['\r', '\n']), "{line:?}");
    }
}
