//! What the owner's filter says of a letter: its exit status and its output become a verdict.

use crate::mail::header::LINE_MAX;
use crate::smtp::reply::{Reply, printable};

/// The most octets of output that a filter may write; more is a fault of the filter.
pub const OUTPUT_MAX: usize = 16 << 10;

/// The most header fields that a filter may add.
pub const MOST_FIELDS: usize = 50;

/// What is kept of a sentence of the filter, in characters.
const SENTENCE: usize = 400;

/// What a filter decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterVerdict {
    /// Status 0: nothing against it.
    Accept {
        /// Header fields to put on the letter, each with its CRLF.
        fields: Vec<String>,
    },
    /// Status 1: it belongs among the junk.
    Junk {
        /// Header fields to put on the letter, each with its CRLF.
        fields: Vec<String>,
    },
    /// Status 75, and whatever is wrong with the filter itself: the letter comes again later.
    Defer {
        /// Why, for the log. It is not for strangers.
        why: String,
    },
    /// Status 77.
    Refuse {
        /// The text of the reply.
        text: String,
    },
}

impl FilterVerdict {
    /// In a word; of a refusal also the filter's own.
    pub fn word(&self) -> String {
        match self {
            FilterVerdict::Accept { .. } => "accept".into(),
            FilterVerdict::Junk { .. } => "junk".into(),
            FilterVerdict::Defer { why } => format!("later: {why}"),
            FilterVerdict::Refuse { text } => format!("refuse: {text}"),
        }
    }

    /// What the client hears, where the letter does not come in.
    pub fn reply(&self) -> Option<Reply> {
        match self {
            FilterVerdict::Accept { .. } | FilterVerdict::Junk { .. } => None,
            FilterVerdict::Defer { .. } => {
                Some(Reply::new(451, 7, 1, "this letter cannot be checked just now; try again later"))
            }
            FilterVerdict::Refuse { text } => Some(Reply::new(550, 7, 1, text)),
        }
    }
}

/// A verdict, and what the filter wanted to add and may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The verdict.
    pub verdict: FilterVerdict,
    /// For each field that was left out the reason, fit for a log. The letter does not suffer by it.
    pub dropped: Vec<String>,
}

/// Reads what a filter that ended by itself had to say. `Err`: it is broken, and why.
pub fn judge(status: i32, output: &[u8]) -> Result<Judged, String> {
    let plain = |verdict| Ok(Judged { verdict, dropped: Vec::new() });
    match status {
        0 | 1 => {
            let (fields, dropped) = added_fields(output);
            let verdict = match status {
                0 => FilterVerdict::Accept { fields },
                _ => FilterVerdict::Junk { fields },
            };
            Ok(Judged { verdict, dropped })
        }
        75 => {
            plain(FilterVerdict::Defer { why: sentence(output).unwrap_or("the filter asks for it".into()) })
        }
        77 => {
            let text = sentence(output).unwrap_or("the filter of this server refuses this letter".into());
            plain(FilterVerdict::Refuse { text })
        }
        126 | 127 => Err(format!("it ended with status {status}: a shell found no program to run")),
        _ => Err(format!("it ended with status {status}, which means nothing; want 0, 1, 75 or 77")),
    }
}

/// The first line of what a filter wrote, fit for a log or a reply; `None` where it is blank.
pub fn sentence(output: &[u8]) -> Option<String> {
    let line = output.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    Some(printable(line.trim(), SENTENCE)).filter(|line| !line.is_empty())
}

/// The fields in a filter's output that may be added, each with CRLF at its lines' ends, and why the others may not.
fn added_fields(output: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut fields, mut dropped) = (Vec::new(), Vec::new());
    for lines in unfolded(output) {
        match checked(&lines) {
            Ok(_) if fields.len() >= MOST_FIELDS => {
                dropped.push(format!("more than {MOST_FIELDS} fields"));
                break;
            }
            Ok(field) => fields.push(field),
            Err(why) => {
                let line = lines.first().copied().unwrap_or_default();
                let line = printable(&String::from_utf8_lossy(line), 80);
                dropped.push(format!("{line:?}: {why}"));
            }
        }
    }
    (fields, dropped)
}

