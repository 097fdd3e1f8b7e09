//! argv → a program.

mod cli;

use cli::{AddressCommand, Cli, Command, KeyCommand, OutboxCommand};
use pillarbox::config::{ConfigError, Home, Server, Sources};
use pillarbox::error::{Exit, Failure};
use pillarbox::{gate, home, ops, system};
use std::ffi::OsString;
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
    if let Some(first) = args.peek().and_then(|name| home::sendmail::called_as(name)) {
        let arguments: Vec<_> = first.iter().map(OsString::from).chain(args.skip(1)).collect();
        return sendmail(&arguments, &home(&cli::environment())?);
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
        Command::Pull { addresses } => {
            let options = home::pull::Options { addresses, ..Default::default() };
            home::pull::run(&home(&sources)?, &options)
        }
        Command::Sendmail { args } => sendmail(&args, &home(&sources)?),
        Command::Flush { letters } => flush(&home(&sources)?, &letters),
        Command::Sync => {
            let config = home(&sources)?;
            // What waits here must not keep home what waits there.
            let flushed = flush(&config, &[]);
            home::pull::run(&config, &home::pull::Options::default())?;
            flushed
        }
        Command::Outbox(OutboxCommand::List { json }) => outbox(&home(&sources)?, json),
        Command::Completions { shell } => ops::print(&cli::completions(shell)),
        Command::Man { command } => ops::print(&cli::manual(&command)?),
        Command::Serve => pillarbox::server::serve::run(server(&sources)?),
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

fn sendmail(arguments: &[OsString], config: &Home) -> Result<(), Failure> {
    let (mut input, mut output, mut errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let streams = home::sendmail::Streams { input: &mut input, output: &mut output, errors: &mut errors };
    home::sendmail::run(arguments, config, streams)
}

fn flush(config: &Home, letters: &[String]) -> Result<(), Failure> {
    home::outbox::flush(config, letters, &mut std::io::stderr())
}

fn outbox(config: &Home, json: bool) -> Result<(), Failure> {
    let letters = home::outbox::list(config)?;
    if json {
        return ops::print_json(&letters);
    }
    let lines: Vec<String> = letters.iter().map(|letter| format!("{letter}\n")).collect();
    ops::print(&lines.concat())
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
