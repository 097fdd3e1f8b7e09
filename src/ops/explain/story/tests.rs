use super::*;

fn story(lines: &[&str]) -> Story {
    let mut story = Story::default();
    story.known_as(&BTreeSet::from(["5f0a1b2c3d4e5f00".to_owned()]));
    lines.iter().for_each(|line| story.add(Line::read(line).unwrap()));
    story
}

/// One line of a story without its id and times.
fn told(line: &str) -> String {
    let text = story(&[line]).to_text();
    let body = text.strip_prefix("letter 5f0a1b2c3d4e5f00\n(no time)  ").unwrap();
    body.split("\n\noutcome").next().unwrap().to_owned()
}

#[test]
fn an_event_is_a_sentence() {
    for (line, sentence) in [
        (
            "accepted id=\"5f0a1b2c3d4e5f00\" door=Mx peer=\"192.0.2.1\" helo=\"mx.there.example\" from=\"\" \
             to=\"me@here.example\" size=485 code=250 reason=\"stored, id 5f0a1b2c3d4e5f00\" verdict=\"junk\" \
             place=\"here.example/me/junk\" note=\"DMARC fail\"",
            "came to the mx door from <> for me@here.example, brought by 192.0.2.1 (calls itself mx.there.example), 485 \
             octets: accepted, 250 stored, id 5f0a1b2c3d4e5f00\n    verdict: junk\n    because: DMARC fail\n    put into: \
             here.example/me/junk",
        ),
        ("committed to the queue id=\"1\" entry=6553f100aaaaaaaaaaaa", "queued as 6553f100aaaaaaaaaaaa"),
        ("delivered id=1 to=\"here.example/me\" recipients=2", "put into here.example/me"),
        (
            "relayed id=1 to=you@there.example by=\"mx [192.0.2.1]: 250 ok\" tls=\"TLSv1.3, DANE\" delay=3 attempts=1",
            "relayed to you@there.example, taken by mx [192.0.2.1]: 250 ok; connection: TLSv1.3, DANE; attempt 1; 3 s \
             after it came",
        ),
        (
            "put off id=1 to=you@there.example reason=\"mx: 450 later\" again_in=300 delay=1 attempts=2",
            "put off for you@there.example: mx: 450 later; again in 5 min; attempt 2",
        ),
        (
            "given up; the sender finds a report in his mailbox id=1 to=you@there.example reason=\"550 no\" delay=1",
            "given up for you@there.example: 550 no; the sender finds a report in his mailbox",
        ),
        (
            "ordered by hand id=1 to=\"you@there.example\" order=Hold fault=\"he is busy\"",
            "ordered by hand for you@there.example: hold; not done, since he is busy",
        ),
        ("something new id=1 to=x error=no such thing", "something new; to x; error no such thing"),
    ] {
        assert_eq!(told(line), sentence);
    }
}

#[test]
fn the_outcome_is_what_the_events_add_up_to() {
    let came = "accepted door=Submission from=\"me@x\" to=\"a@x \\\"b c\\\"@x\" code=250";
    let junk = "accepted door=Mx to=\"a@x b@x\" code=250 verdict=\"junk\"";
    let queued = "committed to the queue id=5f0a1b2c3d4e5f00 entry=6553f100aaaaaaaaaaaa";
    let relayed = "relayed to=a@x by=\"b\"";
    let given_up = "given up; the sender finds a report in his mailbox to=a@x";
    let dropped = "ordered by hand to=\"a@x\" order=Drop";
    let not_dropped = "ordered by hand to=\"a@x\" order=Drop fault=\"busy\"";
    let stored = "delivered to=\"here/a\" recipients=2";
    for (lines, outcome) in [
        (&["accepted door=Mx to=\"a@x\" code=250 verdict=\"accept\""][..], "delivered"),
        (&["accepted door=Mx to=\"a@x\" code=250 verdict=\"junk\""], "junk"),
        (&["refused door=Mx to=\"a@x\" code=550"], "refused"),
        (&["deferred door=Mx to=\"a@x\" code=451"], "deferred"),
        (&["something new"], "unknown"),
        (&[queued, came], "queued"),
        (&[queued, came, relayed], "queued"),
        (&[queued, came, relayed, "put off to=b@x", relayed], "relayed"),
        (&[queued, came, given_up, given_up], "bounced"),
        (&[queued, came, relayed, given_up], "partly"),
        (&[queued, came, not_dropped, not_dropped], "queued"),
        (&[queued, came, dropped, dropped], "dropped"),
        (&[queued, stored, came], "delivered"),
        (&[queued, stored, junk], "junk"),
        (&[queued, junk, "not delivered here; tried again to=a@x error=full"], "queued"),
        // The log does not go back to where it came.
        (&[relayed], "relayed"),
        (&[relayed, "put off to=b@x"], "queued"),
    ] {
        let story = story(lines);
        assert_eq!(story.tally.outcome(), outcome, "{lines:?}");
        assert_eq!(story.to_json()["outcome"], outcome);
    }
}

#[test]
fn a_stranger_cannot_write_on_the_terminal() {
    let long = "x".repeat(5_000);
    let line = format!(
        "{{\"message\":\"refused\",\"id\":\"5f0a1b2c3d4e5f00\",\"helo\":\"a\\u001b[2Jb\\nc\\u202e\",\"peer\":\"1\",\
         \"from\":\"{long}\",\"k\\u001bey\":\"v\\u0007\"}}"
    );
    let story = story(&[&line, "odd\u{7} x=\"\\u{1b}[2J\""]);
    let text = story.to_text();
    assert!(text.contains("calls itself a?[2Jb?c?"), "{text}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.len() < 2_000, "{text}");
    let json = story.to_json();
    assert_eq!(json["events"][0]["fields"]["helo"], "a?[2Jb?c?");
    assert_eq!(json["events"][0]["fields"]["k?ey"], "v?");
    assert_eq!(json["events"][1]["fields"]["x"], "?[2J");
}

#[test]
fn a_very_long_story_has_its_beginning_and_its_end() {
    let lines: Vec<String> = (0..FIRST + LAST + 7).map(|n| format!("put off to=a@x delay={n}")).collect();
    let story = story(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let json = story.to_json();
    let events = json["events"].as_array().unwrap();
    assert_eq!((events.len(), &json["left_out"]), (FIRST + LAST, &7.into()));
    assert_eq!(events[FIRST - 1]["fields"]["delay"], FIRST as u64 - 1);
    assert_eq!(events[FIRST]["fields"]["delay"], FIRST as u64 + 7);
    assert!(story.to_text().contains("\n… 7 events are left out …\n"));
}
