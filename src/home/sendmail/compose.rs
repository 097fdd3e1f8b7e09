//! From what a program wrote to what is submitted: the envelope, and a letter that is complete, 7-bit and signed.

use super::arguments::Arguments;
use super::identity::{Home, Identity};
use crate::error::{Exit, Failure};
use crate::mail::address::{Address, Domain};
use crate::mail::complete::{self, Completion, normalize_line_ends};
use crate::mail::encode::{Encoded, encode};
use crate::mail::envelope::{BodyType, Envelope, Recipient, ReversePath, Sender};
use crate::mail::header::{self, Field, FormError};
use crate::mail::mailboxes::{self, Named};
use crate::trust::keys::PrivateKey;
use crate::trust::sign::sign;
use crate::trust::tags::TagList;
use std::borrow::Cow;

/// A letter that is ready for the outbox.
pub struct Composed {
    /// From whom, for whom.
    pub envelope: Envelope,
    /// The signed bytes, CRLF lines.
    pub letter: Vec<u8>,
    /// The key that seals it.
    pub key: PrivateKey,
}

/// Facts from outside that a letter takes in.
pub struct Moment {
    /// Unix time, seconds.
    pub time: i64,
    /// The local clock's offset from UTC, in seconds, east positive.
    pub utc_offset: i32,
    /// Random bits for the Message-ID.
    pub random: u128,
}

/// Completes and signs a letter; `raw` is what stood on the standard input.
pub fn compose(raw: &[u8], arguments: &Arguments, home: &Home, moment: &Moment) -> Result<Composed, Failure> {
    let raw = normalize_line_ends(raw);
    let header = header::split_lenient(&raw);
    // Behind the first line that can be no field everything is body.
    let count = header.fields.iter().take_while(|field| !field.name.is_empty()).count();
    let identity = home.identify(header.fields.get(..count).unwrap_or_default(), arguments)?;
    let recipients = recipients(&raw, arguments, home, &identity.sender)?;
    // A missing key is told before anything is done with the letter.
    let mut keys = home.keyring().pick(&identity.sender)?;

    let completed = finish(&raw, &identity, moment)?;
    let wrong = |error: &dyn std::fmt::Display| Failure::new(Exit::DataErr, format!("the letter: {error}"));
    let Encoded { bytes: letter, smtputf8 } = encode(&completed).map_err(|error| wrong(&error))?;
    let letter = without_signatures_of(identity.sender.domain(), letter).map_err(|error| wrong(&error))?;
    let mut signed =
        sign(&letter, &keys.iter().collect::<Vec<_>>()).map_err(|error| config(&error.to_string()))?;
    signed.extend_from_slice(&letter);
    if keys.is_empty() {
        return Err(config("the key of the sender is gone"));
    }
    let envelope = Envelope { sender: sender(&identity, arguments, smtputf8, &recipients), recipients };
    Ok(Composed { envelope, letter: signed, key: keys.swap_remove(0) })
}

/// The letter with everything that its header lacked, and without Bcc.
fn finish(raw: &[u8], identity: &Identity, moment: &Moment) -> Result<Vec<u8>, Failure> {
    let completion = Completion {
        identity: identity.author.as_ref(),
        domain: identity.sender.domain(),
        host_domains: &identity.host_domains,
        time: moment.time,
        utc_offset: moment.utc_offset,
        random: moment.random,
    };
    complete::complete(raw, &completion).map_err(|error| Failure::new(Exit::DataErr, error.to_string()))
}

/// The letter in strict form, less the signatures that our own domain put on it before: a letter that is sent again (mutt's
/// bounce, git send-email of a saved one) may carry them, and the server takes each only once.
fn without_signatures_of<'a>(
    domain: Option<&Domain>,
    letter: Cow<'a, [u8]>,
) -> Result<Cow<'a, [u8]>, FormError> {
    let header = header::split_strict(&letter)?;
    let is_old = |field: &Field| {
        let tags = field.is("DKIM-Signature").then(|| TagList::parse(field.value).ok()).flatten();
        let signer = tags.and_then(|tags| Domain::parse(tags.get("d")?).ok());
        signer.is_some() && signer.as_ref() == domain
    };
    if !header.fields.iter().any(is_old) {
        return Ok(letter);
    }
    let length = header.fields.iter().map(|field| field.raw.len()).sum();
    let mut kept = Vec::with_capacity(letter.len());
    for field in header.fields.iter().filter(|field| !is_old(field)) {
        kept.extend_from_slice(field.raw);
    }
    kept.extend_from_slice(letter.get(length..).unwrap_or_default());
    Ok(kept.into())
}

/// Whom the letter is for: the command line's recipients and, with `-t`, the header's; each once.
fn recipients(
    raw: &[u8],
    arguments: &Arguments,
    home: &Home,
    sender: &Address,
) -> Result<Vec<Recipient>, Failure> {
    let mut named: Vec<Named> = Vec::new();
    for argument in &arguments.recipients {
        let (more, unread) = mailboxes::parse_lenient(argument.as_bytes());
        named.extend(all_read(more, &unread, Exit::Usage)?);
    }
    if arguments.recipients_in_header {
        let (more, unread) = complete::recipients(raw);
        named.extend(all_read(more, &unread, Exit::DataErr)?);
    }
    let mut recipients: Vec<Recipient> = Vec::new();
    for named in named {
        let address = home.recipient(&named.target, sender)?;
        if !recipients.iter().any(|known| known.address.same_as(&address)) {
            recipients.push(Recipient { notify: arguments.notify, ..Recipient::new(address) });
        }
    }
    match (recipients.is_empty(), arguments.recipients_in_header) {
        (false, _) => Ok(recipients),
        (true, true) => {
            Err(Failure::new(Exit::DataErr, "no recipients: To, Cc and Bcc are empty or not there"))
        }
        (true, false) => {
            Err(Failure::new(Exit::Usage, "no recipients; name them behind the flags, or use -t"))
        }
    }
}

/// All recipients or none: one that cannot be read stops the letter.
fn all_read(named: Vec<Named>, unread: &[String], exit: Exit) -> Result<Vec<Named>, Failure> {
    match unread.first() {
        None => Ok(named),
        Some(unread) => Err(Failure::new(exit, format!("no address: {unread:?}; nobody got the letter"))),
    }
}

fn sender(identity: &Identity, arguments: &Arguments, smtputf8: bool, recipients: &[Recipient]) -> Sender {
    let path = &identity.sender;
    let mut addresses = recipients.iter().map(|recipient| &recipient.address).chain([path]);
    Sender {
        size: None,
        body: if smtputf8 { BodyType::EightBitMime } else { BodyType::SevenBit },
        smtputf8: smtputf8 || addresses.any(Address::needs_smtputf8),
        ret: arguments.ret,
        envid: arguments.envid.clone(),
        path: ReversePath::Address(path.clone()),
    }
}

fn config(text: &str) -> Failure {
    Failure::new(Exit::Config, text)
}
