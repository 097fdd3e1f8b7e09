//! `sendmail` as a process: its names, its exit status, and what a signal leaves behind.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const LETTER: &str = "From: me@example.org\nTo: a@example.net\nSubject: x\n\nhello\n";
const TIMEOUT: Duration = Duration::from_secs(30);

/// A home in a temporary directory.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new(server: SocketAddr) -> Home {
        let dir = tempfile::tempdir().unwrap();
        let mail = dir.path().join("mail");
        let config = format!(
            "mail = {mail:?}\noutbox = {:?}\nsubmit_via = \"smtp://{server}\"\n",
            dir.path().join("outbox")
        );
        std::fs::write(dir.path().join("home.toml"), config).unwrap();
        let home = Home { dir };
        let made = home.command("pillarbox", &["key", "new", "me@example.org"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        home
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillarbox"));
        command.arg0(name).args(arguments).env("PILLARBOX_CONFIG", self.dir.path().join("home.toml"));
        command
    }

    fn start(&self, name: &str, arguments: &[&str], letter: &str) -> Child {
        let mut command = self.command(name, arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Who is called wrongly ends without reading the letter.
        let _ = child.stdin.take().unwrap().write_all(letter.as_bytes());
        child
    }

    /// How many letters wait.
    fn waiting(&self) -> usize {
        let output = self.command("pillarbox", &["outbox", "list", "--json"]).output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice::<Vec<serde_json::Value>>(&output.stdout).unwrap().len()
    }
}

fn ended(child: Child) -> (ExitStatus, String) {
    let output = child.wait_with_output().unwrap();
    (output.status, String::from_utf8(output.stderr).unwrap())
}

/// A server that takes all letters, but never answers a line that begins with `mute` (the final dot is "."). Each line
/// that it reads outside of a letter, and the dot, is told.
fn server(mute: &'static str) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut say = |text: &str| stream.write_all(format!("{text}\r\n").as_bytes());
            let _ = say("220 mx.example ESMTP");
            let mut in_letter = false;
            while let Some(Ok(line)) = lines.next() {
                if in_letter && line != "." {
                    continue;
                }
                let _ = tell.send(line.clone());
                if !mute.is_empty() && line.starts_with(mute) {
                    continue;
                }
                in_letter = line == "DATA";
                let _ = say(if in_letter { "354 go on" } else { "250 ok" });
            }
        }
    });
    (address, told)
}

