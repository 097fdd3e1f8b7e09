//! The frames of a pull, as `docs/pull-protocol.md` writes them down: what `gate export` says and what home answers.
//!
//! A frame is a kind (one octet), a length (four octets, big-endian) and that many octets. Whatever is unknown,
//! too long, too short or left over is an error that ends the session: neither side guesses.

mod codec;

use codec::{Body, Fields, MAGIC, write_frame, write_numbers};
use std::io::{self, Read, Write};

/// The version of the protocol that this program speaks.
pub const VERSION: u16 = 1;
/// The most octets after a frame's head.
pub const MAX_PAYLOAD: usize = 128 << 10;
/// The most letter numbers in one frame.
pub const MAX_NUMBERS: usize = 4096;

/// Why the other side cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other side closed the connection between two frames.
    #[error("the connection was closed")]
    Closed,
    /// The connection broke within a frame.
    #[error("the connection broke in the middle of a frame")]
    Truncated,
    /// A frame is longer than [`MAX_PAYLOAD`].
    #[error("a frame of {0} octets is too long")]
    TooLong(usize),
    /// A kind of frame that this version does not have.
    #[error(
        "unknown kind of frame 0x{0:02x}; nothing but the gate may write there: does a shell's start-up file?"
    )]
    Unknown(u8),
    /// A frame whose content is not what its kind asks for.
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
    /// A frame that is not in order at this point.
    #[error("out of order: {0}")]
    Order(&'static str),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The head of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterHead {
    /// The letter's number in this session; acknowledgements name it.
    pub number: u64,
    /// The index of its mailbox.
    pub mailbox: u32,
    /// How many octets will follow.
    pub size: u64,
    /// Whether it lies in `cur/` (else in `new/`).
    pub in_cur: bool,
    /// Its file name before the `:`.
    pub base: String,
    /// Its Maildir flags, such as `RS`.
    pub flags: String,
}

/// What the gate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromServer<'a> {
    /// First of all.
    Hello {
        /// The protocol's version.
        version: u16,
        /// What tells this server from every other: 32 lower-case hexadecimal digits.
        server: String,
        /// The server's name, for people.
        hostname: String,
    },
    /// A mailbox of this session, numbered from 0 in order.
    Mailbox {
        /// `domain/local[/topic]`.
        label: String,
        /// How many letters were found.
        letters: u64,
        /// How many octets they have.
        octets: u64,
    },
    /// All mailboxes are named.
    Listed,
    /// A letter begins.
    Letter(LetterHead),
    /// The next octets of the letter.
    Chunk(&'a [u8]),
    /// The letter is whole: the SHA-256 of its octets.
    Whole([u8; 32]),
    /// Forget the letter that began: the reason, or nothing where it was only deleted meanwhile.
    Dropped(String),
    /// All letters were sent.
    Sent,
    /// These letters are gone from the server for good.
    Removed(Vec<u64>),
    /// What was asked for by this name is for certain not on this server.
    Unknown(String),
    /// Something failed that does not stop the rest.
    Trouble(String),
    /// Something failed that ends the session.
    Fault(String),
    /// The end.
    Bye,
}

/// What home says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromHome {
    /// First of all.
    Request {
        /// The protocol's version.
        version: u16,
        /// The wanted addresses; empty: all that the session may have.
        addresses: Vec<String>,
    },
    /// These letters are durable at home: remove them.
    Kept(Vec<u64>),
    /// Nothing more will be acknowledged.
    Done,
}

mod kind {
    pub const HELLO: u8 = 0x01;
    pub const MAILBOX: u8 = 0x02;
    pub const LISTED: u8 = 0x03;
    pub const LETTER: u8 = 0x04;
    pub const CHUNK: u8 = 0x05;
    pub const WHOLE: u8 = 0x06;
    pub const DROPPED: u8 = 0x07;
    pub const SENT: u8 = 0x08;
    pub const REMOVED: u8 = 0x09;
    pub const TROUBLE: u8 = 0x0a;
    pub const FAULT: u8 = 0x0b;
    pub const BYE: u8 = 0x0c;
    pub const UNKNOWN: u8 = 0x0d;
    pub const REQUEST: u8 = 0x41;
    pub const KEPT: u8 = 0x42;
    pub const DONE: u8 = 0x43;
}

/// Reads frames from a buffered stream.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    payload: Vec<u8>,
}

impl<R: Read> FrameReader<R> {
    /// `stream` should be buffered.
    pub fn new(stream: R) -> FrameReader<R> {
        FrameReader { stream, payload: Vec::new() }
    }

