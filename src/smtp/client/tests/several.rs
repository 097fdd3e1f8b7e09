//! One letter after another.

use super::*;

const DELIVERED: [&str; 2] = ["250 1\r\n250 2\r\n354 go\r\n", "250 2.0.0 queued\r\n"];

/// Sends a letter to each of `to` (recipients apart by commas) to a server that says `said`.
fn send(to: &[&str], said: &[&str]) -> (String, Vec<Outcome>) {
    let requests = to.iter().map(|to| request(&to.split(',').collect::<Vec<_>>())).collect();
    let mut said = ["220 mx\r\n", EHLO].iter().chain(said);
    let (wrote, outcomes) = talk(&mut Client::new(hello()), requests, |client| match said.next() {
        Some(part) => client.feed(part.as_bytes()),
        None => client.lost("the line is dead"),
    });
    let wrote =
        wrote.replace("EHLO home.example\n", "").replace("MAIL FROM:<me@here.example> SIZE=100", "MAIL");
    (wrote, outcomes.into_iter().map(Result::unwrap).collect())
}

#[test]
fn each_letter_has_its_own_outcome() {
    let said = [&DELIVERED[..], &["250 1\r\n250 2\r\n354 go\r\n", "550 5.7.1 spam\r\n"], &DELIVERED].concat();
    let (wrote, outcomes) = send(&["a@b.example", "c@d.example", "e@f.example"], &said);
    assert_eq!(
        wrote,
        "MAIL\nRCPT TO:<a@b.example>\nDATA\n<message>\nMAIL\nRCPT TO:<c@d.example>\nDATA\n<message>\n\
         MAIL\nRCPT TO:<e@f.example>\nDATA\n<message>\nQUIT\n"
    );
    assert!(accepted(&outcomes[0].fates[0]) && accepted(&outcomes[2].fates[0]));
    assert_eq!(refused(&outcomes[1].fates[0]), &Reply::new(550, 7, 1, "spam"));
}

#[test]
fn what_a_letter_left_behind_is_reset_before_the_next_one() {
    for (first, unfinished) in [
        (&["250 1\r\n550 2\r\n503 3\r\n"][..], true),
        (&["250 1\r\n250 2\r\n451 3\r\n"], true),
        (&["550 1\r\n503 2\r\n503 3\r\n"], true),
        (&DELIVERED, false),
        (&["250 1\r\n250 2\r\n354 go\r\n", "451 4.3.1 full\r\n"], false),
    ] {
        let reset = if unfinished { "250 reset\r\n" } else { "" };
        let second = format!("{reset}{}", DELIVERED[0]);
        let said = [first, &[&second, DELIVERED[1]]].concat();
        let (wrote, outcomes) = send(&["a@b.example", "c@d.example"], &said);
        let begins = if unfinished { "RSET\nMAIL\n" } else { "<message>\nMAIL\n" };
        assert!(
            wrote.ends_with(&format!("{begins}RCPT TO:<c@d.example>\nDATA\n<message>\nQUIT\n")),
            "{wrote}"
        );
        assert!(accepted(&outcomes[1].fates[0]), "{outcomes:?}");
    }
}

#[test]
fn a_letter_that_is_refused_unasked_leaves_things_as_they_were() {
    let refuse = |first: &[&str], said: &[&str]| {
        let mut large = request(&["big@b.example"]);
        large.size = 1001;
        let mut requests: Vec<Request> = first.iter().map(|to| request(&[to])).collect();
        requests.extend([large, request(&["a@b.example"])]);
        let mut said = ["220 mx\r\n", EHLO].iter().chain(said);
        let (wrote, outcomes) =
            talk(&mut Client::new(hello()), requests, |client| client.feed(said.next().unwrap().as_bytes()));
        assert!(!wrote.contains("big"));
        assert!(accepted(&outcomes.last().unwrap().as_ref().unwrap().fates[0]));
        wrote
    };
    assert!(!refuse(&[], &DELIVERED).contains("RSET"));
    let after = ["250 1\r\n550 2\r\n503 3\r\n", "250 0\r\n250 1\r\n250 2\r\n354 go\r\n", "250 ok\r\n"];
    assert!(refuse(&["nobody@b.example"], &after).contains("RSET\nMAIL"));
}

#[test]
fn a_refused_reset_says_nothing_of_the_letter() {
    let said = ["250 1\r\n550 2\r\n503 3\r\n", "500 5.5.1 what\r\n503 2\r\n503 3\r\n503 4\r\n"];
    let (wrote, outcomes) = send(&["a@b.example", "c@d.example"], &said);
    assert_eq!(deferred(&outcomes[1].fates[0]), "mx answered RSET: 500 5.5.1 what");
    assert!(!wrote.contains("QUIT"));
}

