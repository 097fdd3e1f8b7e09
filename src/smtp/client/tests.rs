mod fitness;
mod opening;
mod several;

use super::*;
use crate::mail::address::Address;
use crate::mail::envelope::{Notify, Recipient, Ret, ReversePath, Sender};
use proptest::prelude::*;

const EHLO: &str =
    "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN\r\n";

fn request(recipients: &[&str]) -> Request {
    let address = |text: &str| Address::parse(text).unwrap();
    Request {
        envelope: Envelope {
            sender: Sender::new(ReversePath::Address(address("me@here.example"))),
            recipients: recipients.iter().map(|text| Recipient::new(address(text))).collect(),
        },
        size: 100,
        eight_bit: false,
        all_or_none: false,
    }
}

fn hello() -> Hello {
    Hello { helo: "home.example".into(), privacy: Privacy::Unasked, login: None }
}

/// Plays `said`, one part each time the client wants to read; what the client wrote (`<message>` for the message with
/// its dot), and the outcome.
fn play(request: Request, said: &[&str]) -> (String, Outcome) {
    play_cut(request, said, usize::MAX)
}

fn play_cut(request: Request, said: &[&str], cut: usize) -> (String, Outcome) {
    let recipients = request.envelope.recipients.len();
    let mut said = said.iter().flat_map(|part| part.as_bytes().chunks(cut));
    let (wrote, mut outcomes) = talk(&mut Client::new(hello()), vec![request], |client| match said.next() {
        Some(part) => client.feed(part),
        None => client.lost("the line is dead"),
    });
    let outcome = outcomes.pop().unwrap();
    (wrote, outcome.unwrap_or_else(|trouble| Outcome::for_all(recipients, trouble.fate())))
}

/// Sends `requests` one after another, then says QUIT; `read` is called where the client wants to read.
fn talk(
    client: &mut Client,
    requests: Vec<Request>,
    mut read: impl FnMut(&mut Client),
) -> (String, Vec<Result<Outcome, Trouble>>) {
    let (mut wrote, mut outcomes, mut requests) = (String::new(), Vec::new(), requests.into_iter());
    loop {
        match client.step() {
            Step::Write(bytes) => wrote.push_str(std::str::from_utf8(&bytes).unwrap()),
            Step::SendMessage => wrote.push_str("<message>\n"),
            Step::Handshake => {
                wrote.push_str("<handshake>\n");
                client.secured();
            }
            Step::Read => read(client),
            Step::Done(outcome) => outcomes.push(Ok(outcome)),
            Step::Failed(trouble) => outcomes.push(Err(trouble)),
            Step::Ready => match requests.next() {
                Some(request) => client.begin(request),
                None => client.quit(),
            },
            Step::Close => return (wrote.replace("\r\n", "\n"), outcomes),
        }
    }
}

/// A client that heard `said`, a part each time it wanted to read, and began a transaction as soon as it could.
fn after(request: Request, said: &[&str]) -> Client {
    let mut client = Client::new(hello());
    let (mut said, mut request) = (said.iter(), Some(request));
    loop {
        match client.step() {
            Step::Read => match said.next() {
                Some(part) => client.feed(part.as_bytes()),
                None => return client,
            },
            Step::Ready => client.begin(request.take().unwrap()),
            Step::SendMessage => return client,
            _ => {}
        }
    }
}

fn refused(fate: &Fate) -> &Reply {
    match fate {
        Fate::Refused(reply) => reply,
        other => panic!("not refused: {other:?}"),
    }
}

fn deferred(fate: &Fate) -> &str {
    match fate {
        Fate::Deferred(why) => why,
        other => panic!("not deferred: {other:?}"),
    }
}

fn accepted(fate: &Fate) -> bool {
    matches!(fate, Fate::Accepted(_))
}

#[test]
fn pipelined() {
    let said = [
        "220 mx.example hi\r\n",
        EHLO,
        "250 1\r\n250 2\r\n550 5.1.1 no\r\n354 go\r\n",
        "250 2.0.0 queued\r\n",
    ];
    let (wrote, outcome) = play(request(&["a@b.example", "c@d.example"]), &said);
    assert_eq!(
        wrote,
        "EHLO home.example\nMAIL FROM:<me@here.example> SIZE=100\nRCPT TO:<a@b.example>\nRCPT TO:<c@d.example>\n\
         DATA\n<message>\nQUIT\n"
    );
    assert_eq!(outcome.fates[0], Fate::Accepted(Reply::new(250, 0, 0, "queued")));
    assert_eq!(refused(&outcome.fates[1]), &Reply::new(550, 1, 1, "no"));
    assert!(outcome.dot_sent);
}

