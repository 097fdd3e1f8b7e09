//! The ready-made filters of `examples/filters/` with the real programs, from letter to verdict. Each daemon is private to
//! its test: on loopback, with files of its own, and no word to anybody else.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::eventually;
use harness::filters::{Filtered, LETTER};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const FRIEND: &str = "friend@there.example";
const ME: &str = "me@here.example";
/// What every spam filter takes for spam, in two pieces, so that this file is none.
const GTUBE: (&str, &str) = ("JS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-", "ANTI-UBE-TEST-EMAIL*C.34X");
/// What every virus scanner takes for a virus, likewise.
const EICAR: (&str, &str) = ("X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD", "-ANTIVIRUS-TEST-FILE!$H+H*");

#[test]
fn spamassassin_knows_spam() {
    let mut spamd = Daemon::new("spamassassin");
    let port = free_port();
    let (home, site) = (spamd.path("home"), spamd.path("site"));
    spamd.directory("home");
    spamd.directory("site");
    for entry in fs::read_dir("/etc/spamassassin").unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|extension| extension == "pre") {
            fs::copy(&entry, Path::new(&site).join(entry.file_name().unwrap())).unwrap();
        }
    }
    fs::write(Path::new(&site).join("local.cf"), "use_bayes 0\n").unwrap();
    let address = format!("--listen=127.0.0.1:{port}");
    let site = format!("--siteconfigpath={site}");
    let words =
        ["--local", "-x", &address, &site, "-m", "1", "-s", "stderr", "-H", &home, "-r", &spamd.path("pid")];
    let nobody: &[&str] = if is_root() { &["-u", "nobody"] } else { &[] };
    spamd.start("/usr/sbin/spamd", &[&words, nobody].concat());
    spamd.ready("spamd", || TcpStream::connect(("127.0.0.1", port)).is_ok());

    let options = format!("SPAMC_OPTIONS='-d 127.0.0.1 -p {port}'");
    let filtered = filtered(&options, include_str!("../examples/filters/spamassassin"));
    assert!(send(&filtered, "hello").starts_with("250"));
    let letter = stored(&filtered, "hello");
    assert!(letter.contains("\nX-Spam-Status: No, score="), "{letter}");
    assert!(send(&filtered, &gtube('X')).starts_with("250"));
    let letter = stored(&filtered, "GTUBE");
    assert!(letter.contains("\nX-Spam-Status: Yes, score=10"), "{letter}");
    let mut field = letter.split("\r\n").skip_while(|line| !line.starts_with("X-Spam-Status")).skip(1);
    assert!(
        field.by_ref().take_while(|line| line.starts_with('\t')).any(|line| line.contains("GTUBE")),
        "{letter}"
    );
    spamd.stop();
    assert!(send(&filtered, "again").starts_with("451 4.7.1 "));
    filtered.logged("does spamd run?");
}

