//! What the article's own setup gets wrong at strangers' door and in the store, each over the wire.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::forge::{Key, on_top, with};
use harness::home::{Home, letter};
use harness::wire::Wire;
use harness::{Dns, Plan, Server, ZONE, eventually, letters_in};
use std::os::unix::fs::{chown, symlink};

const ME: &str = "me@here.example";
const FRIEND: &str = "friend@there.example";

struct Door {
    server: Server,
    dns: Dns,
    friend: Key,
    me: Key,
}

fn door(more: &str) -> Door {
    let dns = Dns::start(ZONE);
    let (friend, me) = (Key::new("friend", "rsa2048"), Key::new("me", "rsa2048"));
    dns.add(&friend.zone("s", "there.example", ""));
    dns.add(&me.zone("me", "here.example", ""));
    let server = Plan::new("mx.here.example", &[ME, "me/lists@here.example", "you@here.example"]);
    Door { server: server.with(more).start(&dns), dns, friend, me }
}

impl Door {
    fn says(&self, to: &[&str], letter: &[u8]) -> String {
        Wire::greeted(self.server.mx()).0.transact(FRIEND, to, letter)
    }

    #[track_caller]
    fn answers(&self, case: &str, prefix: &str, word: &str, letter: &[u8]) {
        let reply = self.says(&[ME], letter);
        assert!(
            reply.starts_with(prefix) && reply.contains(word),
            "{case}: want {prefix}…{word}, got {reply}"
        );
    }

    fn rcpt(&self, to: &str) -> String {
        let (mut wire, _) = Wire::greeted(self.server.mx());
        let reply = wire.say(&format!("MAIL FROM:<{FRIEND}>")).reply();
        if !reply.starts_with("250") {
            return reply;
        }
        wire.say(&format!("RCPT TO:<{to}>")).reply()
    }

    #[track_caller]
    fn rcpt_says(&self, to: &str, prefix: &str) {
        let reply = self.rcpt(to);
        assert!(reply.starts_with(prefix), "{to}: want {prefix}, got {reply}");
    }

    fn arrived(&self) -> usize {
        self.server.letters("here.example/me").len()
    }

    fn signed(&self, letter: &[u8]) -> Vec<u8> {
        self.friend.sign(&self.friend.tags("s", "there.example"), letter)
    }

    fn bent(&self, from: &str, to: &str) -> Vec<u8> {
        let tags = self.friend.tags("s", "there.example").replace(from, to);
        self.friend.sign(&tags, &letter(FRIEND, ME, "bent"))
    }
}

const THIRD_PARTY: &str =
    "DKIM-Signature: v=1; a=rsa-sha256; d=list.example; s=x; h=From; bh=AAAA; b=AAAA\r\n";

#[test]
fn key_look_up_fails() {
    let door = door("");
    door.answers("SERVFAIL", "451 4.7.", "cannot be looked up", &door.bent("s=s;", "s=servfail;"));
    assert_eq!(door.arrived(), 0);
    let trouble = THIRD_PARTY.replace("list.", "servfail.");
    let valid = door.signed(&letter(FRIEND, ME, "valid"));
    door.answers("SERVFAIL beside a valid one", "250", "stored", &on_top(&trouble, &valid));
}

#[test]
fn a_valid_signature_beside_a_broken_third_party_one() {
    let door = door("");
    let other = Key::new("mallory", "rsa2048");
    door.dns.add(&other.zone("x", "list.example", ""));
    let valid = door.signed(&letter(FRIEND, ME, "valid"));
    door.answers("on top", "250", "stored", &on_top(THIRD_PARTY, &valid));
    let below = with(&valid, "Date:", &format!("{THIRD_PARTY}Date:"));
    door.answers("below", "250", "stored", &below);
    let stored = door.server.letters("here.example/me").concat();
    assert!(stored.contains("dkim=pass") && stored.contains("dkim=fail"), "{stored}");
    door.answers("alone", "550 5.7.20", "list.example", &on_top(THIRD_PARTY, &letter(FRIEND, ME, "alone")));
}

