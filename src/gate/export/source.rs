//! Where exported letters come from: the store, seen through what the session is confined to.

use super::identity;
use crate::config;
use crate::error::{Exit, Failure};
use crate::gate::allowed::{Allowed, Name};
use crate::store::StoreError;
use crate::store::export::Exported;
use crate::store::tree::{DirId, Mailbox, Store};
use std::collections::HashSet;
use std::fs::File;

/// The store, as one session may see it.
#[derive(Debug)]
pub(super) struct Source {
    store: Store,
    allowed: Allowed,
}

/// Mailboxes by their own names, and what was asked for and is not to be had.
#[derive(Debug, Default)]
pub(super) struct Selected {
    pub mailboxes: Vec<Mailbox>,
    /// What was asked for and is not there, in home's own words.
    pub unknown: Vec<String>,
    /// In words.
    pub troubles: Vec<String>,
}

impl Source {
    /// The store of this server, and what tells the server from every other.
    pub fn open(allowed: &Allowed, config: &config::Server) -> Result<(Source, String), Failure> {
        let temporary = |error: StoreError| Failure::new(Exit::TempFail, error.to_string());
        let store = Store::open(&config.mail_root, &config.state_dir, &config.inbound.topic_separators)
            .map_err(temporary)?;
        store.check().map_err(temporary)?;
        let server = identity::of(&config.state_dir)?;
        Ok((Source { store, allowed: allowed.clone() }, server))
    }

    /// The wanted mailboxes (none wanted: all), as far as the session may see them, each directory once.
    pub fn select(&self, words: &[String]) -> Result<Selected, String> {
        let wanted = Allowed::parse(words).map_err(|failure| failure.message)?;
        let mut selected = Selected::default();
        let confined = self.confined(&mut selected.troubles)?;
        let mut asked = HashSet::new();
        for (word, name) in words.iter().zip(wanted.names()) {
            let found = self.mailboxes_of(name).map_err(|error| error.to_string())?;
            let within = |mailbox: &Mailbox| confined.as_ref().is_none_or(|ids| ids.contains(&mailbox.id));
            if found.is_empty() {
                selected.unknown.push(word.clone());
            } else if !found.iter().any(within) {
                selected.troubles.push(format!("asked for {name}: this ssh key is for other addresses"));
            }
            asked.extend(found.iter().map(|mailbox| mailbox.id));
        }
        selected.unknown.sort();
        selected.unknown.dedup();
        let asked = (!wanted.everything()).then_some(asked);
        selected.mailboxes = self.every_mailbox().map_err(|error| error.to_string())?;
        for ids in [confined, asked].into_iter().flatten() {
            selected.mailboxes.retain(|mailbox| ids.contains(&mailbox.id));
        }
        Ok(selected)
    }

    /// The letters of `new/` and `cur/`.
    pub fn list(&self, mailbox: &Mailbox) -> Result<Vec<Exported>, StoreError> {
        self.store.export_list(mailbox)
    }

    /// Opens a letter; `None` if it is gone.
    pub fn open_letter(&self, mailbox: &Mailbox, letter: &Exported) -> Result<Option<File>, StoreError> {
        self.store.open_exported(mailbox, letter)
    }

    /// Removes letters for good.
    pub fn remove(&self, mailbox: &Mailbox, letters: &[Exported]) -> Result<(), StoreError> {
        self.store.remove_exported(mailbox, letters)
    }

    /// The directories that the session may see; nothing where it may see all.
    fn confined(&self, troubles: &mut Vec<String>) -> Result<Option<HashSet<DirId>>, String> {
        if self.allowed.everything() {
            return Ok(None);
        }
        let mut ids = HashSet::new();
        for name in self.allowed.names() {
            let found = self.mailboxes_of(name).map_err(|error| error.to_string())?;
            if found.is_empty() {
                troubles.push(format!("this ssh key is for {name}: there is no such address on this server"));
            }
            ids.extend(found.iter().map(|mailbox| mailbox.id));
        }
        Ok(Some(ids))
    }

    fn mailboxes_of(&self, name: &Name) -> Result<Vec<Mailbox>, StoreError> {
        match name {
            Name::Domain(domain) => self.store.mailboxes_of_domain(domain),
            Name::Address(address) => self.store.mailboxes_of(address),
        }
    }

    /// Every mailbox once, by the name under which it really lies where it has one: home knows it by that.
    fn every_mailbox(&self) -> Result<Vec<Mailbox>, StoreError> {
        let mut mailboxes: Vec<Mailbox> = Vec::new();
        for domain in self.store.domains()?.into_iter().filter(|domain| domain.alias_of.is_none()) {
            if let Ok(domain) = crate::mail::address::Domain::parse(&domain.name) {
                mailboxes.extend(self.store.mailboxes_of_domain(&domain)?);
            }
        }
        mailboxes.extend(self.store.all_mailboxes()?);
        let mut seen = HashSet::new();
        mailboxes.retain(|mailbox| seen.insert(mailbox.id));
        Ok(mailboxes)
    }
}
