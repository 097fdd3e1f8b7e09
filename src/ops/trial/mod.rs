//! `try`: the whole system on loopback, in a temporary directory, by child processes of this very program and the
//! commands that a user would type.

mod cases;
pub mod children;
pub mod dns;
mod letters;
mod report;
mod scratch;
mod town;

use crate::error::{Exit, Failure};
use report::Report;
use scratch::Scratch;
use std::pin::pin;
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};
use town::Town;

/// What `try` may be told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Leaves it running, with lines to paste into mutt, swaks and rsync, until Ctrl-C
    #[arg(long)]
    pub keep: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the trial. Fails unless all eight cases and both letters went as they should.
pub fn run(options: &Options) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let mut interrupted = pin!(interrupted()?);
        let mut town = Town::new(Scratch::new()?)?;
        let outcome = tokio::select! {
            outcome = show(&mut town, options) => outcome,
            () = &mut interrupted => Err(Failure::new(Exit::TempFail, "interrupted")),
        };
        if outcome.is_ok() && options.keep {
            interrupted.await;
        }
        town.close().await;
        if outcome?.ok {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Software,
            "not all went as it should, which is a fault in pillarbox: please report it",
        ))
    })
}

async fn show(town: &mut Town, options: &Options) -> Result<Report, Failure> {
    let start = Instant::now();
    let places = town.build().await?;
    let cases = cases::run(&places).await?;
    let letters = letters::run(&places).await?;
    let report = Report::new(cases, letters);
    if options.json {
        super::print_json(&report)?;
    } else {
        super::print(&report.table(start.elapsed()))?;
    }
    if options.keep {
        let lines = report::lines_to_paste(&places);
        // With --json, stdout is for a program.
        if options.json { eprint!("{lines}") } else { super::print(&lines)? }
    }
    Ok(report)
}

/// Ends when the user has had enough.
fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let watch = |kind| signal(kind).map_err(|error| Failure::new(Exit::OsErr, format!("signals: {error}")));
    let mut interrupt = watch(SignalKind::interrupt())?;
    let mut terminate = watch(SignalKind::terminate())?;
    let mut hangup = watch(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
            _ = hangup.recv() => (),
        }
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::OsErr, format!("cannot start threads: {error}")))
}
