//! `address`: `mkdir` with care. A first address brings `postmaster` and `abuse` with it, names that are published as
//! DKIM selectors are pointed out, and nothing is removed in which letters wait.

use super::{print, print_json, warn};
use crate::config::{self, Server};
use crate::error::{Exit, Failure};
use crate::mail::address::{Address, Domain};
use crate::net::dns::Dns;
use crate::store::StoreError;
use crate::store::admin::{ChangeError, DomainLeft, Removed};
use crate::store::list::{AddressEntry, Named};
use crate::store::tree::{Lookup, Store};
use crate::system::user;
use serde::Serialize;
use std::fmt::Write;
use std::io::ErrorKind;
use std::time::Duration;

/// What every domain must answer to (RFC 5321 section 4.5.1, RFC 2142).
const ROLES: [&str; 2] = ["postmaster", "abuse"];
/// How long DNS may take to say whether a selector is published.
const DNS_PATIENCE: Duration = Duration::from_secs(5);

/// `address add`: makes an address, or with `alias_of` another name for one.
pub fn add(config: &Server, address: &str, alias_of: Option<&str>) -> Result<(), Failure> {
    let address = parse(address)?;
    let store = open(config)?;
    let created = match alias_of {
        Some(target) => store.link(&address, &parse(target)?),
        None => store.create_address(&address),
    };
    let created = created.map_err(refused)?;
    let mut made = vec![address.clone()];
    let mut said = match alias_of {
        Some(target) => format!("{address} is another name for {target}\n"),
        None => format!("{address} exists from now on\n"),
    };
    if created.first_of_domain {
        for role in roles_beside(&address) {
            match store.link(&role, &address) {
                Ok(_) => {
                    let _ = writeln!(said, "{role} is another name for it, as every domain must have one");
                    made.push(role);
                }
                Err(error) => warn(&format!("{role}: {error}")),
            }
        }
    }
    print(&said)?;
    for published in published_selectors(&config.dns, &made) {
        published.warn(|selector, address| {
            format!(
                "{selector} is published: whoever holds its private key may now submit as {address}. If that is not \
                 you (but a newsletter service, say), `pillarbox address remove {address}`"
            )
        });
    }
    Ok(())
}

/// `address remove`: removes an address or an alias in which no letter waits.
pub fn remove(config: &Server, address: &str) -> Result<(), Failure> {
    let address = parse(address)?;
    let removed = open(config)?.remove_address(&address, &ROLES).map_err(refused)?;
    print(&farewell(&address, &removed))?;
    for published in published_selectors(&config.dns, std::slice::from_ref(&address)) {
        published.warn(|selector, _| {
            format!(
                "{selector} is still published, but is nobody's now: its key can no longer submit letters"
            )
        });
    }
    Ok(())
}

/// `address list`: the addresses of all domains, or of one.
pub fn list(config: &Server, domain: Option<&str>, json: bool) -> Result<(), Failure> {
    let wanted = domain.map(Domain::parse).transpose().map_err(|error| usage(&error))?;
    let store = open(config)?;
    let mut rows = Vec::new();
    for found in store.domains().map_err(faulty)? {
        let Ok(domain) = Domain::parse(&found.name) else { continue };
        if wanted.as_ref().is_some_and(|wanted| *wanted != domain) {
            continue;
        }
        rows.push(domain_row(&store, domain, found.alias_of)?);
    }
    if let (Some(wanted), true) = (&wanted, rows.is_empty()) {
        let text = format!("{wanted} is no domain here; `pillarbox address list` shows those that are");
        return Err(Failure::new(Exit::Unavailable, text));
    }
    if json {
        return print_json(&rows);
    }
    match table(&rows).as_str() {
        "" => print("No addresses yet; `pillarbox address add me@example.org` makes one\n"),
        text => print(text),
    }
}

/// A domain of the list.
#[derive(Debug, Serialize)]
struct DomainRow {
    domain: Domain,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias_of: Option<String>,
    /// Empty for an alias: they are those of the domain that it points to.
    addresses: Vec<AddressRow>,
}

/// An address of the list.
#[derive(Debug, Serialize)]
struct AddressRow {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias_of: Option<String>,
    /// Letters that wait to be pulled; those of an alias lie with its address, and are not counted twice.
    waiting: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    topics: Vec<AddressRow>,
}

fn domain_row(store: &Store, domain: Domain, alias_of: Option<String>) -> Result<DomainRow, Failure> {
    let mut addresses = Vec::new();
    if alias_of.is_none() {
        for AddressEntry { local, topics } in store.addresses(&domain).map_err(faulty)? {
            let mut row = address_row(store, &local.name, &domain, &local)?;
            for topic in topics {
                row.topics.push(address_row(
                    store,
                    &format!("{}/{}", local.name, topic.name),
                    &domain,
                    &topic,
                )?);
            }
            addresses.push(row);
        }
    }
    Ok(DomainRow { domain, alias_of, addresses })
}

fn address_row(store: &Store, local: &str, domain: &Domain, named: &Named) -> Result<AddressRow, Failure> {
    let address = format!("{local}@{domain}");
    let mut waiting = 0;
    if named.alias_of.is_none()
        && let Ok(parsed) = Address::parse(&address)
        && let Lookup::Found(mailbox) = store.find(&parsed).map_err(faulty)?
    {
        waiting = mailbox.waiting().map_err(faulty)?;
    }
    Ok(AddressRow { address, alias_of: named.alias_of.clone(), waiting, topics: Vec::new() })
}

