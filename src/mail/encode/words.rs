//! Encoded-words (RFC 2047).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What an encoded-word of 75 characters has between `=?utf-8?q?` and `?=`.
const PAYLOAD: usize = 63;
/// The octets that fit into it as base64.
const BASE64_OCTETS: usize = PAYLOAD / 4 * 3;

/// `text` with each run of words that `needs` it encoded, white space between such words included; all others stay
/// as they are.
pub(super) fn encode_runs(text: &str, needs: impl Fn(&str) -> bool) -> String {
    let words = split(text);
    let mut out = String::with_capacity(text.len() * 2);
    let mut at = 0;
    while at < words.len() {
        let (space, word) = words[at];
        out.push_str(space);
        if !needs(word) {
            out.push_str(word);
            at += 1;
            continue;
        }
        let end = words[at..].iter().position(|(_, word)| !needs(word)).map_or(words.len(), |n| at + n);
        let mut run = String::new();
        // Readers drop white space between neighbouring encoded-words: here it goes inside ours.
        if at > 0 && is_encoded(words[at - 1].1) {
            run.push_str(space);
        }
        run.push_str(word);
        for (space, word) in &words[at + 1..end] {
            run.push_str(space);
            run.push_str(word);
        }
        if let Some((space, word)) = words.get(end)
            && is_encoded(word)
        {
            run.push_str(space);
        }
        out.push_str(&encode(&run));
        at = end;
    }
    out
}

/// Each word with the white space before it.
fn split(text: &str) -> Vec<(&str, &str)> {
    let is_space = |c: char| c == ' ' || c == '\t';
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let start = rest.find(|c| !is_space(c)).unwrap_or(rest.len());
        let (space, behind) = rest.split_at(start);
        let (word, next) = behind.split_at(behind.find(is_space).unwrap_or(behind.len()));
        words.push((space, word));
        rest = next;
    }
    words
}

fn is_encoded(word: &str) -> bool {
    word.starts_with("=?") && word.ends_with("?=")
}

/// Encoded-words with single spaces between them: `q` where people without a decoder can still guess it, else `b`.
fn encode(text: &str) -> String {
    let quoted: usize = text.bytes().map(|b| q_encoded(b).len()).sum();
    let (tag, limit) = if quoted <= text.len() * 5 / 2 { ('q', PAYLOAD) } else { ('b', BASE64_OCTETS) };
    let width = |c: char| match tag {
        'q' => c.encode_utf8(&mut [0; 4]).bytes().map(|b| q_encoded(b).len()).sum(),
        _ => c.len_utf8(),
    };
    let mut pieces = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (at, c) in text.char_indices() {
        let wide: usize = width(c);
        if used + wide > limit {
            pieces.push(&text[start..at]);
            (start, used) = (at, 0);
        }
        used += wide;
    }
    pieces.push(&text[start..]);
    let word = |piece: &str| match tag {
        'q' => format!("=?utf-8?q?{}?=", piece.bytes().map(q_encoded).collect::<String>()),
        _ => format!("=?utf-8?b?{}?=", STANDARD.encode(piece)),
    };
    pieces.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The characters that RFC 2047 section 5 (3) allows even within a display name; all others as `=XX`.
fn q_encoded(octet: u8) -> String {
    match octet {
        b' ' => "_".to_owned(),
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'*' | b'+' | b'-' | b'/' => {
            char::from(octet).to_string()
        }
        _ => format!("={octet:02X}"),
    }
}
