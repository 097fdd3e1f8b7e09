//! The relay killed, in front of each step and at any moment under load, and started again: nothing that got a 250 is
//! lost, what is recorded is not sent again, a report comes once.

mod harness;

use harness::post::{ME, Post, names, submit};
use harness::strace::Strace;
use harness::{PILLARBOX, eventually};
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const OK: &str = "ok@there.example";
const ALSO: &str = "also@near.example";
const NEVER: &str = "never@far.example";
const LATER: &str = "later@far.example";

/// How often each letter, by its subject, came to each of its recipients.
fn copies(post: &Post) -> HashMap<(String, String), usize> {
    let mut copies = HashMap::new();
    for letter in post.sink.letters() {
        let subject =
            letter.text.split("\r\nSubject: ").nth(1).unwrap().split('\r').next().unwrap().to_owned();
        for to in letter.to {
            *copies.entry((subject.clone(), to)).or_insert(0) += 1;
        }
    }
    copies
}

/// What is recorded of a server that is dead: letters that the log says are finished, and who has his letter.
struct Recorded {
    finished: Vec<String>,
    delivered: Vec<(String, String)>,
}

impl Recorded {
    fn read(post: &Post) -> Recorded {
        let state = post.server.state_dir();
        let log = std::fs::read_to_string(state.join("seen")).unwrap();
        // A line without its end does not count.
        let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let finished = lines.filter_map(|line| line.strip_prefix("1 finished ")?.split(' ').next());
        let finished = finished.map(str::to_owned).collect();
        let mut delivered = Vec::new();
        for id in names(&state.join("state")) {
            let Some(state) = post.state(&id) else { continue };
            let recipients = state["recipients"].as_array().unwrap();
            for recipient in recipients.iter().filter(|it| it["state"]["is"] == "delivered") {
                let to = recipient["recipient"]["address"].as_str().unwrap().to_owned();
                delivered.push((id.clone(), to));
            }
        }
        Recorded { finished, delivered }
    }
}

/// Letters that several clients submit until each has its 250, whatever happens to the server.
struct Load<'a> {
    letters: Vec<(&'static [&'static str], String, Vec<u8>)>,
    server: Mutex<SocketAddr>,
    next: AtomicUsize,
    acknowledged: Mutex<Vec<(String, usize)>>,
    failed: &'a AtomicBool,
}

