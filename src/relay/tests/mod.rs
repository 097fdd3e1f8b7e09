//! The relay with a real store and queue, a real resolver, and strangers' servers on loopback.

mod by_hand;
mod reports;
mod schedule;
mod stranger;

use super::*;
use crate::mail::address::Address;
use crate::mail::envelope::{Envelope, Notify as Wanted, Recipient, ReversePath, Sender};
use crate::net::dns::tests::{Authority, a, mx};
use crate::queue::NewEntry;
use crate::smtp::Door;
use std::path::PathBuf;
use std::sync::Mutex;
use stranger::Stranger;
use tokio::net::TcpListener;

struct House {
    dir: tempfile::TempDir,
    _authority: Authority,
    stranger: Stranger,
    parts: Parts,
    stop: watch::Sender<bool>,
}

impl House {
    /// `our.test` has `me` and `you`; `me` also answers to `alias`.
    async fn new() -> House {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("mail");
        for address in ["me", "you"] {
            std::fs::create_dir_all(root.join("our.test").join(address)).unwrap();
        }
        std::os::unix::fs::symlink("me", root.join("our.test/alias")).unwrap();
        let state = dir.path().join("state");
        let authority = Authority::start(&[
            ("there.test.", mx(10, "mx.there.test.")),
            ("mx.there.test.", a("127.0.0.1")),
            ("null.test.", mx(0, ".")),
            ("wide.test.", mx(10, "dead.wide.test.")),
            ("wide.test.", mx(20, "mx.there.test.")),
            ("dead.wide.test.", a("127.9.9.1")),
            ("dead.wide.test.", a("127.9.9.2")),
            ("dead.wide.test.", a("127.9.9.3")),
            ("dead.wide.test.", a("127.9.9.4")),
            ("dead.wide.test.", a("127.9.9.5")),
            ("dead.wide.test.", a("127.9.9.6")),
            ("dead.wide.test.", a("127.9.9.7")),
        ])
        .await;
        let stranger = Stranger::default();
        let mut config = config::Relay { allow_private: true, ..config::Relay::default() };
        config.port = stranger.listen().await;
        let tls = TlsClient::new(None).unwrap();
        let parts = Parts {
            queue: Queue::open(&state).unwrap(),
            store: Store::open(&root, &state, "/+").unwrap(),
            dns: authority.dns.clone(),
            tls: tls.clone(),
            sts: StsCache::open(&state, authority.dns.clone(), tls, &config),
            room: SpillRoom::open(&state.join("spill"), 1 << 18, 1 << 20).unwrap(),
            config,
            hostname: "mx.our.test".into(),
            fresh: Arc::default(),
            halt: Arc::default(),
        };
        House { dir, _authority: authority, stranger, parts, stop: watch::Sender::new(false) }
    }

    fn submit(&self, to: &[&str]) -> EntryId {
        self.submit_with(to, |_| ())
    }

    fn submit_with(&self, to: &[&str], change: impl FnOnce(&mut NewEntry)) -> EntryId {
        let recipients = to.iter().map(|text| Recipient::new(Address::parse(text).unwrap())).collect();
        let sender = Sender::new(ReversePath::Address(Address::parse("me@our.test").unwrap()));
        let mut entry = NewEntry {
            door: Door::Submission,
            arrived: unix_time(),
            envelope: Envelope { sender, recipients },
            once: None,
            junk: false,
            received: b"Received: by mx.our.test\r\n".to_vec(),
        };
        change(&mut entry);
        let head = b"Subject: hello\r\nMessage-ID: <1@our.test>\r\n\r\n";
        let mut body = Spill::new(Arc::clone(&self.parts.room));
        body.append(b"the body\r\n.dot\r\n").unwrap();
        let id = self.parts.queue.commit(entry, head, &body, None).unwrap();
        self.parts.fresh.hand_over(id, None);
        id
    }

    /// Runs the relay until every entry was looked at and nothing is in hand.
    async fn run_until_quiet(&self) {
        let mut desk = desk::Desk::new(self.parts.clone());
        for id in self.parts.queue.entries().unwrap() {
            self.parts.fresh.hand_over(id, None);
        }
        self.run_desk(&mut desk).await;
    }

    async fn run_desk(&self, desk: &mut desk::Desk) {
        loop {
            desk.take_fresh();
            desk.start_due();
            if desk.is_quiet() {
                return;
            }
            desk.step().await;
        }
    }

    fn mailbox(&self, name: &str) -> PathBuf {
        self.dir.path().join("mail/our.test").join(name).join("new")
    }

    fn letters_in(&self, place: PathBuf) -> Vec<String> {
        let Ok(listing) = std::fs::read_dir(place) else { return Vec::new() };
        listing.map(|item| std::fs::read_to_string(item.unwrap().path()).unwrap()).collect()
    }

    fn letters_of(&self, name: &str) -> Vec<String> {
        self.letters_in(self.mailbox(name))
    }

    fn dead_letters(&self) -> Vec<String> {
        self.letters_in(self.dir.path().join("state/dead-letter/new"))
    }

    fn queued(&self) -> usize {
        self.parts.queue.entries().unwrap().len()
    }
}

