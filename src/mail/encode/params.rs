//! `Content-Type` and `Content-Disposition`: a value and its parameters (RFC 2045 section 5.1, RFC 2231).

use std::ops::Range;

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Param {
    /// The name, lower case.
    pub name: String,
    /// The value, unquoted.
    pub value: String,
    /// Where name, `=` and value stand, as written.
    pub span: Range<usize>,
}

/// A parsed field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameterised {
    /// The value before the parameters, lower case: `text/plain`.
    pub value: String,
    pub params: Vec<Param>,
    /// Whether it was read to its end.
    pub whole: bool,
}

impl Parameterised {
    /// Reads as far as it can; `text` is one line.
    pub fn parse(text: &str) -> Parameterised {
        let end = text.find([';', '(']).unwrap_or(text.len());
        let value = text[..end].trim().to_ascii_lowercase();
        let mut parsed = Parameterised { value, params: Vec::new(), whole: false };
        let mut at = end;
        loop {
            at = match skip_space_and_comments(text, at) {
                Some(at) => at,
                None => return parsed,
            };
            if at == text.len() {
                parsed.whole = true;
                return parsed;
            }
            if text[at..].starts_with(';') {
                at += 1;
                continue;
            }
            match param(text, at) {
                Some(param) => {
                    at = param.span.end;
                    parsed.params.push(param);
                }
                None => return parsed,
            }
        }
    }

    /// The first parameter of this (lower case) name.
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|param| param.name == name)
    }
}

fn skip_space_and_comments(text: &str, from: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut escaped = false;
    for (at, c) in text[from..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if depth > 0 => escaped = true,
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            _ if depth > 0 || c.is_ascii_whitespace() => {}
            _ => return Some(from + at),
        }
    }
    (depth == 0).then_some(text.len())
}

fn param(text: &str, start: usize) -> Option<Param> {
    let equals = start + text[start..].find(['=', ';', '"', '('])?;
    let name = text[start..equals].trim().to_ascii_lowercase();
    if !text[equals..].starts_with('=') || name.is_empty() {
        return None;
    }
    let from = equals + 1 + text[equals + 1..].len() - text[equals + 1..].trim_start().len();
    let mut value = String::new();
    if !text[from..].starts_with('"') {
        let length = text[from..].find([' ', '\t', ';', '(', '"']).unwrap_or(text.len() - from);
        value.push_str(&text[from..from + length]);
        return (length > 0).then_some(Param { name, value, span: start..from + length });
    }
    let mut chars = text[from + 1..].char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some(Param { name, value, span: start..from + at + 2 }),
            (_, '\\') => value.push(chars.next()?.1),
            (_, c) => value.push(c),
        }
    }
}

/// The field's text with its 8-bit parameters by RFC 2231; nothing if something else in it is 8-bit or unreadable.
pub(super) fn encode(text: &str) -> Option<String> {
    let parsed = Parameterised::parse(text);
    if !parsed.whole || !parsed.value.is_ascii() {
        return None;
    }
    let mut out = format!(" {}", parsed.value);
    for param in &parsed.params {
        let written = &text[param.span.clone()];
        if written.is_ascii() {
            out.push_str(&format!("; {written}"));
        } else if param.name.is_ascii() && !param.name.contains('*') {
            out.push_str(&extended(&param.name, &param.value));
        } else {
            return None;
        }
    }
    Some(out)
}

/// `; name*=utf-8''…`, continued as `name*0*=…; name*1*=…` where it is long.
fn extended(name: &str, value: &str) -> String {
    const PIECE: usize = 50;
    let mut pieces = vec![String::new()];
    for octet in value.bytes() {
        let encoded = match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(octet).to_string(),
            _ => format!("%{octet:02X}"),
        };
        match pieces.last_mut() {
            Some(last) if last.len() + encoded.len() <= PIECE => last.push_str(&encoded),
            _ => pieces.push(encoded),
        }
    }
    if let [piece] = &pieces[..] {
        return format!("; {name}*=utf-8''{piece}");
    }
    let charset = |n: usize| if n == 0 { "utf-8''" } else { "" };
    let piece = |(n, piece): (usize, &String)| format!("; {name}*{n}*={}{piece}", charset(n));
    pieces.iter().enumerate().map(piece).collect()
}
