use super::*;
use crate::certs::orders;

/// Three names for which nobody can be asked.
fn refused(directory: &Path) -> (Acme, TlsServer) {
    let file = directory.join("server.toml");
    let text = "hostname = \"a.example\"\n[tls.acme]\ndirectory = \"https://127.0.0.1:1/\"\nnames = [\"a.example\", \"b.example\", \
                \"c.example\"]\n";
    std::fs::write(&file, format!("state_dir = {directory:?}\n{text}")).unwrap();
    let sources = config::Sources { file: Some(file), ..config::Sources::default() };
    let config = config::Server::load(&sources).unwrap();
    let hostname = Domain::parse("a.example").unwrap();
    let key = own::key(directory).unwrap();
    let own = own::self_signed(directory, "a.example", &key).unwrap();
    let table = config.tls.acme.clone().unwrap();
    let acme = Acme::open(&config, &table, &hostname, (directory, key, own)).unwrap();
    let tls = TlsServer::new(acme.shown()).unwrap();
    (acme, tls)
}

#[tokio::test]
async fn the_owner_does_not_wait_for_all_that_is_due() {
    let directory = tempfile::tempdir().unwrap();
    let (acme, tls) = refused(directory.path());
    let files: Vec<Files> = acme.held.iter().map(|held| held.files.clone()).collect();
    let ((renewals, orders), (_stop, stopped)) = (orders::channel(), watch::channel(false));
    let outcomes = tokio::select! {
        biased;
        outcomes = renewals.renew() => outcomes.unwrap(),
        () = acme.run(tls, orders, stopped) => panic!("it ended"),
    };
    assert_eq!(outcomes.len(), 3);
    assert!(outcomes.iter().all(|outcome| outcome.said.contains("no connection")), "{outcomes:?}");
    for files in files {
        assert_eq!(State::load(&files, clock()).attempts.len(), 1, "asked for once");
    }
}

#[test]
fn who_is_late_is_told_each_day_and_when_the_clock_was_set_back() {
    let directory = tempfile::tempdir().unwrap();
    let (mut acme, _) = refused(directory.path());
    let late = acme.own.1.facts.not_after - 1;
    for held in &mut acme.held {
        held.pair = Some(acme.own.1.clone());
    }
    let mut told_at = |now| {
        acme.tell_who_is_late(now);
        acme.told == [now; 3]
    };
    let rows = [(late, true), (late + 60, false), (late + TELL, true), (late + 60, true), (late + 61, false)];
    for (now, told) in rows {
        assert_eq!(told_at(now), told, "{}", now - late);
    }
}

#[tokio::test]
async fn a_panic_is_a_failure_with_its_words_and_giving_up_ends_the_work() {
    assert_eq!(sheltered(async { 1 }).await, Ok(1));
    let panic = sheltered(async { std::hint::black_box(None::<u8>).expect("a parser's fault") }).await;
    assert!(panic.unwrap_err().contains("a parser's fault"));
    let (held, mut dropped) = tokio::sync::oneshot::channel::<()>();
    let work = async move {
        let _held = held;
        std::future::pending::<()>().await;
    };
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(1), sheltered(work)).await;
    assert!(given_up.is_err());
    (&mut dropped).await.unwrap_err();
}

#[test]
fn one_that_fails_again_and_again_comes_after_one_that_has_been_due_for_longer() {
    let directory = tempfile::tempdir().unwrap();
    let (mut acme, _) = refused(directory.path());
    let own = acme.own.1.clone();
    let now = renewal::due(&attempt::life(&own.facts), None) + 1000;
    let first = |acme: &Acme| acme.first_due(now).unwrap().0;
    for held in &mut acme.held {
        held.state.begin(now - 600, None);
        held.state.fail(now - 600, None, "no".into(), None);
    }
    acme.held[1].state.next -= 1;
    assert_eq!(first(&acme), 1);
    (acme.held[2].pair, acme.held[2].state) = (Some(own), State::default());
    assert_eq!(first(&acme), 2);
    acme.held[0].state = State::default();
    assert_eq!(first(&acme), 0, "a name that was never tried");
}