#[test]
fn one_by_one_after_helo() {
    let said = [
        "220 mx\r\n",
        "502 what\r\n",
        "250 mx\r\n",
        "250 1\r\n",
        "251 2\r\n",
        "451 3\r\n",
        "354 go\r\n",
        "250 4\r\n",
    ];
    let (wrote, outcome) = play(request(&["a@b.example", "c@d.example"]), &said);
    let wrote: Vec<&str> = wrote.lines().collect();
    assert_eq!(
        wrote,
        [
            "EHLO home.example",
            "HELO home.example",
            "MAIL FROM:<me@here.example>",
            "RCPT TO:<a@b.example>",
            "RCPT TO:<c@d.example>",
            "DATA",
            "<message>",
            "QUIT",
        ]
    );
    assert!(accepted(&outcome.fates[0]));
    assert_eq!(deferred(&outcome.fates[1]), "mx answered RCPT TO: 451 3");
}

#[test]
fn parameters_are_sent_where_they_are_offered() {
    let mut request = request(&["a@b.example"]);
    request.eight_bit = true;
    request.envelope.sender.smtputf8 = true;
    request.envelope.sender.ret = Some(Ret::Headers);
    request.envelope.sender.envid = Some("a+b".into());
    request.envelope.recipients[0].notify = Some(Notify { success: true, failure: true, delay: false });
    request.envelope.recipients[0].orcpt = Some("rfc822;x+y@b.example".into());
    let (wrote, _) = play(request.clone(), &["220 mx\r\n", EHLO]);
    assert!(
        wrote.contains("MAIL FROM:<me@here.example> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb\n")
    );
    assert!(
        wrote.contains("RCPT TO:<a@b.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x+2By@b.example\n"),
        "{wrote}"
    );
    request.envelope.recipients[0].notify = Some(Notify::default());
    let (wrote, _) = play(request.clone(), &["220 mx\r\n", EHLO]);
    assert!(wrote.contains(" NOTIFY=NEVER "), "{wrote}");
    for (orcpt, written) in [
        ("utf-8;é+x@b.example", " ORCPT=utf-8;\\x{E9}\\x{2B}x@b.example\n"),
        ("utf-8;\\x{E9}@b.example", " ORCPT=utf-8;\\x{E9}@b.example\n"),
    ] {
        request.envelope.recipients[0].orcpt = Some(orcpt.into());
        let (wrote, _) = play(request.clone(), &["220 mx\r\n", EHLO]);
        assert!(wrote.contains(written), "{wrote}");
    }
    request.eight_bit = false;
    request.envelope.sender.smtputf8 = false;
    let (wrote, _) = play(request, &["220 mx\r\n", "250 mx\r\n", "250 ok\r\n"]);
    assert!(wrote.contains("MAIL FROM:<me@here.example>\nRCPT TO:<a@b.example>\n"), "{wrote}");
}

#[test]
fn all_or_none_waits_for_every_recipient_before_data() {
    let mut all = request(&["a@b.example", "c@d.example"]);
    all.all_or_none = true;
    let (wrote, outcome) = play(all.clone(), &["220 mx\r\n", EHLO, "250 1\r\n250 2\r\n", "550 no\r\n"]);
    assert!(wrote.ends_with("RCPT TO:<c@d.example>\nQUIT\n"), "{wrote}");
    assert!(deferred(&outcome.fates[0]).contains("not sent"));
    assert_eq!(refused(&outcome.fates[1]).code, 550);
    let (wrote, outcome) =
        play(all, &["220 mx\r\n", EHLO, "250 1\r\n250 2\r\n250 3\r\n", "354 go\r\n", "250 ok\r\n"]);
    assert!(wrote.ends_with("DATA\n<message>\nQUIT\n"), "{wrote}");
    assert!(outcome.fates.iter().all(accepted));
}

#[test]
fn a_354_for_nobody_is_ended_by_a_lone_dot() {
    let said = ["220 mx\r\n", EHLO, "250 1\r\n550 2\r\n354 go\r\n", "554 no recipients\r\n"];
    let (wrote, outcome) = play(request(&["a@b.example"]), &said);
    assert!(wrote.ends_with("DATA\n.\nQUIT\n"), "{wrote}");
    assert!(!wrote.contains("<message>") && !outcome.dot_sent);
    assert_eq!(refused(&outcome.fates[0]).text, "2");
    let said = ["220 mx\r\n", EHLO, "451 1\r\n503 2\r\n354 odd\r\n", "250 odder\r\n"];
    let (wrote, outcome) = play(request(&["a@b.example"]), &said);
    assert!(wrote.ends_with("DATA\n.\nQUIT\n"), "{wrote}");
    assert_eq!(deferred(&outcome.fates[0]), "mx answered MAIL FROM: 451 1");
}