impl<'a> Load<'a> {
    fn new(post: &Post, count: usize, failed: &'a AtomicBool) -> Load<'a> {
        let to: [&[&str]; 4] = [&[OK], &[OK, ALSO], &[ALSO], &[ALSO, NEVER, OK]];
        let letter = |n: usize| {
            let (to, subject) = (to[n % to.len()], format!("load {n}"));
            let sealed = post.sealed(to, &subject);
            (to, subject, sealed)
        };
        Load {
            letters: (0..count).map(letter).collect(),
            server: Mutex::new(post.server.submission()),
            next: AtomicUsize::new(0),
            acknowledged: Mutex::default(),
            failed,
        }
    }

    /// One client: one letter after another.
    fn send(&self) {
        while let Some((to, _, sealed)) = self.letters.get(self.next.fetch_add(1, Ordering::SeqCst)) {
            let place = self.letters.iter().position(|(_, _, other)| other == sealed).unwrap();
            loop {
                let server = *self.server.lock().unwrap();
                if let Ok(id) = submit(server, to, sealed) {
                    break self.acknowledged.lock().unwrap().push((id, place));
                }
                if self.failed.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever looks for the server again and again keeps it from starting.
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }
}

/// Lets the clients go when the test is over, however that is.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn twenty_kills_in_a_row_under_load_lose_nothing_and_send_nothing_again_that_is_recorded() {
    const LETTERS: usize = 160;
    const KILLS: usize = 20;
    let mut post = Post::new("");
    let failed = AtomicBool::new(false);
    let load = Load::new(&post, LETTERS, &failed);
    let mut recorded = Vec::new();
    post = std::thread::scope(|scope| {
        let _over = Over(&failed);
        for _ in 0..4 {
            scope.spawn(|| load.send());
        }
        for kill in 1..=KILLS {
            // Whatever is under way at that moment: every letter is an acknowledgement and one or two copies.
            eventually("more letters", || {
                let events = load.acknowledged() + post.sink.letters().len();
                (events >= kill * 2 * LETTERS / KILLS).then_some(())
            });
            post.server.kill();
            recorded.push((Recorded::read(&post), copies(&post)));
            post = post.again();
            *load.server.lock().unwrap() = post.server.submission();
        }
        eventually("all letters taken", || (load.acknowledged() == LETTERS).then_some(()));
        post
    });
    post.rest("after the last kill");
    let end = copies(&post);
    let acknowledged = load.acknowledged.lock().unwrap();
    for (id, place) in acknowledged.iter() {
        let (to, subject, _) = &load.letters[*place];
        for to in to.iter().filter(|to| **to != NEVER) {
            assert!(
                end.contains_key(&(subject.clone(), (*to).to_owned())),
                "{subject}, {id}, is lost for {to}"
            );
        }
        let reports = usize::from(to.contains(&NEVER));
        assert_eq!(post.reports(subject, "failed"), reports, "{subject}");
    }
    let ids: HashMap<_, _> = acknowledged.iter().map(|(id, place)| (&load.letters[*place].1, id)).collect();
    for (recorded, then) in recorded {
        for ((subject, to), count) in then {
            let id = ids[&subject];
            if recorded.finished.contains(id) || recorded.delivered.contains(&(id.clone(), to.clone())) {
                assert_eq!(
                    end[&(subject.clone(), to.clone())],
                    count,
                    "{subject}, {id}, was sent to {to} again"
                );
            }
        }
    }
}

/// Kills at each of the calls from when the sink answers MAIL. Returns how often the server was killed.
fn at_each(calls: &[(&str, usize)], relay: &str, to: &[&str], judge: impl Fn(&Post, &str, &str)) -> usize {
    let mut post = Post::new(relay);
    let mut killed = 0;
    for &(call, most) in calls {
        for n in 1..=most {
            let subject = format!("{call} {n}");
            post.sink.hold("MAIL");
            let id = post.send(to, &subject);
            post.sink.wait_until_held();
            let strace = Strace::kill_at(post.server.pid(), call, n);
            post.sink.release();
            // It ends by the call, or the letter does without so many on one thread.
            eventually(&format!("{subject}: an end"), || {
                let tried = |it: &Value| it["attempts"] != 0;
                let all = |state: Value| state["recipients"].as_array().unwrap().iter().all(tried);
                let settled = post.is_at_rest() || post.state(&id).is_some_and(all);
                (settled || !post.server.is_alive()).then_some(())
            });
            drop(strace);
            if !post.is_alive() {
                killed += 1;
                assert_eq!(post.server.wait().signal(), Some(9), "{subject}");
                post = post.again();
            }
            judge(&post, &id, &subject);
        }
    }
    killed
}

#[test]
fn a_letter_to_several_hosts_one_of_which_refuses_is_reported_once() {
    let calls = [
        ("openat", 4),
        ("fsync", 4),
        ("renameat2", 1),
        ("rename", 2),
        ("write", 3),
        ("fdatasync", 1),
        ("unlink", 2),
    ];
    let killed = at_each(&calls, "", &[OK, NEVER, ALSO], |post, _, subject| {
        post.rest(subject);
        for to in [OK, ALSO] {
            let count = post.at_the_sink(subject, to);
            assert!((1..=2).contains(&count), "{subject}: {count} copies for {to}");
        }
        assert_eq!(post.reports(subject, "failed"), 1, "{subject}");
        assert_eq!(post.reports(subject, "delayed"), 0, "{subject}");
    });
    // The first of each comes for certain; the others where one thread makes them.
    assert!(killed >= 7, "killed only {killed} times");
}

#[test]
fn a_delay_is_told_once() {
    let calls = [("openat", 4), ("fsync", 4), ("renameat2", 1), ("rename", 1)];
    let killed = at_each(&calls, "warn_after = 0", &[OK, LATER], |post, id, subject| {
        let told = || {
            let state = post.state(id)?;
            let recipients = state["recipients"].as_array().unwrap();
            let done = recipients[0]["state"]["is"] == "delivered" && recipients[1]["warned"] == true;
            (done && recipients[1]["attempts"] != 0).then_some(())
        };
        eventually(&format!("{subject}: a record of the delay"), told);
        assert_eq!(post.reports(subject, "delayed"), 1, "{subject}");
        let count = post.at_the_sink(subject, OK);
        assert!((1..=2).contains(&count), "{subject}: {count} copies");
        assert!(post.server.command(&["queue", "drop", id]).status.success());
        post.rest(subject);
        assert_eq!(post.reports(subject, "delayed"), 1, "{subject}");
    });
    assert!(killed >= 4, "killed only {killed} times");
}

#[test]
fn a_lane_stands_still_when_what_it_sent_cannot_be_recorded() {
    // docs/states.md: those on 10 connections, and 20 whose record is being written.
    const MOST: usize = 30;
    const LETTERS: usize = 60;
    let mut post = Post::new("");
    post.sink.hold("greeting");
    let ids: Vec<_> = (0..LETTERS).map(|n| post.send(&[OK], &format!("unrecorded {n}"))).collect();
    let log = post.server.state_dir().join("seen");
    let strace = Strace::fail_file(post.server.pid(), "write", "ENOSPC", &log);
    post.sink.release();
    let words = "what became of a letter cannot be recorded; trying until it can";
    // Each of these has said so more than once: nothing is new any more.
    eventually("a lane that stands still", || {
        let log = post.server.log();
        let complaints =
            |id: &String| log.lines().filter(|line| line.contains(words) && line.contains(id)).count();
        let told: Vec<_> = ids.iter().map(complaints).filter(|count| *count > 0).collect();
        let taken = copies(&post).len();
        (taken >= 20 && told.len() == taken && told.iter().all(|count| *count > 1)).then_some(())
    });
    post.server.kill();
    drop(strace);
    let taken = copies(&post);
    assert!((20..=MOST).contains(&taken.len()), "{} letters are not recorded", taken.len());
    assert!(taken.values().all(|count| *count == 1), "{taken:?}");
    post = post.again();
    post.rest("after the restart");
    let end = copies(&post);
    assert_eq!(end.len(), LETTERS);
    for (letter, count) in end {
        assert_eq!(count, 1 + usize::from(taken.contains_key(&letter)), "{letter:?}");
    }
}

/// A server that nobody waits for to be ready.
struct Start(Child);

impl Drop for Start {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn killed_while_it_starts() {
    let mut post = Post::new("");
    let state = post.server.state_dir();
    for (call, on) in [
        ("openat", "seen.new"),
        ("openat", "seen"),
        ("openat", "ENTRY"),
        ("openat", "STATE"),
        ("fsync", "queue"),
        ("fsync", "seen.new"),
        ("rename", "seen.new"),
        ("fsync", ""),
    ] {
        let subject = format!("start {call} {on}");
        post.sink.hold("greeting");
        // One that was tried, one that was not, and one that is finished with its files still there.
        let tried = post.send(&[LATER, OK], &format!("tried, {subject}"));
        let fresh = post.send(&[OK, NEVER], &format!("fresh, {subject}"));
        post.sink.release();
        eventually("a record", || post.state(&tried).filter(|it| !it.to_string().contains("\"attempts\":0")));
        eventually("a finished one", || (!post.queue().join(&fresh).exists()).then_some(()));
        post.server.kill();
        let on = match on {
            "ENTRY" => state.join("queue").join(&tried),
            "STATE" => state.join("state").join(&tried),
            other => state.join(other),
        };
        let on = on.to_str().unwrap().trim_end_matches('/').to_owned();
        // The child is the server, and strace a stranger to us.
        let child = Command::new("strace")
            .args(["-D", "-f", "-qq", "-o", "/dev/null", "-P", &on, "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:signal=KILL:when=1"), PILLARBOX, "--config"])
            .arg(post.server.config())
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut start = Start(child.unwrap());
        let status = eventually(&format!("{subject}: the kill"), || start.0.try_wait().unwrap());
        assert_eq!(status.signal(), Some(9), "{subject}");
        post = post.again();
        assert_eq!(names(&post.queue()), [tried.as_str()], "{subject}");
        let state = post.state(&tried).unwrap();
        assert_eq!(state["recipients"][0]["attempts"], 1, "{subject}");
        assert!(post.server.command(&["queue", "drop", &tried]).status.success(), "{subject}");
        post.rest(&subject);
        for letter in ["tried", "fresh"] {
            assert_eq!(post.at_the_sink(&format!("{letter}, {subject}"), OK), 1, "{subject}");
        }
        assert_eq!(post.reports(&format!("fresh, {subject}"), "failed"), 1, "{subject}");
    }
    assert_eq!(names(&post.server.state_dir().join("corrupt")), [""; 0]);
    assert_eq!(post.server.letters("here.example/me").len(), 8, "nothing but the reports to {ME}");
}
