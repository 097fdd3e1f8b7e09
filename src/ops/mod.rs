//! What the owner does by hand: addresses, certificates and the queue on the server, keys at home, and the trial of it all.

pub mod address;
pub mod cert;
pub mod explain;
pub mod key;
pub mod outbox;
pub mod queue;
pub mod records;
pub mod trial;

use crate::error::{Exit, Failure};
use crate::system::user;
use std::io::{ErrorKind, Write};

/// A line on stderr, beside the result.
fn warn(text: &str) {
    let _ = writeln!(std::io::stderr(), "pillarbox: {text}");
}

/// Becomes the server's user, as far as that is possible, for work on its files.
fn become_owner(config: &crate::config::Server) -> Result<(), Failure> {
    user::become_owner(config.user.as_deref(), &config.state_dir)?;
    if let Some(exposed) = user::exposed(&config.state_dir) {
        warn(&exposed);
    }
    Ok(())
}

/// Prints a result. A reader that went away (`| head`) has seen enough; that is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::IoErr, format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a result as JSON, for programs.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
    print(&format!("{text}\n"))
}
