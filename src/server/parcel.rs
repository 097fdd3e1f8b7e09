//! A message as it comes in after DATA: the header gathered in memory, then the body, hashed and spilled as it flows.

use super::allowed::named_directories;
use super::house::fault;
use super::premises::Premises;
use super::recipients::{Finished, KnownRecipient, KnownSender, Transaction};
use super::replies;
use crate::mail::envelope::ReversePath;
use crate::net::dns::Dns;
use crate::policy::submission::{Channel, Permit};
use crate::smtp::Door;
use crate::smtp::reply::Reply;
use crate::store::StoreError;
use crate::store::letter::{Spill, SpillRoom};
use crate::system::threads::{Background, reading};
use crate::trust::dmarc::{Discovery, discover};
use crate::trust::{inbound, submission};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Honest headers are a few KiB; the largest seen carry long lists of recipients.
const HEADER_LIMIT: usize = 256 << 10;
/// The most with all their stamps and signatures have a few hundred. What is made of one field takes far more memory than
/// the four octets that it can be written with.
const MOST_FIELDS: usize = 2000;
/// From this size on, a spill may lie in a file, and appending may block.
const MAY_BLOCK: u64 = 64 << 10;

/// Where messages are taken in: room for their bodies, and turns at reading a header, since what that takes for a moment is
/// many times its size.
#[derive(Clone)]
pub struct Desk {
    room: Arc<SpillRoom>,
    readers: Arc<Semaphore>,
}

/// Headers that are read at once. It is work for the processor alone, done in milliseconds.
const READERS: usize = 4;

impl Desk {
    /// With this room.
    pub fn new(room: Arc<SpillRoom>) -> Desk {
        Desk { room, readers: Arc::new(Semaphore::new(READERS)) }
    }
}

/// The message of one transaction.
pub struct Parcel {
    premises: Arc<Premises>,
    desk: Desk,
    header: Vec<u8>,
    body: Spill,
    stage: Stage,
}

enum Stage {
    /// Still within the header.
    Header,
    /// Within the body, with the evidence so far.
    Body(Gathering),
    /// Something went wrong: the rest is read and dropped, and this is the answer to the final dot.
    Failed(Reply),
}

/// Evidence, by door.
pub enum Gathering {
    /// From a stranger; and what the domains in From publish, which is being asked.
    Mx(inbound::Gathering, Background<Discovery>),
    /// From the owner, or whoever says so.
    Submission(Box<submission::Gathering>),
}

/// A whole message.
pub struct Whole {
    pub header: Vec<u8>,
    pub body: Spill,
    pub gathering: Gathering,
}

impl Parcel {
    /// An empty one.
    pub fn new(premises: Arc<Premises>, desk: Desk) -> Parcel {
        let body = Spill::new(Arc::clone(&desk.room));
        Parcel { premises, desk, header: Vec::new(), body, stage: Stage::Header }
    }

    /// Takes the next slice.
    pub async fn body(&mut self, slice: &[u8], transaction: &Transaction) {
        match &mut self.stage {
            Stage::Failed(_) => {}
            Stage::Body(gathering) => {
                gathering.body(slice);
                self.spill(slice);
            }
            Stage::Header => self.header(slice, transaction).await,
        }
    }

    /// After the final dot: the whole message, or what went wrong.
    pub async fn whole(mut self, transaction: &Finished) -> Result<Whole, Reply> {
        if matches!(self.stage, Stage::Header) {
            // No empty line ever came: the letter is a header alone.
            let about = About::of_finished(transaction);
            self.begin(about).await;
        }
        match self.stage {
            Stage::Body(gathering) => Ok(Whole { header: self.header, body: self.body, gathering }),
            Stage::Failed(reply) => Err(reply),
            Stage::Header => Err(replies::broken()),
        }
    }

    async fn header(&mut self, slice: &[u8], transaction: &Transaction) {
        // The empty line may lie across two slices.
        let from = self.header.len().saturating_sub(3);
        self.header.extend_from_slice(slice);
        let Some(end) = header_end(&self.header, from) else {
            if self.header.len() > HEADER_LIMIT {
                self.fail(replies::header_too_large(HEADER_LIMIT));
            }
            return;
        };
        if end > HEADER_LIMIT {
            return self.fail(replies::header_too_large(HEADER_LIMIT));
        }
        let rest = self.header.split_off(end);
        let Some(about) = About::of(transaction) else { return self.fail(replies::broken()) };
        self.begin(about).await;
        if let Stage::Body(gathering) = &mut self.stage {
            gathering.body(&rest);
            self.spill(&rest);
        }
    }

    async fn begin(&mut self, about: About) {
        if fields(&self.header) > MOST_FIELDS {
            return self.fail(replies::too_many_fields(MOST_FIELDS));
        }
        let (readers, premises) = (Arc::clone(&self.desk.readers), Arc::clone(&self.premises));
        let header = std::mem::take(&mut self.header);
        let turn = readers.acquire().await;
        let begun = reading(move || {
            let gathering = about.begin(&premises, &header);
            (gathering.map_err(|error| fault(&error)), header)
        });
        let (gathering, header) = begun.await;
        drop(turn);
        self.header = header;
        match gathering {
            Ok(gathering) => self.stage = Stage::Body(gathering),
            Err(reply) => self.fail(reply),
        }
    }

