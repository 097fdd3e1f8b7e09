//! What the ssh key behind a gated connection may send as.

use crate::mail::address::{Address, Domain};
use crate::net::preface::Preface;
use crate::store::StoreError;
use crate::store::tree::{DirId, Lookup, Mailbox, Store};

/// Domains and addresses of the forced command; empty: not confined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    domains: Vec<Domain>,
    addresses: Vec<Address>,
}

impl Allowed {
    /// Reads the gate's words; one that is neither a domain nor an address is an error, since leaving it out could
    /// turn a confined key into an unconfined one.
    pub fn from_preface(preface: &Preface) -> Result<Allowed, String> {
        let mut allowed = Allowed::default();
        for word in &preface.allow {
            let unusable = |error| format!("{word:?} is neither a domain nor an address: {error}");
            match word.contains('@') {
                true => allowed.addresses.push(Address::parse(word).map_err(unusable)?),
                false => allowed.domains.push(Domain::parse(word).map_err(unusable)?),
            }
        }
        Ok(allowed)
    }

    /// Whether the key is not confined.
    pub fn is_everything(&self) -> bool {
        self.domains.is_empty() && self.addresses.is_empty()
    }

    /// docs/submission.md rule 7: whether an address that was found to be `mailbox` is allowed. Topics and aliases of a
    /// named address are those that resolve to the same owner; a topic that is named is that topic alone. Blocks.
    pub fn covers(&self, store: &Store, address: &Address, mailbox: &Mailbox) -> Result<bool, StoreError> {
        if self.is_everything() || address.domain().is_some_and(|domain| self.has_domain(domain)) {
            return Ok(true);
        }
        let named = named_directories(store, &self.addresses)?;
        Ok(named.contains(&mailbox.owner) || named.contains(&mailbox.id))
    }

    /// Whether an address is one that this key may send as, by what the store says of it now. Blocks.
    pub fn may_send_as(&self, store: &Store, address: &Address) -> Result<bool, StoreError> {
        match store.find(address)? {
            Lookup::Found(mailbox) => self.covers(store, address, &mailbox),
            Lookup::NoSuchAddress | Lookup::NotOurs => Ok(self.is_everything()),
        }
    }

    /// Whether every address of the domain is allowed.
    pub fn has_domain(&self, domain: &Domain) -> bool {
        self.domains.contains(domain)
    }

    /// The domains.
    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// The addresses (whose topics and aliases are allowed too) and topics.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }
}

/// The directories that the names of a forced command lead to: of addresses, or of topics. One that does not exist (any
/// more) leads nowhere: a catch-all must not stand in for it.
pub fn named_directories(store: &Store, named: &[Address]) -> Result<Vec<DirId>, StoreError> {
    let mut directories = Vec::new();
    for address in named {
        // What follows the first are its topics, which belong to it.
        directories.extend(store.mailboxes_of(address)?.first().map(|mailbox| mailbox.id));
    }
    Ok(directories)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_cannot_be_read_is_no_freedom() {
        let allow = |words: &[&str]| Preface { allow: words.iter().map(|word| word.to_string()).collect() };
        assert!(Allowed::from_preface(&allow(&[])).unwrap().is_everything());
        assert!(Allowed::from_preface(&allow(&["exa mple"])).is_err());
        let both = Allowed::from_preface(&allow(&["Example.org", "me@example.net"])).unwrap();
        assert!(both.has_domain(&Domain::parse("example.org").unwrap()) && !both.is_everything());
        assert_eq!(both.addresses().len(), 1);
    }
}
