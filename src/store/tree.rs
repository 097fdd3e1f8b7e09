//! Names and look-up: an address exists because its directory exists.

use super::listing::Listings;
use super::names::{CATCH_ALL, Component, Readings};
use super::place::{Place, open_below};
use super::root::{Root, Watch};
use super::{StoreError, durable};
use crate::mail::address::{Address, Domain};
use rustix::fs::{Access, AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The Maildir in `state_dir` for letters that have nowhere else to go.
const DEAD_LETTER: &str = "dead-letter";

/// A directory's identity: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DirId {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

impl DirId {
    pub(super) fn of(stat: &Stat) -> DirId {
        DirId { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// The tree below MAIL_ROOT. Cheap to clone; all calls block.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) watch: Arc<Watch>,
    pub(super) listings: Arc<Listings>,
    pub(super) separators: Arc<str>,
    pub(super) user: ServerUser,
}

/// Whom the tree belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerUser {
    pub user: u32,
    pub group: u32,
}

impl ServerUser {
    /// We are the server's user, unless we are root (an administrator's command): then it is whom `state_dir` belongs
    /// to.
    fn of(state: &Stat) -> ServerUser {
        match rustix::process::geteuid() {
            us if us.is_root() => ServerUser { user: state.st_uid, group: state.st_gid },
            us => ServerUser { user: us.as_raw(), group: rustix::process::getegid().as_raw() },
        }
    }
}

/// What the tree says of an address.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// It exists.
    Found(Mailbox),
    /// The domain is ours, the address is not there.
    NoSuchAddress,
    /// The domain is not ours.
    NotOurs,
}

/// A directory that was found, held by its handle.
#[derive(Clone, Debug)]
pub struct Mailbox {
    /// The handle, `O_DIRECTORY`, held from RCPT to commit.
    pub(super) handle: Arc<OwnedFd>,
    /// Its `tmp` and `new`, once they are needed.
    pub(super) folders: Arc<OnceLock<super::maildir::Folders>>,
    /// The identity of the directory that letters go to (the topic's, if there is one).
    pub id: DirId,
    /// The identity of the address that owns it (`id` itself unless this is a topic).
    pub owner: DirId,
    /// `domain/local[/topic]`, for logs and names.
    pub label: String,
}

impl Store {
    /// Opens the tree; its identity is checked against `state_dir` at every look-up, and the first one that sees a
    /// domain in the tree records it. So a server can start before its disk is mounted or its first address is made: it
    /// answers 451 until then. `separators` are the topic separators (`/`, `+`). `state_dir` is made if it is missing.
    pub fn open(mail_root: &Path, state_dir: &Path, separators: &str) -> Result<Store, StoreError> {
        let context = || format!("state_dir {}: opening it", state_dir.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_dir)
            .map_err(|error| StoreError::io(context(), error))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let state = rustix::fs::open(state_dir, flags, Mode::empty())
            .map_err(|errno| StoreError::io(context(), errno.into()))?;
        let stat = rustix::fs::fstat(&state).map_err(|errno| StoreError::io(context(), errno.into()))?;
        Ok(Store {
            user: ServerUser::of(&stat),
            watch: Arc::new(Watch::new(mail_root, state_dir, state)),
            listings: Arc::default(),
            separators: separators.into(),
        })
    }

    /// Opens the tree for a look: nothing is made or remembered, and there may be no `state_dir` yet.
    pub fn look(mail_root: &Path, state_dir: &Path, separators: &str) -> Result<Store, StoreError> {
        let fault = |errno: Errno| {
            StoreError::io(format!("state_dir {}: opening it", state_dir.display()), errno.into())
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let state = match rustix::fs::open(state_dir, flags, Mode::empty()) {
            Ok(state) => Some(state),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(fault(errno)),
        };
        let root = || rustix::fs::stat(mail_root);
        let stat = state.as_ref().map_or_else(root, rustix::fs::fstat).map_err(fault)?;
        Ok(Store {
            user: ServerUser::of(&stat),
            watch: Arc::new(Watch::look(mail_root, state_dir, state)),
            listings: Arc::default(),
            separators: separators.into(),
        })
    }

    /// Whether a letter could be stored in a mailbox now, with `free_space` octets left: permission, a read-only disk, space. The
    /// disk of `state_dir` must have room too: what is accepted goes there first, or may have to, and the dead letters lie
    /// there. Makes what is missing in the mailbox, unless this is a look.
    pub fn check_room(&self, mailbox: &Mailbox, free_space: u64) -> Result<(), StoreError> {
        match self.watch.is_look() {
            true => mailbox.seems_writable(free_space)?,
            false => mailbox.check_writable(free_space)?,
        }
        self.check_state(free_space)
    }

    /// Whether MAIL_ROOT is the remembered one and holds a domain, now. For start-up, `status` and `doctor`.
    pub fn check(&self) -> Result<(), StoreError> {
        let root = self.watch.root()?;
        self.some_domain_in(&root)
    }

    /// Whether `MAIL_ROOT/domain` is there.
    pub fn is_ours(&self, domain: &Domain) -> Result<bool, StoreError> {
        let root = self.watch.root()?;
        Ok(self.domain(&root, domain)?.is_some())
    }

    /// Looks an address up: literal name first, then a topic, then `*`. An address that exists without the wanted topic
    /// is the answer: `*` is for unknown addresses only.
    pub fn find(&self, address: &Address) -> Result<Lookup, StoreError> {
        let Some(name) = address.domain() else { return Ok(Lookup::NotOurs) };
        let root = self.watch.root()?;
        let Some(domain) = self.domain(&root, name)? else { return Ok(Lookup::NotOurs) };
        let Some(Readings { literal, topic }) = Readings::of(address.local(), &self.separators) else {
            return Ok(Lookup::NoSuchAddress);
        };
        if let Some(local) = &literal
            && let Some(place) = self.mailbox_at(&root, &domain, local.as_str())?
        {
            return Ok(Lookup::Found(place.into_mailbox()));
        }
        if let Some((local, topic)) = &topic
            && let Some(place) = self.mailbox_at(&root, &domain, local.as_str())?
        {
            return self.topic(&root, &place, topic.as_ref());
        }
        if let Some(place) = self.mailbox_at(&root, &domain, CATCH_ALL)? {
            return Ok(Lookup::Found(place.into_mailbox()));
        }
        match literal {
            // RFC 5321, 4.5.1: a domain of ours has a postmaster.
            Some(local) if local.as_str() == "postmaster" => Ok(Lookup::Found(self.dead_letter()?)),
            _ => Ok(Lookup::NoSuchAddress),
        }
    }

    /// The address whose local part (or explicit alias) is exactly `selector` (the form with dots included);
    /// never `*`, a topic or a prefix.
    pub fn selector_owner(&self, domain: &Domain, selector: &str) -> Result<Option<DirId>, StoreError> {
        let Some(local) = Component::parse(selector).filter(|it| it.as_str() != CATCH_ALL) else {
            return Ok(None);
        };
        let root = self.watch.root()?;
        let Some(domain) = self.domain(&root, domain)? else { return Ok(None) };
        Ok(self.mailbox_at(&root, &domain, local.as_str())?.map(|place| place.id()))
    }

    /// The directory `junk` of the address that a mailbox belongs to, if it is there.
    pub fn junk(&self, mailbox: &Mailbox) -> Result<Option<Mailbox>, StoreError> {
        let mut names = mailbox.label.split('/');
        let (Some(domain), Some(local)) = (names.next(), names.next()) else { return Ok(None) };
        let root = self.watch.root()?;
        let Some(domain) = self.step(&root, &Place::of_root(&root)?, domain)? else { return Ok(None) };
        let Some(address) = self.mailbox_at(&root, &domain, local)? else { return Ok(None) };
        // The address may have been replaced by another one since it was found.
        if address.id() != mailbox.owner {
            return Ok(None);
        }
        let Some(junk) = self.mailbox_at(&root, &address, "junk")? else { return Ok(None) };
        Ok(Some(Mailbox { owner: mailbox.owner, ..junk.into_mailbox() }))
    }

    /// The Maildir `dead-letter` below `state_dir`, made when it is first needed: for a postmaster without a directory
    /// and for bounces to a sender whose directory is gone.
    pub fn dead_letter(&self) -> Result<Mailbox, StoreError> {
        let fault = |errno: Errno| StoreError::io("state_dir/dead-letter: opening it", errno.into());
        let state = self.watch.state()?;
        let handle = if self.watch.is_look() {
            // It would be made in `state_dir`.
            match durable::open_directory(state, DEAD_LETTER) {
                Err(Errno::NOENT) => durable::open_directory(state, "."),
                opened => opened,
            }
        } else {
            durable::make_directory(state, DEAD_LETTER, Mode::RWXU)
                .and_then(|_| durable::open_directory(state, DEAD_LETTER))
        };
        let handle = handle.map_err(fault)?;
        let id = DirId::of(&rustix::fs::fstat(&handle).map_err(fault)?);
        Ok(Mailbox {
            handle: Arc::new(handle),
            folders: Arc::default(),
            id,
            owner: id,
            label: "postmaster (dead letter)".to_owned(),
        })
    }

    /// Whether `state_dir` can be written to now and has `free_space` octets left: what is accepted goes there first, or
    /// may have to.
    pub fn check_state(&self, free_space: u64) -> Result<(), StoreError> {
        let state = match self.watch.state() {
            // Made by the first start of a server.
            Err(_) if self.watch.is_look() => return Ok(()),
            state => state?,
        };
        rustix::fs::accessat(state, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
            .and_then(|()| durable::check_space(state, free_space))
            .map_err(|errno| StoreError::io("state_dir: nothing can be written to it", errno.into()))
    }

    /// The directory of a domain. A root without any domain is no answer.
    pub(super) fn domain(&self, root: &Root, domain: &Domain) -> Result<Option<Place>, StoreError> {
        let Some(name) = Component::parse(domain.as_str()) else { return Ok(None) };
        let place = self.step(root, &Place::of_root(root)?, name.as_str())?;
        if place.is_none() {
            self.some_domain_in(root)?;
        }
        Ok(place)
    }

    /// The directory of an address or a topic, checked as such.
    pub(super) fn mailbox_at(
        &self,
        root: &Root,
        from: &Place,
        name: &str,
    ) -> Result<Option<Place>, StoreError> {
        let Some(place) = self.step(root, from, name)? else { return Ok(None) };
        place.check_is_mailbox(self.user.user)?;
        Ok(Some(place))
    }

    fn topic(&self, root: &Root, of: &Place, topic: Option<&Component>) -> Result<Lookup, StoreError> {
        let Some(topic) = topic else { return Ok(Lookup::NoSuchAddress) };
        match self.mailbox_at(root, of, topic.as_str())? {
            Some(place) => Ok(Lookup::Found(Mailbox { owner: of.id(), ..place.into_mailbox() })),
            None => Ok(Lookup::NoSuchAddress),
        }
    }

    /// One component further down: names that cannot be told apart are no guess, what is there must be safe.
    pub(super) fn step(&self, root: &Root, from: &Place, name: &str) -> Result<Option<Place>, StoreError> {
        let listing = self
            .listings
            .of(&from.handle, &from.stat)
            .map_err(|errno| StoreError::io(format!("MAIL_ROOT/{}: reading it", from.path), errno.into()))?;
        match listing.odd_names(name) {
            [] => open_below(root, from, name),
            odd => Err(StoreError::Unsafe(format!(
                "MAIL_ROOT/{}: {} cannot be told from {name:?}, or never be reached: rename or remove it (names are \
                 lower case and composed, NFC)",
                from.path,
                odd.iter().map(|it| format!("{it:?}")).collect::<Vec<_>>().join(" and "),
            ))),
        }
    }

    fn some_domain_in(&self, root: &Root) -> Result<(), StoreError> {
        let place = Place::of_root(root)?;
        let listing = self
            .listings
            .of(&place.handle, &place.stat)
            .map_err(|errno| StoreError::io("MAIL_ROOT: reading it", errno.into()))?;
        if listing.holds_domain { Ok(()) } else { Err(self.watch.no_domain()) }
    }
}

#[cfg(test)]
mod tests;
