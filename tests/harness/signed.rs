//! A small Internet of names with DNSSEC: Debian's knot serves a signed root and the zones below it, Debian's unbound
//! validates them and sets the AD bit.

use super::{PATIENCE, eventually};
use hickory_proto::op::{DnsRequest, DnsRequestOptions, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// One zone: records in master file format, relative to the zone's own name. SOA, NS, delegations and DS are made.
#[derive(Clone)]
pub struct Zone {
    name: String,
    text: String,
    state: State,
    serial: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Nsec,
    Nsec3,
    OptOut,
    Unsigned,
    /// Delegated and served, but never loaded: SERVFAIL.
    Dead,
    Spoilt(Fault),
}

/// What can be wrong with a zone that was signed well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every signature but those of the keys ended years ago.
    Expired,
    /// Every signature but those of the keys is of something else.
    Corrupt,
    /// The parent names another key.
    WrongDs,
}

impl Zone {
    /// Signed, with NSEC.
    pub fn signed(name: &str, text: &str) -> Zone {
        Zone { name: format!("{name}."), text: text.into(), state: State::Nsec, serial: 1 }
    }

    /// Signed, with NSEC3.
    pub fn nsec3(name: &str, text: &str) -> Zone {
        Zone { state: State::Nsec3, ..Zone::signed(name, text) }
    }

    /// Signed, with NSEC3 and opt-out, as the great registries do it.
    pub fn opt_out(name: &str, text: &str) -> Zone {
        Zone { state: State::OptOut, ..Zone::signed(name, text) }
    }

    /// An insecure delegation.
    pub fn unsigned(name: &str, text: &str) -> Zone {
        Zone { state: State::Unsigned, ..Zone::signed(name, text) }
    }

    /// Every question is answered with SERVFAIL.
    pub fn dead(name: &str) -> Zone {
        Zone { state: State::Dead, ..Zone::signed(name, "") }
    }

    fn has_keys(&self) -> bool {
        !matches!(self.state, State::Unsigned | State::Dead)
    }

    fn file(&self) -> String {
        format!("{}zone", if self.name == "." { "root." } else { &self.name })
    }
}

/// knot, with the root and every zone. Records live for a second (unless the text says otherwise), so that changes show.
pub struct Signed {
    dir: TempDir,
    child: Child,
    address: SocketAddr,
    /// The root comes first.
    zones: Vec<Zone>,
}

impl Signed {
    pub fn start(zones: &[Zone]) -> Signed {
        let dir = TempDir::new().unwrap();
        for name in ["run", "keys", "zones", "dump"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let root = Zone { name: ".".into(), ..Zone::signed("", "ns A 127.0.0.1\n") };
        let zones: Vec<Zone> = std::iter::once(root).chain(zones.iter().cloned()).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let address = free_port();
            write_config(dir.path(), address, &zones);
            make_keys(dir.path(), &zones);
            zones.iter().for_each(|zone| write_zone(dir.path(), &zones, zone));
            let mut child = daemon("knotd", "-c", &dir.path().join("knot.conf"));
            if answers(&mut child, address, &zones) {
                return Signed { dir, child, address, zones };
            }
            let log = log_of(dir.path(), "knot");
            assert!(
                log.contains("address already in use") && Instant::now() < deadline,
                "knotd ended:\n{log}"
            );
        }
    }

    /// Where knot answers: authoritative for everything, so a validating resolver can ask it as if it were a recursive one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root's DS record, in a file.
    pub fn anchor(&self) -> PathBuf {
        self.dir.path().join("anchor")
    }

    /// `[dns]` for a server that validates by itself.
    pub fn validate(&self) -> String {
        let anchor = self.anchor();
        format!("[dns]\nservers = [\"{}\"]\ndnssec = \"validate\"\nanchors = {anchor:?}\n", self.address)
    }

    /// Other records for a zone, signed anew where it was signed well before.
    pub fn set(&mut self, zone: &str, text: &str) {
        let zone = self.find_mut(zone);
        zone.text = text.into();
        let name = zone.name.clone();
        self.renew(&name);
    }

