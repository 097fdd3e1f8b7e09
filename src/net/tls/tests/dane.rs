//! One row for each kind of TLSA record and each way in which a chain fails it.

use super::pki::{Pki, Shown, record};
use super::{HOST, Identity, shake};
use crate::policy::tls::{Dane, Demand, Tlsa, dane_of};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};

const NO_MATCH: &str = "no TLSA record matches its certificate";

/// What comes of records that DNSSEC vouches for; the label of the one that matched, or the sentence.
async fn outcome(pki: &Pki, records: Vec<Tlsa>, shown: &Shown, names: &[&str]) -> Result<String, String> {
    let Dane::Records(records) = dane_of(records, true) else { panic!("usable records") };
    match shake(pki, shown, names, &Demand::Dane(records)).await {
        Ok((_, secured)) => match secured.identity {
            Identity::Dane(label) => Ok(label),
            other => panic!("{other:?}"),
        },
        Err(why) => Err(why.to_string()),
    }
}

#[tokio::test]
async fn dane_ee_matches_by_every_selector_and_matching_type_and_asks_nothing_else() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256] {
        let pki = Pki::new(algorithm);
        let fit = [
            pki.host(&[HOST]),
            pki.host(&[HOST]).tls12(),
            pki.host(&["mx.other.example"]),
            pki.expired(&[HOST]),
            pki.for_clients(&[HOST]),
            pki.self_signed(&[]),
        ];
        for shown in fit {
            for (selector, matching) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
                let records = vec![record(3, selector, matching, shown.certificate())];
                let label = format!("3 {selector} {matching}");
                assert_eq!(outcome(&pki, records, &shown, &[HOST]).await, Ok(label));
            }
        }
    }
}

#[tokio::test]
async fn dane_ee_matches_the_host_s_own_certificate_alone() {
    let pki = Pki::new(&PKCS_ECDSA_P256_SHA256);
    let (shown, other) = (pki.host(&[HOST]), pki.host(&[HOST]));
    for (selector, matching) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
        for certificate in [other.certificate(), pki.middle(), pki.root()] {
            let records = vec![record(3, selector, matching, certificate)];
            let result = outcome(&pki, records, &shown, &[HOST]).await;
            assert_eq!(result, Err(NO_MATCH.into()), "an authority that vouches does not help");
        }
    }
}

#[tokio::test]
async fn dane_ta_matches_an_authority_that_is_sent_by_every_selector_and_matching_type() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519, &PKCS_RSA_SHA256] {
        let (pki, strangers) = (Pki::new(algorithm), Pki::new(algorithm));
        // The client knows other authorities: these vouch by the record alone.
        let shown = pki.host(&[HOST]).and(pki.root());
        for (selector, matching) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
            for anchor in [pki.middle(), pki.root()] {
                let records = vec![record(2, selector, matching, anchor)];
                let label = format!("2 {selector} {matching}");
                assert_eq!(outcome(&strangers, records, &shown, &[HOST]).await, Ok(label));
            }
        }
    }
}

#[tokio::test]
async fn an_authority_that_is_not_sent_must_stand_in_the_record_in_full() {
    let pki = Pki::new(&PKCS_ECDSA_P256_SHA256);
    let rootless = pki.host(&[HOST]);
    let alone = rootless.clone().alone();
    let unknown = "its certificate is signed by an unknown authority";
    let result = async |kind: (u8, u8), anchor, shown| {
        outcome(&pki, vec![record(2, kind.0, kind.1, anchor)], shown, &[HOST]).await
    };
    for (kind, label) in [((0, 0), "2 0 0"), ((1, 0), "2 1 0")] {
        assert_eq!(result(kind, pki.root(), &rootless).await, Ok(label.into()));
        assert_eq!(result(kind, pki.middle(), &alone).await, Ok(label.into()));
    }
    for kind in [(0, 1), (0, 2), (1, 1), (1, 2)] {
        assert_eq!(result(kind, pki.root(), &rootless).await, Err(NO_MATCH.into()));
        assert_eq!(result(kind, pki.middle(), &alone).await, Err(NO_MATCH.into()));
    }
    // A link is missing between the host and the root.
    assert_eq!(
        result((0, 0), pki.root(), &alone).await,
        Err(format!("under the TLSA record 2 0 0, {unknown}"))
    );
    assert!(result((1, 0), pki.root(), &alone).await.is_err());
}

