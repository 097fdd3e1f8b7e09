//! `queue retry|hold|release|drop|bounce`: an order to the relay of a running server or, where none runs, carried out
//! here.

use super::{faulty, parse};
use crate::config::Server;
use crate::error::{Exit, Failure};
use crate::mail::address::Address;
use crate::net::waiting::words as printable;
use crate::ops::{become_owner, print, print_json};
use crate::queue::EntryId;
use crate::queue::select::{Selection, Word};
use crate::relay::Parts;
use crate::relay::orders::{Done, Order, perform_all};
use crate::server::control::ask;
use serde::Serialize;

/// What an order is for.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// Ids, addresses, domains.
    pub words: Vec<String>,
    /// Everything that waits.
    pub all: bool,
}

/// Carries an order out and says of each recipient what was done. Fails with 69 where a word matched nobody, and with
/// 75 where something could not be done now.
pub fn order(config: &Server, order: Order, chosen: &Chosen, json: bool) -> Result<(), Failure> {
    let words = &chosen.words;
    if words.is_empty() && !chosen.all && order != Order::Retry {
        let text = format!("{}: name ids, addresses or domains, or say --all", name(order));
        return Err(Failure::new(Exit::Usage, text));
    }
    let selection = parse(words)?;
    become_owner(config)?;
    let (done, running) = match ask::order(&config.state_dir, order, words)? {
        Some(done) => (done, true),
        None => (by_the_files(config, order, &selection)?, false),
    };
    let missed = missed(words, &selection, &done);
    if json {
        print_json(&Outcome { order, done: &done, missed: &missed })?;
    } else if done.is_empty() && missed.is_empty() {
        print(&format!("{}\n", nothing(order)))?;
    } else {
        print(&done.iter().map(|done| line(order, done, running)).collect::<String>())?;
    }
    verdict(order, &done, &missed)
}

/// The result for programs.
#[derive(Serialize)]
struct Outcome<'a> {
    order: Order,
    /// Recipients, each with a `fault` where nothing was done for him.
    done: &'a [Done],
    /// Words that matched nobody.
    missed: &'a [&'a String],
}

/// No server runs: its queue is ours as long as we hold the lock.
fn by_the_files(config: &Server, order: Order, selection: &Selection) -> Result<Vec<Done>, Failure> {
    let parts = Parts::open(config).map_err(|failure| match failure.exit {
        Exit::TempFail => Failure::new(
            Exit::TempFail,
            format!(
                "no server answers at control.sock, and its queue cannot be opened (one that is starting or stopping \
                 has it: try again in a moment): {failure}"
            ),
        ),
        _ => failure,
    })?;
    perform_all(&parts, order, selection).map_err(faulty)
}

fn missed<'a>(words: &'a [String], selection: &Selection, done: &[Done]) -> Vec<&'a String> {
    let matched = |word: &Word| {
        done.iter().any(|done| match (word, EntryId::parse(&done.id), Address::parse(&done.recipient)) {
            (Word::Entry(named), Some(id), _) => *named == id,
            (word, Some(id), Ok(recipient)) => word.covers(&id, &recipient),
            _ => false,
        })
    };
    words.iter().zip(&selection.words).filter(|(_, word)| !matched(word)).map(|(word, _)| word).collect()
}

/// What was done for one recipient; a server that does not run tries nobody now.
fn line(order: Order, done: &Done, running: bool) -> String {
    let when = if running { "now" } else { "when the server starts" };
    let what = match (&done.fault, order) {
        (Some(fault), _) => format!("nothing done: {}", printable(fault)),
        (None, Order::Retry) => format!("tried again {when}"),
        (None, Order::Hold) => "held until it is released".into(),
        (None, Order::Release) => format!("released, and tried {when}"),
        (None, Order::Drop) => "dropped; nobody is told".into(),
        (None, Order::Bounce) => "given up; the sender finds a report in his mailbox".into(),
    };
    // Of a letter that cannot be read no recipient is known.
    let who =
        if done.recipient.is_empty() { String::new() } else { format!(" {}", printable(&done.recipient)) };
    format!("{}{who}: {what}\n", printable(&done.id))
}

fn verdict(order: Order, done: &[Done], missed: &[&String]) -> Result<(), Failure> {
    let faults = done.iter().filter(|done| done.fault.is_some()).count();
    if faults > 0 {
        let text = format!("for {faults} of {} recipients nothing could be done now", done.len());
        return Err(Failure::new(Exit::TempFail, text));
    }
    match missed {
        [] => Ok(()),
        missed => {
            let words = missed.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", ");
            Err(Failure::new(Exit::Unavailable, format!("{} for {words}", nothing(order))))
        }
    }
}

fn nothing(order: Order) -> &'static str {
    if order == Order::Release { "Nothing is held" } else { "Nothing waits" }
}

fn name(order: Order) -> &'static str {
    match order {
        Order::Retry => "queue retry",
        Order::Hold => "queue hold",
        Order::Release => "queue release",
        Order::Drop => "queue drop",
        Order::Bounce => "queue bounce",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(recipient: &str, fault: Option<&str>) -> Done {
        Done { id: "0".repeat(20), recipient: recipient.into(), fault: fault.map(String::from) }
    }

    #[test]
    fn a_word_that_matched_nobody_is_said() {
        let words: Vec<String> = ["a@x.example", "x.example", "y.example", &"0".repeat(20), &"1".repeat(20)]
            .map(String::from)
            .into();
        let selection = Selection::parse(&words).unwrap();
        let found = [done("A@x.example", None)];
        assert_eq!(missed(&words, &selection, &found), [&words[2], &words[4]]);
        // A letter that cannot be read is there, whoever it is for.
        assert_eq!(missed(&words, &selection, &[done("", Some("damaged"))]).len(), 4);
        let failure = verdict(Order::Drop, &found, &missed(&words, &selection, &found)).unwrap_err();
        assert!(failure.exit == Exit::Unavailable && failure.message.contains("y.example"), "{failure}");
    }

    #[test]
    fn what_could_not_be_done_is_temporary() {
        let found = [done("a@x.example", None), done("b@x.example", Some("in hand"))];
        assert_eq!(verdict(Order::Drop, &found, &[]).unwrap_err().exit, Exit::TempFail);
        assert!(verdict(Order::Drop, &found[..1], &[]).is_ok() && verdict(Order::Drop, &[], &[]).is_ok());
        assert!(line(Order::Drop, &found[1], true).contains("nothing done: in hand"));
    }

    #[test]
    fn a_stopped_server_tries_nobody_now() {
        let found = done("a@x.example", None);
        assert!(line(Order::Retry, &found, true).ends_with(": tried again now\n"));
        assert!(line(Order::Retry, &found, false).ends_with(": tried again when the server starts\n"));
        assert!(
            line(Order::Release, &found, false).ends_with(": released, and tried when the server starts\n")
        );
    }
}
