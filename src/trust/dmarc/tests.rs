use super::*;
use crate::net::dns::tests::{Authority, name};
use crate::policy::signature::Vouched;
use crate::policy::spf::SpfIdentity;
use crate::trust::forge::{Table, wait};
use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::{CNAME, TXT};

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn by_dkim(name: &str) -> Identifier {
    Identifier { domain: domain(name), mechanism: Mechanism::Dkim, fault: None }
}

fn judge(authors: &[&str], identifiers: &[Identifier], table: &Table) -> Vec<DmarcEvidence> {
    let authors: Vec<Domain> = authors.iter().map(|name| domain(name)).collect();
    wait(async { discover(&authors, table).await.judge(identifiers, table).await })
}

fn asked(table: &Table) -> Vec<String> {
    let mut asked = table.asked.lock().unwrap().clone();
    asked.sort();
    asked
}

fn example() -> Table {
    Table::default().set("_dmarc.example.com", Some(&["v=spf1 -all", "v=DMARC1; p=reject"]))
}

#[test]
fn the_same_domain_is_aligned_without_a_look_up() {
    let table = example();
    let evidence = judge(&["example.com"], &[by_dkim("example.com"), by_dkim("example.net")], &table);
    assert_eq!(evidence[0].result, DmarcResult::Pass);
    assert_eq!(asked(&table), ["_dmarc.com", "_dmarc.example.com"]);
}

#[test]
fn a_related_domain_costs_what_is_not_known_yet() {
    let table = example();
    let evidence = judge(&["example.com"], &[by_dkim("a.b.example.com")], &table);
    assert_eq!(evidence[0].result, DmarcResult::Pass, "{evidence:?}");
    assert_eq!(
        asked(&table),
        ["_dmarc.a.b.example.com", "_dmarc.b.example.com", "_dmarc.com", "_dmarc.example.com"]
    );
    let strict = Table::default().set("_dmarc.example.com", Some(&["v=DMARC1; p=reject; adkim=s"]));
    let evidence = judge(&["example.com"], &[by_dkim("a.b.example.com")], &strict);
    assert_eq!(evidence[0].result, DmarcResult::Fail);
    assert_eq!(asked(&strict).len(), 2);
}

#[test]
fn every_author_is_judged_and_nothing_asked_twice() {
    let table = example().set("_dmarc.example.org", Some(&["v=DMARC1; p=none"]));
    let authors = ["example.com", "example.org", "example.com", "www.example.com"];
    let evidence = judge(&authors, &[by_dkim("example.com"), by_dkim("example.com")], &table);
    let results: Vec<(&str, &DmarcResult)> =
        evidence.iter().map(|one| (one.author.as_str(), &one.result)).collect();
    let wanted = [
        ("example.com", &DmarcResult::Pass),
        ("example.org", &DmarcResult::Fail),
        ("www.example.com", &DmarcResult::Pass),
    ];
    assert_eq!(results, wanted);
    let mut once = asked(&table);
    once.dedup();
    assert_eq!(asked(&table), once);
}

#[test]
fn existence_is_asked_for_only_where_np_differs() {
    let table = |record: &str| Table::default().set("_dmarc.example.com", Some(&[record]));
    let differs = table("v=DMARC1; p=none; np=reject");
    let evidence = judge(&["www.example.com"], &[], &differs);
    assert_eq!((&evidence[0].result, evidence[0].policy), (&DmarcResult::Fail, DmarcPolicy::Reject));
    assert!(asked(&differs).contains(&"www.example.com".to_owned()));
    let own = table("v=DMARC1; p=none; np=reject");
    assert_eq!(judge(&["example.com"], &[], &own)[0].policy, DmarcPolicy::None);
    assert_eq!(asked(&own).len(), 2);
    let there = table("v=DMARC1; p=none; np=reject").set("www.example.com", Some(&[]));
    assert_eq!(judge(&["www.example.com"], &[], &there)[0].policy, DmarcPolicy::None);
    let down = table("v=DMARC1; p=none; np=reject").set("www.example.com", None);
    assert!(judge(&["www.example.com"], &[], &down)[0].open().is_some());
    let same = table("v=DMARC1; p=none; sp=reject; np=reject");
    assert_eq!(judge(&["www.example.com"], &[], &same)[0].policy, DmarcPolicy::Reject);
    assert!(!asked(&same).contains(&"www.example.com".to_owned()));
}

