//! Names of domains, addresses and topics, before anything is looked for.

use unicode_normalization::UnicodeNormalization;

/// The names that a Maildir keeps for itself.
pub(super) const MAILDIR: [&str; 3] = ["tmp", "new", "cur"];

/// The catch-all's name.
pub(super) const CATCH_ALL: &str = "*";

/// How the hidden name of a directory begins that is being removed.
pub(super) const REMOVED: &str = ".removed-";

/// Longest name of a directory entry on Linux, in octets.
const LONGEST: usize = 255;

/// One checked and folded component of a path: it cannot leave its directory, cannot be hidden and cannot be a part of
/// a Maildir.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Component(String);

impl Component {
    /// Folds `text` and checks it; `None` if no directory of ours can have that name.
    pub(super) fn parse(text: &str) -> Option<Component> {
        let name = fold(text);
        let harmless = !name.is_empty()
            && name.len() <= LONGEST
            && !name.starts_with('.')
            && !name.contains('/')
            && !name.contains(char::is_control)
            && !MAILDIR.contains(&name.as_str());
        harmless.then_some(Component(name))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Folds ASCII case and composes (NFC). Folding can make a letter composable that was not (`H` with a macron below has
/// no composed form, `h` has one), so it composes again afterwards: the form on the disk is always NFC.
pub(super) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let folded = text.nfc().collect::<String>().to_ascii_lowercase();
    folded.nfc().collect()
}

/// Whether a directory of this name below MAIL_ROOT can be a domain: `lost+found` cannot.
pub(super) fn is_domain(name: &str) -> bool {
    Component::parse(name).is_some_and(|it| it.as_str() == name)
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-._".contains(&octet))
}

/// What a local part may stand for, most literal first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Readings {
    /// The whole local part as an address.
    pub literal: Option<Component>,
    /// The part before the first separator as an address, the part after it as its topic, if it can be one.
    pub topic: Option<(Component, Option<Component>)>,
}

impl Readings {
    /// Both readings of a local part; `None` if no directory can stand for it.
    pub(super) fn of(local: &str, separators: &str) -> Option<Readings> {
        let literal = Component::parse(local);
        let topic = local
            .split_once(|it| separators.contains(it))
            .and_then(|(address, topic)| Some((Component::parse(address)?, Component::parse(topic))));
        let possible = literal.is_some() || matches!(topic, Some((_, Some(_))));
        possible.then_some(Readings { literal, topic })
    }
}

#[cfg(test)]
mod tests;
