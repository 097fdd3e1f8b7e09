use super::*;
use proptest::prelude::*;

fn server_frames() -> Vec<FromServer<'static>> {
    vec![
        FromServer::Hello { version: 1, server: "0a".repeat(16), hostname: "mx.example".into() },
        FromServer::Mailbox { label: "example.org/me/topic".into(), letters: 3, octets: 1 << 40 },
        FromServer::Listed,
        FromServer::Letter(LetterHead {
            number: 7,
            mailbox: 1,
            size: 5,
            in_cur: true,
            base: "1.2.mx,S=5".into(),
            flags: "RS".into(),
        }),
        FromServer::Chunk(b"hello"),
        FromServer::Whole([9; 32]),
        FromServer::Dropped(String::new()),
        FromServer::Sent,
        FromServer::Removed(vec![1, u64::MAX]),
        FromServer::Unknown("nobody@example.org".into()),
        FromServer::Trouble("ünreadable".into()),
        FromServer::Fault("no".into()),
        FromServer::Bye,
    ]
}

fn home_frames() -> Vec<FromHome> {
    vec![
        FromHome::Request { version: 1, addresses: vec![] },
        FromHome::Request { version: 1, addresses: vec!["me@example.org".into(), "you@example.org".into()] },
        FromHome::Kept(vec![0, 1, 2]),
        FromHome::Done,
    ]
}

#[test]
fn every_frame_comes_back_as_it_was() {
    for frame in server_frames() {
        let mut bytes = Vec::new();
        frame.write_to(&mut bytes).unwrap();
        assert_eq!(FrameReader::new(&bytes[..]).server_frame().unwrap(), frame);
        assert!(FrameReader::new(&bytes[..]).home_frame().is_err());
    }
    for frame in home_frames() {
        let mut bytes = Vec::new();
        frame.write_to(&mut bytes).unwrap();
        assert_eq!(FrameReader::new(&bytes[..]).home_frame().unwrap(), frame);
        assert!(FrameReader::new(&bytes[..]).server_frame().is_err());
    }
}

#[test]
fn a_frame_cut_anywhere_is_truncated_never_something_else() {
    for frame in server_frames() {
        let mut bytes = Vec::new();
        frame.write_to(&mut bytes).unwrap();
        assert!(matches!(FrameReader::new(&bytes[..0]).server_frame(), Err(WireError::Closed)));
        for cut in 1..bytes.len() {
            let mut reader = FrameReader::new(&bytes[..cut]);
            let got = reader.server_frame();
            assert!(matches!(got, Err(WireError::Truncated)), "{frame:?} cut at {cut}: {got:?}");
        }
    }
}

#[test]
fn an_octet_too_many_is_malformed() {
    for frame in server_frames() {
        if matches!(frame, FromServer::Chunk(_)) {
            continue;
        }
        let mut bytes = Vec::new();
        frame.write_to(&mut bytes).unwrap();
        bytes.push(0);
        let length = u32::try_from(bytes.len() - 5).unwrap();
        bytes[1..5].copy_from_slice(&length.to_be_bytes());
        let mut reader = FrameReader::new(&bytes[..]);
        let got = reader.server_frame();
        assert!(matches!(got, Err(WireError::Malformed(_))), "{frame:?}: {got:?}");
    }
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_it_is_allocated() {
    let mut bytes = vec![0x05];
    bytes.extend_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(FrameReader::new(&bytes[..]).server_frame(), Err(WireError::TooLong(_))));
    let chunk = vec![0; MAX_PAYLOAD + 1];
    assert!(FromServer::Chunk(&chunk).write_to(&mut Vec::new()).is_err());
}

#[test]
fn a_shells_greeting_is_no_frame() {
    let mut reader = FrameReader::new(&b"Last login: Monday\n"[..]);
    let got = reader.server_frame();
    assert!(matches!(got, Err(WireError::Unknown(b'L'))), "{got:?}");
}

#[test]
fn many_numbers_go_in_several_frames() {
    let numbers: Vec<u64> = (0..10_000).collect();
    let mut bytes = Vec::new();
    FromHome::Kept(numbers.clone()).write_to(&mut bytes).unwrap();
    let mut reader = FrameReader::new(&bytes[..]);
    let mut back = Vec::new();
    while let Ok(FromHome::Kept(some)) = reader.home_frame() {
        back.extend(some);
    }
    assert_eq!(back, numbers);
}

#[test]
fn a_text_too_long_is_cut_at_a_character() {
    let mut bytes = Vec::new();
    FromServer::Trouble("é".repeat(40_000)).write_to(&mut bytes).unwrap();
    match FrameReader::new(&bytes[..]).server_frame().unwrap() {
        FromServer::Trouble(text) => assert_eq!(text.len(), 65_534),
        other => panic!("{other:?}"),
    };
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 1u8..0x44) {
        let _ = FrameReader::new(&bytes[..]).server_frame();
        let _ = FrameReader::new(&bytes[..]).home_frame();
        let mut framed = vec![kind];
        framed.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        framed.extend_from_slice(&bytes);
        let _ = FrameReader::new(&framed[..]).server_frame();
        let _ = FrameReader::new(&framed[..]).home_frame();
    }
}
