//! The board with a clock of our own, numbers for ways and names for couriers.

use super::*;

mod fresh;

type TestBoard = Board<u32, &'static str>;

fn id(number: usize) -> EntryId {
    EntryId::parse(&format!("6b033b7d{number:012x}")).unwrap()
}

struct Table {
    board: TestBoard,
    now: Now,
}

impl Table {
    fn new() -> Table {
        Table { board: Board::new(), now: Now { unix: 1_000_000, instant: Instant::now() } }
    }

    fn pass(&mut self, seconds: u64) -> Vec<&'static str> {
        self.now.unix += seconds as i64;
        self.now.instant += Duration::from_secs(seconds);
        self.board.wake(self.now)
    }

    /// Letters wait for a host; the first ones cause a look-up, which is answered with a lane of the host's name.
    fn wait(&mut self, host: &str, ids: std::ops::Range<usize>, fresh: bool) -> Arc<Host> {
        let name = self.board.name(&Host::parse(host).unwrap());
        for number in ids {
            self.board.add(id(number), &name, fresh, self.now);
        }
        self.answer();
        name
    }

    fn answer(&mut self) {
        while let Some(host) = self.board.next_question(self.now) {
            let lane = host.to_string().into();
            assert!(self.board.answered(&host, Answer::Way(lane, 7), |_, _| true, self.now).is_none());
        }
    }

    /// A way that is not known any more is asked for on the way.
    fn start(&mut self) -> Option<Start<u32, &'static str>> {
        self.board.next_start(|_, _| true, self.now).or_else(|| {
            self.answer();
            self.board.next_start(|_, _| true, self.now)
        })
    }

    fn start_all(&mut self) -> Vec<Start<u32, &'static str>> {
        std::iter::from_fn(|| self.start()).collect()
    }

    fn over(&mut self, start: &Start<u32, &'static str>, contact: Contact, courier: Option<&'static str>) {
        assert_eq!(self.board.carried(start.number, courier, contact, self.now), None);
        self.board.recorded(&start.lane, self.now);
    }

    fn unreachable(&self, wait: i64) -> Contact {
        Contact::Unreachable { reason: "dead".into(), until: self.now.unix + wait }
    }
}

fn add(table: &mut Table, host: &str, number: usize, fresh: bool) -> Arc<Host> {
    let name = table.board.name(&Host::parse(host).unwrap());
    table.board.add(id(number), &name, fresh, table.now);
    name
}

#[test]
fn connections_grow_with_success_to_ten() {
    let mut table = Table::new();
    table.wait("a.test", 0..100, false);
    let mut active = table.start_all();
    assert_eq!(active.len(), 2);
    let mut most = 2;
    while !active.is_empty() {
        let start = active.remove(0);
        table.pass(1);
        table.over(&start, Contact::Reached, None);
        active.extend(table.start_all());
        assert!(active.len() <= 10);
        most = most.max(active.len());
    }
    assert_eq!(most, 10);
}

#[test]
fn a_courier_goes_on_with_the_next_letter_and_is_dismissed_without_one() {
    let mut table = Table::new();
    table.wait("a.test", 0..2, false);
    let starts = table.start_all();
    table.over(&starts[0], Contact::Reached, Some("first"));
    table.wait("a.test", 2..3, false);
    let third = table.start().unwrap();
    assert_eq!((third.courier, third.id), (Some("first"), id(2)));
    table.over(&third, Contact::Reached, Some("first"));
    assert_eq!(table.board.pause(table.now), Some(Duration::from_secs(2)));
    assert_eq!(table.pass(1), [""; 0]);
    assert_eq!(table.pass(1), ["first"]);
}

#[test]
fn a_courier_is_dismissed_after_a_hundred_letters() {
    let mut table = Table::new();
    table.wait("a.test", 0..101, false);
    let other = table.start().unwrap();
    for n in 1..=100 {
        let start = table.start().unwrap();
        let back = table.board.carried(start.number, Some("worn"), Contact::Reached, table.now);
        assert_eq!(back.is_some(), n == 100, "letter {n}");
        table.board.recorded(&start.lane, table.now);
    }
    table.over(&other, Contact::Reached, None);
}

#[test]
fn a_dead_lane_closes_and_opens_for_one_letter() {
    let mut table = Table::new();
    table.wait("dead.test", 0..50, false);
    let starts = table.start_all();
    assert_eq!(starts.len(), 2);
    for start in &starts {
        let contact = table.unreachable(300);
        table.over(start, contact, None);
    }
    assert!(table.start().is_none(), "the others wait");
    let trouble = table.board.trouble(&starts[0].host).unwrap();
    assert_eq!((trouble.failures, trouble.reason.as_str()), (1, "dead"), "two at once are one failure");
    assert_eq!(table.board.pause(table.now), Some(Duration::from_secs(300)));

    table.pass(300);
    let probe = table.start().unwrap();
    assert!(table.start().is_none(), "one letter is the probe");
    assert_eq!(probe.failures, 1);
    let contact = table.unreachable(480);
    table.over(&probe, contact, None);
    assert!(table.start().is_none());

    table.pass(480);
    let probe = table.start().unwrap();
    assert_eq!(probe.failures, 2);
    table.over(&probe, Contact::Reached, None);
    assert_eq!(table.start_all().len(), 2, "it is open again");
    assert!(table.board.trouble(&probe.host).is_none());
}

