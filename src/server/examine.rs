//! A stranger's letter examined: the evidence brought together, and decided on. The doors and `explain` both come here.

use super::inquiry::Known;
use super::premises::Premises;
use crate::mail::form::Oddity;
use crate::net::dns::Dns;
use crate::policy::inbound::{Decision, Evidence, decide, sentence};
use crate::system::threads::Background;
use crate::trust::dmarc::{Discovery, identifiers};
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

/// What the evidence comes from.
pub struct Sources {
    /// What answers.
    pub dns: Dns,
    /// The letter, whole.
    pub letter: Gathering,
    /// What the domains in From publish.
    pub discovery: Background<Discovery>,
    /// What is known of the client.
    pub client: Background<Known>,
    /// What is odd in the letter's form.
    pub form: Vec<Oddity>,
}

/// Judges a letter that is whole. `now` is Unix time.
pub async fn examine(premises: &Premises, sources: Sources, now: i64) -> Examined {
    let Sources { dns, letter, discovery, client, form } = sources;
    let (letter, discovery, client) =
        tokio::join!(letter.finish(&dns, now), discovery.outcome(), client.outcome());
    let identifiers = identifiers(&client.spf, &letter.signatures);
    let evidence = Evidence {
        rules: premises.rules.clone(),
        peer: client.peer,
        spf: client.spf,
        dmarc: discovery.judge(&identifiers, &dns).await,
        authors: letter.authors,
        signatures: letter.signatures,
        form,
    };
    let decision = decide(&evidence);
    Examined { evidence, decision }
}
