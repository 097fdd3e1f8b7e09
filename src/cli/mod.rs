//! The command line: argv becomes a value, and the help teaches.

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use pillarbox::config::Sources;
use pillarbox::error::{Exit, Failure};
use pillarbox::ops::trial;
use std::ffi::OsString;
use std::path::PathBuf;

mod address;
mod cert;
mod explain;
mod key;
mod outbox;
mod queue;
#[cfg(test)]
mod tests;

pub use address::AddressCommand;
pub use cert::CertCommand;
pub use explain::ExplainArgs;
pub use key::KeyCommand;
pub use outbox::OutboxCommand;
pub use queue::QueueCommand;

/// A personal mail system in one program.
///
/// On a small server, `pillarbox serve` takes the letters that strangers bring and keeps them until they are
/// collected. On your own machine, `pillarbox sendmail` signs and submits what you write, and `pillarbox pull`
/// brings everything home. An address is a directory; the key that signs your letters is what lets you send them.
///
/// To see all of it at work on this machine, without touching anything: pillarbox try
#[derive(Debug, Parser)]
#[command(name = "pillarbox", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    sources: SourceArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
struct SourceArgs {
    /// The configuration file [default: $PILLARBOX_CONFIG, else /etc/pillarbox/server.toml for the server's
    /// commands and ~/.config/pillarbox/home.toml for those at home]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one configuration key, as in -o limits.recipients=50; may be repeated
    #[arg(short = 'o', global = true, value_name = "KEY=VALUE")]
    option: Vec<String>,
}

