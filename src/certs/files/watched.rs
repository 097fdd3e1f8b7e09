//! A pair of files over time: when it is looked at, and whether what it holds now is better than what is shown.

use super::reading::{Paths, Reading, Stamp};
use crate::certs::orders::Outcome;
use crate::certs::words;
use crate::net::tls::pair::{Facts, Pair};

/// A pair near its end, or past it, is spoken of so often, in seconds.
const DAILY: i64 = 24 * 3600;
/// When this much of its life is left nobody seems to renew it: certbot does at a third.
const NEAR_END: i64 = 14 * 24 * 3600;

/// A pair of files and what is shown of it.
#[derive(Debug)]
pub(super) struct Watched {
    files: Paths,
    /// What is shown: the last pair that was taken, or one of our own in its place.
    shown: Pair,
    stands_in: bool,
    /// What the last look found, and whether two looks in succession read it.
    seen: Option<(Stamp, bool)>,
    /// Why the last one that was read is not shown, and its content.
    refused: Option<(String, [u8; 32])>,
    /// The content that was complained about last.
    told: Option<[u8; 32]>,
    /// When its age was spoken of last.
    warned: Option<i64>,
}

/// What there is to say after a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Another pair is shown.
    Taken(Box<Facts>),
    /// What is there is not shown, for this reason.
    Refused(String),
}

/// How near its end the pair is that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Old,
    Expired,
}

impl Watched {
    /// Not looked at yet; `own` is shown meanwhile.
    pub(super) fn new(files: Paths, own: Pair) -> Watched {
        Watched { files, shown: own, stands_in: true, seen: None, refused: None, told: None, warned: None }
    }

    /// Looks whether something changed, and takes what is better. What is wrong for one look only is not spoken of: certbot
    /// replaces one link after the other. `hasty`: it is, and all is read whether it changed or not. Blocks.
    pub(super) fn look(&mut self, now: i64, hasty: bool) -> Option<News> {
        let stamp = self.files.stamp();
        // Read twice: a file may be written again within the moment that its times can tell. What was refused is read each
        // time, since a pair that was not valid yet becomes so by itself.
        let same = self.seen.as_ref().is_some_and(|(seen, _)| *seen == stamp);
        let settled = same && matches!(self.seen, Some((_, true))) && self.refused.is_none();
        if settled && !hasty {
            return None;
        }
        self.seen = Some((stamp, same));
        let Reading { content, pair } = self.files.look();
        let found = pair.and_then(|pair| match self.worse(&pair, now) {
            None => Ok(pair),
            Some(why) => Err(format!("{}: {why}", self.files.cert.display())),
        });
        match found {
            Ok(pair) => self.take(pair),
            Err(why) => self.refuse(why, content, hasty),
        }
    }

    fn take(&mut self, pair: Pair) -> Option<News> {
        (self.refused, self.told) = (None, None);
        let same = !self.stands_in && pair.facts.fingerprint == self.shown.facts.fingerprint;
        (self.shown, self.stands_in) = (pair, false);
        if same {
            return None;
        }
        self.warned = None;
        Some(News::Taken(Box::new(self.shown.facts.clone())))
    }

    fn refuse(&mut self, why: String, content: [u8; 32], hasty: bool) -> Option<News> {
        let before = self.refused.replace((why.clone(), content));
        let lasts = before.is_some_and(|(_, before)| before == content);
        if (!lasts && !hasty) || self.told == Some(content) {
            return None;
        }
        self.told = Some(content);
        Some(News::Refused(why))
    }

    /// Why a pair that is whole is less than what is shown. Anything of the owner's is more than our own.
    fn worse(&self, pair: &Pair, now: i64) -> Option<String> {
        let (old, new) = (&self.shown.facts, &pair.facts);
        if self.stands_in || old.fingerprint == new.fingerprint {
            return None;
        }
        let valid = |facts: &Facts| (facts.not_before..=facts.not_after).contains(&now);
        if valid(old) && now > new.not_after {
            return Some(format!(
                "it expired {}, the old one did not; renew it",
                words::local(new.not_after)
            ));
        }
        if valid(old) && now < new.not_before {
            let begin = words::local(new.not_before);
            return Some(format!(
                "it is not valid before {begin}; it is taken then (or is our clock wrong?)"
            ));
        }
        let common =
            old.names.iter().any(|name| new.is_for(name)) || new.names.iter().any(|name| old.is_for(name));
        (!common && !old.names.is_empty()).then(|| {
            let (old, new) = (words::names(&old.names), words::names(&new.names));
            format!("it is for {new}, the old one is for {old}; restart the server if that is meant")
        })
    }

    /// Whether its age is to be spoken of now, and how.
    pub(super) fn age(&mut self, now: i64) -> Option<Age> {
        if self.stands_in {
            return None;
        }
        let age = age(&self.shown.facts, now)?;
        if self.warned.is_some_and(|warned| (0..DAILY).contains(&(now - warned))) {
            return None;
        }
        self.warned = Some(now);
        Some(age)
    }

    /// What is shown.
    pub(super) fn shown(&self) -> &Pair {
        &self.shown
    }

    /// Whether that is our own, in the place of what could not be used.
    pub(super) fn stands_in(&self) -> bool {
        self.stands_in
    }

    /// Where it is from.
    pub(super) fn files(&self) -> &Paths {
        &self.files
    }

    /// What is shown, in words.
    pub(super) fn meanwhile(&self) -> String {
        match self.stands_in {
            true => "our own certificate, which nobody vouches for".into(),
            false => format!("the old one, valid until {}", words::local(self.shown.facts.not_after)),
        }
    }

    /// What came of an order, which has just been carried out by a look.
    pub(super) fn outcome(&self, now: i64, news: Option<&News>) -> Outcome {
        let (good, said) = match (&self.refused, news) {
            (Some((why, _)), _) => (false, format!("{why}; shown meanwhile: {}", self.meanwhile())),
            (None, news) => {
                let facts = &self.shown.facts;
                let what =
                    if news.is_some() { "read, and shown from now on" } else { "shown as it is in the file" };
                let life = words::life(facts, now);
                (age(facts, now) != Some(Age::Expired), format!("{what}; {life}"))
            }
        };
        Outcome { what: self.files.cert.display().to_string(), good, said }
    }
}

/// How near its end a pair is. What is valid for a week only is not old before its last third.
fn age(facts: &Facts, now: i64) -> Option<Age> {
    let third = facts.not_after.saturating_sub(facts.not_before) / 3;
    match facts.not_after.saturating_sub(now) {
        ..0 => Some(Age::Expired),
        left if left < third.min(NEAR_END) => Some(Age::Old),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
