//! What has just come goes before what is old, wherever it has to wait.

use super::*;

/// Destinations whose ways lead to one lane.
fn share(table: &mut Table, lane: &str) {
    while let Some(host) = table.board.next_question(table.now) {
        table.board.answered(&host, Answer::Way(lane.into(), 7), |_, _| true, table.now);
    }
}

#[test]
fn a_closed_lane_opens_for_a_fresh_letter_and_by_hand_although_its_destination_was_forgotten() {
    for by_hand in [false, true] {
        let mut table = Table::new();
        table.wait("dead.test", 0..1, false);
        let start = table.start().unwrap();
        let contact = table.unreachable(3600);
        table.over(&start, contact, None);
        table.pass(600);
        table.board.sweep(table.now);
        assert!(table.board.domains.is_empty() && table.board.lanes.len() == 1);
        let name = add(&mut table, "dead.test", 1, !by_hand);
        if by_hand {
            table.board.pardon(&name, table.now);
        }
        assert_eq!(table.start().expect("the lane is open").id, id(1), "by hand: {by_hand}");
    }
}

#[test]
fn a_fresh_letter_goes_first_where_its_destination_waits_in_a_lane_with_many_others() {
    let mut table = Table::new();
    for n in 0..10 {
        add(&mut table, &format!("d{n}.test"), n, false);
    }
    share(&mut table, "via");
    add(&mut table, "d8.test", 20, true);
    assert_eq!(table.start_all().iter().map(|start| start.id).collect::<Vec<_>>(), [id(20), id(0)]);
}

#[test]
fn destinations_with_fresh_letters_take_turns_in_a_lane() {
    let mut table = Table::new();
    for n in 0..5 {
        add(&mut table, "a.test", n, true);
    }
    add(&mut table, "b.test", 10, true);
    share(&mut table, "via");
    assert_eq!(table.start_all().iter().map(|start| start.id).collect::<Vec<_>>(), [id(0), id(10)]);
}

#[test]
fn a_fresh_letter_is_asked_for_before_old_ones_and_once() {
    let mut table = Table::new();
    for n in 0..3 {
        add(&mut table, &format!("d{n}.test"), n, false);
    }
    add(&mut table, "d2.test", 3, true);
    let asked = std::iter::from_fn(|| table.board.next_question(table.now));
    assert_eq!(asked.map(|host| host.to_string()).collect::<Vec<_>>(), ["d2.test", "d0.test", "d1.test"]);
}

#[test]
fn slow_destinations_with_several_letters_leave_room_for_fresh_ones() {
    let mut table = Table::new();
    for n in 0..180 {
        table.wait(&format!("slow{n}.test"), 2 * n..2 * n + 2, false);
    }
    let mut old = 0;
    for _ in 0..10 {
        old += table.start_all().len();
        table.pass(3);
    }
    assert_eq!(old, 300);
    for n in 0..100 {
        table.wait(&format!("live{n}.test"), 1000 + n..1001 + n, true);
    }
    assert_eq!(table.start_all().len(), 100);
}
