use super::*;
use proptest::prelude::*;

/// Reads `stream` in parts of `cut`; what came out, whether the end came, and what is left behind it.
fn read(stream: &[u8], cut: usize) -> (Reader, Vec<u8>, Option<Vec<u8>>) {
    let (mut reader, mut body, mut held, mut fed) = (Reader::new(), Vec::new(), Vec::new(), 0);
    loop {
        let (count, piece) = reader.next(&held);
        match piece {
            Piece::Body(slice) => {
                assert!(!slice.is_empty() && held[..count].ends_with(slice));
                body.extend_from_slice(slice);
            }
            Piece::End => {
                let left = [&held[count..], &stream[fed..]].concat();
                return (reader, body, Some(left));
            }
            Piece::More => {
                assert!(held.len() - count <= 2, "at most a dot and a CR are held back");
                if fed == stream.len() {
                    return (reader, body, None);
                }
                let next = (fed + cut).min(stream.len());
                held.drain(..count);
                held.extend_from_slice(&stream[fed..next]);
                fed = next;
                continue;
            }
        }
        held.drain(..count);
    }
}

#[test]
fn dots_are_taken_out_and_the_end_is_found() {
    for (stream, wanted, left) in [
        (&b".\r\n"[..], &b""[..], &b""[..]),
        (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b"...a\r\n.b\r\n.\r\n.\r\n", b"..a\r\nb\r\n", b".\r\n"),
        (b"a.b\r\n\r\n.\r\n", b"a.b\r\n\r\n", b""),
    ] {
        for cut in 1..=stream.len() {
            let (reader, body, rest) = read(stream, cut);
            assert_eq!((body.as_slice(), rest.as_deref()), (wanted, Some(left)), "cut at {cut}");
            assert_eq!((reader.fault(), reader.size()), (None, wanted.len() as u64));
        }
    }
}

#[test]
fn what_resembles_the_end_is_none_and_a_fault() {
    for (stream, fault) in [
        (&b"a\n.\n"[..], Fault::LoneLf),
        (b"a\n.\r\n", Fault::LoneLf),
        (b"a\r\n.\n", Fault::LoneLf),
        (b".\n", Fault::LoneLf),
        (b"a\r.\r", Fault::LoneCr),
        (b"a\r.\r\n", Fault::LoneCr),
        (b"a\r\n.\rx", Fault::LoneCr),
        (b"a\r\r\n.\r\n", Fault::LoneCr),
        (b"a\r\n.\0\r\n", Fault::Nul),
        (b"\0", Fault::Nul),
    ] {
        for cut in 1..=stream.len() + 1 {
            // A lone CR is known by what follows; `\r\r\n.\r\n` does have a real end.
            let real_end = stream.ends_with(b"\r\r\n.\r\n");
            let stream = if real_end { stream.to_vec() } else { [stream, b"x"].concat() };
            let (reader, _, rest) = read(&stream, cut);
            assert_eq!(rest.is_some(), real_end, "{:?}", String::from_utf8_lossy(&stream));
            assert_eq!(reader.fault(), Some(fault), "{:?} cut at {cut}", String::from_utf8_lossy(&stream));
        }
    }
}

#[test]
fn facts_are_gathered() {
    let stream = [&b"short\r\n.."[..], &[b'x'; 1500], b"\r\n\xc3\xa9\r\n.\r\n"].concat();
    for cut in [1, 2, 3, 700, 5000] {
        let (reader, body, _) = read(&stream, cut);
        let size = body.len() as u64;
        // The stuffed dot is no part of the line.
        let facts = EndOfData { size, longest_line: 1501, eight_bit: true, eight_bit_body: false };
        assert_eq!(reader.facts(), facts);
    }
    assert!(!read(b"a\r\n.\r\n", 1).0.facts().eight_bit);
}

