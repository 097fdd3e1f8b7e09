//! Mail::DKIM's corpus at the mx door: each letter with what its authors expect (`t/verifier.t`), what we find, and, where
//! that is something else, the class of `docs/standards.md` that says why.

#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test a panic is the answer.

use aws_lc_rs::signature::{RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use pillarbox::config::BrokenDkim;
use pillarbox::mail::header::{Field, split_lenient};
use pillarbox::net::dns::DnsError;
use pillarbox::policy::inbound::{Evidence, Rules, decide};
use pillarbox::policy::peer::{PeerEvidence, PeerName};
use pillarbox::policy::signature::{SignatureEvidence, Verdict};
use pillarbox::policy::spf::{SpfEvidence, SpfIdentity, SpfResult};
use pillarbox::trust::canon::Index;
use pillarbox::trust::inbound::{Gathering, Letter};
use pillarbox::trust::inspect::Inspection;
use pillarbox::trust::record::KeySource;
use pillarbox::trust::signature::{Signature, base64, is_signature};
use pillarbox::trust::tags::TagList;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// Later than every letter, and than its expiry.
const NOW: i64 = 1_795_341_600;

/// Why a letter that Mail::DKIM finds good or bad is unsigned to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// DomainKeys (RFC 4870) is not DKIM.
    DomainKeys,
    /// Drafts of DKIM: `v=` is missing or not 1.
    Draft,
    /// `rsa-sha1`.
    Sha1,
}
use Class::{DomainKeys, Draft, Sha1};

/// The letter, the result that Mail::DKIM's own test expects, and what we say of each signature that we look at.
type Row = (&'static str, &'static str, &'static [&'static str], Option<Class>);

