//! A transaction up to DATA: the eight cases, recipient by recipient, and what the store and DNS say of each.

mod receiving;

pub use receiving::recipient_can_receive;

use super::allowed::Allowed;
use super::connection::Peer;
use super::house::{fault, unix_time};
use super::inquiry::{Client, Known};
use super::limits::watch;
use super::premises::Premises;
use super::replies;
use crate::mail::address::{Address, Host};
use crate::mail::envelope::{Envelope, Recipient, Sender};
use crate::net::dns::Dns;
use crate::net::tls::server::Agreed;
use crate::policy::cases::{Party, Treatment, treat};
use crate::smtp::Door;
use crate::smtp::reply::Reply;
use crate::smtp::server::EndOfData;
use crate::store::StoreError;
use crate::store::tree::{Lookup, Mailbox, Store};
use crate::system::threads::{Background, blocking};
use receiving::cannot_receive;
use std::sync::Arc;

/// One transaction of a connection; reset and used again for the next.
pub struct Transaction {
    pub premises: Arc<Premises>,
    pub peer: Peer,
    /// What answers the questions that the client causes.
    pub dns: Dns,
    /// What makes the connection private; none: it is in clear.
    pub tls: Option<Agreed>,
    /// Who bounds the lines in the log; none: nobody.
    watched: Option<watch::Client>,
    sender: Option<KnownSender>,
    recipients: Vec<KnownRecipient>,
    inquiry: Option<Background<Known>>,
}

/// A sender and what the store says of him.
#[derive(Clone, Debug)]
pub struct KnownSender {
    pub sender: Sender,
    /// Whether he is "me" in the table: at mx by domain, at submission by address.
    pub ours: bool,
    /// His directory, at submission.
    pub mailbox: Option<Mailbox>,
    /// At mx: whether his domain can receive, once it was asked.
    verified: Option<Result<(), Reply>>,
}

/// A recipient that was accepted.
#[derive(Clone, Debug)]
pub struct KnownRecipient {
    pub recipient: Recipient,
    /// His directory, unless the letter is to be relayed.
    pub mailbox: Option<Mailbox>,
}

/// A transaction whose final dot has come.
pub struct Finished {
    pub premises: Arc<Premises>,
    pub peer: Peer,
    pub dns: Dns,
    /// What protected it on its way to us.
    pub tls: Option<Agreed>,
    pub sender: KnownSender,
    pub recipients: Vec<KnownRecipient>,
    /// What the client called itself, and whether by EHLO.
    pub greeting: Option<(String, bool)>,
    pub facts: EndOfData,
    /// What is being asked about the client, at mx.
    pub inquiry: Option<Background<Known>>,
    /// As in the transaction.
    watched: Option<watch::Client>,
}

impl Finished {
    /// Whether a line may be written about its being refused: of what a stranger brings, ten of each kind in a minute.
    pub fn may_tell_refusal(&self, what: &str) -> bool {
        self.watched.as_ref().is_none_or(|client| client.may_tell_refusal(what))
    }

    /// The whole envelope.
    pub fn envelope(&self) -> Envelope {
        let recipients = self.recipients.iter().map(|known| known.recipient.clone()).collect();
        Envelope { sender: self.sender.sender.clone(), recipients }
    }
}

impl Transaction {
    /// For a new connection, of whose refusals a stranger does not fill the log.
    pub fn of(premises: Arc<Premises>, peer: Peer, client: &watch::Client) -> Transaction {
        Transaction { watched: Some(client.clone()), ..Transaction::new(premises, peer) }
    }

    /// For a question, or a new connection.
    pub fn new(premises: Arc<Premises>, peer: Peer) -> Transaction {
        let dns = match peer.door {
            Door::Submission if !peer.afar => premises.dns.clone(),
            Door::Mx | Door::Submission => premises.dns.for_a_stranger(),
        };
        Transaction {
            premises,
            peer,
            dns,
            tls: None,
            watched: None,
            sender: None,
            recipients: Vec::new(),
            inquiry: None,
        }
    }

    /// Forgets sender and recipients.
    pub fn reset(&mut self) {
        self.sender = None;
        self.recipients.clear();
        self.inquiry = None;
    }

    /// The sender, once `MAIL` was accepted.
    pub fn sender(&self) -> Option<&KnownSender> {
        self.sender.as_ref()
    }

    /// The recipients that were accepted so far.
    pub fn recipients(&self) -> &[KnownRecipient] {
        &self.recipients
    }

    /// Answers `MAIL`.
    pub async fn mail(&mut self, sender: Sender) -> Reply {
        self.reset();
        match self.know_sender(sender).await {
            Ok(known) => {
                self.sender = Some(known);
                replies::sender_ok()
            }
            Err(reply) => self.refused("MAIL", None, reply),
        }
    }

