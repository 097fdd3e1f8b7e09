//! The relay's disk says no, or gives something else than what was written: what cannot be done is done when it can, what
//! is damaged is set aside, and nothing is lost or doubled.

mod harness;

use harness::home::letter;
use harness::post::{ME, Post, names, submit};
use harness::strace::Strace;
use harness::wire::Wire;
use harness::{eventually, letters_in};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::fs;
use std::path::{Path, PathBuf};

const OK: &str = "ok@there.example";
const NEVER: &str = "never@far.example";
const LATER: &str = "later@far.example";
const FRIEND: &str = "friend@there.example";

/// A letter that waits at the sink's MAIL; its name.
fn held(post: &Post, to: &[&str], subject: &str) -> String {
    post.sink.hold("MAIL");
    let id = post.send(to, subject);
    post.sink.wait_until_held();
    id
}

#[test]
fn a_state_that_cannot_be_recorded_is_recorded_when_it_can() {
    let post = Post::new("");
    let state = post.server.state_dir().join("state");
    let words = "what became of a letter cannot be recorded; trying until it can";
    let mut said = 0;
    for (call, error, on) in [
        ("openat", "ENOSPC", "ID.new"),
        ("write", "ENOSPC", "ID.new"),
        ("write", "EDQUOT", "ID.new"),
        ("write", "EIO", "ID.new"),
        ("fsync", "EIO", "ID.new"),
        ("rename", "EIO", "ID.new"),
        ("fsync", "EIO", ""),
    ] {
        let subject = format!("state {call} {error} {on}");
        let id = held(&post, &[OK, LATER], &subject);
        let on = if on.is_empty() { state.clone() } else { state.join(format!("{id}.new")) };
        let strace = Strace::fail_file(post.server.pid(), call, error, &on);
        post.sink.release();
        said += 1;
        post.says(words, said);
        drop(strace);
        let recorded = || {
            let state = post.state(&id)?;
            let is = |n: usize| state["recipients"][n]["attempts"] == 1;
            (is(0) && is(1) && state["recipients"][0]["state"]["is"] == "delivered").then_some(())
        };
        eventually(&format!("{subject}: a record"), recorded);
        assert_eq!(post.at_the_sink(&subject, OK), 1, "{subject}");
        assert!(post.server.command(&["queue", "drop", &id]).status.success());
        post.rest(&subject);
        // It may have said so of both recipients, and more than once.
        said = post.server.log().matches(words).count();
    }
    let post = post.again();
    assert!(post.is_at_rest());
}

#[test]
fn a_log_that_cannot_be_written_and_files_that_cannot_be_removed_double_nothing() {
    let mut post = Post::new("");
    let log = post.server.state_dir().join("seen");
    for (call, error) in [("write", "ENOSPC"), ("write", "EIO"), ("fdatasync", "EIO")] {
        let subject = format!("log {call} {error}");
        let before = post.server.log().matches("cannot be recorded").count();
        held(&post, &[OK], &subject);
        let strace = Strace::fail_file(post.server.pid(), call, error, &log);
        post.sink.release();
        post.says("cannot be recorded", before + 1);
        drop(strace);
        post.rest(&subject);
        assert_eq!(post.at_the_sink(&subject, OK), 1, "{subject}");
    }
    let id = held(&post, &[OK], "unlink");
    let strace = Strace::fail_file(post.server.pid(), "unlink", "EIO", &post.queue().join(&id));
    post.sink.release();
    post.says("a finished queue entry stays until the next start", 1);
    drop(strace);
    assert_eq!(names(&post.queue()), [id]);
    post = post.again();
    assert!(post.is_at_rest());
    post.send(&[OK], "behind it");
    post.rest("behind it");
    assert_eq!(post.at_the_sink("unlink", OK), 1);
}

