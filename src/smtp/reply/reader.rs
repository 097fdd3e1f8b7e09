//! Reads the replies of a server that may be broken or hostile.

use super::{Reply, printable};

/// The longest line of a reply; RFC 5321 section 4.5.3.1.5 has 512, some servers put a story there.
const LINE: usize = 4096;

/// The most lines and octets of one reply.
const LINES: usize = 1000;
const OCTETS: usize = 64 * 1024;

/// How much of a stranger's words is quoted.
const QUOTE: usize = 200;

/// How much of a reply's text is kept.
const KEPT: usize = 4000;

/// What a server said is no reply; the sentence quotes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAReply(pub String);

/// Takes octets, gives replies. Text that comes out has no control characters.
#[derive(Clone, Debug, Default)]
pub struct ReplyReader {
    octets: Vec<u8>,
    /// Of the reply that is being read.
    code: Option<u16>,
    lines: Vec<String>,
    size: usize,
}

impl ReplyReader {
    /// Takes octets that were read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.octets.extend_from_slice(bytes);
    }

    /// Whether everything that was fed was taken out as replies.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty() && self.lines.is_empty()
    }

    /// The next whole reply, if there is one. After an error the connection is of no use.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, NotAReply> {
        let mut start = 0;
        let found = loop {
            let rest = &self.octets[start..];
            let Some(lf) = memchr::memchr(b'\n', rest) else {
                let endless = rest.len() > LINE;
                break if endless { Err(fault("has a line without end", rest)) } else { Ok(None) };
            };
            let line = rest[..lf].to_vec();
            start += lf + 1;
            match self.line(&line) {
                Ok(None) => {}
                other => break other,
            }
        };
        self.octets.drain(..start);
        found
    }

    /// Takes one line; gives the reply that it completes. A missing CR is forgiven: there is nothing to smuggle here.
    fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, NotAReply> {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let (code, last, text) = split(text).ok_or_else(|| fault("is no SMTP reply", line))?;
        self.size += line.len();
        if line.len() > LINE || self.lines.len() >= LINES || self.size > OCTETS {
            return Err(fault("is too long", line));
        }
        if *self.code.get_or_insert(code) != code {
            return Err(fault("changes its code from line to line", line));
        }
        self.lines.push(printable(&String::from_utf8_lossy(text), KEPT));
        if !last {
            return Ok(None);
        }
        self.code = None;
        self.size = 0;
        Ok(Some(reply(code, std::mem::take(&mut self.lines))))
    }
}

/// Code, whether it is the last line, text.
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (code, rest) = line.split_first_chunk::<3>()?;
    let digits = matches!(code, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']);
    let number = code.iter().fold(0, |number, digit| number * 10 + u16::from(digit.wrapping_sub(b'0')));
    let (last, text) = match rest {
        [] => (true, rest),
        [b' ', text @ ..] => (true, text),
        [b'-', text @ ..] => (false, text),
        _ => return None,
    };
    digits.then_some((number, last, text))
}

/// Takes the enhanced code off the lines, where each line that has one has the same.
fn reply(code: u16, lines: Vec<String>) -> Reply {
    let enhanced = lines.first().and_then(|line| enhanced(line, code)).map(|(enhanced, _)| enhanced);
    let bare = |line: &String| match self::enhanced(line, code) {
        Some((own, text)) if Some(own) == enhanced => text.to_owned(),
        _ => line.clone(),
    };
    let text = lines.iter().map(bare).collect::<Vec<_>>().join("\n");
    let text = match text.char_indices().nth(KEPT) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    };
    Reply { code, enhanced, text }
}

