//! Clients under TLS, or on the way to it, that break off, send what is no TLS, or only begin.

mod harness;

use harness::home::{Home, letter};
use harness::tls::{client_hello, handshake};
use harness::wire::{Wire, from};
use harness::{Dns, Plan, Server, ZONE, eventually};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

const ME: &str = "me@here.example";
const FRIEND: &str = "friend@there.example";
const ENVELOPE: [&str; 2] = ["MAIL FROM:<friend@there.example>", "RCPT TO:<me@here.example>"];

fn ours(dns: &Dns) -> Server {
    Plan::new("mx.here.example", &[ME]).with_submissions().start(dns)
}

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    /// With close_notify, and waits for ours.
    Notified,
    /// With the end of its stream only.
    Half,
    Reset,
}

/// The client's end, and what we say to it: close_notify in answer to one.
fn leave(mut wire: Wire, how: Leaves) {
    let tls = wire.tls();
    match how {
        Leaves::Notified => {
            tls.conn.send_close_notify();
            tls.flush().unwrap();
            let mut rest = Vec::new();
            tls.read_to_end(&mut rest).unwrap_or_else(|error| panic!("no close_notify: {error}"));
            assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
        }
        Leaves::Half => {
            tls.sock.shutdown(Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            let _ = tls.read_to_end(&mut rest);
            assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
        }
        Leaves::Reset => {
            rustix::net::sockopt::set_socket_linger(&tls.sock, Some(Duration::ZERO)).unwrap();
        }
    }
}

fn cpu_seconds(server: &Server) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn connections(server: &Server) -> usize {
    let links = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let links = links.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn whoever_leaves_at_any_point_leaves_no_letter_and_nothing_that_spins() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    server.settle();
    let before = connections(&server);
    let points: [(&str, &[&str]); 6] = [
        ("greeted", &[]),
        ("in a command", &["<NOO"]),
        ("in the envelope", &ENVELOPE),
        ("before the letter", &[ENVELOPE[0], ENVELOPE[1], "DATA"]),
        ("in the letter", &[ENVELOPE[0], ENVELOPE[1], "DATA", "<Subject: cut\r\n\r\nHalf a lett"]),
        ("in the dot", &[ENVELOPE[0], ENVELOPE[1], "DATA", "<Subject: cut\r\n\r\nA letter.\r\n."]),
    ];
    for how in [Leaves::Notified, Leaves::Half, Leaves::Reset] {
        for (point, said) in points {
            eprintln!("{how:?} {point}");
            let mut wire = Wire::starttls(server.mx()).0;
            for line in said {
                match line.strip_prefix('<') {
                    Some(part) => drop(wire.raw(part.as_bytes())),
                    None => drop(wire.say(line).reply()),
                }
            }
            leave(wire, how);
        }
    }
    // After the dot the letter is ours or it is not, whether anybody hears it.
    let mut wire = Wire::starttls(server.mx()).0;
    for line in [ENVELOPE[0], ENVELOPE[1], "DATA"] {
        wire.say(line).reply();
    }
    wire.message(&letter(FRIEND, ME, "whole"));
    wire.tls().conn.send_close_notify();
    wire.tls().flush().unwrap();
    wire.expect("250");
    drop(wire);
    eventually("the end of all connections", || (connections(&server) <= before).then_some(()));
    let letters = server.letters("here.example/me");
    assert!(letters.len() == 1 && letters[0].contains("whole"), "{letters:?}");
    assert!(!server.log().contains("fault in one connection"), "{}", server.log());
    let spent = cpu_seconds(&server);
    std::thread::sleep(Duration::from_millis(500));
    assert!(cpu_seconds(&server) - spent < 0.1, "it spins");
}

/// At the point where the handshake begins.
fn at_the_handshake(server: &Server) -> [TcpStream; 2] {
    let mut mx = Wire::greeted(server.mx()).0;
    mx.ask("STARTTLS", "220");
    [mx.into_clear(), TcpStream::connect(server.submissions()).unwrap()]
}

#[test]
fn a_handshake_that_is_none_or_half_a_one_ends_without_a_word() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let before = connections(&server);
    let whole = client_hello(0x0303, &[0xc02b]);
    let huge = [vec![22, 3, 1, 0x40, 0], vec![1, 0xff, 0xff, 0xff], vec![0; 16_380]].concat();
    let rows: [(&str, Vec<u8>); 6] = [
        ("garbage", b"\xff\xfe garbage \0\0\0\0".to_vec()),
        ("smtp", b"EHLO mx.there.example\r\n".to_vec()),
        ("http", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("nothing in common", client_hello(0x0303, &[0x002f])),
        ("an old version", client_hello(0x0301, &[0x002f])),
        ("a hello of 16 MiB", huge),
    ];
    for (what, octets) in rows {
        for mut stream in at_the_handshake(&server) {
            let _ = stream.write_all(&octets);
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said);
            // At most an alert, which is no word of SMTP.
            assert!(said.is_empty() || said[0] == 21 && said.len() == 7, "{what}: {said:?}");
        }
    }
    for cut in [0, 1, 5, 6, 40, whole.len() - 1, whole.len()] {
        for stream in at_the_handshake(&server) {
            (&stream).write_all(&whole[..cut]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut said = Vec::new();
            let _ = (&stream).read_to_end(&mut said);
            assert!(said.is_empty() || matches!(said[0], 21 | 22), "{said:?}");
        }
        for stream in at_the_handshake(&server) {
            (&stream).write_all(&whole[..cut]).unwrap();
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        }
    }
    eventually("the end of all connections", || (connections(&server) <= before).then_some(()));
    let log = server.log();
    let told = |reason: &str| log.matches(reason).count();
    assert_eq!(told("what it sent is not TLS (InvalidContentType)"), 1, "one line of each kind: {log}");
    assert_eq!(told("it offers no cipher that is taken here"), 1, "{log}");
    assert_eq!(told("it closed the connection in the handshake"), 1, "{log}");
    assert!(told("it speaks neither TLS 1.2 nor TLS 1.3") == 1 && !log.contains("fault in"), "{log}");
    let reply = Wire::starttls(server.mx()).0.transact(FRIEND, &[ME], &letter(FRIEND, ME, "after it"));
    assert!(reply.starts_with("250"), "{reply}");
}

#[test]
fn an_octet_a_second_is_not_waited_for_longer_than_half_a_minute() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let hello = client_hello(0x0303, &[0xc02b]);
    let streams = at_the_handshake(&server);
    let begun = Instant::now();
    let mut open: Vec<&TcpStream> = streams.iter().collect();
    for octet in hello {
        for stream in &open {
            // Who is gone is found out below.
            let _ = (&mut &**stream).write_all(&[octet]);
        }
        open.retain(|stream| {
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let ended = (&mut &**stream).read(&mut [0]);
            ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        });
        if open.is_empty() {
            break;
        }
    }
    assert!(open.is_empty(), "somebody is still waited for");
    let waited = begun.elapsed().as_secs();
    assert!((29..45).contains(&waited), "{waited} seconds");
    assert_eq!(server.log().matches("no handshake within 30 seconds").count(), 1, "{}", server.log());
}

