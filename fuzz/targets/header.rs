//! The header splitters. What the strict one takes, the lenient one and two other readers (mail-auth, mail-parser) see with
//! the same fields and the same body; or the submission door refuses it. The lenient one loses no octet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mail_auth::AuthenticatedMessage;
use mail_parser::MessageParser;
use pillarbox::config::Accept;
use pillarbox::mail::address::{Address, Domain};
use pillarbox::mail::envelope::{ReversePath, Sender};
use pillarbox::mail::form::{Carriage, Oddity, oddities};
use pillarbox::mail::header::{Header, split_lenient, split_strict};
use pillarbox::net::dns::DnsError;
use pillarbox::policy::submission::Channel;
use pillarbox::store::StoreError;
use pillarbox::store::tree::DirId;
use pillarbox::trust::record::KeySource;
use pillarbox::trust::submission::{Gathering, Owners, Session};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

fuzz_target!(|message: &[u8]| {
    let lenient = split_lenient(message);
    nothing_is_lost(&lenient, message);
    if let Ok(strict) = split_strict(message) {
        assert_eq!(strict, lenient);
    }
    if let Some(head) = header_block(message) {
        taken_at_submission(head);
    }
});

fn nothing_is_lost(header: &Header<'_>, message: &[u8]) {
    let fields: usize = header.fields.iter().map(|field| field.raw.len()).sum();
    assert!(
        message.starts_with(&header.fields.iter().flat_map(|field| field.raw).copied().collect::<Vec<_>>())
    );
    let gap = header.body_offset - fields;
    assert!(gap == 0 || matches!(&message[fields..header.body_offset], b"\r\n" | b"\n"), "{gap}");
}

/// What the server takes for the header block: up to and with the empty line, or all of it.
fn header_block(message: &[u8]) -> Option<&[u8]> {
    if message.starts_with(b"\r\n") {
        return Some(&message[..2]);
    }
    match message.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(at) => Some(&message[..at + 4]),
        None => message.ends_with(b"\r\n").then_some(message),
    }
}

fn taken_at_submission(head: &[u8]) {
    let id = DirId { device: 1, inode: 1 };
    let session = Session {
        sender: Address::parse("me@here.example").unwrap(),
        owner: id,
        mailbox: id,
        recipients: Vec::new(),
        channel: Channel::Loopback,
        hostname: "mx.here.example".into(),
        accept: vec![Accept::Sealed],
    };
    let gathered = now(Gathering::begin(head, session, &Everything(id)).unwrap().finish(&Nothing, 0));
    if gathered.evidence.form.is_err() {
        return;
    }
    let ours = split_strict(head).expect("what is taken is strict");
    let letter =
        [head, if head.ends_with(b"\r\n\r\n") || head == b"\r\n" { b"" } else { b"\r\n" }, b"body"].concat();
    let theirs = AuthenticatedMessage::parse(&letter).expect("what is taken can be read");
    assert_eq!(theirs.body_offset as usize, letter.len() - 4);
    assert!(
        theirs
            .headers
            .iter()
            .map(|(name, _)| *name)
            .eq(ours.fields.iter().map(|field| field.name.as_bytes()))
    );
    // mail-parser 0.11 reads on beyond a Date whose zone is cut short (`+00y`), which no door of ours relies on.
    let sender = Sender::new(ReversePath::Null);
    let carriage = Carriage { sender: &sender, longest_line: 0, eight_bit_body: false };
    if oddities(&ours, carriage).contains(&Oddity::UnreadableDate) {
        return;
    }
    if let Some(parsed) = MessageParser::new().parse(&letter) {
        let froms = parsed.headers().iter().filter(|field| field.name().eq_ignore_ascii_case("From")).count();
        assert_eq!(froms, ours.all("From").count(), "another reader sees another number of From");
        assert_eq!(parsed.root_part().raw_body_offset() as usize, letter.len() - 4);
    }
}

struct Everything(DirId);

impl Owners for Everything {
    fn owner(&self, _: &Address) -> Result<Option<DirId>, StoreError> {
        Ok(Some(self.0))
    }
    fn selector_owner(&self, _: &Domain, _: &str) -> Result<Option<DirId>, StoreError> {
        Ok(Some(self.0))
    }
}

struct Nothing;

impl KeySource for Nothing {
    async fn txt(&self, _: &str) -> Result<Vec<String>, DnsError> {
        Ok(Vec::new())
    }
}

/// Nothing here waits for anything.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing waits"),
    }
}
