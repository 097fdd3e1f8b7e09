//! docs/submission.md, attacked over the wire: every forged, foreign, replayed, unbound, expired, refolded or
//! unparsable letter is refused with a reason in words, through the loopback port and through `gate submit` alike; every
//! right one is taken. Keys are openssl's, signatures those of `tests/tools/`.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use harness::forge::{COVERED, Key, on_top, with};
use harness::home::{letter, now};
use harness::wire::Wire;
use harness::{Dns, Plan, Server, ZONE, eventually, letters_in};
use std::os::unix::fs::symlink;

const ME: &str = "me@here.example";
const YOU: &str = "you@here.example";
const BOSS: &str = "boss@other.example";
const MALLORY: &str = "mallory@evil.example";

/// Two owners in one domain of ours, one in another, aliases of the first; and a stranger with a domain and a key of his own.
struct Town {
    server: Server,
    me: Key,
    you: Key,
    boss: Key,
    mallory: Key,
    dns: Dns,
}

/// The names that lead to `me@here.example`; each could be a selector.
const ALIASES: [&str; 9] =
    ["blog", "second", "gone", "revoked", "testing", "weak", "sha1", "servfail", "me.ed25519"];

fn town(more: &str) -> Town {
    let me = Key::new("me", "rsa2048");
    let you = Key::new("you", "rsa2048");
    let boss = Key::new("boss", "ed25519");
    let mallory = Key::new("mallory", "rsa2048");
    let dns = Dns::start(ZONE);
    dns.add("evil.example. 60 IN MX 10 mx.there.example.");
    for line in [
        me.zone("me", "here.example", ""),
        you.zone("you", "here.example", ""),
        you.zone("second", "here.example", ""),
        boss.zone("boss", "other.example", ""),
        // The stranger's own domain uses our selectors too.
        mallory.zone("mallory", "evil.example", ""),
        mallory.zone("me", "evil.example", ""),
        mallory.zone("me.here.example", "evil.example", ""),
    ] {
        dns.add(&line);
    }
    let addresses = [ME, YOU, BOSS, "me/lists@here.example"];
    let server = Plan::new("mx.here.example", &addresses).with(more).start(&dns);
    for alias in ALIASES {
        symlink("me", server.maildir("here.example").join(alias)).unwrap();
    }
    Town { server, me, you, boss, mallory, dns }
}

