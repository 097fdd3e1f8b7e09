use super::*;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, SOA, TXT};
use hickory_proto::rr::{LowerName, Record};
use hickory_server::Server;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use std::sync::Arc;

/// An authority for `test.` on loopback, UDP and TCP; it refuses every other name, which is a fault to the asker.
pub(crate) struct Authority {
    _server: Server<Catalog>,
    pub(crate) address: SocketAddr,
    pub(crate) dns: Dns,
}

impl Authority {
    pub(crate) async fn start(records: &[(&str, RData)]) -> Authority {
        Authority::of(records.iter().map(|(owner, data)| (name(owner), data.clone()))).await
    }

    /// The same, with names that cannot be written as host names are.
    pub(crate) async fn of(records: impl IntoIterator<Item = (Name, RData)>) -> Authority {
        let origin = name("test.");
        let mut zone = InMemoryZoneHandler::<TokioRuntimeProvider>::empty(
            origin.clone(),
            ZoneType::Primary,
            AxfrPolicy::Deny,
            None,
        );
        let soa = SOA::new(name("ns.test."), name("root.test."), 1, 3600, 600, 86400, 60);
        zone.upsert_mut(Record::from_rdata(origin.clone(), 60, RData::SOA(soa)), 1);
        for (owner, data) in records {
            assert!(zone.upsert_mut(Record::from_rdata(owner.clone(), 60, data), 1), "{owner}");
        }
        Authority::serve(origin, zone).await
    }

    pub(crate) async fn serve(origin: Name, zone: InMemoryZoneHandler<TokioRuntimeProvider>) -> Authority {
        let mut catalog = Catalog::new();
        catalog.upsert(LowerName::from(origin), vec![Arc::new(zone)]);
        let mut server = Server::new(catalog);
        let (udp, tcp) = sockets().await;
        let address = udp.local_addr().unwrap();
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 32);
        let dns = Dns::new(&config::Dns { servers: vec![address], ..config::Dns::default() }).unwrap();
        Authority { _server: server, address, dns }
    }
}

/// Both sockets on one port, whichever is free in both families of transport.
pub(crate) async fn sockets() -> (tokio::net::UdpSocket, tokio::net::TcpListener) {
    for _ in 0..50 {
        let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = tokio::net::TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port free for both UDP and TCP");
}

pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub(crate) fn mx(preference: u16, host: &str) -> RData {
    RData::MX(MX::new(preference, name(host)))
}

pub(crate) fn a(text: &str) -> RData {
    RData::A(A(text.parse().unwrap()))
}

fn aaaa(text: &str) -> RData {
    RData::AAAA(AAAA(text.parse().unwrap()))
}

pub(crate) fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

#[tokio::test]
async fn mail_hosts_tells_the_kinds_of_domains_apart() {
    let authority = Authority::start(&[
        ("two.test.", mx(20, "b.test.")),
        ("two.test.", mx(10, "a.test.")),
        ("plain.test.", a("192.0.2.1")),
        ("six.test.", aaaa("2001:db8::1")),
        ("null.test.", mx(0, ".")),
        ("text.test.", RData::TXT(TXT::new(vec!["hello".into()]))),
        ("alias.test.", RData::CNAME(CNAME(name("two.test.")))),
    ])
    .await;
    let ask = async |text: &str| authority.dns.mail_hosts(&domain(text)).await;

    let two = MailHosts::Mx(vec![
        Mx { preference: 10, host: domain("a.test") },
        Mx { preference: 20, host: domain("b.test") },
    ]);
    assert_eq!(ask("two.test").await.unwrap(), two);
    assert_eq!(ask("alias.test").await.unwrap(), two, "a CNAME is followed");
    assert_eq!(ask("plain.test").await.unwrap(), MailHosts::Implicit);
    assert_eq!(ask("six.test").await.unwrap(), MailHosts::Implicit);
    assert_eq!(ask("null.test").await.unwrap(), MailHosts::NullMx);
    assert_eq!(ask("text.test").await.unwrap(), MailHosts::NoHosts);
    assert_eq!(ask("nobody.test").await.unwrap(), MailHosts::NoDomain);
    let fault = ask("elsewhere.example").await.unwrap_err();
    assert!(fault.0.contains("elsewhere.example"), "{fault}");
}

#[tokio::test]
async fn mx_hosts_that_are_no_names_are_dropped() {
    let odd = Name::from_labels([&b"a b;$(c)"[..], b"test"]).unwrap();
    let authority = Authority::start(&[
        ("mixed.test.", RData::MX(MX::new(5, odd.clone()))),
        ("mixed.test.", mx(7, ".")),
        ("mixed.test.", mx(10, "a.test.")),
        ("odd.test.", RData::MX(MX::new(5, odd))),
    ])
    .await;
    let mixed = authority.dns.mail_hosts(&domain("mixed.test")).await.unwrap();
    assert_eq!(mixed, MailHosts::Mx(vec![Mx { preference: 10, host: domain("a.test") }]));
    assert_eq!(authority.dns.mail_hosts(&domain("odd.test")).await.unwrap(), MailHosts::NoHosts);
}

#[tokio::test]
async fn addresses_of_both_families_and_of_none() {
    let authority = Authority::start(&[
        ("both.test.", aaaa("2001:db8::1")),
        ("both.test.", a("192.0.2.1")),
        ("text.test.", RData::TXT(TXT::new(vec!["hello".into()]))),
    ])
    .await;
    let ask = async |text: &str| authority.dns.addresses(&domain(text)).await;
    let both: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    assert_eq!(ask("both.test").await.unwrap(), both);
    assert!(ask("text.test").await.unwrap().is_empty());
    assert!(ask("nobody.test").await.unwrap().is_empty());
    assert!(ask("elsewhere.example").await.is_err());
}

#[tokio::test]
async fn a_text_longer_than_a_datagram_comes_whole() {
    let strings: Vec<String> = (0..30).map(|i| char::from(b'a' + i % 26).to_string().repeat(200)).collect();
    let authority = Authority::start(&[
        ("x7f3._domainkey.me.test.", RData::TXT(TXT::new(strings.clone()))),
        ("me.test.", a("192.0.2.1")),
    ])
    .await;
    assert_eq!(authority.dns.txt("x7f3._domainkey.me.test").await.unwrap(), [strings.concat()]);
    assert!(authority.dns.txt("me.test").await.unwrap().is_empty());
    assert!(authority.dns.txt("nobody.test").await.unwrap().is_empty());
    assert!(authority.dns.txt(&format!("{}.test", "x".repeat(64))).await.unwrap().is_empty());
    assert!(authority.dns.txt("elsewhere.example").await.is_err());
}

#[tokio::test]
async fn a_dead_server_is_a_fault_not_a_denial() {
    let (udp, tcp) = sockets().await;
    let address = udp.local_addr().unwrap();
    drop((udp, tcp));
    let dns = Dns::new(&config::Dns { servers: vec![address], ..config::Dns::default() }).unwrap();
    let me = domain("me.test");
    let asked = std::time::Instant::now();
    let (hosts, addresses, texts) = tokio::join!(dns.mail_hosts(&me), dns.addresses(&me), dns.txt("me.test"));
    assert!(hosts.is_err() && addresses.is_err() && texts.is_err());
    assert!(asked.elapsed() < 3 * TRY, "two tries, then the fault: {:?}", asked.elapsed());
}
