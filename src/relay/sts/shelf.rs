//! Policies on disk: a file for each domain, in `state_dir/mta-sts`.

use crate::mail::address::Domain;
use crate::policy::sts::Policy;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const VERSION: u32 = 1;
/// A policy of 64 KiB is far below this, in octets; what is longer is none.
const MAX_FILE: u64 = 1 << 20;
/// How many policies are kept.
const FILES: usize = 10_000;
/// Seconds by which clocks may differ without one of them being wrong.
const SKEW: i64 = 3600;

/// A policy as it was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The id that DNS had for it.
    pub(super) id: String,
    /// When, in Unix seconds.
    pub(super) fetched: i64,
    pub(super) policy: Policy,
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    #[serde(flatten)]
    kept: Kept,
}

#[derive(Debug)]
pub(super) struct Shelf {
    directory: PathBuf,
}

impl Kept {
    /// Whether it may still be used.
    pub(super) fn is_fresh(&self, now: i64) -> bool {
        now <= self.fetched.saturating_add_unsigned(self.policy.max_age)
    }

    /// Whether it is older than `seconds`, or than half of what it may become.
    pub(super) fn is_old(&self, now: i64, seconds: u64) -> bool {
        now >= self.fetched.saturating_add_unsigned(seconds.min(self.policy.max_age / 2))
    }

    pub(super) fn is_from_the_future(&self, now: i64) -> bool {
        self.fetched > now.saturating_add(SKEW)
    }
}

impl Shelf {
    /// Makes the directory. If it cannot, that is logged, and nothing can be stored.
    pub(super) fn open(directory: PathBuf) -> Shelf {
        let made = match DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => directory.parent().map_or(Ok(()), sync),
        };
        if let Err(error) = made {
            tracing::error!(directory = %directory.display(), %error, "MTA-STS policies cannot be kept");
        }
        Shelf { directory }
    }

    /// What is stored of a domain. What is no policy is left out with a log line, and overwritten by what is fetched
    /// next; an error, which says what to do, is that nobody knows what is stored. Blocks.
    pub(super) fn load(&self, domain: &Domain) -> Result<Option<Kept>, String> {
        let place = self.directory.join(domain.as_str());
        let text = match read(&place) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let place = place.display();
                return Err(format!(
                    "the MTA-STS policy that is kept in {place} cannot be read: {error}; mend or remove it"
                ));
            }
        };
        let kept = parse(&text).inspect_err(|error| {
            tracing::error!(file = %place.display(), %error, "an MTA-STS policy is left out");
        });
        Ok(kept.ok())
    }

    /// Stores it: the old one or the new one is there, whenever we are stopped. One call for a domain at a time. Blocks.
    pub(super) fn store(&self, domain: &Domain, kept: &Kept) -> io::Result<()> {
        // No domain begins with a dot.
        let draft = self.directory.join(format!(".{domain}"));
        let record = Record { version: VERSION, kept: kept.clone() };
        let written = write(&draft, &serde_json::to_vec(&record)?)
            .and_then(|()| std::fs::rename(&draft, self.directory.join(domain.as_str())));
        if written.is_err() {
            // The first error is the one that matters.
            let _ = std::fs::remove_file(&draft);
            return written;
        }
        sync(&self.directory)?;
        prune(&self.directory, FILES)
    }
}

fn read(place: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(no_follow()).open(place)?;
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(text)
}

fn parse(text: &[u8]) -> io::Result<Kept> {
    let record: Record = serde_json::from_slice(text)?;
    match record.version {
        VERSION => Ok(record.kept),
        version => Err(io::Error::other(format!("it is of version {version}, not {VERSION}"))),
    }
}

fn write(draft: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(no_follow());
    let mut file = options.open(draft)?;
    file.write_all(content)?;
    file.sync_all()
}

