//! MTA-STS end to end (RFC 8461): the shipped server, an HTTPS server with the domains' policies, and other people's
//! servers with TLS. Certificates are of an authority of the tests' own (`relay.roots`).

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::mx::{self, Mx, StartTls};
use harness::pki::{Pki, Shown, self_signed};
use harness::policies::Policies;
use harness::signed::{Signed, Zone};
use harness::town::{End, Town, World};
use std::fmt::Write;

use End::{Clear, Private, Waits};
use StartTls::{Absent, Closed, Refused, Shows};

const DEMANDED: &str = "the domain's MTA-STS policy demands a right certificate";
const NOT_NAMED: &str = "the domain's MTA-STS policy does not name this host";
const WOULD: &str = "the domain's MTA-STS policy, were it enforced, would refuse this server";

/// A domain below `sts.test` with its servers, the best first, and what must become of a letter to it.
struct Row {
    name: &'static str,
    mode: &'static str,
    /// The hosts that the policy names, relative to the domain.
    named: &'static [&'static str],
    /// `mx1`, `mx2`, …
    servers: Vec<Mx>,
    /// The server that decides.
    at: usize,
    end: End,
}

impl Row {
    fn new(name: &'static str, mode: &'static str, end: End, servers: &[StartTls]) -> Row {
        let servers = servers.iter().cloned().map(Mx::start).collect();
        Row { name, mode, named: &["mx1", "mx2"], servers, at: 0, end }
    }

    fn naming(self, named: &'static [&'static str]) -> Row {
        Row { named, ..self }
    }

    fn at(self, at: usize) -> Row {
        Row { at, ..self }
    }

    fn domain(&self) -> String {
        domain(self.name)
    }

    fn zone(&self) -> String {
        let label = label(self.name);
        let mut zone = format!("_mta-sts.{label} TXT \"v=STSv1; id=1;\"\nmta-sts.{label} A 127.0.0.1\n");
        for (number, server) in (1..).zip(&self.servers) {
            let _ =
                write!(zone, "{label} MX {number}0 mx{number}.{label}\nmx{number}.{label} A {}\n", server.ip);
        }
        zone
    }

    fn publish(&self, policies: &Policies) {
        let named: Vec<String> = self.named.iter().map(|host| format!("{host}.{}", self.domain())).collect();
        let named: Vec<&str> = named.iter().map(String::as_str).collect();
        policies.publish(&self.domain(), self.mode, &named);
    }
}

fn label(name: &str) -> String {
    name.replace(' ', "-").to_ascii_lowercase()
}

fn domain(name: &str) -> String {
    format!("{}.sts.test", label(name))
}

fn to(domain: &str) -> String {
    format!("friend@{domain}")
}

