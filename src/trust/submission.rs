//! Evidence at the submission door, and the bytes that are queued: [`crate::policy::submission`] has the order of calls.

use super::canon::Index;
use super::inspect::{self, Inspection, hex};
use super::record::KeySource;
use super::seal::{SEAL, SEAL_LOWER, Seal};
use super::signature::{Signature, is_signature, labels, mentions};
use super::tags::excerpt;
use crate::config::Accept;
use crate::mail::address::{Address, Domain};
use crate::mail::header::{Field, Header, split_strict};
use crate::mail::mailboxes;
use crate::policy::submission::{Accepted, Channel, Claim, ClaimField, Dismissed, Evidence};
use crate::queue::Once;
use crate::store::StoreError;
use crate::store::tree::{DirId, Lookup, Store};
use aws_lc_rs::digest::{self, SHA256};
use mail_auth::AuthenticatedMessage;
use std::collections::{BTreeSet, HashMap};

/// Signatures with our `d=` and an owned `s=` that are looked at (rule 1).
const LOOKED_AT: usize = 4;

/// Signature fields that a letter may have. Each that is not looked at is hashed all the same, with as much of the header as it likes, and
/// from afar anybody can write a thousand of them.
const MOST_SIGNATURES: usize = 100;

/// Mailboxes in From, Sender and their like that are looked up in the tree. All must be the sender's.
const MOST_NAMED: usize = 100;

/// Who owns what: the tree, or a table in tests.
pub trait Owners {
    /// The directory that owns an address, if it is one here (that of the address for a topic).
    fn owner(&self, address: &Address) -> Result<Option<DirId>, StoreError>;
    /// The owner of the key with this selector.
    fn selector_owner(&self, domain: &Domain, selector: &str) -> Result<Option<DirId>, StoreError>;
}

impl Owners for Store {
    fn owner(&self, address: &Address) -> Result<Option<DirId>, StoreError> {
        Ok(match self.find(address)? {
            Lookup::Found(mailbox) => Some(mailbox.owner),
            Lookup::NoSuchAddress | Lookup::NotOurs => None,
        })
    }

    fn selector_owner(&self, domain: &Domain, selector: &str) -> Result<Option<DirId>, StoreError> {
        Store::selector_owner(self, domain, selector)
    }
}

/// What the connection knows when the header is there.
#[derive(Clone, Debug)]
pub struct Session {
    /// MAIL FROM.
    pub sender: Address,
    /// The `owner` of the mailbox that MAIL FROM found.
    pub owner: DirId,
    /// Its `id`.
    pub mailbox: DirId,
    /// RCPT TO, those that were accepted.
    pub recipients: Vec<Address>,
    /// How the connection came.
    pub channel: Channel<DirId>,
    /// Our name, as the greeting says it.
    pub hostname: String,
    /// The accepted forms.
    pub accept: Vec<Accept>,
}

/// A letter on its way in.
pub struct Gathering {
    evidence: Evidence<DirId>,
    head: Vec<u8>,
    /// What of the header tells whether a repeat is the same letter.
    head_digest: Vec<u8>,
    inspection: Inspection,
    /// For each signature of `inspection`, whether it names the seal.
    sealing: Vec<bool>,
    body: digest::Context,
}

/// What came of it.
pub struct Gathered {
    /// For [`crate::policy::submission::decide`].
    pub evidence: Evidence<DirId>,
    /// The header without the seal and without every signature that names it, empty line included: these bytes and the
    /// body are what is queued, and no others.
    pub head: Vec<u8>,
}

impl Gathering {
    /// Begins with the whole header block, the empty line included. Blocks (it looks names up in the tree). A header that
    /// is not in strict form is evidence, not an error: the body still has to be read.
    pub fn begin(header: &[u8], session: Session, owners: &impl Owners) -> Result<Gathering, StoreError> {
        let mut gathering = Gathering {
            evidence: blank(session),
            head: Vec::new(),
            head_digest: Vec::new(),
            inspection: Inspection::default(),
            sealing: Vec::new(),
            body: digest::Context::new(&SHA256),
        };
        match split_agreed(header).and_then(not_too_many_signatures) {
            Ok(split) => gathering.read(&split, header, owners)?,
            Err(why) => gathering.evidence.form = Err(why),
        }
        Ok(gathering)
    }

    /// The next slice of the body, as it will be stored.
    pub fn body(&mut self, slice: &[u8]) {
        self.inspection.body(slice);
        self.body.update(slice);
    }

