use super::super::state::{Asked, Files};
use super::super::{plan, window};
use super::*;
use rcgen::{CertificateParams, KeyPair};
use std::path::Path;

const DIRECTORY: &str = "https://ca.example/dir";
const DAY: i64 = 86400;

fn name() -> Domain {
    Domain::parse("mx.here.example").unwrap()
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// A chain of one certificate that is valid from so many days to so many days from now.
fn chain(key: &KeyPair, name: &str, days: (i64, i64)) -> String {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    let start = rcgen::date_time_ymd(1970, 1, 1);
    let at = |days: i64| start + Duration::from_secs((clock() + days * DAY).unsigned_abs());
    (params.not_before, params.not_after) = (at(days.0), at(days.1));
    params.self_signed(key).unwrap().pem()
}

fn held(key: &KeyPair, days: (i64, i64)) -> Held {
    let pair = Pair::from_pem(chain(key, "mx.here.example", days).as_bytes(), key.serialize_pem().as_bytes());
    let state = State { directory: Some(DIRECTORY.into()), ..State::default() };
    Held { name: name(), files: Files::of(Path::new("/"), &name()), state, pair: Some(pair.unwrap()) }
}

#[test]
fn what_is_no_better_is_not_taken() {
    let (key, other) = (key(), key());
    let pem = key.serialize_pem();
    let judge = |chain: &str, old: Option<&Pair>| acceptable(chain, &pem, &name(), old, clock());
    assert!(judge(&chain(&key, "mx.here.example", (0, 90)), None).is_ok());
    assert!(judge(&chain(&key, "*.here.example", (0, 90)), None).is_ok());
    let refused = |chain: String| judge(&chain, None).err().unwrap().why;
    assert!(refused(chain(&other, "mx.here.example", (0, 90))).contains("the key is not that"));
    assert!(refused(chain(&key, "here.example", (0, 90))).contains("not for mx.here.example"));
    assert!(refused(chain(&key, "mx.here.example", (1, 90))).contains("valid from"));
    assert!(refused(chain(&key, "mx.here.example", (-90, -1))).contains("due for renewal already"));
    assert!(refused(chain(&key, "mx.here.example", (-80, 10))).contains("due for renewal already"));
    assert!(refused(chain(&key, "mx.here.example", (0, 90)).repeat(11)).contains("more than 10"));
    assert!(refused(String::new()).contains("no certificate"));
    let old = held(&key, (-60, 30)).pair;
    assert!(judge(&chain(&key, "mx.here.example", (0, 45)), old.as_ref()).is_ok());
    let shorter = judge(&chain(&key, "mx.here.example", (0, 29)), old.as_ref());
    assert!(shorter.is_ok(), "the authority gives shorter lives than it did: {shorter:?}");
    let old = held(&key, (-10, 80)).pair;
    let older = judge(&chain(&key, "mx.here.example", (-20, 70)), old.as_ref()).err().unwrap().why;
    assert!(older.contains("older than"), "{older}");
}

#[test]
fn what_is_wanted_and_why() {
    let (key, now) = (key(), clock());
    let whole = held(&key, (-10, 80));
    let (at, why) = plan(DIRECTORY, &whole, now);
    assert!(why == Why::Age && at > now + 46 * DAY && at <= now + 50 * DAY, "{at} {why:?}");
    assert_eq!(plan(DIRECTORY, &held(&key, (-61, 29)), now).1, Why::Age);
    assert!(plan(DIRECTORY, &held(&key, (-61, 29)), now).0 <= now);
    assert!(plan("https://other.example/", &whole, now).0 <= now);
    assert_eq!(plan("https://other.example/", &whole, now).1, Why::Elsewhere);

    let mut unknown = whole.clone();
    unknown.state.directory = None;
    assert!(plan(DIRECTORY, &unknown, now).0 > now, "its record was lost: no reason to ask");

    let mut missing = whole.clone();
    missing.pair = None;
    assert_eq!(plan(DIRECTORY, &missing, now).1, Why::Missing);
    missing.state.begin(now, None);
    missing.state.fail(now, None, "no".into(), None);
    assert_eq!(plan(DIRECTORY, &missing, now).0, now + 300);

    let mut called = whole.clone();
    let of = window::label(&called.pair.as_ref().unwrap().facts.fingerprint);
    let window = renewal::Window { start: now - 9 * DAY, end: now - 8 * DAY };
    called.state.window = Some(Asked { of, window });
    assert!(plan(DIRECTORY, &called, now).0 <= now);
    assert_eq!(plan(DIRECTORY, &called, now).1, Why::Window);
    called.state.success = Some(now - 60);
    let (at, _) = plan(DIRECTORY, &called, now);
    assert_eq!(at, now - 60 + 2 * DAY, "gained a minute ago, and begun long before: not without end");
    called.state.success = Some(now + 60);
    assert!(plan(DIRECTORY, &called, now).0 <= now, "by a clock that was set back");
    called.state.window = Some(Asked { of: "another's".into(), window });
    assert_eq!(plan(DIRECTORY, &called, now).1, Why::Age, "the window of another certificate");

    let mut begun = whole;
    begun.state.begin(now - 60, None);
    assert!(plan(DIRECTORY, &begun, now).0 > now, "nothing was begun that could be gone on with");
    begun.state.order = Some(Begun { directory: DIRECTORY.into(), url: "https://o/".into(), tries: 1 });
    assert_eq!(plan(DIRECTORY, &begun, now).1, Why::Unfinished);
    assert!(plan(DIRECTORY, &begun, now).0 <= now);
}