const ROWS: &[Row] = &[
    ("bad_1.txt", "fail", &[], Some(Draft)),
    ("bad_1878954.txt", "fail", &["unsupported"], Some(Sha1)),
    ("bad_dk_1.txt", "invalid", &[], None),
    ("bad_dk_2.txt", "invalid", &[], None),
    ("bad_dk_3.txt", "invalid", &[], None),
    ("bad_dk_4.txt", "invalid", &[], None),
    ("bad_dk_5.txt", "invalid", &[], None),
    ("bad_ietf01_1.txt", "fail", &[], Some(Draft)),
    ("bad_ietf01_2.txt", "fail", &[], Some(Draft)),
    ("bad_ietf01_3.txt", "fail", &[], Some(Draft)),
    ("badkey1_ed25519.txt", "invalid", &["unusable key"], None),
    ("badkey2_ed25519.txt", "fail", &["broken signature"], None),
    ("badkey3_ed25519.txt", "fail", &["broken body"], None),
    ("badkey4_ed25519.txt", "invalid", &["no key"], None),
    ("badkey5_ed25519.txt", "invalid", &["no key"], None),
    ("badkey_1.txt", "invalid", &[], None),
    ("badkey_10.txt", "invalid", &["unsupported"], None),
    ("badkey_11.txt", "invalid", &["unusable key"], None),
    ("badkey_12.txt", "invalid", &["unsupported"], None),
    ("badkey_13.txt", "invalid", &["unsupported"], None),
    ("badkey_14.txt", "invalid", &["unsupported"], None),
    ("badkey_15.txt", "invalid", &["unsupported"], None),
    ("badkey_2.txt", "invalid", &[], None),
    ("badkey_3.txt", "invalid", &[], None),
    ("badkey_4.txt", "invalid", &[], None),
    ("badkey_5.txt", "invalid", &[], None),
    ("badkey_6.txt", "invalid", &[], None),
    ("badkey_7.txt", "invalid", &[], None),
    ("badkey_8.txt", "invalid", &["unsupported"], None),
    ("badkey_9.txt", "invalid", &["unsupported"], None),
    ("dk_headers_1.txt", "pass", &[], Some(DomainKeys)),
    ("dk_headers_2.txt", "pass", &[], Some(DomainKeys)),
    ("dk_multiple_1.txt", "pass", &[], Some(DomainKeys)),
    ("good_1878523.txt", "pass", &["unsupported"], Some(Sha1)),
    ("good_83176.txt", "pass", &["unsupported"], Some(Sha1)),
    ("good_dk_1.txt", "pass", &[], Some(DomainKeys)),
    ("good_dk_2.txt", "pass", &[], Some(DomainKeys)),
    ("good_dk_3.txt", "pass", &[], Some(DomainKeys)),
    ("good_dk_4.txt", "pass", &[], Some(DomainKeys)),
    ("good_dk_5.txt", "pass", &[], Some(DomainKeys)),
    ("good_dk_6.txt", "pass", &[], Some(DomainKeys)),
    ("good_dk_7.txt", "pass", &[], Some(DomainKeys)),
    ("good_dk_gmail.txt", "pass", &[], Some(DomainKeys)),
    ("good_dk_yahoo.txt", "pass", &[], Some(DomainKeys)),
    ("good_ietf00_1.txt", "pass", &[], Some(Draft)),
    ("good_ietf00_2.txt", "pass", &[], Some(Draft)),
    ("good_ietf00_3.txt", "pass", &[], Some(Draft)),
    ("good_ietf00_4.txt", "pass", &[], Some(Draft)),
    ("good_ietf00_5.txt", "pass", &[], Some(Draft)),
    ("good_ietf01_1.txt", "pass", &[], Some(Draft)),
    ("good_ietf01_2.txt", "pass", &[], Some(Draft)),
    ("good_qp_1.txt", "pass", &["unsupported"], Some(Sha1)),
    ("good_qp_2.txt", "pass", &["unsupported"], Some(Sha1)),
    ("good_qp_3.txt", "pass", &["unsupported"], Some(Sha1)),
    ("good_rfc4871_3.txt", "pass", &["unsupported"], Some(Sha1)),
    ("good_rfc4871_4.txt", "pass", &["unsupported"], Some(Sha1)),
    ("goodkey_1.txt", "pass", &["unsupported"], Some(Sha1)),
    ("goodkey_2.txt", "pass", &["unsupported"], Some(Sha1)),
    ("goodkey_3.txt", "pass", &["unsupported"], Some(Sha1)),
    ("goodkey_4.txt", "pass", &["unsupported"], Some(Sha1)),
    ("goodkey_ed25519.txt", "pass", &["pass"], None),
    ("ignore_1.txt", "invalid", &[], None),
    ("ignore_2.txt", "invalid", &[], None),
    ("ignore_3.txt", "invalid", &[], None),
    ("ignore_4.txt", "invalid", &[], None),
    ("ignore_5.txt", "invalid", &[], None),
    ("ignore_6.txt", "invalid", &[], None),
    ("ignore_7.txt", "invalid", &["unsupported"], None),
    ("ignore_8.txt", "invalid", &[], None),
    ("mine_ietf01_1.txt", "pass", &[], Some(Draft)),
    ("mine_ietf01_2.txt", "pass", &[], Some(Draft)),
    ("mine_ietf01_3.txt", "pass", &[], Some(Draft)),
    ("mine_ietf01_4.txt", "pass", &[], Some(Draft)),
    ("mine_ietf05_1.txt", "pass", &[], Some(Draft)),
    ("multiple_1.txt", "pass", &[], Some(Draft)),
    ("multiple_2.txt", "pass", &["unsupported", "unsupported"], Some(Sha1)),
    ("no_body_1.txt", "pass", &[], Some(Draft)),
    ("no_body_2.txt", "pass", &[], Some(Draft)),
    ("no_body_3.txt", "pass", &[], Some(Draft)),
];

/// Letters of drafts with `rsa-sha256`, as they are judged if the version is waived: good ones are, where the key is not too
/// small as well.
const WAIVED: &[(&str, &str)] = &[
    ("mine_ietf01_3.txt", "pass"),
    ("mine_ietf01_4.txt", "pass"),
    ("good_ietf01_1.txt", "unusable key"),
    ("bad_ietf01_1.txt", "unusable key"),
    ("bad_1.txt", "unusable key"),
];

