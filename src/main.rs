//! argv → a program.

mod cli;

use cli::{AddressCommand, CertCommand, Cli, Command, ExplainArgs, KeyCommand, OutboxCommand, QueueCommand};
use pillarbox::config::{ConfigError, Home, Server, Sources};
use pillarbox::error::{Exit, Failure};
use pillarbox::home::sendmail::Streams;
use pillarbox::relay::orders::Order;
use pillarbox::{gate, home, ops, server, system};
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
    let mut args = std::env::args_os();
    if let Some(first) = args.next().as_deref().and_then(home::sendmail::called_as) {
        let first = first.iter().map(OsString::from);
        return sendmail(&first.chain(args).collect::<Vec<_>>(), &cli::environment());
    }
    let Some(cli) = Cli::read(std::env::args_os())? else { return Ok(()) };
    system::log::start(match cli.command {
        Command::Serve => Some("info"),
        Command::Gate { .. } => Some("warn"),
        _ => None,
    });
    let sources = cli.sources();
    match cli.command {
        Command::Try(options) => ops::trial::run(&options),
        Command::TryDns { zone } => ops::trial::dns::run(&zone),
        Command::FilterHelper { inside } => server::filter::helper::run(inside.as_deref()),
        Command::Serve => server::serve::run(server_config(&sources)?),
        Command::Gate { args } => gate(&args, &server_config(&sources)?),
        Command::Address(command) => address(command, &server_config(&sources)?),
        Command::Key(command) => key(command, &home_config(&sources)?),
        Command::Sendmail { args } => sendmail(&args, &sources),
        Command::Pull { addresses, json, verbose } => {
            home::pull::run(&home_config(&sources)?, &home::pull::Options { addresses, json, verbose })
        }
        Command::Flush { letters, json } => ops::outbox::flush(&home_config(&sources)?, &letters, json),
        Command::Sync { json } => sync(&home_config(&sources)?, json),
        Command::Outbox(OutboxCommand::List { server, json }) => {
            ops::outbox::list(&home_config(&sources)?, json, server)
        }
        Command::Explain(args) => explain(args, &sources),
        Command::Queue(command) => queue(command, &server_config(&sources)?),
        Command::Cert(CertCommand::Status { json }) => ops::cert::status(&server_config(&sources)?, json),
        Command::Cert(CertCommand::Renew { json }) => ops::cert::renew(&server_config(&sources)?, json),
        Command::Completions { shell } => ops::print(&cli::completions(shell)),
        Command::Man { command } => ops::print(&cli::manual(&command)?),
    }
}

fn sendmail(args: &[OsString], sources: &Sources) -> Result<(), Failure> {
    let streams = Streams {
        input: &mut std::io::stdin().lock(),
        output: &mut std::io::stdout().lock(),
        errors: &mut std::io::stderr(),
    };
    home::sendmail::run(args, &home_config(sources)?, streams)
}

fn gate(args: &[String], config: &Server) -> Result<(), Failure> {
    let original = std::env::var_os("SSH_ORIGINAL_COMMAND");
    gate::run(args, original.map(|original| original.to_string_lossy().into_owned()).as_deref(), config)
}

/// What cannot go out does not keep the letters from coming in.
fn sync(config: &Home, json: bool) -> Result<(), Failure> {
    let flushed = ops::outbox::flush(config, &[], json);
    home::pull::run(config, &home::pull::Options { json, ..home::pull::Options::default() })?;
    flushed
}

fn address(command: AddressCommand, config: &Server) -> Result<(), Failure> {
    match command {
        AddressCommand::Add { address, alias_of } => ops::address::add(config, &address, alias_of.as_deref()),
        AddressCommand::List { domain, json } => ops::address::list(config, domain.as_deref(), json),
        AddressCommand::Remove { address } => ops::address::remove(config, &address),
    }
}

fn explain(args: ExplainArgs, sources: &Sources) -> Result<(), Failure> {
    if let Some(id) = args.log {
        return ops::explain::log::run(&ops::explain::log::Asked { id, file: args.log_file }, args.json);
    }
    let door = args.door();
    let asked = ops::explain::Asked {
        from: args.from.unwrap_or_default(),
        to: args.to.unwrap_or_default(),
        door,
        ip: args.ip,
        helo: args.helo,
        message: args.message,
    };
    ops::explain::run(server_config(sources)?, asked, args.json)
}

fn queue(command: QueueCommand, config: &Server) -> Result<(), Failure> {
    let (order, chosen) = match command {
        QueueCommand::List { words, json } => return ops::queue::list(config, &words, json),
        QueueCommand::Show { id, message: true, .. } => return ops::queue::message(config, &id),
        QueueCommand::Show { id, json, .. } => return ops::queue::show(config, &id, json),
        QueueCommand::Retry(chosen) => (Order::Retry, chosen),
        QueueCommand::Hold(chosen) => (Order::Hold, chosen),
        QueueCommand::Release(chosen) => (Order::Release, chosen),
        QueueCommand::Drop(chosen) => (Order::Drop, chosen),
        QueueCommand::Bounce(chosen) => (Order::Bounce, chosen),
    };
    ops::queue::order(
        config,
        order,
        &ops::queue::Chosen { words: chosen.words, all: chosen.all },
        chosen.json,
    )
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

fn server_config(sources: &Sources) -> Result<Server, Failure> {
    Server::load(sources).map_err(misconfigured)
}

fn home_config(sources: &Sources) -> Result<Home, Failure> {
    Home::load(sources).map_err(misconfigured)
}

fn misconfigured(error: ConfigError) -> Failure {
    Failure::new(Exit::Config, error.to_string().trim_end())
}

/// One line on stderr. A configuration error keeps the lines that point at the place.
fn report(failure: &Failure) {
    eprintln!("pillarbox: {failure}");
}
