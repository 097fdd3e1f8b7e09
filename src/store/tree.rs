//! Names and look-up: an address exists because its directory exists.

use super::StoreError;
use crate::mail::address::{Address, Domain};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

/// A directory's identity: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DirId {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

/// The tree below MAIL_ROOT. Cheap to clone; all calls block.
#[derive(Clone, Debug)]
pub struct Store {
    _root: Arc<OwnedFd>,
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
    /// The identity of the directory that letters go to (the topic's, if there is one).
    pub id: DirId,
    /// The identity of the address that owns it (`id` itself unless this is a topic).
    pub owner: DirId,
    /// `domain/local[/topic]`, for logs and names.
    pub label: String,
}

impl Store {
    /// Opens the tree and checks its identity against `state_dir`; the first call with a domain in the tree records it.
    /// `separators` are the topic separators (`/`, `+`).
    pub fn open(mail_root: &Path, state_dir: &Path, separators: &str) -> Result<Store, StoreError> {
        let _ = (mail_root, state_dir, separators);
        Err(StoreError::WrongRoot("not yet".into()))
    }

    /// Whether `MAIL_ROOT/domain` is there.
    pub fn is_ours(&self, domain: &Domain) -> Result<bool, StoreError> {
        let _ = domain;
        Ok(false)
    }

    /// Looks an address up: literal name first, then a topic, then `*`.
    pub fn find(&self, address: &Address) -> Result<Lookup, StoreError> {
        let _ = address;
        Ok(Lookup::NotOurs)
    }

    /// The address whose local part (or explicit alias) is exactly `selector` (the form with dots included);
    /// never `*`, a topic or a prefix.
    pub fn selector_owner(&self, domain: &Domain, selector: &str) -> Result<Option<DirId>, StoreError> {
        let _ = (domain, selector);
        Ok(None)
    }
}
