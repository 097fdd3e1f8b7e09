//! How letters age in the real binary: the sender is warned, and told of the end, though his letter only waited behind another
//! one; what is held does not age.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

mod harness;

use harness::home::Home;
use harness::sink::Sink;
use harness::town::{ME, Town};
use harness::{Dns, ZONE, eventually};
use std::sync::Arc;

const TRIED: &str = "tried@there.example";
const WAITING: &str = "waiting@there.example";
const HELD: &str = "held@there.example";

#[test]
fn who_waits_untried_is_warned_about_and_given_up_and_who_is_held_is_not() {
    let (dns, sink) = (Dns::start(ZONE), Sink::start());
    sink.away(true);
    let relay = format!(
        "[relay]\nport = {}\nallow_private = true\nwarn_after = 1\nretry_for = 8\n",
        sink.address.port()
    );
    let servers = format!("[dns]\nservers = [\"{}\"]\n", dns.address());
    let town = Town::start(&Arc::new(Home::new(&dns, ME)), &servers, &relay);
    town.send(&[TRIED], "tried");
    town.put_off(TRIED);
    for to in [WAITING, HELD] {
        town.send(&[to], "behind it");
    }
    let held = town.server.command(&["queue", "hold", HELD]);
    assert!(held.status.success(), "{}", String::from_utf8_lossy(&held.stderr));
    let waiting = town.waiting();
    let attempts = |to| waiting.iter().find(|line| line["recipient"] == to).unwrap()["attempts"].clone();
    assert_eq!((attempts(TRIED), attempts(WAITING), attempts(HELD)), (1.into(), 0.into(), 0.into()));

    eventually("the end of who was never tried", || (town.waiting().len() == 2).then_some(()));
    let reports = town.server.letters("here.example/me");
    for (to, action) in [(TRIED, "delayed"), (WAITING, "delayed"), (WAITING, "failed")] {
        let told = |letter: &&String| {
            letter.contains(&format!("Final-Recipient: rfc822; {to}\r\nAction: {action}\r\n"))
        };
        assert_eq!(reports.iter().filter(told).count(), 1, "{to} {action}: {reports:?}");
    }
    assert_eq!(reports.len(), 3, "{reports:?}");

    // What was held has an attempt left, and so has what is due when the destination is there again.
    sink.away(false);
    let released = town.server.command(&["queue", "release", HELD]);
    assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
    town.relayed(HELD);
    town.relayed(TRIED);
}
