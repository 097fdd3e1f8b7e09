//! What a filter says, which may be in a stranger's hands: its fields stand in a header as they are and end nothing, its words
//! are one line; and what is odd in a letter's form is a short list of short words.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::mail::envelope::{ReversePath, Sender};
use pillarbox::mail::form::{Carriage, in_words, oddities};
use pillarbox::mail::header::{split_lenient, split_strict};
use pillarbox::policy::filter::{FilterVerdict, MOST_FIELDS, judge};
use pillarbox::policy::results::verdict_field;

fuzz_target!(|input: &[u8]| {
    let Some((status, output)) = input.split_first() else { return };
    for status in [i32::from(*status), 0, 77] {
        let Ok(judged) = judge(status, output) else { continue };
        if let Some(reply) = judged.verdict.reply() {
            let mut line = Vec::new();
            reply.encode(&mut line);
            assert!(line.is_ascii() && line.ends_with(b"\r\n"));
        }
        if let FilterVerdict::Accept { fields } | FilterVerdict::Junk { fields } = judged.verdict {
            added(&fields);
        }
    }
    let sender = Sender::new(ReversePath::Null);
    let carriage = Carriage { sender: &sender, longest_line: 0, eight_bit_body: false };
    let found = oddities(&split_lenient(output), carriage);
    assert!(found.len() < 50);
    let said = verdict_field("accept", &in_words(&found).unwrap_or_default());
    assert_eq!(split_strict(format!("{said}\r\n").as_bytes()).map(|header| header.fields.len()), Ok(1));
});

fn added(fields: &[String]) {
    assert!(fields.len() <= MOST_FIELDS);
    for field in fields {
        let header = format!("{field}Subject: x\r\n\r\n");
        let split = split_strict(header.as_bytes()).expect("a header that every reader understands");
        assert_eq!(split.fields.len(), 2, "{field:?}");
        let name = split.fields[0].name.to_ascii_lowercase();
        for ours in
            ["authentication-results", "received", "return-path", "delivered-to", "dkim-signature", "from"]
        {
            assert_ne!(name, ours);
        }
        assert!(!name.starts_with("pillarbox"));
    }
}
