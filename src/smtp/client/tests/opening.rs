//! STARTTLS and the login.

use super::*;

const OFFERS_TLS: &str = "250-mx\r\n250-PIPELINING\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n";

/// Opens a session with a server that says `said`; what was written, and what came of it.
fn open(hello: Hello, said: &[&str]) -> (String, Client, Option<Trouble>) {
    let (mut client, mut said) = (Client::new(hello), said.iter());
    let (wrote, troubles) = talk(&mut client, Vec::new(), |client| match said.next() {
        Some(part) => client.feed(part.as_bytes()),
        None => client.lost("the line is dead"),
    });
    (wrote, client, troubles.into_iter().find_map(Result::err))
}

fn private(privacy: Privacy) -> Hello {
    Hello { privacy, ..hello() }
}

fn logs_in() -> Hello {
    let login = Login { user: "me".into(), password: "secret".into() };
    Hello { privacy: Privacy::Given, login: Some(login), ..hello() }
}

#[test]
fn starttls_is_said_where_it_is_offered_and_then_ehlo_again() {
    for privacy in [Privacy::IfOffered, Privacy::Demanded] {
        let said = ["220 mx\r\n", OFFERS_TLS, "220 2.0.0 go\r\n", "250-mx\r\n250 DSN\r\n"];
        let (wrote, client, trouble) = open(private(privacy), &said);
        assert_eq!(wrote, "EHLO home.example\nSTARTTLS\n<handshake>\nEHLO home.example\nQUIT\n");
        assert_eq!((trouble, client.why_clear()), (None, None));
        assert!(client.offers_dsn());
    }
}

#[test]
fn without_tls_it_is_said_why() {
    let plain = "250-mx\r\n250 DSN\r\n";
    for (privacy, said, why) in [
        (Privacy::Unasked, &[OFFERS_TLS][..], "not asked for"),
        (Privacy::IfOffered, &[plain], "not offered"),
        (Privacy::IfOffered, &["500 what\r\n", "250 mx\r\n"], "not offered"),
        (Privacy::IfOffered, &[OFFERS_TLS, "454 4.7.0 no key\r\n"], "refused: 454 4.7.0 no key"),
        (Privacy::IfOffered, &[OFFERS_TLS, "502 \x1b[2J\r\n"], "refused: 502 ?[2J"),
    ] {
        let (wrote, client, trouble) = open(private(privacy), &[&["220 mx\r\n"], said].concat());
        assert_eq!((trouble, client.why_clear()), (None, Some(why)));
        assert!(!wrote.contains("<handshake>") && wrote.ends_with("QUIT\n"), "{wrote}");
    }
}

#[test]
fn tls_that_is_demanded_and_not_to_be_had() {
    let no_tls = |why: &str| Trouble::NoTls(why.into());
    for (said, wanted) in [
        (&["250 mx\r\n"][..], no_tls("mx does not offer STARTTLS")),
        (&["500 what\r\n", "250 mx\r\n"], no_tls("mx does not offer STARTTLS")),
        (&[OFFERS_TLS, "454 no key\r\n"], no_tls("mx answered STARTTLS: 454 no key")),
        (&[OFFERS_TLS, "554 no\r\n"], no_tls("mx answered STARTTLS: 554 no")),
    ] {
        let (wrote, _, trouble) = open(private(Privacy::Demanded), &[&["220 mx\r\n"], said].concat());
        assert_eq!(trouble, Some(wanted));
        assert!(wrote.ends_with("QUIT\n"), "{wrote}");
    }
}

#[test]
fn a_server_that_breaks_at_starttls_is_told_apart() {
    for (said, wanted) in [
        (&["421 4.3.0 sorry\r\n"][..], "mx answered STARTTLS: 421 4.3.0 sorry"),
        (&["250 what\r\n"], "mx answered STARTTLS: 250 what"),
        (&["go!\r\n"], "what the server said is no SMTP reply: \"go!\""),
        (&[], "the line is dead, while waiting for the reply to STARTTLS"),
    ] {
        let (wrote, _, trouble) =
            open(private(Privacy::IfOffered), &[&["220 mx\r\n", OFFERS_TLS], said].concat());
        assert_eq!(trouble, Some(Trouble::Handshake(wanted.into())));
        assert!(wrote.ends_with("STARTTLS\n"), "{wrote}");
    }
}