#[test]
fn one_connection_too_many_closes_nothing() {
    let mut table = Table::new();
    table.wait("a.test", 0..50, false);
    let starts = table.start_all();
    table.pass(1);
    table.over(&starts[0], Contact::Reached, Some("works"));
    let contact = table.unreachable(300);
    table.over(&starts[1], contact, None);
    assert!(table.board.trouble(&starts[0].host).is_none());
    assert_eq!(table.start_all().len(), 1, "as many as worked");
}

#[test]
fn three_hundred_dead_destinations_leave_room_for_a_live_one() {
    let mut table = Table::new();
    for n in 0..300 {
        table.wait(&format!("dead{n}.test"), n..n + 1, false);
    }
    assert_eq!(table.start_all().len(), 80, "all old ones that may set out at once");
    table.wait("live.test", 1000..1001, true);
    assert_eq!(table.start().unwrap().id, id(1000));
    table.pass(3);
    assert_eq!(table.start_all().len(), 80, "those who only wait for a connection hold nobody up");
    table.pass(3);
    assert!(table.start().is_none(), "but there is an end of it");
    table.wait("live.test", 1001..1002, true);
    assert_eq!(table.start().unwrap().id, id(1001), "for old letters");
}

#[test]
fn probes_have_their_own_room() {
    let mut table = Table::new();
    for n in 0..80 {
        table.wait(&format!("dead{n}.test"), n..n + 1, false);
    }
    for start in table.start_all() {
        let name = start.host.to_string();
        let contact = table.unreachable(300);
        table.over(&start, contact, None);
        table.wait(&name, 1000..1001, false);
    }
    table.pass(300);
    assert_eq!(table.start_all().len(), 20);
    table.wait("live.test", 2000..2001, false);
    assert_eq!(table.start().unwrap().id, id(2000));
}

#[test]
fn a_first_connection_goes_before_another_ones_second_and_fresh_letters_before_old_ones() {
    let mut table = Table::new();
    table.wait("busy.test", 0..10, false);
    let busy = table.start().unwrap();
    table.wait("busy.test", 10..11, true);
    table.wait("other.test", 20..21, false);
    table.wait("fresh.test", 30..31, true);
    let order: Vec<EntryId> = table.start_all().iter().map(|start| start.id).collect();
    assert_eq!(order, [30, 20, 10].map(id));
    assert_eq!(busy.id, id(0));
}

#[test]
fn a_fresh_letter_opens_a_lane_that_was_left_alone_for_a_while() {
    let mut table = Table::new();
    table.wait("dead.test", 0..2, false);
    let start = table.start().unwrap();
    let contact = table.unreachable(4 * 3600);
    table.over(&start, contact, None);
    table.wait("dead.test", 2..3, true);
    assert!(table.start().is_none(), "it was tried a moment ago");
    table.pass(300);
    table.wait("dead.test", 3..4, true);
    assert!(table.start().is_some());
    assert!(table.start().is_none());
}

#[test]
fn destinations_with_the_same_servers_share_a_lane() {
    let mut table = Table::new();
    for (n, host) in ["a.test", "b.test", "c.test"].iter().enumerate() {
        let name = table.board.name(&Host::parse(host).unwrap());
        table.board.add(id(n), &name, false, table.now);
        let host = table.board.next_question(table.now).unwrap();
        table.board.answered(&host, Answer::Way("mx.test".into(), 7), |_, _| true, table.now);
    }
    let starts = table.start_all();
    assert_eq!(starts.len(), 2, "two connections for the three of them");
    for start in &starts {
        let contact = table.unreachable(300);
        table.over(start, contact, None);
    }
    assert!(table.start().is_none());
}

#[test]
fn a_destination_that_cannot_be_looked_up_is_asked_for_again_later() {
    let mut table = Table::new();
    let name = table.board.name(&Host::parse("lost.test").unwrap());
    table.board.add(id(0), &name, false, table.now);
    table.board.add(id(1), &name, false, table.now);
    let later = |until| Answer::Later { reason: "no DNS".into(), until };
    let host = table.board.next_question(table.now).unwrap();
    assert!(table.board.next_question(table.now).is_none(), "one question about one destination");
    let told = table.board.answered(&host, later(table.now.unix + 300), |_, _| true, table.now);
    assert_eq!(told, Some(id(0)), "one letter says why");
    assert!(table.board.next_question(table.now).is_none());
    table.pass(300);
    assert_eq!(table.start().unwrap().id, id(1));
}

