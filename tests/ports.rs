//! Low ports: sockets that systemd has bound, the capability to bind them, and who has it when the first client is heard.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::apart::apart;
use harness::filters::{Filtered, LETTER};
use harness::wire::Wire;
use harness::{Dns, PATIENCE, PILLARBOX, Plan, Server, ZONE, eventually};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{JoinHandle, spawn};

const ME: &str = "me@here.example";
const FRIEND: &str = "friend@there.example";
/// What the capability to bind low ports is in /proc/PID/status.
const NET_BIND_SERVICE: u64 = 1 << 10;

/// A port that nobody has.
fn free() -> u16 {
    TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port()
}

/// Connects as soon as somebody listens: systemd-socket-activate starts the server when the first client comes.
fn visitor(to: SocketAddr) -> JoinHandle<TcpStream> {
    spawn(move || eventually("somebody who listens", || TcpStream::connect(to).ok()))
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn greets(stream: TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert!(line.starts_with("220 "), "{line:?}");
}

#[test]
fn sockets_of_systemds_take_the_place_of_configured_ones() {
    let dns = Dns::start(ZONE);
    let [mx, submission, submissions] = [free(), free(), free()];
    let first = visitor(at(mx));
    // A port alone is a socket for both families.
    let (mx_listens, submission_listens, submissions_listens) =
        (mx.to_string(), at(submission).to_string(), submissions.to_string());
    let server = Plan::new("mx.here.example", &[ME])
        .under(&[
            "systemd-socket-activate",
            "-l",
            &mx_listens,
            "-l",
            &submission_listens,
            "-l",
            &submissions_listens,
            "--fdname=mx:submission:submissions",
        ])
        .start(&dns);
    let ports = |listening: &[SocketAddr]| listening.iter().map(SocketAddr::port).collect::<Vec<_>>();
    assert_eq!(ports(&server.listening.mx), [mx]);
    assert_eq!(ports(&server.listening.submission), [submission]);
    assert_eq!(ports(&server.listening.submissions), [submissions]);
    // Who came before the server was there is served.
    greets(first.join().unwrap());
    for to in [at(mx), format!("[::1]:{mx}").parse().unwrap()] {
        let reply = Wire::greeted(to).0.transact(FRIEND, &[ME], LETTER.as_bytes());
        assert!(reply.starts_with("250"), "{to}: {reply}");
    }
    // An IPv4 client of a socket for both families is known by his own address.
    let letters = server.letters("here.example/me").concat();
    assert!(letters.contains("[127.0.0.1]") && !letters.contains("::ffff"), "{letters}");
    Wire::greeted(at(submission)).0.ask("MAIL FROM:<>", "550 5.7.1");
    Wire::private(at(submissions)).0.ask("MAIL FROM:<>", "550 5.7.1");
}

#[test]
fn without_names_the_ports_say_which_door_a_socket_is() {
    let Some(_world) = apart("without_names_the_ports_say_which_door_a_socket_is") else { return };
    let dns = Dns::start(ZONE);
    let first = visitor(at(25));
    let doors = ["127.0.0.1:465", "127.0.0.1:25", "[::1]:587"];
    let activate = ["systemd-socket-activate", "-l", doors[0], "-l", doors[1], "-l", doors[2]];
    let server = Plan::new("mx.here.example", &[ME]).under(&activate).start(&dns);
    let listening = &server.listening;
    let got = [&listening.submissions, &listening.mx, &listening.submission].map(|door| door[0].to_string());
    assert_eq!(got, doors);
    greets(first.join().unwrap());
}

/// A process that does not outlive its test.
struct Bounded(Child);

impl Drop for Bounded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a server says that is started with such sockets; it must end with 78.
fn refused(activate: &[&str], knock: impl FnOnce(&Path)) -> String {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).display().to_string();
    let config = format!(
        "hostname = \"mx.here.example\"\nmail_root = {:?}\nstate_dir = {:?}\n[listen]\nmx = [\"127.0.0.1:0\"]\n\
         submission = [\"127.0.0.1:0\"]\n",
        path("mail"),
        path("state")
    );
    std::fs::write(path("server.toml"), config).unwrap();
    let filled: Vec<String> = activate.iter().map(|word| word.replace("{root}", &path(""))).collect();
    let child = Command::new("systemd-socket-activate")
        .args(&filled)
        .args([PILLARBOX, "--config", &path("server.toml"), "serve"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = Bounded(child.unwrap());
    knock(root.path());
    let accepts = activate.contains(&"-a");
    if !accepts {
        let status = eventually("its end", || child.0.try_wait().unwrap());
        assert_eq!(status.code(), Some(78));
    }
    let mut said = String::new();
    let mut words = BufReader::new(child.0.stderr.take().unwrap());
    while !said.contains("pillarbox: ") && words.read_line(&mut said).unwrap() > 0 {}
    // One that starts a server for each connection goes on with the next.
    if !accepts {
        words.read_to_string(&mut said).unwrap();
    }
    said
}

#[test]
fn what_is_no_door_is_refused_with_words_that_help() {
    let port = free();
    let all = port.to_string();
    let connect = |_: &Path| drop(visitor(at(port)).join().unwrap());
    let said = refused(&["-l", &all, "--fdname=submission"], connect);
    assert!(said.contains("loopback only"), "{said}");
    let said = refused(&["-l", &all], connect);
    assert!(said.contains("FileDescriptorName=") && said.contains(&format!(":{port}")), "{said}");
    let said = refused(&["-a", "-l", &all, "--fdname=mx"], connect);
    assert!(said.contains("does not listen") && said.contains("Accept=no"), "{said}");
    let said = refused(&["-l", "{root}socket", "--fdname=mx"], |root| {
        eventually("the socket", || UnixStream::connect(root.join("socket")).ok());
    });
    assert!(said.contains("ListenStream=ADDRESS:PORT"), "{said}");
    let said = refused(&["-d", "-l", &all, "--fdname=mx"], |_| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(at(port)).unwrap();
        // Until somebody is there to get it.
        eventually("a datagram", || {
            let sent = socket.send(b"x").and_then(|_| socket.send(b"x"));
            sent.ok()
        });
    });
    assert!(said.contains("ListenStream=ADDRESS:PORT"), "{said}");
}

#[test]
fn the_service_manager_hears_of_the_start_and_the_end() {
    let dns = Dns::start(ZONE);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut said = [0; 100];
        let octets = manager.recv(&mut said).unwrap();
        String::from_utf8_lossy(&said[..octets]).into_owned()
    };
    let socket = format!("NOTIFY_SOCKET={}", path.display());
    let mut server = Plan::new("mx.here.example", &[ME]).under(&["env", &socket]).start(&dns);
    assert_eq!(told(), "READY=1");
    assert!(server.terminate().success());
    assert_eq!(told(), "STOPPING=1");
}