#[test]
fn two_hundred_who_begin_a_handshake_and_say_no_more_keep_nobody_out() {
    let dns = Dns::start(ZONE);
    let server = Plan::new("mx.here.example", &[ME])
        .with_submissions()
        .with("[limits]\nfree_space = 0\nconnections = 100")
        .start(&dns);
    let me = Home::pinned(&dns, ME, &server);
    let hello = client_hello(0x0303, &[0xc02b]);
    let mut silent = Vec::new();
    for n in 0..200u8 {
        // Each network its own: nobody is told that his own has too many.
        let mut stream = from(Ipv4Addr::new(127, 3, n, 1), server.submissions());
        stream.write_all(&hello[..usize::from(n) % 60]).unwrap();
        silent.push(stream);
        let mut stream = from(Ipv4Addr::new(127, 4, n, 1), server.mx());
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).unwrap();
        stream.write_all(b"EHLO x\r\nSTARTTLS\r\n").unwrap();
        stream.write_all(&hello[..usize::from(n) % 60]).unwrap();
        silent.push(stream);
    }
    let reply = Wire::starttls(server.mx()).0.transact(FRIEND, &[ME], &letter(FRIEND, ME, "a stranger's"));
    assert!(reply.starts_with("250"), "{reply}");
    for (mut wire, name) in [
        Wire::private(server.submissions()),
        Wire::starttls(server.submission()),
        Wire::gate(&server, &["here.example"]),
    ] {
        let reply = wire.transact(ME, &[ME], &me.sealed(&letter(ME, ME, "the owner's"), &name, &[ME]));
        assert!(reply.starts_with("250"), "{reply}");
    }
    assert!(server.log().contains("others waited for this place"), "{}", server.log());
    assert!(server.log().lines().count() < 1200, "a flood fills the log");
}

