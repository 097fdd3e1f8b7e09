//! What the ssh key behind a gated connection may send as.

use crate::mail::address::{Address, Domain};
use crate::net::preface::Preface;
use crate::store::StoreError;
use crate::store::tree::{DirId, Lookup, Store};

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

    /// docs/submission.md rule 7: whether an address that belongs to `owner` is allowed. Topics and aliases are those
    /// that resolve to the same owner. Blocks.
    pub fn covers(&self, store: &Store, address: &Address, owner: DirId) -> Result<bool, StoreError> {
        if self.is_everything() || address.domain().is_some_and(|domain| self.has_domain(domain)) {
            return Ok(true);
        }
        Ok(named_owners(store, &self.addresses)?.contains(&owner))
    }

    /// Whether an address is one that this key may send as, by what the store says of it now. Blocks.
    pub fn may_send_as(&self, store: &Store, address: &Address) -> Result<bool, StoreError> {
        match store.find(address)? {
            Lookup::Found(mailbox) => self.covers(store, address, mailbox.owner),
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

    /// The addresses, whose topics and aliases are allowed too.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }
}

/// Who owns the addresses that a forced command names. One that does not exist (any more) is nobody's: a catch-all must
/// not stand in for it.
pub fn named_owners(store: &Store, named: &[Address]) -> Result<Vec<DirId>, StoreError> {
    let mut owners = Vec::new();
    for address in named {
        owners.extend(store.mailboxes_of(address)?.into_iter().map(|mailbox| mailbox.owner));
    }
    Ok(owners)
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
