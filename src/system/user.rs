//! Who the server runs as.

use crate::error::{Exit, Failure};
use nix::unistd::{User, getuid, initgroups, setgid, setuid};
use std::ffi::CString;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Becomes `user` for good, when started as root; otherwise `user` must be who we are already. `state_dir` is made
/// (0700) where it is missing, and is the user's.
pub fn become_user(user: Option<&str>, state_dir: &Path) -> Result<(), Failure> {
    let made = make_private_dir(state_dir)?;
    let Some(name) = user else {
        if getuid().is_root() {
            tracing::warn!("serving as root; set `user` in server.toml to a user that owns the mail");
        }
        return Ok(());
    };
    let config = |text: String| Failure::new(Exit::Config, format!("user = {name:?}: {text}"));
    let wanted = User::from_name(name)
        .map_err(|error| config(error.to_string()))?
        .ok_or_else(|| config(format!("no such user; `useradd --system {name}` makes it")))?;
    if getuid() == wanted.uid {
        return Ok(());
    }
    if !getuid().is_root() {
        return Err(config("not started as root, so this program stays who it is".into()));
    }
    if made {
        std::os::unix::fs::chown(state_dir, Some(wanted.uid.as_raw()), Some(wanted.gid.as_raw()))
            .map_err(|error| Failure::new(Exit::OsErr, format!("{}: {error}", state_dir.display())))?;
    }
    let c_name = CString::new(name).map_err(|error| config(error.to_string()))?;
    // Groups first: without root they could not be given up any more.
    initgroups(&c_name, wanted.gid)
        .and_then(|()| setgid(wanted.gid))
        .and_then(|()| setuid(wanted.uid))
        .map_err(|error| Failure::new(Exit::OsErr, format!("becoming {name}: {error}")))
}

/// Makes a directory (0700) where it is missing; whether it was.
fn make_private_dir(path: &Path) -> Result<bool, Failure> {
    if path.is_dir() {
        return Ok(false);
    }
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) => {
            let text = format!("{}: {error}; make it, owned by the server's user, mode 0700", path.display());
            Err(Failure::new(Exit::CantCreat, text))
        }
    }
}
