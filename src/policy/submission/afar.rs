//! Rule 7, without ssh: whoever comes from the world is a stranger until the seal is proved, and learns nothing before.

use super::{Accepted, Evidence, Times, accepted, clocks, identity, refusal, sealed, sealed_allowed};
use crate::policy::signature::{CLOCK_SKEW, SignatureEvidence, Verdict};
use crate::smtp::reply::Reply;

/// As [`super::decide`], after the strict form. The proof comes first: what the tree says of the names in the header, and whose a
/// selector is, is told to those alone who gave it.
pub fn decide<Id: PartialEq>(evidence: &Evidence<Id>) -> Result<Accepted, Reply> {
    if evidence.seals.is_empty() {
        return Err(refusal(
            1,
            "rule 7 (from afar): only letters with an Envelope-Seal are taken here; submit it with pillarbox sendmail",
        ));
    }
    sealed_allowed(evidence)?;
    let seal = sealed::envelope(evidence)?;
    // The clock that is wrong is told also where it spoils the signatures, which are of the same minute.
    if seal.time > evidence.now + CLOCK_SKEW {
        return Err(clocks("the seal's t=", seal.time, evidence.now));
    }
    let by = sealed::signatures(evidence).map_err(|reply| match may_be_told(evidence, &reply) {
        true => reply,
        false => unproven(evidence),
    })?;
    identity::names_nobody_else(evidence)?;
    Ok(accepted(evidence, by, Some(seal.nonce.clone()), Times::Sealed(seal.time)))
}

/// Why the proof failed, where the reply does not tell it.
pub fn untold<Id: PartialEq>(evidence: &Evidence<Id>) -> Option<String> {
    let reply = sealed::signatures(evidence).err()?;
    (!may_be_told(evidence, &reply)).then_some(reply.text)
}

/// What is wrong is told to the owner, and a fault of DNS to everybody: the owner must come again. That a signature is of a time to come is
/// no such fault, though it is refused for now only: whoever has no key can write that, and would hear of a name that it is a key's.
fn may_be_told<Id>(evidence: &Evidence<Id>, reply: &Reply) -> bool {
    let fault = |signature: &SignatureEvidence| matches!(signature.verdict, Verdict::TempFault(_));
    let faulty = evidence.public.iter().chain(&evidence.sealing).any(fault);
    is_owner(evidence) || (faulty && !reply.is_permanent())
}

/// Whether somebody signed this seal with a key of the sender, as far as DNS can be believed. No seal ever leaves the server, so nobody
/// has such a signature from elsewhere; those under the letter itself every recipient has.
fn is_owner<Id>(evidence: &Evidence<Id>) -> bool {
    evidence.sealing.iter().any(|signature| signature.covers_seal && signature.verdict == Verdict::Pass)
}

fn unproven<Id>(evidence: &Evidence<Id>) -> Reply {
    let text = format!(
        "rule 7 (from afar): no good signature over letter and seal by a key of {}; the server's log says what is wrong",
        evidence.sender
    );
    refusal(20, text)
}
