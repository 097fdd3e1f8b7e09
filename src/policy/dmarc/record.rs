//! DMARC Policy Records (RFC 9989 sections 4.7 and 4.8).

use super::DmarcPolicy;

/// What a domain publishes, as far as a receiver of letters needs it. Reports are never sent, so of `rua=` only its presence
/// counts, and `ruf=` and `fo=` are nothing to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it asks for; or, in words, why that cannot be told, which leaves DMARC unapplied (section 4.10.1).
    pub asks: Result<Asks, String>,
    /// `adkim=s`.
    pub strict_dkim: bool,
    /// `aspf=s`.
    pub strict_spf: bool,
    /// `psd=`.
    pub psd: Psd,
    /// `t=y`.
    pub testing: bool,
}

/// `p=`, `sp=` and `np=`, with what takes the place of those that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asks {
    /// For the domain itself.
    pub itself: DmarcPolicy,
    /// For those below it.
    pub below: DmarcPolicy,
    /// For those below it that do not exist.
    pub nonexistent: DmarcPolicy,
}

/// Whether names are registered below the domain by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Psd {
    /// `psd=y`: they are.
    Yes,
    /// `psd=n`: they are not, and the domain is the organizational one.
    No,
    /// The record does not say.
    Unsaid,
}

/// The record among the texts at a name. Texts that are something else are passed over; several records are none (section
/// 4.10), and the error is their number.
pub fn pick(texts: &[String]) -> Result<Option<Record>, usize> {
    let mut records = texts.iter().filter_map(|text| Record::parse(text));
    match (records.next(), records.count()) {
        (record, 0) => Ok(record),
        (_, more) => Err(more + 1),
    }
}

impl Record {
    /// Reads a record; none where the text does not begin with `v=DMARC1`. Unknown tags, the obsolete `pct=`, `rf=` and `ri=` and
    /// what is no tag at all are passed over, and a value that is none of those allowed counts as absent; only `p=`, `sp=` and
    /// `np=` must be right where they stand. A tag that stands twice has no value: readers differ on which one counts.
    pub fn parse(text: &str) -> Option<Record> {
        let mut tags =
            text.split(';').map(|spec| spec.split_once('=').map(|(name, value)| (trim(name), trim(value))));
        match tags.next() {
            Some(Some((name, "DMARC1"))) if name.eq_ignore_ascii_case("v") => (),
            _ => return None,
        }
        let tags: Vec<(&str, &str)> = tags.flatten().collect();
        let tags = Tags(&tags);
        Some(Record {
            asks: asks(&tags),
            strict_dkim: tags.says("adkim", "s"),
            strict_spf: tags.says("aspf", "s"),
            psd: match () {
                () if tags.says("psd", "y") => Psd::Yes,
                () if tags.says("psd", "n") => Psd::No,
                () => Psd::Unsaid,
            },
            testing: tags.says("t", "y"),
        })
    }
}

struct Tags<'a>(&'a [(&'a str, &'a str)]);

impl<'a> Tags<'a> {
    /// `None` where the tag is not there; an error where it stands more than once.
    fn get(&self, name: &str) -> Option<Result<&'a str, String>> {
        let mut found = self.0.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let (_, value) = found.next()?;
        Some(if found.next().is_none() { Ok(value) } else { Err(format!("{name}= stands twice")) })
    }

    /// ABNF's strings do not care about capitals.
    fn says(&self, name: &str, wanted: &str) -> bool {
        matches!(self.get(name), Some(Ok(value)) if value.eq_ignore_ascii_case(wanted))
    }

    fn policy(&self, name: &str) -> Option<Result<DmarcPolicy, String>> {
        let value = match self.get(name)? {
            Ok(value) => value.to_ascii_lowercase(),
            Err(why) => return Some(Err(why)),
        };
        Some(match value.as_str() {
            "none" => Ok(DmarcPolicy::None),
            "quarantine" => Ok(DmarcPolicy::Quarantine),
            "reject" => Ok(DmarcPolicy::Reject),
            _ => Err(format!("{name}= is none of \"none\", \"quarantine\" and \"reject\"")),
        })
    }
}

/// Section 4.10.1: without a valid `p=`, or with an `sp=` or `np=` that is not valid, a record that asks for reports asks for
/// nothing else, and one that does not is not applied.
fn asks(tags: &Tags<'_>) -> Result<Asks, String> {
    let read = || {
        let itself = tags.policy("p").unwrap_or_else(|| Err("it has no p=".into()))?;
        let below = tags.policy("sp").transpose()?.unwrap_or(itself);
        let nonexistent = tags.policy("np").transpose()?.unwrap_or(below);
        Ok(Asks { itself, below, nonexistent })
    };
    let nothing = DmarcPolicy::None;
    match read() {
        Err(_) if wants_reports(tags) => Ok(Asks { itself: nothing, below: nothing, nonexistent: nothing }),
        asked => asked,
    }
}

fn wants_reports(tags: &Tags<'_>) -> bool {
    matches!(tags.get("rua"), Some(Ok(list)) if list.split(',').any(|uri| is_uri(trim(uri))))
}

/// Whether a text is a URI, as far as it matters whom nobody will write to; a `!10m` may follow it (section 4.8).
fn is_uri(text: &str) -> bool {
    let uri = text.split_once('!').map_or(text, |(uri, _)| uri);
    let Some((scheme, rest)) = uri.split_once(':') else { return false };
    let scheme_octet = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.');
    let wellformed = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(scheme_octet)
        && !rest.is_empty()
        && rest.bytes().all(|octet| octet.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&octet));
    let address =
        |rest: &str| rest.split_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty());
    wellformed && (!scheme.eq_ignore_ascii_case("mailto") || address(rest))
}

/// A TXT record of a zone file may be folded like a field.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}
