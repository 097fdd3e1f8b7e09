//! Rule 1, the people: From, Sender, Resent-From and Resent-Sender name the sender and nobody else.

use super::{Claim, ClaimField, Evidence, refusal};
use crate::mail::address::Address;
use crate::smtp::reply::Reply;

/// Exactly one From with one mailbox of the sender; Sender, Resent-From and Resent-Sender, if present, his as well.
pub fn names_nobody_else<Id: PartialEq>(evidence: &Evidence<Id>) -> Result<(), Reply> {
    let all = |field| evidence.claims.iter().filter(move |claim| claim.field == field);
    let from: Vec<&Claim<Id>> = all(ClaimField::From).collect();
    let [from] = from.as_slice() else {
        let text =
            format!("rule 1 (bound): the letter has {} From fields; it must have exactly one", from.len());
        return Err(refusal(1, text));
    };
    let mailboxes = read(from, "From")?;
    let [(author, _)] = mailboxes else {
        return Err(refusal(
            1,
            format!("rule 1 (bound): From names {} mailboxes; it must name exactly one", mailboxes.len()),
        ));
    };
    if author.domain() != evidence.sender.domain() {
        return Err(refusal(
            1,
            format!(
                "rule 1 (bound): From names {author}, which is not in the domain of the envelope sender {}; \
                 send it with -f {author}",
                evidence.sender
            ),
        ));
    }
    belongs(evidence, "From", mailboxes)?;
    let others = [
        (ClaimField::Sender, "Sender"),
        (ClaimField::ResentFrom, "Resent-From"),
        (ClaimField::ResentSender, "Resent-Sender"),
    ];
    for (field, name) in others {
        for claim in all(field) {
            belongs(evidence, name, read(claim, name)?)?;
        }
    }
    Ok(())
}

type Mailboxes<Id> = [(Address, Option<Id>)];

fn read<'e, Id>(claim: &'e Claim<Id>, name: &str) -> Result<&'e Mailboxes<Id>, Reply> {
    match &claim.mailboxes {
        Ok(mailboxes) if !mailboxes.is_empty() => Ok(mailboxes),
        Ok(_) => Err(refusal(1, format!("rule 1 (bound): {name} names no mailbox; name yours"))),
        Err(why) => Err(refusal(1, format!("rule 1 (bound): {name} cannot be read: {why}; correct it"))),
    }
}

fn belongs<Id: PartialEq>(
    evidence: &Evidence<Id>,
    name: &str,
    mailboxes: &Mailboxes<Id>,
) -> Result<(), Reply> {
    match mailboxes.iter().find(|(_, owner)| owner.as_ref() != Some(&evidence.owner)) {
        None => Ok(()),
        Some((address, _)) => Err(refusal(
            1,
            format!(
                "rule 1 (bound): {name} names {address}, which is not the mailbox of the envelope sender {}",
                evidence.sender
            ),
        )),
    }
}
