//! What a session is confined to.

use crate::error::{Exit, Failure};
use crate::mail::address::{Address, Domain};

/// Domains and addresses that a session may see; none: it is not confined.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    names: Vec<Name>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(in crate::gate) enum Name {
    Domain(Domain),
    Address(Address),
}

impl Allowed {
    /// Reads the words of a forced command, or those of home's request.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Allowed, Failure> {
        let names = words.iter().map(|word| Name::parse(word.as_ref())).collect::<Result<_, _>>()?;
        Ok(Allowed { names })
    }

    /// Whether nothing confines the session.
    pub fn everything(&self) -> bool {
        self.names.is_empty()
    }

    pub(in crate::gate) fn names(&self) -> &[Name] {
        &self.names
    }

    /// The names as the server's door wants them.
    pub fn to_strings(&self) -> Vec<String> {
        self.names.iter().map(Name::to_string).collect()
    }
}

impl Name {
    fn parse(word: &str) -> Result<Name, Failure> {
        let parsed = match word.contains('@') {
            true => Address::parse(word).map(Name::Address),
            false => Domain::parse(word).map(Name::Domain),
        };
        parsed.map_err(|error| {
            Failure::new(Exit::Usage, format!("gate: {word:?} is neither a domain nor an address: {error}"))
        })
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Name::Domain(domain) => domain.fmt(f),
            Name::Address(address) => address.fmt(f),
        }
    }
}