/// A seal's tags, to be bent.
type Tags = Vec<(&'static str, String)>;

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

fn seal_tags(from: &str, to: &[&str]) -> Tags {
    let rt: Vec<String> = to.iter().map(|to| base64(to)).collect();
    vec![
        ("v", "1".into()),
        ("t", now().to_string()),
        ("n", pillarbox::trust::seal::nonce().unwrap()),
        ("sv", "mx.here.example".into()),
        ("mf", base64(from)),
        ("rt", rt.join(",")),
    ]
}

fn seal_field(tags: &Tags) -> String {
    let tags: Vec<String> = tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("Envelope-Seal: {}\r\n", tags.join("; "))
}

/// The tags of a signature that covers the seal too.
fn sealing(tags: &str) -> String {
    format!("{tags}:Envelope-Seal")
}

/// A public letter under a true seal for `to`, by the same key and selector.
fn seal(public: &[u8], key: &Key, tags: &str, from: &str, to: &[&str]) -> Vec<u8> {
    key.sign(&sealing(tags), &on_top(&seal_field(&seal_tags(from, to)), public))
}

impl Town {
    fn tags(&self) -> String {
        self.me.tags("me", "here.example")
    }

    /// A letter of mine as I publish it.
    fn public(&self, to: &str) -> Vec<u8> {
        self.me.sign(&self.tags(), &letter(ME, to, "public"))
    }

    /// A letter of mine, right in everything.
    fn right(&self, to: &[&str]) -> Vec<u8> {
        seal(&self.public(to[0]), &self.me, &self.tags(), ME, to)
    }

    /// Any letter, signed with these tags by my key, sealed likewise.
    fn mine(&self, tags: &str, letter: &[u8], from: &str, to: &[&str]) -> Vec<u8> {
        seal(&self.me.sign(tags, letter), &self.me, tags, from, to)
    }

    fn by_port(&self, from: &str, to: &[&str], letter: &[u8]) -> String {
        Wire::greeted(self.server.submission()).0.transact(from, to, letter)
    }

    fn by_gate(&self, from: &str, to: &[&str], letter: &[u8]) -> String {
        Wire::gate(&self.server, &["here.example", "other.example"]).0.transact(from, to, letter)
    }

    /// Refused at both ways in, with this start of a reply and this word of a reason.
    #[track_caller]
    fn answers(&self, case: &str, prefix: &str, word: &str, from: &str, to: &[&str], letter: &[u8]) {
        for (way, reply) in
            [("port", self.by_port(from, to, letter)), ("gate", self.by_gate(from, to, letter))]
        {
            assert!(
                reply.starts_with(prefix) && reply.contains(word),
                "{case}, {way}: want {prefix}…{word}, got {reply}"
            );
        }
    }

    #[track_caller]
    fn refused(&self, case: &str, word: &str, letter: &[u8]) {
        self.answers(case, "550 5.7.", word, ME, &[YOU], letter);
    }

    #[track_caller]
    fn taken(&self, case: &str, from: &str, to: &[&str], letter: &[u8]) {
        let reply = self.by_gate(from, to, letter);
        assert!(reply.starts_with("250 2.2.0 queued, id"), "{case}: {reply}");
    }

    /// All letters in all Maildirs.
    fn arrived(&self) -> usize {
        ["here.example/me", "here.example/you", "other.example/boss", "here.example/me/lists"]
            .iter()
            .map(|place| self.server.letters(place).len())
            .sum()
    }

    fn queued(&self) -> usize {
        std::fs::read_dir(self.server.state_dir().join("queue")).unwrap().count()
    }

    /// To be asserted when everything was refused.
    #[track_caller]
    fn nothing_came_in(&self) {
        assert_eq!((self.queued(), self.arrived()), (0, 0));
        assert!(letters_in(&self.server.state_dir().join("dead-letter/new")).is_empty());
    }
}

#[test]
fn what_is_no_signature_submits_nothing() {
    let town = town("");
    let plain = letter(ME, YOU, "forged");
    let sealed = on_top(&seal_field(&seal_tags(ME, &[YOU])), &plain);
    for (case, field, word) in [
        ("none", "", "has no DKIM-Signature"),
        ("x", "DKIM-Signature: x\r\n", "cannot be read"),
        ("empty", "DKIM-Signature:\r\n", "cannot be read"),
        (
            "a parody",
            "DKIM-Signature: v=1; a=rsa-sha256; d=here.example; s=me; h=From; bh=AAAA; b=AAAA\r\n",
            "h=",
        ),
        (
            "no d=",
            "DKIM-Signature: v=1; a=rsa-sha256; s=me; h=From:Envelope-Seal; bh=AAAA; b=AAAA\r\n",
            "has no d=",
        ),
        ("ARC only", "ARC-Seal: i=1; d=here.example; s=me; b=AAAA\r\n", "has no DKIM-Signature"),
    ] {
        town.refused(&format!("{case}, no seal"), "no Envelope-Seal", &on_top(field, &plain));
        town.refused(&format!("{case}, sealed"), word, &on_top(field, &sealed));
    }
    town.nothing_came_in();
}

#[test]
fn a_strangers_valid_signature_submits_nothing() {
    let town = town("");
    let as_me = letter(ME, YOU, "forged");
    let seal_by = |key: &Key, tags: &str, from: &str| seal(&key.sign(tags, &as_me), key, tags, from, &[YOU]);
    for (case, selector, domain, word) in [
        ("his own", "mallory", "evil.example", "signed by evil.example"),
        ("my selector in his domain", "me", "evil.example", "signed by evil.example"),
        ("my domain as his selector", "me.here.example", "evil.example", "signed by evil.example"),
        ("my names, his key", "me", "here.example", "does not match"),
        ("a selector that nobody is", "mallory", "here.example", "does not belong"),
        ("the catch-all that is not there", "*", "here.example", "cannot be read"),
        ("a topic as selector", "lists", "here.example", "does not belong"),
        ("a path", "me/lists", "here.example", "cannot be read"),
        ("a Maildir's directory", "new", "here.example", "does not belong"),
        ("a dot behind d=", "me", "here.example.", "cannot be read"),
        ("a dot behind s=", "me.", "here.example", "cannot be read"),
        ("below us", "me", "sub.here.example", "signed by sub.here.example"),
        ("above us", "me", "example", "signed by example"),
        ("the Kelvin sign in a selector", "\u{212a}", "here.example", "cannot be read"),
        ("a long s in a selector", "te\u{17f}ting", "here.example", "cannot be read"),
        ("a dotted capital I in d=", "me", "here.exampl\u{130}", "signed by"),
        ("full width letters in d=", "me", "\u{ff48}ere.example", "does not match"),
    ] {
        town.refused(case, word, &seal_by(&town.mallory, &town.mallory.tags(selector, domain), ME));
    }
    let his = letter(MALLORY, YOU, "his own");
    let tags = town.mallory.tags("mallory", "evil.example");
    let his = seal(&town.mallory.sign(&tags, &his), &town.mallory, &tags, MALLORY, &[YOU]);
    town.answers("as himself", "550 5.7.1", "own addresses", MALLORY, &[YOU], &his);
    town.answers("from nobody", "550 5.7.1", "<> cannot submit", "", &[YOU], &his);
    town.answers(
        "from an address that is not there",
        "550 5.7.1",
        "does not exist",
        "nobody@here.example",
        &[YOU],
        &his,
    );
    town.nothing_came_in();
}

#[test]
fn one_of_us_cannot_pose_as_another() {
    let town = town("");
    let you = town.you.tags("you", "here.example");
    let boss = town.boss.tags("boss", "other.example");
    let signed = |key: &Key, tags: &str, header_from: &str, from: &str| {
        seal(&key.sign(tags, &letter(header_from, YOU, "posing")), key, tags, from, &[YOU])
    };
    let case = |case, word, from, letter: &[u8]| town.answers(case, "550 5.7.", word, from, &[YOU], letter);
    case("your key, my envelope, my From", "does not belong", ME, &signed(&town.you, &you, ME, ME));
    case("your key, your envelope, my From", "From names me@", YOU, &signed(&town.you, &you, ME, YOU));
    case("your key, my envelope, your From", "From names you@", ME, &signed(&town.you, &you, YOU, ME));
    case("my key, your envelope", "does not belong", YOU, &signed(&town.me, &town.tags(), YOU, YOU));
    case("boss's key, my envelope", "signed by other.example", ME, &signed(&town.boss, &boss, ME, ME));
    case("boss's key, my From", "not in the domain", BOSS, &signed(&town.boss, &boss, ME, BOSS));
    let crossed = town.boss.tags("boss", "here.example");
    case("boss's selector in my domain", "does not belong", ME, &signed(&town.boss, &crossed, ME, ME));
    let renamed = town.you.tags("me", "here.example");
    case("your key under my selector", "does not match", ME, &signed(&town.you, &renamed, ME, ME));
    let capital = town.you.tags("You", "here.example");
    case("capitals make no other user", "does not belong", ME, &signed(&town.you, &capital, ME, ME));
    town.nothing_came_in();
}

#[test]
fn a_signature_that_proves_too_little_submits_nothing() {
    let town = town("");
    let weak = Key::new("weak", "rsa1024");
    town.dns.add(&weak.zone("weak", "here.example", ""));
    town.dns.add(&town.me.zone("testing", "here.example", "t=y; "));
    town.dns.add("revoked._domainkey.here.example. 60 IN TXT \"v=DKIM1; k=rsa; p=\"");
    let mine = letter(ME, YOU, "weak");
    let under = |tags: &str| town.mine(tags, &mine, ME, &[YOU]);
    let good = town.tags();
    let (past, future) = (now() - 60, now() + 3600);
    let bent = |from: &str, to: &str| {
        let tags = good.replace(from, to);
        assert_ne!(tags, good);
        tags
    };
    for (case, tags, word) in [
        ("expired", bent("v=1;", &format!("v=1; x={past};")), "expired"),
        ("expired before it was made", bent("v=1;", &format!("v=1; t={}; x={past};", past + 5)), "expired"),
        ("l=", bent("v=1;", "v=1; l=3;"), "l="),
        ("rsa-sha1", bent("rsa-sha256", "rsa-sha1"), "rsa-sha1"),
        ("revoked", bent("s=me", "s=revoked"), "revoked"),
        ("testing", bent("s=me", "s=testing"), "testing"),
        ("no key", bent("s=me", "s=gone"), "no key in DNS"),
        ("no From in h=", bent("From:From:", ""), "leaves out From"),
        ("i= of another user", bent("s=me;", "s=me; i=you@here.example;"), "speaks for"),
        ("i= of nobody", bent("s=me;", "s=me; i=boss@here.example;"), "speaks for"),
        ("i= in another domain", bent("s=me;", "s=me; i=me@other.example;"), "cannot be read"),
        ("i= hidden by quoting", bent("s=me;", "s=me; i==79ou@here.example;"), "speaks for"),
        ("d= twice", bent("d=here.example", "d=evil.example; d=here.example"), "stands twice"),
        ("v=2", bent("v=1", "v=2"), "version"),
    ] {
        town.refused(case, word, &under(&tags));
    }
    let premature = under(&bent("v=1;", &format!("v=1; t={future};")));
    town.answers("signed in an hour", "451 4.7.", "clocks", ME, &[YOU], &premature);
    let tags = weak.tags("weak", "here.example");
    town.refused("RSA-1024", "1024 bits", &seal(&weak.sign(&tags, &mine), &weak, &tags, ME, &[YOU]));
    let tags = bent("s=me", "s=servfail");
    town.answers("DNS does not answer", "451 4.7.", "cannot be looked up", ME, &[YOU], &under(&tags));
    town.nothing_came_in();
}

#[test]
fn every_instance_of_a_listed_field_is_covered() {
    let town = town("");
    for (field, line) in [
        ("Sender", "Sender: me@here.example\r\n"),
        ("Reply-To", "Reply-To: mallory@evil.example\r\n"),
        ("To", ""),
        ("Cc", "Cc: friend@there.example\r\n"),
        ("Subject", ""),
        ("Date", ""),
        ("Message-ID", ""),
        ("MIME-Version", "MIME-Version: 1.0\r\n"),
        ("Content-Type", "Content-Type: text/html\r\n"),
        ("Content-Transfer-Encoding", "Content-Transfer-Encoding: 8bit\r\n"),
    ] {
        let mine = on_top(line, &letter(ME, YOU, "uncovered"));
        let covered = COVERED.replace(&format!(":{field}:{field}"), "");
        assert_ne!(covered, COVERED, "{field}");
        let tags = town.tags().replace(COVERED, &covered);
        town.refused(field, &format!("leaves {field} out"), &town.mine(&tags, &mine, ME, &[YOU]));
        if !line.is_empty() {
            let added = on_top(line, &town.right(&[YOU]));
            town.refused(&format!("{field}, added on top"), "does not match", &added);
        }
    }
    for field in
        ["From: x@evil.example", "Subject: another", "To: all@there.example", "Date: x", "Message-ID: <x@y>"]
    {
        let twice = on_top(&format!("{field}\r\n"), &letter(ME, YOU, "twice"));
        town.refused(field, "a second", &town.mine(&town.tags(), &twice, ME, &[YOU]));
    }
    town.nothing_came_in();
}

#[test]
fn a_header_that_readers_could_split_differently_submits_nothing() {
    let town = town("");
    let long = format!("X-Long: {}\r\n", "x".repeat(20_000));
    for (case, line, word) in [
        ("a second From", "From: boss@other.example\r\n", "a second From"),
        ("capitals", "FROM: boss@other.example\r\n", "a second From"),
        ("folded", "From:\r\n boss@other.example\r\n", "a second From"),
        ("a space before the colon", "From : boss@other.example\r\n", "white space"),
        ("a tab before the colon", "From\t: boss@other.example\r\n", "white space"),
        ("a leading space", " From: boss@other.example\r\n", "continuation"),
        ("a leading tab", "\tFrom: boss@other.example\r\n", "continuation"),
        ("a line of nothing but space", "X: y\r\n \r\n", "white space"),
        ("no colon", "From boss@other.example\r\n", "colon"),
        ("an mbox line", "From boss@other.example Mon Jan  1 00:00:00 2026\r\n", "printable"),
        ("no name", ": boss@other.example\r\n", "no name"),
        ("8-bit in the name", "Fr\u{f6}m: boss@other.example\r\n", "printable"),
        ("DEL in the name", "From\x7f: boss@other.example\r\n", "printable"),
        ("a vertical tab in the name", "From\x0b: boss@other.example\r\n", "printable"),
        ("20,000 characters", &long, "998"),
    ] {
        let unsigned = on_top(line, &town.right(&[YOU]));
        town.refused(&format!("{case}, on top"), word, &unsigned);
    }
    let right = town.right(&[YOU]);
    town.refused("no colon, in the middle", "colon", &with(&right, "Subject: ", "Boss\r\nSubject: "));
    town.refused("an empty line on top", "differently", &on_top("\r\n", &right));
    for (case, line, prefix, word) in [
        ("NUL", "Fr\0om: boss@other.example\r\n", "55", "NUL"),
        ("NUL before the colon", "From\0: boss@other.example\r\n", "55", "NUL"),
        ("a lone CR", "X: y\rFrom: boss@other.example\r\n", "55", "CR"),
        ("a lone LF", "X: y\nFrom: boss@other.example\r\n", "55", "LF"),
    ] {
        town.answers(case, prefix, word, ME, &[YOU], &on_top(line, &town.right(&[YOU])));
    }
    let long = [&letter(ME, YOU, "long")[..], b"x".repeat(20_000).as_slice(), b"\r\n"].concat();
    town.refused("a long line in the body", "rule 2", &town.mine(&town.tags(), &long, ME, &[YOU]));
    town.nothing_came_in();
}

#[test]
fn people_in_the_header_are_the_sender_alone() {
    let town = town("");
    let from = |value: &str| {
        let mine = with(&letter(ME, YOU, "people"), "From: me@here.example", &format!("From: {value}"));
        town.mine(&town.tags(), &mine, ME, &[YOU])
    };
    for (value, word) in [
        ("me@here.example, boss@other.example", "2 mailboxes"),
        ("us: me@here.example, you@here.example;", "a group"),
        ("nobody:;", "a group"),
        ("\"boss@other.example\":;, me@here.example", "a group"),
        ("me@here.example <boss@other.example>", "From"),
        ("\"me@here.example\" <boss@other.example>", "not in the domain"),
        ("=?utf-8?q?me=40here.example?= <boss@other.example>", "not in the domain"),
        ("=?utf-8?b?Ym9zc0BvdGhlci5leGFtcGxl?=", "From"),
        ("=?utf-8?q?boss=40other.example=00?=@here.example", "From"),
        ("(me@here.example) boss@other.example", "not in the domain"),
        ("boss@other.example (me@here.example)", "not in the domain"),
        ("boss@other.example <me@here.example>", "From"),
        ("<me@here.example> <boss@other.example>", "From"),
        ("<@here.example,@other.example:boss@other.example>", "From"),
        ("you@here.example", "From names you@"),
        ("YOU@here.example", "From names YOU@"),
        ("\"y\\ou\"@here.example", "From names you@"),
        ("me@other.example", "not in the domain"),
        ("nobody@here.example", "From names nobody@"),
        ("me @here.example.", "From"),
        ("me", "From"),
        ("", "From"),
    ] {
        town.refused(value, word, &from(value));
    }
    for (line, word) in [
        ("Sender: boss@other.example", "Sender names boss@"),
        ("Sender: you@here.example", "Sender names you@"),
        ("Resent-Sender: boss@other.example", "Resent-Sender names boss@"),
        ("Sender: me@here.example, you@here.example", "Sender names you@"),
        ("Sender: friend@there.example", "Sender names friend@"),
        ("Sender: x", "Sender"),
        ("Resent-From: boss@other.example", "Resent-From names boss@"),
        ("Resent-From: me@here.example\r\nResent-From: you@here.example", "Resent-From names you@"),
        ("RESENT-FROM: friend@there.example", "Resent-From names friend@"),
    ] {
        let mine = on_top(&format!("{line}\r\n"), &letter(ME, YOU, "people"));
        town.refused(line, word, &town.mine(&town.tags(), &mine, ME, &[YOU]));
    }
    let none = with(&letter(ME, YOU, "nobody"), "From: me@here.example\r\n", "");
    town.refused("no From", "0 From fields", &town.mine(&town.tags(), &none, ME, &[YOU]));
    town.nothing_came_in();
}

#[test]
fn a_bent_seal_submits_nothing() {
    let town = town("");
    let public = town.public(YOU);
    let sealed = |tags: &Tags| town.me.sign(&sealing(&town.tags()), &on_top(&seal_field(tags), &public));
    let good = seal_tags(ME, &[YOU]);
    let set = |name: &str, value: String| {
        let mut tags = good.clone();
        tags.iter_mut().find(|tag| tag.0 == name).unwrap().1 = value;
        tags
    };
    for name in ["v", "t", "n", "sv", "mf", "rt"] {
        let missing: Tags = good.iter().filter(|tag| tag.0 != name).cloned().collect();
        town.refused(&format!("{name} missing"), &format!("has no {name}="), &sealed(&missing));
        let again = good.iter().find(|tag| tag.0 == name).unwrap().clone();
        let double = [good.clone(), vec![again]].concat();
        town.refused(&format!("{name} twice"), "stands twice", &sealed(&double));
        town.refused(&format!("{name} empty"), "rule 3", &sealed(&set(name, String::new())));
        let altered = with(&sealed(&good), &format!(" {name}="), &format!(" {name}=1"));
        let altered_sealed = with(&sealed(&good), "Envelope-Seal: ", "Envelope-Seal: x=1; ");
        town.refused(&format!("{name} changed after sealing"), "rule", &altered);
        town.refused("a tag added after sealing", "unknown", &altered_sealed);
    }
    let url = URL_SAFE_NO_PAD.encode(YOU);
    for (case, tags, word) in [
        ("mf of another", set("mf", base64(YOU)), "sealed for the sender you@"),
        ("mf in capitals", set("mf", base64("ME@here.example")), "sealed for the sender ME@"),
        ("rt of another", set("rt", base64(BOSS)), "not sealed for the recipient you@"),
        ("rt of more", set("rt", format!("{},{}", base64(YOU), base64(BOSS))), "sealed for boss@"),
        ("rt twice the same", set("rt", format!("{0},{0}", base64(YOU))), "twice"),
        ("rt in capitals", set("rt", base64("You@here.example")), "not sealed for the recipient"),
        ("rt with an empty item", set("rt", format!("{},", base64(YOU))), "rt="),
        ("rt of two in one", set("rt", base64("you@here.example,boss@other.example")), "no address"),
        ("rt with a line", set("rt", base64("you@here.example\r\nboss@other.example")), "no address"),
        ("rt in brackets", set("rt", base64("<you@here.example>")), "no address"),
        ("rt as text", set("rt", YOU.into()), "no base64"),
        ("rt of the URL alphabet", set("rt", format!("{url}_")), "no base64"),
        ("sv of another", set("sv", "mx.there.example".into()), "sealed for the server"),
        ("sv with a list", set("sv", "mx.here.example,mx.there.example".into()), "sealed for the server"),
        ("n too short", set("n", "00".into()), "32"),
        ("n in capitals", set("n", "ABCDEF".repeat(6)[..32].into()), "32"),
        ("t no number", set("t", "now".into()), "no number"),
        ("t below zero", set("t", "-1".into()), "no number"),
        ("v of tomorrow", set("v", "2".into()), "version"),
        ("an unknown tag", [good.clone(), vec![("x", "1".into())]].concat(), "unknown"),
    ] {
        town.refused(case, word, &sealed(&tags));
    }
    let unpadded = STANDARD_NO_PAD.encode(YOU);
    assert_ne!(unpadded, base64(YOU));
    town.refused("rt unpadded", "no base64", &sealed(&set("rt", unpadded.clone())));
    for time in [now() - 660, now() + 660] {
        let tags = set("t", time.to_string());
        town.answers("11 minutes", "451 4.7.", &format!("says {time}"), ME, &[YOU], &sealed(&tags));
        town.answers("11 minutes", "451 4.7.", "this server's clock", ME, &[YOU], &sealed(&tags));
    }
    town.nothing_came_in();
}

#[test]
fn a_seal_is_one_and_signed_by_the_key_of_the_letter() {
    let town = town("");
    let (public, mine) = (town.public(YOU), town.tags());
    let field = seal_field(&seal_tags(ME, &[YOU]));
    let sealed = on_top(&field, &public);
    let by = |key: &Key, selector, domain| key.sign(&sealing(&key.tags(selector, domain)), &sealed);
    town.refused("no signature over it", "no signature by a key of the sender", &sealed);
    town.refused("not in h=", "no signature by a key of the sender", &town.me.sign(&mine, &sealed));
    town.refused(
        "sealed by a stranger",
        "no signature by a key of the sender",
        &by(&town.mallory, "mallory", "evil.example"),
    );
    town.refused(
        "sealed by a stranger in my name",
        "does not match",
        &by(&town.mallory, "me", "here.example"),
    );
    town.refused(
        "sealed by you",
        "no signature by a key of the sender",
        &by(&town.you, "you", "here.example"),
    );
    town.refused("sealed by another key of mine", "another key", &by(&town.you, "second", "here.example"));
    let two = on_top(&seal_field(&seal_tags(ME, &[BOSS])), &sealed);
    town.refused("two seals", "2 Envelope-Seal", &town.me.sign(&sealing(&mine), &two));
    town.refused("two seals, one unsigned", "2 Envelope-Seal", &on_top(&field, &town.right(&[YOU])));
    let capitals = on_top(&field.to_uppercase(), &town.right(&[YOU]));
    town.refused("two seals, one in capitals", "2 Envelope-Seal", &capitals);
    // One signature may not be both the public one and the seal's.
    let alone = on_top(&field, &letter(ME, YOU, "alone"));
    town.refused("only the seal is signed", "rule 1", &town.me.sign(&sealing(&mine), &alone));
    let changed = with(&town.right(&[YOU]), "Hello.", "Hello!");
    town.refused("another body", "body", &changed);
    let changed = with(&town.right(&[YOU]), "Subject: public", "Subject: Public");
    town.refused("another subject", "does not match", &changed);
    // The seal holds, but the letter beneath does not.
    let broken = with(&public, "Subject: public", "Subject: Public");
    town.refused(
        "a broken letter under a good seal",
        "does not match",
        &seal(&broken, &town.me, &mine, ME, &[YOU]),
    );
    town.nothing_came_in();
}

#[test]
fn the_envelope_is_the_sealed_one() {
    let town = town("");
    let case = |case, word, from, to: &[&str]| {
        town.answers(case, "550 5.7.", word, from, to, &town.right(&[YOU, BOSS]));
    };
    case("one more", "not sealed for the recipient me@", ME, &[YOU, BOSS, ME]);
    case("one less", "sealed for boss@", ME, &[YOU]);
    case("another", "not sealed for", ME, &[YOU, ME]);
    case("in capitals", "not sealed for", ME, &["YOU@here.example", BOSS]);
    case("by an alias", "sealed for the sender me@", "blog@here.example", &[YOU, BOSS]);
    case("from you", "From names me@", YOU, &[YOU, BOSS]);
    town.nothing_came_in();
    // The domain's case is no difference, nor is the order, nor naming one twice.
    let right = town.right(&[YOU, BOSS]);
    town.taken("the same", "me@HERE.example", &["boss@Other.Example", YOU, YOU], &right);
    eventually("both copies", || (town.arrived() == 2).then_some(()));
}

#[test]
fn what_a_recipient_has_submits_nothing() {
    let town = town("");
    let sealed = town.right(&[YOU]);
    town.taken("the letter itself", ME, &[YOU], &sealed);
    let delivered = eventually("the copy", || town.server.letters("here.example/you").pop());
    assert!(!delivered.to_lowercase().contains("envelope-seal"), "{delivered}");
    let start = delivered.find("DKIM-Signature").unwrap();
    let (delivered, public) = (delivered.as_bytes(), &delivered.as_bytes()[start..]);
    for (name, bytes) in [("as delivered", delivered), ("the public bytes", public)] {
        for to in [&[YOU][..], &[BOSS], &[YOU, BOSS], &["friend@there.example"]] {
            town.answers(name, "550 5.7.", "no Envelope-Seal", ME, to, bytes);
        }
        for (key, selector, domain, word) in [
            (&town.mallory, "mallory", "evil.example", "no signature by a key of the sender"),
            (&town.mallory, "me", "here.example", "does not match"),
            (&town.you, "you", "here.example", "no signature by a key of the sender"),
        ] {
            let tags = key.tags(selector, domain);
            let forged = seal(bytes, key, &tags, ME, &[BOSS]);
            town.answers(name, "550 5.7.", word, ME, &[BOSS], &forged);
            let unsigned = on_top(&seal_field(&seal_tags(ME, &[BOSS])), bytes);
            town.answers(name, "550 5.7.", "no signature", ME, &[BOSS], &unsigned);
        }
        // You, to whom it was written, as yourself: it still says that it is from me.
        let yours = town.you.tags("you", "here.example");
        town.answers(
            name,
            "550 5.7.",
            "From names me@",
            YOU,
            &[BOSS],
            &seal(bytes, &town.you, &yours, YOU, &[BOSS]),
        );
    }
    // My own seal on a letter that was submitted before, for others: the signature is spent.
    let again = seal(public, &town.me, &town.tags(), ME, &[BOSS]);
    town.answers("spent", "550 5.7.", "used before", ME, &[BOSS], &again);
    let again = seal(public, &town.me, &town.tags(), ME, &[YOU]);
    town.answers("spent, to the same", "550 5.7.", "used before", ME, &[YOU], &again);
    assert_eq!(town.arrived(), 1);
}

#[test]
fn a_letter_is_queued_once() {
    let town = town("");
    let public = town.public(YOU);
    let tags = seal_tags(ME, &[YOU]);
    let under =
        |public: &[u8], tags: &Tags| town.me.sign(&sealing(&town.tags()), &on_top(&seal_field(tags), public));
    town.taken("first", ME, &[YOU], &under(&public, &tags));
    eventually("the copy", || (town.arrived() == 1).then_some(()));
    // The same letter, its seal renewed or stale: the nonce is looked up before the clock is.
    for time in [now(), now() + 5, now() - 100_000] {
        let mut again = tags.clone();
        again[1].1 = time.to_string();
        town.answers("again", "250 2.2.0", "queued before", ME, &[YOU], &under(&public, &again));
    }
    town.answers("another letter", "550 5.7.", "used before", ME, &[YOU], &under(&town.public(YOU), &tags));
    let mut others = seal_tags(ME, &[BOSS]);
    others[2].1 = tags[2].1.clone();
    town.answers("for others", "550 5.7.", "used before", ME, &[BOSS], &under(&public, &others));
    assert_eq!(town.arrived(), 1);
}

#[test]
fn of_two_connections_with_one_letter_one_queues_it() {
    let town = town("");
    for _ in 0..5 {
        let before = town.arrived();
        let sealed = town.right(&[YOU]);
        let replies: Vec<String> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..4).map(|_| scope.spawn(|| town.by_port(ME, &[YOU], &sealed))).collect();
            tries.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let queued = replies.iter().filter(|reply| reply.starts_with("250 2.2.0 queued, id")).count();
        let other = |reply: &String| reply.starts_with("250 2.2.0 queued") || reply.starts_with("451 4.7.1");
        assert!(queued == 1 && replies.iter().all(other), "{replies:?}");
        eventually("the copy", || (town.arrived() > before).then_some(()));
        assert_eq!(town.arrived(), before + 1);
    }
}

