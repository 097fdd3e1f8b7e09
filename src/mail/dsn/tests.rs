use super::*;
use mail_parser::{MessageParser, MimeHeaders, PartType};

fn recipient(text: &str) -> Recipient {
    Recipient::new(Address::parse(text).unwrap())
}

fn diagnosis(words: &str) -> Diagnosis {
    Diagnosis { status: (5, 1, 1), words: words.into(), host: Some("mx.there.test".into()) }
}

struct Case {
    kind: Kind,
    recipient: Recipient,
    envid: Option<&'static str>,
    diagnosis: Diagnosis,
    original: Original<'static>,
}

fn rendered(change: impl FnOnce(&mut Case)) -> String {
    let mut case = Case {
        kind: Kind::Failed,
        recipient: recipient("you@there.test"),
        envid: None,
        diagnosis: diagnosis("550 5.1.1 no such user"),
        original: Original::Header(b"From: me@our.test\r\nSubject: hello\r\nMessage-ID: <1@our.test>\r\n"),
    };
    change(&mut case);
    let report = Report {
        kind: case.kind,
        hostname: "mx.our.test",
        id: "6b49d200aaaaaaaaaaaa",
        sender: &Address::parse("me@our.test").unwrap(),
        recipient: &case.recipient,
        envid: case.envid,
        arrived: 1_763_824_920,
        now: 1_763_825_000,
        diagnosis: &case.diagnosis,
        original: case.original,
    };
    String::from_utf8(report.render()).unwrap()
}

/// Every line ends in CRLF and is short enough for SMTP.
fn assert_form(text: &str) {
    for line in text.split_inclusive('\n') {
        assert!(line.ends_with("\r\n") && line.len() <= 1000, "{line:?}");
        assert_eq!(line.matches('\r').count(), 1, "{line:?}");
    }
}

