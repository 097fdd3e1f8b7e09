//! Public keys that nobody on the way from DNS can have put there: pinned by a file of the server, else vouched for by DNSSEC.

use super::record::{KeySource, Records, Vouched};
use crate::net::dns::{Dns, DnsError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// The largest record has some 1500 octets: an RSA key of 8192 bits.
const MOST_OCTETS: u64 = 16 << 10;

/// Where the pinned copies of keys are.
pub fn directory_in(state_dir: &Path) -> PathBuf {
    state_dir.join("keys")
}

/// Keys for whoever comes from afar (docs/submission.md rule 7).
#[derive(Debug)]
pub struct Vouching {
    dns: Dns,
    directory: PathBuf,
}

impl Vouching {
    /// With the pinned copies in `state_dir`.
    pub fn new(dns: Dns, state_dir: &Path) -> Vouching {
        Vouching { dns, directory: directory_in(state_dir) }
    }
}

impl KeySource for Vouching {
    async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
        Ok(self.records(name).await?.texts)
    }

    /// A pinned copy wins, and DNS is not asked then: neither can it take the key away. A copy that cannot be read is a fault, not
    /// a reason to ask elsewhere.
    async fn records(&self, name: &str) -> Result<Records, DnsError> {
        let path = self.directory.join(name);
        let vouched = |secure| match secure {
            true => Vouched::Secure,
            false => Vouched::Not { pin: path.display().to_string() },
        };
        match read(&path, name).await {
            Ok(text) => Ok(Records { texts: vec![text_of(&text, name)], vouched: Vouched::Pinned }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let known = self.dns.known_txt(name).await?;
                Ok(Records { texts: known.value, vouched: vouched(known.secure) })
            }
            Err(error) => {
                tracing::error!(%error, file = %path.display(), "a pinned key cannot be read");
                Err(DnsError("its pinned copy on the server cannot be read".into()))
            }
        }
    }
}

/// `name` is made of labels of a signature by a key of ours; it is looked at all the same before it becomes a part of a path.
async fn read(path: &Path, name: &str) -> io::Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.starts_with('.') || !name.chars().all(plain) {
        return Err(ErrorKind::NotFound.into());
    }
    let mut text = String::new();
    File::open(path).await?.take(MOST_OCTETS).read_to_string(&mut text).await?;
    Ok(text)
}

/// The record's text: as it stands, or what is in quotes behind its name, where lines of a zone were copied, as
/// `pillarbox key show` prints them, perhaps for several keys.
fn text_of(file: &str, name: &str) -> String {
    if !file.contains('"') {
        return file.trim().to_owned();
    }
    let (mut text, mut ours) = (String::new(), true);
    for line in file.lines().filter(|line| !line.starts_with(';')) {
        if line.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            let owner = line.split_ascii_whitespace().next().unwrap_or_default();
            ours = owner.trim_end_matches('.').eq_ignore_ascii_case(name);
        }
        if ours {
            text.extend(line.split('"').skip(1).step_by(2));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_may_be_the_text_or_the_lines_of_a_zone() {
        for copy in [
            "v=DKIM1; k=ed25519; p=AAAA\n",
            "\"v=DKIM1; k=ed25519; \" \"p=AAAA\"\n",
            "; ed25519, private key: /x\nme._domainkey.example.org. 3600 IN TXT \"v=DKIM1; k=ed25519; p=AAAA\"\n",
            "Me._domainkey.Example.org. IN TXT ( \"v=DKIM1; k=ed\"\n  \"25519; p=AAAA\" )\n",
            "me._domainkey.example.org. IN TXT \"v=DKIM1; k=ed25519; p=AAAA\"\n\
             you._domainkey.example.org. IN TXT (\n \"v=DKIM1; k=rsa; p=BBBB\" )\n",
        ] {
            assert_eq!(text_of(copy, "me._domainkey.example.org"), "v=DKIM1; k=ed25519; p=AAAA", "{copy}");
        }
        assert_eq!(text_of("  \n", "me._domainkey.example.org"), "");
        assert_eq!(text_of("you._domainkey.example.org. TXT \"p=AAAA\"", "me._domainkey.example.org"), "");
    }

    #[tokio::test]
    async fn no_name_leads_out_of_the_directory() {
        let top = tempfile::tempdir().unwrap();
        let keys = top.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        std::fs::write(top.path().join("outside"), "v=DKIM1; p=AAAA").unwrap();
        std::fs::write(keys.join("me._domainkey.example.org"), "v=DKIM1; p=BBBB").unwrap();
        for name in ["../outside", "..", ".", "", "me/../../outside", "a\0b"] {
            assert!(read(&keys.join(name), name).await.is_err(), "{name}");
        }
        let name = "me._domainkey.example.org";
        assert_eq!(read(&keys.join(name), name).await.unwrap(), "v=DKIM1; p=BBBB");
    }
}
