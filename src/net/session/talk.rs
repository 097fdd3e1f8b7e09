//! Reading and writing for the machine, each with its time.

use super::line::Line;
use crate::error::plainly;
use crate::smtp::client::{Client, Step};
use crate::smtp::data::Stuffer;
use crate::smtp::reply::printable;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

/// How much of the message is sent at once; a small one needs less.
const BLOCK: std::ops::RangeInclusive<usize> = 4 * 1024..=64 * 1024;

/// How much of the replies is read at once.
const REPLIES: usize = 4096;

/// How long a server that stopped taking our octets is listened to, for what it may have said.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long QUIT may take to be written, and the stream to close.
const FAREWELL: Duration = Duration::from_secs(2);

pub(super) struct Talk<S> {
    pub(super) line: Line<S>,
    pub(super) client: Client,
    replies: Vec<u8>,
    /// When the reply that is due is overdue. Octets that complete no reply do not move it, so that a greeting that
    /// drips for ever ends.
    due: Instant,
    /// When all of it is overdue: replies do not move it.
    until: Instant,
    patience: Duration,
}

enum Event {
    Wrote(usize),
    Flushed,
    Read(usize),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    pub(super) fn new(line: Line<S>, client: Client, patience: Duration) -> Talk<S> {
        let now = Instant::now();
        Talk { line, client, replies: vec![0; REPLIES], due: now, until: now, patience }
    }

    /// What follows may take so long over all.
    pub(super) fn allow(&mut self, time: Duration) {
        self.until = Instant::now() + time;
        self.wait_anew();
    }

    pub(super) async fn read(&mut self) {
        match timeout_at(self.due, self.line.read(&mut self.replies)).await {
            Ok(Ok(0)) => self.client.lost(CLOSED),
            Ok(Ok(count)) => self.heard(count),
            Ok(Err(error)) => self.client.lost(&broken(&error)),
            Err(_) if self.due == self.until => self.client.lost(SLOW),
            Err(_) => self.client.lost(&format!("no answer in {:?}", self.timeout())),
        }
    }

    /// Sends the message of about `size` octets, as few blocks as can be. What cannot be read or is not in CRLF form is
    /// left without its dot.
    pub(super) async fn send(&mut self, mut message: impl AsyncRead + Unpin, size: u64) {
        // With room for one octet more than there are, a small letter is seen to its end in one block.
        let room = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(1);
        let room = room.clamp(*BLOCK.start(), *BLOCK.end());
        let (mut block, mut stuffed) = (vec![0; room], Vec::with_capacity(room + room / 16));
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
                self.allow(self.client.timeout());
            }
            self.write(&stuffed).await;
            if last || !self.client.is_waiting() {
                return;
            }
        }
    }

    /// Writes, and meanwhile hears what the server says: it may refuse early and close, and a server that waits for us
    /// to read must not wait for ever. Stops as soon as nothing more is wanted.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) {
        let patience = self.timeout();
        let waiting = self.client.is_waiting();
        let whole = bytes.len();
        loop {
            let limit = self.until.min(Instant::now() + patience);
            match timeout_at(limit, self.read_or_write(bytes)).await {
                Ok(Ok(Event::Wrote(count))) if count > 0 => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    if bytes.is_empty() {
                        self.client.dot_written();
                    }
                }
                Ok(Ok(Event::Flushed)) => break,
                Ok(Ok(Event::Read(count))) if count > 0 => {
                    let early = bytes.len() == whole;
                    self.heard_while_writing(count, early);
                }
                Ok(Ok(_)) => return self.client.lost(CLOSED),
                Ok(Err(error)) => return self.last_words(&error).await,
                Err(_) if limit == self.until => return self.client.lost(SLOW),
                Err(_) => {
                    return self.client.lost(&format!("the server took nothing for {patience:?}"));
                }
            }
            if waiting && !self.client.is_waiting() && !bytes.is_empty() {
                // In the middle of a line or of the message there is no place for QUIT.
                return self.client.lost(CLOSED);
            }
        }
        if self.client.dot_is_out() {
            self.until = Instant::now() + self.client.timeout();
        }
        self.wait_anew();
    }

    /// Whether the session is ready and the server says nothing. It has no business to: what it says unasked is that it
    /// hangs up.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut replies = ReadBuf::new(&mut self.replies);
        let mut cx = Context::from_waker(Waker::noop());
        if self.client.is_ready() && Pin::new(&mut self.line).poll_read(&mut cx, &mut replies).is_ready() {
            self.client.lost(CLOSED);
        }
        self.client.is_ready()
    }

    pub(super) async fn quit(&mut self) {
        self.client.quit();
        if let Step::Write(bytes) = self.client.step() {
            // Whatever comes of it: the outcomes are known.
            let _ = timeout(FAREWELL, async {
                self.line.write_all(&bytes).await?;
                self.line.flush().await
            })
            .await;
        }
        self.close().await;
    }

    pub(super) async fn close(&mut self) {
        let _ = timeout(FAREWELL, self.line.shutdown()).await;
    }

    fn timeout(&self) -> Duration {
        self.client.timeout().min(self.patience)
    }

    fn wait_anew(&mut self) {
        self.due = self.until.min(Instant::now() + self.timeout());
    }

    /// Reads if there is something to read; else writes, and when all is written, flushes.
    async fn read_or_write(&mut self, bytes: &[u8]) -> io::Result<Event> {
        poll_fn(|cx| {
            let mut replies = ReadBuf::new(&mut self.replies);
            let mut line = Pin::new(&mut self.line);
            if let Poll::Ready(read) = line.as_mut().poll_read(cx, &mut replies) {
                return Poll::Ready(read.map(|()| Event::Read(replies.filled().len())));
            }
            match bytes.is_empty() {
                true => line.poll_flush(cx).map_ok(|()| Event::Flushed),
                false => line.poll_write(cx, bytes).map_ok(Event::Wrote),
            }
        })
        .await
    }

    /// A write failed: what the server said before it hung up is a better reason than "broken pipe".
    async fn last_words(&mut self, error: &io::Error) {
        let until = Instant::now() + LAST_WORDS;
        while self.client.is_waiting() {
            match timeout_at(until, self.line.read(&mut self.replies)).await {
                Ok(Ok(count)) if count > 0 => self.heard(count),
                _ => break,
            }
        }
        self.client.lost(&broken(error));
    }

    /// Before a command's first octet is written there is nothing that could be answered, however it is worded: a farewell
    /// of 5xx is no refusal of the letter that comes behind it.
    fn heard_while_writing(&mut self, count: usize, early: bool) {
        if early && !self.client.is_sending() {
            let said = String::from_utf8_lossy(self.replies.get(..count).unwrap_or_default());
            let quote = printable(said.trim_end(), QUOTE);
            return self.client.lost(&format!("the server spoke before it was asked (\"{quote}\")"));
        }
        self.heard(count);
    }

    fn heard(&mut self, count: usize) {
        let replies = self.client.replies();
        self.client.feed(self.replies.get(..count).unwrap_or_default());
        if self.client.replies() != replies {
            self.wait_anew();
        }
    }
}

/// How much of a server's words is quoted.
const QUOTE: usize = 200;
const CLOSED: &str = "the server closed the connection";
const SLOW: &str = "the server was too slow over all";

fn broken(error: &io::Error) -> String {
    format!("the connection broke ({})", plainly(error))
}

pub(super) fn unreadable(error: &io::Error) -> String {
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
