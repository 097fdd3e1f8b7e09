//! What strangers may take of us, in number, speed and time, and that the others are served meanwhile.

mod harness;

use harness::home::{Home, letter};
use harness::wire::{Wire, from};
use harness::{Dns, PATIENCE, Plan, Server, ZONE, eventually};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

const ME: &str = "me@here.example";
const FRIEND: &str = "friend@there.example";

fn server(dns: &Dns, limits: &str) -> Server {
    Plan::new("mx.here.example", &[ME]).with(&format!("[limits]\nfree_space = 0\n{limits}")).start(dns)
}

fn line(stream: &TcpStream) -> String {
    let mut line = String::new();
    let _ = BufReader::with_capacity(1, stream).read_line(&mut line);
    line
}

fn ask(stream: &mut TcpStream, command: &str, prefix: &str) {
    stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
    let said = line(stream);
    assert!(said.starts_with(prefix), "{command}: {said}");
}

/// A stranger in the midst of a letter, of which no more may ever come.
fn begun(mut stream: TcpStream) -> TcpStream {
    assert!(line(&stream).starts_with("220"));
    ask(&mut stream, "HELO slow.example", "250");
    ask(&mut stream, "MAIL FROM:<>", "250");
    ask(&mut stream, "RCPT TO:<me@here.example>", "250");
    ask(&mut stream, "DATA", "354");
    stream.write_all(b"Subject: slow").unwrap();
    stream
}

fn a_letter_comes_in(server: &Server) {
    let reply = Wire::greeted(server.mx()).0.transact(FRIEND, &[ME], &letter(FRIEND, ME, "well-behaved"));
    assert!(reply.starts_with("250"), "{reply}");
}

fn the_owner_submits(server: &Server, me: &Home) {
    for (mut wire, name) in [Wire::greeted(server.submission()), Wire::gate(server, &["here.example"])] {
        let sealed = me.sealed(&letter(ME, ME, "the owner's"), &name, &[ME]);
        let reply = wire.transact(ME, &[ME], &sealed);
        assert!(reply.starts_with("250"), "{reply}");
    }
}

#[test]
fn a_thousand_idle_and_two_hundred_slow_ones_keep_nobody_out() {
    let dns = Dns::start(ZONE);
    let server = server(&dns, "");
    let me = Home::new(&dns, ME);
    let slow: Vec<TcpStream> = (0..200).map(|n| from(Ipv4Addr::new(127, 1, n, 1), server.mx())).collect();
    let slow: Vec<TcpStream> = slow.into_iter().map(begun).collect();
    // The door takes 500: the later ones take the places of the earlier.
    let idle: Vec<TcpStream> =
        (0..1000u16).map(|n| from(Ipv4Addr::new(127, 2, (n >> 2) as u8, n as u8), server.mx())).collect();
    assert!(idle.iter().rev().take(100).all(|stream| line(stream).starts_with("220")));
    a_letter_comes_in(&server);
    the_owner_submits(&server, &me);
    assert_eq!(server.letters("here.example/me").len(), 3);
    // Nobody who was in the midst of a letter had to go for it.
    for mut stream in slow {
        stream.write_all(b"\r\n\r\n.\r\n").unwrap();
        let said = line(&stream);
        assert!(said.starts_with("250"), "{said}");
    }
}

#[test]
fn a_thousand_idle_ones_of_one_address_keep_nobody_out_there_or_elsewhere() {
    let dns = Dns::start(ZONE);
    let server = server(&dns, "");
    let idle: Vec<TcpStream> = (0..1000).map(|_| from(Ipv4Addr::LOCALHOST, server.mx())).collect();
    assert!(line(&idle[999]).starts_with("220"));
    a_letter_comes_in(&server);
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    eventually("the end of those that were called off", || (open() < 100).then_some(()));
    // The first of them hears why.
    let mut said = String::new();
    let _ = (&idle[0]).read_to_string(&mut said);
    assert!(said.is_empty() || said.contains("421 4.7.0 others wait for this place"), "{said}");
    assert!(server.log().contains("others wait for this place"));
    assert!(server.log().lines().count() < 100, "a flood fills the log");
}

#[test]
fn whoever_brought_a_letter_is_called_off_last() {
    let dns = Dns::start(ZONE);
    let server = server(&dns, "connections = 2");
    let (mut friend, _) = Wire::greeted(server.mx());
    assert!(friend.transact(FRIEND, &[ME], &letter(FRIEND, ME, "first")).starts_with("250"));
    let idle = from(Ipv4Addr::new(127, 1, 1, 1), server.mx());
    assert!(line(&idle).starts_with("220"));
    let other = from(Ipv4Addr::new(127, 1, 2, 1), server.mx());
    assert!(line(&other).starts_with("220"));
    assert!(line(&idle).starts_with("421 4.7.0"));
    friend.ask("NOOP", "250");
}

