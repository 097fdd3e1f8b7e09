use super::*;
use proptest::prelude::*;

fn values(ip: &str) -> Values<'static> {
    Values {
        local: "strong-bad",
        origin: "email.example.com",
        domain: "email.example.com",
        ip: ip.parse().unwrap(),
        helo: "mail.example.net",
        validated: "unknown",
        receiver: "mx.example.org",
        now: 1_800_000_000,
    }
}

fn expanded(text: &str, values: &Values<'_>) -> String {
    MacroString::parse(text, Place::Explanation).unwrap().expand(values)
}

#[test]
fn the_examples_of_the_rfc() {
    // RFC 7208 section 7.4.
    for (text, meaning) in [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
    ] {
        assert_eq!(expanded(text, &values("192.0.2.3")), meaning, "{text}");
    }
    let v6 = expanded("%{ir}.%{v}._spf.%{d2}", &values("2001:db8::cb01"));
    let wanted = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com";
    assert!(v6.eq_ignore_ascii_case(wanted), "{v6}");
}

#[test]
fn the_other_macros_and_the_escapes() {
    for (text, meaning) in [
        ("%{h} %{c} %{r} %{t} %{p}", "mail.example.net 192.0.2.3 mx.example.org 1800000000 unknown"),
        ("%{S}%{D2}", "strong-bad%40email.example.comexample.com"),
        ("100%%%_off%-", "100% off%20"),
        ("%{l99999999999999999999r+-}", "bad.strong"),
        ("%{D1R.-}", "email"),
        ("", ""),
    ] {
        assert_eq!(expanded(text, &values("192.0.2.3")), meaning, "{text}");
    }
    let odd = Values { local: "a+\u{e4}/b~c", ..values("::1") };
    assert_eq!(expanded("%{L}", &odd), "a%2B%C3%A4%2Fb~c");
    assert_eq!(expanded("%{l2r+/}", &odd), "\u{e4}.a");
}

#[test]
fn what_is_no_macro_is_an_error() {
    for wrong in [
        "%", "50%", "%a", "%{", "%{d", "%{}", "%{x}", "%{d0}", "%{d2r2}", "%{dr:}", "%{rr", "%{ d}",
        "%{d2 }", "a\tb",
    ] {
        assert!(MacroString::parse(wrong, Place::Explanation).is_err(), "{wrong}");
    }
    for letter in ["c", "r", "t", "C"] {
        let text = format!("%{{{letter}}}.example.com");
        assert!(MacroString::parse(&text, Place::Domain).is_err(), "{text}");
        assert!(MacroString::parse(&text, Place::Unknown).is_ok(), "{text}");
    }
    assert!(MacroString::parse("two words", Place::Unknown).is_err());
}

#[test]
fn what_ends_as_a_domain() {
    for right in [
        "example.org",
        "example.org.",
        "%{d}",
        "a.%%",
        "foo:bar/baz.example.org",
        "x.xn--p1ai",
        "a.b-c",
        "..org",
        "x.1a",
        "%{i}.d--d",
        "a.1-1",
    ] {
        assert!(DomainSpec::parse(right).is_ok(), "{right}");
    }
    for wrong in [
        "", "org", "org.", "a.-b", "a.b-", "a.1", "1.2.3.4", "a..", "%{d}x", "%{d}.", "a.b/c", "a.b:25",
        "a.b c", "a.\u{e4}",
    ] {
        assert!(DomainSpec::parse(wrong).is_err(), "{wrong}");
    }
    let address = DomainSpec::parse("192.0.2.1").unwrap_err();
    assert!(address.contains("ip4:"), "{address}");
}

#[test]
fn long_names_lose_labels_on_the_left() {
    let long = "x".repeat(60);
    let text = format!("{long}.{long}.{long}.{long}.%{{d}}.org.");
    let name = DomainSpec::parse(&text).unwrap().expand(&values("::1"));
    assert_eq!(name, format!("{long}.{long}.{long}.email.example.com.org"));
    let one = DomainSpec::parse(&format!("{}.%{{l}}", "y".repeat(300))).unwrap();
    assert_eq!(one.expand(&values("::1")), "strong-bad");
    assert!(fits_dns("a.b") && !fits_dns("a..b") && !fits_dns("") && !fits_dns(&"z".repeat(64)));
}

#[test]
fn an_expansion_is_bounded() {
    let many = "%{s}".repeat(16_000);
    assert!(expanded(&many, &values("::1")).len() <= 3 * KEPT);
    let text = format!("{many}.example.org");
    assert!(DomainSpec::parse(&text).unwrap().expand(&values("::1")).len() <= NAME_MAX);
}

proptest! {
    #[test]
    fn no_text_is_a_panic(text in ".*", local in ".*", helo in "\\PC*") {
        let values = Values { local: &local, helo: &helo, ..values("2001:db8::1") };
        for place in [Place::Domain, Place::Unknown, Place::Explanation] {
            if let Ok(parsed) = MacroString::parse(&text, place) {
                parsed.expand(&values);
            }
        }
        if let Ok(spec) = DomainSpec::parse(&text) {
            spec.expand(&values);
        }
    }

    #[test]
    fn macros_of_any_shape_are_bounded(
        text in "([a-z.]{0,20}|%[{][slodiphvSLODIPHV]([1-9][0-9]{0,2})?r?[-.+,/_=]{0,3}[}]|%[%_-]){0,40}",
        local in "\\PC{0,64}",
    ) {
        let parsed = MacroString::parse(&text, Place::Domain).unwrap();
        let values = Values { local: &local, ..values("192.0.2.1") };
        prop_assert!(parsed.expand(&values).len() <= 3 * KEPT);
    }
}
