//! Rule 3: the seal says for whom, where and when, and the key that signed the letter signed the seal.

use super::{Evidence, Seal, bound, refusal};
use crate::policy::signature::SignatureEvidence;
use crate::smtp::reply::Reply;
use std::collections::BTreeSet;

/// One seal, made for this envelope and this server. Its `t=` is looked at later ([`super::Accepted::fresh`]).
pub fn envelope<Id>(evidence: &Evidence<Id>) -> Result<&Seal, Reply> {
    let seal = match evidence.seals.as_slice() {
        [Ok(seal)] => seal,
        [Err(why)] => return Err(broken(format!("the Envelope-Seal cannot be read: {why}"))),
        seals => return Err(broken(format!("the letter has {} Envelope-Seal fields", seals.len()))),
    };
    if seal.sender.to_string() != evidence.sender.to_string() {
        let (mf, sender) = (&seal.sender, &evidence.sender);
        return Err(broken(format!("it is sealed for the sender {mf} (mf=), MAIL FROM is {sender}")));
    }
    let sealed: BTreeSet<String> = seal.recipients.iter().map(ToString::to_string).collect();
    let given: BTreeSet<String> = evidence.recipients.iter().map(ToString::to_string).collect();
    if let Some(extra) = given.difference(&sealed).next() {
        return Err(broken(format!("it is not sealed for the recipient {extra} (rt=)")));
    }
    if let Some(missing) = sealed.difference(&given).next() {
        return Err(broken(format!("it is sealed for {missing} too (rt=), who is no recipient here")));
    }
    let ours = evidence.hostname.trim_end_matches('.');
    if !seal.server.trim_end_matches('.').eq_ignore_ascii_case(ours) {
        return Err(broken(format!("it is sealed for the server {:?} (sv=), this is {ours}", seal.server)));
    }
    Ok(seal)
}

/// A bound public signature, and one over the seal by the same key. What is wrong for good is told before what DNS cannot
/// say just now.
pub fn signatures<Id>(evidence: &Evidence<Id>) -> Result<Vec<&SignatureEvidence>, Reply> {
    match (bound::public(evidence), sealing(evidence)) {
        (Ok(public), Ok(sealing)) => pair(public, &sealing),
        (Err(reply), _) if reply.is_permanent() => Err(reply),
        (_, Err(reply)) | (Err(reply), _) => Err(reply),
    }
}

fn sealing<Id>(evidence: &Evidence<Id>) -> Result<Vec<&SignatureEvidence>, Reply> {
    bound::good(evidence, &evidence.sealing).map_err(|reply| match reply {
        Some(mut reply) => {
            reply.text = format!("rule 3 (sealed), over the seal: {}", reply.text);
            reply
        }
        None => broken("no signature by a key of the sender covers the Envelope-Seal (h=)".into()),
    })
}

fn pair<'e>(
    public: Vec<&'e SignatureEvidence>,
    sealing: &[&SignatureEvidence],
) -> Result<Vec<&'e SignatureEvidence>, Reply> {
    let same = |one: &SignatureEvidence, other: &SignatureEvidence| {
        one.domain == other.domain && one.selector.eq_ignore_ascii_case(&other.selector)
    };
    let paired: Vec<_> = public
        .iter()
        .filter(|signature| sealing.iter().any(|seal| seal.covers_seal && same(signature, seal)))
        .copied()
        .collect();
    if paired.is_empty() {
        return Err(broken("the seal is signed by another key than the letter".into()));
    }
    Ok(paired)
}

fn broken(why: String) -> Reply {
    refusal(1, format!("rule 3 (sealed): {why}; submit the letter again with pillarbox sendmail"))
}
