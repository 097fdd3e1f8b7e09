//! Authorities and hosts' certificates, made for one test.

use crate::net::tls::TlsClient;
use crate::policy::tls::Tlsa;
use crate::policy::x509::Certificate;
use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SignatureAlgorithm, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsAcceptor;

/// A root, and an authority below it.
pub(in crate::net) struct Pki {
    algorithm: &'static SignatureAlgorithm,
    root: CertifiedIssuer<'static, KeyPair>,
    middle: CertifiedIssuer<'static, KeyPair>,
}

/// What a server shows: the chain, the host's own certificate first, and a key.
#[derive(Clone, Debug)]
pub(in crate::net) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<CertifiedKey>,
    /// The key, PKCS#8.
    secret: Vec<u8>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Pki {
    pub(in crate::net) fn new(algorithm: &'static SignatureAlgorithm) -> Pki {
        let key = || KeyPair::generate_for(algorithm).unwrap();
        let root = CertifiedIssuer::self_signed(authority("the root"), key()).unwrap();
        let middle = CertifiedIssuer::signed_by(authority("the middle"), key(), &root).unwrap();
        Pki { algorithm, root, middle }
    }

    /// A client that knows the root.
    pub(in crate::net) fn client(&self) -> TlsClient {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), self.root_pem()).unwrap();
        TlsClient::new(Some(file.path())).unwrap()
    }

    pub(super) fn root_pem(&self) -> String {
        self.root.pem()
    }

    pub(super) fn root(&self) -> &CertificateDer<'static> {
        self.root.der()
    }

    pub(super) fn middle(&self) -> &CertificateDer<'static> {
        self.middle.der()
    }

    /// A host with a certificate of the authority below the root, which it sends too.
    pub(in crate::net) fn host(&self, names: &[&str]) -> Shown {
        self.issue(params(names))
    }

    pub(super) fn expired(&self, names: &[&str]) -> Shown {
        let mut params = params(names);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        self.issue(params)
    }

    pub(super) fn future(&self, names: &[&str]) -> Shown {
        let mut params = params(names);
        (params.not_before, params.not_after) = (date_time_ymd(2100, 1, 1), date_time_ymd(2101, 1, 1));
        self.issue(params)
    }

    pub(super) fn for_clients(&self, names: &[&str]) -> Shown {
        let mut params = params(names);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    pub(super) fn self_signed(&self, names: &[&str]) -> Shown {
        let key = KeyPair::generate_for(self.algorithm).unwrap();
        let own = params(names).self_signed(&key).unwrap();
        Shown::new(vec![own.der().clone()], &key)
    }

    /// A host of an authority of which there are many, all of one name, none of them the root's.
    pub(super) fn maze(&self, many: usize, names: &[&str]) -> Shown {
        let key = || KeyPair::generate_for(self.algorithm).unwrap();
        let name = authority("many");
        let first = CertifiedIssuer::self_signed(name.clone(), key()).unwrap();
        let others: Vec<_> =
            (0..many).map(|_| name.clone().signed_by(&key(), &first).unwrap().der().clone()).collect();
        let own = key();
        let leaf = params(names).signed_by(&own, &first).unwrap();
        let chain = [vec![leaf.der().clone()], others].concat();
        Shown::new(chain, &own)
    }

    fn issue(&self, params: CertificateParams) -> Shown {
        let key = KeyPair::generate_for(self.algorithm).unwrap();
        let own = params.signed_by(&key, &self.middle).unwrap();
        Shown::new(vec![own.der().clone(), self.middle.der().clone()], &key)
    }
}

impl Shown {
    fn new(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Shown {
        let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let certified = Arc::new(CertifiedKey::new(chain.clone(), any_supported_type(&der).unwrap()));
        Shown { chain, key: certified, secret: key.serialize_der(), versions: vec![&TLS12, &TLS13] }
    }

    /// The host's own certificate.
    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// A certificate that this host signs as though it were an authority.
    pub(super) fn issues(&self, names: &[&str]) -> Shown {
        let issuer = Issuer::new(params(&[]), KeyPair::try_from(self.secret.as_slice()).unwrap());
        let key = KeyPair::generate().unwrap();
        let own = params(names).signed_by(&key, &issuer).unwrap();
        let chain = [vec![own.der().clone()], self.chain.clone()].concat();
        Shown::new(chain, &key)
    }

    /// Without the certificates of authorities.
    pub(super) fn alone(self) -> Shown {
        self.with_chain(|chain| chain.truncate(1))
    }

    /// With one certificate more.
    pub(super) fn and(self, certificate: &CertificateDer<'static>) -> Shown {
        self.with_chain(|chain| chain.push(certificate.clone()))
    }

    fn with_chain(mut self, change: impl FnOnce(&mut Vec<CertificateDer<'static>>)) -> Shown {
        change(&mut self.chain);
        self.key = Arc::new(CertifiedKey::new(self.chain.clone(), Arc::clone(&self.key.key)));
        self
    }

    /// With a key that is another certificate's.
    pub(super) fn with_key_of(mut self, other: &Shown) -> Shown {
        self.key = Arc::new(CertifiedKey::new(self.chain.clone(), Arc::clone(&other.key.key)));
        self
    }

    pub(super) fn tls12(self) -> Shown {
        Shown { versions: vec![&TLS12], ..self }
    }

    pub(super) fn tls13(self) -> Shown {
        Shown { versions: vec![&TLS13], ..self }
    }

    pub(in crate::net) fn acceptor(self) -> TlsAcceptor {
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Always(self.key)));
        TlsAcceptor::from(Arc::new(config))
    }

    /// Echoes until it is told to close the stream in due form, or to let it break off.
    pub(super) async fn serve(self, stream: DuplexStream) {
        // A client that does not like what it sees ends it here.
        let Ok(mut stream) = self.acceptor().accept(stream).await else { return };
        let mut buffer = [0; 16];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            match &buffer[..length] {
                b"close" => return stream.shutdown().await.unwrap(),
                b"break" => return,
                octets => stream.write_all(octets).await.unwrap(),
            }
            stream.flush().await.unwrap();
        }
    }
}

/// Shows a chain whether or not the key fits.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A TLSA record that matches a certificate.
pub(super) fn record(usage: u8, selector: u8, matching: u8, certificate: &CertificateDer<'_>) -> Tlsa {
    let whole = match selector {
        0 => certificate.as_ref(),
        _ => Certificate::parse(certificate).unwrap().key.whole,
    };
    let data = match matching {
        0 => whole.to_vec(),
        1 => digest::digest(&digest::SHA256, whole).as_ref().to_vec(),
        _ => digest::digest(&digest::SHA512, whole).as_ref().to_vec(),
    };
    Tlsa { usage, selector, matching, data }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

/// No two have the same name: one that had would be taken for the other, whose signature is then found wrong.
fn authority(name: &str) -> CertificateParams {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{name} {}", COUNT.fetch_add(1, Ordering::Relaxed));
    let mut params = params(&[]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}
