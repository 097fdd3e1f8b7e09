//! Every state that a crash can leave on disk, built by hand and opened; and the rules of "Once" and "Spent".

use super::*;
use crate::mail::address::{Address, Host};
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

    /// One that is committed and whose process is gone.
    fn left(&self, once: Option<Once>) -> EntryId {
        self.commit(&self.open(), once, None)
    }

    fn entry(&self, id: EntryId) -> PathBuf {
        self.path(&format!("queue/{id}"))
    }

    fn state(&self, id: EntryId) -> PathBuf {
        self.path(&format!("state/{id}"))
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

/// What a line in the log makes of it.
fn log_line(left: Left, id: EntryId, once: Option<&Once>) -> String {
    log::line(left, id, once)
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
    assert_eq!(queue.entries().unwrap(), [id]);
    assert_eq!(queue.load(&id).unwrap().unwrap(), entry);
    assert_eq!(entry.next_attempt(), Some(0), "due at once");
    assert!(!entry.eight_bit);
    let message = message_of(queue.open_message(&id).unwrap());
    assert_eq!(message, b"Received: by mx.our.test\r\nSubject: x\r\n\r\nbody\r\n");
    assert_eq!(entry.size, message.len() as u64);
    assert_eq!(id.arrived(), NOW);
}

fn message_of(mut file: File) -> Vec<u8> {
    let mut message = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut message).unwrap();
    message
}

#[test]
fn a_large_envelope_and_a_large_message_are_read_as_they_were_written() {
    let place = Place::new();
    let queue = place.open();
    let mut new = new_entry(None);
    let names = (0..1000).map(|n| address(&format!("recipient-{n}@there.test")));
    new.envelope.recipients = names.map(Recipient::new).collect();
    let mut body = Spill::new(place.room.clone());
    for n in 0..20_000_u32 {
        body.append(format!("line {n} \u{e9}\r\n").as_bytes()).unwrap();
    }
    let id = queue.commit(new.clone(), b"Subject: x\r\n\r\n", &body, None).unwrap();
    drop(queue);

    let queue = place.open();
    let entry = queue.load(&id).unwrap().unwrap();
    assert_eq!(entry.envelope, new.envelope);
    assert!(entry.eight_bit);
    let mut wanted = [&new.received[..], b"Subject: x\r\n\r\n"].concat();
    body.copy_to(&mut wanted).unwrap();
    assert_eq!(entry.size, wanted.len() as u64);
    assert!(message_of(queue.open_message(&id).unwrap()) == wanted);
    let spill = Spill::of_file(place.room.clone(), queue.open_message(&id).unwrap(), entry.size).unwrap();
    let (mut copied, mut read) = (Vec::new(), Vec::new());
    spill.copy_to(&mut copied).unwrap();
    std::io::Read::read_to_end(&mut spill.reader(), &mut read).unwrap();
    assert!(copied == wanted && read == wanted, "a spill of a part of a file");
}

