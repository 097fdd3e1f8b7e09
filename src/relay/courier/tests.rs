//! Letters over real sockets, to servers that play their parts, by names that the test makes.

mod names;
mod reuse;
mod street;
mod tls;
mod via;

use super::*;
use crate::config;
use crate::mail::address::Address;
use crate::mail::envelope::{Envelope, Recipient, ReversePath, Sender};
use crate::net::tls::TlsClient;
use crate::queue::{NewEntry, Queue};
use crate::relay::plan::{self, Found};
use crate::relay::sts::StsCache;
use crate::smtp::Door;
use crate::store::letter::{Spill, SpillRoom};
use crate::store::tree::Store;
use names::Names;
use std::sync::Arc;
use street::Server;

/// One letter to `a@there.test` and `b@there.test`.
struct Scene {
    parts: Parts,
    letter: EntryId,
    size: u64,
    dir: tempfile::TempDir,
}

impl Scene {
    async fn new(names: Names, port: u16) -> Scene {
        Scene::with(names, port, |_| ()).await
    }

    async fn with(names: Names, port: u16, change: impl FnOnce(&mut config::Relay)) -> Scene {
        Scene::of(names, port, b"the body\r\n.dot\r\n", change).await
    }

    async fn of(names: Names, port: u16, text: &[u8], change: impl FnOnce(&mut config::Relay)) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let (root, state) = (dir.path().join("mail"), dir.path().join("state"));
        std::fs::create_dir_all(root.join("our.test/me")).unwrap();
        std::fs::create_dir_all(&state).unwrap();
        let mut config = config::Relay { port, allow_private: true, ..config::Relay::default() };
        change(&mut config);
        let dns = names.resolver().await;
        let tls = TlsClient::new(config.roots.as_deref()).unwrap();
        let parts = Parts {
            queue: Queue::open(&state).unwrap(),
            store: Store::open(&root, &state, "/+").unwrap(),
            dns: dns.clone(),
            tls: tls.clone(),
            sts: StsCache::open(&state, dns, tls, &config),
            room: SpillRoom::open(&state.join("spill"), 1 << 18, 1 << 20).unwrap(),
            config,
            hostname: "mx.our.test".into(),
            fresh: Arc::default(),
            halt: Arc::default(),
        };
        let (letter, size) = commit(&parts, text);
        Scene { parts, letter, size, dir }
    }

    async fn found(&self, destination: &str) -> Found {
        plan::find(&self.parts, &Host::parse(destination).unwrap()).await
    }

    async fn go(&self) -> Trip {
        self.go_to("there.test", None).await
    }

    async fn go_by(&self, courier: Option<Courier>) -> Trip {
        self.go_to("there.test", courier).await
    }

    async fn go_to(&self, destination: &str, courier: Option<Courier>) -> Trip {
        let plan = match self.found(destination).await {
            Found::Plan(plan) => plan,
            other => panic!("{other:?}"),
        };
        let recipient = |local: &str| Recipient::new(Address::parse(&format!("{local}@there.test")).unwrap());
        let request = Request {
            envelope: Envelope { sender: sender(), recipients: vec![recipient("a"), recipient("b")] },
            size: self.size,
            eight_bit: false,
            all_or_none: false,
        };
        let trip = carry(&self.parts, &plan, &self.letter, request, courier).await.unwrap();
        assert_eq!(trip.verdicts.len(), 2);
        trip
    }
}

fn sender() -> Sender {
    Sender::new(ReversePath::Address(Address::parse("me@our.test").unwrap()))
}

fn commit(parts: &Parts, text: &[u8]) -> (EntryId, u64) {
    let recipients = vec![Recipient::new(Address::parse("a@there.test").unwrap())];
    let entry = NewEntry {
        door: Door::Submission,
        arrived: crate::relay::unix_time(),
        envelope: Envelope { sender: sender(), recipients },
        once: None,
        junk: false,
        received: Vec::new(),
    };
    let mut body = Spill::new(Arc::clone(&parts.room));
    body.append(text).unwrap();
    let id = parts.queue.commit(entry, b"Subject: hello\r\n\r\n", &body, None).unwrap();
    let size = parts.queue.load(&id).unwrap().unwrap().size;
    (id, size)
}

