//! Which recipients of which entries somebody means.

use super::{Entry, EntryId, RecipientState};
use crate::mail::address::{Address, Domain, Host};

/// One word of a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// An entry, with all its recipients.
    Entry(EntryId),
    /// A recipient, wherever he stands.
    Recipient(Address),
    /// All recipients at a domain.
    Domain(Domain),
}

/// Recipients that are pending, by entry, address or domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// What is meant; empty: everything.
    pub words: Vec<Word>,
}

impl Selection {
    /// Reads the words that somebody typed; the error names the one that is nothing of this.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Selection, String> {
        let words = words.iter().map(|word| Word::parse(word.as_ref())).collect::<Result<_, _>>()?;
        Ok(Selection { words })
    }

    /// Whether a recipient of an entry is meant.
    pub fn covers(&self, entry: &Entry, recipient: &RecipientState) -> bool {
        let address = &recipient.recipient.address;
        self.words.is_empty() || self.words.iter().any(|word| word.covers(&entry.id, address))
    }

    /// Whether a recipient of this entry could be meant, whoever that is.
    pub fn may_cover(&self, entry: &EntryId) -> bool {
        let may = |word: &Word| !matches!(word, Word::Entry(id) if id != entry);
        self.words.is_empty() || self.words.iter().any(may)
    }
}

impl Word {
    /// Whether this recipient of this entry is meant.
    pub fn covers(&self, entry: &EntryId, recipient: &Address) -> bool {
        match self {
            Word::Entry(id) => id == entry,
            Word::Recipient(wanted) => wanted.same_as(recipient),
            Word::Domain(domain) => matches!(recipient.host(), Host::Domain(host) if host == domain),
        }
    }

    fn parse(word: &str) -> Result<Word, String> {
        if let Some(id) = EntryId::parse(word) {
            return Ok(Word::Entry(id));
        }
        let parsed = match word.contains('@') {
            true => Address::parse(word).map(Word::Recipient),
            false => Domain::parse(word).map(Word::Domain),
        };
        parsed.map_err(|error| {
            format!(
                "{word:?} is neither a queue id (20 hexadecimal digits), an address nor a domain: {error}"
            )
        })
    }
}