#[test]
fn what_comes_in_clear_behind_the_reply_to_starttls_is_a_fault() {
    for injected in ["250-mx\r\n250 AUTH PLAIN\r\n", "2", "\r\n", "\x16\x03\x03"] {
        for privacy in [Privacy::IfOffered, Privacy::Demanded] {
            let starttls = format!("220 go\r\n{injected}");
            let (wrote, _, trouble) = open(private(privacy), &["220 mx\r\n", OFFERS_TLS, &starttls]);
            let why = "the server said more behind its reply to STARTTLS";
            assert_eq!(trouble, Some(Trouble::Handshake(why.into())), "{injected:?}");
            assert_eq!(wrote, "EHLO home.example\nSTARTTLS\n");
        }
    }
    // Nor may the answer be there before the question.
    let early = format!("{OFFERS_TLS}220 go\r\n");
    let (wrote, _, trouble) = open(private(Privacy::Demanded), &["220 mx\r\n", &early]);
    assert!(matches!(trouble, Some(Trouble::Handshake(_))), "{trouble:?}");
    assert_eq!(wrote, "EHLO home.example\n");
}

#[test]
fn what_was_said_before_tls_is_forgotten() {
    let before = "250-x\r\n250-SIZE 10\r\n250-PIPELINING\r\n250-DSN\r\n250-8BITMIME\r\n250 STARTTLS\r\n";
    for after in [&["250-mx\r\n250 STARTTLS\r\n"][..], &["500 what\r\n", "250 mx\r\n"]] {
        let said = [&["220 before.example\r\n", before, "220 go\r\n"], after, &["451 later\r\n"]].concat();
        let (mut client, mut said) = (Client::new(private(Privacy::Demanded)), said.into_iter());
        let (wrote, outcomes) = talk(&mut client, vec![request(&["a@b.example"])], |client| {
            client.feed(said.next().unwrap().as_bytes());
        });
        let (_, wrote) = wrote.split_once("<handshake>\n").unwrap();
        assert!(wrote.starts_with("EHLO home.example\n"), "{wrote}");
        assert!(wrote.ends_with("LO home.example\nMAIL FROM:<me@here.example>\nQUIT\n"), "{wrote}");
        let fate = &outcomes[0].as_ref().unwrap().fates[0];
        assert_eq!(deferred(fate), "mx answered MAIL FROM: 451 later");
        assert!(!client.offers_dsn());
    }
}

#[test]
fn a_server_that_will_not_do_without_tls_puts_the_letter_off() {
    let send = |privacy, said: &[&str], answer| {
        let said = [&["220 mx\r\n", OFFERS_TLS], said, &[answer, "503 2\r\n503 3\r\n"]].concat();
        let (mut client, mut said) = (Client::new(private(privacy)), said.into_iter());
        let (_, mut outcomes) = talk(&mut client, vec![request(&["a@b.example"])], |client| {
            client.feed(said.next().unwrap().as_bytes());
        });
        outcomes.remove(0).unwrap().fates.remove(0)
    };
    let answer = "530 5.7.0 Must issue a STARTTLS command first\r\n";
    assert!(
        deferred(&send(Privacy::IfOffered, &["454 no key\r\n"], answer)).contains("MAIL FROM: 530 5.7.0")
    );
    assert!(deferred(&send(Privacy::Unasked, &[], answer)).contains("MAIL FROM: 530 5.7.0"));
    assert_eq!(refused(&send(Privacy::Unasked, &[], "530 5.7.1 log in first\r\n")).code, 530);
    let under_tls = ["220 go\r\n", "250-mx\r\n250 PIPELINING\r\n"];
    assert_eq!(refused(&send(Privacy::Demanded, &under_tls, answer)).code, 530);
}

#[test]
fn refused_greetings_are_the_server_s_last_word() {
    for (said, code) in [
        (&["554 5.7.1 not you\r\n"][..], 554),
        (&["220 mx\r\n", "500 what\r\n", "550 no\r\n"], 550),
        (&["220 mx\r\n", OFFERS_TLS, "220 go\r\n", "550 no\r\n", "550 no\r\n"], 550),
    ] {
        let (wrote, _, trouble) = open(private(Privacy::IfOffered), said);
        assert!(matches!(&trouble, Some(Trouble::Refused(reply)) if reply.code == code), "{trouble:?}");
        assert!(wrote.ends_with("QUIT\n"));
    }
}