    /// Breaks a signed zone.
    pub fn spoil(&mut self, name: &str, fault: Fault) {
        if fault == Fault::WrongDs {
            self.find_mut(name).state = State::Spoilt(fault);
            let parent = parent(&self.zones, self.find(name)).unwrap().clone();
            return self.renew(&parent);
        }
        let dump = self.dir.path().join("dump");
        self.knotc(&["zone-flush", "+outdir", dump.to_str().unwrap(), &format!("{name}.")]);
        self.find_mut(name).state = State::Spoilt(fault);
        let file = self.find(name).file();
        let text = eventually("the zone is written out", || {
            let text = std::fs::read_to_string(dump.join(&file)).ok()?;
            text.contains(";; Written").then_some(text)
        });
        let spoilt: String = text.lines().map(|line| spoil_line(line, fault) + "\n").collect();
        std::fs::write(self.dir.path().join("zones").join(file), spoilt).unwrap();
        write_config(self.dir.path(), self.address, &self.zones);
        self.knotc(&["reload"]);
        self.knotc(&["-b", "zone-reload", &format!("{name}.")]);
    }

    /// An unbound of one's own that resolves by asking knot.
    pub fn resolver(&self) -> Resolver {
        Resolver::start(self)
    }

    /// Writes a zone and has it loaded.
    fn renew(&mut self, name: &str) {
        let zone = self.zones.iter_mut().find(|zone| zone.name == name).unwrap();
        zone.serial += 1;
        let zone = zone.clone();
        write_zone(self.dir.path(), &self.zones, &zone);
        self.knotc(&["-b", "zone-reload", name]);
    }

    fn find(&self, name: &str) -> &Zone {
        let known = |zone: &&Zone| zone.name.trim_end_matches('.') == name;
        self.zones.iter().find(known).expect("a zone that was given at the start")
    }

    fn find_mut(&mut self, name: &str) -> &mut Zone {
        let known = |zone: &&mut Zone| zone.name.trim_end_matches('.') == name;
        self.zones.iter_mut().find(known).expect("a zone that was given at the start")
    }

    fn knotc(&self, words: &[&str]) {
        let mut command = Command::new("knotc");
        command.arg("-s").arg(self.dir.path().join("run/knot.sock")).args(words);
        run(&mut command);
    }
}

impl Drop for Signed {
    fn drop(&mut self) {
        end(&mut self.child, self.dir.path(), "knot");
    }
}

/// unbound: validates from knot's root down and sets AD for who asks for it. It remembers nothing for longer than the
/// records live.
pub struct Resolver {
    dir: TempDir,
    child: Child,
    address: SocketAddr,
}

