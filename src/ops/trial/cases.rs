//! The eight cases, each as a real SMTP dialogue at a real door.

use super::letters::{self, Letter};
use super::town::{FRIEND, ME, OTHER, Places};
use crate::error::Failure;
use crate::smtp::Door;
use crate::smtp::client::Fate;
use serde::Serialize;
use std::path::PathBuf;

/// What came of a case.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// Its number in the table.
    pub case: u8,
    /// `mx` or `submission`.
    pub door: &'static str,
    /// The envelope sender.
    pub from: &'static str,
    /// The envelope recipient.
    pub to: &'static str,
    /// What the server said last.
    pub reply: String,
    /// `deliver`, `relay` or `refuse`.
    pub expected: &'static str,
    /// Whether it went so.
    pub ok: bool,
}

/// The table, as a specification of its own: what the code decides is compared with it.
const TABLE: [(u8, Door, &str, &str, &str); 8] = [
    (1, Door::Mx, FRIEND, ME, "deliver"),
    (2, Door::Mx, ME, FRIEND, "refuse"),
    (3, Door::Mx, FRIEND, OTHER, "refuse"),
    (4, Door::Mx, ME, ME, "refuse"),
    (5, Door::Submission, FRIEND, ME, "refuse"),
    (6, Door::Submission, ME, FRIEND, "relay"),
    (7, Door::Submission, FRIEND, OTHER, "refuse"),
    (8, Door::Submission, ME, ME, "deliver"),
];

/// Tries all eight. At the submission door everybody seals with the key that he really has, so that what is refused is
/// refused by the table.
pub async fn run(places: &Places) -> Result<Vec<Case>, Failure> {
    let mut cases = Vec::new();
    for (case, door, from, to, expected) in TABLE {
        let letter = Letter::new(from, to, &format!("case {case}"));
        let fate = match door {
            Door::Mx => letters::bring(places.mx, &letter).await?,
            Door::Submission => letters::submit(places, &letter).await?,
        };
        let ok = match (&fate, expected) {
            (Fate::Accepted(_), "deliver") => {
                arrives(places, "server/mail/here.example/me/new", &letter).await
            }
            (Fate::Accepted(_), "relay") => {
                arrives(places, "stranger/mail/there.example/friend/new", &letter).await
            }
            (Fate::Refused(_), "refuse") => true,
            _ => false,
        };
        let door = match door {
            Door::Mx => "mx",
            Door::Submission => "submission",
        };
        cases.push(Case { case, door, from, to, reply: said(&fate), expected, ok });
    }
    Ok(cases)
}

async fn arrives(places: &Places, directory: &str, letter: &Letter) -> bool {
    let found: Option<PathBuf> = letters::wait_for(&places.at(directory), letter).await;
    found.is_some()
}

/// The server's words, or what kept it from saying any.
fn said(fate: &Fate) -> String {
    match fate {
        Fate::Accepted(reply) | Fate::Refused(reply) => reply.to_string(),
        Fate::Deferred(why) => why.clone(),
    }
}
