//! Hands strangers' letters to an mx door as fast as it takes them: made and signed beforehand, so that only the door is
//! measured.
//!
//! `strangers ZONE TO OCTETS DOMAINS`: writes to the file ZONE what DNS must say, makes a letter of each kind from each of so
//! many domains, and says `ready`. Then for each line `KIND DOMAINS ADDRESS CONNECTIONS EACH COUNT` on stdin it sends COUNT
//! letters of the kind, of so many domains in turn, EACH of them over a connection, and says how many seconds it took until
//! the last one was accepted. The kinds are in [`KINDS`].

#![allow(clippy::unwrap_used)] // A measurement that goes wrong shall end.

use pillarbox::mail::address::Domain;
use pillarbox::trust::keys::{Algorithm, PrivateKey, generate_pem};
use pillarbox::trust::sign::sign;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Instant;

/// What a domain does for its letters.
struct Kind {
    name: &'static str,
    spf: bool,
    signatures: usize,
    dmarc: bool,
}

const KINDS: [Kind; 5] = [
    Kind { name: "none", spf: false, signatures: 0, dmarc: false },
    Kind { name: "spf", spf: true, signatures: 0, dmarc: false },
    Kind { name: "dkim", spf: false, signatures: 1, dmarc: false },
    Kind { name: "all", spf: true, signatures: 1, dmarc: true },
    Kind { name: "ten", spf: true, signatures: 10, dmarc: true },
];

/// A letter, and what comes before it.
struct Parcel {
    envelope: String,
    content: Vec<u8>,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [zone, to, octets, domains] = args.as_slice() else { panic!("strangers ZONE TO OCTETS DOMAINS") };
    let (octets, domains): (usize, usize) = (octets.parse().unwrap(), domains.parse().unwrap());
    // The look-ups are what differs between the domains; they may share a key.
    let pem = generate_pem(Algorithm::Rsa2048).unwrap();
    std::fs::write(zone, records(&pem, domains)).unwrap();
    let parcels: Vec<Vec<Parcel>> = KINDS.iter().map(|kind| made(kind, &pem, to, octets, domains)).collect();
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let [kind, rest @ ..] = &line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let [domains, address, connections, each, count] = rest else { panic!("{line}") };
        let [domains, connections, each, count] =
            [domains, connections, each, count].map(|number| number.parse::<usize>().unwrap());
        let kind = KINDS.iter().position(|one| one.name == *kind).unwrap();
        let batch: Vec<&Parcel> = parcels[kind][..domains].iter().cycle().take(count).collect();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for share in batch.chunks(batch.len().div_ceil(connections)) {
                scope.spawn(|| share.chunks(each).for_each(|letters| send(address, letters)));
            }
        });
        println!("{:.4}", begun.elapsed().as_secs_f64());
    }
}

fn domain(kind: &Kind, n: usize) -> String {
    format!("{}{n}.there.example", kind.name)
}

fn keys(kind: &Kind, pem: &str, n: usize) -> Vec<PrivateKey> {
    let domain = Domain::parse(&domain(kind, n)).unwrap();
    let load = |s: usize| PrivateKey::from_pem(pem.as_bytes(), &format!("s{s}"), &domain).unwrap();
    (0..kind.signatures).map(load).collect()
}

/// Each SPF record leads to another one, as most do; each signature has a key of its own.
fn records(pem: &str, domains: usize) -> String {
    let mut zone = String::new();
    for kind in &KINDS {
        for n in 0..domains {
            let name = domain(kind, n);
            writeln!(zone, "{name}. 300 IN MX 10 mx.there.example.").unwrap();
            if kind.spf {
                writeln!(zone, "{name}. 300 IN TXT \"v=spf1 include:_spf.{name} -all\"").unwrap();
                writeln!(zone, "_spf.{name}. 300 IN TXT \"v=spf1 ip4:127.0.0.1 -all\"").unwrap();
            }
            if kind.dmarc {
                writeln!(zone, "_dmarc.{name}. 300 IN TXT \"v=DMARC1; p=reject\"").unwrap();
            }
            for key in keys(kind, pem, n) {
                let record = key.txt_record().unwrap();
                let (one, two) = record.split_at(200);
                writeln!(zone, "{}. 300 IN TXT \"{one}\" \"{two}\"", key.txt_name()).unwrap();
            }
        }
    }
    zone
}

fn made(kind: &Kind, pem: &str, to: &str, octets: usize, domains: usize) -> Vec<Parcel> {
    let threads = std::thread::available_parallelism().unwrap().get();
    let numbers: Vec<usize> = (0..domains).collect();
    std::thread::scope(|scope| {
        let shares: Vec<_> = numbers
            .chunks(domains.div_ceil(threads))
            .map(|share| {
                scope.spawn(|| share.iter().map(|n| parcel(kind, pem, to, octets, *n)).collect::<Vec<_>>())
            })
            .collect();
        shares.into_iter().flat_map(|share| share.join().unwrap()).collect()
    })
}

fn parcel(kind: &Kind, pem: &str, to: &str, octets: usize, n: usize) -> Parcel {
    let from = format!("you@{}", domain(kind, n));
    let mut plain = format!(
        "From: {from}\r\nTo: {to}\r\nSubject: a measurement\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\
         Message-ID: <{n}@there.example>\r\n\r\n"
    );
    while plain.len() < octets {
        plain.push_str("All work and no play makes Jack a dull boy. 0123456789 0123456789\r\n");
    }
    let keys = keys(kind, pem, n);
    let mut content = match keys.is_empty() {
        true => Vec::new(),
        false => sign(plain.as_bytes(), &keys.iter().collect::<Vec<_>>()).unwrap(),
    };
    content.extend(plain.as_bytes());
    content.extend(b".\r\n");
    Parcel { envelope: format!("MAIL FROM:<{from}>\r\nRCPT TO:<{to}>\r\nDATA\r\n"), content }
}

/// One connection, one letter after another.
fn send(address: &str, parcels: &[&Parcel]) {
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
    wire.write_all(b"EHLO mx.there.example\r\n").unwrap();
    expect("250");
    for parcel in parcels {
        wire.write_all(parcel.envelope.as_bytes()).unwrap();
        expect("250");
        expect("250");
        expect("354");
        wire.write_all(&parcel.content).unwrap();
        expect("250");
    }
    wire.write_all(b"QUIT\r\n").unwrap();
    expect("221");
}
