//! `explain`.

use clap::{Args, ValueEnum};
use pillarbox::smtp::Door;
use std::net::IpAddr;
use std::path::PathBuf;

/// `explain …`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Who sends it: MAIL FROM, '<>' for a bounce
    #[arg(required_unless_present = "log")]
    pub from: Option<String>,
    /// Whom it is for: RCPT TO
    #[arg(required_unless_present = "log")]
    pub to: Option<String>,
    /// The door that it comes to
    #[arg(long, value_enum, default_value = "mx")]
    door: DoorName,
    /// The address that it comes from
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub ip: IpAddr,
    /// What the client calls itself (EHLO)
    #[arg(long, default_value = "localhost", value_name = "NAME")]
    pub helo: String,
    /// The letter itself, a file or - for standard input; one whose lines end with LF alone (as in a Maildir) is sent with
    /// CRLF, any other as it is
    #[arg(long, value_name = "FILE")]
    pub message: Option<PathBuf>,
    /// Instead: tells the story of the letter with this id from the log
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "to", "door", "ip", "helo", "message"])]
    pub log: Option<String>,
    /// Where the log is kept, if not in the journal; - for standard input
    #[arg(long, value_name = "FILE", requires = "log", conflicts_with_all = ["from", "to"])]
    pub log_file: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DoorName {
    /// Strangers' door
    Mx,
    /// The owner's door
    Submission,
}

impl ExplainArgs {
    /// The door.
    pub fn door(&self) -> Door {
        match self.door {
            DoorName::Mx => Door::Mx,
            DoorName::Submission => Door::Submission,
        }
    }
}
