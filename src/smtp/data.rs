//! The message after DATA: dots undone and stuffed, line ends strict (RFC 5321 section 2.3.8 and 4.5.2).

use std::fmt;

/// What makes a message unfit for SMTP. Strictness here is what defeats SMTP smuggling: no two servers that hold to it
/// can see different ends of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A CR that no LF follows.
    LoneCr,
    /// An LF with no CR before it.
    LoneLf,
    /// A NUL octet.
    Nul,
}

/// Fit for a reply, behind "the letter has …".
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::LoneCr => "a CR without an LF behind it",
            Fault::LoneLf => "an LF without a CR before it",
            Fault::Nul => "a NUL octet",
        })
    }
}

/// One piece of what came after DATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A slice of the message.
    Body(&'a [u8]),
    /// The final dot.
    End,
    /// Nothing can be said before more octets come.
    More,
}

/// Facts about a message whose final dot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndOfData {
    /// Octets, dot-stuffing undone.
    pub size: u64,
    /// The longest line, without CRLF.
    pub longest_line: usize,
    /// Whether any octet was above 127.
    pub eight_bit: bool,
    /// Whether one behind the header was, that is behind the first empty line.
    pub eight_bit_body: bool,
}

/// Reads a dot-stuffed message up to `CRLF . CRLF`, and to nothing that only resembles it.
#[derive(Clone, Debug)]
pub struct Reader {
    line_start: bool,
    line: usize,
    longest_line: usize,
    size: u64,
    eight_bit: bool,
    eight_bit_body: bool,
    header: Header,
    fault: Option<Fault>,
}

/// Where the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    /// Before the empty line.
    Within,
    /// The header ended so many octets into what was scanned last.
    EndedAt(usize),
    Behind,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader::new()
    }
}

impl Reader {
    /// A reader that stands behind `DATA CRLF`, so at the start of a line.
    pub fn new() -> Reader {
        Reader {
            line_start: true,
            line: 0,
            longest_line: 0,
            size: 0,
            eight_bit: false,
            eight_bit_body: false,
            header: Header::Within,
            fault: None,
        }
    }

    /// Takes the next piece off the front of `input`; gives how many octets are done with, and the piece. What is not
    /// done with (at most `.` and CR) must stand in front of the next input. A body slice is as long as it can be: it
    /// ends where the input ends or where a dot is taken out.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> (usize, Piece<'a>) {
        let from = match (self.line_start, input) {
            (true, [b'.', b'\r', b'\n', ..]) => return (3, Piece::End),
            (true, [b'.'] | [b'.', b'\r']) => return (0, Piece::More),
            (true, [b'.', ..]) => {
                self.line_start = false;
                1
            }
            _ => 0,
        };
        let to = self.scan(input, from);
        if to == from {
            return (from, Piece::More);
        }
        let body = &input[from..to];
        self.size += body.len() as u64;
        if !self.eight_bit_body {
            self.look_for_eight_bits(&input[..to], from);
        }
        (to, Piece::Body(body))
    }

    /// Octets of body so far, stuffed dots not counted.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What is known so far.
    pub fn facts(&self) -> EndOfData {
        EndOfData {
            size: self.size,
            longest_line: self.longest_line.max(self.line),
            eight_bit: self.eight_bit,
            eight_bit_body: self.eight_bit_body,
        }
    }

    /// The first fault, if there was one.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Walks on from `at` to the next line that begins with a dot, to a CR whose successor is not known yet, or to the
    /// end.
    fn scan(&mut self, input: &[u8], mut at: usize) -> usize {
        loop {
            let rest = &input[at..];
            if self.line_start && rest.first() == Some(&b'.') {
                return at;
            }
            let Some(text) = memchr::memchr3(b'\r', b'\n', 0, rest) else {
                self.walk(rest.len());
                return input.len();
            };
            self.walk(text);
            at += text;
            match (input[at], input.get(at + 1)) {
                (b'\r', None) => return at,
                (b'\r', Some(b'\n')) => {
                    if self.line == 0 && self.header == Header::Within {
                        self.header = Header::EndedAt(at + 2);
                    }
                    self.longest_line = self.longest_line.max(self.line);
                    self.line = 0;
                    self.line_start = true;
                    at += 2;
                }
                (octet, _) => {
                    self.fault = self.fault.or(Some(match octet {
                        b'\r' => Fault::LoneCr,
                        b'\n' => Fault::LoneLf,
                        _ => Fault::Nul,
                    }));
                    self.walk(1);
                    at += 1;
                }
            }
        }
    }

    fn look_for_eight_bits(&mut self, scanned: &[u8], from: usize) {
        let body_at = match self.header {
            Header::Within => scanned.len(),
            Header::EndedAt(at) => {
                self.header = Header::Behind;
                at
            }
            Header::Behind => from,
        };
        self.eight_bit_body = !scanned[body_at..].is_ascii();
        self.eight_bit = self.eight_bit || self.eight_bit_body || !scanned[from..body_at].is_ascii();
    }

    fn walk(&mut self, octets: usize) {
        if octets > 0 {
            self.line += octets;
            self.line_start = false;
        }
    }
}

/// The message cannot be sent: it has a lone CR or LF. Never to be ended with a dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is not in CRLF form: it has {0}")]
pub struct NotCrlf(pub Fault);

/// Makes a message fit for DATA: doubles dots at line starts, ends it with CRLF . CRLF, and never emits a lone CR or LF.
#[derive(Clone, Debug)]
pub struct Stuffer {
    line_start: bool,
    cr: bool,
}

impl Default for Stuffer {
    fn default() -> Stuffer {
        Stuffer::new()
    }
}

impl Stuffer {
    /// At the start of a message.
    pub fn new() -> Stuffer {
        Stuffer { line_start: true, cr: false }
    }

    /// Appends the next slice of the message to `out`, stuffed. After an error `out` must not be sent.
    pub fn push(&mut self, mut slice: &[u8], out: &mut Vec<u8>) -> Result<(), NotCrlf> {
        if self.cr && !slice.is_empty() {
            slice = slice.strip_prefix(b"\n").ok_or(NotCrlf(Fault::LoneCr))?;
            self.end_line(out);
        }
        while !slice.is_empty() {
            if self.line_start && slice[0] == b'.' {
                out.push(b'.');
            }
            let text = memchr::memchr2(b'\r', b'\n', slice).unwrap_or(slice.len());
            out.extend_from_slice(&slice[..text]);
            self.line_start = false;
            slice = match &slice[text..] {
                [] => return Ok(()),
                [b'\r'] => {
                    self.cr = true;
                    return Ok(());
                }
                [b'\r', b'\n', rest @ ..] => {
                    self.end_line(out);
                    rest
                }
                [b'\r', ..] => return Err(NotCrlf(Fault::LoneCr)),
                _ => return Err(NotCrlf(Fault::LoneLf)),
            };
        }
        Ok(())
    }

    /// Appends the end: CRLF if the last line lacks it, and the dot.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), NotCrlf> {
        if self.cr {
            return Err(NotCrlf(Fault::LoneCr));
        }
        if !self.line_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
        Ok(())
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.line_start = true;
        self.cr = false;
    }
}

#[cfg(test)]
mod tests;
