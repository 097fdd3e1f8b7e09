use super::{ChangeError, Created, DomainLeft, Removed};
use crate::mail::address::{Address, Domain};
use crate::store::StoreError;
use crate::store::letter::{Spill, SpillRoom};
use crate::store::tree::{Lookup, Mailbox, Store};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use tempfile::TempDir;

struct Tree {
    top: TempDir,
    store: Store,
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

impl Tree {
    fn new() -> Tree {
        let top = TempDir::new().unwrap();
        fs::create_dir(top.path().join("mail")).unwrap();
        let store = Store::open(&top.path().join("mail"), &top.path().join("state"), "/+").unwrap();
        Tree { top, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join("mail").join(name)
    }

    fn add(&self, text: &str) -> Result<Created, ChangeError> {
        self.store.create_address(&address(text))
    }

    fn link(&self, alias: &str, target: &str) -> Result<Created, ChangeError> {
        self.store.link(&address(alias), &address(target))
    }

    fn remove(&self, text: &str) -> Result<Removed, ChangeError> {
        self.store.remove_address(&address(text), &["postmaster", "abuse"])
    }

    fn mailbox(&self, text: &str) -> Option<Mailbox> {
        match self.store.find(&address(text)).unwrap() {
            Lookup::Found(mailbox) => Some(mailbox),
            _ => None,
        }
    }

    fn stage(&self, mailbox: &Mailbox) -> crate::store::maildir::Staged {
        let body = Spill::new(SpillRoom::open(&self.top.path().join("state/spill"), 9, 9).unwrap());
        mailbox.stage(None, b"", &body).unwrap()
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(change: Result<T, ChangeError>, word: &str) {
    match change {
        Err(ChangeError::Refused(text)) => assert!(text.contains(word), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_that_was_made_takes_letters_at_once() {
    let tree = Tree::new();
    assert!(matches!(tree.store.check(), Err(StoreError::WrongRoot(_))));
    assert_eq!(tree.add("Me@Example.org").unwrap(), Created { first_of_domain: true });
    assert_eq!(tree.add("you@example.org").unwrap(), Created { first_of_domain: false });
    for name in
        ["example.org", "example.org/me", "example.org/me/tmp", "example.org/me/new", "example.org/me/cur"]
    {
        assert_eq!(fs::metadata(tree.path(name)).unwrap().mode() & 0o7777, 0o700, "{name}");
    }
    let me = tree.mailbox("me@example.org").unwrap();
    tree.stage(&me).commit().unwrap();
    assert_eq!(me.waiting().unwrap(), 1);
}

#[test]
fn a_topic_is_made_below_its_address() {
    let tree = Tree::new();
    refused(tree.add("me/lists@example.org"), "make it first");
    tree.add("me@example.org").unwrap();
    tree.add("me/Lists@example.org").unwrap();
    tree.add("me+literal@example.org").unwrap();
    assert!(tree.path("example.org/me/lists/new").is_dir());
    assert!(tree.path("example.org/me+literal/new").is_dir());
}

#[test]
fn what_cannot_be_an_address_is_refused() {
    let tree = Tree::new();
    tree.add("me@example.org").unwrap();
    for local in ["new", "\"..\"", "\".hidden\"", "me/new", "me/a/b", "\"me/..\""] {
        refused(tree.add(&format!("{local}@example.org")), "no directory can have that name");
    }
    refused(tree.add("me@example.org"), "already there");
    fs::write(tree.path("example.org/mbox"), "").unwrap();
    refused(tree.add("mbox@example.org"), "already there");
    fs::create_dir(tree.path("example.org/Boss")).unwrap();
    assert!(matches!(tree.add("boss@example.org"), Err(ChangeError::Store(StoreError::Unsafe(_)))));
}

#[test]
fn nothing_is_made_in_another_root_than_the_remembered_one() {
    let tree = Tree::new();
    tree.add("me@example.org").unwrap();
    tree.store.check().unwrap();
    fs::rename(tree.path(""), tree.top.path().join("away")).unwrap();
    fs::create_dir(tree.path("")).unwrap();
    assert!(matches!(tree.add("you@example.org"), Err(ChangeError::Store(StoreError::WrongRoot(_)))));
    assert_eq!(fs::read_dir(tree.path("")).unwrap().count(), 0);
}

#[test]
fn the_first_address_in_a_bare_domain_is_its_first() {
    let tree = Tree::new();
    tree.add("me@example.org").unwrap();
    tree.remove("me@example.org").unwrap();
    assert_eq!(tree.add("me@example.org").unwrap(), Created { first_of_domain: true });
    assert_eq!(tree.add("you@example.org").unwrap(), Created { first_of_domain: false });
}

#[test]
fn aliases_are_relative_and_lead_where_they_say() {
    let tree = Tree::new();
    tree.add("me@example.org").unwrap();
    tree.add("me/blog@example.org").unwrap();
    tree.link("postmaster@example.org", "me@example.org").unwrap();
    tree.link("me.laptop@example.org", "me@example.org").unwrap();
    tree.link("blog@example.org", "me+blog@example.org").unwrap();
    tree.link("*@example.org", "me@example.org").unwrap();
    tree.link("me/family@example.org", "me@example.org").unwrap();
    assert!(tree.link("sales@example.com", "blog@example.org").unwrap().first_of_domain);
    tree.store
        .link_domain(&Domain::parse("example.net").unwrap(), &Domain::parse("example.org").unwrap())
        .unwrap();
    let target = |name| fs::read_link(tree.path(name)).unwrap().display().to_string();
    assert_eq!(target("example.org/postmaster"), "me");
    assert_eq!(target("example.org/blog"), "me/blog");
    assert_eq!(target("example.com/sales"), "../example.org/blog");
    assert_eq!(target("example.net"), "example.org");
    let me = tree.mailbox("me@example.org").unwrap().id;
    for alias in ["postmaster@example.org", "anybody@example.org", "me/family@example.org", "me@example.net"]
    {
        assert_eq!(tree.mailbox(alias).unwrap().id, me, "{alias}");
    }
    assert_eq!(
        tree.mailbox("sales@example.com").unwrap().id,
        tree.mailbox("me/blog@example.org").unwrap().id
    );
}

#[test]
fn an_alias_needs_a_real_target_and_a_free_name() {
    let tree = Tree::new();
    tree.add("me@example.org").unwrap();
    refused(tree.link("info@example.org", "nobody@example.org"), "make it first");
    refused(tree.link("info@example.org", "postmaster@example.org"), "directory of its own");
    refused(tree.link("me@example.org", "me@example.org"), "already there");
    tree.link("*@example.org", "me@example.org").unwrap();
    refused(tree.link("info@example.org", "nobody@example.org"), "catch-all");
    assert!(fs::symlink_metadata(tree.path("example.org/info")).is_err());
}

#[test]
fn an_empty_address_is_removed_without_a_trace() {
    let tree = Tree::new();
    tree.add("me@example.org").unwrap();
    tree.add("you@example.org").unwrap();
    fs::write(tree.path("example.org/you/tmp/half"), "").unwrap();
    tree.remove("you@example.org").unwrap();
    let left: Vec<_> =
        fs::read_dir(tree.path("example.org")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, ["me"]);
    assert!(tree.mailbox("you@example.org").is_none());
    refused(tree.remove("you@example.org"), "does not exist");
    refused(tree.remove("me@example.com"), "no domain");
}

#[test]
fn a_domain_goes_with_its_last_address() {
    let tree = Tree::new();
    tree.add("me@example.net").unwrap();
    tree.add("me@example.org").unwrap();
    tree.add("me/lists@example.org").unwrap();
    tree.add("you@example.org").unwrap();
    tree.link("postmaster@example.org", "me@example.org").unwrap();
    tree.link("abuse@example.org", "me@example.org").unwrap();
    let ours = || Removed { roles: Vec::new(), domain: DomainLeft::Ours };
    assert_eq!(tree.remove("me/lists@example.org").unwrap(), ours());
    refused(tree.remove("me@example.org"), "also abuse@example.org, postmaster@example.org");
    assert_eq!(tree.remove("you@example.org").unwrap(), ours());

    let me = tree.mailbox("me@example.org").unwrap();
    let name = tree.stage(&me).commit().unwrap();
    refused(tree.remove("me@example.org"), "1 letters waiting");
    assert_eq!(fs::read_dir(tree.path("example.org")).unwrap().count(), 3);
    fs::remove_file(tree.path("example.org/me/new").join(name)).unwrap();

    let mut removed = tree.remove("me@example.org").unwrap();
    removed.roles.sort();
    assert_eq!(removed.roles, ["abuse", "postmaster"]);
    assert_eq!(removed.domain, DomainLeft::Gone { last: false });
    assert!(!tree.path("example.org").exists());
    assert!(matches!(tree.store.find(&address("me@example.org")).unwrap(), Lookup::NotOurs));
    assert_eq!(tree.remove("me@example.net").unwrap().domain, DomainLeft::Gone { last: true });
    assert!(matches!(tree.store.find(&address("me@example.net")), Err(StoreError::WrongRoot(_))));
    assert!(tree.add("me@example.net").unwrap().first_of_domain);
}

#[test]
fn a_domain_in_which_something_is_left_stays() {
    let tree = Tree::new();
    let bare = |removed: Result<Removed, ChangeError>, word: &str| match removed.unwrap().domain {
        DomainLeft::Bare(why) => assert!(why.contains(word), "{why}"),
        other => panic!("{other:?}"),
    };
    tree.add("me@example.org").unwrap();
    fs::write(tree.path("example.org/.note"), "").unwrap();
    bare(tree.remove("me@example.org"), ".note");
    fs::remove_file(tree.path("example.org/.note")).unwrap();
    tree.add("me@example.org").unwrap();
    let domain = |name: &str| Domain::parse(name).unwrap();
    tree.store.link_domain(&domain("example.com"), &domain("example.org")).unwrap();
    bare(tree.remove("me@example.com"), "example.com is another name");
    assert!(matches!(tree.store.find(&address("me@example.com")).unwrap(), Lookup::NoSuchAddress));
    // A role that leads elsewhere is an address like any other.
    tree.add("me@example.net").unwrap();
    tree.link("postmaster@example.net", "me@example.net").unwrap();
    symlink("../example.org", tree.path("example.net/abuse")).unwrap();
    refused(tree.remove("me@example.net"), "also postmaster@example.net");
}

#[test]
fn what_still_holds_something_is_not_removed() {
    let tree = Tree::new();
    tree.add("me@example.org").unwrap();
    tree.add("me/lists@example.org").unwrap();
    tree.link("info@example.org", "me@example.org").unwrap();
    refused(tree.remove("me@example.org"), "also info@example.org");
    tree.remove("info@example.org").unwrap();
    refused(tree.remove("me@example.org"), "lists");
    let lists = tree.mailbox("me/lists@example.org").unwrap();
    let name = tree.stage(&lists).commit().unwrap();
    refused(tree.remove("me/lists@example.org"), "1 letters waiting in new");
    let (new, cur) = (tree.path("example.org/me/lists/new"), tree.path("example.org/me/lists/cur"));
    fs::rename(new.join(&name), cur.join(&name)).unwrap();
    refused(tree.remove("me/lists@example.org"), "1 letters waiting in cur");
    fs::remove_file(cur.join(&name)).unwrap();
    tree.remove("me/lists@example.org").unwrap();
    tree.remove("me@example.org").unwrap();
}

#[test]
fn a_delivery_in_progress_is_asked_to_try_again_when_its_address_goes() {
    let tree = Tree::new();
    tree.add("me@example.org").unwrap();
    let staged = tree.stage(&tree.mailbox("me@example.org").unwrap());
    tree.remove("me@example.org").unwrap();
    assert!(matches!(staged.commit(), Err(StoreError::Io { .. })));
}

#[test]
fn dangling_aliases_can_be_removed() {
    let tree = Tree::new();
    tree.add("me@example.org").unwrap();
    symlink("nobody", tree.path("example.org/old")).unwrap();
    tree.remove("old@example.org").unwrap();
    assert!(fs::symlink_metadata(tree.path("example.org/old")).is_err());
}