#[test]
fn after_anything_odd_the_session_is_over() {
    for said in [
        // More than was asked, in one packet, whole or not.
        &["250 1\r\n250 2\r\n354 go\r\n", "250 ok\r\n250 more\r\n"][..],
        &["250 1\r\n250 2\r\n354 go\r\n", "250 ok\r\n2"],
        &["250 1\r\n550 2\r\n503 3\r\n250 more\r\n"],
        &["250 1\r\n250 2\r\n354 go\r\n", "354 go on\r\n"],
        &["250 1\r\n354 2\r\n554 3\r\n"],
        &["354 1\r\n503 2\r\n503 3\r\n"],
        &["250 1\r\n250 2\r\n250 3\r\n"],
        &["250 1\r\n550 2\r\n354 go\r\n", "554 nobody\r\n"],
        &["250 1\r\n250 2\r\n354 go\r\n451 early\r\n"],
        &["250 1\r\n250 2\r\n354 go\r\n", "421 4.3.2 closing\r\n"],
        &["421 4.3.2 idle\r\n"],
        &["250 1\r\nwhat?\r\n"],
        &["250 1\r\n250 2\r\n354 go\r\n", "hm\r\n"],
        &[],
    ] {
        let (wrote, outcomes) = send(&["a@b.example", "c@d.example"], said);
        assert_eq!((outcomes.len(), wrote.matches("MAIL").count()), (1, 1), "{said:?}");
    }
}

#[test]
fn a_letter_that_comes_too_late_is_put_off() {
    let mut client = Client::new(hello());
    client.lost("the line is dead");
    while !matches!(client.step(), Step::Close) {}
    client.begin(request(&["c@d.example", "e@f.example"]));
    let Step::Done(outcome) = client.step() else { panic!("no outcome") };
    assert_eq!(outcome.fates.len(), 2);
    assert_eq!(deferred(&outcome.fates[0]), "the session with the server was over");
    assert!(!outcome.dot_sent && matches!(client.step(), Step::Close));
}

#[test]
fn what_is_said_between_two_letters_ends_the_session() {
    for said in [Some("421 4.4.2 idle for too long\r\n"), Some("2"), None] {
        let mut said_before = ["220 mx\r\n", EHLO].iter();
        let mut client = Client::new(hello());
        while !client.is_ready() {
            if let Step::Read = client.step() {
                client.feed(said_before.next().unwrap().as_bytes());
            }
        }
        match said {
            Some(said) => client.feed(said.as_bytes()),
            None => client.lost("gone"),
        }
        assert!(!client.is_ready() && matches!(client.step(), Step::Close), "{said:?}");
    }
}

#[test]
fn an_answer_to_what_was_not_asked_yet_is_none() {
    let (wrote, outcome) = play(request(&["a@b.example"]), &["220 mx\r\n250 mx\r\n"]);
    assert_eq!(wrote, "");
    assert_eq!(
        deferred(&outcome.fates[0]),
        "the server answered before it was asked, while waiting for the reply to EHLO"
    );
}

proptest! {
    #[test]
    fn sessions_may_be_cut_anywhere(cut in 1usize..40) {
        let said = [
            "220-mx\r\n220 hi\r\n", "250-mx\r\n250-STARTTLS\r\n250 SIZE 10\r\n", "220 2.0.0 go\r\n",
            "250-mx\r\n250-PIPELINING\r\n250 AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n", "334 x\r\n", "235-2.7.0 a\r\n235 2.7.0 b\r\n",
            "250 1\r\n550-5.1.1 n\r\n550 5.1.1 o\r\n554 no\r\n", "250 0\r\n250 1\r\n250 2\r\n354 go\r\n", "250 ok\r\n",
        ];
        let play = |cut| {
            let hello = Hello {
                privacy: Privacy::Demanded,
                login: Some(Login { user: "me".into(), password: "secret".into() }),
                ..hello()
            };
            let mut parts = said.iter().flat_map(|part| part.as_bytes().chunks(cut));
            let requests = vec![request(&["a@b.example"]), request(&["c@d.example"])];
            talk(&mut Client::new(hello), requests, |client| client.feed(parts.next().unwrap()))
        };
        let (wrote, outcomes) = play(cut);
        prop_assert!(accepted(&outcomes[1].as_ref().unwrap().fates[0]));
        prop_assert_eq!((wrote, outcomes), play(usize::MAX));
    }
}
