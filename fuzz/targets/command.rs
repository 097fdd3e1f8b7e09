//! Command lines: an answer for every line, and a path that is understood is one that can be written down.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::mail::address::Address;
use pillarbox::mail::envelope::ReversePath;
use pillarbox::smtp::Door;
use pillarbox::smtp::command::{Command, Context, parse};

fuzz_target!(|line: &[u8]| {
    for door in [Door::Mx, Door::Submission] {
        for smtputf8 in [false, true] {
            let context = Context { hostname: "mx.example.org", door, smtputf8 };
            match parse(line, context) {
                Ok(Command::Hello { name, .. }) => {
                    assert!(name.bytes().all(|octet| octet.is_ascii_graphic()))
                }
                Ok(Command::Mail(sender)) => {
                    if let ReversePath::Address(address) = &sender.path {
                        assert_fit(address, sender.smtputf8);
                    }
                    assert!(sender.envid.is_none_or(|id| !id.contains(['\r', '\n', '\0'])));
                }
                Ok(Command::Rcpt(recipient)) => {
                    assert_fit(&recipient.address, smtputf8);
                    assert!(recipient.orcpt.is_none_or(|text| !text.contains(['\r', '\n', '\0'])));
                }
                Ok(_) => {}
                Err(reply) => assert!((400..600).contains(&reply.code), "{reply}"),
            }
        }
    }
});

fn assert_fit(address: &Address, smtputf8: bool) {
    assert!(smtputf8 || !address.needs_smtputf8(), "{address} came without SMTPUTF8");
    assert_eq!(Address::parse(&address.to_string()).as_ref(), Ok(address));
}
