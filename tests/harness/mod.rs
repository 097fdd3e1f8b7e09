//! What the tests stand on: a name server that knows only what it was told, the real binary on real sockets, a home with
//! keys, and a wire to speak SMTP by hand.

#![allow(dead_code)] // Each test file takes what it needs.
#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a panic is the answer.

pub mod apart;
pub mod certbot;
pub mod certs;
pub mod dialogue;
pub mod filters;
pub mod forge;
pub mod home;
pub mod keeper;
pub mod mx;
pub mod odd;
pub mod pebble;
pub mod peers;
pub mod pki;
pub mod policies;
pub mod post;
pub mod signed;
pub mod sink;
pub mod ssh;
pub mod strace;
pub mod tls;
pub mod town;
pub mod wire;

use pillarbox::ops::trial::children::Listening;
use pillarbox::ops::trial::dns::NameServer;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The binary under test.
pub const PILLARBOX: &str = env!("CARGO_BIN_EXE_pillarbox");

/// Our domain `here.example` and a stranger's, `there.example`, both on this machine.
pub const ZONE: &str = "\
here.example. 60 IN MX 10 mx.here.example.
mx.here.example. 60 IN A 127.0.0.1
there.example. 60 IN MX 10 mx.there.example.
mx.there.example. 60 IN A 127.0.0.1
null.example. 60 IN MX 0 .
trouble.example. 60 IN MX 10 servfail.trouble.example.
";

/// How long anything may take that takes milliseconds on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `found` gives something; fails the test with `what` when it never does.
#[track_caller]
pub fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An authoritative name server in this process. What it was not told does not exist (NXDOMAIN); what has a label
/// `servfail` in it is SERVFAIL.
pub struct Dns {
    server: NameServer,
}

impl Dns {
    pub fn start(zone: &str) -> Dns {
        Dns { server: runtime().block_on(NameServer::start(zone)).unwrap() }
    }

    pub fn add(&self, zone: &str) {
        runtime().block_on(self.server.add(zone)).unwrap();
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

/// One runtime for the name servers and the library's asynchronous calls.
pub fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    })
}

/// A server that is about to be started.
pub struct Plan {
    hostname: String,
    extra: String,
    addresses: Vec<String>,
    wrapper: Vec<String>,
    loopback: &'static str,
    submissions: bool,
}

/// The real binary, serving on ports of its own below a temporary root. Dropping it ends it; a test that fails shows its
/// log.
pub struct Server {
    pub root: Arc<TempDir>,
    pub listening: Listening,
    child: Child,
    wrapper: Vec<String>,
}

impl Plan {
    /// `hostname` and the addresses that exist (`me@here.example`; a `/` makes a topic).
    pub fn new(hostname: &str, addresses: &[&str]) -> Plan {
        let addresses = addresses.iter().map(|address| address.to_string()).collect();
        Plan {
            hostname: hostname.into(),
            extra: String::new(),
            addresses,
            wrapper: Vec::new(),
            loopback: "127.0.0.1",
            submissions: false,
        }
    }

    /// Both doors on `::1` and nowhere else.
    pub fn on_ipv6(mut self) -> Plan {
        self.loopback = "[::1]";
        self
    }

    /// The owner's door to the world as well.
    pub fn with_submissions(mut self) -> Plan {
        self.submissions = true;
        self
    }

    /// The server has mounts of its own: this shell script is run among them first, with `$MAIL` and `$STATE`.
    pub fn inside(self, script: &str) -> Plan {
        // Whoever is not root becomes it in a namespace of users, to be allowed to mount.
        let mounts = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
        let script = format!("set -e; MAIL='{{root}}/mail' STATE='{{root}}/state'; {script}; exec \"$@\"");
        self.under(&["unshare", mounts, "sh", "-c", &script, "sh"])
    }

    /// More TOML, in tables of its own (`[limits]`, `[relay]`, `[submission]`, `[inbound]`).
    pub fn with(mut self, toml: &str) -> Plan {
        self.extra.push_str(toml);
        self.extra.push('\n');
        self
    }

    /// A command in front of `pillarbox serve …` that ends by executing it, with `{root}` filled in.
    pub fn under(mut self, wrapper: &[&str]) -> Plan {
        self.wrapper = wrapper.iter().map(|word| word.to_string()).collect();
        self
    }

    pub fn start(self, dns: &Dns) -> Server {
        self.start_with(&format!("[dns]\nservers = [\"{}\"]\n", dns.address()))
    }

    /// With this `[dns]`.
    pub fn start_with(self, dns: &str) -> Server {
        let root = Arc::new(tempfile::Builder::new().prefix("pillarbox-test-").tempdir().unwrap());
        let (mail, state) = (root.path().join("mail"), root.path().join("state"));
        std::fs::create_dir_all(&mail).unwrap();
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
            .create(&state)
            .unwrap();
        for address in &self.addresses {
            let (local, domain) = address.rsplit_once('@').unwrap();
            std::fs::create_dir_all(mail.join(domain).join(local)).unwrap();
        }
        let limits = if self.extra.contains("[limits]") { "" } else { "[limits]\nfree_space = 0\n" };
        let loopback = self.loopback;
        let submissions =
            if self.submissions { format!("submissions = [\"{loopback}:0\"]\n") } else { String::new() };
        let config = format!(
            "hostname = {:?}\nmail_root = {mail:?}\nstate_dir = {state:?}\n[listen]\nmx = [\"{loopback}:0\"]\n\
             submission = [\"{loopback}:0\"]\n{submissions}{dns}\n{limits}{}",
            self.hostname, self.extra
        );
        std::fs::write(root.path().join("server.toml"), config).unwrap();
        let fill = |word: &String| word.replace("{root}", root.path().to_str().unwrap());
        let wrapper = self.wrapper.iter().map(fill).collect();
        Server::start_in(root, wrapper)
    }
}

