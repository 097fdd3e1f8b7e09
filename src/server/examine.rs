//! A stranger's letter examined: the evidence brought together, and decided on. The doors and `explain` both come here.

use super::inquiry::Known;
use super::premises::Premises;
use crate::policy::inbound::{Decision, Evidence, decide, sentence};
use crate::trust::inbound::Gathering;

/// What was found out, and what follows.
pub struct Examined {
    /// The evidence.
    pub evidence: Evidence,
    /// The decision.
    pub decision: Decision,
}

impl Examined {
    /// What was found out and decided, in one sentence.
    pub fn sentence(&self) -> String {
        sentence(&self.evidence, &self.decision)
    }
}

/// Judges a letter that is whole. `now` is Unix time.
pub async fn examine(premises: &Premises, gathering: Gathering, known: Known, now: i64) -> Examined {
    let letter = gathering.finish(&premises.dns, now).await;
    let evidence = Evidence {
        rules: premises.rules.clone(),
        peer: known.peer,
        spf: known.spf,
        authors: letter.authors,
        signatures: letter.signatures,
        dmarc: Vec::new(),
    };
    let decision = decide(&evidence);
    Examined { evidence, decision }
}
