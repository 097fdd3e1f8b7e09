//! Authorities and servers' certificates, made for one test, and the TLSA records that tell of them.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::NamedTempFile;

/// A root, and an authority below it.
pub struct Pki {
    root: CertifiedIssuer<'static, KeyPair>,
    middle: CertifiedIssuer<'static, KeyPair>,
    file: NamedTempFile,
}

/// What a server shows: the chain, its own certificate first, and the key.
#[derive(Clone)]
pub struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<KeyPair>,
    versions: &'static [&'static SupportedProtocolVersion],
}

/// What a TLSA record can tell of: a certificate, whole and its public key.
#[derive(Clone)]
pub struct Told {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pki {
    pub fn new() -> Pki {
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(authority("root"), key()).unwrap();
        let middle = CertifiedIssuer::signed_by(authority("middle"), key(), &root).unwrap();
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), root.pem()).unwrap();
        Pki { root, middle, file }
    }

    /// The root's certificate, PEM: for `relay.roots`.
    pub fn roots(&self) -> &Path {
        self.file.path()
    }

    pub fn root(&self) -> Told {
        told(self.root.der(), self.root.key())
    }

    pub fn middle(&self) -> Told {
        told(self.middle.der(), self.middle.key())
    }

    /// With these names, from the authority below the root; the whole chain is shown, so that DANE-TA can name any of it.
    pub fn host(&self, names: &[&str]) -> Shown {
        self.issue(params(names))
    }

    pub fn expired(&self, names: &[&str]) -> Shown {
        let mut params = params(names);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> Shown {
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &self.middle).unwrap();
        let chain = vec![own.der().clone(), self.middle.der().clone(), self.root.der().clone()];
        Shown { chain, key: Arc::new(key), versions: BOTH }
    }
}

/// A certificate that nobody vouches for.
pub fn self_signed(names: &[&str]) -> Shown {
    let key = KeyPair::generate().unwrap();
    let own = params(names).self_signed(&key).unwrap();
    Shown { chain: vec![own.der().clone()], key: Arc::new(key), versions: BOTH }
}

const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];
const OLD: &[&SupportedProtocolVersion] = &[&TLS12];

impl Shown {
    /// TLS 1.2 and nothing newer.
    pub fn tls12(self) -> Shown {
        Shown { versions: OLD, ..self }
    }

    /// Its own certificate.
    pub fn own(&self) -> Told {
        told(&self.chain[0], &self.key)
    }

    pub fn config(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), key);
        Arc::new(config.unwrap())
    }

    /// The chain and the key in one PEM file each, as Postfix and Exim want them.
    pub fn write(&self, chain: &Path, key: &Path) {
        let pem = |der: &CertificateDer<'_>| {
            let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
            let lines: Vec<&str> =
                text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
        };
        std::fs::write(chain, self.chain.iter().map(pem).collect::<String>()).unwrap();
        std::fs::write(key, self.key.serialize_pem()).unwrap();
    }
}

impl Told {
    /// DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// `usage selector matching data`, as in a zone's file.
    pub fn tlsa(&self, usage: u8, selector: u8, matching: u8) -> String {
        let whole = if selector == 0 { &self.certificate } else { &self.key };
        let data = match matching {
            0 => whole.clone(),
            1 => digest(&SHA256, whole).as_ref().to_vec(),
            _ => digest(&SHA512, whole).as_ref().to_vec(),
        };
        let data: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("{usage} {selector} {matching} {data}")
    }
}

fn told(certificate: &CertificateDer<'_>, key: &KeyPair) -> Told {
    Told { certificate: certificate.to_vec(), key: key.subject_public_key_info() }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

/// No two have the same name: one that had would be taken for the other, whose signature is then found wrong.
fn authority(name: &str) -> CertificateParams {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut params = params(&[]);
    let name = format!("{name} {}", COUNT.fetch_add(1, Ordering::Relaxed));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}
