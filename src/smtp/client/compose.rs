//! The client's MAIL and RCPT lines.

use super::offers::Offers;
use super::{Request, fitness};
use crate::mail::envelope::{Notify, Recipient, Ret};
use crate::smtp::xtext;

/// `MAIL FROM`, with the parameters that the server offers to take.
pub(super) fn mail(request: &Request, offers: &Offers) -> String {
    let sender = &request.envelope.sender;
    let mut line = format!("MAIL FROM:<{}>", sender.path);
    if offers.size.is_some() {
        line.push_str(&format!(" SIZE={}", request.size));
    }
    if request.eight_bit {
        line.push_str(" BODY=8BITMIME");
    }
    if fitness::smtputf8(request, offers) {
        line.push_str(" SMTPUTF8");
    }
    if offers.dsn {
        match sender.ret {
            Some(Ret::Full) => line.push_str(" RET=FULL"),
            Some(Ret::Headers) => line.push_str(" RET=HDRS"),
            None => {}
        }
        if let Some(envid) = &sender.envid {
            line.push_str(&format!(" ENVID={}", xtext::encode(envid)));
        }
    }
    line + "\r\n"
}

/// `RCPT TO`, likewise.
pub(super) fn rcpt(recipient: &Recipient, offers: &Offers) -> String {
    let mut line = format!("RCPT TO:<{}>", recipient.address);
    if offers.dsn {
        if let Some(notify) = recipient.notify {
            line.push_str(&format!(" NOTIFY={}", events(notify)));
        }
        if let Some((kind, address)) = recipient.orcpt.as_deref().and_then(|orcpt| orcpt.split_once(';')) {
            line.push_str(&format!(" ORCPT={kind};{}", encoded(kind, address)));
        }
    }
    line + "\r\n"
}

/// Addresses of type `utf-8` have an encoding of their own, which any server with DSN takes (RFC 6533 section 3).
fn encoded(kind: &str, address: &str) -> String {
    if !kind.eq_ignore_ascii_case("utf-8") {
        return xtext::encode(address);
    }
    let safe = |c: char| c.is_ascii_graphic() && !matches!(c, '+' | '=');
    let one = |c| if safe(c) { String::from(c) } else { format!("\\x{{{:X}}}", u32::from(c)) };
    address.chars().map(one).collect()
}

fn events(notify: Notify) -> String {
    let events = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let asked: Vec<&str> = events.iter().filter(|(asked, _)| *asked).map(|(_, name)| *name).collect();
    if asked.is_empty() { "NEVER".to_owned() } else { asked.join(",") }
}
