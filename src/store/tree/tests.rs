use super::{Lookup, Store};
use crate::mail::address::{Address, Domain};
use crate::store::StoreError;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use tempfile::TempDir;

/// A MAIL_ROOT and a `state_dir`, side by side in a directory of their own.
struct Tree {
    top: TempDir,
    store: Store,
}

impl Tree {
    fn new() -> Tree {
        let top = TempDir::new().unwrap();
        std::fs::create_dir(top.path().join("mail")).unwrap();
        let store = open(&top);
        Tree { top, store }
    }

    /// `example.org` with `me`.
    fn usual() -> Tree {
        Tree::new().dir("example.org/me")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join("mail").join(name)
    }

    fn dir(self, name: &str) -> Tree {
        std::fs::create_dir_all(self.path(name)).unwrap();
        self
    }

    fn file(self, name: &str) -> Tree {
        std::fs::write(self.path(name), "").unwrap();
        self
    }

    fn link(self, name: &str, target: &str) -> Tree {
        symlink(target, self.path(name)).unwrap();
        self
    }

    fn find(&self, address: &str) -> Result<Lookup, StoreError> {
        self.store.find(&parse(address).unwrap())
    }

    /// The answer in a word: the label, `absent`, `foreign`, `unsafe` or `wrong root`.
    fn answer(&self, address: &str) -> String {
        match self.find(address) {
            Ok(Lookup::Found(mailbox)) => mailbox.label,
            Ok(Lookup::NoSuchAddress) => "absent".to_owned(),
            Ok(Lookup::NotOurs) => "foreign".to_owned(),
            Err(StoreError::Unsafe(_)) => "unsafe".to_owned(),
            Err(StoreError::WrongRoot(_)) => "wrong root".to_owned(),
            Err(other) => panic!("{address}: {other}"),
        }
    }

    /// What is wrong, in the words of the error.
    fn complaint(&self, address: &str) -> String {
        self.find(address).unwrap_err().to_string()
    }

    #[track_caller]
    fn says(&self, address: &str, expected: &str) -> &Tree {
        assert_eq!(self.answer(address), expected, "{address}");
        self
    }

    fn inode(&self, name: &str) -> u64 {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(self.path(name)).unwrap().ino()
    }

    /// The inodes of the directory that letters go to and of the address that owns it.
    fn ids(&self, address: &str) -> (u64, u64) {
        match self.find(address).unwrap() {
            Lookup::Found(mailbox) => (mailbox.id.inode, mailbox.owner.inode),
            other => panic!("{address}: {other:?}"),
        }
    }

    fn selector(&self, selector: &str) -> Option<u64> {
        let domain = Domain::parse("example.org").unwrap();
        self.store.selector_owner(&domain, selector).unwrap().map(|id| id.inode)
    }
}

/// An address, its local part quoted if that is what it needs.
fn parse(address: &str) -> Option<Address> {
    let (local, domain) = address.rsplit_once('@').unwrap();
    let quoted = format!("\"{}\"@{domain}", local.replace('\\', "\\\\").replace('"', "\\\""));
    Address::parse(address).or_else(|_| Address::parse(&quoted)).ok()
}

fn open(top: &TempDir) -> Store {
    Store::open(&top.path().join("mail"), &top.path().join("state"), "/+").unwrap()
}

#[test]
fn an_address_exists_because_its_directory_exists() {
    let tree = Tree::usual().file("example.org/mbox").dir("example.org/café");
    tree.says("me@example.org", "example.org/me")
        .says("ME@Example.ORG", "example.org/me")
        .says("you@example.org", "absent")
        .says("mbox@example.org", "absent")
        .says("CAFe\u{301}@example.org", "example.org/café")
        .says("me@example.com", "foreign");
    let tree = tree.dir("example.org/you");
    tree.says("you@example.org", "example.org/you");
    assert!(tree.store.is_ours(&Domain::parse("Example.org").unwrap()).unwrap());
    assert!(!tree.store.is_ours(&Domain::parse("example.net").unwrap()).unwrap());
}