#[test]
fn who_logs_in_says_so_in_one_line_or_when_asked() {
    let (wrote, _, trouble) =
        open(logs_in(), &["220 mx\r\n", "250-mx\r\n250 AUTH LOGIN plain\r\n", "235 2.7.0 welcome\r\n"]);
    assert_eq!((wrote.as_str(), trouble), ("EHLO home.example\nAUTH PLAIN AG1lAHNlY3JldA==\nQUIT\n", None));
    let said =
        ["220 mx\r\n", "250-mx\r\n250 AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n", "334\r\n", "235 ok\r\n"];
    let (wrote, _, trouble) = open(logs_in(), &said);
    assert_eq!((wrote.as_str(), trouble), ("EHLO home.example\nAUTH LOGIN\nbWU=\nc2VjcmV0\nQUIT\n", None));
    // RFC 4954 section 4: a line may have 512 octets.
    let long = Login { user: "me".into(), password: "x".repeat(400) };
    let said = ["220 mx\r\n", "250-mx\r\n250 AUTH PLAIN\r\n", "334 \r\n", "235 ok\r\n"];
    let (wrote, _, trouble) = open(Hello { login: Some(long), ..logs_in() }, &said);
    assert!(wrote.starts_with("EHLO home.example\nAUTH PLAIN\nAG1lAHh4") && trouble.is_none(), "{wrote}");
}

#[test]
fn a_refused_login_is_no_letter_s_fault() {
    for (said, wanted) in [
        ("535 5.7.8 bad\r\n", "mx answered AUTH: 535 5.7.8 bad (correct"),
        ("454 4.7.0 later\r\n", "mx answered AUTH: 454 4.7.0 later (correct"),
        ("334 more\r\n", "mx answered AUTH: 334 more (correct"),
        ("421 4.3.0 bye\r\n", "mx answered AUTH: 421 4.3.0 bye"),
        // What repeats the login is not told: it would stand in the log.
        (
            "500 5.5.1 unknown: AUTH PLAIN AG1lAHNlY3JldA==\r\n",
            "mx answered AUTH: 500 5.5.1 (words that repeat",
        ),
        ("421 4.3.0 c2VjcmV0\r\n", "mx answered AUTH: 421 4.3.0 (words that repeat"),
        ("AUTH PLAIN AG1lAHNlY3JldA==\r\n", "what the server said to AUTH repeats the login"),
        ("535 no user me, secret\r\n", "mx answered AUTH: 535 (words that repeat"),
    ] {
        let (_, _, trouble) = open(logs_in(), &["220 mx\r\n", "250-mx\r\n250 AUTH PLAIN\r\n", said]);
        assert!(matches!(&trouble, Some(Trouble::Deferred(why)) if why.starts_with(wanted)), "{trouble:?}");
    }
    let (wrote, _, trouble) = open(logs_in(), &["220 mx\r\n", "250-mx\r\n250 AUTH GSSAPI\r\n"]);
    assert!(matches!(&trouble, Some(Trouble::Deferred(why)) if why.starts_with("mx offers no AUTH")));
    assert_eq!(wrote, "EHLO home.example\nQUIT\n");
}

#[test]
fn no_password_goes_out_in_clear() {
    let offers = "250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n";
    let bare = "250-mx\r\n250 AUTH PLAIN LOGIN\r\n";
    for (privacy, said, why) in [
        (Privacy::Unasked, &["220 mx\r\n", offers][..], "not asked for"),
        (Privacy::IfOffered, &["220 mx\r\n", bare], "not offered"),
        (Privacy::IfOffered, &["220 mx\r\n", offers, "454 no\r\n"], "refused: 454 no"),
    ] {
        let (wrote, _, trouble) = open(Hello { privacy, ..logs_in() }, said);
        assert_eq!(trouble, Some(Trouble::NoTls(format!("mx gets no password in clear (TLS was {why})"))));
        assert!(!wrote.contains("AUTH") && wrote.ends_with("QUIT\n"), "{wrote}");
    }
    assert!(!format!("{:?}", logs_in()).contains("secret"));
}