fn table(rows: &[DomainRow]) -> String {
    let mut text = String::new();
    for DomainRow { domain, alias_of, addresses } in rows {
        if let Some(target) = alias_of {
            let _ = writeln!(text, "{domain} → {target}");
        }
        for row in addresses.iter().flat_map(|row| std::iter::once(row).chain(&row.topics)) {
            let waiting = match row.waiting {
                0 => String::new(),
                1 => "  1 letter waits".to_owned(),
                several => format!("  {several} letters wait"),
            };
            let target = row.alias_of.as_ref().map(|target| format!(" → {target}")).unwrap_or_default();
            let _ = writeln!(text, "{}{target}{waiting}", row.address);
        }
    }
    text
}

/// What is gone, and what that means for the domain.
fn farewell(address: &Address, removed: &Removed) -> String {
    let domain = address.domain().map(Domain::as_str).unwrap_or_default();
    let mut said = format!("{address} is gone\n");
    for role in &removed.roles {
        let _ = writeln!(said, "{role}@{domain} was another name for it, and is gone too");
    }
    let _ = match &removed.domain {
        DomainLeft::Ours => Ok(()),
        DomainLeft::Bare(why) => writeln!(
            said,
            "{domain} has no address left, but is still a domain of ours: its directory stays ({why}), and letters \
             to it are answered that there is no such address"
        ),
        DomainLeft::Gone { last } => writeln!(
            said,
            "{domain} had no other address, so its directory is gone too: it is no domain of ours any more, and \
             letters to it are refused like those to anybody else's{}",
            if *last {
                "; no domain is left, and until there is one all letters are answered 451"
            } else {
                ""
            }
        ),
    };
    said
}

/// `postmaster` and `abuse` beside the first address of a domain. A catch-all takes their letters anyway.
fn roles_beside(first: &Address) -> Vec<Address> {
    let Some(domain) = first.domain().filter(|_| first.local() != "*") else { return Vec::new() };
    let roles = ROLES.iter().filter(|role| **role != first.folded_local());
    roles.filter_map(|role| Address::parse(&format!("{role}@{domain}")).ok()).collect()
}

/// A name that DNS has, or may have, a DKIM key for.
struct Published {
    address: Address,
    selector: String,
    unsure: Option<String>,
}

impl Published {
    fn warn(&self, known: impl Fn(&str, &Address) -> String) {
        match &self.unsure {
            None => warn(&known(&self.selector, &self.address)),
            Some(why) => warn(&format!("could not find out whether {} is published: {why}", self.selector)),
        }
    }
}

/// Which of the addresses share their name with a selector in DNS. A topic and `*` own no selector.
fn published_selectors(config: &config::Dns, addresses: &[Address]) -> Vec<Published> {
    let own = addresses.iter().filter(|address| !address.local().contains(['/', '*']));
    let names = own.filter_map(|address| {
        let local = address.folded_local();
        Some((address.clone(), format!("{local}._domainkey.{}", address.domain()?)))
    });
    let names: Vec<(Address, String)> = names.filter(|(_, selector)| is_dns_name(selector)).collect();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    runtime.block_on(async {
        let mut found = Vec::new();
        for (address, selector) in names {
            match look_up(config, &selector).await {
                Ok(false) => {}
                Ok(true) => found.push(Published { address, selector, unsure: None }),
                Err(why) => found.push(Published { address, selector, unsure: Some(why) }),
            }
        }
        found
    })
}

async fn look_up(config: &config::Dns, selector: &str) -> Result<bool, String> {
    let dns = Dns::new(config).map_err(|error| error.to_string())?;
    match tokio::time::timeout(DNS_PATIENCE, dns.txt(selector)).await {
        Ok(Ok(records)) => Ok(records.iter().any(|record| record.contains("p="))),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("DNS did not answer in time".into()),
    }
}

/// Whether a local part can be (part of) a DNS name at all; `a b` or `jörg` cannot be a selector.
fn is_dns_name(name: &str) -> bool {
    let octet = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    name.len() <= 253
        && name.split('.').all(|label| (1..=63).contains(&label.len()) && label.bytes().all(octet))
}

fn open(config: &Server) -> Result<Store, Failure> {
    user::prepare_state_dir(user::find(config.user.as_deref())?.as_ref(), &config.state_dir)?;
    if let Some(exposed) = user::exposed(&config.state_dir) {
        warn(&exposed);
    }
    Store::open(&config.mail_root, &config.state_dir, &config.inbound.topic_separators).map_err(faulty)
}

fn parse(address: &str) -> Result<Address, Failure> {
    Address::parse(address).map_err(|error| usage(&error))
}

fn usage(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, error.to_string())
}

fn refused(error: ChangeError) -> Failure {
    match error {
        ChangeError::Refused(text) => Failure::new(Exit::Unavailable, text),
        ChangeError::Store(error) => faulty(error),
    }
}

fn faulty(error: StoreError) -> Failure {
    let denied =
        matches!(&error, StoreError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied);
    if denied {
        return Failure::new(Exit::NoPerm, format!("{error}; run it as root, or as the server's user"));
    }
    Failure::new(Exit::TempFail, error.to_string())
}
