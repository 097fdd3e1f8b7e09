use super::*;
use crate::config::{HomeAddress, Via};
use crate::home::fake::{Fake, Heard, Place};

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect()
}

/// Runs sendmail: what it returned, and what it wrote on stderr.
fn sendmail(config: &config::Home, line: &str, letter: &str) -> (Result<(), Failure>, String) {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let streams = Streams { input: &mut letter.as_bytes(), output: &mut output, errors: &mut errors };
    let ended = run(&words(line), config, streams);
    (ended, String::from_utf8(errors).unwrap())
}

fn exit(config: &config::Home, line: &str, letter: &str) -> Option<Exit> {
    sendmail(config, line, letter).0.err().map(|failure| failure.exit)
}

const LETTER: &str = "From: Me <me@example.org>\nTo: a@example.net\nSubject: x\n\nhello\n";

#[test]
fn a_letter_is_completed_signed_sealed_and_leaves_nothing_behind() {
    let place = Place::new();
    let fake = Fake::start(&[]);
    let config = place.home(&[&fake]);
    let letter =
        "From: Me <me@example.org>\nTo: a@example.net\nBcc: secret@example.com\nSubject: x\n\n.\nhello\n";
    let (ended, errors) = sendmail(&config, "-oi -t", letter);
    ended.unwrap();
    assert_eq!(errors, "");
    let heard = fake.heard();
    assert!(heard.said("MAIL FROM:<me@example.org>") && heard.said("EHLO [127.0.0.1]"), "{heard:?}");
    assert!(heard.said("RCPT TO:<a@example.net>") && heard.said("RCPT TO:<secret@example.com>"), "{heard:?}");
    let text = heard.text();
    assert!(text.contains("\r\nEnvelope-Seal: v=1;"), "{text}");
    assert_eq!(text.matches("DKIM-Signature:").count(), 2, "{text}");
    for field in ["Date: ", "Message-ID: <", "From: Me <me@example.org>\r\n"] {
        assert!(text.contains(field), "{field}: {text}");
    }
    assert!(!text.contains("secret@") && !text.contains("Bcc"), "{text}");
    assert!(text.ends_with("\r\n\r\n..\r\nhello\r\n"), "{text}");
    assert_eq!(outbox::list(&config).unwrap(), []);
}

#[test]
fn a_letter_that_is_sent_again_loses_our_old_signature_and_no_other() {
    let place = Place::new();
    let fake = Fake::start(&[]);
    let config = place.home(&[&fake]);
    let old = "DKIM-Signature: v=1; a=rsa-sha256; d=\n Example.ORG; s=me; h=From; bh=b2xk; b=b2xk\n";
    let foreign = "DKIM-Signature: v=1; a=rsa-sha256; d=list.example.org; s=me; h=From; bh=eA==; b=eA==\n";
    let broken = "DKIM-Signature: d=example.org; d=example.org\n";
    let (ended, _) = sendmail(&config, "-oi -t", &format!("{old}{foreign}{broken}{LETTER}"));
    ended.unwrap();
    let text = fake.heard().text();
    assert!(!text.contains("b2xk"), "{text}");
    assert!(text.contains("\r\nDKIM-Signature: v=1; a=rsa-sha256; d=list.example.org;"), "{text}");
    assert!(text.contains("d=example.org; d=example.org\r\nFrom: Me"), "{text}");
    assert_eq!(text.matches("DKIM-Signature:").count(), 4, "{text}");
    assert!(text.ends_with("\r\n\r\nhello\r\n"), "{text}");
}

#[test]
fn a_servers_refusal_is_an_exit_status_and_its_words_on_one_line() {
    let rows: &[(&str, &str, Exit)] = &[
        ("RCPT", "550 5.1.1 no such address", Exit::NoUser),
        ("RCPT", "550 5.1.2 no such domain", Exit::NoHost),
        ("RCPT", "556 5.1.10 null MX", Exit::NoHost),
        ("RCPT", "550 5.7.1 not ours", Exit::NoPerm),
        ("MAIL", "550 5.7.1 not you", Exit::NoPerm),
        ("MAIL", "530 say who you are", Exit::NoPerm),
        (".", "550 5.7.7 no signature", Exit::NoPerm),
        (".", "554 5.6.0-first line\r\n554 5.6.0 of two", Exit::Unavailable),
        ("", "554 go away", Exit::Unavailable),
        ("MAIL", "552 5.3.4 too large", Exit::Unavailable),
    ];
    let place = Place::new();
    for (at, reply, exit) in rows {
        let fake = Fake::start(&[(at, reply)]);
        let config = place.home(&[&fake]);
        let (ended, errors) = sendmail(&config, "-oi a@example.net", LETTER);
        let failure = ended.expect_err(reply);
        assert_eq!(failure.exit, *exit, "{at} {reply}: {failure}");
        assert!(failure.message.contains(&reply[..3]) && !failure.message.contains('\n'), "{failure}");
        assert_eq!(errors, "");
        assert_eq!(outbox::list(&config).unwrap(), [], "{reply}");
    }
}

