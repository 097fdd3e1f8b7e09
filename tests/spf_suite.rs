//! The openspf test suite for RFC 7208, every case of it, against a table that stands for its zones. The suite comes with
//! Debian's pyspf; `tests/install` unpacks it.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

use pillarbox::net::dns::DnsError;
use pillarbox::policy::spf::{SpfEvidence, SpfIdentity};
use pillarbox::trust::spf::{Names, QUESTIONS_MAX, Question, check_helo, check_name};
use saphyr::{LoadableYamlNode, Yaml};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cases of which we think otherwise, with the clause that says why; at most five.
const DIFFERENCES: &[(&str, &str)] = &[];

/// How many cases the suite has: one that lost half of them must not pass for whole.
const CASES: usize = 203;

#[tokio::test]
async fn the_openspf_suite() {
    let text = suite();
    let documents = Yaml::load_from_str(&text).unwrap();
    let mut faults = Vec::new();
    let mut run = 0;
    for scenario in &documents {
        let zone = Zone::of(&scenario["zonedata"]);
        for (name, case) in scenario["tests"].as_mapping().unwrap() {
            let name = name.as_str().unwrap();
            run += 1;
            zone.asked.store(0, Ordering::Relaxed);
            let evidence = ask(&zone, case).await;
            let differs = fault(case, &evidence);
            let known = DIFFERENCES.iter().any(|(known, _)| *known == name);
            if differs.is_some() != known {
                let what = differs.unwrap_or_else(|| "agrees, against DIFFERENCES".into());
                faults.push(format!("{name}: {what} ({})", evidence.why));
            }
            assert!(zone.asked.load(Ordering::Relaxed) <= QUESTIONS_MAX, "{name} asks too much");
            assert!(!evidence.why.is_empty() && evidence.why.is_ascii(), "{name}: {}", evidence.why);
        }
    }
    assert!(faults.is_empty(), "{} of {run} cases:\n{}", faults.len(), faults.join("\n"));
    assert_eq!(run, CASES);
}

fn suite() -> String {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(target).join("corpora/pyspf/test/rfc7208-tests.yml");
    let remedy = |error| panic!("{}: {error}; run: sh tests/install", path.display());
    std::fs::read_to_string(&path).unwrap_or_else(remedy)
}

async fn ask(zone: &Zone, case: &Yaml<'_>) -> SpfEvidence {
    let field = |name: &str| case[name].as_str().unwrap_or_default();
    let question = Question {
        ip: field("host").parse().unwrap(),
        helo: field("helo"),
        sender: None,
        receiver: "receiver.example.net",
        now: 1_800_000_000,
    };
    match field("mailfrom").rsplit_once('@') {
        Some((local, domain)) => check_name(zone, &question, SpfIdentity::MailFrom, local, domain).await,
        None => check_helo(zone, &question).await,
    }
}

/// What is other than the case wants it.
fn fault(case: &Yaml<'_>, evidence: &SpfEvidence) -> Option<String> {
    let result = evidence.result.word();
    let wanted: Vec<&str> = match case["result"].as_vec() {
        Some(any) => any.iter().map(|one| one.as_str().unwrap()).collect(),
        None => vec![case["result"].as_str().unwrap()],
    };
    if !wanted.contains(&result) {
        return Some(format!("{result}, not {}", wanted.join(" or ")));
    }
    // The suite has what a receiver says of its own accord as DEFAULT; we say nothing then.
    let wanted = case.as_mapping_get("explanation").and_then(Yaml::as_str)?;
    let said = evidence.explanation.as_deref().unwrap_or("DEFAULT");
    (said != wanted).then(|| format!("explained by {said:?}, not {wanted:?}"))
}

/// The zones of one scenario, by names in lower case and in presentation format.
struct Zone {
    records: BTreeMap<String, Vec<Record>>,
    asked: AtomicUsize,
}

enum Record {
    Txt(Vec<u8>),
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Mx(i64, String),
    Ptr(String),
    Cname(String),
    /// What is not there has no answer.
    Timeout,
}

impl Zone {
    fn of(data: &Yaml<'_>) -> Zone {
        let records = data.as_mapping().unwrap().iter();
        let records = records.map(|(name, list)| (shown(name.as_str().unwrap()), records_of(list)));
        Zone { records: records.collect(), asked: AtomicUsize::new(0) }
    }

