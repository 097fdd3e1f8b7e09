//! The private keys at home: which file signs for which address.
//!
//! A key is `mail/SELECTOR@domain-dkim.pem`. The selector of `me@example.org` is `me`, so his key is
//! `me@example.org-dkim.pem`, with `me.ed25519@example.org-dkim.pem` beside it, if there is one. An address with a
//! suffix (`me+topic@`, `me/topic@`) has no key of its own and signs with that of `me`.
//!
//! `[addresses."me@example.org"] keys = ["x7f3", "k9q2"]` gives an address other selectors, so that DNS does not tell
//! who is here. Each letter is signed by one RSA key of those, picked at random, since everybody verifies RSA, and by
//! one Ed25519 key, picked at random, if there are any. An alias without a key of its own names that of its owner:
//! `[addresses."blog@example.org"] keys = ["me"]`.

use crate::config;
use crate::error::{Exit, Failure};
use crate::mail::address::{Address, Domain};
use crate::trust::keys::{Algorithm, PrivateKey};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What separates an address from its topic.
const SEPARATORS: [char; 2] = ['/', '+'];
/// What stands behind the selector of the Ed25519 key beside an RSA key.
const ED25519: &str = ".ed25519";

/// The keys of one home.
pub struct Keyring<'a> {
    config: &'a config::Home,
}

impl<'a> Keyring<'a> {
    /// The keys that `config` knows of; nothing is read yet.
    pub fn new(config: &'a config::Home) -> Keyring<'a> {
        Keyring { config }
    }

    /// Whether there is a key for this sender. Whether it can be loaded is another question.
    pub fn holds(&self, sender: &Address) -> bool {
        let Some(domain) = sender.domain() else { return false };
        self.owners(sender)
            .iter()
            .any(|owner| self.listed(owner, domain).is_some() || self.exists(owner, domain))
    }

    /// The keys that sign a letter of this sender; the first one seals it.
    pub fn pick(&self, sender: &Address) -> Result<Vec<PrivateKey>, Failure> {
        let domain = sender.domain().ok_or_else(|| no_domain(sender))?;
        let owners = self.owners(sender);
        for owner in &owners {
            if let Some(selectors) = self.listed(owner, domain) {
                return self.pick_of(selectors, domain);
            }
            if self.exists(owner, domain) {
                return self.pick_of(std::slice::from_ref(owner), domain);
            }
        }
        let owner = owners.last().cloned().unwrap_or_default();
        Err(missing(&self.path(&owner, domain), &format!("{owner}@{domain}")))
    }

    /// One key by its name, for a letter that is already signed and needs a new seal.
    pub fn load(&self, selector: &str, domain: &Domain) -> Result<PrivateKey, Failure> {
        let path = self.path(selector, domain);
        PrivateKey::load(&path, selector, domain).map_err(|error| match path.try_exists() {
            Ok(false) => missing(&path, &format!("{selector}@{domain}")),
            _ => Failure::new(Exit::Config, error.to_string()),
        })
    }

    /// The address of this home, if there are keys of exactly one.
    pub fn sole_address(&self) -> Option<Address> {
        let listed: Vec<(Address, &Vec<String>)> = (self.config.addresses.iter())
            .filter(|(_, address)| !address.keys.is_empty())
            .filter_map(|(name, address)| Some((Address::parse(name).ok()?, &address.keys)))
            .collect();
        let mut found: BTreeSet<(String, Domain)> = BTreeSet::new();
        for (address, _) in &listed {
            found.insert((address.folded_local(), address.domain()?.clone()));
        }
        for entry in std::fs::read_dir(&self.config.mail).ok()?.flatten() {
            let name = entry.file_name();
            let Some((selector, domain)) = name.to_str().and_then(key_name) else { continue };
            let is_listed = |(address, keys): &(Address, &Vec<String>)| {
                address.domain() == Some(&domain) && keys.iter().any(|key| key == selector)
            };
            if !selector.ends_with(ED25519) && !listed.iter().any(is_listed) {
                found.insert((selector.to_owned(), domain));
            }
        }
        match (found.pop_first(), found.is_empty()) {
            (Some((local, domain)), true) => Address::parse(&format!("{local}@{domain}")).ok(),
            _ => None,
        }
    }

    /// The local parts whose keys may sign for this sender: its own, then the one before the first separator.
    fn owners(&self, sender: &Address) -> Vec<String> {
        let local = sender.folded_local();
        let prefix = local.split(SEPARATORS).next().unwrap_or_default();
        let mut owners = vec![local.clone(), prefix.to_owned()];
        owners.dedup();
        // A name becomes part of a path: nothing that could leave the folder.
        owners.retain(|owner| is_file_name(owner));
        owners
    }

    /// The selectors that the configuration lists for an address.
    fn listed(&self, local: &str, domain: &Domain) -> Option<&'a [String]> {
        let wanted = Address::parse(&format!("{local}@{domain}")).ok()?;
        let is_wanted = |name: &str| Address::parse(name).is_ok_and(|address| address.same_as(&wanted));
        let (_, address) = self.config.addresses.iter().find(|(name, _)| is_wanted(name))?;
        (!address.keys.is_empty()).then_some(address.keys.as_slice())
    }

