//! Makes any letter fit to be signed and to travel everywhere: 7-bit lines of at most 998 octets, CRLF only.
//!
//! A server on the way that re-encodes a letter breaks its signature, so it is done here, before signing. Header
//! fields get encoded-words (RFC 2047) and parameters by RFC 2231; leaf parts get quoted-printable or base64.

mod body;
mod fields;
mod fold;
mod mime;
mod params;
mod words;

use super::header::LINE_MAX;
use std::borrow::Cow;

/// A letter that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded<'a> {
    /// The letter; borrowed when nothing had to be changed.
    pub bytes: Cow<'a, [u8]>,
    /// Whether its header still holds UTF-8 (local parts that are not ASCII), so that it needs SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
}

/// Why a letter cannot be made to fit; one line that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EncodeError(pub String);

/// Encodes a letter that has CRLF line ends (`complete::normalize_line_ends`). One that fits already comes back byte
/// for byte. A lone CR, a lone LF or a NUL is encoded in a body and an error in a header. What somebody else has
/// signed (`multipart/signed`) is never changed: if it does not fit, that is an error.
pub fn encode(message: &[u8]) -> Result<Encoded<'_>, EncodeError> {
    if is_plain(message) {
        return Ok(Encoded { bytes: Cow::Borrowed(message), smtputf8: false });
    }
    let mut out = Vec::with_capacity(message.len() + message.len() / 8);
    let smtputf8 = mime::encode_message(message, &mut out)?;
    if !has_plain_lines(&out) || !(smtputf8 || out.is_ascii()) {
        return Err(EncodeError(
            "a line of the letter cannot be brought to 998 octets of 7 bits; send it as an attachment".into(),
        ));
    }
    Ok(Encoded { bytes: Cow::Owned(out), smtputf8 })
}

/// Whether there are only 7-bit lines of at most 998 octets with CRLF ends and no NUL. Several fast passes, since most
/// letters are plain, and large ones too.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.is_ascii() && has_plain_lines(bytes)
}

fn has_plain_lines(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && has_only_crlf(bytes) && has_short_lines(bytes)
}

/// As many CRs as LFs as pairs of them: no lone one. Sums of octets in short chunks, which compilers vectorise.
fn has_only_crlf(bytes: &[u8]) -> bool {
    const CHUNK: usize = u8::MAX as usize;
    let count = |wanted: u8| -> usize {
        let in_chunk = |chunk: &[u8]| usize::from(chunk.iter().map(|b| u8::from(*b == wanted)).sum::<u8>());
        bytes.chunks(CHUNK).map(in_chunk).sum()
    };
    let next = bytes.get(1..).unwrap_or_default();
    let pairs: usize = bytes
        .chunks(CHUNK)
        .zip(next.chunks(CHUNK))
        .map(|(a, b)| {
            usize::from(a.iter().zip(b).map(|(a, b)| u8::from((*a == b'\r') & (*b == b'\n'))).sum::<u8>())
        })
        .sum();
    count(b'\n') == pairs && count(b'\r') == pairs
}

/// From each line's start it looks for the *last* line end within reach, so it reads only a part of the octets.
fn has_short_lines(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while rest.len() > LINE_MAX {
        let reach = &rest[..rest.len().min(LINE_MAX + 2)];
        match reach.iter().rposition(|b| *b == b'\n') {
            Some(end) => rest = &rest[end + 1..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests;