#[test]
fn a_word_now_and_then_within_an_envelope_keeps_no_place_for_ever() {
    let dns = Dns::start(ZONE);
    let server = server(&dns, "connections = 3");
    let mut stayers: Vec<TcpStream> =
        (1..=3).map(|network| from(Ipv4Addr::new(127, 1, network, 1), server.mx())).collect();
    for stayer in &mut stayers {
        assert!(line(stayer).starts_with("220"));
        ask(stayer, "HELO slow.example", "250");
        ask(stayer, "MAIL FROM:<>", "250");
    }
    // It takes half a minute; each of them begins anew all the time, and says less than would end him for his commands.
    let deadline = Instant::now() + 3 * PATIENCE;
    loop {
        for stayer in &mut stayers {
            // Whoever was called off does not hear it.
            let _ = stayer.write_all(b"RSET\r\nMAIL FROM:<>\r\n");
        }
        if line(&from(Ipv4Addr::new(127, 2, 1, 1), server.mx())).starts_with("220") {
            return;
        }
        assert!(Instant::now() < deadline, "nobody new comes in");
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

#[test]
fn whoever_speaks_before_the_greeting_is_told_so_and_whoever_brought_a_letter_need_not_wait() {
    let dns = Dns::start(ZONE);
    let server = server(&dns, "");
    let mut early = Wire::connect(server.mx());
    early.say("EHLO early.example").expect("554 5.5.0");
    early.expect_end();
    eventually("a line in the log", || server.log().contains("before the greeting").then_some(()));
    // At the owner's door nobody waits.
    Wire::connect(server.submission()).expect("220");
    a_letter_comes_in(&server);
    let mut known = Wire::connect(server.mx());
    known.say("EHLO known.example").expect("220");
    known.expect("250");
}

#[test]
fn a_dictionary_is_answered_later_and_later_and_makes_room_meanwhile() {
    let dns = Dns::start(ZONE);
    let server = server(&dns, "connections = 1");
    let (mut wire, _) = Wire::greeted(server.mx());
    wire.ask("MAIL FROM:<>", "250");
    let begun = Instant::now();
    for n in 0..7 {
        wire.ask(&format!("RCPT TO:<nobody{n}@here.example>"), "550 5.1.1");
    }
    // The sixth and the seventh were held back, for one and two seconds.
    assert!(begun.elapsed().as_secs() >= 3, "{:?}", begun.elapsed());
    wire.say("RCPT TO:<nobody8@here.example>");
    // It waits, though within a transaction: whoever is new takes its place.
    eventually("a place", || {
        let reply = Wire::connect(server.mx()).reply();
        reply.starts_with("220").then_some(())
    });
    wire.expect("421 4.7.0");
    assert!(server.log().contains("answered later and later"));
}

#[test]
fn each_rate_has_its_words_and_is_never_a_5xx() {
    let dns = Dns::start(ZONE);
    let limited = |key: &str| server(&dns, &format!("exempt = []\nper_minute.{key}"));
    let told = |reply: String, code: &str, what: &str| {
        let words = format!("too many {what} from your address: 1 a minute are taken; try again in ");
        assert!(reply.starts_with(code) && reply.contains(&words), "{reply}");
    };

    let door = limited("connections = 1");
    for _ in 0..5 {
        Wire::connect(door.mx()).expect("220");
    }
    told(Wire::connect(door.mx()).reply(), "421 4.7.0", "connections");
    assert!(door.log().contains("too many connections"));

    let door = limited("commands = 1");
    let (mut wire, _) = Wire::greeted(door.mx());
    for _ in 0..4 {
        wire.ask("NOOP", "250");
    }
    told(wire.say("NOOP").reply() + &wire.reply(), "250 2.0.0 OK421 4.7.0", "commands");

    let door = limited("messages = 1");
    let (mut wire, _) = Wire::greeted(door.mx());
    for _ in 0..5 {
        wire.ask("MAIL FROM:<>", "250");
        wire.ask("RSET", "250");
    }
    told(wire.say("MAIL FROM:<>").reply(), "450 4.7.1", "messages");

    let door = limited("recipients = 1");
    let (mut wire, _) = Wire::greeted(door.mx());
    wire.ask("MAIL FROM:<>", "250");
    for _ in 0..5 {
        wire.ask("RCPT TO:<me@here.example>", "250");
    }
    told(wire.say("RCPT TO:<me@here.example>").reply(), "450 4.7.1", "recipients");
    // Those who were taken get their letter.
    wire.ask("DATA", "354");
    assert!(wire.message(&letter(FRIEND, ME, "five")).reply().starts_with("250"));

    let door = limited("errors = 1");
    let (mut wire, _) = Wire::greeted(door.mx());
    for _ in 0..5 {
        wire.ask("WHAT", "500");
    }
    told(Wire::connect(door.mx()).reply(), "421 4.7.0", "errors");

    let door = limited("octets = 1");
    told(Wire::greeted(door.mx()).0.say("MAIL FROM:<>").reply(), "450 4.7.1", "octets");

    // On loopback there is no rate unless it is asked for; and at the owner's door there is none.
    let door = server(&dns, "per_minute.connections = 1");
    for _ in 0..10 {
        Wire::connect(door.mx()).expect("220");
    }
    let door = limited("connections = 1");
    for _ in 0..10 {
        Wire::connect(door.submission()).expect("220");
    }
}

#[test]
fn one_octet_at_a_time_ends() {
    let dns = Dns::start(ZONE);
    let server = server(&dns, "command_timeout = 1");
    let slow = begun(from(Ipv4Addr::LOCALHOST, server.mx()));
    let mut chatting = Wire::greeted(server.mx()).0;
    let mut writing = slow.try_clone().unwrap();
    let told = std::thread::spawn(move || line(&slow));
    let deadline = Instant::now() + PATIENCE;
    // Each octet and each command comes long before its own time is over.
    let mut ended = String::new();
    while (!told.is_finished() || ended.is_empty()) && Instant::now() < deadline {
        let _ = writing.write_all(b"x");
        if ended.is_empty() {
            let reply = chatting.say("NOOP").reply_or_reset().unwrap_or_default();
            if !reply.starts_with("250") {
                ended = reply;
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert!(told.is_finished() && !ended.is_empty(), "somebody is still there: {ended}");
    let told = told.join().unwrap();
    // A reset may have taken the words away; the log has them.
    assert!(told.is_empty() || told.starts_with("421 4.4.2 the message comes too slowly"), "{told}");
    assert!(server.log().contains("the message comes too slowly"));
    assert!(server.log().contains("for too long without a letter"));
    assert!(server.letters("here.example/me").is_empty());
}

/// A store with room for 3 MiB and 200 files.
fn small_store(dns: &Dns, limits: &str) -> Server {
    let mount = "mount -t tmpfs -o size=3m,nr_inodes=200,mode=700 tmpfs \"$MAIL\"; mkdir -p \"$MAIL/here.example/me\"";
    Plan::new("mx.here.example", &[]).with(&format!("[limits]\n{limits}")).inside(mount).start(dns)
}

#[test]
fn the_size_that_was_declared_is_asked_for_at_rcpt_and_the_true_one_at_the_dot() {
    let dns = Dns::start(ZONE);
    let server = small_store(&dns, "free_space = 2097152");
    let (mut wire, _) = Wire::greeted(server.mx());
    wire.ask("MAIL FROM:<> SIZE=500000", "250");
    wire.ask("RCPT TO:<me@here.example>", "250");
    wire.ask("RSET", "250");
    wire.ask("MAIL FROM:<> SIZE=1500000", "250");
    wire.ask("RCPT TO:<me@here.example>", "452 4.3.1");
    wire.ask("RSET", "250");
    let large = [&letter(FRIEND, ME, "large")[..], b"0123456789\r\n".repeat(125_000).as_slice()].concat();
    let reply = wire.transact(FRIEND, &[ME], &large);
    assert!(reply.starts_with("452 4.3.1"), "{reply}");
    let reply = wire.transact(FRIEND, &[ME], &letter(FRIEND, ME, "small"));
    assert!(reply.starts_with("250"), "{reply}");
    server.inside("test $(ls \"$MAIL/here.example/me/new\" | wc -l) = 1");
    server.inside("test -z \"$(ls \"$MAIL/here.example/me/tmp\")\"");
}

#[test]
fn a_store_short_of_inodes_is_told_before_the_message() {
    let dns = Dns::start(ZONE);
    let server = small_store(&dns, "free_space = 0");
    let (mut wire, _) = Wire::greeted(server.mx());
    let to_rcpt = |wire: &mut Wire, prefix: &str| {
        wire.ask("MAIL FROM:<>", "250");
        wire.ask("RCPT TO:<me@here.example>", prefix);
    };
    to_rcpt(&mut wire, "250");
    // Some go between the question and the letter.
    server.inside(
        "mkdir \"$MAIL/full\"; i=0; while [ $i -lt 150 ]; do : > \"$MAIL/full/$i\"; i=$((i+1)); done",
    );
    wire.ask("DATA", "354");
    let reply = wire.message(&letter(FRIEND, ME, "no inode")).reply();
    assert!(reply.starts_with("452 4.3.1"), "{reply}");
    to_rcpt(&mut wire, "452 4.3.1");
    wire.ask("RSET", "250");
    server.inside("rm -r \"$MAIL/full\"");
    to_rcpt(&mut wire, "250");
}
