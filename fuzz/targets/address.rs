//! Addresses, hosts and domains: what is read is written, and what is written is read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::mail::address::{Address, Domain, Host, fold_local};

fuzz_target!(|text: &str| {
    if let Ok(address) = Address::parse(text) {
        let written = address.to_string();
        assert!(written.len() <= 254, "{written:?} is too long");
        assert!(!written.chars().any(char::is_control), "{written:?} has a control character");
        assert_eq!(Address::parse(&written).as_ref(), Ok(&address), "{written:?}");
        assert!(address.same_as(&address));
        let folded = address.folded_local();
        assert_eq!(fold_local(&folded), folded, "folding twice");
    }
    if let Ok(host) = Host::parse(text) {
        assert_eq!(Host::parse(&host.to_string()), Ok(host));
    }
    if let Ok(domain) = Domain::parse(text) {
        let name = domain.as_str();
        assert!(name.is_ascii() && name == name.to_ascii_lowercase(), "{name:?}");
        assert!(
            name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len())),
            "{name:?}"
        );
        assert_eq!(Domain::parse(name).as_ref(), Ok(&domain));
        // What is shown to people means the same.
        assert_eq!(Domain::parse(&domain.unicode()), Ok(domain));
    }
});
