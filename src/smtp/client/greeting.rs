//! The beginning: the greeting, EHLO, and HELO for those who do not know it.

use super::offers::Offers;
use super::{Client, Stage};
use crate::smtp::reply::Reply;

impl Client {
    pub(super) fn greeted(&mut self, reply: Reply) {
        if reply.code != 220 {
            let fate = self.verdict(reply);
            return self.quit(fate);
        }
        self.server = Some(reply.text.split_ascii_whitespace().next().unwrap_or_default().to_owned());
        self.hello("EHLO", Stage::Ehlo);
    }

    pub(super) fn helloed(&mut self, reply: Reply) {
        match (self.stage, reply.code) {
            (Stage::Ehlo, 200..300) => {
                self.offers = Offers::of(&reply);
                self.begin();
            }
            (Stage::Helo, 200..300) => self.begin(),
            // RFC 5321 section 3.2: who does not know EHLO may know HELO.
            (Stage::Ehlo, 500..) => self.hello("HELO", Stage::Helo),
            _ => {
                let fate = self.verdict(reply);
                self.quit(fate);
            }
        }
    }

    fn hello(&mut self, verb: &str, stage: Stage) {
        self.out.extend_from_slice(format!("{verb} {}\r\n", self.request.helo).as_bytes());
        self.stage = stage;
    }
}
