//! `queue`.

use clap::{Args, Subcommand};

/// `queue …`
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Lists the letters that wait: for whom, how long, what was said, and when they are tried again
    ///
    /// One line for each recipient who is still waiting, oldest letter first, and a sum at the end. Reads the files:
    /// the server may run or not, and is not disturbed. A letter that waits untried, since its destination could not
    /// be reached a moment ago, says when that destination is tried again. With --json: one JSON object on each line
    /// (docs/operating.md has the keys), with the reasons in full.
    ///
    /// Run it on the server, as root or as the server's user. At home, `pillarbox outbox list --server` shows your own.
    ///
    /// Example: pillarbox queue list gmail.com
    List {
        /// Only these: a letter's id, a recipient's address, or a recipient's domain
        #[arg(value_name = "ID|ADDRESS|DOMAIN")]
        words: Vec<String>,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Shows all that is known of one letter
    ///
    /// Its envelope, the fields by which you know it, and recipient by recipient what came of it: the other server's
    /// words, who it was found to be and what protected the connection. The body is not shown unless --message asks
    /// for the letter itself. 69: there is no such letter (any more).
    ///
    /// Example: pillarbox queue show 6a01e2f3c4d5e6f70819
    ///
    /// Example: pillarbox queue show 6a01e2f3c4d5e6f70819 --message > letter.eml
    Show {
        /// The letter's id, as `queue list` has it
        id: String,
        /// Prints the whole letter instead, as it is sent
        #[arg(long, conflicts_with = "json")]
        message: bool,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Tries now, whatever the schedule says; all that waits, if nothing is named
    ///
    /// What is held stays held (`queue release` is for that). On a stopped server the attempt is made when it starts.
    ///
    /// Status: 0 all was done, 69 a word matched nothing that waits, 75 something could not be done now.
    ///
    /// Example: pillarbox queue retry gmail.com
    Retry(Chosen),
    /// Neither tries nor gives up, until it is released
    ///
    /// Status: 0 all was done, 69 a word matched nothing that waits, 75 something could not be done now.
    ///
    /// Example: pillarbox queue hold you@example.net
    Hold(Chosen),
    /// Ends a hold, and tries now
    ///
    /// Status: 0 all was done, 69 a word matched nothing that waits, 75 something could not be done now.
    ///
    /// Example: pillarbox queue release --all
    Release(Chosen),
    /// Gives up and tells nobody: no report, and the letter is gone
    ///
    /// Without a way back: `pillarbox queue show ID --message > letter.eml` keeps a copy first.
    ///
    /// Status: 0 all was done, 69 a word matched nothing that waits, 75 something could not be done now.
    ///
    /// Example: pillarbox queue drop 6a01e2f3c4d5e6f70819
    Drop(Chosen),
    /// Gives up now, with a report in the sender's mailbox
    ///
    /// Status: 0 all was done, 69 a word matched nothing that waits, 75 something could not be done now.
    ///
    /// Example: pillarbox queue bounce typo@exmaple.net
    Bounce(Chosen),
}

/// What an order is for.
#[derive(Debug, Args)]
pub struct Chosen {
    /// A letter's id, a recipient's address, or a recipient's domain; what is named by any of them is meant
    #[arg(value_name = "ID|ADDRESS|DOMAIN")]
    pub words: Vec<String>,
    /// Everything that waits
    #[arg(long, conflicts_with = "words")]
    pub all: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}
