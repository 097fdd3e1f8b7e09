//! A DKIM-Signature field, read strictly (RFC 6376 section 3.5, RFC 8301, RFC 8463).

use super::canon::{Canon, plain_name};
use super::tags::{TagList, excerpt, number, squeezed};
use crate::mail::address::Domain;
use crate::mail::header::Field;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// What a signature says, as far as it can be verified by somebody of today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// `d=`.
    pub domain: Domain,
    /// `s=`, as written.
    pub selector: String,
    /// `i=`, decoded.
    pub identity: Option<String>,
    /// `a=`.
    pub algorithm: SignatureAlgorithm,
    /// `c=`, header.
    pub header_canon: Canon,
    /// `c=`, body.
    pub body_canon: Canon,
    /// `h=`, names as written.
    pub names: Vec<String>,
    /// Whether there is an `l=`.
    pub has_length: bool,
    /// `t=`.
    pub time: Option<i64>,
    /// `x=`.
    pub expires: Option<i64>,
    /// `bh=`, decoded.
    pub body_hash: Vec<u8>,
    /// `b=`, decoded.
    pub signature: Vec<u8>,
    /// The field's value with that of `b=` cut out.
    pub unsigned_value: Vec<u8>,
}

/// `a=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// `rsa-sha256`.
    RsaSha256,
    /// `ed25519-sha256`.
    Ed25519Sha256,
    /// Anything else, `rsa-sha1` included: it proves nothing (RFC 8301 section 3.1).
    Other(String),
}

impl SignatureAlgorithm {
    /// The text of `a=`.
    pub fn name(&self) -> &str {
        match self {
            SignatureAlgorithm::RsaSha256 => "rsa-sha256",
            SignatureAlgorithm::Ed25519Sha256 => "ed25519-sha256",
            SignatureAlgorithm::Other(name) => name,
        }
    }
}

impl Signature {
    /// Parses a field; the error says in words what is wrong with it.
    pub fn parse(field: &Field<'_>) -> Result<Signature, String> {
        let tags = TagList::parse(field.value)?;
        if tags.need("v")? != "1" {
            return Err(format!("it is of version {:?}, not 1", excerpt(tags.need("v")?)));
        }
        let (header_canon, body_canon) = canons(tags.get("c").unwrap_or("simple/simple"))?;
        let b = *tags.tag("b").ok_or("it has no b=")?;
        let domain = domain(tags.need("d")?)?;
        let identity = tags.get("i").map(|i| identity(i, &domain)).transpose()?;
        check_query(tags.get("q"))?;
        Ok(Signature {
            selector: selector(tags.need("s")?)?,
            domain,
            identity,
            algorithm: algorithm(tags.need("a")?),
            header_canon,
            body_canon,
            names: names(tags.need("h")?)?,
            has_length: tags.get("l").is_some(),
            time: tags.get("t").map(|t| number("t", t)).transpose()?,
            expires: tags.get("x").map(|x| number("x", x)).transpose()?,
            body_hash: base64("bh", tags.need("bh")?)?,
            signature: base64("b", b.value)?,
            unsigned_value: cut(field.value, b.start, b.end),
        })
    }

    /// How often `h=` names this field (given in lower case).
    pub fn lists(&self, name: &str) -> usize {
        self.names.iter().filter(|listed| listed.eq_ignore_ascii_case(name)).count()
    }
}

/// Whether a field is a DKIM-Signature.
pub fn is_signature(field: &Field<'_>) -> bool {
    plain_name(field.name) == "dkim-signature"
}

/// Whether any `h=` of a DKIM-Signature names this field (given in lower case), however little sense the rest makes: what
/// must be taken off the letter is found even where it is malformed.
pub fn mentions(field: &Field<'_>, name: &str) -> bool {
    let text = String::from_utf8_lossy(field.value).to_ascii_lowercase();
    squeezed(&text)
        .split(';')
        .filter_map(|spec| spec.strip_prefix("h="))
        .any(|list| list.split(':').any(|listed| listed == name))
}

/// Base64 of strangers (RFC 6376 section 3.2): white space anywhere, padding optional. The text is malleable; nothing may be
/// keyed on it.
pub fn base64(name: &str, value: &str) -> Result<Vec<u8>, String> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    match LENIENT.decode(squeezed(value)) {
        Ok(octets) if !octets.is_empty() => Ok(octets),
        Ok(_) => Err(format!("its {name}= is empty")),
        Err(_) => Err(format!("its {name}= is no base64")),
    }
}

fn algorithm(a: &str) -> SignatureAlgorithm {
    match a.to_ascii_lowercase().as_str() {
        "rsa-sha256" => SignatureAlgorithm::RsaSha256,
        "ed25519-sha256" => SignatureAlgorithm::Ed25519Sha256,
        other => SignatureAlgorithm::Other(excerpt(other)),
    }
}

fn canons(c: &str) -> Result<(Canon, Canon), String> {
    let one = |text: &str| match text.to_ascii_lowercase().as_str() {
        "simple" => Ok(Canon::Simple),
        "relaxed" => Ok(Canon::Relaxed),
        other => Err(format!("its c= is unknown: {:?}", excerpt(other))),
    };
    match c.split_once('/') {
        Some((header, body)) => Ok((one(header)?, one(body)?)),
        None => Ok((one(c)?, Canon::Simple)),
    }
}

/// A-labels, or the U-labels that RFC 8616 allows; no other text that IDNA would bend into our name.
fn domain(d: &str) -> Result<Domain, String> {
    let bad = || format!("its d= is no domain: {:?}", excerpt(d));
    let domain = Domain::parse(d).map_err(|_| bad())?;
    let plain = !d.is_ascii() || domain.as_str().eq_ignore_ascii_case(d);
    let wellformed = labels(domain.as_str());
    if plain && wellformed { Ok(domain) } else { Err(bad()) }
}

