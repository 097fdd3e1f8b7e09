//! The fields that a server writes on top of a letter, and those it takes off.

use super::address::{Address, Domain, Host};
use super::date;
use super::envelope::ReversePath;
use super::header::{Field, Header, visible};
use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

/// A letter that went through more servers than this is going round in circles (RFC 5321 section 6.3 asks for 100 at
/// least).
pub const MAX_HOPS: usize = 100;

/// The field that says in words what was found out about a stranger's letter, and decided.
pub const VERDICT: &str = "Pillarbox-Verdict";

/// Where a folded `Received` breaks its lines (RFC 5322 section 2.1.1).
const LINE_WISHED: usize = 78;

/// `Return-Path: <…>` with its CRLF (RFC 5321 section 4.4).
pub fn return_path(path: &ReversePath) -> String {
    format!("Return-Path: <{path}>\r\n")
}

/// `Delivered-To: …` with its CRLF (RFC 9228); `was_delivered` finds it again.
pub fn delivered_to(address: &Address) -> String {
    format!("Delivered-To: {address}\r\n")
}

/// A `Received` field (RFC 5321 section 4.4). `Display` writes it folded, with its CRLF. No text in it can break out
/// of its place: what is no name or token is left out or has its odd characters replaced.
#[derive(Clone, Debug)]
pub struct Received<'a> {
    /// Who sent it; nobody for a letter of our own owner, whose machine is nobody's business.
    pub from: Option<Client<'a>>,
    /// Our name.
    pub by: &'a Domain,
    /// How it came.
    pub with: Protocol,
    /// The id that the log knows it by.
    pub id: &'a str,
    /// The recipient, when there is only one.
    pub recipient: Option<&'a Address>,
    /// The cipher suite of TLS by its registered name (RFC 8314 section 4.3).
    pub cipher: Option<&'a str>,
    /// When, in Unix seconds.
    pub time: i64,
}

/// The other side of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// What it called itself.
    pub helo: &'a str,
    /// Its address.
    pub ip: IpAddr,
    /// The name of that address, if it was looked up and points back.
    pub rdns: Option<&'a Domain>,
}

/// The `with` word of a `Received` field (RFC 3848, RFC 6531 section 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    /// EHLO rather than HELO.
    pub extended: bool,
    /// The transaction used SMTPUTF8.
    pub utf8: bool,
    /// Over TLS.
    pub tls: bool,
    /// The sender was authenticated.
    pub authenticated: bool,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = match self {
            Protocol { utf8: true, .. } => "UTF8SMTP",
            Protocol { extended: true, .. } => "ESMTP",
            // RFC 3848 has no name for what HELO cannot do.
            _ => return f.write_str("SMTP"),
        };
        let tls = if self.tls { "S" } else { "" };
        let authenticated = if self.authenticated { "A" } else { "" };
        write!(f, "{base}{tls}{authenticated}")
    }
}

impl fmt::Display for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut clauses = self.from.map(|client| client.clauses()).unwrap_or_default();
        clauses.push(format!("by {}", self.by));
        clauses.push(format!("with {}", self.with));
        let id: String =
            self.id.chars().filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c)).collect();
        if !id.is_empty() {
            clauses.push(format!("id {id}"));
        }
        // Only a UTF8SMTP trace may carry such an address (RFC 6531 section 3.7.3).
        if let Some(recipient) = self.recipient.filter(|r| self.with.utf8 || !r.needs_smtputf8()) {
            clauses.push(format!("for <{recipient}>"));
        }
        let token = |cipher: &&str| cipher.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if let Some(cipher) = self.cipher.filter(token) {
            clauses.push(format!("tls {cipher}"));
        }
        if let Some(last) = clauses.last_mut() {
            last.push(';');
        }
        clauses.push(date::rfc5322(self.time, 0));
        f.write_str(&folded("Received:", &clauses))
    }
}

impl Client<'_> {
    /// `from helo` and `(rdns [ip])`. A HELO that is neither a domain nor a literal goes into the comment, made
    /// harmless, and the address takes its place.
    fn clauses(&self) -> Vec<String> {
        let literal = Host::Literal(self.ip);
        let name = self.rdns.map(|name| format!("{name} ")).unwrap_or_default();
        match Host::parse(self.helo) {
            Ok(helo) => vec![format!("from {helo}"), format!("({name}{literal})")],
            Err(_) => {
                let helo: String = self.helo.chars().take(64).map(harmless).collect();
                vec![format!("from {literal}"), format!("({name}{literal}"), format!("helo={helo})")]
            }
        }
    }
}

/// A character that means nothing within a comment.
fn harmless(c: char) -> char {
    if c.is_ascii_alphanumeric() || "-._:[]@".contains(c) { c } else { '?' }
}