/// Letters with `rsa-sha1` and a key of 1024 bits, whose signature matches the header in our canonical form.
const OLD: &[&str] = &[
    "mine_ietf01_1.txt",
    "mine_ietf01_2.txt",
    "mine_ietf05_1.txt",
    "good_83176.txt",
    "no_body_1.txt",
    "no_body_2.txt",
    "no_body_3.txt",
    "multiple_2.txt",
];

#[test]
fn every_letter_is_judged_as_expected_or_differs_by_a_clause() {
    let corpus = corpus();
    let keys = Keys::read(&corpus);
    let files: BTreeSet<String> = fs::read_dir(corpus.join("corpus"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, ROWS.iter().map(|row| row.0.to_owned()).collect(), "another release of the corpus");
    let mut classes: BTreeMap<Class, usize> = BTreeMap::new();
    for (file, theirs, ours, class) in ROWS {
        let evidence = gather(&letter(&corpus, file), &keys);
        let found: Vec<&str> = evidence.signatures.iter().map(word).collect();
        assert_eq!(found, *ours, "{file}");
        let differs = summary(&evidence.signatures) != *theirs;
        assert_eq!(differs, class.is_some(), "{file}: {found:?}, expected {theirs}");
        if let Some(class) = class {
            *classes.entry(*class).or_default() += 1;
        }
        // Whatever is unsigned comes in; what is broken under a usable key does not.
        let refused = decide(&evidence).ruling.refusal().is_some();
        assert_eq!(refused, summary(&evidence.signatures) == "fail", "{file}");
    }
    // As docs/standards.md has them.
    assert_eq!(classes, BTreeMap::from([(DomainKeys, 12), (Draft, 20), (Sha1, 13)]));
}

#[test]
fn drafts_with_a_key_of_today_differ_by_their_version_alone() {
    let corpus = corpus();
    let keys = Keys::read(&corpus);
    for (file, expected) in WAIVED {
        let letter = letter(&corpus, file);
        let split = split_lenient(&letter);
        let index = Index::new(&split.fields);
        let mut inspection = Inspection::default();
        for field in split.fields.iter().filter(|field| is_signature(field)) {
            inspection.add(of_today(field).unwrap(), field, &index);
        }
        inspection.body(&letter[split.body_offset..]);
        let judged = wait(inspection.finish().verify(&keys, NOW));
        assert_eq!(judged.iter().map(word).collect::<Vec<_>>(), [*expected], "{file}");
    }
}

#[test]
fn what_rsa_sha1_signed_is_our_canonical_form() {
    let corpus = corpus();
    let keys = Keys::read(&corpus);
    for file in OLD {
        let letter = letter(&corpus, file);
        let split = split_lenient(&letter);
        let index = Index::new(&split.fields);
        let good = split.fields.iter().filter(|field| is_signature(field)).any(|field| {
            let Ok(signature) = of_today(field) else { return false };
            let input = index.signed_input(
                signature.header_canon,
                &signature.names,
                field,
                &signature.unsigned_value,
            );
            let name = format!("{}._domainkey.{}", signature.selector, signature.domain);
            let record = keys.0[&name].as_deref().unwrap();
            let p = base64("p", record.split("p=").nth(1).unwrap()).unwrap();
            UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, p)
                .verify(&input, &signature.signature)
                .is_ok()
        });
        assert!(good, "{file}");
    }
}

/// The signature as if it had said `v=1` and `q=dns/txt`; what is hashed stays as it is.
fn of_today(field: &Field<'_>) -> Result<Signature, String> {
    let text = String::from_utf8(field.value.to_vec()).unwrap();
    let version = ["v=1;", "v=0.5;"].into_iter().find(|version| text.contains(version)).unwrap_or_default();
    let today = format!("v=1;{}", text.replacen(version, "", 1)).replace("q=dns;", "q=dns/txt;");
    let mut signature = Signature::parse(&Field { value: today.as_bytes(), ..*field })?;
    let b = TagList::parse(field.value)?.tag("b").map(|tag| (tag.start, tag.end)).unwrap();
    let hashed = [&field.value[..b.0], &field.value[b.1..]].concat();
    signature.unsigned_value =
        if hashed.ends_with(b"\r\n") { hashed } else { [&hashed[..], b"\r\n"].concat() };
    Ok(signature)
}

