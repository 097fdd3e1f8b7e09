//! Dialogue files: what the client says and what the server must answer, one line each.
//!
//! ```text
//! # a comment
//! open mx                  connects to strangers' door (or: open submission)
//! c: EHLO mx.there.example  sends the line with CRLF
//! s: 250 PIPELINING         a reply, one of whose lines begins so
//! r: MAIL FROM:<>\r\nQUIT\r\n   sends exactly these bytes (\r \n \0 \t \\ \xHH)
//! end                       the server closes the connection
//! ```

use super::Server;
use super::wire::Wire;
use std::path::Path;

/// Runs one file against a server; a fault names its line.
pub fn run(file: &Path, server: &Server) {
    let text = std::fs::read_to_string(file).unwrap();
    let mut wire: Option<Wire> = None;
    for (number, line) in text.lines().enumerate() {
        let place = format!("{}:{}: {line}", file.display(), number + 1);
        match line.split_once(": ").unwrap_or((line.trim_end_matches(':'), "")) {
            ("" | "#", _) => {}
            (comment, _) if comment.starts_with('#') => {}
            ("open mx", _) => wire = Some(Wire::connect(server.mx())),
            ("open submission", _) => wire = Some(Wire::connect(server.submission())),
            ("c", said) => {
                opened(&mut wire, &place).say(said);
            }
            ("r", said) => {
                let bytes = unescape(said).unwrap_or_else(|| panic!("{place}: what escape is that?"));
                opened(&mut wire, &place).raw(&bytes);
            }
            ("s", wanted) => {
                let reply = opened(&mut wire, &place).reply();
                assert!(reply.lines().any(|line| line.starts_with(wanted)), "{place}\ngot {reply:?}");
            }
            ("end", _) => opened(&mut wire, &place).expect_end(),
            _ => panic!("{place}: not a line of a dialogue"),
        }
    }
}

fn opened<'a>(wire: &'a mut Option<Wire>, place: &str) -> &'a mut Wire {
    wire.as_mut().unwrap_or_else(|| panic!("{place}: no door is open"))
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => u8::from_str_radix(std::str::from_utf8(&[rest.next()?, rest.next()?]).ok()?, 16).ok()?,
            _ => return None,
        });
    }
    Some(bytes)
}
