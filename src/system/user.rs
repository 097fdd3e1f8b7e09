//! Who the server runs as.

use crate::error::{Exit, Failure};
use nix::unistd::{Gid, Uid, User, getuid, initgroups, setgid, setresgid, setuid};
use std::ffi::CString;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
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

/// Becomes another user for good, with his groups and no others.
pub fn change_to(wanted: &User) -> Result<(), Failure> {
    change(wanted, wanted.gid)
}

/// The same, and the processes of this user that it starts cannot give it limits: prlimit(2) asks whether all three groups
/// are the caller's, and exec gives up the saved one, which is nobody's here. Where there is no such group (in a user namespace)
/// it is as [`change_to`].
pub fn change_apart_to(wanted: &User) -> Result<(), Failure> {
    change(wanted, Gid::from_raw(u32::MAX - 1))
}

fn change(wanted: &User, saved: Gid) -> Result<(), Failure> {
    let name = &wanted.name;
    let failed = |why: String| Failure::new(Exit::OsErr, format!("becoming {name}: {why}"));
    let c_name = CString::new(name.as_str()).map_err(|error| failed(error.to_string()))?;
    // Groups first: without root they could not be given up any more.
    initgroups(&c_name, wanted.gid)
        .and_then(|()| setresgid(wanted.gid, wanted.gid, saved).or_else(|_| setgid(wanted.gid)))
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

/// What to say where others than its owner can read `state_dir` or write to it: letters lie there, and the sockets of
/// the owner's door and of the queue.
pub fn exposed(state_dir: &Path) -> Option<String> {
    let mode = std::fs::metadata(state_dir).ok()?.permissions().mode();
    if mode & 0o066 == 0 {
        return None;
    }
    let dir = state_dir.display();
    let mode = mode & 0o7777;
    Some(format!(
        "state_dir {dir} can be read or written by others than its owner (mode {mode:04o}); letters lie there: \
         `chmod 700 {dir}` (systemd: StateDirectoryMode=0700)"
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_dir_that_others_can_read_or_write_is_pointed_out() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("state");
        prepare_state_dir(None, &dir).unwrap();
        assert_eq!(exposed(&dir), None);
        for (mode, told) in [(0o755, true), (0o770, true), (0o702, true), (0o711, false), (0o500, false)] {
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode)).unwrap();
            let said = exposed(&dir).unwrap_or_default();
            assert_eq!(
                said.contains(&format!("mode {mode:04o}")) && said.contains("chmod 700"),
                told,
                "{said}"
            );
        }
        assert_eq!(exposed(&top.path().join("none")), None);
    }
}
