//! Certificates from an authority that answers wrongly, and a server that is killed in mid-order: nothing is lost, and nobody
//! is asked more often than he should be.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::certs::{ME, MX, again_later, dns, file, said, server, shown, start, state, told, vouched};
use harness::keeper::Kept;
use harness::pebble::{Authority, Change, Exchange, Pebble};
use harness::strace::Strace;
use harness::{Dns, Plan, Server, eventually};
use pillarbox::certs::orders::Outcome;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const DAY: u64 = 86400;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// A chain of one certificate, by a stranger or of this key.
fn forged(name: &str, key: Option<&Path>, year: i32) -> Vec<u8> {
    let key = key.map_or_else(
        || KeyPair::generate().unwrap(),
        |file| KeyPair::from_pem(&std::fs::read_to_string(file).unwrap()).unwrap(),
    );
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(year, 1, 1), date_time_ymd(year + 2, 1, 1));
    params.self_signed(&key).unwrap().pem().into_bytes()
}

/// One thing that an authority, or whoever stands before it, may say instead of the truth.
struct Lie {
    /// The requests that it answers begin so.
    to: &'static str,
    change: fn(&Path) -> Change,
    /// What the owner is told.
    words: &'static str,
}

const PEM: &str = "application/pem-certificate-chain";
const LIMITED: &[u8] =
    br#"{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too\u001b[2J many"}"#;