#[test]
fn nobody_else_can_read_the_queue() {
    let place = Place::new();
    let queue = place.open();
    let id = place.commit(&queue, None, None);
    finish_one(&queue, &id);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for directory in ["queue", "state", "corrupt"] {
        assert_eq!(mode(place.path(directory)), 0o700, "{directory}");
    }
    for file in [place.entry(id), place.state(id), place.path("seen")] {
        assert_eq!(mode(file.clone()), 0o600, "{}", file.display());
    }
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
fn a_recorded_state_survives_and_a_torn_replacement_of_it_is_removed() {
    let place = Place::new();
    let queue = place.open();
    let id = place.commit(&queue, None, None);
    assert!(!place.state(id).exists(), "nobody was tried yet");
    let entry = finish_one(&queue, &id);
    drop(queue);
    fs::write(place.path(&format!("state/{id}.new")), b"{\"version\":1,\"reci").unwrap();

    let queue = place.open();
    assert_eq!(queue.load(&id).unwrap().unwrap(), entry);
    assert_eq!(place.names("state"), [id.to_string()]);
}

#[test]
fn a_held_recipient_is_pending_and_never_due() {
    let place = Place::new();
    let queue = place.open();
    let id = place.commit(&queue, None, None);
    let mut entry = finish_one(&queue, &id);
    entry.recipients[1].held = true;
    queue.record(&entry).unwrap();
    assert!(!entry.is_finished());
    assert_eq!(entry.next_attempt(), None);
    assert!(!entry.recipients[1].is_due(NOW + 900));
    drop(queue);
    assert_eq!(place.open().load(&id).unwrap().unwrap(), entry);
    entry.recipients[1].held = false;
    assert!(entry.recipients[1].is_due(NOW + 900) && !entry.recipients[1].is_due(NOW + 899));
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
    fs::write(place.path("queue/6b49d200aaaaaaaaaaaa.new"), b"half").unwrap();
    let queue = place.open();
    assert!(place.names("queue").is_empty());
    assert!(queue.entries().unwrap().is_empty() && queue.take_backlog().is_empty());
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let place = Place::new();
    drop(place.open());
    for name in ["queue/notes", "queue/notes.new", "state/6b49d200aaaaaaaaaaa"] {
        fs::write(place.path(name), b"?").unwrap();
    }
    assert!(place.open().entries().unwrap().is_empty());
    assert_eq!(place.names("queue"), ["notes", "notes.new"]);
    assert_eq!(place.names("state").len(), 1);
}

#[test]
fn a_finished_entry_is_gone_and_its_marks_are_not() {
    let place = Place::new();
    let queue = place.open();
    let once = sealed("n", "d", &["s"]);
    let id = place.commit(&queue, Some(once.clone()), None);
    finish_one(&queue, &id);
    finish(&queue, &id);
    assert!(place.names("queue").is_empty() && place.names("state").is_empty());
    assert!(queue.load(&id).unwrap().is_none());
    assert_eq!(seen(&queue, &once), Seen::Same(id));
    drop(queue);
    assert_eq!(seen(&place.open(), &once), Seen::Same(id));
    assert_eq!(seen(&place.open(), &once), Seen::Same(id), "and after a second rewriting of the log");
}

#[test]
fn a_lost_log_takes_no_mark_of_what_is_queued_along() {
    let place = Place::new();
    let once = sealed("n", "d", &["s"]);
    let id = place.left(Some(once.clone()));
    fs::remove_file(place.path("seen")).unwrap();
    assert_eq!(seen(&place.open(), &once), Seen::Same(id));
}

#[test]
fn a_finished_entry_whose_file_is_there_is_removed_at_the_start() {
    for once in [Some(sealed("n", "d", &["s"])), None] {
        let place = Place::new();
        let queue = place.open();
        let id = place.commit(&queue, once.clone(), None);
        finish_one(&queue, &id);
        let kept = [place.entry(id), place.state(id)].map(|path| (fs::read(&path).unwrap(), path));
        finish(&queue, &id);
        drop(queue);
        // What a power cut makes of an unlink that was not made durable.
        for (content, path) in kept {
            fs::write(path, content).unwrap();
        }
        let queue = place.open_at(NOW + 40 * 86400);
        assert!(queue.entries().unwrap().is_empty() && queue.take_backlog().is_empty());
        assert!(place.names("queue").is_empty() && place.names("state").is_empty());
        if let Some(once) = once {
            drop(queue);
            assert_eq!(seen(&place.open(), &once), Seen::New, "its marks were too old");
        }
    }
}

#[test]
fn a_finished_entry_that_could_not_be_removed_is_no_entry_any_more() {
    let place = Place::new();
    let queue = place.open();
    let id = place.commit(&queue, None, None);
    let content = fs::read(place.entry(id)).unwrap();
    finish(&queue, &id);
    fs::write(place.entry(id), content).unwrap();
    assert!(queue.load(&id).unwrap().is_none());
    assert!(queue.entries().unwrap().is_empty());
}

#[test]
fn a_state_without_an_entry_is_removed_at_the_start() {
    let place = Place::new();
    drop(place.open());
    fs::write(place.path("state/6b49d200aaaaaaaaaaaa"), b"{\"version\":1,\"recipients\":[]}").unwrap();
    drop(place.open());
    assert!(place.names("state").is_empty());
}

#[test]
fn a_line_for_an_entry_without_marks_is_gone_after_the_next_start() {
    let place = Place::new();
    let queue = place.open();
    let (plain, marked) =
        (place.commit(&queue, None, None), place.commit(&queue, Some(sealed("n", "d", &["s"])), None));
    finish(&queue, &plain);
    finish(&queue, &marked);
    drop(queue);
    let log = fs::read_to_string(place.path("seen")).unwrap();
    assert!(log.contains(&log_line(Left::Finished, plain, None)), "{log}");
    drop(place.open());
    let log = fs::read_to_string(place.path("seen")).unwrap();
    assert_eq!(log, log_line(Left::Finished, marked, Some(&sealed("n", "d", &["s"]))));
}

#[test]
fn a_torn_last_line_of_the_log_is_left_out_and_does_not_spoil_the_next() {
    let place = Place::new();
    let queue = place.open();
    let (first, second) = (sealed("n1", "d1", &["s1"]), sealed("n2", "d2", &["s2"]));
    let id = place.commit(&queue, Some(first.clone()), None);
    finish(&queue, &id);
    drop(queue);
    let still = place.left(None);
    let torn = log_line(Left::Finished, still, None);
    let mut log = fs::read(place.path("seen")).unwrap();
    log.extend_from_slice(&torn.as_bytes()[..torn.len() - 3]);
    fs::write(place.path("seen"), log).unwrap();

    let queue = place.open();
    assert_eq!(queue.entries().unwrap(), [still], "what is not known to be finished is not");
    assert_eq!(seen(&queue, &second), Seen::New);
    let other = place.commit(&queue, Some(second.clone()), None);
    finish(&queue, &other);
    drop(queue);
    let queue = place.open();
    assert_eq!(seen(&queue, &first), Seen::Same(id));
    assert_eq!(seen(&queue, &second), Seen::Same(other));
}

#[test]
fn a_log_that_was_being_rewritten_is_overwritten() {
    let place = Place::new();
    let queue = place.open();
    let once = sealed("n", "d", &["s"]);
    let id = place.commit(&queue, Some(once.clone()), None);
    finish(&queue, &id);
    drop(queue);
    let still = place.left(None);
    fs::write(place.path("seen.new"), log_line(Left::Finished, still, None)).unwrap();
    let queue = place.open();
    assert_eq!(queue.entries().unwrap(), [still]);
    assert_eq!(seen(&queue, &once), Seen::Same(id));
    assert!(!place.path("seen.new").exists());
}

/// Replaces what a file holds by what `change` makes of it.
fn change(path: PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = fs::read(&path).unwrap();
    change(&mut content);
    fs::write(path, content).unwrap();
}

type Damage = fn(&Place, EntryId);

/// What is wrong, how it came to be so, and whether the marks can still be read.
const DAMAGES: [(&str, Damage, bool); 11] = [
    ("empty", |place, id| change(place.entry(id), Vec::clear), false),
    ("short message", |place, id| change(place.entry(id), |text| text.truncate(text.len() - 1)), true),
    ("long message", |place, id| change(place.entry(id), |text| text.push(b'x')), true),
    ("half of the envelope", |place, id| change(place.entry(id), |text| text.truncate(150)), false),
    ("zeros for everything", |place, id| change(place.entry(id), |text| text.fill(0)), false),
    ("zeros for the first line", |place, id| change(place.entry(id), |text| text[..73].fill(0)), true),
    ("one bit in the first line", |place, id| change(place.entry(id), |text| text[37] ^= 1), true),
    (
        "one bit in the envelope",
        |place, id| {
            change(place.entry(id), |text| {
                let at = text.windows(8).position(|eight| eight == b"two.test").unwrap();
                text[at] ^= 1;
            });
        },
        true,
    ),
    (
        "the file of another entry",
        |place, id| {
            let other = place.left(Some(sealed("n", "d", &["s"])));
            fs::rename(place.entry(other), place.entry(id)).unwrap();
        },
        true,
    ),
    ("torn state", |place, id| fs::write(place.state(id), b"{\"version\":1,\"recipi").unwrap(), true),
    (
        "foreign state",
        |place, id| fs::write(place.state(id), b"{\"version\":1,\"recipients\":[]}").unwrap(),
        true,
    ),
];

#[test]
fn damaged_entries_are_set_aside_whole_and_stay_spent() {
    for (what, damage, readable) in DAMAGES {
        let place = Place::new();
        let once = sealed("n", "d", &["s"]);
        let id = place.left(Some(once.clone()));
        let sound = place.left(None);
        damage(&place, id);
        let content = fs::read(place.entry(id)).unwrap();

        for start in ["first", "second"] {
            let queue = place.open();
            assert_eq!(queue.entries().unwrap(), [sound], "{what}");
            assert!(queue.load(&id).unwrap().is_none(), "{what}");
            assert_eq!(fs::read(place.path(&format!("corrupt/{id}"))).unwrap(), content, "{what}");
            let state = place.path(&format!("corrupt/{id}.state"));
            assert_eq!(state.exists(), what.ends_with("state"), "{what}");
            assert!(place.names("state").is_empty(), "{what}");
            let wanted = if readable { Seen::Same(id) } else { Seen::New };
            assert_eq!(seen(&queue, &once), wanted, "{what}, {start} start");
        }
    }
}

#[test]
fn a_damaged_entry_that_somebody_repairs_and_puts_back_is_not_taken_for_finished() {
    let place = Place::new();
    let once = sealed("n", "d", &["s"]);
    let id = place.left(Some(once.clone()));
    let whole = fs::read(place.entry(id)).unwrap();
    change(place.entry(id), |text| text.truncate(text.len() - 1));
    drop(place.open());
    assert!(place.names("queue").is_empty());
    fs::write(place.entry(id), whole).unwrap();
    let queue = place.open();
    assert_eq!(queue.entries().unwrap(), [id]);
    assert_eq!(seen(&queue, &once), Seen::Same(id));
}

#[test]
fn an_entry_damaged_while_we_run_is_set_aside_too_and_twice_is_no_collision() {
    for (what, damage, readable) in DAMAGES {
        // Of another one that is queued the queue would have to be open twice.
        if what.contains("another") {
            continue;
        }
        let place = Place::new();
        let queue = place.open();
        let once = sealed("n", "d", &["s"]);
        let id = place.commit(&queue, Some(once.clone()), None);
        fs::write(place.path(&format!("corrupt/{id}")), b"an earlier one").unwrap();
        damage(&place, id);
        assert!(queue.load(&id).unwrap().is_none(), "{what}");
        assert!(place.names("queue").is_empty() && place.names("state").is_empty(), "{what}");
        assert_eq!(place.names("corrupt").len(), 2 + usize::from(what.ends_with("state")), "{what}");
        assert_eq!(seen(&queue, &once), Seen::Same(id), "{what}");
        drop(queue);
        if readable {
            assert_eq!(seen(&place.open(), &once), Seen::Same(id), "{what}");
        }
    }
}

#[test]
fn the_state_of_an_entry_that_was_being_set_aside_goes_where_it_is() {
    let place = Place::new();
    let queue = place.open();
    let id = place.commit(&queue, None, None);
    finish_one(&queue, &id);
    drop(queue);
    fs::rename(place.entry(id), place.path(&format!("corrupt/{id}"))).unwrap();
    drop(place.open());
    assert_eq!(place.names("corrupt"), [id.to_string(), format!("{id}.state")]);
    assert!(place.names("state").is_empty());
}

#[test]
fn an_entry_of_a_later_version_is_left_where_it_is() {
    let later: [Damage; 2] = [
        |place, id| change(place.entry(id), |text| text[10] = b'2'),
        |place, id| fs::write(place.state(id), b"{\"version\":2,\"new\":true}").unwrap(),
    ];
    for make_later in later {
        let place = Place::new();
        let queue = place.open();
        let id = place.commit(&queue, None, None);
        finish_one(&queue, &id);
        drop(queue);
        make_later(&place, id);
        let queue = place.open();
        let error = queue.load(&id).unwrap_err().to_string();
        assert!(error.contains("later pillarbox"), "{error}");
        assert!(queue.take_backlog().is_empty());
        assert_eq!(place.names("queue"), [id.to_string()]);
        assert_eq!(place.names("state"), [id.to_string()]);
    }
}

#[test]
fn an_entry_that_cannot_be_read_is_left_where_it_is_and_said_to_wait() {
    let place = Place::new();
    drop(place.open());
    let id = EntryId::parse("6b49d200aaaaaaaaaaaa").unwrap();
    // What opens and gives an error when it is read: EISDIR here, EIO on a failing disk.
    fs::create_dir(place.entry(id)).unwrap();
    fs::write(place.state(id), b"{}").unwrap();
    let queue = place.open();
    assert!(queue.load(&id).is_err());
    assert_eq!(queue.entries().unwrap(), [id]);
    let waiting = Waiting { id, arrived: id.arrived(), warned: false, parts: Vec::new() };
    assert_eq!(queue.take_backlog(), [waiting]);
    assert!(place.state(id).exists());
}

#[test]
fn what_an_entry_spent_is_known_again_when_it_can_be_read_again() {
    let place = Place::new();
    let once = sealed("n", "d", &["s"]);
    let id = place.left(Some(once.clone()));
    let content = fs::read(place.entry(id)).unwrap();
    fs::remove_file(place.entry(id)).unwrap();
    fs::create_dir(place.entry(id)).unwrap();
    let queue = place.open();
    fs::remove_dir(place.entry(id)).unwrap();
    fs::write(place.entry(id), content).unwrap();
    assert!(queue.load(&id).unwrap().is_some());
    assert_eq!(seen(&queue, &once), Seen::Same(id));
}

#[test]
fn the_backlog_says_where_letters_go_and_when_and_says_it_once() {
    let place = Place::new();
    let queue = place.open();
    let mut new = new_entry(None);
    let to = ["a@one.test", "b@two.test", "c@one.test", "d@one.test", "e@two.test"];
    new.envelope.recipients = to.map(|text| Recipient::new(address(text))).to_vec();
    let id = queue.commit(new, b"\r\n", &Spill::new(place.room.clone()), None).unwrap();
    let mut entry = queue.load(&id).unwrap().unwrap();
    for (at, recipient) in entry.recipients.iter_mut().enumerate() {
        recipient.next_attempt = 500 - at as i64;
        recipient.warned = true;
    }
    entry.recipients[3].held = true;
    entry.recipients[4].state = State::Failed { reason: "no".into() };
    entry.recipients[4].warned = false;
    queue.record(&entry).unwrap();
    let fresh = place.commit(&queue, None, None);
    assert!(queue.take_backlog().is_empty(), "of this run");
    drop(queue);

    let queue = place.open();
    let backlog = queue.take_backlog();
    assert!(queue.take_backlog().is_empty());
    let mut ids = [id, fresh];
    ids.sort_unstable();
    assert_eq!(backlog.iter().map(|waiting| waiting.id).collect::<Vec<_>>(), ids);
    let of = |id| backlog.iter().find(|waiting| waiting.id == id).unwrap();
    let [one, two] = ["one.test", "two.test"].map(|host| Arc::new(Host::parse(host).unwrap()));
    let part = |host: &Arc<Host>, next_attempt, held| Part { host: Arc::clone(host), next_attempt, held };
    assert_eq!(of(id).parts, [part(&one, 498, false), part(&two, 499, false), part(&one, 497, true)]);
    assert!(of(id).warned && of(id).arrived == NOW);
    assert_eq!(of(fresh).parts, [part(&one, 0, false), part(&two, 0, false)]);
    assert!(!of(fresh).warned);
    assert!(Arc::ptr_eq(&of(id).parts[0].host, &of(fresh).parts[0].host), "one for all");
}

#[test]
fn who_looks_sees_everything_and_changes_nothing() {
    let place = Place::new();
    let nothing = Queue::look(&place.path("nowhere"));
    assert!(nothing.entries().unwrap().is_empty());
    let queue = place.open();
    let id = place.commit(&queue, None, None);
    let entry = finish_one(&queue, &id);
    let [damaged, later] = [(); 2].map(|()| place.commit(&queue, None, None));
    change(place.entry(damaged), |text| text.truncate(text.len() - 1));
    change(place.entry(later), |text| text[10] = b'2');
    fs::write(place.path("queue/6b49d200aaaaaaaaaaaa.new"), b"half").unwrap();
    let before = ["queue", "state", "corrupt"].map(|directory| place.names(directory));

    let look = Queue::look(place.dir.path());
    let mut ids = [id, damaged, later];
    ids.sort_unstable();
    assert_eq!(look.entries().unwrap(), ids);
    assert!(matches!(look.load(id), Ok(Some(Looked::Entry(seen))) if *seen == entry));
    assert!(matches!(look.load(damaged), Ok(Some(Looked::Damaged(why))) if why.contains("octets")));
    assert!(look.load(later).unwrap_err().to_string().contains("later pillarbox"));
    assert!(message_of(look.open_message(id).unwrap()).ends_with(b"body\r\n"));
    finish(&queue, &id);
    assert!(look.load(id).unwrap().is_none(), "it is gone meanwhile");
    fs::write(place.state(id), "").unwrap();
    let after = ["queue", "state", "corrupt"].map(|directory| place.names(directory));
    assert_eq!(before[1..], after[1..]);
    assert_eq!(before[0].len(), after[0].len() + 1);
}

#[test]
fn many_who_commit_record_and_finish_at_once_do_not_disturb_each_other() {
    const MANY: usize = 16;
    let place = Place::new();
    let queue = place.open();
    let each = |who: usize| {
        let once = sealed(&format!("n{who}"), "d", &[&format!("s{who}")]);
        let ids = [(); 3].map(|()| place.commit(&queue, Some(once.clone()), None));
        finish(&queue, &ids[0]);
        let entry = finish_one(&queue, &ids[1]);
        finish(&queue, &ids[2]);
        (ids, once, entry)
    };
    let done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..MANY).map(|who| scope.spawn(move || each(who))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    drop(queue);
    let queue = place.open();
    assert_eq!(queue.entries().unwrap().len(), MANY);
    for (ids, once, entry) in done {
        assert_eq!(queue.load(&ids[1]).unwrap(), Some(entry));
        let Seen::Same(id) = seen(&queue, &once) else { panic!("marks are lost") };
        assert!(ids.contains(&id));
    }
}

#[test]
fn more_entries_than_one_reader_takes_are_all_read() {
    let place = Place::new();
    let queue = place.open();
    let once = |n: usize| sealed(&format!("n{n}"), "d", &[&format!("s{n}")]);
    let ids: Vec<_> = (0..300).map(|n| place.commit(&queue, Some(once(n)), None)).collect();
    drop(queue);
    let queue = place.open();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(queue.entries().unwrap(), sorted);
    assert_eq!(queue.take_backlog().into_iter().map(|waiting| waiting.id).collect::<Vec<_>>(), sorted);
    for (n, id) in ids.into_iter().enumerate() {
        assert_eq!(seen(&queue, &once(n)), Seen::Same(id));
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

#[test]
fn a_commit_that_cannot_be_written_leaves_nothing_and_gives_the_claim_back() {
    let place = Place::new();
    let queue = place.open();
    let once = sealed("n", "d", &["s"]);
    let (_, claim) = queue.claim(&once, NOW).unwrap();
    fs::remove_dir(place.path("queue")).unwrap();
    let spill = Spill::new(place.room.clone());
    assert!(queue.commit(new_entry(Some(once.clone())), b"\r\n", &spill, claim).is_err());
    fs::create_dir(place.path("queue")).unwrap();
    assert_eq!(seen(&queue, &once), Seen::New);
    assert!(queue.entries().unwrap().is_empty());
}