#[test]
fn one_bad_recipient_of_two_means_nobody_gets_it() {
    let place = Place::new();
    for (reply, exit) in [("550 5.1.1 no such address", Some(Exit::NoUser)), ("451 4.3.0 later", None)] {
        let fake = Fake::start(&[("RCPT TO:<bad@", reply)]);
        let config = place.home(&[&fake]);
        let (ended, _) = sendmail(&config, "-oi good@example.net bad@example.net", LETTER);
        assert_eq!(ended.as_ref().err().map(|failure| failure.exit), exit);
        if let Err(failure) = ended {
            assert!(failure.message.contains("bad@example.net"), "{failure}");
        }
        assert!(!fake.heard().said("DATA"));
    }
}

#[test]
fn faults_of_the_caller_and_of_the_letter() {
    let place = Place::new();
    let fake = Fake::start(&[]);
    let config = place.home(&[&fake]);
    let from = |value: &str| format!("From: {value}\nTo: a@example.net\n\nx\n");
    for (line, letter, expected) in [
        ("-z a@example.net", LETTER.to_owned(), Exit::Usage),
        ("-i", LETTER.to_owned(), Exit::Usage),
        ("-i a@b@c", LETTER.to_owned(), Exit::Usage),
        ("-f a,b a@example.net", LETTER.to_owned(), Exit::Usage),
        ("-i a@example.net", String::new(), Exit::DataErr),
        ("-t", "From: me@example.org\nSubject: x\n\nx\n".into(), Exit::DataErr),
        ("-t", "From: me@example.org\nTo: a@example.net, <b\n\nx\n".into(), Exit::DataErr),
        ("-t", from("me@example.org\nFrom: me@example.org"), Exit::DataErr),
        ("-t", from("me@example.org, you@example.org"), Exit::DataErr),
        ("-t", from("me@example.org\nSubject : x"), Exit::DataErr),
        ("-f <> a@example.net", LETTER.to_owned(), Exit::NoPerm),
        ("-t", from("you@example.org"), Exit::Config),
        ("-t", from("me@elsewhere.example"), Exit::Config),
        ("-t -f you@example.org", from("me@example.org"), Exit::Config),
    ] {
        assert_eq!(exit(&config, line, &letter), Some(expected), "{line}: {letter}");
    }
    assert!(fake.is_unheard(), "all of this is told before any connection");
    assert_eq!(outbox::list(&config).unwrap(), []);
}

#[test]
fn a_missing_key_is_named_with_the_remedy() {
    let place = Place::new();
    let config = place.home(&[]);
    let failure = sendmail(&config, "-t", &LETTER.replace("me@", "you@")).0.unwrap_err();
    assert!(failure.message.contains("you@example.org-dkim.pem"), "{failure}");
    assert!(failure.message.contains("pillarbox key new you@example.org"), "{failure}");
}

#[test]
fn without_a_server_nothing_is_kept() {
    let place = Place::new();
    let config = config::Home {
        submit_via: Via::Command(vec!["ssh".into(), "{server}".into()]),
        server: vec![],
        ..place.home(&[])
    };
    assert_eq!(exit(&config, "-t", LETTER), Some(Exit::Config));
    assert_eq!(outbox::list(&config).unwrap(), []);
}

#[test]
fn an_outbox_that_cannot_be_made_is_73_and_nothing_is_sent() {
    let place = Place::new();
    let fake = Fake::start(&[]);
    let config = config::Home { outbox: "/dev/null/outbox".into(), ..place.home(&[&fake]) };
    assert_eq!(exit(&config, "-t", LETTER), Some(Exit::CantCreat));
    assert!(fake.is_unheard());
}

