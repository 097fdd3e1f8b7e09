//! What is said of a queue that somebody asks about: JSON lines, by `gate queue` to home and by `queue list --json` to
//! programs (docs/operating.md, "When a letter does not leave").

use crate::smtp::reply::printable;
use serde::{Deserialize, Serialize};

/// The version of these lines.
pub const VERSION: u32 = 1;

/// The most octets of a line that home takes, its newline included.
pub const MAX_LINE: usize = 64 << 10;

/// The most characters of words that others chose.
const WORDS: usize = 4096;

/// One line. The first is `queue`, the last `total`: without it the answer broke off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// Whose queue this is.
    Queue {
        /// [`VERSION`].
        version: u32,
        /// The server's name.
        server: String,
    },
    /// A recipient who waits.
    Waiting(Waiting),
    /// A letter of which nothing can be said.
    Unreadable {
        /// The entry.
        id: String,
        /// Why.
        why: String,
    },
    /// The sum of all lines.
    Total(Total),
}

/// A recipient who waits, and his letter. Times are Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The entry.
    pub id: String,
    /// When the letter came.
    pub arrived: i64,
    /// Its octets.
    pub size: u64,
    /// The envelope sender; empty for `<>`.
    pub sender: String,
    /// Who waits.
    pub recipient: String,
    /// How often he was tried.
    pub attempts: u32,
    /// Before which he is not tried again; 0 where he was not tried yet.
    pub next_attempt: i64,
    /// Whether he is held, until he is released.
    pub held: bool,
    /// What the last attempt ended with.
    pub reason: Option<String>,
    /// Where it is the destination that he waits for.
    pub closed: Option<Closed>,
}

/// A destination that is left alone for a while, since it could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Its name.
    pub destination: String,
    /// Until when, Unix seconds.
    pub until: i64,
    /// Why.
    pub reason: Option<String>,
}

/// What waits, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// Letters.
    pub letters: u64,
    /// Recipients who wait.
    pub recipients: u64,
    /// Octets of the letters.
    pub octets: u64,
    /// When the oldest of them came, Unix seconds.
    pub oldest: Option<i64>,
    /// Letters of which nothing can be said.
    pub unreadable: u64,
}

impl Waiting {
    /// With everything that others chose made fit for a terminal.
    pub fn printable(mut self) -> Waiting {
        for text in [&mut self.id, &mut self.sender, &mut self.recipient] {
            *text = words(text);
        }
        self.reason = self.reason.as_deref().map(words);
        if let Some(closed) = &mut self.closed {
            closed.destination = words(&closed.destination);
            closed.reason = closed.reason.as_deref().map(words);
        }
        self
    }
}

/// What others chose, made fit for a terminal.
pub fn words(text: &str) -> String {
    printable(text, WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_those_of_the_documentation() {
        let waiting = Waiting {
            id: "0".repeat(20),
            arrived: 1,
            size: 2,
            sender: "me@here.example".into(),
            recipient: "you@there.example".into(),
            attempts: 3,
            next_attempt: 4,
            held: false,
            reason: Some("450 \x1b[2Jlater".into()),
            closed: None,
        };
        let line = Line::Waiting(waiting.printable());
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(
            text,
            "{\"waiting\":{\"id\":\"00000000000000000000\",\"arrived\":1,\"size\":2,\"sender\":\"me@here.example\",\
             \"recipient\":\"you@there.example\",\"attempts\":3,\"next_attempt\":4,\"held\":false,\
             \"reason\":\"450 ?[2Jlater\",\"closed\":null}}"
        );
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
        let hello = Line::Queue { version: VERSION, server: "mx.example".into() };
        let text = serde_json::to_string(&hello).unwrap();
        assert_eq!(text, "{\"queue\":{\"version\":1,\"server\":\"mx.example\"}}");
    }
}