    /// After the final dot: looks the keys up and judges the signatures. `now` is Unix time in seconds.
    pub async fn finish(self, keys: &impl KeySource, now: i64) -> Gathered {
        let Gathering { mut evidence, head, head_digest, inspection, sealing, body } = self;
        evidence.now = now;
        evidence.digest = once_digest(&head_digest, body.finish().as_ref(), &evidence);
        let judged = inspection.finish().verify(keys, now).await;
        for (signature, names_seal) in judged.into_iter().zip(sealing) {
            match names_seal {
                true => evidence.sealing.push(signature),
                false => evidence.public.push(signature),
            }
        }
        Gathered { evidence, head }
    }

    fn read(&mut self, full: &Header<'_>, header: &[u8], owners: &impl Owners) -> Result<(), StoreError> {
        let evidence = &mut self.evidence;
        evidence.seals = full.all(SEAL).map(|field| Seal::parse(field.value)).collect();
        evidence.claims = claims(full, owners)?;
        evidence.date = full.all("Date").next().and_then(|field| date(field.value));
        let kept: Vec<Field<'_>> = full.fields.iter().filter(|field| !is_stripped(field)).copied().collect();
        self.head_digest = head_digest(&kept, evidence.seals.is_empty());
        self.head = kept.iter().flat_map(|field| field.raw).copied().collect();
        self.head.extend_from_slice(&header[header_end(full)..]);
        self.take_up(full, &kept, owners)
    }

    /// Takes up the signatures that may count. What names the seal is verified against the full header, all others against
    /// what will be queued.
    fn take_up(
        &mut self,
        full: &Header<'_>,
        kept: &[Field<'_>],
        owners: &impl Owners,
    ) -> Result<(), StoreError> {
        let (full_index, kept_index) = (Index::new(&full.fields), Index::new(kept));
        let mut known = HashMap::new();
        for field in full.fields.iter().filter(|field| is_signature(field)) {
            let signature = match self.candidate(field, owners, &mut known)? {
                Ok(signature) => signature,
                Err(dismissed) => {
                    self.evidence.dismissed.push(dismissed);
                    continue;
                }
            };
            let names_seal = mentions(field, SEAL_LOWER);
            let index = if names_seal { &full_index } else { &kept_index };
            if self.inspection.len() < LOOKED_AT {
                self.inspection.add(signature, field, index);
                self.sealing.push(names_seal);
            } else if !names_seal {
                self.evidence.unread.push(inspect::mark(&signature, field, index));
            }
        }
        Ok(())
    }

    /// Rule 1, before anything is asked of DNS: `d=` is the sender's domain, `s=` and `i=` are his.
    fn candidate(
        &self,
        field: &Field<'_>,
        owners: &impl Owners,
        known: &mut HashMap<String, bool>,
    ) -> Result<Result<Signature, Dismissed>, StoreError> {
        let signature = match Signature::parse(field) {
            Ok(signature) => signature,
            Err(why) => return Ok(Err(Dismissed::Unparsable(why))),
        };
        if self.evidence.sender.domain() != Some(&signature.domain) {
            return Ok(Err(Dismissed::ForeignDomain(signature.domain)));
        }
        let owned = match known.get(&signature.selector) {
            Some(owned) => *owned,
            None => {
                let owner = owners.selector_owner(&signature.domain, &signature.selector)?;
                let owned = owner == Some(self.evidence.owner);
                known.insert(signature.selector.clone(), owned);
                owned
            }
        };
        if !owned {
            return Ok(Err(Dismissed::ForeignSelector(signature.selector)));
        }
        match &signature.identity {
            Some(identity) if !self.speaks_for_sender(identity, owners)? => {
                Ok(Err(Dismissed::ForeignIdentity(excerpt(identity))))
            }
            _ => Ok(Ok(signature)),
        }
    }

    /// `i=@domain` names nobody; anything else must be an address of the sender. `@you@domain` is neither.
    fn speaks_for_sender(&self, identity: &str, owners: &impl Owners) -> Result<bool, StoreError> {
        if let Some(domain) = identity.strip_prefix('@') {
            return Ok(labels(domain));
        }
        match Address::parse(identity) {
            Ok(address) => Ok(owners.owner(&address)? == Some(self.evidence.owner)),
            Err(_) => Ok(false),
        }
    }
}

/// The queue's marks of an accepted letter.
pub fn once(accepted: &Accepted) -> Once {
    Once {
        nonce: accepted.nonce.clone(),
        digest: accepted.digest.clone(),
        signatures: accepted.spends.clone(),
    }
}

fn blank(session: Session) -> Evidence<DirId> {
    Evidence {
        now: 0,
        hostname: session.hostname,
        accept: session.accept,
        channel: session.channel,
        sender: session.sender,
        owner: session.owner,
        mailbox: session.mailbox,
        recipients: session.recipients,
        form: Ok(()),
        claims: Vec::new(),
        date: None,
        seals: Vec::new(),
        public: Vec::new(),
        sealing: Vec::new(),
        dismissed: Vec::new(),
        unread: Vec::new(),
        digest: String::new(),
    }
}

/// Rule 2: our strict splitter is the authority; where the crate that others verify with sees other fields or another body
/// offset, the letter is refused.
fn split_agreed(header: &[u8]) -> Result<Header<'_>, String> {
    let split = split_strict(header).map_err(|error| error.to_string())?;
    if split.body_offset != header.len() {
        return Err("the header block ends before its end".into());
    }
    // A body, so that the crate tells where it sees one begin.
    let ended = header_end(&split) < header.len();
    let probe = if ended { [header, b"."].concat() } else { [header, b"\r\n."].concat() };
    let agreed = AuthenticatedMessage::parse(&probe).is_some_and(|theirs| {
        let ours = split.fields.iter().map(|field| (field.name.as_bytes(), field.value));
        theirs.headers.iter().copied().eq(ours) && theirs.body_offset as usize == probe.len() - 1
    });
    if agreed { Ok(split) } else { Err("readers would split this header differently".into()) }
}

