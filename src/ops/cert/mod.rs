//! `cert`: the certificates that the doors show: what is kept, what is really served, and renewing it now.

mod report;
pub mod served;

pub use report::status;

use super::{become_owner, print, print_json};
use crate::certs::orders::Outcome;
use crate::config::Server;
use crate::error::{Exit, Failure};
use crate::net::waiting::words as printable;
use crate::server::control::ask;
use indicatif::ProgressBar;
use serde::Serialize;
use std::time::Duration;

/// `cert renew`: has the running server renew what it shows, or read its files again. Fails with 69 where no server runs, and with 75
/// where something could not be renewed now.
pub fn renew(config: &Server, json: bool) -> Result<(), Failure> {
    become_owner(config)?;
    let waiting = wait(config);
    let answered = ask::renew(&config.state_dir);
    waiting.finish_and_clear();
    let Some(outcomes) = answered? else {
        let socket = crate::server::control::socket_in(&config.state_dir);
        let text = format!(
            "no server runs that answers at {}; certificates are renewed by the running server, which begins with it when it starts",
            socket.display()
        );
        return Err(Failure::new(Exit::Unavailable, text));
    };
    let failed = outcomes.iter().filter(|outcome| !outcome.good).count();
    if json {
        print_json(&Renewed { outcomes: &outcomes, ok: failed == 0 })?;
    } else {
        print(&outcomes.iter().map(line).collect::<String>())?;
    }
    match failed {
        0 => Ok(()),
        _ => {
            let text = format!(
                "for {failed} of {} certificates there is nothing better now: see above",
                outcomes.len()
            );
            Err(Failure::new(Exit::TempFail, text))
        }
    }
}

/// The result for programs.
#[derive(Serialize)]
struct Renewed<'a> {
    outcomes: &'a [Outcome],
    ok: bool,
}

/// Says on a terminal what is waited for.
fn wait(config: &Server) -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.set_message(match &config.tls.acme {
        Some(acme) => {
            format!(
                "{} looks whether the names are ours, and signs; that may take some minutes",
                acme.directory
            )
        }
        None => "the server reads its files".into(),
    });
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}

fn line(outcome: &Outcome) -> String {
    format!("{}: {}\n", printable(&outcome.what), printable(&outcome.said))
}
