use super::super::tests::{Authority, a, domain, mx, name, sockets};
use super::super::{Dns, Known, MailHosts, Mx};
use super::*;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use hickory_proto::dnssec::crypto::EcdsaSigningKey;
use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::dnssec::{Algorithm, DnssecSigner, SigningKey};
use hickory_proto::rr::rdata::{CNAME, SOA, TLSA};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_server::dnssec::NxProofKind;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, ZoneType};
use rustls_pki_types::PrivatePkcs8KeyDer;
use std::io::Write;
use std::time::Duration;

/// A signed root with every name, and its key as an anchor.
async fn signed(records: &[(&str, RData)]) -> (Authority, tempfile::NamedTempFile) {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let der = PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec());
    let key = EcdsaSigningKey::from_pkcs8(&der, Algorithm::ECDSAP256SHA256).unwrap();
    let dnskey = DNSKEY::from_key(&key.to_public_key().unwrap());
    let mut anchor = tempfile::NamedTempFile::new().unwrap();
    writeln!(anchor, "; the root\n. 3600 IN DNSKEY {dnskey}").unwrap();

    let proof = Some(NxProofKind::Nsec);
    let mut zone = InMemoryZoneHandler::<TokioRuntimeProvider>::empty(
        Name::root(),
        ZoneType::Primary,
        AxfrPolicy::Deny,
        proof,
    );
    let soa = SOA::new(name("ns."), name("root."), 1, 3600, 600, 86400, 60);
    zone.upsert_mut(Record::from_rdata(Name::root(), 60, RData::SOA(soa)), 1);
    for (owner, data) in records {
        zone.upsert_mut(Record::from_rdata(name(owner), 60, data.clone()), 1);
    }
    zone.add_zone_signing_key_mut(DnssecSigner::new(
        dnskey,
        Box::new(key),
        Name::root(),
        Duration::from_secs(3600),
    ))
    .unwrap();
    zone.secure_zone_mut().unwrap();
    (Authority::serve(Name::root(), zone).await, anchor)
}

fn dns(server: SocketAddr, dnssec: Option<Dnssec>, anchors: Option<&std::path::Path>) -> Dns {
    let anchors = anchors.map(ToOwned::to_owned);
    Dns::new(&config::Dns { servers: vec![server], dnssec, anchors }).unwrap()
}

/// As for a server elsewhere, where nothing is configured.
fn unset(server: SocketAddr) -> Oracle {
    Oracle::Ourselves(Box::new(Validator::new(Upstream::new(vec![server]), Anchors::root(), false)))
}

fn tlsa() -> RData {
    RData::TLSA(TLSA::new(3.into(), 1.into(), 1.into(), vec![7; 32]))
}

#[tokio::test]
async fn answers_and_denials_below_an_anchor_are_secure() {
    let (authority, anchor) = signed(&[
        ("me.test.", mx(10, "a.test.")),
        ("a.test.", a("192.0.2.1")),
        ("_25._tcp.a.test.", tlsa()),
        ("alias.test.", RData::CNAME(CNAME(name("a.test.")))),
    ])
    .await;
    let dns = dns(authority.address, Some(Dnssec::Validate), Some(anchor.path()));
    let hosts = MailHosts::Mx(vec![Mx { preference: 10, host: domain("a.test") }]);
    assert_eq!(dns.route(&domain("me.test")).await.unwrap(), Known { value: hosts, secure: true });
    let nobody = Known { value: MailHosts::NoDomain, secure: true };
    assert_eq!(dns.route(&domain("nobody.test")).await.unwrap(), nobody);
    let alias = dns.locate(&domain("alias.test")).await.unwrap();
    assert_eq!((alias.secure, alias.alias), (true, Some(domain("a.test"))));
    let records = dns.tlsa(&domain("a.test"), 25).await.unwrap();
    assert_eq!((records.secure, records.value.len()), (true, 1));
    let none = dns.tlsa(&domain("a.test"), 26).await.unwrap();
    assert_eq!((none.secure, none.value.len()), (true, 0));
}

#[tokio::test]
async fn without_dnssec_one_insists_or_goes_on() {
    let authority = Authority::start(&[("me.test.", mx(10, "a.test."))]).await;
    let strict = dns(authority.address, Some(Dnssec::Validate), None);
    let error = strict.route(&domain("me.test")).await.unwrap_err();
    assert!(error.to_string().contains("install unbound"), "{error}");
    assert!(!unset(authority.address).vouches().await.unwrap());
    // A name server on this machine is believed; this one promises nothing.
    let route = authority.dns.route(&domain("me.test")).await.unwrap();
    assert!(matches!(route, Known { value: MailHosts::Mx(_), secure: false }), "{route:?}");
}

#[tokio::test]
async fn silence_is_not_the_absence_of_dnssec() {
    let (udp, tcp) = sockets().await;
    let server = udp.local_addr().unwrap();
    drop((udp, tcp));
    let error = unset(server).vouches().await.unwrap_err();
    assert!(error.to_string().contains("do not answer"), "{error}");
}

#[tokio::test]
async fn names_that_are_never_asked_for_do_not_exist() {
    let (authority, anchor) =
        signed(&[("hidden.onion.", a("192.0.2.1")), ("a.localhost.", a("192.0.2.1"))]).await;
    let dns = dns(authority.address, Some(Dnssec::Validate), Some(anchor.path()));
    for name in ["hidden.onion", "a.localhost"] {
        assert!(dns.locate(&domain(name)).await.unwrap().addresses.is_empty(), "{name}");
    }
}
