//! DNS records as an owner publishes them: in master file form (RFC 1035 section 5) and on one line.

/// A TXT record that is to be published.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Txt {
    /// The full name, without the trailing dot.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Txt {
    /// The record as lines of a zone file, cut into strings of at most 255 octets (RFC 1035 section 3.3.14), and the
    /// same on one line, as a comment, for a provider's web form.
    pub fn zone_lines(&self) -> String {
        let strings: Vec<String> = chunks(&self.text).map(quote).collect();
        // All on one line: parentheses around strings are more than some readers of zone files understand.
        let data = strings.join(" ");
        format!("{}. 3600 IN TXT {data}\n; or, on one line:\n; {} TXT {}\n", self.name, self.name, self.text)
    }
}

/// The pieces that fit into one character-string each. The texts are ASCII: tags and base64.
fn chunks(text: &str) -> impl Iterator<Item = &str> {
    const LONGEST: usize = 255;
    let starts = (0..text.len().max(1)).step_by(LONGEST);
    starts.map(move |start| text.get(start..text.len().min(start + LONGEST)).unwrap_or_default())
}

fn quote(string: &str) -> String {
    format!("\"{}\"", string.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_one_string() {
        let record = Txt { name: "me._domainkey.a.example".into(), text: "v=DKIM1; k=ed25519; p=abc".into() };
        let lines = record.zone_lines();
        assert!(
            lines.starts_with("me._domainkey.a.example. 3600 IN TXT \"v=DKIM1; k=ed25519; p=abc\"\n"),
            "{lines}"
        );
        assert!(lines.ends_with("; me._domainkey.a.example TXT v=DKIM1; k=ed25519; p=abc\n"));
    }

    #[test]
    fn a_long_text_is_cut_into_strings_of_255() {
        for length in [255, 256, 510, 511] {
            let text = "x".repeat(length);
            let pieces: Vec<&str> = chunks(&text).collect();
            assert!(pieces.iter().all(|piece| (1..=255).contains(&piece.len())), "{length}");
            assert_eq!(pieces.concat(), text);
            assert_eq!(pieces.len(), length.div_ceil(255));
        }
    }

    #[test]
    fn a_name_server_reads_it_back() {
        let text = format!("v=DKIM1; k=rsa; p={}", "A".repeat(400));
        let record = Txt { name: "me._domainkey.a.example".into(), text: text.clone() };
        let zone = crate::ops::trial::dns::parse(&record.zone_lines()).unwrap();
        let found: Vec<String> = zone
            .iter()
            .filter_map(|record| match &record.data {
                hickory_proto::rr::RData::TXT(txt) => Some(
                    txt.txt_data
                        .iter()
                        .map(|part| String::from_utf8_lossy(part).into_owned())
                        .collect::<String>(),
                ),
                _ => None,
            })
            .collect();
        assert_eq!(found, [text]);
    }
}
