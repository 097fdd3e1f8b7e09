//! SPF against a hostile zone: whatever its records say, the check ends, asks no more than was derived, says the same twice, and
//! what it reports fits a log.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::net::dns::DnsError;
use pillarbox::policy::spf::{SpfEvidence, SpfIdentity, SpfResult};
use pillarbox::trust::spf::{Names, QUESTIONS_MAX, Question, check_helo, check_name};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

// The local part, the name in HELO, and what DNS has, with NUL between them; the first octet chooses the client.
fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else { return };
    let mut parts = input.split(|octet| *octet == 0);
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (local, helo) = (text(), text());
    let zone = Zone { texts: parts.map(<[u8]>::to_vec).collect(), asked: AtomicUsize::new(0) };
    let ip: IpAddr =
        if first & 1 == 0 { Ipv4Addr::new(192, 0, 2, *first).into() } else { Ipv6Addr::LOCALHOST.into() };
    let question =
        Question { ip, helo: &helo, sender: None, receiver: "mx.here.example", now: 1_800_000_000 };
    for identity in [SpfIdentity::MailFrom, SpfIdentity::Helo] {
        let ask = || {
            zone.asked.store(0, Ordering::Relaxed);
            match identity {
                SpfIdentity::MailFrom => now(check_name(&zone, &question, identity, &local, "a.example")),
                SpfIdentity::Helo => now(check_helo(&zone, &question)),
            }
        };
        let evidence = ask();
        assert!(zone.asked.load(Ordering::Relaxed) <= QUESTIONS_MAX, "too many questions");
        assert_eq!(evidence, ask());
        check(&evidence);
    }
});

fn check(evidence: &SpfEvidence) {
    let line =
        |text: &str, most| text.len() <= most && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    assert!(!evidence.why.is_empty() && line(&evidence.why, 600), "{:?}", evidence.why);
    assert!(line(&evidence.domain, 200), "{:?}", evidence.domain);
    assert!(evidence.steps.len() <= 201 && evidence.steps.iter().all(|step| line(step, 200)));
    if let Some(words) = &evidence.explanation {
        assert!(evidence.result == SpfResult::Fail && line(words, 500), "{words:?}");
    }
}

/// Each name has one of the texts, chosen by the name, as its TXT record; the last one has two. Hosts are picked likewise.
struct Zone {
    texts: Vec<Vec<u8>>,
    asked: AtomicUsize,
}

impl Zone {
    fn pick(&self, name: &str) -> u8 {
        self.asked.fetch_add(1, Ordering::Relaxed);
        name.bytes().fold(7, |sum: u8, octet| sum.wrapping_mul(31).wrapping_add(octet.to_ascii_lowercase()))
    }
}

impl Names for Zone {
    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        let pick = usize::from(self.pick(name));
        match self.texts.len() {
            0 => Err(DnsError("none".into())),
            count if pick % 16 == 15 => {
                Ok(self.texts.iter().skip(count - 1).cycle().take(2).cloned().collect())
            }
            count => Ok(vec![self.texts[pick % count].clone()]),
        }
    }
    async fn ipv4(&self, name: &str) -> Result<Vec<Ipv4Addr>, DnsError> {
        match self.pick(name) {
            pick if pick % 8 == 0 => Ok(Vec::new()),
            pick if pick % 8 == 1 => Err(DnsError("none".into())),
            pick => Ok(vec![Ipv4Addr::new(192, 0, 2, pick)]),
        }
    }
    async fn ipv6(&self, name: &str) -> Result<Vec<Ipv6Addr>, DnsError> {
        Ok(vec![if self.pick(name) % 2 == 0 { Ipv6Addr::LOCALHOST } else { Ipv6Addr::UNSPECIFIED }])
    }
    async fn exchanges(&self, name: &str) -> Result<Vec<String>, DnsError> {
        Ok((0..self.pick(name) % 16).map(|n| format!("mx{n}.{name}")).collect())
    }
    async fn names_of(&self, ip: IpAddr) -> Result<Vec<String>, DnsError> {
        Ok((0..self.pick(&ip.to_string()) % 16).map(|n| format!("host{n}.a.example")).collect())
    }
}

/// Nothing here waits for anything.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing waits"),
    }
}