    fn spill(&mut self, slice: &[u8]) {
        let body = &mut self.body;
        let appended = match body.len() > MAY_BLOCK {
            true => tokio::task::block_in_place(|| body.append(slice)),
            false => body.append(slice),
        };
        if let Err(error) = appended {
            self.fail(fault(&error));
        }
    }

    fn fail(&mut self, reply: Reply) {
        self.stage = Stage::Failed(reply);
        self.header = Vec::new();
        self.body = Spill::new(Arc::clone(&self.desk.room));
    }
}

impl Gathering {
    fn body(&mut self, slice: &[u8]) {
        match self {
            Gathering::Mx(gathering, _) => gathering.body(slice),
            Gathering::Submission(gathering) => gathering.body(slice),
        }
    }
}

/// What the evidence begins with.
enum About {
    /// What answers its questions.
    Mx(Box<Dns>),
    Submission(Box<submission::Session>, Vec<crate::mail::address::Address>),
}

impl About {
    fn of(transaction: &Transaction) -> Option<About> {
        let (sender, recipients) = (transaction.sender()?, transaction.recipients());
        About::new(&transaction.dns, (&transaction.premises, &transaction.peer), sender, recipients)
    }

    fn of_finished(done: &Finished) -> About {
        let about = About::new(&done.dns, (&done.premises, &done.peer), &done.sender, &done.recipients);
        about.unwrap_or_else(|| About::Mx(Box::new(done.dns.clone())))
    }

    fn new(
        dns: &Dns,
        (premises, peer): (&Premises, &super::connection::Peer),
        sender: &KnownSender,
        recipients: &[KnownRecipient],
    ) -> Option<About> {
        if peer.door == Door::Mx {
            return Some(About::Mx(Box::new(dns.clone())));
        }
        let (ReversePath::Address(address), Some(mailbox)) = (&sender.sender.path, &sender.mailbox) else {
            return None;
        };
        let (channel, named) = match &peer.allowed {
            None if peer.afar => (Channel::World, Vec::new()),
            None => (Channel::Loopback, Vec::new()),
            Some(allowed) if allowed.is_everything() => {
                (Channel::Gate(vec![Permit::Directory(mailbox.owner)]), Vec::new())
            }
            Some(allowed) => {
                let domains = allowed.domains().iter().cloned().map(Permit::Domain).collect();
                (Channel::Gate(domains), allowed.addresses().to_vec())
            }
        };
        let session = submission::Session {
            sender: address.clone(),
            owner: mailbox.owner,
            mailbox: mailbox.id,
            recipients: recipients.iter().map(|known| known.recipient.address.clone()).collect(),
            channel,
            hostname: premises.name.to_string(),
            accept: premises.config.submission.accept.clone(),
        };
        Some(About::Submission(Box::new(session), named))
    }

    /// Blocks: names are looked up in the tree.
    fn begin(self, premises: &Premises, header: &[u8]) -> Result<Gathering, StoreError> {
        match self {
            About::Mx(dns) => {
                let gathering = inbound::Gathering::begin(header, |domain| premises.store.is_ours(domain))?;
                let authors = gathering.author_domains();
                let discovery = Background::begin(async move { discover(&authors, &*dns).await });
                Ok(Gathering::Mx(gathering, discovery))
            }
            About::Submission(mut session, named) => {
                if let Channel::Gate(permits) = &mut session.channel {
                    permits.extend(
                        named_directories(&premises.store, &named)?.into_iter().map(Permit::Directory),
                    );
                }
                let gathering = submission::Gathering::begin(header, *session, &premises.store)?;
                Ok(Gathering::Submission(Box::new(gathering)))
            }
        }
    }
}

/// Where the body begins, if the empty line is there; looked for from `from` on. A letter that begins with the empty
/// line has no header at all.
fn header_end(bytes: &[u8], from: usize) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        return Some(2);
    }
    let found = memchr::memmem::find(bytes.get(from..)?, b"\r\n\r\n")?;
    Some(from + found + 4)
}

/// How many fields a header has, the empty line counted as one.
fn fields(header: &[u8]) -> usize {
    let begins_one = |end: &usize| !matches!(header.get(end + 1), Some(b' ' | b'\t'));
    memchr::memchr_iter(b'\n', header).filter(begins_one).count()
}

#[cfg(test)]
mod tests {
    use super::{fields, header_end};

    #[test]
    fn the_empty_line_is_found_wherever_the_slices_are_cut() {
        let letter = b"A: b\r\n\r\nbody\r\n\r\n";
        for cut in 0..letter.len() {
            let from = cut.saturating_sub(3);
            let whole = header_end(&letter[..cut], 0).or_else(|| header_end(letter, from));
            assert_eq!(whole, Some(8), "cut at {cut}");
        }
        assert_eq!(header_end(b"\r\nbody", 0), Some(2));
        assert_eq!(header_end(b"A: b\r\n", 0), None);
    }

    #[test]
    fn lines_that_go_on_are_no_fields() {
        assert_eq!(fields(b"A: b\r\n c\r\n\td\r\nE:\r\n"), 2);
        assert_eq!(fields(b"A: b\r\n\r\n"), 2);
    }
}
