//! Dialogue files on a real wire: `tests/dialogues/wire/`, in the words of `tests/dialogues/README.md`.
//!
//! - `door: mx` (or `submission`) opens a connection.
//! - `c: text` sends a line with CRLF; `\r \n \0 \xHH \\` are escapes, a `\` at the end leaves the CRLF out.
//! - `s: text` reads a reply, one of whose lines begins so.
//! - `closed`: the server closes the connection. `#` begins a comment.

use super::Server;
use super::wire::Wire;
use std::path::Path;

/// Runs one file against a server; a fault names its line.
pub fn run(file: &Path, server: &Server) {
    let text = std::fs::read_to_string(file).unwrap();
    let mut wire: Option<Wire> = None;
    for (number, line) in text.lines().enumerate() {
        let place = format!("{}:{}: {line}", file.display(), number + 1);
        let (word, rest) = line.split_once(':').unwrap_or((line, ""));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match word {
            "" => {}
            comment if comment.starts_with('#') => {}
            "door" if rest == "mx" => wire = Some(Wire::connect(server.mx())),
            "door" if rest == "submission" => wire = Some(Wire::connect(server.submission())),
            "c" => {
                let bytes = unescape(rest).unwrap_or_else(|| panic!("{place}: what escape is that?"));
                opened(&mut wire, &place).raw(&bytes);
            }
            "s" => {
                let reply = opened(&mut wire, &place).reply();
                assert!(reply.lines().any(|line| line.starts_with(rest)), "{place}\ngot {reply:?}");
            }
            "closed" => opened(&mut wire, &place).expect_end(),
            _ => panic!("{place}: not a line of a dialogue"),
        }
    }
}

fn opened<'a>(wire: &'a mut Option<Wire>, place: &str) -> &'a mut Wire {
    wire.as_mut().unwrap_or_else(|| panic!("{place}: no door is open"))
}

/// The bytes of a line from the client.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let (text, end) = match text.strip_suffix('\\') {
        Some(open) if !open.ends_with('\\') => (open, ""),
        _ => (text, "\r\n"),
    };
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
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => u8::from_str_radix(std::str::from_utf8(&[rest.next()?, rest.next()?]).ok()?, 16).ok()?,
            _ => return None,
        });
    }
    bytes.extend_from_slice(end.as_bytes());
    Some(bytes)
}