#[test]
fn a_refused_sender_is_everybodys_fate() {
    let said = ["220 mx\r\n", EHLO, "550 5.7.1 not you\r\n503 2\r\n503 3\r\n503 4\r\n"];
    let (wrote, outcome) = play(request(&["a@b.example", "c@d.example"]), &said);
    assert!(wrote.ends_with("DATA\nQUIT\n"), "{wrote}");
    assert!(outcome.fates.iter().all(|fate| refused(fate) == &Reply::new(550, 7, 1, "not you")));
    let (wrote, _) = play(request(&["a@b.example"]), &["220 mx\r\n", "250 mx\r\n", "550 no\r\n"]);
    assert!(wrote.ends_with("MAIL FROM:<me@here.example>\nQUIT\n"), "{wrote}");
}

#[test]
fn refusals_at_each_stage() {
    for (said, permanent, wanted) in [
        (&["554 go away\r\n"][..], true, ""),
        (&["521 never\r\n"], true, ""),
        (&["450 later\r\n"], false, "mx.gone greeted: 450 later"),
        (&["421 busy\r\n"], false, "the server greeted: 421 busy"),
        (&["250 odd\r\n"], false, "the server greeted: 250 odd"),
        (&["220 mx\r\n", "450 later\r\n"], false, "mx answered EHLO: 450 later"),
        (&["220 mx\r\n", "500 what\r\n", "501 no\r\n"], true, ""),
        (&["220 mx\r\n", EHLO, "250 1\r\n250 2\r\n451 no\r\n"], false, "mx answered DATA: 451 no"),
        (&["220 mx\r\n", EHLO, "250 1\r\n250 2\r\n554 no\r\n"], true, ""),
        (&["220 mx\r\n", EHLO, "250 1\r\n250 2\r\n250 odd\r\n"], false, "mx answered DATA: 250 odd"),
        (&["220 mx\r\n", EHLO, "250 1\r\n354 odd\r\n503 no\r\n"], false, "mx answered RCPT TO: 354 odd"),
        (&["220 mx\r\n", EHLO, "250 1\r\n552 many\r\n554 no\r\n"], false, "mx answered RCPT TO: 552 many"),
        (&["220 mx\r\n", EHLO, "250 1\r\n250 2\r\n354 go\r\n", "550 spam\r\n"], true, ""),
        (
            &["220 mx\r\n", EHLO, "250 1\r\n250 2\r\n354 go\r\n", "451 no\r\n"],
            false,
            "mx answered the final dot: 451 no",
        ),
        (
            &["220 mx\r\n", EHLO, "250 1\r\n250 2\r\n354 go\r\n", "354 odd\r\n"],
            false,
            "mx answered the final dot: 354 odd",
        ),
    ] {
        let (_, outcome) = play(request(&["a@b.example"]), said);
        match &outcome.fates[0] {
            Fate::Refused(_) => assert!(permanent, "{said:?}"),
            fate => {
                let wanted = wanted.replace("mx.gone", "the server");
                assert!(!permanent && deferred(fate) == wanted, "{said:?}: {fate:?}");
            }
        }
    }
}

#[test]
fn service_closing_settles_what_is_open_and_no_more() {
    let said = ["220 mx\r\n", EHLO, "250 1\r\n550 no\r\n421 4.3.2 closing\r\n"];
    let (wrote, outcome) = play(request(&["a@b.example", "c@d.example"]), &said);
    assert_eq!(refused(&outcome.fates[0]).text, "no");
    assert_eq!(deferred(&outcome.fates[1]), "mx answered RCPT TO: 421 4.3.2 closing");
    assert!(!wrote.contains("QUIT"));
}

#[test]
fn a_lost_connection_says_where() {
    let script = ["220 mx\r\n", EHLO, "250 1\r\n250 2\r\n354 go\r\n"];
    for (heard, wanted) in
        ["the greeting", "the reply to EHLO", "the reply to MAIL FROM", "the reply to the final dot"]
            .iter()
            .enumerate()
    {
        let (_, outcome) = play(request(&["a@b.example"]), &script[..heard]);
        assert_eq!(deferred(&outcome.fates[0]), format!("the line is dead, while waiting for {wanted}"));
        assert_eq!(outcome.dot_sent, heard == 3);
    }
}

