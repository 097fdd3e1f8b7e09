//! The disk says no: failing calls, full and read-only and missing disks, and a server that is told to stop. Nothing is
//! accepted that is not stored, nothing is shown that is not whole, and the sender is asked to come again.

mod harness;

use harness::home::{Home, letter};
use harness::strace::Strace;
use harness::wire::Wire;
use harness::{Dns, PILLARBOX, Plan, Server, ZONE, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ME: &str = "me@here.example";
const YOU: &str = "you@here.example";
const FRIEND: &str = "friend@there.example";

/// A transaction up to the final dot.
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

fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[test]
fn a_call_that_fails_is_451_or_452_and_shows_no_part_of_a_letter() {
    let dns = Dns::start(ZONE);
    let server = Plan::new("mx.here.example", &[ME, YOU]).start(&dns);
    assert!(Wire::greeted(server.mx()).0.transact(FRIEND, &[ME, YOU], b"\r\n").starts_with("250"));
    let (one, two) = (&[ME][..], &[ME, YOU][..]);
    // A write that fails is tested on a full disk below, and by a limit in crash_relay_faults.rs: strace cannot tell a letter's
    // write from the runtime's wake-up.
    // The queue's pwrite is nobody else's. Behind the rename a letter may have a reader: it stays, and the repeat is a double (docs/states.md).
    for (to, call, error, n, reply, copies) in [
        (one, "fsync", "EIO", 1, "451 4.3.0", 1),
        (one, "fsync", "ENOSPC", 1, "452 4.3.1", 1),
        (one, "fsync", "EIO", 2, "451 4.3.0", 2),
        (one, "renameat2", "ENOSPC", 1, "452 4.3.1", 1),
        (one, "renameat2", "EROFS", 1, "451 4.3.0", 1),
        (two, "pwrite64", "ENOSPC", 1, "452 4.3.1", 1),
        (two, "pwrite64", "EDQUOT", 1, "452 4.3.1", 1),
        (two, "fsync", "EIO", 1, "451 4.3.0", 1),
        (two, "fsync", "EIO", 2, "451 4.3.0", 1),
        (two, "renameat2", "EIO", 1, "451 4.3.0", 1),
    ] {
        let what = format!("{call} {error} {n} for {}", to.len());
        let message = letter(FRIEND, ME, &what);
        let mut wire = all_but_the_dot(&server, to, &message);
        let strace = Strace::fail_at(server.pid(), call, error, n);
        let said = wire.raw(b".\r\n").reply();
        drop(strace);
        assert!(said.starts_with(reply), "{what}: {said}");
        assert!(Wire::greeted(server.mx()).0.transact(FRIEND, to, &message).starts_with("250"), "{what}");
        eventually("an empty queue", || (entries(&server.state_dir().join("queue")) == 0).then_some(()));
        let subject = format!("Subject: {what}\r\n");
        for place in ["here.example/me", "here.example/you"].iter().take(to.len()) {
            let letters = server.letters(place);
            let of_this: Vec<_> = letters.iter().filter(|letter| letter.contains(&subject)).collect();
            assert_eq!(of_this.len(), copies, "{what} in {place}");
            assert!(of_this.iter().all(|letter| letter.ends_with("\r\n\r\nHello.\r\n")), "{what}");
            assert_eq!(entries(&server.maildir(place).join("tmp")), 0, "{what}");
        }
        assert_eq!(entries(&server.state_dir().join("state")), 0, "{what}");
    }
}

#[test]
fn a_submission_that_cannot_be_committed_waits_at_home_and_is_queued_once() {
    let dns = Dns::start(ZONE);
    let mut server = Plan::new("mx.here.example", &[ME]).start(&dns);
    let home = Home::new(&dns, ME);
    home.use_server(&server);
    let send = |subject: &str| {
        let letter = format!("From: {ME}\nTo: {ME}\nSubject: {subject}\n\nHello.\n");
        let output = home.command(&["sendmail", "-t"], letter.as_bytes());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(send("first"), "");
    for (call, n) in [("fsync", 1), ("pwrite64", 1), ("renameat2", 1), ("fsync", 2)] {
        let subject = format!("{call} {n}");
        let strace = Strace::fail_at(server.pid(), call, "EIO", n);
        let said = send(&subject);
        drop(strace);
        assert!(said.contains("queued as") && said.contains("451 4.3.0"), "{subject}: {said}");
        let flushed = home.command(&["flush"], b"");
        assert!(flushed.status.success(), "{subject}: {flushed:?}");
    }
    // A copy that cannot be made is made later: the letter is accepted, since the queue has it.
    let strace = Strace::fail_at(server.pid(), "fsync", "EIO", 3);
    assert_eq!(send("fsync 3"), "");
    drop(strace);
    assert_eq!(entries(&server.state_dir().join("queue")), 1);
    let letters = server.letters("here.example/me");
    assert_eq!(letters.len(), 5, "{letters:#?}");
    server = server.again();
    assert_eq!(entries(&server.state_dir().join("queue")), 1, "nothing is lost by a restart");
}

#[test]
fn a_log_that_cannot_be_written_ends_no_letter_and_doubles_none() {
    let dns = Dns::start(ZONE);
    let mut server = Plan::new("mx.here.example", &[ME, YOU]).start(&dns);
    let log = server.state_dir().join("seen");
    let mut sent = 0;
    for (call, error) in [("write", "ENOSPC"), ("fdatasync", "EIO")] {
        let message = letter(FRIEND, ME, call);
        let mut wire = all_but_the_dot(&server, &[ME, YOU], &message);
        let strace = Strace::fail_at_file(server.pid(), call, error, &log, 1);
        // It is in the queue and its copies are made: the letter is taken.
        wire.raw(b".\r\n").expect("250");
        sent += 1;
        eventually("a word about the log", || {
            (server.log().matches("writing the log of what was seen").count() >= sent).then_some(())
        });
        drop(strace);
        eventually("an empty queue", || (entries(&server.state_dir().join("queue")) == 0).then_some(()));
    }
    server = server.again();
    for place in ["here.example/me", "here.example/you"] {
        assert_eq!(server.letters(place).len(), sent, "{place}");
    }
    assert_eq!(entries(&server.state_dir().join("queue")), 0);
}

/// Mounts a disk of 4 MiB on `mail` or `state` that nobody but the server sees.
fn on_a_disk_of_its_own(place: &str) -> Vec<String> {
    let script = format!(
        "cp -a \"$0\"/{place} \"$0\"/kept && mount -t tmpfs -o size=4m,mode=700 small \"$0\"/{place} && \
         cp -a \"$0\"/kept/. \"$0\"/{place} && exec \"$@\""
    );
    unshare().iter().copied().chain(["sh", "-c", &script, "{root}"]).map(String::from).collect()
}

/// Mounts are root's, or those of whoever is root in his own namespace.
fn unshare() -> &'static [&'static str] {
    match rustix::process::geteuid().is_root() {
        true => &["unshare", "--mount"],
        false => &["unshare", "--mount", "--map-root-user"],
    }
}

/// Runs a command where the server sees its disks.
fn beside(server: &Server, script: &str) -> Output {
    let mut command = Command::new("nsenter");
    command.args(["--mount", "--target", &server.pid().to_string()]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--preserve-credentials"]);
    }
    let output = command.args(["sh", "-c", script]).arg(server.root.path()).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    output
}

/// What the server sees there.
fn seen_by(server: &Server, place: &str) -> PathBuf {
    let path = server.root.path().join(place);
    PathBuf::from(format!("/proc/{}/root", server.pid())).join(path.strip_prefix("/").unwrap())
}

fn start_on(place: &str, dns: &Dns) -> Server {
    let wrapper = on_a_disk_of_its_own(place);
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    Plan::new("mx.here.example", &[ME]).under(&wrapper).start(dns)
}

/// A letter of so many lines of 100 octets.
fn deliver(server: &Server, subject: &str, lines: usize) -> String {
    let mut message = letter(FRIEND, ME, subject);
    message.extend_from_slice(format!("{}\r\n", "x".repeat(98)).repeat(lines).as_bytes());
    Wire::greeted(server.mx()).0.transact(FRIEND, &[ME], &message)
}

#[test]
fn a_full_disk_is_452_before_a_250() {
    let dns = Dns::start(ZONE);
    for (place, maildir) in [("mail", "mail/here.example/me"), ("state", "mail/here.example/me")] {
        let server = start_on(place, &dns);
        assert!(deliver(&server, "small", 1).starts_with("250"), "{place}");
        // Larger than what is left, and than what is kept in memory: it fails on its way, or when it is stored.
        let said = deliver(&server, "large", 60_000);
        assert!(said.starts_with("452 4.3.1"), "{place}: {said}");
        beside(&server, &format!("dd if=/dev/zero of=\"$0\"/{place}/fill bs=64k 2>/dev/null || true"));
        let said = deliver(&server, "medium", 3_000);
        assert!(said.starts_with("452 4.3.1"), "{place}: {said}");
        assert_eq!(entries(&seen_by(&server, maildir).join("new")), 1, "{place}");
        assert_eq!(entries(&seen_by(&server, maildir).join("tmp")), 0, "{place}");
        beside(&server, &format!("rm \"$0\"/{place}/fill"));
        assert!(deliver(&server, "medium", 3_000).starts_with("250"), "{place}");
        assert_eq!(entries(&seen_by(&server, maildir).join("new")), 2, "{place}");
    }
}

#[test]
fn a_read_only_disk_is_451_and_so_is_one_that_is_gone() {
    let dns = Dns::start(ZONE);
    let server = start_on("mail", &dns);
    beside(&server, "mount -o remount,ro \"$0\"/mail");
    let said = deliver(&server, "read-only", 1);
    assert!(said.starts_with("451 4.3.0"), "{said}");
    beside(&server, "mount -o remount,rw \"$0\"/mail");
    assert!(deliver(&server, "writable", 1).starts_with("250"));
    assert!(deliver(&server, "mounted", 1).starts_with("250"));
    // What lies below the mount has the very same directories, and is not it.
    beside(&server, "umount -l \"$0\"/mail");
    let said = deliver(&server, "unmounted", 1);
    assert!(said.starts_with("451 4.3.0"), "{said}");
    let (mut wire, _) = Wire::greeted(server.mx());
    wire.ask("MAIL FROM:<>", "250");
    wire.ask("RCPT TO:<nobody@here.example>", "451");
    assert_eq!(entries(&seen_by(&server, "mail/here.example/me")), 0, "nothing is stored below the mount");
}

#[test]
fn a_letter_in_flight_is_finished_when_the_server_is_told_to_stop() {
    let dns = Dns::start(ZONE);
    let mut server = Server::ours(&dns);
    let message = letter(FRIEND, ME, "in flight");
    let (half, rest) = message.split_at(message.len() / 2);
    let mut flying = all_but_the_dot(&server, &[ME], half);
    let mut idle = Wire::greeted(server.mx()).0;
    kill_process(Pid::from_raw(server.pid().cast_signed()).unwrap(), Signal::TERM).unwrap();
    idle.expect("421 4.3.2");
    idle.expect_end();
    eventually("a closed door", || std::net::TcpStream::connect(server.mx()).is_err().then_some(()));
    flying.raw(rest).raw(b".\r\n").expect("250");
    flying.expect("421 4.3.2");
    assert!(server.wait().success());
    assert_eq!(server.letters("here.example/me").len(), 1);
}

#[test]
fn a_second_server_on_the_same_state_does_not_start() {
    let dns = Dns::start(ZONE);
    let server = Server::ours(&dns);
    let output = Command::new(PILLARBOX).arg("--config").arg(server.config()).arg("serve").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("another pillarbox has this state directory open; stop it"), "{said}");
    assert!(Wire::greeted(server.mx()).0.transact(FRIEND, &[ME], b"\r\n").starts_with("250"));
    let home = Home::new(&dns, ME);
    home.use_server(&server);
    let letter = format!("From: {ME}\nTo: {ME}\n\nHello.\n");
    let output = home.command(&["sendmail", "-t"], letter.as_bytes());
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "its socket is still the first one's: {output:?}"
    );
}