impl Server {
    /// Our own server, with the owner's address.
    pub fn ours(dns: &Dns) -> Server {
        Plan::new("mx.here.example", &["me@here.example"]).start(dns)
    }

    fn start_in(root: Arc<TempDir>, wrapper: Vec<String>) -> Server {
        let log = std::fs::File::options().append(true).create(true).open(root.path().join("log")).unwrap();
        let mut words = wrapper.iter().map(String::as_str).chain([PILLARBOX]);
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .arg("--config")
            .arg(root.path().join("server.toml"))
            .arg("serve")
            .env("PILLARBOX_LOG", "warn,pillarbox=debug")
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        // Its own view of the files: it may have a disk that nobody else sees.
        let file = PathBuf::from(format!("/proc/{}/root", child.id()));
        let file = file.join(root.path().join("state/listening.json").strip_prefix("/").unwrap());
        let shown = || std::fs::read_to_string(root.path().join("log")).unwrap_or_default();
        let deadline = Instant::now() + PATIENCE;
        let listening = loop {
            let found =
                std::fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Listening>(&text).ok());
            if let Some(found) = found.filter(|found| found.pid == child.id()) {
                break found;
            }
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the server ended ({status}):\n{}", shown());
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                panic!("the server did not become ready:\n{}", shown());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Server { root, listening, child, wrapper }
    }

    /// Strangers' door.
    pub fn mx(&self) -> SocketAddr {
        self.listening.mx[0]
    }

    /// The owner's door.
    pub fn submission(&self) -> SocketAddr {
        self.listening.submission[0]
    }

    /// The owner's door to the world.
    pub fn submissions(&self) -> SocketAddr {
        self.listening.submissions[0]
    }

    /// Runs a shell script among the mounts of a server that was started with [`Plan::inside`].
    pub fn inside(&self, script: &str) {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.pid().to_string()).arg("--mount");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["sh", "-ec", script]).env("MAIL", self.root.path().join("mail"));
        let status = command.env("STATE", self.state_dir()).status().expect("nsenter (util-linux)");
        assert!(status.success(), "{script}");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until what goes on behind what it was told (its questions to DNS) is over: none of its threads has run between
    /// several looks.
    pub fn settle(&self) {
        let switches = || {
            let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).ok()?;
            let statuses =
                threads.flatten().filter_map(|one| std::fs::read_to_string(one.path().join("status")).ok());
            Some(
                statuses
                    .flat_map(|text| {
                        text.lines()
                            .filter(|line| line.contains("ctxt_switches"))
                            .map(str::to_owned)
                            .collect::<Vec<_>>()
                    })
                    .collect::<Vec<_>>(),
            )
        };
        let (mut last, mut same) = (switches(), 0);
        eventually("the server's rest", || {
            let now = switches();
            same = if now == last { same + 1 } else { 0 };
            last = now;
            (same >= 6).then_some(())
        });
    }

    pub fn config(&self) -> PathBuf {
        self.root.path().join("server.toml")
    }

    pub fn state_dir(&self) -> PathBuf {
        self.root.path().join("state")
    }

    /// The directory of an address or topic, as `here.example/me`.
    pub fn maildir(&self, place: &str) -> PathBuf {
        self.root.path().join("mail").join(place)
    }

    /// The letters in `new/` of an address or topic, as text.
    pub fn letters(&self, place: &str) -> Vec<String> {
        letters_in(&self.maildir(place).join("new"))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root.path().join("log")).unwrap_or_default()
    }

    /// SIGKILL: no farewell.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until somebody else has ended it.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        eventually("the server's end", || self.child.try_wait().unwrap())
    }

    /// SIGTERM, and its exit status.
    pub fn terminate(&mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        eventually("the server's end", || self.child.try_wait().unwrap())
    }

    /// The same server again, after `kill` or `terminate`; its ports are new ones.
    pub fn again(mut self) -> Server {
        self.kill();
        Server::start_in(self.root.clone(), self.wrapper.clone())
    }

    /// The same under another command, as [`Plan::under`] has it.
    pub fn again_under(mut self, wrapper: &[&str]) -> Server {
        self.wrapper = wrapper.iter().map(|word| word.to_string()).collect();
        self.again()
    }

    /// Runs another pillarbox command with this server's configuration.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PILLARBOX);
        command.arg("--config").arg(self.config()).args(arguments).stdin(Stdio::null());
        command.output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the server's log\n{}---", self.log());
        }
    }
}

/// The letters of one directory of a Maildir.
pub fn letters_in(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries
        .map(|entry| String::from_utf8_lossy(&std::fs::read(entry.unwrap().path()).unwrap()).into_owned())
        .collect()
}
