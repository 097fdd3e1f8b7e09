//! What is asked about a client while its letter still flows: SPF, the name of its address, the owner's lists.

use super::premises::Premises;
use crate::mail::envelope::ReversePath;
use crate::net::dns::Dns;
use crate::policy::peer::PeerEvidence;
use crate::policy::spf::SpfEvidence;
use crate::system::threads::Background;
use crate::trust::{peer, spf};
use std::net::IpAddr;
use std::sync::Arc;

/// Of whom.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client's address.
    pub ip: IpAddr,
    /// What it called itself.
    pub helo: String,
    /// MAIL FROM.
    pub sender: ReversePath,
}

/// What was found out.
#[derive(Clone, Debug)]
pub struct Known {
    /// Of the client.
    pub peer: PeerEvidence,
    /// Of its right to the sender's name.
    pub spf: SpfEvidence,
}

impl Client {
    /// Begins to ask. `now` is Unix time.
    pub fn inquire(self, premises: Arc<Premises>, dns: Dns, now: i64) -> Background<Known> {
        Background::begin(async move { self.look_at(&premises, &dns, now).await })
    }

    /// Asks all at once. `now` is Unix time.
    pub async fn look_at(self, premises: &Premises, dns: &Dns, now: i64) -> Known {
        let question = spf::Question {
            ip: self.ip,
            helo: &self.helo,
            sender: self.sender.address(),
            receiver: premises.name.as_str(),
            now,
        };
        let in_time = spf::Within::new(dns, spf::PATIENCE);
        let (peer, spf) = tokio::join!(
            peer::look_at(dns, self.ip, &self.helo, &premises.name, &premises.lists),
            spf::check_host(&in_time, &question)
        );
        Known { peer, spf }
    }
}