fn not_too_many_signatures(split: Header<'_>) -> Result<Header<'_>, String> {
    match split.fields.iter().filter(|field| is_signature(field)).count() {
        ..=MOST_SIGNATURES => Ok(split),
        many => Err(format!("it has {many} DKIM-Signature fields; {MOST_SIGNATURES} are allowed")),
    }
}

/// Where the fields end: the empty line, or the end where there is none.
fn header_end(header: &Header<'_>) -> usize {
    header.fields.iter().map(|field| field.raw.len()).sum()
}

/// What never leaves the server (rule 3).
fn is_stripped(field: &Field<'_>) -> bool {
    field.is(SEAL) || (is_signature(field) && mentions(field, SEAL_LOWER))
}

fn claims(header: &Header<'_>, owners: &impl Owners) -> Result<Vec<Claim<DirId>>, StoreError> {
    let (mut claims, mut left) = (Vec::new(), MOST_NAMED);
    for field in &header.fields {
        let which = match field.name.to_ascii_lowercase().as_str() {
            "from" => ClaimField::From,
            "sender" => ClaimField::Sender,
            "resent-from" => ClaimField::ResentFrom,
            "resent-sender" => ClaimField::ResentSender,
            _ => continue,
        };
        let mailboxes = match mailboxes::parse_authors(field.value) {
            Ok(mailboxes) if mailboxes.len() > left => Err("it names too many mailboxes".into()),
            Ok(mailboxes) => {
                left -= mailboxes.len();
                let addresses = mailboxes.into_iter().map(|mailbox| mailbox.address);
                let owned = addresses.map(|address| Ok((address.clone(), owners.owner(&address)?)));
                Ok(owned.collect::<Result<Vec<_>, StoreError>>()?)
            }
            Err(error) => Err(error.to_string()),
        };
        claims.push(Claim { field: which, mailboxes });
    }
    Ok(claims)
}

fn date(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let timestamp = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    Some(timestamp.as_second())
}

/// What makes a repeat the same letter: the bytes that are queued, for whom and by whom. Each part with its length in front,
/// so that no two envelopes read alike.
fn once_digest(head_hash: &[u8], body_hash: &[u8], evidence: &Evidence<DirId>) -> String {
    let mut context = digest::Context::new(&SHA256);
    let mut part = |octets: &[u8]| {
        context.update(&(octets.len() as u64).to_be_bytes());
        context.update(octets);
    };
    part(head_hash);
    part(body_hash);
    part(evidence.sender.to_string().as_bytes());
    let recipients: BTreeSet<String> = evidence.recipients.iter().map(ToString::to_string).collect();
    recipients.iter().for_each(|recipient| part(recipient.as_bytes()));
    hex(context.finish().as_ref())
}

/// The header, for [`once_digest`]. A client that submits plainly, as Exim does in the article, writes a Received line of
/// its own into each attempt: in a plain letter these do not count.
fn head_digest(kept: &[Field<'_>], is_plain: bool) -> Vec<u8> {
    let mut context = digest::Context::new(&SHA256);
    let counts = |field: &&Field<'_>| !(is_plain && field.is("Received"));
    kept.iter().filter(counts).for_each(|field| context.update(field.raw));
    context.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests;