#[tokio::test]
async fn under_dane_ta_dates_purpose_and_one_of_the_names_must_be_right() {
    let pki = Pki::new(&PKCS_ECDSA_P256_SHA256);
    let next_hop = "example.org";
    let rows = [
        (pki.host(&[next_hop]), Ok(())),
        (pki.host(&["*.example.org"]), Ok(())),
        (
            pki.host(&["mx.other.example"]),
            Err("its certificate is for mx.other.example, not for mx.example.org"),
        ),
        (pki.expired(&[HOST]), Err("its certificate expired on 2021-01-01")),
        (pki.future(&[HOST]), Err("its certificate is not valid yet: it begins on 2100-01-01")),
        (pki.for_clients(&[HOST]), Err("its certificate is not meant for servers")),
    ];
    for (shown, expected) in rows {
        for (selector, matching) in [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)] {
            let record = record(2, selector, matching, pki.middle());
            let expected = match expected {
                Ok(()) => Ok(record.to_string()),
                Err(why) => Err(format!("under the TLSA record {record}, {why}")),
            };
            assert_eq!(outcome(&pki, vec![record], &shown, &[HOST, next_hop]).await, expected);
        }
    }
    // The next hop's name counts only where the caller says that it may.
    let records = vec![record(2, 1, 1, pki.middle())];
    assert!(outcome(&pki, records, &pki.host(&[next_hop]), &[HOST]).await.is_err());
}

#[tokio::test]
async fn an_authority_beside_the_chain_vouches_for_nothing() {
    let (pki, evil) = (Pki::new(&PKCS_ECDSA_P256_SHA256), Pki::new(&PKCS_ECDSA_P256_SHA256));
    let grafted = evil.host(&[HOST]).and(pki.middle()).and(pki.root());
    // A host of the authority's plays the authority itself.
    let usurped = pki.host(&["other.example.org"]).issues(&[HOST]).and(pki.middle());
    let own = pki.host(&[HOST]);
    for (selector, matching) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
        for shown in [&grafted, &usurped] {
            let records = vec![record(2, selector, matching, pki.middle())];
            let result = outcome(&pki, records, shown, &[HOST]).await;
            assert!(result.is_err(), "2 {selector} {matching}");
        }
        if matching != 0 {
            let records = vec![record(2, selector, matching, own.certificate())];
            assert_eq!(outcome(&pki, records, &own, &[HOST]).await, Err(NO_MATCH.into()), "no authority");
        }
    }
}

#[tokio::test]
async fn one_record_of_several_is_enough_and_those_that_cannot_be_used_do_not_count() {
    let pki = Pki::new(&PKCS_ECDSA_P256_SHA256);
    let (shown, old) = (pki.host(&[HOST]), pki.host(&[HOST]));
    let (own, rolled) = (record(3, 1, 1, shown.certificate()), record(3, 1, 1, old.certificate()));
    let authority = record(2, 1, 1, pki.middle());
    let stranger = record(2, 0, 1, Pki::new(&PKCS_ECDSA_P256_SHA256).middle());
    let short = Tlsa { data: own.data[..31].to_vec(), ..own.clone() };
    let public = Tlsa { usage: 1, ..own.clone() };
    let rows = [
        (vec![rolled.clone(), own.clone()], Ok("3 1 1")),
        (vec![rolled.clone()], Err(NO_MATCH)),
        (vec![stranger.clone(), own.clone()], Ok("3 1 1")),
        (vec![rolled.clone(), stranger.clone(), authority.clone()], Ok("2 1 1")),
        (vec![rolled.clone(), stranger], Err(NO_MATCH)),
        (vec![short.clone(), public.clone(), own], Ok("3 1 1")),
        (vec![short, public, rolled], Err(NO_MATCH)),
    ];
    for (records, expected) in rows {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(outcome(&pki, records, &shown, &[HOST]).await, expected);
    }
    // The own key goes before the authority, whose certificate has expired for the host.
    let late = pki.expired(&[HOST]);
    let records = vec![authority, record(3, 1, 1, late.certificate())];
    assert_eq!(outcome(&pki, records, &late, &[HOST]).await, Ok("3 1 1".into()));
}
