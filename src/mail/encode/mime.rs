//! The walk through a letter's parts (RFC 2046).

use super::params::Parameterised;
use super::{EncodeError, body, fields, is_plain};
use crate::mail::header::{Field, Header, split_lenient};

/// How deep parts may nest.
const DEPTH: usize = 32;

/// Appends the letter with everything that is not plain encoded. Says whether UTF-8 stayed in a header.
pub(super) fn encode_message(message: &[u8], out: &mut Vec<u8>) -> Result<bool, EncodeError> {
    let mut walk = Walk { out, smtputf8: false };
    walk.entity(message, Place { depth: 0, is_message: true, default_type: "text/plain" })?;
    Ok(walk.smtputf8)
}

/// Where an entity stands.
#[derive(Clone, Copy)]
struct Place {
    depth: usize,
    /// A letter (its own header says MIME-Version) rather than a part of one.
    is_message: bool,
    /// Its type if it does not say.
    default_type: &'static str,
}

/// What an entity says of its body.
struct Nature {
    content_type: Parameterised,
    encoding: String,
}

/// What has to be said anew of a body that was encoded.
#[derive(Default)]
struct Label {
    encoding: Option<&'static str>,
    charset: Option<&'static str>,
}

struct Walk<'a> {
    out: &'a mut Vec<u8>,
    smtputf8: bool,
}

impl Walk<'_> {
    fn entity(&mut self, bytes: &[u8], place: Place) -> Result<(), EncodeError> {
        if is_plain(bytes) {
            self.out.extend_from_slice(bytes);
            return Ok(());
        }
        let header = split_lenient(bytes);
        let content = &bytes[header.body_offset..];
        if is_plain(content) {
            self.header(&header, &Label::default(), place)?;
            self.out.extend_from_slice(content);
            return Ok(());
        }
        if place.depth > DEPTH {
            return refuse("the letter's parts nest more than 32 deep; attach less within less");
        }
        let nature = Nature::of(&header, place.default_type);
        let kind = nature.content_type.value.as_str();
        match (nature.encoding.as_str(), kind) {
            (_, "multipart/signed") => refuse(
                "a signed part (multipart/signed) has 8-bit or over-long lines, and encoding it would break its \
                 signature; let the program that signs it encode it first (RFC 1847)",
            ),
            ("base64", _) => {
                self.header(&header, &Label::default(), place)?;
                body::rewrapped_base64(content, self.out);
                Ok(())
            }
            ("quoted-printable", _) => {
                self.header(&header, &Label::default(), place)?;
                body::quoted_printable(&body::unquoted(content), self.out);
                Ok(())
            }
            ("" | "7bit" | "8bit" | "binary", "message/rfc822" | "message/global") => {
                self.header(&header, &nature.composite_label(), place)?;
                let inner = Place { depth: place.depth + 1, is_message: true, default_type: "text/plain" };
                self.entity(content, inner)
            }
            ("" | "7bit" | "8bit" | "binary", _) if kind.starts_with("multipart/") => {
                self.header(&header, &nature.composite_label(), place)?;
                self.multipart(content, &nature, place)
            }
            ("" | "7bit" | "8bit" | "binary", _) if kind.starts_with("message/") => {
                refuse(&format!("a {} part has 8-bit or over-long lines, which it may not", shown(kind)))
            }
            ("" | "7bit" | "8bit" | "binary", _) => self.leaf(&header, content, &nature, place),
            (encoding, _) => refuse(&format!(
                "a part with Content-Transfer-Encoding {} has 8-bit or over-long lines; use quoted-printable or base64",
                shown(encoding)
            )),
        }
    }

    /// Text as quoted-printable, everything else as base64.
    fn leaf(
        &mut self,
        header: &Header<'_>,
        content: &[u8],
        nature: &Nature,
        place: Place,
    ) -> Result<(), EncodeError> {
        let is_text = nature.content_type.value.starts_with("text/");
        let encoding = if is_text { "quoted-printable" } else { "base64" };
        let charset = if is_text && !content.is_ascii() { nature.missing_charset(content) } else { None };
        self.header(header, &Label { encoding: Some(encoding), charset }, place)?;
        match is_text {
            true => body::quoted_printable(content, self.out),
            false => body::base64(content, self.out),
        }
        Ok(())
    }

    /// Each part by itself; the delimiter lines stay as they are. A preamble or epilogue that is not plain is left
    /// out: readers ignore it (RFC 2046 section 5.1.1).
    fn multipart(&mut self, content: &[u8], nature: &Nature, place: Place) -> Result<(), EncodeError> {
        let Some(boundary) = nature.content_type.get("boundary") else {
            return refuse("a multipart has no boundary, so its 8-bit or over-long lines cannot be encoded");
        };
        let default_type = match nature.content_type.value.as_str() {
            "multipart/digest" => "message/rfc822",
            _ => "text/plain",
        };
        let inner = Place { depth: place.depth + 1, is_message: false, default_type };
        let mut is_part = false;
        let mut at = 0;
        for delimiter in delimiters(content, &boundary.value) {
            self.between(&content[at..delimiter.start], is_part, inner)?;
            self.out.extend_from_slice(&content[delimiter.start..delimiter.end]);
            at = delimiter.end;
            is_part = !delimiter.closes;
            if delimiter.closes {
                break;
            }
        }
        if at == 0 {
            return refuse(
                "a multipart's boundary is nowhere in it, so its 8-bit or over-long lines cannot be encoded",
            );
        }
        self.between(&content[at..], is_part, inner)
    }

    fn between(&mut self, bytes: &[u8], is_part: bool, place: Place) -> Result<(), EncodeError> {
        match is_part {
            true => self.entity(bytes, place),
            false => {
                if is_plain(bytes) {
                    self.out.extend_from_slice(bytes);
                }
                Ok(())
            }
        }
    }

    /// The header with its empty line, each field encoded, and what `label` says in its place or at the end.
    fn header(&mut self, header: &Header<'_>, label: &Label, place: Place) -> Result<(), EncodeError> {
        for field in &header.fields {
            match (label.encoding, label.charset) {
                (Some(_), _) if field.is("Content-Transfer-Encoding") => {}
                (_, Some(charset)) if field.is("Content-Type") => {
                    let value = with_charset(&fields::one_line(field.value), charset);
                    let labelled = format!("{}:{value}\r\n", field.name).into_bytes();
                    let labelled = Field { raw: &labelled, name: field.name, value: value.as_bytes() };
                    self.out.extend_from_slice(&fields::encode(&labelled, &mut self.smtputf8)?);
                }
                _ => self.out.extend_from_slice(&fields::encode(field, &mut self.smtputf8)?),
            }
        }
        if label.encoding.is_some() || label.charset.is_some() {
            if place.is_message && header.first("MIME-Version").is_none() {
                self.out.extend_from_slice(b"MIME-Version: 1.0\r\n");
            }
            if header.first("Content-Type").is_none()
                && let Some(charset) = label.charset
            {
                let line = format!("Content-Type: text/plain; charset={charset}\r\n");
                self.out.extend_from_slice(line.as_bytes());
            }
            if let Some(encoding) = label.encoding {
                self.out.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n").as_bytes());
            }
        }
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

impl Nature {
    fn of(header: &Header<'_>, default_type: &str) -> Nature {
        let text = |name: &str| header.first(name).map(|field| fields::one_line(field.value));
        let mut content_type = Parameterised::parse(&text("Content-Type").unwrap_or_default());
        if !content_type.value.contains('/') {
            content_type.value = default_type.to_owned();
        }
        let encoding = Parameterised::parse(&text("Content-Transfer-Encoding").unwrap_or_default()).value;
        Nature { content_type, encoding }
    }

    /// What is made of plain parts is plain.
    fn composite_label(&self) -> Label {
        let encoding = matches!(self.encoding.as_str(), "8bit" | "binary").then_some("7bit");
        Label { encoding, charset: None }
    }

    /// The charset to write on an 8-bit text that has none, or that says ASCII, which it is not.
    fn missing_charset(&self, content: &[u8]) -> Option<&'static str> {
        const ASCII: [&str; 4] = ["us-ascii", "ascii", "ansi_x3.4-1968", ""];
        let said = self.content_type.get("charset").map_or("", |param| &param.value);
        if !ASCII.iter().any(|name| said.eq_ignore_ascii_case(name)) {
            return None;
        }
        let is_c1 = |octet: &u8| (0x80..0xa0).contains(octet);
        Some(match std::str::from_utf8(content) {
            Ok(_) => "utf-8",
            Err(_) if content.iter().any(is_c1) => "unknown-8bit",
            Err(_) => "iso-8859-1",
        })
    }
}

