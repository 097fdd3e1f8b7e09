//! The rules of "Once" and "Spent".

use super::*;

#[test]
fn a_nonce_counts_once() {
    let place = Place::new();
    let queue = place.open();
    let once = sealed("n", "d", &["s"]);
    let (seen_first, claim) = queue.claim(&once, NOW).unwrap();
    assert_eq!(seen_first, Seen::New);
    assert_eq!(seen(&queue, &once), Seen::InFlight);
    assert_eq!(seen(&queue, &sealed("n", "other", &["t"])), Seen::InFlight, "the nonce is held");
    assert_eq!(seen(&queue, &sealed("m", "other", &["s"])), Seen::InFlight, "the signature is held");
    let id = place.commit(&queue, Some(once.clone()), claim);
    assert_eq!(seen(&queue, &once), Seen::Same(id));
    assert!(is_different(&seen(&queue, &sealed("n", "other", &["s"]))));
    finish(&queue, &id);
    assert_eq!(seen_at(&queue, &once, NOW + 29 * 86400), Seen::Same(id));
}

#[test]
fn a_claim_that_is_dropped_gives_its_marks_back() {
    let place = Place::new();
    let queue = place.open();
    let once = sealed("n", "d", &["s"]);
    drop(queue.claim(&once, NOW).unwrap());
    assert_eq!(seen(&queue, &once), Seen::New);
}

#[test]
fn any_one_signature_of_a_letter_is_spent_by_its_commit() {
    let place = Place::new();
    let queue = place.open();
    place.commit(&queue, Some(sealed("n", "d", &["rsa", "ed"])), None);
    assert!(is_different(&seen(&queue, &sealed("m", "d", &["ed"]))), "another nonce, the same content");
    assert!(is_different(&seen(&queue, &plain("d", &["rsa"]))), "nor as a plain submission");
    assert_eq!(seen(&queue, &sealed("m", "d", &["third"])), Seen::New);
}

#[test]
fn a_plain_repeat_is_answered_while_its_entry_lives_or_for_ten_minutes() {
    let place = Place::new();
    let queue = place.open();
    let once = plain("d", &["s"]);
    let id = place.commit(&queue, Some(once.clone()), None);
    let same = Seen::Same(id);
    assert_eq!(seen_at(&queue, &once, NOW + 86400), same, "the entry lives");
    assert!(is_different(&seen(&queue, &plain("other recipients", &["s"]))));
    finish(&queue, &id);
    assert_eq!(seen_at(&queue, &once, NOW + 600), same);
    assert!(is_different(&seen_at(&queue, &once, NOW + 601)));
}

#[test]
fn a_clock_that_was_ahead_once_does_not_keep_marks_for_ever() {
    let place = Place::new();
    let queue = place.open();
    assert_eq!(seen_at(&queue, &sealed("n1", "d1", &["s1"]), NOW + 3650 * 86400), Seen::New);
    let once = sealed("n2", "d2", &["s2"]);
    let id = place.commit(&queue, Some(once.clone()), None);
    finish(&queue, &id);
    assert_eq!(seen_at(&queue, &once, NOW + 31 * 86400), Seen::New);
}

#[test]
fn marks_are_forgotten_after_thirty_days_unless_the_entry_lives() {
    let place = Place::new();
    let queue = place.open();
    let (gone, living) = (sealed("n1", "d1", &["s1"]), sealed("n2", "d2", &["s2"]));
    let id = place.commit(&queue, Some(gone.clone()), None);
    let still = place.commit(&queue, Some(living.clone()), None);
    finish(&queue, &id);
    let later = NOW + 31 * 86400;
    assert_eq!(seen_at(&queue, &gone, later), Seen::New);
    assert_eq!(seen_at(&queue, &living, later), Seen::Same(still));
    drop(queue);
    let queue = place.open_at(later);
    assert_eq!(seen_at(&queue, &gone, later), Seen::New);
    assert_eq!(seen_at(&queue, &living, later), Seen::Same(still));
}