#[test]
fn the_way_is_asked_for_anew_after_a_while_and_may_lead_elsewhere() {
    let mut table = Table::new();
    table.wait("a.test", 0..1, false);
    let first = table.start().unwrap();
    table.over(&first, Contact::Reached, None);
    table.pass(300);
    let name = table.board.name(&first.host);
    table.board.add(id(1), &name, false, table.now);
    let host = table.board.next_question(table.now).unwrap();
    table.board.answered(&host, Answer::Way("new".into(), 8), |_, _| true, table.now);
    let second = table.start().unwrap();
    assert_eq!((&*second.lane, second.way), ("new", 8));
}

#[test]
fn what_does_not_wait_any_more_is_passed_over() {
    let mut table = Table::new();
    table.wait("a.test", 0..5, false);
    let start = table.board.next_start(|waiting, _| waiting == id(3), table.now).unwrap();
    assert_eq!(start.id, id(3));
    table.board.purge(|waiting, _| waiting != id(4));
    assert!(table.start().is_none());
}

#[test]
fn a_pardon_opens_at_once() {
    let mut table = Table::new();
    table.wait("dead.test", 0..5, false);
    let start = table.start().unwrap();
    let contact = table.unreachable(3600);
    table.over(&start, contact, None);
    assert_eq!(table.board.destinations(table.now.unix)[0].closed_until, Some(table.now.unix + 3600));
    table.board.pardon(&start.host, table.now);
    assert_eq!(table.start_all().len(), 1);
    let status = &table.board.destinations(table.now.unix)[0];
    assert_eq!((status.waiting, status.connections, status.closed_until), (3, 1, None));
}

#[test]
fn no_more_than_twenty_letters_of_a_lane_wait_for_their_record() {
    let mut table = Table::new();
    table.wait("a.test", 0..100, false);
    let mut carried = 0;
    while let Some(start) = table.start() {
        let _ = table.board.carried(start.number, None, Contact::Reached, table.now);
        carried += 1;
    }
    assert_eq!(carried, 20);
    table.board.recorded(&"a.test".into(), table.now);
    assert!(table.start().is_some());
}

#[test]
fn what_is_not_needed_is_forgotten() {
    let mut table = Table::new();
    table.wait("a.test", 0..1, false);
    let start = table.start().unwrap();
    table.over(&start, Contact::Reached, Some("courier"));
    assert_eq!(table.pass(600), ["courier"]);
    table.board.sweep(table.now);
    assert!(table.board.domains.is_empty() && table.board.lanes.is_empty());
    assert!(table.board.is_quiet());
}

#[test]
fn what_a_clock_closed_that_was_ahead_opens_when_it_is_set_back() {
    let mut table = Table::new();
    table.wait("dead.test", 0..2, false);
    let start = table.start().unwrap();
    let contact = table.unreachable(300);
    table.over(&start, contact, None);
    add(&mut table, "lost.test", 5, false);
    add(&mut table, "lost.test", 6, false);
    let host = table.board.next_question(table.now).unwrap();
    let later = Answer::Later { reason: "no DNS".into(), until: table.now.unix + 300 };
    assert_eq!(table.board.answered(&host, later, |_, _| true, table.now), Some(id(5)));
    assert!(table.start().is_none());
    table.now.unix -= 86400;
    table.board.wake(table.now);
    let mut open: Vec<EntryId> = table.start_all().iter().map(|start| start.id).collect();
    open.sort_unstable();
    assert_eq!(open, [1, 6].map(id));
}

#[test]
fn a_destination_that_has_moved_does_not_wait_for_its_old_lane() {
    for by_hand in [false, true] {
        let mut table = Table::new();
        let name = table.wait("a.test", 0..3, false);
        let start = table.start().unwrap();
        let contact = table.unreachable(4 * 3600);
        table.over(&start, contact, None);
        table.wait("b.test", 20..21, false);
        if by_hand {
            table.board.pardon(&name, table.now);
        } else {
            table.pass(300);
            add(&mut table, "a.test", 10, false);
        }
        let host = table.board.next_question(table.now).unwrap();
        table.board.answered(&host, Answer::Way("new".into(), 8), |_, _| true, table.now);
        let lanes: Vec<String> = table.start_all().iter().map(|start| start.lane.to_string()).collect();
        assert_eq!(lanes.iter().filter(|lane| *lane == "new").count(), 2, "{lanes:?}");
        // The old lane serves whoever still goes there.
        add(&mut table, "c.test", 30, false);
        let host = table.board.next_question(table.now).unwrap();
        table.board.answered(&host, Answer::Way("a.test".into(), 7), |_, _| true, table.now);
        table.pass(4 * 3600);
        assert!(table.start_all().iter().any(|start| start.id == id(30)));
    }
}
