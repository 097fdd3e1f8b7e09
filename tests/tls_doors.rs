//! TLS at the doors: letters under it, what is said before it and around it, clients that break off, and clients that only
//! begin.

mod harness;

use harness::home::{Home, letter};
use harness::pki::Pki;
use harness::tls::{client_hello, unfinished};
use harness::wire::Wire;
use harness::{Dns, PATIENCE, Plan, Server, ZONE, eventually};
use rustix::net::{AddressFamily, SocketType};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

const ME: &str = "me@here.example";
const FRIEND: &str = "friend@there.example";
const ENVELOPE: [&str; 2] = ["MAIL FROM:<friend@there.example>", "RCPT TO:<me@here.example>"];

fn ours(dns: &Dns) -> Server {
    Plan::new("mx.here.example", &[ME]).with_submissions().start(dns)
}

/// The owner, whose key is known here without DNS as well: who comes from afar has to be told apart.
fn owner(dns: &Dns, server: &Server) -> Home {
    let me = Home::new(dns, ME);
    let keys = server.state_dir().join("keys");
    std::fs::create_dir_all(&keys).unwrap();
    std::fs::write(keys.join("me._domainkey.here.example"), me.key().txt_record().unwrap()).unwrap();
    me
}

/// The field that we wrote, unfolded.
fn received(letter: &str) -> String {
    let start = letter.find("Received: ").unwrap();
    let field = letter[start..].replace("\r\n\t", " ");
    field.lines().next().unwrap().to_owned()
}

#[test]
fn strangers_letters_come_under_tls_and_say_so() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    for (version, of) in [("", "TLSv1.3"), ("tlsv1_2", "TLSv1.2")] {
        let mut command = Command::new("swaks");
        command.args(["--server", &server.mx().to_string(), "--from", FRIEND, "--to", ME, "--tls"]);
        command.args(["--helo", "mx.there.example"]);
        if !version.is_empty() {
            command.args(["--tls-protocol", version]);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains(&format!("=== TLS started with cipher {of}")),
            "{said}"
        );
    }
    let letters = server.letters("here.example/me");
    assert_eq!(letters.len(), 2);
    let fields: Vec<String> = letters.iter().map(|letter| received(letter)).collect();
    for cipher in ["tls TLS_AES_256_GCM_SHA384;", "tls TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;"] {
        let tells = |field: &&String| field.contains(" with ESMTPS id ") && field.contains(cipher);
        let field = fields.iter().find(tells).unwrap_or_else(|| panic!("{cipher}: {fields:?}"));
        assert!(field.contains(&format!("for <{ME}> {cipher}")), "{field}");
    }
    let log = server.log();
    for tls in ["TLSv1.3 TLS_AES_256_GCM_SHA384", "TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"] {
        let line = log.lines().find(|line| line.contains(&format!("\"tls\":\"{tls}\"")));
        assert!(line.is_some_and(|line| line.contains("\"code\":250")), "{tls}: {log}");
    }
    // In clear as before, and nothing is claimed.
    let reply = Wire::greeted(server.mx()).0.transact(FRIEND, &[ME], &letter(FRIEND, ME, "in clear"));
    assert!(reply.starts_with("250"), "{reply}");
    let clear = server.letters("here.example/me").into_iter().find(|letter| letter.contains("in clear"));
    let field = received(&clear.unwrap());
    assert!(field.contains(" with ESMTP id ") && !field.contains("tls"), "{field}");
}

