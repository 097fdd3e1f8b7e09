//! Whether a server can take the letter at all.

use super::Request;
use super::offers::Offers;
use crate::smtp::reply::Reply;

/// The refusal that the server would give, spoken in its name.
pub(super) fn refusal(request: &Request, offers: &Offers) -> Option<Reply> {
    let sender = &request.envelope.sender;
    let utf8 = is_unicode(request) || sender.path.address().is_some_and(|address| address.needs_smtputf8());
    if let Some(limit) = offers.size.flatten().filter(|limit| request.size > *limit) {
        let size = request.size;
        let text = format!("the letter has {size} octets, and this server takes at most {limit}");
        return Some(Reply::new(552, 3, 4, text));
    }
    if request.eight_bit && !offers.eight_bit {
        return Some(Reply::new(
            554,
            6,
            3,
            "the letter has 8-bit text, and this server does not offer 8BITMIME",
        ));
    }
    (utf8 && !offers.smtputf8).then(no_smtputf8)
}

/// Whether MAIL needs the parameter SMTPUTF8. What needs it where it is not offered was refused before.
pub(super) fn smtputf8(request: &Request, offers: &Offers) -> bool {
    let envelope = &request.envelope;
    let mut addresses = envelope.sender.path.address().into_iter();
    let mut recipients = envelope.recipients.iter().map(|recipient| &recipient.address);
    offers.smtputf8
        && (is_unicode(request)
            || addresses.any(|address| address.needs_smtputf8())
            || recipients.any(|address| address.needs_smtputf8()))
}

/// Whether the message itself needs it. A client that submits to a U-label domain has to say SMTPUTF8; to us a domain is
/// A-labels, and what is all ASCII then can go anywhere.
fn is_unicode(request: &Request) -> bool {
    request.envelope.sender.smtputf8 && request.eight_bit
}

pub(super) fn no_smtputf8() -> Reply {
    Reply::new(553, 6, 7, "the letter needs SMTPUTF8, and this server does not offer it")
}