/// Labels of letters, digits, hyphens and (seen in the wild) underscores; neither `*` nor `a/b`.
fn selector(s: &str) -> Result<String, String> {
    if labels(s) { Ok(s.to_owned()) } else { Err(format!("its s= is no selector: {:?}", excerpt(s))) }
}

/// Whether a text is a name of DNS, as far as anybody uses them.
pub(super) fn labels(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
        })
}

fn names(h: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = squeezed(h).split(':').map(str::to_owned).collect();
    let good = |name: &String| !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic());
    if !names.iter().all(good) {
        return Err("its h= is no list of field names".into());
    }
    // Section 5.4: From must be signed; what leaves it out says nothing of the author.
    if !names.iter().any(|name| name.eq_ignore_ascii_case("from")) {
        return Err("its h= leaves out From".into());
    }
    Ok(names)
}

/// Section 3.5: the domain of `i=` is that of `d=` or below it.
fn identity(i: &str, domain: &Domain) -> Result<String, String> {
    let identity =
        decoded(i).ok_or_else(|| format!("its i= is not encoded as it should be: {:?}", excerpt(i)))?;
    let a_labels = |host: &str| match host.is_ascii() {
        true => Some(host.to_ascii_lowercase()),
        false => Domain::parse(host).ok().map(String::from),
    };
    let host = identity.rsplit_once('@').and_then(|(_, host)| a_labels(host));
    let below = host.is_some_and(|host| {
        host == domain.as_str() || host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'))
    });
    if below { Ok(identity) } else { Err(format!("its i= is not in d=: {:?}", excerpt(&identity))) }
}

/// DKIM-Quoted-Printable (section 2.11): white space means nothing, `=` and two hex digits are an octet.
fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::new();
    let mut rest = text.bytes().filter(|octet| !matches!(octet, b' ' | b'\t' | b'\r' | b'\n'));
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'=' => {
                let digits = [rest.next()?, rest.next()?];
                let digits = std::str::from_utf8(&digits).ok().filter(|text| !text.contains('+'))?;
                u8::from_str_radix(digits, 16).ok()?
            }
            octet => octet,
        });
    }
    String::from_utf8(octets).ok()
}

fn check_query(q: Option<&str>) -> Result<(), String> {
    match q {
        Some(q) if !squeezed(q).split(':').any(|way| way.eq_ignore_ascii_case("dns/txt")) => {
            Err(format!("its q= is unknown: {:?}", excerpt(q)))
        }
        _ => Ok(()),
    }
}

fn cut(value: &[u8], start: usize, end: usize) -> Vec<u8> {
    let (before, after) = (value.get(..start).unwrap_or_default(), value.get(end..).unwrap_or_default());
    let mut rest = [before, after].concat();
    // Where b= comes last, the field's own line end went with it.
    if !rest.ends_with(b"\r\n") {
        rest.extend_from_slice(b"\r\n");
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<Signature, String> {
        let value = format!(" {value}\r\n");
        Signature::parse(&Field { raw: b"", name: "DKIM-Signature", value: value.as_bytes() })
    }

    const GOOD: &str =
        "v=1; a=rsa-sha256; c=relaxed; d=Example.org; s=me.x_1; h=From : To; bh=AAAA; b=BB\r\n BB";

    #[test]
    fn a_good_one() {
        let signature = parse(GOOD).unwrap();
        assert_eq!(signature.domain.as_str(), "example.org");
        assert_eq!((signature.header_canon, signature.body_canon), (Canon::Relaxed, Canon::Simple));
        assert_eq!(signature.names, ["From", "To"]);
        assert!(signature.unsigned_value.ends_with(b"bh=AAAA; b=\r\n"));
    }

    #[test]
    fn what_cannot_be_parsed_is_no_signature() {
        for (from, to) in [
            ("v=1", "v=2"),
            ("s=me.x_1", "s=*"),
            ("s=me.x_1", "s=a/b"),
            ("s=me.x_1", "s=a..b"),
            ("d=Example.org", "d=Example.org; d=evil.example"),
            ("d=Example.org", "d=Example.org; D=evil.example"),
            ("d=Example.org", "d=ex ample.org"),
            ("d=Example.org", "d=example.org; i=me@evil.example"),
            ("d=Example.org", "d=example.org; i=me@notexample.org"),
            ("h=From : To", "h=To:Subject"),
            ("h=From : To", "h=From::To"),
            ("c=relaxed", "c=loose"),
            ("a=rsa-sha256; ", ""),
            ("bh=AAAA; ", ""),
            ("bh=AAAA", "bh=!"),
            ("; b=BB\r\n BB", ""),
            ("d=Example.org", "d=Example.org; t=-1"),
            ("d=Example.org", "d=Example.org; q=http"),
        ] {
            let changed = GOOD.replace(from, to);
            assert_ne!(changed, GOOD);
            assert!(parse(&changed).is_err(), "{changed}");
        }
        assert!(parse("x").is_err());
    }

    #[test]
    fn mentions_are_found_in_malformed_fields_too() {
        let field = |value: &'static str| Field { raw: b"", name: "DKIM-Signature", value: value.as_bytes() };
        assert!(mentions(&field("v=1; h=From; h = to:\r\n ENVELOPE-\r\n Seal; ;"), "envelope-seal"));
        assert!(!mentions(&field("v=1; h=From; x=h=envelope-seal"), "envelope-seal"));
    }
}