fn five_days_ago() -> i64 {
    unix_time() - 5 * 86400
}

#[tokio::test]
async fn a_letter_goes_to_everybody_it_is_for() {
    let house = House::new().await;
    house.submit(&["x@there.test", "you@our.test", "y@there.test", "alias@our.test", "me@our.test"]);
    house.run_until_quiet().await;

    let sent = house.stranger.letters();
    assert_eq!(sent.len(), 1, "one transaction for one destination");
    assert_eq!(sent[0].0.len(), 2);
    assert_eq!(
        sent[0].1,
        "Received: by mx.our.test\nSubject: hello\nMessage-ID: <1@our.test>\n\nthe body\n..dot\n"
    );
    let copies = house.letters_of("you");
    assert_eq!(copies.len(), 1);
    assert!(copies[0].starts_with(
        "Return-Path: <me@our.test>\r\nDelivered-To: you@our.test\r\nReceived: by mx.our.test\r\n"
    ));
    assert!(copies[0].ends_with("\r\n\r\nthe body\r\n.dot\r\n"));
    assert_eq!(house.letters_of("me").len(), 1, "one copy per directory, not per address");
    assert_eq!(house.queued(), 0);
}

#[tokio::test]
async fn a_host_with_many_dead_addresses_does_not_hide_the_next_one() {
    let house = House::new().await;
    house.submit(&["friend@wide.test"]);
    house.run_until_quiet().await;
    assert_eq!(house.stranger.letters().len(), 1);
}

#[tokio::test]
async fn copies_here_are_there_when_an_entry_is_accepted() {
    let house = House::new().await;
    let id = house.submit(&["you@our.test", "x@there.test"]);
    house.parts.fresh.take();
    accept(&house.parts, &id);
    assert_eq!(house.letters_of("you").len(), 1);
    house.run_until_quiet().await;
    assert_eq!((house.letters_of("you").len(), house.stranger.letters().len()), (1, 1));
}

#[tokio::test]
async fn each_recipient_has_his_own_fate() {
    let house = House::new().await;
    let id = house.submit(&["ok@there.test", "no@there.test", "later@there.test"]);
    house.run_until_quiet().await;

    let entry = house.parts.queue.load(&id).unwrap().unwrap();
    let [ok, no, later] = entry.recipients.as_slice() else { panic!("{entry:?}") };
    assert!(matches!(&ok.state, State::Delivered { to, .. } if to.contains("2.0.0 taken")), "{ok:?}");
    assert!(matches!(&no.state, State::Failed { reason } if reason.contains("no such user")), "{no:?}");
    assert!(
        matches!(&later.state, State::Pending { reason: Some(why) } if why.contains("greylisted")),
        "{later:?}"
    );
    let wait = later.next_attempt - unix_time();
    assert!(later.attempts == 1 && (200..=300).contains(&wait), "{later:?}");

    let reports = house.letters_of("me");
    assert_eq!(reports.len(), 1);
    for words in [
        "Return-Path: <>\r\n",
        "Delivered-To: me@our.test\r\n",
        "no@there.test",
        "5.1.1",
        "Subject: hello\r\n",
    ] {
        assert!(reports[0].contains(words), "{words}: {}", reports[0]);
    }
    assert!(!reports[0].contains("the body"), "the header only");

    house.run_until_quiet().await;
    assert_eq!(
        house.stranger.letters().len(),
        1,
        "nobody gets it twice, and nobody is asked before his time"
    );
}

#[tokio::test]
async fn a_crash_before_the_state_is_recorded_doubles_no_copy_and_no_report() {
    let house = House::new().await;
    let id = house.submit(&["no@there.test", "you@our.test", "later@there.test"]);
    house.run_until_quiet().await;
    let state = house.dir.path().join(format!("state/state/{id}"));
    std::fs::remove_file(state).unwrap();
    // The owner has read one of them meanwhile.
    for item in std::fs::read_dir(house.mailbox("me")).unwrap() {
        let name = item.unwrap().file_name().into_string().unwrap();
        let cur = house.mailbox("me").parent().unwrap().join("cur").join(format!("{name}:2,S"));
        std::fs::rename(house.mailbox("me").join(&name), cur).unwrap();
    }
    house.run_until_quiet().await;
    assert_eq!(house.letters_of("you").len(), 1);
    assert_eq!(house.letters_of("me").len(), 0, "the report is there already, and read");
}

#[tokio::test]
async fn what_can_never_arrive_comes_back_at_once() {
    let house = House::new().await;
    house.submit(&["x@null.test", "x@nobody.test", "gone@our.test"]);
    house.run_until_quiet().await;
    let reports = house.letters_of("me");
    assert_eq!(reports.len(), 3);
    let all = reports.concat();
    for status in ["Status: 5.1.10\r\n", "Status: 5.1.2\r\n", "Status: 5.1.1\r\n"] {
        assert!(all.contains(status), "{status}: {all}");
    }
    assert_eq!(house.queued(), 0);
}