impl Resolver {
    fn start(signed: &Signed) -> Resolver {
        let dir = TempDir::new().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let address = free_port();
            std::fs::write(dir.path().join("unbound.conf"), unbound_config(dir.path(), address, signed))
                .unwrap();
            let mut child = daemon("unbound", "-dc", &dir.path().join("unbound.conf"));
            if answers(&mut child, address, &signed.zones[..1]) {
                return Resolver { dir, child, address };
            }
            let log = log_of(dir.path(), "unbound");
            assert!(log.contains("already in use") && Instant::now() < deadline, "unbound ended:\n{log}");
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `[dns]` for a server that asks this one and validates all the same.
    pub fn validate(&self, signed: &Signed) -> String {
        let anchor = signed.anchor();
        format!("[dns]\nservers = [\"{}\"]\ndnssec = \"validate\"\nanchors = {anchor:?}\n", self.address)
    }

    /// `[dns]` for a server that believes this one.
    pub fn trust(&self) -> String {
        format!("[dns]\nservers = [\"{}\"]\ndnssec = \"trust\"\n", self.address)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        end(&mut self.child, self.dir.path(), "unbound");
    }
}

fn signs(zone: &Zone) -> bool {
    matches!(zone.state, State::Nsec | State::Nsec3 | State::OptOut | State::Spoilt(Fault::WrongDs))
}

fn write_config(dir: &Path, address: SocketAddr, zones: &[Zone]) {
    let at = |name: &str| dir.join(name).display().to_string();
    let mut text = format!(
        "server:\n  rundir: \"{}\"\n  listen: {}@{}\nlog:\n  - target: \"{}\"\n    any: info\n\
         database:\n  storage: \"{}\"\npolicy:\n",
        at("run"),
        address.ip(),
        address.port(),
        at("knot.log"),
        at("keys"),
    );
    for (id, nsec3) in [("nsec", "off"), ("nsec3", "on"), ("optout", "on\n    nsec3-opt-out: on")] {
        let _ = write!(
            text,
            "  - id: {id}\n    manual: on\n    single-type-signing: on\n    algorithm: ecdsap256sha256\n    nsec3: {nsec3}\n"
        );
    }
    let _ = write!(
        text,
        "template:\n  - id: default\n    storage: \"{}\"\n    zonefile-sync: -1\n    zonefile-load: whole\n    \
         journal-content: none\nzone:\n",
        at("zones"),
    );
    for zone in zones {
        let _ = writeln!(text, "  - domain: \"{}\"\n    file: \"{}\"", zone.name, zone.file());
        if signs(zone) {
            let policy = match zone.state {
                State::Nsec3 => "nsec3",
                State::OptOut => "optout",
                _ => "nsec",
            };
            let _ = writeln!(text, "    dnssec-signing: on\n    dnssec-policy: {policy}");
        }
    }
    std::fs::write(dir.join("knot.conf"), text).unwrap();
}

/// Keys of all zones, once; the DS records are what the parents and the resolvers need of them.
fn make_keys(dir: &Path, zones: &[Zone]) {
    for zone in zones.iter().filter(|zone| zone.has_keys()) {
        let keymgr = |words: &[&str]| {
            let mut command = Command::new("keymgr");
            run(command.arg("-c").arg(dir.join("knot.conf")).arg(&zone.name).args(words))
        };
        let ds = dir.join("zones").join(format!("{}ds", zone.file()));
        if ds.exists() {
            continue;
        }
        keymgr(&["generate", "algorithm=ECDSAP256SHA256", "ksk=yes", "zsk=yes"]);
        let records = keymgr(&["ds"]);
        // One digest is enough: SHA-256.
        std::fs::write(&ds, records.lines().find(|line| line.contains(" 13 2 ")).unwrap()).unwrap();
        if zone.name == "." {
            std::fs::copy(&ds, dir.join("anchor")).unwrap();
        }
    }
}

fn write_zone(dir: &Path, zones: &[Zone], zone: &Zone) {
    if zone.state == State::Dead {
        return;
    }
    let mut text = format!(
        "$ORIGIN {}\n$TTL 1\n@ SOA ns. root. {} 3600 600 86400 1\n@ NS ns.\n{}\n",
        zone.name, zone.serial, zone.text
    );
    for child in zones.iter().filter(|child| parent(zones, child) == Some(&zone.name)) {
        let _ = writeln!(text, "{} NS ns.", child.name);
        if child.has_keys() {
            let ds = std::fs::read_to_string(dir.join("zones").join(format!("{}ds", child.file()))).unwrap();
            let ds = if child.state == State::Spoilt(Fault::WrongDs) { other_digest(&ds) } else { ds };
            let _ = writeln!(text, "{ds}");
        }
    }
    std::fs::write(dir.join("zones").join(zone.file()), text).unwrap();
}

fn parent<'a>(zones: &'a [Zone], child: &Zone) -> Option<&'a String> {
    let above = |zone: &&Zone| {
        child.name != zone.name && (zone.name == "." || child.name.ends_with(&format!(".{}", zone.name)))
    };
    zones.iter().filter(above).map(|zone| &zone.name).max_by_key(|name| name.len())
}

fn other_digest(ds: &str) -> String {
    let (rest, digest) = ds.trim_end().rsplit_once(' ').unwrap();
    format!("{rest} {}", digest.chars().rev().collect::<String>())
}