fn wait_for(told: &Receiver<String>, prefix: &str) {
    while !told.recv_timeout(TIMEOUT).expect("the server was told nothing more").starts_with(prefix) {}
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[test]
fn by_every_name() {
    let (address, told) = server("");
    let home = Home::new(address);
    for (name, arguments) in [
        ("sendmail", &["-oi", "-t"][..]),
        ("/usr/sbin/send-mail", &["-t"]),
        ("pillarbox", &["sendmail", "-oi", "-t"]),
    ] {
        let (status, errors) = ended(home.start(name, arguments, LETTER));
        assert!(status.success() && errors.is_empty(), "{name}: {status} {errors}");
        wait_for(&told, ".");
    }
    let output = home.command("mailq", &[]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "The outbox is empty\n");
    assert!(home.command("newaliases", &[]).status().unwrap().success());
}

#[test]
fn failures_are_one_line_and_a_status() {
    let (address, _told) = server("");
    let home = Home::new(address);
    for (arguments, letter, code) in [
        (&["-z"][..], LETTER, 64),
        (&["-t"], "", 65),
        (&["-t"], "From: you@example.org\nTo: a@example.net\n\nx\n", 78),
    ] {
        let (status, errors) = ended(home.start("sendmail", arguments, letter));
        assert_eq!(status.code(), Some(code), "{arguments:?} {errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    let directory = std::fs::File::open("/").unwrap();
    let output = home.command("sendmail", &["-t"]).stdin(directory).output().unwrap();
    assert_eq!(output.status.code(), Some(66));
    let nowhere = PathBuf::from("/nonexistent/home.toml");
    let output = home.command("sendmail", &["-t"]).env("PILLARBOX_CONFIG", nowhere).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn ctrl_c_before_the_dot_takes_the_letter_back() {
    let (address, told) = server("MAIL");
    let home = Home::new(address);
    let child = home.start("sendmail", &["-t"], LETTER);
    wait_for(&told, "MAIL");
    signal(&child, rustix::process::Signal::INT);
    let (status, errors) = ended(child);
    assert_eq!(status.code(), Some(75), "{errors}");
    assert!(errors.contains("not sent"), "{errors}");
    assert_eq!(home.waiting(), 0);
}

#[test]
fn ctrl_c_after_the_dot_keeps_it_with_its_nonce() {
    let (address, told) = server(".");
    let home = Home::new(address);
    let child = home.start("sendmail", &["-t"], LETTER);
    wait_for(&told, ".");
    signal(&child, rustix::process::Signal::INT);
    let (status, errors) = ended(child);
    assert!(status.success() && errors.contains("queued as"), "{status} {errors}");
    assert_eq!(home.waiting(), 1);
}

#[test]
fn a_killed_sendmail_leaves_the_letter_to_the_next_flush() {
    for kill in [rustix::process::Signal::KILL, rustix::process::Signal::TERM, rustix::process::Signal::HUP] {
        let (address, told) = server("MAIL");
        let home = Home::new(address);
        let child = home.start("sendmail", &["-t"], LETTER);
        wait_for(&told, "MAIL");
        signal(&child, kill);
        assert_eq!(ended(child).0.signal(), Some(kill.as_raw()));
        assert_eq!(home.waiting(), 1, "{kill:?}");

        let (address, told) = server("");
        let option = format!("submit_via=smtp://{address}");
        let (status, errors) = ended(home.start("pillarbox", &["-o", &option, "flush"], ""));
        assert!(status.success() && errors.contains(": sent: "), "{errors}");
        wait_for(&told, ".");
        assert_eq!(home.waiting(), 0);
    }
}

#[test]
fn a_flush_tells_programs_what_was_sent_and_what_waits() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let home = Home::new(closed);
    assert!(ended(home.start("sendmail", &["-t"], LETTER)).0.success());
    let told = |arguments: &[&str]| {
        let output = home.command("pillarbox", arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        (output.status.code().unwrap(), lines.collect::<Vec<serde_json::Value>>())
    };
    let (exit, lines) = told(&["flush", "--json"]);
    let [flushed] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((exit, &flushed["ok"]), (75, &false.into()), "{flushed}");
    assert_eq!(flushed["sent"].as_array().unwrap().len(), 0);
    let waiting = &flushed["waiting"][0];
    assert_eq!((&waiting["state"], &waiting["recipients"][0]), (&"waiting".into(), &"a@example.net".into()));
    for text in [&waiting["said"], &flushed["error"]] {
        assert!(text.as_str().unwrap().contains("refused"), "{flushed}");
    }

    // What cannot be pulled does not keep the letters from going out.
    let (address, _told) = server("");
    let submit = format!("submit_via=smtp://{address}");
    let (exit, lines) = told(&["-o", &submit, "-o", "pull_via=[\"false\"]", "sync", "--json"]);
    let [flushed, pulled] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((exit, &pulled["ok"], &flushed["ok"]), (75, &false.into(), &true.into()), "{lines:?}");
    assert_eq!((&flushed["sent"][0]["id"], &flushed["error"]), (&waiting["id"], &serde_json::Value::Null));
    assert!(flushed["sent"][0]["said"].as_str().unwrap().ends_with("250 ok"), "{flushed}");
    assert_eq!(flushed["waiting"].as_array().unwrap().len(), 0);
    assert_eq!(home.waiting(), 0);
}
