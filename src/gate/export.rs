//! `gate export`: serves a pull on stdin and stdout (`docs/pull-protocol.md`). Letters are sent without waiting;
//! acknowledgements are read and letters removed on a thread of its own, which writes nothing, so that the two sides
//! can never wait for each other in a circle.

mod identity;
mod source;

use super::Allowed;
use crate::config;
use crate::error::{Exit, Failure};
use crate::net::export::{FrameReader, FromHome, FromServer, LetterHead, MAX_PAYLOAD, VERSION, WireError};
use crate::store::export::Exported;
use crate::store::tree::Mailbox;
use aws_lc_rs::digest;
use source::{Selected, Source};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError, mpsc};

/// What pipes to and from ssh are asked to hold; more than that is not to be had without privileges.
const PIPE: usize = 1 << 20;

/// Serves one pull.
pub(super) fn run(allowed: &Allowed, config: &config::Server) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(Exit::TempFail, format!("gate export: {error}"));
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(failed)?);
    for pipe in [&stdin, &stdout] {
        // Only a matter of speed, and not every transport is a pipe.
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE);
    }
    let mut output = BufWriter::with_capacity(MAX_PAYLOAD, stdout);
    match Source::open(allowed, config) {
        Ok((source, server)) => {
            serve(&source, &server, &config.hostname, BufReader::new(stdin), output).map_err(Failure::from)
        }
        Err(failure) => {
            let text = failure.message.clone();
            let said = FromServer::Fault(text).write_to(&mut output).and_then(|()| output.flush());
            said.map_err(failed)?;
            Err(failure)
        }
    }
}

/// Why a pull ended early.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    /// Home does not keep to the protocol, or is gone.
    #[error("home: {0}")]
    Home(#[from] WireError),
    /// What home could be told, and was.
    #[error("{0}")]
    Told(String),
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Failure {
        let exit = match error {
            ServeError::Home(WireError::Io(_) | WireError::Closed | WireError::Truncated) => Exit::TempFail,
            ServeError::Home(_) => Exit::Protocol,
            ServeError::Told(_) => Exit::TempFail,
        };
        Failure::new(exit, format!("gate export: {error}"))
    }
}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> ServeError {
        ServeError::Home(WireError::Io(error))
    }
}

/// The letters that home has not acknowledged yet: number → mailbox and letter.
type Outstanding = Mutex<HashMap<u64, (usize, Exported)>>;

/// What the reader of acknowledgements has to say to the sender.
enum Event {
    Removed(Vec<u64>),
    Trouble(String),
    Ended(Result<(), WireError>),
}

/// The whole session.
fn serve(
    source: &Source,
    server: &str,
    hostname: &str,
    input: impl Read + Send,
    mut output: impl Write,
) -> Result<(), ServeError> {
    let hello = FromServer::Hello { version: VERSION, server: server.into(), hostname: hostname.into() };
    hello.write_to(&mut output)?;
    output.flush()?;
    let mut input = FrameReader::new(input);
    let wanted = match request(&mut input) {
        Ok(wanted) => wanted,
        Err(error) => return tell(&mut output, error),
    };
    let Selected { mailboxes, unknown, troubles } = match source.select(&wanted) {
        Ok(selected) => selected,
        Err(text) => return tell(&mut output, ServeError::Told(text)),
    };
    for name in unknown {
        FromServer::Unknown(name).write_to(&mut output)?;
    }
    for trouble in troubles {
        FromServer::Trouble(trouble).write_to(&mut output)?;
    }
    let lists = announce(source, &mailboxes, &mut output)?;

    let outstanding = Outstanding::default();
    let (events, inbox) = mpsc::channel();
    std::thread::scope(|scope| {
        let (outstanding, mailboxes) = (&outstanding, &mailboxes);
        scope.spawn(move || {
            let ended = acknowledgements(source, mailboxes, outstanding, &mut input, &events);
            // The sender may be gone already, if writing failed.
            let _ = events.send(Event::Ended(ended));
        });
        let mut sender =
            Sender { source, outstanding, inbox, output, chunk: vec![0; MAX_PAYLOAD], number: 0 };
        sender.session(mailboxes, lists)
    })
}

