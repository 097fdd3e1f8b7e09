//! Reports of success, for who asked for them (RFC 3461 section 5.2).

use super::*;

fn wants_success(entry: &mut NewEntry) {
    for recipient in &mut entry.envelope.recipients {
        recipient.notify = Some(Wanted { success: true, ..Wanted::default() });
    }
}

#[tokio::test]
async fn who_wants_to_hear_of_success_hears_of_each_recipient_once() {
    let house = House::new().await;
    house.submit_with(&["x@there.test", "you@our.test"], wants_success);
    house.run_until_quiet().await;
    assert_eq!((house.stranger.letters().len(), house.letters_of("you").len(), house.queued()), (1, 1, 0));
    let mut reports = house.letters_of("me");
    reports.sort_by_key(|text| text.contains("Action: relayed"));
    let [delivered, relayed] = &reports[..] else { panic!("{reports:?}") };
    for words in ["Action: delivered\r\nStatus: 2.1.5\r\n", "Final-Recipient: rfc822; you@our.test\r\n"] {
        assert!(delivered.contains(words), "{delivered}");
    }
    for words in ["Action: relayed\r\nStatus: 2.0.0\r\n", "Final-Recipient: rfc822; x@there.test\r\n"] {
        assert!(relayed.contains(words), "{relayed}");
    }
}

#[tokio::test]
async fn a_repeat_after_a_crash_makes_the_same_report() {
    let house = House::new().await;
    let id = house.submit_with(&["you@our.test"], wants_success);
    let mut entry = house.parts.queue.load(&id).unwrap().unwrap();
    // The record of it is lost both times.
    for _ in 0..2 {
        let mut lost = entry.clone();
        assert!(local::deliver(&house.parts, &mut lost, &[], unix_time()));
    }
    assert!(local::deliver(&house.parts, &mut entry, &[], unix_time()));
    assert_eq!((house.letters_of("you").len(), house.letters_of("me").len()), (1, 1));
}

#[tokio::test]
async fn who_wants_to_hear_of_nothing_hears_nothing() {
    let house = House::new().await;
    house.submit_with(&["x@there.test", "no@there.test", "you@our.test"], |entry| {
        entry.envelope.recipients.iter_mut().for_each(|r| r.notify = Some(Wanted::default()));
    });
    house.run_until_quiet().await;
    assert_eq!((house.letters_of("me").len(), house.queued()), (0, 0));
}
