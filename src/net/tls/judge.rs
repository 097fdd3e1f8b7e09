//! One connection's verifier: holds the certificate against what is demanded, and remembers what it found.

use super::roots::Authorities;
use super::{Chain, Identity, TlsError, dane, signature};
use crate::policy::tls::{Demand, Tlsa};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::OnceLock;

/// How many certificates beside a host's own are looked at. webpki goes no deeper; where many authorities have one name,
/// it tries every way through them.
const MAX_CHAIN: usize = 6;

/// What a certificate must be.
#[derive(Debug)]
enum Wanted {
    Anything,
    Vouched,
    Matched(Vec<Tlsa>),
}

/// A verifier for one connection.
#[derive(Debug)]
pub(super) struct Judge {
    wanted: Wanted,
    /// Never empty.
    names: Vec<ServerName<'static>>,
    authorities: Authorities,
    verdict: OnceLock<Result<Identity, String>>,
}

impl Judge {
    /// The first of `names` is the host's.
    pub(super) fn new(
        demand: &Demand,
        names: Vec<ServerName<'static>>,
        authorities: Authorities,
    ) -> Result<Judge, TlsError> {
        let wanted = match demand {
            Demand::Clear => return Err(TlsError("no TLS is wanted".into())),
            Demand::Opportunistic | Demand::Encrypted => Wanted::Anything,
            Demand::Verified => Wanted::Vouched,
            Demand::Dane(records) => Wanted::Matched(records.clone()),
        };
        Ok(Judge { wanted, names, authorities, verdict: OnceLock::new() })
    }

    /// Who the other side was found to be.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.verdict.get()?.clone().ok()
    }

    /// Why its certificate will not do, if that is so.
    pub(super) fn objection(&self) -> Option<String> {
        self.verdict.get()?.clone().err()
    }

    fn judge(&self, chain: Chain<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<Identity, String> {
        let checkable = signature::uncheckable(chain.own, self.authorities.algorithms()).map_or(Ok(()), Err);
        let vouched = || self.authorities.vouch(chain, name, now);
        match &self.wanted {
            Wanted::Anything => {
                let verdict = checkable.and_then(|()| vouched());
                Ok(verdict.map_or_else(Identity::Unverified, |()| Identity::Verified))
            }
            Wanted::Vouched => checkable.and_then(|()| vouched()).map(|()| Identity::Verified),
            Wanted::Matched(records) => {
                checkable?;
                let case = dane::Case { chain, names: &self.names, now };
                dane::matching(records, &case, self.authorities.algorithms().all).map(Identity::Dane)
            }
        }
    }

    /// Under `Anything`, and only there, a signature that cannot be checked is let pass; one that is wrong never is.
    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        tls13: bool,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = self.authorities.algorithms();
        if matches!(self.wanted, Wanted::Anything)
            && signature::uncheckable(certificate, algorithms).is_some()
        {
            return Ok(HandshakeSignatureValid::assertion());
        }
        signature::check(message, certificate, signed, algorithms, tls13)
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let others = intermediates.get(..MAX_CHAIN).unwrap_or(intermediates);
        let chain = Chain { own: end_entity, others };
        let verdict = self.verdict.get_or_init(|| self.judge(chain, server_name, now));
        match verdict {
            Ok(_) => Ok(ServerCertVerified::assertion()),
            Err(_) => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.algorithms().supported_schemes()
    }
}
