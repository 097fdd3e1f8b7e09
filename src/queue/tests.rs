//! Every state that a crash can leave on disk, built by hand and opened; and the rules of "Once" and "Spent".

use super::*;
use crate::mail::address::Address;
use crate::mail::envelope::{Recipient, ReversePath, Sender};
use crate::store::letter::SpillRoom;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const NOW: i64 = 1_800_000_000;

struct Place {
    dir: tempfile::TempDir,
    room: Arc<SpillRoom>,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let room = SpillRoom::open(&dir.path().join("spill"), 1 << 18, 1 << 20).unwrap();
        Place { dir, room }
    }

    fn open(&self) -> Queue {
        self.open_at(NOW)
    }

    fn open_at(&self, now: i64) -> Queue {
        Queue::open_at(self.dir.path(), now).unwrap()
    }

    fn commit(&self, queue: &Queue, once: Option<Once>, claim: Option<Claim>) -> EntryId {
        let entry = new_entry(once);
        queue.commit(entry, b"Subject: x\r\n\r\nbody\r\n", &Spill::new(self.room.clone()), claim).unwrap()
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside)
    }

    fn names(&self, inside: &str) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path(inside))
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn new_entry(once: Option<Once>) -> NewEntry {
    let recipients = ["a@one.test", "b@two.test"].map(|text| Recipient::new(address(text))).to_vec();
    let sender = Sender::new(ReversePath::Address(address("me@our.test")));
    NewEntry {
        door: Door::Submission,
        arrived: NOW,
        envelope: Envelope { sender, recipients },
        once,
        junk: false,
        received: b"Received: by mx.our.test\r\n".to_vec(),
    }
}

fn sealed(nonce: &str, digest: &str, signatures: &[&str]) -> Once {
    Once { nonce: Some(nonce.into()), ..plain(digest, signatures) }
}

fn plain(digest: &str, signatures: &[&str]) -> Once {
    Once {
        nonce: None,
        digest: digest.into(),
        signatures: signatures.iter().map(|s| s.to_string()).collect(),
    }
}

fn seen(queue: &Queue, once: &Once) -> Seen {
    seen_at(queue, once, NOW)
}

fn seen_at(queue: &Queue, once: &Once, now: i64) -> Seen {
    queue.claim(once, now).unwrap().0
}

fn finish(queue: &Queue, id: &EntryId) {
    let mut entry = queue.load(id).unwrap().unwrap();
    for recipient in &mut entry.recipients {
        recipient.state = State::Delivered { to: "x".into(), tls: None };
    }
    queue.record(&entry).unwrap();
}

fn is_different(seen: &Seen) -> bool {
    matches!(seen, Seen::Different(_))
}

#[test]
fn what_is_committed_is_there_after_a_restart() {
    let place = Place::new();
    let queue = place.open();
    let id = place.commit(&queue, Some(sealed("n", "d", &["s"])), None);
    let entry = queue.load(&id).unwrap().unwrap();
    drop(queue);

    let queue = place.open();
    assert_eq!(queue.entries().unwrap(), std::slice::from_ref(&id));
    assert_eq!(queue.load(&id).unwrap().unwrap(), entry);
    assert_eq!(entry.next_attempt(), Some(0), "due at once");
    assert!(!entry.eight_bit);
    let message = fs::read(place.path(&format!("queue/{id}/message"))).unwrap();
    assert_eq!(message, b"Received: by mx.our.test\r\nSubject: x\r\n\r\nbody\r\n");
    assert_eq!(entry.size, message.len() as u64);
    assert_eq!(id.arrived(), NOW);
}

#[test]
fn nobody_else_can_read_the_queue() {
    let place = Place::new();
    let queue = place.open();
    let id = place.commit(&queue, None, None);
    finish_one(&queue, &id);
    let mode = |inside: &str| fs::metadata(place.path(inside)).unwrap().permissions().mode() & 0o777;
    for directory in ["queue", "incoming", "done", "corrupt", &format!("queue/{id}")] {
        assert_eq!(mode(directory), 0o700, "{directory}");
    }
    for file in ["message", "envelope", "state"] {
        assert_eq!(mode(&format!("queue/{id}/{file}")), 0o600, "{file}");
    }
    assert_eq!(mode("seen"), 0o600);
}

fn finish_one(queue: &Queue, id: &EntryId) -> Entry {
    let mut entry = queue.load(id).unwrap().unwrap();
    entry.recipients[0].state = State::Delivered { to: "mx.one.test: 250 ok".into(), tls: None };
    entry.recipients[1].state = State::Pending { reason: Some("451 later".into()) };
    entry.recipients[1].attempts = 3;
    entry.recipients[1].next_attempt = NOW + 900;
    queue.record(&entry).unwrap();
    entry
}

