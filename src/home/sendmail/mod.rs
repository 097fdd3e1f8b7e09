//! `sendmail`: takes a letter from any program of this machine, signs it and submits it.
//!
//! What the exit status promises, since mailers act on nothing else: **0** means the letter is no longer the caller's
//! concern: a server has it, or it is durably in the outbox and `pillarbox flush` submits it. **Anything else** means
//! that nobody got the letter and that it is not kept, so the caller may try again without doubling it. A server that
//! cannot be reached, or that says "later", is therefore status 0, with one line on stderr that says so; a refusal for
//! good is 67, 68, 69 or 77 with the server's words.
//!
//! The letter is in the outbox before the first connection is made. A crash, SIGTERM or SIGHUP leaves it there. Ctrl-C
//! takes it out again, unless its final dot was sent: the server may have it then, and only the same nonce tells.

pub mod arguments;
mod compose;
mod identity;
mod input;
mod session;
#[cfg(test)]
mod tests;

use crate::config;
use crate::error::{Exit, Failure};
use crate::home::outbox::{self, Entry, Outbox, Record};
use crate::home::submit::{Submitter, Verdict};
use crate::trust::seal;
use arguments::{Arguments, Mode};
use compose::{Composed, Moment};
use identity::Home;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::Path;

/// The three standard streams.
pub struct Streams<'a> {
    /// The letter, or (`-bs`) what the client says.
    pub input: &'a mut dyn Read,
    /// What was asked for: lists, (`-bs`) replies.
    pub output: &'a mut dyn Write,
    /// Notes, a line each.
    pub errors: &'a mut dyn Write,
}

/// The arguments that a program's name stands for, if it is one of sendmail's: `mailq` is `sendmail -bp`.
pub fn called_as(argv0: &OsStr) -> Option<&'static [&'static str]> {
    match Path::new(argv0).file_name()?.to_str()? {
        // bsd-mailx calls /usr/sbin/sendmail by the name of send-mail.
        "sendmail" | "send-mail" => Some(&[]),
        "mailq" => Some(&["-bp"]),
        "newaliases" => Some(&["-bi"]),
        _ => None,
    }
}

/// Runs `sendmail` with these arguments (without the program's name).
pub fn run(arguments: &[OsString], config: &config::Home, streams: Streams) -> Result<(), Failure> {
    let arguments = arguments::parse(arguments)?;
    match arguments.mode {
        Mode::Letter => {
            let raw = input::read(streams.input, arguments.dot_is_text)?;
            send(&raw, &arguments, config, streams.errors)
        }
        Mode::Session => session::run(config, streams),
        Mode::List => list(config, streams.output),
        Mode::Flush => outbox::flush(config, &[], &mut |tried| {
            let _ = writeln!(streams.errors, "{tried}");
        }),
        Mode::Nothing => Ok(()),
    }
}

/// One letter's way out of the house.
fn send(
    raw: &[u8],
    arguments: &Arguments,
    config: &config::Home,
    errors: &mut dyn Write,
) -> Result<(), Failure> {
    let home = Home::new(config);
    let moment = now()?;
    let Composed { envelope, letter, key } = compose::compose(raw, arguments, &home, &moment)?;
    // Whatever is wrong with the configuration is told before the letter is kept.
    let mut submitter = Submitter::new(config)?;
    let nonce = seal::nonce().map_err(|error| Failure::new(Exit::OsErr, error.to_string()))?;
    let record = Record::new(envelope, nonce, (&key.selector, &key.domain), letter.len() as u64, moment.time);
    let entry = Outbox::at(&config.outbox).store(record, letter)?;
    let mut told: Box<dyn Write> =
        if arguments.verbose { Box::new(&mut *errors) } else { Box::new(std::io::sink()) };
    let verdict = entry.submit(&mut submitter, &key, &mut told);
    drop(told);
    conclude(entry, verdict, arguments.verbose, errors)
}

/// What the verdict means for the letter in the outbox and for whoever called.
fn conclude(
    mut entry: Entry,
    verdict: Verdict,
    verbose: bool,
    errors: &mut dyn Write,
) -> Result<(), Failure> {
    let (why, bound) = match verdict {
        Verdict::Accepted(said) => {
            if verbose {
                let _ = writeln!(errors, "sendmail: sent: {said}");
            }
            // The server has the letter, so what fails here must not look as if it were not sent. An entry that
            // stays behind is submitted again with its old nonce, and queued once.
            if let Err(failure) = entry.remove() {
                let _ = writeln!(errors, "sendmail: sent, but {failure}");
            }
            return Ok(());
        }
        Verdict::Refused(failure) => {
            entry.remove()?;
            return Err(failure);
        }
        Verdict::Interrupted { bound: None } => {
            entry.remove()?;
            return Err(Failure::new(Exit::TempFail, "interrupted; the letter was not sent and is not kept"));
        }
        Verdict::Interrupted { bound } => {
            ("interrupted when the server may already have had it".to_owned(), bound)
        }
        Verdict::Waits { why, bound } => (why, bound),
    };
    entry.record.tries = 1;
    entry.record.said = Some(why.clone());
    entry.record.bound = bound;
    if let Err(failure) = entry.save() {
        // The letter itself is safe: only the note on its first try is not.
        let _ = writeln!(errors, "sendmail: {failure}");
    }
    let _ = writeln!(errors, "sendmail: queued as {}: {why}; pillarbox flush sends it", entry.id);
    Ok(())
}

fn list(config: &config::Home, output: &mut dyn Write) -> Result<(), Failure> {
    let listed = outbox::list(config)?;
    let write = |output: &mut dyn Write| -> std::io::Result<()> {
        if listed.is_empty() {
            writeln!(output, "The outbox is empty")?;
        }
        for letter in &listed {
            writeln!(output, "{letter}")?;
        }
        output.flush()
    };
    write(output).map_err(|error| Failure::new(Exit::IoErr, format!("cannot write the list: {error}")))
}

fn now() -> Result<Moment, Failure> {
    let now = jiff::Zoned::now();
    let random = crate::home::keyring::random()?;
    let utc_offset = now.offset().seconds();
    Ok(Moment { time: now.timestamp().as_second(), utc_offset, random: u128::from_ne_bytes(random) })
}
