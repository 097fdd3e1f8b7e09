//! Rule 1, the signatures: which one is good enough to be the credential.

use super::{Channel, Dismissed, Evidence, clocks, refusal};
use crate::policy::signature::{SignatureEvidence, Verdict, Vouched};
use crate::smtp::reply::Reply;

/// RSA keys of this size or less are no credential.
const WEAK_RSA_BITS: usize = 1024;

/// The bound public signatures that pass; one is enough, whatever stands beside it.
pub fn public<Id>(evidence: &Evidence<Id>) -> Result<Vec<&SignatureEvidence>, Reply> {
    good(evidence, &evidence.public).map_err(|reply| reply.unwrap_or_else(|| none_looked_at(evidence)))
}

/// Those of `signatures` that are good; else the most telling reason, if any was looked at.
pub fn good<'e, Id>(
    evidence: &Evidence<Id>,
    signatures: &'e [SignatureEvidence],
) -> Result<Vec<&'e SignatureEvidence>, Option<Reply>> {
    let counts = |signature: &SignatureEvidence| {
        check(signature)?;
        match evidence.channel {
            Channel::World => vouched_for(signature),
            Channel::Gate(_) | Channel::Loopback => Ok(()),
        }
    };
    let good: Vec<_> = signatures.iter().filter(|signature| counts(signature).is_ok()).collect();
    if !good.is_empty() {
        return Ok(good);
    }
    let faults = signatures.iter().filter_map(|signature| counts(signature).err());
    // The one that came furthest through the checks tells most; the first of equals.
    Err(faults.min_by_key(|fault| std::cmp::Reverse(fault.reach)).map(|fault| fault.reply))
}

/// A key's name, for people.
pub fn key(signature: &SignatureEvidence) -> String {
    format!("{}._domainkey.{}", signature.selector, signature.domain)
}

struct Fault {
    /// How far through the checks the signature came.
    reach: u8,
    reply: Reply,
}

/// What rule 1 asks of a signature with our `d=` and an owned `s=`. What the letter alone shows comes before what DNS says.
fn check(signature: &SignatureEvidence) -> Result<(), Fault> {
    let fault = |reach, detail, why: String| {
        let name = key(signature);
        let text = format!("rule 1 (bound): the signature by {name} {why}");
        Fault { reach, reply: refusal(detail, text) }
    };
    if signature.has_length {
        return Err(fault(1, 21, "has l=, so that text can be appended; sign the whole body".into()));
    }
    if let Verdict::Unsupported(why) = &signature.verdict {
        return Err(fault(1, 21, format!("cannot count: {why}; sign with rsa-sha256 or ed25519-sha256")));
    }
    if let Some(field) = &signature.uncovered {
        return Err(fault(2, 21, format!("leaves {field} out of h=; sign every instance of it")));
    }
    match &signature.verdict {
        Verdict::Expired => return Err(fault(3, 21, "has expired (x=); sign the letter anew".into())),
        Verdict::Premature => {
            return Err(Fault { reach: 3, reply: premature(signature) });
        }
        Verdict::NoKey if signature.vouched == Vouched::Pinned => {
            return Err(fault(
                4,
                21,
                "has a pinned copy that holds no key; write its TXT record there".into(),
            ));
        }
        Verdict::NoKey => {
            let name = key(signature);
            return Err(fault(4, 21, format!("has no key in DNS; publish the TXT record at {name}")));
        }
        Verdict::Revoked => {
            return Err(fault(5, 21, "is by a revoked key (empty p=); use another key".into()));
        }
        Verdict::Testing => {
            return Err(fault(5, 21, "is by a key in testing mode (t=y); take t=y out of its record".into()));
        }
        Verdict::UnusableKey(why) => {
            return Err(fault(5, 21, format!("has an unusable key: {why}; correct the TXT record")));
        }
        Verdict::BrokenBody => {
            return Err(fault(
                6,
                20,
                "does not match the body (bh=); the letter was changed after signing".into(),
            ));
        }
        Verdict::BrokenSignature => {
            let copy = if signature.vouched == Vouched::Pinned { "pinned" } else { "published" };
            let why = format!(
                "does not match; the header was changed after signing, or the key is not the {copy} one"
            );
            return Err(fault(6, 20, why));
        }
        Verdict::TempFault(why) => return Err(Fault { reach: 9, reply: temporary(signature, why) }),
        Verdict::Unsupported(_) | Verdict::Pass => (),
    }
    match signature.rsa_bits {
        Some(bits) if bits <= WEAK_RSA_BITS => {
            Err(fault(7, 21, format!("is by an RSA key of {bits} bits; make one of 2048: pillarbox key new")))
        }
        _ => Ok(()),
    }
}

/// Rule 7, without ssh: who forges an answer of DNS must not be able to submit.
fn vouched_for(signature: &SignatureEvidence) -> Result<(), Fault> {
    let name = key(signature);
    let text = match &signature.vouched {
        Vouched::Secure | Vouched::Pinned => return Ok(()),
        Vouched::Not { pin } => format!(
            "rule 7 (from afar): DNSSEC does not vouch for the key {name}; sign the zone {}, or pin the key: write what \
             `pillarbox key show` says of it into {} on the server, or come by ssh",
            signature.domain, pin
        ),
        Vouched::Unasked => format!("rule 7 (from afar): nobody vouches for the key {name}"),
    };
    Err(Fault { reach: 8, reply: refusal(20, text) })
}

fn premature(signature: &SignatureEvidence) -> Reply {
    let what = format!("rule 1 (bound): t= of the signature by {}", key(signature));
    match signature.time {
        Some(time) => clocks(&what, time, signature.judged_at),
        None => refusal(21, format!("{what} is in the future")),
    }
}

fn temporary(signature: &SignatureEvidence, why: &str) -> Reply {
    let text = format!("the key {} cannot be looked up now: {why}; try again later", key(signature));
    Reply::new(451, 7, 0, text)
}

/// There was no signature that could be the credential: why not?
fn none_looked_at<Id>(evidence: &Evidence<Id>) -> Reply {
    let sender = &evidence.sender;
    let text = match evidence.dismissed.iter().max() {
        None => format!("rule 1 (bound): the letter has no DKIM-Signature; sign it with a key of {sender}"),
        Some(Dismissed::Unparsable(why)) => {
            format!("rule 1 (bound): the DKIM-Signature cannot be read: {why}; sign with a key of {sender}")
        }
        Some(Dismissed::ForeignDomain(domain)) => format!(
            "rule 1 (bound): the letter is signed by {domain} (d=), which is not the domain of the sender {sender}"
        ),
        Some(Dismissed::ForeignSelector(selector)) => format!(
            "rule 1 (bound): the key {selector:?} (s=) does not belong to the sender {sender}; \
             sign with a key of that address, or link its name to it in the mail tree"
        ),
        Some(Dismissed::ForeignIdentity(identity)) => format!(
            "rule 1 (bound): the signature speaks for {identity:?} (i=), who is not the sender {sender}"
        ),
    };
    refusal(22, text)
}
