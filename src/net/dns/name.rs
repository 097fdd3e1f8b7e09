//! Names in presentation format (RFC 1035 section 5.1): every octet can be asked for, also those that no host name has. What
//! SPF asks for may have any visible character in it.

use hickory_resolver::proto::rr::Name;

/// Reads a name: `\` and three decimal digits are an octet, `\` and another character is that character. None for what DNS
/// cannot carry.
pub(super) fn read(text: &str) -> Option<Name> {
    let mut labels = vec![Vec::new()];
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        let literal = match octet {
            b'.' => {
                labels.push(Vec::new());
                continue;
            }
            b'\\' => match octets.next()? {
                first if first.is_ascii_digit() => {
                    let digits = [first, octets.next()?, octets.next()?];
                    std::str::from_utf8(&digits).ok()?.parse().ok()?
                }
                other => other,
            },
            octet => octet,
        };
        labels.last_mut()?.push(literal);
    }
    // The final dot; one that belongs to a label is written with a backslash.
    if labels.len() > 1 && labels.last().is_some_and(Vec::is_empty) {
        labels.pop();
    }
    if labels.iter().any(Vec::is_empty) {
        return None;
    }
    let mut name = Name::from_labels(labels).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// Shows a name without the final dot and in lower case, so that [`read`] gives it back; the root is empty.
pub(super) fn show(name: &Name) -> String {
    let mut out = String::new();
    for label in name.iter() {
        if !out.is_empty() {
            out.push('.');
        }
        for octet in label {
            match octet.to_ascii_lowercase() {
                octet @ (b'.' | b'\\') => out.extend(['\\', char::from(octet)]),
                octet if octet.is_ascii_graphic() => out.push(char::from(octet)),
                octet => out.push_str(&format!("\\{octet:03}")),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn any_octet_can_be_asked_for() {
        let octets = |text: &str| {
            let name = read(text).unwrap();
            name.iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        assert_eq!(octets("foo:bar/baz.example.com."), [&b"foo:bar/baz"[..], b"example", b"com"]);
        assert_eq!(octets("a\\.b.c%d\\032\\\\e"), [&b"a.b"[..], b"c%d \\e"]);
        for wrong in ["", ".", "a..b", "a\\", "a\\25", "a\\999", &"x".repeat(64), &"x.".repeat(130)] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 1..6)) {
            let name = Name::from_labels(labels).unwrap();
            prop_assert_eq!(read(&show(&name)).unwrap(), name.to_lowercase());
        }

        #[test]
        fn no_text_is_a_panic(text in ".*") {
            let _ = read(&text);
        }
    }
}
