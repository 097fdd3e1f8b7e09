//! SPF: provisional.

use crate::mail::address::Address;
use crate::net::dns::Dns;
use crate::policy::spf::{SpfEvidence, SpfIdentity, SpfResult};
use std::net::IpAddr;

/// What is asked.
pub struct Question<'a> {
    /// The client.
    pub ip: IpAddr,
    /// What it called itself.
    pub helo: &'a str,
    /// MAIL FROM.
    pub sender: Option<&'a Address>,
    /// Our name.
    pub receiver: &'a str,
    /// Unix time.
    pub now: i64,
}

/// Answers nothing yet.
pub async fn check_host(_names: &Dns, question: &Question<'_>) -> SpfEvidence {
    SpfEvidence {
        result: SpfResult::None,
        identity: SpfIdentity::MailFrom,
        domain: question.helo.to_owned(),
        why: "not looked at".into(),
        steps: Vec::new(),
    }
}
