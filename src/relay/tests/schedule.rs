//! Lanes, back-off and ages, with real letters.

use super::*;

impl House {
    /// A house whose strangers' port is somebody else's.
    async fn with_port(port: u16) -> House {
        let mut house = House::new().await;
        house.parts.config.port = port;
        house
    }

    fn entry(&self, id: EntryId) -> Entry {
        self.parts.queue.load(&id).unwrap().unwrap()
    }

    /// Letters of an earlier run: the queue is opened anew.
    async fn restart(&mut self) {
        let state = self.dir.path().join("state");
        let elsewhere = tempfile::tempdir().unwrap();
        self.parts.queue = Queue::open(elsewhere.path()).unwrap();
        self.parts.fresh = Arc::default();
        // Tasks that were ended have the lock a moment longer.
        let opened = async {
            loop {
                match Queue::open(&state) {
                    Ok(queue) => return queue,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        self.parts.queue = tokio::time::timeout(Duration::from_secs(20), opened).await.expect("the lock");
    }
}

/// A port that takes connections and ends them at once.
async fn dead_port() -> (u16, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            *counted.lock().unwrap() += 1;
        }
    });
    (port, count)
}

#[tokio::test]
async fn many_letters_go_over_few_connections() {
    let house = House::new().await;
    for n in 0..50 {
        house.submit(&[&format!("x{n}@there.test")]);
    }
    house.run_until_quiet().await;
    assert_eq!((house.stranger.letters().len(), house.queued()), (50, 0));
    let connections = *house.stranger.connections.lock().unwrap();
    assert!(connections <= 10, "{connections} connections");
}

