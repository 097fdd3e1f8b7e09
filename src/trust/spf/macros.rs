//! Macro strings of SPF (RFC 7208 section 7): parsed strictly, expanded within bounds.

use std::net::IpAddr;

/// The longest name that DNS carries, in octets without the final dot (section 7.3), and the longest label.
pub(super) const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;
/// How much of an expansion is kept, from its right end: four times what a name can use, or an explanation shows.
const KEPT: usize = 1024;

/// Where a macro string stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a term that names a domain: `c`, `r` and `t` are not for it (section 7.2).
    Domain,
    /// In a modifier that we do not know: by the letter of the grammar all macros are.
    Unknown,
    /// In the text that `exp=` leads to: all macros, and spaces.
    Explanation,
}

/// What the macros stand for.
#[derive(Clone, Debug)]
pub(super) struct Values<'a> {
    /// The sender's local part, unquoted, and his domain.
    pub local: &'a str,
    pub origin: &'a str,
    /// The domain whose record is read.
    pub domain: &'a str,
    /// The client, never IPv4 in the guise of IPv6.
    pub ip: IpAddr,
    pub helo: &'a str,
    /// The client's name, validated; `unknown` where it has none or nobody asked.
    pub validated: &'a str,
    /// Our own name, and the time in seconds since 1970.
    pub receiver: &'a str,
    pub now: i64,
}

/// A macro string, ready to be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MacroString(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `%%`, `%_`, `%-`: text, but an expansion to the grammar.
    Fixed(&'static str),
    Macro(Macro),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Macro {
    /// In lower case.
    letter: char,
    /// Written in upper case: to be escaped for a URL.
    escaped: bool,
    /// How many parts are kept, from the right.
    keep: usize,
    reversed: bool,
    delimiters: String,
}

impl MacroString {
    /// Parses by section 7.1; the error says what is wrong with which macro.
    pub fn parse(text: &str, place: Place) -> Result<MacroString, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if first == '%' {
                let (part, after) = parse_expansion(rest, place)?;
                parts.push(part);
                rest = after;
            } else {
                let end = rest.find('%').unwrap_or(rest.len());
                let literal = &rest[..end];
                let allowed = |c: char| c.is_ascii_graphic() || (c == ' ' && place == Place::Explanation);
                if !literal.chars().all(allowed) {
                    return Err("it has a character that is not visible ASCII".into());
                }
                parts.push(Part::Text(literal.to_owned()));
                rest = &rest[end..];
            }
        }
        Ok(MacroString(parts))
    }

    /// Whether the client's validated name is in it, which costs look-ups.
    pub fn wants_validated(&self) -> bool {
        self.wants(&['p'])
    }

    fn wants(&self, letters: &[char]) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Macro(one) if letters.contains(&one.letter)))
    }

    /// Whether it can stand where a domain does: it ends in an expansion or in a dot and a top label (`domain-end`).
    fn ends_as_domain(&self) -> Result<(), &'static str> {
        const NO_DOMAIN: &str = "it ends in no domain name with a dot in it";
        let text = match self.0.last() {
            Some(Part::Macro(_) | Part::Fixed(_)) => return Ok(()),
            Some(Part::Text(text)) => text,
            None => return Err("its domain is empty"),
        };
        let (before, label) = text.strip_suffix('.').unwrap_or(text).rsplit_once('.').ok_or(NO_DOMAIN)?;
        if !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit()) {
            let address = self.0.len() == 1 && format!("{before}.{label}").parse::<IpAddr>().is_ok();
            return Err(if address {
                "it names an IP address, which belongs behind ip4: or ip6:"
            } else {
                "its top-level domain is a number"
            });
        }
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let fits = !label.is_empty() && label.bytes().all(inner);
        if fits && !label.starts_with('-') && !label.ends_with('-') { Ok(()) } else { Err(NO_DOMAIN) }
    }

    /// The text with every macro expanded; of very long ones the right end, which is what a name keeps.
    pub fn expand(&self, values: &Values<'_>) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Fixed(literal) => text.push_str(literal),
                Part::Macro(one) => text.push_str(&one.expand(values)),
            }
            if text.len() > 2 * KEPT {
                let cut = (text.len() - KEPT..).find(|&at| text.is_char_boundary(at));
                text.drain(..cut.unwrap_or(0));
            }
        }
        text
    }
}

impl Macro {
    fn expand(&self, values: &Values<'_>) -> String {
        let value = self.value(values);
        let mut parts: Vec<&str> = value.split(|c| self.delimiters.contains(c)).collect();
        if self.reversed {
            parts.reverse();
        }
        let text = parts[parts.len().saturating_sub(self.keep)..].join(".");
        if self.escaped { url_escaped(&text) } else { text }
    }

