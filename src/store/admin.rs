//! Changes by the administrator: addresses and aliases are made and removed with care. The server needs no reload: the
//! next look-up sees them.

use super::names::{self, CATCH_ALL, Component, MAILDIR, Readings};
use super::place::Place;
use super::root::Root;
use super::tree::{DirId, Lookup, Store};
use super::{StoreError, durable};
use crate::mail::address::{Address, Domain};
use rustix::fs::{AtFlags, Gid, Mode, Uid};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

mod remove;

pub use remove::{DomainLeft, Removed};

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It would lose letters or make names ambiguous, or makes no sense; the text says what to do instead.
    #[error("{0}")]
    Refused(String),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an address became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// It is the first one of its domain, whose directory was made as well, or had no name in it.
    pub first_of_domain: bool,
}

/// The name to be made or removed, and the directory that it stands in.
struct Target {
    parent: Place,
    name: Component,
    first_of_domain: bool,
}

impl Store {
    /// Makes the directory of an address, or of a topic (`me/topic@…`) of an address that exists, with its Maildir.
    pub fn create_address(&self, address: &Address) -> Result<Created, ChangeError> {
        let root = self.watch.root_for_change()?;
        let target = self.free_target(&root, address)?;
        make(&target.parent, target.name.as_str())?;
        let Some(made) = self.step(&root, &target.parent, target.name.as_str())? else {
            return Err(refused(format!("{address} was removed while it was made")));
        };
        self.give(&made.handle, &made.path)?;
        let mailbox = made.into_mailbox();
        // An address as a look-up wants it: what is not ours by now says so.
        self.mailbox_at(&root, &target.parent, target.name.as_str())?;
        mailbox.folders()?;
        for name in MAILDIR {
            let handle = durable::open_directory(&mailbox.handle, name)
                .map_err(|errno| mailbox.fault(&format!("opening its {name}"), errno))?;
            self.give(&handle, &mailbox.label)?;
        }
        Ok(Created { first_of_domain: target.first_of_domain })
    }

    /// Makes `alias` a relative link to `target`, which must exist. The catch-all is the alias `*@…`.
    pub fn link(&self, alias: &Address, target: &Address) -> Result<Created, ChangeError> {
        let Lookup::Found(mailbox) = self.find(target)? else {
            return Err(refused(format!(
                "{target} does not exist: make it first (`pillarbox address add {target}`)"
            )));
        };
        let (Some(from), Some(to)) = (alias.domain(), mailbox.label.split_once('/')) else {
            return Err(refused(format!("{target} has no directory of its own: make one first")));
        };
        if to.1 == CATCH_ALL && target.local() != CATCH_ALL {
            return Err(refused(format!("{target} exists only by the catch-all: make it first")));
        }
        let root = self.watch.root_for_change()?;
        let spot = self.free_target(&root, alias)?;
        let up = "../".repeat(spot.parent.path.split('/').count());
        let inside = spot.parent.path == from.as_str() && to.0 == from.as_str();
        let way = if inside { to.1.to_owned() } else { format!("{up}{}", mailbox.label) };
        self.link_at(&root, &spot, &way, mailbox.id)?;
        Ok(Created { first_of_domain: spot.first_of_domain })
    }

    /// Makes the domain `alias` another name of the domain `target`, which must exist.
    pub fn link_domain(&self, alias: &Domain, target: &Domain) -> Result<(), ChangeError> {
        let root = self.watch.root_for_change()?;
        let Some(found) = self.domain(&root, target)? else {
            return Err(refused(format!("{target} is no domain here: make its first address first")));
        };
        let parent = Place::of_root(&root)?;
        let name = domain_name(alias)?;
        self.must_be_free(&root, &parent, &name)?;
        let id = found.id();
        self.link_at(&root, &Target { parent, name, first_of_domain: true }, target.as_str(), id)
    }

    fn free_target(&self, root: &Root, address: &Address) -> Result<Target, ChangeError> {
        let target = self.target(root, address, true)?;
        self.must_be_free(root, &target.parent, &target.name)?;
        Ok(target)
    }

    fn must_be_free(&self, root: &Root, parent: &Place, name: &Component) -> Result<(), ChangeError> {
        // A dangling link or a name with capitals is an error of this look-up.
        self.step(root, parent, name.as_str())?;
        let there = durable::lstat(&parent.handle, name.as_str())
            .map_err(|errno| fault(parent, name.as_str(), "look", errno))?;
        match there {
            None => Ok(()),
            Some(_) => Err(refused(format!("{} is already there", below(parent, name.as_str())))),
        }
    }

