//! Other people's mail programs: Debian's Exim and Postfix, unpacked but not installed (`tests/peers/`), as the strangers
//! of `there.example` with a mailbox `friend`.

use super::pki::Shown;
use super::wire::Wire;
use super::{PATIENCE, eventually, letters_in};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A file of `tests/peers`.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

/// Where the peers are unpacked: `target/peers`, once for all tests.
fn unpacked(peer: &str) -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    let all = DONE.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers");
        let output = Command::new(script("unpack")).arg(&directory).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "unpack: {}", String::from_utf8_lossy(&output.stderr));
        directory
    });
    all.join(peer)
}

/// A directory that another user may look into: a daemon does not stay root.
fn place() -> TempDir {
    let place = tempfile::Builder::new().prefix("pillarbox-peer-").tempdir().unwrap();
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    place
}

/// Exim, as a program that is run for each letter or connection.
pub struct Exim {
    place: TempDir,
}

impl Exim {
    /// The stranger's; what is not for him goes to `next`.
    pub fn stranger(next: SocketAddr) -> Exim {
        Exim::with_config("exim.conf", next)
    }

    /// The stranger's, who takes letters under TLS and sends nothing on.
    pub fn stranger_with_tls(shown: &Shown) -> Exim {
        let exim = Exim::stranger(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
        let file = |name| exim.place.path().join(name);
        shown.write(&file("chain.pem"), &file("key.pem"));
        let config = std::fs::read_to_string(file("conf")).unwrap();
        let tls = format!(
            "tls_advertise_hosts = *\ntls_certificate = {}\ntls_privatekey = {}",
            file("chain.pem").display(),
            file("key.pem").display()
        );
        std::fs::write(file("conf"), config.replace("tls_advertise_hosts =", &tls)).unwrap();
        exim
    }

    /// The stranger's, who sends under TLS only, to who shows this very certificate (PEM).
    pub fn demanding(next: SocketAddr, certificate: &Path) -> Exim {
        let exim = Exim::stranger(next);
        let (config, kept) = (exim.place.path().join("conf"), exim.place.path().join("theirs.pem"));
        std::fs::copy(certificate, &kept).unwrap();
        std::fs::set_permissions(&kept, PermissionsExt::from_mode(0o644)).unwrap();
        let demand = format!(
            "  allow_localhost\n  hosts_require_tls = *\n  tls_verify_hosts = *\n  tls_verify_cert_hostnames =\n  \
             tls_verify_certificates = {}\n",
            kept.display()
        );
        let text = std::fs::read_to_string(&config).unwrap().replace("  allow_localhost\n", &demand);
        std::fs::write(config, text).unwrap();
        exim
    }

    /// The article's own client; signs with the keys in `keys` and submits to `next`.
    pub fn article(next: SocketAddr, keys: &Path) -> Exim {
        let exim = Exim::with_config("exim-article.conf", next);
        let copies = exim.place.path().join("keys");
        std::fs::create_dir(&copies).unwrap();
        for key in std::fs::read_dir(keys).unwrap().map(|entry| entry.unwrap().path()) {
            std::fs::copy(&key, copies.join(key.file_name().unwrap())).unwrap();
        }
        exim
    }

    fn with_config(template: &str, next: SocketAddr) -> Exim {
        let place = place();
        let config = std::fs::read_to_string(script(template))
            .unwrap()
            .replace("@PLACE@", place.path().to_str().unwrap())
            .replace("@NEXT@", &next.port().to_string());
        std::fs::write(place.path().join("conf"), config).unwrap();
        Exim { place }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(script("exim"));
        command.arg(unpacked("exim")).arg(self.place.path());
        command
    }

    /// Hands it a letter as `sendmail` is handed one, and waits for the attempt to deliver it.
    pub fn send(&self, from: &str, to: &[&str], letter: &[u8]) -> Output {
        let mut command = self.command();
        command.args(["-odf", "-oi", "-f", from]).args(to);
        fed(&mut command, letter)
    }

    /// Listens, and runs it for each connection as inetd would.
    pub fn listen(self) -> Listening {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (exim, ended) = (Arc::new(self), Arc::new(AtomicBool::new(false)));
        let connections = Arc::new(AtomicUsize::new(0));
        let (ours, over, count) = (exim.clone(), ended.clone(), connections.clone());
        // The first run settles the directory.
        assert!(exim.command().arg("-bV").output().unwrap().status.success());
        let thread = std::thread::spawn(move || {
            let mut children = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                count.fetch_add(1, Ordering::Relaxed);
                let (input, output) = (stream.try_clone().unwrap(), stream);
                let mut command = ours.command();
                command.args(["-odf", "-bs"]).stdin(OwnedFd::from(input)).stdout(OwnedFd::from(output));
                children.push(command.stderr(Stdio::null()).spawn().unwrap());
            }
            for mut child in children {
                let _ = child.kill();
                let _ = child.wait();
            }
        });
        Listening { address, exim, ended, connections, thread: Some(thread) }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.place.path().join("mainlog")).unwrap_or_default()
    }
}

