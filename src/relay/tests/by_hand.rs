//! Orders, on a running relay and on a stopped one.

use super::*;
use crate::queue::select::Selection;
use orders::{Done, Order, perform_all};

/// A running relay.
struct Running {
    control: Control,
    relay: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start(house: &House) -> Running {
        let relay = Relay::open(house.parts.clone()).await;
        let control = relay.control();
        Running { control, relay: tokio::spawn(run(relay, house.stop.subscribe())) }
    }

    async fn order(&self, order: Order, words: &[&str]) -> Vec<Done> {
        let order = self.control.order(order, Selection::parse(words).unwrap());
        tokio::time::timeout(Duration::from_secs(60), order).await.expect("an answer").unwrap()
    }

    /// Until a condition holds, which the relay brings about.
    async fn until(&self, condition: impl Fn() -> bool) {
        let wait = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it comes about");
    }

    async fn stop(self, house: &House) {
        house.stop.send(true).unwrap();
        self.relay.await.unwrap();
    }
}

impl House {
    fn state(&self, id: EntryId) -> RecipientState {
        self.parts.queue.load(&id).unwrap().unwrap().recipients.remove(0)
    }

    fn is_put_off(&self, id: EntryId) -> bool {
        self.parts.queue.load(&id).unwrap().is_some_and(|entry| entry.recipients[0].attempts > 0)
    }
}

fn done(id: EntryId, recipient: &str) -> Done {
    Done { id: id.to_string(), recipient: recipient.into(), fault: None }
}

#[tokio::test]
async fn a_retry_tries_at_once_even_where_the_lane_is_closed() {
    let mut house = House::new().await;
    // A port that nobody listens at.
    let port = std::mem::replace(&mut house.parts.config.port, 1);
    let id = house.submit(&["x@there.test"]);
    let running = Running::start(&house).await;
    running.until(|| house.is_put_off(id)).await;
    let closed = running.control.destinations().await;
    assert!(closed[0].name == "there.test" && closed[0].closed_until.is_some(), "{closed:?}");
    assert_eq!(running.order(Order::Retry, &["there.test"]).await, [done(id, "x@there.test")]);
    running.until(|| house.state(id).attempts == 2).await;
    assert_eq!(running.order(Order::Retry, &["other.test"]).await, []);
    running.stop(&house).await;
    assert_ne!(port, 1);
}

#[tokio::test]
async fn what_is_held_stays_until_it_is_released() {
    let house = House::new().await;
    let id = house.submit(&["later@there.test"]);
    let running = Running::start(&house).await;
    running.until(|| house.is_put_off(id)).await;
    assert_eq!(running.order(Order::Hold, &[]).await, [done(id, "later@there.test")]);
    assert!(house.state(id).held);
    let refused = running.order(Order::Retry, &[&id.to_string()]).await;
    assert!(refused[0].fault.as_ref().unwrap().contains("held"), "{refused:?}");
    assert_eq!(house.state(id).attempts, 1);
    assert_eq!(running.order(Order::Release, &["later@there.test"]).await, [done(id, "later@there.test")]);
    running.until(|| house.state(id).attempts == 2).await;
    assert!(!house.state(id).held);
    running.stop(&house).await;
}

#[tokio::test]
async fn what_is_dropped_is_gone_and_what_is_bounced_comes_back() {
    let house = House::new().await;
    let dropped = house.submit(&["later1@there.test"]);
    let bounced = house.submit(&["later2@there.test"]);
    let running = Running::start(&house).await;
    running.until(|| house.is_put_off(dropped) && house.is_put_off(bounced)).await;
    assert_eq!(running.order(Order::Drop, &[&dropped.to_string()]).await.len(), 1);
    assert_eq!((house.queued(), house.letters_of("me").len()), (1, 0));
    assert_eq!(running.order(Order::Bounce, &["later2@there.test"]).await.len(), 1);
    assert_eq!(house.queued(), 0);
    let report = house.letters_of("me").concat();
    assert!(report.contains("given up by hand") && report.contains("greylisted"), "{report}");
    running.stop(&house).await;
}

