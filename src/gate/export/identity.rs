//! What tells this server from every other, for the homes that it is pulled by: 128 random bits in `state_dir`.

use crate::error::{Exit, Failure};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const NAME: &str = "server-id";

/// The identity, 32 hexadecimal digits; made, durable, when it is first asked for.
pub(super) fn of(state_dir: &Path) -> Result<String, Failure> {
    let path = state_dir.join(NAME);
    let failed = |error: io::Error| Failure::new(Exit::TempFail, format!("{}: {error}", path.display()));
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(state_dir).map_err(failed)?;
            // Not what was made: another gate may have been first.
            std::fs::read_to_string(&path).map_err(failed)?
        }
        read => read.map_err(failed)?,
    };
    let id = text.trim_end();
    match id.len() == 32 && id.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f')) {
        true => Ok(id.to_owned()),
        false => {
            Err(failed(io::Error::other("want 32 hexadecimal digits: remove the file, another is made")))
        }
    }
}

fn make(state_dir: &Path) -> io::Result<()> {
    let mut bits = [0; 16];
    if rustix::rand::getrandom(&mut bits, rustix::rand::GetRandomFlags::empty())? != bits.len() {
        return Err(io::Error::other("the system gave too little randomness"));
    }
    let id = format!("{:032x}", u128::from_ne_bytes(bits));
    let draft = state_dir.join(format!("{NAME}.{id}"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&draft)?;
    file.write_all(format!("{id}\n").as_bytes())?;
    file.sync_all()?;
    let renamed = renameat_with(CWD, &draft, CWD, state_dir.join(NAME), RenameFlags::NOREPLACE);
    if renamed.is_err() {
        // Another gate was first; its identity counts.
        std::fs::remove_file(&draft)?;
    }
    File::open(state_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let id = of(directory.path()).unwrap();
        make(directory.path()).unwrap();
        assert_eq!(of(directory.path()).unwrap(), id);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_ne!(of(tempfile::tempdir().unwrap().path()).unwrap(), id);
    }

    #[test]
    fn a_damaged_one_is_named_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(NAME), "nonsense\n").unwrap();
        let failure = of(directory.path()).unwrap_err();
        assert!(failure.exit == Exit::TempFail && failure.message.contains(NAME), "{failure}");
    }
}
