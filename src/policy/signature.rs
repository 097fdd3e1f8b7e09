//! What was found out about one DKIM-Signature: the evidence that both doors decide on.

use crate::mail::address::Domain;

/// Seconds that two clocks may be apart.
pub const CLOCK_SKEW: i64 = 600;

/// A signature that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureEvidence {
    /// `d=`.
    pub domain: Domain,
    /// `s=`, as written.
    pub selector: String,
    /// `a=`.
    pub algorithm: String,
    /// Whether there is an `l=`: more could have been appended.
    pub has_length: bool,
    /// `t=`, Unix time.
    pub time: Option<i64>,
    /// `x=`, Unix time.
    pub expires: Option<i64>,
    /// The first field, of those that a signature must cover, of which `h=` leaves an instance out.
    pub uncovered: Option<String>,
    /// Whether `h=` names Envelope-Seal.
    pub covers_seal: bool,
    /// Octets of the key's modulus in bits; none for Ed25519 or where there is no key.
    pub rsa_bits: Option<usize>,
    /// A hash over `d=`, `s=` and the canonical signed input: the same however `b=` is spelled.
    pub mark: String,
    /// When it was judged, Unix time.
    pub judged_at: i64,
    /// Who says that the key is the domain's.
    pub vouched: Vouched,
    /// The outcome.
    pub verdict: Verdict,
}

/// Who says that a key is its domain's, beside the server that gave the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// It was not asked, or there was nothing to ask about.
    Unasked,
    /// Nobody: the answer is not secure in the sense of RFC 4035 section 4.3.
    Not {
        /// The file that a pinned copy of the key would be in.
        pin: String,
    },
    /// DNSSEC.
    Secure,
    /// The owner, by a copy in the server's files.
    Pinned,
}

/// What came of verifying a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is good.
    Pass,
    /// The body hash does not match, under a usable key.
    BrokenBody,
    /// The signature does not match, under a usable key.
    BrokenSignature,
    /// There is no key record.
    NoKey,
    /// The key is revoked: an empty `p=`.
    Revoked,
    /// The key says `t=y`: no different from unsigned (RFC 6376 section 3.6.1).
    Testing,
    /// The key cannot be used with this signature.
    UnusableKey(String),
    /// Nobody should verify this form of signature.
    Unsupported(String),
    /// `x=` is past.
    Expired,
    /// `t=` is in the future.
    Premature,
    /// DNS gave no answer.
    TempFault(String),
}

impl SignatureEvidence {
    /// Whether it passed.
    pub fn passes(&self) -> bool {
        self.verdict == Verdict::Pass
    }

    /// Whether it does not match what arrived, under a usable key.
    pub fn is_broken(&self) -> bool {
        matches!(self.verdict, Verdict::BrokenBody | Verdict::BrokenSignature)
    }
}
