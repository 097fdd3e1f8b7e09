//! DANE: holding a chain of certificates against a host's TLSA records (RFC 6698, RFC 7671, RFC 7672 section 3).

use super::{Chain, words};
use crate::policy::tls::Tlsa;
use crate::policy::x509::{Certificate, PublicKey};
use aws_lc_rs::digest;
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};

const DANE_TA: u8 = 2;

/// What the records are held against.
pub(super) struct Case<'a> {
    /// What the host shows.
    pub(super) chain: Chain<'a>,
    /// The names of which a certificate under DANE-TA must have one.
    pub(super) names: &'a [ServerName<'static>],
    /// The time that a chain under DANE-TA must be valid at.
    pub(super) now: UnixTime,
}

/// Which of the records matches (`3 1 1`), or why none does. They are usable ones. That the other side owns the key of
/// its certificate is for the handshake to check.
pub(super) fn matching(
    records: &[Tlsa],
    case: &Case<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<String, String> {
    // Neither names nor dates count under DANE-EE (RFC 7672 section 3.1.1): it is tried first.
    let own = Forms::of(case.chain.own);
    if let Some(record) = records.iter().find(|record| record.usage != DANE_TA && own.match_with(record)) {
        return Ok(record.to_string());
    }
    let others: Vec<_> = case.chain.others.iter().map(|cert| (cert, Forms::of(cert))).collect();
    let mut why = "no TLSA record matches its certificate".to_owned();
    for record in records.iter().filter(|record| record.usage == DANE_TA) {
        let anchors = anchors(record, case, &others);
        if !anchors.is_empty() {
            match verify(&anchors, case, algorithms) {
                Ok(()) => return Ok(record.to_string()),
                Err(flaw) => why = format!("under the TLSA record {record}, {flaw}"),
            }
        }
    }
    Err(why)
}

/// The authorities that a DANE-TA record names: certificates of the chain that it matches, and what it holds in full
/// itself, which need not be in the chain.
fn anchors(record: &Tlsa, case: &Case<'_>, others: &[(&CertificateDer<'_>, Forms)]) -> RootCertStore {
    let mut store = RootCertStore::empty();
    match (record.selector, record.matching) {
        (0, 0) => store.add_parsable_certificates([CertificateDer::from(record.data.as_slice())]),
        // A key has no name: it stands for whichever issuer the chain gives, and the signatures tell.
        (1, 0) => {
            let issuers = issuers(case);
            store.extend(issuers.iter().filter_map(|issuer| key_anchor(&record.data, issuer)));
            (0, 0)
        }
        _ => {
            let found = others.iter().filter(|(_, forms)| forms.match_with(record));
            store.add_parsable_certificates(found.map(|(certificate, _)| (*certificate).clone()))
        }
    };
    store
}

/// The issuers that the chain's certificates name, each once.
fn issuers<'a>(case: &Case<'a>) -> Vec<&'a [u8]> {
    let chain = std::iter::once(case.chain.own).chain(case.chain.others);
    let mut issuers: Vec<_> =
        chain.filter_map(|certificate| Some(Certificate::parse(certificate)?.issuer)).collect();
    issuers.sort_unstable();
    issuers.dedup();
    issuers
}

fn key_anchor(key: &[u8], issuer: &[u8]) -> Option<TrustAnchor<'static>> {
    let contents = PublicKey::parse(key)?.contents;
    Some(TrustAnchor {
        subject: issuer.to_vec().into(),
        subject_public_key_info: contents.to_vec().into(),
        name_constraints: None,
    })
}

/// The chain leads to one of the anchors, and the certificate has one of the names (RFC 7672 section 3.1.2).
fn verify(
    anchors: &RootCertStore,
    case: &Case<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<(), String> {
    let flaw = |error| words::certificate_flaw(&error);
    let Chain { own, others } = case.chain;
    let own = ParsedCertificate::try_from(own).map_err(flaw)?;
    verify_server_cert_signed_by_trust_anchor(&own, anchors, others, case.now, algorithms).map_err(flaw)?;
    let mut refusal = Err("it has no name that its certificate could have".to_owned());
    // Backwards, so that a refusal speaks of the host's own name.
    for name in case.names.iter().rev() {
        match verify_server_name(&own, name) {
            Ok(()) => return Ok(()),
            Err(error) => refusal = Err(words::certificate_flaw(&error)),
        }
    }
    refusal
}

/// The forms in which a record may hold a certificate: by selector, then by matching type.
struct Forms([Option<[Vec<u8>; 3]>; 2]);

impl Forms {
    fn of(certificate: &CertificateDer<'_>) -> Forms {
        let forms = |data: &[u8]| {
            let hash = |algorithm| digest::digest(algorithm, data).as_ref().to_vec();
            [data.to_vec(), hash(&digest::SHA256), hash(&digest::SHA512)]
        };
        let key = Certificate::parse(certificate).map(|certificate| forms(certificate.key.whole));
        Forms([Some(forms(certificate)), key])
    }

    fn match_with(&self, record: &Tlsa) -> bool {
        let forms = self.0.get(usize::from(record.selector)).and_then(Option::as_ref);
        forms
            .and_then(|forms| forms.get(usize::from(record.matching)))
            .is_some_and(|form| *form == record.data)
    }
}