#[test]
fn one_good_signature_is_enough_whatever_stands_beside_it() {
    let town = town("");
    let ed25519 = Key::new("me", "ed25519");
    town.dns.add(&ed25519.zone("me.ed25519", "here.example", ""));
    let mine = letter(ME, YOU, "beside");
    let two = |first: &[u8]| ed25519.sign(&ed25519.tags("me.ed25519", "here.example"), first);
    let both = |public: &[u8]| seal(public, &town.me, &town.tags(), ME, &[YOU]);
    let signed = |from: &str, to: &str| {
        let bent = town.tags().replace(from, to);
        assert_ne!(bent, town.tags());
        town.me.sign(&bent, &mine)
    };
    town.taken("RSA and Ed25519", ME, &[YOU], &both(&two(&town.public(YOU))));
    let broken = with(&two(&signed("v=1;", "v=1; t=1;")), "; s=me.ed25519; ", "; s=me.ed25519;  t=1; ");
    town.taken("a broken Ed25519", ME, &[YOU], &both(&broken));
    let tags = ed25519.tags("me.ed25519", "here.example");
    let expired = two(&signed("v=1;", "v=1; x=1;"));
    town.taken("an expired RSA", ME, &[YOU], &seal(&expired, &ed25519, &tags, ME, &[YOU]));

    let one = |n: usize| {
        format!(
            "DKIM-Signature: v=1; a=rsa-sha256; d=d{n}.servfail.example; s=x; h=From; bh=AAAA; b=AAAA\r\n"
        )
    };
    let crowd: String = (0..50).map(one).collect();
    town.taken("50 foreign ones in front", ME, &[YOU], &on_top(&crowd, &town.right(&[YOU])));
    let rubbish = "DKIM-Signature: x\r\n".repeat(50);
    town.taken("50 that cannot be read", ME, &[YOU], &on_top(&rubbish, &town.right(&[YOU])));
    let own = |n: usize| {
        format!(
            "DKIM-Signature: v=1; a=rsa-sha256; d=here.example; s=me; h={COVERED}; t={n}; bh=AAAA; b=AAAA\r\n"
        )
    };
    let crowd: String = (1..=2).map(own).collect();
    town.taken("two broken ones of my own", ME, &[YOU], &on_top(&crowd, &town.right(&[YOU])));
    let crowd: String = (1..=4).map(own).collect();
    town.refused("four broken ones of my own", "rule", &on_top(&crowd, &town.right(&[YOU])));
}

