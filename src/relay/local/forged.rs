//! What only the server that delivers may write, taken off the letters of our own owners.

use crate::mail::header::split_lenient;
use crate::mail::trace;
use crate::relay::Parts;
use crate::store::StoreError;
use crate::store::letter::Spill;
use std::io::{self, BufRead, BufReader, Read};

/// Octets that are copied at a time.
const SLICE: u64 = 64 << 10;

/// The letter without `Return-Path`, `Delivered-To` and our own `Authentication-Results` (RFC 8601 section 5). Whoever
/// submits may put them in front of what he signed; one owner must not be able to tell another what this server found
/// out. The queue keeps the letter as it was submitted; it is copied only where something must go.
pub(super) fn without(parts: &Parts, letter: Spill) -> Result<Spill, StoreError> {
    let fault = |error| StoreError::io("reading a queued letter", error);
    let mut reader = BufReader::new(letter.reader());
    let header = header(&mut reader).map_err(fault)?;
    let split = split_lenient(&header);
    let fields: usize = split.fields.iter().map(|field| field.raw.len()).sum();
    let honest = trace::strip_forged(&split, &parts.hostname);
    if honest.len() == fields {
        return Ok(letter);
    }
    let mut clean = Spill::new(parts.room.clone());
    clean.append(&honest)?;
    clean.append(header.get(fields..).unwrap_or_default())?;
    let mut slice = Vec::new();
    while reader.by_ref().take(SLICE).read_to_end(&mut slice).map_err(fault)? > 0 {
        clean.append(&slice)?;
        slice.clear();
    }
    Ok(clean)
}

/// Up to the empty line, or all of it. It was in strict form when it was queued, so its lines and itself are short.
fn header(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut header = Vec::new();
    loop {
        let line = header.len();
        if reader.read_until(b'\n', &mut header)? == 0 || header.get(line..) == Some(b"\r\n") {
            return Ok(header);
        }
    }
}
