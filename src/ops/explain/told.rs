//! What a line of the log says, as a sentence.

use super::line::Line;
use crate::mail::date::{ahead, span};
use crate::smtp::reply::printable;

/// The longest text from the log in a sentence, in characters.
const LONGEST: usize = 1_000;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It came, and was taken.
    Accepted,
    /// It came, and was refused for good.
    Refused,
    /// It came, and whoever brought it was told to come again.
    Deferred,
    /// It is in the queue.
    Queued,
    /// It came once more.
    Again,
    /// It is in a directory here.
    Delivered,
    /// Somebody else's server has it.
    Relayed,
    /// It is tried again later.
    PutOff,
    /// Nobody tries any more.
    GivenUp,
    /// The owner ordered something.
    Ordered,
    /// What has no sentence of its own.
    Other,
}

impl Kind {
    /// By the words of the log.
    pub fn of(line: &Line) -> Kind {
        match line.message.as_str() {
            "accepted" => Kind::Accepted,
            "refused" => Kind::Refused,
            "deferred" => Kind::Deferred,
            "committed to the queue" | "several directories: through the queue" => Kind::Queued,
            "the same letter is in the queue, or was" => Kind::Again,
            "delivered" => Kind::Delivered,
            "relayed" => Kind::Relayed,
            "put off" => Kind::PutOff,
            "ordered by hand" => Kind::Ordered,
            message if message.starts_with("given up") => Kind::GivenUp,
            message if message.ends_with("; tried again") => Kind::PutOff,
            _ => Kind::Other,
        }
    }

    /// Whether somebody brought the letter.
    pub fn is_arrival(self) -> bool {
        matches!(self, Kind::Accepted | Kind::Refused | Kind::Deferred)
    }

    /// For programs.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Accepted => "accepted",
            Kind::Refused => "refused",
            Kind::Deferred => "deferred",
            Kind::Queued => "queued",
            Kind::Again => "again",
            Kind::Delivered => "delivered",
            Kind::Relayed => "relayed",
            Kind::PutOff => "put off",
            Kind::GivenUp => "given up",
            Kind::Ordered => "ordered",
            Kind::Other => "other",
        }
    }
}

/// A sentence, and what belongs to it, a line each. Fit for a terminal, whatever strangers got into the log.
pub(super) fn sentences(line: &Line) -> Vec<String> {
    let field = |name: &str| line.get(name).map(|value| printable(value, LONGEST));
    let seconds = |name: &str| line.get(name).and_then(|seconds| seconds.parse::<i64>().ok());
    let to = field("to").unwrap_or_else(|| "?".into());
    let reason = || field("reason").or_else(|| field("error")).unwrap_or_else(|| "no reason is given".into());
    let entry = || field("entry").unwrap_or_default();
    let attempt = field("attempts").map(|number| format!("attempt {number}"));
    let sentence = match Kind::of(line) {
        kind if kind.is_arrival() => return came(line),
        Kind::Queued => format!("queued as {}", entry()),
        Kind::Again => format!("the same letter once more, which was queued before as {}", entry()),
        Kind::Delivered => format!("put into {to}"),
        Kind::Relayed => {
            let by = field("by").unwrap_or_else(|| "?".into());
            let tls = field("tls").map(|tls| format!("connection: {tls}"));
            let delay = seconds("delay").map(|delay| format!("{} after it came", span(delay)));
            joined(format!("relayed to {to}, taken by {by}"), "; ", [tls, attempt, delay])
        }
        Kind::PutOff if line.message == "put off" => {
            let again = seconds("again_in").map(|wait| format!("again {}", ahead(wait)));
            joined(format!("put off for {to}: {}", reason()), "; ", [again, attempt])
        }
        Kind::GivenUp => {
            let told = line.message.strip_prefix("given up; ").map(|told| printable(told, LONGEST));
            joined(format!("given up for {to}: {}", reason()), "; ", [told])
        }
        Kind::Ordered => {
            let order = field("order").unwrap_or_default().to_lowercase();
            let fault = field("fault").map(|fault| format!("not done, since {fault}"));
            joined(format!("ordered by hand for {to}: {order}"), "; ", [fault])
        }
        _ => plain(line),
    };
    vec![sentence]
}

/// The decision at the door.
fn came(line: &Line) -> Vec<String> {
    let field = |name: &str| line.get(name).map(|value| printable(value, LONGEST));
    let path = |text: String| if text.is_empty() { "<>".to_owned() } else { text };
    let door = field("door").unwrap_or_else(|| "the".into()).to_lowercase();
    let from = field("from").map(|from| format!(" from {}", path(from))).unwrap_or_default();
    let to = field("to").map(|to| format!(" for {}", path(to))).unwrap_or_default();
    let brought = field("peer").map(|peer| match field("helo") {
        Some(helo) => format!("brought by {peer} (calls itself {helo})"),
        None => format!("brought by {peer}"),
    });
    let size = field("size").map(|size| format!("{size} octets"));
    let came = joined(format!("came to the {door} door{from}{to}"), ", ", [brought, size]);
    let reply = [field("code"), field("reason")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let mut lines = vec![format!("{came}: {}, {reply}", line.message)];
    for (name, words) in [("verdict", "verdict"), ("note", "because"), ("place", "put into")] {
        lines.extend(field(name).map(|value| format!("{words}: {value}")));
    }
    lines
}

/// What the code has no sentence for: the words of the log, and its fields.
fn plain(line: &Line) -> String {
    let told = line.fields.iter().filter(|(name, _)| name != "id");
    let told =
        told.map(|(name, value)| format!("{} {}", printable(name, LONGEST), printable(value, LONGEST)));
    joined(printable(&line.message, LONGEST), "; ", told.map(Some))
}

fn joined(begin: String, between: &str, more: impl IntoIterator<Item = Option<String>>) -> String {
    more.into_iter().flatten().fold(begin, |text, more| text + between + &more)
}
