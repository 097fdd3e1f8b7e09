//! `sendmail` killed, or its disk failing, at every step that makes something durable: a letter that is kept is sent once
//! by `flush`, a letter that is not kept is sent by nobody.

mod harness;

use harness::home::Home;
use harness::sink::Sink;
use harness::{Dns, PILLARBOX, Plan, Server, ZONE, eventually};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};

const ME: &str = "me@here.example";

struct Town {
    server: Server,
    home: Home,
    _dns: Dns,
}

impl Town {
    fn new() -> Town {
        let dns = Dns::start(ZONE);
        let server = Plan::new("mx.here.example", &[ME]).start(&dns);
        let home = Home::new(&dns, ME);
        home.use_server(&server);
        let town = Town { server, home, _dns: dns };
        // Whatever is made once is made now.
        assert!(town.sendmail(&[], "first").status.success());
        town
    }

    fn sendmail(&self, under: &[&str], subject: &str) -> Output {
        start(&self.home, under, subject).wait_with_output().unwrap()
    }

    /// The names in the outbox, hidden ones left out.
    fn kept(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.home.root.path().join("outbox")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with('.')).collect()
    }

    fn copies(&self, subject: &str) -> usize {
        let subject = format!("Subject: {subject}\r\n");
        self.server.letters("here.example/me").iter().filter(|letter| letter.contains(&subject)).count()
    }

    /// Until nothing is left: the server may still be busy with what came from a dead client.
    fn flush(&self) {
        eventually("a flush", || self.home.command(&["flush"], b"").status.success().then_some(()));
        assert!(self.kept().is_empty());
    }
}

fn start(home: &Home, under: &[&str], subject: &str) -> Child {
    let mut words = under.iter().copied().chain([PILLARBOX]);
    let mut child = Command::new(words.next().unwrap())
        .args(words)
        .arg("--config")
        .arg(home.config())
        .args(["sendmail", "-t"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace must be installed (tests/install)");
    let letter = format!("From: {ME}\nTo: {ME}\nSubject: {subject}\n\nHello.\n");
    // One that was killed at once may not read it.
    let _ = child.stdin.take().unwrap().write_all(letter.as_bytes());
    child
}

/// The first process alone, which has one thread.
fn strace(call: &str, what: &str, n: usize) -> [String; 5] {
    ["strace", "-o", "/dev/null", "-e", &format!("inject={call}:{what}:when={n}")].map(String::from)
}

#[test]
fn killed_at_every_step_the_letter_is_sent_once_or_was_never_taken() {
    let town = Town::new();
    let (mut killed, mut taken) = (0, 0);
    let calls = [
        ("mkdir", 1),
        ("write", 12),
        ("fsync", 6),
        ("renameat2", 2),
        ("rename", 2),
        ("unlinkat", 3),
        ("rmdir", 1),
    ];
    for (call, most) in calls {
        for n in 1..=most {
            let subject = format!("{call} {n}");
            let strace = strace(call, "signal=KILL", n);
            let output = town.sendmail(&strace.each_ref().map(String::as_str), &subject);
            let kept = town.kept().len();
            if output.status.success() {
                assert_eq!(kept, 0, "{subject}");
            } else {
                assert_eq!(output.status.signal(), Some(9), "{subject}: {output:?}");
                killed += 1;
            }
            let wanted = if output.status.success() || kept > 0 { 1 } else { town.copies(&subject) };
            taken += wanted;
            town.flush();
            assert_eq!(town.copies(&subject), wanted, "{subject}");
        }
    }
    assert!(killed >= 18, "killed only {killed} times");
    assert!(taken >= 16, "only {taken} letters were taken");
    assert_eq!(town.server.letters("here.example/me").len(), taken + 1);
}

#[test]
fn a_failure_means_that_the_letter_is_not_kept() {
    let town = Town::new();
    for (call, n) in [("mkdir", 1), ("fsync", 1), ("fsync", 2), ("fsync", 3), ("renameat2", 1), ("fsync", 4)]
    {
        let subject = format!("{call} {n}");
        let strace = strace(call, "error=EIO", n);
        let output = town.sendmail(&strace.each_ref().map(String::as_str), &subject);
        assert_eq!(output.status.code(), Some(74), "{subject}: {output:?}");
        assert_eq!(town.kept(), [""; 0], "{subject}");
        town.flush();
        assert_eq!(town.copies(&subject), 0, "{subject}: the caller sends it again, so nobody else may");
    }
    // Behind the server's 250 a fault of the outbox is none of the letter's.
    for (call, n) in [("rename", 1), ("fsync", 5)] {
        let subject = format!("{call} {n}");
        let strace = strace(call, "error=EIO", n);
        let output = town.sendmail(&strace.each_ref().map(String::as_str), &subject);
        assert!(output.status.success(), "{subject}: {output:?}");
        town.flush();
        assert_eq!(town.copies(&subject), 1, "{subject}");
    }
}

#[test]
fn a_server_that_may_have_the_letter_is_the_only_one_that_is_asked_again() {
    let dns = Dns::start(ZONE);
    let home = Home::new(&dns, ME);
    let (one, other) = (Sink::start(), Sink::start());
    let config = format!(
        "server = [\"{}\", \"{}\"]\nmail = {:?}\noutbox = {:?}\nsubmit_via = \"smtp://{{server}}\"\n",
        one.address,
        other.address,
        home.mail(),
        home.root.path().join("outbox"),
    );
    std::fs::write(home.config(), config).unwrap();
    one.hold(".");
    let mut child = start(&home, &[], "bound");
    one.wait_until_held();
    child.kill().unwrap();
    child.wait().unwrap();
    one.release();
    one.away(true);
    let output = home.command(&["flush"], b"");
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert_eq!((one.count("bound"), other.count("bound")), (1, 0));
    one.away(false);
    let output = home.command(&["flush"], b"");
    assert!(output.status.success(), "{output:?}");
    // This sink knows nothing of nonces; a pillarbox queues the second one once.
    assert_eq!((one.count("bound"), other.count("bound")), (2, 0));
    // Before the letter is sent there is a choice.
    one.away(true);
    let output = start(&home, &[], "free").wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!((one.count("free"), other.count("free")), (0, 1));
}
