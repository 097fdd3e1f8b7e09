use super::*;
use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;

fn encoded(message: &[u8]) -> String {
    let encoded = encode(message).unwrap_or_else(|error| panic!("{error}"));
    assert!(!encoded.smtputf8);
    assert!(is_plain(&encoded.bytes));
    String::from_utf8(encoded.bytes.into_owned()).unwrap()
}

fn refused(message: &[u8]) -> String {
    encode(message).expect_err("refused").0
}

#[test]
fn what_fits_comes_back_byte_for_byte() {
    let line = "x".repeat(998);
    for message in [
        "",
        "Subject: x\r\n",
        "Subject: x\r\n\r\nbody",
        &format!("A: b\r\n\r\n{line}\r\n{line}"),
        "Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n",
        "Content-Transfer-Encoding: 8bit\r\n\r\nseven =\r\n",
        "Content-Type: multipart/signed\r\n\r\nx \r\n\r\n",
    ] {
        let encoded = encode(message.as_bytes()).unwrap();
        assert!(matches!(encoded.bytes, Cow::Borrowed(_)), "{message}");
        assert_eq!(&encoded.bytes[..], message.as_bytes());
    }
}

#[test]
fn plain_is_what_has_short_ascii_lines_and_crlf_only() {
    let line = |n: usize| "x".repeat(n);
    for (text, plain) in [
        (format!("{}\r\n", line(998)), true),
        (format!("{}\r\n", line(999)), false),
        (line(998), true),
        (line(999), false),
        (format!("a\r\n{}\r\nb", line(999)), false),
        (format!("{}\r\n{}\r\nb", line(998), line(998)), true),
        ("a\rb".into(), false),
        ("a\nb".into(), false),
        ("a\r\r\n".into(), false),
        ("a\n\r\n".into(), false),
        ("a\r".into(), false),
        ("\n".into(), false),
        ("a\0".into(), false),
        ("é".into(), false),
        (format!("{}\r\nb\rc", line(254)), false),
        (format!("{}\r\nb", line(254)), true),
    ] {
        assert_eq!(is_plain(text.as_bytes()), plain, "{text:?}");
    }
}

#[test]
fn an_8_bit_text_becomes_quoted_printable_and_is_labelled() {
    assert_eq!(
        encoded("Subject: x\r\n\r\nGrüße = \t\r\n".as_bytes()),
        "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe =3D =09\r\n"
    );
    let latin = encoded(b"Subject: x\r\n\r\nGr\xfc\xdfe\r\n");
    assert!(latin.contains("charset=iso-8859-1\r\n") && latin.ends_with("Gr=FC=DFe\r\n"));
    assert!(encoded(b"Subject: x\r\n\r\n\x93Gr\xfc\x94\r\n").contains("charset=unknown-8bit\r\n"));
}

#[test]
fn what_the_letter_says_of_itself_is_kept_where_it_is_true() {
    let with = |head: &str| encoded(format!("{head}\r\nMIME-Version: 1.0\r\n\r\né\r\n").as_bytes());
    assert!(
        with("Content-Type: text/html; charset=latin2")
            .starts_with("Content-Type: text/html; charset=latin2\r\nMIME")
    );
    assert!(with("Content-Type: text/html").starts_with("Content-Type: text/html; charset=utf-8\r\n"));
    assert!(
        with("Content-Type: text/plain; charset=US-ASCII; format=flowed")
            .starts_with("Content-Type: text/plain; charset=utf-8; format=flowed\r\n")
    );
    let cron =
        with("Content-Type: text/plain; charset=\"ANSI_X3.4-1968\"\r\nContent-Transfer-Encoding: 8bit");
    assert!(cron.starts_with("Content-Type: text/plain; charset=utf-8\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"), "{cron}");
    let long = encoded(format!("A: b\r\n\r\n{}\r\n", "x".repeat(2000)).as_bytes());
    assert!(!long.contains("charset") && long.contains("quoted-printable"));
}

