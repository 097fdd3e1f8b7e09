//! Folding a field at its white space (RFC 5322 section 2.2.3).

use crate::mail::header::LINE_MAX;

/// Where lines break if they can: encoded-words ask for 76 (RFC 2047 section 2).
const LINE_WISHED: usize = 76;

/// `name:` and the value (one line, without line ends) folded; nothing if a word is longer than a line may be.
pub(super) fn field(name: &str, value: &str) -> Option<Vec<u8>> {
    let mut out = format!("{name}:").into_bytes();
    let mut column = out.len();
    let mut rest = value;
    loop {
        let word_at = rest.find(|c| c != ' ' && c != '\t').unwrap_or(rest.len());
        let (space, behind) = rest.split_at(word_at);
        if behind.is_empty() {
            break;
        }
        let (word, next) = behind.split_at(behind.find([' ', '\t']).unwrap_or(behind.len()));
        let mut space = space;
        if !space.is_empty() && column + space.len() + word.len() > LINE_WISHED {
            // A run of white space is worth no more than one space, where it would fill a line.
            if space.len() + word.len() > LINE_WISHED {
                space = " ";
            }
            out.extend_from_slice(b"\r\n");
            column = 0;
        }
        out.extend_from_slice(space.as_bytes());
        out.extend_from_slice(word.as_bytes());
        column += space.len() + word.len();
        if column > LINE_MAX {
            return None;
        }
        rest = next;
    }
    out.extend_from_slice(b"\r\n");
    Some(out)
}