#[test]
fn a_recorded_state_survives_and_a_torn_replacement_of_it_is_ignored() {
    let place = Place::new();
    let queue = place.open();
    let id = place.commit(&queue, None, None);
    let entry = finish_one(&queue, &id);
    drop(queue);
    fs::write(place.path(&format!("queue/{id}/state.new")), b"{\"version\":1,\"reci").unwrap();

    let queue = place.open();
    assert_eq!(queue.load(&id).unwrap().unwrap(), entry);
    finish_one(&queue, &id);
    assert!(!place.path(&format!("queue/{id}/state.new")).exists());
}

#[test]
fn only_one_process_has_the_queue() {
    let place = Place::new();
    let _queue = place.open();
    let error = Queue::open_at(place.dir.path(), NOW).unwrap_err().to_string();
    assert!(error.contains("another pillarbox"), "{error}");
}

#[test]
fn what_was_not_committed_is_removed_at_the_start() {
    let place = Place::new();
    drop(place.open());
    let leftover = place.path("incoming/6b49d200aaaaaaaaaaaa");
    fs::create_dir(&leftover).unwrap();
    fs::write(leftover.join("message"), b"half").unwrap();
    let queue = place.open();
    assert!(place.names("incoming").is_empty());
    assert!(queue.entries().unwrap().is_empty());
}

#[test]
fn a_finished_entry_is_gone_and_its_marks_are_not() {
    let place = Place::new();
    let queue = place.open();
    let once = sealed("n", "d", &["s"]);
    let id = place.commit(&queue, Some(once.clone()), None);
    finish(&queue, &id);
    assert!(place.names("queue").is_empty() && place.names("done").is_empty());
    assert!(queue.load(&id).unwrap().is_none());
    assert_eq!(seen(&queue, &once), Seen::Same(id.0.clone()));
    drop(queue);
    assert_eq!(seen(&place.open(), &once), Seen::Same(id.0.clone()));
    assert_eq!(seen(&place.open(), &once), Seen::Same(id.0), "and after a second rewriting of the log");
}

#[test]
fn a_crash_between_commit_and_log_loses_no_mark() {
    let place = Place::new();
    let queue = place.open();
    let once = sealed("n", "d", &["s"]);
    let id = place.commit(&queue, Some(once.clone()), None);
    drop(queue);
    fs::remove_file(place.path("seen")).unwrap();
    assert_eq!(seen(&place.open(), &once), Seen::Same(id.0));
}

#[test]
fn a_crash_between_retirement_and_log_loses_no_mark() {
    let place = Place::new();
    let queue = place.open();
    let once = sealed("n", "d", &["s"]);
    let id = place.commit(&queue, Some(once.clone()), None);
    drop(queue);
    fs::remove_file(place.path("seen")).unwrap();
    fs::rename(place.path(&format!("queue/{id}")), place.path(&format!("done/{id}"))).unwrap();
    let queue = place.open();
    assert!(queue.entries().unwrap().is_empty());
    assert!(place.names("done").is_empty());
    assert_eq!(seen(&queue, &once), Seen::Same(id.0));
}

#[test]
fn a_half_removed_entry_is_removed() {
    let place = Place::new();
    drop(place.open());
    let half = place.path("done/6b49d200aaaaaaaaaaaa");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("message"), b"half").unwrap();
    drop(place.open());
    assert!(place.names("done").is_empty());
}

#[test]
fn a_torn_last_line_of_the_log_is_left_out_and_does_not_spoil_the_next() {
    let place = Place::new();
    let queue = place.open();
    let (first, second) = (sealed("n1", "d1", &["s1"]), sealed("n2", "d2", &["s2"]));
    let id = place.commit(&queue, Some(first.clone()), None);
    finish(&queue, &id);
    drop(queue);
    let mut log = fs::read(place.path("seen")).unwrap();
    log.extend_from_slice(b"1 1800000000 6b49d200aaaaaaaaaaaa d2 n2 s");
    fs::write(place.path("seen"), log).unwrap();

    let queue = place.open();
    assert_eq!(seen(&queue, &second), Seen::New);
    let other = place.commit(&queue, Some(second.clone()), None);
    finish(&queue, &other);
    drop(queue);
    let queue = place.open();
    assert_eq!(seen(&queue, &first), Seen::Same(id.0));
    assert_eq!(seen(&queue, &second), Seen::Same(other.0));
}