    /// Where the name of an address stands; with `make_domain`, its domain's directory is made if it is missing.
    fn target(&self, root: &Root, address: &Address, make_domain: bool) -> Result<Target, ChangeError> {
        let impossible = || refused(format!("{address}: no directory can have that name"));
        let domain = address.domain().ok_or_else(impossible)?;
        // Only `/` makes a topic here: with `+` in it, the name may be meant literally.
        let Readings { literal, topic } = Readings::of(address.local(), "/").ok_or_else(impossible)?;
        let (domain, first_of_domain) = self.domain_for_change(root, domain, make_domain)?;
        match (literal, topic) {
            (Some(name), _) => Ok(Target { parent: domain, name, first_of_domain }),
            (None, Some((of, Some(name)))) => {
                let Some(parent) = self.mailbox_at(root, &domain, of.as_str())? else {
                    return Err(refused(format!(
                        "{address}: there is no address for this topic: make it first"
                    )));
                };
                Ok(Target { parent, name, first_of_domain })
            }
            _ => Err(impossible()),
        }
    }

    fn domain_for_change(
        &self,
        root: &Root,
        domain: &Domain,
        make_it: bool,
    ) -> Result<(Place, bool), ChangeError> {
        let top = Place::of_root(root)?;
        let name = domain_name(domain)?;
        if let Some(place) = self.step(root, &top, name.as_str())? {
            let entries =
                durable::entries(&place.handle).map_err(|errno| fault(&place, ".", "read", errno))?;
            let bare = entries.iter().all(|entry| entry.name.starts_with(b"."));
            return Ok((place, bare));
        }
        if !make_it {
            return Err(refused(format!("{domain} is no domain here")));
        }
        make(&top, name.as_str())?;
        // The root changed: look at it anew.
        let top = Place::of_root(root)?;
        let place = self
            .step(root, &top, name.as_str())?
            .ok_or_else(|| refused(format!("{domain} was removed while it was made")))?;
        self.give(&place.handle, &place.path)?;
        Ok((place, true))
    }

    /// Makes the link, and takes it back if it does not lead to the mailbox.
    fn link_at(&self, root: &Root, target: &Target, way: &str, to: DirId) -> Result<(), ChangeError> {
        let Target { parent, name, .. } = target;
        let name = name.as_str();
        rustix::fs::symlinkat(way, &parent.handle, name)
            .and_then(|()| durable::sync_directory(&parent.handle))
            .map_err(|errno| fault(parent, name, "make the link", errno))?;
        match self.step(root, parent, name) {
            Ok(Some(place)) if place.id() == to => Ok(()),
            other => {
                rustix::fs::unlinkat(&parent.handle, name, AtFlags::empty())
                    .map_err(|errno| fault(parent, name, "take back the link", errno))?;
                other?;
                Err(refused(format!("{} would not lead there as {way:?}", below(parent, name))))
            }
        }
    }

    /// What root makes belongs to the server's user, and to its group unless the directory passes on its own.
    fn give(&self, directory: &OwnedFd, path: &str) -> Result<(), StoreError> {
        let fault = |errno: Errno| StoreError::io(format!("MAIL_ROOT/{path}: giving it away"), errno.into());
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let handle = durable::open_readable(directory, ".").map_err(fault)?;
        let stat = rustix::fs::fstat(&handle).map_err(fault)?;
        let group = if stat.st_mode & Mode::SGID.as_raw_mode() != 0 { None } else { Some(self.user.group) };
        rustix::fs::fchown(&handle, Some(Uid::from_raw(self.user.user)), group.map(Gid::from_raw))
            .map_err(fault)
    }
}

fn domain_name(domain: &Domain) -> Result<Component, ChangeError> {
    Component::parse(domain.as_str())
        .filter(|name| names::is_domain(name.as_str()))
        .ok_or_else(|| refused(format!("{domain}: no directory of a domain can have that name")))
}

fn make(parent: &Place, name: &str) -> Result<(), ChangeError> {
    let mode = durable::directory_mode(parent.stat.st_mode);
    match durable::make_directory(&parent.handle, name, mode) {
        Ok(true) => Ok(()),
        Ok(false) => Err(refused(format!("{} is already there", below(parent, name)))),
        Err(errno) => Err(fault(parent, name, "make the directory", errno).into()),
    }
}

fn below(parent: &Place, name: &str) -> String {
    if parent.path.is_empty() { name.to_owned() } else { format!("{}/{name}", parent.path) }
}

fn refused(text: String) -> ChangeError {
    ChangeError::Refused(text)
}

fn fault(parent: &Place, name: &str, doing: &str, errno: Errno) -> StoreError {
    StoreError::io(format!("MAIL_ROOT/{}: cannot {doing}", below(parent, name)), errno.into())
}

#[cfg(test)]
mod tests;