#[test]
fn what_waits_is_queued_and_flushed_with_the_same_bytes_and_nonce() {
    let place = Place::new();
    let busy = Fake::start(&[(".", "451 4.3.0 later")]);
    let config = place.home(&[&busy]);
    let (ended, errors) = sendmail(&config, "-t", LETTER);
    ended.unwrap();
    assert!(
        errors.contains("queued as") && errors.contains("later") && errors.lines().count() == 1,
        "{errors}"
    );
    let listed = outbox::list(&config).unwrap();
    assert_eq!((listed.len(), listed[0].state, listed[0].tries), (1, "waiting", 1), "{listed:?}");
    let first = busy.heard();

    // The server says that it may have the letter, or not: the same one is asked again.
    busy.set(&[]);
    outbox::flush(&config, &[], &mut |_| {}).unwrap();
    let second = busy.heard();
    assert_eq!(first.nonce(), second.nonce());
    assert_eq!(first.unsealed(), second.unsealed());
    assert_eq!(outbox::list(&config).unwrap(), []);
}

#[test]
fn servers_are_tried_in_order() {
    let place = Place::new();
    let (dead, busy, good) = (Fake::dead(), Fake::start(&[("RCPT", "451 4.3.0 later")]), Fake::start(&[]));
    let config = place.home(&[&dead, &busy, &good]);
    let (ended, errors) = sendmail(&config, "-t -v", LETTER);
    ended.unwrap();
    assert!(busy.heard().said("RCPT") && good.heard().text().contains("hello"));
    assert!(errors.lines().count() >= 4, "{errors}");
    assert_eq!(outbox::list(&config).unwrap(), []);
}

#[test]
fn after_a_lost_dot_only_the_same_server_is_asked_again() {
    let place = Place::new();
    let (first, second) = (Fake::start(&[(".", "CLOSE")]), Fake::start(&[]));
    let config = place.home(&[&first, &second]);
    let (ended, errors) = sendmail(&config, "-t", LETTER);
    ended.unwrap();
    assert!(errors.contains("queued"), "{errors}");
    let nonce = first.heard().nonce();
    let failure = outbox::flush(&config, &[], &mut |_| {}).unwrap_err();
    assert_eq!(failure.exit, Exit::TempFail, "{failure}");
    assert_eq!(first.heard().nonce(), nonce);
    assert!(second.is_unheard());

    // Nor when the next try ends before the dot.
    first.set(&[("RCPT", "451 4.3.0 later")]);
    outbox::flush(&config, &[], &mut |_| {}).unwrap_err();
    assert!(first.heard().said("RCPT") && second.is_unheard());

    // Not even when that server is no longer in home.toml.
    let config = place.home(&[&second]);
    let failure = outbox::flush(&config, &[], &mut |_| {}).unwrap_err();
    assert!(failure.message.contains("may have the letter"), "{failure}");
    assert!(second.is_unheard());
}

#[test]
fn no_server_at_all_is_queued() {
    let place = Place::new();
    let config = place.home(&[&Fake::dead(), &Fake::dead()]);
    let (ended, errors) = sendmail(&config, "-t", LETTER);
    ended.unwrap();
    assert!(errors.contains("queued as") && errors.lines().count() == 1, "{errors}");
    assert_eq!(outbox::list(&config).unwrap().len(), 1);
}

#[test]
fn names_of_this_machine_become_the_owners() {
    let place = Place::new();
    for (line, letter, from) in [
        ("-FCronDaemon -i root", "Subject: cron\n\nx\n", "From: CronDaemon <me@example.org>"),
        ("-i a@example.net", "no header at all\n", "From: me@example.org"),
        ("-i a@example.net", "From: root\n\nx\n", "From: me@example.org"),
        ("-i a@example.net", "From: root@localhost (Cron)\n\nx\n", "From: me@example.org (Cron)"),
        (
            "-i a@example.net",
            "From: Me <root@localhost>\nSender: me@localhost\n\nx\n",
            "From: Me <me@example.org>",
        ),
        ("-f root -i a@example.net", "From: ME+list@Example.ORG\n\nx\n", "From: ME+list@Example.ORG"),
    ] {
        let fake = Fake::start(&[]);
        let (ended, errors) = sendmail(&place.home(&[&fake]), line, letter);
        ended.unwrap_or_else(|failure| panic!("{line}: {failure}"));
        let heard = fake.heard();
        assert!(heard.text().contains(&format!("{from}\r\n")), "{line}: {}{errors}", heard.text());
        assert!(!heard.text().contains("localhost"), "{}", heard.text());
        assert!(!heard.said("RCPT TO:<root@"), "{heard:?}");
    }
}

