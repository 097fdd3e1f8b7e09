//! Verdicts at strangers' door: each letter is sent to the real server and explained by the real command, and both must
//! say the same.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::forge::{Key, on_top};
use harness::wire::Wire;
use harness::{Dns, Plan, Server, ZONE, eventually};
use serde_json::Value;
use std::process::Output;

const ME: &str = "me@here.example";

/// `pass` may send from this machine, `fail` from nowhere; `signed` has a key `s`, and so has the list.
const SENDERS: &str = "\
pass.example. 60 IN MX 10 mx.there.example.
pass.example. 60 IN TXT \"v=spf1 ip4:127.0.0.1 -all\"
_dmarc.pass.example. 60 IN TXT \"v=DMARC1; p=reject\"
fail.example. 60 IN MX 10 mx.there.example.
fail.example. 60 IN TXT \"v=spf1 -all\"
_dmarc.fail.example. 60 IN TXT \"v=DMARC1; p=reject\"
suspect.example. 60 IN MX 10 mx.there.example.
_dmarc.suspect.example. 60 IN TXT \"v=DMARC1; p=quarantine\"
silent.example. 60 IN MX 10 mx.there.example.
silent.example. 60 IN TXT \"v=spf1 include:servfail.silent.example -all\"
_dmarc.silent.example. 60 IN TXT \"v=DMARC1; p=reject\"
calm.example. 60 IN MX 10 mx.there.example.
calm.example. 60 IN TXT \"v=spf1 include:servfail.calm.example -all\"
broken.example. 60 IN MX 10 mx.there.example.
broken.example. 60 IN TXT \"v=spf1 nonsense:x -all\"
";

struct Door {
    dns: Dns,
    server: Server,
    key: Key,
    list: Key,
}

fn door(more: &str) -> Door {
    let dns = Dns::start(ZONE);
    dns.add(SENDERS);
    let (key, list) = (Key::new("author", "rsa2048"), Key::new("list", "rsa2048"));
    for domain in ["fail.example", "suspect.example", "silent.example"] {
        dns.add(&key.zone("s", domain, ""));
    }
    dns.add(&list.zone("s", "list.example", ""));
    let plan = Plan::new("mx.here.example", &[ME, "me/junk@here.example", "you@here.example"]);
    Door { server: plan.with(more).start(&dns), dns, key, list }
}

/// A letter as it came to be, with this From and Subject.
fn letter(author: &str, subject: &str) -> Vec<u8> {
    format!(
        "From: {author}\r\nTo: {ME}\r\nSubject: {subject}\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\
         Message-ID: <{subject}@x.example>\r\n\r\nHello.\r\n"
    )
    .into_bytes()
}

impl Door {
    fn says(&self, sender: &str, to: &[&str], letter: &[u8]) -> String {
        Wire::greeted(self.server.mx()).0.transact(sender, to, letter)
    }

    fn explained(&self, sender: &str, letter: &[u8]) -> Value {
        self.explained_at("mx", sender, ME, letter)
    }

    fn explained_at(&self, at: &str, sender: &str, to: &str, letter: &[u8]) -> Value {
        let file = self.server.root.path().join("question.eml");
        std::fs::write(&file, letter).unwrap();
        let file = file.to_str().unwrap();
        let command = [
            "explain",
            sender,
            to,
            "--door",
            at,
            "--ip",
            "127.0.0.1",
            "--helo",
            "mx.there.example",
            "--message",
            file,
            "--json",
        ];
        let Output { status, stdout, stderr } = self.server.command(&command);
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        serde_json::from_slice(&stdout).unwrap()
    }

