//! What is odd in the form of a stranger's letter. It is evidence for a reader, never a reason to refuse by itself (RFC 5321
//! section 3.3), and nothing of it is ever mended in what is stored.

use super::envelope::{BodyType, Sender};
use super::header::{Field, Header, LINE_MAX, SINGLE};
use super::mailboxes::parse_authors;
use jiff::fmt::rfc2822::DateTimeParser;
use std::fmt;

/// One thing that RFC 5322 does not allow, or wants otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Oddity {
    /// There is no field of this name: From, Date or Message-ID (RFC 5322 section 3.6).
    Missing(&'static str),
    /// A field that may stand once stands more often; readers differ in which one they show.
    Several(&'static str),
    /// The Date is none of RFC 5322, obsolete forms included.
    UnreadableDate,
    /// From is no list of mailboxes, or too long to be one.
    UnreadableFrom,
    /// More than one author, and no Sender that says who sent the letter (RFC 5322 section 3.6.2).
    NoSenderOfSeveral,
    /// A line of the header without a colon. For some readers it ends the header.
    NoColon,
    /// What stands before a colon is no field's name.
    BadName,
    /// White space between a field's name and its colon.
    SpaceBeforeColon,
    /// The header begins with a line that continues nothing.
    Headless,
    /// A line of the header that has nothing but white space. For some readers it ends the header.
    BlankLine,
    /// No empty line: the letter is a header alone.
    NoEmptyLine,
    /// The header has octets above 127 that are UTF-8, and no SMTPUTF8 announced them (RFC 6532).
    EightBitHeader,
    /// The header has octets above 127 that are no UTF-8.
    UnreadableOctets,
    /// The body has octets above 127, and no BODY=8BITMIME announced them (RFC 6152).
    EightBitBody,
    /// The longest line has so many octets, without its CRLF; 998 are allowed (RFC 5322 section 2.1.1).
    LongLine(usize),
}

/// How the letter came.
#[derive(Clone, Copy, Debug)]
pub struct Carriage<'a> {
    /// `MAIL FROM` with its parameters.
    pub sender: &'a Sender,
    /// Octets of the longest line, without CRLF.
    pub longest_line: usize,
    /// Whether there is an octet above 127 behind the header.
    pub eight_bit_body: bool,
}

/// More than this no honest From has, in octets; it is not taken apart.
const FROM_MAX: usize = 8 << 10;

/// What is odd in a letter with this (leniently split) header, each thing once: a short list, whatever the letter is. In the
/// order of [`Oddity`].
pub fn oddities(header: &Header<'_>, carriage: Carriage<'_>) -> Vec<Oddity> {
    let mut found = Vec::new();
    let missing = ["From", "Date", "Message-ID"].into_iter().filter(|name| header.first(name).is_none());
    found.extend(missing.map(Oddity::Missing));
    let several = SINGLE.into_iter().filter(|name| header.all(name).nth(1).is_some());
    found.extend(several.map(Oddity::Several));
    found.extend(date(header));
    found.extend(authors(header));
    found.extend(lines(header));
    found.extend(octets(header, carriage));
    if carriage.longest_line > LINE_MAX {
        found.push(Oddity::LongLine(carriage.longest_line));
    }
    found
}

