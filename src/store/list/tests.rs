use super::Named;
use crate::mail::address::{Address, Domain};
use crate::store::tree::{Mailbox, Store};
use rustix::fs::{CWD, Timespec, Timestamps};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

struct Tree {
    top: TempDir,
    store: Store,
}

impl Tree {
    /// Two domains, topics, aliases of every kind, and a few things that are wrong.
    fn new() -> Tree {
        let top = TempDir::new().unwrap();
        let mail = top.path().join("mail");
        for name in ["example.org/me/lists", "example.org/you", "example.com/shop", "lost+found"] {
            fs::create_dir_all(mail.join(name)).unwrap();
        }
        for (link, target) in [
            ("example.org/*", "me"),
            ("example.org/blog", "me/lists"),
            ("example.org/me/partner", "../you"),
            ("example.org/shop", "../example.com/shop"),
            ("example.net", "example.org"),
        ] {
            symlink(target, mail.join(link)).unwrap();
        }
        let store = Store::open(&mail, &top.path().join("state"), "/+").unwrap();
        Tree { top, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join("mail").join(name)
    }

    fn of(&self, address: &str) -> Vec<String> {
        labels(self.store.mailboxes_of(&Address::parse(address).unwrap()).unwrap())
    }
}

fn labels(mailboxes: Vec<Mailbox>) -> Vec<String> {
    let mut labels: Vec<String> = mailboxes.into_iter().map(|it| it.label).collect();
    labels.sort();
    labels
}

fn named(name: &str, alias_of: Option<&str>) -> Named {
    Named { name: name.to_owned(), alias_of: alias_of.map(str::to_owned) }
}

#[test]
fn domains_and_addresses_are_listed_with_what_they_point_to() {
    let tree = Tree::new();
    assert_eq!(
        tree.store.domains().unwrap(),
        [named("example.com", None), named("example.net", Some("example.org")), named("example.org", None)]
    );
    let addresses = tree.store.addresses(&Domain::parse("example.org").unwrap()).unwrap();
    let locals: Vec<_> = addresses.iter().map(|it| it.local.clone()).collect();
    assert_eq!(
        locals,
        [
            named("*", Some("me")),
            named("blog", Some("me/lists")),
            named("me", None),
            named("shop", Some("../example.com/shop")),
            named("you", None),
        ]
    );
    assert_eq!(addresses[2].topics, [named("lists", None), named("partner", Some("../you"))]);
    assert_eq!(tree.store.addresses(&Domain::parse("example.edu").unwrap()).unwrap(), []);
}

#[test]
fn every_directory_is_one_mailbox_by_its_own_name() {
    let all = labels(Tree::new().store.all_mailboxes().unwrap());
    assert_eq!(all, ["example.com/shop", "example.org/me", "example.org/me/lists", "example.org/you"]);
}

#[test]
fn a_domain_hands_out_what_lies_in_it() {
    let tree = Tree::new();
    let of = |domain| labels(tree.store.mailboxes_of_domain(&Domain::parse(domain).unwrap()).unwrap());
    assert_eq!(of("example.org"), ["example.org/me", "example.org/me/lists", "example.org/you"]);
    assert_eq!(of("example.net"), ["example.net/me", "example.net/me/lists", "example.net/you"]);
    assert_eq!(of("example.com"), ["example.com/shop"]);
    assert!(of("example.edu").is_empty());
}

#[test]
fn an_address_hands_out_itself_and_the_topics_that_lie_in_it() {
    let tree = Tree::new();
    assert_eq!(tree.of("me@example.org"), ["example.org/me", "example.org/me/lists"]);
    assert_eq!(tree.of("me/lists@example.org"), ["example.org/me/lists"]);
    assert_eq!(tree.of("blog@example.org"), ["example.org/blog"]);
    assert_eq!(tree.of("shop@example.org"), ["example.org/shop"]);
    for nobody in ["unknown@example.org", "postmaster@example.org", "me/gone@example.org", "me@example.edu"] {
        assert!(tree.of(nobody).is_empty(), "{nobody}");
    }
}

#[test]
fn one_bad_name_does_not_hide_the_others() {
    let tree = Tree::new();
    symlink("../../outside", tree.path("example.org/escape")).unwrap();
    symlink("nobody", tree.path("example.org/me/dangling")).unwrap();
    symlink("/tmp", tree.path("example.edu")).unwrap();
    fs::create_dir(tree.path("example.org/Boss")).unwrap();
    fs::create_dir(tree.path("example.org/me/.Trash")).unwrap();
    fs::create_dir(tree.path("Example.info")).unwrap();
    let all = labels(tree.store.all_mailboxes().unwrap());
    assert_eq!(all, ["example.com/shop", "example.org/me", "example.org/me/lists", "example.org/you"]);
    fs::create_dir(tree.path("example.org/.removed-1")).unwrap();
    let mut problems = tree.store.problems().unwrap();
    problems.sort();
    let starts = [
        "MAIL_ROOT/: \"Example.info\"",
        "MAIL_ROOT/example.edu",
        "MAIL_ROOT/example.org/.removed-1",
        "MAIL_ROOT/example.org/escape",
        "MAIL_ROOT/example.org/me/dangling",
        "MAIL_ROOT/example.org: \"Boss\"",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}");
    }
}

#[test]
fn a_good_tree_has_no_problems() {
    assert_eq!(Tree::new().store.problems().unwrap(), Vec::<String>::new());
}

#[test]
fn only_old_files_in_tmp_are_swept() {
    let tree = Tree::new();
    let (old, young) = (tree.path("example.org/me/tmp/old"), tree.path("example.org/me/tmp/young"));
    for folder in ["tmp/directory", "new"] {
        fs::create_dir_all(tree.path("example.org/me").join(folder)).unwrap();
    }
    let letter = tree.path("example.org/me/new/letter");
    for file in [&old, &young, &letter] {
        fs::write(file, "").unwrap();
    }
    // The time of the last change of an inode cannot be set back, so nothing is old by now…
    let long_ago = Timespec { tv_sec: 1, tv_nsec: 0 };
    let times = Timestamps { last_access: long_ago, last_modification: long_ago };
    rustix::fs::utimensat(CWD, &old, &times, rustix::fs::AtFlags::empty()).unwrap();
    assert_eq!(tree.store.sweep(Duration::from_secs(36 * 3600)).unwrap(), 0);
    // … but a file from the future stays for ever, and one of now is older than "two seconds from now".
    let far = Timespec { tv_sec: 1 << 33, tv_nsec: 0 };
    let times = Timestamps { last_access: far, last_modification: far };
    rustix::fs::utimensat(CWD, &young, &times, rustix::fs::AtFlags::empty()).unwrap();
    let soon = super::now() + 2;
    let me = tree.store.mailboxes_of(&Address::parse("me@example.org").unwrap()).unwrap().remove(0);
    assert_eq!(super::sweep_one(&me, soon).unwrap(), 1);
    assert!(!old.exists() && young.exists() && letter.exists());
}