#[test]
fn an_address_literal_is_not_ours() {
    let tree = Tree::usual();
    tree.says("me@[192.0.2.1]", "foreign");
}

#[test]
fn topics_are_directories_of_the_address() {
    let tree = Tree::usual().dir("example.org/me/lists").dir("example.org/me/a+b");
    tree.says("me/lists@example.org", "example.org/me/lists")
        .says("me+lists@example.org", "example.org/me/lists")
        .says("Me+Lists@example.org", "example.org/me/lists")
        .says("me+a+b@example.org", "example.org/me/a+b")
        .says("me/other@example.org", "absent")
        .says("you/lists@example.org", "absent");
    assert_eq!(
        tree.ids("me+lists@example.org"),
        (tree.inode("example.org/me/lists"), tree.inode("example.org/me"))
    );
    assert_eq!(tree.ids("me@example.org"), (tree.inode("example.org/me"), tree.inode("example.org/me")));
}

#[test]
fn a_literal_local_part_comes_before_a_topic() {
    let tree = Tree::usual().dir("example.org/me/topic").dir("example.org/me+topic");
    tree.says("me+topic@example.org", "example.org/me+topic")
        .says("me/topic@example.org", "example.org/me/topic");
}

#[test]
fn names_that_no_directory_can_have_are_absent_at_once() {
    let tree = Tree::usual()
        .dir("example.org/me/new")
        .dir("example.org/me/cur")
        .dir("example.org/me/tmp")
        .dir("example.org/me/a/b")
        .dir("example.org/me/.hidden")
        .dir("example.org/.hidden")
        .dir("example.org/you")
        .link("example.org/*", "me");
    for local in [
        "me/new",
        "me/cur",
        "me/tmp",
        "me/NEW",
        "me/.",
        "me/..",
        "me/a/b",
        "me//x",
        "me/",
        "/me",
        "me/../you",
        "../x",
        ".",
        "..",
        ".hidden",
        "me/.hidden",
        "new",
        "cur",
        "tmp",
        "/",
        "+/",
        "me+new",
        "me+..",
        "me+",
    ] {
        tree.says(&format!("{local}@example.org"), "absent");
    }
}

#[test]
fn the_catch_all_takes_unknown_addresses_only() {
    let tree = Tree::usual().dir("example.org/me/topic").link("example.org/*", "me");
    tree.says("anybody@example.org", "example.org/*")
        .says("any+thing@example.org", "example.org/*")
        .says("me/topic@example.org", "example.org/me/topic")
        .says("me/unknown@example.org", "absent")
        .says("me+unknown@example.org", "absent")
        .says("postmaster@example.org", "example.org/*");
    assert_eq!(tree.ids("anybody@example.org").0, tree.inode("example.org/me"));
}

#[test]
fn aliases_are_relative_links_inside_the_tree() {
    let tree = Tree::usual()
        .dir("example.org/me/blog")
        .dir("example.com")
        .link("example.org/info", "me")
        .link("example.org/blog", "me/blog")
        .link("example.com/sales", "../example.org/me")
        .link("example.net", "example.org")
        .link("example.org/me/family", "../info");
    let me = tree.inode("example.org/me");
    assert_eq!(tree.ids("info@example.org"), (me, me));
    assert_eq!(tree.ids("sales@example.com"), (me, me));
    assert_eq!(tree.ids("me@example.net"), (me, me));
    assert_eq!(tree.ids("me/family@example.org"), (me, me));
    let blog = tree.inode("example.org/me/blog");
    assert_eq!(tree.ids("blog@example.org"), (blog, blog));
    assert_eq!(tree.ids("info+blog@example.net"), (blog, me));
    tree.says("you@example.net", "absent");
}