#[test]
fn lone_line_ends_and_nul_hide_in_a_body_and_are_refused_in_a_header() {
    assert!(encoded(b"A: b\r\n\r\na\rb\nc\0\r\n").ends_with("\r\n\r\na=0Db=0Ac=00\r\n"));
    assert!(refused(b"Subject: a\rb\r\n\r\n").contains("Subject"));
    assert!(refused(b"Subject: a\nTo: b\r\n\r\n").contains("line feed"));
    assert!(refused(b"Subject: a\0b\r\n\r\n").contains("NUL"));
}

#[test]
fn binary_becomes_base64_and_over_long_encodings_are_rewrapped() {
    let image = encoded(b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x89PNG\r\n\0");
    assert!(image.ends_with("Content-Transfer-Encoding: base64\r\n\r\niVBORw0KAA==\r\n"), "{image}");
    let long = format!("Content-Transfer-Encoding: BASE64 (x)\r\n\r\n{}\r\n", "QUFB".repeat(300));
    let long = encoded(long.as_bytes());
    assert!(long.ends_with("QUFB\r\n") && long.lines().all(|line| line.len() <= 76));
    let soft = "Content-Transfer-Encoding: quoted-printable\r\n\r\nsoft=  \r\n =C3=BC é =zz\r\n";
    assert!(encoded(soft.as_bytes()).ends_with("\r\n\r\nsoft =C3=BC =C3=A9 =3Dzz\r\n"));
    assert!(refused("Content-Transfer-Encoding: x-uuencode\r\n\r\né".as_bytes()).contains("x-uuencode"));
}

#[test]
fn parts_are_encoded_one_by_one() {
    let message = "MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\nContent-Type: multipart/mixed;\r\n boundary=\"a b\"\r\n\r\n\
        preamble\r\n--a b\r\n\r\nplain\r\n--a b  \r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n\
        --in\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n--inner\r\n--in--\r\nepilogue\r\n\
        --a b\r\nContent-Type: message/rfc822\r\n\r\nSubject: é\r\n\r\né\r\n--a b--\r\n";
    assert_eq!(
        encoded(message.as_bytes()),
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"a b\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
        preamble\r\n--a b\r\n\r\nplain\r\n--a b  \r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n\
        --in\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n=2D-inner\r\n--in--\r\nepilogue\r\n\
        --a b\r\nContent-Type: message/rfc822\r\n\r\nSubject: =?utf-8?b?w6k=?=\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9\r\n--a b--\r\n"
    );
}

#[test]
fn parts_without_their_usual_form_lose_nothing_that_readers_see() {
    let head = "Content-Type: multipart/digest; boundary=x\r\n\r\n";
    let digest = encoded(format!("{head}é\r\n--x\r\n\r\nSubject: é\r\n\r\né\r\n--x--\r\nü").as_bytes());
    assert!(digest.starts_with(&format!("{head}\r\n--x\r\n\r\nSubject: =?utf-8?b?w6k=?=\r\n")), "{digest}");
    assert!(digest.ends_with("=C3=A9\r\n--x--\r\n"));
    let open = encoded(format!("{head}--x\r\nContent-Type: text/plain\r\n\r\né").as_bytes());
    assert!(open.ends_with("\r\n\r\n=C3=A9"));
    assert!(
        encoded(format!("{head}--x\r\n--x\r\n\r\nA: b\r\n\r\né\r\n--x--").as_bytes())
            .contains("--x\r\n--x\r\n")
    );
}

#[test]
fn what_may_not_be_changed_is_refused() {
    let signed = "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: Multipart/Signed; boundary=y\r\n\r\n--y\r\n\r\né\r\n--y--\r\n--x--\r\n";
    assert!(refused(signed.as_bytes()).contains("RFC 1847"));
    assert!(refused("Content-Type: multipart/mixed\r\n\r\né".as_bytes()).contains("no boundary"));
    assert!(refused("Content-Type: multipart/mixed; boundary=x\r\n\r\né".as_bytes()).contains("nowhere"));
    assert!(refused("Content-Type: message/partial\r\n\r\né".as_bytes()).contains("message/partial"));
    assert!(refused("Subject: x\r\nno colon é\r\n\r\n".as_bytes()).contains("no colon"));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        format!("{}Subject: x\r\n\r\né\r\n", "Content-Type: message/rfc822\r\n\r\n".repeat(depth))
            .into_bytes()
    };
    assert!(encode(&nested(32)).is_ok());
    assert!(refused(&nested(33)).contains("32 deep"));
    assert!(refused(&nested(100_000)).contains("32 deep"));
}

