use super::*;

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

/// A budget that has been there for a while.
fn old_budget(all: usize, each: usize) -> Arc<Budget> {
    let begun = ago(1000);
    Arc::new(Budget { all, each, patient: true, begun, taken: Mutex::default() })
}

fn ago(seconds: u64) -> Instant {
    Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap()
}

fn lost(place: &Place) -> bool {
    place.seat.lost.load(Ordering::Relaxed)
}

#[test]
fn a_place_is_given_back_and_neighbours_in_a_64_share() {
    let budget = Budget::new(10, 2);
    let first = budget.enter(ip("2001:db8::1")).unwrap();
    let _second = budget.enter(ip("2001:db8::1")).unwrap();
    assert_eq!(budget.enter(ip("2001:db8::1")).unwrap_err(), Full::Address);
    let _more: Vec<Place> = (2..8).map(|n| budget.enter(ip(&format!("2001:db8::{n}"))).unwrap()).collect();
    assert_eq!(budget.enter(ip("2001:db8::9")).unwrap_err(), Full::Network);
    let _others = ["192.0.2.1", "192.0.2.2"].map(|other| budget.enter(ip(other)).unwrap());
    assert_eq!(budget.enter(ip("198.51.100.1")).unwrap_err(), Full::Door);
    assert_eq!(budget.enter(None).unwrap_err(), Full::Door);
    drop(first);
    let _again = budget.enter(ip("2001:db8::1")).unwrap();
    assert_eq!(budget.lock().all(), 10);
}

#[test]
fn the_longest_silent_who_never_brought_a_letter_goes_first() {
    let budget = old_budget(3, 3);
    let mut places: Vec<Place> = (1..4).map(|n| budget.enter(ip(&format!("10.0.{n}.1"))).unwrap()).collect();
    places[0].waits(Waiting::Idle, true, ago(100));
    places[1].waits(Waiting::Idle, false, ago(1));
    places[2].waits(Waiting::Idle, false, ago(50));
    let mut newcomers = Vec::new();
    for gone in [2, 1, 0] {
        newcomers.push(budget.enter(ip("192.0.2.1")).unwrap());
        assert!(lost(&places[gone]) && !places[gone].works(), "{gone}");
    }
    assert_eq!(budget.enter(ip("198.51.100.1")).unwrap_err(), Full::Door);
    // Whose place is lost gives back none.
    drop(places);
    assert_eq!(budget.lock().all(), 3);
    newcomers.clear();
    assert_eq!(budget.lock().all(), 0);
    assert_eq!(budget.lock().of(&Network::of(ip("192.0.2.1").unwrap(), 24)), 0);
}

#[test]
fn where_anybody_may_begin_nobody_is_spared_for_that() {
    let budget = Budget::impatient(3, 3);
    let mut places: Vec<Place> = (1..4).map(|n| budget.enter(ip(&format!("10.0.{n}.1"))).unwrap()).collect();
    places[0].waits(Waiting::Within, false, Instant::now());
    places[1].waits(Waiting::Outcome, false, Instant::now());
    // The third has something to do: a letter that is stored is never called off.
    let _newcomers = ["192.0.2.1", "192.0.2.2"].map(|newcomer| budget.enter(ip(newcomer)).unwrap());
    assert!(lost(&places[0]) && lost(&places[1]) && !lost(&places[2]));
    assert_eq!(budget.enter(ip("198.51.100.1")).unwrap_err(), Full::Door);
}

#[test]
fn a_crowd_takes_the_places_of_its_own() {
    let budget = old_budget(3, 2);
    let mut friend = budget.enter(ip("10.0.0.1")).unwrap();
    let mut crowd = ["192.0.2.1", "192.0.2.2"].map(|one| budget.enter(ip(one)).unwrap());
    friend.waits(Waiting::Idle, false, ago(100));
    crowd[0].waits(Waiting::Idle, false, ago(1));
    crowd[1].waits(Waiting::Idle, false, ago(0));
    let _more = budget.enter(ip("192.0.2.9")).unwrap();
    assert!(lost(&crowd[0]) && !lost(&friend));
    let _other = budget.enter(ip("198.51.100.1")).unwrap();
    assert!(!lost(&crowd[1]) && lost(&friend));
}

#[test]
fn whoever_is_in_the_midst_of_a_letter_goes_only_when_he_is_behind() {
    let budget = old_budget(1, 1);
    let mut slow = budget.enter(ip("10.0.0.1")).unwrap();
    slow.waits(Waiting::Within, false, Instant::now());
    assert_eq!(budget.enter(ip("192.0.2.1")).unwrap_err(), Full::Door);
    assert!(slow.works());
    slow.waits(Waiting::Within, true, ago(BEHIND.as_secs()));
    let _newcomer = budget.enter(ip("192.0.2.1")).unwrap();
    assert!(lost(&slow));
}

#[tokio::test]
async fn who_is_called_off_hears_of_it() {
    let budget = Budget::new(1, 1);
    let mut idle = budget.enter(None).unwrap();
    idle.waits(Waiting::Idle, false, Instant::now());
    assert!(budget.make_room() && !budget.make_room());
    idle.called_off().await;
}