#[test]
fn questions_are_bounded() {
    let deep = |name: usize| format!("a.b.c.d.e.f.g.h.i.j.{name}.example");
    let authors: Vec<String> = (0..40).map(deep).collect();
    let authors: Vec<&str> = authors.iter().map(String::as_str).collect();
    let table = Table::default().set("_dmarc.example", None);
    let identifiers: Vec<Identifier> = (100..140).map(|name| by_dkim(&deep(name))).collect();
    let evidence = judge(&authors, &identifiers, &table);
    assert_eq!(evidence.len(), 40);
    assert!(evidence.iter().all(|one| one.open().is_some()));
    assert_eq!(asked(&table).len(), 71);
    // An author whose record is for the whole top-level domain is related to anybody in it.
    let table = Table::default().set("_dmarc.example", Some(&["v=DMARC1; p=reject"]));
    let evidence = judge(&authors[..1], &identifiers, &table);
    assert_eq!(evidence[0].result, DmarcResult::Pass);
    assert_eq!(asked(&table).len(), 8 + 11 * 7);
}

#[test]
fn who_vouches() {
    let spf = |result| SpfEvidence {
        result,
        identity: SpfIdentity::MailFrom,
        domain: "bounce.example.com".into(),
        why: "SERVFAIL".into(),
        steps: Vec::new(),
        explanation: None,
    };
    let signature = |name: &str, verdict, uncovered: Option<&str>| SignatureEvidence {
        domain: domain(name),
        selector: "s".into(),
        algorithm: "rsa-sha256".into(),
        has_length: false,
        time: None,
        expires: None,
        uncovered: uncovered.map(str::to_owned),
        covers_seal: false,
        rsa_bits: None,
        mark: String::new(),
        judged_at: 0,
        vouched: Vouched::Unasked,
        verdict,
    };
    let signatures = [
        signature("a.example", Verdict::Pass, Some("To")),
        signature("b.example", Verdict::Pass, Some("From")),
        signature("c.example", Verdict::TempFault("SERVFAIL".into()), None),
        signature("d.example", Verdict::BrokenBody, None),
        signature("e.example", Verdict::NoKey, None),
    ];
    let shown = |spf: &SpfEvidence| {
        let list = identifiers(spf, &signatures);
        list.iter().map(|one| (one.to_string(), one.fault.is_some())).collect::<Vec<_>>()
    };
    let dkim = [("DKIM of a.example".to_owned(), false), ("DKIM of c.example".to_owned(), true)];
    assert_eq!(shown(&spf(SpfResult::Fail)), dkim);
    let with = |fault| [[("SPF of bounce.example.com".to_owned(), fault)].as_slice(), &dkim].concat();
    assert_eq!(shown(&spf(SpfResult::Pass)), with(false));
    assert_eq!(shown(&spf(SpfResult::TempError)), with(true));
}

/// With DNS itself: strings are joined, aliases followed, and a name without addresses exists all the same.
#[tokio::test]
async fn against_a_name_server() {
    let text =
        |strings: &[&str]| RData::TXT(TXT::new(strings.iter().map(|text| (*text).to_owned()).collect()));
    let alias = RData::CNAME(CNAME(name("_dmarc.example.test.")));
    let authority = Authority::start(&[
        ("_dmarc.example.test.", text(&["v=DMARC1; p=no", "ne; np=reject; psd=n"])),
        ("www.example.test.", text(&["hello"])),
        ("_dmarc.alias.test.", alias),
        ("_dmarc.two.test.", text(&["v=DMARC1; p=reject"])),
        ("_dmarc.two.test.", text(&["v=DMARC1; p=none"])),
    ])
    .await;
    let authors = ["www.example.test", "gone.example.test", "alias.test", "two.test", "elsewhere.example"];
    let authors: Vec<Domain> = authors.iter().map(|name| domain(name)).collect();
    let evidence = discover(&authors, &authority.dns).await.judge(&[], &authority.dns).await;
    let found: Vec<(&str, DmarcPolicy, Option<&str>)> =
        evidence.iter().map(|one| (one.result.word(), one.policy, one.record_at.as_deref())).collect();
    assert_eq!(
        found,
        [
            ("fail", DmarcPolicy::None, Some("example.test")),
            ("fail", DmarcPolicy::Reject, Some("example.test")),
            ("fail", DmarcPolicy::None, Some("alias.test")),
            ("none", DmarcPolicy::None, None),
            ("temperror", DmarcPolicy::Reject, None),
        ]
    );
    assert_eq!(evidence[3].steps[0], "_dmarc.two.test: 2 records, which count as none");
}