#[test]
fn an_answer_before_the_dot_ends_the_message() {
    for (said, wanted) in [
        ("250 mine already\r\n", "mx answered before the message was sent: 250 mine already"),
        ("421 bye\r\n", "mx answered before the message was sent: 421 bye"),
    ] {
        // In one packet with the 354: the message must not even be begun.
        let (wrote, outcome) = play(
            request(&["a@b.example"]),
            &["220 mx\r\n", EHLO, &format!("250 1\r\n250 2\r\n354 go\r\n{said}")],
        );
        assert!(wrote.ends_with("DATA\n"), "{wrote}");
        assert_eq!((deferred(&outcome.fates[0]), outcome.dot_sent), (wanted, false));
    }
}

#[test]
fn the_dot_counts_from_when_it_is_begun() {
    let mut client = after(request(&["a@b.example"]), &["220 mx\r\n", EHLO, "250 1\r\n250 2\r\n354 go\r\n"]);
    let mut earlier = client.clone();
    earlier.lost("gone");
    assert!(matches!(earlier.step(), Step::Done(Outcome { dot_sent: false, .. })));
    client.dot_begun();
    client.lost("gone");
    assert!(matches!(client.step(), Step::Done(Outcome { dot_sent: true, .. })));
}

#[test]
fn the_server_name_is_known_when_mail_is_written() {
    let mut client = Client::new(hello());
    for said in ["220 mx.example ESMTP\r\n", EHLO] {
        assert!(!matches!(client.step(), Step::Ready));
        let _ = client.step();
        assert_eq!(client.server_name(), None);
        client.feed(said.as_bytes());
    }
    client.begin(request(&["a@b.example"]));
    assert_eq!(client.server_name(), Some("mx.example"));
}

#[test]
fn waits_are_those_of_the_rfc() {
    let minutes = |client: &Client| client.timeout().as_secs() / 60;
    assert_eq!(minutes(&Client::new(hello())), 5);
    let mut client = after(request(&["a@b.example"]), &["220 mx\r\n", EHLO, "250 1\r\n250 2\r\n"]);
    assert_eq!(minutes(&client), 2);
    client.feed(b"354 go\r\n");
    assert_eq!(minutes(&client), 3);
    client.dot_begun();
    assert_eq!(minutes(&client), 10);
}

#[test]
fn hostile_words_are_quoted_and_harmless() {
    let (_, outcome) = play(request(&["a@b.example"]), &["220 \x1b[2Jmx\r\n", "450 \x1b]0;x\x07\r\n"]);
    assert_eq!(deferred(&outcome.fates[0]), "?[2Jmx answered EHLO: 450 ?]0;x?");
    let (_, outcome) = play(request(&["a@b.example"]), &["SSH-2.0-OpenSSH_9.2\r\n"]);
    assert_eq!(deferred(&outcome.fates[0]), "what the server said is no SMTP reply: \"SSH-2.0-OpenSSH_9.2\"");
}

#[test]
fn an_envelope_without_recipients_ends() {
    let (wrote, outcome) = play(request(&[]), &["220 mx\r\n", EHLO]);
    assert!(wrote.ends_with("QUIT\n") && outcome.fates.is_empty());
}

proptest! {
    #[test]
    fn replies_may_be_cut_anywhere(cut in 1usize..30, all_or_none: bool) {
        let envelope = "250 1\r\n550-5.1.1 n\r\n550 5.1.1 o\r\n250 3\r\n";
        let data = if all_or_none { "" } else { "354 go\r\n" };
        let said = ["220-mx\r\n220 hi\r\n", EHLO, &format!("{envelope}{data}"), "250 ok\r\n"];
        let mut request = request(&["a@b.example", "c@d.example"]);
        request.all_or_none = all_or_none;
        prop_assert_eq!(play_cut(request.clone(), &said, cut), play(request, &said));
    }

    #[test]
    fn no_server_makes_it_panic_or_lie(
        said in proptest::collection::vec("([2-5][0-9]{2}[ -][a-z.0-9 ]{0,9}\r\n|[ -~\r\n]{0,20})", 0..20),
        all_or_none: bool,
    ) {
        let mut request = request(&["a@b.example", "c@d.example"]);
        request.all_or_none = all_or_none;
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        let (wrote, outcome) = play(request, &said);
        prop_assert_eq!(outcome.fates.len(), 2);
        if outcome.fates.iter().any(accepted) {
            prop_assert!(wrote.contains("<message>") && outcome.dot_sent);
        }
    }
}