/// What the first recipient's verdict says: `delivered`, `failed` or `deferred`, and why.
fn fate(trip: &Trip) -> String {
    match &trip.verdicts[0] {
        Verdict::Delivered { to, tls, .. } => format!("delivered to {to} ({tls})"),
        Verdict::Failed(diagnosis) => format!("failed: {}", diagnosis.line()),
        Verdict::Deferred(diagnosis) => format!("deferred: {}", diagnosis.line()),
    }
}

#[track_caller]
fn assert_fate(trip: &Trip, parts: &[&str]) {
    let fate = fate(trip);
    assert!(parts.iter().all(|part| fate.contains(part)), "{fate}");
}

/// `there.test` with its hosts `a`, at preference 10, and `b`, at 20.
fn two_hosts() -> Names {
    Names::new(&[
        "there.test MX 20 b.test",
        "there.test MX 10 a.test",
        "a.test A 127.0.0.1",
        "b.test A 127.0.0.2",
    ])
}

/// What becomes of a letter where the better host is this one, and the other one is in order.
async fn with_first(first: &Server) -> (Trip, Server) {
    let second = Server::new();
    let port = street::open(&[("127.0.0.1", first), ("127.0.0.2", &second)]).await;
    (Scene::new(two_hosts(), port).await.go().await, second)
}

#[tokio::test]
async fn the_best_host_gets_the_letter_and_its_words_are_kept() {
    let first = Server::new().offers("DSN");
    let (trip, second) = with_first(&first).await;
    assert_eq!(fate(&trip), "delivered to a.test [127.0.0.1]: 250 2.0.0 taken (clear: not offered)");
    assert!(matches!(trip.verdicts[1], Verdict::Delivered { dsn: true, .. }));
    assert!(trip.courier.is_some() && trip.unreachable.is_none());
    assert_eq!((first.letters(), second.connections()), (1, 0));
}

#[tokio::test]
async fn a_host_that_cannot_be_spoken_to_does_not_hide_the_next_one() {
    for (to, answer) in [
        ("", "FLOOD"),
        ("", "RESET"),
        ("", "CLOSE"),
        ("", "421 4.3.2 later"),
        ("", "554 5.3.2 no service here"),
        ("", "nonsense"),
        ("EHLO", "CLOSE"),
        ("EHLO", "421 4.3.2 later"),
    ] {
        let first = Server::new().says(to, answer);
        let (trip, second) = with_first(&first).await;
        assert_fate(&trip, &["delivered to b.test [127.0.0.2]"]);
        assert_eq!((first.connections(), second.letters()), (1, 1), "{to} {answer}");
    }
}

#[tokio::test]
async fn a_host_that_puts_everybody_off_does_not_hide_the_next_one() {
    for (to, answer) in [
        ("MAIL", "451 4.7.1 greylisted"),
        ("MAIL", "421 4.3.2 later"),
        ("MAIL", "CLOSE"),
        ("RCPT", "451 4.2.2 full"),
        ("RCPT", "421 4.3.2 later"),
        ("DATA", "451 4.3.0 not now"),
        ("DATA", "421 4.3.2 later"),
        ("DATA", "RESET"),
    ] {
        let first = Server::new().says(to, answer);
        let (trip, second) = with_first(&first).await;
        assert_fate(&trip, &["delivered to b.test [127.0.0.2]"]);
        assert_eq!((first.letters(), second.letters()), (0, 1), "{to} {answer}");
    }
}