#[test]
fn the_owner_submits_under_tls_at_both_of_his_doors() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let me = owner(&dns, &server);
    for (mut wire, name) in [Wire::starttls(server.submission()), Wire::private(server.submissions())] {
        let sealed = me.sealed(&letter(ME, ME, "sealed"), &name, &[ME]);
        let reply = wire.transact(ME, &[ME], &sealed);
        assert!(reply.starts_with("250"), "{reply}\n{}", server.log());
    }
    let sealed = me.sealed(&letter(ME, ME, "by swaks"), "mx.here.example", &[ME]);
    let file = me.root.path().join("sealed.eml");
    std::fs::write(&file, [sealed, b".\r\n".to_vec()].concat()).unwrap();
    let mut command = Command::new("swaks");
    command.args([
        "--server",
        &server.submissions().to_string(),
        "--tls-on-connect",
        "--from",
        ME,
        "--to",
        ME,
    ]);
    command.args(["--helo", "laptop.example", "--suppress-data", "--no-data-fixup"]);
    let output = command.arg("--data").arg(format!("@{}", file.display())).output().unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), server.log());
    let letters = eventually("all three", || {
        Some(server.letters("here.example/me")).filter(|letters| letters.len() == 3)
    });
    for letter in letters {
        let field = received(&letter);
        assert!(field.starts_with("Received: by mx.here.example with ESMTPSA id "), "{field}");
        assert!(field.contains(" tls TLS_"), "{field}");
    }
}

#[test]
fn each_door_offers_what_it_has_and_the_gate_nothing() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    for door in [server.mx(), server.submission()] {
        let mut wire = Wire::greeted(door).0;
        assert!(wire.ask("EHLO x", "250").lines().any(|line| line == "250 STARTTLS"));
        wire.ask("STARTTLS now", "501 5.5.4");
        wire.ask("STARTTLS", "220 2.0.0");
        let mut wire = wire.secure();
        wire.ask(ENVELOPE[0], "503 5.5.1");
        assert!(!wire.ask("EHLO x", "250").contains("STARTTLS"));
        wire.ask("STARTTLS", "503 5.5.1");
    }
    let mut wire = Wire::private(server.submissions()).0;
    assert!(!wire.ask("EHLO x", "250").contains("STARTTLS"));
    wire.ask("STARTTLS", "503 5.5.1");
    let mut gate = Wire::gate(&server, &["here.example"]).0;
    assert!(!gate.ask("EHLO x", "250").contains("STARTTLS"));
    gate.ask("STARTTLS", "502 5.5.1");
}

#[test]
fn each_name_is_shown_its_certificate() {
    let dns = Dns::start(ZONE);
    let (pki, files) = (Pki::new(), tempfile::tempdir().unwrap());
    let at = |name: &str| files.path().join(name);
    let (first, second) = (pki.host(&["mx.here.example"]), pki.host(&["mx.other.example"]));
    first.write(&at("1.pem"), &at("1.key"));
    second.write(&at("2.pem"), &at("2.key"));
    let paths = |ending: &str| [at(&format!("1.{ending}")), at(&format!("2.{ending}"))];
    let tls = format!("[tls]\ncert = {:?}\nkey = {:?}", paths("pem"), paths("key"));
    let server = Plan::new("mx.here.example", &[ME]).with_submissions().with(&tls).start(&dns);
    let rows = [("mx.here.example", &first), ("MX.Other.Example", &second), ("mx.third.example", &first)];
    for (name, wanted) in rows {
        let mut stream = unfinished(TcpStream::connect(server.submissions()).unwrap(), name);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        let shown = stream.conn.peer_certificates().unwrap();
        assert_eq!(shown[0].as_ref(), wanted.own().certificate(), "{name}");
    }
}

