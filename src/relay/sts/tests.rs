use super::*;
use crate::net::dns::tests::{Authority, a};
use crate::net::https::tests::{Answer, Flaw, Site, response};
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::TXT;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 24 * 3600;
const WEEK: i64 = 7 * DAY;
const OK: &str = "HTTP/1.1 200 OK\nContent-Type: text/plain";
const ENFORCE: &str = "version: STSv1\nmode: enforce\nmx: mx.me.test\nmax_age: 604800\n";

/// A domain with its policy host, and what a server remembers of it over restarts.
struct Town {
    site: Site,
    state: tempfile::TempDir,
    authority: Authority,
}

impl Town {
    async fn new(flaw: Flaw) -> Town {
        let site = Site::start("mta-sts.me.test", flaw).await;
        site.say(OK, ENFORCE);
        Town { site, state: tempfile::tempdir().unwrap(), authority: dns(&["v=STSv1; id=1;"]).await }
    }

    /// A server that has just started.
    fn cache(&self) -> StsCache {
        self.cache_with(PATIENCE)
    }

    fn cache_with(&self, patience: Duration) -> StsCache {
        let https = Https {
            dns: self.authority.dns.clone(),
            tls: self.site.tls.clone(),
            port: self.site.port,
            source: Vec::new(),
            allow_private: true,
        };
        StsCache::new(https, Shelf::open(self.state.path().join("mta-sts")), patience)
    }

    /// Other records from now on, for caches that are made from now on.
    async fn publish(&mut self, records: &[&str]) {
        self.authority = dns(records).await;
    }

    fn fetches(&self) -> usize {
        self.site.requests().len()
    }

    fn files(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.state.path().join("mta-sts")).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }
}

async fn dns(records: &[&str]) -> Authority {
    let mut zone = vec![("me.test.", a("127.0.0.1")), ("mta-sts.me.test.", a("127.0.0.1"))];
    for text in records {
        zone.push(("_mta-sts.me.test.", RData::TXT(TXT::new(vec![(*text).into()]))));
    }
    Authority::start(&zone).await
}

fn me() -> Domain {
    Domain::parse("me.test").unwrap()
}

async fn mode(cache: &StsCache, now: i64) -> Option<Mode> {
    cache.policy(&me(), now).await.unwrap().map(|policy| policy.mode)
}

/// What a mode and a time to live look like.
fn policy(mode: &str, max_age: i64) -> String {
    format!("version: STSv1\nmode: {mode}\nmx: mx.me.test\nmax_age: {max_age}\n")
}

#[tokio::test]
async fn a_policy_is_fetched_once_and_outlives_a_restart() {
    let town = Town::new(Flaw::None).await;
    let cache = town.cache();
    let expected = Policy { mode: Mode::Enforce, mx: vec!["mx.me.test".into()], max_age: 604_800 };
    assert_eq!(cache.policy(&me(), NOW).await, Ok(Some(expected.clone())));
    assert_eq!(cache.policy(&me(), NOW + 100).await, Ok(Some(expected.clone())));
    assert_eq!(town.cache().policy(&me(), NOW + 200).await, Ok(Some(expected)));
    assert_eq!(town.fetches(), 1);
    assert!(town.site.requests()[0].starts_with("GET /.well-known/mta-sts.txt HTTP/1.1\r\n"));
    assert_eq!(town.files(), ["me.test"]);
}

#[tokio::test]
async fn a_domain_that_publishes_nothing_has_none_and_is_not_asked() {
    let mut town = Town::new(Flaw::None).await;
    for records in [&[][..], &["v=spf1 -all"], &["v=STSv1; id=1", "v=STSv1; id=2"], &["v=STSv1"]] {
        town.publish(records).await;
        assert_eq!(mode(&town.cache(), NOW).await, None, "{records:?}");
    }
    let elsewhere = Domain::parse("elsewhere.example").unwrap();
    assert_eq!(town.cache().policy(&elsewhere, NOW).await, Ok(None), "DNS fails");
    assert_eq!(town.fetches(), 0);
    assert!(town.files().is_empty());
}

