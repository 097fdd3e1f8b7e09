use super::*;
use crate::mail::envelope::{BodyType, Notify, Ret};
use proptest::prelude::*;

const MX: Context<'static> = Context { hostname: "mx.example", door: Door::Mx, smtputf8: false };
const SUBMISSION: Context<'static> = Context { door: Door::Submission, ..MX };

fn sender(line: &str) -> Result<Sender, u16> {
    match parse(line.as_bytes(), SUBMISSION) {
        Ok(Command::Mail(sender)) => Ok(sender),
        Ok(other) => panic!("{other:?}"),
        Err(reply) => Err(reply.code),
    }
}

fn recipient(line: &str) -> Result<Recipient, u16> {
    match parse(line.as_bytes(), SUBMISSION) {
        Ok(Command::Rcpt(recipient)) => Ok(recipient),
        Ok(other) => panic!("{other:?}"),
        Err(reply) => Err(reply.code),
    }
}

#[test]
fn verbs_in_any_case_and_with_spaces_behind() {
    assert_eq!(parse(b"qUiT  ", MX), Ok(Command::Quit));
    assert_eq!(parse(b"DATA", MX), Ok(Command::Data));
    assert_eq!(parse(b"NOOP what ever", MX), Ok(Command::Noop));
    assert_eq!(parse(b"RSET now", MX).unwrap_err().code, 501);
    assert_eq!(parse(b" QUIT", MX).unwrap_err().code, 500);
    assert_eq!(parse(b"\xff\xfe", MX).unwrap_err().code, 500);
}

