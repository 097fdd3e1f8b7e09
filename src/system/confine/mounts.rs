//! All the paths that lead to a directory: without links, and through every mount of its file system.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// Links that are followed before they are taken for a circle, as the kernel does it.
const MOST_LINKS: usize = 40;

/// Every path of these directories, absolute and without links.
pub fn everywhere(trees: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mounts = parse(&fs::read("/proc/self/mountinfo")?);
    let mut all = Vec::new();
    for tree in trees {
        let path = real_path(&std::path::absolute(tree)?, 0)?;
        all.extend(aliases(&path, &mounts));
        all.push(path);
    }
    all.sort();
    all.dedup();
    Ok(all)
}

/// The path without links. What is not there yet stays as it is written, also behind a link that leads nowhere yet.
fn real_path(path: &Path, links: usize) -> io::Result<PathBuf> {
    if links > MOST_LINKS {
        return Err(io::Error::other(format!("{}: links in a circle", path.display())));
    }
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    let (Some(parent), Some(Component::Normal(name))) = (path.parent(), path.components().next_back()) else {
        let text = format!("{}: not there, and with `..` in its path; write it without", path.display());
        return Err(io::Error::other(text));
    };
    let here = real_path(parent, links)?;
    match fs::read_link(here.join(name)) {
        Ok(target) => real_path(&here.join(target), links + 1),
        Err(_) => Ok(here.join(name)),
    }
}

/// One line of mountinfo (proc_pid_mountinfo(5)).
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// Which file system it is: `major:minor`.
    device: Vec<u8>,
    /// Which part of it is mounted.
    root: PathBuf,
    /// Where.
    at: PathBuf,
}

fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    let lines = mountinfo.split(|octet| *octet == b'\n');
    lines
        .filter_map(|line| {
            let mut words = line.split(|octet| *octet == b' ').skip(2);
            let device = words.next()?.to_vec();
            Some(Mount { device, root: unescaped(words.next()?), at: unescaped(words.next()?) })
        })
        .collect()
}

/// Space, tab, line feed and backslash are written as three octal digits.
fn unescaped(word: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&octet, behind)) = rest.split_first() {
        let digits =
            behind.get(..3).filter(|_| octet == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => {
                path.push(escaped);
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                path.push(octet);
                rest = behind;
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

/// The other paths by which a directory, or what is mounted within it, can be reached.
fn aliases(path: &Path, mounts: &[Mount]) -> Vec<PathBuf> {
    // Of several at one place the last lies on top.
    let on = mounts.iter().filter(|mount| path.starts_with(&mount.at));
    let on = on.max_by_key(|mount| mount.at.as_os_str().as_bytes().len());
    let itself = on.and_then(|mount| Some((mount, join(&mount.root, path.strip_prefix(&mount.at).ok()?))));
    let within = mounts.iter().filter(|mount| mount.at.starts_with(path));
    let parts = itself.into_iter().chain(within.map(|mount| (mount, mount.root.clone())));
    let mut found = Vec::new();
    for (of, part) in parts {
        for mount in mounts.iter().filter(|mount| mount.device == of.device) {
            if let Ok(rest) = part.strip_prefix(&mount.root) {
                found.push(join(&mount.at, rest));
            } else if mount.root.starts_with(&part) {
                found.push(mount.at.clone());
            }
        }
    }
    found
}

/// `join` of an empty path would put a slash behind.
fn join(path: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { path.to_owned() } else { path.join(rest) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const MOUNTS: &[u8] = b"\
21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
22 21 8:2 / /data rw - ext4 /dev/sdb rw
23 21 8:2 /mail /var/mail rw - ext4 /dev/sdb rw
24 21 8:2 /mail/here.example/me /mnt/my\\040own rw - ext4 /dev/sdb rw
25 21 8:1 /var /mnt/var rw - ext4 /dev/sda1 rw
26 23 8:3 / /var/mail/other.example rw - ext4 /dev/sdc rw
27 21 8:3 / /mnt/c rw - ext4 /dev/sdc rw
";

    fn of(path: &str) -> Vec<String> {
        let mut found: Vec<String> =
            aliases(Path::new(path), &parse(MOUNTS)).iter().map(|path| path.display().to_string()).collect();
        found.sort();
        found.dedup();
        found
    }

    #[test]
    fn every_mount_of_the_same_files_is_found() {
        assert_eq!(
            of("/var/mail"),
            ["/data/mail", "/mnt/c", "/mnt/my own", "/var/mail", "/var/mail/other.example"]
        );
        assert_eq!(of("/var/lib/pillarbox"), ["/mnt/var/lib/pillarbox", "/var/lib/pillarbox"]);
        assert_eq!(
            of("/data/mail/here.example"),
            ["/data/mail/here.example", "/mnt/my own", "/var/mail/here.example"]
        );
    }

    #[test]
    fn links_are_followed_also_to_where_nothing_is_yet() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        fs::create_dir(top.join("real")).unwrap();
        symlink("real", top.join("link")).unwrap();
        symlink("real/later", top.join("early")).unwrap();
        symlink("round", top.join("round")).unwrap();
        let real = |path: &str| real_path(&top.join(path), 0);
        assert_eq!(real("link").unwrap(), top.join("real"));
        assert_eq!(real("link/none/x").unwrap(), top.join("real/none/x"));
        assert_eq!(real("early").unwrap(), top.join("real/later"));
        assert_eq!(real("early/x").unwrap(), top.join("real/later/x"));
        assert!(real("round").is_err());
        assert!(real("none/../x").is_err());
    }
}
