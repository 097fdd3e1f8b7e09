//! Certificates and keys: what is read lies within what was given, and a key reads the same wherever it stands.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::policy::tls::{Dane, Tlsa, dane_of};
use pillarbox::policy::x509::{Certificate, PublicKey};

fuzz_target!(|der: &[u8]| {
    let certificate = Certificate::parse(der);
    if let Some(Certificate { issuer, key }) = certificate {
        assert!(issuer.len() + key.whole.len() < der.len());
        assert_eq!(PublicKey::parse(key.whole), Some(key));
    }
    let key = PublicKey::parse(der);
    if let Some(key) = certificate.map(|certificate| certificate.key).or(key) {
        assert!(key.algorithm.len() + key.bits.len() < key.contents.len());
        assert!(key.modulus_bits().is_none_or(|bits| bits <= key.bits.len() * 8));
    }
    for (selector, readable) in [(0, certificate.is_some()), (1, key.is_some())] {
        let record = Tlsa { usage: 3, selector, matching: 0, data: der.to_vec() };
        let expected = if readable { Dane::Records(vec![record.clone()]) } else { Dane::Unusable };
        assert_eq!(dane_of(vec![record], true), expected);
    }
});