#[test]
fn broken_signatures_are_refused() {
    let door = door("");
    let valid = door.signed(&letter(FRIEND, ME, "valid"));
    door.answers("body", "550 5.7.20", "body", &with(&valid, "Hello.", "Hello!"));
    door.answers("header", "550 5.7.20", "header", &with(&valid, "Subject: valid", "Subject: Valid"));
    door.answers("another key", "550 5.7.20", "broken", &{
        let tags = door.me.tags("s", "there.example");
        door.me.sign(&tags, &letter(FRIEND, ME, "another key"))
    });
    assert_eq!(door.arrived(), 0);
}

#[test]
fn what_is_only_unverifiable_counts_as_unsigned() {
    let door = door("");
    door.dns.add("revoked._domainkey.there.example. 60 IN TXT \"v=DKIM1; p=\"");
    for (case, from, to) in [
        ("revoked", "s=s;", "s=revoked;"),
        ("missing", "s=s;", "s=missing;"),
        ("expired", "v=1;", "v=1; x=1;"),
        ("unknown algorithm", "rsa-sha256", "rsa-sha512"),
        ("unknown version", "v=1;", "v=2;"),
        ("l=", "v=1;", "v=1; l=2;"),
    ] {
        let unsound = door.bent(from, &to.replace("rsa-sha512", "rsa-sha1"));
        door.answers(case, "250", "stored", &with(&unsound, "Hello.", "Hello!"));
    }
    door.answers("x", "250", "stored", &on_top("DKIM-Signature: x\r\n", &letter(FRIEND, ME, "x")));
    assert_eq!(door.arrived(), 7);
    assert!(!door.server.letters("here.example/me").concat().contains("dkim=pass"));
}

#[test]
fn broken_signatures_are_marked_where_the_owner_wants_that() {
    let door = door("[inbound]\nbroken_dkim = \"mark\"\n");
    let valid = door.signed(&letter(FRIEND, ME, "valid"));
    door.answers("body", "250", "stored", &with(&valid, "Hello.", "Hello!"));
    let stored = door.server.letters("here.example/me").concat();
    assert!(
        stored.contains("Authentication-Results: mx.here.example") && stored.contains("dkim=fail"),
        "{stored}"
    );
}

/// Ways to write our own address, each of which some reader shows as ours.
const FROM_OURS: [&str; 28] = [
    "From: me@here.example",
    "FROM: Me <ME@Here.Example>",
    "From : me@here.example",
    "From\t: me@here.example",
    "From: \"a friend\"\r\n <me@here.example>",
    "From: nobody@here.example",
    "From: friend@there.example, me@here.example",
    "From: friend@there.example\r\nFrom: me@here.example",
    "From: me@here.example\r\nFrom: friend@there.example",
    "From: us: friend@there.example, me@here.example;",
    "From: <@there.example:me@here.example>",
    "From: me @ here . example",
    "From: me@here.(comment)example",
    "From: (friend@there.example) me@here.example",
    "From: me@here.example <friend@there.example>",
    "From: <me@here.example> <friend@there.example>",
    "From: friend@there.example <me@here.example>",
    "From: me@here.example.",
    "From: me@\u{ff48}ere.example",
    "From: \"me\"@here.example",
    "From: me@here.example (",
    "From: \"unclosed <me@here.example>",
    "From: =?utf-8?q?me?= <me@here.example>",
    "From: =?utf-8?b?bWVAaGVyZS5leGFtcGxl?=",
    "From: =?utf-8?q?me=40here=2Eexample?=",
    "From: =?us-ascii?q?me=40?=\r\n =?us-ascii?q?here.example?=",
    "From: =?utf-8?q?me=40here.example=00?=@there.example",
    "From: me@\"here.example\"",
];

#[test]
fn a_stranger_cannot_write_in_our_name() {
    let door = door("");
    for from in FROM_OURS {
        let forged = with(&letter(FRIEND, ME, "ours"), "From: friend@there.example", from);
        door.answers(from, "550 5.7.1", "domain of this server", &forged);
        let signed = door.signed(&forged);
        door.answers(&format!("{from}, signed by another"), "550 5.7.1", "domain of this server", &signed);
    }
    assert_eq!(door.arrived(), 0);
    let harmless = [
        "From: \"me@here.example\" <friend@there.example>",
        "From: friend@there.example (me@here.example)",
        "From: me@nothere.example",
        "From: me@here.example.there.example",
    ];
    for from in harmless {
        let honest = with(&letter(FRIEND, ME, "theirs"), "From: friend@there.example", from);
        door.answers(from, "250", "stored", &honest);
    }
}