#[test]
fn eight_bits_of_the_header_and_of_the_body_are_told_apart() {
    for (stream, any, body) in [
        (&b"S: \xe9\r\n\r\nascii\r\n.\r\n"[..], true, false),
        (b"S: e\r\n\r\n\xe9\r\n.\r\n", true, true),
        (b"S: \xe9\r\n\r\n\xe9\r\n.\r\n", true, true),
        (b"\r\n..\xe9\r\n.\r\n", true, true),
        (b"S: \xe9\r\n..\r\n\r\n\r\nx\r\n.\r\n", true, false),
        (b"S: e\r\n\r\n\r\n.\r\n", false, false),
    ] {
        for cut in 1..=stream.len() {
            let reader = read(stream, cut).0;
            let told = (reader.facts().eight_bit, reader.facts().eight_bit_body);
            assert_eq!(told, (any, body), "{:?} cut at {cut}", String::from_utf8_lossy(stream));
        }
    }
}

fn stuff(message: &[u8], cut: usize) -> Result<Vec<u8>, NotCrlf> {
    let (mut stuffer, mut out) = (Stuffer::new(), Vec::new());
    for part in message.chunks(cut) {
        stuffer.push(part, &mut out)?;
    }
    stuffer.finish(&mut out)?;
    Ok(out)
}

#[test]
fn a_message_is_stuffed_and_ended() {
    for (message, wanted) in [
        (&b""[..], &b".\r\n"[..]),
        (b"a", b"a\r\n.\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".a\r\n..b\r\nc.d\r\n\r\n", b"..a\r\n...b\r\nc.d\r\n\r\n.\r\n"),
    ] {
        for cut in 1..=message.len() + 1 {
            assert_eq!(stuff(message, cut).unwrap(), wanted, "cut at {cut}");
        }
    }
}

#[test]
fn a_lone_cr_or_lf_is_never_sent() {
    for (message, fault) in [
        (&b"a\nb"[..], Fault::LoneLf),
        (b"\n", Fault::LoneLf),
        (b"a\r\n\n", Fault::LoneLf),
        (b"a\rb", Fault::LoneCr),
        (b"a\r\r\n", Fault::LoneCr),
        (b"a\r", Fault::LoneCr),
    ] {
        for cut in 1..=message.len() {
            assert_eq!(stuff(message, cut), Err(NotCrlf(fault)), "{message:?} cut at {cut}");
        }
    }
}

/// Octets of which much goes wrong.
fn nasty() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(
        prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(b'a'), Just(0u8), Just(0xe9)],
        0..40,
    )
}

proptest! {
    #[test]
    fn cuts_do_not_matter(stream in nasty(), cut in 1usize..9) {
        let stream = [stream, b"\r\n.\r\nleft".to_vec()].concat();
        let (reader, body, left) = read(&stream, cut);
        let (whole, whole_body, whole_left) = read(&stream, usize::MAX / 2);
        prop_assert_eq!((&body, left), (&whole_body, whole_left));
        prop_assert_eq!(reader.fault(), whole.fault());
        prop_assert_eq!(reader.facts(), whole.facts());
        let header_end = whole_body.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        let header_end = if whole_body.starts_with(b"\r\n") { Some(2) } else { header_end };
        let behind = &whole_body[header_end.unwrap_or(whole_body.len())..];
        prop_assert_eq!(reader.facts().eight_bit_body, !behind.is_ascii());
    }

    #[test]
    fn the_end_is_the_first_crlf_dot_crlf(stream in nasty()) {
        let framed = [b"\r\n", stream.as_slice(), b"\r\n.\r\n"].concat();
        let end = framed.windows(5).position(|window| window == b"\r\n.\r\n").unwrap();
        let (_, _, left) = read(&framed[2..], 3);
        prop_assert_eq!(left.unwrap(), &framed[end + 5..]);
    }

    #[test]
    fn what_is_stuffed_is_read_as_it_was(lines in proptest::collection::vec("[.ab]{0,4}", 0..8), cut in 1usize..9) {
        let message = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
        let (reader, body, left) = read(&stuff(message.as_bytes(), cut).unwrap(), cut);
        prop_assert_eq!(body, message.as_bytes());
        prop_assert_eq!((left, reader.fault()), (Some(Vec::new()), None));
    }

    #[test]
    fn what_cannot_be_read_cannot_be_sent(message in nasty(), cut in 1usize..9) {
        if let Ok(out) = stuff(&message, cut) {
            let (reader, _, left) = read(&out, cut);
            prop_assert_eq!(left, Some(Vec::new()));
            prop_assert!(!matches!(reader.fault(), Some(Fault::LoneCr | Fault::LoneLf)));
        }
    }
}
