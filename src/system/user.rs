//! Who the server runs as.

use crate::error::{Exit, Failure};
use nix::unistd::{Uid, User, getuid, initgroups, setgid, setuid};
use std::ffi::CString;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Becomes `user` for good, when started as root; otherwise `user` must be who we are already. `state_dir` is made
/// (0700) where it is missing, and is the user's.
pub fn become_user(user: Option<&str>, state_dir: &Path) -> Result<(), Failure> {
    let Some(wanted) = find(user)? else {
        if getuid().is_root() {
            tracing::warn!("serving as root; set `user` in server.toml to a user that owns the mail");
        }
        return prepare_state_dir(None, state_dir);
    };
    let name = &wanted.name;
    let config = |text: String| Failure::new(Exit::Config, format!("user = {name:?}: {text}"));
    if getuid() == wanted.uid {
        return prepare_state_dir(None, state_dir);
    }
    if !getuid().is_root() {
        return Err(config("not started as root, so this program stays who it is".into()));
    }
    prepare_state_dir(Some(&wanted), state_dir)?;
    let owner = std::fs::metadata(state_dir).map(|data| std::os::unix::fs::MetadataExt::uid(&data));
    if owner.is_ok_and(|owner| owner != wanted.uid.as_raw()) {
        let dir = state_dir.display();
        return Err(config(format!(
            "{dir} belongs to another user; `chown -R {name}: {dir}` gives it to {name}"
        )));
    }
    change_to(&wanted)
}

/// Becomes the server's user for good, when root runs a tool that works on `state_dir`: the configured one, else whom
/// the directory belongs to. So a tool never leaves files that the server may not touch. Whoever is not root stays who
/// he is: the files' modes decide.
pub fn become_owner(user: Option<&str>, state_dir: &Path) -> Result<(), Failure> {
    let found = std::fs::metadata(state_dir).map_err(|error| {
        let (exit, remedy) = match error.kind() {
            std::io::ErrorKind::PermissionDenied => (Exit::NoPerm, "run it as root, or as the server's user"),
            _ => (
                Exit::NoInput,
                "name the server's configuration with --config FILE or -o state_dir=DIRECTORY",
            ),
        };
        Failure::new(exit, format!("state_dir {}: {error}; {remedy}", state_dir.display()))
    })?;
    if !getuid().is_root() {
        return Ok(());
    }
    if user.is_some() {
        return become_user(user, state_dir);
    }
    let owner = Uid::from_raw(std::os::unix::fs::MetadataExt::uid(&found));
    if owner.is_root() {
        return Ok(());
    }
    let unknown = |why: String| {
        let text = format!("state_dir {} belongs to user {owner}: {why}", state_dir.display());
        Failure::new(Exit::Config, text)
    };
    match User::from_uid(owner) {
        Ok(Some(owner)) => change_to(&owner),
        Ok(None) => Err(unknown("there is no such user; set `user` in server.toml".into())),
        Err(error) => Err(unknown(error.to_string())),
    }
}

fn change_to(wanted: &User) -> Result<(), Failure> {
    let name = &wanted.name;
    let failed = |why: String| Failure::new(Exit::OsErr, format!("becoming {name}: {why}"));
    let c_name = CString::new(name.as_str()).map_err(|error| failed(error.to_string()))?;
    // Groups first: without root they could not be given up any more.
    initgroups(&c_name, wanted.gid)
        .and_then(|()| setgid(wanted.gid))
        .and_then(|()| setuid(wanted.uid))
        .map_err(|error| failed(error.to_string()))
}

/// The user that the configuration names, if it names one.
pub fn find(user: Option<&str>) -> Result<Option<User>, Failure> {
    let Some(name) = user else { return Ok(None) };
    let config = |text: String| Failure::new(Exit::Config, format!("user = {name:?}: {text}"));
    let found = User::from_name(name).map_err(|error| config(error.to_string()))?;
    found.map(Some).ok_or_else(|| config(format!("no such user; `useradd --system {name}` makes it")))
}

/// Makes `state_dir` (0700) where it is missing, and gives it to `owner` if we are root.
pub fn prepare_state_dir(owner: Option<&User>, state_dir: &Path) -> Result<(), Failure> {
    if state_dir.is_dir() {
        return Ok(());
    }
    let cannot = |error: std::io::Error| {
        let text =
            format!("{}: {error}; make it, owned by the server's user, mode 0700", state_dir.display());
        Failure::new(Exit::CantCreat, text)
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(cannot)?;
    match owner.filter(|_| getuid().is_root()) {
        Some(owner) => {
            let (user, group) = (owner.uid.as_raw(), owner.gid.as_raw());
            std::os::unix::fs::chown(state_dir, Some(user), Some(group)).map_err(cannot)
        }
        None => Ok(()),
    }
}