#[test]
fn the_filter_inherits_neither_sockets_nor_what_is_said_of_them() {
    let mx = free();
    let first = visitor(at(mx));
    let address = at(mx).to_string();
    let notify = "--setenv=NOTIFY_SOCKET=/nowhere";
    let wrapper = ["systemd-socket-activate", "-l", &address, "--fdname=mx", notify];
    let script = "env >\"$OUT/env\"; ls -l /proc/self/fd >\"$OUT/fd\"";
    let filtered = Filtered::under(script, &wrapper);
    let reply = Wire::greeted(at(mx)).0.transact(FRIEND, &[ME], LETTER.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    drop(first.join().unwrap());
    let helper = filtered.helper();
    let environment = std::fs::read(format!("/proc/{helper}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned() + &filtered.told("env");
    assert!(!environment.contains("LISTEN") && !environment.contains("NOTIFY"), "{environment}");
    // TCP sockets of the server and the helper, by their inodes.
    let inode = listening_inode(mx);
    let links = |pid: u32| {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let links = entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
        links.map(|link| link.display().to_string()).collect::<Vec<_>>()
    };
    assert!(links(filtered.server.pid()).contains(&inode));
    assert!(!links(helper).contains(&inode) && !filtered.told("fd").contains(&inode));
}

/// `socket:[N]` of the socket that listens at this port.
fn listening_inode(port: u16) -> String {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let own = format!(":{port:04X}");
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.get(1).is_some_and(|local| local.ends_with(&own)) && row[3] == "0A");
    format!("socket:[{}]", row.unwrap()[9])
}

/// The sets that a capability can be in: inherited, permitted, effective, ambient.
fn capabilities(status: &str) -> [u64; 4] {
    ["CapInh", "CapPrm", "CapEff", "CapAmb"].map(|set| {
        let line = status.lines().find_map(|line| line.strip_prefix(set)).unwrap();
        u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
    })
}

/// Those of every thread of a process.
fn of_threads(pid: u32) -> Vec<[u64; 4]> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let statuses = threads.filter_map(|one| std::fs::read_to_string(one.path().join("status")).ok());
    statuses.map(|status| capabilities(&status)).collect()
}

const NONE: [u64; 4] = [0; 4];

/// A server with a filter that root starts, with `user = "mail"` and these lines at the end of its configuration.
fn started_by_root(more: &str) -> Filtered {
    let script = format!(
        "chown -R mail: {{root}}; sed -i '1i user = \"mail\"' {{root}}/server.toml
         printf '%b' '{more}' >>{{root}}/server.toml; exec \"$@\""
    );
    Filtered::under("cat /proc/self/status >\"$OUT/status\"", &["sh", "-ec", &script, "sh"])
}

/// Nobody but the server's own threads has a capability.
#[track_caller]
fn holds(filtered: &Filtered, server: [u64; 4]) {
    let reply = filtered.wire().transact(FRIEND, &[ME], LETTER.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    let threads = of_threads(filtered.server.pid());
    assert!(threads.len() > 2 && threads.iter().all(|sets| *sets == server), "{threads:x?}");
    let helper = of_threads(filtered.helper());
    assert!(!helper.is_empty() && helper.iter().all(|sets| *sets == NONE), "{helper:x?}");
    assert_eq!(capabilities(&filtered.told("status")), NONE);
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn nothing_of_root_remains() {
    if is_root() {
        holds(&started_by_root(""), NONE);
    }
}

#[test]
fn where_certificates_are_ordered_low_ports_remain_and_nothing_else() {
    // There is no such authority: nothing is ordered.
    let acme = "[tls.acme]\\ndirectory = \"https://127.0.0.1:1/\"\\n";
    if is_root() {
        holds(&started_by_root(acme), [0, NET_BIND_SERVICE, NET_BIND_SERVICE, 0]);
        // It answers at a port that anybody may bind.
        holds(&started_by_root(&format!("{acme}listen = [\"127.0.0.1:5002\"]\\n")), NONE);
    }
}

#[test]
fn an_ambient_capability_binds_and_goes_no_further() {
    let Some(_world) = apart("an_ambient_capability_binds_and_goes_no_further") else { return };
    let script =
        "chown -R 12345:12345 {root}; sed -i 's/^mx = .*/mx = [\"127.0.0.1:25\"]/' {root}/server.toml
                  exec 7<{root}/server.toml
                  exec setpriv --reuid 12345 --regid 12345 --clear-groups --inh-caps=-all,+net_bind_service \
                       --ambient-caps=+net_bind_service \"$@\"";
    let filter = "cat /proc/self/status >\"$OUT/status\"";
    if std::fs::read_to_string("/proc/self/uid_map").unwrap().split_whitespace().nth(2) == Some("1") {
        // In a namespace with one user nobody else can be become.
        return;
    }
    let filtered = Filtered::under(filter, &["sh", "-ec", script, "sh"]);
    assert_eq!(filtered.server.mx().port(), 25);
    holds(&filtered, NONE);
}

/// Connections that are there before the user is changed wait until after it.
#[test]
fn nothing_is_heard_of_the_network_before_the_user_is_changed() {
    if !is_root() {
        return;
    }
    let dns = Dns::start(ZONE);
    let script = "chown -R mail: {root}; sed -i '1i user = \"mail\"' {root}/server.toml; touch {root}/calls
                  exec strace -D -f -qq -o {root}/calls -e trace=setuid,listen,accept4,recvfrom,recvmsg,read \"$@\"";
    let mx = free();
    let set = format!("sed -i 's/^mx = .*/mx = [\"127.0.0.1:{mx}\"]/' {{root}}/server.toml; {script}");
    let first = visitor(at(mx));
    let server: Server = Plan::new("mx.here.example", &[ME]).under(&["sh", "-ec", &set, "sh"]).start(&dns);
    greets(first.join().unwrap());
    let calls = std::fs::read_to_string(server.root.path().join("calls")).unwrap();
    let lines = || calls.lines().enumerate();
    let listens = lines().find(|(_, line)| line.contains(" listen(")).unwrap().0;
    let changed = lines().find(|(_, line)| line.contains(" setuid(")).unwrap().0;
    let heard = lines().find(|(_, line)| line.contains(" accept4(")).unwrap().0;
    assert!(listens < changed && changed < heard, "{listens} {changed} {heard}\n{calls}");
    let before = lines().take(changed).find(|(_, line)| line.contains("recv"));
    assert!(before.is_none(), "{before:?}");
}

#[test]
fn the_units_are_what_systemd_takes() {
    let directory = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd")).unwrap().flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let unit = directory.path().join(entry.file_name());
        std::fs::write(&unit, text.replace("/usr/local/bin/pillarbox", PILLARBOX)).unwrap();
        units.push(unit);
    }
    assert_eq!(units.len(), 4);
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("pillarbox")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}