#[test]
fn rspamd_knows_spam() {
    let mut rspamd = Daemon::new("rspamd");
    let port = free_port();
    let top = rspamd.path("");
    fs::write(rspamd.path("tld"), "example\n").unwrap();
    let config = format!(
        "options {{
           pidfile = \"{top}pid\"; control_socket = \"{top}control mode=0600\"; tempdir = \"{top}\"; hs_cache_dir = \"{top}\";
           dynamic_conf = \"{top}dynamic\"; history_file = \"{top}history\"; url_tld = \"{top}tld\";
           filters = \"regexp\"; disable_hyperscan = true; gtube_patterns = \"all\"; enable_test_patterns = true;
           dns {{ nameserver = [\"127.0.0.1:1\"]; timeout = 0.1s; retransmits = 1; }}
         }}
         logging {{ type = \"console\"; level = \"info\"; }}
         actions {{ reject = 15; add_header = 6; }}
         lua = \"/usr/share/rspamd/rules/rspamd.lua\";
         worker \"normal\" {{ bind_socket = \"127.0.0.1:{port}\"; count = 1; }}\n"
    );
    fs::write(rspamd.path("rspamd.conf"), config).unwrap();
    let words = ["-f", "-c", &rspamd.path("rspamd.conf")];
    let nobody: &[&str] = if is_root() { &["-i", "-u", "nobody", "-g", "nogroup"] } else { &[] };
    rspamd.start("/usr/bin/rspamd", &[&words, nobody].concat());
    rspamd.ready("rspamd", || ponged(port));

    let filtered = filtered(&format!("RSPAMD=127.0.0.1:{port}"), include_str!("../examples/filters/rspamd"));
    assert!(send(&filtered, "hello").starts_with("250"));
    let letter = stored(&filtered, "hello");
    assert!(letter.contains("\nX-Spam-Action: no action\r\nX-Spam-Score: "), "{letter}");
    assert!(letter.contains("\nX-Spam-Symbols: ") && letter.contains("FROM_EQ_ENVFROM"), "{letter}");
    assert!(send(&filtered, &gtube('X')).starts_with("550 5.7.1 this looks like spam"));
    assert!(send(&filtered, &gtube('Y')).starts_with("250"));
    let letter = stored(&filtered, "GTUBE");
    assert!(letter.contains("\nX-Spam-Action: add header\r\n"), "{letter}");
    rspamd.stop();
    assert!(send(&filtered, "again").starts_with("451 4.7.1 "));
    filtered.logged("refused");
}

#[test]
fn clamav_knows_viruses() {
    let mut clamd = Daemon::new("clamav");
    let top = clamd.path("");
    clamd.directory("db");
    let signature: String =
        format!("{}{}", EICAR.0, EICAR.1).bytes().map(|octet| format!("{octet:02x}")).collect();
    fs::write(clamd.path("db/test.ndb"), format!("Eicar-Test-Signature:0:*:{signature}\n")).unwrap();
    let user = if is_root() { "User nobody\n" } else { "" };
    let config = format!(
        "DatabaseDirectory {top}db\nLocalSocket {top}socket\nLocalSocketMode 666\nForeground yes\n\
         TemporaryDirectory {top}\nStreamMaxLength 200K\n{user}"
    );
    fs::write(clamd.path("clamd.conf"), config).unwrap();
    clamd.start("/usr/sbin/clamd", &["-c", &clamd.path("clamd.conf")]);
    let socket = clamd.path("socket");
    clamd.ready("clamd", || std::os::unix::net::UnixStream::connect(&socket).is_ok());

    let script = include_str!("../examples/filters/clamav");
    let virus = format!("{}{}", EICAR.0, EICAR.1);
    let setting = format!("CLAMAV_OPTIONS='-c {}' CLAMAV_LARGEST=204800", clamd.path("clamd.conf"));
    let by_daemon = filtered(&setting, script);
    let by_hand =
        filtered(&format!("CLAMAV=clamscan CLAMAV_OPTIONS='--database={top}db --tempdir={top}'"), script);
    for filtered in [&by_daemon, &by_hand] {
        assert!(send(filtered, "hello").starts_with("250"));
        assert!(stored(filtered, "hello").contains("\nX-Virus-Status: Clean\r\n"));
        let reply = send(filtered, &virus);
        assert!(reply.starts_with("550 5.7.1 this letter carries a virus: Eicar-Test-Signature"), "{reply}");
    }
    // Of a letter that is too large the beginning is looked at, and nobody calls the rest clean.
    let large = "a line of a large letter\r\n".repeat(10_000);
    assert!(send(&by_daemon, &format!("{large}behind {virus}")).starts_with("250"));
    let letter = stored(&by_daemon, "behind");
    assert!(letter.contains("\nX-Virus-Status: Unknown, too large"), "{}", &letter[..2000]);
    assert!(send(&by_daemon, &format!("{virus}\r\n{large}")).starts_with("550"));
    assert!(send(&by_hand, &format!("{large}behind {virus}")).starts_with("550"));
    // A client that knows nothing of the daemon's limit.
    let other = fs::read_to_string(clamd.path("clamd.conf")).unwrap().replace("StreamMaxLength 200K\n", "");
    fs::write(clamd.path("client.conf"), other).unwrap();
    by_daemon.rewrite(&format!("{}\n{script}", setting.replace("clamd.conf", "client.conf")));
    assert!(send(&by_daemon, &format!("{}not shown", large.repeat(20))).starts_with("250"));
    assert!(stored(&by_daemon, "not shown").contains("\nX-Virus-Status: Unknown, too large"));
    let as_junk = script.replace("on_virus=77", "on_virus=1");
    by_daemon.rewrite(&format!("{setting}\n{as_junk}"));
    assert!(send(&by_daemon, &format!("marked {virus}")).starts_with("250"));
    assert!(stored(&by_daemon, "marked").contains("\nX-Virus-Status: Infected (Eicar-Test-Signature"));
    clamd.stop();
    assert!(send(&by_daemon, "again").starts_with("451 4.7.1 "));
    by_daemon.logged("Could not connect to clamd");
}

fn filtered(setting: &str, script: &str) -> Filtered {
    Filtered::by(&format!("{setting}\n{script}"))
}

fn gtube(first: char) -> String {
    format!("{first}{}{}", GTUBE.0, GTUBE.1)
}

fn send(filtered: &Filtered, text: &str) -> String {
    filtered.wire().transact(FRIEND, &[ME], format!("{LETTER}{text}\r\n").as_bytes())
}

/// The letter with this word, in the inbox or among the junk.
#[track_caller]
fn stored(filtered: &Filtered, word: &str) -> String {
    let places = ["here.example/me", "here.example/me/junk"];
    let letters: Vec<String> = places.iter().flat_map(|place| filtered.server.letters(place)).collect();
    letters.into_iter().find(|letter| letter.contains(word)).unwrap()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// One that nobody has now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn ponged(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let (mut answer, request) = (Vec::new(), b"GET /ping HTTP/1.0\r\n\r\n");
    stream.write_all(request).and_then(|()| stream.read_to_end(&mut answer)).is_ok()
        && String::from_utf8_lossy(&answer).contains("pong")
}

/// A real daemon with a directory of its own.
struct Daemon {
    directory: TempDir,
    child: Option<Child>,
}

impl Daemon {
    fn new(name: &str) -> Daemon {
        let directory = tempfile::Builder::new().prefix(&format!("pillarbox-{name}-")).tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Daemon { directory, child: None }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn directory(&self, name: &str) {
        fs::create_dir(self.path(name)).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o777)).unwrap();
    }

    fn start(&mut self, program: &str, words: &[&str]) {
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        // What a daemon looks for at home is not the developer's.
        command.env("HOME", self.directory.path()).current_dir("/");
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}")));
    }

    fn ready(&mut self, name: &str, ready: impl Fn() -> bool) {
        let (child, log) = (self.child.as_mut().unwrap(), self.directory.path().join("log"));
        eventually(name, || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{name}: {ended:?}\n{}", fs::read_to_string(&log).unwrap());
            ready().then_some(())
        });
    }

    /// SIGTERM, and its end.
    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
            kill_process(pid, Signal::TERM).unwrap();
            eventually("a daemon's end", || child.try_wait().unwrap());
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
            // In a test that fails: it takes its children with it.
            let _ = kill_process(pid, Signal::TERM);
            let _ = child.wait();
        }
    }
}
