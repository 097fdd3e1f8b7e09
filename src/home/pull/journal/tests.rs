use super::*;
use std::path::Path;

fn open(directory: &Path) -> Journal {
    let handle = rustix::fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    Journal::open((&handle, directory.to_owned())).unwrap()
}

fn mailbox() -> MailboxId {
    MailboxId::new("server", "example.org/me")
}

fn key(name: &str) -> Key {
    Key::new(mailbox(), name, &[0; 32])
}

#[test]
fn a_key_is_server_mailbox_name_and_content() {
    let other = |server: &str, label: &str, name: &str, octet: u8| {
        Key::new(MailboxId::new(server, label), name, &[octet; 32])
    };
    let keys = [
        other("s", "d/l", "n", 0),
        other("t", "d/l", "n", 0),
        other("s", "d/m", "n", 0),
        other("s", "d/l", "o", 0),
        other("s", "d/l", "n", 1),
    ];
    let distinct: std::collections::HashSet<Key> = keys.into_iter().collect();
    assert_eq!(distinct.len(), keys.len());
}

#[test]
fn what_was_done_is_known_until_it_is_settled_and_after() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path());
    journal.done([(mailbox(), vec![key("a"), key("b")])]).unwrap();
    journal.settled([key("a"), key("never done")]).unwrap();
    drop(journal);
    let journal = open(directory.path());
    assert_eq!(journal.waiting(mailbox()), [key("b")]);
    let mut keys: Vec<Key> = journal.known().chain(journal.remembered()).collect();
    keys.sort();
    let mut expected = vec![key("a"), key("b")];
    expected.sort();
    assert_eq!(keys, expected);
}

#[test]
fn a_torn_end_is_cut_off_and_hurts_nothing_before_or_after() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).done([(mailbox(), vec![key("a")])]).unwrap();
    let path = directory.path().join(NAME);
    let whole = std::fs::read(&path).unwrap();
    let mut more = whole.clone();
    line(&mut more, &Record::Done { mailbox: mailbox(), keys: vec![key("b")] }).unwrap();
    for cut in whole.len()..more.len() - 1 {
        std::fs::write(&path, &more[..cut]).unwrap();
        let mut journal = open(directory.path());
        assert_eq!(journal.known().collect::<Vec<_>>(), [key("a")], "cut at {cut}");
        journal.done([(mailbox(), vec![key("c")])]).unwrap();
        drop(journal);
        assert_eq!(open(directory.path()).known().count(), 2, "cut at {cut}");
    }
}

#[test]
fn memory_has_an_end() {
    let mut state = State::default();
    let old: Vec<Key> = (0..10).map(|n| key(&n.to_string())).collect();
    state.apply(Record::Settled { at: 1_000, keys: old });
    state.forget(1_000 + REMEMBER - 1);
    assert_eq!(state.settled.len(), 10);
    state.forget(1_000 + REMEMBER);
    assert!(state.settled.is_empty());
    for at in 0..3u64 {
        let keys = (0..50_000u64).map(|n| Key(u128::from(at * 50_000 + n))).collect();
        state.apply(Record::Settled { at: 2_000 + at, keys });
    }
    state.forget(3_000);
    assert_eq!(state.settled.len(), REMEMBER_AT_MOST);
    assert!(state.settled.values().all(|at| *at > 2_000), "the oldest go first");
}

#[test]
fn many_pulls_do_not_make_it_grow() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let mut journal = open(directory.path());
        let letters: Vec<IntentLetter> = (0..100)
            .map(|n| IntentLetter {
                key: key(&format!("{round} {n}")),
                staged: "s".repeat(100),
                target: "new/".to_owned() + &"t".repeat(100),
            })
            .collect();
        let keys: Vec<Key> = letters.iter().map(|letter| letter.key).collect();
        let (staging, maildir) = ("/a".into(), "/b".into());
        journal.intend(vec![Intent { mailbox: mailbox(), staging, inode: 1, maildir, letters }]).unwrap();
        journal.done([(mailbox(), keys.clone())]).unwrap();
        journal.settled(keys).unwrap();
    }
    let length = std::fs::metadata(directory.path().join(NAME)).unwrap().len();
    assert!(length < 64 * 1024 + 2 * 40 * 2_000, "{length}");
    assert!(open(directory.path()).intents().is_empty());
}

#[test]
fn a_newer_format_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(NAME), "{\"version\":2}\n{\"what\":1}\n").unwrap();
    let handle =
        rustix::fs::open(directory.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let failure = Journal::open((&handle, directory.path().to_owned())).unwrap_err();
    assert_eq!(failure.exit, Exit::Config);
    assert!(std::fs::read_to_string(directory.path().join(NAME)).unwrap().contains("what"));
}
