//! All names in the tree, and the mailboxes behind them.

use super::names::{self, Component, REMOVED, Readings};
use super::place::Place;
use super::root::Root;
use super::tree::{Mailbox, Store};
use super::{StoreError, durable};
use crate::mail::address::{Address, Domain};
use rustix::fs::{AtFlags, FileType};
use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A name in the tree: a domain, an address or a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The directory's name.
    pub name: String,
    /// Where the link points, if it is one.
    pub alias_of: Option<String>,
}

/// An address in the tree. The catch-all's name is `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressEntry {
    /// The local part, and where it points.
    pub local: Named,
    /// Its topics; an alias has those of the address that it points to, and they are not repeated here.
    pub topics: Vec<Named>,
}

impl Store {
    /// The domains, sorted. A name that a look-up would refuse is not among them: see `problems`.
    pub fn domains(&self) -> Result<Vec<Named>, StoreError> {
        let root = self.watch.root()?;
        let mut domains = self.names_in(&root, &Place::of_root(&root)?)?;
        domains.retain(|it| names::is_domain(&it.name));
        Ok(domains)
    }

    /// The addresses of a domain, sorted; none if it is not ours.
    pub fn addresses(&self, domain: &Domain) -> Result<Vec<AddressEntry>, StoreError> {
        let root = self.watch.root()?;
        let Some(place) = self.domain(&root, domain)? else { return Ok(Vec::new()) };
        let mut addresses = Vec::new();
        for local in self.names_in(&root, &place)? {
            let topics = match self.usable(&root, &place, &local.name) {
                Some(address) if local.alias_of.is_none() => self.names_in(&root, &address)?,
                _ => Vec::new(),
            };
            addresses.push(AddressEntry { local, topics });
        }
        Ok(addresses)
    }

    /// Every mailbox below MAIL_ROOT, each directory once however many names it has. One that cannot be used is logged
    /// and left out.
    pub fn all_mailboxes(&self) -> Result<Vec<Mailbox>, StoreError> {
        let root = self.watch.root()?;
        let top = Place::of_root(&root)?;
        let mut found = Once::default();
        // What has its own name and owner first; then what only links lead to.
        for inside in [true, false] {
            for domain in real_first(self.domains()?) {
                if let Some(domain) = self.entered(&root, &top, &domain.name) {
                    self.with_addresses(&root, &domain, inside, &mut found)?;
                }
            }
        }
        Ok(found.mailboxes)
    }

    /// The mailboxes that really lie in a domain's directory, each once. Where a link leads to another domain's
    /// address, that address's letters are not this domain's to hand out.
    pub fn mailboxes_of_domain(&self, domain: &Domain) -> Result<Vec<Mailbox>, StoreError> {
        let root = self.watch.root()?;
        let mut found = Once::default();
        let Some(domain) = self.domain(&root, domain)? else { return Ok(found.mailboxes) };
        self.with_addresses(&root, &domain, true, &mut found)?;
        Ok(found.mailboxes)
    }

    /// The mailbox of an address, or of an alias, and those of the topics that really lie in it; of a topic, only its
    /// own. Never the catch-all's in place of an unknown address. None if there is no such address.
    pub fn mailboxes_of(&self, address: &Address) -> Result<Vec<Mailbox>, StoreError> {
        let root = self.watch.root()?;
        let mut found = Once::default();
        let Some(name) = address.domain() else { return Ok(found.mailboxes) };
        let Some(domain) = self.domain(&root, name)? else { return Ok(found.mailboxes) };
        let Some(Readings { literal, topic }) = Readings::of(address.local(), &self.separators) else {
            return Ok(found.mailboxes);
        };
        if let Some(local) = &literal
            && let Some(place) = self.mailbox_at(&root, &domain, local.as_str())?
        {
            self.with_topics(&root, place, true, &mut found)?;
        } else if let Some((local, Some(topic))) = &topic
            && let Some(of) = self.mailbox_at(&root, &domain, local.as_str())?
            && let Some(place) = self.mailbox_at(&root, &of, topic.as_str())?
        {
            found.add(Mailbox { owner: of.id(), ..place.into_mailbox() });
        }
        Ok(found.mailboxes)
    }