#[test]
fn our_own_letter_comes_back_when_our_signature_holds() {
    let door = door("");
    let mine = door.me.sign(&door.me.tags("me", "here.example"), &letter(ME, "list@there.example", "mine"));
    door.answers("as it was", "250", "stored", &mine);
    door.answers("changed by the list", "550 5.7.", "trusted_forwarders", &with(&mine, "Hello.", "Hello!"));
    let trouble = THIRD_PARTY.replace("list.example", "here.example").replace("s=x", "s=servfail");
    door.answers(
        "DNS does not answer",
        "451 4.7.",
        "cannot be looked up",
        &on_top(&trouble, &letter(ME, ME, "later")),
    );
    // h= names From once: a second From was added behind the signature's back.
    let once = door.me.tags("me", "here.example").replace("From:From:", "From:");
    let mine = door.me.sign(&once, &letter(ME, FRIEND, "once"));
    door.answers(
        "a From added",
        "550 5.7.1",
        "domain of this server",
        &on_top("From: you@here.example\r\n", &mine),
    );
}

#[test]
fn trusted_forwarders_bring_our_own_posts_back() {
    let door = door("[inbound]\ntrusted_forwarders = [\"there.example\"]\n");
    let mine = door.me.sign(&door.me.tags("me", "here.example"), &letter(ME, "list@there.example", "mine"));
    let changed = with(&mine, "Hello.", "Hello!\r\n-- \r\nthe list");
    door.answers("without the list's signature", "550 5.7.", "trusted_forwarders", &changed);
    door.answers("with it", "250", "stored", &door.signed(&changed));
    let broken = with(&door.signed(&changed), "the list", "The list");
    door.answers("with a broken one", "550 5.7.", "trusted_forwarders", &broken);
    assert!(
        door.server.log().contains("brought by the trusted forwarder there.example"),
        "{}",
        door.server.log()
    );
    assert_eq!(door.arrived(), 1);
}

#[test]
fn what_is_no_address_is_refused_at_rcpt() {
    let door = door("");
    for local in [
        "me/new",
        "me/cur",
        "me/tmp",
        "me+new",
        "me/NEW",
        "me/a/b",
        "me//x",
        "me//lists",
        "me/",
        "me+",
        "/me",
        "me/*",
        "*",
        "*/lists",
        "new",
        "me/lists/new",
        "me+lists+new",
        "me/lists/../../you",
        "\u{17f}",
    ] {
        let (mut wire, _) = Wire::greeted(door.server.mx());
        wire.ask("MAIL FROM:<friend@there.example> SMTPUTF8", "250");
        let reply = wire.say(&format!("RCPT TO:<{local}@here.example>")).reply();
        assert!(reply.starts_with("550 5.1.1") || reply.starts_with("501 5.1.3"), "{local}: {reply}");
    }
    for local in [
        "me/.",
        "me/..",
        "me/../you",
        ".",
        "..",
        ".pillarbox-root",
        "me/.hidden",
        "me/../../here.example/you",
        " me",
        "me ",
    ] {
        door.rcpt_says(&format!("\"{local}\"@here.example"), "550 5.1.1");
    }
    door.rcpt_says("me@..", "5");
    door.rcpt_says("me@../mail/here.example", "5");
    door.rcpt_says("me@.pillarbox-root", "5");
    let maildir = |name: &str| std::fs::read_dir(door.server.maildir(name)).unwrap().count();
    assert_eq!(maildir("here.example"), 2);
    assert_eq!(door.arrived(), 0);
}

#[test]
fn no_form_of_an_address_relays() {
    let door = door("");
    for to in [
        "you@there.example",
        "you@there.example.",
        "@here.example:you@there.example",
        "@here.example,@mx.here.example:you@there.example",
        "you%there.example@here.example",
        "you@there.example@here.example",
        "\"you@there.example\"@here.example",
        "there.example!you@here.example",
        "you@[127.0.0.1]",
        "you@[IPv6:::1]",
        "you@127.0.0.1",
        "you@localhost",
        "you@mx.here.example",
        "you@sub.here.example",
        "you@here.example.there.example",
        "you@here_example",
        "you",
        "you@",
        "@here.example",
        "",
    ] {
        door.rcpt_says(to, "5");
    }
    let queue = std::fs::read_dir(door.server.state_dir().join("queue")).unwrap().count();
    assert_eq!(queue, 0);
}