    /// Both ways, whatever the outcome: the same reply, but for the id.
    #[track_caller]
    fn agrees(&self, at: &str, sender: &str, to: &str, letter: &[u8]) {
        let addr = if at == "mx" { self.server.mx() } else { self.server.submission() };
        let utf8 = if sender.is_ascii() && to.is_ascii() { "" } else { " SMTPUTF8" };
        let mut wire = Wire::greeted(addr).0;
        let path = sender.trim_matches(['<', '>']);
        let commands = [format!("MAIL FROM:<{path}>{utf8}"), format!("RCPT TO:<{to}>"), "DATA".into()];
        let refusal =
            commands.iter().map(|line| wire.say(line).reply()).find(|reply| !reply.starts_with(['2', '3']));
        let end: &[u8] = if letter.is_empty() || letter.ends_with(b"\r\n") { b"" } else { b"\r\n" };
        let said = refusal.unwrap_or_else(|| wire.message(&[letter, end].concat()).reply());
        let explained = self.explained_at(at, sender, to, letter);
        let text = explained["reply"].as_str().unwrap();
        let text: Vec<String> = text
            .lines()
            .map(|line| format!("{} {}", &line[..3], line.get(4..).unwrap_or_default()))
            .collect();
        let without_id = |text: &str| text.split(", id").next().unwrap_or_default().to_owned();
        let what = String::from_utf8_lossy(&letter[..letter.len().min(300)]);
        assert_eq!(
            without_id(&text.join("\n")),
            without_id(&said),
            "{at} {sender} {to}\n{what}\n{explained:#}"
        );
    }

    /// Both ways; `decision` is the word of `explain`, `words` stand in the reply.
    #[track_caller]
    fn decides(&self, sender: &str, letter: &[u8], decision: &str, words: &str) -> Value {
        let said = self.says(sender, &[ME], letter);
        let explained = self.explained(sender, letter);
        assert_eq!(explained["decision"], decision, "{said}\n{explained:#}");
        let code = match decision {
            "deliver" | "junk" => "250",
            "defer" => "451",
            _ => "550",
        };
        assert!(said.starts_with(code) && said.contains(words), "want {code}…{words}, got {said}");
        assert!(explained["reply"].as_str().unwrap().starts_with(code), "{explained:#}");
        explained
    }

    /// The letter with this subject, wherever it lies.
    fn stored(&self, place: &str, subject: &str) -> Option<String> {
        let wanted = format!("Subject: {subject}\r\n");
        self.server.letters(place).into_iter().find(|letter| letter.contains(&wanted))
    }
}

#[test]
fn every_letter_carries_its_verdict() {
    let door = door("");
    let forged = "Authentication-Results: mx.here.example; spf=pass smtp.mailfrom=boss.example\r\n\
                  Authentication-Results : mx.here.example; dmarc=pass header.from=boss.example\r\n\
                  Pillarbox-Verdict: accept; boss.example is your boss\r\n\
                  PILLARBOX-VERDICT :\r\n accept; boss.example\r\n\
                  Authentication-Results: mx.elsewhere.example; dmarc=pass header.from=kept.example\r\n";
    let told = door.decides(
        "friend@pass.example",
        &on_top(forged, &letter("friend@pass.example", "verdict")),
        "deliver",
        "stored",
    );
    assert_eq!((&told["spf"], &told["dmarc"]), (&"pass".into(), &"pass".into()), "{told:#}");
    let stored = door.stored("here.example/me", "verdict").unwrap();
    for words in [
        "Authentication-Results: mx.here.example;\r\n spf=pass smtp.mailfrom=pass.example;\r\n dkim=none;\r\n \
         dmarc=pass header.from=pass.example policy.dmarc=reject;\r\n iprev=pass policy.iprev=127.0.0.1\r\n",
        "Pillarbox-Verdict: accept; SPF pass for pass.example",
        "from mx.there.example (localhost [127.0.0.1])",
        "kept.example",
    ] {
        assert!(stored.contains(words), "{words:?} is not in\n{stored}");
    }
    assert!(!stored.contains("boss"), "{stored}");
    let log = door.server.log();
    let sentence = "SPF pass for pass.example (ip4:127.0.0.1";
    assert!(log.lines().any(|line| line.contains("accepted") && line.contains(sentence)), "{log}");
}

