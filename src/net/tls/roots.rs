//! The authorities whose word on a certificate counts.

use super::{Chain, TlsError, words};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::path::Path;
use std::sync::Arc;

/// Authorities, and the algorithms that signatures are checked with. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Authorities {
    verifier: Arc<WebPkiServerVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Authorities {
    /// Those of a PEM file, else the system's, else those that come with the program.
    pub(super) fn load(file: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Authorities, TlsError> {
        let store = match file {
            Some(path) => from_file(path)?,
            None => system_or_own(rustls_native_certs::load_native_certs().certs),
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
            .build()
            .map_err(|error| TlsError(format!("TLS cannot be set up: {error}")))?;
        Ok(Authorities { verifier, algorithms: provider.signature_verification_algorithms })
    }

    /// The usual verifier.
    pub(super) fn verifier(&self) -> Arc<WebPkiServerVerifier> {
        Arc::clone(&self.verifier)
    }

    /// What signatures are checked with.
    pub(super) fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.algorithms
    }

    /// Whether one of them vouches for the name, and if not, why.
    pub(super) fn vouch(&self, chain: Chain<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), String> {
        let verdict = self.verifier.verify_server_cert(chain.own, chain.others, name, &[], now);
        verdict.map(|_| ()).map_err(|error| words::certificate_flaw(&error))
    }
}

fn from_file(path: &Path) -> Result<RootCertStore, TlsError> {
    let fault = |why: String| {
        let path = path.display();
        let remedy = "it must hold the authorities' certificates in PEM, each from BEGIN CERTIFICATE to END CERTIFICATE";
        TlsError(format!("{path}: {why}; {remedy}"))
    };
    let text = std::fs::read(path).map_err(|error| fault(error.to_string()))?;
    let mut store = RootCertStore::empty();
    for (count, certificate) in CertificateDer::pem_slice_iter(&text).enumerate() {
        let nth = count + 1;
        let certificate = certificate.map_err(|error| fault(format!("certificate {nth}: {error}")))?;
        store.add(certificate).map_err(|_| fault(format!("certificate {nth} is malformed")))?;
    }
    if store.is_empty() { Err(fault("no certificate".into())) } else { Ok(store) }
}

/// The system's store may be missing (a container) or hold what webpki does not read. With no authority at all every
/// certificate would be a stranger's, and what DANE and MTA-STS do not protect would never be verified.
fn system_or_own(system: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(system);
    if store.is_empty() {
        tracing::debug!("the system has no certificates of authorities; those of the program are used");
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    store
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::aws_lc_rs::default_provider;

    fn certificate() -> CertificateDer<'static> {
        rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap().cert.der().clone()
    }

    #[test]
    fn where_the_system_has_no_authorities_those_of_the_program_are_used() {
        let own = webpki_roots::TLS_SERVER_ROOTS.len();
        assert!(own > 50);
        assert_eq!(system_or_own(Vec::new()).len(), own);
        assert_eq!(system_or_own(vec![CertificateDer::from(vec![1, 2, 3])]).len(), own);
        assert_eq!(system_or_own(vec![certificate()]).len(), 1, "the system's alone");
        assert_eq!(system_or_own(vec![certificate(), CertificateDer::from(vec![1])]).len(), 1);
    }

    #[test]
    fn without_a_file_there_are_authorities_on_any_system() {
        assert!(Authorities::load(None, &Arc::new(default_provider())).is_ok());
    }
}
