//! The three fields of a certificate that decisions about TLSA records need. Pure.
//!
//! webpki refuses certificates that are legal under DANE-EE (RFC 7672 section 3.1.1 asks nothing of them but their key)
//! or good enough for opportunistic TLS: of version 1, or with a serial number or an extension that it does not like. So
//! the way to the key is walked here; nothing else is read, and nothing is believed for having been read.

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT Version`, absent in version 1.
const VERSION: u8 = 0xa0;

/// What is read of a certificate (RFC 5280 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// The contents of the issuer's Name.
    pub issuer: &'a [u8],
    /// Its key.
    pub key: PublicKey<'a>,
}

/// A SubjectPublicKeyInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey<'a> {
    /// All of it, tag and length included: what selector 1 means (RFC 6698 section 2.1.2).
    pub whole: &'a [u8],
    /// The contents of the outer SEQUENCE.
    pub contents: &'a [u8],
    /// The contents of the AlgorithmIdentifier.
    pub algorithm: &'a [u8],
    /// The key, in the algorithm's own form.
    pub bits: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads a certificate in DER; nothing may follow it.
    pub fn parse(der: &'a [u8]) -> Option<Certificate<'a>> {
        let mut fields = only(der, SEQUENCE)?;
        let mut tbs = take(&mut fields, SEQUENCE)?.contents;
        if tbs.first() == Some(&VERSION) {
            take(&mut tbs, VERSION)?;
        }
        take(&mut tbs, INTEGER)?; // serialNumber
        take(&mut tbs, SEQUENCE)?; // signature
        let issuer = take(&mut tbs, SEQUENCE)?.contents;
        take(&mut tbs, SEQUENCE)?; // validity
        take(&mut tbs, SEQUENCE)?; // subject
        let key = PublicKey::parse(take(&mut tbs, SEQUENCE)?.whole)?;
        Some(Certificate { issuer, key })
    }
}

impl<'a> PublicKey<'a> {
    /// Reads a SubjectPublicKeyInfo in DER; nothing may follow it.
    pub fn parse(der: &'a [u8]) -> Option<PublicKey<'a>> {
        let contents = only(der, SEQUENCE)?;
        let mut fields = contents;
        let algorithm = take(&mut fields, SEQUENCE)?.contents;
        let (unused, bits) = take(&mut fields, BIT_STRING)?.contents.split_first()?;
        (*unused == 0 && fields.is_empty()).then_some(PublicKey { whole: der, contents, algorithm, bits })
    }

    /// The size of an RSA key's modulus in bits, if it is an RSA key's.
    pub fn modulus_bits(&self) -> Option<usize> {
        let mut fields = only(self.bits, SEQUENCE)?;
        let modulus = take(&mut fields, INTEGER)?.contents;
        let significant = modulus.iter().position(|octet| *octet != 0).and_then(|at| modulus.get(at..))?;
        Some(significant.len() * 8 - significant.first()?.leading_zeros() as usize)
    }
}

struct Element<'a> {
    whole: &'a [u8],
    contents: &'a [u8],
}

/// The contents of the one element that `der` is.
fn only(der: &[u8], tag: u8) -> Option<&[u8]> {
    let mut rest = der;
    let element = take(&mut rest, tag)?;
    rest.is_empty().then_some(element.contents)
}

/// Takes one element with the tag off the front. Lengths have up to three octets: no handshake carries more.
fn take<'a>(input: &mut &'a [u8], tag: u8) -> Option<Element<'a>> {
    let all: &'a [u8] = input;
    let (header, length) = match all {
        [found, short @ 0..=0x7f, ..] if *found == tag => (2, usize::from(*short)),
        [found, 0x81, a, ..] if *found == tag => (3, usize::from(*a)),
        [found, 0x82, a, b, ..] if *found == tag => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        [found, 0x83, a, b, c, ..] if *found == tag => (5, u32::from_be_bytes([0, *a, *b, *c]) as usize),
        _ => return None,
    };
    let (whole, rest) = all.split_at_checked(header + length)?;
    *input = rest;
    Some(Element { whole, contents: whole.get(header..)? })
}
