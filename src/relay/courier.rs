//! A connection to one of a destination's servers, which carries letters one after another.

use super::Parts;
use super::plan::Plan;
use super::verdict::Verdict;
use crate::net::session::Session;
use crate::queue::EntryId;
use crate::smtp::client::Request;

/// An open connection.
pub(super) struct Courier {
    session: Session,
}

/// What came of carrying one letter.
pub(super) struct Trip {
    /// One verdict per recipient of the request.
    pub(super) verdicts: Vec<Verdict>,
    /// No server of the destination could be spoken to: there is no use in trying the next letter now.
    pub(super) unreachable: Option<String>,
    /// The connection, if it can carry another letter.
    pub(super) courier: Option<Courier>,
}

impl Courier {
    /// Ends the connection in good manners.
    pub(super) async fn dismiss(self) {
        self.session.quit().await;
    }
}

/// Carries one letter to the destination: by the courier that is there, else by a new one, to one host after another
/// until one decides.
pub(super) async fn carry(
    parts: &Parts,
    plan: &Plan,
    letter: &EntryId,
    request: Request,
    courier: Option<Courier>,
) -> Trip {
    let _ = (parts, plan, letter);
    let verdicts = vec![Verdict::later("not built".into(), None); request.envelope.recipients.len()];
    Trip { verdicts, unreachable: None, courier }
}
