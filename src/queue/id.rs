//! An entry's name.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An entry's name: time of arrival and randomness, 20 hex digits, safe as a file name. Names sort by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryId([u8; 10]);

impl EntryId {
    /// A new name for what arrived at this Unix time.
    pub(super) fn new(arrived: i64) -> std::io::Result<EntryId> {
        let mut id = [0; 10];
        let (time, random) = id.split_at_mut(4);
        time.copy_from_slice(&u32::try_from(arrived.max(0)).unwrap_or(u32::MAX).to_be_bytes());
        match rustix::rand::getrandom(&mut *random, rustix::rand::GetRandomFlags::empty())? {
            6 => Ok(EntryId(id)),
            _ => Err(std::io::Error::other("the system gave too little randomness")),
        }
    }

    /// A name that somebody typed or that stands in a directory.
    pub fn parse(text: &str) -> Option<EntryId> {
        let mut id = [0; 10];
        let mut digits = text.bytes().map(|digit| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        });
        for octet in &mut id {
            *octet = digits.next()?? << 4 | digits.next()??;
        }
        digits.next().is_none().then_some(EntryId(id))
    }

    /// Unix time of arrival, seconds.
    pub fn arrived(&self) -> i64 {
        let [a, b, c, d, ..] = self.0;
        i64::from(u32::from_be_bytes([a, b, c, d]))
    }

    /// The Maildir name of what is made from this entry, the same whenever it is made again: `R` is a copy for a
    /// directory, `B` a bounce, `W` a warning and `S` a report of success about a recipient.
    pub fn file_name(&self, kind: char, what: &str) -> String {
        let hash = digest(&SHA256, what.as_bytes());
        let hash: String = hash.as_ref().iter().take(8).map(|octet| format!("{octet:02x}")).collect();
        format!("{}.Q{self}{kind}{hash}.pillarbox", self.arrived())
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for EntryId {
    type Error = String;
    fn try_from(text: String) -> Result<EntryId, String> {
        EntryId::parse(&text).ok_or_else(|| format!("{text:?} is no name of a queue entry"))
    }
}

impl From<EntryId> for String {
    fn from(id: EntryId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_twenty_hex_digits_and_nothing_else() {
        let id = EntryId::parse("6b49d20000ffaa0102fe").unwrap();
        assert_eq!(id.to_string(), "6b49d20000ffaa0102fe");
        assert_eq!(id.arrived(), 0x6b49_d200);
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"6b49d20000ffaa0102fe\"");
        assert_eq!(serde_json::from_str::<EntryId>("\"6b49d20000ffaa0102fe\"").unwrap(), id);
        for name in
            ["..", "../corrupt", "", "6b49d200aaaaaaaaaaaA", "6b49d200aaaaaaaaaaa", "6b49d200aaaaaaaaaaaaa"]
        {
            assert!(EntryId::parse(name).is_none(), "{name}");
        }
        assert!(serde_json::from_str::<EntryId>("\"../6b49d200aaaaaaaaa\"").is_err());
    }

    #[test]
    fn names_sort_by_time() {
        let mut ids: Vec<_> = [1_900_000_000, 5, 1_800_000_000].map(|t| EntryId::new(t).unwrap()).into();
        ids.sort_unstable();
        assert_eq!(ids.iter().map(EntryId::arrived).collect::<Vec<_>>(), [5, 1_800_000_000, 1_900_000_000]);
    }
}