#[tokio::test]
async fn what_is_not_sent_as_it_must_be_is_no_policy() {
    let town = Town::new(Flaw::None).await;
    let long = format!("{ENFORCE}x: {}\n", "y".repeat(1 << 20));
    let rows = [
        ("HTTP/1.1 301 Moved\nLocation: /other\nContent-Type: text/plain", ENFORCE),
        ("HTTP/1.1 404 Not Found\nContent-Type: text/plain", ENFORCE),
        ("HTTP/1.1 200 OK\nContent-Type: text/html", ENFORCE),
        ("HTTP/1.1 200 OK\nContent-Type: text/plainer", ENFORCE),
        ("HTTP/1.1 200 OK", ENFORCE),
        (OK, &long),
        (OK, "<html>"),
        (OK, ""),
    ];
    for (head, body) in rows {
        town.site.say(head, body);
        assert_eq!(mode(&town.cache(), NOW).await, None, "{head}");
    }
    town.site.answer(Answer::Cut(response(OK, ENFORCE)));
    assert_eq!(mode(&town.cache(), NOW).await, None, "it may go on");
    assert_eq!(town.fetches(), rows.len() + 1, "nobody is followed");
    assert!(town.files().is_empty());

    let chunks = format!("{:x}\r\n{ENFORCE}\r\n0\r\n\r\n", ENFORCE.len());
    town.site
        .say("HTTP/1.1 200 OK\nContent-Type: TEXT/plain;charset=utf-8\nTransfer-Encoding: chunked", &chunks);
    assert_eq!(mode(&town.cache(), NOW).await, Some(Mode::Enforce));
}

#[tokio::test]
async fn a_certificate_that_is_not_right_vouches_for_no_policy() {
    for flaw in [Flaw::Expired, Flaw::UnknownAuthority] {
        let town = Town::new(flaw).await;
        assert_eq!(mode(&town.cache(), NOW).await, None);
        assert_eq!(town.fetches(), 0);
    }
    let mut town = Town::new(Flaw::None).await;
    town.site = Site::start("me.test", Flaw::None).await;
    town.site.say(OK, ENFORCE);
    assert_eq!(mode(&town.cache(), NOW).await, None, "the name is mta-sts.me.test");
}

#[tokio::test]
async fn a_new_id_brings_the_new_policy() {
    let mut town = Town::new(Flaw::None).await;
    assert_eq!(mode(&town.cache(), NOW).await, Some(Mode::Enforce));
    town.site.say(OK, &policy("testing", WEEK));
    assert_eq!(mode(&town.cache(), NOW + 1).await, Some(Mode::Enforce), "the id is the same");
    town.publish(&["v=STSv1; id=2"]).await;
    assert_eq!(mode(&town.cache(), NOW + 2).await, Some(Mode::Testing));
    assert_eq!(town.fetches(), 2);
    town.publish(&["v=STSv1; id=3"]).await;
    town.site.say(OK, "version: STSv1\nmode: none\nmax_age: 86400");
    assert_eq!(mode(&town.cache(), NOW + 3).await, None, "it asks for nothing any more");
    assert_eq!(mode(&town.cache(), NOW + 4).await, None);
    assert_eq!(town.fetches(), 3, "which is remembered, too");
}

#[tokio::test]
async fn a_fetch_that_fails_takes_nothing_away_until_the_policy_expires() {
    let mut town = Town::new(Flaw::None).await;
    assert_eq!(mode(&town.cache(), NOW).await, Some(Mode::Enforce));
    town.publish(&["v=STSv1; id=2"]).await;
    town.site.say("HTTP/1.1 500 Oops", "");
    let cache = town.cache();
    assert_eq!(mode(&cache, NOW + 10).await, Some(Mode::Enforce));
    assert_eq!(mode(&cache, NOW + WEEK).await, Some(Mode::Enforce));
    assert_eq!(mode(&cache, NOW + WEEK + 1).await, None);
    assert_eq!(mode(&town.cache(), NOW + WEEK).await, Some(Mode::Enforce), "after a restart as well");
}

