//! The server's words, spelled in one place: what happened, and what to do about it.

use super::budget::Full;
use super::limits::watch::Over;
use crate::mail::address::Address;
use crate::smtp::reply::Reply;
use crate::store::StoreError;

/// `MAIL` is fine.
pub fn sender_ok() -> Reply {
    Reply::new(250, 1, 0, "sender ok")
}

/// `RCPT` is fine.
pub fn recipient_ok() -> Reply {
    Reply::new(250, 1, 5, "recipient ok")
}

/// Go on with the message.
pub fn start_data() -> Reply {
    Reply { code: 354, enhanced: None, text: "go on; end with CRLF . CRLF".into() }
}

/// The letter is durable here.
pub fn stored(id: &str) -> Reply {
    Reply::new(250, 2, 0, format!("stored, id {id}"))
}

/// The letter is durable in the queue.
pub fn queued(id: &str) -> Reply {
    Reply::new(250, 2, 0, format!("queued, id {id}"))
}

/// The letter was queued before under this id.
pub fn queued_before(id: &str) -> Reply {
    Reply::new(250, 2, 0, format!("queued before, id {id}"))
}

/// A line of an owner's letter is longer than RFC 5322 allows.
pub fn line_too_long(length: usize, limit: usize) -> Reply {
    let text =
        format!("rule 2 (strict form): a line of {length} octets; {limit} are allowed; encode the body");
    Reply::new(550, 7, 7, text)
}

/// An address of a domain of ours has no directory.
pub fn no_such_address(address: &Address) -> Reply {
    Reply::new(550, 1, 1, format!("no such address here: <{address}>"))
}

/// Strangers may not send to strangers through us.
pub fn not_ours(address: &Address) -> Reply {
    Reply::new(550, 7, 1, format!("<{address}> is not at home here and strangers' mail is not relayed"))
}

/// A stranger's door, and a sender of our own domain.
pub fn own_sender_at_mx(address: &Address) -> Reply {
    let text = format!("<{address}> is ours; its owner submits signed mail through the submission door");
    Reply::new(550, 7, 1, text)
}

/// The submission door, and a sender who is not ours.
pub fn foreign_sender() -> Reply {
    Reply::new(550, 7, 1, "this door takes mail from this server's own addresses only")
}

/// The submission door, and a sender of our domain whose directory is not there.
pub fn no_such_sender(address: &Address) -> Reply {
    let text = format!("sender <{address}> does not exist here; pillarbox address add {address} makes it");
    Reply::new(550, 7, 1, text)
}

/// The null sender at the submission door.
pub fn null_sender_at_submission() -> Reply {
    Reply::new(550, 7, 1, "<> cannot submit: a letter needs a sender whose key signed it")
}

/// The ssh key is confined to other addresses.
pub fn confined(address: &Address) -> Reply {
    Reply::new(
        550,
        7,
        1,
        format!("this ssh key may not send as <{address}>; see its line in authorized_keys"),
    )
}

/// The sender's domain cannot receive mail, so that no answer could reach it.
pub fn sender_cannot_receive(domain: &str, why: &str) -> Reply {
    Reply::new(550, 1, 8, format!("sender domain {domain} cannot receive mail: {why}"))
}

/// The recipient's domain cannot receive mail.
pub fn recipient_cannot_receive(domain: &str, why: &str) -> Reply {
    Reply::new(550, 1, 2, format!("recipient domain {domain} cannot receive mail: {why}"))
}

/// DNS did not answer.
pub fn dns_fault(domain: &str) -> Reply {
    Reply::new(451, 4, 3, format!("DNS has no answer for {domain} just now; try again later"))
}

/// The store's fault, always temporary.
pub fn store_fault(error: &StoreError) -> Reply {
    match error {
        StoreError::Full { .. } => {
            Reply::new(452, 3, 1, "not enough disk space here just now; try again later")
        }
        StoreError::WrongRoot(_) => {
            Reply::new(451, 3, 0, "the mail store is not there just now; try again later")
        }
        StoreError::Unsafe(_) => Reply::new(451, 3, 5, "this address is misconfigured here; try again later"),
        StoreError::Io { .. } => Reply::new(451, 3, 0, "a local fault; try again later"),
    }
}

/// Something took too long after the final dot.
pub fn too_slow() -> Reply {
    Reply::new(451, 4, 0, "checking and storing took more than a minute; try again later")
}

/// The header block alone is larger than any honest one.
pub fn header_too_large(limit: usize) -> Reply {
    Reply::new(552, 3, 4, format!("the header is larger than {} KiB", limit / 1024))
}

/// The header has more fields than any honest one.
pub fn too_many_fields(limit: usize) -> Reply {
    Reply::new(552, 3, 4, format!("the header has more than {limit} fields"))
}

/// The letter has been here before.
pub fn mail_loop(why: &str) -> Reply {
    Reply::new(554, 4, 6, format!("mail loop: {why}"))
}

/// The server ends.
pub fn shutting_down() -> Reply {
    Reply::new(421, 3, 2, "the server is restarting; try again in a minute")
}

/// The client said nothing for too long.
pub fn timed_out() -> Reply {
    Reply::new(421, 4, 2, "nothing was heard for too long; closing")
}

/// A fault of ours in this connection.
pub fn broken() -> Reply {
    Reply::new(421, 3, 0, "a fault in this server; try again later")
}

/// No room for another connection, and nobody who could make room.
pub fn too_many_connections(full: Full) -> Reply {
    let whose = match full {
        Full::Door => "at this door",
        Full::Address => "from your address",
        Full::Network => "from your network",
    };
    Reply::new(421, 7, 0, format!("too many connections {whose} just now; try again later"))
}

/// Somebody new needs the place of a connection that waits.
pub fn called_off() -> Reply {
    Reply::new(421, 7, 0, "others wait for this place while nothing comes from you; come back with a letter")
}

/// Somebody new needs the place of a connection for which something is looked up that has no answer.
pub fn takes_too_long() -> Reply {
    Reply::new(
        421,
        7,
        0,
        "others wait for this place, and what must be looked up for you takes long; try again later",
    )
}

/// More than an address or a network may do; `code` says what it ends: 421 the session, 450 this command.
pub fn over_rate(code: u16, over: &Over) -> Reply {
    let whose = if over.network { "network" } else { "address" };
    let detail = if code == 421 { 0 } else { 1 };
    let (many, what, wait) = (over.per_minute, over.kind.words(), over.wait.as_secs().max(1));
    let text =
        format!("too many {what} from your {whose}: {many} a minute are taken; try again in {wait} seconds");
    Reply::new(code, 7, detail, text)
}

/// It spoke before it was greeted.
pub fn spoke_first() -> Reply {
    Reply::new(554, 5, 0, "you spoke before the greeting; wait for 220 (RFC 5321 section 3.1); closing")
}

/// A message dribbles in.
pub fn message_too_slow(octets: u64) -> Reply {
    Reply::new(421, 4, 2, format!("the message comes too slowly: {octets} octets so far; closing"))
}

/// A session goes on and on.
pub fn no_letter_for_long() -> Reply {
    Reply::new(421, 4, 2, "this session has gone on for too long without a letter; closing")
}