    /// Answers `RCPT`. `helo` is what the client called itself.
    pub async fn rcpt(&mut self, recipient: Recipient, helo: &str) -> Reply {
        match self.know_recipient(&recipient).await {
            Ok(mailbox) => {
                let mailbox = mailbox.map(|mailbox| self.held(mailbox));
                self.recipients.push(KnownRecipient { recipient, mailbox });
                self.inquire(helo);
                replies::recipient_ok()
            }
            Err(reply) => self.refused("RCPT", Some(&recipient.address), reply),
        }
    }

    /// What the verdict will need is asked for with the first recipient, so that the answers are there when the letter is. Not
    /// before: whoever only probes for addresses costs no look-up.
    fn inquire(&mut self, helo: &str) {
        if let (Some(client), None) = (self.client(helo), &self.inquiry) {
            let now = unix_time().as_secs() as i64;
            self.inquiry = Some(client.inquire(Arc::clone(&self.premises), self.dns.clone(), now));
        }
    }

    /// The client that a verdict is about; none at the owner's door.
    pub fn client(&self, helo: &str) -> Option<Client> {
        let (Door::Mx, Some(ip), Some(known)) = (self.peer.door, self.peer.ip, &self.sender) else {
            return None;
        };
        Some(Client { ip, helo: helo.to_owned(), sender: known.sender.path.clone() })
    }

    /// The same directory, by the handles that a recipient before holds already: a stranger who names one address a
    /// hundred times holds no more of our files than who names it once.
    fn held(&self, mailbox: Mailbox) -> Mailbox {
        let mut before = self.recipients.iter().filter_map(|known| known.mailbox.as_ref());
        before.find(|known| known.id == mailbox.id).cloned().unwrap_or(mailbox)
    }

    /// Takes the transaction out; the next one starts empty.
    pub fn finish(&mut self, greeting: Option<(String, bool)>, facts: EndOfData) -> Finished {
        let nobody = || KnownSender {
            sender: Sender::new(crate::mail::envelope::ReversePath::Null),
            ours: false,
            mailbox: None,
            verified: None,
        };
        Finished {
            premises: Arc::clone(&self.premises),
            peer: self.peer.clone(),
            dns: self.dns.clone(),
            tls: self.tls.clone(),
            sender: self.sender.take().unwrap_or_else(nobody),
            recipients: std::mem::take(&mut self.recipients),
            greeting,
            facts,
            inquiry: self.inquiry.take(),
            watched: self.watched.clone(),
        }
    }

    async fn know_sender(&self, sender: Sender) -> Result<KnownSender, Reply> {
        let unknown = |sender| KnownSender { sender, ours: false, mailbox: None, verified: None };
        let Some(address) = sender.path.address().cloned() else {
            return match self.peer.door {
                Door::Mx => Ok(unknown(sender)),
                Door::Submission => Err(replies::null_sender_at_submission()),
            };
        };
        match (self.peer.door, address.domain()) {
            (Door::Mx, Some(domain)) => {
                let ours = self.premises.is_ours(domain).await?;
                Ok(KnownSender { ours, ..unknown(sender) })
            }
            (Door::Submission, Some(_)) => match self.owner(&address, sender.size).await? {
                Lookup::Found(mailbox) => {
                    Ok(KnownSender { ours: true, mailbox: Some(mailbox), ..unknown(sender) })
                }
                // Told at RCPT, as at mx, where it counts as the error of a stranger who guesses.
                Lookup::NoSuchAddress if self.peer.afar => Ok(unknown(sender)),
                Lookup::NoSuchAddress => Err(replies::no_such_sender(&address)),
                Lookup::NotOurs => Ok(unknown(sender)),
            },
            (_, None) => Ok(unknown(sender)),
        }
    }

    /// Looks the sender at submission up, and whether his letter could be queued.
    async fn owner(&self, address: &Address, size: Option<u64>) -> Result<Lookup, Reply> {
        let size = size.unwrap_or(0);
        let (premises, allowed, address) =
            (Arc::clone(&self.premises), self.peer.allowed.clone(), address.clone());
        blocking(move || {
            let found = premises.store.find(&address).map_err(|error| fault(&error))?;
            if let Lookup::Found(mailbox) = &found {
                allowed_by_ssh_key(&premises.store, allowed.as_ref(), &address, mailbox)?;
                premises.room_in_state(size).map_err(|error| fault(&error))?;
            }
            Ok(found)
        })
        .await
    }

    async fn know_recipient(&mut self, recipient: &Recipient) -> Result<Option<Mailbox>, Reply> {
        let address = &recipient.address;
        let sender_ours = self.sender.as_ref().is_some_and(|sender| sender.ours);
        let lookup = self.look_up(address, sender_ours).await?;
        let recipient_ours = !matches!(lookup, Lookup::NotOurs);
        let (from, to) = (Party::ours(sender_ours), Party::ours(recipient_ours));
        match (treat(self.peer.door, from, to), lookup) {
            (Treatment::Refuse, _) => Err(self.case_refusal(sender_ours, address)),
            (Treatment::Deliver, Lookup::Found(mailbox)) => {
                self.sender_can_receive().await?;
                Ok(Some(mailbox))
            }
            (Treatment::Deliver, _) => Err(replies::no_such_address(address)),
            // Asked when the letter is proved to be the owner's: strangers do not choose whose name servers we ask.
            (Treatment::Relay, _) if self.peer.afar => Ok(None),
            (Treatment::Relay, _) => {
                recipient_can_receive(&self.dns, address, self.watched.as_ref()).await?;
                Ok(None)
            }
        }
    }

