//! The message after DATA: however the stream is cut, the same comes out; only CRLF . CRLF ends it; and what was stuffed is
//! read as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::smtp::data::{EndOfData, Fault, Piece, Reader, Stuffer};

#[derive(Debug, PartialEq)]
struct Seen {
    body: Vec<u8>,
    ended_at: Option<usize>,
    facts: (EndOfData, Option<Fault>),
}

fuzz_target!(|input: (u64, &[u8])| {
    let (seed, stream) = input;
    let whole = read(stream, || usize::MAX);
    let mut state = seed | 1;
    let cut = read(stream, || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        1 + (state >> 33) as usize % 7
    });
    let octets = read(stream, || 1);
    if whole.ended_at.is_some() {
        assert_eq!(whole, cut);
    } else {
        // What the reader of a stream that never ends has said depends on nothing but the stream either.
        assert_eq!((&whole.body, whole.ended_at), (&cut.body, cut.ended_at));
    }
    assert_eq!((&octets.body, octets.ended_at), (&whole.body, whole.ended_at));
    assert_eq!(whole.ended_at, true_end(stream), "only CRLF . CRLF ends a message");
    if whole.ended_at.is_some() {
        assert_eq!(whole.facts.1.is_some(), has_fault(&whole.body), "{:?}", whole.facts);
    }
    stuffed_is_read(stream);
});

fn read(stream: &[u8], mut next_cut: impl FnMut() -> usize) -> Seen {
    let mut reader = Reader::new();
    let (mut body, mut ended_at) = (Vec::new(), None);
    let (mut start, mut fed) = (0, 0);
    'feed: while fed < stream.len() {
        fed = fed.saturating_add(next_cut()).min(stream.len());
        loop {
            let (count, piece) = reader.next(&stream[start..fed]);
            start += count;
            match piece {
                Piece::Body(slice) => body.extend_from_slice(slice),
                Piece::End => {
                    ended_at = Some(start);
                    break 'feed;
                }
                Piece::More => break,
            }
        }
        assert!(fed - start <= 2, "{} octets are held back", fed - start);
    }
    let facts = (reader.facts(), reader.fault());
    assert_eq!(reader.size(), body.len() as u64);
    Seen { body, ended_at, facts }
}

/// Where the message ends by the letter of RFC 5321 section 4.1.1.4; it begins behind the CRLF of DATA.
fn true_end(stream: &[u8]) -> Option<usize> {
    if stream.starts_with(b".\r\n") {
        return Some(3);
    }
    stream.windows(5).position(|five| five == b"\r\n.\r\n").map(|at| at + 5)
}

fn has_fault(body: &[u8]) -> bool {
    let lone_lf = |at: usize| body[at] == b'\n' && (at == 0 || body[at - 1] != b'\r');
    let lone_cr = |at: usize| body[at] == b'\r' && body.get(at + 1) != Some(&b'\n');
    (0..body.len()).any(|at| body[at] == 0 || lone_lf(at) || lone_cr(at))
}

fn stuffed_is_read(message: &[u8]) {
    let mut stuffer = Stuffer::new();
    let mut wire = Vec::new();
    if stuffer.push(message, &mut wire).is_ok() && stuffer.finish(&mut wire).is_ok() {
        let read = read(&wire, || usize::MAX);
        assert_eq!(read.ended_at, Some(wire.len()));
        let body =
            read.body.strip_suffix(b"\r\n").filter(|_| !message.ends_with(b"\r\n")).unwrap_or(&read.body);
        assert_eq!(body, message);
    }
}