    fn value(&self, values: &Values<'_>) -> String {
        match self.letter {
            's' => format!("{}@{}", values.local, values.origin),
            'l' => values.local.to_owned(),
            'o' => values.origin.to_owned(),
            'd' => values.domain.to_owned(),
            'i' => dotted(values.ip),
            'p' => values.validated.to_owned(),
            'v' => if values.ip.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            'h' => values.helo.to_owned(),
            'c' => values.ip.to_string(),
            'r' => values.receiver.to_owned(),
            _ => values.now.to_string(),
        }
    }
}

/// A domain as a term names it (`domain-spec`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DomainSpec(MacroString);

impl DomainSpec {
    /// Parses by section 7.1.
    pub fn parse(text: &str) -> Result<DomainSpec, String> {
        let text = MacroString::parse(text, Place::Domain)?;
        text.ends_as_domain()?;
        Ok(DomainSpec(text))
    }

    /// Whether the sender's local part is in it.
    pub fn wants_local(&self) -> bool {
        self.0.wants(&['s', 'l'])
    }

    /// As [`MacroString::wants_validated`].
    pub fn wants_validated(&self) -> bool {
        self.0.wants_validated()
    }

    /// The name that is meant, without a final dot; too long ones lose labels on the left (section 7.3).
    pub fn expand(&self, values: &Values<'_>) -> String {
        let text = self.0.expand(values);
        let mut name = text.strip_suffix('.').unwrap_or(&text);
        while name.len() > NAME_MAX {
            let Some((_, shorter)) = name.split_once('.') else { break };
            name = shorter;
        }
        name.to_owned()
    }
}

/// Whether DNS can carry the name, in any letters.
pub(super) fn fits_dns(name: &str) -> bool {
    let fits = |label: &str| (1..=LABEL_MAX).contains(&label.len());
    name.len() <= NAME_MAX && name.is_ascii() && name.split('.').all(fits)
}

/// Reads one expansion at the start of `text`, and gives what follows it.
fn parse_expansion(text: &str, place: Place) -> Result<(Part, &str), String> {
    let rest = &text[1..];
    for (sign, meaning) in [("%", "%"), ("_", " "), ("-", "%20")] {
        if let Some(after) = rest.strip_prefix(sign) {
            return Ok((Part::Fixed(meaning), after));
        }
    }
    let inside = rest.strip_prefix('{').ok_or("a % in it starts no macro")?;
    let (inside, after) = inside.split_once('}').ok_or("a macro in it does not end")?;
    let wrong = || format!("it has a macro %{{{inside}}}, which there is not");
    let written = inside.chars().next().ok_or_else(wrong)?;
    let letter = written.to_ascii_lowercase();
    match letter {
        's' | 'l' | 'o' | 'd' | 'i' | 'p' | 'v' | 'h' => {}
        'c' | 'r' | 't' if place != Place::Domain => {}
        'c' | 'r' | 't' => return Err(format!("%{{{letter}}} is for explanations only")),
        _ => return Err(wrong()),
    }
    let rest = &inside[1..];
    let (digits, rest) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    let keep = match digits {
        "" => usize::MAX,
        // What overflows keeps more parts than anything has.
        digits => digits.parse().unwrap_or(usize::MAX),
    };
    let delimiters = rest.strip_prefix(['r', 'R']).unwrap_or(rest);
    if keep == 0 || !delimiters.chars().all(|c| ".-+,/_=".contains(c)) {
        return Err(wrong());
    }
    let one = Macro {
        letter,
        escaped: written.is_ascii_uppercase(),
        keep,
        reversed: rest.len() > delimiters.len(),
        delimiters: if delimiters.is_empty() { ".".into() } else { delimiters.into() },
    };
    Ok((Part::Macro(one), after))
}

/// IPv4 as ever, IPv6 as 32 digits with dots between them.
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let digits: Vec<String> =
                ip.octets().iter().map(|octet| format!("{:X}.{:X}", octet >> 4, octet & 15)).collect();
            digits.join(".")
        }
    }
}

/// Everything but the unreserved characters of RFC 3986 becomes `%XX`.
fn url_escaped(text: &str) -> String {
    let mut out = String::new();
    for octet in text.bytes() {
        match octet {
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(octet)),
            octet if octet.is_ascii_alphanumeric() => out.push(char::from(octet)),
            octet => out.push_str(&format!("%{octet:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests;