#[test]
fn dmarc_says_what_becomes_of_a_letter() {
    let door = door("[inbound]\ntrusted_forwarders = [\"list.example\"]\n");
    let signed = |author: &str, domain: &str, subject: &str| {
        door.key.sign(&door.key.tags("s", domain), &letter(author, subject))
    };
    let sender = "friend@pass.example";
    door.decides(
        sender,
        &letter("a@fail.example", "rejected"),
        "refuse",
        "the policy of fail.example is reject",
    );
    let junk = door.decides(sender, &letter("a@suspect.example", "suspected"), "junk", "stored");
    assert_eq!(junk["dmarc"], "fail");
    assert!(
        door.stored("here.example/me/junk", "suspected").unwrap().contains("Pillarbox-Verdict: junk; DMARC")
    );
    assert!(door.stored("here.example/me", "suspected").is_none());
    door.decides(sender, &signed("a@fail.example", "fail.example", "signed"), "deliver", "stored");
    // Two authors, one of whom vouches: the other one's policy counts.
    let two = signed("a@pass.example, b@fail.example", "pass.example", "two");
    door.decides(sender, &two, "refuse", "fail.example is reject");
    // What a known list brings is delivered, and marked.
    let listed = door.list.sign(&door.list.tags("s", "list.example"), &letter("a@fail.example", "listed"));
    door.decides(sender, &listed, "deliver", "stored");
    assert!(door.stored("here.example/me", "listed").unwrap().contains("trusted forwarder list.example"));
}

#[test]
fn junk_goes_to_the_inbox_where_there_is_no_directory_for_it() {
    let door = door("");
    let said =
        door.says("a@suspect.example", &["you@here.example", ME], &letter("a@suspect.example", "both"));
    assert!(said.starts_with("250"), "{said}");
    let found = || door.stored("here.example/you", "both").zip(door.stored("here.example/me/junk", "both"));
    let (yours, mine) = eventually("both copies", found);
    assert!(yours.contains("Pillarbox-Verdict: junk;") && mine.contains("Pillarbox-Verdict: junk;"));
    assert!(door.stored("here.example/me", "both").is_none());
    let said = door.says("a@suspect.example", &["you@here.example"], &letter("a@suspect.example", "alone"));
    assert!(said.starts_with("250") && door.stored("here.example/you", "alone").is_some(), "{said}");
}

#[test]
fn our_own_name_needs_our_own_signature() {
    let door = door("[inbound]\ntrusted_forwarders = [\"list.example\"]\n");
    let sender = "friend@pass.example";
    let hidden = ["\"me@here.example\":;", "\"me@here.example\"@pass.example", "me@he\u{200e}re.example"];
    let named = [ME, "a@pass.example, me@here.example", "\"me@here.example\" <nobody@HERE.example>"];
    for from in named.into_iter().chain(hidden).chain(["\r\nSender: me@here.example"]) {
        door.decides(sender, &letter(from, "forged"), "refuse", "a domain of this server");
    }
    let listed = door.list.sign(&door.list.tags("s", "list.example"), &letter(ME, "own-post"));
    door.decides(sender, &listed, "deliver", "stored");
    assert!(door.stored("here.example/me", "own-post").unwrap().contains("trusted forwarder"));
}

#[test]
fn a_fault_of_dns_defers_what_depends_on_it_and_nothing_else() {
    let door = door("");
    let asks = |domain: &str| format!("a@{domain}");
    let later = letter(&asks("silent.example"), "later");
    let told = door.decides(&asks("silent.example"), &later, "defer", "cannot be checked now");
    assert_eq!(told["spf"], "temperror");
    // The signature vouches, whatever becomes of SPF.
    let signed =
        door.key.sign(&door.key.tags("s", "silent.example"), &letter(&asks("silent.example"), "vouched"));
    door.decides(&asks("silent.example"), &signed, "deliver", "stored");
    // Nobody asks for anything: what cannot be known decides nothing.
    let told =
        door.decides(&asks("calm.example"), &letter(&asks("calm.example"), "calm"), "deliver", "stored");
    assert_eq!((&told["spf"], &told["dmarc"]), (&"temperror".into(), &"none".into()));
    // An error in somebody's records is no refusal.
    let told =
        door.decides(&asks("broken.example"), &letter(&asks("broken.example"), "x"), "deliver", "stored");
    assert_eq!(told["spf"], "permerror");
}

