//! What is asked about a client while its letter still flows: SPF, the name of its address, the owner's lists.

use super::premises::Premises;
use crate::mail::envelope::ReversePath;
use crate::policy::peer::PeerEvidence;
use crate::policy::spf::SpfEvidence;
use crate::trust::{peer, spf};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::task::JoinHandle;

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

/// Answers that are on their way. Dropping it gives them up.
pub struct Inquiry(JoinHandle<Known>);

impl Client {
    /// Asks all at once. `now` is Unix time.
    pub async fn look_at(self, premises: &Premises, now: i64) -> Known {
        let question = spf::Question {
            ip: self.ip,
            helo: &self.helo,
            sender: self.sender.address(),
            receiver: premises.name.as_str(),
            now,
        };
        let (peer, spf) = tokio::join!(
            peer::look_at(&premises.dns, self.ip, &self.helo, &premises.name, &premises.lists),
            spf::check_host(&premises.dns, &question)
        );
        Known { peer, spf }
    }
}

impl Inquiry {
    /// Begins to ask.
    pub fn begin(client: Client, premises: Arc<Premises>, now: i64) -> Inquiry {
        Inquiry(tokio::spawn(async move { client.look_at(&premises, now).await }))
    }

    /// Waits for the answers. A panic goes on here: it ends this connection, and not the server.
    pub async fn answers(mut self) -> Known {
        match (&mut self.0).await.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(known) => known,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime is going down, and this task with it.
            Err(Err(_)) => std::future::pending().await,
        }
    }
}

impl Drop for Inquiry {
    fn drop(&mut self) {
        self.0.abort();
    }
}
