//! `try`: the whole system on loopback.

pub mod dns;

use crate::error::{Exit, Failure};

/// What `try` may be told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Leaves it running, with lines to paste, until Ctrl-C
    #[arg(long)]
    pub keep: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the trial.
pub fn run(options: &Options) -> Result<(), Failure> {
    let _ = options;
    Err(Failure::new(Exit::Unavailable, "not yet"))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::OsErr, format!("cannot start threads: {error}")))
}
