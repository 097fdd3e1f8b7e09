//! The eight cases over the wire: who may send what to whom, through which door.

mod harness;

use harness::home::{Home, letter};
use harness::wire::Wire;
use harness::{Dns, Plan, Server, ZONE, eventually, letters_in};

const ME: &str = "me@here.example";
const FRIEND: &str = "friend@there.example";
const OTHER: &str = "other@there.example";

/// Our server, the stranger's server, and a key for each of us.
struct Town {
    ours: Server,
    stranger: Server,
    me: Home,
    friend: Home,
    _dns: Dns,
}

fn town() -> Town {
    let dns = Dns::start(ZONE);
    let stranger = Plan::new("mx.there.example", &[FRIEND, OTHER]).start(&dns);
    let relay = format!("[relay]\nport = {}\nallow_private = true\n", stranger.mx().port());
    let ours = Plan::new("mx.here.example", &[ME]).with(&relay).start(&dns);
    let (me, friend) = (Home::new(&dns, ME), Home::new(&dns, FRIEND));
    Town { ours, stranger, me, friend, _dns: dns }
}

impl Town {
    fn at_mx(&self, from: &str, to: &str) -> String {
        let (mut wire, _) = Wire::greeted(self.ours.mx());
        wire.transact(from, &[to], &letter(from, to, "at mx"))
    }

    fn at_submission(&self, home: &Home, to: &str) -> String {
        let (mut wire, server) = Wire::greeted(self.ours.submission());
        let from = home.address.to_string();
        wire.transact(&from, &[to], &home.sealed(&letter(&from, to, "at submission"), &server, &[to]))
    }
}

#[track_caller]
fn says(reply: &str, prefix: &str) {
    assert!(reply.starts_with(prefix), "want {prefix}, got {reply}");
}

#[test]
fn case_1_mx_delivers_from_someone_to_me() {
    let town = town();
    says(&town.at_mx(FRIEND, ME), "250");
    let letters = town.ours.letters("here.example/me");
    assert_eq!(letters.len(), 1);
    assert!(letters[0].contains("Return-Path: <friend@there.example>"), "{}", letters[0]);
    assert!(letters[0].contains("Delivered-To: me@here.example"), "{}", letters[0]);
}

#[test]
fn cases_2_to_4_mx_refuses_all_else() {
    let town = town();
    says(&town.at_mx(ME, FRIEND), "550 5.7.1");
    says(&town.at_mx(FRIEND, OTHER), "550 5.7.1");
    says(&town.at_mx(ME, ME), "550 5.7.1");
    assert!(town.ours.letters("here.example/me").is_empty());
}

#[test]
fn cases_5_and_7_submission_refuses_strangers_though_their_seal_is_good() {
    let town = town();
    says(&town.at_submission(&town.friend, ME), "550 5.7.1");
    says(&town.at_submission(&town.friend, OTHER), "550 5.7.1");
    assert!(town.ours.letters("here.example/me").is_empty());
}

#[test]
fn case_6_submission_relays_from_me_to_someone() {
    let town = town();
    says(&town.at_submission(&town.me, FRIEND), "250");
    let directory = town.stranger.maildir("there.example/friend/new");
    let letter = eventually("the letter at the stranger's", || letters_in(&directory).pop());
    assert!(letter.contains("DKIM-Signature:"), "{letter}");
    assert!(!letter.contains("Envelope-Seal"), "the seal never leaves the server: {letter}");
}

#[test]
fn case_8_submission_delivers_from_me_to_me() {
    let town = town();
    says(&town.at_submission(&town.me, ME), "250");
    eventually("the letter", || town.ours.letters("here.example/me").pop());
}