/// The lines of each field: one, and those that begin with white space behind it. They may end with LF or CRLF.
fn unfolded(output: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut fields: Vec<Vec<&[u8]>> = Vec::new();
    for line in output.split_inclusive(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match fields.last_mut() {
            Some(field) if matches!(line.first(), Some(b' ' | b'\t')) => field.push(line),
            _ => fields.push(vec![line]),
        }
    }
    // Most programs end with an empty line or two: no field, and no fault.
    while fields.last().is_some_and(|lines| lines.iter().all(|line| line.is_empty())) {
        fields.pop();
    }
    fields
}

/// A field that may stand on a letter: a printable name that may be added, ASCII without controls, no line longer than
/// 998 octets or blank (RFC 5322 sections 2.1.1 and 2.2.3).
fn checked(lines: &[&[u8]]) -> Result<String, &'static str> {
    let (first, more) = lines.split_first().ok_or("it is empty")?;
    let colon = first.iter().position(|octet| *octet == b':').ok_or("it is no header field")?;
    let name = std::str::from_utf8(&first[..colon]).map_err(|_| "its name is not ASCII")?;
    if name.is_empty() || !name.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err("its name has something else than printable ASCII, or nothing");
    }
    if !may_be_added(name) {
        return Err("a filter may not add a field of this name");
    }
    if more.iter().any(|line| line.trim_ascii().is_empty()) {
        return Err("a line that goes on has nothing but white space");
    }
    let mut field = String::new();
    for line in lines {
        if line.len() > LINE_MAX {
            return Err("it has a line longer than 998 octets; fold it");
        }
        if line.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t') {
            return Err("it has a control character");
        }
        let text = std::str::from_utf8(line).ok().filter(|text| text.is_ascii());
        field.push_str(text.ok_or("it is not ASCII; encode it as RFC 2047 has it")?);
        field.push_str("\r\n");
    }
    Ok(field)
}

/// Names that a filter may not add. First, what servers vouch with: whoever reads it believes this server, not a program
/// that strangers' bytes were fed to. Then, what the letter says of itself: a second `From` or `Content-Type` changes what
/// is shown, and single fields would be double. Last, what makes programs act.
fn may_be_added(name: &str) -> bool {
    const NAMES: [&str; 38] = [
        "Authentication-Results",
        "Return-Path",
        "Delivered-To",
        "Envelope-To",
        "X-Envelope-To",
        "X-Original-To",
        "DKIM-Signature",
        "DomainKey-Signature",
        "Envelope-Seal",
        "From",
        "Sender",
        "Reply-To",
        "To",
        "Cc",
        "Bcc",
        "Subject",
        "Date",
        "Message-ID",
        "In-Reply-To",
        "References",
        "MIME-Version",
        "Comments",
        "Keywords",
        "Mail-Reply-To",
        "Mail-Followup-To",
        "Followup-To",
        "Apparently-To",
        "Errors-To",
        "Return-Receipt-To",
        "Disposition-Notification-To",
        "Auto-Submitted",
        "Autocrypt",
        "Autocrypt-Gossip",
        // What mbox readers and servers keep in the header: seen, answered, deleted, and a letter's number.
        "Status",
        "X-Status",
        "X-Keywords",
        "X-UID",
        "X-UIDL",
    ];
    // Received and Received-SPF; ARC's three; DKIM2's; a logo that was vouched for; MIME's; those of who sends a letter on; of
    // lists; what a letter was before it was changed; what IMAP servers and Mozilla keep in the header; our own.
    const FAMILIES: [&str; 12] = [
        "Received",
        "ARC-",
        "DKIM",
        "BIMI-",
        "Content-",
        "Resent-",
        "List-",
        "Original-",
        "X-IMAP",
        "X-Mozilla-",
        "X-Pillarbox",
        "Pillarbox",
    ];
    let begins =
        |family: &str| name.get(..family.len()).is_some_and(|head| head.eq_ignore_ascii_case(family));
    !NAMES.iter().any(|own| own.eq_ignore_ascii_case(name)) && !FAMILIES.into_iter().any(begins)
}

#[cfg(test)]
mod tests;
