use super::super::tree::{Lookup, Mailbox, Store};
use super::Exported;
use crate::mail::address::Address;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use tempfile::TempDir;

struct Server {
    top: TempDir,
    store: Store,
    mailbox: Mailbox,
}

impl Server {
    fn new() -> Server {
        let top = TempDir::new().unwrap();
        let me = top.path().join("mail/example.org/me");
        for folder in ["tmp", "new", "cur"] {
            fs::create_dir_all(me.join(folder)).unwrap();
        }
        let store = Store::open(&top.path().join("mail"), &top.path().join("state"), "/+").unwrap();
        let address = Address::parse("me@example.org").unwrap();
        let Lookup::Found(mailbox) = store.find(&address).unwrap() else { panic!() };
        Server { top, store, mailbox }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join("mail/example.org/me").join(name)
    }

    fn letter(self, name: &str, content: &str) -> Server {
        fs::write(self.path(name), content).unwrap();
        self
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn list(&self) -> Vec<Exported> {
        self.store.export_list(&self.mailbox).unwrap()
    }

    fn content(&self, letter: &Exported) -> Option<String> {
        let mut text = String::new();
        self.store.open_exported(&self.mailbox, letter).unwrap()?.read_to_string(&mut text).unwrap();
        Some(text)
    }

    fn remove(&self, letters: &[Exported]) {
        self.store.remove_exported(&self.mailbox, letters).unwrap();
    }
}

#[test]
fn the_list_has_letters_and_nothing_else() {
    let server = Server::new()
        .letter("new/1.a.host", "one")
        .letter("cur/2.b.host:2,RS", "two!")
        .letter("cur/3.c.host:2,", "")
        .letter("tmp/4.d.host", "half")
        .letter("new/.hidden", "");
    fs::create_dir(server.path("new/directory")).unwrap();
    std::os::unix::fs::symlink("1.a.host", server.path("cur/link")).unwrap();
    let list: Vec<_> = server.list().into_iter().map(|it| (it.base, it.flags, it.in_cur, it.size)).collect();
    assert_eq!(
        list,
        [
            ("1.a.host".to_owned(), None, false, 3),
            ("2.b.host".to_owned(), Some("2,RS".to_owned()), true, 4),
            ("3.c.host".to_owned(), Some("2,".to_owned()), true, 0),
        ]
    );
    assert_eq!(server.mailbox.waiting().unwrap(), 3);
}

#[test]
fn a_mailbox_that_never_had_a_letter_is_empty() {
    let server = Server::new();
    fs::remove_dir_all(server.path("new")).unwrap();
    fs::remove_dir_all(server.path("cur")).unwrap();
    assert_eq!(server.list(), []);
    server.remove(&[]);
}

#[test]
fn a_letter_is_opened_wherever_a_reader_moved_it() {
    let server = Server::new().letter("new/1.a.host", "one").letter("new/2.b.host", "two");
    let list = server.list();
    assert_eq!(server.content(&list[0]).unwrap(), "one");
    server.rename("new/1.a.host", "cur/1.a.host:2,S");
    assert_eq!(server.content(&list[0]).unwrap(), "one");
    server.rename("cur/1.a.host:2,S", "cur/1.a.host:2,RS");
    assert_eq!(server.content(&list[0]).unwrap(), "one");
    fs::remove_file(server.path("cur/1.a.host:2,RS")).unwrap();
    assert_eq!(server.content(&list[0]), None);
    assert_eq!(server.content(&list[1]).unwrap(), "two");
}

#[test]
fn exactly_the_named_letters_are_removed_wherever_they_are() {
    let server = Server::new()
        .letter("new/1.a.host", "one")
        .letter("new/2.b.host", "two")
        .letter("cur/3.c.host:2,S", "three")
        .letter("new/4.d.host", "four");
    let list = server.list();
    server.rename("new/1.a.host", "cur/1.a.host:2,F");
    server.rename("cur/3.c.host:2,S", "cur/3.c.host:2,ST");
    fs::remove_file(server.path("new/2.b.host")).unwrap();
    server.remove(&list[..3]);
    assert_eq!(server.list(), list[3..]);
    server.remove(&list[..3]);
    assert_eq!(server.list(), list[3..]);
}

#[test]
fn another_file_of_the_same_name_or_inode_is_not_the_letter() {
    let server = Server::new().letter("new/1.a.host", "one");
    let list = server.list();
    // The same name, another inode.
    server.rename("new/1.a.host", "tmp/kept");
    fs::write(server.path("new/1.a.host"), "rewritten").unwrap();
    assert_eq!(server.content(&list[0]), None);
    server.remove(&list);
    assert!(server.path("new/1.a.host").exists());
    // The same inode, another name.
    fs::remove_file(server.path("new/1.a.host")).unwrap();
    server.rename("tmp/kept", "new/9.z.host");
    assert_eq!(server.content(&list[0]), None);
    server.remove(&list);
    assert!(server.path("new/9.z.host").exists());
}

#[test]
fn a_name_that_is_not_utf8_is_a_letter_like_any_other() {
    let server = Server::new();
    let odd = std::ffi::OsString::from_vec(b"1.\xff.host:2,S".to_vec());
    fs::write(server.path("cur").join(&odd), "odd").unwrap();
    let list = server.list();
    assert_eq!(server.content(&list[0]).unwrap(), "odd");
    server.remove(&list);
    assert_eq!(server.list(), []);
}

#[test]
fn a_made_up_name_leads_nowhere() {
    let server = Server::new().letter("secret", "secret").letter("new/1.a.host", "one");
    use std::os::unix::fs::MetadataExt;
    let inode = fs::metadata(server.path("secret")).unwrap().ino();
    for base in ["../secret", "..", "/etc/passwd", "", "\0"] {
        let letter = Exported { base: base.to_owned(), flags: None, in_cur: false, size: 6, inode };
        assert_eq!(server.content(&letter), None);
        server.remove(&[letter]);
    }
    assert!(server.path("secret").exists());
}

/// A reader that keeps changing flags must not make a removal succeed without a removal.
#[test]
fn a_letter_that_moves_all_the_time_is_removed_or_reported() {
    for _ in 0..20 {
        let server = Server::new().letter("new/1.a.host", "one");
        let list = server.list();
        let mover = std::thread::spawn({
            let (from, to) = (server.path("new/1.a.host"), server.path("cur/1.a.host:2,S"));
            let again = server.path("cur/1.a.host:2,");
            move || {
                let _ = fs::rename(&from, &to);
                for _ in 0..200 {
                    if fs::rename(&to, &again).is_err() || fs::rename(&again, &to).is_err() {
                        break;
                    }
                }
            }
        });
        let removed = server.store.remove_exported(&server.mailbox, &list);
        mover.join().unwrap();
        assert_eq!(removed.is_ok(), server.list().is_empty());
    }
}