/// The policies' host for these domains.
fn policies(pki: &Pki, domains: &[String]) -> Policies {
    let names: Vec<String> = domains.iter().map(|domain| format!("mta-sts.{domain}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Policies::start(&pki.host(&names))
}

fn relay(pki: &Pki, policies: &Policies) -> String {
    format!("{}roots = {:?}\nsts_port = {}\n", mx::relay(), pki.roots(), policies.port)
}

#[test]
fn policies_are_kept_to() {
    let pki = Pki::new();
    let right = |name: &str, mx: usize| Shows(pki.host(&[&format!("mx{mx}.{}", domain(name))]));
    let unknown = |name: &str| Shows(self_signed(&[&format!("mx1.{}", domain(name))]));
    let expired = |name: &str| Shows(pki.expired(&[&format!("mx1.{}", domain(name))]));
    let other = || Shows(pki.host(&["mx.other.example"]));
    let (verified, loose) = (Private(", verified"), Private("not verified: "));
    let enforced = |name, end, servers: &[StartTls]| Row::new(name, "enforce", end, servers);
    let rows = [
        enforced("right", verified, &[right("right", 1)]),
        enforced("by pattern", verified, &[right("by pattern", 1)]).naming(&["*"]),
        enforced("self signed", Waits(&["signed by an unknown", DEMANDED]), &[unknown("self signed")]),
        enforced("expired", Waits(&["expired on 2021-01-01", DEMANDED]), &[expired("expired")]),
        enforced("other name", Waits(&["is for mx.other.example", DEMANDED]), &[other()]),
        enforced("no starttls", Waits(&["does not offer STARTTLS", DEMANDED]), &[Absent]),
        enforced("refused", Waits(&["454 4.7.0 no", DEMANDED]), &[Refused("454 4.7.0 no")]),
        enforced("broken", Waits(&["in the handshake", DEMANDED]), &[Closed]),
        enforced("second one", verified, &[other(), right("second one", 2)]).at(1),
        enforced("unnamed first", verified, &[right("unnamed first", 1), right("unnamed first", 2)])
            .naming(&["mx2"])
            .at(1),
        enforced("unnamed", Waits(&[NOT_NAMED]), &[right("unnamed", 1)]).naming(&["mx2"]),
        Row::new("testing", "testing", loose, &[other()]),
        Row::new("testing in clear", "testing", Clear("clear: not offered"), &[Absent]),
        Row::new("testing unnamed", "testing", verified, &[right("testing unnamed", 1)]).naming(&["mx2"]),
        Row::new("testing right", "testing", verified, &[right("testing right", 1)]),
        Row::new("none", "none", loose, &[other()]),
        // Its policies' host shows a certificate for others, and so says nothing.
        enforced("unbelievable", loose, &[other()]),
    ];
    let believed: Vec<String> =
        rows.iter().filter(|row| row.name != "unbelievable").map(Row::domain).collect();
    let policies = policies(&pki, &believed);
    rows.iter().for_each(|row| row.publish(&policies));
    let (home, own) = Town::author();
    let zone: String = rows.iter().map(Row::zone).collect();
    let signed = Signed::start(&[own, Zone::unsigned("sts.test", &zone)]);
    let town = Town::start(&home, &signed.validate(), &relay(&pki, &policies));

    rows.iter().for_each(|row| town.send(&[&to(&row.domain())], &format!("<{}>", row.name)));
    let mut faults = Vec::new();
    for row in &rows {
        let host = format!("mx{}.{}", row.at + 1, row.domain());
        let subject = format!("<{}>", row.name);
        faults.extend(town.judge(&row.servers[row.at], &subject, &to(&row.domain()), &host, row.end).err());
        let others = row.servers.iter().enumerate().filter(|(at, _)| *at != row.at);
        if others.into_iter().any(|(_, server)| !server.letters().is_empty() || server.took_in_clear()) {
            faults.push(format!("{}: another server was told", row.name));
        }
        // What is only tested is told.
        let tells = matches!(row.name, "testing" | "testing in clear" | "testing unnamed");
        let place = format!("mx1.{} ", row.domain());
        let told = |line: &serde_json::Value| {
            line["message"] == WOULD && line["place"].as_str().unwrap_or_default().starts_with(&place)
        };
        if town.log().iter().any(told) != tells {
            faults.push(format!("{}: the log tells or should tell of it", row.name));
        }
        let hosts_unnamed = ["unnamed first", "unnamed"].contains(&row.name);
        if hosts_unnamed && row.servers[0].connections() > 0 {
            faults.push(format!("{}: a host that the policy does not name was connected to", row.name));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let known = town.log().into_iter().find(|line| {
        line["message"] == "MTA-STS: the policy cannot be fetched" && line["domain"] == domain("unbelievable")
    });
    assert_eq!(known.unwrap()["known"], false);
}

/// A domain with one server, whose zone and policy change.
struct Domain {
    pki: Pki,
    server: Mx,
    policies: Policies,
    signed: Signed,
    town: Town,
}

const NAME: &str = "me.test";
const FRIEND: &str = "friend@me.test";

impl Domain {
    fn new(shown: impl FnOnce(&Pki) -> Shown, mode: &str) -> Domain {
        let pki = Pki::new();
        let server = Mx::start(Shows(shown(&pki)));
        let policies = policies(&pki, &[NAME.to_owned()]);
        policies.publish(NAME, mode, &["mx.me.test"]);
        let (home, own) = Town::author();
        let signed = Signed::start(&[own, Zone::unsigned(NAME, &zone(&server, 1))]);
        let town = Town::start(&home, &signed.validate(), &relay(&pki, &policies));
        Domain { pki, server, policies, signed, town }
    }

    /// Another id in DNS.
    fn publish(&mut self, id: u32) {
        self.signed.set(NAME, &zone(&self.server, id));
    }

    /// The same after a restart, which asks DNS anew.
    fn again(self) -> Domain {
        Domain { town: self.town.again(), ..self }
    }
}

fn zone(server: &Mx, id: u32) -> String {
    let ip = server.ip;
    format!("@ MX 10 mx\nmx A {ip}\nmta-sts A 127.0.0.1\n_mta-sts TXT \"v=STSv1; id={id};\"\n")
}

fn right(pki: &Pki) -> Shown {
    pki.host(&["mx.me.test"])
}

fn wrong(_: &Pki) -> Shown {
    self_signed(&["mx.me.test"])
}

#[test]
fn a_policy_that_was_fetched_is_enforced_after_a_restart_whatever_becomes_of_its_host() {
    let mut me = Domain::new(right, "enforce");
    me.town.send(&[FRIEND], "<first>");
    assert!(me.town.relayed(FRIEND).ends_with(", verified"));

    // Somebody is between us and everything.
    me.policies.away(true);
    me.publish(2);
    me.server.behave(Shows(wrong(&me.pki)));
    let (before, me) = (me.policies.connections(), me.again());
    me.town.send(&[FRIEND], "<second>");
    let reason = harness::eventually("the second letter put off", || {
        me.town.log().into_iter().find(|line| line["message"] == "put off")
    });
    assert!(reason["reason"].as_str().unwrap().contains(DEMANDED), "{reason}");
    assert!(me.policies.connections() > before, "the new id was looked into");
    assert_eq!(me.server.letters().len(), 1);
    assert!(!me.server.took_in_clear());
    let failed = |line: &&serde_json::Value| line["message"] == "MTA-STS: the policy cannot be fetched";
    assert_eq!(me.town.log().iter().find(failed).unwrap()["known"], true);
}

#[test]
fn a_new_id_brings_the_new_policy_to_a_letter_that_waits() {
    let mut me = Domain::new(wrong, "enforce");
    me.town.send(&[FRIEND], "<patient>");
    let reason = me.town.put_off(FRIEND);
    assert!(reason.contains(DEMANDED), "{reason}");

    // A new policy behind the old id is not looked at.
    me.policies.publish(NAME, "none", &["mx.me.test"]);
    me.town.retry();
    harness::eventually("the second attempt", || (me.server.connections() > 1).then_some(()));
    assert_eq!((me.policies.asked(NAME), me.server.letters().len()), (1, 0));

    me.publish(2);
    harness::eventually("the letter delivered on retry", || {
        me.town.retry();
        me.server.letters().pop()
    });
    assert!(me.town.relayed(FRIEND).contains("not verified: "));
    assert_eq!(me.policies.asked(NAME), 2);
}

#[test]
fn a_new_id_brings_a_policy_in_force() {
    let mut me = Domain::new(wrong, "none");
    me.town.send(&[FRIEND], "<first>");
    assert!(me.town.relayed(FRIEND).contains("not verified: "));
    me.policies.publish(NAME, "enforce", &["mx.me.test"]);
    me.publish(2);
    let me = me.again();
    me.town.send(&[FRIEND], "<second>");
    let found = || me.town.log().into_iter().find(|line| line["message"] == "put off");
    let fate = harness::eventually("the second letter put off", found);
    assert!(fate["reason"].as_str().unwrap().contains(DEMANDED), "{fate}");
    assert_eq!(me.server.letters().len(), 1);
}

#[test]
fn a_connection_for_one_domain_is_not_used_for_another_one_that_demands_more() {
    let pki = Pki::new();
    let server = Mx::start(Shows(self_signed(&["mx.shared.test"])));
    let policies = policies(&pki, &["enforced.test".to_owned()]);
    policies.publish("enforced.test", "enforce", &["mx.shared.test"]);
    let (home, own) = Town::author();
    let shared = "@ MX 10 mx.shared.test.\n";
    let signed = Signed::start(&[
        own,
        Zone::unsigned("shared.test", &format!("mx A {}\n", server.ip)),
        Zone::unsigned("easy.test", shared),
        Zone::unsigned("required.test", shared),
        Zone::unsigned(
            "enforced.test",
            &format!("{shared}mta-sts A 127.0.0.1\n_mta-sts TXT \"v=STSv1; id=1;\"\n"),
        ),
    ]);
    let required = "[relay.domains.\"required.test\"]\ntls = \"require\"\n";
    let town = Town::start(&home, &signed.validate(), &(relay(&pki, &policies) + required));
    let everybody = ["friend@easy.test", "friend@enforced.test", "friend@required.test"];
    town.send(&everybody, "<one letter>");
    assert!(town.relayed(everybody[0]).contains("not verified: "));
    assert!(town.put_off(everybody[1]).contains(DEMANDED));
    assert!(town.put_off(everybody[2]).contains("relay.tls = \"require\" demands"));
    // The connection that carried the first letter waits for another one.
    town.send(&everybody[..1], "<easy again>");
    town.send(&everybody[1..], "<others again>");
    server.letter("<easy again>");
    town.retry();
    let attempts = || server.connections() >= 5;
    harness::eventually("new connections for those who demand more", || attempts().then_some(()));
    let letters = server.letters();
    assert!(letters.iter().all(|letter| letter.to == everybody[..1]), "{letters:?}");
    assert!(!server.took_in_clear());
}

#[test]
fn where_dane_speaks_too_its_records_count_and_the_host_must_be_named_all_the_same() {
    let pki = Pki::new();
    let shown = self_signed(&[]);
    let (fits, misfits) = (shown.own().tlsa(3, 1, 1), self_signed(&[]).own().tlsa(3, 1, 1));
    let unusable = format!("1 1 1 {}", "07".repeat(32));
    let vouched = |name: &str| Shows(pki.host(&[&format!("mx1.{}", domain(name))]));
    let nobody = || Shows(shown.clone());
    let enforced = |name, end, shows| Row::new(name, "enforce", end, &[shows]);
    let rows = [
        (enforced("dane fits", Private("DANE 3 1 1"), nobody()), &fits),
        (
            enforced("dane misfits", Waits(&["no TLSA record matches", "(DANE)"]), vouched("dane misfits")),
            &misfits,
        ),
        (enforced("dane unnamed", Waits(&[NOT_NAMED]), nobody()).naming(&["mx2"]), &fits),
        // Records that we cannot use excuse nothing.
        (enforced("unusable", Waits(&["signed by an unknown", DEMANDED]), nobody()), &unusable),
        (enforced("unusable vouched", Private(", verified"), vouched("unusable vouched")), &unusable),
        (Row::new("tested misfits", "testing", Waits(&["(DANE)"]), &[vouched("tested misfits")]), &misfits),
    ];
    let domains: Vec<String> = rows.iter().map(|(row, _)| row.domain()).collect();
    let policies = policies(&pki, &domains);
    let mut zone = String::new();
    for (row, record) in &rows {
        row.publish(&policies);
        zone.push_str(&row.zone());
        let _ = writeln!(zone, "_{}._tcp.mx1.{} TLSA {record}", mx::port(), label(row.name));
    }
    let world = World::start(&[Zone::signed("sts.test", &zone)], &relay(&pki, &policies), |_| {});
    let mut faults = Vec::new();
    for (way, town) in &world.towns {
        rows.iter().for_each(|(row, _)| town.send(&[&to(&row.domain())], &format!("<{way}: {}>", row.name)));
        for (row, _) in &rows {
            let (subject, host) = (format!("<{way}: {}>", row.name), format!("mx1.{}", row.domain()));
            faults.extend(town.judge(&row.servers[0], &subject, &to(&row.domain()), &host, row.end).err());
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
