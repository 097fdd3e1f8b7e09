//! The parameters that extensions hang on MAIL and RCPT.

use crate::mail::envelope::{BodyType, Notify, Recipient, Ret, Sender};
use crate::smtp::reply::{Reply, say};
use crate::smtp::{Door, xtext};

/// RFC 3461 sections 4.2 and 4.4.
const ENVID: usize = 100;
const ORCPT: usize = 500;

/// SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531); on submission RET and ENVID (RFC 3461).
pub(super) fn mail(text: &str, door: Door, sender: &mut Sender) -> Result<(), Reply> {
    each(text, |name, value| {
        match (name, value) {
            ("SIZE", Some(value)) => sender.size = Some(size(value)?),
            ("BODY", Some(value)) => sender.body = body(value)?,
            ("SMTPUTF8", None) => sender.smtputf8 = true,
            ("SMTPUTF8", Some(_)) => return Err(say::bad_parameter(name, "no value")),
            ("SIZE" | "BODY", None) => return Err(say::bad_parameter(name, "a value")),
            ("RET", Some(value)) if door == Door::Submission => sender.ret = Some(ret(value)?),
            ("ENVID", Some(value)) if door == Door::Submission => {
                let envid = xtext::decode(value).filter(|id| value.len() <= ENVID && !id.is_empty());
                sender.envid =
                    Some(envid.ok_or_else(|| say::bad_parameter(name, "up to 100 xtext characters"))?);
            }
            _ => return Err(say::unknown_parameter(name)),
        }
        Ok(())
    })
}

/// On submission NOTIFY and ORCPT (RFC 3461).
pub(super) fn rcpt(text: &str, door: Door, recipient: &mut Recipient) -> Result<(), Reply> {
    each(text, |name, value| {
        match (name, value) {
            ("NOTIFY", Some(value)) if door == Door::Submission => recipient.notify = Some(notify(value)?),
            ("ORCPT", Some(value)) if door == Door::Submission => recipient.orcpt = Some(orcpt(value)?),
            _ => return Err(say::unknown_parameter(name)),
        }
        Ok(())
    })
}

fn each(text: &str, mut take: impl FnMut(&str, Option<&str>) -> Result<(), Reply>) -> Result<(), Reply> {
    let mut seen = Vec::new();
    for parameter in text.split(' ').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (parameter, None),
        };
        let name = name.to_ascii_uppercase();
        if !is_keyword(&name) {
            return Err(say::bad_parameter(&name, "NAME or NAME=value (RFC 5321 section 4.1.2)"));
        }
        if seen.contains(&name) {
            return Err(say::parameter_twice(&name));
        }
        take(&name, value)?;
        seen.push(name);
    }
    Ok(())
}

/// `esmtp-keyword` of RFC 5321 section 4.1.2.
fn is_keyword(name: &str) -> bool {
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    begins_well && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
}

/// What is larger than any number is too large, which is for the session to say.
fn size(value: &str) -> Result<u64, Reply> {
    let digits = (1..=20).contains(&value.len()) && value.bytes().all(|octet| octet.is_ascii_digit());
    if !digits {
        return Err(say::bad_parameter("SIZE", "octets, as in SIZE=1000"));
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

fn body(value: &str) -> Result<BodyType, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(BodyType::SevenBit),
        "8BITMIME" => Ok(BodyType::EightBitMime),
        _ => Err(say::bad_parameter("BODY", "7BIT or 8BITMIME")),
    }
}

fn ret(value: &str) -> Result<Ret, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Ok(Ret::Full),
        "HDRS" => Ok(Ret::Headers),
        _ => Err(say::bad_parameter("RET", "FULL or HDRS")),
    }
}

fn notify(value: &str) -> Result<Notify, Reply> {
    let mut notify = Notify::default();
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(notify);
    }
    for event in value.split(',') {
        match event.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return Err(say::bad_parameter("NOTIFY", "NEVER, or some of SUCCESS,FAILURE,DELAY")),
        }
    }
    Ok(notify)
}

fn orcpt(value: &str) -> Result<String, Reply> {
    let bad = || say::bad_parameter("ORCPT", "type;address in xtext, up to 500 characters");
    let (kind, address) = value.split_once(';').ok_or_else(bad)?;
    let atom = !kind.is_empty() && kind.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    let address =
        xtext::decode(address).filter(|address| atom && !address.is_empty() && value.len() <= ORCPT);
    Ok(format!("{kind};{}", address.ok_or_else(bad)?))
}