#[test]
fn directories_with_capitals_are_named_in_the_log() {
    let door = door("");
    std::fs::create_dir(door.server.maildir("here.example/Boss")).unwrap();
    door.rcpt_says("boss@here.example", "451 4.3.5");
    door.rcpt_says("Boss@here.example", "451 4.3.5");
    assert!(door.server.log().contains("Boss"), "{}", door.server.log());
    door.rcpt_says(ME, "250");
}

#[test]
fn a_directory_that_cannot_be_used_is_temporary() {
    let door = door("");
    let place = |name: &str| door.server.maildir("here.example").join(name);
    std::fs::create_dir(place("theirs")).unwrap();
    if rustix::process::geteuid().is_root() {
        chown(place("theirs"), Some(65_534), None).unwrap();
        door.rcpt_says("theirs@here.example", "451 4.3.5");
    }
    symlink("/tmp", place("absolute")).unwrap();
    symlink("../../../..", place("outside")).unwrap();
    symlink("nowhere", place("dangling")).unwrap();
    symlink("circle", place("circle")).unwrap();
    symlink("..", place("upwards")).unwrap();
    symlink(".", place("domain")).unwrap();
    symlink("me/new", place("within")).unwrap();
    std::fs::create_dir(place("me/new")).unwrap();
    for local in ["absolute", "outside", "dangling", "circle", "upwards", "domain", "within"] {
        door.rcpt_says(&format!("{local}@here.example"), "451 4.3.5");
    }
    std::fs::create_dir_all(place("linked")).unwrap();
    symlink("../me/new", place("linked/new")).unwrap();
    door.rcpt_says("linked@here.example", "451 4.3.5");
    std::fs::write(place("file"), "").unwrap();
    door.rcpt_says("file@here.example", "550 5.1.1");
    assert_eq!(door.arrived(), 0);
}

/// A store of 2 MiB.
fn small_store(limits: &str) -> Door {
    let dns = Dns::start(ZONE);
    let server = Plan::new("mx.here.example", &[])
        .with(limits)
        .inside("mount -t tmpfs -o size=2m,mode=700 tmpfs \"$MAIL\"; mkdir -p \"$MAIL/here.example/me\"")
        .start(&dns);
    let friend = Key::new("friend", "rsa2048");
    let me = Key::new("me", "rsa2048");
    Door { server, dns, friend, me }
}

const FILL: &str = "dd if=/dev/zero of=\"$MAIL/filler\" bs=4096 2>/dev/null || true";

#[test]
fn a_full_store_is_told_before_250() {
    let door = small_store("[limits]\nfree_space = 0\n");
    door.answers("with room", "250", "stored", &letter(FRIEND, ME, "room"));
    let (mut wire, _) = Wire::greeted(door.server.mx());
    wire.ask("MAIL FROM:<>", "250");
    wire.ask("RCPT TO:<me@here.example>", "250");
    door.server.inside(FILL);
    wire.ask("DATA", "354");
    let large = [&letter("<>", ME, "full")[..], b"x\r\n".repeat(10_000).as_slice()].concat();
    let reply = wire.message(&large).reply();
    assert!(reply.starts_with("452 4.3.1"), "{reply}");
    door.server.inside("rm \"$MAIL/filler\"; test $(ls \"$MAIL/here.example/me/new\" | wc -l) = 1");
    door.server.inside("test -z \"$(ls \"$MAIL/here.example/me/tmp\")\"");
    door.answers("with room again", "250", "stored", &letter(FRIEND, ME, "room"));
}

#[test]
fn a_store_that_is_nearly_full_is_told_at_rcpt() {
    let door = small_store("[limits]\nfree_space = 1048576\n");
    door.rcpt_says(ME, "250");
    door.server.inside(FILL);
    door.rcpt_says(ME, "452 4.3.1");
    door.server.inside("rm \"$MAIL/filler\"");
    door.rcpt_says(ME, "250");
}

#[test]
fn a_read_only_store_is_told_at_rcpt() {
    let door = small_store("");
    door.rcpt_says(ME, "250");
    door.server.inside("mount -o remount,ro \"$MAIL\"");
    door.rcpt_says(ME, "45");
    door.server.inside("mount -o remount,rw \"$MAIL\"");
    door.answers("writable again", "250", "stored", &letter(FRIEND, ME, "room"));
}

