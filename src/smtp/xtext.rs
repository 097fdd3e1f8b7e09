//! `xtext` of RFC 3461 section 4: how DSN parameters carry arbitrary text.

/// Decodes; `None` where the text is no xtext or what comes out is no printable UTF-8. Characters above ASCII may stand
/// as they are (RFC 6533 section 3).
pub fn decode(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => break,
            [b'+', high, low, rest @ ..] => {
                octets.push(hex(*high)? << 4 | hex(*low)?);
                rest
            }
            [b'+' | b'=' | 0..=b' ' | 0x7f, ..] => return None,
            [octet, rest @ ..] => {
                octets.push(*octet);
                rest
            }
        };
    }
    String::from_utf8(octets).ok().filter(|text| !text.chars().any(char::is_control))
}

/// Encodes: everything but printable ASCII, and `+` and `=`, as `+` and two hexadecimal digits.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'+' | b'=' | 0..=b' ' | 0x7f.. => out.push_str(&format!("+{octet:02X}")),
            _ => out.push(char::from(octet)),
        }
    }
    out
}

/// Upper case only, as the RFC has it.
fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_went() {
        for text in ["", "rfc822;me+topic@a.example", "a b=c", "é", "+2B"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
        assert_eq!(encode("a+b=c d"), "a+2Bb+3Dc+20d");
    }

    #[test]
    fn what_is_no_xtext_is_refused() {
        for text in ["+", "+2", "+2b", "+ZZ", "a=b", "a b", "+0A", "+00", "+FF"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