/// The programs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows the whole system at work on loopback, in a temporary directory
    ///
    /// Starts a name server, a mail server and a stranger's mail server as child processes, makes an address and
    /// keys with the same commands that you would use, shows the eight cases (who may send what to whom, through
    /// which door), and sends one letter each way. Nothing outside of the temporary directory is touched.
    ///
    /// Example: pillarbox try --keep
    Try(trial::Options),

    /// Runs the server: strangers' door, the owner's door, and the queue
    ///
    /// Needs no configuration: it serves the domains that have a directory under /var/mail. `mkdir` (or
    /// `pillarbox address add`) makes an address at once, without a reload. SIGTERM finishes what is in hand.
    ///
    /// Example: pillarbox serve -o hostname=mx.example.org
    Serve,

    /// The server's end of ssh: the owner's submissions, pulls and deferred letters, and nothing else
    ///
    /// Stands in authorized_keys as a forced command, tied to the domains and addresses that it names:
    ///
    /// command="pillarbox gate example.org",restrict ssh-ed25519 AAAA…
    Gate {
        /// The verb (submit, export, queue), then domains and addresses; without a verb the last word of
        /// SSH_ORIGINAL_COMMAND counts
        #[arg(value_name = "VERB|DOMAIN|ADDRESS")]
        args: Vec<String>,
    },

    /// Makes, lists and removes addresses on the server
    #[command(subcommand)]
    Address(AddressCommand),

    /// Says what would become of a letter, step by step, and why; or what became of one, from the log
    ///
    /// Runs the code of the live server on a letter that is not there (or on the one in --message) and prints what each
    /// step says: which directory answers, what the sender's records in DNS say, which rule decides, and the reply that the
    /// client would see. Nothing is stored, and nobody is written to; DNS is asked as the server would ask it.
    ///
    /// With --json one object: `decision` (deliver, relay, junk, defer, refuse), `reply`, `steps`, `spf`, `dkim` (domain,
    /// selector and result of each signature), `dmarc`, and `evidence` in full.
    ///
    /// Run it on the server, as root or as the server's user.
    ///
    /// With --log it tells the story of a letter that came: who brought it and for whom, what it was taken for and why, where it
    /// was put, whom it was relayed to, why it waits, how it ended. The id is that of the letter's Received field, of the
    /// reply to it or of `pillarbox queue list`: one leads to the others. The log is the journal of the unit
    /// pillarbox (root and the groups adm and systemd-journal may read it), or --log-file: what the server wrote to stderr,
    /// or what journalctl printed. What was refused before the letter itself came, at MAIL or RCPT, has no id: look for the
    /// address (journalctl -u pillarbox -g stranger@example.net), which finds the id of a refused letter as well.
    ///
    /// With --json then: `ids`, `events` (each with `time`, `event`, `message` and `fields`), `left_out` (how many of a very
    /// long story), and `outcome`: delivered, junk, refused, deferred (to be brought again), queued, relayed, bounced,
    /// dropped (by hand), partly (some recipients were reached), unknown. 69: the log does not know the id.
    ///
    /// Example: pillarbox explain stranger@example.net me@example.org --ip 192.0.2.1 --helo mx.example.net
    ///
    /// Example: pillarbox explain stranger@example.net me@example.org --ip 192.0.2.1 --message letter.eml
    ///
    /// Example: pillarbox explain --log 6a01e2f3c4d5e6f70819
    ///
    /// Example: zcat pillarbox.log.2.gz | pillarbox explain --log 6a01e2f3c4d5e6f70819 --log-file -
    Explain(ExplainArgs),

    /// Shows the letters that did not leave the server yet, and what to do with them
    #[command(subcommand)]
    Queue(QueueCommand),

    /// Shows the certificates that the server's doors show, and renews them
    #[command(subcommand)]
    Cert(CertCommand),

    /// Makes and shows the keys that sign your letters, at home
    #[command(subcommand)]
    Key(KeyCommand),

    /// Submits one letter, with the flags that mail programs pass to sendmail
    ///
    /// Reads the letter from standard input, completes its header, signs and seals it, and hands it to your server.
    /// Called by the name `sendmail` (a link to pillarbox) it does the same. Options of pillarbox itself stand in
    /// front of the word `sendmail`, since sendmail has an -o of its own.
    ///
    /// The flags that matter: -t (recipients from To, Cc and Bcc), -f ADDRESS (the envelope sender), -F NAME, -i (a
    /// lone dot is text), -v (say what the server answers), -bp (list the outbox), -q (flush it). Status 0 means that
    /// a server has the letter, or that it is durably in the outbox; all others, that nobody got it.
    ///
    /// Example: pillarbox sendmail -t < letter
    Sendmail {
        /// sendmail's own flags and the recipients
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAG|RECIPIENT")]
        args: Vec<OsString>,
    },

    /// Brings the letters home
    ///
    /// Every letter is durable here before the server removes it; run it by hand or from a timer.
    ///
    /// Example: pillarbox pull me@example.org
    Pull {
        /// Only these addresses (all of them, if none is named)
        #[arg(value_name = "ADDRESS")]
        addresses: Vec<String>,
        /// Prints JSON
        #[arg(long)]
        json: bool,
        /// Says so, too, when nothing came
        #[arg(long, short)]
        verbose: bool,
    },

    /// Submits the letters that wait in the outbox
    ///
    /// With --json one line: `sent` (the letters that a server took, and what it said), `waiting` (those that are still
    /// here, as `outbox list --json` has them), `error` (null, or what stderr says) and `ok`.
    ///
    /// Example: pillarbox flush
    Flush {
        /// Only these letters (`outbox list` has their names), and though a server refused them before
        #[arg(value_name = "LETTER")]
        letters: Vec<String>,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },

    /// Flushes the outbox, then pulls
    ///
    /// With --json two lines: that of `flush`, then that of `pull`.
    ///
    /// Example: pillarbox sync
    Sync {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },

    /// Shows the letters that wait at home
    #[command(subcommand)]
    Outbox(OutboxCommand),

    /// Writes a completion script for a shell
    ///
    /// Example: pillarbox completions bash > ~/.local/share/bash-completion/completions/pillarbox
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },

    /// Writes the manual page, of everything or of one command
    ///
    /// Example: pillarbox man pull | man -l -
    Man {
        /// The command, for instance: address add
        command: Vec<String>,
    },

    /// The name server of `try`.
    #[command(hide = true)]
    TryDns {
        /// The zone, in master file format.
        #[arg(long)]
        zone: PathBuf,
    },

    /// What runs the filter of `serve`.
    #[command(hide = true)]
    FilterHelper {
        /// What it is there for, where it is confined already.
        #[arg(long)]
        inside: Option<String>,
    },
}