#[test]
fn a_list_of_the_owners_choice_refuses() {
    let door = door("[inbound]\ndnsbl = [\"list.bl.example\", \"closed.bl.example\"]\n");
    let sender = "friend@pass.example";
    door.dns.add("1.0.0.127.closed.bl.example. 60 IN A 127.255.255.254\n");
    let told = door.decides(sender, &letter(sender, "unlisted"), "deliver", "stored");
    let lists = told["evidence"]["client"]["lists"].to_string();
    assert!(lists.contains("closed.bl.example could not tell"), "{lists}");
    let listed = Plan::new("mx.here.example", &[ME]).with("[inbound]\ndnsbl = [\"other.bl.example\"]\n");
    door.dns.add(
        "1.0.0.127.other.bl.example. 60 IN A 127.0.0.2\n1.0.0.127.other.bl.example. 60 IN TXT \"ask us\"\n",
    );
    let door = Door { server: listed.start(&door.dns), ..door };
    door.decides(
        sender,
        &letter(sender, "listed"),
        "refuse",
        "other.bl.example lists it (127.0.0.2): ask us",
    );
}

#[test]
fn the_form_is_told_and_nothing_is_mended() {
    let door = door("");
    let odd = b"From: friend@pass.example\r\nSubject: odd\r\nSubject: odd\r\n\r\nHello.\r\n";
    let told = door.decides("friend@pass.example", odd, "deliver", "stored");
    assert!(told["steps"].to_string().contains("form: "), "{told:#}");
    let stored = door.stored("here.example/me", "odd").unwrap();
    assert!(
        stored.ends_with(std::str::from_utf8(odd).unwrap()) && stored.contains("its form is odd"),
        "{stored}"
    );
}

/// An ordinary letter with these fields on top.
fn topped(more: &str) -> Vec<u8> {
    on_top(more, &letter("friend@pass.example", "topped"))
}