#[tokio::test]
async fn without_its_record_a_policy_stays_until_it_expires() {
    let mut town = Town::new(Flaw::None).await;
    assert_eq!(mode(&town.cache(), NOW).await, Some(Mode::Enforce));
    for records in [&[][..], &["v=STSv1; id=1", "v=STSv1; id=2"]] {
        town.publish(records).await;
        assert_eq!(mode(&town.cache(), NOW + WEEK).await, Some(Mode::Enforce), "{records:?}");
        assert_eq!(mode(&town.cache(), NOW + WEEK + 1).await, None, "{records:?}");
    }
    assert_eq!(town.fetches(), 1);
}

#[tokio::test]
async fn where_dns_fails_a_policy_stays() {
    let town = Town::new(Flaw::None).await;
    let elsewhere = Domain::parse("elsewhere.example").unwrap();
    let cache = town.cache();
    let kept = Kept { id: "1".into(), fetched: NOW, policy: Policy::parse(ENFORCE.as_bytes()).unwrap() };
    cache.inner.shelf.store(&elsewhere, &kept).unwrap();
    assert_eq!(cache.policy(&elsewhere, NOW + WEEK).await, Ok(Some(kept.policy)));
    assert_eq!(cache.policy(&elsewhere, NOW + WEEK + 1).await, Ok(None));
}

#[tokio::test]
async fn a_failed_fetch_is_not_repeated_for_five_minutes() {
    let town = Town::new(Flaw::None).await;
    town.site.say("HTTP/1.1 500 Oops", "");
    let cache = town.cache();
    for (now, fetches) in [(NOW, 1), (NOW + 299, 1), (NOW + 300, 2), (NOW + 301, 2)] {
        assert_eq!(mode(&cache, now).await, None);
        assert_eq!(town.fetches(), fetches);
    }
    town.site.say(OK, ENFORCE);
    assert_eq!(mode(&cache, NOW + 302).await, None);
    assert_eq!(mode(&cache, NOW - DAY).await, Some(Mode::Enforce), "a clock that was put back stops nothing");
}

#[tokio::test]
async fn an_expired_policy_is_fetched_again_and_one_without_time_is_good_for_now() {
    let town = Town::new(Flaw::None).await;
    let cache = town.cache();
    assert_eq!(mode(&cache, NOW).await, Some(Mode::Enforce));
    town.site.say(OK, &policy("testing", 0));
    assert_eq!(mode(&cache, NOW + WEEK + 1).await, Some(Mode::Testing));
    assert_eq!(mode(&cache, NOW + WEEK + 2).await, Some(Mode::Testing));
    assert_eq!(town.fetches(), 3);
}

#[tokio::test]
async fn an_old_policy_is_renewed_in_passing() {
    for (max_age, old) in [(WEEK, DAY), (1000, 500)] {
        let town = Town::new(Flaw::None).await;
        town.site.say(OK, &policy("enforce", max_age));
        let cache = town.cache();
        assert_eq!(mode(&cache, NOW).await, Some(Mode::Enforce));
        assert_eq!(mode(&cache, NOW + old - 1).await, Some(Mode::Enforce));
        assert_eq!(town.fetches(), 1);
        town.site.answer(Answer::Held);
        assert_eq!(mode(&cache, NOW + old).await, Some(Mode::Enforce), "nobody waits for it");
        assert_eq!(mode(&cache, NOW + old).await, Some(Mode::Enforce), "nor fetches it twice");
        town.site.reached(2).await;
        town.site.say(OK, &policy("testing", max_age));
        let seat = cache.seat(&me()).await.unwrap();
        drop(seat.turn.lock().await);
        assert_eq!(mode(&cache, NOW + old + max_age).await, Some(Mode::Testing));
        assert_eq!(town.cache().inner.shelf.load(&me()).unwrap().unwrap().fetched, NOW + old, "durably");
    }
}

