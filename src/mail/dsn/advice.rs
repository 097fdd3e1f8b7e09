//! What a sender can do about a failure, in a sentence or two.

use super::Diagnosis;

/// By the RFC 3463 status.
pub(super) fn of(diagnosis: &Diagnosis) -> &'static str {
    match diagnosis.status {
        (_, 1, 2) => {
            "Check the part behind the @ for a typing mistake: there is no such domain, or it takes no mail."
        }
        (_, 1, 10) => "The domain says that it takes no mail at all. Ask the recipient for another address.",
        (_, 1, _) => "Check the address for a typing mistake, or ask the recipient in some other way.",
        (_, 2, 2) => {
            "The recipient's mailbox is full. Try again in some days, or tell him in some other way."
        }
        (_, 3, 4) | (_, 2, 3) => {
            "The letter is too large for the other side. Send it in parts, or send a link."
        }
        (_, 2, _) => "The mailbox exists but takes no mail now. Ask the recipient in some other way.",
        (_, 4, 6) => {
            "The domain's mail is directed back to this server, where the address does not exist. Its MX \
             records, or the directories here, are to be corrected."
        }
        (_, 4, 7) => {
            "The other side could not be reached, or put us off, for the whole time. Ask the recipient in some \
             other way, or send the letter again later."
        }
        (_, 6, 7) => {
            "The other side cannot take addresses with letters beyond ASCII. Ask for an address without them."
        }
        (_, 7, _) => {
            "The other side refuses the letter by its rules. If its words name a reason (a list, SPF, DKIM, \
             PTR), this server's administrator can act on it: 'pillarbox doctor' checks these."
        }
        _ => {
            "Read the words above: they are all that is known. Send the letter again when the cause is gone."
        }
    }
}
