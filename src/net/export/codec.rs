//! How the content of a frame is written and read.

use super::{MAX_NUMBERS, MAX_PAYLOAD, WireError};
use std::io::{self, Write};

pub(super) fn write_numbers(out: &mut impl Write, kind: u8, numbers: &[u64]) -> io::Result<()> {
    for some in numbers.chunks(MAX_NUMBERS) {
        some.iter().fold(Body::new(), |body, number| body.u64(*number)).write(out, kind)?;
    }
    Ok(())
}

pub(super) fn write_frame(out: &mut impl Write, kind: u8, payload: &[u8]) -> io::Result<()> {
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "a frame would be too long");
    if payload.len() > MAX_PAYLOAD {
        return Err(too_long());
    }
    let length = u32::try_from(payload.len()).map_err(|_| too_long())?;
    out.write_all(&[kind])?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(payload)
}

/// What says "pillarbox" at the head of either side's first frame, so that a shell's greeting is not taken for it.
pub(super) const MAGIC: &[u8; 8] = b"pbxpull\n";

/// A payload being written.
pub(super) struct Body(Vec<u8>);

impl Body {
    pub fn new() -> Body {
        Body(Vec::new())
    }

    pub fn raw(mut self, bytes: &[u8]) -> Body {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn u64(self, value: u64) -> Body {
        self.raw(&value.to_be_bytes())
    }

    /// Two octets of length and UTF-8; texts for people are cut where they are longer than that can say.
    pub fn text(self, text: &str) -> Body {
        let text = &text[..text.floor_char_boundary(usize::from(u16::MAX))];
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        self.raw(&length.to_be_bytes()).raw(text.as_bytes())
    }

    pub fn write(self, out: &mut impl Write, kind: u8) -> io::Result<()> {
        write_frame(out, kind, &self.0)
    }
}

/// A payload being read.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(WireError::Malformed("too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.take(N)?.try_into().map_err(|_| WireError::Malformed("too short"))
    }

    pub fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub fn flag(&mut self) -> Result<bool, WireError> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(WireError::Malformed("a flag that is neither 0 nor 1")),
        }
    }

    pub fn text(&mut self) -> Result<String, WireError> {
        let length = self.u16()?;
        let bytes = self.take(usize::from(length))?;
        String::from_utf8(bytes.to_vec()).map_err(|_| WireError::Malformed("a text that is not UTF-8"))
    }

    pub fn numbers(&mut self) -> Result<Vec<u64>, WireError> {
        if self.0.len() > MAX_NUMBERS * 8 {
            return Err(WireError::Malformed("too many numbers"));
        }
        let mut numbers = Vec::with_capacity(self.0.len() / 8);
        while !self.0.is_empty() {
            numbers.push(self.u64()?);
        }
        Ok(numbers)
    }

    pub fn magic(&mut self) -> Result<(), WireError> {
        if self.take(MAGIC.len())? == MAGIC {
            Ok(())
        } else {
            Err(WireError::Malformed("the other side is not pillarbox"))
        }
    }

    pub fn end(&self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Malformed("octets left over")) }
    }
}