#[tokio::test]
async fn a_slow_site_holds_up_no_letter_and_its_policy_counts_when_it_comes() {
    let town = Town::new(Flaw::None).await;
    town.site.answer(Answer::Held);
    let cache = town.cache_with(Duration::from_millis(50));
    // Patience may end before the request is on its way.
    while town.fetches() == 0 {
        assert_eq!(mode(&cache, NOW).await, None);
    }
    assert_eq!(mode(&cache, NOW).await, None);
    town.site.say(OK, ENFORCE);
    while mode(&cache, NOW).await.is_none() {}
    assert_eq!(town.fetches(), 1, "one fetch at a time");
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_fetch() {
    let town = Town::new(Flaw::None).await;
    town.site.answer(Answer::Held);
    let cache = town.cache();
    let ask = || {
        let cache = cache.clone();
        tokio::spawn(async move { mode(&cache, NOW).await })
    };
    let asking: Vec<_> = (0..20).map(|_| ask()).collect();
    town.site.reached(1).await;
    town.site.say(OK, ENFORCE);
    for asked in asking {
        assert_eq!(asked.await.unwrap(), Some(Mode::Enforce));
    }
    assert_eq!(town.fetches(), 1);
}

#[tokio::test]
async fn a_policy_from_the_future_counts_from_now() {
    let mut town = Town::new(Flaw::None).await;
    assert_eq!(mode(&town.cache(), NOW + 1000 * WEEK).await, Some(Mode::Enforce));
    town.publish(&[]).await;
    assert_eq!(mode(&town.cache(), NOW).await, Some(Mode::Enforce));
    let cache = town.cache();
    assert_eq!(mode(&cache, NOW + WEEK).await, Some(Mode::Enforce), "durably");
    assert_eq!(mode(&cache, NOW + WEEK + 1).await, None);
}

#[tokio::test]
async fn a_file_that_is_broken_is_fetched_anew() {
    let town = Town::new(Flaw::None).await;
    assert_eq!(mode(&town.cache(), NOW).await, Some(Mode::Enforce));
    std::fs::write(town.state.path().join("mta-sts/me.test"), "{").unwrap();
    assert_eq!(mode(&town.cache(), NOW).await, Some(Mode::Enforce));
    assert_eq!(town.fetches(), 2);
    assert!(town.cache().inner.shelf.load(&me()).unwrap().is_some());
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_is_not_taken_for_none() {
    let town = Town::new(Flaw::None).await;
    assert_eq!(mode(&town.cache(), NOW).await, Some(Mode::Enforce));
    let place = town.state.path().join("mta-sts/me.test");
    std::fs::rename(&place, place.with_extension("aside")).unwrap();
    std::fs::create_dir(&place).unwrap();
    let cache = town.cache();
    let why = cache.policy(&me(), NOW).await.unwrap_err();
    assert!(why.contains("mta-sts/me.test cannot be read"), "{why}");
    std::fs::remove_dir(&place).unwrap();
    std::fs::rename(place.with_extension("aside"), &place).unwrap();
    assert_eq!(mode(&cache, NOW).await, Some(Mode::Enforce), "as soon as it can be");
    assert_eq!(town.fetches(), 1);
}

#[tokio::test]
async fn what_cannot_be_stored_counts_until_the_end() {
    let town = Town::new(Flaw::None).await;
    let cache = town.cache();
    std::fs::remove_dir(town.state.path().join("mta-sts")).unwrap();
    assert_eq!(mode(&cache, NOW).await, Some(Mode::Enforce));
    assert_eq!(mode(&cache, NOW + 1).await, Some(Mode::Enforce));
    assert_eq!(town.fetches(), 1);
}

#[tokio::test]
async fn memory_is_bounded_and_the_disk_remembers() {
    let town = Town::new(Flaw::None).await;
    let cache = town.cache();
    assert_eq!(mode(&cache, NOW).await, Some(Mode::Enforce));
    for number in 0..2 * SEATS {
        cache.seat(&Domain::parse(&format!("d{number}.test")).unwrap()).await.unwrap();
        assert!(cache.seats().len() <= SEATS);
    }
    assert!(!cache.seats().contains_key(&me()));
    assert_eq!(mode(&cache, NOW).await, Some(Mode::Enforce));
    assert_eq!(town.fetches(), 1);
}