#[tokio::test]
async fn a_letter_that_is_too_old_comes_back_with_the_last_reason() {
    let house = House::new().await;
    house.submit_with(&["later@there.test"], |entry| entry.arrived = five_days_ago());
    house.run_until_quiet().await;
    let reports = house.letters_of("me");
    assert_eq!(reports.len(), 1);
    assert!(reports[0].contains("Status: 5.4.7\r\n") && reports[0].contains("greylisted"), "{}", reports[0]);
    assert_eq!(house.queued(), 0);
}

#[tokio::test]
async fn the_sender_is_warned_of_a_delay_once() {
    let house = House::new().await;
    let id = house.submit_with(&["later@there.test"], |entry| entry.arrived = unix_time() - 5 * 3600);
    house.run_until_quiet().await;
    let warnings = house.letters_of("me");
    assert!(warnings.len() == 1 && warnings[0].contains("Action: delayed\r\n"), "{warnings:?}");
    let mut entry = house.parts.queue.load(&id).unwrap().unwrap();
    assert!(entry.recipients[0].warned);
    entry.recipients[0].next_attempt = 0;
    house.parts.queue.record(&entry).unwrap();
    std::fs::remove_file(std::fs::read_dir(house.mailbox("me")).unwrap().next().unwrap().unwrap().path())
        .unwrap();
    house.run_until_quiet().await;
    assert!(house.letters_of("me").is_empty());
    assert_eq!(house.parts.queue.load(&id).unwrap().unwrap().recipients[0].attempts, 2);
}

#[tokio::test]
async fn who_wants_no_report_gets_none() {
    let house = House::new().await;
    house.submit_with(&["no@there.test"], |entry| {
        entry.envelope.recipients[0].notify = Some(Wanted::default());
    });
    house.run_until_quiet().await;
    assert!(house.letters_of("me").is_empty());
    assert_eq!(house.queued(), 0);
}

#[tokio::test]
async fn a_report_to_a_sender_who_is_gone_is_a_dead_letter() {
    let house = House::new().await;
    house.submit(&["no@there.test"]);
    std::fs::remove_file(house.dir.path().join("mail/our.test/alias")).unwrap();
    std::fs::remove_dir(house.dir.path().join("mail/our.test/me")).unwrap();
    house.run_until_quiet().await;
    assert_eq!(house.dead_letters().len(), 1);
    assert_eq!(house.queued(), 0);
}

#[tokio::test]
async fn a_strangers_letter_whose_address_is_gone_is_a_dead_letter_and_no_report() {
    let house = House::new().await;
    let to = ["gone@our.test", "me@gone.test", "you@our.test"];
    house.submit_with(&to, |entry| entry.door = Door::Mx);
    house.run_until_quiet().await;
    let dead = house.dead_letters();
    assert!(dead.len() == 1 && dead[0].contains("the body"), "{dead:?}");
    assert_eq!((house.letters_of("you").len(), house.letters_of("me").len()), (1, 0));
}

#[tokio::test]
async fn a_fault_of_the_store_keeps_the_letter_for_ever() {
    let house = House::new().await;
    let id = house.submit_with(&["you@our.test"], |entry| entry.arrived = five_days_ago());
    std::fs::write(house.dir.path().join("mail/our.test/you/new"), "in the way").unwrap();
    house.run_until_quiet().await;
    let entry = house.parts.queue.load(&id).unwrap().unwrap();
    assert!(entry.recipients[0].is_pending() && entry.recipients[0].attempts == 1, "{entry:?}");
    assert!(house.letters_of("me").is_empty());
}

#[tokio::test]
async fn a_host_that_is_not_public_is_not_connected_to() {
    let mut house = House::new().await;
    house.parts.config.allow_private = false;
    let id = house.submit(&["x@there.test", "y@[127.0.0.1]"]);
    house.run_until_quiet().await;
    let entry = house.parts.queue.load(&id).unwrap().unwrap();
    for recipient in &entry.recipients {
        assert!(
            matches!(&recipient.state, State::Pending { reason: Some(why) } if why.contains("not public"))
        );
    }
    assert_eq!(*house.stranger.connections.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_letter_that_is_put_off_does_not_hold_the_others_up() {
    let house = House::new().await;
    // Names sort by time: this one is first in the lane.
    house.submit_with(&["later@there.test"], |entry| entry.arrived -= 10);
    house.submit(&["ok@there.test"]);
    house.run_until_quiet().await;
    assert_eq!((house.stranger.letters().len(), house.queued()), (1, 1));
}

#[tokio::test]
async fn it_runs_until_it_is_stopped_and_takes_what_comes_meanwhile() {
    let house = House::new().await;
    house.submit(&["first@there.test"]);
    let relay = tokio::spawn(run(Relay::open(house.parts.clone()).await, house.stop.subscribe()));
    let arrived = async |count: usize| {
        while house.stranger.letters().len() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), arrived(1)).await.expect("what was queued before");
    house.submit(&["second@there.test"]);
    tokio::time::timeout(Duration::from_secs(20), arrived(2)).await.expect("what was queued meanwhile");
    house.stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(20), relay).await.expect("stops").unwrap();
    assert_eq!(house.queued(), 0, "what was in hand is recorded");
}