#[tokio::test]
async fn a_destination_never_sees_more_than_ten_connections() {
    let mut house = House::new().await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let stranger = Stranger { gate: Some(Arc::clone(&gate)), ..Stranger::default() };
    house.parts.config.port = stranger.listen().await;
    for n in 0..100 {
        house.submit(&[&format!("x{n}@there.test")]);
    }
    let quiet = house.run_until_quiet();
    let watch = async {
        for _ in 0..100 {
            gate.add_permits(1);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::join!(quiet, watch);
    assert_eq!(stranger.letters().len(), 100);
    let most = stranger.open.lock().unwrap().1;
    assert!((3..=10).contains(&most), "{most} connections at once");
}

#[tokio::test]
async fn a_dead_destination_is_tried_with_one_letter_and_nothing_is_written_for_the_others() {
    let (port, connections) = dead_port().await;
    let house = House::with_port(port).await;
    let ids: Vec<EntryId> = (0..50).map(|_| house.submit(&["x@there.test"])).collect();
    house.run_until_quiet().await;
    let tried: Vec<Entry> =
        ids.iter().map(|&id| house.entry(id)).filter(|entry| entry.recipients[0].attempts > 0).collect();
    assert!((1..=2).contains(&tried.len()), "{tried:?}");
    assert!(tried.iter().all(|entry| entry.recipients[0].next_attempt > unix_time()), "{tried:?}");
    assert!(*connections.lock().unwrap() <= 2);
    let states = std::fs::read_dir(house.dir.path().join("state/state")).unwrap().count();
    assert_eq!(states, tried.len());
}

#[tokio::test]
async fn a_live_destination_is_served_beside_two_hundred_that_never_answer() {
    let dead: Vec<(String, _)> = (0..200).map(|n| (format!("dead{n}.test."), mx(10, "hole.test."))).collect();
    // Each of them has servers of its own, whose greeting never comes.
    let mut names: Vec<(String, _)> = vec![("live.test.".into(), mx(10, "mx.live.test."))];
    names.push(("mx.live.test.".into(), a("127.0.0.1")));
    for (n, (name, _)) in dead.iter().enumerate() {
        names.push((name.clone(), mx(10, &format!("mx.{name}"))));
        names.push((format!("mx.{name}"), a(&format!("127.8.{}.1", n + 1))));
    }
    let names: Vec<(&str, _)> = names.iter().map(|(name, data)| (name.as_str(), data.clone())).collect();
    let authority = Authority::start(&names).await;
    let mut house = House::new().await;
    house.parts.dns = authority.dns.clone();
    let port = house.parts.config.port;
    let mut holes = Vec::new();
    for n in 0..200 {
        holes.push(TcpListener::bind(format!("127.8.{}.1:{port}", n + 1)).await.unwrap());
    }
    for (name, _) in &dead {
        house.submit(&[&format!("x@{}", name.trim_end_matches('.'))]);
    }
    house.restart().await;
    let relay = tokio::spawn(run(Relay::open(house.parts.clone()).await, house.stop.subscribe()));
    for _ in 0..20 {
        house.submit(&["x@live.test"]);
    }
    let arrived = async {
        while house.stranger.letters().len() < 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), arrived).await.expect("the live one is served");
    relay.abort();
}

#[tokio::test]
async fn a_letter_that_waits_untried_is_warned_about_and_given_up() {
    let (port, connections) = dead_port().await;
    let house = House::with_port(port).await;
    let young = house.submit(&["first@there.test"]);
    let mut desk = desk::Desk::new(house.parts.clone());
    desk.take_fresh();
    house.run_desk(&mut desk).await;
    assert_eq!(house.entry(young).recipients[0].attempts, 1, "the lane is closed by this one");
    let before = *connections.lock().unwrap();

    let late = house.submit_with(&["late@there.test"], |entry| entry.arrived = unix_time() - 5 * 3600);
    house.submit_with(&["old@there.test"], |entry| entry.arrived = five_days_ago());
    desk.take_fresh();
    house.run_desk(&mut desk).await;
    // Their marks are past, and their turn is not in sight.
    for id in house.parts.queue.entries().unwrap() {
        desk.look_at(id);
    }
    house.run_desk(&mut desk).await;

    let reports = house.letters_of("me").concat();
    assert!(reports.contains("late@there.test") && reports.contains("Action: delayed\r\n"), "{reports}");
    assert!(reports.contains("old@there.test") && reports.contains("Action: failed\r\n"), "{reports}");
    assert_eq!(house.letters_of("me").len(), 2);
    assert_eq!((house.entry(late).recipients[0].attempts, house.queued()), (0, 2));
    assert_eq!(*connections.lock().unwrap(), before, "nobody was tried for that");
}

#[tokio::test]
async fn the_held_neither_age_nor_are_tried() {
    let house = House::new().await;
    let id = house.submit_with(&["x@there.test", "you@our.test"], |entry| entry.arrived = five_days_ago());
    let mut entry = house.entry(id);
    entry.recipients.iter_mut().for_each(|state| state.held = true);
    house.parts.queue.record(&entry).unwrap();
    house.run_until_quiet().await;
    assert_eq!(house.entry(id), entry);
    assert!(house.letters_of("me").is_empty() && house.letters_of("you").is_empty());
}

#[tokio::test]
async fn a_restart_keeps_what_is_put_off_and_takes_what_was_never_tried() {
    let mut house = House::new().await;
    let later = house.submit(&["later@there.test"]);
    house.run_until_quiet().await;
    let put_off = house.entry(later);
    assert!(put_off.recipients[0].next_attempt > unix_time());
    house.submit(&["ok@there.test", "you@our.test"]);
    house.restart().await;

    let mut desk = desk::Desk::new(house.parts.clone());
    desk.take_backlog().await;
    house.run_desk(&mut desk).await;
    assert_eq!(house.entry(later), put_off);
    assert_eq!((house.stranger.letters().len(), house.letters_of("you").len(), house.queued()), (1, 1, 1));
}

/// What a clock wrote that was ahead by ten days.
fn put_off_for_days(house: &House, id: EntryId) {
    let mut entry = house.entry(id);
    entry.recipients[0].next_attempt = unix_time() + 10 * 86400;
    house.parts.queue.record(&entry).unwrap();
}

#[tokio::test]
async fn what_was_put_off_by_a_clock_that_was_ahead_is_tried_when_it_is_set_back() {
    let mut house = House::new().await;
    let id = house.submit(&["later@there.test"]);
    let mut desk = desk::Desk::new(house.parts.clone());
    desk.take_fresh();
    house.run_desk(&mut desk).await;
    put_off_for_days(&house, id);
    house.run_desk(&mut desk).await;
    assert_eq!(house.entry(id).recipients[0].attempts, 1);
    desk.was_ahead(10 * 86400);
    house.run_desk(&mut desk).await;
    assert_eq!(house.entry(id).recipients[0].attempts, 2, "while we run");

    put_off_for_days(&house, id);
    drop(desk);
    house.restart().await;
    let mut desk = desk::Desk::new(house.parts.clone());
    desk.take_backlog().await;
    house.run_desk(&mut desk).await;
    assert_eq!(house.entry(id).recipients[0].attempts, 3, "and after a restart");
}

#[tokio::test]
async fn a_letter_to_very_many_goes_in_several_transactions() {
    let house = House::new().await;
    let to: Vec<String> = (0..250).map(|n| format!("x{n}@there.test")).collect();
    house.submit(&to.iter().map(String::as_str).collect::<Vec<_>>());
    house.run_until_quiet().await;
    let mut sizes: Vec<usize> = house.stranger.letters().iter().map(|(to, _)| to.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 100, 100]);
    assert_eq!(house.queued(), 0);
}

#[tokio::test]
async fn what_protected_a_delivery_is_recorded() {
    let house = House::new().await;
    let id = house.submit(&["ok@there.test", "later@there.test"]);
    house.run_until_quiet().await;
    let State::Delivered { tls: Some(tls), .. } = &house.entry(id).recipients[0].state else { panic!() };
    assert!(tls.starts_with("clear"), "{tls}");
}
