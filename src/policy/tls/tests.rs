use super::*;
use proptest::prelude::*;

const RECORD: Tlsa = Tlsa { usage: 3, selector: 1, matching: 1, data: Vec::new() };

fn record(usage: u8, selector: u8, matching: u8, length: usize) -> Tlsa {
    Tlsa { usage, selector, matching, data: vec![7; length] }
}

fn one(record: Tlsa) -> Dane {
    Dane::Records(vec![record])
}

#[test]
fn what_is_demanded_follows_from_configuration_dane_and_mta_sts() {
    use Demand::{Clear, Encrypted, Opportunistic, Verified};
    use TlsLevel::{Off, Require};
    let level = TlsLevel::Opportunistic;
    let (absent, unusable, records) = (Dane::Absent, Dane::Unusable, one(RECORD));
    let matched = Demand::Dane(vec![RECORD]);
    let (testing, stray) = (Sts::Testing { named: true }, Sts::Testing { named: false });
    let (enforce, unnamed) = (Sts::Enforce { named: true }, Sts::Enforce { named: false });
    let rows = [
        (level, &absent, Sts::Silent, Some(&Opportunistic)),
        (level, &absent, testing, Some(&Opportunistic)),
        (level, &absent, stray, Some(&Opportunistic)),
        (level, &absent, enforce, Some(&Verified)),
        (level, &absent, unnamed, None),
        (level, &unusable, Sts::Silent, Some(&Encrypted)),
        (level, &unusable, testing, Some(&Encrypted)),
        (level, &unusable, stray, Some(&Encrypted)),
        (level, &unusable, enforce, Some(&Verified)),
        (level, &unusable, unnamed, None),
        (level, &records, Sts::Silent, Some(&matched)),
        (level, &records, testing, Some(&matched)),
        (level, &records, stray, Some(&matched)),
        (level, &records, enforce, Some(&matched)),
        (level, &records, unnamed, None),
        (Require, &absent, Sts::Silent, Some(&Verified)),
        (Require, &absent, testing, Some(&Verified)),
        (Require, &absent, stray, Some(&Verified)),
        (Require, &absent, enforce, Some(&Verified)),
        (Require, &absent, unnamed, None),
        (Require, &unusable, Sts::Silent, Some(&Verified)),
        (Require, &unusable, testing, Some(&Verified)),
        (Require, &unusable, stray, Some(&Verified)),
        (Require, &unusable, enforce, Some(&Verified)),
        (Require, &unusable, unnamed, None),
        (Require, &records, Sts::Silent, Some(&matched)),
        (Require, &records, testing, Some(&matched)),
        (Require, &records, stray, Some(&matched)),
        (Require, &records, enforce, Some(&matched)),
        (Require, &records, unnamed, None),
        (Off, &absent, Sts::Silent, Some(&Clear)),
        (Off, &records, enforce, Some(&Clear)),
        (Off, &unusable, unnamed, Some(&Clear)),
    ];
    for (level, dane, sts, expected) in rows {
        let found = demand(level, dane.clone(), sts);
        assert_eq!(found.as_ref().ok(), expected, "{level:?} {dane:?} {sts:?}");
    }
}

#[test]
fn records_are_usable_that_smtp_can_use_and_that_can_match_something() {
    let usable = [(3, 1, 1, 32), (3, 1, 2, 64), (3, 0, 1, 32), (3, 0, 2, 64), (2, 1, 1, 32), (2, 0, 2, 64)];
    for (usage, selector, matching, length) in usable {
        let record = record(usage, selector, matching, length);
        assert_eq!(dane_of(vec![record.clone()], true), one(record.clone()), "{record}");
        assert_eq!(dane_of(vec![record.clone()], false), Dane::Absent, "{record}");
    }
    let unusable = [
        (0, 1, 1, 32),
        (1, 1, 1, 32),
        (4, 1, 1, 32),
        (255, 1, 1, 32),
        (3, 2, 1, 32),
        (3, 255, 1, 32),
        (3, 1, 3, 32),
        (3, 1, 255, 32),
        (3, 1, 1, 0),
        (3, 1, 1, 31),
        (3, 1, 1, 33),
        (3, 1, 1, 64),
        (3, 1, 2, 32),
        (3, 0, 2, 63),
        (3, 0, 0, 400),
        (3, 1, 0, 91),
        (2, 0, 0, 0),
        (2, 1, 0, 0),
    ];
    for (usage, selector, matching, length) in unusable {
        let record = record(usage, selector, matching, length);
        assert_eq!(dane_of(vec![record.clone()], true), Dane::Unusable, "{record}");
        assert_eq!(dane_of(vec![record.clone(), good()], true), one(good()), "{record}");
        assert_eq!(dane_of(vec![record.clone()], false), Dane::Absent, "{record}");
    }
    assert_eq!(dane_of(Vec::new(), true), Dane::Absent);
}

