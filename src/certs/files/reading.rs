//! One look at a pair of files.

use crate::error::plainly;
use crate::net::tls::pair::Pair;
use aws_lc_rs::digest::{Context, SHA256};
use rustix::fs::{Mode, OFlags};
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The most octets of a file. A chain of ten certificates with large keys is a tenth of it.
const MAX_FILE: u64 = 1 << 20;

/// Where a chain and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The chain.
    pub cert: PathBuf,
    /// The key of its first certificate.
    pub key: PathBuf,
}

/// By what two files are known again without being read: what a look through all links finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamp([Result<[i64; 7], ErrorKind>; 2]);

/// What was read.
pub(super) struct Reading {
    /// Tells one content, or one fault, from another.
    pub(super) content: [u8; 32],
    /// The pair, or a sentence with file, cause and remedy.
    pub(super) pair: Result<Pair, String>,
}

impl Paths {
    /// What tells whether they changed. Blocks.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp(
            [&self.cert, &self.key].map(|path| {
                std::fs::metadata(path).map(|found| traits_of(&found)).map_err(|error| error.kind())
            }),
        )
    }

    /// Reads both. An error is a sentence with file, cause and remedy. Blocks.
    pub fn read(&self) -> Result<Pair, String> {
        self.look().pair
    }

    pub(super) fn look(&self) -> Reading {
        let (chain, key) = (contents(&self.cert), contents(&self.key));
        let mut hash = Context::new(&SHA256);
        for found in [&chain, &key] {
            let octets = match found {
                Ok(octets) => octets.clone(),
                Err(error) => error.to_string().into_bytes(),
            };
            hash.update(&[u8::from(found.is_ok())]);
            hash.update(&octets.len().to_be_bytes());
            hash.update(&octets);
        }
        let mut content = [0; 32];
        content.copy_from_slice(hash.finish().as_ref());
        let pair = match (chain, key) {
            (Ok(chain), Ok(key)) => Pair::from_pem(&chain, &key).map_err(|error| self.useless(&error.0)),
            (Err(error), _) => Err(unreadable(&self.cert, &error)),
            (_, Err(error)) => Err(unreadable(&self.key, &error)),
        };
        Reading { content, pair }
    }

    fn useless(&self, why: &str) -> String {
        format!(
            "{} and {}: {why}; both must be of one renewal, as certbot's fullchain.pem and privkey.pem of one directory are",
            self.cert.display(),
            self.key.display()
        )
    }
}

fn traits_of(found: &Metadata) -> [i64; 7] {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let (dev, ino, size) = (number(found.dev()), number(found.ino()), number(found.size()));
    [dev, ino, size, found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()]
}

/// A file's octets. What is no file is not read, and not even waited for: a pipe that nobody writes to would hold us for ever.
fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("this is no file"));
    }
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("this is no file"));
    }
    let mut octets = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut octets)?;
    match u64::try_from(octets.len()).is_ok_and(|length| length <= MAX_FILE) {
        true => Ok(octets),
        false => Err(io::Error::other("it is larger than 1 MiB")),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    let remedy = match error.kind() {
        ErrorKind::NotFound => "see tls.cert and tls.key in server.toml, and `certbot certificates`".into(),
        ErrorKind::PermissionDenied => permit(path),
        _ => "see tls.cert and tls.key in server.toml".into(),
    };
    format!("{}: {}; {remedy}", path.display(), plainly(error))
}

/// How our group gets to read a file. certbot keeps its directories and keys for root; a key's group, and whether that may read,
/// it passes on to the next one.
fn permit(path: &Path) -> String {
    let group = rustix::process::getegid().as_raw();
    let group = nix::unistd::Group::from_gid(group.into())
        .ok()
        .flatten()
        .map_or(group.to_string(), |found| found.name);
    let parts: Vec<_> = path.iter().collect();
    match parts.as_slice() {
        [base @ .., live, name, _] if *live == "live" => {
            let (base, name) = (base.iter().collect::<PathBuf>(), name.to_string_lossy());
            let (base, keys) = (base.display(), format!("{}/archive/{name}/privkey*.pem", base.display()));
            format!(
                "as root: `chgrp {group} {base}/live {base}/archive {keys} && chmod g+x {base}/live {base}/archive && chmod \
                 g+r {keys}` (certbot passes a key's group on when it renews)"
            )
        }
        _ => format!(
            "the server's group, {group}, must be able to read it and to go through the directories above it"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_or_too_large_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("one.pem");
        let why = |path: &Path| contents(path).unwrap_err().to_string();
        assert_eq!(why(directory.path()), "this is no file");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(why(&path), "this is no file");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, vec![b'x'; MAX_FILE as usize]).unwrap();
        assert_eq!(contents(&path).unwrap().len() as u64, MAX_FILE);
        std::fs::write(&path, vec![b'x'; MAX_FILE as usize + 1]).unwrap();
        assert!(why(&path).contains("1 MiB"));
    }

    #[test]
    fn how_to_let_us_read_certbots_keys_is_said() {
        let said = permit(Path::new("/etc/letsencrypt/live/mx.example.org/privkey.pem"));
        assert!(said.contains("/etc/letsencrypt/archive/mx.example.org/privkey*.pem"), "{said}");
        assert!(said.contains("chmod g+x /etc/letsencrypt/live /etc/letsencrypt/archive"), "{said}");
        assert!(permit(Path::new("/etc/ssl/key.pem")).contains("the directories above"));
    }

    #[test]
    fn a_file_behind_links_is_known_by_what_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["1", "2", "key"] {
            std::fs::write(at(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("1", at("cert")).unwrap();
        let paths = Paths { cert: at("cert"), key: at("key") };
        let first = paths.stamp();
        assert_eq!(paths.stamp(), first);
        std::fs::remove_file(at("cert")).unwrap();
        assert_eq!(paths.stamp().0[0], Err(ErrorKind::NotFound));
        std::os::unix::fs::symlink("2", at("cert")).unwrap();
        assert_ne!(paths.stamp(), first);
    }
}
