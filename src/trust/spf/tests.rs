use super::*;
use crate::net::dns::tests::{Authority, a, name};
use hickory_resolver::proto::rr::rdata::{MX, TXT};
use hickory_resolver::proto::rr::{Name, RData};
use std::sync::Mutex;

/// Records by name (in presentation format) and type; `?` is a fault. Keeps what it was asked.
pub(super) struct Table {
    rows: Vec<[String; 3]>,
    asked: Mutex<Vec<String>>,
}

impl Table {
    pub fn new(rows: &[[&str; 3]]) -> Table {
        let rows = rows.iter().map(|row| row.map(str::to_owned)).collect();
        Table { rows, asked: Mutex::default() }
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn find(&self, name: &str, kind: &str) -> Result<Vec<String>, DnsError> {
        self.asked.lock().unwrap().push(format!("{kind} {name}"));
        let here = self.rows.iter().filter(|[at, what, _]| at.eq_ignore_ascii_case(name) && what == kind);
        let values: Vec<String> = here.map(|[_, _, value]| value.clone()).collect();
        if values.iter().any(|value| value == "?") { Err(DnsError("no answer".into())) } else { Ok(values) }
    }

    fn addresses<A: std::str::FromStr>(&self, name: &str, kind: &str) -> Result<Vec<A>, DnsError> {
        Ok(self.find(name, kind)?.iter().filter_map(|value| value.parse().ok()).collect())
    }
}

impl Names for Table {
    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        Ok(self.find(name, "TXT")?.into_iter().map(String::into_bytes).collect())
    }
    async fn ipv4(&self, name: &str) -> Result<Vec<Ipv4Addr>, DnsError> {
        self.addresses(name, "A")
    }
    async fn ipv6(&self, name: &str) -> Result<Vec<Ipv6Addr>, DnsError> {
        self.addresses(name, "AAAA")
    }
    async fn exchanges(&self, name: &str) -> Result<Vec<String>, DnsError> {
        self.find(name, "MX")
    }
    async fn names_of(&self, ip: IpAddr) -> Result<Vec<String>, DnsError> {
        self.find(&ip.to_string(), "PTR")
    }
}

/// What is said of a letter from `sender` (`<>` where it is empty), by a client that calls itself mail.example.net.
pub(super) async fn ask(names: &impl Names, ip: &str, sender: &str) -> SpfEvidence {
    let sender = (!sender.is_empty()).then(|| Address::parse(sender).unwrap());
    let question = Question {
        ip: ip.parse().unwrap(),
        helo: "mail.example.net",
        sender: sender.as_ref(),
        receiver: "mx.here.example",
        now: 1_800_000_000,
    };
    check_host(names, &question).await
}

#[tokio::test]
async fn the_simple_examples_of_the_rfc() {
    // RFC 7208 appendix A.1: a record, who passes, who fails.
    let zone = |record| {
        let mut rows = vec![["example.com", "TXT", record]];
        rows.extend([
            ["example.com", "MX", "mail-a.example.com"],
            ["example.com", "MX", "mail-b.example.com"],
            ["example.com", "A", "192.0.2.10"],
            ["example.com", "A", "192.0.2.11"],
            ["amy.example.com", "A", "192.0.2.65"],
            ["bob.example.com", "A", "192.0.2.66"],
            ["mail-a.example.com", "A", "192.0.2.129"],
            ["mail-b.example.com", "A", "192.0.2.130"],
            ["example.org", "MX", "mail-c.example.org"],
            ["mail-c.example.org", "A", "192.0.2.140"],
            ["192.0.2.10", "PTR", "example.com"],
            ["192.0.2.65", "PTR", "amy.example.com"],
            ["192.0.2.140", "PTR", "mail-c.example.org"],
            ["10.0.0.4", "PTR", "bob.example.com"],
        ]);
        Table::new(&rows)
    };
    let table: &[(&str, &[&str], &[&str])] = &[
        ("v=spf1 +all", &["192.0.2.129", "2001:db8::1"], &[]),
        ("v=spf1 a -all", &["192.0.2.10", "192.0.2.11"], &["192.0.2.12", "2001:db8::1"]),
        ("v=spf1 a:example.org -all", &[], &["192.0.2.140", "192.0.2.10"]),
        ("v=spf1 mx -all", &["192.0.2.129", "192.0.2.130"], &["192.0.2.10"]),
        ("v=spf1 mx:example.org -all", &["192.0.2.140"], &["192.0.2.129"]),
        ("v=spf1 mx mx:example.org -all", &["192.0.2.130", "192.0.2.140"], &["192.0.2.10"]),
        ("v=spf1 mx/30 mx:example.org/30 -all", &["192.0.2.131", "192.0.2.143"], &["192.0.2.132"]),
        ("v=spf1 ptr -all", &["192.0.2.65", "192.0.2.10"], &["192.0.2.140", "10.0.0.4"]),
        ("v=spf1 ip4:192.0.2.128/28 -all", &["192.0.2.129"], &["192.0.2.65", "::ffff:192.0.2.65"]),
    ];
    for (record, pass, fail) in table {
        for (ips, wanted) in [(pass, SpfResult::Pass), (fail, SpfResult::Fail)] {
            for ip in *ips {
                let evidence = ask(&zone(record), ip, "me@example.com").await;
                assert_eq!(evidence.result, wanted, "{record} for {ip}: {evidence:?}");
                assert_eq!(evidence.passes(), wanted == SpfResult::Pass);
            }
        }
    }
}

