//! Public keys in DNS: `selector._domainkey.domain` (RFC 6376 section 3.6, RFC 8301, RFC 8463).

use super::signature::{Signature, SignatureAlgorithm, base64};
use super::tags::{TagList, excerpt, squeezed};
use crate::net::dns::{Dns, DnsError};
use crate::policy::signature::Verdict;
pub use crate::policy::signature::Vouched;
use aws_lc_rs::digest::Digest;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};

/// Where key records come from: DNS, or a table in tests.
pub trait KeySource: Sync {
    /// TXT records, the strings of each joined; empty where there are none.
    fn txt(&self, name: &str) -> impl Future<Output = Result<Vec<String>, DnsError>> + Send;

    /// The same, with what stands behind them; nothing, where the source does not know.
    fn records(&self, name: &str) -> impl Future<Output = Result<Records, DnsError>> + Send {
        async move { Ok(Records { texts: self.txt(name).await?, vouched: Vouched::Unasked }) }
    }
}

/// The TXT records at a key's name.
pub struct Records {
    /// The strings of each joined.
    pub texts: Vec<String>,
    /// Who says that they are the owner's.
    pub vouched: Vouched,
}

impl KeySource for Dns {
    async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
        Dns::txt(self, name).await
    }
}

/// A public key, fit for the signature that it was looked up for.
pub struct PublicKey {
    octets: Vec<u8>,
    algorithm: SignatureAlgorithm,
    /// RSA: the size of the modulus.
    pub rsa_bits: Option<usize>,
    /// `t=y`.
    pub testing: bool,
}

/// The smallest RSA key that verifies anything (RFC 8301 section 3.2).
const RSA_BITS_MIN: usize = 1024;
/// The largest one that the cryptography takes: a key that nothing can match shall not make a signature a broken one.
const RSA_BITS_MAX: usize = 8192;

impl PublicKey {
    /// Picks the key from the TXT records at its name. Texts that are no key records (SPF under a wildcard) are passed over;
    /// two key records are none: nobody can say which one counts.
    pub fn pick(records: &[String], signature: &Signature) -> Result<PublicKey, Verdict> {
        let looks_like_key = |record: &&String| {
            squeezed(record).starts_with("v=DKIM1")
                || TagList::parse(record.as_bytes())
                    .is_ok_and(|tags| tags.get("p").is_some() && tags.get("v").is_none_or(|v| v == "DKIM1"))
        };
        let keys: Vec<&String> = records.iter().filter(looks_like_key).collect();
        match keys.as_slice() {
            [] => Err(Verdict::NoKey),
            [record] => PublicKey::parse(record, signature),
            _ => Err(unusable("there are several key records at its name")),
        }
    }

    fn parse(record: &str, signature: &Signature) -> Result<PublicKey, Verdict> {
        let tags = TagList::parse(record.as_bytes())
            .map_err(|why| unusable(format!("its record is malformed: {why}")))?;
        // Section 3.6.1: v= comes first, if at all.
        match (tags.get("v"), tags.iter().next()) {
            (None, _) => (),
            (Some("DKIM1"), Some(first)) if first.name == "v" => (),
            _ => return Err(unusable("its record is not of version DKIM1")),
        }
        let lists = |name: &str, wanted: &[&str]| {
            tags.get(name).is_none_or(|list| squeezed(list).split(':').any(|one| wanted.contains(&one)))
        };
        let flags = squeezed(tags.get("t").unwrap_or_default());
        let flag = |name: &str| flags.split(':').any(|flag| flag == name);
        if !lists("h", &["sha256"]) {
            return Err(unusable("its record's h= leaves out sha256"));
        }
        if !lists("s", &["*", "email"]) {
            return Err(unusable("its record's s= leaves out email"));
        }
        let p = tags.need("p").map_err(|_| unusable("its record has no p="))?;
        if p.is_empty() {
            return Err(Verdict::Revoked);
        }
        if flag("s") && !identity_is_exact(signature) {
            return Err(unusable("its record says t=s, and the signature's i= is in another domain than d="));
        }
        let octets = base64("p", p).map_err(|_| unusable("its record's p= is no base64"))?;
        let k = tags.get("k").unwrap_or("rsa");
        let rsa_bits = check_type(k, &octets, &signature.algorithm)?;
        Ok(PublicKey { octets, algorithm: signature.algorithm.clone(), rsa_bits, testing: flag("y") })
    }

    /// Whether `signature` was made by this key over `input`, the SHA-256 of the canonical signed input.
    pub fn verifies(&self, input: &Digest, signature: &[u8]) -> bool {
        match self.algorithm {
            SignatureAlgorithm::RsaSha256 => {
                UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, &self.octets)
                    .verify_digest(input, signature)
                    .is_ok()
            }
            SignatureAlgorithm::Ed25519Sha256 => {
                UnparsedPublicKey::new(&ED25519, &self.octets).verify(input.as_ref(), signature).is_ok()
            }
            SignatureAlgorithm::Other(_) => false,
        }
    }
}

/// `k=` must be of the kind that `a=` names; gives the bits of an RSA key.
fn check_type(k: &str, octets: &[u8], algorithm: &SignatureAlgorithm) -> Result<Option<usize>, Verdict> {
    match (k.to_ascii_lowercase().as_str(), algorithm) {
        ("rsa", SignatureAlgorithm::RsaSha256) => {
            let key =
                rsa::PublicKey::from_der(octets).map_err(|_| unusable("its record's p= is no RSA key"))?;
            match bits(&key) {
                bits if bits < RSA_BITS_MIN => Err(unusable(format!("it has only {bits} bits"))),
                bits if bits > RSA_BITS_MAX => Err(unusable(format!("it has {bits} bits, too many"))),
                bits => Ok(Some(bits)),
            }
        }
        ("ed25519", SignatureAlgorithm::Ed25519Sha256) if octets.len() == 32 => Ok(None),
        ("ed25519", SignatureAlgorithm::Ed25519Sha256) => {
            Err(unusable("its record's p= is not the 32 octets of an Ed25519 key"))
        }
        (k, a) => Err(unusable(format!("it is of type {:?}, the signature is {}", excerpt(k), a.name()))),
    }
}

/// To the bit: one of 1020 bits fills as many octets as one of 1024.
fn bits(key: &rsa::PublicKey) -> usize {
    let modulus = key.modulus().big_endian_without_leading_zero();
    let unused = modulus.first().map_or(0, |octet| octet.leading_zeros());
    modulus.len() * 8 - unused as usize
}

fn identity_is_exact(signature: &Signature) -> bool {
    let host = signature.identity.as_deref().and_then(|i| i.rsplit_once('@')).map(|(_, host)| host);
    host.is_none_or(|host| host.eq_ignore_ascii_case(signature.domain.as_str()))
}

fn unusable(why: impl Into<String>) -> Verdict {
    Verdict::UnusableKey(why.into())
}