#[test]
fn links_that_lead_astray_are_unsafe_and_say_so() {
    let tree = Tree::usual().dir("../outside/new").dir("example.org/me/new").dir("example.org/me/real");
    let absolute = tree.path("example.org/me").display().to_string();
    let tree = tree
        .link("example.org/out", "../../outside")
        .link("example.org/absolute", &absolute)
        .link("example.org/dangling", "nobody")
        .link("example.org/circle", "circle")
        .link("example.org/domain", ".")
        .link("example.org/root", "..")
        .link("example.org/inbox", "me/new")
        .link("example.org/me/up", "..")
        .link("example.org/me/gone", "nowhere")
        .link("outside.org", "../outside")
        .link("gone.org", "nowhere");
    for (address, word) in [
        ("out", "out of MAIL_ROOT"),
        ("absolute", "absolute"),
        ("dangling", "leads to no directory"),
        ("circle", "circle"),
        ("domain", "no address"),
        ("root", "no address"),
        ("inbox", "no address"),
        ("me/up", "no address"),
        ("me/gone", "leads to no directory"),
    ] {
        let complaint = tree.complaint(&format!("{address}@example.org"));
        assert!(complaint.contains(&format!("MAIL_ROOT/example.org/{address}")), "{complaint}");
        assert!(complaint.contains(word), "{complaint}");
    }
    tree.says("me@outside.org", "unsafe")
        .says("me@gone.org", "unsafe")
        .says("me@example.org", "example.org/me");
}

#[test]
fn a_link_to_a_file_is_unsafe_not_absent() {
    let tree = Tree::usual().file("example.org/mbox").link("example.org/box", "mbox");
    tree.says("box@example.org", "unsafe");
}

#[test]
fn the_folders_of_a_maildir_are_no_links() {
    let tree = Tree::usual().dir("../outside").link("example.org/me/new", "../../../outside");
    assert!(tree.complaint("me@example.org").contains("\"new\" is a link"));
    let tree = Tree::usual().file("example.org/me/tmp");
    tree.says("me@example.org", "unsafe");
}

#[test]
fn names_that_cannot_be_told_apart_are_never_a_guess() {
    let tree = Tree::usual()
        .dir("example.org/Boss")
        .dir("example.org/You")
        .dir("example.org/you")
        .dir("example.org/cafe\u{301}")
        .dir("example.org/me/Lists")
        .dir("Example.com/me")
        .link("example.org/*", "me");
    tree.says("boss@example.org", "unsafe")
        .says("you@example.org", "unsafe")
        .says("café@example.org", "unsafe")
        .says("me/lists@example.org", "unsafe")
        .says("me@example.com", "unsafe")
        .says("me@example.org", "example.org/me");
    assert!(tree.complaint("boss@example.org").contains("\"Boss\""));
    std::fs::remove_dir(tree.path("example.org/Boss")).unwrap();
    tree.says("boss@example.org", "example.org/*");
}

#[test]
fn only_our_user_and_root_are_trusted() {
    assert!(super::super::place::is_trusted(0, 8));
    assert!(super::super::place::is_trusted(8, 8));
    assert!(!super::super::place::is_trusted(9, 8));
    assert!(!super::super::place::is_trusted(9, 0));
}

#[test]
fn a_selector_belongs_to_the_address_of_exactly_that_name() {
    let tree = Tree::usual()
        .dir("example.org/me/topic")
        .dir("example.org/you")
        .link("example.org/*", "you")
        .link("example.org/me.laptop", "me");
    let me = Some(tree.inode("example.org/me"));
    assert_eq!(tree.selector("me"), me);
    assert_eq!(tree.selector("ME"), me);
    assert_eq!(tree.selector("me.laptop"), me);
    for nobody in
        ["*", "me/topic", "me+topic", "me.phone", "m", "laptop.me", "", ".", "..", "new", "postmaster"]
    {
        assert_eq!(tree.selector(nobody), None, "{nobody}");
    }
}

#[test]
fn a_postmaster_without_a_directory_is_a_dead_letter() {
    let tree = Tree::usual();
    tree.says("PostMaster@example.org", "postmaster (dead letter)")
        .says("postmaster+x@example.org", "absent")
        .says("abuse@example.org", "absent")
        .says("postmaster@example.com", "foreign");
    assert_eq!(tree.ids("postmaster@example.org").0, tree.store.dead_letter().unwrap().id.inode);
    let tree = tree.link("example.org/postmaster", "me");
    tree.says("postmaster@example.org", "example.org/postmaster");
}

