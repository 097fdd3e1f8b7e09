//! argv → a program.

mod cli;

use cli::{AddressCommand, Cli, Command, KeyCommand};
use pillarbox::config::{ConfigError, Home, Server, Sources};
use pillarbox::error::{Exit, Failure};
use pillarbox::{gate, home, ops, system};
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut args = std::env::args_os().peekable();
    if args.peek().is_some_and(|name| Path::new(name).file_name() == Some(OsStr::new("sendmail"))) {
        return Err(Failure::new(Exit::Unavailable, "sendmail"));
    }
    let Some(cli) = Cli::read(args)? else { return Ok(()) };
    system::log::start(match cli.command {
        Command::Serve => Some("info"),
        Command::Gate { .. } => Some("warn"),
        _ => None,
    });
    let sources = cli.sources();
    match cli.command {
        Command::Try(options) => ops::trial::run(&options),
        Command::TryDns { zone } => ops::trial::dns::run(&zone),
        Command::Address(command) => address(command, &server(&sources)?),
        Command::Key(command) => key(command, &home(&sources)?),
        Command::Gate { args } => {
            let original = std::env::var("SSH_ORIGINAL_COMMAND").ok();
            gate::run(&args, original.as_deref(), &server(&sources)?)
        }
        Command::Pull { addresses, json, verbose } => {
            let options = home::pull::Options { addresses, json, verbose };
            home::pull::run(&home(&sources)?, &options)
        }
        Command::Completions { shell } => ops::print(&cli::completions(shell)),
        Command::Man { command } => ops::print(&cli::manual(&command)?),
        Command::Serve => pillarbox::server::serve::run(server(&sources)?),
        _ => Err(Failure::new(Exit::Unavailable, "to be wired")),
    }
}

fn address(command: AddressCommand, config: &Server) -> Result<(), Failure> {
    match command {
        AddressCommand::Add { address, alias_of } => ops::address::add(config, &address, alias_of.as_deref()),
        AddressCommand::List { domain, json } => ops::address::list(config, domain.as_deref(), json),
        AddressCommand::Remove { address } => ops::address::remove(config, &address),
    }
}

fn key(command: KeyCommand, config: &Home) -> Result<(), Failure> {
    match command {
        KeyCommand::New { address, selector, no_ed25519 } => {
            ops::key::new(config, &address, selector.as_deref(), !no_ed25519)
        }
        KeyCommand::Show { address, json } => ops::key::show(config, &address, json),
        KeyCommand::List { json } => ops::key::list(config, json),
    }
}

fn server(sources: &Sources) -> Result<Server, Failure> {
    Server::load(sources).map_err(misconfigured)
}

fn home(sources: &Sources) -> Result<Home, Failure> {
    Home::load(sources).map_err(misconfigured)
}

fn misconfigured(error: ConfigError) -> Failure {
    Failure::new(Exit::Config, error.to_string().trim_end())
}

/// One line on stderr. A configuration error keeps the lines that point at the place.
fn report(failure: &Failure) {
    eprintln!("pillarbox: {failure}");
}
