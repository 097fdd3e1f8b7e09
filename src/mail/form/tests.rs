use super::*;
use crate::mail::envelope::ReversePath;
use crate::mail::header::split_lenient;
use proptest::prelude::*;

const FINE: &str =
    "From: A <a@b.example>\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: <1@b.example>\r\n";

fn of(
    header: &[u8],
    change: impl FnOnce(&mut Sender),
    longest_line: usize,
    eight_bit_body: bool,
) -> Vec<Oddity> {
    let mut sender = Sender::new(ReversePath::Null);
    change(&mut sender);
    oddities(&split_lenient(header), Carriage { sender: &sender, longest_line, eight_bit_body })
}

fn found(header: &str) -> Vec<Oddity> {
    of(header.as_bytes(), |_| {}, 78, false)
}

#[test]
fn nothing_is_odd_in_a_letter_as_it_should_be() {
    assert_eq!(found(&format!("{FINE}\r\n")), []);
    assert_eq!(found(&format!("{FINE}Subject: a\r\n b\r\nX-Any:\r\nX-Any:\r\nReceived: x\r\n\r\n")), []);
    assert_eq!(in_words(&[]), None);
}

#[test]
fn each_oddity_is_found_by_what_it_is() {
    let fine = |more: &str| format!("{FINE}{more}\r\n");
    for (header, oddity) in [
        (FINE.replace("From", "X-From") + "\r\n", Oddity::Missing("From")),
        (FINE.replace("Date", "X-Date") + "\r\n", Oddity::Missing("Date")),
        (FINE.replace("Message-ID", "X-ID") + "\r\n", Oddity::Missing("Message-ID")),
        (fine("FROM: c@d.example\r\n"), Oddity::Several("From")),
        (fine("date: x\r\n"), Oddity::Several("Date")),
        (fine("Message-Id : <2@x>\r\n").replace(" :", ":"), Oddity::Several("Message-ID")),
        (fine("Subject: x\r\nSubject: y\r\n"), Oddity::Several("Subject")),
        (fine("To: x@y.example\r\nTo: x@y.example\r\n"), Oddity::Several("To")),
        (FINE.replace("Thu, 1 Jan", "the first of January") + "\r\n", Oddity::UnreadableDate),
        (FINE.replace("A <a@b.example>", "boss@b.example <") + "\r\n", Oddity::UnreadableFrom),
        (FINE.replace("A <a@b.example>", "") + "\r\n", Oddity::UnreadableFrom),
        (
            FINE.replace("<a@b.example>", &format!("{}<a@b.example>", "x ".repeat(5000))),
            Oddity::UnreadableFrom,
        ),
        (FINE.replace("A <a@b.example>", "a@b.example, c@d.example") + "\r\n", Oddity::NoSenderOfSeveral),
        (fine("this is no field\r\n"), Oddity::NoColon),
        (fine("this is: no field\r\n"), Oddity::BadName),
        (fine(": x\r\n"), Oddity::BadName),
        (fine("Subject : x\r\n"), Oddity::SpaceBeforeColon),
        (format!(" x\r\n{FINE}\r\n"), Oddity::Headless),
        (fine("X: y\r\n \t\r\n z\r\n"), Oddity::BlankLine),
        (FINE.to_owned(), Oddity::NoEmptyLine),
    ] {
        assert!(found(&header).contains(&oddity), "{oddity:?} in {header:?}: {:?}", found(&header));
        if !header.contains("x x") {
            assert_eq!(found(&header).len(), 1, "{header:?}: {:?}", found(&header));
        }
    }
}

#[test]
fn dates_of_all_decent_programs_are_read() {
    for date in [
        "Thu, 1 Jan 1970 00:00 +0000",
        "1 Jan 1970 00:00:00 +0000",
        "Thu,  1 Jan 1970 00:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:00 -0700 (PDT)",
        "Fri, 1 Jan 1970 00:00:00 +0000",
        "Thu, 1 Jan 70 00:00:00 EST",
        "Thu, 1 Jan 1970\r\n 00:00:00 +0000",
    ] {
        let header = FINE.replace("Thu, 1 Jan 1970 00:00:00 +0000", date) + "\r\n";
        assert_eq!(found(&header), [], "{date}");
    }
    for date in ["", "yesterday", "1970-01-01T00:00:00Z", "Thu, 32 Jan 1970 00:00:00 +0000", "0"] {
        let header = FINE.replace("Thu, 1 Jan 1970 00:00:00 +0000", date) + "\r\n";
        assert_eq!(found(&header), [Oddity::UnreadableDate], "{date}");
    }
}

#[test]
fn what_the_envelope_announced_is_not_odd() {
    let utf8 = format!("{FINE}Subject: \u{fc}\r\n\r\n");
    let latin1 = [FINE.as_bytes(), b"Subject: \xfc\r\n\r\n"].concat();
    let plain = format!("{FINE}\r\n");
    let announced = |sender: &mut Sender| {
        sender.smtputf8 = true;
        sender.body = BodyType::EightBitMime;
    };
    assert_eq!(of(utf8.as_bytes(), |_| {}, 998, false), [Oddity::EightBitHeader]);
    assert_eq!(of(utf8.as_bytes(), announced, 998, true), []);
    assert_eq!(of(&latin1, |_| {}, 998, false), [Oddity::UnreadableOctets]);
    assert_eq!(of(&latin1, announced, 998, false), [Oddity::UnreadableOctets]);
    assert_eq!(of(plain.as_bytes(), |_| {}, 998, true), [Oddity::EightBitBody]);
    assert_eq!(of(plain.as_bytes(), |sender| sender.smtputf8 = true, 998, true), [Oddity::EightBitBody]);
    assert_eq!(of(plain.as_bytes(), announced, 999, true), [Oddity::LongLine(999)]);
}

#[test]
fn they_are_told_in_a_line() {
    let found = of(b"x\r\nFrom: a\r\nFrom: b\r\n", |_| {}, 2000, true);
    assert_eq!(
        in_words(&found).unwrap(),
        "no Date field; no Message-ID field; several From fields; a From that cannot be read for certain; a header line \
         without a colon; no empty line behind the header; 8-bit octets in the body without BODY=8BITMIME; a line of 2000 \
         octets"
    );
}

#[test]
fn a_letter_that_is_nothing_has_a_short_list() {
    assert_eq!(found("").len(), 4);
    let mut worst = String::from(" \r\n");
    for name in SINGLE {
        worst += &format!("{name} : \u{fc},,\r\n \r\n{name}: \r\n");
    }
    let found = of((worst + "x\r\nx y: z").repeat(20).as_bytes(), |_| {}, 5000, true);
    assert!(found.len() < 30, "{found:?}");
    assert!(in_words(&found).unwrap().len() < 1000);
}

proptest! {
    #[test]
    fn any_header_has_a_bounded_list(header in prop::collection::vec(any::<u8>(), 0..200), text in "([FromDateSubjct]{0,4} ?:[ \r\n\t<@>a,é]{0,6}\r\n){0,9}") {
        for header in [header.as_slice(), text.as_bytes()] {
            let found = of(header, |_| {}, 0, false);
            prop_assert!(found.len() < 30);
            prop_assert!(in_words(&found).unwrap_or_default().is_ascii());
        }
    }
}