#[test]
fn what_is_explained_is_what_the_door_says() {
    let door = door("[limits]\nfree_space = 0\nmessage_size = 400000\n");
    let plain = || letter("friend@pass.example", "plain");
    let body = |octets: &[u8]| [plain().as_slice(), octets].concat();
    let from = |author: &str| letter(author, "from");
    let friend = "friend@pass.example";
    let cases: Vec<(&str, &str, &str, Vec<u8>)> = vec![
        ("mx", friend, ME, plain()),
        ("mx", "<>", ME, plain()),
        ("mx", "<>", ME, b"\r\nA body alone.\r\n".to_vec()),
        ("mx", "<>", ME, b"A line without a colon\r\n".to_vec()),
        ("mx", "<>", ME, b" goes on\r\nFrom: a@there.example\r\n\r\n".to_vec()),
        ("mx", "<>", ME, Vec::new()),
        ("mx", friend, "nobody@here.example", plain()),
        ("mx", friend, "me/none@here.example", plain()),
        ("mx", friend, "me/junk@here.example", plain()),
        ("mx", friend, "postmaster@here.example", plain()),
        ("mx", friend, "abuse@here.example", plain()),
        ("mx", friend, "postmaster@mx.here.example", plain()),
        ("mx", friend, "you@there.example", plain()),
        ("mx", friend, "you@[127.0.0.1]", plain()),
        ("mx", ME, "you@here.example", plain()),
        ("mx", ME, "you@there.example", plain()),
        ("mx", "a@null.example", ME, plain()),
        ("mx", "a@nowhere.example", ME, plain()),
        ("mx", "a@trouble.example", ME, plain()),
        ("mx", "a@sub.here.example", ME, plain()),
        ("mx", "a@[127.0.0.1]", ME, plain()),
        ("mx", "gr\u{fc}n@pass.example", ME, plain()),
        ("mx", friend, "gr\u{fc}n@here.example", plain()),
        ("mx", "\"a b\"@pass.example", ME, plain()),
        ("mx", friend, ME, body(&b"x".repeat(500_000))),
        ("mx", friend, ME, body(b"lone \n line feed\r\n")),
        ("mx", friend, ME, body(b"lone \r carriage return\r\n")),
        ("mx", friend, ME, body(b"nul \0\r\n")),
        ("mx", friend, ME, body(b".\r\n..\r\n.x\r\n")),
        ("mx", friend, ME, body(&[b"y".repeat(5000).as_slice(), b"\r\n"].concat())),
        ("mx", friend, ME, body(b"\xff\xfe 8-bit\r\n")),
        ("mx", friend, ME, body(b"no line end")),
        ("mx", friend, ME, topped(&"X: y\r\n".repeat(2001))),
        ("mx", friend, ME, topped(&format!("X: y\r\n{}", " z\r\n".repeat(70_000)))),
        ("mx", friend, ME, topped(&"Received: from x\r\n".repeat(101))),
        ("mx", friend, ME, topped(&"Received: from x\r\n".repeat(100))),
        ("mx", friend, ME, topped("Delivered-To: me@here.example\r\n")),
        ("mx", friend, ME, topped("Delivered-To: you@here.example\r\n")),
        (
            "mx",
            friend,
            ME,
            topped("DKIM-Signature: v=1; a=rsa-sha256; d=fail.example; s=s; h=from; bh=AAAA; b=AAAA\r\n"),
        ),
        (
            "mx",
            friend,
            ME,
            topped("DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=servfail; h=from; bh=AA; b=AA\r\n"),
        ),
        ("mx", friend, ME, from("\"me@here.example\":;")),
        ("mx", friend, ME, from("me@here.example <a@there.example>")),
        ("mx", friend, ME, from("\"me@here.example\"@there.example")),
        ("mx", friend, ME, from("me@he\u{200e}re.example")),
        ("mx", friend, ME, from("me@sub.here.example")),
        ("mx", friend, ME, from("a@fail.example\r\nFrom: a@pass.example")),
        ("mx", friend, ME, from("a@sub.fail.example")),
        ("mx", friend, ME, from("a@suspect.example")),
        ("mx", friend, ME, from("a@silent.example")),
        ("mx", friend, ME, from("a@x.servfail.example")),
        ("mx", "a@fail.example", ME, plain()),
        ("mx", "a@silent.example", ME, plain()),
        ("mx", "<>", ME, from("MAILER-DAEMON (Mail Delivery System)")),
        ("mx", "<>", ME, from("MAILER-DAEMON@mx.there.example")),
        ("mx", friend, ME, from(&(0..12).map(|n| format!("a@{n}.example")).collect::<Vec<_>>().join(", "))),
        ("submission", ME, "you@there.example", from(ME)),
        ("submission", ME, "you@here.example", from(ME)),
        ("submission", "<>", "you@there.example", from(ME)),
        ("submission", "nobody@here.example", "you@there.example", from(ME)),
        ("submission", friend, "you@there.example", plain()),
        ("submission", ME, "you@nowhere.example", from(ME)),
        ("submission", ME, "you@there.example", [from(ME).as_slice(), &b"x".repeat(500_000)].concat()),
        ("submission", ME, "you@there.example", [from(ME).as_slice(), b"lone \n line feed\r\n"].concat()),
        ("submission", ME, "you@there.example", on_top("no colon\r\n", &from(ME))),
    ];
    for (at, sender, to, letter) in cases {
        door.agrees(at, sender, to, &letter);
    }
}

#[test]
fn a_strangers_words_do_nothing_to_a_terminal() {
    let door = door("");
    let helo = "\u{1b}[2Jmx.there.example";
    let asked = ["explain", "friend@pass.example", ME, "--ip", "127.0.0.1", "--helo", helo];
    let Output { status, stdout, .. } = door.server.command(&asked);
    let said = String::from_utf8(stdout).unwrap();
    assert!(status.success() && said.contains("[2Jmx.there.example"), "{said}");
    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
}
