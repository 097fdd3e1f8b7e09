//! What a reply means, and how it is told.

use super::{Fate, Peer};
use crate::smtp::reply::{Reply, printable};

/// How much of the server's words stands in a sentence of ours.
const QUOTE: usize = 200;

impl Peer {
    /// The server's name for a sentence.
    pub(super) fn called(&self) -> String {
        printable(self.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("the server"), QUOTE)
    }

    /// What it did, and its words.
    pub(super) fn said(&self, what: &str, reply: &Reply) -> String {
        format!("{} {what}: {}", self.called(), shown(reply))
    }

    /// What a reply that is not the hoped for one means: 5xx is final, all else may pass.
    pub(super) fn verdict(&self, what: &str, reply: Reply) -> Fate {
        let wants_tls = reply.code == 530 && reply.text.to_ascii_uppercase().contains("TLS");
        // RFC 3207 section 4: that TLS could not be had today is no letter's fault.
        if reply.is_permanent() && (self.private || !wants_tls) {
            Fate::Refused(reply)
        } else {
            Fate::Deferred(self.said(what, &reply))
        }
    }
}

/// A reply's words in a sentence of ours.
pub(super) fn shown(reply: &Reply) -> String {
    printable(&reply.to_string(), QUOTE)
}
