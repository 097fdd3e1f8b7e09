//! Strangers who make the server work for them: by names that have no end or no answer, by lines in the log, by not listening.

mod harness;

use harness::wire::Wire;
use harness::{Plan, Server, eventually};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};

const ME: &str = "me@here.example";

/// A name server that gives no answer for names with `dead` in them, says NXDOMAIN to the others, and MX for `*.example` itself.
struct Silent {
    address: SocketAddr,
    unanswered: Arc<Mutex<BTreeSet<String>>>,
}

impl Silent {
    fn start() -> Silent {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let silent = Silent { address: socket.local_addr().unwrap(), unanswered: Arc::default() };
        let unanswered = Arc::clone(&silent.unanswered);
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let (name, end) = name_of(&buffer[..length]);
                if name.contains("dead") {
                    unanswered.lock().unwrap().insert(name);
                    continue;
                }
                let kind = buffer[end + 1];
                let exists = name.matches('.').count() == 1 && kind == 15;
                let mut answer = buffer[..2].to_vec();
                answer.extend([0x81, if exists { 0x80 } else { 0x83 }, 0, 1, 0, exists.into(), 0, 0, 0, 0]);
                answer.extend(&buffer[12..end + 4]);
                if exists {
                    // MX 10 mx.NAME, by a pointer to the question.
                    answer.extend([0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, 7, 0, 10, 2, b'm', b'x', 0xc0, 12]);
                }
                let _ = socket.send_to(&answer, from);
            }
        });
        silent
    }

    fn server(&self, more: &str) -> Server {
        let plan = Plan::new("mx.here.example", &[ME]).with(&format!("[limits]\nfree_space = 0\n{more}"));
        plan.start_with(&format!("[dns]\nservers = [\"{}\"]\n", self.address))
    }

    fn unanswered(&self) -> usize {
        self.unanswered.lock().unwrap().len()
    }
}

/// The name of a question in lower case, and where it ends.
fn name_of(question: &[u8]) -> (String, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while question[at] != 0 {
        let label = &question[at + 1..=at + usize::from(question[at])];
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += 1 + label.len();
    }
    (labels.join("."), at + 1)
}

/// Ten signatures and ten authors, whose names are all different and have no answer.
fn many_names() -> Vec<u8> {
    let authors: Vec<String> = (0..10).map(|n| format!("a@a.b.c.d.dead{n}.example")).collect();
    let signature = |n| {
        format!(
            "DKIM-Signature: v=1; a=rsa-sha256; d=dead-key{n}.example; s=x; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n"
        )
    };
    let signatures: String = (0..10).map(signature).collect();
    format!("From: {}\r\n{signatures}Subject: names\r\n\r\nHello.\r\n", authors.join(", ")).into_bytes()
}

fn envelope(wire: &mut Wire) {
    wire.ask("MAIL FROM:<friend@there.example>", "250");
    wire.ask(&format!("RCPT TO:<{ME}>"), "250");
    wire.ask("DATA", "354");
}

#[test]
fn one_stranger_has_four_questions_on_their_way_and_others_do_not_wait_for_them() {
    let dns = Silent::start();
    let server = dns.server("");
    let (mut greedy, _) = Wire::greeted(server.mx());
    envelope(&mut greedy);
    greedy.message(&many_names());
    eventually("the first questions", || (dns.unanswered() == 4).then_some(()));
    let (mut honest, _) = Wire::greeted(server.mx());
    envelope(&mut honest);
    let letter = b"From: friend@there.example\r\nSubject: honest\r\n\r\nHello.\r\n";
    assert!(honest.message(letter).reply().starts_with("250"));
    assert_eq!(dns.unanswered(), 4);
}

#[test]
fn a_letter_that_waits_for_dns_keeps_neither_a_newcomer_out_nor_the_server_from_its_end() {
    let dns = Silent::start();
    let mut server = dns.server("connections = 1");
    let begin = || {
        let (mut wire, _) = Wire::greeted(server.mx());
        envelope(&mut wire);
        wire.message(&many_names());
        wire
    };
    let mut waiting = begin();
    eventually("a place", || Wire::connect(server.mx()).reply().starts_with("220").then_some(()));
    let told = waiting.expect("421 4.7.0");
    assert!(told.contains("takes long"), "{told}");
    let mut waiting = begin();
    assert!(server.terminate().success());
    waiting.expect("421 4.3.2");
    assert!(server.letters("here.example/me").is_empty());
}

#[test]
fn whoever_still_sends_when_the_last_word_is_said_is_not_reset() {
    let dns = Silent::start();
    let server = dns.server("");
    let mut stream = TcpStream::connect(server.mx()).unwrap();
    stream.set_read_timeout(Some(harness::PATIENCE)).unwrap();
    assert!(stream.read(&mut [0; 512]).unwrap() > 0);
    stream.write_all(b"NOOP\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with('5') && said.contains("\r\n421 "), "{said}");
    // Here it is known that it was said; a client that fills its buffers first would hear of a reset only.
    for _ in 0..100 {
        stream.write_all(&[b'x'; 1024]).unwrap();
    }
}

#[test]
fn many_refused_recipients_fill_no_log_and_a_few_are_all_told() {
    let dns = Silent::start();
    let server = dns.server("");
    for session in 0..6 {
        let (mut wire, _) = Wire::greeted(server.mx());
        wire.ask("MAIL FROM:<friend@there.example>", "250");
        // The tarpit begins with the sixth.
        for n in 0..5 {
            wire.ask(&format!("RCPT TO:<nobody{session}{n}@here.example>"), "550 5.1.1");
        }
        wire.ask("RSET", "250");
        wire.ask("MAIL FROM:<friend@there.example>", "250");
        wire.ask(&format!("RCPT TO:<{ME}>"), "250");
        wire.ask("DATA", "354");
        assert!(wire.raw(b"a\nb\r\n.\r\n").reply().starts_with('5'));
    }
    let log = server.log();
    let lines = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines("refused at RCPT"), 10, "{log}");
    assert!((0..5).all(|n| log.contains(&format!("nobody0{n}"))));
    assert_eq!(lines("refused: too large"), 6);
}