#[test]
fn a_commit_that_is_not_durable_is_no_commit() {
    let post = Post::new("");
    let queue = post.queue();
    for (call, error) in [("fsync", "EIO"), ("fsync", "ENOSPC")] {
        let subject = format!("commit {call} {error}");
        let sealed = post.sealed(&[OK], &subject);
        let strace = Strace::fail_at_file(post.server.pid(), call, error, &queue, 1);
        let said = submit(post.server.submission(), &[OK], &sealed).unwrap_err().to_string();
        assert!(said.starts_with("45"), "{subject}: {said}");
        drop(strace);
        assert!(names(&queue).is_empty(), "{subject}");
        submit(post.server.submission(), &[OK], &sealed).unwrap();
        post.rest(&subject);
        assert_eq!(post.at_the_sink(&subject, OK), 1, "{subject}");
    }
}

#[test]
fn a_letter_that_cannot_be_read_on_its_way_waits() {
    for (call, error) in [("openat", "EIO"), ("openat", "ENOMEM"), ("openat", "EACCES"), ("lseek", "EIO")] {
        // Each needs a new connection.
        let post = Post::new("");
        let subject = format!("reading {call} {error}");
        post.sink.hold("EHLO");
        let id = post.send(&[OK], &subject);
        post.sink.wait_until_held();
        let strace = Strace::fail_file(post.server.pid(), call, error, &post.queue().join(&id));
        post.sink.release();
        eventually(&format!("{subject}: a word"), || {
            let log = post.server.log();
            let told = |line: &str| line.contains("a queued message cannot be read") && line.contains(&id);
            log.lines().any(told).then_some(())
        });
        drop(strace);
        eventually("a record", || post.state(&id));
        assert_eq!(post.at_the_sink(&subject, OK), 0, "{subject}");
        post.retry();
        post.rest(&subject);
        assert_eq!(post.at_the_sink(&subject, OK), 1, "{subject}");
        assert_eq!(post.reports(&subject, "failed"), 0, "{subject}");
    }
}

/// The report that a letter to [`NEVER`] ends with cannot be written: `break_it` and `mend_it` are shell scripts.
fn unwritten(subject: &str, break_it: &str, mend_it: &str) -> Post {
    let disk =
        "cp -a $MAIL $MAIL.kept; mount -t tmpfs -o size=1m,mode=700 small $MAIL; cp -a $MAIL.kept/. $MAIL";
    let post = Post::with("", |plan| plan.inside(disk));
    let id = held(&post, &[OK, NEVER], subject);
    post.server.inside(break_it);
    post.sink.release();
    post.says("no report could be written; the letter is tried again", 1);
    let state = eventually("a record", || post.state(&id).filter(|it| it["recipients"][1]["attempts"] == 1));
    assert_eq!(state["recipients"][1]["state"]["is"], "pending", "nobody is given up in silence: {state}");
    post.server.inside(mend_it);
    post.retry();
    post.rest(subject);
    assert_eq!(post.at_the_sink(subject, OK), 1, "{subject}");
    post
}

/// The letters in a directory below the mail root as the server sees it.
fn seen_by(post: &Post, place: &str) -> Vec<String> {
    let path = post.server.maildir(place);
    let root = PathBuf::from(format!("/proc/{}/root", post.server.pid()));
    letters_in(&root.join(path.strip_prefix("/").unwrap()))
}

#[test]
fn a_bounce_into_a_full_or_read_only_disk_is_made_when_it_can() {
    for (subject, break_it, mend_it) in [
        ("full", "dd if=/dev/zero of=$MAIL/fill bs=4k 2>/dev/null || true", "rm $MAIL/fill"),
        ("read-only", "mount -o remount,ro $MAIL", "mount -o remount,rw $MAIL"),
    ] {
        let post = unwritten(subject, break_it, mend_it);
        let reports = seen_by(&post, "here.example/me/new");
        assert_eq!(reports.len(), 1, "{subject}: {reports:?}");
        assert!(reports[0].contains("Action: failed\r\n") && reports[0].contains(NEVER), "{subject}");
        assert!(seen_by(&post, "here.example/me/tmp").is_empty(), "{subject}");
    }
}