/// The Content-Type's text with this charset, replacing what stood there.
fn with_charset(text: &str, charset: &str) -> String {
    let parsed = Parameterised::parse(text);
    match parsed.get("charset") {
        Some(param) => {
            format!("{}charset={charset}{}", &text[..param.span.start], &text[param.span.end..])
        }
        None if parsed.value.contains('/') => {
            format!("{}; charset={charset}", text.trim_end_matches([';', ' ', '\t']))
        }
        None => format!(" text/plain; charset={charset}"),
    }
}

/// A delimiter line with the CRLF before it, which is its own.
struct Delimiter {
    start: usize,
    end: usize,
    closes: bool,
}

fn delimiters<'a>(content: &'a [u8], boundary: &'a str) -> impl Iterator<Item = Delimiter> + 'a {
    let mut at = 0;
    let mut previous_end = 0;
    content.split_inclusive(|b| *b == b'\n').filter_map(move |line| {
        let start = at;
        at += line.len();
        let name = line.strip_prefix(b"--")?.strip_prefix(boundary.as_bytes())?;
        let rest = name.strip_prefix(b"--");
        let is_blank = |text: &[u8]| text.iter().all(|b| b.is_ascii_whitespace());
        let closes = match rest {
            Some(rest) if is_blank(rest) => true,
            _ if is_blank(name) => false,
            _ => return None,
        };
        let own = content[previous_end..start].ends_with(b"\r\n");
        previous_end = at;
        Some(Delimiter { start: if own { start - 2 } else { start }, end: at, closes })
    })
}

fn refuse<T>(reason: &str) -> Result<T, EncodeError> {
    Err(EncodeError(reason.to_owned()))
}

/// A word of the letter, fit for an error.
fn shown(word: &str) -> String {
    word.chars().take(60).flat_map(char::escape_default).collect()
}
