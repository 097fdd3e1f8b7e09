//! Every state that a crash can leave on disk, built by hand and opened; and the rules of "Once" and "Spent".

use super::*;
use crate::mail::address::{Address, Host};
use crate::mail::envelope::{Recipient, ReversePath, Sender};
use crate::store::letter::SpillRoom;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

mod damage;
mod marks;
mod start;

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
        // A program that another test starts holds the lock, which it inherits, until it is executed.
        for _ in 0..2000 {
            match Queue::open_at(self.dir.path(), now) {
                Err(StoreError::Unsafe(why)) if why.contains("another pillarbox") => {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                opened => return opened.unwrap(),
            }
        }
        panic!("the lock is never given up");
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

/// Replaces what a file holds by what `change` makes of it.
fn change(path: PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = fs::read(&path).unwrap();
    change(&mut content);
    fs::write(path, content).unwrap();
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
    drop(queue);
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