impl Cli {
    /// Reads the command line. Help and version are printed, and then there is nothing more to do (`None`).
    pub fn read(args: impl Iterator<Item = OsString>) -> Result<Option<Cli>, Failure> {
        let (options, args) = split_front(args.collect());
        match Cli::try_parse_from(args) {
            Ok(mut cli) => {
                cli.sources.option.splice(0..0, options);
                Ok(Some(cli))
            }
            Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
                // A reader that went away has seen enough.
                let _ = error.print();
                Ok(None)
            }
            Err(error) => Err(usage(&error)),
        }
    }

    /// Where the configuration comes from.
    pub fn sources(&self) -> Sources {
        // Behind sshd the environment is the client's (AcceptEnv, PermitUserEnvironment), and the file that it names
        // could be one of his letters.
        let file = if self.is_forced() { None } else { environment().file };
        Sources { file: self.sources.config.clone().or(file), overrides: self.sources.option.clone() }
    }

    /// Whether this is `gate` as sshd's forced command.
    fn is_forced(&self) -> bool {
        matches!(self.command, Command::Gate { .. }) && std::env::var_os("SSH_ORIGINAL_COMMAND").is_some()
    }
}

/// The configuration's source for a program that takes no options of ours: called as `sendmail`.
pub fn environment() -> Sources {
    let file = std::env::var_os("PILLARBOX_CONFIG").filter(|file| !file.is_empty());
    Sources { file: file.map(PathBuf::from), overrides: Vec::new() }
}

/// The completion script.
pub fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pillarbox", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The manual page of the (sub)command that `path` names.
pub fn manual(path: &[String]) -> Result<String, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut name = "pillarbox".to_owned();
    for word in path {
        let found = command.find_subcommand(word).filter(|found| !found.is_hide_set()).cloned();
        command =
            found.ok_or_else(|| Failure::new(Exit::Usage, format!("no such command: {name} {word}")))?;
        name = format!("{name} {word}");
    }
    let mut page = Vec::new();
    let title = name.replace(' ', "-");
    clap_mangen::Man::new(command)
        .title(title)
        .render(&mut page)
        .map_err(|error| Failure::new(Exit::IoErr, error.to_string()))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// The `-o` options in front of the command's name, and the rest of the line. clap itself would forget them where more
/// of them stand behind the name. Behind the word `sendmail` goes a `--`: all that follows belongs to sendmail's own
/// parser, `-oi` and `--` included.
fn split_front(args: Vec<OsString>) -> (Vec<String>, Vec<OsString>) {
    let mut options = Vec::new();
    let mut rest: Vec<OsString> = Vec::new();
    let mut args = args.into_iter().peekable();
    rest.extend(args.next());
    while let Some(arg) = args.next() {
        let text = arg.to_str().unwrap_or_default().to_owned();
        let next = args.peek().and_then(|next| next.to_str()).map(str::to_owned);
        match (text.as_str(), next) {
            ("-o", Some(option)) => {
                options.push(option);
                args.next();
            }
            ("--config", Some(_)) => rest.extend([Some(arg), args.next()].into_iter().flatten()),
            ("sendmail", next) if next.as_deref() != Some("--help") => {
                rest.extend([arg, "--".into()]);
                break;
            }
            (option, _) if option.len() > 2 && option.starts_with("-o") => {
                options.push(option.trim_start_matches("-o").trim_start_matches('=').to_owned());
            }
            (option, _) => {
                rest.push(arg);
                if !option.starts_with('-') {
                    break;
                }
            }
        }
    }
    rest.extend(args);
    (options, rest)
}

/// clap's several lines as one.
fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let used = text.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or("pillarbox");
        let command = used.split(['[', '<']).next().unwrap_or(used).trim();
        return Failure::new(Exit::Usage, format!("a command is missing; `{command} --help` lists them"));
    }
    let said = text.split("\n\nUsage:").next().unwrap_or(&text);
    let said = said.split("\n\nFor more information").next().unwrap_or(said);
    let line = said.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    Failure::new(Exit::Usage, format!("{line} (see --help)"))
}