#[test]
fn a_name_is_never_a_reason_to_refuse() {
    let name = |line: &[u8]| match parse(line, MX) {
        Ok(Command::Hello { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(name(b"EHLO [127.0.0.1]"), "[127.0.0.1]");
    assert_eq!(name(b"helo my laptop"), "my?laptop");
    assert_eq!(name("EHLO b\u{fc}cher".as_bytes()), "b?cher");
    assert_eq!(name(b"HELO _._"), "_._");
    assert_eq!(parse(b"EHLO ", MX).unwrap_err().code, 501);
    assert_eq!(parse(b"EHLO a\tb", MX).unwrap_err().code, 501);
    assert_eq!(parse(&[b"EHLO ", &[b'x'; 256][..]].concat(), MX).unwrap_err().code, 501);
}

#[test]
fn senders_and_their_parameters() {
    assert_eq!(sender("MAIL FROM:<>").unwrap().path, ReversePath::Null);
    assert_eq!(sender("mail from: <a@b.example>").unwrap().path.to_string(), "a@b.example");
    let full = sender("MAIL FROM:<a@b.example> SIZE=5 BODY=8bitmime smtputf8 RET=HDRS ENVID=a+2Bb").unwrap();
    assert_eq!((full.size, full.body, full.smtputf8), (Some(5), BodyType::EightBitMime, true));
    assert_eq!((full.ret, full.envid.as_deref()), (Some(Ret::Headers), Some("a+b")));
    assert_eq!(sender("MAIL FROM:<> SIZE=18446744073709551616").unwrap().size, Some(u64::MAX));
}

#[test]
fn bad_senders() {
    for line in [
        "MAIL",
        "MAIL FROM",
        "MAIL FROM:",
        "MAIL FROM:a@b.example",
        "MAIL FROM:<a@b.example",
        "MAIL FROM:  <>",
        "MAIL TO:<a@b.example>",
        "MAIL FROM:<a@b.example>x",
        "MAIL FROM:<a>",
        "MAIL FROM:<@a.example>",
        "MAIL FROM:<postmaster>",
        "MAIL FROM:<\"a@b.example>",
        "MAIL FROM:<> SIZE=",
        "MAIL FROM:<> SIZE",
        "MAIL FROM:<> BODY",
        "MAIL FROM:<> =",
        "MAIL FROM:<> -X=1",
        "MAIL FROM:<> SIZE=-1",
        "MAIL FROM:<> SIZE=1 SIZE=1",
        "MAIL FROM:<> BODY=BINARYMIME",
        "MAIL FROM:<> SMTPUTF8=1",
        "MAIL FROM:<> RET=ALL",
        "MAIL FROM:<> ENVID=",
        "MAIL FROM:<> ENVID=a+2",
    ] {
        assert_eq!(sender(line), Err(501), "{line}");
    }
    for line in ["MAIL FROM:<> AUTH=<>", "MAIL FROM:<> X=Y", "MAIL FROM:<> NOTIFY=NEVER"] {
        assert_eq!(sender(line), Err(555), "{line}");
    }
    assert_eq!(sender("MAIL FROM:<é@b.example>"), Err(550));
    assert_eq!(sender("MAIL FROM:<a@bücher.example>"), Err(550));
    assert!(sender("MAIL FROM:<é@b.example> SMTPUTF8").is_ok());
    assert_eq!(sender(&format!("MAIL FROM:<{}@b.example>", "a".repeat(PATH))), Err(501));
}

#[test]
fn recipients_and_their_parameters() {
    let plain = recipient("RCPT TO:<me@here.example>").unwrap();
    assert_eq!(plain, Recipient::new(Address::parse("me@here.example").unwrap()));
    let full =
        recipient("RCPT TO:<me@here.example> notify=failure,DELAY ORCPT=rfc822;x+40y.example").unwrap();
    assert_eq!(full.notify, Some(Notify { success: false, failure: true, delay: true }));
    assert_eq!(full.orcpt.as_deref(), Some("rfc822;x@y.example"));
    let never = recipient("RCPT TO:<me@here.example> NOTIFY=NEVER").unwrap();
    assert_eq!(never.notify, Some(Notify::default()));
    for line in
        ["NOTIFY=NEVER,DELAY", "NOTIFY=", "ORCPT=x@y.example", "ORCPT=;x", "ORCPT=rfc822;", "ORCPT=a b;c"]
    {
        assert!(recipient(&format!("RCPT TO:<me@here.example> {line}")).is_err(), "{line}");
    }
}

#[test]
fn dsn_is_for_submission() {
    for line in
        [&b"MAIL FROM:<> RET=FULL"[..], b"MAIL FROM:<> ENVID=x", b"RCPT TO:<a@b.example> NOTIFY=NEVER"]
    {
        assert_eq!(parse(line, MX).unwrap_err().code, 555);
        assert!(parse(line, SUBMISSION).is_ok());
    }
}

#[test]
fn a_quoted_local_part_may_have_anything() {
    for local in ["\"a > b\"", "\"a\\\">b\"", "\"@x:y\""] {
        let line = format!("RCPT TO:<{local}@here.example>");
        assert!(recipient(&line).is_ok(), "{line}");
    }
}

#[test]
fn source_routes_are_ignored() {
    for route in ["@a.example:", "@a.example,@b.example:", "@[IPv6:2001:db8::1],@b.example:"] {
        let got = recipient(&format!("RCPT TO:<{route}me@here.example>")).unwrap();
        assert_eq!(got.address.to_string(), "me@here.example");
    }
    for route in ["@:", "@a.example,:", "@a.example,b.example:", "@a.example"] {
        assert_eq!(recipient(&format!("RCPT TO:<{route}me@here.example>")), Err(501), "{route}");
    }
}

#[test]
fn postmaster_is_ours_and_only_a_recipient() {
    assert_eq!(recipient("RCPT TO:<Postmaster>").unwrap().address.to_string(), "Postmaster@mx.example");
    assert_eq!(recipient("RCPT TO:<abuse>"), Err(501));
    assert_eq!(recipient("RCPT TO:<>"), Err(501));
}

#[test]
fn utf8_only_where_it_was_announced() {
    let line = "RCPT TO:<ü@here.example>".as_bytes();
    assert_eq!(parse(line, MX).unwrap_err().to_string().split(" An").next(), Some("553 5.6.7"));
    assert!(parse(line, Context { smtputf8: true, ..MX }).is_ok());
    assert_eq!(
        parse(b"RCPT TO:<\xff@here.example>", Context { smtputf8: true, ..MX }).unwrap_err().code,
        501
    );
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(line in any::<Vec<u8>>(), smtputf8: bool) {
        let _ = parse(&line, Context { smtputf8, ..SUBMISSION });
    }

    #[test]
    fn no_path_makes_it_panic(
        verb in "(MAIL FROM|RCPT TO):<",
        path in "[@:,\\[\\]\"\\\\<> a.é+]{0,20}",
        rest in "(> [A-Z=+;,0-9é ]{0,20})?",
    ) {
        let _ = parse(format!("{verb}{path}{rest}").as_bytes(), Context { smtputf8: true, ..SUBMISSION });
    }
}
