//! Removal of an address, an alias or a topic; and, with the last of its names, of a domain.

use super::{ChangeError, Target, fault, refused};
use crate::mail::address::{Address, Domain};
use crate::store::list::AddressEntry;
use crate::store::names::{MAILDIR, REMOVED};
use crate::store::place::Place;
use crate::store::root::Root;
use crate::store::tree::{DirId, Store};
use crate::store::{StoreError, durable};
use rustix::fs::{AtFlags, FileType, RenameFlags};
use rustix::io::Errno;

/// What went with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The roles whose links went with it.
    pub roles: Vec<String>,
    /// What became of its domain.
    pub domain: DomainLeft,
}

/// What became of a domain when an address was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainLeft {
    /// It has other addresses.
    Ours,
    /// It has no address, but its directory is still there, and why: it is ours all the same.
    Bare(String),
    /// Its directory is gone: it is not ours any more. And whether there is no other domain.
    Gone {
        /// No domain is left.
        last: bool,
    },
}

impl Store {
    /// Removes an address, an alias or a topic. Refuses while letters or topics are in it, or aliases point at it. If it
    /// is the last address of its domain, links to it by one of the names `roles` are no obstacle and go with it, and
    /// so does the domain's directory.
    pub fn remove_address(&self, address: &Address, roles: &[&str]) -> Result<Removed, ChangeError> {
        let root = self.watch.root_for_change()?;
        let target = self.target(&root, address, false)?;
        let Target { parent, name, .. } = &target;
        let name = name.as_str();
        let roles = roles_of_last(parent, name, roles)?;
        let found =
            durable::lstat(&parent.handle, name).map_err(|errno| fault(parent, name, "look", errno))?;
        match found.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Some(FileType::Symlink) => remove_link(parent, name)?,
            Some(FileType::Directory) => self.remove_directory(&root, address, &target, &roles)?,
            _ => return Err(refused(format!("{address} does not exist"))),
        }
        // The address first: had a letter come meanwhile, nothing would have changed.
        for role in &roles {
            remove_link(parent, role)?;
        }
        let domain = if is_domain(parent) { self.remove_domain(&root, parent)? } else { DomainLeft::Ours };
        Ok(Removed { roles, domain })
    }

    fn remove_directory(
        &self,
        root: &Root,
        address: &Address,
        target: &Target,
        roles: &[String],
    ) -> Result<(), ChangeError> {
        let Target { parent, name, .. } = target;
        let name = name.as_str();
        let Some(place) = self.mailbox_at(root, parent, name)? else {
            return Err(refused(format!("{address} does not exist")));
        };
        let mut aliases = self.aliases_of(place.id())?;
        aliases.retain(|alias| !roles.iter().any(|role| *alias == format!("{role}@{}", parent.path)));
        if !aliases.is_empty() {
            let aliases = aliases.join(", ");
            return Err(refused(format!(
                "{address} is also {aliases}: `pillarbox address remove` these aliases first"
            )));
        }
        must_be_empty(address, &place)?;
        // Out of reach first, then emptied: what comes in meanwhile finds no `new` to go to, and is asked to try again.
        let random = durable::random_hex().map_err(|error| random_fault(parent, error))?;
        let hidden = format!("{REMOVED}{random}");
        let rename = |from: &str, to: &str| {
            durable::rename(&parent.handle, from, &parent.handle, to, RenameFlags::NOREPLACE)
                .map_err(|errno| fault(parent, from, "rename", errno))
        };
        rename(name, &hidden)?;
        if let Err(errno) = dismantle(&place, parent, &hidden) {
            rename(&hidden, name)?;
            return Err(match errno {
                Errno::NOTEMPTY | Errno::EXIST => {
                    refused(format!("a letter came for {address} just now: `pillarbox pull`, then try again"))
                }
                errno => fault(parent, name, "remove", errno).into(),
            });
        }
        durable::sync_directory(&parent.handle)
            .map_err(|errno| fault(parent, name, "make the removal durable", errno).into())
    }

    /// The links, as `local[/topic]@domain`, that lead to a directory.
    fn aliases_of(&self, id: DirId) -> Result<Vec<String>, StoreError> {
        let root = self.watch.root()?;
        let top = Place::of_root(&root)?;
        let mut found = Vec::new();
        for domain in self.domains()?.into_iter().filter(|it| it.alias_of.is_none()) {
            let Some(place) = self.step(&root, &top, &domain.name)? else { continue };
            let Ok(domain) = Domain::parse(&domain.name) else { continue };
            let name_of = |local: &str| format!("{local}@{domain}");
            for AddressEntry { local, topics } in self.addresses(&domain)? {
                let Some(address) = self.step(&root, &place, &local.name)? else { continue };
                if local.alias_of.is_some() && address.id() == id {
                    found.push(name_of(&local.name));
                }
                for topic in topics.into_iter().filter(|it| it.alias_of.is_some()) {
                    let place = self.step(&root, &address, &topic.name)?;
                    found.extend(
                        place
                            .filter(|it| it.id() == id)
                            .map(|_| name_of(&format!("{}/{}", local.name, topic.name))),
                    );
                }
            }
        }
        Ok(found)
    }

    /// Removes the directory of a domain, if nothing is in it. Nobody is to be surprised: what cannot be removed stays.
    fn remove_domain(&self, root: &Root, domain: &Place) -> Result<DomainLeft, StoreError> {
        let left = durable::entries(&domain.handle).map_err(|errno| fault(domain, ".", "read", errno))?;
        let names: Vec<String> =
            left.iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect();
        if names.iter().any(|name| !name.starts_with('.')) {
            return Ok(DomainLeft::Ours);
        }
        if !names.is_empty() {
            return Ok(DomainLeft::Bare(format!("it still holds {names:?}")));
        }
        let top = Place::of_root(root)?;
        let domains = self.domains()?;
        for alias in domains.iter().filter(|other| other.alias_of.is_some()) {
            if self.step(root, &top, &alias.name)?.is_some_and(|place| place.id() == domain.id()) {
                return Ok(DomainLeft::Bare(format!("{} is another name for it", alias.name)));
            }
        }
        match rustix::fs::unlinkat(&top.handle, domain.path.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) => {
                durable::sync_directory(&top.handle)
                    .map_err(|errno| fault(&top, &domain.path, "make the removal durable", errno))?;
                Ok(DomainLeft::Gone { last: domains.len() == 1 })
            }
            // Somebody made an address just now.
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(DomainLeft::Ours),
            Err(errno) => Ok(DomainLeft::Bare(errno.to_string())),
        }
    }
}

