//! A private temporary directory that goes when its owner goes.

use crate::error::{Exit, Failure};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The directory. Dropping it removes it with all that is in it.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new one below `TMPDIR`, for this user only.
    pub fn new() -> Result<Scratch, Failure> {
        let cannot = |error: std::io::Error| {
            let place = std::env::temp_dir();
            Failure::new(Exit::CantCreat, format!("temporary directory in {}: {error}", place.display()))
        };
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| cannot(error.into()))?;
        let name = format!("pillarbox-try-{:016x}", u64::from_ne_bytes(random));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path).map_err(cannot)?;
        // The configurations name it, and the paths shown to the user: without links.
        let path = path.canonicalize().map_err(cannot)?;
        Ok(Scratch { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("pillarbox: {} could not be removed: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_and_goes_with_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::create_dir_all(path.join("a/b")).unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