/// An Exim that can be connected to.
pub struct Listening {
    pub address: SocketAddr,
    exim: Arc<Exim>,
    ended: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    /// What the friend has got.
    pub fn letters(&self) -> Vec<String> {
        letters_in(&self.exim.place.path().join("friend/new"))
    }

    /// How often it was connected to.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Whether it puts everybody off at RCPT.
    pub fn greylist(&self, on: bool) {
        let sign = self.exim.place.path().join("greylist");
        if on { std::fs::write(sign, "").unwrap() } else { std::fs::remove_file(sign).unwrap() }
    }

    pub fn log(&self) -> String {
        self.exim.log()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
        if std::thread::panicking() {
            eprintln!("--- Exim's log\n{}---", self.exim.log());
        }
    }
}

/// Postfix. Dropping it ends it.
pub struct Postfix {
    pub address: SocketAddr,
    place: TempDir,
    child: Child,
}

impl Postfix {
    /// Starts it; what is not for the friend goes to `next`.
    pub fn start(next: SocketAddr) -> Postfix {
        Postfix::start_where(next, &|_| {})
    }

    /// The same with more lines of `main.cf`.
    pub fn with(next: SocketAddr, settings: &str) -> Postfix {
        Postfix::start_where(next, &|place| std::fs::write(place.join("settings"), settings).unwrap())
    }

    /// Starts it, with TLS at its door; nothing is sent on.
    pub fn start_with_tls(shown: &Shown) -> Postfix {
        let prepare = |place: &Path| shown.write(&place.join("chain.pem"), &place.join("key.pem"));
        Postfix::start_where(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)), &prepare)
    }

    fn start_where(next: SocketAddr, prepare: &dyn Fn(&Path)) -> Postfix {
        // It cannot take port 0, and a port that is free now need not be so a moment later.
        for _ in 0..5 {
            if let Some(postfix) = Postfix::start_on(free_port(), next, prepare) {
                return postfix;
            }
        }
        panic!("no port for Postfix");
    }

    fn start_on(address: SocketAddr, next: SocketAddr, prepare: &dyn Fn(&Path)) -> Option<Postfix> {
        let place = place();
        prepare(place.path());
        let child = Command::new(script("postfix"))
            .arg(unpacked("postfix"))
            .arg(place.path())
            .arg(address.port().to_string())
            .arg(next.port().to_string())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut postfix = Postfix { address, place, child };
        let deadline = Instant::now() + PATIENCE;
        while !postfix.log().contains("daemon started") {
            if postfix.child.try_wait().unwrap().is_some() {
                assert!(postfix.log().contains("Address already in use"), "Postfix: {}", postfix.log());
                return None;
            }
            assert!(Instant::now() < deadline, "Postfix is not ready: {}", postfix.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(postfix)
    }

    /// Hands it a letter over SMTP.
    pub fn send(&self, from: &str, to: &[&str], letter: &[u8]) {
        let (mut wire, _) = Wire::greeted(self.address);
        let reply = wire.transact(from, to, letter);
        assert!(reply.starts_with("250"), "{reply}");
    }

    /// Waits for a line of its log with all of these in it.
    #[track_caller]
    pub fn says(&self, words: &[&str]) -> String {
        let log = || {
            self.log().lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
        };
        eventually(&format!("a line with {words:?} in Postfix's log"), log)
    }

    /// What the friend has got.
    pub fn letters(&self) -> Vec<String> {
        letters_in(&self.place.path().join("friend/new"))
    }

    pub fn log(&self) -> String {
        let read = |name| std::fs::read_to_string(self.place.path().join(name)).unwrap_or_default();
        read("start") + &read("log")
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // The end of its stdin is the sign to stop.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- Postfix's log\n{}---", self.log());
        }
    }
}

/// A port on loopback below those that the system gives to whoever asks for any.
fn free_port() -> SocketAddr {
    let mut random = [0; 2];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
    let first = 12_000 + u16::from_le_bytes(random) % 16_000;
    (first..first + 1000)
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a free port")
}

/// Runs a command with this on its stdin.
fn fed(command: &mut Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Who needs no input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}