fn request(input: &mut FrameReader<impl Read>) -> Result<Vec<String>, ServeError> {
    match input.home_frame()? {
        FromHome::Request { version: VERSION, addresses } => Ok(addresses),
        FromHome::Request { version, .. } => Err(ServeError::Told(format!(
            "home speaks version {version} of the pull protocol, this server {VERSION}: install the same pillarbox on both"
        ))),
        _ => Err(WireError::Order("a request comes first").into()),
    }
}

/// Tells home why the session ends, if it can still hear it.
fn tell(output: &mut impl Write, error: ServeError) -> Result<(), ServeError> {
    let _ = FromServer::Fault(error.to_string()).write_to(output).and_then(|()| output.flush());
    Err(error)
}

/// Names the mailboxes and counts their letters; one that cannot be read is empty, and trouble.
fn announce(
    source: &Source,
    mailboxes: &[Mailbox],
    output: &mut impl Write,
) -> Result<Vec<Vec<Exported>>, ServeError> {
    let mut lists = Vec::with_capacity(mailboxes.len());
    for mailbox in mailboxes {
        let list = match source.list(mailbox) {
            Ok(list) => list,
            Err(error) => {
                FromServer::Trouble(error.to_string()).write_to(output)?;
                Vec::new()
            }
        };
        let octets = list.iter().map(|letter| letter.size).sum();
        let letters = list.len() as u64;
        FromServer::Mailbox { label: mailbox.label.clone(), letters, octets }.write_to(output)?;
        lists.push(list);
    }
    FromServer::Listed.write_to(output)?;
    output.flush()?;
    Ok(lists)
}

/// Reads acknowledgements and removes what they name, until home is done.
fn acknowledgements(
    source: &Source,
    mailboxes: &[Mailbox],
    outstanding: &Outstanding,
    input: &mut FrameReader<impl Read>,
    events: &mpsc::Sender<Event>,
) -> Result<(), WireError> {
    loop {
        let numbers = match input.home_frame()? {
            FromHome::Kept(numbers) => numbers,
            FromHome::Done => return Ok(()),
            FromHome::Request { .. } => return Err(WireError::Order("a second request")),
        };
        for (index, letters) in by_mailbox(outstanding, &numbers)? {
            let Some(mailbox) = mailboxes.get(index) else { continue };
            let (numbers, letters): (Vec<u64>, Vec<Exported>) = letters.into_iter().unzip();
            let event = match source.remove(mailbox, &letters) {
                Ok(()) => Event::Removed(numbers),
                Err(error) => Event::Trouble(error.to_string()),
            };
            // The sender may be gone already, if writing failed; what is acknowledged is removed all the same.
            let _ = events.send(event);
        }
    }
}

/// Takes the named letters out of `outstanding`. A number that was not sent, or was named before, is not forgiven:
/// letters are removed on such words.
fn by_mailbox(
    outstanding: &Outstanding,
    numbers: &[u64],
) -> Result<BTreeMap<usize, Vec<(u64, Exported)>>, WireError> {
    let mut outstanding = outstanding.lock().unwrap_or_else(PoisonError::into_inner);
    let mut sorted: BTreeMap<usize, Vec<(u64, Exported)>> = BTreeMap::new();
    for number in numbers {
        let (mailbox, letter) =
            outstanding.remove(number).ok_or(WireError::Order("an acknowledgement of what was not sent"))?;
        sorted.entry(mailbox).or_default().push((*number, letter));
    }
    Ok(sorted)
}

struct Sender<'a, W: Write> {
    source: &'a Source,
    outstanding: &'a Outstanding,
    inbox: mpsc::Receiver<Event>,
    output: W,
    chunk: Vec<u8>,
    number: u64,
}