/// On one line, as for a log or a header field: `no Date field; a line of 1200 octets`. Nothing where nothing is odd.
pub fn in_words(oddities: &[Oddity]) -> Option<String> {
    let words: Vec<String> = oddities.iter().map(Oddity::to_string).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

fn date(header: &Header<'_>) -> Option<Oddity> {
    let text = header.first("Date")?.text();
    // A wrong day of the week hurts nobody.
    let parser = DateTimeParser::new().relaxed_weekday(true);
    parser.parse_timestamp(&text).is_err().then_some(Oddity::UnreadableDate)
}

fn authors(header: &Header<'_>) -> Option<Oddity> {
    let value = header.first("From")?.value;
    if value.len() > FROM_MAX {
        return Some(Oddity::UnreadableFrom);
    }
    match parse_authors(value) {
        Err(_) => Some(Oddity::UnreadableFrom),
        Ok(authors) => {
            (authors.len() > 1 && header.first("Sender").is_none()).then_some(Oddity::NoSenderOfSeveral)
        }
    }
}

fn lines(header: &Header<'_>) -> impl Iterator<Item = Oddity> {
    let fields = &header.fields;
    let whole: usize = fields.iter().map(|field| field.raw.len()).sum();
    let headless = fields.first().is_some_and(continues);
    let nameless = || fields.iter().filter(|field| field.name.is_empty() && !continues(field));
    let has_colon = |field: &&Field<'_>| memchr::memchr(b':', first_line(field.raw)).is_some();
    [
        (nameless().any(|field| !has_colon(&field)), Oddity::NoColon),
        (nameless().any(|field| has_colon(&field)), Oddity::BadName),
        (fields.iter().any(space_before_colon), Oddity::SpaceBeforeColon),
        (headless, Oddity::Headless),
        (fields.iter().any(blank_line), Oddity::BlankLine),
        (whole == header.body_offset, Oddity::NoEmptyLine),
    ]
    .into_iter()
    .filter_map(|(is_so, oddity)| is_so.then_some(oddity))
}

/// Whether the "field" is a continuation line that stands where the first field must be.
fn continues(field: &Field<'_>) -> bool {
    field.name.is_empty() && matches!(field.raw.first(), Some(b' ' | b'\t'))
}

fn space_before_colon(field: &Field<'_>) -> bool {
    !field.name.is_empty() && field.raw.get(field.name.len()) != Some(&b':')
}

fn blank_line(field: &Field<'_>) -> bool {
    let mut starts = memchr::memchr_iter(b'\n', field.raw).map(|end| end + 1).chain([0]);
    starts.any(|start| start < field.raw.len() && first_line(&field.raw[start..]).trim_ascii().is_empty())
}

fn first_line(raw: &[u8]) -> &[u8] {
    memchr::memchr(b'\n', raw).map_or(raw, |end| &raw[..end])
}

fn octets(header: &Header<'_>, carriage: Carriage<'_>) -> impl Iterator<Item = Oddity> {
    let sender = carriage.sender;
    let mut eight_bit = header.fields.iter().map(|field| field.raw).filter(|raw| !raw.is_ascii()).peekable();
    let any = eight_bit.peek().is_some();
    let utf8 = eight_bit.all(|raw| std::str::from_utf8(raw).is_ok());
    [
        (any && utf8 && !sender.smtputf8, Oddity::EightBitHeader),
        (any && !utf8, Oddity::UnreadableOctets),
        (carriage.eight_bit_body && sender.body != BodyType::EightBitMime, Oddity::EightBitBody),
    ]
    .into_iter()
    .filter_map(|(is_so, oddity)| is_so.then_some(oddity))
}

/// A short phrase, ASCII only, with nothing of the letter's own text in it.
impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Oddity::Missing(name) => write!(f, "no {name} field"),
            Oddity::Several(name) => write!(f, "several {name} fields"),
            Oddity::UnreadableDate => f.write_str("a Date that cannot be read"),
            Oddity::UnreadableFrom => f.write_str("a From that cannot be read for certain"),
            Oddity::NoSenderOfSeveral => f.write_str("several authors and no Sender"),
            Oddity::NoColon => f.write_str("a header line without a colon"),
            Oddity::BadName => f.write_str("a header field with an impossible name"),
            Oddity::SpaceBeforeColon => f.write_str("white space before a header field's colon"),
            Oddity::Headless => f.write_str("a header that begins with a continuation line"),
            Oddity::BlankLine => f.write_str("a header line with nothing but white space"),
            Oddity::NoEmptyLine => f.write_str("no empty line behind the header"),
            Oddity::EightBitHeader => f.write_str("8-bit text in the header without SMTPUTF8"),
            Oddity::UnreadableOctets => f.write_str("8-bit octets in the header that are no UTF-8"),
            Oddity::EightBitBody => f.write_str("8-bit octets in the body without BODY=8BITMIME"),
            Oddity::LongLine(length) => write!(f, "a line of {length} octets"),
        }
    }
}

#[cfg(test)]
mod tests;
