//! Everything in the file system but some directories, as few handles.

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// A place with all that lies below it.
#[derive(Debug)]
pub struct Place {
    pub handle: OwnedFd,
    pub directory: bool,
    /// Where it was found.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests read it"))]
    pub path: PathBuf,
}

/// All that lies beside the ways from `/` to the closed directories, which are absolute and without links; they need not be
/// there. The directories on the way themselves are not among it: with one of them would be given what is below it.
pub fn beside(closed: &[PathBuf]) -> io::Result<Vec<Place>> {
    let mut found = Vec::new();
    let closed: Vec<&Path> = closed.iter().filter_map(|path| path.strip_prefix("/").ok()).collect();
    walk(Path::new("/"), &closed, &mut found)?;
    Ok(found)
}

fn walk(directory: &Path, closed: &[&Path], found: &mut Vec<Place>) -> io::Result<()> {
    if closed.iter().any(|path| path.as_os_str().is_empty()) {
        return Ok(());
    }
    let entries = match fs::read_dir(directory) {
        // Nothing in it is given then, which is the safe side.
        Err(error) if is_out_of_reach(&error) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        let below: Vec<&Path> = closed.iter().filter_map(|closed| step(closed, name)).collect();
        if below.is_empty() {
            found.extend(open(path)?);
        } else {
            walk(&path, &below, found)?;
        }
    }
    Ok(())
}

/// What is left of a path behind its first component, if that is `name`.
fn step<'a>(path: &'a Path, name: &OsStr) -> Option<&'a Path> {
    let mut components = path.components();
    let first = components.next();
    (first == Some(Component::Normal(name))).then_some(components.as_path())
}

/// A link is not followed: what it leads to has a place of its own, or is closed.
fn open(path: PathBuf) -> io::Result<Option<Place>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = match openat(CWD, &path, flags, Mode::empty()) {
        Ok(handle) => handle,
        Err(errno) if is_out_of_reach(&errno.into()) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let kind = FileType::from_raw_mode(fstat(&handle)?.st_mode);
    if kind.is_symlink() {
        return Ok(None);
    }
    Ok(Some(Place { handle, directory: kind.is_dir(), path }))
}

/// Gone meanwhile, or not to be looked at by us.
fn is_out_of_reach(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | PermissionDenied | NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is given below `top`, relative to it.
    fn given(top: &Path, closed: &[&str]) -> Vec<String> {
        let closed: Vec<PathBuf> = closed.iter().map(|path| top.join(path)).collect();
        let found = beside(&closed).unwrap();
        let inside = found.iter().filter_map(|place| place.path.strip_prefix(top).ok());
        let mut inside: Vec<String> = inside.map(|path| path.display().to_string()).collect();
        inside.sort();
        inside
    }

    #[test]
    fn what_lies_beside_the_way_is_given_and_the_way_is_not() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        for directory in ["a/mail/x", "a/other", "b/state", "c"] {
            fs::create_dir_all(top.join(directory)).unwrap();
        }
        fs::write(top.join("a/file"), "").unwrap();
        std::os::unix::fs::symlink(top.join("a/mail"), top.join("link")).unwrap();
        assert_eq!(given(&top, &["a/mail", "b/state"]), ["a/file", "a/other", "c"]);
        assert_eq!(given(&top, &["a/mail/x", "a/mail"]), ["a/file", "a/other", "b", "c"]);
        assert_eq!(given(&top, &["a/mail", "a/mail"]), ["a/file", "a/other", "b", "c"]);
        // Names that begin alike are different names.
        assert_eq!(given(&top, &["a/mai", "b"]), ["a/file", "a/mail", "a/other", "c"]);
        // Not there yet.
        assert_eq!(given(&top, &["a/mail", "d/e", "a/none"]), ["a/file", "a/other", "b", "c"]);
        assert_eq!(given(&top, &[""]), [""; 0]);
    }
}