#[tokio::test]
async fn a_host_that_decided_is_the_last_one() {
    let first = Server::new().says("RCPT TO:<a@", "550 5.1.1 no such user").says("RCPT", "451 4.2.2 full");
    let (trip, second) = with_first(&first).await;
    assert_eq!(fate(&trip), "failed: a.test: 550 5.1.1 no such user");
    assert!(matches!(&trip.verdicts[1], Verdict::Deferred(why) if why.words.contains("451 4.2.2 full")));
    assert_eq!(second.connections(), 0);
    // Behind the dot nobody else is asked, whatever became of it.
    for (answer, fate) in [
        ("CLOSE", "deferred: a.test: "),
        ("421 4.3.2 later", "deferred: a.test: "),
        ("451 4.3.0 oh", "451 4.3.0"),
        ("554 5.6.0 spam", "failed: a.test: 554 5.6.0 spam"),
    ] {
        let first = Server::new().says(".", answer);
        let (trip, second) = with_first(&first).await;
        assert_fate(&trip, &[fate]);
        assert_eq!((first.letters(), second.connections(), trip.unreachable.is_none()), (1, 0, true));
    }
}

#[tokio::test]
async fn a_letter_ends_only_where_all_hosts_refuse_us_for_good() {
    let refusing = || Server::new().says("", "554 5.7.1 we do not know you");
    let (first, second) = (refusing(), refusing());
    let port = street::open(&[("127.0.0.1", &first), ("127.0.0.2", &second)]).await;
    let trip = Scene::new(two_hosts(), port).await.go().await;
    assert_eq!(fate(&trip), "failed: a.test: 554 5.7.1 we do not know you");
    assert!(trip.unreachable.is_none() && trip.courier.is_none());

    let port = street::open(&[("127.0.0.1", &first), ("127.0.0.2", &Server::new().says("", "CLOSE"))]).await;
    let trip = Scene::new(two_hosts(), port).await.go().await;
    assert_fate(&trip, &["deferred: ", "b.test [127.0.0.2]: ", "a.test: 554 5.7.1 we do not know you"]);
    assert!(trip.unreachable.is_some());
    // Hosts that were not asked might have taken it.
    let mut many = Names::new(&["there.test MX 10 a.test", "there.test MX 20 b.test"]);
    for _ in 0..3 {
        many = many.and("a.test A 127.0.0.1").and("b.test A 127.0.0.1");
    }
    let trip =
        Scene::new(many.and("there.test MX 30 c.test").and("c.test A 127.0.0.9"), port).await.go().await;
    assert_fate(&trip, &["deferred: "]);
}

#[tokio::test]
async fn a_host_that_puts_us_off_is_kept_for_the_next_letter() {
    let server = Server::new().says("MAIL", "451 4.7.1 greylisted");
    let port = street::open(&[("127.0.0.1", &server)]).await;
    let names = Names::new(&["there.test A 127.0.0.1"]);
    let trip = Scene::new(names, port).await.go().await;
    assert_fate(&trip, &["deferred: there.test: ", "451 4.7.1 greylisted"]);
    assert!(trip.courier.is_some() && trip.unreachable.is_none());
}

#[tokio::test]
async fn both_families_are_tried_whichever_comes_first() {
    for (dead, alive) in [("127.0.0.9", "::1"), ("::1", "127.0.0.1")] {
        let server = Server::new();
        let port = street::open(&[(alive, &server)]).await;
        let names = Names::new(&["there.test MX 10 a.test"]);
        let names = names.and(&format!("a.test A {dead}")).and(&format!("a.test A {alive}"));
        assert_fate(&Scene::new(names, port).await.go().await, &["delivered to a.test [", alive]);
    }
    let server = Server::new();
    let port = street::open(&[("::1", &server)]).await;
    let trip = Scene::new(Names::new(&["there.test MX 10 a.test", "a.test A ::1"]), port).await.go().await;
    assert_fate(&trip, &["delivered to a.test [::1]"]);
}

#[tokio::test]
async fn address_literals_are_gone_to_directly() {
    let server = Server::new();
    let port = street::open(&[("127.0.0.1", &server), ("::1", &server)]).await;
    let scene = Scene::new(Names::default(), port).await;
    assert_fate(&scene.go_to("[127.0.0.1]", None).await, &["delivered to [127.0.0.1]: 250"]);
    assert_fate(&scene.go_to("[IPv6:::1]", None).await, &["delivered to [IPv6:::1]: 250"]);
}