#[test]
fn junk_is_a_directory_of_the_address() {
    let tree = Tree::usual().dir("example.org/me/topic").link("example.org/info", "me");
    let Lookup::Found(me) = tree.find("me@example.org").unwrap() else { panic!() };
    assert!(tree.store.junk(&me).unwrap().is_none());
    let tree = tree.dir("example.org/me/junk");
    for address in ["me@example.org", "me/topic@example.org", "info@example.org"] {
        let Lookup::Found(mailbox) = tree.find(address).unwrap() else { panic!() };
        let junk = tree.store.junk(&mailbox).unwrap().unwrap();
        assert_eq!(junk.id.inode, tree.inode("example.org/me/junk"));
        assert_eq!(junk.owner.inode, tree.inode("example.org/me"));
    }
    assert!(tree.store.junk(&tree.store.dead_letter().unwrap()).unwrap().is_none());
}

#[test]
fn a_root_without_a_domain_is_no_answer() {
    let tree = Tree::new();
    tree.says("me@example.org", "wrong root");
    assert!(tree.complaint("me@example.org").contains("pillarbox address add"));
    let tree = tree.dir("lost+found").dir(".snapshot").file("example.net");
    tree.says("me@example.org", "wrong root");
    assert!(tree.store.check().is_err());
    // As soon as there is one, the same store answers.
    let tree = tree.dir("example.org/me");
    tree.says("me@example.org", "example.org/me").says("me@example.com", "foreign");
    assert!(tree.store.check().is_ok());
    // And when the last one goes, nobody is told that the address does not exist.
    std::fs::remove_dir_all(tree.path("example.org")).unwrap();
    tree.says("me@example.org", "wrong root");
}

#[test]
fn another_root_at_the_same_path_is_noticed_at_once() {
    let tree = Tree::usual();
    tree.says("you@example.org", "absent");
    let (mail, away) = (tree.path(""), tree.top.path().join("away"));
    std::fs::rename(&mail, &away).unwrap();
    tree.says("you@example.org", "wrong root");
    std::fs::create_dir_all(mail.join("example.org")).unwrap();
    tree.says("you@example.org", "wrong root");
    assert!(tree.complaint("me@example.org").contains("is its disk mounted"));
    // Also for a server that starts now.
    let restarted = open(&tree.top);
    let me = Address::parse("me@example.org").unwrap();
    assert!(matches!(restarted.find(&me), Err(StoreError::WrongRoot(_))));
    std::fs::remove_dir_all(&mail).unwrap();
    std::fs::rename(&away, &mail).unwrap();
    tree.says("you@example.org", "absent").says("me@example.org", "example.org/me");
}

mod any_local_part {
    use super::*;
    use proptest::prelude::*;

    /// Pieces that mean something to the look-up or to the kernel, mixed with anything.
    fn local() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "me",
                "ME",
                "topic",
                "new",
                "cur",
                "tmp",
                "..",
                ".",
                "/",
                "+",
                "*",
                "outside",
                "secret",
                "\0",
                "\n",
                "link",
                "escape",
                "é",
                "e\u{301}",
                "example.org",
            ])
            .prop_map(str::to_owned),
            ".{0,6}",
        ];
        prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn stays_inside_the_root(locals in prop::collection::vec(local(), 16)) {
            let tree = Tree::usual()
                .dir("example.org/me/topic")
                .dir("example.org/me/new")
                .dir("../outside/secret")
                .link("example.org/link", "me")
                .link("example.org/escape", "../../outside");
            let inside = [tree.inode("example.org/me"), tree.inode("example.org/me/topic")];
            for local in locals {
                let Some(address) = parse(&format!("{local}@example.org")) else { continue };
                match tree.store.find(&address) {
                    Ok(Lookup::Found(mailbox)) => prop_assert!(inside.contains(&mailbox.id.inode), "{local:?}"),
                    Ok(Lookup::NoSuchAddress) => {}
                    Err(StoreError::Unsafe(text)) => prop_assert!(text.contains("escape"), "{local:?}: {text}"),
                    other => prop_assert!(false, "{local:?}: {other:?}"),
                }
            }
        }
    }
}
