//! `outbox list`: the letters that wait at home and, if asked for, those that wait on the servers; and `flush`, which
//! submits those at home.

use super::{print, print_json};
use crate::config::Home;
use crate::error::{Exit, Failure};
use crate::home::outbox;
use std::io::Write;

/// Submits what waits, or the named letters: a line for each on stderr or, as JSON on one line of stdout, what was sent
/// and what waits on.
pub fn flush(config: &Home, letters: &[String], json: bool) -> Result<(), Failure> {
    let mut sent = Vec::new();
    let ended = outbox::flush(config, letters, &mut |tried| match &tried.ended {
        Ok(said) if json => sent.push(serde_json::json!({ "id": tried.id, "said": said })),
        Err(_) if json => {}
        _ => {
            let _ = writeln!(std::io::stderr(), "{tried}");
        }
    });
    if json {
        let error = ended.as_ref().err().map(ToString::to_string);
        let waiting = outbox::list(config)?;
        let told =
            serde_json::json!({ "sent": sent, "waiting": waiting, "error": error, "ok": ended.is_ok() });
        print(&format!("{told}\n"))?;
    }
    ended
}

/// Prints what waits: at home, oldest first, then with `servers` what each server could not deliver yet. A server that
/// cannot be asked is the command's failure (75) after all others were.
pub fn list(config: &Home, json: bool, servers: bool) -> Result<(), Failure> {
    let mut letters = outbox::list(config)?;
    let mut failures = Vec::new();
    if servers {
        let (deferred, failed) = outbox::list_servers(config)?;
        letters.extend(deferred);
        failures = failed;
    }
    if json {
        print_json(&letters)?;
    } else if letters.is_empty() {
        print(match (servers, failures.is_empty()) {
            (false, _) => "The outbox is empty\n",
            (true, true) => "The outbox is empty, and nothing waits on the server\n",
            (true, false) => "The outbox is empty; what waits on the server is not known\n",
        })?;
    } else {
        print(&letters.iter().map(|letter| format!("{letter}\n")).collect::<String>())?;
    }
    let said: Vec<String> = failures.into_iter().map(|failure| failure.message).collect();
    match said.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(Exit::TempFail, said.join("; "))),
    }
}