#[test]
fn a_bounce_for_a_sender_who_is_gone_goes_to_the_dead_letters() {
    let post = Post::new("");
    held(&post, &[OK, NEVER], "gone");
    fs::rename(post.server.maildir("here.example/me"), post.server.root.path().join("away")).unwrap();
    post.sink.release();
    post.rest("gone");
    let dead = letters_in(&post.server.state_dir().join("dead-letter/new"));
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(dead[0].contains("Action: failed\r\n") && dead[0].contains(NEVER), "{}", dead[0]);
    assert_eq!(post.at_the_sink("gone", OK), 1);
}

#[test]
fn a_letter_that_breaks_off_in_its_own_write_leaves_nothing() {
    let ignored = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    let post = Post::with("", |plan| plan.under(&ignored));
    let pid = Pid::from_raw(post.server.pid().cast_signed()).unwrap();
    // A file cannot grow beyond this: regular files alone know such a limit, so that no other write is hit.
    let limit = |octets| Rlimit { current: octets, maximum: None };
    let long =
        |subject: &str| [letter(FRIEND, ME, subject), b"A line of no meaning.\r\n".repeat(100_000)].concat();
    for limited in [true, false] {
        prlimit(Some(pid), Resource::Fsize, limit(limited.then_some(1 << 20))).unwrap();
        let said = Wire::greeted(post.server.mx()).0.transact(FRIEND, &[ME], &long("long"));
        assert!(said.starts_with(if limited { "45" } else { "250" }), "{said}");
        let said = submit(post.server.submission(), &[OK], &sealed_long(&post));
        assert_eq!(said.is_err(), limited, "{said:?}");
        let maildir = post.server.maildir("here.example/me");
        assert_eq!(names(&maildir.join("new")).len(), usize::from(!limited));
        assert!(names(&maildir.join("tmp")).is_empty());
    }
    post.rest("the long one");
    assert_eq!(post.at_the_sink("long", OK), 1);
}

fn sealed_long(post: &Post) -> Vec<u8> {
    let long = [letter(ME, OK, "long"), b"A line of no meaning.\r\n".repeat(100_000)].concat();
    post.home.sealed(&long, "mx.here.example", &[OK])
}

