//! One line of the log, in each form in which somebody may have kept it: JSON as the server writes it where there is no
//! journal, the journal's own JSON, and text from a terminal or from `journalctl`.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// What a line says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// When it was written, if the line tells.
    pub time: Option<Timestamp>,
    /// The time as the line has it, where it is no complete one (`Nov 28 15:27:50`).
    pub written: Option<String>,
    /// What happened, without the fields.
    pub message: String,
    /// The fields in the order in which they stand. Of two with one name the first counts: those that a letter is known by
    /// stand in front of all that strangers say.
    pub fields: Vec<(String, String)>,
}

/// How a letter is named: the fields of a line that hold an id of it.
const NAMES: [&str; 2] = ["id", "entry"];

impl Line {
    /// Reads one line; none: it is not one of ours.
    pub fn read(text: &str) -> Option<Line> {
        let text = text.trim_end_matches(['\r', '\n']);
        if !text.starts_with('{') {
            return Some(from_text(text));
        }
        let mut object: Map<String, Value> = serde_json::from_str(text).ok()?;
        let Some(Value::String(inner)) = object.get("MESSAGE") else { return from_json(object) };
        let mut line = match inner.starts_with('{') {
            true => from_json(serde_json::from_str(inner).ok()?)?,
            false => from_text(inner),
        };
        // The time at which the line was written comes before the time at which it was received.
        let times = ["_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP"];
        let micros = times.iter().find_map(|name| object.remove(*name));
        let micros = micros.as_ref().and_then(Value::as_str).and_then(|micros| micros.parse().ok());
        line.time = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok()).or(line.time);
        Some(line)
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The ids of letters that the line is about.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        NAMES.into_iter().filter_map(|name| self.get(name)).filter(|id| is_id(id))
    }
}

/// Whether a word can be a letter's id: one of a door or one of the queue.
pub(super) fn is_id(word: &str) -> bool {
    (12..=32).contains(&word.len()) && word.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn from_json(object: Map<String, Value>) -> Option<Line> {
    let mut line = Line::default();
    for (key, value) in object {
        let value = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        match key.as_str() {
            "message" => line.message = value,
            "timestamp" => line.time = value.parse().ok(),
            "level" | "target" => {}
            _ => line.fields.push((key, value)),
        }
    }
    (!line.message.is_empty()).then_some(line)
}

fn from_text(text: &str) -> Line {
    let text = without_colours(text);
    let mut line = Line::default();
    let rest = match before_program(&text) {
        Some((prefix, rest)) => {
            line.read_time(prefix);
            rest
        }
        None => line.read_start(&text),
    };
    let (message, mut rest) = until_field(rest);
    line.message = message.trim().to_owned();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = value(after);
        line.fields.push((key.trim_start().to_owned(), value));
        rest = next;
    }
    line
}

impl Line {
    /// `2026-11-28T15:27:50+0000 host`, `Nov 28 15:27:50 host`: all but the last word is the time.
    fn read_time(&mut self, prefix: &str) {
        let time = prefix.rsplit_once(' ').map_or(prefix, |(time, _)| time);
        match time.parse() {
            Ok(time) => self.time = Some(time),
            Err(_) => self.written = Some(time.to_owned()),
        }
    }

    /// Takes off what stands in front of the message on a terminal (`2026-11-28T15:27:50.5Z  INFO`) and on the
    /// way into the journal (`<6>`).
    fn read_start<'a>(&mut self, text: &'a str) -> &'a str {
        let text =
            text.strip_prefix('<').and_then(|text| text.split_once('>')).map_or(text, |(_, rest)| rest);
        let Some((first, rest)) = text.trim_start().split_once(' ') else { return text };
        let Ok(time) = first.parse() else { return text };
        self.time = Some(time);
        let rest = rest.trim_start();
        let levels = ["ERROR ", "WARN ", "INFO ", "DEBUG ", "TRACE "];
        levels.iter().find_map(|level| rest.strip_prefix(level)).unwrap_or(rest)
    }
}

/// Splits at `pillarbox[123]: `, with which `journalctl` and syslog begin a line. What follows a field's name is a
/// stranger's, whatever it looks like.
fn before_program(text: &str) -> Option<(&str, &str)> {
    let (before, rest) = text.split_once("]: ")?;
    let (before, pid) = before.rsplit_once('[')?;
    let (prefix, program) = before.rsplit_once(' ')?;
    let is_prefix = !before.contains(['=', '"']) && !program.is_empty();
    (is_prefix && !pid.is_empty() && pid.bytes().all(|digit| digit.is_ascii_digit()))
        .then_some((prefix, rest))
}

/// Splits in front of the first ` name=`.
fn until_field(text: &str) -> (&str, &str) {
    let at = text.match_indices(' ').map(|(at, _)| at).find(|at| begins_field(text, *at));
    text.split_at(at.unwrap_or(text.len()))
}

/// Whether ` name=` stands at this place.
fn begins_field(text: &str, at: usize) -> bool {
    let rest = text.get(at..).and_then(|rest| rest.strip_prefix(' ')).unwrap_or_default();
    let name = rest.split('=').next().unwrap_or_default();
    name.len() < rest.len()
        && !name.is_empty()
        && name.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'_')
}

/// The value in front, and what follows it. A text is in quotes; anything else goes on until the next field, and what stands in
/// quotes within it (the local part of an address) holds no field.
fn value(text: &str) -> (String, &str) {
    let (mut quoted, mut escaped) = (false, false);
    let mut end = text.len();
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted && begins_field(text, at) => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    let (value, rest) = text.split_at(end);
    let Some(inner) = value.strip_prefix('"') else { return (value.to_owned(), rest) };
    // The journal cuts a line that is too long for it, and the quote at the end may be gone.
    let inner = if quoted { Some(inner) } else { inner.strip_suffix('"') };
    match inner.filter(|inner| quoted || !has_bare_quote(inner)) {
        Some(inner) => (unescaped(inner), rest),
        None => (value.to_owned(), rest),
    }
}

fn has_bare_quote(text: &str) -> bool {
    let mut escaped = false;
    text.chars().any(|c| {
        let bare = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        bare
    })
}

/// Undoes what `{:?}` does to a text.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match rest.next() {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some('0') => plain.push('\0'),
            Some('u') => {
                let number: String = rest.by_ref().skip(1).take_while(|c| *c != '}').collect();
                let c = u32::from_str_radix(&number, 16).ok().and_then(char::from_u32);
                plain.push(c.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(c) => plain.push(c),
            None => {}
        }
    }
    plain
}

/// Without the sequences that colour a terminal (`ESC [ … m`).
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let numbers = part.bytes().take_while(|c| c.is_ascii_digit() || *c == b';').count();
        let rest = part.get(numbers..).unwrap_or_default();
        plain.push_str(rest.strip_prefix('m').unwrap_or(rest));
    }
    plain
}

#[cfg(test)]
mod tests;