#[test]
fn header_texts_become_encoded_words() {
    for (field, expected) in [
        ("Subject: Grüße aus Köln", "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= aus =?utf-8?q?K=C3=B6ln?="),
        ("Subject: Grüße  Köln", "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe__K=C3=B6ln?="),
        (
            "Subject: =?utf-8?q?a?= é =?utf-8?q?b?=",
            "Subject: =?utf-8?q?a?= =?utf-8?q?_=C3=A9_?= =?utf-8?q?b?=",
        ),
        ("Subject: 日本語", "Subject: =?utf-8?b?5pel5pys6Kqe?="),
        ("Subject:é\u{a0}", "Subject:=?utf-8?b?w6nCoA==?="),
        ("From: Jürgen Müller <j@a.example>", "From: =?utf-8?q?J=C3=BCrgen_M=C3=BCller?= <j@a.example>"),
        (
            "To: \"Ä, B\" <a@b.example>, C <c@d.example>",
            "To: =?utf-8?b?w4Qs?= B <a@b.example>, C <c@d.example>",
        ),
        ("To: a@b.example,ü <c@d.example>", "To: a@b.example, =?utf-8?b?w7w=?= <c@d.example>"),
        ("Cc: a@bücher.example (Jö (x))", "Cc: a@xn--bcher-kva.example (=?utf-8?q?J=C3=B6_=28x=29?=)"),
        ("To: Grüppe: a@b.example;", "To: =?utf-8?q?Gr=C3=BCppe?=: a@b.example;"),
        ("To: Jü (ä) B <a@b.example>", "To: =?utf-8?q?J=C3=BC?= B <a@b.example>"),
        (
            "Content-Disposition: attachment; filename=\"é \\\"1.pdf\"; size=3",
            "Content-Disposition: attachment; filename*=utf-8''%C3%A9%20%221.pdf; size=3",
        ),
    ] {
        assert_eq!(encoded(format!("{field}\r\n\r\n").as_bytes()), format!("{expected}\r\n\r\n"));
    }
    assert_eq!(encoded(b"Subject: Gr\xfc\xdfe\r\n\r\n"), "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n");
    assert!(refused("To: a b é\r\n\r\n".as_bytes()).contains("To field cannot be read"));
    assert!(refused("Content-Type: text/é\r\n\r\n".as_bytes()).contains("Content-Type field"));
}

#[test]
fn an_utf8_local_part_stays_and_is_told() {
    let message = "To: Jürgen <jürgen@bücher.example>\r\nMessage-ID: <ü@b.example>\r\n\r\n";
    let encoded = encode(message.as_bytes()).unwrap();
    assert!(encoded.smtputf8);
    let expected =
        "To: =?utf-8?q?J=C3=BCrgen?= <jürgen@xn--bcher-kva.example>\r\nMessage-ID: <ü@b.example>\r\n\r\n";
    assert_eq!(&encoded.bytes[..], expected.as_bytes());
    assert!(refused(b"Message-ID: <\xfc@b.example>\r\n\r\n").contains("UTF-8"));
}

#[test]
fn over_long_header_lines_are_folded() {
    let many: Vec<String> = (0..100).map(|n| format!("user{n}@example.org")).collect();
    for join in [",", ", ", " ,"] {
        let out = encoded(format!("To: {}\r\n\r\n", many.join(join)).as_bytes());
        assert!(out.lines().all(|line| line.len() <= 78), "{out}");
        let header = crate::mail::header::split_strict(out.as_bytes()).unwrap();
        assert_eq!(crate::mail::mailboxes::parse(header.fields[0].value).unwrap().len(), 100);
    }
    let ids = format!("References: {}\r\n\r\n", "<1@example.org> ".repeat(100));
    assert!(encoded(ids.as_bytes()).lines().all(|line| line.len() <= 78));
    let word = encoded(format!("Subject: {}\r\n\r\n", "x".repeat(3000)).as_bytes());
    assert_eq!(MessageParser::new().parse(word.as_bytes()).unwrap().subject(), Some(&*"x".repeat(3000)));
    assert!(
        refused(format!("References: <{}@x>\r\n\r\n", "x".repeat(1000)).as_bytes()).contains("References")
    );
    let name = format!("Content-Disposition: attachment; filename=\"{}.txt\"\r\n\r\n", "ü".repeat(200));
    let out = encoded(name.as_bytes());
    let parsed = MessageParser::new().parse(out.as_bytes()).unwrap();
    assert_eq!(parsed.attachment_name().map(str::len), Some(404));
}

