//! `outbox`.

use clap::Subcommand;

/// `outbox …`
#[derive(Debug, Subcommand)]
pub enum OutboxCommand {
    /// Lists the letters that wait, and why
    ///
    /// With --server also those of yours that a server has taken and could not deliver yet: each server is asked
    /// through ssh (`queue_via` in home.toml).
    ///
    /// Example: pillarbox outbox list --server
    List {
        /// Asks the servers as well
        #[arg(long)]
        server: bool,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
}
