//! Canonical forms of RFC 6376 section 3.4: what is hashed, whatever the way did to white space.
//!
//! Our own, so that our splitter is the only authority on what the header is, and because mail-auth 0.13 hashes trailing
//! lines of only spaces or tabs in a relaxed body, which section 3.4.4 drops.

use crate::mail::header::Field;
use aws_lc_rs::digest;
use std::collections::HashMap;

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canon {
    /// Nothing is changed but trailing empty lines of the body.
    Simple,
    /// White space is squeezed, names are lower case.
    Relaxed,
}

/// Hashes a body that comes in slices, cut anywhere.
#[derive(Clone)]
pub struct BodyHasher {
    canon: Canon,
    /// CRLFs that count only if something follows.
    breaks: u64,
    /// Relaxed: white space that counts only if something follows on the line.
    space: bool,
    /// A CR whose LF may be in the next slice.
    cr: bool,
    any: bool,
    pending: Vec<u8>,
    digest: digest::Context,
}

/// Octets gathered before the digest is fed.
const BATCH: usize = 4096;

impl BodyHasher {
    /// A hasher of an empty body.
    pub fn new(canon: Canon) -> BodyHasher {
        BodyHasher {
            canon,
            breaks: 0,
            space: false,
            cr: false,
            any: false,
            pending: Vec::with_capacity(2 * BATCH),
            digest: digest::Context::new(&digest::SHA256),
        }
    }

    /// Takes the next slice.
    pub fn update(&mut self, slice: &[u8]) {
        let mut rest = slice;
        while let Some((&octet, tail)) = rest.split_first() {
            if self.cr {
                self.cr = false;
                if octet == b'\n' {
                    self.breaks += 1;
                    self.space = false;
                    rest = tail;
                } else {
                    self.visible(b"\r");
                }
                continue;
            }
            let run = rest.iter().position(|octet| !self.is_plain(*octet)).unwrap_or(rest.len());
            let (plain, after) = rest.split_at(run);
            if !plain.is_empty() {
                self.visible(plain);
                rest = after;
                continue;
            }
            match octet {
                b'\r' => self.cr = true,
                _ => self.space = true,
            }
            rest = tail;
        }
    }

    /// The SHA-256 of the canonical body.
    pub fn finish(mut self) -> Vec<u8> {
        if self.cr {
            self.visible(b"\r");
        }
        // Section 3.4.3: an empty simple body is one CRLF; section 3.4.4: an empty relaxed body is empty.
        if self.any || self.canon == Canon::Simple {
            self.pending.extend_from_slice(b"\r\n");
        }
        self.digest.update(&self.pending);
        self.digest.finish().as_ref().to_vec()
    }

    /// Whether an octet stands for itself wherever it is.
    fn is_plain(&self, octet: u8) -> bool {
        octet != b'\r' && (self.canon == Canon::Simple || !matches!(octet, b' ' | b'\t'))
    }

    fn visible(&mut self, octets: &[u8]) {
        while self.breaks > 0 {
            self.pending.extend_from_slice(b"\r\n");
            self.breaks -= 1;
            self.feed_when_full();
        }
        if std::mem::take(&mut self.space) {
            self.pending.push(b' ');
        }
        self.any = true;
        for batch in octets.chunks(BATCH) {
            self.pending.extend_from_slice(batch);
            self.feed_when_full();
        }
    }

    fn feed_when_full(&mut self) {
        if self.pending.len() >= BATCH {
            self.digest.update(&self.pending);
            self.pending.clear();
        }
    }
}

/// The fields of a header by name, for picking what `h=` lists. Built once, however many signatures there are.
pub struct Index<'h> {
    by_name: HashMap<String, Vec<Field<'h>>>,
}

