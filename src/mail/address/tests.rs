use super::*;
use proptest::prelude::*;

fn local_of(text: &str) -> String {
    Address::parse(text).unwrap().local().to_owned()
}

#[test]
fn mailboxes_of_rfc_5321_parse_and_print() {
    for (text, local, printed) in [
        ("me@example.org", "me", "me@example.org"),
        ("Me.Too@EXAMPLE.org", "Me.Too", "Me.Too@example.org"),
        ("me+topic/x=y@a-b.example", "me+topic/x=y", "me+topic/x=y@a-b.example"),
        ("\"me\"@example.org", "me", "me@example.org"),
        ("\"a b\"@example.org", "a b", "\"a b\"@example.org"),
        ("\"a\\\"b\\\\\"@example.org", "a\"b\\", "\"a\\\"b\\\\\"@example.org"),
        ("\"a@b\"@example.org", "a@b", "\"a@b\"@example.org"),
        ("\"..\"@example.org", "..", "\"..\"@example.org"),
        ("\"\\m\\e\"@example.org", "me", "me@example.org"),
        ("me@[192.0.2.1]", "me", "me@[192.0.2.1]"),
        ("me@[ipv6:2001:DB8::1]", "me", "me@[IPv6:2001:db8::1]"),
        ("grün@bücher.example", "grün", "grün@xn--bcher-kva.example"),
        ("root@localhost", "root", "root@localhost"),
    ] {
        let address = Address::parse(text).unwrap();
        assert_eq!(address.local(), local, "{text}");
        assert_eq!(address.to_string(), printed, "{text}");
    }
}

#[test]
fn what_is_no_mailbox_is_refused() {
    for text in [
        "",
        "@",
        "me",
        "me@",
        "@example.org",
        "\"\"@example.org",
        ".me@example.org",
        "me.@example.org",
        "m..e@example.org",
        "m e@example.org",
        " me@example.org",
        "me@example.org ",
        "me@ example.org",
        "me@example.org.",
        "me@.example.org",
        "me@example..org",
        "me@-a.example",
        "me@a-.example",
        "me@a_b.example",
        "me@192.0.2.1",
        "me@exam\u{ff20}ple.org",
        "me@[192.0.2.1",
        "me@[192.0.2]",
        "me@[192.0.2.01]",
        "me@[2001:db8::1]",
        "me@[IPv6:fe80::1%eth0]",
        "me@[x:y]",
        "me@\"example.org\"",
        "a@b@example.org",
        "\"me@example.org",
        "\"me\"example.org",
        "\"m\"e@example.org",
        "\"me\\\"@example.org",
        "\"m\te\"@example.org",
        "\"m\r\ne\"@example.org",
        "\"m\\\re\"@example.org",
        "m\0e@example.org",
        "\"m\0e\"@example.org",
        "m\u{85}e@example.org",
        "\"m\u{9b}e\"@example.org",
        "m\u{7f}e@example.org",
        "me@xn--\u{fc}.example",
        "<me@example.org>",
        "me(x)@example.org",
    ] {
        let error = Address::parse(text).expect_err(text).0;
        assert!(error.bytes().all(|b| (b' '..=b'~').contains(&b)), "{error:?}");
    }
}

#[test]
fn no_control_character_comes_in_by_the_unquoted_way_either() {
    let host = || Host::parse("example.org").unwrap();
    for local in ["a\tb", "a\r\nb", "a\0b", "a\u{85}b", "\u{7f}", ""] {
        assert!(Address::new(local, host()).is_err(), "{local:?}");
    }
    assert_eq!(Address::new("a b", host()).unwrap().to_string(), "\"a b\"@example.org");
}

#[test]
fn lengths_are_those_of_the_rfc() {
    let local = "l".repeat(64);
    assert_eq!(local_of(&format!("{local}@example.org")), local);
    assert!(Address::parse(&format!("{local}l@example.org")).is_err());
    assert!(Address::parse(&format!("{}@example.org", "ü".repeat(33))).is_err());

    let label = "d".repeat(63);
    assert!(Domain::parse(&format!("{label}.example")).is_ok());
    assert!(Domain::parse(&format!("{label}d.example")).is_err());
    let longest = format!("{label}.{label}.{label}.{}", "d".repeat(61));
    assert_eq!(longest.len(), 253);
    assert!(Domain::parse(&longest).is_ok());
    assert!(Domain::parse(&format!("{longest}d")).is_err());
    // The path's 256 octets bind before the domain's 253.
    assert!(Address::parse(&format!("{local}@{longest}")).is_err());
    assert!(Address::parse(&format!("{local}@{}", &longest[64..])).is_ok());
}

#[test]
fn domains_are_a_labels_in_lower_case() {
    let domain = Domain::parse("BÜCHER.Example.").unwrap();
    assert_eq!(domain.as_str(), "xn--bcher-kva.example");
    assert_eq!(domain.unicode(), "bücher.example");
    assert!(Domain::parse("example.org..").is_err());
    assert!(Domain::parse("_domainkey.example.org").is_err());
    assert!(Domain::parse("").is_err());
    assert!(Domain::parse(".").is_err());
}

#[test]
fn local_parts_fold_ascii_case_and_composition_only() {
    assert_eq!(fold_local("Me.TOO"), "me.too");
    assert_eq!(fold_local("u\u{308}"), "ü");
    assert_eq!(fold_local("Ü"), "Ü");
    let a = Address::parse("Me@example.org").unwrap();
    assert!(a.same_as(&Address::parse("\"mE\"@EXAMPLE.org").unwrap()));
    assert!(!a.same_as(&Address::parse("me@example.net").unwrap()));
}

#[test]
fn an_address_survives_serde() {
    let address = Address::parse("\"a b\"@example.org").unwrap();
    let json = serde_json::to_string(&address).unwrap();
    assert_eq!(serde_json::from_str::<Address>(&json).unwrap(), address);
    assert!(serde_json::from_str::<Address>("\"nobody\"").is_err());
}

proptest! {
    #[test]
    fn anything_may_be_asked(text in any::<String>()) {
        let _ = Address::parse(&text);
        let _ = Domain::parse(&text);
        let _ = Host::parse(&text);
    }

    #[test]
    fn what_nearly_is_an_address_prints_and_parses_back(
        text in "[a-z\"\\\\@.ü \\[\\]:0-9A-F\u{80}-\u{9f}]{0,12}@(\\[[0-9.]{7,9}\\]|[a-zü.-]{1,12})",
    ) {
        if let Ok(address) = Address::parse(&text) {
            prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
        }
    }

    #[test]
    fn every_local_part_prints_and_parses_back(local in "\\PC{1,20}", v6 in any::<u128>()) {
        for host in [Host::Domain(Domain("example.org".into())), Host::Literal(IpAddr::V6(v6.into()))] {
            if let Ok(address) = Address::new(&local, host) {
                prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
            }
        }
    }

    #[test]
    fn folding_twice_changes_nothing(local in any::<String>()) {
        let folded = fold_local(&local);
        prop_assert_eq!(fold_local(&folded), folded);
    }
}

#[test]
fn folding_stays_put_where_lower_case_opens_a_composition() {
    let folded = fold_local("W\u{30a}");
    assert_eq!(folded, "\u{1e98}");
    assert_eq!(fold_local(&folded), folded);
}
