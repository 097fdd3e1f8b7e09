//! Who a letter is from, and how names of this machine become addresses.
//!
//! cron, at, bsd-mailx and s-nail write `From: root` or `From: root@laptop`. Such a name means nothing elsewhere and tells
//! strangers about this machine, so the owner's own address is put in its place; the display name is kept. An address
//! that we hold a key for is never touched.

use super::arguments::Arguments;
use crate::config;
use crate::error::{Exit, Failure};
use crate::home::keyring::Keyring;
use crate::mail::address::{Address, Domain, Host};
use crate::mail::header::Field;
use crate::mail::mailboxes::{self, Mailbox, Named, Target};

/// Who a letter is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The envelope sender; the letter is signed for it.
    pub sender: Address,
    /// Who stands in where the header has nobody, or a user of this machine.
    pub author: Option<Mailbox>,
    /// The names of this machine that From and Sender have.
    pub host_domains: Vec<Domain>,
}

/// This machine and its owner.
pub struct Home<'a> {
    config: &'a config::Home,
    keyring: Keyring<'a>,
    host: String,
}

impl<'a> Home<'a> {
    /// The machine that this program runs on.
    pub fn new(config: &'a config::Home) -> Home<'a> {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        Home::named(config, &host.unwrap_or_default())
    }

    fn named(config: &'a config::Home, host: &str) -> Home<'a> {
        Home { config, keyring: Keyring::new(config), host: host.trim_end_matches('.').to_ascii_lowercase() }
    }

    /// The keys at hand.
    pub fn keyring(&self) -> &Keyring<'a> {
        &self.keyring
    }

    /// Decides who the letter is from: `-f` for the envelope, else From; the owner's own address for whatever is
    /// missing or of this machine.
    pub fn identify(&self, fields: &[Field], arguments: &Arguments) -> Result<Identity, Failure> {
        let envelope = match arguments.sender.as_deref() {
            None => None,
            Some("") => return Err(null_sender()),
            Some(text) => self.ours(&one_target(text)?),
        };
        let from = one_from(fields)?.and_then(|named| self.ours(&named.target));
        let strangers = self.of_this_host(fields);
        let display = || arguments.display.clone();
        let author = match (&from, &envelope) {
            (Some(_), _) if strangers.is_empty() => None,
            (Some(from), _) => Some(Mailbox { display: None, address: from.clone() }),
            (None, Some(envelope)) => Some(Mailbox { display: display(), address: envelope.clone() }),
            (None, None) => {
                let owner = self.owner()?;
                Some(Mailbox { display: display().or(owner.display), address: owner.address })
            }
        };
        let sender = envelope.or(from).or_else(|| author.as_ref().map(|author| author.address.clone()));
        let sender = sender.ok_or_else(|| Failure::new(Exit::DataErr, "the letter has no sender"))?;
        let host_domains = strangers.into_iter().filter_map(|target| match target {
            Target::Full(address) => address.domain().cloned(),
            Target::Unqualified(_) => None,
        });
        Ok(Identity { sender, author, host_domains: host_domains.collect() })
    }

    /// The mailboxes in From and Sender that are unqualified or of this machine.
    fn of_this_host(&self, fields: &[Field]) -> Vec<Target> {
        let authors = fields.iter().filter(|field| field.is("From") || field.is("Sender"));
        let named = authors.flat_map(|field| mailboxes::parse_lenient(field.value).0);
        named.map(|named| named.target).filter(|target| self.ours(target).is_none()).collect()
    }

    /// The address that a recipient's name stands for: unqualified names get the sender's domain. Users of this
    /// machine (root, the caller, anybody at this host) have no mailbox elsewhere: their mail is the owner's.
    pub fn recipient(&self, target: &Target, sender: &Address) -> Result<Address, Failure> {
        let is_local_user = match target {
            Target::Full(_) => self.ours(target).is_none(),
            Target::Unqualified(name) => name == "root" || Some(name) == caller().as_ref(),
        };
        let wrong = |error: crate::mail::address::AddressError| Failure::new(Exit::Usage, error.to_string());
        let domain = sender.domain().ok_or_else(|| Failure::new(Exit::Usage, "the sender has no domain"))?;
        let completed = target.complete(domain).map_err(wrong)?;
        if is_local_user && !self.keyring.holds(&completed) {
            return Ok(self.owner().map_or(completed, |owner| owner.address));
        }
        Ok(completed)
    }

    /// The address, unless it is unqualified or of this machine.
    fn ours(&self, target: &Target) -> Option<Address> {
        match target {
            Target::Full(address) if self.keyring.holds(address) || !self.is_here(address.host()) => {
                Some(address.clone())
            }
            _ => None,
        }
    }

    /// Whether a host name means this machine: `localhost`, our host name, with whatever domain behind it that the
    /// local network gave us.
    fn is_here(&self, host: &Host) -> bool {
        let domain = match host {
            Host::Literal(ip) => return ip.is_loopback(),
            Host::Domain(domain) => domain.as_str(),
        };
        let first = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        !domain.contains('.')
            || domain == self.host
            || domain.starts_with("localhost.")
            || (!self.host.is_empty() && !self.is_public(domain) && first(domain) == first(&self.host))
    }

    /// Whether we have keys under this domain, which then cannot be a name of the local network.
    fn is_public(&self, domain: &str) -> bool {
        let owner = self.owner().ok().and_then(|owner| owner.address.domain().cloned());
        owner.as_ref().map(Domain::as_str) == Some(domain)
    }

    /// The owner's own name and address: `from` of home.toml, else the one address that there are keys of.
    fn owner(&self) -> Result<Mailbox, Failure> {
        if let Some(from) = &self.config.from {
            let wrong =
                || Failure::new(Exit::Config, format!("home.toml: from = {from:?} is not one whole address"));
            let named = one_named(from.as_bytes()).ok_or_else(wrong)?;
            return match named.target {
                Target::Full(address) => Ok(Mailbox { display: named.display, address }),
                Target::Unqualified(_) => Err(wrong()),
            };
        }
        let address = self.keyring.sole_address().ok_or_else(|| {
            let folder = self.config.mail.display();
            let text = format!(
                "the letter does not say who it is from, and {folder} does not have keys of exactly one address; \
                 write in home.toml: from = \"me@example.org\""
            );
            Failure::new(Exit::Config, text)
        })?;
        Ok(Mailbox { display: None, address })
    }
}

/// The letter's From, unless it is missing or empty.
fn one_from(fields: &[Field]) -> Result<Option<Named>, Failure> {
    let mut froms = fields.iter().filter(|field| field.is("From"));
    let Some(field) = froms.next() else { return Ok(None) };
    if froms.next().is_some() {
        return Err(Failure::new(Exit::DataErr, "the letter has two From fields; one is allowed"));
    }
    let text = field.text();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || Failure::new(Exit::DataErr, format!("From is not one address: {text}"));
    one_named(field.value).ok_or_else(wrong).map(Some)
}

fn one_target(sender: &str) -> Result<Target, Failure> {
    let wrong = || Failure::new(Exit::Usage, format!("-f is not one address: {sender}"));
    one_named(sender.as_bytes()).map(|named| named.target).ok_or_else(wrong)
}

fn one_named(value: &[u8]) -> Option<Named> {
    let (mut named, unread) = mailboxes::parse_lenient(value);
    let only = named.pop()?;
    (named.is_empty() && unread.is_empty()).then_some(only)
}

fn null_sender() -> Failure {
    let text =
        "a letter from <> cannot be submitted; give your own address with -f, and -N never to get no reports";
    Failure::new(Exit::NoPerm, text)
}

/// The login name of whoever called us.
fn caller() -> Option<String> {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid());
    user.ok().flatten().map(|user| user.name)
}

#[cfg(test)]
mod tests;
