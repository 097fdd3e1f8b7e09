//! The Envelope-Seal: binds one submission to its envelope, its server and its minute.
//!
//! `Envelope-Seal: v=1; t=…; n=…; sv=…; mf=…; rt=…` and one more DKIM-Signature by a key that signed the letter, whose `h=`
//! covers it (docs/submission.md rule 3). Both are taken off by the server: nothing that leaves it can be
//! submitted again.

use super::keys::{KeyError, PrivateKey};
use super::sign::{self, COVERED};
use super::tags::{TagList, excerpt, number, squeezed};
use crate::mail::address::Address;
use crate::mail::header::Field;
pub use crate::policy::submission::Seal;
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The field's name.
pub const SEAL: &str = "Envelope-Seal";
/// The field's name as names are compared.
pub(super) const SEAL_LOWER: &str = "envelope-seal";

/// The Envelope-Seal and the DKIM-Signature that covers it (CRLF-terminated, to stand in front of the signed
/// `message`). `key` must be one of those that signed the letter.
pub fn seal(message: &[u8], seal: &Seal, key: &PrivateKey) -> Result<Vec<u8>, KeyError> {
    let header = sign::split(message)?;
    if header.all(SEAL).next().is_some() {
        return Err(KeyError(
            "the letter has an Envelope-Seal already; seal the signed letter itself".into(),
        ));
    }
    let value = seal.value();
    let raw = format!("{SEAL}:{value}").into_bytes();
    let mut fields = vec![Field { raw: &raw, name: SEAL, value: value.as_bytes() }];
    fields.extend_from_slice(&header.fields);
    let covered: Vec<&str> = COVERED.iter().copied().chain([SEAL]).collect();
    let body_hash = sign::hash_body(message, &header);
    // No t= here: the seal has its own, which is looked at only after the nonce (rule 4).
    let mut sealed = sign::signature_field(&fields, &covered, &body_hash, key, "")?;
    sealed.extend(raw);
    Ok(sealed)
}

/// A fresh nonce for `n=`: 128 random bits, 32 hex digits.
pub fn nonce() -> Result<String, KeyError> {
    let mut octets = [0; 16];
    rand::fill(&mut octets).map_err(|_| KeyError("the system gave no random numbers; try again".into()))?;
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

impl Seal {
    /// The field's value: everything behind the colon, folded, with the final CRLF.
    pub fn value(&self) -> String {
        let encode = |address: &Address| STANDARD.encode(address.to_string());
        let recipients: Vec<String> = self.recipients.iter().map(encode).collect();
        format!(
            " v=1; t={}; n={};\r\n sv={};\r\n mf={};\r\n rt={}\r\n",
            self.time,
            self.nonce,
            self.server,
            encode(&self.sender),
            sign::folded(&recipients, ","),
        )
    }

    /// Reads a field's value. Exactly the six tags, each once; a recipient twice is an error.
    pub fn parse(value: &[u8]) -> Result<Seal, String> {
        let tags = TagList::parse(value)?;
        if let Some(tag) = tags.iter().find(|tag| !["v", "t", "n", "sv", "mf", "rt"].contains(&tag.name)) {
            return Err(format!("the tag {}= is unknown", excerpt(tag.name)));
        }
        if tags.need("v")? != "1" {
            return Err(format!("it is of version {:?}, not 1", excerpt(tags.need("v")?)));
        }
        let nonce = tags.need("n")?;
        if nonce.len() != 32 || !nonce.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f')) {
            return Err("n= is not 32 lower-case hex digits".into());
        }
        Ok(Seal {
            time: number("t", tags.need("t")?)?,
            nonce: nonce.to_owned(),
            server: tags.need("sv")?.to_owned(),
            sender: address("mf", &squeezed(tags.need("mf")?))?,
            recipients: recipients(&squeezed(tags.need("rt")?))?,
        })
    }
}

fn recipients(list: &str) -> Result<Vec<Address>, String> {
    let mut recipients: Vec<Address> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for item in list.split(',') {
        let recipient = address("rt", item)?;
        if !seen.insert(recipient.to_string()) {
            return Err("rt= names a recipient twice".into());
        }
        recipients.push(recipient);
    }
    Ok(recipients)
}

/// Strict base64 of one address, nothing beside it.
fn address(tag: &str, text: &str) -> Result<Address, String> {
    let octets = STANDARD.decode(text).map_err(|_| format!("{tag}= is no base64"))?;
    let text = String::from_utf8(octets).map_err(|_| format!("{tag}= is not UTF-8"))?;
    Address::parse(&text).map_err(|_| format!("{tag}= holds no address: {:?}", excerpt(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Seal {
        Seal {
            time: 1_800_000_000,
            nonce: "00112233445566778899aabbccddeeff".into(),
            server: "mx.example.org".into(),
            sender: Address::parse("me@example.org").unwrap(),
            recipients: (0..40).map(|n| Address::parse(&format!("you{n}@example.net")).unwrap()).collect(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let value = example().value();
        assert!(value.split("\r\n").all(|line| line.len() <= 78), "{value}");
        assert_eq!(Seal::parse(value.as_bytes()), Ok(example()));
        assert_eq!(nonce().unwrap().len(), 32);
        assert_ne!(nonce().unwrap(), nonce().unwrap());
    }

    #[test]
    fn anything_else_is_refused() {
        let good = example().value();
        let mf = STANDARD.encode("me@example.org");
        let you = STANDARD.encode("you0@example.net");
        for (from, to) in [
            ("v=1; ", ""),
            ("v=1", "v=2"),
            ("v=1", "v=1; x=1"),
            ("v=1", "v=1; rt=AAAA"),
            ("v=1", "v=1; T=1"),
            ("t=1800000000", "t=soon"),
            ("n=00112233445566778899aabbccddeeff", "n=00112233445566778899AABBCCDDEEFF"),
            ("n=00112233445566778899aabbccddeeff", "n=00"),
            ("sv=mx.example.org;", ""),
            (mf.as_str(), "me@example.org"),
            (mf.as_str(), ""),
            (you.as_str(), &format!("{you},{you}")),
            (you.as_str(), &STANDARD.encode("you0@example.net, boss@example.net")),
            (you.as_str(), &STANDARD.encode("you0@example.net\r\nBcc: x@example.net")),
            (you.as_str(), ""),
        ] {
            let changed = good.replace(from, to);
            assert_ne!(changed, good);
            assert!(Seal::parse(changed.as_bytes()).is_err(), "{from} -> {to}");
        }
    }
}
