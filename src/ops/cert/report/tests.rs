use super::*;
use crate::certs::files::Paths;

const DAY: i64 = 24 * 3600;
const MX: &str = "mx.here.example";

fn facts(names: &[&str]) -> Facts {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Facts::of(rcgen::generate_simple_self_signed(names).unwrap().cert.der()).unwrap()
}

fn kept(facts: Result<Facts, String>) -> Kept {
    let paths = Paths { cert: "/x/fullchain.pem".into(), key: "/x/privkey.pem".into() };
    Kept { origin: Origin::Files(paths), facts, next: None, trouble: None }
}

fn served(found: Found) -> Served {
    Served { door: "mx", address: "127.0.0.1:25".parse().unwrap(), name: MX.into(), found }
}

#[test]
fn the_status_says_what_is_wrong_before_what_is_unknown() {
    let good = || kept(Ok(facts(&[MX])));
    let (begin, end) = (facts(&[MX]).not_before, facts(&[MX]).not_after);
    let other = Found::Other(Box::new(facts(&["old.example"])));
    let exit = |kept: Kept, found: Vec<Served>, unknown: Option<&str>, now: i64| {
        let report = Report::of(MX, &[kept], &found, unknown.map(String::from), now);
        let failure = report.verdict().err();
        assert_eq!(failure.is_none(), report.ok);
        failure.map(|failure| (failure.exit, failure.message))
    };
    let now = begin + DAY;
    assert_eq!(exit(good(), vec![served(Found::Same)], None, now), None);
    let rows = [
        (exit(good(), vec![served(other)], None, now), Exit::Unavailable, "one for old.example"),
        (
            exit(good(), vec![served(Found::NoTls("it does not offer it".into()))], None, now),
            Exit::Unavailable,
            "has no TLS",
        ),
        (exit(good(), vec![served(Found::Same)], None, end + 1), Exit::Unavailable, "expired"),
        (exit(good(), vec![served(Found::Same)], None, begin - 1), Exit::Unavailable, "not valid before"),
        (exit(kept(Err("/x: gone".into())), vec![], Some("no server"), now), Exit::Unavailable, "/x: gone"),
        (exit(good(), vec![], Some("no server"), now), Exit::TempFail, "no server"),
        (
            exit(good(), vec![served(Found::Unknown("no connection".into()))], None, now),
            Exit::TempFail,
            "no connection",
        ),
    ];
    for (found, exit, why) in rows {
        let (found, said) = found.unwrap();
        assert!(found == exit && said.contains(why), "{found:?} {said}");
    }
}

#[test]
fn the_record_is_ready_for_a_zone() {
    let ours = facts(&[MX, "www.here.example"]);
    let record = format!("_25._tcp.mx.here.example. IN TLSA 3 1 1 {}", words::hex(&ours.key));
    assert_eq!(tlsa(&ours, "MX.here.example"), std::slice::from_ref(&record));
    let elsewhere = facts(&["a.example", "*.example"]);
    assert!(matches!(&tlsa(&elsewhere, MX)[..], [one] if one.starts_with("_25._tcp.a.example. IN TLSA")));
    crate::ops::trial::dns::parse(&record.replace(" IN", " 3600 IN")).unwrap();
}

#[test]
fn the_text_shows_what_renews_it_and_what_failed() {
    let facts = facts(&[MX]);
    let now = facts.not_before;
    let kept = Kept {
        origin: Origin::Authority { directory: "https://ca.example/directory".into(), name: MX.into() },
        facts: Ok(facts),
        next: Some(now + 3 * DAY),
        trouble: Some("the authority\x1b[2J is down".into()),
    };
    let report = Report::of(MX, &[kept], &[served(Found::Same)], None, now);
    let text = report.text(now);
    for part in
        ["ca.example", "renewal  in 3 d", "is down", "mx 127.0.0.1:25 shows what is on disk", "days left"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains('\x1b'));
}

#[test]
fn one_that_nobody_renews_in_time_is_wrong_before_it_expires() {
    let facts = facts(&[MX]);
    let late = facts.not_after - (facts.not_after - facts.not_before) / 6 + 60;
    let origin = Origin::Authority { directory: "https://ca.example/directory".into(), name: MX.into() };
    let from_authority = Kept { origin, facts: Ok(facts.clone()), next: Some(late), trouble: None };
    let wrong = |kept: &Kept, now| {
        Report::of(MX, std::slice::from_ref(kept), &[served(Found::Same)], None, now).wrong
    };
    assert!(
        matches!(&wrong(&from_authority, late)[..], [one] if one.contains("is not renewed: valid until"))
    );
    assert!(wrong(&from_authority, late - 3600).is_empty());
    assert!(matches!(&wrong(&from_authority, facts.not_after + 1)[..], [one] if one.contains("expired")));
    assert!(wrong(&kept(Ok(facts)), late).is_empty(), "others renew these");
}
