//! A letter's story: what the log says about it, in order, and what became of it.

use super::line::Line;
use super::told::{Kind, sentences};
use crate::smtp::reply::printable;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, VecDeque};

/// How many events are kept from the beginning of a story, and from its end.
const FIRST: usize = 1_000;
const LAST: usize = 9_000;
/// Fields that are numbers, in whatever form the log is.
const NUMBERS: [&str; 6] = ["size", "code", "recipients", "again_in", "delay", "attempts"];

/// A letter's story. Its beginning and its end, if it is very long.
#[derive(Debug, Default)]
pub(super) struct Story {
    ids: Vec<String>,
    first: Vec<Line>,
    last: VecDeque<Line>,
    left_out: u64,
    tally: Tally,
}

impl Story {
    /// Whether the log said nothing.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The ids under which it was found.
    pub fn known_as(&mut self, ids: &BTreeSet<String>) {
        self.ids = ids.iter().cloned().collect();
    }

    /// The next line that is about it.
    pub fn add(&mut self, line: Line) {
        self.tally.count(&line);
        if self.first.len() < FIRST {
            let at = if Kind::of(&line).is_arrival() { self.begun_by(&line) } else { self.first.len() };
            return self.first.insert(at, line);
        }
        if self.last.len() == LAST {
            self.last.pop_front();
            self.left_out += 1;
        }
        self.last.push_back(line);
    }

    /// Where an arrival belongs: the log has it when it is decided, behind what was done meanwhile.
    fn begun_by(&self, arrival: &Line) -> usize {
        let id = arrival.get("id");
        self.first.iter().position(|line| line.get("id") == id).unwrap_or(self.first.len())
    }

    /// For a person: each event with its time, and at the end what became of the letter.
    pub fn to_text(&self) -> String {
        let mut text = format!("letter {}\n", self.ids.join(", "));
        for line in &self.first {
            tell(line, &mut text);
        }
        if self.left_out > 0 {
            text.push_str(&format!("… {} events are left out …\n", self.left_out));
        }
        for line in &self.last {
            tell(line, &mut text);
        }
        text.push_str(&format!("\noutcome: {}\n", self.tally.outcome()));
        text
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "ids": self.ids,
            "events": self.first.iter().chain(&self.last).map(event).collect::<Vec<_>>(),
            "left_out": self.left_out,
            "outcome": self.tally.outcome(),
        })
    }
}

fn tell(line: &Line, text: &mut String) {
    let time = match (&line.time, &line.written) {
        (Some(time), _) => local(*time),
        (None, Some(written)) => printable(written, 40),
        (None, None) => "(no time)".into(),
    };
    let mut sentences = sentences(line).into_iter();
    text.push_str(&format!("{time}  {}\n", sentences.next().unwrap_or_default()));
    sentences.for_each(|more| text.push_str(&format!("    {more}\n")));
}

/// A time of this machine, with its zone.
fn local(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

fn event(line: &Line) -> Value {
    let mut fields = Map::new();
    for (key, value) in &line.fields {
        let number = NUMBERS.contains(&key.as_str()).then(|| value.parse::<u64>().ok()).flatten();
        let value = number.map_or_else(|| Value::from(printable(value, usize::MAX)), Value::from);
        fields.entry(printable(key, usize::MAX)).or_insert(value);
    }
    let time = line.time.map(|time| time.to_string());
    json!({
        "time": time.or_else(|| line.written.as_ref().map(|written| printable(written, usize::MAX))),
        "event": Kind::of(line).word(),
        "message": printable(&line.message, usize::MAX),
        "fields": fields,
    })
}

/// What the events add up to.
#[derive(Debug, Default)]
struct Tally {
    /// What was said at the door.
    decision: Option<&'static str>,
    junk: bool,
    queued: bool,
    /// How many it is for, as far as the log goes back.
    expected: u64,
    delivered: u64,
    relayed: u64,
    bounced: u64,
    dropped: u64,
    /// Whether the last that was heard of a recipient is that he waits.
    waits: bool,
}

impl Tally {
    fn count(&mut self, line: &Line) {
        let kind = Kind::of(line);
        match kind {
            Kind::Accepted => {
                self.decision = Some("delivered");
                self.junk |= line.get("verdict") == Some("junk");
                self.expected = self.expected.max(people(line.get("to").unwrap_or_default()));
            }
            Kind::Refused => self.decision = self.decision.or(Some("refused")),
            Kind::Deferred => self.decision = self.decision.or(Some("deferred")),
            Kind::Queued | Kind::Again => self.queued = true,
            Kind::Delivered => {
                self.delivered += line.get("recipients").and_then(|many| many.parse().ok()).unwrap_or(1);
            }
            Kind::Relayed => self.relayed += 1,
            Kind::GivenUp => self.bounced += 1,
            Kind::Ordered if line.get("order") == Some("Drop") && line.get("fault").is_none() => {
                self.dropped += 1;
            }
            Kind::PutOff | Kind::Ordered | Kind::Other => {}
        }
        match kind {
            Kind::Delivered | Kind::Relayed | Kind::GivenUp => (self.queued, self.waits) = (true, false),
            Kind::PutOff => (self.queued, self.waits) = (true, true),
            _ => {}
        }
    }

    /// In one word, as far as the log tells.
    fn outcome(&self) -> &'static str {
        let Tally { delivered, relayed, bounced, dropped, .. } = *self;
        let (reached, lost) = (delivered + relayed, bounced + dropped);
        if !self.queued && lost == 0 {
            return match self.decision {
                Some("delivered") if self.junk => "junk",
                Some(decision) => decision,
                None => "unknown",
            };
        }
        let all = reached + lost;
        match () {
            () if all < self.expected || all == 0 || (self.expected == 0 && self.waits) => "queued",
            () if reached > 0 && lost > 0 => "partly",
            () if bounced > 0 => "bounced",
            () if dropped > 0 => "dropped",
            () if relayed > 0 => "relayed",
            () if self.junk => "junk",
            () => "delivered",
        }
    }
}

/// How many addresses stand in a list; the local part of one may have spaces, in quotes.
fn people(list: &str) -> u64 {
    let (mut quoted, mut escaped, mut people) = (false, false, u64::from(!list.is_empty()));
    for c in list.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => people += 1,
            _ => {}
        }
    }
    people
}

#[cfg(test)]
mod tests;