    /// What `pick` finds at a name, or where its aliases lead.
    fn find<T>(&self, name: &str, pick: impl Fn(&Record) -> Option<T>) -> Result<Vec<T>, DnsError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut name = name.to_ascii_lowercase();
        for _ in 0..8 {
            let Some(records) = self.records.get(&name) else { return Ok(Vec::new()) };
            let found: Vec<T> = records.iter().filter_map(&pick).collect();
            if found.is_empty() && records.iter().any(|one| matches!(one, Record::Timeout)) {
                return Err(DnsError("time-out".into()));
            }
            let alias = records.iter().find_map(|one| match one {
                Record::Cname(alias) => Some(alias),
                _ => None,
            });
            match alias {
                Some(alias) => name = alias.clone(),
                None => return Ok(found),
            }
        }
        Err(DnsError("aliases without end".into()))
    }
}

impl Names for Zone {
    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        self.find(name, |record| if let Record::Txt(text) = record { Some(text.clone()) } else { None })
    }
    async fn ipv4(&self, name: &str) -> Result<Vec<Ipv4Addr>, DnsError> {
        self.find(name, |record| if let Record::A(ip) = record { Some(*ip) } else { None })
    }
    async fn ipv6(&self, name: &str) -> Result<Vec<Ipv6Addr>, DnsError> {
        self.find(name, |record| if let Record::Aaaa(ip) = record { Some(*ip) } else { None })
    }
    async fn exchanges(&self, name: &str) -> Result<Vec<String>, DnsError> {
        let pick = |record: &Record| match record {
            Record::Mx(preference, host) => Some((*preference, host.clone())),
            _ => None,
        };
        let mut found = self.find(name, pick)?;
        found.sort();
        Ok(found.into_iter().map(|(_, host)| host).collect())
    }
    async fn names_of(&self, ip: IpAddr) -> Result<Vec<String>, DnsError> {
        let reverse = match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(ip) => {
                let digits = ip.octets().into_iter().rev();
                let digits = digits.map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4));
                format!("{}ip6.arpa", digits.collect::<String>())
            }
        };
        self.find(&reverse, |record| if let Record::Ptr(name) = record { Some(name.clone()) } else { None })
    }
}

/// The suite's SPF records are meant for TXT too, unless the name has TXT records of its own (`NONE` is to have none).
fn records_of(list: &Yaml<'_>) -> Vec<Record> {
    let list = list.as_vec().unwrap();
    let all = || list.iter().filter_map(Yaml::as_mapping).flatten();
    let has_txt = all().any(|(kind, _)| kind.as_str() == Some("TXT"));
    let text_kind = if has_txt { "TXT" } else { "SPF" };
    let mut records = Vec::new();
    for (kind, value) in all() {
        match kind.as_str().unwrap() {
            kind if kind == text_kind && value.as_str() != Some("NONE") => {
                records.push(Record::Txt(octets(value)));
            }
            "TXT" | "SPF" => {}
            "A" => records.push(Record::A(value.as_str().unwrap().parse().unwrap())),
            "AAAA" => records.push(Record::Aaaa(value.as_str().unwrap().parse().unwrap())),
            "MX" => records.push(Record::Mx(value[0].as_integer().unwrap(), text(&value[1]))),
            "PTR" => records.push(Record::Ptr(text(value))),
            "CNAME" => records.push(Record::Cname(text(value))),
            other => panic!("a record of type {other}"),
        }
    }
    if list.iter().any(|one| one.as_str() == Some("TIMEOUT")) {
        records.push(Record::Timeout);
    }
    records
}

/// Strings are joined; the suite writes octets as the characters of their numbers.
fn octets(value: &Yaml<'_>) -> Vec<u8> {
    let strings: Vec<&str> = match value.as_vec() {
        Some(strings) => strings.iter().map(|one| one.as_str().unwrap()).collect(),
        None => vec![value.as_str().unwrap()],
    };
    strings.concat().chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

fn text(value: &Yaml<'_>) -> String {
    shown(value.as_str().unwrap())
}

fn shown(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase().replace(' ', "\\032")
}