impl<'h> Index<'h> {
    /// Indexes `fields`. White space between name and colon is not part of the name (RFC 5322 section 4.5): a `From :`
    /// put on top of a letter is a From field, and breaks what was oversigned.
    pub fn new(fields: &[Field<'h>]) -> Index<'h> {
        let mut by_name: HashMap<String, Vec<Field<'h>>> = HashMap::new();
        for field in fields {
            by_name.entry(plain_name(field.name)).or_default().push(*field);
        }
        Index { by_name }
    }

    /// How many fields have this name (in lower case).
    pub fn count(&self, name: &str) -> usize {
        self.by_name.get(name).map_or(0, Vec::len)
    }

    /// The canonical signed input (section 3.7): the fields that `names` lists, each name taken from the bottom up, then
    /// the signature's own field with the value of `b=` cut out and without its final CRLF. `own_value` is that value.
    pub fn signed_input(&self, canon: Canon, names: &[String], own: &Field<'_>, own_value: &[u8]) -> Vec<u8> {
        let mut input = Vec::new();
        let mut taken: HashMap<String, usize> = HashMap::new();
        for name in names {
            let name = name.to_ascii_lowercase();
            let fields = self.by_name.get(&name).map_or(&[][..], Vec::as_slice);
            let taken = taken.entry(name).or_default();
            if let Some(field) = fields.len().checked_sub(*taken + 1).and_then(|at| fields.get(at)) {
                match canon {
                    Canon::Simple => input.extend_from_slice(field.raw),
                    Canon::Relaxed => write_field(canon, field.name, field.value, &mut input),
                }
            }
            *taken += 1;
        }
        write_field(canon, own.name, own_value, &mut input);
        if input.ends_with(b"\r\n") {
            input.truncate(input.len() - 2);
        }
        input
    }
}

/// A field's name for comparing: lower case, without the obsolete white space in front of the colon.
pub fn plain_name(name: &str) -> String {
    name.trim_end_matches([' ', '\t']).to_ascii_lowercase()
}

fn write_field(canon: Canon, name: &str, value: &[u8], out: &mut Vec<u8>) {
    match canon {
        Canon::Simple => {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            out.extend_from_slice(value);
        }
        Canon::Relaxed => {
            out.extend_from_slice(plain_name(name).as_bytes());
            out.push(b':');
            write_relaxed(value, out);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Section 3.4.2: unfold, squeeze white space, none at either end.
fn write_relaxed(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut space = false;
    let mut rest = value;
    while let Some((&octet, tail)) = rest.split_first() {
        rest = tail;
        match octet {
            b' ' | b'\t' => space = true,
            b'\r' if tail.first() == Some(&b'\n') => rest = tail.get(1..).unwrap_or_default(),
            _ => {
                if std::mem::take(&mut space) && out.len() > start {
                    out.push(b' ');
                }
                out.push(octet);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hash(canon: Canon, slices: &[&[u8]]) -> Vec<u8> {
        let mut hasher = BodyHasher::new(canon);
        slices.iter().for_each(|slice| hasher.update(slice));
        hasher.finish()
    }

    fn sha256(bytes: &[u8]) -> Vec<u8> {
        digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
    }

    /// The rules of sections 3.4.3 and 3.4.4 line by line, on a whole body.
    fn reference(canon: Canon, body: &[u8]) -> Vec<u8> {
        let text: String = body.iter().map(|&octet| char::from(octet)).collect();
        let mut lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
        if canon == Canon::Relaxed {
            for line in &mut lines {
                let mut squeezed = String::new();
                for c in line.chars() {
                    match c {
                        ' ' | '\t' if squeezed.ends_with(' ') => (),
                        ' ' | '\t' => squeezed.push(' '),
                        c => squeezed.push(c),
                    }
                }
                *line = squeezed.trim_end_matches(' ').to_owned();
            }
        }
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        let mut canonical: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        if canonical.is_empty() && canon == Canon::Simple {
            canonical = "\r\n".into();
        }
        canonical.chars().map(|c| c as u8).collect()
    }

    #[test]
    fn bodies_of_rfc_6376_section_3_4_5() {
        let body = b" C \r\nD \t E\r\n\r\n\r\n";
        assert_eq!(hash(Canon::Relaxed, &[body]), sha256(b" C\r\nD E\r\n"));
        assert_eq!(hash(Canon::Simple, &[body]), sha256(b" C \r\nD \t E\r\n"));
        assert_eq!(hash(Canon::Relaxed, &[]), sha256(b""));
        assert_eq!(hash(Canon::Simple, &[]), sha256(b"\r\n"));
    }

    #[test]
    fn trailing_lines_of_white_space_are_empty_lines_when_relaxed() {
        assert_eq!(hash(Canon::Relaxed, &[b"a\r\n \r\n\t\r\n  "]), sha256(b"a\r\n"));
        assert_eq!(hash(Canon::Simple, &[b"a\r\n \r\n"]), sha256(b"a\r\n \r\n"));
        assert_eq!(hash(Canon::Relaxed, &[b" \r\n\t\r\n"]), sha256(b""));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_hash_of_the_whole(
            body in "[ab \t\r\n]{0,40}|(a|b| |\t|\r\n|\r\n\r\n){0,40}",
            cuts in proptest::collection::vec(0usize..40, 0..6),
        ) {
            let body = body.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let slices: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            for canon in [Canon::Simple, Canon::Relaxed] {
                prop_assert_eq!(hash(canon, &slices), sha256(&reference(canon, body)));
            }
        }
    }

    #[test]
    fn headers_of_rfc_6376_section_3_4_5() {
        let mut out = Vec::new();
        write_field(Canon::Relaxed, "A", b" X\r\n", &mut out);
        write_field(Canon::Relaxed, "B ", b" Y\t\r\n\tZ  \r\n", &mut out);
        assert_eq!(out, b"a:X\r\nb:Y Z\r\n");
        out.clear();
        write_field(Canon::Simple, "B ", b" Y\t\r\n\tZ  \r\n", &mut out);
        assert_eq!(out, b"B : Y\t\r\n\tZ  \r\n");
    }
}
