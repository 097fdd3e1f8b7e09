//! What comes through the gate's pipe: frames of a pull, and the first line of a submission. What is understood is written
//! as it was read; nothing else is taken.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::net::export::{FrameReader, FromHome};
use pillarbox::net::preface::Preface;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let mut frames = FrameReader::new(&mut rest);
    let mut again = Vec::new();
    while let Ok(frame) = frames.server_frame() {
        frame.write_to(&mut again).unwrap();
    }
    assert_prefix(&again, bytes);

    let mut rest = bytes;
    let mut frames = FrameReader::new(&mut rest);
    let mut again = Vec::new();
    while let Ok(frame) = frames.home_frame() {
        // No numbers are no frame when they are written.
        if frame != FromHome::Kept(Vec::new()) {
            frame.write_to(&mut again).unwrap();
        }
    }

    if let Ok(preface) = Preface::parse(bytes)
        && let Ok(line) = preface.to_line()
    {
        assert_eq!(Preface::parse(line.as_bytes()), Ok(preface));
        assert_eq!(line.bytes().filter(|octet| *octet == b'\n').count(), 1, "{line:?}");
    }
});

/// Every frame has one form; only empty lists of numbers (kind 0x09, no length) are not written.
fn assert_prefix(again: &[u8], bytes: &[u8]) {
    if !bytes.windows(5).any(|head| head == b"\x09\0\0\0\0") {
        assert!(bytes.starts_with(again));
    }
}
