//! `address`.

use clap::Subcommand;

/// `address …`
#[derive(Debug, Subcommand)]
pub enum AddressCommand {
    /// Makes an address, or a second name for one
    ///
    /// The first address of a domain also becomes its postmaster and abuse. Warns when a DKIM selector of that name is
    /// published, since its key may then send as this address.
    ///
    /// Example: pillarbox address add blog@example.org --alias-of me@example.org
    Add {
        /// The address (`*@example.org` takes whatever no other address takes)
        address: String,
        /// The address that it is another name for
        #[arg(long, value_name = "ADDRESS")]
        alias_of: Option<String>,
    },
    /// Lists the addresses, their aliases and topics, and how many letters wait
    ///
    /// Example: pillarbox address list --json
    List {
        /// Only this domain
        domain: Option<String>,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Removes an address or an alias; refuses while letters wait
    ///
    /// With the last address of a domain go its `postmaster` and `abuse`, where they are other names for it, and the
    /// domain's directory: the domain is not yours any more then.
    ///
    /// Example: pillarbox address remove blog@example.org
    Remove {
        /// The address
        address: String,
    },
}