#[tokio::test]
async fn an_order_waits_for_the_delivery_that_is_in_hand() {
    let mut house = House::new().await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let stranger = Stranger { gate: Some(Arc::clone(&gate)), ..Stranger::default() };
    house.parts.config.port = stranger.listen().await;
    house.submit(&["x@there.test"]);
    let running = Running::start(&house).await;
    running.until(|| *stranger.connections.lock().unwrap() == 1).await;
    let order = running.order(Order::Bounce, &[]);
    let open = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(order, open);
    assert_eq!(answer, [], "there is nobody left to give up");
    assert_eq!((stranger.letters().len(), house.letters_of("me").len(), house.queued()), (1, 0, 0));
    running.stop(&house).await;
}

#[tokio::test]
async fn orders_for_very_many_letters_are_carried_out_while_others_are_sent() {
    let mut house = House::new().await;
    house.parts.config.port = 1;
    let ids: Vec<EntryId> = (0..300).map(|_| house.submit(&["x@there.test"])).collect();
    let running = Running::start(&house).await;
    let (held, known) =
        tokio::join!(running.order(Order::Hold, &["there.test"]), running.control.destinations());
    assert_eq!(held.len(), 300);
    assert!(known.len() <= 1);
    assert!(ids.iter().all(|&id| house.state(id).held));
    assert_eq!(running.order(Order::Drop, &[]).await.len(), 300);
    assert_eq!(house.queued(), 0);
    assert_eq!(running.control.destinations().await.iter().map(|one| one.waiting).sum::<usize>(), 0);
    running.stop(&house).await;
}

#[tokio::test]
async fn a_stopped_queue_takes_every_order() {
    let house = House::new().await;
    let id = house.submit(&["later@there.test"]);
    house.run_until_quiet().await;
    let perform = |order, words: &[&str]| {
        let selection = Selection::parse(words).unwrap();
        perform_all(&house.parts, order, &selection).unwrap().len()
    };
    assert_eq!(perform(Order::Hold, &["there.test"]), 1);
    assert!(house.state(id).held);
    assert_eq!(perform(Order::Release, &["elsewhere.test"]), 0);
    assert_eq!(perform(Order::Release, &[]), 1);
    assert_eq!((house.state(id).held, house.state(id).next_attempt), (false, 0));
    assert_eq!(perform(Order::Release, &[]), 0, "nobody is held");
    assert_eq!(perform(Order::Retry, &[]), 1);
    assert_eq!(perform(Order::Bounce, &[]), 1);
    assert_eq!((house.queued(), house.letters_of("me").len()), (0, 1));
    house.submit(&["later@there.test"]);
    assert_eq!(perform(Order::Drop, &[]), 1);
    assert_eq!((house.queued(), house.letters_of("me").len()), (0, 1));
}

#[tokio::test]
async fn a_letter_that_cannot_be_read_keeps_no_order_from_the_others() {
    let house = House::new().await;
    let mut ids = [house.submit(&["a@there.test"]), house.submit(&["b@there.test"])];
    ids.sort_by_key(EntryId::to_string);
    let file = house.dir.path().join("state/queue").join(ids[0].to_string());
    let mut text = std::fs::read(&file).unwrap();
    text[10] = b'2';
    std::fs::write(&file, text).unwrap();
    let hold = |words: &[&str]| {
        let selection = Selection::parse(words).unwrap();
        perform_all(&house.parts, Order::Hold, &selection).unwrap()
    };
    let answer = hold(&["there.test"]);
    assert_eq!(answer.len(), 2, "{answer:?}");
    assert_eq!(answer[0].id, ids[0].to_string());
    assert!(answer[0].fault.as_ref().unwrap().contains("later pillarbox"), "{answer:?}");
    assert_eq!(answer[1].fault, None);
    assert!(house.parts.queue.load(&ids[1]).unwrap().unwrap().recipients[0].held);
    // Whoever names a letter does not hear of another one.
    assert_eq!(hold(&[&ids[1].to_string()]).len(), 1);
}

#[tokio::test]
async fn a_strangers_letter_is_never_sent_back_by_hand() {
    let house = House::new().await;
    house.submit_with(&["you@our.test"], |entry| entry.door = Door::Mx);
    let everything = Selection::default();
    let answer = perform_all(&house.parts, Order::Bounce, &everything).unwrap();
    assert!(answer[0].fault.is_some(), "{answer:?}");
    assert_eq!((house.queued(), house.letters_of("me").len()), (1, 0));
}
