//! The asking end of the control socket.

use super::socket_in;
use super::wire::{Answer, MAX_ANSWER, Request};
use crate::certs::orders::Outcome;
use crate::error::{Exit, Failure};
use crate::relay::orders::{Destination, Done, Order};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a server may think about an order for 100,000 letters.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long it may take to take a request.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Gives an order to the running server; none: no server runs. Empty `words` mean everything.
pub fn order(state_dir: &Path, order: Order, words: &[String]) -> Result<Option<Vec<Done>>, Failure> {
    let mut done = Vec::new();
    let asked = ask(state_dir, &Request::Order { order, words: words.to_vec() }, |answer| {
        let Answer::Done(one) = answer else { return false };
        done.push(one);
        true
    })?;
    Ok(asked.then_some(done))
}

/// What the running server knows of its destinations; none: no server runs.
pub fn destinations(state_dir: &Path) -> Result<Option<Vec<Destination>>, Failure> {
    let mut found = Vec::new();
    let asked = ask(state_dir, &Request::Destinations, |answer| {
        let Answer::Destination(one) = answer else { return false };
        found.push(one);
        true
    })?;
    Ok(asked.then_some(found))
}

/// Has the running server renew its certificates, or read their files again, however long it takes; none: no server runs.
pub fn renew(state_dir: &Path) -> Result<Option<Vec<Outcome>>, Failure> {
    let mut outcomes = Vec::new();
    let asked = ask(state_dir, &Request::Renew, |answer| match answer {
        Answer::Renewed(one) => {
            outcomes.push(one);
            true
        }
        answer => answer == Answer::Working,
    })?;
    Ok(asked.then_some(outcomes))
}

/// Whether there was a server to ask. `take` says whether a line belongs to the answer.
fn ask(state_dir: &Path, request: &Request, mut take: impl FnMut(Answer) -> bool) -> Result<bool, Failure> {
    let path = socket_in(state_dir);
    let failed = |why: String| Failure::new(Exit::TempFail, format!("{}: {why}", path.display()));
    let line = request.to_line().map_err(|why| Failure::new(Exit::Usage, why))?;
    let mut stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Ok(false);
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let text = format!("{}: {error}; run it as root, or as the server's user", path.display());
            return Err(Failure::new(Exit::NoPerm, text));
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    let sent = stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(SEND_TIMEOUT)))
        .and_then(|()| stream.write_all(&line));
    match sent {
        // What it said before it hung up is still to be read.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(failed(error.to_string())),
        _ => {}
    }
    let mut lines = BufReader::new(stream);
    loop {
        match next(&mut lines).map_err(|error| failed(error.to_string()))? {
            Answer::End => return Ok(true),
            Answer::Fault(why) => return Err(failed(why)),
            answer if take(answer.clone()) => {}
            answer => return Err(failed(format!("an answer to something else: {answer:?}"))),
        }
    }
}

fn next(lines: &mut impl BufRead) -> io::Result<Answer> {
    let mut line = Vec::new();
    lines.take(MAX_ANSWER as u64).read_until(b'\n', &mut line)?;
    match line.last() {
        Some(b'\n') => Ok(serde_json::from_slice(&line)?),
        _ => Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            "the answer broke off; the server's log may say why",
        )),
    }
}
