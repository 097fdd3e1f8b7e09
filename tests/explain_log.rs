//! `explain --log`: letters of each kind go through the real server, and the real command tells their stories from its log.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::home::{Home, letter};
use harness::sink::Sink;
use harness::wire::Wire;
use harness::{Dns, PILLARBOX, Plan, Server, ZONE, eventually};
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const ME: &str = "me@here.example";
const YOU: &str = "you@here.example";

const SENDERS: &str = "\
pass.example. 60 IN MX 10 mx.there.example.
pass.example. 60 IN TXT \"v=spf1 ip4:127.0.0.1 -all\"
fail.example. 60 IN MX 10 mx.there.example.
_dmarc.fail.example. 60 IN TXT \"v=DMARC1; p=reject\"
suspect.example. 60 IN MX 10 mx.there.example.
_dmarc.suspect.example. 60 IN TXT \"v=DMARC1; p=quarantine\"
";

/// Our server, and the owner's home; other people's letters all go to one sink.
struct Town {
    server: Server,
    home: Home,
    _sink: Sink,
    _dns: Dns,
}

impl Town {
    fn new() -> Town {
        let (dns, sink) = (Dns::start(ZONE), Sink::start());
        dns.add(SENDERS);
        let relay = format!("[relay]\nport = {}\nallow_private = true\n", sink.address.port());
        let addresses = [ME, "me/junk@here.example", YOU];
        let server = Plan::new("mx.here.example", &addresses).with(&relay).start(&dns);
        Town { home: Home::new(&dns, ME), server, _sink: sink, _dns: dns }
    }

    /// A stranger's letter; the reply.
    fn comes(&self, from: &str, to: &[&str], subject: &str) -> String {
        Wire::greeted(self.server.mx()).0.transact(from, to, &letter(from, to[0], subject))
    }

    /// The owner's letter; its id in the queue.
    fn goes(&self, to: &[&str], subject: &str) -> String {
        let sealed = self.home.sealed(&letter(ME, to[0], subject), "mx.here.example", to);
        id_in(&Wire::greeted(self.server.submission()).0.transact(ME, to, &sealed))
    }

    fn log(&self) -> PathBuf {
        self.server.root.path().join("log")
    }