const LIES: &[Lie] = &[
    Lie {
        to: "POST /certZ/",
        change: |_| Change::Other(200, PEM, forged(MX, None, 2026)),
        words: "the key is not that of the first certificate",
    },
    Lie {
        to: "POST /certZ/",
        change: |tls| Change::Other(200, PEM, forged("other.example", Some(&tls.join("key.pem")), 2026)),
        words: "the certificate is not for mx.here.example",
    },
    Lie {
        to: "POST /certZ/",
        change: |tls| Change::Other(200, PEM, forged(MX, Some(&tls.join("key.pem")), 2020)),
        words: "is due for renewal already",
    },
    Lie {
        to: "POST /certZ/",
        change: |tls| Change::Other(200, PEM, forged(MX, Some(&tls.join("key.pem")), 2090)),
        words: "is valid from 2090-01-01T00:00:00Z only",
    },
    Lie {
        to: "POST /certZ/",
        change: |_| Change::Other(200, PEM, b"hello".to_vec()),
        words: "no certificate (BEGIN CERTIFICATE) is there",
    },
    Lie {
        to: "POST /certZ/",
        change: |_| Change::Other(200, PEM, vec![0xff; 99]),
        words: "unable to decode certificate as UTF-8",
    },
    Lie { to: "POST /certZ/", change: |_| Change::Endless, words: "length limit exceeded" },
    Lie {
        to: "GET /dir",
        change: |_| Change::Other(200, "text/html", b"<html>\x1b[2J</html>".to_vec()),
        words: "it is not the JSON that it should be",
    },
    Lie { to: "GET /dir", change: |_| Change::Cut, words: "ca.example" },
    Lie {
        to: "GET /dir",
        change: |_| Change::Other(302, "text/html", Vec::new()),
        words: "it is not the JSON that it should be",
    },
    Lie {
        to: "GET /dir",
        change: |_| {
            Change::Other(200, JSON, br#"{"newNonce": "a b", "newAccount": "", "newOrder": ""}"#.into())
        },
        // The crate panics.
        words: "a fault in this program",
    },
    Lie {
        to: "POST /authZ/",
        change: |_| Change::Other(200, JSON, authorization(MX, "../key")),
        words: "its token is none",
    },
    Lie {
        to: "POST /authZ/",
        change: |_| Change::Other(200, JSON, authorization(MX, &"x".repeat(200_000))),
        words: "its token is none",
    },
    Lie {
        to: "POST /order-plz",
        change: |_| Change::Other(201, JSON, order("http://ca.example/authZ/1")),
        words: "not a URL that begins with https",
    },
    Lie {
        to: "POST /order-plz",
        change: |_| Change::Other(201, JSON, order("https://elsewhere.example/authZ/1")),
        words: "elsewhere.example",
    },
    Lie {
        to: "POST /order-plz",
        change: |_| Change::Other(500, "text/html", b"<html>sorry</html>".to_vec()),
        words: "answers 500",
    },
    Lie {
        to: "POST /order-plz",
        change: |_| Change::Other(429, "application/problem+json", LIMITED.to_vec()),
        words: "the certificate authority says rateLimited: too?[2J many",
    },
    Lie {
        to: "POST /order-plz",
        change: |_| Change::Other(403, "application/problem+json", CLOSED.to_vec()),
        words: "our account there may have been closed",
    },
    Lie {
        to: "POST /finalize-order/",
        change: |_| Change::Other(200, "application/json", b"[]".to_vec()),
        words: "it is not the JSON that it should be",
    },
];

const JSON: &str = "application/json";

fn authorization(name: &str, token: &str) -> Vec<u8> {
    let challenge = serde_json::json!({"type": "http-01", "url": "https://ca.example/", "token": token, "status": "pending"});
    let identifier = serde_json::json!({"type": "dns", "value": name});
    let all = serde_json::json!({"status": "pending", "identifier": identifier, "challenges": [challenge]});
    all.to_string().into_bytes()
}

fn order(authorization: &str) -> Vec<u8> {
    let finalize = "https://ca.example/";
    let all =
        serde_json::json!({"status": "pending", "authorizations": [authorization], "finalize": finalize});
    all.to_string().into_bytes()
}

const CLOSED: &[u8] =
    br#"{"type": "urn:ietf:params:acme:error:unauthorized", "detail": "the account is deactivated"}"#;

#[test]
fn a_wrong_answer_never_takes_the_place_of_a_certificate() {
    let (dns, root) = (dns(), tempfile::tempdir().unwrap());
    let pebble = Authority::with_lives_of(90 * DAY).patient().start(&dns);
    let lie: Arc<Mutex<Option<(usize, std::path::PathBuf)>>> = Arc::default();
    let told = Arc::clone(&lie);
    let between = pebble.behind(move |exchange| {
        let lie = told.lock().unwrap();
        let Some((nth, tls)) = &*lie else { return Change::None };
        if exchange.request.starts_with(LIES[*nth].to) { (LIES[*nth].change)(tls) } else { Change::None }
    });
    let table = pebble.table_by(between.port, &[MX]);
    let honest = root.path().join("honest");
    std::fs::create_dir(&honest).unwrap();
    let kept = Kept::open(&honest, &dns, &table);
    let first =
        eventually("a certificate", || Some(kept.tls.shown()).filter(|shown| !shown[0].facts.self_signed))[0]
            .facts
            .clone();
    eventually("its record", || {
        let state = std::fs::read_to_string(honest.join("tls/acme/mx.here.example.json")).unwrap();
        state.contains("\"running\": false").then_some(())
    });
    drop(kept);
    for (nth, Lie { words, to, .. }) in LIES.iter().enumerate() {
        let state = root.path().join(nth.to_string());
        copy(&honest, &state);
        let kept = Kept::open(&state, &dns, &table);
        let before = pebble.orders();
        *lie.lock().unwrap() = Some((nth, state.join("tls")));
        let outcome = kept.renew();
        *lie.lock().unwrap() = None;
        assert!(!outcome.good && outcome.said.contains(words), "{nth} {to}: {}", outcome.said);
        assert!(outcome.said.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{nth}: {}", outcome.said);
        assert!(outcome.said.len() < 1000, "{nth}: {}", outcome.said);
        assert_eq!(kept.fingerprint(), first.fingerprint, "{nth}: what is shown");
        let file = |state: &Path| std::fs::read(state.join("tls/acme/mx.here.example.pem")).unwrap();
        assert_eq!(file(&state), file(&honest), "{nth}: what is kept");
        let outcome = kept.renew();
        assert!(outcome.good, "{nth}, and then the truth: {}", outcome.said);
        if words.contains("valid from") || words.contains("due for renewal") {
            assert_eq!(pebble.orders(), before + 1, "{nth}: it may be our clock that is wrong");
        }
        assert_ne!(kept.fingerprint(), first.fingerprint, "{nth}");
        assert_eq!(kept.tls.shown()[0].facts.key, first.key, "{nth}");
        let status = kept.status();
        assert_eq!(status.facts, Some(kept.tls.shown()[0].facts.clone()), "{nth}");
        assert!(status.failure.is_none() && status.success.is_some() && status.attempts == 0, "{nth}");
        assert!(status.renewal == Some(status.next) && status.directory.is_some(), "{nth}: {status:?}");
    }
}

#[test]
fn contacts_that_an_authority_does_not_take_cost_no_certificate() {
    const REFUSED: &[u8] =
        br#"{"type": "urn:ietf:params:acme:error:invalidContact", "detail": "forbidden domain"}"#;
    let dns = dns();
    let pebble = Authority::with_lives_of(90 * DAY).patient().start(&dns);
    let between = pebble.behind(|exchange| match exchange.request.starts_with("POST /my-account/") {
        true => Change::Other(400, "application/problem+json", REFUSED.to_vec()),
        false => Change::None,
    });
    let server = server(&dns, &pebble.table_by(between.port, &[MX]));
    let first = vouched(&server, MX);
    assert!(server.command(&["cert", "renew"]).status.success(), "{}", server.log());
    assert_ne!(shown(&server, MX).fingerprint, first.fingerprint);
    let told = said(&server, "the authority does not take our contacts");
    assert!(told.len() == 1 && told[0]["why"].as_str().unwrap().contains("see tls.acme.contact"), "{told:?}");
}

#[test]
fn an_owner_who_asks_again_and_again_is_told_to_wait() {
    let (dns, root) = (dns(), tempfile::tempdir().unwrap());
    let pebble = Authority::with_lives_of(90 * DAY).start(&dns);
    let kept = Kept::open(root.path(), &dns, &pebble.table(&["nowhere.here.example"]));
    // One that it makes by itself, and ends: what runs has not failed.
    eventually("the first attempt", || (kept.status().attempts == 1).then_some(()));
    assert!(kept.status().failure.is_some());
    let outcomes: Vec<Outcome> = (0..7).map(|_| kept.renew()).collect();
    let refused = outcomes.iter().filter(|outcome| outcome.said.starts_with("not tried: 5 attempts")).count();
    assert_eq!((refused, pebble.orders()), (3, 5), "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| !outcome.good && outcome.what == "nowhere.here.example"));
    let status = kept.status();
    assert_eq!((status.name.as_str(), status.attempts), ("nowhere.here.example", 5));
    let (at, why) = status.failure.unwrap();
    assert!(
        why.contains("the certificate authority says") && status.next >= at + 3000,
        "{why} {}",
        status.next
    );
    assert!(status.facts.is_none() && status.renewal.is_none() && status.order.is_none());
}

/// pebble knows nothing of RFC 9773: what stands before it does.
#[test]
fn an_authority_that_calls_is_followed_but_not_without_end() {
    let dns = dns();
    let pebble = Authority::with_lives_of(240).patient().start(&dns);
    let port = Arc::new(Mutex::new(0));
    let known = Arc::clone(&port);
    let between = pebble.behind(move |Exchange { request, body, status, .. }| match request.as_str() {
        _ if *status == 0 => Change::None,
        "GET /dir" => {
            let mut directory: serde_json::Value = serde_json::from_slice(body).unwrap();
            directory["renewalInfo"] = format!("https://ca.example:{}/ari", known.lock().unwrap()).into();
            Change::Other(200, "application/json", directory.to_string().into_bytes())
        }
        ari if ari.starts_with("GET /ari/") => {
            let window =
                r#"{"suggestedWindow": {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}}"#;
            Change::Other(200, "application/json", window.into())
        }
        _ => Change::None,
    });
    *port.lock().unwrap() = between.port;
    let server = server(&dns, &pebble.table_by(between.port, &[MX]));
    let first = vouched(&server, MX);
    // By its age it would live for 150 seconds more; the window says at once; a twenty-fourth of its life is the least.
    let second = eventually("a renewal", || {
        Some(vouched(&server, MX)).filter(|now| now.fingerprint != first.fingerprint)
    });
    assert_eq!(second.key, first.key);
    // Of its 239 seconds: the last is within it.
    assert!(second.not_before - first.not_before >= 9, "{first:?} {second:?}");
    let why = told(&server, "asking for a certificate", 2)[1]["why"].as_str().unwrap().to_owned();
    assert_eq!(why, "the authority asks for a renewal");
    let asked = between.requests().iter().filter(|request| request.starts_with("GET /ari/")).count();
    assert!((1..=2).contains(&asked), "{:?}", between.requests());
}

/// A server for a name and an address of its own.
fn one_of_many(nth: usize, dns: &Dns, pebble: &Pebble, port: u16) -> (Server, String) {
    let (name, ip) = (format!("mx{nth}.here.example"), format!("127.0.0.{}", 10 + nth));
    dns.add(&format!("{name}. 60 IN A {ip}\n"));
    let table = pebble.table_by(port, &[&name]).replace("127.0.0.1", &ip);
    (start(Plan::new(&name, &[ME]), dns, &table), name)
}

/// What is done to a server while its certificate is on its way.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// Killed, as soon as its order is known.
    Kill,
    /// Told to stop then.
    Stop,
    /// Killed in front of the call that touches the certificate's file, its record's, or their directory.
    KillAt(&'static str, &'static str),
    /// Its disk is full at that call.
    FullAt(&'static str, &'static str),
}

#[test]
fn killed_in_mid_order_it_goes_on_where_it_was() {
    use Harm::{FullAt, Kill, KillAt, Stop};
    let harms = [
        Kill,
        Stop,
        KillAt("fsync", "pem.new"),
        KillAt("rename", "pem.new"),
        KillAt("fsync", ""),
        KillAt("fsync", "json.new"),
        KillAt("rename", "json.new"),
        FullAt("fsync", "pem.new"),
    ];
    let dns = dns();
    let pebble = Authority::with_lives_of(90 * DAY).patient().start(&dns);
    // Nothing is finalized before everybody is held.
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let between = pebble.behind(move |exchange| {
        while exchange.request.starts_with("POST /finalize-order/") && !gate.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Change::None
    });
    let started: Vec<_> =
        harms.iter().enumerate().map(|(nth, _)| one_of_many(nth, &dns, &pebble, between.port)).collect();
    let mut held = Vec::new();
    for ((mut server, name), harm) in started.into_iter().zip(harms) {
        let finalized = || between.requests().iter().filter(|it| it.starts_with("POST /finalize")).count();
        eventually("all orders at the gate", || (finalized() == harms.len()).then_some(()));
        assert!(state(&server, &name)["order"]["url"].is_string());
        let own = shown(&server, &name).key;
        let place = |end: &str| match end {
            "" => file(&server, &name).parent().unwrap().to_owned(),
            _ => file(&server, &name).with_extension(end),
        };
        let strace = match harm {
            Kill => {
                server.kill();
                None
            }
            Stop => {
                assert!(server.terminate().success());
                None
            }
            KillAt(call, end) => Some(Strace::kill_at_file(server.pid(), call, &place(end), 1)),
            FullAt(call, end) => Some(Strace::fail_at_file(server.pid(), call, "ENOSPC", &place(end), 1)),
        };
        held.push((server, name, harm, own, strace));
    }
    open.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        for (mut server, name, harm, own, strace) in held {
            scope.spawn(move || {
                if let KillAt(..) = harm {
                    assert_eq!(server.wait().signal(), Some(9), "{harm:?}");
                }
                if let FullAt(..) = harm {
                    let why = told(&server, "no certificate", 1)[0]["why"].as_str().unwrap().to_owned();
                    assert!(why.contains("No space left on device"), "{why}");
                    assert!(shown(&server, &name).self_signed && !file(&server, &name).exists());
                    server = again_later(server, 301);
                } else {
                    server = server.again();
                }
                drop(strace);
                assert_eq!(vouched(&server, &name).key, own, "{harm:?}");
                eventually("its record", || {
                    let state = state(&server, &name);
                    (state["running"] == false && state["order"].is_null()).then_some(())
                });
                let asked = said(&server, "asking for a certificate").len();
                assert_eq!(asked, 2, "{harm:?}: {}", server.log());
            });
        }
    });
    assert_eq!(pebble.orders(), harms.len(), "each order was taken up again");
}