#[test]
fn a_root_that_is_not_mounted_or_another_one_is_temporary() {
    let door = door("");
    door.rcpt_says(ME, "250");
    let (root, aside) = (door.server.maildir(""), door.server.root.path().join("aside"));
    std::fs::rename(&root, &aside).unwrap();
    door.rcpt_says(ME, "451 4.3.0");
    std::fs::create_dir(&root).unwrap();
    door.rcpt_says(ME, "451 4.3.0");
    door.rcpt_says("nobody@here.example", "451 4.3.0");
    std::fs::create_dir_all(root.join("here.example/me")).unwrap();
    door.rcpt_says(ME, "451 4.3.0");
    door.rcpt_says("you@there.example", "451 4.3.0");
    let (mut owner, _) = Wire::greeted(door.server.submission());
    owner.ask("MAIL FROM:<me@here.example>", "451 4.3.0");
    assert!(!root.join("here.example/me/new").exists());
    std::fs::rename(&root, door.server.root.path().join("impostor")).unwrap();
    std::fs::rename(&aside, &root).unwrap();
    door.answers("mounted again", "250", "stored", &letter(FRIEND, ME, "mounted"));
}

#[test]
fn postmaster_is_always_at_home() {
    let door = door("");
    for to in
        ["postmaster@here.example", "Postmaster@Here.Example", "postmaster@mx.here.example", "Postmaster"]
    {
        let reply = door.says(&[to], &letter(FRIEND, to, "hello"));
        assert!(reply.starts_with("250"), "{to}: {reply}");
    }
    assert_eq!(letters_in(&door.server.state_dir().join("dead-letter/new")).len(), 4);
    door.rcpt_says("abuse@here.example", "550 5.1.1");
    door.rcpt_says("postmaster/x@here.example", "550 5.1.1");
    door.rcpt_says("postmaster@there.example", "550 5.7.1");
    symlink("me", door.server.maildir("here.example/postmaster")).unwrap();
    assert!(door.says(&["postmaster@here.example"], &letter(FRIEND, ME, "hello")).starts_with("250"));
    assert_eq!(door.arrived(), 1);
}

#[test]
fn forged_trace_fields_are_dropped() {
    let door = door("");
    let forged = "Return-Path: <boss@other.example>\r\nRETURN-PATH : <boss@other.example>\r\n\
                  Delivered-To: boss@other.example\r\ndelivered-to:\r\n boss@other.example\r\n\
                  Authentication-Results: mx.here.example; dkim=pass header.d=boss.example\r\n\
                  Authentication-Results: \"mx.here.example\" 1; dkim=pass header.d=boss.example\r\n\
                  Authentication-Results: (x) MX.HERE.EXAMPLE; dkim=pass header.d=boss.example\r\n";
    let kept = "Authentication-Results: mx.there.example; dkim=pass header.d=kept.example\r\n";
    let plain = letter(FRIEND, ME, "forged");
    door.answers("one", "250", "stored", &on_top(&format!("{forged}{kept}"), &plain));
    let several = door.says(&[ME, "you@here.example"], &on_top(forged, &plain));
    assert!(several.starts_with("250"), "{several}");
    let mine = || door.server.letters("here.example/me");
    let yours = || door.server.letters("here.example/you");
    eventually("all copies", || (mine().len() == 2 && yours().len() == 1).then_some(()));
    for stored in [mine(), yours()].concat() {
        assert!(stored.starts_with("Return-Path: <friend@there.example>\r\nDelivered-To: "), "{stored}");
        assert!(!stored.contains("boss"), "{stored}");
        assert_eq!(stored.matches("Return-Path").count(), 1, "{stored}");
        assert_eq!(stored.matches("Delivered-To").count(), 1, "{stored}");
    }
    assert!(mine().concat().contains("kept.example"));
}

