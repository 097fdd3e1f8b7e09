//! Lists of mailboxes: what is read strictly is read leniently as the same, and a display name that was written is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::mail::mailboxes::{Named, Target, parse, parse_lenient, phrase};

fuzz_target!(|value: &[u8]| {
    let (lenient, unread) = parse_lenient(value);
    if let Ok(strict) = parse(value) {
        let strict: Vec<Named> = strict
            .into_iter()
            .map(|mailbox| Named { display: mailbox.display, target: Target::Full(mailbox.address) })
            .collect();
        assert_eq!((lenient, unread), (strict, Vec::new()));
    }
    if let Ok(display) = std::str::from_utf8(value) {
        let written = phrase(display);
        assert!(!written.chars().any(char::is_control), "{written:?}");
        let list = parse(format!("{written} <me@here.example>").as_bytes()).expect("a phrase of ours");
        assert_eq!(list.len(), 1, "{written:?}");
        assert_eq!(list[0].address.to_string(), "me@here.example");
    }
});
