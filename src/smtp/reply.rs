//! Replies: what we say, spelled with enhanced codes (RFC 3463, 2034), and what others said.

pub mod reader;
pub mod say;

use std::fmt;

/// A reply, one line of text or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// The enhanced status code, `(class, subject, detail)`.
    pub enhanced: Option<(u8, u16, u16)>,
    /// The text, without code; lines are separated by `\n`.
    pub text: String,
}

/// The longest line of a reply that we send, without CRLF (RFC 5321 section 4.5.3.1.5 allows 512 octets with it).
const LINE: usize = 510;

impl Reply {
    /// A reply with an enhanced code; its class is the first digit of `code`.
    pub fn new(code: u16, subject: u16, detail: u16, text: impl Into<String>) -> Reply {
        Reply { code, enhanced: Some(((code / 100) as u8, subject, detail)), text: text.into() }
    }

    /// A reply without an enhanced code: greetings, EHLO's and 354 have none (RFC 2034 section 4).
    pub fn plain(code: u16, text: impl Into<String>) -> Reply {
        Reply { code, enhanced: None, text: text.into() }
    }

    /// 2xx or 3xx.
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// 5xx.
    pub fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// Appends the reply as it goes over the wire: each line with the codes, printable ASCII only (anything else is
    /// written `\x{…}` as in RFC 6533), long lines broken at a space.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let enhanced = match self.enhanced {
            // RFC 2034 section 4: there is no class 3, so 354 has no enhanced code.
            Some((class @ (2 | 4 | 5), subject, detail)) => format!("{class}.{subject}.{detail} "),
            _ => String::new(),
        };
        let room = LINE - 4 - enhanced.len();
        let mut lines = Vec::new();
        for line in self.text.split('\n') {
            fold(&ascii(line), room, &mut lines);
        }
        let last = lines.len().saturating_sub(1);
        for (n, line) in lines.iter().enumerate() {
            let separator = if n == last { ' ' } else { '-' };
            out.extend_from_slice(format!("{}{separator}{enhanced}{line}\r\n", self.code).as_bytes());
        }
    }
}

/// On one line, as for a log: `550 5.1.1 no such address`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some((class, subject, detail)) = self.enhanced {
            write!(f, " {class}.{subject}.{detail}")?;
        }
        if !self.text.is_empty() {
            write!(f, " {}", self.text.replace('\n', " "))?;
        }
        Ok(())
    }
}

fn ascii(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for c in line.chars() {
        match c {
            ' '..='~' => text.push(c),
            _ if c.is_ascii_control() => text.push(' '),
            _ => text.push_str(&format!("\\x{{{:X}}}", u32::from(c))),
        }
    }
    text
}

/// Breaks ASCII `line` into pieces of at most `room` octets, at spaces where there are any.
fn fold(mut line: &str, room: usize, into: &mut Vec<String>) {
    while line.len() > room {
        let at = line[..room].rfind(' ').filter(|at| *at > 0).unwrap_or(room);
        into.push(line[..at].to_owned());
        line = line[at..].trim_start_matches(' ');
    }
    into.push(line.to_owned());
}

/// What a stranger said, made fit for a log, a terminal or a report: control characters, invisible and
/// direction-changing ones become `?`, and it is cut at `limit` characters.
pub fn printable(text: &str, limit: usize) -> String {
    let harmless = |c: char| match c {
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => '?',
        _ if c.is_control() => '?',
        _ => c,
    };
    let mut kept: String = text.chars().take(limit).map(harmless).collect();
    if text.chars().nth(limit).is_some() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reply: Reply) -> String {
        let mut out = Vec::new();
        reply.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_line_carries_the_codes() {
        assert_eq!(
            wire(Reply::new(550, 1, 1, "no such address\nask someone")),
            "550-5.1.1 no such address\r\n550 5.1.1 ask someone\r\n"
        );
        assert_eq!(wire(Reply::new(354, 0, 0, "go on")), "354 go on\r\n");
        assert_eq!(wire(Reply::plain(220, "mx.example")), "220 mx.example\r\n");
    }

    #[test]
    fn text_cannot_break_out_of_its_line() {
        assert_eq!(wire(Reply::new(550, 0, 0, "a\r250 ok\0é")), "550 5.0.0 a 250 ok \\x{E9}\r\n");
    }

    #[test]
    fn long_lines_are_broken() {
        let text = wire(Reply::new(550, 7, 1, "word ".repeat(300)));
        assert!(text.lines().count() > 2);
        assert!(text.split_inclusive("\r\n").all(|line| line.len() <= 512));
        let unbroken = wire(Reply::new(550, 7, 1, "x".repeat(2000)));
        assert!(unbroken.split_inclusive("\r\n").all(|line| line.len() <= 512));
        assert_eq!(unbroken.matches('x').count(), 2000);
    }

    #[test]
    fn a_stranger_cannot_paint_our_terminal() {
        assert_eq!(printable("a\x1b[31m\u{202e}b", 100), "a?[31m?b");
        assert_eq!(printable("abcdef", 3), "abc…");
        assert_eq!(printable("abc", 3), "abc");
    }
}