#[test]
fn right_letters_of_every_kind_are_taken() {
    let town = town("");
    for (from, header_from) in [
        (ME, "Me <me@here.example>"),
        (ME, "\"boss\" <ME@Here.Example> (a comment)"),
        (ME, "=?utf-8?q?M=C3=A9?= <me@here.example>"),
        ("me/lists@here.example", "me/lists@here.example"),
        ("me+lists@here.example", "me@here.example"),
        ("blog@here.example", "blog@here.example"),
        ("Blog@here.example", "me+lists@here.example"),
        ("\"me\"@here.example", "me@here.example"),
    ] {
        let mine = letter(header_from, YOU, "right");
        // A seal's mf= is written as our own client writes it, without needless quotes.
        let mf = from.replace('"', "");
        town.taken(
            &format!("{from} {header_from}"),
            from,
            &[YOU],
            &town.mine(&town.tags(), &mine, &mf, &[YOU]),
        );
    }
    let identity = town.tags().replace("s=me;", "s=me; i=blog@here.example;");
    town.taken("i= of an alias", ME, &[YOU], &town.mine(&identity, &letter(ME, YOU, "i="), ME, &[YOU]));
    let nobody = town.tags().replace("s=me;", "s=me; i=@sub.here.example;");
    town.taken("i= of nobody", ME, &[YOU], &town.mine(&nobody, &letter(ME, YOU, "i="), ME, &[YOU]));
    let simple = town.tags().replace("relaxed/relaxed", "simple/simple");
    town.taken("simple", ME, &[YOU], &town.mine(&simple, &letter(ME, YOU, "simple"), ME, &[YOU]));
    let by_dkimpy = town.me.dkimpy("me", "here.example", &letter(ME, YOU, "dkimpy"));
    town.taken("dkimpy", ME, &[YOU], &seal(&by_dkimpy, &town.me, &town.tags(), ME, &[YOU]));
    let tags = town.boss.tags("boss", "other.example");
    let by_dkimpy = town.boss.dkimpy("boss", "other.example", &letter(BOSS, YOU, "dkimpy, Ed25519"));
    town.taken("dkimpy, Ed25519", BOSS, &[YOU], &seal(&by_dkimpy, &town.boss, &tags, BOSS, &[YOU]));
    eventually("all of them", || (town.arrived() == 13).then_some(()));
    for letter in town.server.letters("here.example/you") {
        assert!(letter.starts_with("Return-Path:") && !letter.contains("Envelope-Seal"), "{letter}");
    }
}

