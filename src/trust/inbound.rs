//! Evidence at the mx door: DKIM of whoever signed, and the domains that From names.
//!
//! The connection calls [`Gathering::begin`] with the whole header block, [`Gathering::body`] with every slice,
//! [`Gathering::finish`] at the dot; what comes of it is part of what [`crate::policy::inbound::decide`] looks at.

use super::canon::{Index, plain_name};
use super::inspect::Inspection;
use super::record::KeySource;
use super::signature::{Signature, is_signature};
use crate::mail::address::{Address, Domain};
use crate::mail::header::{Header, split_lenient, visible};
use crate::mail::mailboxes;
use crate::policy::inbound::{Author, MOST_AUTHORS};
use crate::policy::signature::SignatureEvidence;
use crate::store::StoreError;
use mail_parser::HeaderValue;
use mail_parser::parsers::MessageStream;
use std::collections::HashSet;

/// Signatures that are looked at; strangers shall not make us ask DNS without end.
const LOOKED_AT: usize = 10;

/// What the letter itself shows.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The domains that From names.
    pub authors: Vec<Author>,
    /// The signatures that were looked at.
    pub signatures: Vec<SignatureEvidence>,
}

/// A letter on its way in.
pub struct Gathering {
    authors: Vec<Author>,
    inspection: Inspection,
}

impl Gathering {
    /// Begins with the whole header block, the empty line included. `is_ours` says whether a domain is ours (and may block).
    pub fn begin(
        header: &[u8],
        is_ours: impl Fn(&Domain) -> Result<bool, StoreError>,
    ) -> Result<Gathering, StoreError> {
        let split = split_lenient(header);
        let mut authors = authors_in(&split, "from", &is_ours)?;
        // A letter wants a From. Readers show the Sender of one without (RFC 5322 section 3.6.2).
        if authors.is_empty() {
            authors = authors_in(&split, "sender", &is_ours)?;
        }
        let index = Index::new(&split.fields);
        let mut inspection = Inspection::default();
        // What cannot be parsed is no signature, and costs nothing.
        let parsed = split.fields.iter().filter(|field| is_signature(field));
        let parsed =
            parsed.filter_map(|field| Signature::parse(field).ok().map(|signature| (signature, field)));
        for (signature, field) in parsed.take(LOOKED_AT) {
            inspection.add(signature, field, &index);
        }
        Ok(Gathering { authors, inspection })
    }

    /// The domains of the authors' addresses.
    pub fn author_domains(&self) -> Vec<Domain> {
        let authors = self.authors.iter().filter(|author| !author.in_name);
        authors.map(|author| author.domain.clone()).collect()
    }

    /// The next slice of the body.
    pub fn body(&mut self, slice: &[u8]) {
        self.inspection.body(slice);
    }

    /// After the final dot: looks the keys up, each once, and judges the signatures. `now` is Unix time in seconds.
    pub async fn finish(self, keys: &impl KeySource, now: i64) -> Letter {
        let signatures = self.inspection.finish().verify(keys, now).await;
        Letter { authors: self.authors, signatures }
    }
}

/// The domains in all fields of this name, each once; of more than [`MOST_AUTHORS`] the first ones and one more.
fn authors_in(
    header: &Header<'_>,
    name: &str,
    is_ours: impl Fn(&Domain) -> Result<bool, StoreError>,
) -> Result<Vec<Author>, StoreError> {
    let mut authors: Vec<Author> = Vec::new();
    let mut known = HashSet::new();
    let fields = header.fields.iter().filter(|field| plain_name(field.name) == name);
    for (domain, in_name) in fields.flat_map(|field| author_domains(field.value)) {
        if known.insert(domain.clone()) {
            if authors.len() <= MOST_AUTHORS {
                let ours = is_ours(&domain)?;
                authors.push(Author { domain, ours, in_name });
            }
        } else if !in_name && let Some(author) = authors.iter_mut().find(|one| one.domain == domain) {
            author.in_name = false;
        }
    }
    Ok(authors)
}

