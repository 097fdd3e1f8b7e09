//! Signing at home: one DKIM-Signature per key, oversigned.

use super::canon::{BodyHasher, Canon, Index};
use super::keys::{KeyError, PrivateKey};
use super::seal::nonce;
use crate::mail::header::{Field, Header, split_strict};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a signature must cover: every instance that the letter has (docs/submission.md rule 1). Ours names each
/// once more, so that none can be added on the way.
pub const COVERED: [&str; 11] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// The DKIM-Signature fields (CRLF-terminated, to stand in front of the message) of each key over `message`. Oversigns
/// From, Sender, Reply-To, To, Cc, Subject, Date, Message-ID, MIME-Version, Content-Type and Content-Transfer-Encoding.
///
/// `message` must be whole and in strict form (`mail::header::split_strict`), with CRLF line ends.
///
/// Each signature is like no other. An RSA signature of the same bytes in the same second would be the same, and the server,
/// which takes each only once, would refuse what a program hands in for one recipient after the other. So there is a tag
/// `n=`, which verifiers ignore as they must (RFC 6376 section 3.2).
pub fn sign(message: &[u8], keys: &[&PrivateKey]) -> Result<Vec<u8>, KeyError> {
    sign_with(message, keys, &format!(" t={};\r\n n={};", now(), nonce()?))
}

/// [`sign`] with the Unix time that `t=` shall say, and nothing that makes it unique.
pub fn sign_at(message: &[u8], keys: &[&PrivateKey], time: i64) -> Result<Vec<u8>, KeyError> {
    sign_with(message, keys, &format!(" t={time};"))
}

fn sign_with(message: &[u8], keys: &[&PrivateKey], tags: &str) -> Result<Vec<u8>, KeyError> {
    let header = split(message)?;
    let body_hash = hash_body(message, &header);
    let mut fields = Vec::new();
    for key in keys {
        fields.extend(signature_field(&header.fields, &COVERED, &body_hash, key, tags)?);
    }
    Ok(fields)
}

/// One DKIM-Signature field by `key` over `fields` and a body hash, with every name of `covered` oversigned and these tags more.
pub(super) fn signature_field(
    fields: &[Field<'_>],
    covered: &[&str],
    body_hash: &[u8],
    key: &PrivateKey,
    tags: &str,
) -> Result<Vec<u8>, KeyError> {
    let index = Index::new(fields);
    let names: Vec<String> = covered
        .iter()
        .flat_map(|name| vec![(*name).to_owned(); index.count(&name.to_ascii_lowercase()) + 1])
        .collect();
    let unsigned = format!(
        " v=1; a={}; c=relaxed/relaxed; d={};\r\n s={};{tags}\r\n h={};\r\n bh={};\r\n b=",
        key.algorithm.name(),
        key.domain,
        key.selector,
        folded(&names, ":"),
        STANDARD.encode(body_hash),
    );
    let own = Field { raw: b"", name: "DKIM-Signature", value: unsigned.as_bytes() };
    let input = index.signed_input(Canon::Relaxed, &names, &own, own.value);
    let signature = STANDARD.encode(key.sign(&input)?);
    let signature =
        signature.as_bytes().chunks(72).map(|line| String::from_utf8_lossy(line)).collect::<Vec<_>>();
    Ok(format!("DKIM-Signature:{unsigned}{}\r\n", signature.join("\r\n ")).into_bytes())
}

/// `items` joined, on lines of at most 76 characters where they allow it.
pub(super) fn folded(items: &[String], separator: &str) -> String {
    let mut text = String::new();
    let mut column = 3;
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push_str(separator);
            column += separator.len();
            if column + item.len() > 74 {
                text.push_str("\r\n  ");
                column = 2;
            }
        }
        text.push_str(item);
        column += item.len();
    }
    text
}

/// Splits what is to be signed.
pub(super) fn split(message: &[u8]) -> Result<Header<'_>, KeyError> {
    split_strict(message).map_err(|error| KeyError(format!("the letter cannot be signed: {error}")))
}

/// The relaxed body hash.
pub(super) fn hash_body(message: &[u8], header: &Header<'_>) -> Vec<u8> {
    let mut hasher = BodyHasher::new(Canon::Relaxed);
    hasher.update(message.get(header.body_offset..).unwrap_or_default());
    hasher.finish()
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

#[cfg(test)]
mod tests;
