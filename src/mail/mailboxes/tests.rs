use super::*;
use proptest::prelude::*;

fn strict(text: &str) -> Vec<String> {
    parse(text.as_bytes())
        .unwrap_or_else(|error| panic!("{text:?}: {error}"))
        .into_iter()
        .map(|m| format!("{}|{}", m.display.unwrap_or_default(), m.address))
        .collect()
}

fn lenient(text: &str) -> (Vec<String>, Vec<String>) {
    let domain = Domain::parse("home.example").unwrap();
    let (named, unread) = parse_lenient(text.as_bytes());
    (named.iter().map(|n| n.target.complete(&domain).unwrap().to_string()).collect(), unread)
}

#[test]
fn lists_of_rfc_5322_are_read() {
    for (text, expected) in [
        (" me@example.org\r\n", &["|me@example.org"][..]),
        ("<me@example.org>", &["|me@example.org"]),
        ("Me <me@example.org>", &["Me|me@example.org"]),
        ("Me Myself\r\n <me@example.org>\r\n", &["Me Myself|me@example.org"]),
        ("\"Me, \\\"I\\\"\" <me@example.org>", &["Me, \"I\"|me@example.org"]),
        ("John Q. Public <j@example.org>", &["John Q. Public|j@example.org"]),
        ("John.Q.Public <j@example.org>", &["John.Q.Public|j@example.org"]),
        ("=?utf-8?q?J=C3=BC?= <j@example.org>", &["=?utf-8?q?J=C3=BC?=|j@example.org"]),
        ("Jürgen <jürgen@bücher.example>", &["Jürgen|jürgen@xn--bcher-kva.example"]),
        ("a@example.org,\r\n\tb@example.org", &["|a@example.org", "|b@example.org"]),
        ("me@example.org (a (nested \\) one) comment)", &["|me@example.org"]),
        ("(x) Me (y) < (z) me@example.org (w) > (v)", &["Me|me@example.org"]),
        ("\"a b\"@example.org", &["|\"a b\"@example.org"]),
        ("me@[192.0.2.1]", &["|me@[192.0.2.1]"]),
        ("All: a@example.org, B <b@example.org>;", &["|a@example.org", "B|b@example.org"]),
        ("undisclosed-recipients:;", &[]),
        ("undisclosed recipients: (none) ; (really)", &[]),
        ("G:;, a@example.org", &["|a@example.org"]),
    ] {
        assert_eq!(strict(text), expected, "{text}");
    }
}

#[test]
fn anything_doubtful_is_refused() {
    for text in [
        "",
        " \r\n",
        "(only a comment)",
        "me",
        "Me <me>",
        "<>",
        "Me",
        "me@example.org,",
        ",me@example.org",
        "a@example.org,,b@example.org",
        "a@example.org b@example.org",
        "a@example.org <b@example.org>",
        "<a@example.org> <b@example.org>",
        "<a@example.org> b",
        "a@example.org; b@example.org",
        "a@example.org;",
        "a @example.org",
        "a@ example.org",
        "a(x)@example.org",
        "a@(x)example.org",
        "a . b@example.org",
        "<@relay.example:a@example.org>",
        "<a@example.org",
        "a@example.org>",
        "<<a@example.org>>",
        "\"a <a@example.org>",
        "(a a@example.org",
        "a) a@example.org",
        "G: a@example.org",
        "G: H: a@example.org;;",
        "G: a@example.org,;",
        "G: ,;",
        "G:; a@example.org",
        "a\r\n@example.org",
        "a@example.org\r\n\r\n",
        "a@example.org\nb@example.org",
        "a@example.org\rb",
        "a@example.org\0",
        "\"a\0\" <a@example.org>",
        "\"a\r\n b\"@example.org",
        "\"a\tb\"@example.org",
        "a\u{85} <a@example.org>",
        "a..b@example.org",
        ".a@example.org",
        "a@-.example",
        "[a] <a@example.org>",
        "a@example.org\\",
    ] {
        let error = parse(text.as_bytes()).expect_err(text).0;
        assert!(error.bytes().all(|b| (b' '..=b'~').contains(&b)), "{error:?}");
    }
    assert!(parse(b"\xff <a@example.org>").is_err());
    assert!(parse(format!("{}{} a@example.org", "(".repeat(33), ")".repeat(33)).as_bytes()).is_err());
    assert!(parse(format!("{}{} a@example.org", "(".repeat(32), ")".repeat(32)).as_bytes()).is_ok());
}