/// The field, a new line begun wherever the next clause would go beyond 78 columns.
fn folded(name: &str, clauses: &[String]) -> String {
    let mut field = name.to_owned();
    let mut column = name.len();
    for clause in clauses {
        if column + 1 + clause.len() > LINE_WISHED {
            field.push_str("\r\n\t");
            column = 8;
        } else {
            field.push(' ');
            column += 1;
        }
        field.push_str(clause);
        column += clause.len();
    }
    field.push_str("\r\n");
    field
}

/// How many servers a letter went through.
pub fn hops(header: &Header<'_>) -> usize {
    header.all("Received").count()
}

/// Whether a letter for one of these addresses has been here before: there is a `Delivered-To` of the very address. To be
/// asked before `strip_forged`. Each field is read once, however many addresses there are.
pub fn was_delivered<'a>(header: &Header<'_>, to: impl Iterator<Item = &'a Address>) -> bool {
    let delivered = |field: &Field<'_>| {
        let text = field.text();
        let text = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).unwrap_or(&text);
        Address::parse(text).ok().map(|address| (address.folded_local(), address.host().clone()))
    };
    let before: HashSet<(String, Host)> = header.all("Delivered-To").filter_map(delivered).collect();
    let mut to = to.map(|address| (address.folded_local(), address.host().clone()));
    !before.is_empty() && to.any(|address| before.contains(&address))
}

/// The header's fields, without the empty line, less what only the server that delivers may write: `Return-Path`,
/// `Delivered-To`, [`VERDICT`], and `Authentication-Results` that claim to be by `authserv_id`.
pub fn strip_forged(header: &Header<'_>, authserv_id: &str) -> Vec<u8> {
    const OURS: [&str; 3] = ["Return-Path", "Delivered-To", VERDICT];
    keep(header, |field| !OURS.iter().any(|name| field.is(name)) && !is_results_of(field, authserv_id))
}

/// The header's fields, without the empty line, less those of these names.
pub fn without(header: &Header<'_>, names: &[&str]) -> Vec<u8> {
    keep(header, |field| !names.iter().any(|name| field.is(name)))
}

/// The header's fields, without the empty line, less the `Authentication-Results` that claim to be by `authserv_id`
/// (RFC 8601 section 5).
pub fn without_results_of(header: &Header<'_>, authserv_id: &str) -> Vec<u8> {
    keep(header, |field| !is_results_of(field, authserv_id))
}

fn keep(header: &Header<'_>, wanted: impl Fn(&Field<'_>) -> bool) -> Vec<u8> {
    let mut kept = Vec::with_capacity(header.fields.iter().map(|field| field.raw.len()).sum());
    for field in header.fields.iter().filter(|field| wanted(field)) {
        kept.extend_from_slice(field.raw);
    }
    kept
}

/// Whether an `Authentication-Results` may be read as ours. One without a readable id may: some reader will.
fn is_results_of(field: &Field<'_>, authserv_id: &str) -> bool {
    if !field.is("Authentication-Results") {
        return false;
    }
    let same = |id: &str| {
        id.eq_ignore_ascii_case(authserv_id)
            || Domain::parse(id).is_ok_and(|id| id.as_str().eq_ignore_ascii_case(authserv_id))
    };
    // As a careless reader finds it: anywhere in front of the results, encoded words decoded.
    let stands_in = |text: &str| {
        let shown = visible(text);
        let before = shown.split(';').next().unwrap_or_default();
        before.split(|c: char| c.is_whitespace() || c.is_ascii_punctuation() && !"-.".contains(c)).any(same)
    };
    let text = field.text();
    results_id(&text).is_none_or(|id| same(&id)) || stands_in(&text) || stands_in(&field.decoded())
}

/// The `authserv-id`: a token or a quoted string behind any white space and comments.
fn results_id(text: &str) -> Option<String> {
    let text = skip_comments(text)?;
    let id = match text.strip_prefix('"') {
        Some(quoted) => {
            let mut id = String::new();
            let mut chars = quoted.chars();
            loop {
                match chars.next()? {
                    '"' => break id,
                    '\\' => id.push(chars.next()?),
                    c => id.push(c),
                }
            }
        }
        None => text.split([' ', '\t', ';', '(', '"']).next().unwrap_or_default().to_owned(),
    };
    (!id.is_empty()).then_some(id)
}

/// What follows leading white space and (nested) comments; nothing if a comment does not end.
fn skip_comments(text: &str) -> Option<&str> {
    let mut rest = text.trim_start();
    while rest.starts_with('(') {
        let mut depth = 0usize;
        let mut chars = rest.chars();
        loop {
            match chars.next()? {
                '\\' => {
                    chars.next()?;
                }
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        rest = chars.as_str().trim_start();
    }
    Some(rest)
}

#[cfg(test)]
mod tests;