/// Anybody may begin an envelope there, so that proves nothing: whoever does no more than that makes room as the silent do.
#[test]
fn strangers_who_stay_in_their_envelopes_do_not_lock_the_owner_out() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let me = Home::pinned(&dns, ME, &server);
    let mut strangers = Vec::new();
    for n in 0..64u8 {
        let mut tls =
            handshake(from(Ipv4Addr::new(127, 5, 0, n / 16 + 1), server.submissions()), "mx.here.example")
                .unwrap();
        tls.read_exact(&mut [0; 4]).unwrap();
        tls.write_all(format!("EHLO x\r\nMAIL FROM:<{ME}>\r\n").as_bytes()).unwrap();
        tls.flush().unwrap();
        let mut said = String::new();
        while !said.contains("250 2.1.0") {
            let mut octets = [0; 512];
            let count = tls.read(&mut octets).unwrap();
            said.push_str(&String::from_utf8_lossy(&octets[..count]));
        }
        strangers.push(tls);
    }
    let (mut wire, name) = Wire::private(server.submissions());
    let reply = wire.transact(ME, &[ME], &me.sealed(&letter(ME, ME, "the owner's"), &name, &[ME]));
    assert!(reply.starts_with("250"), "{reply}");
}

#[test]
fn who_has_no_place_at_the_door_under_tls_is_closed_without_a_handshake() {
    let dns = Dns::start(ZONE);
    let limits = "[limits]\nfree_space = 0\nexempt = []\nper_minute.connections = 1";
    let server = Plan::new("mx.here.example", &[ME]).with_submissions().with(limits).start(&dns);
    for _ in 0..5 {
        Wire::private(server.submissions());
    }
    let mut stream = TcpStream::connect(server.submissions()).unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    assert!(said.is_empty(), "{said:?}");
    let log = server.log();
    assert!(log.contains("turned away") && log.contains("too many connections"), "{log}");
}

#[test]
fn a_server_that_stops_waits_for_no_handshake_and_finishes_a_letter_under_tls() {
    let dns = Dns::start(ZONE);
    let mut server = ours(&dns);
    let _silent = at_the_handshake(&server);
    let mut idle = Wire::starttls(server.mx()).0;
    let mut wire = Wire::starttls(server.mx()).0;
    for line in [ENVELOPE[0], ENVELOPE[1], "DATA"] {
        wire.say(line).reply();
    }
    wire.raw(b"Subject: in flight\r\n\r\nHalf");
    let pid = rustix::process::Pid::from_raw(server.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    idle.expect("421 4.3.2");
    idle.expect_end();
    wire.raw(b" a letter.\r\n.\r\n").expect("250");
    wire.expect("421 4.3.2");
    assert!(server.wait().success());
    assert_eq!(server.letters("here.example/me").len(), 1);
    assert!(server.log().contains("the server stops"), "{}", server.log());
}