#[test]
fn results_are_ours_however_our_name_is_written() {
    let dns = Dns::start(ZONE);
    let server = Plan::new("MX.here.example.", &[ME]).start(&dns);
    let forged = "Authentication-Results: mx.here.example; dkim=pass header.d=boss.example\r\n";
    let (mut wire, _) = Wire::greeted(server.mx());
    let reply = wire.transact(FRIEND, &[ME], &on_top(forged, &letter(FRIEND, ME, "forged")));
    assert!(reply.starts_with("250"), "{reply}");
    let stored = server.letters("here.example/me").concat();
    assert!(stored.contains("Authentication-Results: mx.here.example;"), "{stored}");
    assert!(stored.contains(" dkim=none;"), "{stored}");
    assert!(!stored.contains("boss"), "{stored}");
}

#[test]
fn loops_are_noticed() {
    let door = door("");
    let plain = letter(FRIEND, ME, "loop");
    let hop = "Received: from a.example by b.example; Mon, 1 Jan 2024 00:00:00 +0000\r\n";
    door.answers("100 hops", "250", "stored", &on_top(&hop.repeat(100), &plain));
    door.answers("101 hops", "554 5.4.6", "loop", &on_top(&hop.repeat(101), &plain));
    door.answers("101 capitals", "554 5.4.6", "loop", &on_top(&hop.to_uppercase().repeat(101), &plain));
    door.answers("here before", "554 5.4.6", "loop", &on_top("Delivered-To: me@here.example\r\n", &plain));
    door.answers("here before", "554 5.4.6", "loop", &on_top("delivered-to: <ME@Here.Example>\r\n", &plain));
    assert_eq!(door.arrived(), 1);
}

#[test]
fn nothing_is_smuggled_behind_an_end_that_is_none() {
    let door = door("");
    for end in [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\r",
        "\r\n\0.\r\n",
        "\r\n.\0\r\n",
        "\n\n.\r\n",
    ] {
        for address in [door.server.mx(), door.server.submission()] {
            let from = if address == door.server.mx() { FRIEND } else { ME };
            let (mut wire, _) = Wire::greeted(address);
            wire.ask(&format!("MAIL FROM:<{from}>"), "250");
            wire.ask("RCPT TO:<me@here.example>", "250");
            wire.ask("DATA", "354");
            let text = format!(
                "From: {FRIEND}\r\n\r\nHello.{end}MAIL FROM:<evil@there.example>\r\nRCPT TO:<me@here.example>\r\n\
                 DATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
            );
            let reply = wire.raw(text.as_bytes()).reply();
            assert!(reply.starts_with('5'), "{end:?}: {reply}");
            wire.expect("421");
            wire.expect_end();
        }
    }
    assert_eq!(door.arrived(), 0);
}

#[test]
fn idle_strangers_do_not_lock_the_owner_out() {
    let dns = Dns::start(ZONE);
    let limits = "[limits]\nfree_space = 0\nconnections = 8\nconnections_per_ip = 8\n";
    let server = Plan::new("mx.here.example", &[ME]).with(limits).start(&dns);
    let me = Home::new(&dns, ME);
    let mut strangers: Vec<Wire> = (0..8).map(|_| Wire::greeted(server.mx()).0).collect();
    for stranger in &mut strangers {
        stranger.ask("MAIL FROM:<>", "250");
    }
    Wire::connect(server.mx()).expect("421 4.7.0");
    for wire in [Wire::greeted(server.submission()), Wire::gate(&server, &["here.example"])] {
        let (mut wire, name) = wire;
        let sealed = me.sealed(&letter(ME, ME, "not locked out"), &name, &[ME]);
        let reply = wire.transact(ME, &[ME], &sealed);
        assert!(reply.starts_with("250"), "{reply}");
    }
    for stranger in &mut strangers {
        stranger.ask("NOOP", "250");
    }
    drop(strangers.pop());
    eventually("a place for the next stranger", || {
        Wire::connect(server.mx()).reply().starts_with("220").then_some(())
    });
}

#[test]
fn one_stranger_does_not_take_all_places() {
    let dns = Dns::start(ZONE);
    let limits = "[limits]\nfree_space = 0\nconnections = 8\nconnections_per_ip = 3\n";
    let server = Plan::new("mx.here.example", &[ME]).with(limits).start(&dns);
    let mut strangers: Vec<Wire> = (0..3).map(|_| Wire::greeted(server.mx()).0).collect();
    for stranger in &mut strangers {
        stranger.ask("MAIL FROM:<>", "250");
    }
    let reply = Wire::connect(server.mx()).expect("421 4.7.0");
    assert!(reply.contains("from your address"), "{reply}");
}
