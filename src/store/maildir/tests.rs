use super::super::letter::{Spill, SpillRoom};
use super::super::tree::{Lookup, Mailbox, Store};
use crate::mail::address::Address;
use crate::store::StoreError;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use tempfile::TempDir;

struct Home {
    top: TempDir,
    mailbox: Mailbox,
    body: Spill,
}

impl Home {
    fn new(mode: u32) -> Home {
        let top = TempDir::new().unwrap();
        let me = top.path().join("mail/example.org/me");
        fs::create_dir_all(&me).unwrap();
        fs::set_permissions(&me, fs::Permissions::from_mode(mode)).unwrap();
        let store = Store::open(&top.path().join("mail"), &top.path().join("state"), "/+").unwrap();
        let address = Address::parse("me@example.org").unwrap();
        let Lookup::Found(mailbox) = store.find(&address).unwrap() else { panic!() };
        let room = SpillRoom::open(&top.path().join("state/spill"), 8, 8).unwrap();
        let mut body = Spill::new(room);
        body.append(b"the body\r\n").unwrap();
        Home { top, mailbox, body }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join("mail/example.org/me").join(name)
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn deliver(&self, name: Option<&str>) -> String {
        self.mailbox.stage(name, b"Subject: hi\r\n\r\n", &self.body).unwrap().commit().unwrap()
    }
}

#[test]
fn a_letter_is_visible_only_after_its_commit() {
    let home = Home::new(0o700);
    let staged = home.mailbox.stage(None, b"Subject: hi\r\n\r\n", &home.body).unwrap();
    assert_eq!((home.names("tmp").len(), home.names("new").len()), (1, 0));
    let name = staged.commit().unwrap();
    assert_eq!((home.names("tmp").len(), home.names("new")), (0, vec![name.clone()]));
    assert_eq!(fs::read(home.path("new").join(&name)).unwrap(), b"Subject: hi\r\n\r\nthe body\r\n");
    assert!(!name.contains(['/', ':']) && !name.starts_with('.'), "{name}");
    assert_ne!(home.deliver(None), name);
    assert_eq!(home.names("new").len(), 2);
}

#[test]
fn a_letter_that_is_not_committed_leaves_nothing() {
    let home = Home::new(0o700);
    drop(home.mailbox.stage(None, b"", &home.body).unwrap());
    drop(home.mailbox.stage(Some("entry.1"), b"", &home.body).unwrap());
    assert_eq!((home.names("tmp").len(), home.names("new").len()), (0, 0));
}

#[test]
fn a_repeat_of_a_named_delivery_is_the_same_file() {
    let home = Home::new(0o700);
    assert_eq!(home.deliver(Some("entry.1")), "entry.1");
    assert_eq!(home.deliver(Some("entry.1")), "entry.1");
    assert_eq!((home.names("new"), home.names("tmp").len()), (vec!["entry.1".to_owned()], 0));
    // A reader took it.
    fs::rename(home.path("new/entry.1"), home.path("cur/entry.1:2,S")).unwrap();
    assert_eq!(home.deliver(Some("entry.1")), "entry.1");
    assert_eq!((home.names("new").len(), home.names("cur")), (0, vec!["entry.1:2,S".to_owned()]));
    assert_eq!(home.deliver(Some("entry.2")), "entry.2");
}

#[test]
fn two_at_once_of_a_named_delivery_are_one_letter() {
    let home = Home::new(0o700);
    let first = home.mailbox.stage(Some("entry.1"), b"", &home.body).unwrap();
    let second = home.mailbox.stage(Some("entry.1"), b"", &home.body).unwrap();
    assert_eq!(home.names("tmp").len(), 2);
    assert_eq!(first.commit().unwrap(), "entry.1");
    assert_eq!(second.commit().unwrap(), "entry.1");
    assert_eq!((home.names("new").len(), home.names("tmp").len()), (1, 0));
}

#[test]
fn what_a_crash_left_in_tmp_is_in_nobodys_way() {
    let home = Home::new(0o700);
    home.mailbox.check_writable(0).unwrap();
    fs::write(home.path("tmp/entry.1"), "half a let").unwrap();
    home.deliver(Some("entry.1"));
    assert_eq!(fs::read(home.path("new/entry.1")).unwrap(), b"Subject: hi\r\n\r\nthe body\r\n");
}

#[test]
fn names_that_are_no_base_names_are_refused() {
    let home = Home::new(0o700);
    for name in ["", ".", "..", ".x", "a/b", "a:2,S", "a\nb", &"x".repeat(201)] {
        assert!(home.mailbox.stage(Some(name), b"", &home.body).is_err(), "{name:?}");
    }
}

#[test]
fn files_take_their_mode_from_the_directory() {
    for (directory, folder, file) in
        [(0o700, 0o700, 0o600), (0o2770, 0o2770, 0o660), (0o2750, 0o2750, 0o640), (0o755, 0o700, 0o600)]
    {
        let home = Home::new(directory);
        let name = home.deliver(None);
        for made in ["tmp", "new", "cur"] {
            let mode = fs::metadata(home.path(made)).unwrap().mode() & 0o7777;
            assert_eq!(mode, folder, "{directory:o}: {made} has {mode:o}");
        }
        let letter = fs::metadata(home.path("new").join(name)).unwrap();
        assert_eq!(letter.mode() & 0o7777, file, "{directory:o}");
        assert_eq!(letter.gid(), fs::metadata(home.path("new")).unwrap().gid());
    }
}

#[test]
fn a_directory_without_room_is_full() {
    let home = Home::new(0o700);
    home.mailbox.check_writable(1).unwrap();
    assert!(matches!(home.mailbox.check_writable(u64::MAX), Err(StoreError::Full { .. })));
}

#[test]
fn a_folder_that_became_a_link_is_not_followed() {
    let home = Home::new(0o700);
    let outside = home.top.path().join("outside");
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, home.path("new")).unwrap();
    assert!(home.mailbox.check_writable(0).is_err());
    assert!(home.mailbox.stage(None, b"", &home.body).is_err());
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn an_address_that_is_removed_after_rcpt_is_a_temporary_fault() {
    let home = Home::new(0o700);
    home.mailbox.check_writable(0).unwrap();
    let staged = home.mailbox.stage(None, b"", &home.body).unwrap();
    fs::remove_dir_all(home.path("")).unwrap();
    assert!(matches!(staged.commit(), Err(StoreError::Io { .. })));
    assert!(matches!(home.mailbox.stage(None, b"", &home.body), Err(StoreError::Io { .. })));
}
