//! `cert status`: what is kept, until when, and what is really served.

use super::served::{self, Found, Served};
use crate::certs::status::{self, Kept, Origin};
use crate::certs::words;
use crate::config::Server;
use crate::error::{Exit, Failure};
use crate::mail::address::Domain;
use crate::mail::date::ahead;
use crate::net::tls::pair::Facts;
use crate::net::waiting::words as printable;
use crate::ops::{become_owner, print, print_json};
use crate::server::control::ask;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// `cert status`. Fails with 69 where something is wrong, and with 75 where it could not be found out.
pub fn status(config: &Server, json: bool) -> Result<(), Failure> {
    become_owner(config)?;
    let name = Domain::parse(&config.hostname)
        .map_err(|error| Failure::new(Exit::Config, format!("hostname {:?}: {error}", config.hostname)))?;
    let now = jiff::Timestamp::now().as_second();
    let (kept, own) = (status::kept(config, &name)?, status::own(config));
    let (served, unknown) = match knock(config, &kept, &own) {
        Ok(served) => (served, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let report = Report::of(&config.hostname, &kept, &served, unknown, now);
    match json {
        true => print_json(&report)?,
        false => print(&report.text(now))?,
    }
    report.verdict()
}

/// What is served; or why nobody knows.
fn knock(config: &Server, kept: &[Kept], own: &Kept) -> Result<Vec<Served>, String> {
    match ask::destinations(&config.state_dir) {
        Ok(Some(_)) => {}
        Ok(None) => return Err("no server runs, so nothing is served".into()),
        Err(failure) => return Err(failure.to_string()),
    }
    let listening = served::listening(&config.state_dir);
    let listening =
        listening.ok_or("where the server listens is not known: it is starting, try again in a moment")?;
    served::look(&listening, kept, own, &config.hostname).map_err(|failure| failure.to_string())
}

/// All of it, as `--json` prints it. Times are Unix seconds.
#[derive(Serialize)]
struct Report {
    certificates: Vec<Certificate>,
    served: Vec<Door>,
    /// What is wrong, in sentences.
    wrong: Vec<String>,
    /// What could not be found out, in sentences.
    unknown: Vec<String>,
    ok: bool,
}

#[derive(Serialize)]
struct Certificate {
    #[serde(flatten)]
    origin: Source,
    #[serde(flatten)]
    facts: Option<Shown>,
    /// Why it cannot be used.
    fault: Option<String>,
    /// When it is renewed here; null where somebody else does it.
    next: Option<i64>,
    /// Why the last renewal failed.
    trouble: Option<String>,
}

#[derive(Serialize)]
#[serde(tag = "source", rename_all = "snake_case")]
enum Source {
    SelfSigned { cert: PathBuf },
    Files { cert: PathBuf, key: PathBuf },
    Acme { directory: String, name: String },
}

#[derive(Serialize)]
struct Shown {
    names: Vec<String>,
    issuer: String,
    not_before: i64,
    not_after: i64,
    days_left: i64,
    /// SHA-256 of the certificate.
    fingerprint: String,
    /// Records to publish, one for each name that may be an MX host's.
    tlsa: Vec<String>,
    #[serde(skip)]
    life: String,
}

#[derive(Serialize)]
struct Door {
    door: &'static str,
    address: String,
    name: String,
    /// `same`, `other`, `no_tls` or `unknown`.
    found: &'static str,
    /// What else is shown, or why nothing is.
    said: Option<String>,
}

impl Report {
    fn of(hostname: &str, kept: &[Kept], served: &[Served], unknown: Option<String>, now: i64) -> Report {
        let certificates = kept.iter().map(|kept| Certificate::of(kept, hostname, now)).collect();
        let served: Vec<Door> = served.iter().map(|served| Door::of(served, now)).collect();
        let mut wrong: Vec<String> = kept.iter().filter_map(|kept| flaw(kept, now)).collect();
        let mut unknown: Vec<String> = unknown.into_iter().collect();
        for door in &served {
            match door.found {
                "same" => {}
                "unknown" => unknown.push(door.line()),
                _ => wrong.push(door.line()),
            }
        }
        let ok = wrong.is_empty() && unknown.is_empty();
        Report { certificates, served, wrong, unknown, ok }
    }

    fn text(&self, now: i64) -> String {
        let mut text = String::new();
        for certificate in &self.certificates {
            certificate.write(&mut text, now);
            text.push('\n');
        }
        let mut doors: BTreeMap<(&str, &str), Vec<&Door>> = BTreeMap::new();
        for door in &self.served {
            doors.entry((door.door, &door.address)).or_default().push(door);
        }
        for ((name, address), found) in doors {
            // Writing to a String never fails.
            let _ = match found.iter().all(|door| door.found == "same") {
                true => writeln!(text, "{name} {address} shows what is on disk, whichever name is asked for"),
                false => found.iter().try_for_each(|door| writeln!(text, "{}", door.line())),
            };
        }
        if self.served.is_empty() {
            self.unknown.iter().for_each(|why| text += &format!("{why}\n"));
        }
        text
    }

    fn verdict(&self) -> Result<(), Failure> {
        let (exit, said) = match (self.wrong.is_empty(), self.unknown.is_empty()) {
            (true, true) => return Ok(()),
            (true, false) => (Exit::TempFail, &self.unknown),
            (false, _) => (Exit::Unavailable, &self.wrong),
        };
        let said: Vec<String> = said.iter().map(|line| printable(line)).collect();
        Err(Failure::new(exit, said.join("; ")))
    }
}

/// What is wrong with what is on disk.
fn flaw(kept: &Kept, now: i64) -> Option<String> {
    match &kept.facts {
        Err(why) => Some(why.clone()),
        Ok(facts) if kept.is_late(now) => {
            let (names, life) = (words::names(&facts.names), words::life(facts, now));
            Some(format!("the certificate for {names} is not renewed: {life}; the log says why"))
        }
        Ok(facts) if (facts.not_before..=facts.not_after).contains(&now) => None,
        Ok(facts) => {
            Some(format!("the certificate for {}: {}", words::names(&facts.names), words::life(facts, now)))
        }
    }
}

impl Certificate {
    fn of(kept: &Kept, hostname: &str, now: i64) -> Certificate {
        let origin = match kept.origin.clone() {
            Origin::Own(cert) => Source::SelfSigned { cert },
            Origin::Files(paths) => Source::Files { cert: paths.cert, key: paths.key },
            Origin::Authority { directory, name } => Source::Acme { directory, name },
        };
        let facts = kept.facts.as_ref().ok().map(|facts| Shown {
            names: facts.names.clone(),
            issuer: facts.issuer.clone(),
            not_before: facts.not_before,
            not_after: facts.not_after,
            days_left: (facts.not_after - now).div_euclid(24 * 3600),
            fingerprint: words::hex(&facts.fingerprint),
            tlsa: tlsa(facts, hostname),
            life: words::life(facts, now),
        });
        let (fault, trouble) = (kept.facts.as_ref().err().cloned(), kept.trouble.clone());
        Certificate { origin, facts, fault, next: kept.next, trouble }
    }

    fn write(&self, text: &mut String, now: i64) {
        let mut line = |name: &str, value: &str| {
            // Writing to a String never fails.
            let _ = writeln!(text, "  {name:<8} {}", printable(value));
        };
        match (&self.facts, &self.origin) {
            (Some(facts), _) => line("for", &words::names(&facts.names)),
            (None, Source::Acme { name, .. }) => line("for", name),
            (None, _) => line("for", "nobody, as it is"),
        }
        match &self.origin {
            Source::SelfSigned { cert } => {
                line("from", &format!("{}, made here: nobody else vouches for it", cert.display()))
            }
            Source::Files { cert, key } => {
                line("from", &format!("{}, key {}", cert.display(), key.display()))
            }
            Source::Acme { directory, .. } => line("from", directory),
        }
        if let Some(facts) = &self.facts {
            line("issuer", &facts.issuer);
            line("life", &facts.life);
            facts.tlsa.iter().for_each(|record| line("TLSA", record));
        }
        if let Some(next) = self.next {
            line("renewal", &format!("{} ({})", ahead(next - now), words::local(next)));
        }
        for (name, why) in [("fault", &self.fault), ("trouble", &self.trouble)] {
            if let Some(why) = why {
                line(name, why);
            }
        }
    }
}

/// Where the certificate is for our own name, that is the MX host; else any of its names may be.
fn tlsa(facts: &Facts, hostname: &str) -> Vec<String> {
    if facts.is_for(hostname) {
        return vec![words::tlsa(&hostname.to_ascii_lowercase(), &facts.key)];
    }
    let names = facts.names.iter().filter(|name| !name.starts_with("*."));
    names.map(|name| words::tlsa(name, &facts.key)).collect()
}

impl Door {
    fn of(served: &Served, now: i64) -> Door {
        let (found, said) = match &served.found {
            Found::Same => ("same", None),
            Found::Other(facts) => {
                let (names, life) = (words::names(&facts.names), words::life(facts, now));
                ("other", Some(format!("for {names}, by {}, {life}", facts.issuer)))
            }
            Found::NoTls(why) => ("no_tls", Some(why.clone())),
            Found::Unknown(why) => ("unknown", Some(why.clone())),
        };
        let (door, address, name) = (served.door, served.address.to_string(), served.name.clone());
        Door { door, address, name, found, said }
    }

    fn line(&self) -> String {
        let Door { door, address, name, found, said } = self;
        let said = printable(said.as_deref().unwrap_or_default());
        match *found {
            "same" => format!("{door} {address}, asked for {name}, shows what is on disk"),
            "other" => format!(
                "{door} {address}, asked for {name}, does not show what is on disk but one {said}; `pillarbox cert renew` has the \
                 server look again, and says why"
            ),
            "no_tls" => format!("{door} {address} has no TLS: {said}"),
            _ => format!("{door} {address}: {said}"),
        }
    }
}

#[cfg(test)]
mod tests;
