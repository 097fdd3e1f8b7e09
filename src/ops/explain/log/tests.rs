use super::*;
use std::io::Write;

const DOOR: &str = "5f0a1b2c3d4e5f00";
const ENTRY: &str = "6553f100aaaaaaaaaaaa";

fn told(text: &[u8], id: &str) -> Vec<String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text).unwrap();
    let (story, _) = follow(Log::open(file.path()).unwrap(), id).unwrap();
    messages(&story)
}

fn once(text: &'static [u8], id: &str) -> Vec<String> {
    let (story, _) = follow(Log::Once(Box::new(text), Path::new("-")), id).unwrap();
    messages(&story)
}

fn messages(story: &Story) -> Vec<String> {
    let json = story.to_json();
    let events = json["events"].as_array().unwrap();
    events.iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_letter_is_followed_under_all_its_ids() {
    let log = format!(
        "delivered id={ENTRY} to=\"a\"\nrefused id=\"aaaaaaaaaaaaaaaa\" reason=\"not {DOOR}\"\n\
         committed to the queue id=\"{DOOR}\" entry={ENTRY}\naccepted id=\"{DOOR}\"\nrelayed id={ENTRY} to=b\n\
         relayed id=6553f100bbbbbbbbbbbb to=b\n"
    );
    let all = ["delivered", "accepted", "committed to the queue", "relayed"];
    assert_eq!(told(log.as_bytes(), DOOR), all);
    assert_eq!(told(log.as_bytes(), ENTRY), all);
    // What can be read once is followed from where the ids are linked.
    assert_eq!(once(log.leak().as_bytes(), DOOR), all[1..]);
    assert!(told(b"", DOOR).is_empty());
}

#[test]
fn lines_that_are_too_long_or_no_text_are_passed_over() {
    let mut log = format!("delivered id={DOOR} to=\"").into_bytes();
    log.resize(LONGEST_LINE as usize * 3 + 5, b'x');
    log.extend_from_slice(b"\n\xff\n");
    log.extend_from_slice(format!("{{\"id\":\"{DOOR}\n").as_bytes());
    let long = "x".repeat(70_000);
    log.extend_from_slice(
        format!("accepted id={DOOR} to=\"{long}\"\nrelayed id={DOOR} by=\"\u{7f}").as_bytes(),
    );
    log.push(0xff);
    assert_eq!(told(&log, DOOR), ["accepted", "relayed"]);
    // Neither does a line that has just the length take the next one with it.
    let mut log = vec![b'x'; LONGEST_LINE as usize - 1];
    log.extend_from_slice(format!("\naccepted id={DOOR}\n").as_bytes());
    assert_eq!(told(&log, DOOR), ["accepted"]);
}

#[test]
fn a_log_cannot_make_us_remember_without_end() {
    let mut log = String::new();
    for n in 0..MOST_IDS as u64 * 3 {
        log.push_str(&format!("the same letter is in the queue, or was id={n:016x} entry={ENTRY}\n"));
    }
    let mut ids = BTreeSet::from([ENTRY.to_owned()]);
    gather(&mut log.as_bytes(), &mut ids, &mut Story::default()).unwrap();
    assert_eq!(ids.len(), MOST_IDS);
}

#[test]
fn only_an_id_is_asked_for() {
    for word in ["", ".*", "me@here.example", "--help", "5f0a1b2c3d4e5f00|x"] {
        let failure = run(&Asked { id: word.into(), file: None }, false).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{word}: {failure}");
    }
    let absent = Asked { id: DOOR.into(), file: Some("/nonexistent/log".into()) };
    let failure = run(&absent, false).unwrap_err();
    assert_eq!(
        (failure.exit, failure.message.as_str()),
        (Exit::NoInput, "/nonexistent/log: No such file or directory")
    );
}
