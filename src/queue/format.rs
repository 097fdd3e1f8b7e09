//! An entry's file, and that of its state.
//!
//! The file of an entry is a line of fixed length (version, the lengths of what follows, whether the message has octets
//! above 127, and a digest of this line and the next), the envelope as one line of JSON, and the message. It is written
//! once, the first line last. The state is JSON and is replaced as a whole; where it is missing nobody was tried yet.
//! A version that is higher than ours was written by a later pillarbox.

use super::{Entry, EntryId, NewEntry, Once, RecipientState};
use crate::mail::envelope::Envelope;
use crate::smtp::Door;
use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;
const MAGIC: &str = "pillarbox ";
/// Octets of the first line.
pub(super) const HEADER: usize = 73;
/// Octets of the longest envelope that is written or read; that of the most recipients is far below this.
pub(super) const MAX_ENVELOPE: usize = 16 << 20;

#[derive(Serialize, Deserialize)]
struct EnvelopeLine {
    id: EntryId,
    #[serde(with = "DoorName")]
    door: Door,
    arrived: i64,
    junk: bool,
    envelope: Envelope,
    once: Option<Once>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Door", rename_all = "lowercase")]
enum DoorName {
    Mx,
    Submission,
}

#[derive(Deserialize)]
struct Spent {
    once: Once,
}

#[derive(Serialize, Deserialize)]
struct StateFile {
    version: u32,
    recipients: Vec<RecipientState>,
}

#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
}

/// Why a file of an entry cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FormatError {
    /// It was written by a later version of the program; there is nothing wrong with it.
    Newer(u32),
    /// It is damaged.
    Damaged(String),
}

fn damaged<T>(why: impl Into<String>) -> Result<T, FormatError> {
    Err(FormatError::Damaged(why.into()))
}

/// The second line of an entry.
pub(super) fn envelope_line(id: EntryId, new: &NewEntry) -> Vec<u8> {
    to_json(&EnvelopeLine {
        id,
        door: new.door,
        arrived: new.arrived,
        junk: new.junk,
        envelope: new.envelope.clone(),
        once: new.once.clone(),
    })
}

/// The first line of an entry whose second one is `envelope` and whose message has `size` octets.
pub(super) fn header_line(envelope: &[u8], size: u64, eight_bit: bool) -> Vec<u8> {
    let bits = if eight_bit { 8 } else { 7 };
    let plain = format!("{MAGIC}{VERSION} {:08} {size:016} {bits} ", envelope.len());
    format!("{plain}{}\n", digest(plain.as_bytes(), envelope)).into_bytes()
}

/// What the first line says.
pub(super) struct Header {
    /// Octets of the second line.
    pub(super) envelope: usize,
    size: u64,
    eight_bit: bool,
}

impl Header {
    /// Reads the first line of what `text` begins with. Its digest is looked at by `read_entry`.
    pub(super) fn read(text: &[u8]) -> Result<Header, FormatError> {
        let Some(words) = text.strip_prefix(MAGIC.as_bytes()) else { return damaged("it is no queue entry") };
        let version = words.split(|&octet| octet == b' ').next().and_then(number);
        match version.map(u32::try_from) {
            Some(Ok(version)) if version > VERSION => return Err(FormatError::Newer(version)),
            Some(Ok(VERSION)) => {}
            _ => return damaged("its first line has no version"),
        }
        let line = text.get(..HEADER).and_then(|line| line.strip_suffix(b"\n"));
        let mut words = line.unwrap_or_default().split(|&octet| octet == b' ').skip(2);
        let mut next = || words.next().and_then(number);
        match (next(), next(), next()) {
            (Some(envelope), Some(size), Some(bits @ (7 | 8))) if envelope <= MAX_ENVELOPE as u64 => {
                Ok(Header { envelope: envelope as usize, size, eight_bit: bits == 8 })
            }
            _ => damaged("its first line is torn"),
        }
    }

    /// Octets in front of the message.
    pub(super) fn message_at(&self) -> usize {
        HEADER + self.envelope
    }
}