fn good() -> Tlsa {
    record(3, 1, 1, 32)
}

#[test]
fn what_is_held_in_full_must_be_what_it_says() {
    let made = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
    let whole = made.cert.der().to_vec();
    let key = Certificate::parse(&whole).unwrap().key.whole.to_vec();
    let kept = |selector, data: &[u8]| {
        dane_of(vec![Tlsa { usage: 3, selector, matching: 0, data: data.to_vec() }], true) != Dane::Unusable
    };
    assert!(kept(0, &whole) && kept(1, &key));
    assert!(!kept(1, &whole) && !kept(0, &key));
    assert!(!kept(0, &whole[1..]) && !kept(0, &whole[..whole.len() - 1]) && !kept(1, &key[..key.len() - 1]));
    // Keys are whole octets.
    let at = key.windows(2).position(|pair| pair == [0, 4]).unwrap();
    assert!(!kept(1, &[&key[..at], &[1], &key[at + 1..]].concat()));
    assert!(!kept(0, &[&whole[..], b"x"].concat()) && !kept(1, &[&key[..], b"x"].concat()));
}

#[test]
fn of_two_digests_of_one_thing_the_stronger_one_counts() {
    let (weak, strong) = (record(3, 1, 1, 32), record(3, 1, 2, 64));
    assert_eq!(dane_of(vec![weak.clone(), strong.clone()], true), one(strong.clone()));
    // Digests of other things, and one that cannot be used, take nothing away.
    for other in [record(3, 0, 2, 64), record(2, 1, 2, 64)] {
        let both = vec![weak.clone(), other];
        assert_eq!(dane_of(both.clone(), true), Dane::Records(both));
    }
    assert_eq!(dane_of(vec![weak.clone(), record(3, 1, 2, 32)], true), one(weak));
}

#[test]
fn no_host_makes_us_try_records_without_end() {
    let Dane::Records(kept) = dane_of(vec![good(); 5000], true) else { panic!() };
    assert_eq!(kept.len(), MAX_RECORDS);
}

proptest! {
    #[test]
    fn no_data_is_a_fault_and_what_is_read_lies_within(data in prop::collection::vec(any::<u8>(), 0..200)) {
        let key = PublicKey::parse(&data);
        prop_assert!(key.is_none_or(|key| key.whole == data && key.contents.len() < data.len()));
        prop_assert!(Certificate::parse(&data).is_none_or(|it| it.key.whole.len() < data.len()));
    }

    #[test]
    fn a_damaged_certificate_is_never_a_fault(at in 0..400usize, octet in any::<u8>()) {
        static MADE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
            let made = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
            made.cert.der().to_vec()
        });
        let mut der = MADE.clone();
        let at = at % der.len();
        der[at] = octet;
        let modulus = Certificate::parse(&der).and_then(|it| it.key.modulus_bits());
        prop_assert!(modulus.is_none_or(|bits| bits <= der.len() * 8));
    }
}

#[test]
fn a_record_is_read_as_a_zone_has_it() {
    let digest = "0123456789abcdefABCDEF0123456789".repeat(2);
    let read = |text: &str| text.parse::<Tlsa>();
    let record = read(&format!("3 1 1 {digest}")).unwrap();
    assert_eq!((record.to_string().as_str(), record.data.len(), record.data[0]), ("3 1 1", 32, 1));
    let (front, back) = digest.split_at(31);
    assert_eq!(read(&format!("3 1 1 {front} {back}")).unwrap(), record);
    for wrong in [
        "",
        "3 1",
        "3 1 1",
        "3 1 1 0123",
        &digest,
        &format!("3 1 1 {digest}0"),
        &format!("3 1 1 {digest}é"),
        &format!("3 1 1 +{}", &digest[1..]),
        &format!("1 1 1 {digest}"),
        &format!("3 2 1 {digest}"),
        &format!("3 1 2 {digest}"),
        &format!("3 1 256 {digest}"),
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