    /// The gate's next frame.
    pub fn server_frame(&mut self) -> Result<FromServer<'_>, WireError> {
        let kind = self.frame()?;
        FromServer::decode(kind, &self.payload)
    }

    /// Home's next frame.
    pub fn home_frame(&mut self) -> Result<FromHome, WireError> {
        let kind = self.frame()?;
        FromHome::decode(kind, &self.payload)
    }

    fn frame(&mut self) -> Result<u8, WireError> {
        let mut kind = [0];
        loop {
            match self.stream.read(&mut kind) {
                Ok(0) => return Err(WireError::Closed),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let [kind] = kind;
        // The kind is judged before the length: what comes from something else (a shell's greeting) is named as such.
        if !matches!(kind, kind::HELLO..=kind::UNKNOWN | kind::REQUEST..=kind::DONE) {
            return Err(WireError::Unknown(kind));
        }
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_PAYLOAD {
            return Err(WireError::TooLong(length));
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(length, 0);
        let filled = self.fill(&mut payload);
        self.payload = payload;
        filled?;
        Ok(kind)
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), WireError> {
        self.stream.read_exact(into).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => WireError::Truncated,
            _ => WireError::Io(error),
        })
    }
}

impl FromServer<'_> {
    /// Writes the frame.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            FromServer::Hello { version, server, hostname } => {
                let body = Body::new().raw(MAGIC).raw(&version.to_be_bytes()).text(server).text(hostname);
                body.write(out, kind::HELLO)
            }
            FromServer::Mailbox { label, letters, octets } => {
                Body::new().text(label).u64(*letters).u64(*octets).write(out, kind::MAILBOX)
            }
            FromServer::Listed => Body::new().write(out, kind::LISTED),
            FromServer::Letter(head) => head.body().write(out, kind::LETTER),
            FromServer::Chunk(bytes) => write_frame(out, kind::CHUNK, bytes),
            FromServer::Whole(digest) => write_frame(out, kind::WHOLE, digest),
            FromServer::Dropped(reason) => Body::new().text(reason).write(out, kind::DROPPED),
            FromServer::Sent => Body::new().write(out, kind::SENT),
            FromServer::Removed(numbers) => write_numbers(out, kind::REMOVED, numbers),
            FromServer::Unknown(name) => Body::new().text(name).write(out, kind::UNKNOWN),
            FromServer::Trouble(text) => Body::new().text(text).write(out, kind::TROUBLE),
            FromServer::Fault(text) => Body::new().text(text).write(out, kind::FAULT),
            FromServer::Bye => Body::new().write(out, kind::BYE),
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Result<FromServer<'_>, WireError> {
        if kind == kind::CHUNK {
            return Ok(FromServer::Chunk(payload));
        }
        let mut rest = Fields(payload);
        let frame = match kind {
            kind::HELLO => {
                rest.magic()?;
                FromServer::Hello { version: rest.u16()?, server: rest.text()?, hostname: rest.text()? }
            }
            kind::MAILBOX => {
                FromServer::Mailbox { label: rest.text()?, letters: rest.u64()?, octets: rest.u64()? }
            }
            kind::LISTED => FromServer::Listed,
            kind::LETTER => FromServer::Letter(LetterHead {
                number: rest.u64()?,
                mailbox: rest.u32()?,
                size: rest.u64()?,
                in_cur: rest.flag()?,
                base: rest.text()?,
                flags: rest.text()?,
            }),
            kind::WHOLE => FromServer::Whole(rest.array()?),
            kind::DROPPED => FromServer::Dropped(rest.text()?),
            kind::SENT => FromServer::Sent,
            kind::REMOVED => FromServer::Removed(rest.numbers()?),
            kind::UNKNOWN => FromServer::Unknown(rest.text()?),
            kind::TROUBLE => FromServer::Trouble(rest.text()?),
            kind::FAULT => FromServer::Fault(rest.text()?),
            kind::BYE => FromServer::Bye,
            other => return Err(WireError::Unknown(other)),
        };
        rest.end()?;
        Ok(frame)
    }
}

impl LetterHead {
    fn body(&self) -> Body {
        let body = Body::new().u64(self.number).raw(&self.mailbox.to_be_bytes()).u64(self.size);
        body.raw(&[u8::from(self.in_cur)]).text(&self.base).text(&self.flags)
    }
}

impl FromHome {
    /// Writes the frame, or several where there are more than [`MAX_NUMBERS`] numbers.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            FromHome::Request { version, addresses } => {
                let mut body = Body::new().raw(MAGIC).raw(&version.to_be_bytes());
                for address in addresses {
                    body = body.text(address);
                }
                body.write(out, kind::REQUEST)
            }
            FromHome::Kept(numbers) => write_numbers(out, kind::KEPT, numbers),
            FromHome::Done => Body::new().write(out, kind::DONE),
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Result<FromHome, WireError> {
        let mut rest = Fields(payload);
        let frame = match kind {
            kind::REQUEST => {
                rest.magic()?;
                let version = rest.u16()?;
                let mut addresses = Vec::new();
                while !rest.0.is_empty() {
                    addresses.push(rest.text()?);
                }
                FromHome::Request { version, addresses }
            }
            kind::KEPT => FromHome::Kept(rest.numbers()?),
            kind::DONE => FromHome::Done,
            other => return Err(WireError::Unknown(other)),
        };
        rest.end()?;
        Ok(frame)
    }
}

#[cfg(test)]
mod tests;