const PLAIN: &str = "[submission]\naccept = [\"sealed\", \"plain\"]\n";

#[test]
fn plain_letters_are_taken_from_loopback_once() {
    let town = town(PLAIN);
    let public = town.public(YOU);
    let by_gate = town.by_gate(ME, &[YOU], &public);
    assert!(by_gate.starts_with("550 5.7.1") && by_gate.contains("loopback"), "{by_gate}");
    let reply = town.by_port(ME, &[YOU], &public);
    assert!(reply.starts_with("250 2.2.0 queued, id"), "{reply}");
    eventually("the copy", || (town.arrived() == 1).then_some(()));
    let refused = |case: &str, word: &str, to: &[&str], letter: &[u8]| {
        let reply = town.by_port(ME, to, letter);
        assert!(reply.starts_with("550 5.7.") && reply.contains(word), "{case}: want {word}, got {reply}");
    };
    let again = town.by_port(ME, &[YOU], &public);
    assert!(again.starts_with("250") && again.contains("queued before"), "{again}");
    refused("another envelope", "used before", &[BOSS], &public);
    refused("one more", "used before", &[YOU, BOSS], &public);
    refused("a field added", "used before", &[YOU], &on_top("X-New: 1\r\n", &public));
    refused("b= refolded", "used before", &[BOSS], &with(&public, "; b=", "; b=\r\n "));
    let end = String::from_utf8(public.clone()).unwrap().find("==\r\n").map(|at| at + 2);
    let end = end.expect("RSA-2048 in base64 ends in ==");
    let unpadded = [&public[..end - 2], &public[end..]].concat();
    refused("b= unpadded", "used before", &[BOSS], &unpadded);
    let mut nudged = public.clone();
    nudged[end - 3] = if nudged[end - 3] == b'A' { b'B' } else { nudged[end - 3] + 1 };
    refused("b= nudged", "rule 1", &[BOSS], &nudged);
    let other_signature = on_top("DKIM-Signature: x\r\n", &public);
    refused("something unreadable on top", "used before", &[BOSS], &other_signature);
    refused(
        "under a seal by nobody",
        "no signature",
        &[BOSS],
        &on_top(&seal_field(&seal_tags(ME, &[BOSS])), &public),
    );
    assert_eq!(town.arrived(), 1);
}

