//! What connections must be before a letter goes over them: DANE, MTA-STS, `relay.tls`.

use super::street::{Authority, Certificate};
use super::*;
use crate::config::{DomainRules, TlsLevel};
use crate::policy::tls::Tlsa;

fn there() -> Names {
    Names::new(&["there.test MX 10 a.test", "a.test A 127.0.0.1"])
}

/// A record that wants exactly this certificate.
fn record(sha256: &[u8]) -> Tlsa {
    Tlsa { usage: 3, selector: 0, matching: 1, data: sha256.to_vec() }
}

/// With an authority that is believed.
fn believing(authority: &Authority, level: TlsLevel) -> impl FnOnce(&mut config::Relay) {
    let roots = authority.file();
    move |config| (config.roots, config.tls) = (roots, level)
}

/// A scene whose `there.test` has this policy.
async fn with_policy(names: Names, port: u16, authority: &Authority, mode: &str, mx: &str) -> Scene {
    let scene = Scene::with(names, port, believing(authority, TlsLevel::Opportunistic)).await;
    let now = crate::relay::unix_time();
    let policy = format!(
        r#"{{"version":1,"id":"1","fetched":{now},"policy":{{"mode":"{mode}","mx":["{mx}"],"max_age":86400}}}}"#
    );
    std::fs::write(scene.dir.path().join("state/mta-sts/there.test"), policy).unwrap();
    scene
}

#[tokio::test]
async fn opportunity_takes_what_there_is_and_says_what_it_was() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let go = async |server: Server, level| {
        let port = street::open(&[("127.0.0.1", &server)]).await;
        let trip = Scene::with(there(), port, believing(&known, level)).await.go().await;
        (trip, server)
    };
    let opportunistic = TlsLevel::Opportunistic;
    let (trip, _) = go(Server::new().starttls(&known.issue("a.test")), opportunistic).await;
    assert_fate(&trip, &["delivered", "(TLSv1.3 TLS13_AES_256_GCM_SHA384, verified)"]);
    let (trip, server) = go(Server::new().starttls(&unknown.issue("a.test")), opportunistic).await;
    assert_fate(&trip, &["delivered", "not verified: its certificate is signed by an unknown authority)"]);
    assert_eq!(server.connections(), 1);
    let (trip, _) = go(Server::new(), opportunistic).await;
    assert_fate(&trip, &["delivered", "(clear: not offered)"]);
    let (trip, server) = go(Server::new().garbage(), opportunistic).await;
    assert_fate(&trip, &["delivered", "(clear: TLS failed: "]);
    assert_eq!((server.connections(), server.letters()), (2, 1));
    let (trip, server) = go(Server::new().starttls(&known.issue("a.test")), TlsLevel::Off).await;
    assert_fate(&trip, &["delivered", "(clear: relay.tls is off)"]);
    assert!(!server.lines().contains(&"STARTTLS".to_owned()));
}

#[tokio::test]
async fn what_is_required_is_had_or_the_next_host_is_asked() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let bad = [
        (Server::new(), "does not offer STARTTLS"),
        (Server::new().garbage(), "a.test [127.0.0.1]: "),
        (Server::new().starttls(&unknown.issue("a.test")), "signed by an unknown authority"),
        (Server::new().starttls(&known.issue("b.test")), "its certificate is for b.test, not for a.test"),
    ];
    for (first, why) in bad {
        let port = street::open(&[("127.0.0.1", &first)]).await;
        let scene = Scene::with(two_hosts(), port, believing(&known, TlsLevel::Require)).await;
        let trip = scene.go().await;
        assert_fate(&trip, &["deferred: ", why, "relay.tls = \"require\" demands a right certificate"]);
        assert!(trip.unreachable.is_some());

        let second = Server::new().starttls(&known.issue("b.test"));
        let port = street::open(&[("127.0.0.1", &first), ("127.0.0.2", &second)]).await;
        let scene = Scene::with(two_hosts(), port, believing(&known, TlsLevel::Require)).await;
        assert_fate(&scene.go().await, &["delivered to b.test [127.0.0.2]", ", verified)"]);
        assert_eq!(first.letters(), 0);
    }
}

#[tokio::test]
async fn a_domain_may_have_a_level_of_its_own() {
    let authority = Authority::new();
    let server = Server::new();
    let port = street::open(&[("127.0.0.1", &server)]).await;
    let change = |config: &mut config::Relay| {
        believing(&authority, TlsLevel::Require)(config);
        config.domains.insert("there.test".into(), DomainRules { tls: Some(TlsLevel::Opportunistic) });
    };
    assert_fate(&Scene::with(there(), port, change).await.go().await, &["delivered", "(clear: not offered)"]);
}

/// Goes to a server with this certificate, under names that `signed` makes of the server's port.
async fn by_dane(certificate: &Certificate, names: impl FnOnce(u16) -> Names) -> (Trip, Server) {
    let server = Server::new().starttls(certificate);
    let port = street::open(&[("127.0.0.1", &server)]).await;
    let scene = Scene::new(names(port), port).await;
    (scene.go().await, server)
}