    /// The command without a configuration, since it needs none.
    fn explain(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PILLARBOX);
        command.args(["--config", "/nonexistent", "explain", "--log"]).args(arguments);
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn story(&self, id: &str) -> Value {
        let output = self.explain(&[id, "--log-file", self.log().to_str().unwrap(), "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// The story for a person, once it has come to this outcome by way of these events.
    #[track_caller]
    fn tells(&self, id: &str, events: &[&str], outcome: &str) -> String {
        // A letter is queued before it was tried as well as after.
        let found = || {
            let story = self.story(id);
            let told = story["events"].as_array()?.iter().map(|event| &event["event"]);
            (story["outcome"] == outcome && told.eq(events)).then_some(())
        };
        eventually(&format!("{id}: {events:?}, {outcome}"), found);
        let output = self.explain(&[id, "--log-file", self.log().to_str().unwrap()]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.ends_with(&format!("\n\noutcome: {outcome}\n")), "{text}");
        text
    }

    /// The id of what was refused, which the log alone has.
    fn refused(&self, words: &str) -> String {
        let found = || {
            let log = self.server.log();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut told = lines.filter(|line| line["reason"].as_str().is_some_and(|it| it.contains(words)));
            told.find_map(|line| line["id"].as_str().map(str::to_owned))
        };
        eventually(words, found)
    }
}

fn id_in(reply: &str) -> String {
    assert!(reply.starts_with("250"), "{reply}");
    reply.rsplit("id ").next().unwrap().trim().to_owned()
}

#[track_caller]
fn contains(text: &str, words: &[&str]) {
    for words in words {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
}

#[test]
fn a_strangers_letter_has_a_story() {
    let town = Town::new();
    let id = id_in(&town.comes("friend@pass.example", &[ME], "stored"));
    let text = town.tells(&id, &["accepted"], "delivered");
    contains(
        &text,
        &[
            &format!("letter {id}\n"),
            "came to the mx door from friend@pass.example for me@here.example, brought by 127.0.0.1 (calls itself ",
            " octets: accepted, 250 stored, id ",
            "\n    verdict: accept\n    because: SPF pass for pass.example",
            "\n    put into: here.example/me\n",
        ],
    );

    let id = id_in(&town.comes("a@suspect.example", &[ME], "junk"));
    let text = town.tells(&id, &["accepted"], "junk");
    contains(&text, &["verdict: junk", "suspect.example", "put into: here.example/me/junk\n"]);

    let reply = town.comes("a@fail.example", &[ME], "refused");
    assert!(reply.starts_with("550"), "{reply}");
    let id = town.refused("fail.example");
    contains(
        &town.tells(&id, &["refused"], "refused"),
        &["refused, 550 ", "fail.example", "verdict: refuse"],
    );

    let id = id_in(&town.comes("friend@pass.example", &[ME, YOU], "several"));
    let events = ["accepted", "queued", "delivered", "delivered"];
    let text = town.tells(&id, &events, "delivered");
    contains(&text, &["queued as ", "put into here.example/me\n", "put into here.example/you\n"]);
    // It has the same story under its name in the queue.
    let story = town.story(&id);
    let ids: Vec<_> = story["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    let [entry] = ids.iter().filter(|other| **other != id).collect::<Vec<_>>()[..] else { panic!("{ids:?}") };
    assert_eq!(town.tells(entry, &events, "delivered"), text);
}

#[test]
fn the_owners_letter_has_a_story() {
    let town = Town::new();
    let relayed = town.goes(&["friend@there.example"], "relayed");
    let text = town.tells(&relayed, &["accepted", "queued", "relayed"], "relayed");
    contains(
        &text,
        &[
            "came to the submission door from me@here.example for friend@there.example, brought by 127.0.0.1",
            "\n    because: signed by me._domainkey.here.example",
            &format!("queued as {relayed}\n"),
            "relayed to friend@there.example, taken by mx.there.example [127.0.0.1]: 250 ",
            "; connection: clear",
            "; attempt 1; ",
        ],
    );
    let later = town.goes(&["later@there.example"], "later");
    let text = town.tells(&later, &["accepted", "queued", "put off"], "queued");
    contains(&text, &["put off for later@there.example: ", ": 450 ", "; again in "]);
    assert!(town.server.command(&["queue", "drop", &later]).status.success());
    let text = town.tells(&later, &["accepted", "queued", "put off", "ordered"], "dropped");
    contains(&text, &["ordered by hand for later@there.example: drop\n"]);

    let never = town.goes(&["never@there.example"], "never");
    let text = town.tells(&never, &["accepted", "queued", "given up"], "bounced");
    contains(
        &text,
        &["given up for never@there.example: ", ": 550 ", "; the sender finds a report in his mailbox\n"],
    );

    let both = town.goes(&["never@there.example", "friend@there.example"], "both");
    let partly = eventually("both ends", || Some(town.story(&both)).filter(|it| it["outcome"] == "partly"));
    assert_eq!(partly["events"].as_array().unwrap().len(), 4, "{partly:#}");

    let here = town.goes(&[YOU], "here");
    contains(
        &town.tells(&here, &["accepted", "queued", "delivered"], "delivered"),
        &["put into here.example/you\n"],
    );
}

#[test]
fn a_letter_that_comes_twice_is_one_story() {
    let town = Town::new();
    let sealed = town.home.sealed(&letter(ME, YOU, "twice"), "mx.here.example", &[YOU]);
    let say = || id_in(&Wire::greeted(town.server.submission()).0.transact(ME, &[YOU], &sealed));
    let id = say();
    assert_eq!(say(), id);
    let text = town.tells(&id, &["accepted", "queued", "delivered", "accepted", "again"], "delivered");
    contains(&text, &[&format!("the same letter once more, which was queued before as {id}\n")]);
}

#[test]
fn what_strangers_say_stays_in_its_place() {
    let town = Town::new();
    let id = id_in(&town.comes("friend@pass.example", &[ME], "stored"));
    // The id of somebody else's letter as a name and as a local part, and a reply that would clear the terminal.
    let liar = format!("\"x id={id} entry={id}\"@pass.example");
    let mut wire = Wire::greeted(town.server.mx()).0;
    let other = id_in(&wire.transact(&liar, &[ME], &letter("friend@pass.example", ME, "other")));
    assert_eq!(town.story(&id)["events"].as_array().unwrap().len(), 1);
    contains(&town.tells(&other, &["accepted"], "delivered"), &[&liar]);
}

#[test]
fn the_log_may_come_by_standard_input() {
    let town = Town::new();
    let id = town.goes(&["friend@there.example"], "relayed");
    let events = ["accepted", "queued", "relayed"];
    let text = town.tells(&id, &events, "relayed");
    let mut command = Command::new(PILLARBOX);
    command.args(["explain", "--log", &id.to_uppercase(), "--log-file", "-"]);
    let output = command.stdin(File::open(town.log()).unwrap()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
}

/// A `journalctl` that looks for its last argument in a recorded journal, as `--grep` does.
fn journal(town: &Town, script: &str) -> impl Fn(&str) -> Output {
    let bin = town.server.root.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let lines: String =
        town.server.log().lines().map(|line| format!("{}\n", json!({ "MESSAGE": line }))).collect();
    std::fs::write(bin.join("journal"), lines).unwrap();
    let program = bin.join("journalctl");
    std::fs::write(&program, format!("#!/bin/sh\ncd {}\n{script}\n", bin.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    move |id| {
        let mut command = Command::new(PILLARBOX);
        command.args(["explain", "--log", id]).env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        command.output().unwrap()
    }
}

fn failed(output: Output, exit: i32) -> String {
    assert_eq!(output.status.code(), Some(exit), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn without_a_file_the_journal_is_asked() {
    let town = Town::new();
    let id = town.goes(&["friend@there.example"], "relayed");
    let text = town.tells(&id, &["accepted", "queued", "relayed"], "relayed");
    let script = "echo \"$@\" >> asked\nfor last; do :; done\nexec grep -E \"$last\" journal";
    let ask = journal(&town, script);
    let output = ask(&id);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), text, "{:?}", output.stderr);
    let asked = std::fs::read_to_string(town.server.root.path().join("bin/asked")).unwrap();
    let asked: Vec<&str> = asked.lines().collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        asked[0].starts_with("--unit pillarbox --output json --all ") && asked[0].ends_with(&id),
        "{asked:?}"
    );
    assert!(asked[1].contains('|'), "{asked:?}");

    let unknown = failed(ask("6553f100aaaaaaaaaaaa"), 69);
    contains(&unknown, &["no line of the journal of the unit pillarbox is about", "mistyped", "--log-file"]);
    let ask = journal(&town, "echo 'Hint: You are not seeing messages from the system.' >&2");
    contains(
        &failed(ask(&id), 69),
        &["(journalctl says: Hint: You are not seeing messages from the system.)"],
    );
    let ask =
        journal(&town, "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1");
    contains(&failed(ask(&id), 69), &["insufficient permissions", "adm and systemd-journal", "--log-file"]);
    // What it says without an end holds up nobody.
    let ask = journal(&town, "yes nonsense | head -c 9000000 >&2; exit 1");
    assert!(failed(ask(&id), 69).len() < 3_000);
    let nowhere =
        Command::new(PILLARBOX).args(["explain", "--log", &id]).env("PATH", "/nonexistent").output();
    contains(&failed(nowhere.unwrap(), 69), &["there is no journalctl here", "--log-file"]);
}

#[test]
fn an_id_that_the_log_does_not_know_is_69_and_what_is_none_64() {
    let town = Town::new();
    let log = town.log();
    let log = log.to_str().unwrap();
    let unknown = failed(town.explain(&["6553f100aaaaaaaaaaaa", "--log-file", log]), 69);
    contains(&unknown, &[log, "is about a letter 6553f100aaaaaaaaaaaa", "mistyped"]);
    contains(
        &failed(town.explain(&[ME, "--log-file", log]), 64),
        &["no letter's id", "journalctl -u pillarbox -g"],
    );
    failed(town.explain(&["6553f100aaaaaaaaaaaa", "--log-file", "/nonexistent"]), 66);
    for arguments in
        [&["6553f100aaaaaaaaaaaa", "a@b.example", ME][..], &["6553f100aaaaaaaaaaaa", "--ip", "::1"]]
    {
        failed(town.explain(arguments), 64);
    }
    for arguments in [&["explain"][..], &["explain", ME], &["explain", ME, YOU, "--log-file", log]] {
        failed(town.server.command(arguments), 64);
    }
}