#[test]
fn sendmail_t_gets_what_can_be_read() {
    for (text, addresses, unread) in [
        ("root", &["root@home.example"][..], &[][..]),
        (
            "root, <postmaster>, \"A. B\" <me> (x)",
            &["root@home.example", "postmaster@home.example", "me@home.example"],
            &[],
        ),
        ("a@example.org,, ,b@example.org,", &["a@example.org", "b@example.org"], &[]),
        ("a@example.org; b@example.org", &["a@example.org", "b@example.org"], &[]),
        (
            "Friends: a@example.org, root;, b@example.org",
            &["a@example.org", "root@home.example", "b@example.org"],
            &[],
        ),
        ("undisclosed-recipients:;", &[], &[]),
        ("undisclosed-recipients: ;", &[], &[]),
        ("", &[], &[]),
        ("<@x.example,@y.example:a@example.org>", &["a@example.org"], &[]),
        ("two words, root", &["root@home.example"], &["two words"]),
        ("a@b@c, root", &["root@home.example"], &["a@b@c"]),
        ("a@example.org\n , b@example.org\n", &["a@example.org", "b@example.org"], &[]),
        ("a@bad_domain, root", &["root@home.example"], &["a@bad_domain"]),
        ("\"open, root", &[], &["\"open, root"]),
        ("(open, root", &[], &["(open, root"]),
        ("<a, b>, c", &["c@home.example"], &["<a", "b>"]),
    ] {
        let (got, left) = lenient(text);
        assert_eq!(
            (&got[..], &left[..]),
            (
                &addresses.iter().map(|a| a.to_string()).collect::<Vec<_>>()[..],
                &unread.iter().map(|a| a.to_string()).collect::<Vec<_>>()[..]
            ),
            "{text}"
        );
    }
    assert_eq!(parse_lenient(b"J\xfcrgen <j@example.org>, j\xfc@example.org").0.len(), 1);
}

#[test]
fn a_display_name_is_quoted_where_it_must_be() {
    for (display, expected) in [
        ("Me Myself", "Me Myself"),
        ("Q. Public", "\"Q. Public\""),
        ("a \"b\" \\", "\"a \\\"b\\\" \\\\\""),
        ("a\r\nBcc: x", "\"a  Bcc: x\""),
        ("=?x?q?y?=", "\"=?x?q?y?=\""),
        ("", "\"\""),
    ] {
        assert_eq!(phrase(display), expected);
    }
}

proptest! {
    #[test]
    fn anything_may_be_read(text in "[ab.@<>(),:;\"\\\\ \t\r\n\\[\\]ü\u{85}]{0,30}") {
        let strict = parse(text.as_bytes());
        let (named, unread) = parse_lenient(text.as_bytes());
        if let Ok(strict) = strict {
            prop_assert_eq!(unread, Vec::<String>::new());
            let strict: Vec<_> = strict.into_iter().map(|m| Target::Full(m.address)).collect();
            prop_assert_eq!(strict, named.into_iter().map(|n| n.target).collect::<Vec<_>>());
        }
    }

    #[test]
    fn any_octets_may_be_read(value in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = parse(&value);
        let _ = parse_lenient(&value);
    }

    #[test]
    fn what_phrase_writes_is_read_back(display in "[ -~ü]{1,20}") {
        let read = parse(format!("{} <me@example.org>", phrase(&display)).as_bytes()).unwrap();
        let words = display.trim();
        prop_assert_eq!(read[0].display.as_deref(), Some(words));
    }
}