#[tokio::test]
async fn connections_are_made_from_the_source_of_their_family() {
    let server = Server::new();
    let port = street::open(&[("127.0.0.1", &server), ("::1", &server)]).await;
    let source = |config: &mut config::Relay| config.source = vec!["127.0.0.5".parse().unwrap()];
    let scene = Scene::with(Names::default(), port, source).await;
    scene.go_to("[127.0.0.1]", None).await;
    scene.go_to("[IPv6:::1]", None).await;
    let clients: Vec<String> = server.clients().iter().map(IpAddr::to_string).collect();
    assert_eq!(clients, ["127.0.0.5", "::1"]);
    let source = |config: &mut config::Relay| config.source = vec!["192.0.2.1".parse().unwrap()];
    let trip = Scene::with(Names::default(), port, source).await.go_to("[127.0.0.1]", None).await;
    assert_fate(&trip, &["deferred: ", "relay.source: 192.0.2.1 is no address of this host"]);
}

#[tokio::test]
async fn what_is_behind_our_own_door_is_not_connected_to() {
    let server = Server::new();
    let port = street::open(&[("127.0.0.1", &server), ("::1", &server)]).await;
    for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "64:ff9b::7f00:1", "192.168.0.1"] {
        let names = Names::new(&["there.test MX 10 a.test"]).and(&format!("a.test A {ip}"));
        let trip = Scene::with(names, port, |config| config.allow_private = false).await.go().await;
        assert_fate(&trip, &["deferred: a.test: ", "not public"]);
        assert!(trip.unreachable.is_some(), "{ip}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn where_there_is_no_way_it_is_said_whether_for_good() {
    let names = Names::new(&[
        "null.test MX 0 .",
        "loop.test MX 10 mx.our.test",
        "loop.test MX 20 a.test",
        "best.test MX 5 a.test",
        "best.test MX 10 MX.our.test",
        "best.test MX 20 b.test",
        "alias.test CNAME best.test",
    ]);
    let scene = Scene::new(names.broken("broken.test"), 25).await;
    for (domain, status) in [("null.test", (5, 1, 10)), ("nobody.test", (5, 1, 2)), ("loop.test", (5, 4, 6))]
    {
        let found = scene.found(domain).await;
        assert!(matches!(&found, Found::Never(why) if why.status == status), "{domain}: {found:?}");
    }
    assert!(matches!(scene.found("broken.test").await, Found::Later(_)));
    for domain in ["best.test", "alias.test"] {
        let Found::Plan(plan) = scene.found(domain).await else { panic!("{domain}") };
        assert_eq!(plan.hosts(), [&Host::parse("a.test").unwrap()], "{domain}");
    }
}

#[tokio::test]
async fn domains_with_the_same_hosts_are_one_destination() {
    let names = Names::new(&["one.test MX 10 a.test", "two.test MX 10 a.test", "three.test MX 20 a.test"]);
    let level = |config: &mut config::Relay| {
        let rules = config::DomainRules { tls: Some(config::TlsLevel::Require) };
        config.domains.insert("Four.test".into(), rules);
    };
    let scene = Scene::with(names.and("four.test MX 10 a.test"), 25, level).await;
    let mut keys = Vec::new();
    for domain in ["one.test", "two.test", "three.test", "four.test"] {
        let Found::Plan(plan) = scene.found(domain).await else { panic!("{domain}") };
        keys.push(Arc::clone(plan.key()));
    }
    assert_eq!(keys[0], keys[1]);
    assert!(keys[0] != keys[2] && keys[0] != keys[3]);
}

#[tokio::test]
async fn a_long_letter_goes_out_whole() {
    let server = Server::new();
    let port = street::open(&[("127.0.0.1", &server)]).await;
    let text = "a line of sixteen\r\n".repeat(50_000);
    let names = Names::new(&["there.test A 127.0.0.1"]);
    assert_fate(&Scene::of(names, port, text.as_bytes(), |_| ()).await.go().await, &["delivered"]);
    let sent = server.last_letter();
    assert_eq!(sent.len(), "Subject: hello\n\n".len() + 50_000 * 18);
}
