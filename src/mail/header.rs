//! The header block: a strict splitter, the authority at the submission door, and a lenient one for what strangers send.

use mail_parser::HeaderValue;
use mail_parser::parsers::MessageStream;

/// The longest line, in octets, without its CRLF (RFC 5322 section 2.1.1).
pub const LINE_MAX: usize = 998;

/// The fields that stand once at most: RFC 5322 section 3.6 and RFC 2045.
pub(crate) const SINGLE: [&str; 14] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Subject",
    "Date",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// One header field, borrowed from the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The field as it stands, with its folding and the final CRLF.
    pub raw: &'a [u8],
    /// The name as written. At the lenient splitter a line without a colon has the empty name.
    pub name: &'a str,
    /// Everything behind the colon, folding and final CRLF included.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// Whether the field has this name, without regard to ASCII case, and to the white space that obsolete forms have in front
    /// of the colon (RFC 5322 section 4.5): some reader will read it so.
    pub fn is(&self, name: &str) -> bool {
        self.name.trim_end_matches([' ', '\t']).eq_ignore_ascii_case(name)
    }

    /// The value on one line: unfolded, white space at both ends gone, bytes that are no UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value).replace(['\r', '\n'], "").trim().to_owned()
    }

    /// The same for a person: encoded-words (RFC 2047) decoded.
    pub fn decoded(&self) -> String {
        match MessageStream::new(format!("{}\n", self.text()).as_bytes()).parse_unstructured() {
            HeaderValue::Text(text) => text.into_owned(),
            _ => String::new(),
        }
    }
}

/// A split header block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The fields in order.
    pub fields: Vec<Field<'a>>,
    /// Where the body starts: behind the empty line, or the input's length where there is none.
    pub body_offset: usize,
}

impl<'a> Header<'a> {
    /// The fields of this name, in order.
    pub fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b Field<'a>> + 'b {
        self.fields.iter().filter(move |field| field.is(name))
    }

    /// The first field of this name.
    pub fn first(&self, name: &str) -> Option<&Field<'a>> {
        self.fields.iter().find(|field| field.is(name))
    }
}

/// Why a header block is not in strict form; the text is fit for a reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormError(pub String);

/// Splits a header block that must be in strict form (docs/submission.md rule 2, RFC 5322 section 2.2): printable
/// names with nothing between name and colon, no line without a colon, no leading or white-space-only
/// continuation, single-instance fields once, lines of at most 998 octets, CRLF only, no NUL. A message may end
/// with its header, when the last line has its CRLF. The body is not looked at.
pub fn split_strict(message: &[u8]) -> Result<Header<'_>, FormError> {
    let mut header = Header { fields: Vec::new(), body_offset: message.len() };
    let mut field_start = 0;
    let mut at = 0;
    let mut number = 0;
    while at < message.len() {
        number += 1;
        let fault = |reason: &str| FormError(format!("header line {number}: {reason}"));
        let rest = &message[at..];
        let line = strict_line(rest).map_err(fault)?;
        let next = at + line.len() + 2;
        match line.first() {
            None => {
                header.body_offset = next;
                break;
            }
            Some(b' ' | b'\t') => {
                let Some(field) = header.fields.last_mut() else {
                    return Err(fault("a continuation stands where the first field must be"));
                };
                if line.iter().all(|b| matches!(b, b' ' | b'\t')) {
                    return Err(fault("it has nothing but white space"));
                }
                extend(field, &message[field_start..next]);
            }
            Some(_) => {
                let name = strict_name(line).map_err(fault)?;
                if let Some(single) = SINGLE.iter().find(|single| single.eq_ignore_ascii_case(name))
                    && header.first(name).is_some()
                {
                    return Err(fault(&format!("a second {single} field; one is allowed")));
                }
                field_start = at;
                let raw = &message[at..next];
                header.fields.push(Field { raw, name, value: &raw[name.len() + 1..] });
            }
        }
        at = next;
    }
    Ok(header)
}

