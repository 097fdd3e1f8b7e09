//! A network of the test's own: this process on one host of it, strangers on another, and a cable between them with public
//! addresses at both ends. Nothing of it is the machine's.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

/// What says that a process is where it should be.
const INSIDE: &str = "PILLARBOX_TEST_APART";

/// Runs the test of this name again where it has a network of its own; whoever is not root becomes it there. Gives the
/// strangers' host inside, and nothing outside, where the test is over then.
pub fn apart(test: &str) -> Option<World> {
    if std::env::var_os(INSIDE).is_some() {
        return Some(World::new());
    }
    let own = if rustix::process::geteuid().is_root() { "-n" } else { "-rn" };
    let mut command = Command::new("unshare");
    command.arg(own).arg("--kill-child").arg(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(INSIDE, "1").stdin(Stdio::null());
    let output = command.output().expect("unshare (util-linux)");
    let said = String::from_utf8_lossy(&output.stdout);
    let ran = said.contains("1 passed");
    assert!(output.status.success() && ran, "{said}{}", String::from_utf8_lossy(&output.stderr));
    None
}

/// The strangers' host.
pub struct World {
    child: Child,
    network: File,
}

impl World {
    /// We are `11.0.0.1` and `2a00:1::1`, all other addresses of `11.0.0.0/8` and `2a00::/16` are over there.
    fn new() -> World {
        let mut command = Command::new("unshare");
        command.args(["-n", "sh", "-c", "echo ready; exec cat"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let network = File::open(format!("/proc/{}/ns/net", child.id())).unwrap();
        let world = World { child, network };
        let pid = world.child.id().to_string();
        ours("ip link set lo up");
        ours(&format!("ip link add cable type veth peer name cable netns {pid}"));
        ours(
            "ip addr add 11.0.0.1/8 dev cable; ip addr add 2a00:1::1/16 dev cable nodad; ip link set cable up",
        );
        world.run("ip link set lo up; ip link set cable up");
        world.run("ip addr add 11.0.0.2/8 dev cable; ip addr add 2a00:1::2/16 dev cable nodad");
        world
    }

    /// Runs shell commands over there.
    pub fn run(&self, script: &str) {
        let there = format!("--net=/proc/{}/ns/net", self.child.id());
        let status = Command::new("nsenter").args([&there, "sh", "-ec", script]).status().unwrap();
        assert!(status.success(), "{script}");
    }

    /// A listener over there, at an address that it is given for it.
    pub fn listen(&self, address: SocketAddr) -> TcpListener {
        let ip = address.ip();
        let (length, flags) = if ip.is_ipv4() { (8, "") } else { (16, "nodad") };
        self.run(&format!("ip addr add {ip}/{length} dev cable {flags}"));
        std::thread::scope(|scope| {
            let bind = || {
                // This thread alone, and it ends here; what it made stays where it was made.
                move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                TcpListener::bind(address).unwrap()
            };
            scope.spawn(bind).join().unwrap()
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The end of its stdin is its own.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Runs shell commands on our host.
pub fn ours(script: &str) {
    let status = Command::new("sh").args(["-ec", script]).status().unwrap();
    assert!(status.success(), "{script}");
}
