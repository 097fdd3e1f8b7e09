//! What is said on the control socket: one request as a line of JSON, then lines of an answer, the last of which is
//! `end` or `fault`.

use crate::certs::orders::Outcome;
use crate::relay::orders::{Destination, Done, Order};
use serde::{Deserialize, Serialize};

/// The most octets of a request, its newline included.
pub(super) const MAX_REQUEST: usize = 64 << 10;
/// The most octets of a line of an answer.
pub(super) const MAX_ANSWER: usize = 64 << 10;

const VERSION: u32 = 1;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// What the relay knows of its destinations.
    Destinations,
    /// To renew the certificates, or read them again.
    Renew,
    /// An order for the queue.
    Order {
        order: Order,
        /// Words of a selection; empty: everything.
        words: Vec<String>,
    },
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer {
    /// A recipient, and what came of the order.
    Done(Done),
    /// A destination.
    Destination(Destination),
    /// A certificate, and what came of the order.
    Renewed(Outcome),
    /// It takes longer; more follows.
    Working,
    /// That was all.
    End,
    /// Nothing was done, for this reason.
    Fault(String),
}

/// A request as it is written: `{"control":1,"order":"hold","words":["example.org"]}`,
/// `{"control":1,"order":"hold","all":true}`, `{"control":1,"destinations":true}` or `{"control":1,"renew":true}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    control: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<Order>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    words: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    all: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    destinations: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    renew: bool,
}

#[derive(Deserialize)]
struct AnyVersion {
    control: u32,
}

impl Request {
    /// The line, or why there is none.
    pub(super) fn to_line(&self) -> Result<Vec<u8>, String> {
        let blank = Line {
            control: VERSION,
            order: None,
            words: Vec::new(),
            all: false,
            destinations: false,
            renew: false,
        };
        let line = match self {
            Request::Destinations => Line { destinations: true, ..blank },
            Request::Renew => Line { renew: true, ..blank },
            Request::Order { order, words } => {
                Line { order: Some(*order), words: words.clone(), all: words.is_empty(), ..blank }
            }
        };
        let mut text = serde_json::to_vec(&line).map_err(|error| error.to_string())?;
        text.push(b'\n');
        match text.len() <= MAX_REQUEST {
            true => Ok(text),
            false => Err("too many words for one order; give them in portions (`xargs -n 1000`)".into()),
        }
    }

    /// Reads a line with its newline. That everything is meant must have been said: words that got lost must not become
    /// an order for all.
    pub(super) fn parse(line: &[u8]) -> Result<Request, String> {
        let Some(line) = line.strip_suffix(b"\n") else {
            return Err("the request does not end within its first line and 64 KiB".into());
        };
        let malformed = |error: serde_json::Error| format!("malformed request: {error}");
        let AnyVersion { control } = serde_json::from_slice(line).map_err(malformed)?;
        if control != VERSION {
            return Err(format!(
                "this server speaks version {VERSION} of the control socket, not {control}: restart it, so that it \
                 is the same pillarbox"
            ));
        }
        let line: Line = serde_json::from_slice(line).map_err(malformed)?;
        let Line { order, words, all, destinations, renew, .. } = line;
        match (order, destinations, renew) {
            (None, true, false) if words.is_empty() && !all => Ok(Request::Destinations),
            (None, false, true) if words.is_empty() && !all => Ok(Request::Renew),
            (Some(order), false, false) if all == words.is_empty() => Ok(Request::Order { order, words }),
            _ => Err("malformed request: want an order with words or with all, destinations or renew".into()),
        }
    }
}

impl Answer {
    pub(super) fn to_line(&self) -> Vec<u8> {
        // Nothing here can fail to be JSON: no map, no serializer of ours that returns an error.
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}