#[test]
fn killed_before_an_answer_arrives_it_asks_for_no_more_than_it_must() {
    let dns = dns();
    let pebble = Authority::with_lives_of(90 * DAY).patient().start(&dns);
    // Pebble has done what it was asked for; the answer is kept back.
    let held: Arc<Mutex<&str>> = Arc::default();
    let hold = Arc::clone(&held);
    let between = pebble.behind(move |exchange| {
        let is_held = || {
            let held = *hold.lock().unwrap();
            !held.is_empty() && exchange.request.starts_with(held)
        };
        while exchange.status != 0 && is_held() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Change::None
    });
    *held.lock().unwrap() = "POST /sign-me-up";
    let mut server = server(&dns, &pebble.table_by(between.port, &[MX]));
    let own = shown(&server, MX).key;
    for (nth, (held_back, next)) in [
        ("POST /sign-me-up", "POST /order-plz"),
        ("POST /order-plz", "POST /authZ/"),
        ("POST /authZ/", "POST /chalZ/"),
        ("POST /chalZ/", ""),
    ]
    .into_iter()
    .enumerate()
    {
        eventually(held_back, || {
            between.requests().iter().any(|request| request.starts_with(held_back)).then_some(())
        });
        assert_eq!(said(&server, "asking for a certificate").len(), nth + 1);
        server.kill();
        *held.lock().unwrap() = next;
        server = again_later(server, 4000 * (nth as u64 + 1));
    }
    assert_eq!(vouched(&server, MX).key, own);
    // The account of the first attempt was found again; the order of the second could not be, whose name nobody knew; that of
    // the third was taken up by the fourth, and was lost when pebble asked and nobody was there.
    assert_eq!(pebble.log().matches("There are now 1 accounts in memory").count(), 1, "one account");
    assert_eq!(pebble.orders(), 3);
    assert_eq!(said(&server, "taking up the order that was begun").len(), 1);
    assert_eq!(said(&server, "the order that was begun is no more").len(), 1);
}
