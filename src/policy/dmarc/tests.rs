use super::judge::{Author, Identifier, Mechanism};
use super::record::{Psd, Record, pick};
use super::walk::{Relation, Seen, Walk, names};
use super::{DmarcEvidence, DmarcPolicy, DmarcResult};
use crate::mail::address::Domain;
use DmarcPolicy::{None as Nothing, Quarantine, Reject};
use proptest::prelude::*;

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

/// Records by name; `FAULT` is a fault.
type Zone<'a> = &'a [(&'a str, &'a str)];

const FAULT: &str = "fault";

fn walk(start: &str, zone: Zone<'_>) -> Walk {
    Walk::new(&domain(start), |name| {
        let texts: Vec<String> =
            zone.iter().filter(|(at, _)| *at == name).map(|(_, text)| (*text).to_owned()).collect();
        match pick(&texts) {
            _ if texts == [FAULT] => Seen::Fault("SERVFAIL".into()),
            Ok(Some(record)) => Seen::Record(record),
            Ok(None) => Seen::Nothing,
            Err(count) => Seen::Several(count),
        }
    })
}

fn asks(text: &str) -> (DmarcPolicy, DmarcPolicy, DmarcPolicy) {
    let asks = Record::parse(text).unwrap().asks.unwrap();
    (asks.itself, asks.below, asks.nonexistent)
}

#[test]
fn a_record_begins_with_its_version() {
    for text in
        ["v=DMARC1", "v=DMARC1;", "v=DMARC1; p=none", "v = DMARC1 ;p=none;", "V=DMARC1;p=none", " v=DMARC1"]
    {
        assert!(Record::parse(text).is_some(), "{text:?}");
    }
    for text in [
        "",
        "v=DMARC2; p=none",
        "v=dmarc1; p=none",
        "v=DMARC1 p=none",
        "v=DMARC12",
        "p=none; v=DMARC1",
        "DMARC1",
    ] {
        assert_eq!(Record::parse(text), None, "{text:?}");
    }
}

#[test]
fn policies_of_a_record() {
    assert_eq!(asks("v=DMARC1; p=reject"), (Reject, Reject, Reject));
    assert_eq!(asks("v=DMARC1; p=none; sp=quarantine"), (Nothing, Quarantine, Quarantine));
    assert_eq!(asks("v=DMARC1; np=reject; p=none"), (Nothing, Nothing, Reject));
    assert_eq!(asks("v=DMARC1; p=none; sp=quarantine; np=reject"), (Nothing, Quarantine, Reject));
    assert_eq!(
        asks("v=DMARC1; P = REJECT ; x=y; ; nonsense; pct=0; rf=afrf; ri=86400"),
        (Reject, Reject, Reject)
    );
    // Values that are wrong count as absent, but for the policies.
    let record = Record::parse("v=DMARC1; p=reject; adkim=strict; aspf=S; psd=x; t=1").unwrap();
    assert!(!record.strict_dkim && record.strict_spf && !record.testing);
    assert_eq!(record.psd, Psd::Unsaid);
    assert_eq!(Record::parse("v=DMARC1; psd=Y; t=y").unwrap().psd, Psd::Yes);
}

#[test]
fn a_policy_that_cannot_be_read_asks_for_nothing_or_is_not_applied() {
    let spoiled =
        ["", "; p=block", "; p=", "; p=reject; sp=quarantin", "; p=reject; np=x", "; p=none; p=reject"];
    for spoiled in spoiled {
        let record = |rest: &str| Record::parse(&format!("v=DMARC1{spoiled}{rest}")).unwrap();
        assert!(record("").asks.is_err(), "{spoiled}");
        for rua in ["mailto:a@b.example", "mailto:a@b.example!10m", "x:, https://b.example/r", "MAILTO:a@b"] {
            assert_eq!(record(&format!("; rua={rua}")).asks.unwrap().itself, Nothing, "{spoiled} {rua}");
        }
        for rua in ["", "a@b.example", "mailto:", "mailto:x", "mailto:a b@c", "1x:y"] {
            assert!(record(&format!("; rua={rua}")).asks.is_err(), "{spoiled} {rua}");
        }
    }
}

#[test]
fn several_records_are_none() {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert!(pick(&texts(&["v=spf1 -all", "v=DMARC1; p=none"])).unwrap().is_some());
    assert_eq!(pick(&texts(&["v=spf1 -all"])), Ok(None));
    assert_eq!(pick(&texts(&["v=DMARC1; p=none", "v=DMARC1; p=none"])), Err(2));
}

