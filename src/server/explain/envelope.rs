//! What is known of the two addresses, whatever becomes of the letter.

use super::Question;
use crate::mail::address::{Address, Domain};
use crate::net::dns::{Dns, MailHosts};
use crate::policy::cases::{Party, Treatment, number, treat};
use crate::server::premises::Premises;
use crate::store::tree::Lookup;
use crate::system::threads::blocking;
use std::sync::Arc;

/// MX hosts that are named.
const HOSTS_SHOWN: usize = 5;

/// Whether the sender's domain can receive mail, which directory answers for the recipient, and which of the eight cases
/// that is; `ours` says whether the sender is, where he was taken.
pub async fn told(premises: &Arc<Premises>, question: &Question, ours: Option<bool>) -> Vec<String> {
    let mut steps = Vec::new();
    if let Some(domain) = question.sender.address().and_then(Address::domain) {
        steps.push(format!("the sender's domain {}", mail_hosts(&premises.dns, domain).await));
    }
    let (here, recipient) = (Arc::clone(premises), question.recipient.clone());
    let (found, room) = blocking(move || {
        let found = here.store.find(&recipient);
        let room = match &found {
            Ok(Lookup::Found(mailbox)) => here.room_for(mailbox, 0),
            _ => here.room_in_state(0),
        };
        (found, room)
    })
    .await;
    let to = Party::ours(!matches!(found, Ok(Lookup::NotOurs)));
    steps.push(match found {
        Ok(Lookup::Found(mailbox)) => format!("the recipient: the directory {} answers", mailbox.label),
        Ok(Lookup::NoSuchAddress) => "the recipient: the domain is ours, no directory answers".into(),
        Ok(Lookup::NotOurs) => "the recipient: no domain of ours".into(),
        Err(fault) => format!("the recipient: {fault}"),
    });
    steps.extend(room.err().map(|fault| format!("nothing can be stored now: {fault}")));
    steps.extend(ours.map(|ours| {
        let from = Party::ours(ours);
        let treatment = match treat(question.door, from, to) {
            Treatment::Deliver => "deliver",
            Treatment::Relay => "relay",
            Treatment::Refuse => "refuse",
        };
        let (case, from, to) = (number(question.door, from, to), word(from), word(to));
        format!("case {case} of 8: from {from} to {to}: {treatment}")
    }));
    steps
}

fn word(party: Party) -> &'static str {
    match party {
        Party::Me => "me",
        Party::Someone => "someone",
    }
}

async fn mail_hosts(dns: &Dns, domain: &Domain) -> String {
    match dns.mail_hosts(domain).await {
        Ok(MailHosts::Mx(hosts)) => {
            let hosts: Vec<&str> = hosts.iter().take(HOSTS_SHOWN).map(|mx| mx.host.as_str()).collect();
            format!("{domain} can receive mail: MX {}", hosts.join(", "))
        }
        Ok(MailHosts::Implicit) => format!("{domain} can receive mail: no MX, but an address"),
        Ok(MailHosts::NullMx) => format!("{domain} takes no mail: a null MX"),
        Ok(MailHosts::NoDomain) => format!("{domain} does not exist in DNS"),
        Ok(MailHosts::NoHosts) => format!("{domain} has neither MX nor A nor AAAA"),
        Err(fault) => format!("{domain} could not be looked up: {fault}"),
    }
}
