//! LF, CRLF or a mixture become CRLF.

use std::borrow::Cow;

/// Makes every line end with CRLF, the last one too. A carriage return that no line feed follows stays where it is:
/// `encode` hides it in a body and refuses it in a header.
pub fn normalize_line_ends(input: &[u8]) -> Cow<'_, [u8]> {
    let mut lines = input.split_inclusive(|b| *b == b'\n');
    if lines.all(|line| line.ends_with(b"\r\n")) {
        return Cow::Borrowed(input);
    }
    let mut ends = LineEnds::default();
    let mut out = Vec::with_capacity(input.len() + input.len() / 32 + 2);
    ends.push(input, &mut out);
    ends.finish(&mut out);
    Cow::Owned(out)
}

/// The same for input that comes in pieces, wherever they were cut.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineEnds {
    last: Option<u8>,
}

impl LineEnds {
    /// Takes a piece and appends what it becomes.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for line in piece.split_inclusive(|b| *b == b'\n') {
            match line.strip_suffix(b"\n") {
                None => out.extend_from_slice(line),
                Some(text) => {
                    out.extend_from_slice(text);
                    let before = text.last().copied().or(self.last);
                    out.extend_from_slice(if before == Some(b'\r') { b"\n" } else { b"\r\n" });
                }
            }
            self.last = line.last().copied();
        }
    }

    /// Ends the last line, if it was left open.
    pub fn finish(self, out: &mut Vec<u8>) {
        if !matches!(self.last, None | Some(b'\n')) {
            out.extend_from_slice(b"\r\n");
        }
    }
}