/// `5.1.1 text`, where the class agrees with the code.
fn enhanced(line: &str, code: u16) -> Option<((u8, u16, u16), &str)> {
    let (status, text) = line.split_once(' ').unwrap_or((line, ""));
    let mut parts = status.split('.');
    let mut number = |digits: usize| {
        let part = parts.next()?;
        let fits = (1..=digits).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_digit());
        part.parse::<u16>().ok().filter(|_| fits)
    };
    let (class, subject, detail) = (number(1)?, number(3)?, number(3)?);
    let agrees = parts.next().is_none() && class == code / 100 && matches!(class, 2 | 4 | 5);
    agrees.then_some(((class as u8, subject, detail), text))
}

fn fault(what: &str, line: &[u8]) -> NotAReply {
    let quote = &line[..line.len().min(4 * QUOTE)];
    let quote = printable(String::from_utf8_lossy(quote).trim_end(), QUOTE);
    NotAReply(format!("what the server said {what}: \"{quote}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Reply>, NotAReply> {
        let mut reader = ReplyReader::default();
        reader.feed(text.as_bytes());
        let mut replies = Vec::new();
        while let Some(reply) = reader.next_reply()? {
            replies.push(reply);
        }
        Ok(replies)
    }

    #[test]
    fn replies_of_one_line_and_of_several() {
        let replies = read("250-mx.example\r\n250-SIZE 10\r\n250 DSN\r\n250\r\n550 5.1.1 no\n").unwrap();
        assert_eq!(replies[0], Reply::plain(250, "mx.example\nSIZE 10\nDSN"));
        assert_eq!(replies[1], Reply::plain(250, ""));
        assert_eq!(replies[2], Reply::new(550, 1, 1, "no"));
    }

    #[test]
    fn enhanced_codes_are_taken_off_each_line_and_only_if_they_agree() {
        assert_eq!(read("550-5.7.1 no\r\n550 5.7.1 way\r\n").unwrap()[0], Reply::new(550, 7, 1, "no\nway"));
        assert_eq!(read("550 2.0.0 odd\r\n").unwrap()[0], Reply::plain(550, "2.0.0 odd"));
        assert_eq!(read("220 1.2.3.4 ready\r\n").unwrap()[0], Reply::plain(220, "1.2.3.4 ready"));
    }

    #[test]
    fn what_is_no_reply_is_quoted_and_harmless() {
        for text in
            ["SSH-2.0-OpenSSH\r\n", "2x0 ok\r\n", "150 hm\r\n", "25\r\n", "250_ok\r\n", "\r\n", "999 x\r\n"]
        {
            let error = read(text).unwrap_err().0;
            assert!(error.contains(text.trim_end()), "{error}");
        }
        assert!(read("250-a\r\n550 b\r\n").unwrap_err().0.contains("changes its code"));
        assert_eq!(read("550 \x1b]0;x\x07\r\n").unwrap()[0].text, "?]0;x?");
        let error = read(&format!("evil \x1b[2J{}\r\n", "x".repeat(3000))).unwrap_err().0;
        assert!(error.len() < 300 && !error.contains('\x1b'), "{error}");
    }

    #[test]
    fn endless_replies_end() {
        assert!(read(&"x".repeat(LINE + 1)).is_err());
        assert!(read(&format!("250 {}\r\n", "x".repeat(LINE))).is_err());
        assert!(read(&"220-hello\r\n".repeat(LINES + 1)).is_err());
        assert!(read(&format!("220-{}\r\n", "x".repeat(4000)).repeat(17)).is_err());
        assert_eq!(read(&"220-hello\r\n".repeat(900)).unwrap(), []);
    }

    #[test]
    fn split_at_any_octet_they_are_the_same() {
        let text = "250-5.0.0 mx\r\n250-SIZE\r\n250 ok\r\n354 go\r\n421 4.3.2 bye\r\n";
        let whole = read(text).unwrap();
        for at in 0..text.len() {
            let (mut reader, mut replies) = (ReplyReader::default(), Vec::new());
            for part in [&text[..at], &text[at..]] {
                reader.feed(part.as_bytes());
                while let Some(reply) = reader.next_reply().unwrap() {
                    replies.push(reply);
                }
            }
            assert_eq!(replies, whole, "split at {at}");
        }
    }
}