#[test]
fn envelope_senders() {
    let place = Place::new();
    for (line, sender) in [
        ("-f me+git@example.org -i a@example.net", "me+git@example.org"),
        ("-f me/list@example.org -i a@example.net", "me/list@example.org"),
        ("-f ME@EXAMPLE.ORG -i a@example.net", "ME@example.org"),
        ("-f root@localhost -i a@example.net", "me@example.org"),
        ("-f blog@example.org -i a@example.net", "blog@example.org"),
        ("--read-envelope-from -i a@example.net", "me@example.org"),
    ] {
        let fake = Fake::start(&[]);
        let mut config = place.home(&[&fake]);
        let blog = HomeAddress { into: None, keys: vec!["me".into()] };
        config.addresses.insert("Blog@example.org".into(), blog);
        sendmail(&config, line, LETTER).0.unwrap_or_else(|failure| panic!("{line}: {failure}"));
        let heard = fake.heard();
        assert!(heard.said(&format!("MAIL FROM:<{sender}>")), "{line}: {heard:?}");
        assert!(heard.text().contains("s=me;"), "{}", heard.text());
    }
}

#[test]
fn header_recipients_of_a_resent_letter() {
    let place = Place::new();
    let fake = Fake::start(&[]);
    let letter = "Resent-To: c@example.net\nResent-Bcc: d@example.net\n".to_owned() + LETTER;
    sendmail(&place.home(&[&fake]), "-t e@example.net E@example.net", &letter).0.unwrap();
    let heard = fake.heard();
    let recipients: Vec<_> = heard.commands.iter().filter(|line| line.starts_with("RCPT")).collect();
    assert_eq!(recipients.len(), 3, "{recipients:?}");
    assert!(!heard.text().contains("d@example.net") && !heard.said("RCPT TO:<a@"));
}

/// An input that waits for replies: one piece at a time.
#[derive(Default)]
struct Pieces(std::collections::VecDeque<String>);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(piece) = self.0.pop_front() else { return Ok(0) };
        buffer[..piece.len()].copy_from_slice(piece.as_bytes());
        Ok(piece.len())
    }
}

#[test]
fn smtp_on_standard_input() {
    let place = Place::new();
    let fake = Fake::start(&[("RCPT TO:<bad@", "550 5.1.1 no such address")]);
    let config = place.home(&[&fake]);
    let mut client = Pieces::default();
    client.0.push_back("EHLO localhost\r\n".into());
    for to in ["good", "bad"] {
        client.0.push_back(format!("MAIL FROM:<me@localhost>\r\nRCPT TO:<{to}@example.net>\r\nDATA\r\n"));
        client.0.push_back(format!("From: me@example.org\r\nTo: {to}@example.net\r\n\r\n..dot\r\n.\r\n"));
    }
    client.0.push_back("QUIT\r\n".into());
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let streams = Streams { input: &mut client, output: &mut output, errors: &mut errors };
    run(&words("-bs"), &config, streams).unwrap();
    let output = String::from_utf8(output).unwrap();
    let replies: Vec<&str> = output.lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).collect();
    let codes: Vec<&str> = replies.iter().map(|reply| &reply[..3]).collect();
    assert_eq!(
        codes,
        ["220", "250", "250", "250", "354", "250", "250", "250", "354", "550", "221"],
        "{output}"
    );
    assert!(output.contains("no such address"), "{output}");
    let heard: Heard = fake.heard();
    assert!(heard.text().ends_with("\r\n\r\n..dot\r\n") && heard.said("MAIL FROM:<me@example.org>"));
}

#[test]
fn names_of_the_program() {
    assert_eq!(called_as("/usr/sbin/sendmail".as_ref()), Some(&[][..]));
    assert_eq!(called_as("send-mail".as_ref()), Some(&[][..]));
    assert_eq!(called_as("mailq".as_ref()), Some(&["-bp"][..]));
    assert_eq!(called_as("newaliases".as_ref()), Some(&["-bi"][..]));
    assert_eq!(called_as("pillarbox".as_ref()), None);
}