    /// Everything in the tree that look-ups refuse to guess about, in words with a remedy: for `doctor`.
    pub fn problems(&self) -> Result<Vec<String>, StoreError> {
        let root = self.watch.root()?;
        let top = Place::of_root(&root)?;
        let mut problems = Vec::new();
        for name in self.wanted_names(&top)? {
            if !names::is_domain(&name) {
                continue;
            }
            let Some(domain) = note(self.step(&root, &top, &name), &mut problems)? else { continue };
            if is_link(&top, &name)? {
                continue;
            }
            problems.extend(self.half_removed(&domain)?);
            for local in self.wanted_names(&domain)? {
                let found = note(self.mailbox_at(&root, &domain, &local), &mut problems)?;
                let Some(address) = found else { continue };
                if is_link(&domain, &local)? {
                    continue;
                }
                for topic in self.wanted_names(&address)? {
                    note(self.mailbox_at(&root, &address, &topic), &mut problems)?;
                }
            }
        }
        Ok(problems)
    }

    /// Removes what deliveries that never ended left in every `tmp/`: regular files that nobody touched for
    /// `older_than` (36 hours by the Maildir convention). Returns how many.
    pub fn sweep(&self, older_than: Duration) -> Result<usize, StoreError> {
        let mut mailboxes = self.all_mailboxes()?;
        mailboxes.push(self.dead_letter()?);
        let limit = now() - older_than.as_secs() as i64;
        let mut swept = 0;
        for mailbox in mailboxes {
            // One bad directory does not keep the others from being swept.
            match sweep_one(&mailbox, limit) {
                Ok(count) => swept += count,
                Err(errno) => tracing::warn!("{}: sweeping its tmp: {errno}", mailbox.label),
            }
        }
        Ok(swept)
    }

    /// What a removal leaves when it is cut short: out of reach, and perhaps not yet empty.
    fn half_removed(&self, domain: &Place) -> Result<Vec<String>, StoreError> {
        let names = durable::entries(&domain.handle).map_err(|errno| {
            StoreError::io(format!("MAIL_ROOT/{}: reading it", domain.path), errno.into())
        })?;
        let remains = names.iter().filter_map(|entry| std::str::from_utf8(&entry.name).ok());
        Ok(remains
            .filter(|name| name.starts_with(REMOVED))
            .map(|name| {
                format!(
                    "MAIL_ROOT/{}/{name}: an address whose removal was cut short: remove it, or rename it to the \
                     address if its new or cur holds letters",
                    domain.path
                )
            })
            .collect())
    }

    /// The mailboxes of a domain; with `inside`, only what really lies in it.
    fn with_addresses(
        &self,
        root: &Root,
        domain: &Place,
        inside: bool,
        found: &mut Once,
    ) -> Result<(), StoreError> {
        for local in real_first(self.names_in(root, domain)?) {
            if let Some(address) = self.usable(root, domain, &local.name)
                && (!inside || address.parent == domain.id())
            {
                self.with_topics(root, address, inside, found)?;
            }
        }
        Ok(())
    }

    /// An address's mailbox and those of its topics; with `inside`, only topics that really lie in it.
    fn with_topics(
        &self,
        root: &Root,
        address: Place,
        inside: bool,
        found: &mut Once,
    ) -> Result<(), StoreError> {
        let owner = address.id();
        let topics = real_first(self.names_in(root, &address)?);
        let topics: Vec<Place> = topics
            .iter()
            .filter_map(|topic| self.usable(root, &address, &topic.name))
            .filter(|topic| !inside || topic.parent == owner)
            .collect();
        found.add(address.into_mailbox());
        for topic in topics {
            found.add(Mailbox { owner, ..topic.into_mailbox() });
        }
        Ok(())
    }

