use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Record {
    Record::parse(text.as_bytes()).unwrap_or_else(|why| panic!("{text}: {why}"))
}

#[test]
fn only_version_1_is_spf() {
    for spf in ["v=spf1", "v=spf1 ", "V=SPF1 -all", "v=Spf1 \u{e4}"] {
        assert!(is_spf(spf.as_bytes()), "{spf}");
    }
    for other in
        ["", "v=spf", "v=spf10", "v=spf1\t-all", "v=spf1-all", " v=spf1", "v=spf2.0/pra -all", "\"v=spf1\""]
    {
        assert!(!is_spf(other.as_bytes()), "{other}");
    }
}

#[test]
fn a_record_is_its_terms() {
    let record = parse(
        "v=spf1  A:Example.org/24//64 ?mx//48 ~ip4:192.0.2.0/24 ip6:2001:DB8::/32 moo=%{c}/x rEdIrEcT=%{d2} exp=e.%{o} ",
    );
    let results: Vec<SpfResult> = record.directives.iter().map(|one| one.result).collect();
    assert_eq!(results, [SpfResult::Pass, SpfResult::Neutral, SpfResult::SoftFail, SpfResult::Pass]);
    let mechanisms: Vec<&Mechanism> = record.directives.iter().map(|one| &one.mechanism).collect();
    assert!(matches!(mechanisms[0], Mechanism::A(Some(_), Prefixes { v4: 24, v6: 64 })), "{mechanisms:?}");
    assert!(matches!(mechanisms[1], Mechanism::Mx(None, Prefixes { v4: 32, v6: 48 })), "{mechanisms:?}");
    assert_eq!(*mechanisms[2], Mechanism::Ip4("192.0.2.0".parse().unwrap(), 24));
    assert_eq!(*mechanisms[3], Mechanism::Ip6("2001:db8::".parse().unwrap(), 32));
    assert!(record.redirect.is_some() && record.explanation.is_some());
    assert_eq!(record.directives[0].text, "A:Example.org/24//64");
}

#[test]
fn one_fault_anywhere_spoils_the_record() {
    for term in [
        "moo",
        "-moo:x.org",
        "all.",
        "all:x.org",
        "all/8",
        "include",
        "include:",
        "include:org",
        "include:x.org/24",
        "exists",
        "exists:x.org/8",
        "ptr/0",
        "ptr:",
        "a:",
        "a/",
        "a//",
        "a/33",
        "a//129",
        "a/08",
        "a/24/64",
        "a//64/24",
        "a:x.org/",
        "mx:-",
        "ip4",
        "ip4:",
        "ip4:1.2.3",
        "ip4:1.2.3.4.5",
        "ip4:01.2.3.4",
        "ip4:1.2.3.4/33",
        "ip4:1.2.3.4/",
        "ip4:1.2.3.4//32",
        "ip4:::1",
        "ip4:1.2.3.4:25",
        "ip6",
        "ip6:1.2.3.4",
        "ip6:::1/129",
        "ip6:::1/+1",
        "ip6:::1//33",
        "ip6:fe80::1%eth0",
        "redirect=",
        "redirect=org",
        "redirect:x.org",
        "exp=",
        "exp=-all",
        "+exp=x.org",
        "=x.org",
        "1up=x",
        "a_b",
        "moo=%x",
        "a:%{c}.org",
        "--all",
        "+",
        "-",
        "a:x.org\t-all",
        "a:\0.org",
        "a :x.org",
        "a,mx",
        "ip4=1.2.3.4 moo",
    ] {
        let text = format!("v=spf1 {term} +all");
        let why = Record::parse(text.as_bytes()).expect_err(&text);
        assert!(why.starts_with('"') && why.contains("\": ") && why.is_ascii(), "{why}");
        assert!(Record::parse(format!("v=spf1 +all {term}").as_bytes()).is_err(), "behind all: {term}");
    }
    for twice in ["exp=a.org exp=a.org", "redirect=a.org Redirect=b.org"] {
        assert!(Record::parse(format!("v=spf1 {twice}").as_bytes()).unwrap_err().contains("two"), "{twice}");
    }
    for modifiers in ["moo=", "moo=1 moo=2", "m.o-o_1=%{t}", "v=spf1", "ip4=1.2.3.4", "all=x"] {
        assert_eq!(parse(&format!("v=spf1 {modifiers} -all")).directives.len(), 1, "{modifiers}");
    }
    assert!(Record::parse(b"v=spf1 a:\xc3\xa4.org -all").unwrap_err().contains("ASCII"));
    assert!(Record::parse(b"v=spf1 \x96all").is_err());
}

#[test]
fn what_can_never_be_reached_is_not_kept() {
    assert_eq!(parse("v=spf1 a -all a a a").directives.len(), 2);
    assert_eq!(parse(&format!("v=spf1{}", " a".repeat(30_000))).directives.len(), TERMS_MAX + 1);
    let long = format!("v=spf1{}", " a".repeat(40_000));
    assert!(Record::parse(long.as_bytes()).unwrap_err().contains("64 KiB"));
}

#[test]
fn networks_match_by_their_first_bits() {
    let near = |ip: &str, network: &str, bits| within(ip.parse().unwrap(), network.parse().unwrap(), bits);
    assert!(near("192.0.2.129", "192.0.2.130", 30) && !near("192.0.2.129", "192.0.2.130", 31));
    assert!(near("1.2.3.4", "255.255.255.255", 0) && !near("1.2.3.4", "1.2.3.5", 32));
    assert!(near("2001:db8::1", "2001:db8:0:1::", 63) && !near("2001:db8::1", "2001:db8:0:1::", 64));
    assert!(near("::1", "ffff::", 0) && !near("::1", "::", 128) && near("::1", "::1", 128));
    assert!(!near("1.2.3.4", "::ffff:1.2.3.4", 0));
}

proptest! {
    #[test]
    fn no_record_is_a_panic(text in "v=spf1( [-+?~]?(a|mx|ptr|ip4|ip6|include|exists|all|exp|redirect)?[:=/]{0,2}[!-~]{0,12}){0,6}") {
        let _ = Record::parse(text.as_bytes());
    }

    #[test]
    fn nor_are_octets(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (is_spf(&text), Record::parse(&text));
    }
}
