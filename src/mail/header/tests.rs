use super::*;
use proptest::prelude::*;

fn refusal(message: &[u8]) -> String {
    split_strict(message).expect_err("refused").0
}

#[test]
fn a_person_reads_encoded_words_decoded() {
    let message =
        "Subject: =?utf-8?q?j=C3=BCrgen?= =?utf-8?q?=40home?=\r\n again\r\nEmpty:\r\nPlain: größe\r\n\r\n";
    let header = split_lenient(message.as_bytes());
    let read: Vec<String> = header.fields.iter().map(Field::decoded).collect();
    assert_eq!(read, ["jürgen@home again", "", "größe"]);
}

#[test]
fn a_right_header_splits_with_its_folding() {
    let message = b"From: me@example.org\r\nSubject: one\r\n two\r\nX-Empty:\r\n\r\nbody: x\r\n";
    let header = split_strict(message).unwrap();
    let names: Vec<_> = header.fields.iter().map(|f| f.name).collect();
    assert_eq!(names, ["From", "Subject", "X-Empty"]);
    assert_eq!(header.fields[1].raw, b"Subject: one\r\n two\r\n");
    assert_eq!(header.fields[1].value, b" one\r\n two\r\n");
    assert_eq!(header.fields[1].text(), "one two");
    assert_eq!(&message[header.body_offset..], b"body: x\r\n");
    assert_eq!(split_lenient(message), header);
}

#[test]
fn a_message_may_end_with_its_header() {
    assert_eq!(split_strict(b"A: b\r\n").unwrap().body_offset, 6);
    assert_eq!(split_strict(b"\r\nbody").unwrap().body_offset, 2);
    assert!(refusal(b"A: b\r\nC: d").contains("line 2: the message ends"));
    assert!(refusal(b"A: b\r\nC: d\r").contains("line 2"));
}

#[test]
fn each_doubtful_form_is_refused_by_line_and_reason() {
    for (message, line, reason) in [
        (&b"From : me@example.org\r\n\r\n"[..], 1, "white space between"),
        (b"From\t: me@example.org\r\n\r\n", 1, "white space between"),
        (b"A: b\r\nno colon here\r\n\r\n", 2, "no colon"),
        (b" A: b\r\n\r\n", 1, "continuation"),
        (b"A: b\r\n \t\r\n\r\n", 2, "nothing but white space"),
        (b"A: b\r\n \r\n\r\n", 2, "nothing but white space"),
        (b": b\r\n\r\n", 1, "no name"),
        (b"A b: c\r\n\r\n", 1, "printable"),
        (b"\xc3\xa4: c\r\n\r\n", 1, "printable"),
        (b"A\x01: c\r\n\r\n", 1, "printable"),
        (b"A: b\rc\r\n\r\n", 1, "carriage return"),
        (b"A: b\nC: d\r\n\r\n", 1, "line feed"),
        (b"A: b\r\r\n\r\n", 1, "carriage return"),
        (b"A: \0\r\n\r\n", 1, "NUL"),
        (b"From: a@b\r\nTo: c@d\r\nfrom: e@f\r\n\r\n", 3, "second From"),
    ] {
        let text = refusal(message);
        assert!(text.starts_with(&format!("header line {line}: ")) && text.contains(reason), "{text}");
        assert!(text.is_ascii());
    }
}

#[test]
fn every_single_instance_field_stands_once() {
    for name in SINGLE {
        let twice = format!("{name}: a\r\nX: y\r\n{}: b\r\n\r\n", name.to_ascii_uppercase());
        assert!(refusal(twice.as_bytes()).contains(&format!("second {name}")));
    }
    assert!(split_strict(b"Received: a\r\nReceived: b\r\n\r\n").is_ok());
}

#[test]
fn a_line_has_at_most_998_octets() {
    let line = |length: usize| format!("A: {}\r\n\r\n", "x".repeat(length - 3)).into_bytes();
    assert!(split_strict(&line(998)).is_ok());
    assert!(refusal(&line(999)).contains("longer than 998"));
    assert!(refusal(&line(1000)).contains("longer than 998"));
    assert!(refusal(&line(20_000)).contains("longer than 998"));
    assert!(refusal(&[b'x'; 998]).contains("message ends"));
    assert!(refusal(&[b'x'; 999]).contains("longer than 998"));
}

#[test]
fn strangers_headers_are_read_as_far_as_they_go() {
    let message = b" lead\r\nFrom : a@b\r\nFrom me Mon 12:00\r\n tail\r\nA\0B: c\r\nTo:x\n\nbody";
    let header = split_lenient(message);
    let names: Vec<_> = header.fields.iter().map(|f| f.name).collect();
    assert_eq!(names, ["", "From", "", "", "To"]);
    assert_eq!(header.fields[1].value, b" a@b\r\n");
    assert_eq!(header.fields[2].raw, b"From me Mon 12:00\r\n tail\r\n");
    assert_eq!(&message[header.body_offset..], b"body");
}

proptest! {
    #[test]
    fn the_lenient_splitter_loses_nothing(
        message in prop::collection::vec(prop::sample::select(b"Aa: \t\r\n\0\xff".to_vec()), 0..60),
    ) {
        let header = split_lenient(&message);
        let mut whole: Vec<u8> = header.fields.iter().flat_map(|f| f.raw.to_vec()).collect();
        let blank = &message[whole.len()..header.body_offset];
        prop_assert!(matches!(blank, b"" | b"\n" | b"\r\n"));
        whole.extend_from_slice(&message[whole.len()..]);
        prop_assert_eq!(&whole, &message);
        for field in &header.fields {
            prop_assert!(field.raw.ends_with(field.value));
        }
        if let Ok(strict) = split_strict(&message) {
            prop_assert_eq!(strict, header);
        }
    }

    #[test]
    fn anything_may_be_split(message in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = split_strict(&message);
        let _ = split_lenient(&message);
    }
}