/// What a result of ours is in Mail::DKIM's words: a signature that counts as unsigned is "invalid".
fn summary(signatures: &[SignatureEvidence]) -> &'static str {
    match signatures {
        all if all.iter().any(SignatureEvidence::passes) => "pass",
        all if all.iter().any(SignatureEvidence::is_broken) => "fail",
        _ => "invalid",
    }
}

fn word(signature: &SignatureEvidence) -> &'static str {
    match &signature.verdict {
        Verdict::Pass => "pass",
        Verdict::BrokenBody => "broken body",
        Verdict::BrokenSignature => "broken signature",
        Verdict::NoKey => "no key",
        Verdict::Revoked => "revoked",
        Verdict::Testing => "testing",
        Verdict::UnusableKey(_) => "unusable key",
        Verdict::Unsupported(_) => "unsupported",
        Verdict::Expired => "expired",
        Verdict::Premature => "premature",
        Verdict::TempFault(_) => "fault",
    }
}

/// Where `tests/install` unpacks it.
fn corpus() -> PathBuf {
    let corpus = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("corpora").join("libmail-dkim-perl/t");
    assert!(corpus.is_dir(), "{} is not there: run tests/install", corpus.display());
    corpus
}

fn letter(corpus: &Path, file: &str) -> Vec<u8> {
    with_crlf(&fs::read(corpus.join("corpus").join(file)).unwrap())
}

/// A letter in a file may have the line ends of Unix; SMTP carries CRLF.
fn with_crlf(letter: &[u8]) -> Vec<u8> {
    let lines = letter.split_inclusive(|octet| *octet == b'\n');
    let crlf = |line: &[u8]| match line {
        [start @ .., b'\r', b'\n'] | [start @ .., b'\n'] => [start, b"\r\n"].concat(),
        line => [line, b"\r\n"].concat(),
    };
    lines.flat_map(crlf).collect()
}

fn gather(letter: &[u8], keys: &Keys) -> Evidence {
    let end = letter.windows(4).position(|four| four == b"\r\n\r\n").map_or(letter.len(), |at| at + 4);
    let (header, body) = letter.split_at(end);
    let mut gathering = Gathering::begin(header, |_| Ok(false)).unwrap();
    gathering.body(body);
    let Letter { authors, signatures } = wait(gathering.finish(keys, NOW));
    let rules = Rules { broken_dkim: BrokenDkim::Reject, trusted_forwarders: Vec::new() };
    let peer = PeerEvidence {
        ip: "192.0.2.1".parse().unwrap(),
        helo: String::new(),
        helo_oddity: None,
        name: PeerName::Missing,
        listings: Vec::new(),
    };
    let spf = SpfEvidence {
        result: SpfResult::None,
        identity: SpfIdentity::MailFrom,
        domain: String::new(),
        why: String::new(),
        steps: Vec::new(),
        explanation: None,
    };
    Evidence { authors, signatures, ..Evidence::of_envelope(rules, peer, spf) }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The corpus's own table of DNS: a record, `NXDOMAIN`, or the words of a fault between `~~`.
struct Keys(HashMap<String, Option<String>>);

impl Keys {
    fn read(corpus: &Path) -> Keys {
        let text = fs::read_to_string(corpus.join("FAKE_DNS.dat")).unwrap();
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let row = |line: &str| {
            let (name, value) = line.split_once(char::is_whitespace).unwrap();
            let value = value.trim_start();
            (name.to_owned(), (!value.starts_with("~~")).then(|| value.to_owned()))
        };
        Keys(lines.map(row).filter(|(_, value)| value.as_deref() != Some("NXDOMAIN")).collect())
    }
}

impl KeySource for Keys {
    async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
        match self.0.get(name) {
            Some(Some(record)) => Ok(vec![record.clone()]),
            Some(None) => Err(DnsError("no answer".into())),
            None => Ok(Vec::new()),
        }
    }
}
