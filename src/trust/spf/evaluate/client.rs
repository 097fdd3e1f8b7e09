//! The client's own names, for `ptr` and `%{p}`: asked for once in a check, and each validated once at most.

use super::{HOSTS_MAX, addresses};
use crate::trust::spf::Names;
use std::net::IpAddr;

/// What is known of the client's names.
#[derive(Default)]
pub(super) struct Client {
    /// In lower case, and whether their addresses lead back to the client; none before they were asked for.
    names: Option<Vec<(String, Option<bool>)>>,
}

/// What the question for them gave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Names, or a fault, which makes them none (section 5.5).
    Now,
    /// There are none.
    Void,
    /// It was asked before.
    Before,
}

impl Asked {
    pub fn is_void(self) -> bool {
        self == Asked::Void
    }
}

impl Client {
    pub fn is_known(&self) -> bool {
        self.names.is_some()
    }

    /// Asks for the names, the first time; all beyond ten are left aside (section 4.6.4).
    pub async fn learn(&mut self, names: &impl Names, ip: IpAddr) -> Asked {
        if self.is_known() {
            return Asked::Before;
        }
        let found = names.names_of(ip).await;
        let asked = if found.as_ref().is_ok_and(Vec::is_empty) { Asked::Void } else { Asked::Now };
        let found = found.unwrap_or_default().into_iter().take(HOSTS_MAX);
        self.names = Some(found.map(|name| (name.to_ascii_lowercase(), None)).collect());
        asked
    }

    /// A validated name that is `domain` or below it.
    pub async fn is_below(&mut self, names: &impl Names, ip: IpAddr, domain: &str) -> Option<String> {
        let domain = domain.to_ascii_lowercase();
        self.first_valid(names, ip, |name| is_at_or_below(name, &domain)).await
    }

    /// What `%{p}` stands for: the domain itself if it is a name of the client, else one below it, else any (section 7.3).
    pub async fn best_name(&mut self, names: &impl Names, ip: IpAddr, domain: &str) -> String {
        let domain = domain.to_ascii_lowercase();
        if let Some(same) = self.first_valid(names, ip, |name| name == domain).await {
            return same;
        }
        if let Some(below) = self.first_valid(names, ip, |name| is_at_or_below(name, &domain)).await {
            return below;
        }
        let any = self.first_valid(names, ip, |_| true).await;
        any.unwrap_or_else(|| "unknown".into())
    }

    async fn first_valid(
        &mut self,
        names: &impl Names,
        ip: IpAddr,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<String> {
        for (name, valid) in self.names.iter_mut().flatten().filter(|(name, _)| wanted(name)) {
            let is_valid = match *valid {
                Some(known) => known,
                // A name whose look-up fails is passed over (section 5.5).
                None => addresses(names, ip, name).await.is_ok_and(|found| found.contains(&ip)),
            };
            *valid = Some(is_valid);
            if is_valid {
                return Some(name.clone());
            }
        }
        None
    }
}

fn is_at_or_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