impl<W: Write> Sender<'_, W> {
    fn session(&mut self, mailboxes: &[Mailbox], lists: Vec<Vec<Exported>>) -> Result<(), ServeError> {
        for (index, (mailbox, list)) in mailboxes.iter().zip(lists).enumerate() {
            for letter in list {
                self.letter(index, mailbox, letter)?;
                while let Ok(event) = self.inbox.try_recv() {
                    if self.pass_on(event)? {
                        return Err(WireError::Order("home was done before all letters were sent").into());
                    }
                }
            }
        }
        FromServer::Sent.write_to(&mut self.output)?;
        self.output.flush()?;
        while let Ok(event) = self.inbox.recv() {
            if self.pass_on(event)? {
                break;
            }
            self.output.flush()?;
        }
        FromServer::Bye.write_to(&mut self.output)?;
        self.output.flush()?;
        Ok(())
    }

    /// Whether this was the last event.
    fn pass_on(&mut self, event: Event) -> Result<bool, ServeError> {
        match event {
            Event::Removed(numbers) => FromServer::Removed(numbers).write_to(&mut self.output)?,
            Event::Trouble(text) => FromServer::Trouble(text).write_to(&mut self.output)?,
            Event::Ended(Ok(())) => return Ok(true),
            Event::Ended(Err(error)) => {
                tell(&mut self.output, error.into())?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends one letter. One that is gone meanwhile is passed over; one that cannot be read stops no other.
    fn letter(&mut self, index: usize, mailbox: &Mailbox, letter: Exported) -> Result<(), ServeError> {
        let file = match self.source.open_letter(mailbox, &letter) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(()),
            Err(error) => {
                FromServer::Trouble(error.to_string()).write_to(&mut self.output)?;
                return Ok(());
            }
        };
        let number = self.number;
        self.number += 1;
        FromServer::Letter(LetterHead {
            number,
            mailbox: u32::try_from(index).unwrap_or(u32::MAX),
            size: letter.size,
            in_cur: letter.in_cur,
            base: letter.base.clone(),
            flags: flags(&letter),
        })
        .write_to(&mut self.output)?;
        match self.contents(file, letter.size)? {
            Ok(digest) => {
                // Before the frame that allows home to acknowledge it.
                let mut outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
                outstanding.insert(number, (index, letter));
                drop(outstanding);
                FromServer::Whole(digest).write_to(&mut self.output)?;
            }
            Err(reason) => FromServer::Dropped(format!("{}/{}: {reason}", mailbox.label, letter.base))
                .write_to(&mut self.output)?,
        }
        Ok(())
    }

    /// Sends the octets; the inner error is the letter's, the outer one the connection's.
    fn contents(&mut self, mut file: File, size: u64) -> Result<Result<[u8; 32], String>, ServeError> {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut left = size;
        loop {
            let read = match file.read(&mut self.chunk) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Err(error.to_string())),
            };
            let bytes = self.chunk.get(..read).unwrap_or_default();
            if read as u64 > left || (read == 0 && left > 0) {
                return Ok(Err("its size changed while it was read; it waits for the next pull".into()));
            }
            if read == 0 {
                break;
            }
            left -= read as u64;
            hash.update(bytes);
            FromServer::Chunk(bytes).write_to(&mut self.output)?;
        }
        let digest = hash.finish();
        Ok(digest.as_ref().try_into().map_err(|_| "SHA-256 has not 32 octets".into()))
    }
}

/// The letters of `2,RS`; another kind of info, or what is no flag in it, does not go home.
fn flags(letter: &Exported) -> String {
    let info = letter.flags.as_deref().and_then(|info| info.strip_prefix("2,")).unwrap_or_default();
    info.chars().filter(char::is_ascii_alphabetic).collect()
}

#[cfg(test)]
mod tests;
