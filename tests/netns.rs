//! The relay where addresses are what they seem: in a network of the test's own, with public addresses at both ends, and so
//! without `relay.allow_private`.

mod harness;

use harness::apart::{World, apart, ours};
use harness::home::{Home, letter};
use harness::odd::Odd;
use harness::wire::Wire;
use harness::{Dns, Plan, Server, ZONE, eventually};
use std::net::{IpAddr, SocketAddr, TcpListener};

const ME: &str = "me@here.example";
const PORT: u16 = 2525;

/// Our server on our host, and a friend's somewhere else.
struct Scene {
    dns: Dns,
    ours: Server,
    me: Home,
}

impl Scene {
    fn new(zone: &str, relay: &str) -> Scene {
        let dns = Dns::start(&format!("{ZONE}{zone}"));
        let relay = format!("[relay]\nport = {PORT}\n{relay}");
        let ours = Plan::new("mx.here.example", &[ME]).with(&relay).start(&dns);
        let me = Home::new(&dns, ME);
        Scene { dns, ours, me }
    }

    /// A letter to `you` at each of the domains; what the door says.
    fn send(&self, domains: &[&str]) {
        let to: Vec<String> = domains.iter().map(|domain| format!("you@{domain}")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let (mut wire, server) = Wire::greeted(self.ours.submission());
        let letter = letter(ME, "you@many.example", "out into the world");
        let reply = wire.transact(ME, &to, &self.me.sealed(&letter, &server, &to));
        assert!(reply.starts_with("250"), "{reply}");
    }

    /// Why the letter to somebody was put off.
    #[track_caller]
    fn why_not(&self, domain: &str) -> String {
        let to = format!("you@{domain}");
        eventually(&format!("{to} put off"), || {
            let log = self.ours.log();
            let mut lines =
                log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let line = lines.find(|line| line["message"] == "put off" && line["to"] == to.as_str())?;
            Some(line["reason"].as_str().unwrap().to_owned())
        })
    }
}

/// A server over there that takes letters.
fn friend(world: &World, ip: &str) -> Odd {
    Odd::on(world.listen(SocketAddr::new(ip.parse().unwrap(), PORT)), |peer| peer.behave())
}

/// A domain, its MX and that one's addresses.
fn place(domain: &str, addresses: &[&str]) -> String {
    let mut zone = format!("{domain}. 60 IN MX 10 mx.{domain}.\n");
    for ip in addresses {
        let kind = if ip.contains(':') { "AAAA" } else { "A" };
        zone.push_str(&format!("mx.{domain}. 60 IN {kind} {ip}\n"));
    }
    zone
}

#[track_caller]
fn arrives(odd: &Odd) {
    eventually("the letter over there", || odd.letters().pop());
}

#[test]
fn letters_go_by_either_family_and_by_the_one_that_works() {
    let Some(world) = apart("letters_go_by_either_family_and_by_the_one_that_works") else { return };
    let four = friend(&world, "11.4.0.1");
    let six = friend(&world, "2a00:6::1");
    let both = [friend(&world, "11.4.0.2"), friend(&world, "2a00:6::2")];
    let aliased = friend(&world, "11.4.0.3");
    let (only_six, only_four) = (friend(&world, "2a00:6::3"), friend(&world, "11.4.0.4"));
    let other = friend(&world, "11.4.0.5");
    // Nobody listens there, and nobody knows the way there.
    world.run("ip addr add 11.9.0.1/8 dev cable; ip addr add 2a00:9::1/16 dev cable nodad");
    ours("ip route add unreachable 11.9.9.0/24; ip route add unreachable 2a00:9:9::/48");
    let zone = [
        place("four.example", &["11.4.0.1"]),
        place("six.example", &["2a00:6::1"]),
        place("both.example", &["11.4.0.2", "2a00:6::2"]),
        place("foursilent.example", &["11.9.0.1", "11.9.9.1", "2a00:6::3"]),
        place("sixsilent.example", &["2a00:9::1", "2a00:9:9::1", "11.4.0.4"]),
        "second.example. 60 IN MX 10 mx.second.example.\nsecond.example. 60 IN MX 20 next.second.example.\n"
            .into(),
        "mx.second.example. 60 IN AAAA 2a00:9::1\nnext.second.example. 60 IN A 11.4.0.5\n".into(),
        place("real.example", &["11.4.0.3"]),
        "alias.example. 60 IN CNAME real.example.\n".into(),
        "toalias.example. 60 IN MX 10 mx.toalias.example.\nmx.toalias.example. 60 IN CNAME mx.real.example.\n"
            .into(),
        "bare.example. 60 IN CNAME mx.real.example.\n".into(),
    ]
    .concat();
    let scene = Scene::new(&zone, "");
    scene.send(&[
        "four.example",
        "six.example",
        "both.example",
        "foursilent.example",
        "sixsilent.example",
        "second.example",
        "alias.example",
        "toalias.example",
        "bare.example",
    ]);
    [&four, &six, &only_six, &only_four, &other].into_iter().for_each(arrives);
    eventually("the letter at either", || both.iter().find_map(|odd| odd.letters().pop()));
    assert_eq!(both.iter().map(|odd| odd.letters().len()).sum::<usize>(), 1);
    assert_eq!((four.callers(), six.callers()), (vec![ip("11.0.0.1")], vec![ip("2a00:1::1")]));
    eventually("the letters by way of aliases", || (aliased.letters().len() == 3).then_some(()));

    // A host without IPv6 is one whose ways all fail at once.
    ours("ip -6 addr flush dev cable scope global");
    let later = [friend(&world, "11.4.0.6"), friend(&world, "2a00:6::6")];
    scene.dns.add(&place("nosix.example", &["2a00:6::6", "11.4.0.6"]));
    scene.dns.add(&place("onlysix.example", &["2a00:6::6"]));
    scene.send(&["nosix.example", "onlysix.example"]);
    arrives(&later[0]);
    let why = scene.why_not("onlysix.example");
    assert!(why.contains("[2a00:6::6]: no connection: Network is unreachable"), "{why}");
    assert!(later[1].callers().is_empty());
}

#[test]
fn connections_come_from_the_source_of_their_family() {
    let Some(world) = apart("connections_come_from_the_source_of_their_family") else { return };
    ours("ip addr add 11.0.0.7/8 dev cable; ip addr add 2a00:1::7/16 dev cable nodad");
    let (four, six) = (friend(&world, "11.4.0.1"), friend(&world, "2a00:6::1"));
    let zone = place("four.example", &["11.4.0.1"]) + &place("six.example", &["2a00:6::1"]);
    let scene = Scene::new(&zone, "source = [\"11.0.0.7\", \"2a00:1::7\"]");
    scene.send(&["four.example", "six.example"]);
    [&four, &six].into_iter().for_each(arrives);
    assert_eq!((four.callers(), six.callers()), (vec![ip("11.0.0.7")], vec![ip("2a00:1::7")]));
    assert!(!scene.ours.log().contains("relay.source"), "{}", scene.ours.log());
}

#[test]
fn a_source_that_is_not_ours_is_told_at_the_start_and_with_each_letter() {
    let Some(world) = apart("a_source_that_is_not_ours_is_told_at_the_start_and_with_each_letter") else {
        return;
    };
    let (four, six) = (friend(&world, "11.4.0.1"), friend(&world, "2a00:6::1"));
    let zone = place("four.example", &["11.4.0.1"]) + &place("six.example", &["2a00:6::1"]);
    let scene = Scene::new(&zone, "source = \"11.0.0.8\"");
    let told = "relay.source: 11.0.0.8 is no address of this host";
    assert!(scene.ours.log().contains(told), "{}", scene.ours.log());
    scene.send(&["four.example", "six.example"]);
    let why = scene.why_not("four.example");
    assert!(why.contains(told) && why.contains("ip address"), "{why}");
    arrives(&six);
    assert!(four.callers().is_empty(), "it is not sent from another address");

    // The address may come later; then the letter goes.
    ours("ip addr add 11.0.0.8/8 dev cable");
    assert!(scene.ours.command(&["queue", "retry"]).status.success());
    arrives(&four);
    assert_eq!(four.callers(), [ip("11.0.0.8")]);
}

#[test]
fn what_dns_lies_about_is_not_connected_to() {
    let Some(world) = apart("what_dns_lies_about_is_not_connected_to") else { return };
    // Every address of our own, public ones among them, and not a single connection.
    ours("ip addr add 10.0.0.1/8 dev cable; ip addr add 192.168.1.1/24 dev cable");
    ours("ip addr add fd00::1/8 dev cable nodad; ip addr add fe80::7/64 dev cable nodad");
    ours("ip addr add 64:ff9b::7f00:1/96 dev cable nodad; ip addr add 169.254.1.1/16 dev cable");
    let door = Odd::on(TcpListener::bind(("::", PORT)).unwrap(), |peer| peer.behave());
    let reached = std::net::TcpStream::connect(("11.0.0.1", PORT)).unwrap();
    door.wait_for_connections(1);
    drop(reached);
    let lies = [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.1.1",
        "255.255.255.255",
        "224.0.0.1",
        "11.0.0.1",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:11.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "fe80::7",
        "fd00::1",
        "2002:7f00:1::1",
        "ff02::1",
        "2a00:1::1",
    ];
    let domains: Vec<String> = (0..lies.len()).map(|n| format!("lie{n}.example")).collect();
    let zone: String = domains.iter().zip(lies).map(|(domain, ip)| place(domain, &[ip])).collect();
    // The truth stands among lies as well.
    let honest = friend(&world, "11.4.0.1");
    let mixed = place("mixed.example", &["127.0.0.1", "::1", "10.0.0.1", "11.0.0.1", "11.4.0.1"]);
    let scene = Scene::new(&(zone + &mixed), "");
    let domains: Vec<&str> = domains.iter().map(String::as_str).chain(["mixed.example"]).collect();
    scene.send(&domains);
    for (domain, ip) in domains.iter().zip(lies) {
        let why = scene.why_not(domain);
        assert!(why.contains("not public") || why.contains("not a public address"), "{ip}: {why}");
    }
    arrives(&honest);
    // A letter to an address literal is one that says where it goes.
    for (n, literal) in
        ["[127.0.0.1]", "[IPv6:::1]", "[11.0.0.1]", "[IPv6:::ffff:127.0.0.1]"].iter().enumerate()
    {
        scene.send(&[literal]);
        let why = scene.why_not(literal);
        assert!(why.contains("not public") || why.contains("not a public address"), "{n} {literal}: {why}");
    }
    assert_eq!(door.callers().len(), 1, "{:?}", door.callers());
}

#[test]
fn what_is_odd_in_dns_is_bounded_and_understood() {
    let Some(world) = apart("what_is_odd_in_dns_is_bounded_and_understood") else { return };
    let honest = friend(&world, "11.4.0.1");
    // Nobody is over there, and nobody says so: a whole /16 of hosts would take hours.
    ours("ip route add unreachable 11.9.0.0/16");
    let mut zone = String::new();
    for n in 0..1000 {
        zone.push_str(&format!("thousand.example. 60 IN MX 10 h{n}.thousand.example.\n"));
        if n < 90 {
            zone.push_str(&format!("best.example. 60 IN MX {} h{n}.thousand.example.\n", n + 10));
        }
        zone.push_str(&format!("h{n}.thousand.example. 60 IN A 11.9.{}.{}\n", n / 250, n % 250));
    }
    zone.push_str("best.example. 60 IN MX 5 mx.honest.example.\nmx.honest.example. 60 IN A 11.4.0.1\n");
    for n in 0..500 {
        zone.push_str(&format!("mx.many.example. 60 IN A 11.9.{}.{}\n", n / 250, n % 250));
    }
    zone.push_str("many.example. 60 IN MX 10 mx.many.example.\n");
    zone.push_str("loop.example. 60 IN MX 10 a.loop.example.\na.loop.example. 60 IN CNAME b.loop.example.\n");
    zone.push_str("b.loop.example. 60 IN CNAME a.loop.example.\nself.example. 60 IN CNAME self.example.\n");
    for n in 0..50 {
        zone.push_str(&format!("c{n}.chain.example. 60 IN CNAME c{}.chain.example.\n", n + 1));
    }
    zone.push_str("chain.example. 60 IN MX 10 c0.chain.example.\nc50.chain.example. 60 IN A 11.4.0.1\n");
    // An address is no name.
    zone.push_str("number.example. 60 IN MX 10 11.4.0.1.\n");
    let text = (0..200).map(|_| format!(" \"{}\"", "v=STSv1; id=1; ".repeat(16))).collect::<String>();
    zone.push_str(&format!("_mta-sts.best.example. 60 IN TXT{text}\n"));
    let scene = Scene::new(&zone, "");
    let (mut wire, _) = Wire::greeted(scene.ours.submission());
    wire.ask("MAIL FROM:<me@here.example>", "250");
    wire.ask("RCPT TO:<you@number.example>", "550 5.1.2");
    scene.send(&["best.example", "thousand.example", "many.example", "loop.example", "chain.example"]);
    arrives(&honest);
    for domain in ["thousand.example", "many.example", "loop.example", "chain.example"] {
        let why = scene.why_not(domain);
        assert!(why.len() < 700, "{domain}: {why}");
    }
    let log = scene.ours.log();
    assert!(!log.contains("\\u001b") && !log.contains("panicked"), "{log}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.ours.pid())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let peak: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak < 120 << 10, "{peak} KiB");
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
