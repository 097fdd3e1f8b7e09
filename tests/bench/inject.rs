//! Hands letters to a submission door as fast as it takes them: sealed ones, made beforehand, so that only the door is
//! measured.
//!
//! `inject KEY FROM TO COUNT OCTETS`: the key is FROM's, in a PEM file named `SELECTOR@DOMAIN-dkim.pem`. Says `ready` when the
//! letters are made; then for each line `ADDRESS CONNECTIONS COUNT` on stdin it sends the next COUNT of them, and says
//! how many seconds it took until the last one was accepted.

#![allow(clippy::unwrap_used)] // A measurement that goes wrong shall end.

use pillarbox::mail::address::{Address, Domain};
use pillarbox::trust::keys::PrivateKey;
use pillarbox::trust::seal::{Seal, nonce, seal};
use pillarbox::trust::sign::sign;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const SERVER: &str = "mx.here.example";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [key, from, to, count, octets] = args.as_slice() else { panic!("inject KEY FROM TO COUNT OCTETS") };
    let (from, to) = (Address::parse(from).unwrap(), Address::parse(to).unwrap());
    let path = Path::new(key);
    let name = path.file_name().unwrap().to_str().unwrap().strip_suffix("-dkim.pem").unwrap();
    let (selector, domain) = name.split_once('@').unwrap();
    let key = PrivateKey::load(path, selector, &Domain::parse(domain).unwrap()).unwrap();
    let (count, octets): (usize, usize) = (count.parse().unwrap(), octets.parse().unwrap());
    let mut letters = made(&key, &from, &to, count, octets).into_iter();
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let [address, connections, count] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let connections: usize = connections.parse().unwrap();
        let batch: Vec<Vec<u8>> = letters.by_ref().take(count.parse().unwrap()).collect();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for share in batch.chunks(batch.len().div_ceil(connections)) {
                scope.spawn(|| send(address, &from, &to, share));
            }
        });
        println!("{:.4}", begun.elapsed().as_secs_f64());
    }
}

/// The letters as they stand on the wire, behind their envelopes.
fn made(key: &PrivateKey, from: &Address, to: &Address, count: usize, octets: usize) -> Vec<Vec<u8>> {
    let threads = std::thread::available_parallelism().unwrap().get();
    let mut letters = Vec::with_capacity(count);
    std::thread::scope(|scope| {
        let shares = (0..threads).map(|share| {
            scope.spawn(move || {
                (share..count).step_by(threads).map(|n| letter(key, from, to, n, octets)).collect::<Vec<_>>()
            })
        });
        for share in shares.collect::<Vec<_>>() {
            letters.extend(share.join().unwrap());
        }
    });
    letters
}

fn letter(key: &PrivateKey, from: &Address, to: &Address, n: usize, octets: usize) -> Vec<u8> {
    let mut plain = format!(
        "From: {from}\r\nTo: {to}\r\nSubject: letter {n}\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\
         Message-ID: <{n}@here.example>\r\n\r\n"
    );
    while plain.len() < octets {
        plain.push_str("All work and no play makes Jack a dull boy. 0123456789 0123456789\r\n");
    }
    let mut signed = sign(plain.as_bytes(), &[key]).unwrap();
    signed.extend(plain.as_bytes());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let said = Seal {
        time: i64::try_from(now).unwrap(),
        nonce: nonce().unwrap(),
        server: SERVER.into(),
        sender: from.clone(),
        recipients: vec![to.clone()],
    };
    let mut sealed = seal(&signed, &said, key).unwrap();
    sealed.extend(signed);
    sealed.extend(b".\r\n");
    sealed
}

/// One connection, one letter after another.
fn send(address: &str, from: &Address, to: &Address, letters: &[Vec<u8>]) {
    let mut wire = TcpStream::connect(address).unwrap();
    wire.set_nodelay(true).unwrap();
    let mut replies = BufReader::new(wire.try_clone().unwrap());
    let mut expect = |code: &str| {
        loop {
            let mut reply = String::new();
            assert!(replies.read_line(&mut reply).unwrap() > 0, "the connection ended, not {code}");
            if reply.as_bytes().get(3) != Some(&b'-') {
                assert!(reply.starts_with(code), "{reply}");
                return;
            }
        }
    };
    expect("220");
    wire.write_all(b"EHLO client.example\r\n").unwrap();
    expect("250");
    let envelope = format!("MAIL FROM:<{from}>\r\nRCPT TO:<{to}>\r\nDATA\r\n");
    for letter in letters {
        wire.write_all(envelope.as_bytes()).unwrap();
        expect("250");
        expect("250");
        expect("354");
        wire.write_all(letter).unwrap();
        expect("250");
    }
    wire.write_all(b"QUIT\r\n").unwrap();
}