#[test]
fn plain_letters_are_of_this_hour() {
    let town = town(PLAIN);
    let dated = |age: i64| {
        let then = jiff::Timestamp::from_second(now() - age).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
        let date = jiff::fmt::rfc2822::to_string(&then).unwrap();
        format!("Date: {date}\r\nFrom: {ME}\r\nTo: {YOU}\r\nSubject: of then\r\n\r\nHello.\r\n").into_bytes()
    };
    let says = |case: &str, prefix: &str, word: &str, letter: &[u8]| {
        let reply = town.by_port(ME, &[YOU], letter);
        assert!(
            reply.starts_with(prefix) && reply.contains(word),
            "{case}: want {prefix} {word}, got {reply}"
        );
    };
    let sign = |letter: &[u8]| town.me.sign(&town.tags(), letter);
    says("two hours old", "550 5.7.", "more than an hour", &sign(&dated(7200)));
    says("of tomorrow", "451 4.7.", "more than an hour", &sign(&dated(-86_400)));
    let timed = town.tags().replace("v=1;", &format!("v=1; t={};", now()));
    let later = town.me.sign(&timed, &dated(-40 * 86_400));
    says("of now, with a Date of next month", "451 4.7.", "more than an hour", &later);
    let undated = with(&dated(0), "Date: ", "X-Date: ");
    says("no date", "550 5.7.", "Date", &sign(&undated));
    let covered = COVERED.replace(":Date:Date", "");
    let not_oversigned = town.me.sign(&town.tags().replace(COVERED, &covered), &undated);
    let today = String::from_utf8(dated(0)).unwrap();
    let today = &today[..today.find("\r\n").unwrap() + 2];
    says("a Date that nobody signed", "550 5.7.", "leaves Date out", &on_top(today, &not_oversigned));
    says("a broken signature", "550 5.7.", "does not match", &with(&sign(&dated(0)), "of then", "of now"));
    says("DKIM-Signature: x", "550 5.7.", "cannot be read", &on_top("DKIM-Signature: x\r\n", &dated(0)));
    let foreign = town.mallory.sign(&town.mallory.tags("me", "evil.example"), &dated(0));
    says("a stranger's", "550 5.7.", "signed by evil.example", &foreign);
    town.nothing_came_in();
}

