//! `cert`.

use clap::Subcommand;

/// `cert …`
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Shows the certificates that are kept for the doors, and whether the doors show them
    ///
    /// For each certificate: its names, where it is from, who vouches for it, until when it is valid, and the TLSA record of its key,
    /// ready to be pasted into the zone (publish it only where the zone is signed). Then it knocks at the doors of the running
    /// server, as a stranger would, asks for each name, and says whether what is shown is what is on disk.
    ///
    /// With --json one object: `certificates` (with `source`: self_signed, files or acme, `names`, `issuer`, `not_after`,
    /// `days_left`, `tlsa`, `fault`, `next`, `trouble`), `served` (with `door`, `address`, `name` and `found`: same, other, no_tls or
    /// unknown), `wrong`, `unknown`, and `ok`. Times are Unix seconds.
    ///
    /// Run it on the server, as root or as the server's user.
    ///
    /// Status: 0 all is well, 69 something is wrong (a file cannot be used, a certificate has expired, or ought to have been
    /// renewed here long ago, a door shows another one or has no TLS), 75 it could not be found out, as when no server runs.
    ///
    /// Example: pillarbox cert status
    Status {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Has the running server renew its certificates now, or read their files again
    ///
    /// Nobody needs it for the daily round: files are looked at every few seconds, and an authority is asked in time. It is for whoever
    /// has just mended something and does not want to wait. Files are read at once, and it is said what is wrong with a new
    /// pair that is not taken. An authority (`[tls.acme]`) is asked for a new certificate, for which some have a weekly limit; that may
    /// take minutes. The server's own certificate is there for as long as the server is.
    ///
    /// With --json one object: `outcomes` (with `what`, `good` and `said`), and `ok`.
    ///
    /// Run it on the server, as root or as the server's user.
    ///
    /// Status: 0 all is as new as can be, 69 no server runs, 75 something failed and may go well later.
    ///
    /// Example: pillarbox cert renew
    Renew {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
}
