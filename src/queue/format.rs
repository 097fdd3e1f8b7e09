//! The two files of an entry as JSON, each with the version of its format.
//!
//! `envelope` is written once, before the commit. `state` is replaced as a whole whenever a recipient's state changes;
//! where it is missing nothing was tried yet. A version that is higher than ours was written by a later pillarbox.

use super::{Entry, EntryId, NewEntry, Once, RecipientState};
use crate::mail::envelope::Envelope;
use crate::smtp::Door;
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct EnvelopeFile {
    version: u32,
    id: EntryId,
    #[serde(with = "DoorName")]
    door: Door,
    arrived: i64,
    junk: bool,
    size: u64,
    eight_bit: bool,
    envelope: Envelope,
    once: Option<Once>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Door", rename_all = "lowercase")]
enum DoorName {
    Mx,
    Submission,
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

pub(super) fn envelope_file(id: &EntryId, new: &NewEntry, size: u64, eight_bit: bool) -> Vec<u8> {
    to_json(&EnvelopeFile {
        version: VERSION,
        id: id.clone(),
        door: new.door,
        arrived: new.arrived,
        junk: new.junk,
        size,
        eight_bit,
        envelope: new.envelope.clone(),
        once: new.once.clone(),
    })
}

/// The entry as its envelope alone gives it: nobody was tried yet.
pub(super) fn read_envelope(id: &EntryId, text: &[u8]) -> Result<Entry, FormatError> {
    let file: EnvelopeFile = parse(text)?;
    if file.id != *id {
        return Err(FormatError::Damaged(format!("its envelope is that of {}", file.id)));
    }
    if file.envelope.recipients.is_empty() {
        return Err(FormatError::Damaged("its envelope has no recipient".into()));
    }
    Ok(Entry {
        id: file.id,
        door: file.door,
        arrived: file.arrived,
        junk: file.junk,
        recipients: file.envelope.recipients.iter().cloned().map(RecipientState::new).collect(),
        envelope: file.envelope,
        once: file.once,
        size: file.size,
        eight_bit: file.eight_bit,
    })
}

pub(super) fn state_file(entry: &Entry) -> Vec<u8> {
    to_json(&StateFile { version: VERSION, recipients: entry.recipients.clone() })
}

/// Puts the states that `text` holds into the entry.
pub(super) fn read_state(entry: &mut Entry, text: &[u8]) -> Result<(), FormatError> {
    let file: StateFile = parse(text)?;
    let who = |states: &[RecipientState]| -> Vec<_> { states.iter().map(|s| s.recipient.clone()).collect() };
    if who(&file.recipients) != entry.envelope.recipients {
        return Err(FormatError::Damaged("its state is that of other recipients".into()));
    }
    entry.recipients = file.recipients;
    Ok(())
}

fn parse<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, FormatError> {
    let damaged = |error: serde_json::Error| FormatError::Damaged(error.to_string());
    let AnyVersion { version } = serde_json::from_slice(text).map_err(damaged)?;
    if version > VERSION {
        return Err(FormatError::Newer(version));
    }
    serde_json::from_slice(text).map_err(damaged)
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    // Nothing here can fail to be JSON: the maps have string keys, and no serializer of ours returns an error.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text
}
