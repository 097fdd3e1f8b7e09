//! What a server shows under TLS, and what it says of its certificates.

use super::pebble::shown_at;
use super::{Dns, Plan, Server, ZONE, eventually};
use pillarbox::net::tls::pair::Facts;
use serde_json::Value;
use std::net::TcpStream;
use std::path::PathBuf;

pub const MX: &str = "mx.here.example";
pub const MAIL: &str = "mail.here.example";
pub const ME: &str = "me@here.example";

pub fn dns() -> Dns {
    let dns = Dns::start(ZONE);
    dns.add(&format!("{MAIL}. 60 IN A 127.0.0.1\n"));
    dns
}

/// A server with more in its configuration, whose certificates can be seen without a word of SMTP.
pub fn server(dns: &Dns, more: &str) -> Server {
    start(Plan::new(MX, &[ME]), dns, more)
}

pub fn start(plan: Plan, dns: &Dns, more: &str) -> Server {
    plan.with_submissions().with(more).start(dns)
}

pub fn shown(server: &Server, name: &str) -> Facts {
    Facts::of(&shown_at(server.submissions(), name)).unwrap()
}

/// What the server shows for a name once an authority vouches for it.
pub fn vouched(server: &Server, name: &str) -> Facts {
    eventually(&format!("a certificate for {name}"), || {
        Some(shown(server, name)).filter(|facts| !facts.self_signed && facts.is_for(name))
    })
}

/// The lines of the log with this message.
pub fn said(server: &Server, message: &str) -> Vec<Value> {
    let lines = server.log();
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

/// Waits until that has been said so often.
pub fn told(server: &Server, message: &str, times: usize) -> Vec<Value> {
    eventually(&format!("{times} × {message:?}"), || {
        Some(said(server, message)).filter(|lines| lines.len() >= times)
    })
}

pub fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

pub fn state(server: &Server, name: &str) -> Value {
    let file = server.state_dir().join(format!("tls/acme/{name}.json"));
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// The file of a name's certificate.
pub fn file(server: &Server, name: &str) -> PathBuf {
    server.state_dir().join(format!("tls/acme/{name}.pem"))
}

/// A command in front of the server that moves its clock by so many seconds. Its timers keep their pace.
pub fn later(seconds: u64) -> Vec<String> {
    let found = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let library = found.map(|path| path.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    let library = library.expect("libfaketime must be installed (tests/install)");
    let library = format!("LD_PRELOAD={}", library.display());
    let clock = format!("FAKETIME=+{seconds}s");
    vec!["env".into(), library, clock, "FAKETIME_DONT_FAKE_MONOTONIC=1".into()]
}

/// The same server again, so many seconds later than now.
pub fn again_later(server: Server, seconds: u64) -> Server {
    let wrapper = later(seconds);
    server.again_under(&wrapper.iter().map(String::as_str).collect::<Vec<_>>())
}