    fn exists(&self, selector: &str, domain: &Domain) -> bool {
        // A key that cannot be looked at is one that is named in an error later, not one that is missing.
        self.path(selector, domain).try_exists().unwrap_or(true)
    }

    fn path(&self, selector: &str, domain: &Domain) -> PathBuf {
        self.config.mail.join(format!("{selector}@{domain}-dkim.pem"))
    }

    /// One RSA key and one Ed25519 key of those that `selectors` name.
    fn pick_of(&self, selectors: &[String], domain: &Domain) -> Result<Vec<PrivateKey>, Failure> {
        let (mut rsa, mut ed25519) = (Vec::new(), Vec::new());
        for selector in selectors {
            if !is_file_name(selector) {
                let text = format!("addresses: the key name {selector:?} of {domain} is no selector");
                return Err(Failure::new(Exit::Config, text));
            }
            let beside = format!("{selector}{ED25519}");
            let mut keys = vec![self.load(selector, domain)?];
            if self.exists(&beside, domain) {
                keys.push(self.load(&beside, domain)?);
            }
            for key in keys {
                match key.algorithm {
                    Algorithm::Rsa2048 => rsa.push(key),
                    Algorithm::Ed25519 => ed25519.push(key),
                }
            }
        }
        Ok(any(rsa)?.into_iter().chain(any(ed25519)?).collect())
    }
}

/// One of them, at random.
fn any<T>(mut items: Vec<T>) -> Result<Option<T>, Failure> {
    if items.len() < 2 {
        return Ok(items.pop());
    }
    let number = u128::from_ne_bytes(random()?);
    let at = number % items.len() as u128;
    Ok(Some(items.swap_remove(at as usize)))
}

/// 128 random bits, of the kernel.
pub(super) fn random() -> Result<[u8; 16], Failure> {
    let mut bytes = [0; 16];
    let got = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    match got {
        Ok(16) => Ok(bytes),
        Ok(_) => Err(Failure::new(Exit::OsErr, "the kernel gave too few random bytes")),
        Err(error) => Err(Failure::new(Exit::OsErr, format!("no random bytes: {error}"))),
    }
}

/// `SELECTOR@domain-dkim.pem`.
fn key_name(file: &str) -> Option<(&str, Domain)> {
    let (selector, domain) = file.strip_suffix("-dkim.pem")?.rsplit_once('@')?;
    Some((selector, Domain::parse(domain).ok()?))
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

fn missing(path: &std::path::Path, address: &str) -> Failure {
    let text = format!("no key {}; make one with: pillarbox key new {address}", path.display());
    Failure::new(Exit::Config, text)
}

fn no_domain(sender: &Address) -> Failure {
    Failure::new(Exit::Config, format!("{sender} has no domain, so no key can sign for it"))
}

#[cfg(test)]
mod tests;