    /// What the store says of a recipient, and whether a letter for him could be stored now: all of it in one call, since
    /// each costs two threads' waking.
    async fn look_up(&self, address: &Address, sender_ours: bool) -> Result<Lookup, Reply> {
        if let Host::Literal(_) = address.host() {
            return Ok(Lookup::NotOurs);
        }
        let our_postmaster = self.is_our_postmaster(address);
        let delivers =
            treat(self.peer.door, Party::ours(sender_ours), Party::ours(true)) == Treatment::Deliver;
        let size = self.sender.as_ref().and_then(|known| known.sender.size).unwrap_or(0);
        let (premises, address) = (Arc::clone(&self.premises), address.clone());
        let looked_up = blocking(move || {
            let lookup = match premises.store.find(&address)? {
                Lookup::NotOurs if our_postmaster => Lookup::Found(premises.store.dead_letter()?),
                lookup => lookup,
            };
            if let (true, Lookup::Found(mailbox)) = (delivers, &lookup) {
                premises.room_for(mailbox, size)?;
            }
            Ok(lookup)
        });
        looked_up.await.map_err(|error: StoreError| fault(&error))
    }

    /// RFC 5321 section 4.5.1: `<postmaster>` of the server's own name is answered even where that name is no domain
    /// of the tree.
    fn is_our_postmaster(&self, address: &Address) -> bool {
        self.peer.door == Door::Mx
            && address.domain() == Some(&self.premises.name)
            && address.folded_local() == "postmaster"
    }

    fn case_refusal(&self, sender_ours: bool, recipient: &Address) -> Reply {
        match (self.peer.door, self.sender.as_ref().and_then(|known| known.sender.path.address())) {
            (Door::Submission, _) => replies::foreign_sender(),
            (Door::Mx, Some(sender)) if sender_ours => replies::own_sender_at_mx(sender),
            (Door::Mx, _) => replies::not_ours(recipient),
        }
    }

    /// The article's `verify = sender`, asked once, and only when a recipient of ours is at stake: whoever probes for
    /// a relay costs no DNS look-up.
    async fn sender_can_receive(&mut self) -> Result<(), Reply> {
        let Some(known) = &mut self.sender else { return Ok(()) };
        if self.peer.door != Door::Mx {
            return Ok(());
        }
        if known.verified.is_none() {
            let answer = match known.sender.path.address().and_then(Address::domain) {
                Some(domain) => match cannot_receive(&self.dns, domain, self.watched.as_ref()).await {
                    Ok(Some(why)) => Err(replies::sender_cannot_receive(domain.as_str(), why)),
                    Ok(None) => Ok(()),
                    // For all recipients: each one would wait for the same dead name servers.
                    Err(later) => Err(later),
                },
                None => Ok(()),
            };
            known.verified = Some(answer);
        }
        known.verified.clone().unwrap_or(Ok(()))
    }

    /// The protocol's machine refused the message itself (too large, lone CR or LF, NUL): a line for that too.
    pub fn log_unfit(&self) {
        if !self.may_tell("refused: unfit") {
            return;
        }
        tracing::info!(
            door = ?self.peer.door,
            peer = self.peer.ip.map(|ip| ip.to_string()),
            from = self.sender.as_ref().map(|known| known.sender.path.to_string()),
            "refused: too large, or with a lone CR, a lone LF or a NUL; the reply said which"
        );
    }

    fn may_tell(&self, what: &str) -> bool {
        self.watched.as_ref().is_none_or(|client| client.may_tell_refusal(what))
    }

    fn refused(&self, verb: &str, recipient: Option<&Address>, reply: Reply) -> Reply {
        if !self.may_tell(&format!("refused at {verb}: {}", reply.code)) {
            return reply;
        }
        let from = self.sender.as_ref().map(|known| known.sender.path.to_string());
        tracing::info!(
            door = ?self.peer.door,
            peer = self.peer.ip.map(|ip| ip.to_string()),
            from,
            to = recipient.map(|address| address.to_string()),
            code = reply.code,
            reason = reply.text,
            "refused at {verb}"
        );
        reply
    }
}

fn allowed_by_ssh_key(
    store: &Store,
    allowed: Option<&Allowed>,
    address: &Address,
    mailbox: &Mailbox,
) -> Result<(), Reply> {
    let Some(allowed) = allowed else { return Ok(()) };
    match allowed.covers(store, address, mailbox).map_err(|error| fault(&error))? {
        true => Ok(()),
        false => Err(replies::confined(address)),
    }
}
