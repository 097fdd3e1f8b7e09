//! Drives the client's session over any stream.

use crate::smtp::client::{Client, Outcome, Request, Step};
use crate::smtp::data::Stuffer;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

/// How much of the message is sent at once.
const BLOCK: usize = 64 * 1024;

/// How much of the replies is read at once.
const REPLIES: usize = 4096;

/// How long a server that stopped taking our octets is listened to, for what it may have said.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long the stream may take to close.
const FAREWELL: Duration = Duration::from_secs(2);

/// Performs one transaction over `stream`. Once the greeting is read, `open` is given the name that the server calls
/// itself (home seals for exactly that server) and returns the message, which is read to its end: CRLF lines, not
/// dot-stuffed. Faults of the stream are fates, not errors.
///
/// Our side of the stream is closed at the end. The reply to QUIT is not waited for.
pub async fn exchange<S, M>(
    stream: &mut S,
    request: Request,
    open: impl FnOnce(&str) -> std::io::Result<M>,
) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    M: AsyncRead + Unpin,
{
    exchange_within(Duration::MAX, stream, request, open).await
}

/// As `exchange`, and no single wait takes longer than `patience`: somebody sits in front of it.
pub async fn exchange_within<S, M>(
    patience: Duration,
    stream: &mut S,
    request: Request,
    open: impl FnOnce(&str) -> std::io::Result<M>,
) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    M: AsyncRead + Unpin,
{
    let mut talk = Talk::new(stream, request, patience);
    let (mut open, mut message) = (Some(open), None);
    let outcome = loop {
        match talk.client.step() {
            Step::Write(bytes) => {
                talk.write(&bytes).await;
                // The envelope is on its way: while it travels, the message is made.
                if let Some(name) = talk.client.server_name()
                    && let Some(open) = open.take()
                {
                    match open(name) {
                        Ok(opened) => message = Some(opened),
                        Err(error) => talk.client.lost(&unreadable(&error)),
                    }
                }
            }
            Step::Read => talk.read().await,
            Step::SendMessage => match message.take() {
                Some(message) => talk.send(message).await,
                None => talk.client.lost("there is no message to send"),
            },
            Step::Done(outcome) => break outcome,
        }
    };
    // Whatever comes of it: the outcome is known.
    let _ = timeout(FAREWELL, talk.stream.shutdown()).await;
    outcome
}

struct Talk<'a, S: ?Sized> {
    stream: &'a mut S,
    client: Client,
    replies: Vec<u8>,
    /// When the reply that is due is overdue. Octets that complete no reply do not move it, so that a greeting that
    /// drips for ever ends.
    due: Instant,
    patience: Duration,
}

enum Event {
    Wrote(usize),
    Read(usize),
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin + ?Sized> Talk<'a, S> {
    fn new(stream: &'a mut S, request: Request, patience: Duration) -> Talk<'a, S> {
        let client = Client::new(request);
        let mut talk = Talk { stream, client, replies: vec![0; REPLIES], due: Instant::now(), patience };
        talk.wait_anew();
        talk
    }

    fn timeout(&self) -> Duration {
        self.client.timeout().min(self.patience)
    }

    fn wait_anew(&mut self) {
        self.due = Instant::now() + self.timeout();
    }

    async fn read(&mut self) {
        match timeout_at(self.due, self.stream.read(&mut self.replies)).await {
            Ok(Ok(0)) => self.client.lost(CLOSED),
            Ok(Ok(count)) => self.heard(count),
            Ok(Err(error)) => self.client.lost(&broken(&error)),
            Err(_) => self.client.lost(&format!("no answer in {:?}", self.timeout())),
        }
    }

    /// Sends the message, as few blocks as can be. What cannot be read or is not in CRLF form is left without its dot.
    async fn send(&mut self, mut message: impl AsyncRead + Unpin) {
        let (mut block, mut stuffed) = (vec![0; BLOCK], Vec::new());
        let mut stuffer = Stuffer::new();
        loop {
            let count = match fill(&mut message, &mut block).await {
                Ok(count) => count,
                Err(error) => return self.client.lost(&unreadable(&error)),
            };
            let last = count < block.len();
            stuffed.clear();
            let mut fit = stuffer.push(&block[..count], &mut stuffed);
            if last {
                fit = fit.and_then(|()| std::mem::take(&mut stuffer).finish(&mut stuffed));
            }
            if let Err(fault) = fit {
                return self.client.lost(&fault.to_string());
            }
            if last {
                self.client.dot_begun();
            }
            self.write(&stuffed).await;
            if last || self.client.is_over() {
                return;
            }
        }
    }

    /// Writes, and meanwhile hears what the server says: it may refuse early and close, and a server that waits for us
    /// to read must not wait for ever. Stops as soon as nothing more is wanted.
    async fn write(&mut self, mut bytes: &[u8]) {
        let patience = self.timeout();
        let over = self.client.is_over();
        while !bytes.is_empty() {
            match timeout(patience, self.read_or_write(bytes)).await {
                Ok(Ok(Event::Wrote(count))) if count > 0 => bytes = bytes.get(count..).unwrap_or_default(),
                Ok(Ok(Event::Read(count))) if count > 0 => self.heard(count),
                Ok(Ok(_)) => return self.client.lost(CLOSED),
                Ok(Err(error)) => return self.last_words(&error).await,
                Err(_) => {
                    return self.client.lost(&format!("the server took nothing for {patience:?}"));
                }
            }
            if self.client.is_over() && !over {
                // In the middle of a line or of the message there is no place for QUIT.
                return self.client.lost(CLOSED);
            }
        }
        if let Err(error) = self.stream.flush().await {
            self.client.lost(&broken(&error));
        }
        self.wait_anew();
    }

    async fn read_or_write(&mut self, bytes: &[u8]) -> io::Result<Event> {
        poll_fn(|cx| {
            let mut replies = ReadBuf::new(&mut self.replies);
            if let Poll::Ready(read) = Pin::new(&mut *self.stream).poll_read(cx, &mut replies) {
                return Poll::Ready(read.map(|()| Event::Read(replies.filled().len())));
            }
            Pin::new(&mut *self.stream).poll_write(cx, bytes).map_ok(Event::Wrote)
        })
        .await
    }

    /// A write failed: what the server said before it hung up is a better reason than "broken pipe".
    async fn last_words(&mut self, error: &io::Error) {
        let until = Instant::now() + LAST_WORDS;
        while !self.client.is_over() {
            match timeout_at(until, self.stream.read(&mut self.replies)).await {
                Ok(Ok(count)) if count > 0 => self.heard(count),
                _ => break,
            }
        }
        self.client.lost(&broken(error));
    }

    fn heard(&mut self, count: usize) {
        let replies = self.client.replies();
        self.client.feed(self.replies.get(..count).unwrap_or_default());
        if self.client.replies() != replies {
            self.wait_anew();
        }
    }
}

const CLOSED: &str = "the server closed the connection";

fn broken(error: &io::Error) -> String {
    format!("the connection broke ({error})")
}

fn unreadable(error: &io::Error) -> String {
    format!("the message cannot be read ({error})")
}

/// Reads until `block` is full or the message ends.
async fn fill(message: &mut (impl AsyncRead + Unpin), block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match message.read(&mut block[filled..]).await? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
