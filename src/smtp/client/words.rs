//! What a reply means, and how it is told.

use super::{Client, Fate, Stage, Verb};
use crate::smtp::reply::{Reply, printable};

/// How much of the server's words stands in a sentence of ours.
const QUOTE: usize = 200;

impl Client {
    /// What a reply that is not the hoped for one means: 5xx is final, all else may pass.
    pub(super) fn verdict(&self, reply: Reply) -> Fate {
        if reply.is_permanent() { Fate::Refused(reply) } else { Fate::Deferred(self.quoted(&reply)) }
    }

    pub(super) fn quoted(&self, reply: &Reply) -> String {
        let server = self.server.as_deref().filter(|name| !name.is_empty()).unwrap_or("the server");
        let (what, words) = (self.answered(), printable(&reply.to_string(), QUOTE));
        format!("{} {what}: {words}", printable(server, QUOTE))
    }

    fn answered(&self) -> String {
        match self.stage {
            Stage::Greeting => "greeted".to_owned(),
            Stage::Message { .. } => "answered before the message was sent".to_owned(),
            _ => format!("answered {}", self.awaited().trim_start_matches("the reply to ")),
        }
    }

    pub(super) fn awaited(&self) -> String {
        let to = match (self.stage, self.unanswered.front()) {
            (Stage::Greeting, _) => return "the greeting".to_owned(),
            (Stage::Ehlo, _) => "EHLO",
            (Stage::Helo, _) => "HELO",
            (Stage::Envelope, Some(Verb::Mail)) => "MAIL FROM",
            (Stage::Envelope, Some(Verb::Rcpt(_))) => "RCPT TO",
            (Stage::Envelope, Some(Verb::Data)) => "DATA",
            (Stage::Envelope | Stage::Over, _) => "nothing",
            (Stage::Message { .. } | Stage::Dot | Stage::LoneDot, _) => "the final dot",
        };
        format!("the reply to {to}")
    }
}