#[test]
fn names_of_a_walk() {
    assert_eq!(names(&domain("example.com")), ["example.com", "com"]);
    assert_eq!(names(&domain("com")), ["com"]);
    // Section 4.10.
    assert_eq!(
        names(&domain("a.b.c.d.e.f.g.h.i.j.mail.example.com")),
        [
            "a.b.c.d.e.f.g.h.i.j.mail.example.com",
            "g.h.i.j.mail.example.com",
            "h.i.j.mail.example.com",
            "i.j.mail.example.com",
            "j.mail.example.com",
            "mail.example.com",
            "example.com",
            "com"
        ]
    );
    assert_eq!(names(&domain("a.b.c.d.e.f.g.com")).len(), 8);
    assert_eq!(names(&domain("a.b.c.d.e.f.com")).len(), 7);
}

const PLAIN: &str = "v=DMARC1; p=reject";
const PSD: &str = "v=DMARC1; p=reject; psd=y";
const TOP: &str = "v=DMARC1; p=reject; psd=n";

/// Where the record stands that applies to letters of `start`.
fn applied(start: &str, zone: Zone<'_>) -> Option<String> {
    walk(start, zone).applied().unwrap().map(|(at, _)| at.to_owned())
}

fn related(one: &str, other: &str, zone: Zone<'_>) -> Relation {
    let (there, back) = (walk(one, zone), walk(other, zone));
    let relation = there.relation(&back);
    assert_eq!(relation, back.relation(&there));
    // Whatever is not even looked at is apart.
    assert!(there.may_relate(&domain(other)) || relation == Relation::Apart, "{one} {other}");
    relation
}

fn same(top: &str) -> Relation {
    Relation::Same(top.to_owned())
}

#[test]
fn the_walks_of_section_4_10_2() {
    let start = "a.mail.example.com";
    let (mail, com) = ("mail.example.com", "com");
    assert_eq!(related(start, "example.com", &[(mail, PLAIN), ("example.com", PLAIN)]), same("example.com"));
    assert_eq!(related(start, mail, &[(mail, TOP)]), same(mail));
    assert_eq!(related(start, "example.com", &[(mail, TOP), ("example.com", PLAIN)]), Relation::Apart);
    assert_eq!(related(start, "example.com", &[(com, PSD)]), same("example.com"));
    assert_eq!(related(start, "example.com", &[]), Relation::Apart);
    assert_eq!(applied(start, &[(com, PSD)]).as_deref(), Some("com"));
    assert_eq!(applied(start, &[(com, PSD), ("example.com", PLAIN)]).as_deref(), Some("example.com"));
    assert_eq!(applied(start, &[(com, PSD), (mail, PLAIN)]).as_deref(), Some("com"));
    assert_eq!(applied(start, &[(start, PLAIN), ("example.com", PLAIN)]).as_deref(), Some(start));
    assert_eq!(applied(start, &[("example.com", PLAIN), ("example.com", PLAIN)]), None);
    assert_eq!(applied(start, &[]), None);
    // A public suffix writes too.
    assert_eq!(applied("com", &[(com, PSD)]).as_deref(), Some("com"));
    assert_eq!(related("com", "example.com", &[(com, PSD)]), Relation::Apart);
}

#[test]
fn the_simple_example_of_appendix_b_4_1() {
    let zone: Zone<'_> = &[("example.com", PLAIN), ("signing.example.com", PLAIN)];
    assert_eq!(applied("example.com", zone).as_deref(), Some("example.com"));
    assert_eq!(related("example.com", "signing.example.com", zone), same("example.com"));
}

#[test]
fn the_deep_example_of_appendix_b_4_2() {
    let zone: Zone<'_> = &[("example.com", PLAIN), ("signing.example.com", PLAIN)];
    let author = "a.b.c.d.e.f.g.h.i.j.k.example.com";
    assert_eq!(applied(author, zone).as_deref(), Some("example.com"));
    assert_eq!(related(author, "example.com", zone), same("example.com"));
    assert_eq!(related(author, "signing.example.com", zone), same("example.com"));
}

#[test]
fn the_public_suffix_of_appendix_b_4_3() {
    let zone: Zone<'_> = &[("bank.example", PSD), ("giant.bank.example", PLAIN)];
    assert_eq!(applied("giant.bank.example", zone).as_deref(), Some("giant.bank.example"));
    assert_eq!(related("giant.bank.example", "mail.giant.bank.example", zone), same("giant.bank.example"));
    assert_eq!(related("giant.bank.example", "mail.mega.bank.example", zone), Relation::Apart);
    assert_eq!(applied("mail.mega.bank.example", zone).as_deref(), Some("bank.example"));
}