#[tokio::test]
async fn a_record_that_dnssec_vouches_for_decides() {
    let certificate = Authority::new().issue("a.test");
    let (right, wrong) = (record(&certificate.sha256), record(&[7; 32]));
    let (trip, _) = by_dane(&certificate, |port| there().signed().tlsa("a.test", port, &right)).await;
    assert_fate(&trip, &["delivered to a.test", ", DANE 3 0 1)"]);
    let (trip, server) = by_dane(&certificate, |port| there().signed().tlsa("a.test", port, &wrong)).await;
    assert_fate(&trip, &["deferred: a.test [127.0.0.1]: ", "its TLSA records demand a certificate that one"]);
    assert_eq!((server.connections(), server.letters()), (1, 0));

    let clear = Server::new();
    let port = street::open(&[("127.0.0.1", &clear)]).await;
    let trip = Scene::new(there().signed().tlsa("a.test", port, &right), port).await.go().await;
    assert_fate(&trip, &["deferred: ", "does not offer STARTTLS", "(DANE)"]);
    assert_eq!(clear.letters(), 0);
}

#[tokio::test]
async fn a_record_counts_only_where_the_whole_way_to_it_is_secure() {
    let certificate = Authority::new().issue("a.test");
    let wrong = record(&[7; 32]);
    for insecure in ["there.test", "a.test", "_25._tcp.a.test"] {
        let names = |port: u16| {
            let insecure = insecure.replace("25", &port.to_string());
            there().signed().tlsa("a.test", port, &wrong).insecure(&insecure)
        };
        let (trip, _) = by_dane(&certificate, names).await;
        assert_fate(&trip, &["delivered", ", not verified: "]);
    }
}

#[tokio::test]
async fn records_that_nobody_can_use_still_demand_tls() {
    let certificate = Authority::new().issue("a.test");
    let odd = Tlsa { usage: 1, ..record(&[7; 32]) };
    let (trip, _) = by_dane(&certificate, |port| there().signed().tlsa("a.test", port, &odd)).await;
    assert_fate(&trip, &["delivered", ", not verified: "]);
    let clear = Server::new();
    let port = street::open(&[("127.0.0.1", &clear)]).await;
    let trip = Scene::new(there().signed().tlsa("a.test", port, &odd), port).await.go().await;
    assert_fate(&trip, &["deferred: ", "its TLSA records demand TLS"]);
    assert_eq!(clear.letters(), 0);
}

#[tokio::test]
async fn a_host_whose_records_cannot_be_asked_for_gets_nothing() {
    let (first, second) = (Server::new(), Server::new());
    let port = street::open(&[("127.0.0.1", &first), ("127.0.0.2", &second)]).await;
    let broken = |names: Names| names.signed().broken(&format!("_{port}._tcp.a.test"));
    let trip = Scene::new(broken(two_hosts()), port).await.go().await;
    assert_fate(&trip, &["delivered to b.test"]);
    let trip = Scene::new(broken(there()), port).await.go().await;
    assert_fate(&trip, &["deferred: a.test: what its TLSA records demand (DANE) cannot be found out"]);
    assert!(trip.unreachable.is_some());
    assert_eq!(first.connections(), 0);
}

#[tokio::test]
async fn an_alias_is_asked_first_and_then_the_host_itself() {
    let certificate = Authority::new().issue("a.test");
    let right = record(&certificate.sha256);
    let names = || {
        Names::new(&["there.test MX 10 a.test", "a.test CNAME real.test", "real.test A 127.0.0.1"]).signed()
    };
    for owner in ["real.test", "a.test"] {
        let (trip, _) = by_dane(&certificate, |port| names().tlsa(owner, port, &right)).await;
        assert_fate(&trip, &["delivered to a.test", ", DANE 3 0 1)"]);
    }
    let both = |port| names().tlsa("real.test", port, &right).tlsa("a.test", port, &record(&[7; 32]));
    assert_fate(&by_dane(&certificate, both).await.0, &["delivered to a.test", ", DANE 3 0 1)"]);
}

#[tokio::test]
async fn an_enforced_policy_is_kept_to() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let named = Server::new().starttls(&known.issue("b.test"));
    let better = Server::new().starttls(&known.issue("a.test"));
    let port = street::open(&[("127.0.0.1", &better), ("127.0.0.2", &named)]).await;
    let scene = with_policy(two_hosts(), port, &known, "enforce", "b.test").await;
    assert_fate(&scene.go().await, &["delivered to b.test", ", verified)"]);
    assert_eq!(better.connections(), 0);
    let scene = with_policy(there(), port, &known, "enforce", "b.test").await;
    assert_fate(
        &scene.go().await,
        &["deferred: a.test: the domain's MTA-STS policy does not name this host"],
    );

    for server in [Server::new().starttls(&unknown.issue("a.test")), Server::new(), Server::new().garbage()] {
        let port = street::open(&[("127.0.0.1", &server)]).await;
        let scene = with_policy(there(), port, &known, "enforce", "a.test").await;
        assert_fate(&scene.go().await, &["deferred: ", "the domain's MTA-STS policy demands a right"]);
        assert_eq!(server.letters(), 0);
    }
}

#[tokio::test]
async fn a_policy_that_is_only_tested_stops_no_letter() {
    let authority = Authority::new();
    for (mode, mx) in [("testing", "b.test"), ("testing", "a.test"), ("none", "b.test")] {
        let server = Server::new();
        let port = street::open(&[("127.0.0.1", &server)]).await;
        let scene = with_policy(there(), port, &authority, mode, mx).await;
        assert_fate(&scene.go().await, &["delivered to a.test", "(clear: not offered)"]);
    }
}
