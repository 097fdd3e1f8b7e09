//! What strangers bring: broken signatures, and letters that say they are from us (what the article's own setup
//! takes).

use super::signature::{SignatureEvidence, Verdict};
use crate::config::BrokenDkim;
use crate::mail::address::Domain;
use crate::smtp::reply::Reply;

/// What is known of a letter at the mx door.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The rule for broken signatures.
    pub broken_dkim: BrokenDkim,
    /// The domain of each From mailbox, of every From field; of more than [`MOST_AUTHORS`] the first ones and one more.
    pub authors: Vec<Author>,
    /// The signatures that were looked at.
    pub signatures: Vec<SignatureEvidence>,
    /// `trusted_forwarders`.
    pub trusted_forwarders: Vec<Domain>,
}

/// More domains than this no honest From names; to remember them all would cost memory.
pub const MOST_AUTHORS: usize = 100;

/// The domain of a From mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The domain.
    pub domain: Domain,
    /// Whether it is one of ours.
    pub ours: bool,
}

/// A letter that may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Set where a rule was waived: what a trusted forwarder brought, in words, for the log.
    pub mark: Option<String>,
}

/// Whether the letter may come in. `Err` is the reply: 550, or 451 where the outcome depends on an answer that DNS does not
/// give now.
pub fn decide(evidence: &Evidence) -> Result<Admitted, Reply> {
    if evidence.authors.len() > MOST_AUTHORS {
        let text = format!("From names more than {MOST_AUTHORS} domains; a letter has one author, or a few");
        return Err(Reply::new(550, 6, 0, text));
    }
    let mark = from_ours(evidence)?;
    broken_signature(evidence)?;
    Ok(Admitted { mark })
}

/// Whoever writes in our name signs with our key, whatever `p=` says.
fn from_ours(evidence: &Evidence) -> Result<Option<String>, Reply> {
    // A signature that leaves one of several From fields out says nothing of the one that was added.
    let vouches = |one: &SignatureEvidence| one.passes() && one.uncovered.as_deref() != Some("From");
    let signed_by =
        |domain: &Domain| evidence.signatures.iter().any(|one| vouches(one) && aligned(&one.domain, domain));
    let Some(author) = evidence.authors.iter().find(|author| author.ours && !signed_by(&author.domain))
    else {
        return Ok(None);
    };
    let domain = &author.domain;
    // Nor does a forwarder's: else whoever has a letter of the list puts our name on top of it.
    if let Some(forwarder) = trusted(evidence).find(|signature| vouches(signature)) {
        let forwarder = &forwarder.domain;
        return Ok(Some(format!(
            "From {domain}, unsigned by it, brought by the trusted forwarder {forwarder}"
        )));
    }
    let may_still_pass = |signature: &&SignatureEvidence| {
        aligned(&signature.domain, domain) || evidence.trusted_forwarders.contains(&signature.domain)
    };
    if let Some((signature, why)) = faults(evidence).find(|(signature, _)| may_still_pass(signature)) {
        return Err(later(signature, why));
    }
    Err(Reply::new(
        550,
        7,
        1,
        format!(
            "From is in {domain}, which is a domain of this server, but no passing DKIM signature of {domain} is on the \
             letter; its owner submits through the submission door; for a mailing list the owner adds its DKIM domain to \
             inbound.trusted_forwarders"
        ),
    ))
}

/// The article's rule: what is broken is refused. Revoked, missing, expired, unknown and `l=` count as unsigned.
fn broken_signature(evidence: &Evidence) -> Result<(), Reply> {
    if evidence.broken_dkim == BrokenDkim::Mark || evidence.signatures.iter().any(SignatureEvidence::passes) {
        return Ok(());
    }
    // No signature passes yet: the one without an answer may pass or be broken, and decides alone.
    if let Some((signature, why)) = faults(evidence).next() {
        return Err(later(signature, why));
    }
    let Some(broken) = evidence.signatures.iter().find(|signature| signature.is_broken()) else {
        return Ok(());
    };
    let what = match broken.verdict {
        Verdict::BrokenBody => "the body does not match bh=",
        _ => "the signature does not match the header",
    };
    Err(Reply::new(
        550,
        7,
        20,
        format!(
            "the DKIM signature of {} (s={}) is broken: {what}; the letter was changed on its way; send it directly",
            broken.domain, broken.selector
        ),
    ))
}

fn trusted(evidence: &Evidence) -> impl Iterator<Item = &SignatureEvidence> {
    evidence.signatures.iter().filter(|signature| evidence.trusted_forwarders.contains(&signature.domain))
}

fn faults(evidence: &Evidence) -> impl Iterator<Item = (&SignatureEvidence, &str)> {
    evidence.signatures.iter().filter_map(|signature| match &signature.verdict {
        Verdict::TempFault(why) => Some((signature, why.as_str())),
        _ => None,
    })
}

fn later(signature: &SignatureEvidence, why: &str) -> Reply {
    let text = format!(
        "the DKIM key {}._domainkey.{} cannot be looked up now: {why}; try again later",
        signature.selector, signature.domain
    );
    Reply::new(451, 7, 0, text)
}

/// The same domain, or one below the other (but not below a top-level domain).
fn aligned(signer: &Domain, author: &Domain) -> bool {
    let below = |low: &Domain, high: &Domain| {
        high.as_str().contains('.')
            && low.as_str().strip_suffix(high.as_str()).is_some_and(|rest| rest.ends_with('.'))
    };
    signer == author || below(signer, author) || below(author, signer)
}

#[cfg(test)]
mod tests;