#[test]
fn a_fault_matters_only_where_it_may_hide_what_decides() {
    // Whatever the top-level domain publishes, these two belong together.
    let zone: Zone<'_> = &[("com", FAULT), ("example.com", PLAIN)];
    assert_eq!(related("example.com", "mail.example.com", zone), same("example.com"));
    assert_eq!(walk("example.com", zone).applied().unwrap().unwrap().0, "example.com");
    // These only if it publishes a record without psd=.
    assert_eq!(related("example.com", "example2.com", zone), Relation::Unknown("SERVFAIL".into()));
    assert_eq!(related("example.com", "example.org", zone), Relation::Apart);
    assert!(walk("mail.example.com", zone).applied().is_err());
    // Beyond the end of the walk it is nobody's business.
    let zone: Zone<'_> = &[("com", FAULT), ("example.com", TOP)];
    assert_eq!(related("example.com", "example2.com", zone), Relation::Apart);
    assert_eq!(applied("mail.example.com", zone).as_deref(), Some("example.com"));
}

fn by(mechanism: Mechanism, name: &str) -> Identifier {
    Identifier { domain: domain(name), mechanism, fault: None }
}

fn judge(author: &str, exists: Option<bool>, identifiers: &[Identifier], zone: Zone<'_>) -> DmarcEvidence {
    let author = Author { domain: domain(author), walk: walk(author, zone), exists: exists.map(Ok) };
    let walks: Vec<(Domain, Walk)> = identifiers
        .iter()
        .filter(|one| author.asks_about(one))
        .map(|one| (one.domain.clone(), walk(one.domain.as_str(), zone)))
        .collect();
    author.judge(identifiers, |wanted| walks.iter().find(|(name, _)| name == wanted).map(|(_, walk)| walk))
}

#[test]
fn alignment_by_mode() {
    let strict = "v=DMARC1; p=reject; adkim=s; aspf=s";
    use Mechanism::{Dkim, Spf};
    for (identifier, record, passes) in [
        (by(Dkim, "example.com"), PLAIN, true),
        (by(Dkim, "example.com"), strict, true),
        (by(Dkim, "mail.example.com"), PLAIN, true),
        (by(Dkim, "mail.example.com"), strict, false),
        (by(Dkim, "mail.example.com"), "v=DMARC1; p=reject; aspf=s", true),
        (by(Spf, "mail.example.com"), "v=DMARC1; p=reject; aspf=s", false),
        (by(Spf, "mail.example.com"), "v=DMARC1; p=reject; adkim=s", true),
        (by(Spf, "notexample.com"), PLAIN, false),
        (by(Spf, "com"), PLAIN, false),
    ] {
        let evidence =
            judge("example.com", None, std::slice::from_ref(&identifier), &[("example.com", record)]);
        let wanted = if passes { DmarcResult::Pass } else { DmarcResult::Fail };
        assert_eq!((evidence.result, evidence.policy), (wanted, Reject), "{identifier} {record}");
    }
}

#[test]
fn the_policy_that_applies() {
    let record = "v=DMARC1; p=none; sp=quarantine; np=reject";
    let tested = "v=DMARC1; p=reject; sp=quarantine; np=none; t=y";
    for (author, exists, record, policy) in [
        ("example.com", None, record, Nothing),
        ("www.example.com", Some(true), record, Quarantine),
        ("www.example.com", Some(false), record, Reject),
        ("example.com", None, tested, Quarantine),
        ("www.example.com", Some(true), tested, Nothing),
        ("www.example.com", Some(false), tested, Nothing),
    ] {
        let evidence = judge(author, exists, &[], &[("example.com", record)]);
        assert_eq!(
            (evidence.result, evidence.policy),
            (DmarcResult::Fail, policy),
            "{author} {exists:?} {record}"
        );
        assert_eq!(evidence.record_at.as_deref(), Some("example.com"));
    }
    let none = judge("example.com", None, &[by(Mechanism::Spf, "example.com")], &[]);
    assert_eq!((none.result, none.record_at), (DmarcResult::None, None));
    let bad =
        judge("example.com", None, &[by(Mechanism::Spf, "example.com")], &[("example.com", "v=DMARC1; p=x")]);
    assert!(matches!(bad.result, DmarcResult::PermError(_)) && bad.policy == Nothing);
}