fn number(word: &[u8]) -> Option<u64> {
    let digits = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(word).ok()?.parse().ok())?
}

/// The entry as its own file gives it: nobody was tried yet. `text` has the first two lines at least; `length` is that
/// of the file.
pub(super) fn read_entry(id: EntryId, text: &[u8], length: u64) -> Result<Entry, FormatError> {
    let header = Header::read(text)?;
    let (Some(first), Some(envelope)) = (text.get(..HEADER), text.get(HEADER..header.message_at())) else {
        return damaged(format!("it ends after {length} octets, within its envelope"));
    };
    if first != header_line(envelope, header.size, header.eight_bit) {
        return damaged("the digest of its envelope is another one");
    }
    let line: EnvelopeLine =
        serde_json::from_slice(envelope).map_err(|error| FormatError::Damaged(error.to_string()))?;
    if line.id != id {
        return damaged(format!("its envelope is that of {}", line.id));
    }
    if line.envelope.recipients.is_empty() {
        return damaged("its envelope has no recipient");
    }
    let message = length.saturating_sub(header.message_at() as u64);
    if message != header.size {
        return damaged(format!("its message has {message} octets, not {}", header.size));
    }
    Ok(Entry {
        id,
        door: line.door,
        arrived: line.arrived,
        junk: line.junk,
        recipients: line.envelope.recipients.iter().cloned().map(RecipientState::new).collect(),
        envelope: line.envelope,
        once: line.once,
        size: header.size,
        eight_bit: header.eight_bit,
    })
}

/// The marks in a damaged entry, where its second line can still be read.
pub(super) fn salvage(text: &[u8]) -> Option<Once> {
    let line = text.get(HEADER..)?.split(|&octet| octet == b'\n').next()?;
    serde_json::from_slice::<Spent>(line).ok().map(|spent| spent.once)
}

pub(super) fn state_file(entry: &Entry) -> Vec<u8> {
    to_json(&StateFile { version: VERSION, recipients: entry.recipients.clone() })
}

/// Puts the states that `text` holds into the entry.
pub(super) fn read_state(entry: &mut Entry, text: &[u8]) -> Result<(), FormatError> {
    let unreadable = |error: serde_json::Error| FormatError::Damaged(format!("its state: {error}"));
    let AnyVersion { version } = serde_json::from_slice(text).map_err(unreadable)?;
    if version > VERSION {
        return Err(FormatError::Newer(version));
    }
    let file: StateFile = serde_json::from_slice(text).map_err(unreadable)?;
    let who = file.recipients.iter().map(|state| &state.recipient);
    if !who.eq(&entry.envelope.recipients) {
        return damaged("its state is that of other recipients");
    }
    entry.recipients = file.recipients;
    Ok(())
}

/// The first half of a SHA-256, in hex.
fn digest(first: &[u8], second: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(first);
    context.update(second);
    context.finish().as_ref().iter().take(16).map(|octet| format!("{octet:02x}")).collect()
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    // Nothing here can fail to be JSON: the maps have string keys, and no serializer of ours returns an error.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_has_its_length_whatever_it_says() {
        for (envelope, size) in [(0, 0), (MAX_ENVELOPE, 9_999_999_999_999_999)] {
            let line = header_line(&vec![b'x'; envelope], size, true);
            assert_eq!(line.len(), HEADER);
            let header = Header::read(&line).ok().unwrap();
            assert_eq!((header.envelope, header.size, header.eight_bit), (envelope, size, true));
        }
    }

    #[test]
    fn a_later_version_is_known_whatever_its_line_looks_like() {
        assert!(matches!(Header::read(b"pillarbox 2 {"), Err(FormatError::Newer(2))));
        assert!(matches!(Header::read(b"pillarbox 17 "), Err(FormatError::Newer(17))));
        for text in [&b""[..], b"pillarbox", b"pillarbox \0", b"pillarbox 0 1", b"pillarbox 1 1 1", &[0; 100]]
        {
            assert!(matches!(Header::read(text), Err(FormatError::Damaged(_))), "{}", text.escape_ascii());
        }
    }
}