fn no_follow() -> i32 {
    OFlags::NOFOLLOW.bits().cast_signed()
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Removes the oldest files beyond `limit`.
fn prune(directory: &Path, limit: usize) -> io::Result<()> {
    let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
    for item in std::fs::read_dir(directory)? {
        let item = item?;
        files.push((item.metadata()?.modified()?, item.path()));
    }
    let surplus = files.len().saturating_sub(limit);
    if surplus > 0 {
        files.sort();
    }
    for (_, place) in files.into_iter().take(surplus) {
        std::fs::remove_file(place)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::sts::Mode;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    fn kept(max_age: u64) -> Kept {
        let policy = Policy { mode: Mode::Enforce, mx: vec!["*.a.test".into()], max_age };
        Kept { id: "1".into(), fetched: 1000, policy }
    }

    fn shelf() -> (tempfile::TempDir, Shelf) {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path().join("mta-sts"));
        (dir, shelf)
    }

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    #[test]
    fn what_is_stored_is_there_and_nobody_elses_to_read() {
        let (dir, shelf) = shelf();
        let me = domain("me.test");
        assert_eq!(shelf.load(&me), Ok(None));
        std::fs::write(
            dir.path().join("mta-sts/.me.test"),
            "left by a crash, and longer than what comes now".repeat(9),
        )
        .unwrap();
        shelf.store(&me, &kept(5)).unwrap();
        shelf.store(&me, &kept(6)).unwrap();
        assert_eq!(Shelf::open(dir.path().join("mta-sts")).load(&me), Ok(Some(kept(6))));
        let mode = |place: &str| dir.path().join(place).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("mta-sts"), mode("mta-sts/me.test")), (0o700, 0o600));
        assert_eq!(std::fs::read_dir(dir.path().join("mta-sts")).unwrap().count(), 1, "no draft is left");
        let text = std::fs::read_to_string(dir.path().join("mta-sts/me.test")).unwrap();
        assert_eq!(
            text,
            r#"{"version":1,"id":"1","fetched":1000,"policy":{"mode":"enforce","mx":["*.a.test"],"max_age":6}}"#
        );
    }

    #[test]
    fn the_longest_domain_has_room() {
        let (_dir, shelf) = shelf();
        let long = domain(&format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61)));
        assert_eq!(long.as_str().len(), 253);
        shelf.store(&long, &kept(5)).unwrap();
        assert_eq!(shelf.load(&long), Ok(Some(kept(5))));
    }

    #[test]
    fn what_is_broken_is_left_out_and_overwritten() {
        let (dir, shelf) = shelf();
        let me = domain("me.test");
        let place = dir.path().join("mta-sts/me.test");
        let whole = serde_json::to_string(&Record { version: 1, kept: kept(5) }).unwrap();
        let newer = whole.replacen('1', "2", 1);
        for text in ["", "{}", &whole[1..], &whole[..40], &newer, &format!("{whole}{whole}"), "\u{0}"] {
            std::fs::write(&place, text).unwrap();
            assert_eq!(shelf.load(&me), Ok(None), "{text}");
        }
        std::fs::write(&place, format!("{whole}{}", " ".repeat(100))).unwrap();
        assert_eq!(shelf.load(&me), Ok(Some(kept(5))));
        std::fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &place).unwrap();
        assert!(shelf.load(&me).unwrap_err().contains("mta-sts/me.test cannot be read"));
        shelf.store(&me, &kept(5)).unwrap();
        assert_eq!(shelf.load(&me), Ok(Some(kept(5))));
    }

    #[test]
    fn a_fault_is_an_error_and_leaves_the_old_one() {
        let (dir, shelf) = shelf();
        let me = domain("me.test");
        shelf.store(&me, &kept(5)).unwrap();
        std::fs::create_dir(dir.path().join("mta-sts/.me.test")).unwrap();
        shelf.store(&me, &kept(6)).unwrap_err();
        assert_eq!(shelf.load(&me), Ok(Some(kept(5))));
        let nowhere = Shelf::open(dir.path().join("not/there"));
        nowhere.store(&me, &kept(5)).unwrap_err();
        assert_eq!(nowhere.load(&me), Ok(None));
    }

    #[test]
    fn the_oldest_go_first() {
        let (dir, shelf) = shelf();
        let names = ["c.test", "a.test", "d.test", "b.test"];
        for (age, name) in (1..).zip(names) {
            shelf.store(&domain(name), &kept(5)).unwrap();
            let file = File::open(dir.path().join("mta-sts").join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(100 * age)).unwrap();
        }
        prune(&dir.path().join("mta-sts"), 4).unwrap();
        assert!(names.iter().all(|name| shelf.load(&domain(name)).unwrap().is_some()));
        prune(&dir.path().join("mta-sts"), 2).unwrap();
        let left = names.map(|name| shelf.load(&domain(name)).unwrap().is_some());
        assert_eq!(left, [true, true, false, false]);
    }

    #[test]
    fn times_are_inclusive_and_do_not_overflow() {
        let kept = kept(100);
        assert!(kept.is_fresh(1000) && kept.is_fresh(1100) && !kept.is_fresh(1101));
        assert!(!kept.is_old(1049, 200) && kept.is_old(1050, 200) && kept.is_old(1010, 10));
        assert!(!kept.is_from_the_future(1000 - 3600) && kept.is_from_the_future(999 - 3600));
        let late = Kept { fetched: i64::MAX, ..kept };
        assert!(late.is_fresh(i64::MAX) && late.is_from_the_future(0) && !late.is_from_the_future(i64::MAX));
    }
}
