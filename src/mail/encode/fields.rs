//! One header field made plain.

use super::{EncodeError, fold, is_plain, params, words};
use crate::mail::address::{Domain, is_atext};
use crate::mail::header::Field;
use crate::mail::mailboxes::grammar;
use std::borrow::Cow;

/// Fields that hold addresses.
const ADDRESSES: [&str; 19] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Resent-From",
    "Resent-Sender",
    "Resent-Reply-To",
    "Resent-To",
    "Resent-Cc",
    "Resent-Bcc",
    "Disposition-Notification-To",
    "Return-Receipt-To",
    "Errors-To",
    "Mail-Followup-To",
    "Mail-Reply-To",
    "Delivered-To",
    "Return-Path",
];

/// Fields for machines, where encoded-words mean nothing: their UTF-8 stays.
const STRUCTURED: [&str; 17] = [
    "Message-ID",
    "In-Reply-To",
    "References",
    "Resent-Message-ID",
    "Content-ID",
    "Date",
    "Resent-Date",
    "Received",
    "MIME-Version",
    "Content-Transfer-Encoding",
    "DKIM-Signature",
    "Authentication-Results",
    "ARC-Seal",
    "ARC-Message-Signature",
    "ARC-Authentication-Results",
    "Received-SPF",
    "Autocrypt",
];

/// Words beyond this are cut into encoded-words, where the field may have them.
const WORD_MAX: usize = 900;

/// The field as plain lines. Sets `smtputf8` if UTF-8 stays in it.
pub(super) fn encode<'a>(field: &Field<'a>, smtputf8: &mut bool) -> Result<Cow<'a, [u8]>, EncodeError> {
    if is_plain(field.raw) {
        return Ok(Cow::Borrowed(field.raw));
    }
    let fault = |reason: &str| Err(EncodeError(format!("the {} {reason}", title(field))));
    if field.raw.contains(&0) {
        return fault("has a NUL; take it out");
    }
    if !super::has_only_crlf(field.raw) {
        return fault("has a carriage return or a line feed by itself; take it out");
    }
    if field.name.is_empty() {
        return fault("has no colon and cannot be encoded; correct it");
    }
    let text = one_line(field.value);
    let is_any = |names: &[&str]| names.iter().any(|name| field.is(name));
    let value = if is_any(&ADDRESSES) {
        match addresses(&text, smtputf8) {
            Some(value) => value,
            None => return fault("cannot be read as addresses, and has characters beyond ASCII; correct it"),
        }
    } else if is_any(&["Content-Type", "Content-Disposition"]) {
        match if text.is_ascii() { Some(text.clone()) } else { params::encode(&text) } {
            Some(value) => value,
            None => return fault("cannot be read, and has characters beyond ASCII; correct it"),
        }
    } else if is_any(&STRUCTURED) || field.name.to_ascii_lowercase().starts_with("list-") {
        if std::str::from_utf8(field.value).is_err() {
            return fault("has octets that are no UTF-8; correct it");
        }
        *smtputf8 |= !text.is_ascii();
        text
    } else {
        words::encode_runs(&text, |word| !is_printable(word) || word.len() > WORD_MAX)
    };
    match fold::field(field.name, &value) {
        Some(lines) => Ok(Cow::Owned(lines)),
        None => fault("has a word of more than 998 octets and cannot be folded; shorten it"),
    }
}

/// How an error names the field.
fn title(field: &Field<'_>) -> String {
    match field.name {
        "" => "header line without a name".to_owned(),
        name => format!("{} field", name.chars().take(60).collect::<String>()),
    }
}

/// The value unfolded, as UTF-8, or else taken for Latin-1.
pub(super) fn one_line(value: &[u8]) -> String {
    let text = match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().map(|octet| char::from(*octet)).collect(),
    };
    text.replace("\r\n", "").trim_end_matches([' ', '\t']).to_owned()
}

fn is_printable(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_graphic())
}

/// Display names and comments become encoded-words, domains A-labels; local parts stay. Behind each comma a line may
/// break. Nothing if there is UTF-8 in what cannot be read.
fn addresses(text: &str, smtputf8: &mut bool) -> Option<String> {
    let layout = grammar::read_tolerantly(text);
    if !layout.unread.is_empty() {
        return text.is_ascii().then(|| text.to_owned());
    }
    let mut patches = Vec::new();
    for (span, phrase) in layout.phrases {
        if !text[span.clone()].is_ascii() {
            let is_atom = |word: &str| word.chars().all(|c| c.is_ascii() && is_atext(c));
            patches.push((span, words::encode_runs(&phrase, |word| !is_atom(word))));
        }
    }
    for span in layout.comments {
        if !text[span.clone()].is_ascii() {
            let inner = unescaped(&text[span.start + 1..span.end - 1]);
            let odd = |word: &str| !is_printable(word) || word.contains(['(', ')', '\\', '"']);
            patches.push((span, format!("({})", words::encode_runs(&inner, odd))));
        }
    }
    for spot in layout.spots {
        *smtputf8 |= !text[spot.local_span].is_ascii();
        if let Some(host) = spot.host_span.filter(|host| !text[host.clone()].is_ascii()) {
            let domain = Domain::parse(&text[host.clone()]).ok()?;
            patches.push((host, domain.to_string()));
        }
    }
    for comma in layout.commas {
        if !text[comma..].starts_with([' ', '\t']) {
            patches.push((comma..comma, " ".to_owned()));
        }
    }
    patches.sort_by_key(|(span, _)| (span.start, !span.is_empty(), std::cmp::Reverse(span.end)));
    // A comment within a display name goes with it.
    let mut end = 0;
    patches.retain(|(span, _)| {
        let apart = span.start >= end;
        if apart {
            end = span.end;
        }
        apart
    });
    Some(grammar::patched(text, &patches))
}

/// A comment's text without its backslashes.
fn unescaped(comment: &str) -> String {
    let mut out = String::new();
    let mut chars = comment.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}
