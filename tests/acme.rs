//! Certificates from an authority, Debian's pebble: gained, renewed, and kept whatever goes wrong.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::pebble::{Authority, Pebble, first_of, private, shown_at};
use harness::wire::Wire;
use harness::{Dns, Plan, Server, ZONE, eventually};
use pillarbox::net::tls::pair::Facts;
use serde_json::Value;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const MX: &str = "mx.here.example";
const MAIL: &str = "mail.here.example";
const ME: &str = "me@here.example";
const FRIEND: &str = "friend@there.example";
const YEAR: u64 = 365 * 86400;

fn dns() -> Dns {
    let dns = Dns::start(ZONE);
    dns.add(&format!("{MAIL}. 60 IN A 127.0.0.1\n"));
    dns
}

/// A server that shows its certificates at a port of their own, with more in its configuration.
fn server(dns: &Dns, more: &str) -> Server {
    start(Plan::new(MX, &[ME]), dns, more)
}

fn start(plan: Plan, dns: &Dns, more: &str) -> Server {
    let dns = dns.address();
    plan.with(more).start_with(&format!("submissions = [\"127.0.0.1:0\"]\n[dns]\nservers = [\"{dns}\"]\n"))
}

fn door(server: &Server) -> SocketAddr {
    let text = std::fs::read(server.state_dir().join("listening.json")).unwrap();
    let listening: Value = serde_json::from_slice(&text).unwrap();
    listening["submissions"][0].as_str().unwrap().parse().unwrap()
}

fn shown(server: &Server, name: &str) -> Facts {
    Facts::of(&shown_at(door(server), name)).unwrap()
}

/// What the server shows for a name once an authority vouches for it.
fn vouched(server: &Server, name: &str) -> Facts {
    eventually(&format!("a certificate for {name}"), || {
        Some(shown(server, name)).filter(|facts| !facts.self_signed && facts.is_for(name))
    })
}

/// The lines of the log with this message.
fn said(server: &Server, message: &str) -> Vec<Value> {
    let lines = server.log();
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

/// Waits until that has been said so often.
fn told(server: &Server, message: &str, times: usize) -> Vec<Value> {
    eventually(&format!("{times} × {message:?}"), || {
        Some(said(server, message)).filter(|lines| lines.len() >= times)
    })
}

fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn state(server: &Server, name: &str) -> Value {
    let file = server.state_dir().join(format!("tls/acme/{name}.json"));
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// Letters, one after the other, each over a connection of its own, and a handshake beside each, until `stop`.
fn deliver(mx: SocketAddr, door: SocketAddr, stop: &AtomicBool, delivered: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        let reply = Wire::greeted(mx).0.transact(FRIEND, &[ME], b"Subject: load\r\n\r\nHello.\r\n");
        assert!(reply.starts_with("250"), "{reply}");
        private(TcpStream::connect(door).unwrap(), MX).unwrap();
        delivered.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_first_certificates_and_two_renewals_while_fifty_connections_deliver() {
    let dns = dns();
    let pebble = Authority::with_lives_of(15).thinking(1).start(&dns);
    let limits = "[limits]\nfree_space = 0\nconnections_per_ip = 200\n";
    let server = server(&dns, &format!("{limits}{}", pebble.table(&[MX, MAIL])));
    let (mx, door) = (server.mx(), door(&server));
    let own = shown(&server, MX).key;
    let (stop, delivered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..50).map(|_| scope.spawn(|| deliver(mx, door, &stop, &delivered))).collect();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for name in [MX, MAIL] {
                let mut seen = vec![vouched(&server, name)];
                let end = Instant::now() + Duration::from_secs(60);
                while seen.len() < 3 {
                    assert!(Instant::now() < end, "{name}: {seen:?}");
                    let now = vouched(&server, name);
                    if seen.last().unwrap().fingerprint != now.fingerprint {
                        seen.push(now);
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
                assert!(seen.iter().all(|facts| facts.key == own), "the key stays");
            }
        }));
        stop.store(true, Ordering::Relaxed);
        let failed = load.into_iter().filter_map(|thread| thread.join().err()).count();
        assert_eq!(failed, 0, "of 50 connections");
        seen.unwrap();
    });
    eprintln!("{} letters\n{}", delivered.load(Ordering::Relaxed), server.log());
    let kept = server.letters("here.example/me").len();
    assert_eq!(kept, delivered.load(Ordering::Relaxed));
}