#[test]
fn what_was_sealed_once_is_no_plain_letter_later() {
    let mut town = town(PLAIN);
    let public = town.public(YOU);
    let tags = seal_tags(ME, &[YOU]);
    let sealed = town.me.sign(&sealing(&town.tags()), &on_top(&seal_field(&tags), &public));
    town.taken("sealed", ME, &[YOU], &sealed);
    eventually("the copy", || (town.arrived() == 1).then_some(()));
    let spent = |town: &Town| {
        for to in [YOU, BOSS] {
            let reply = town.by_port(ME, &[to], &public);
            assert!(reply.starts_with("550 5.7.") && reply.contains("used before"), "{to}: {reply}");
        }
        town.answers("the seal again", "250 2.2.0", "queued before", ME, &[YOU], &sealed);
    };
    spent(&town);
    // A server that was killed remembers.
    town.server.kill();
    town.server = town.server.again();
    spent(&town);
    assert_eq!(town.arrived(), 1);
}

#[test]
fn where_plain_alone_is_taken_a_seal_is_not() {
    let town = town("[submission]\naccept = [\"plain\"]\n");
    town.refused("sealed", "no letters with an Envelope-Seal", &town.right(&[YOU]));
    town.nothing_came_in();
    let reply = town.by_port(ME, &[YOU], &town.public(YOU));
    assert!(reply.starts_with("250 2.2.0 queued"), "{reply}");
}

#[test]
fn an_ssh_key_sends_as_those_that_its_line_names() {
    let town = town("");
    let boss = town.boss.tags("boss", "other.example");
    let his = || seal(&town.boss.sign(&boss, &letter(BOSS, YOU, "boss")), &town.boss, &boss, BOSS, &[YOU]);
    let reply = |allowed: &[&str], from: &str, letter: &[u8]| {
        Wire::gate(&town.server, allowed).0.transact(from, &[YOU], letter)
    };
    for allowed in
        [&[ME][..], &["here.example"], &[YOU, ME], &["nobody@other.example"], &["you@other.example"]]
    {
        let reply = reply(allowed, BOSS, &his());
        assert!(reply.starts_with("550 5.7.1") && reply.contains("ssh key"), "{allowed:?}: {reply}");
    }
    for allowed in [&[BOSS][..], &["other.example"], &[YOU, "you@other.example"], &["nobody@here.example"]] {
        let reply = reply(allowed, ME, &town.right(&[YOU]));
        assert!(reply.starts_with("550 5.7.1") && reply.contains("ssh key"), "{allowed:?}: {reply}");
    }
    town.nothing_came_in();
    // A catch-all is nobody's name: neither for an address that is gone, nor for one that never was.
    symlink("me", town.server.maildir("here.example/*")).unwrap();
    let caught = reply(&["nobody@here.example"], ME, &town.right(&[YOU]));
    assert!(caught.starts_with("550 5.7.1") && caught.contains("ssh key"), "{caught}");
    for allowed in [&[ME][..], &["here.example"], &["blog@here.example"], &[BOSS, ME]] {
        assert!(reply(allowed, ME, &town.right(&[YOU])).starts_with("250"), "{allowed:?}");
    }
}

#[test]
fn an_ssh_key_for_a_topic_sends_as_that_topic_alone() {
    let town = town("");
    let (topic, other) = ("me/lists@here.example", "me/other@here.example");
    for name in ["lists", "other"] {
        std::fs::create_dir_all(town.server.maildir("here.example/me").join(name)).unwrap();
    }
    symlink("me/lists", town.server.maildir("here.example/lists")).unwrap();
    let reply = |allowed: &str, from: &str| {
        let sealed = town.mine(&town.tags(), &letter(from, YOU, "topic"), from, &[YOU]);
        Wire::gate(&town.server, &[allowed]).0.transact(from, &[YOU], &sealed)
    };
    for from in [ME, other, "blog@here.example"] {
        let reply = reply(topic, from);
        assert!(reply.starts_with("550 5.7.1") && reply.contains("ssh key"), "{from}: {reply}");
    }
    town.nothing_came_in();
    for (allowed, from) in
        [(topic, topic), (topic, "me+lists@here.example"), ("lists@here.example", topic), (ME, topic)]
    {
        let reply = reply(allowed, from);
        assert!(reply.starts_with("250"), "{allowed} as {from}: {reply}");
    }
}