    /// The names in a directory that lead somewhere, sorted.
    fn names_in(&self, root: &Root, place: &Place) -> Result<Vec<Named>, StoreError> {
        let mut found = Vec::new();
        for name in self.wanted_names(place)? {
            if self.entered(root, place, &name).is_none() {
                continue;
            }
            let alias_of = match rustix::fs::readlinkat(&place.handle, &name, Vec::new()) {
                Ok(target) => Some(target.to_string_lossy().into_owned()),
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => None,
                Err(errno) => {
                    return Err(StoreError::io(
                        format!("MAIL_ROOT/{}/{name}: reading the link", place.path),
                        errno.into(),
                    ));
                }
            };
            found.push(Named { name, alias_of });
        }
        Ok(found)
    }

    /// The names that somebody could ask for in a directory, folded, sorted, each once.
    fn wanted_names(&self, place: &Place) -> Result<Vec<String>, StoreError> {
        let entries = durable::entries(&place.handle)
            .map_err(|errno| StoreError::io(format!("MAIL_ROOT/{}: reading it", place.path), errno.into()))?;
        let mut names: Vec<String> = entries
            .into_iter()
            .filter(|entry| matches!(entry.kind, FileType::Directory | FileType::Symlink))
            .filter_map(|entry| Component::parse(std::str::from_utf8(&entry.name).ok()?))
            .map(|name| name.as_str().to_owned())
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn entered(&self, root: &Root, from: &Place, name: &str) -> Option<Place> {
        logged(self.step(root, from, name))
    }

    fn usable(&self, root: &Root, from: &Place, name: &str) -> Option<Place> {
        logged(self.mailbox_at(root, from, name))
    }
}

/// Mailboxes, each directory once.
#[derive(Default)]
struct Once {
    ids: HashSet<super::tree::DirId>,
    mailboxes: Vec<Mailbox>,
}

impl Once {
    fn add(&mut self, mailbox: Mailbox) {
        if self.ids.insert(mailbox.id) {
            self.mailboxes.push(mailbox);
        }
    }
}

/// Real directories before links, so that a mailbox is known by its own name.
fn real_first(mut names: Vec<Named>) -> Vec<Named> {
    names.sort_by_key(|it| it.alias_of.is_some());
    names
}

fn logged(found: Result<Option<Place>, StoreError>) -> Option<Place> {
    found.unwrap_or_else(|error| {
        tracing::warn!("left out: {error}");
        None
    })
}

/// A refusal to guess is a problem to be noted; a fault is a fault.
fn note(
    found: Result<Option<Place>, StoreError>,
    problems: &mut Vec<String>,
) -> Result<Option<Place>, StoreError> {
    match found {
        Err(StoreError::Unsafe(text)) => {
            problems.push(text);
            Ok(None)
        }
        other => other,
    }
}

fn is_link(place: &Place, name: &str) -> Result<bool, StoreError> {
    let found = durable::lstat(&place.handle, name).map_err(|errno| {
        StoreError::io(format!("MAIL_ROOT/{}/{name}: looking at it", place.path), errno.into())
    })?;
    Ok(found.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink))
}

/// Unix time in seconds.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// `limit` is Unix time in seconds: what was touched then or later stays.
fn sweep_one(mailbox: &Mailbox, limit: i64) -> rustix::io::Result<usize> {
    let tmp = match durable::open_directory(&mailbox.handle, "tmp") {
        Err(rustix::io::Errno::NOENT) => return Ok(0),
        other => other?,
    };
    let mut swept = 0;
    for entry in durable::entries(&tmp)? {
        let Some(stat) = durable::lstat(&tmp, entry.name.as_slice())? else { continue };
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if is_file && stat.st_mtime.max(stat.st_ctime) < limit {
            rustix::fs::unlinkat(&tmp, entry.name.as_slice(), AtFlags::empty())?;
            swept += 1;
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests;
