//! What came and is not done with yet, as lines or as raw octets.

/// The longest command line with its CRLF: 512 of RFC 5321 section 4.5.3.1.4 and room for the parameters of SMTPUTF8
/// and DSN.
pub(super) const LINE: usize = 2048;

/// Idle connections do not keep the room that a message took.
const IDLE: usize = 4096;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its CRLF.
    Text(Vec<u8>),
    /// Its end is a bare LF, or it has a CR or NUL inside.
    Bare,
    /// It was longer than `LINE`; it is read past.
    TooLong,
    /// It begins as no line of SMTP can. It is not taken out: it may have no end.
    Foreign,
}

#[derive(Debug, Default)]
pub(super) struct Input {
    octets: Vec<u8>,
    start: usize,
    /// A line too long is being read past; whether it had a bare CR or NUL.
    passing: Option<bool>,
}

impl Input {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.octets.drain(..self.start);
        self.start = 0;
        self.octets.extend_from_slice(bytes);
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        *self = Input::default();
    }

    pub(super) fn rest(&self) -> &[u8] {
        self.octets.get(self.start..).unwrap_or_default()
    }

    /// Marks the first `count` octets of `rest` as done with; gives where they are.
    pub(super) fn take(&mut self, count: usize) -> std::ops::Range<usize> {
        let from = self.start;
        self.start = (from + count).min(self.octets.len());
        from..self.start
    }

    pub(super) fn at(&self, range: std::ops::Range<usize>) -> &[u8] {
        self.octets.get(range).unwrap_or_default()
    }

    /// The next whole line, if there is one. The same octets give the same lines however they were fed.
    pub(super) fn line(&mut self) -> Option<Line> {
        if self.passing.is_none() && self.rest().first().is_some_and(|octet| !may_begin(*octet)) {
            return Some(Line::Foreign);
        }
        match memchr::memchr(b'\n', self.rest()) {
            Some(lf) => Some(self.whole_line(lf)),
            None => {
                self.pass_on();
                None
            }
        }
    }

    fn whole_line(&mut self, lf: usize) -> Line {
        let range = self.take(lf + 1);
        let line = self.at(range.start..range.start + lf);
        let text = line.strip_suffix(b"\r");
        let bare = !text.is_some_and(clean);
        match self.passing {
            _ if self.passing == Some(true) || bare => {
                self.passing = None;
                Line::Bare
            }
            Some(_) => {
                self.passing = None;
                Line::TooLong
            }
            None if lf + 1 > LINE => Line::TooLong,
            None => Line::Text(text.unwrap_or_default().to_vec()),
        }
    }

    /// No line end in sight: what is too long already is not kept, but for a final CR, which may be half of the end.
    fn pass_on(&mut self) {
        let rest = self.rest();
        if rest.is_empty() && self.octets.capacity() > IDLE {
            self.octets = Vec::new();
            self.start = 0;
        } else if self.passing.is_some() || rest.len() >= LINE {
            let done = rest.strip_suffix(b"\r").unwrap_or(rest);
            let (bad, count) = (!clean(done), done.len());
            self.passing = Some(bad || self.passing == Some(true));
            self.take(count);
        }
    }
}

/// No verb of SMTP is beyond ASCII or begins with a control character; what does is TLS, SOCKS or worse.
fn may_begin(octet: u8) -> bool {
    octet.is_ascii() && (!octet.is_ascii_control() || matches!(octet, b'\r' | b'\n' | b'\t'))
}

fn clean(text: &[u8]) -> bool {
    memchr::memchr2(b'\r', 0, text).is_none()
}