#[test]
fn one_of_us_cannot_forge_what_the_server_writes() {
    let town = town("");
    let forged = "Return-Path: <boss@other.example>\r\nDelivered-To: boss@other.example\r\n\
                  Authentication-Results: mx.here.example; dkim=pass header.d=other.example\r\n\
                  Authentication-Results: MX.here.example.; dkim=pass header.d=other.example\r\n";
    let mine = on_top(forged, &letter(ME, YOU, "forged"));
    town.taken("with trace fields", ME, &[YOU], &town.mine(&town.tags(), &mine, ME, &[YOU]));
    let stored = eventually("the copy", || town.server.letters("here.example/you").pop());
    assert!(
        stored.starts_with("Return-Path: <me@here.example>\r\nDelivered-To: you@here.example\r\n"),
        "{stored}"
    );
    assert!(!stored.contains("boss") && !stored.contains("other.example"), "{stored}");
    assert!(stored.ends_with("\r\n\r\nHello.\r\n"), "{stored}");
    // A large body takes another way, and arrives whole.
    let large = [mine, b"0123456789\r\n".repeat(50_000)].concat();
    town.taken("large", ME, &[BOSS], &town.mine(&town.tags(), &large, ME, &[BOSS]));
    let stored = eventually("the copy", || town.server.letters("other.example/boss").pop());
    assert!(!stored.contains("boss@other.example\r\nAuthentication"), "{}", &stored[..2000]);
    assert!(stored.ends_with(&String::from_utf8(b"0123456789\r\n".repeat(50_000)).unwrap()));
}

#[test]
fn a_catch_all_lends_nobody_a_key() {
    let town = town("");
    symlink("me", town.server.maildir("here.example/*")).unwrap();
    town.dns.add(&town.mallory.zone("ghost", "here.example", ""));
    // The ESP's selector `ghost` is published; `ghost@` reaches me through the catch-all, but the key is not mine.
    let tags = town.mallory.tags("ghost", "here.example");
    let forged = |from: &str| {
        seal(&town.mallory.sign(&tags, &letter(from, YOU, "caught")), &town.mallory, &tags, from, &[YOU])
    };
    town.answers(
        "ghost's key as ghost",
        "550 5.7.",
        "does not belong",
        "ghost@here.example",
        &[YOU],
        &forged("ghost@here.example"),
    );
    town.answers("ghost's key as me", "550 5.7.", "does not belong", ME, &[YOU], &forged(ME));
    town.nothing_came_in();
}

/// A transaction with SMTPUTF8, by the port.
fn utf8(town: &Town, from: &str, letter: &[u8]) -> String {
    let (mut wire, _) = Wire::greeted(town.server.submission());
    let reply = wire.say(&format!("MAIL FROM:<{from}> SMTPUTF8")).reply();
    if !reply.starts_with("250") {
        return reply;
    }
    wire.ask(&format!("RCPT TO:<{YOU}>"), "250");
    wire.ask("DATA", "354");
    wire.message(letter).reply()
}

#[test]
fn letters_that_look_alike_make_no_other_user() {
    let town = town("");
    for local in ["kate", "sis", "ivy"] {
        std::fs::create_dir(town.server.maildir("here.example").join(local)).unwrap();
    }
    // The Kelvin sign is a K to Unicode's normal form, and so to the tree; the others are letters of their own.
    for (from, word) in [
        ("\u{212a}ate@here.example", "does not belong"),
        ("\u{17f}is@here.example", "does not exist"),
        ("si\u{17f}@here.example", "does not exist"),
        ("\u{130}vy@here.example", "does not exist"),
        ("\u{131}vy@here.example", "does not exist"),
        ("m\u{200b}e@here.example", "does not exist"),
        ("m\u{435}@here.example", "does not exist"),
        ("\u{ff4d}\u{ff45}@here.example", "does not exist"),
    ] {
        for header_from in [from, ME] {
            let forged = town.mine(&town.tags(), &letter(header_from, YOU, "alike"), from, &[YOU]);
            let reply = utf8(&town, from, &forged);
            let refused = reply.starts_with("550 5.7.");
            assert!(refused && (reply.contains(word) || reply.contains("From names")), "{from:?}: {reply}");
        }
        let mine = town.mine(&town.tags(), &letter(from, YOU, "alike"), ME, &[YOU]);
        town.refused(from, "From names", &mine);
    }
    town.nothing_came_in();
}

#[test]
fn a_second_name_of_the_domain_has_keys_of_its_own() {
    let town = town("");
    symlink("here.example", town.server.maildir("alias.example")).unwrap();
    let (me, you) = ("me@alias.example", "you@alias.example");
    let alias = town.me.tags("me", "alias.example");
    let signed = |key: &Key, tags: &str, header_from: &str, from: &str| {
        seal(&key.sign(tags, &letter(header_from, YOU, "alias")), key, tags, from, &[YOU])
    };
    let by = |from: &str, letter: &[u8]| town.by_port(from, &[YOU], letter);
    let refused = |case: &str, word: &str, reply: String| {
        assert!(reply.starts_with("550 5.7.") && reply.contains(word), "{case}: want {word}, got {reply}");
    };
    refused("no key there yet", "no key in DNS", by(me, &signed(&town.me, &alias, me, me)));
    refused(
        "the other name's key",
        "signed by here.example",
        by(me, &signed(&town.me, &town.tags(), me, me)),
    );
    refused("the other name in From", "not in the domain", by(me, &signed(&town.me, &alias, ME, me)));
    refused("another user", "does not belong", by(you, &signed(&town.me, &alias, you, you)));
    let (mut gate, _) = Wire::gate(&town.server, &["here.example"]);
    refused("confined to one name", "ssh key", gate.transact(me, &[YOU], &signed(&town.me, &alias, me, me)));
    town.nothing_came_in();
    let second = town.me.tags("second", "alias.example");
    town.dns.add(&town.me.zone("second", "alias.example", ""));
    let taken = by(me, &signed(&town.me, &second, me, me));
    assert!(taken.starts_with("250"), "{taken}");
}