#[test]
fn a_failure_reads_well_by_person_and_program() {
    let text = rendered(|_| ());
    assert_form(&text);
    let letter = MessageParser::default().parse(text.as_bytes()).unwrap();
    assert_eq!(letter.from().unwrap().first().unwrap().address(), Some("mailer-daemon@mx.our.test"));
    assert_eq!(letter.to().unwrap().first().unwrap().address(), Some("me@our.test"));
    assert_eq!(letter.header_raw("Auto-Submitted").unwrap().trim(), "auto-replied");
    assert_eq!(letter.in_reply_to().as_text(), Some("1@our.test"));
    let kind = letter.content_type().unwrap();
    assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("report")));
    assert_eq!(kind.attribute("report-type"), Some("delivery-status"));

    assert_eq!(letter.parts.len(), 4, "multipart, text, status, header");
    let human = letter.body_text(0).unwrap();
    for words in ["you@there.test", "mx.there.test", "550 5.1.1 no such user", "typing mistake"] {
        assert!(human.contains(words), "{words}: {human}");
    }
    let part = |n: usize| match &letter.parts[n].body {
        PartType::Text(text) => text.to_string(),
        PartType::Binary(octets) => String::from_utf8(octets.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    let status = part(2);
    assert!(letter.parts[2].is_content_type("message", "delivery-status"));
    for line in [
        "Reporting-MTA: dns; mx.our.test\r\n",
        "Final-Recipient: rfc822; you@there.test\r\n",
        "Action: failed\r\nStatus: 5.1.1\r\n",
        "Remote-MTA: dns; mx.there.test\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
        "Arrival-Date: Sat, 22 Nov 2025 15:22:00 +0000\r\n\r\n",
    ] {
        assert!(status.contains(line), "{line}: {status}");
    }
    assert!(letter.parts[3].is_content_type("text", "rfc822-headers"));
    assert!(part(3).contains("Subject: hello"));
}

#[test]
fn what_the_sender_asked_for_is_answered() {
    let text = rendered(|report| {
        report.envid = Some("env-1");
        report.recipient.orcpt = Some("rfc822;list@there.test".into());
        report.original = Original::Whole(b"Subject: hello\r\n\r\nthe body\r\n");
    });
    for line in [
        "Original-Envelope-Id: env-1\r\n",
        "Original-Recipient: rfc822;list@there.test\r\n",
        "Content-Type: message/rfc822\r\n",
        "\r\n\r\nthe body\r\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn a_letter_whose_header_is_beyond_ascii_comes_back_as_a_global_one() {
    let kind = |letter: &'static [u8]| {
        let text = rendered(|report| report.original = Original::Whole(letter));
        let kinds = ["message/rfc822", "message/global"];
        kinds.map(|kind| text.contains(&format!("Content-Type: {kind}\r\n")))
    };
    assert_eq!(kind("Subject: Grüße\r\n\r\nthe body\r\n".as_bytes()), [false, true]);
    assert_eq!(kind("Subject: hello\r\n\r\nGrüße\r\n".as_bytes()), [true, false]);
}

#[test]
fn what_was_asked_for_beyond_ascii_makes_a_global_report() {
    let text = rendered(|report| report.recipient.orcpt = Some("utf-8;é@there.test".into()));
    assert!(text.contains("Content-Type: message/global-delivery-status\r\n"), "{text}");
    assert!(text.contains("Original-Recipient: utf-8;é@there.test\r\n"), "{text}");
}

#[test]
fn a_delay_says_until_when() {
    let text = rendered(|report| report.kind = Kind::Delayed { until: 1_764_256_920 });
    for line in [
        "Subject: Your letter is late: you@there.test\r\n",
        "Action: delayed\r\nStatus: 4.1.1\r\n",
        "Will-Retry-Until: Thu, 27 Nov 2025 15:22:00 +0000\r\n",
        "you need not send it again",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn the_sender_knows_which_letter_is_meant() {
    let said = |header: &'static [u8]| rendered(|case| case.original = Original::Header(header));
    let text = said(b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nFrom: me@our.test\r\n");
    assert!(
        text.contains("Your letter \"grüße\" of Sat, 22 Nov 2025 15:22:00 +0000 could not be\r\n"),
        "{text}"
    );
    assert!(said(b"From: me@our.test\r\n").contains("Your letter of Sat, 22 Nov 2025 15:22:00"));
    let long = said(concat!("Subject: ", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "\r\n").as_bytes());
    assert!(long.contains("x…\" of Sat"), "{long}");
}

#[test]
fn what_was_said_is_told_once() {
    let said = |words: &str| diagnosis(words).line();
    assert_eq!(said("550 no"), "mx.there.test: 550 no");
    assert_eq!(said("mx.there.test answered RCPT TO: 450 no"), "mx.there.test answered RCPT TO: 450 no");
    assert_eq!(said("mx.there.tester says no"), "mx.there.test: mx.there.tester says no");
    assert_eq!(Diagnosis { host: None, ..diagnosis("no") }.line(), "no");
}

#[test]
fn notify_decides_who_is_told() {
    let delayed = Kind::Delayed { until: 0 };
    let never = Notify::default();
    let failure = Notify { failure: true, ..never };
    let delay = Notify { delay: true, ..never };
    assert!(is_wanted(Kind::Failed, None) && is_wanted(delayed, None));
    assert!(!is_wanted(Kind::Failed, Some(never)) && !is_wanted(delayed, Some(never)));
    assert!(is_wanted(Kind::Failed, Some(failure)) && !is_wanted(delayed, Some(failure)));
    assert!(!is_wanted(Kind::Failed, Some(delay)) && is_wanted(delayed, Some(delay)));
}

#[test]
fn hostile_words_stay_within_their_place() {
    let hostile = diagnosis("550 x\r\nBcc: evil@x.test\r\n\r\n--=_report\u{1b}[2J\u{e9} \nline");
    let text = rendered(|report| report.diagnosis = hostile);
    assert_form(&text);
    assert!(!text.contains("\r\nBcc:") && !text.contains('\u{1b}'), "{text}");
    let status = text.split("message/delivery-status").nth(1).unwrap().split("--=_").next().unwrap();
    assert!(status.is_ascii());

    let endless = diagnosis(&"x".repeat(5000));
    assert_form(&rendered(|report| report.diagnosis = endless));
}

#[test]
fn a_letter_that_holds_our_boundary_does_not_end_its_part() {
    let original = b"Subject: --=_report_6b49d200aaaaaaaaaaaa--\r\n--=_report_6b49d200aaaaaaaaaaaa--\r\n";
    let text = rendered(|report| report.original = Original::Header(original));
    let letter = MessageParser::default().parse(text.as_bytes()).unwrap();
    assert_eq!(letter.parts.len(), 4);
}

#[test]
fn an_address_beyond_ascii_is_reported_by_rfc_6533() {
    let utf8 = recipient("grün@there.test");
    let text = rendered(|report| report.recipient = utf8);
    assert!(text.contains("Content-Type: message/global-delivery-status\r\n"), "{text}");
    assert!(text.contains("Final-Recipient: utf-8; grün@there.test\r\n"), "{text}");
}

#[test]
fn words_are_wrapped_and_never_lost() {
    assert_eq!(wrapped("", 10), [""]);
    assert_eq!(wrapped("aa bb cc", 5), ["aa bb", "cc"]);
    assert_eq!(wrapped("abcdefghijkl m", 5), ["abcde", "fghij", "kl m"]);
}