#[test]
fn what_cannot_be_known_now_is_open_only_where_it_decides() {
    let late = |name: &str| Identifier { fault: Some("SERVFAIL".into()), ..by(Mechanism::Dkim, name) };
    let zone: Zone<'_> = &[("example.com", PLAIN)];
    let is_open = |identifiers: &[Identifier], zone: Zone<'_>| {
        judge("example.com", None, identifiers, zone).open().is_some()
    };
    assert!(is_open(&[late("example.com")], zone));
    assert!(is_open(&[late("mail.example.com")], zone));
    assert!(!is_open(&[late("example.org")], zone));
    assert!(!is_open(&[late("example.com"), by(Mechanism::Spf, "mail.example.com")], zone));
    assert!(!is_open(&[late("example.com")], &[("example.com", "v=DMARC1; p=none")]));
    // The record itself.
    let zone: Zone<'_> = &[("example.com", FAULT)];
    assert!(is_open(&[], zone) && is_open(&[by(Mechanism::Dkim, "mail.example.com")], zone));
    assert_eq!(
        judge("example.com", None, &[by(Mechanism::Dkim, "example.com")], zone).result,
        DmarcResult::Pass
    );
    // Whether the domain exists.
    let author = |zone| Author {
        domain: domain("www.example.com"),
        walk: walk("www.example.com", zone),
        exists: Some(Err("SERVFAIL".into())),
    };
    let differs = author(&[("example.com", "v=DMARC1; p=none; np=reject")]);
    assert!(differs.existence_matters());
    assert!(differs.judge(&[], |_| None).open().is_some());
    assert!(!author(&[("example.com", "v=DMARC1; p=reject; sp=none")]).existence_matters());
}

#[test]
fn the_reason_is_a_sentence() {
    let why =
        |identifiers: &[Identifier]| judge("example.com", None, identifiers, &[("example.com", PLAIN)]).why;
    let (spf, dkim) = (by(Mechanism::Spf, "bounce.example.net"), by(Mechanism::Dkim, "example.org"));
    assert_eq!(why(&[]), "neither SPF nor DKIM passes for example.com or any other domain");
    assert_eq!(
        why(std::slice::from_ref(&spf)),
        "SPF of bounce.example.net passes, but that is not aligned with example.com"
    );
    assert_eq!(
        why(&[spf, dkim]),
        "SPF of bounce.example.net, DKIM of example.org pass, but none of them is aligned with example.com"
    );
    assert_eq!(
        why(&[by(Mechanism::Dkim, "mail.example.com")]),
        "DKIM of mail.example.com is aligned with example.com, relaxed: both belong to example.com"
    );
    let steps =
        judge("example.com", None, &[by(Mechanism::Spf, "example.net")], &[("example.com", PSD)]).steps;
    assert_eq!(
        steps,
        [
            "_dmarc.example.com: p=reject sp=reject np=reject psd=y",
            "SPF of example.net: not aligned with example.com"
        ]
    );
}

const RECORDS: [&str; 7] = ["", PLAIN, PSD, TOP, "v=DMARC1", FAULT, "v=DMARC1; p=none; adkim=s"];

proptest! {
    /// A fault never makes a pass or a failure of what the answer behind it would have decided otherwise.
    #[test]
    fn a_fault_decides_nothing(
        author in "([ab]\\.){0,4}[xy]\\.z",
        other in "([ab]\\.){0,4}[xy]\\.z",
        seen in proptest::collection::vec(0usize..6, 24),
        behind in proptest::collection::vec(0usize..5, 24),
    ) {
        let mut places: Vec<String> = names(&domain(&author)).into_iter().map(str::to_owned).collect();
        places.extend(names(&domain(&other)).into_iter().map(str::to_owned));
        places.sort();
        places.dedup();
        let zone = |behind: Option<&[usize]>| -> Vec<(String, &'static str)> {
            places.iter().enumerate().map(|(at, name)| {
                let text = RECORDS[seen[at]];
                (name.clone(), match behind { Some(behind) if text == FAULT => RECORDS[behind[at]], _ => text })
            }).filter(|(_, text)| !text.is_empty()).collect()
        };
        let identifiers = [by(Mechanism::Dkim, &other)];
        let run = |zone: &[(String, &str)]| {
            let zone: Vec<(&str, &str)> = zone.iter().map(|(name, text)| (name.as_str(), *text)).collect();
            judge(&author, Some(true), &identifiers, &zone)
        };
        let (faulty, whole) = (run(&zone(None)), run(&zone(Some(&behind))));
        prop_assert!(!matches!(whole.result, DmarcResult::TempError(_)), "{whole:?}");
        match faulty.result {
            DmarcResult::TempError(_) => (),
            // The author's own signature passes before its record is known.
            DmarcResult::Pass if author == other => (),
            result => prop_assert_eq!((result, faulty.policy), (whole.result, whole.policy)),
        }
    }

    #[test]
    fn any_text_is_read(text in "(v=DMARC1)?[ -~\t\u{e9};=]{0,60}") {
        if let Some(record) = Record::parse(&text) {
            prop_assert!(text.to_ascii_lowercase().trim_start().starts_with('v'));
            prop_assert_eq!(Record::parse(&format!("{text};unknown=1")).map(|other| other.psd), Some(record.psd));
        }
    }
}
