use super::*;

fn id(texts: &[&str]) -> Option<String> {
    let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
    published_id(&texts).map(str::to_owned)
}

#[test]
fn one_record_publishes_an_id() {
    let well_formed = [
        "v=STSv1; id=20260101T000000;",
        "v=STSv1;id=20260101T000000",
        "v=STSv1 ;\tid=20260101T000000 ; ",
        "v=STSv1; x-new=a:b<c>; id=20260101T000000",
        "v=STSv1; id=20260101T000000; id=other; id=no-id",
    ];
    for text in well_formed {
        assert_eq!(id(&[text]).as_deref(), Some("20260101T000000"), "{text}");
    }
    let longest = "a".repeat(32);
    assert_eq!(id(&[&format!("v=STSv1; id={longest}")]), Some(longest));
}

#[test]
fn what_is_no_record_publishes_nothing() {
    let malformed = [
        "v=STSv1",
        "v=STSv1;",
        "v=STSv1; id=",
        "v=STSv1; id=a_b",
        "v=STSv1; id=a b",
        "v=STSv1; id = 1",
        "v=STSv1; ID=1",
        "v=STSv1;; id=1",
        "v=STSv1; junk; id=1",
        "v=STSv1; x=a=b; id=1",
        "v=STSv1; x=\u{e4}; id=1",
        "v=STSv1; -x=1; id=1",
        "v=STSv1; id=not-one; id=1",
        "v=STSv1 id=1",
        "v=STSv10; id=1",
        "v=stsv1; id=1",
        " v=STSv1; id=1",
        "id=1; v=STSv1",
    ];
    for text in malformed {
        assert_eq!(id(&[text]), None, "{text}");
    }
    assert_eq!(id(&[&format!("v=STSv1; id={}", "a".repeat(33))]), None);
    assert_eq!(id(&[]), None);
}

#[test]
fn two_records_are_none_and_other_texts_do_not_count() {
    assert_eq!(id(&["v=spf1 -all", "v=STSv1; id=1", "v=STSv2; id=2", "v=STSv1"]), Some("1".into()));
    assert_eq!(id(&["v=STSv1; id=1", "v=STSv1; id=1"]), None);
    assert_eq!(id(&["v=STSv1; id=1", "v=STSv1; junk"]), None, "a broken one beside it makes two");
}

const GOOD: &str =
    "version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: 604800\n";

fn parse(text: &str) -> Result<Policy, String> {
    Policy::parse(text.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn a_file_is_read_however_its_lines_end() {
    let policy = Policy {
        mode: Mode::Enforce,
        mx: vec!["mail.example.com".into(), "*.example.net".into()],
        max_age: 604_800,
    };
    let same = [
        GOOD.to_owned(),
        GOOD.replace('\n', "\r\n"),
        GOOD.trim_end().to_owned(),
        GOOD.replace('\n', " \t\r\n"),
        GOOD.replace(": ", ":"),
        GOOD.replace(": ", ":\t "),
        format!("{GOOD}\n\r\n"),
        GOOD.lines()
            .rev()
            .map(|line| format!("{line}\n"))
            .collect::<String>()
            .replace("mx: *.example.net\nmx: mail.example.com", "mx: MAIL.Example.com\nmx: *.EXAMPLE.net"),
        format!("x-new: \u{e4} : b\n{GOOD}version: STSv2\nmode: none\nmax_age: junk\n"),
    ];
    for text in same {
        assert_eq!(parse(&text).as_ref(), Ok(&policy), "{text:?}");
    }
}

#[test]
fn a_file_that_is_wrong_is_no_policy() {
    let wrong = [
        ("version: STSv1\n", "", "version"),
        ("STSv1", "STSv2", "version"),
        ("STSv1", "stsv1", "version"),
        ("version:", "Version:", "version"),
        ("mode: enforce\n", "", "mode"),
        ("enforce", "Enforce", "mode"),
        ("mode:", "mode :", "line 2"),
        ("mode: enforce", "mode: enforce\n mx: b.example", "line 3"),
        ("mode: enforce", "mode = enforce", "line 2"),
        ("mode: enforce", "\u{feff}mode: enforce", "line 2"),
        ("max_age: 604800", "", "max_age"),
        ("604800", "", "max_age"),
        ("604800", "-1", "max_age"),
        ("604800", "+1", "max_age"),
        ("604800", "1d", "max_age"),
        ("604800", "12345678901", "max_age"),
        ("mx: mail.example.com\nmx: *.example.net\n", "", "mx"),
        ("*.example.net", "*", "mx"),
        ("*.example.net", "*.", "mx"),
        ("*.example.net", "*.*.example.net", "mx"),
        ("*.example.net", "a.*.example.net", "mx"),
        ("*.example.net", ".example.net", "mx"),
        ("*.example.net", "a.example.net b.example.net", "mx"),
        ("*.example.net", "[192.0.2.1]", "mx"),
        ("\n", "\r", "version"),
    ];
    for (old, new, word) in wrong {
        let text = GOOD.replace(old, new);
        assert_ne!(text, GOOD, "{old}");
        let error = parse(&text).unwrap_err();
        assert!(error.contains(word), "{text:?}: {error}");
    }
    assert!(Policy::parse(b"version: STSv1\nmode: none\nmax_age: 1\nx: \xff\n").is_err());
    assert!(parse("").is_err());
}

#[test]
fn a_policy_of_nothing_needs_no_hosts_and_none_is_kept_for_more_than_a_year() {
    let policy = parse("version: STSv1\nmode: none\nmax_age: 9999999999").unwrap();
    assert_eq!(policy, Policy { mode: Mode::None, mx: Vec::new(), max_age: 31_557_600 });
    assert_eq!(parse(&GOOD.replace("604800", "0")).unwrap().max_age, 0);
}

#[test]
fn a_star_is_one_label() {
    let names = |patterns: &[&str], host: &str| {
        let lines: String = patterns.iter().map(|pattern| format!("mx: {pattern}\n")).collect();
        let file = format!("version: STSv1\nmode: testing\nmax_age: 1\n{lines}");
        parse(&file).unwrap().names(&Domain::parse(host).unwrap())
    };
    assert!(names(&["mail.example.com"], "MAIL.example.com"));
    assert!(!names(&["mail.example.com"], "a.mail.example.com"));
    assert!(!names(&["mail.example.com"], "mail.example.co"));
    assert!(names(&["*.example.com"], "mail.example.com"));
    assert!(!names(&["*.example.com"], "example.com"));
    assert!(!names(&["*.example.com"], "a.mail.example.com"));
    assert!(!names(&["*.example.com"], "mailexample.com"));
    assert!(names(&["a.test", "*.b.test"], "mx.b.test"));
    assert!(names(&["*.xn--mller-kva.example"], "mx.m\u{fc}ller.example"));
    assert!(names(&["mx.m\u{fc}ller.example"], "mx.xn--mller-kva.example"));
}