/// The first line of `rest` without its CRLF.
fn strict_line(rest: &[u8]) -> Result<&[u8], &'static str> {
    let window = &rest[..rest.len().min(LINE_MAX + 2)];
    let end = memchr::memchr3(b'\r', b'\n', 0, window);
    match end.map(|end| (end, &window[end..])) {
        Some((end, [b'\r', b'\n', ..])) => Ok(&window[..end]),
        Some((_, [b'\r', ..])) if window.len() < rest.len() && window.ends_with(b"\r") => {
            Err("it is longer than 998 octets")
        }
        Some((_, [0, ..])) => Err("it has a NUL"),
        Some((_, [b'\r', ..])) => Err("it has a carriage return without its line feed"),
        Some(_) => Err("it has a line feed without its carriage return"),
        None if window.len() < rest.len() || window.len() > LINE_MAX => Err("it is longer than 998 octets"),
        None => Err("the message ends within it (no CRLF)"),
    }
}

/// The field's name; a colon stands right behind it.
fn strict_name(line: &[u8]) -> Result<&str, &'static str> {
    let colon = memchr::memchr(b':', line).ok_or("it is no header field: there is no colon")?;
    let name = &line[..colon];
    if name.is_empty() {
        return Err("the field has no name");
    }
    if matches!(name.last(), Some(b' ' | b'\t')) {
        return Err("there is white space between the field's name and its colon");
    }
    match std::str::from_utf8(name) {
        Ok(text) if name.iter().all(u8::is_ascii_graphic) => Ok(text),
        _ => Err("the field's name has something else than printable ASCII"),
    }
}

/// Splits whatever a stranger sent; never fails. Lines end with a line feed. A line without a colon, one whose name
/// could be nobody's, and a continuation without a field, are fields with an empty name. White space between name and
/// colon is allowed and belongs to neither. The fields' raw bytes, the empty line and the body are the whole message.
pub fn split_lenient(message: &[u8]) -> Header<'_> {
    let mut header = Header { fields: Vec::new(), body_offset: message.len() };
    let mut field_start = 0;
    let mut at = 0;
    while at < message.len() {
        let next = memchr::memchr(b'\n', &message[at..]).map_or(message.len(), |end| at + end + 1);
        let line = &message[at..next];
        if matches!(line, b"\r\n" | b"\n") {
            header.body_offset = next;
            break;
        }
        match header.fields.last_mut() {
            Some(field) if matches!(line.first(), Some(b' ' | b'\t')) => {
                extend(field, &message[field_start..next]);
            }
            _ => {
                field_start = at;
                header.fields.push(lenient_field(line));
            }
        }
        at = next;
    }
    header
}

fn lenient_field(line: &[u8]) -> Field<'_> {
    let nameless = Field { raw: line, name: "", value: line };
    let Some(colon) = memchr::memchr(b':', line) else { return nameless };
    let name = line[..colon].trim_ascii_end();
    match std::str::from_utf8(name) {
        Ok(text) if !name.is_empty() && name.iter().all(u8::is_ascii_graphic) => {
            Field { raw: line, name: text, value: &line[colon + 1..] }
        }
        _ => nameless,
    }
}

/// Lets a field reach as far as `raw`, which starts where the field starts.
fn extend<'a>(field: &mut Field<'a>, raw: &'a [u8]) {
    let value_at = field.raw.len() - field.value.len();
    field.raw = raw;
    field.value = &raw[value_at..];
}

/// What a reader shows of a text: control and format characters are not seen (of white space, those that fold a line are kept),
/// and octets that are no UTF-8 are left out by some.
pub fn visible(text: &str) -> String {
    let unseen = |c: char| match c {
        '\t' | '\r' | '\n' => false,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' => true,
        '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' => true,
        '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' | char::REPLACEMENT_CHARACTER => true,
        c => c.is_control(),
    };
    text.chars().filter(|c| !unseen(*c)).collect()
}

#[cfg(test)]
mod tests;