#[test]
fn nothing_that_encoding_brings_to_a_lines_start_is_a_boundary() {
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n";
    for pad in 60..90 {
        let out = encoded(format!("{head}é{}--b\r\n--b--\r\n", "x".repeat(pad)).as_bytes());
        assert_eq!(out.matches("\r\n--b").count(), 2, "{out}");
    }
    let hidden = format!("{head}\r\n")
        .replace("plain\r\n", "plain\r\nContent-Transfer-Encoding: quoted-printable\r\n");
    let out = encoded(format!("{hidden}é\r\n=2D-b\r\n-- \r\n--b--\r\n").as_bytes());
    assert!(out.contains("\r\n=2D-b\r\n--=20\r\n--b--"), "{out}");
}

/// What a reader sees of a header's text: white space runs count as one.
fn words_of(text: &str) -> String {
    text.split([' ', '\t']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

proptest! {
    #[test]
    fn readers_see_what_was_written(subject in "[a-zéü日😀,()\"\\\\ ]{1,120}", text in "[a-z=.ü日\t -]{0,100}(\r\n[a-z=.ü -]{0,100}){0,3}") {
        let message = format!("Subject: {subject}\r\n\r\n{text}\r\n");
        let out = encode(message.as_bytes()).unwrap().bytes;
        prop_assert!(is_plain(&out));
        let parsed = MessageParser::new().parse(&out[..]).unwrap();
        prop_assert_eq!(words_of(parsed.subject().unwrap_or_default()), words_of(&subject));
        let body = parsed.body_text(0).unwrap_or_default();
        if !message.is_ascii() {
            prop_assert_eq!(body.trim_end(), text.trim_end());
        }
    }

    #[test]
    fn any_octets_are_encoded_or_refused(message in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(encoded) = encode(&message) {
            prop_assert!(has_plain_lines(&encoded.bytes));
        }
    }

    #[test]
    fn any_structure_is_encoded_or_refused(
        lines in prop::collection::vec(prop::sample::select(vec![
            "Content-Type: multipart/mixed; boundary=b", "Content-Type: multipart/digest; boundary=\"c\"",
            "Content-Type: message/rfc822", "Content-Transfer-Encoding: base64", "Content-Type: text/plain; charset",
            "Content-Transfer-Encoding: quoted-printable", "Content-Type: a/b; c=\"", "To: ü <a@b>, (é", "--b", "--b--", "--c",
            "", "", "é=C3\u{0}", "Subject: é", " ",
        ]), 0..24),
    ) {
        let message = lines.join("\r\n");
        if let Ok(encoded) = encode(message.as_bytes()) {
            prop_assert!(has_plain_lines(&encoded.bytes));
            prop_assert!(encoded.smtputf8 || encoded.bytes.is_ascii());
            let again = encode(&encoded.bytes).unwrap();
            prop_assert_eq!(&again.bytes, &encoded.bytes);
        }
    }

    #[test]
    fn both_transfer_encodings_give_the_octets_back(content in prop::collection::vec(prop::sample::select(b"a=-. \t\r\n\0\xe9A4".to_vec()), 0..200)) {
        let mut out = Vec::new();
        body::quoted_printable(&content, &mut out);
        prop_assert!(out.split(|b| *b == b'\n').all(|line| line.len() <= 77));
        prop_assert!(is_plain(&out));
        prop_assert_eq!(body::unquoted(&out), content);
    }
}
