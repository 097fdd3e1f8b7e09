//! Seals, and the tags of signatures: what is understood is written and read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::mail::header::split_lenient;
use pillarbox::trust::seal::Seal;
use pillarbox::trust::signature::{Signature, is_signature};

fuzz_target!(|value: &[u8]| {
    if let Ok(seal) = Seal::parse(value) {
        assert!(seal.nonce.len() == 32 && !seal.recipients.is_empty());
        assert_eq!(Seal::parse(seal.value().as_bytes()), Ok(seal));
    }
    let field = [b"DKIM-Signature:", value].concat();
    for field in split_lenient(&field).fields.iter().filter(|field| is_signature(field)) {
        if let Ok(signature) = Signature::parse(field) {
            assert!(!signature.selector.is_empty() && signature.lists("from") > 0);
        }
    }
});
