use super::*;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::fs;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// 2026-01-01.
const NOW: i64 = 1_767_225_600;
const YEAR: i64 = 365 * DAILY;
const MX: &str = "mx.here.example";

/// certbot's layout, with one name.
struct Certbot(TempDir);

/// What is in `archive/`: a chain and a key.
struct Renewal {
    chain: String,
    key: String,
}

/// Valid from the first to the second year's beginning.
fn issued(names: &[&str], (from, until): (i32, i32)) -> Renewal {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    Renewal { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

fn good() -> Renewal {
    issued(&[MX], (2025, 2027))
}

impl Certbot {
    fn new(first: &Renewal) -> Certbot {
        let here = Certbot(tempfile::tempdir().unwrap());
        fs::create_dir_all(here.at("live")).unwrap();
        fs::create_dir_all(here.at("archive")).unwrap();
        here.archive(1, first);
        here.link("cert", 1);
        here.link("key", 1);
        here
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn archive(&self, number: u32, renewal: &Renewal) {
        fs::write(self.at(&format!("archive/cert{number}")), &renewal.chain).unwrap();
        fs::write(self.at(&format!("archive/key{number}")), &renewal.key).unwrap();
    }

    /// certbot unlinks, then links: for a moment there is nothing.
    fn link(&self, what: &str, number: u32) {
        let link = self.at(&format!("live/{what}"));
        let _ = fs::remove_file(&link);
        symlink(format!("../archive/{what}{number}"), link).unwrap();
    }

    fn renew(&self, number: u32, renewal: &Renewal) {
        self.archive(number, renewal);
        self.link("cert", number);
        self.link("key", number);
    }

    fn watched(&self) -> Watched {
        let own = issued(&["own.example"], (2020, 2099));
        let own = Pair::from_pem(own.chain.as_bytes(), own.key.as_bytes()).unwrap();
        Watched::new(Paths { cert: self.at("live/cert"), key: self.at("live/key") }, own)
    }

    /// One that shows the first renewal.
    fn shown(first: &Renewal) -> (Certbot, Watched) {
        let here = Certbot::new(first);
        let mut watched = here.watched();
        assert!(matches!(watched.look(NOW, true), Some(News::Taken(_))) && !watched.stands_in());
        (here, watched)
    }
}

fn facts(renewal: &Renewal) -> Facts {
    Pair::from_pem(renewal.chain.as_bytes(), renewal.key.as_bytes()).unwrap().facts
}

/// The sentence of a refusal.
#[track_caller]
fn refused(news: Option<News>) -> String {
    match news {
        Some(News::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_renewal_is_taken_at_the_next_look_and_said_once() {
    let (here, mut watched) = Certbot::shown(&good());
    assert_eq!((watched.look(NOW, false), watched.look(NOW, false)), (None, None));
    let second = good();
    here.renew(2, &second);
    assert_eq!(watched.look(NOW, false), Some(News::Taken(Box::new(facts(&second)))));
    assert_eq!(watched.shown().facts, facts(&second));
    for _ in 0..4 {
        assert_eq!(watched.look(NOW, false), None);
    }
}

#[test]
fn what_changed_is_read_twice_and_then_no_more_until_it_changes() {
    let (_here, mut watched) = Certbot::shown(&good());
    let settled = |watched: &Watched| matches!(watched.seen, Some((_, true)));
    assert!(!settled(&watched));
    watched.look(NOW, false);
    assert!(settled(&watched));
    // Written in place, and its time set back: ctime betrays it.
    let key = watched.files().key.clone();
    let before = fs::metadata(&key).unwrap().modified().unwrap();
    fs::write(&key, good().key).unwrap();
    fs::File::options().write(true).open(&key).unwrap().set_modified(before).unwrap();
    assert_eq!(watched.look(NOW, false), None);
    assert!(watched.refused.is_some());
}

#[test]
fn half_a_renewal_is_waited_for_and_spoken_of_only_when_it_lasts() {
    let (here, mut watched) = Certbot::shown(&good());
    let second = good();
    here.archive(2, &second);
    here.link("cert", 2);
    assert_eq!(watched.look(NOW, false), None);
    here.link("key", 2);
    assert!(matches!(watched.look(NOW, false), Some(News::Taken(_))));

    here.archive(3, &good());
    here.link("key", 3);
    assert_eq!(watched.look(NOW, false), None);
    let why = refused(watched.look(NOW, false));
    assert!(why.contains("live/cert") && why.contains("live/key") && why.contains("one renewal"), "{why}");
    for _ in 0..4 {
        assert_eq!(watched.look(NOW, false), None, "said once");
    }
    assert_eq!(watched.shown().facts, facts(&second));
    here.link("cert", 3);
    assert!(matches!(watched.look(NOW, false), Some(News::Taken(_))));
}

#[test]
fn what_is_worse_is_refused_with_its_reason() {
    let rows = [
        (issued(&[MX], (2020, 2021)), "it expired 202"),
        (issued(&[MX], (2030, 2031)), "it is not valid before 20"),
        (
            issued(&["www.here.example"], (2025, 2027)),
            "it is for www.here.example, the old one is for mx.here.example",
        ),
        (issued(&[], (2025, 2027)), "it is for no name"),
        (Renewal { chain: "-----BEGIN".into(), ..good() }, "certificate"),
        (Renewal { key: String::new(), ..good() }, "no PEM private key"),
        (Renewal { key: good().key, ..good() }, "not that of the first certificate"),
    ];
    for (worse, why) in rows {
        let first = good();
        let (here, mut watched) = Certbot::shown(&first);
        here.renew(2, &worse);
        assert_eq!(watched.look(NOW, false), None);
        let said = refused(watched.look(NOW, false));
        assert!(said.contains("live/cert") && said.contains(why), "{said}, not {why}");
        assert_eq!(watched.shown().facts, facts(&first), "{why}");
        let outcome = watched.outcome(NOW, None);
        assert!(
            !outcome.good && outcome.said.contains(why) && outcome.said.contains("the old one"),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_pair_that_was_not_valid_yet_is_taken_when_it_is() {
    let (here, mut watched) = Certbot::shown(&good());
    let future = issued(&[MX], (2026, 2027));
    here.renew(2, &future);
    let before = NOW - DAILY;
    assert_eq!(watched.look(before, false), None);
    assert!(refused(watched.look(before, false)).contains("taken then"));
    assert_eq!(watched.look(before, false), None);
    assert!(matches!(watched.look(NOW, false), Some(News::Taken(_))), "no file has changed since");
}

#[test]
fn what_is_no_worse_than_an_expired_one_is_taken() {
    let (here, mut watched) = Certbot::shown(&issued(&[MX], (2020, 2021)));
    here.renew(2, &issued(&[MX, "new.example"], (2020, 2022)));
    assert!(matches!(watched.look(NOW, false), Some(News::Taken(_))));
    here.renew(3, &issued(&["*.here.example"], (2025, 2027)));
    assert!(matches!(watched.look(NOW, false), Some(News::Taken(_))), "a wildcard covers the old name");
    here.renew(4, &good());
    assert!(matches!(watched.look(NOW, false), Some(News::Taken(_))), "and the other way round");
}

#[test]
fn files_that_are_gone_leave_the_old_pair_and_one_line() {
    let first = good();
    let (here, mut watched) = Certbot::shown(&first);
    fs::remove_dir_all(here.at("live")).unwrap();
    assert_eq!(watched.look(NOW, false), None);
    let why = refused(watched.look(NOW, false));
    assert!(why.contains("live/cert: No such file") && why.contains("certbot certificates"), "{why}");
    fs::remove_dir_all(here.at("archive")).unwrap();
    assert_eq!((watched.look(NOW, false), watched.look(NOW, false)), (None, None));
    assert_eq!(watched.shown().facts, facts(&first));
}

#[test]
fn what_cannot_be_used_at_the_start_is_said_at_once_and_looked_at_again() {
    let broken = Renewal { key: String::new(), ..issued(&[MX], (2020, 2021)) };
    let here = Certbot::new(&broken);
    let mut watched = here.watched();
    assert!(refused(watched.look(NOW, true)).contains("no PEM private key"));
    assert!(watched.stands_in() && watched.age(NOW).is_none());
    assert_eq!((watched.look(NOW, false), watched.look(NOW, false)), (None, None));
    // Even one that has expired is the owner's, and its key may stand in DNS.
    here.renew(2, &issued(&[MX], (2020, 2021)));
    assert!(matches!(watched.look(NOW, false), Some(News::Taken(_))));
    assert_eq!(watched.age(NOW), Some(Age::Expired));
    assert!(!watched.outcome(NOW, None).good);
}

#[test]
fn an_order_needs_no_second_look() {
    let (here, mut watched) = Certbot::shown(&good());
    here.archive(2, &good());
    here.link("key", 2);
    let news = watched.look(NOW, true);
    assert!(!watched.outcome(NOW, news.as_ref()).good);
    refused(news);
    here.link("cert", 2);
    let news = watched.look(NOW, true);
    let said = watched.outcome(NOW, news.as_ref());
    assert!(said.good && said.said.contains("from now on") && said.said.contains("days left"), "{said:?}");
    let news = watched.look(NOW, true);
    assert!(watched.outcome(NOW, news.as_ref()).said.contains("as it is in the file"));
}

#[test]
fn age_is_spoken_of_once_a_day() {
    let (_here, mut watched) = Certbot::shown(&good());
    let end = NOW + YEAR;
    assert_eq!(watched.age(end - NEAR_END - 1), None);
    assert_eq!(watched.age(end - NEAR_END + 1), Some(Age::Old));
    assert_eq!(watched.age(end - NEAR_END + DAILY), None);
    assert_eq!(watched.age(end - NEAR_END + DAILY + 1), Some(Age::Old));
    assert_eq!(watched.age(end + 1), Some(Age::Expired));
    assert_eq!(watched.age(end + 2), None);
}

#[test]
fn a_short_life_is_old_in_its_last_third() {
    let mut facts = facts(&good());
    (facts.not_before, facts.not_after) = (NOW, NOW + 6 * DAILY);
    assert_eq!(age(&facts, NOW + 3 * DAILY), None);
    assert_eq!(age(&facts, NOW + 4 * DAILY + 1), Some(Age::Old));
}
