//! The server killed in front of every call that makes something durable, and started again: what got a 250 is there
//! once, a client's retry doubles nothing but what docs/states.md says.

mod harness;

use harness::home::{Home, letter};
use harness::post::{Post, submit};
use harness::sink::Sink;
use harness::strace::Strace;
use harness::wire::Wire;
use harness::{Dns, Plan, Server, ZONE, eventually};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

const ME: &str = "me@here.example";
const YOU: &str = "you@here.example";
const FRIEND: &str = "friend@there.example";

/// Calls to be killed at: each as often as one letter needs it, and once more.
type Calls = [(&'static str, usize)];

fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

/// Letters that are committed: what is still written has another name.
fn committed(server: &Server) -> usize {
    let files = std::fs::read_dir(server.state_dir().join("queue")).unwrap().flatten();
    files.filter(|file| !file.file_name().to_string_lossy().ends_with(".new")).count()
}

/// Whether nothing is queued, and nothing that was is still being put away.
fn is_at_rest(server: &Server) -> bool {
    ["queue", "state"].iter().all(|place| entries(&server.state_dir().join(place)) == 0)
}

fn copies(server: &Server, place: &str, subject: &str) -> usize {
    let subject = format!("Subject: {subject}\r\n");
    server.letters(place).iter().filter(|letter| letter.contains(&subject)).count()
}

/// A transaction up to the final dot, which is not sent yet; the header is judged when this returns.
fn all_but_the_dot(server: &Server, to: &[&str], message: &[u8]) -> Wire {
    let (mut wire, _) = Wire::greeted(server.mx());
    wire.ask(&format!("MAIL FROM:<{FRIEND}>"), "250");
    for to in to {
        wire.ask(&format!("RCPT TO:<{to}>"), "250");
    }
    wire.ask("DATA", "354");
    wire.raw(message);
    server.settle();
    wire
}

/// Kills at each of the calls behind the final dot; retries without a 250. Returns how often the server was killed.
fn strangers_letter(to: &[&str], places: &[&str], calls: &Calls) -> usize {
    let dns = Dns::start(ZONE);
    let mut server = Plan::new("mx.here.example", &[ME, YOU]).start(&dns);
    // Whatever is made once is made now.
    assert!(Wire::greeted(server.mx()).0.transact(FRIEND, to, b"Subject: first\r\n\r\n").starts_with("250"));
    let mut killed = 0;
    for &(call, most) in calls {
        for n in 1..=most {
            let subject = format!("{call} {n}");
            let message = letter(FRIEND, to[0], &subject);
            let mut wire = all_but_the_dot(&server, to, &message);
            let strace = Strace::kill_at(server.pid(), call, n);
            let reply = wire.raw(b".\r\n").reply_or_reset().unwrap_or_default();
            // What was there already when the server died, and is there again for the client's retry.
            let mut before = 0;
            if reply.is_empty() {
                assert_eq!(server.wait().signal(), Some(9), "{subject}");
                killed += 1;
                let shown = places.iter().any(|place| copies(&server, place, &subject) > 0);
                before = usize::from(shown || committed(&server) > 0);
                server = server.again();
                let reply = Wire::greeted(server.mx()).0.transact(FRIEND, to, &message);
                assert!(reply.starts_with("250"), "{subject}: {reply}");
            } else {
                assert!(reply.starts_with("250"), "{subject}: {reply}");
            }
            drop(strace);
            let found = || places.iter().map(|place| copies(&server, place, &subject)).collect::<Vec<_>>();
            let wanted = vec![1 + before; places.len()];
            eventually(&format!("{subject}: {wanted:?} copies"), || (found() >= wanted).then_some(()));
            eventually("rest", || (entries(&server.state_dir().join("queue")) == 0).then_some(()));
            assert_eq!(found(), wanted, "{subject}");
            for place in places {
                let letters = server.letters(place);
                let of_this = letters.iter().filter(|it| it.contains(&format!("Subject: {subject}\r\n")));
                assert!(
                    of_this.clone().all(|it| it.ends_with("\r\n\r\nHello.\r\n")),
                    "{subject}: a part of a letter"
                );
            }
        }
    }
    assert!(is_at_rest(&server));
    killed
}

#[test]
fn one_directory() {
    let calls = [("openat", 1), ("write", 2), ("fsync", 3), ("renameat2", 2), ("sendto", 1)];
    let killed = strangers_letter(&[ME], &["here.example/me"], &calls);
    assert!(killed >= 6, "killed only {killed} times");
}

#[test]
fn two_directories_through_the_queue() {
    let calls = [
        ("openat", 6),
        ("write", 5),
        ("pwrite64", 2),
        ("fsync", 7),
        ("renameat2", 4),
        ("fdatasync", 2),
        ("unlink", 3),
        ("sendto", 1),
    ];
    let killed = strangers_letter(&[ME, YOU], &["here.example/me", "here.example/you"], &calls);
    assert!(killed >= 24, "killed only {killed} times");
}

/// Our server, whose relay knows only the sink; and the owner's home.
struct Town {
    server: Server,
    sink: Sink,
    home: Home,
    _dns: Dns,
}

impl Town {
    fn new() -> Town {
        let (dns, sink) = (Dns::start(ZONE), Sink::start());
        let relay = format!("[relay]\nport = {}\nallow_private = true\n", sink.address.port());
        let server = Plan::new("mx.here.example", &[ME]).with(&relay).start(&dns);
        let home = Home::new(&dns, ME);
        home.use_server(&server);
        Town { server, sink, home, _dns: dns }
    }

    fn restarted(self) -> Town {
        Town { server: self.server.again(), ..self }
    }

    /// Home sends by `sendmail`; what it says.
    fn sendmail(&self, to: &[&str], subject: &str) -> String {
        let letter = format!("From: {ME}\nTo: {}\nSubject: {subject}\n\nHello.\n", to.join(", "));
        let output = self.home.command(&["sendmail", "-v", "-t"], letter.as_bytes());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{subject}: {said}");
        said
    }

    fn flush(&self) {
        let output = self.home.command(&["flush"], b"");
        assert!(output.status.success(), "{output:?}");
    }

    fn at_the_sink(&self, subject: &str) -> usize {
        self.sink.count(&format!("Subject: {subject}\r\n"))
    }
}

/// Kills at each of the calls while `sendmail` submits; then `flush`, as its owner would.
fn owners_letter(calls: &Calls) -> usize {
    let mut town = Town::new();
    town.sendmail(&[ME], "first");
    eventually("rest", || is_at_rest(&town.server).then_some(()));
    let mut killed = 0;
    for &(call, most) in calls {
        for n in 1..=most {
            let subject = format!("{call} {n}");
            // The letter leaves only when the kill is over: a letter that is taken by somebody is another test.
            town.sink.hold("greeting");
            let strace = Strace::kill_at(town.server.pid(), call, n);
            let said = town.sendmail(&[ME, FRIEND], &subject);
            if said.contains("queued as") {
                assert_eq!(town.server.wait().signal(), Some(9), "{subject}: {said}");
            }
            drop(strace);
            // The 250 may have come before the kill did.
            if !town.server.is_alive() {
                killed += 1;
                town = town.restarted();
                town.flush();
            }
            town.sink.release();
            eventually(&format!("{subject}: the letter at the sink"), || {
                (town.at_the_sink(&subject) > 0 && is_at_rest(&town.server)).then_some(())
            });
            assert_eq!(town.at_the_sink(&subject), 1, "{subject}");
            assert_eq!(copies(&town.server, "here.example/me", &subject), 1, "{subject}");
            assert_eq!(entries(&town.home.root.path().join("outbox")), 0, "{subject}");
        }
    }
    killed
}

#[test]
fn a_submission_killed_while_it_is_committed() {
    let killed = owners_letter(&[("openat", 1), ("pwrite64", 1), ("fsync", 6), ("write", 3)]);
    assert!(killed >= 11, "killed only {killed} times");
}

#[test]
fn a_submission_killed_behind_the_commit() {
    let killed = owners_letter(&[("renameat2", 2), ("rename", 1)]);
    // One thread commits the letter, makes the copy and records it.
    assert_eq!(killed, 3);
}

#[test]
fn a_submission_killed_in_front_of_each_reply() {
    let mut post = Post::new("");
    for stage in ["EHLO", "MAIL", "RCPT", "DATA", "."] {
        let sealed = post.sealed(&[ME, FRIEND], stage);
        let mut wire = Wire::connect(post.server.submission());
        wire.reply();
        let dot = [&sealed[..], b".\r\n"].concat();
        let (mail, rcpt) =
            (format!("MAIL FROM:<{ME}>\r\n"), format!("RCPT TO:<{ME}>\r\nRCPT TO:<{FRIEND}>\r\n"));
        for said in [&b"EHLO home.example\r\n"[..], mail.as_bytes(), rcpt.as_bytes(), b"DATA\r\n", &dot] {
            // The word that it begins with; the dot is behind the letter.
            let here = said.starts_with(stage.as_bytes()) || (stage == "." && said == dot);
            if here {
                post.sink.hold("MAIL");
            }
            let strace = here.then(|| Strace::kill_at(post.server.pid(), "sendto", 1));
            let reply = wire.raw(said).reply_or_reset().unwrap_or_default();
            if said == rcpt.as_bytes() && !here {
                wire.reply();
            }
            drop(strace);
            assert_eq!(reply.is_empty(), here, "{stage}: {reply}");
            if here {
                break;
            }
        }
        assert_eq!(post.server.wait().signal(), Some(9), "{stage}");
        post = post.again();
        // What was committed is not queued twice.
        submit(post.server.submission(), &[ME, FRIEND], &sealed).unwrap();
        post.sink.release();
        post.rest(stage);
        assert_eq!(post.at_the_sink(stage, FRIEND), 1, "{stage}");
        assert_eq!(copies(&post.server, "here.example/me", stage), 1, "{stage}");
    }
}

#[test]
fn relaying() {
    let mut town = Town::new();
    // Nothing is known of the letter's fate in front of the dot: it is sent again, and that is the first time.
    for stage in ["greeting", "EHLO", "MAIL", "DATA"] {
        // The last letter's connection would carry this one as well.
        town = town.restarted();
        town.sink.hold(stage);
        town.sendmail(&[FRIEND], stage);
        town.sink.wait_until_held();
        town.server.kill();
        town = town.restarted();
        town.sink.release();
        eventually(&format!("{stage}: rest"), || (is_at_rest(&town.server)).then_some(()));
        assert_eq!(town.at_the_sink(stage), 1, "{stage}");
    }
    // Behind the dot it is the second of the two doubles until the record of it is durable; never a third copy.
    let log = town.server.state_dir().join("seen");
    for (call, on, n, wanted) in [
        ("write", Some(&log), 1, 2),
        ("fdatasync", Some(&log), 1, 1),
        ("unlink", None, 1, 1),
        ("unlink", None, 2, 1),
    ] {
        let subject = format!("finished, {call} {n}");
        town.sink.hold(".");
        town.sendmail(&[FRIEND], &subject);
        town.sink.wait_until_held();
        let strace = match on {
            Some(file) => Strace::kill_at_file(town.server.pid(), call, file, n),
            None => Strace::kill_at(town.server.pid(), call, n),
        };
        town.sink.release();
        assert_eq!(town.server.wait().signal(), Some(9), "{subject}");
        drop(strace);
        town = town.restarted();
        eventually(&format!("{subject}: rest"), || (is_at_rest(&town.server)).then_some(()));
        assert_eq!(town.at_the_sink(&subject), wanted, "{subject}");
    }
}

#[test]
fn relaying_to_one_while_another_is_put_off() {
    let mut town = Town::new();
    for (call, n, wanted) in
        [("openat", 1, 2), ("write", 2, 2), ("fsync", 1, 2), ("rename", 1, 2), ("fsync", 2, 1)]
    {
        let subject = format!("recorded, {call} {n}");
        town.sink.hold(".");
        town.sendmail(&[FRIEND, "later@there.example"], &subject);
        town.sink.wait_until_held();
        let strace = Strace::kill_at(town.server.pid(), call, n);
        town.sink.release();
        assert_eq!(town.server.wait().signal(), Some(9), "{subject}");
        drop(strace);
        town = town.restarted();
        eventually(&format!("{subject}: a record of what was sent"), || {
            let log = town.server.log();
            let states = std::fs::read_dir(town.server.state_dir().join("state")).unwrap().flatten();
            let mut recorded = states.filter_map(|it| std::fs::read_to_string(it.path()).ok());
            let whole = recorded.all(|state| state.contains("delivered"));
            (whole && log.matches("put off").count() > 0 && town.at_the_sink(&subject) >= wanted)
                .then_some(())
        });
        // Old entries are served before this one.
        town.sendmail(&[FRIEND], &format!("behind {subject}"));
        eventually("the letter behind it", || {
            (town.at_the_sink(&format!("behind {subject}")) > 0).then_some(())
        });
        assert_eq!(town.at_the_sink(&subject), wanted, "{subject}");
    }
}

/// The calls between two points of time, in their order, as `call what` with what is left of `paths`.
fn recorded(server: &Server, act: impl FnOnce()) -> Vec<String> {
    let file = server.root.path().join("calls");
    let strace = Strace::record(server.pid(), "fsync,fdatasync,renameat2,rename,sendto,unlink,write", &file);
    act();
    drop(strace);
    let root = server.root.path().to_str().unwrap();
    let text = std::fs::read_to_string(file).unwrap().replace(root, "");
    text.lines().map(|line| line.split_once(' ').unwrap().1.trim().to_owned()).collect()
}

/// The lines are there in this order, each behind the one before; a line is known by all its words.
#[track_caller]
fn in_order(calls: &[String], wanted: &[&str]) {
    let mut rest = calls.iter();
    for line in wanted {
        let found = rest.any(|call| line.split(' ').all(|word| call.contains(word)));
        assert!(found, "{line:?} is not behind those before it: {calls:#?}");
    }
}

#[test]
fn a_250_is_said_when_file_and_directories_are_durable() {
    let town = Town::new();
    let message = letter(FRIEND, ME, "one");
    let mut wire = all_but_the_dot(&town.server, &[ME], &message);
    let calls = recorded(&town.server, || assert!(wire.raw(b".\r\n").reply().starts_with("250")));
    in_order(
        &calls,
        &["fsync( /me/tmp/", "renameat2( /me/tmp> /me/new> NOREPLACE", "fsync( /me/new>", "sendto( 250"],
    );

    let calls = recorded(&town.server, || {
        town.sendmail(&[ME, FRIEND], "two");
        eventually("rest", || (town.at_the_sink("two") > 0 && is_at_rest(&town.server)).then_some(()));
    });
    let commit = [
        "fsync( /state/queue/ .new>",
        "renameat2( /state/queue/ .new /state/queue/ NOREPLACE",
        "fsync( /state/queue>",
    ];
    in_order(&calls, &[&commit[..], &["sendto( 250 queued"]].concat());
    let copy = [
        "fsync( /me/tmp/",
        "renameat2( /me/tmp>",
        "fsync( /me/new>",
        "fsync( /state/state/ .new>",
        "rename( /state/state/ .new /state/state/",
        "fsync( /state/state>",
    ];
    in_order(&calls, &[&commit[..], &copy[..]].concat());
    let end = ["write( /state/seen> finished", "fdatasync( /state/seen>", "unlink( /state/queue/"];
    in_order(&calls, &[&commit[..], &end[..]].concat());
}
