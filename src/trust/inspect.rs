//! Verifying while the letter streams in: memory for the signatures, none for the body.
//!
//! The calls come in this order: [`Inspection::add`] for each signature field that shall be looked at, once the header
//! is there; [`Inspection::body`] for each slice of the body; [`Inspection::finish`] after the last; and
//! [`Inspected::verify`], which asks DNS once per key. The doors wrap this: [`super::submission`] and
//! [`super::inbound`].

use super::all;
use super::canon::{BodyHasher, Canon, Index};
use super::record::{KeySource, PublicKey, Records, Vouched};
use super::seal::SEAL_LOWER;
use super::sign::COVERED;
use super::signature::{Signature, SignatureAlgorithm};
use crate::mail::header::Field;
use crate::net::dns::DnsError;
use crate::policy::signature::{CLOCK_SKEW, SignatureEvidence, Verdict};
use aws_lc_rs::digest::{self, Digest, SHA256};
use std::collections::{BTreeSet, HashMap};

/// Signatures to be verified, and the body so far.
#[derive(Default)]
pub struct Inspection {
    picks: Vec<Pick>,
    bodies: Vec<(Canon, BodyHasher)>,
}

/// The same when the body is whole.
pub struct Inspected {
    picks: Vec<Pick>,
    hashes: Vec<(Canon, Vec<u8>)>,
}

struct Pick {
    signature: Signature,
    input: Digest,
    uncovered: Option<String>,
}

impl Inspection {
    /// Takes up a signature: `field` is where it stands, `index` the header that it is verified against.
    pub fn add(&mut self, signature: Signature, field: &Field<'_>, index: &Index<'_>) {
        let canon = signature.body_canon;
        if !self.bodies.iter().any(|(other, _)| *other == canon) {
            self.bodies.push((canon, BodyHasher::new(canon)));
        }
        let input = signed_digest(&signature, field, index);
        let uncovered = COVERED.iter().find(|name| {
            let name = name.to_ascii_lowercase();
            signature.lists(&name) < index.count(&name)
        });
        self.picks.push(Pick { signature, input, uncovered: uncovered.map(|name| (*name).to_owned()) });
    }

    /// How many signatures were taken up.
    pub fn len(&self) -> usize {
        self.picks.len()
    }

    /// Whether there is nothing to verify.
    pub fn is_empty(&self) -> bool {
        self.picks.is_empty()
    }

    /// The next slice of the body, cut anywhere.
    pub fn body(&mut self, slice: &[u8]) {
        for (_, hasher) in &mut self.bodies {
            hasher.update(slice);
        }
    }

    /// The body is whole.
    pub fn finish(self) -> Inspected {
        let hashes = self.bodies.into_iter().map(|(canon, hasher)| (canon, hasher.finish())).collect();
        Inspected { picks: self.picks, hashes }
    }
}

impl Inspected {
    /// Looks the keys up, each once and all at the same time (a few dead name servers one after the other would take
    /// longer than a client waits), and judges the signatures in their order. `now` is Unix time in seconds.
    pub async fn verify(self, keys: &impl KeySource, now: i64) -> Vec<SignatureEvidence> {
        let judged: Vec<(&Pick, Option<Verdict>)> =
            self.picks.iter().map(|pick| (pick, pick.judge_alone(now))).collect();
        let open = judged.iter().filter(|(_, verdict)| verdict.is_none());
        let names: BTreeSet<String> = open.map(|(pick, _)| key_name(&pick.signature)).collect();
        let answers = all(names.iter().map(|name| keys.records(name))).await;
        let answers: HashMap<&String, Result<Records, DnsError>> = names.iter().zip(answers).collect();
        let evidence = judged.into_iter().map(|(pick, alone)| {
            let answer = answers.get(&key_name(&pick.signature));
            let (verdict, rsa_bits) = match (alone, answer) {
                (Some(verdict), _) => (verdict, None),
                (None, Some(Ok(records))) => self.judge(pick, &records.texts),
                (None, Some(Err(fault))) => (Verdict::TempFault(fault.to_string()), None),
                (None, None) => (Verdict::TempFault("no answer".into()), None),
            };
            let vouched = match answer {
                Some(Ok(records)) => records.vouched.clone(),
                _ => Vouched::Unasked,
            };
            SignatureEvidence { vouched, ..pick.evidence(verdict, rsa_bits, now) }
        });
        evidence.collect()
    }

    fn judge(&self, pick: &Pick, records: &[String]) -> (Verdict, Option<usize>) {
        let key = match PublicKey::pick(records, &pick.signature) {
            Ok(key) => key,
            Err(verdict) => return (verdict, None),
        };
        let body = self.hashes.iter().find(|(canon, _)| *canon == pick.signature.body_canon);
        let verdict = if key.testing {
            Verdict::Testing
        } else if body.is_none_or(|(_, hash)| *hash != pick.signature.body_hash) {
            Verdict::BrokenBody
        } else if !key.verifies(&pick.input, &pick.signature.signature) {
            Verdict::BrokenSignature
        } else {
            Verdict::Pass
        };
        (verdict, key.rsa_bits)
    }
}

impl Pick {
    /// What can be said without a key, and so without a look-up.
    fn judge_alone(&self, now: i64) -> Option<Verdict> {
        let signature = &self.signature;
        if let SignatureAlgorithm::Other(name) = &signature.algorithm {
            return Some(Verdict::Unsupported(format!("a={name} proves nothing")));
        }
        // What follows the first l= octets of the body is anybody's.
        if signature.has_length {
            return Some(Verdict::Unsupported("l= leaves the rest of the body unsigned".into()));
        }
        if signature.expires.is_some_and(|expires| expires <= now || Some(expires) < signature.time) {
            return Some(Verdict::Expired);
        }
        signature.time.is_some_and(|time| time > now + CLOCK_SKEW).then_some(Verdict::Premature)
    }

    fn evidence(&self, verdict: Verdict, rsa_bits: Option<usize>, now: i64) -> SignatureEvidence {
        let signature = &self.signature;
        SignatureEvidence {
            domain: signature.domain.clone(),
            selector: signature.selector.clone(),
            algorithm: signature.algorithm.name().to_owned(),
            has_length: signature.has_length,
            time: signature.time,
            expires: signature.expires,
            uncovered: self.uncovered.clone(),
            covers_seal: signature.lists(SEAL_LOWER) > 0,
            rsa_bits,
            mark: mark_of(signature, &self.input),
            judged_at: now,
            vouched: Vouched::Unasked,
            verdict,
        }
    }
}

/// The mark of a signature that is not verified (see [`SignatureEvidence::mark`]).
pub fn mark(signature: &Signature, field: &Field<'_>, index: &Index<'_>) -> String {
    mark_of(signature, &signed_digest(signature, field, index))
}

/// Lower-case hex.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn signed_digest(signature: &Signature, field: &Field<'_>, index: &Index<'_>) -> Digest {
    let input =
        index.signed_input(signature.header_canon, &signature.names, field, &signature.unsigned_value);
    digest::digest(&SHA256, &input)
}

fn mark_of(signature: &Signature, input: &Digest) -> String {
    let key = key_name(signature);
    let mut context = digest::Context::new(&SHA256);
    context.update(&(key.len() as u64).to_be_bytes());
    context.update(key.as_bytes());
    context.update(input.as_ref());
    hex(context.finish().as_ref())
}

/// DNS does not know capitals.
fn key_name(signature: &Signature) -> String {
    format!("{}._domainkey.{}", signature.selector, signature.domain).to_ascii_lowercase()
}