/// The domain of every mailbox that some reader may find in a From field. Where it does not parse strictly, whatever follows
/// an `@` counts, as it stands and without comments, quotes and the encoding of RFC 2047: readers differ, and none may be
/// shown our name. With each, whether only a display name or a quoted local part has it.
fn author_domains(value: &[u8]) -> Vec<(Domain, bool)> {
    // An encoded word has no meaning within an address, but some readers decode it there all the same.
    let decoded_by_some = |address: &Address| address.local().contains("=?");
    // The name of a group is shown like an author's, and a group may be empty.
    if let Ok(mailboxes) = mailboxes::parse_authors(value)
        && !mailboxes.iter().any(|mailbox| decoded_by_some(&mailbox.address))
    {
        let addresses = || mailboxes.iter().map(|mailbox| &mailbox.address);
        let domains =
            addresses().filter_map(|address| address.domain().cloned()).map(|domain| (domain, false));
        // `"me@here.example"@there.example` is an address, of which some readers take the wrong @.
        let quoted = addresses().flat_map(|address| domains_behind_at(address.local()));
        return domains.chain(quoted.map(|domain| (domain, true))).collect();
    }
    let text = String::from_utf8_lossy(value).into_owned();
    let address = only_address(&text)
        .map(|address| [domains_behind_at(address), domains_behind_at(&visible(address))].concat());
    let mut readings = vec![visible(&text), visible(&decoded(value)), text, decoded(value)];
    readings.extend(readings.clone().iter().map(|reading| without_comments(reading)));
    readings.extend(readings.clone().iter().map(|reading| reading.replace('"', "")));
    let domains = readings.iter().flat_map(|reading| domains_behind_at(reading));
    let in_name = |domain: &Domain| address.as_ref().is_some_and(|address| !address.contains(domain));
    domains.map(|domain| (domain.clone(), in_name(&domain))).collect()
}

/// The address of `you@there.example <me@here.example>`, which is against the rules (the name wants quotes) and common: every
/// reader takes what is in the brackets for the address. None where anything else could be one.
fn only_address(text: &str) -> Option<&str> {
    let (name, address) = text.trim().strip_suffix('>')?.split_once('<')?;
    let plain =
        !name.contains([',', ';', ':', '(', '"', '\\']) && !address.contains(['<', '>', '(', '"', '\\']);
    (plain && !name.contains('>') && !address.contains("=?")).then_some(address)
}

fn decoded(value: &[u8]) -> String {
    match MessageStream::new(value).parse_unstructured() {
        HeaderValue::Text(text) => text.into_owned(),
        _ => String::new(),
    }
}

fn domains_behind_at(text: &str) -> Vec<Domain> {
    let mut domains = Vec::new();
    for piece in joined(text).split('@').skip(1) {
        let end = piece.find(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-._".contains(c));
        let name = piece.get(..end.unwrap_or(piece.len())).unwrap_or_default().trim_matches('.');
        domains.extend(Domain::parse(name).ok());
    }
    domains
}

/// Without the white space around dots and `@`, which obsolete forms allow (RFC 5322 section 4.4).
fn joined(text: &str) -> String {
    let mut joined = String::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let tail = &rest[c.len_utf8()..];
        let next = rest.trim_start();
        if !c.is_whitespace() {
            joined.push(c);
            rest = if matches!(c, '.' | '@') { tail.trim_start() } else { tail };
        } else if next.starts_with(['.', '@']) {
            rest = next;
        } else {
            joined.push(' ');
            rest = next;
        }
    }
    joined
}

/// RFC 5322 comments, nested, with quoted pairs.
fn without_comments(text: &str) -> String {
    let mut plain = String::new();
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => {
                escaped = true;
                continue;
            }
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth > 0 => {
                depth -= 1;
                continue;
            }
            _ => (),
        }
        if depth == 0 {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests;