#[test]
fn what_is_injected_in_clear_behind_starttls_has_no_effect() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let whole = format!(
        "EHLO evil.example\r\n{}\r\n{}\r\nDATA\r\nSubject: injected\r\n\r\nHello.\r\n.\r\n",
        ENVELOPE[0], ENVELOPE[1]
    );
    let envelope = format!("EHLO evil.example\r\n{}\r\n{}\r\n", ENVELOPE[0], ENVELOPE[1]);
    for injected in [whole.as_str(), &envelope, "NOOP\r\n", "RSET", "GET / HTTP/1.1\r\n"] {
        for door in [server.mx(), server.submission()] {
            let (mut wire, _) = Wire::greeted(door);
            wire.raw(format!("STARTTLS\r\n{injected}").as_bytes()).expect("220 2.0.0");
            let mut wire = wire.secure();
            // The first reply under TLS is the one to the first command under TLS.
            wire.ask("RCPT TO:<me@here.example>", "503 5.5.1");
            wire.ask("EHLO x", "250 mx.here.example");
            wire.ask("DATA", "503 5.5.1");
            wire.ask("QUIT", "221");
            wire.expect_end();
        }
    }
    // More than is read at once: the rest stands where the handshake should be, and is none.
    let (mut wire, _) = Wire::greeted(server.mx());
    wire.raw(format!("STARTTLS\r\n{}", envelope.repeat(100)).as_bytes()).expect("220 2.0.0");
    let mut rest = Vec::new();
    let _ = wire.clear().read_to_end(&mut rest);
    assert!(!rest.starts_with(b"2") && !rest.starts_with(b"5"), "{rest:?}");
    assert!(server.letters("here.example/me").is_empty());
    assert!(!server.log().contains("evil.example") && !server.log().contains(FRIEND), "{}", server.log());
}

#[test]
fn a_transaction_in_clear_is_forgotten_with_starttls() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let (mut wire, _) = Wire::greeted(server.mx());
    for line in ENVELOPE {
        wire.ask(line, "250");
    }
    wire.ask("STARTTLS", "220 2.0.0");
    let mut wire = wire.secure();
    wire.ask("DATA", "503 5.5.1");
    wire.ask("EHLO x", "250");
    wire.ask("DATA", "503 5.5.1");
    assert!(wire.transact(FRIEND, &[ME], &letter(FRIEND, ME, "anew")).starts_with("250"));
    assert_eq!(server.letters("here.example/me").len(), 1);
}

#[test]
fn conduct_in_clear_counts_under_tls() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let (mut wire, _) = Wire::greeted(server.mx());
    for _ in 0..9 {
        wire.ask("WHAT", "500");
    }
    wire.ask("STARTTLS", "220 2.0.0");
    let mut wire = wire.secure();
    wire.ask("WHAT", "421 4.7.0");
    // The last word came, with close_notify behind it: no error, and nothing more.
    wire.expect_end();
    let mut end = [0];
    assert_eq!(wire.tls().read(&mut end).unwrap(), 0);
}

#[test]
fn the_last_word_arrives_whatever_is_on_its_way_to_us() {
    let dns = Dns::start(ZONE);
    let server = ours(&dns);
    let mut wire = Wire::starttls(server.mx()).0;
    wire.raw(&[b"QUIT\r\n".to_vec(), b"NOOP\r\n".repeat(50_000)].concat());
    wire.expect("221");
    wire.expect_end();
    let mut wire = Wire::starttls(server.mx()).0;
    for line in ENVELOPE {
        wire.ask(line, "250");
    }
    wire.ask("DATA", "354");
    wire.raw(b"a lone\nline feed\r\n.\r\n");
    wire.raw(&b"x\r\n".repeat(10_000));
    wire.expect("550 5.6.0");
    wire.expect("421");
    wire.expect_end();
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

/// A connection from one of the loopback's sixteen million addresses.
fn from(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrV4::new(source, 0)).unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn two_hundred_who_begin_a_handshake_and_say_no_more_keep_nobody_out() {
    let dns = Dns::start(ZONE);
    let server = Plan::new("mx.here.example", &[ME])
        .with_submissions()
        .with("[limits]\nfree_space = 0\nconnections = 100")
        .start(&dns);
    let me = owner(&dns, &server);
    let hello = client_hello(0x0303, &[0xc02b]);
    let mut silent = Vec::new();
    for n in 0..200u8 {
        // Each network its own: nobody is told that his own has too many.
        let mut stream = from(Ipv4Addr::new(127, 3, n, 1), server.submissions());
        stream.write_all(&hello[..usize::from(n) % 60]).unwrap();
        silent.push(stream);
        let mut stream = from(Ipv4Addr::new(127, 4, n, 1), server.mx());
        stream.write_all(b"").unwrap();
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
