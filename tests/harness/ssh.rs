//! A real sshd on a loopback port of its own, for the user who runs the tests, and the client's side of it.

use super::{PATIENCE, PILLARBOX};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";

/// sshd with two keys: `confined` by the one line of our documentation, and `free` by nothing, which shows that what is
/// refused is refused by that line.
pub struct Sshd {
    dir: TempDir,
    child: Child,
    pub port: u16,
}

impl Sshd {
    /// `gate` is what stands in the forced command behind `pillarbox`, for instance `--config … gate here.example`.
    pub fn start(gate: &str) -> Sshd {
        let dir = tempfile::Builder::new().prefix("pillarbox-sshd-").tempdir().unwrap();
        for key in ["host", "confined", "free"] {
            let file = dir.path().join(key);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"])
                .arg(&file)
                .status();
            assert!(made.expect("openssh-client must be installed").success());
        }
        let public = |key: &str| std::fs::read_to_string(dir.path().join(format!("{key}.pub"))).unwrap();
        let line = format!("command=\"{PILLARBOX} {gate}\",restrict {}", public("confined"));
        std::fs::write(dir.path().join("authorized_keys"), format!("{line}{}", public("free"))).unwrap();
        privilege_separation();
        let (child, port) = listen(dir.path());
        let sshd = Sshd { dir, child, port };
        let known = format!("[127.0.0.1]:{port} {}", public_half(&sshd.path("host.pub")));
        std::fs::write(sshd.path("known_hosts"), known).unwrap();
        std::fs::write(sshd.path("ssh_config"), sshd.client_config()).unwrap();
        sshd
    }

    /// The client's configuration: `here` with the confined key, `free` with the other one, and `down`, where nobody
    /// listens.
    fn client_config(&self) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        format!(
            "Host here\n  IdentityFile {}\nHost free\n  IdentityFile {}\nHost down\n  Port {nobody}\n\
             Host *\n  HostName 127.0.0.1\n  Port {}\n  User {}\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile none\n  \
             IdentitiesOnly yes\n  BatchMode yes\n  StrictHostKeyChecking yes\n  ForwardX11Trusted yes\n",
            path("confined"),
            path("free"),
            self.port,
            user(),
            path("known_hosts"),
        )
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn client(&self) -> PathBuf {
        self.path("ssh_config")
    }

    /// `ssh -F config ARGUMENTS`, to be run.
    pub fn ssh(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.client()).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn ran(&self, arguments: &[&str]) -> Output {
        self.ssh(arguments).output().unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- sshd's log\n{}---", self.log());
        }
    }
}

/// sshd takes no port 0, so a port that is free now is tried; if somebody was quicker, another one.
fn listen(dir: &Path) -> (Child, u16) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = |name: &str| dir.join(name).display().to_string();
        let config = format!(
            "ListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nAllowTcpForwarding yes\n\
             AllowStreamLocalForwarding yes\nAllowAgentForwarding yes\nGatewayPorts no\nX11Forwarding yes\n\
             PermitTunnel yes\nPrintMotd no\nMaxStartups 100\nSubsystem sftp internal-sftp\n",
            path("host"),
            path("authorized_keys"),
        );
        std::fs::write(dir.join("sshd_config"), config).unwrap();
        let mut child = Command::new(SSHD)
            .args(["-D", "-E", &path("log"), "-p", &port.to_string(), "-f"])
            .arg(dir.join("sshd_config"))
            .stdin(Stdio::null())
            .spawn()
            .expect("openssh-server must be installed");
        loop {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return (child, port);
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        assert!(log.contains("Address already in use") && Instant::now() < deadline, "sshd ended:\n{log}");
    }
}

/// Started by root, sshd wants this directory, which the system makes when it starts its own.
fn privilege_separation() {
    if rustix::process::getuid().is_root() {
        std::fs::create_dir_all("/run/sshd").unwrap();
    }
}

fn user() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap();
    user.expect("the user who runs the tests has a name").name
}

fn public_half(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}