/// What is done to an entry while the server is down.
enum Damage {
    Truncated,
    Emptied,
    Headless,
    FlippedIn(&'static [u8]),
    State(&'static [u8]),
    Directory,
}

fn damage(post: &Post, id: &str, damage: &Damage) {
    let entry = post.queue().join(id);
    let mut content = fs::read(&entry).unwrap();
    match damage {
        Damage::Truncated => content.truncate(content.len() - 7),
        Damage::Emptied => content.clear(),
        Damage::Headless => content[..512].fill(0),
        Damage::FlippedIn(word) => {
            let at = content.windows(word.len()).position(|text| text == *word).unwrap();
            content[at] ^= 1;
        }
        Damage::State(text) => fs::write(post.server.state_dir().join("state").join(id), text).unwrap(),
        Damage::Directory => {
            fs::rename(&entry, post.server.root.path().join("taken away")).unwrap();
            return fs::create_dir(&entry).unwrap();
        }
    }
    fs::write(&entry, content).unwrap();
}

/// A letter that was tried by a server that is down, and one behind it.
fn down(subject: &str) -> (Post, String) {
    let mut post = Post::new("");
    let id = post.send(&[LATER, OK], subject);
    eventually("a record", || post.state(&id).filter(|it| !it.to_string().contains("\"attempts\":0")));
    post.sink.hold("MAIL");
    post.send(&[OK], "another");
    post.sink.wait_until_held();
    post.server.kill();
    post.sink.release();
    (post, id)
}

/// Starts it; the other letter goes out.
fn up(post: Post, subject: &str) -> Post {
    let post = post.again();
    eventually(&format!("{subject}: the other letter"), || {
        (post.at_the_sink("another", OK) == 1).then_some(())
    });
    assert_eq!(post.at_the_sink(subject, OK), 1, "{subject}");
    post
}

#[test]
fn a_damaged_entry_is_set_aside_with_its_state_and_the_others_go_out() {
    for (subject, what) in [
        ("truncated", Damage::Truncated),
        ("emptied", Damage::Emptied),
        ("headless", Damage::Headless),
        ("flipped in the first line", Damage::FlippedIn(b"illarbox")),
        ("flipped in the envelope", Damage::FlippedIn(b"later@far")),
        ("a torn state", Damage::State(b"{\"version\":1,\"recip")),
        ("an empty state", Damage::State(b"")),
    ] {
        let (post, id) = down(subject);
        damage(&post, &id, &what);
        let post = up(post, subject);
        let corrupt = post.server.state_dir().join("corrupt");
        assert_eq!(names(&corrupt), [id.clone(), format!("{id}.state")], "{subject}");
        let log = post.server.log();
        let told =
            |line: &&str| line.contains("\"ERROR\"") && line.contains("set aside") && line.contains(&id);
        assert_eq!(log.lines().filter(told).count(), 1, "{subject}");
        post.rest(subject);
        assert_eq!(post.server.letters("here.example/me").len(), 0, "{subject}: no report on it");
        // And nothing comes of it at the next start.
        let post = up(post, subject);
        assert_eq!(names(&corrupt).len(), 2, "{subject}");
        assert!(post.is_at_rest(), "{subject}");
    }
}

#[test]
fn the_digest_is_of_the_envelope_alone() {
    // Its signature is what tells the recipient.
    let (post, id) = down("flipped in the message");
    damage(&post, &id, &Damage::FlippedIn(b"\r\nHello."));
    let post = up(post, "flipped in the message");
    assert!(names(&post.server.state_dir().join("corrupt")).is_empty());
    eventually("the other one's end", || (names(&post.queue()) == [id.as_str()]).then_some(()));
}

#[test]
fn what_cannot_be_read_and_what_is_not_ours_is_left_alone() {
    let (post, id) = down("directory");
    damage(&post, &id, &Damage::Directory);
    fs::write(post.queue().join("README"), b"hands").unwrap();
    fs::write(post.server.state_dir().join("state/.hidden"), b"hands").unwrap();
    let post = up(post, "directory");
    is_told(&post, &id);
    for name in ["README", ".hidden"] {
        let log = post.server.log();
        assert!(log.lines().any(|line| line.contains(name) && line.contains("left alone")), "{name}");
    }
    eventually("the other one's end", || (names(&post.queue()) == [id.as_str(), "README"]).then_some(()));
    // Put back, it is taken up again.
    fs::remove_dir(post.queue().join(&id)).unwrap();
    fs::rename(post.server.root.path().join("taken away"), post.queue().join(&id)).unwrap();
    let post = up(post, "directory");
    assert_eq!(post.state(&id).unwrap()["recipients"][0]["attempts"], 1);
    assert!(post.server.command(&["queue", "drop", &id]).status.success());
}

/// The server said that it cannot read an entry, and set nothing aside.
#[track_caller]
fn is_told(post: &Post, id: &str) {
    let log = post.server.log();
    let told =
        |line: &&str| line.contains("\"ERROR\"") && line.contains("stays where it is") && line.contains(id);
    assert_eq!(log.lines().filter(told).count(), 1);
    assert!(names(&post.server.state_dir().join("corrupt")).is_empty());
}

#[test]
fn an_entry_that_the_server_may_not_open_is_left_alone() {
    for (place, error) in [("queue", "EACCES"), ("queue", "EIO"), ("state", "EACCES"), ("state", "EIO")] {
        let (mut post, id) = down("locked");
        let path = post.server.state_dir().join(place).join(&id);
        let inject = format!("inject=openat:error={error}");
        let tracer =
            ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-P", text(&path), "-e", "trace=openat", "-e"];
        post.server = post.server.again_under(&[&tracer[..], &[inject.as_str()]].concat());
        eventually("the other letter", || (post.at_the_sink("another", OK) == 1).then_some(()));
        is_told(&post, &id);
        eventually("the other one's end", || (names(&post.queue()) == [id.as_str()]).then_some(()));
        assert_eq!(post.state(&id).unwrap()["recipients"][0]["attempts"], 1, "{place} {error}");
        post.server = post.server.again_under(&[]);
        assert!(post.server.command(&["queue", "drop", &id]).status.success(), "{place} {error}");
        post.rest("locked");
        assert_eq!(post.at_the_sink("locked", OK), 1, "{place} {error}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