#[tokio::test]
async fn the_null_sender_asks_the_name_in_helo() {
    let rows = [["mail.example.net", "TXT", "v=spf1 exists:%{l}.%{o}.%{h} -all"]];
    let table = Table::new(&rows);
    let evidence = ask(&table, "192.0.2.1", "").await;
    assert_eq!((evidence.result, evidence.identity), (SpfResult::Fail, SpfIdentity::Helo));
    assert_eq!(evidence.domain, "mail.example.net");
    let asked = ["TXT mail.example.net", "A postmaster.mail.example.net.mail.example.net"];
    assert_eq!(table.asked(), asked);
    let evidence = ask(&table, "192.0.2.1", "me@Mail.Example.NET").await;
    assert_eq!(evidence.identity, SpfIdentity::MailFrom);
    assert_eq!(evidence.domain, "mail.example.net");
}

#[tokio::test]
async fn what_is_no_domain_is_not_asked_about() {
    for helo in [
        "",
        "localhost",
        "[192.0.2.1]",
        "192.0.2.1",
        "a..example.org",
        "a b.example.org",
        "x.\u{1b}[31m",
        ".example.org",
    ] {
        let question = Question { ip: Ipv4Addr::LOCALHOST.into(), helo, sender: None, receiver: "", now: 0 };
        let table = Table::new(&[]);
        let evidence = check_host(&table, &question).await;
        assert_eq!(evidence.result, SpfResult::None, "{helo}");
        assert!(table.asked().is_empty(), "{helo}: {:?}", table.asked());
        assert!(!evidence.domain.contains('\u{1b}') && !evidence.why.contains('\u{1b}'));
    }
    let literal = ask(&Table::new(&[]), "192.0.2.1", "me@[192.0.2.1]").await;
    assert_eq!((literal.result, literal.identity), (SpfResult::None, SpfIdentity::MailFrom));
    // Names with an underscore are in use, and IDNA's are asked for as DNS has them.
    for (helo, name) in
        [("my_host.example.org", "my_host.example.org"), ("m\u{fc}ller.example", "xn--mller-kva.example")]
    {
        let question = Question { ip: Ipv4Addr::LOCALHOST.into(), helo, sender: None, receiver: "", now: 0 };
        let table = Table::new(&[]);
        assert_eq!(check_helo(&table, &question).await.result, SpfResult::None);
        assert_eq!(table.asked(), [format!("TXT {name}")]);
    }
}

#[tokio::test]
async fn dns_is_asked_for_names_that_no_host_has() {
    let odd = |label: &[u8]| Name::from_labels([label, b"me", b"test"]).unwrap();
    let text = |text: &str| RData::TXT(TXT::new(vec![text.into()]));
    let authority = Authority::of([
        (name("a.test."), text("v=spf1 a:foo:bar/b%_z.me.test -all")),
        (name("mx.test."), text("v=spf1 mx -all")),
        (name("mx.test."), RData::MX(MX::new(10, odd(b"x\\.y:z")))),
        (name("raw.test."), RData::TXT(TXT::from_bytes(vec![b"v=spf1 ", b"\x96all"]))),
        (odd(b"foo:bar/b z"), a("192.0.2.1")),
        (odd(b"x\\.y:z"), a("192.0.2.1")),
    ])
    .await;
    for (sender, wanted) in [
        ("me@a.test", SpfResult::Pass),
        ("me@mx.test", SpfResult::Pass),
        ("me@raw.test", SpfResult::PermError),
        ("me@none.test", SpfResult::None),
        ("me@elsewhere.example", SpfResult::TempError),
    ] {
        let evidence = ask(&Within::new(&authority.dns, PATIENCE), "192.0.2.1", sender).await;
        assert_eq!(evidence.result, wanted, "{sender}: {evidence:?}");
    }
}

/// Never answers.
struct Silence;

impl Names for Silence {
    async fn txt(&self, _: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        std::future::pending().await
    }
    async fn ipv4(&self, _: &str) -> Result<Vec<Ipv4Addr>, DnsError> {
        std::future::pending().await
    }
    async fn ipv6(&self, _: &str) -> Result<Vec<Ipv6Addr>, DnsError> {
        std::future::pending().await
    }
    async fn exchanges(&self, _: &str) -> Result<Vec<String>, DnsError> {
        std::future::pending().await
    }
    async fn names_of(&self, _: IpAddr) -> Result<Vec<String>, DnsError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn patience_ends_in_a_temporary_error() {
    let evidence = ask(&Within::new(&Silence, Duration::ZERO), "192.0.2.1", "me@example.org").await;
    assert_eq!(evidence.result, SpfResult::TempError);
    assert!(evidence.why.contains("time for this check is up"), "{}", evidence.why);
}

#[test]
fn lines_are_printable_and_cut() {
    assert_eq!(printable("a\r\nb\u{7f}\u{e4} c"), "a??b?? c");
    assert_eq!(printable(&"x".repeat(LINE_MAX)), "x".repeat(LINE_MAX));
    let cut = printable(&"x".repeat(LINE_MAX + 1));
    assert!(cut.len() == LINE_MAX && cut.ends_with("x..."), "{cut}");
}
