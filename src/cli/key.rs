//! `key`.

use clap::Subcommand;

/// `key …`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Makes an address's keys and prints the DNS records to publish
    ///
    /// Writes an RSA key and an Ed25519 key as PEM files beside your mail; an existing file is never overwritten. The
    /// records are printed as a zone file, with the same on one line in its comments.
    ///
    /// Example: pillarbox key new me@example.org
    New {
        /// The address
        address: String,
        /// The selector [default: the address's local part]
        #[arg(long)]
        selector: Option<String>,
        /// Makes the RSA key only
        #[arg(long)]
        no_ed25519: bool,
    },
    /// Prints the DNS records of an address's keys again
    ///
    /// Example: pillarbox key show me@example.org
    Show {
        /// The address
        address: String,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Lists the keys
    ///
    /// Example: pillarbox key list
    List {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
}
