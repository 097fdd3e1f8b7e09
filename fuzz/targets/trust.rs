//! Letters at both doors: no header, body or key record makes the checks panic; a cut body gives the same evidence; and
//! whoever has no key is never let in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::config::{Accept, BrokenDkim};
use pillarbox::mail::address::{Address, Domain};
use pillarbox::net::dns::DnsError;
use pillarbox::policy::inbound::{Evidence, Rules, sentence};
use pillarbox::policy::peer::{PeerEvidence, PeerName};
use pillarbox::policy::results::{authentication_results, verdict_field};
use pillarbox::policy::signature::Verdict;
use pillarbox::policy::spf::{SpfEvidence, SpfIdentity, SpfResult};
use pillarbox::policy::submission::{Channel, decide};
use pillarbox::store::StoreError;
use pillarbox::store::tree::DirId;
use pillarbox::trust::record::KeySource;
use pillarbox::trust::{inbound, submission};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

const NOW: i64 = 1_800_000_000;

// How the body is cut, the key records, the header and the body, with NUL between them.
fuzz_target!(|input: &[u8]| {
    let Some((cut, input)) = input.split_first() else { return };
    let mut parts = input.splitn(3, |octet| *octet == 0);
    let [records, header, body] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let cut = usize::from(*cut).max(1);
    let keys = Keys(String::from_utf8_lossy(records).split('\u{1}').map(str::to_owned).collect());
    let whole = at_mx(header, [body].into_iter(), &keys);
    let pieces = at_mx(header, body.chunks(cut), &keys);
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    // Nobody here has the key of anything.
    assert!(whole.signatures.iter().all(|one| one.verdict != Verdict::Pass));

    let whole = at_submission(header, [body].into_iter(), &keys);
    let pieces = at_submission(header, body.chunks(cut), &keys);
    assert_eq!(format!("{:?}", whole.evidence), format!("{:?}", pieces.evidence));
    assert_eq!(whole.head, pieces.head);
    assert!(decide(&whole.evidence).is_err(), "submitted without a key");
    assert!(whole.evidence.form.is_err() || !mentions_seal(&whole.head), "a seal would leave the server");
});

fn mentions_seal(head: &[u8]) -> bool {
    let fields = pillarbox::mail::header::split_lenient(head).fields;
    fields.iter().any(|field| field.is("Envelope-Seal"))
}

fn at_mx<'a>(header: &[u8], body: impl Iterator<Item = &'a [u8]>, keys: &Keys) -> inbound::Letter {
    let ours = Domain::parse("here.example").unwrap();
    let mut gathering = inbound::Gathering::begin(header, |domain| Ok(*domain == ours)).unwrap();
    body.for_each(|slice| gathering.body(slice));
    let letter = now(gathering.finish(keys, NOW));
    let mut evidence = Evidence::of_envelope(
        Rules { broken_dkim: BrokenDkim::Reject, trusted_forwarders: Vec::new() },
        PeerEvidence {
            ip: std::net::Ipv4Addr::LOCALHOST.into(),
            helo: String::new(),
            helo_oddity: None,
            name: PeerName::Missing,
            listings: Vec::new(),
        },
        SpfEvidence {
            result: SpfResult::None,
            identity: SpfIdentity::MailFrom,
            domain: String::new(),
            why: String::new(),
            steps: Vec::new(),
            explanation: None,
        },
    );
    (evidence.authors, evidence.signatures) = (letter.authors.clone(), letter.signatures.clone());
    let said = sentence(&evidence, &pillarbox::policy::inbound::decide(&evidence));
    one_field(&authentication_results("mx.here.example", &evidence));
    one_field(&verdict_field("accept", &said));
    letter
}

fn one_field(results: &str) {
    assert!(results.ends_with("\r\n") && !results.contains("\r\n\r\n"), "{results:?}");
    for line in results.split_inclusive("\r\n").skip(1) {
        assert!(line.starts_with([' ', '\t']), "{results:?}");
    }
}

fn at_submission<'a>(
    header: &[u8],
    body: impl Iterator<Item = &'a [u8]>,
    keys: &Keys,
) -> submission::Gathered {
    let id = DirId { device: 1, inode: 1 };
    let session = submission::Session {
        sender: Address::parse("me@here.example").unwrap(),
        owner: id,
        mailbox: id,
        recipients: vec![Address::parse("you@there.example").unwrap()],
        channel: Channel::Loopback,
        hostname: "mx.here.example".into(),
        accept: vec![Accept::Sealed, Accept::Plain],
    };
    let mut gathering = submission::Gathering::begin(header, session, &Everything(id)).unwrap();
    body.for_each(|slice| gathering.body(slice));
    now(gathering.finish(keys, NOW))
}

struct Everything(DirId);

impl submission::Owners for Everything {
    fn owner(&self, _: &Address) -> Result<Option<DirId>, StoreError> {
        Ok(Some(self.0))
    }
    fn selector_owner(&self, _: &Domain, _: &str) -> Result<Option<DirId>, StoreError> {
        Ok(Some(self.0))
    }
}

/// The same records at every name; none where the text is empty.
struct Keys(Vec<String>);

impl KeySource for Keys {
    async fn txt(&self, _: &str) -> Result<Vec<String>, DnsError> {
        Ok(self.0.clone())
    }
}

/// Nothing here waits for anything.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing waits"),
    }
}