#[test]
fn damaged_entries_are_set_aside_whole_and_stay_spent() {
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 6] = [
        ("no message", |entry| fs::remove_file(entry.join("message")).unwrap()),
        ("short message", |entry| fs::write(entry.join("message"), b"short").unwrap()),
        ("no envelope", |entry| fs::remove_file(entry.join("envelope")).unwrap()),
        ("zeros for an envelope", |entry| fs::write(entry.join("envelope"), [0; 300]).unwrap()),
        ("torn state", |entry| fs::write(entry.join("state"), b"{\"version\":1,\"recipi").unwrap()),
        ("foreign state", |entry| {
            fs::write(entry.join("state"), b"{\"version\":1,\"recipients\":[]}").unwrap()
        }),
    ];
    for (what, damage) in damages {
        let place = Place::new();
        let queue = place.open();
        let once = sealed("n", "d", &["s"]);
        let id = place.commit(&queue, Some(once.clone()), None);
        let sound = place.commit(&queue, None, None);
        drop(queue);
        damage(&place.path(&format!("queue/{id}")));

        let queue = place.open();
        assert_eq!(queue.entries().unwrap(), [sound], "{what}");
        assert_eq!(place.names("corrupt"), std::slice::from_ref(&id.0), "{what}");
        if !what.contains("envelope") {
            assert_eq!(seen(&queue, &once), Seen::Same(id.0.clone()), "{what}");
        }
    }
}

#[test]
fn an_entry_damaged_while_we_run_is_set_aside_too_and_twice_is_no_collision() {
    let place = Place::new();
    let queue = place.open();
    let id = place.commit(&queue, None, None);
    fs::create_dir(place.path(&format!("corrupt/{id}"))).unwrap();
    fs::write(place.path(&format!("queue/{id}/envelope")), b"{}").unwrap();
    assert!(queue.load(&id).unwrap().is_none());
    assert_eq!(place.names("corrupt").len(), 2);
}

#[test]
fn an_entry_of_a_later_version_is_left_where_it_is() {
    let place = Place::new();
    let queue = place.open();
    let id = place.commit(&queue, None, None);
    drop(queue);
    fs::write(place.path(&format!("queue/{id}/envelope")), b"{\"version\":2,\"new\":true}").unwrap();
    let queue = place.open();
    let error = queue.load(&id).unwrap_err().to_string();
    assert!(error.contains("later pillarbox"), "{error}");
    assert_eq!(place.names("queue"), [id.0]);
}

#[test]
fn a_name_from_outside_is_checked() {
    let place = Place::new();
    let queue = place.open();
    for name in ["..", "../corrupt", "", "6b49d200aaaaaaaaaaaA"] {
        assert!(EntryId::parse(name).is_none());
        assert!(queue.load(&EntryId(name.into())).is_err());
        assert!(queue.open_message(&EntryId(name.into())).is_err());
    }
}

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
    assert_eq!(seen(&queue, &once), Seen::Same(id.0.clone()));
    assert!(is_different(&seen(&queue, &sealed("n", "other", &["s"]))));
    finish(&queue, &id);
    assert_eq!(seen_at(&queue, &once, NOW + 29 * 86400), Seen::Same(id.0));
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
    let same = Seen::Same(id.0.clone());
    assert_eq!(seen_at(&queue, &once, NOW + 86400), same, "the entry lives");
    assert!(is_different(&seen(&queue, &plain("other recipients", &["s"]))));
    finish(&queue, &id);
    assert_eq!(seen_at(&queue, &once, NOW + 600), same);
    assert!(is_different(&seen_at(&queue, &once, NOW + 601)));
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
    assert_eq!(seen_at(&queue, &living, later), Seen::Same(still.0.clone()));
    drop(queue);
    let queue = place.open_at(later);
    assert_eq!(seen_at(&queue, &gone, later), Seen::New);
    assert_eq!(seen_at(&queue, &living, later), Seen::Same(still.0));
}

#[test]
fn a_commit_that_cannot_be_written_leaves_nothing_and_gives_the_claim_back() {
    let place = Place::new();
    let queue = place.open();
    let once = sealed("n", "d", &["s"]);
    let (_, claim) = queue.claim(&once, NOW).unwrap();
    fs::remove_dir(place.path("incoming")).unwrap();
    let spill = Spill::new(place.room.clone());
    assert!(queue.commit(new_entry(Some(once.clone())), b"\r\n", &spill, claim).is_err());
    fs::create_dir(place.path("incoming")).unwrap();
    assert_eq!(seen(&queue, &once), Seen::New);
    assert!(queue.entries().unwrap().is_empty());
}
