//! Transfer encodings of a leaf part (RFC 2045 section 6).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The longest line of an encoded body.
const LINE: usize = 76;

/// Quoted-printable. CRLF stays a line end; a lone CR or LF, a NUL and white space at a line's end are encoded.
pub(super) fn quoted_printable(body: &[u8], out: &mut Vec<u8>) {
    let mut rest = body;
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n");
        quoted_line(&rest[..end.unwrap_or(rest.len())], out);
        match end {
            None => return,
            Some(end) => {
                out.extend_from_slice(b"\r\n");
                rest = &rest[end + 2..];
            }
        }
    }
}

fn quoted_line(line: &[u8], out: &mut Vec<u8>) {
    let mut column = 0;
    for (at, octet) in line.iter().enumerate() {
        let last = at + 1 == line.len();
        let literal = match octet {
            b' ' | b'\t' => !last,
            // Nothing that encoding brings to a line's start may look like a boundary.
            b'-' if column == 0 => !line[at..].starts_with(b"--") || &line[at..] == b"-- ",
            b'=' => false,
            octet => octet.is_ascii_graphic(),
        };
        let width = if literal { 1 } else { 3 };
        if column + width > LINE - 1 {
            out.extend_from_slice(b"=\r\n");
            column = 0;
            // Judged again, now at a line's start.
            if line[at..].starts_with(b"--") {
                out.extend_from_slice(b"=2D");
                column = 3;
                continue;
            }
        }
        if literal {
            out.push(*octet);
        } else {
            out.extend_from_slice(&escaped(*octet));
        }
        column += width;
    }
}

fn escaped(octet: u8) -> [u8; 3] {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    [b'=', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]
}

/// Undoes quoted-printable; what is none stays as it is.
pub(super) fn unquoted(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.iter().position(|b| *b == b'=') {
        out.extend_from_slice(&rest[..at]);
        let behind = &rest[at + 1..];
        let blank = behind.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let digit = |n: usize| behind.get(n).and_then(|b| char::from(*b).to_digit(16));
        if behind[blank..].starts_with(b"\r\n") {
            rest = &behind[blank + 2..];
        } else if let (Some(high), Some(low)) = (digit(0), digit(1)) {
            out.push((high * 16 + low) as u8);
            rest = &behind[2..];
        } else {
            out.push(b'=');
            rest = behind;
        }
    }
    out.extend_from_slice(rest);
    out
}

/// Base64 in lines.
pub(super) fn base64(body: &[u8], out: &mut Vec<u8>) {
    wrap(STANDARD.encode(body).as_bytes(), out);
}

/// Base64 that somebody wrote in lines too long or with other octets strewn in, which readers ignore.
pub(super) fn rewrapped_base64(body: &[u8], out: &mut Vec<u8>) {
    let is_ours = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let letters: Vec<u8> = body.iter().copied().filter(is_ours).collect();
    wrap(&letters, out);
}

fn wrap(letters: &[u8], out: &mut Vec<u8>) {
    for line in letters.chunks(LINE) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
}