fn is_domain(place: &Place) -> bool {
    !place.path.contains('/')
}

/// The links by these names to the address `name`, if it is the last one of its domain besides them.
fn roles_of_last(domain: &Place, name: &str, roles: &[&str]) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    if !is_domain(domain) {
        return Ok(found);
    }
    let entries = durable::entries(&domain.handle).map_err(|errno| fault(domain, ".", "read", errno))?;
    for entry in entries.iter().filter(|entry| entry.name != name.as_bytes()) {
        let role = roles.iter().find(|role| entry.name == role.as_bytes());
        let leads_here = |role: &&&str| {
            rustix::fs::readlinkat(&domain.handle, **role, Vec::new())
                .is_ok_and(|target| target.as_bytes() == name.as_bytes())
        };
        match role.filter(leads_here) {
            Some(role) => found.push((*role).to_owned()),
            None => return Ok(Vec::new()),
        }
    }
    Ok(found)
}

fn remove_link(parent: &Place, name: &str) -> Result<(), StoreError> {
    rustix::fs::unlinkat(&parent.handle, name, AtFlags::empty())
        .and_then(|()| durable::sync_directory(&parent.handle))
        .map_err(|errno| fault(parent, name, "remove the link", errno))
}

fn must_be_empty(address: &Address, place: &Place) -> Result<(), ChangeError> {
    let entries = durable::entries(&place.handle).map_err(|errno| fault(place, ".", "read", errno))?;
    let more: Vec<String> = entries
        .iter()
        .map(|entry| String::from_utf8_lossy(&entry.name).into_owned())
        .filter(|name| !MAILDIR.contains(&name.as_str()))
        .collect();
    if !more.is_empty() {
        return Err(refused(format!("{address} still holds {more:?}: remove these topics or files first")));
    }
    for name in ["new", "cur"] {
        let folder = match durable::open_directory(&place.handle, name) {
            Err(Errno::NOENT) => continue,
            other => other.map_err(|errno| fault(place, name, "open", errno))?,
        };
        let waiting = durable::entries(folder).map_err(|errno| fault(place, name, "read", errno))?.len();
        if waiting > 0 {
            return Err(refused(format!(
                "{address} still has {waiting} letters waiting in {name}: `pillarbox pull` first"
            )));
        }
    }
    Ok(())
}

/// `new` goes first: from then on no delivery can be committed here.
fn dismantle(place: &Place, parent: &Place, hidden: &str) -> rustix::io::Result<()> {
    for name in ["new", "cur"] {
        gone(rustix::fs::unlinkat(&place.handle, name, AtFlags::REMOVEDIR))?;
    }
    match durable::open_directory(&place.handle, "tmp") {
        Err(Errno::NOENT) => {}
        tmp => {
            let tmp = tmp?;
            for entry in durable::entries(&tmp)? {
                gone(rustix::fs::unlinkat(&tmp, entry.name.as_slice(), AtFlags::empty()))?;
            }
            gone(rustix::fs::unlinkat(&place.handle, "tmp", AtFlags::REMOVEDIR))?;
        }
    }
    rustix::fs::unlinkat(&parent.handle, hidden, AtFlags::REMOVEDIR)
}

fn gone(removed: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn random_fault(parent: &Place, error: std::io::Error) -> StoreError {
    StoreError::io(format!("MAIL_ROOT/{}: choosing a name", parent.path), error)
}