/// `owner TTL RRSIG TYPE algorithm labels TTL expiration inception tag signer signature`.
fn spoil_line(line: &str, fault: Fault) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if words.get(2) != Some(&"RRSIG") || words[3] == "DNSKEY" {
        return line.into();
    }
    let turned: String = words[11].trim_end_matches('=').chars().rev().chain("==".chars()).collect();
    match fault {
        Fault::Expired => words[7..=8].copy_from_slice(&["20200201000000", "20200101000000"]),
        Fault::Corrupt => words[11] = &turned,
        Fault::WrongDs => {}
    }
    words.join(" ")
}

fn unbound_config(dir: &Path, address: SocketAddr, signed: &Signed) -> String {
    let at = |name: &str| dir.join(name).display().to_string();
    let mut text = format!(
        "server:\n  interface: {}\n  port: {}\n  do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n  directory: \"{}\"\n  \
         pidfile: \"{}\"\n  use-syslog: no\n  logfile: \"{}\"\n  do-not-query-localhost: no\n  val-log-level: 2\n  \
         module-config: \"validator iterator\"\n  trust-anchor-file: \"{}\"\n  num-threads: 1\n  val-bogus-ttl: 1\n",
        address.ip(),
        address.port(),
        dir.display(),
        at("pid"),
        at("unbound.log"),
        signed.anchor().display(),
    );
    // Names such as `test.` it would answer by itself.
    for zone in &signed.zones[1..] {
        let top = zone.name.trim_end_matches('.').rsplit('.').next().unwrap();
        let _ = writeln!(text, "  local-zone: \"{top}.\" nodefault");
    }
    text.push_str("remote-control:\n  control-enable: no\n");
    // Each by itself: an NS record tells no port.
    let server = signed.address;
    for zone in &signed.zones {
        let (ip, port) = (server.ip(), server.port());
        let _ = writeln!(text, "stub-zone:\n  name: \"{}\"\n  stub-addr: {ip}@{port}", zone.name);
    }
    text
}

/// Both transports of one port, free just now.
fn free_port() -> SocketAddr {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn daemon(program: &str, flag: &str, config: &Path) -> Child {
    Command::new(program_path(program))
        .arg(flag)
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(config.with_extension("stderr")).unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} must be installed (tests/packages.txt): {error}"))
}

/// The daemons stand where only root looks.
fn program_path(program: &str) -> PathBuf {
    let path = Path::new("/usr/sbin").join(program);
    if path.exists() { path } else { program.into() }
}

/// Waits until every zone is served; false when the daemon has ended instead.
fn answers(child: &mut Child, address: SocketAddr, zones: &[Zone]) -> bool {
    zones.iter().filter(|zone| zone.state != State::Dead).all(|zone| {
        eventually("the name server answers", || {
            if child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            let answer = ask(address, &zone.name, RecordType::SOA)?;
            (answer.response_code == ResponseCode::NoError).then_some(true)
        })
    })
}

/// One question by hand, with DO; nothing where no answer comes.
fn ask(address: SocketAddr, name: &str, kind: RecordType) -> Option<Message> {
    let query = Query::query(Name::from_ascii(name).unwrap(), kind);
    let mut options = DnsRequestOptions::default();
    options.edns_set_dnssec_ok = true;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.connect(address).ok()?;
    socket.send(&DnsRequest::from_query(query, options).to_vec().unwrap()).ok()?;
    let mut answer = [0; 4096];
    let length = socket.recv(&mut answer).ok()?;
    Message::from_vec(&answer[..length]).ok()
}

/// What a name server that is there says, signatures included.
pub fn asked(address: SocketAddr, name: &str, kind: RecordType) -> Message {
    eventually("an answer", || ask(address, name, kind))
}

fn run(command: &mut Command) -> String {
    let program = program_path(command.get_program().to_str().unwrap());
    let mut full = Command::new(program);
    let output = full.args(command.get_args()).stdin(Stdio::null()).output().expect("knot must be installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn log_of(dir: &Path, name: &str) -> String {
    let read = |end: &str| std::fs::read_to_string(dir.join(format!("{name}.{end}"))).unwrap_or_default();
    read("log") + &read("stderr")
}

fn end(child: &mut Child, dir: &Path, name: &str) {
    let _ = child.kill();
    let _ = child.wait();
    if std::thread::panicking() {
        eprintln!("--- {name}'s log\n{}---", log_of(dir, name));
    }
}
