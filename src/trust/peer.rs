//! Evidence about a client: the name of its address, and what the owner's lists say.

use super::all;
use crate::mail::address::Domain;
use crate::net::dns::Dns;
use crate::policy::peer::{ListAnswer, Listing, PeerEvidence, PeerName, helo_oddity, list_query};
use std::net::IpAddr;
use std::time::Duration;

/// Names of an address that are looked at; honest ones have one.
const NAMES: usize = 5;
/// How long all of it may take. What is not known by then could not be told; the letter does not wait for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Characters of a list's reason that are kept.
const REASON: usize = 200;

/// Looks a client up: the address's name there and back, and each of `lists`, all at the same time.
pub async fn look_at(dns: &Dns, ip: IpAddr, helo: &str, our_name: &Domain, lists: &[Domain]) -> PeerEvidence {
    let name = async {
        let found = tokio::time::timeout(PATIENCE, name_of(dns, ip)).await;
        found.unwrap_or_else(|_| PeerName::Unknown("no answer in time".into()))
    };
    let listings = all(lists.iter().map(|list| async move {
        let asked = tokio::time::timeout(PATIENCE, ask(dns, ip, list)).await;
        let answer = asked.unwrap_or_else(|_| ListAnswer::CouldNotTell("no answer in time".into()));
        Listing { list: list.clone(), answer }
    }));
    let (name, listings) = tokio::join!(name, listings);
    PeerEvidence { ip, helo: helo.to_owned(), helo_oddity: helo_oddity(helo, ip, our_name), name, listings }
}

async fn name_of(dns: &Dns, ip: IpAddr) -> PeerName {
    match dns.names_of(ip).await {
        Ok(names) => {
            let names = names.iter().filter_map(|name| Domain::parse(name).ok());
            confirm(dns, ip, &names.take(NAMES).collect::<Vec<_>>()).await
        }
        Err(fault) => PeerName::Unknown(fault.to_string()),
    }
}

/// Which of the names leads back to the address.
async fn confirm(dns: &Dns, ip: IpAddr, names: &[Domain]) -> PeerName {
    let Some(first) = names.first() else { return PeerName::Missing };
    let addresses = all(names.iter().map(|name| dns.addresses(name))).await;
    let mut fault = None;
    for (name, addresses) in names.iter().zip(addresses) {
        match addresses {
            Ok(addresses) if addresses.iter().any(|one| one.to_canonical() == ip.to_canonical()) => {
                return PeerName::Confirmed(name.clone());
            }
            Ok(_) => {}
            Err(error) => fault = Some(error.to_string()),
        }
    }
    fault.map_or_else(|| PeerName::Unconfirmed(first.clone()), PeerName::Unknown)
}

async fn ask(dns: &Dns, ip: IpAddr, list: &Domain) -> ListAnswer {
    let query = list_query(ip, list);
    match dns.ipv4(&query).await {
        Err(fault) => ListAnswer::CouldNotTell(fault.to_string()),
        Ok(codes) => match ListAnswer::from_codes(codes) {
            ListAnswer::Listed(codes, _) => ListAnswer::Listed(codes, reason(dns, &query).await),
            answer => answer,
        },
    }
}

/// The TXT record beside a listing (RFC 5782 section 2.1): for the client's administrator.
async fn reason(dns: &Dns, query: &str) -> Option<String> {
    let texts = dns.txt(query).await.ok()?;
    let text = texts.first()?;
    let plain = text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
    Some(plain.take(REASON).collect()).filter(|text: &String| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::dns::tests::{Authority, a};
    use hickory_proto::rr::RData;
    use hickory_proto::rr::rdata::TXT;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_listing_has_its_reason_and_an_error_is_none() {
        let text = |text: &str| RData::TXT(TXT::new(vec![text.to_owned()]));
        let authority = Authority::start(&[
            ("2.2.0.192.good.test.", a("127.0.0.4")),
            ("2.2.0.192.good.test.", text("see https://good.test/\u{7}192.0.2.2")),
            ("2.2.0.192.closed.test.", a("127.255.255.254")),
        ])
        .await;
        let lists = ["good.test", "closed.test", "empty.test", "list.elsewhere"].map(domain);
        let ip = "192.0.2.2".parse().unwrap();
        let peer = look_at(&authority.dns, ip, "mx.test", &domain("us.test"), &lists).await;
        let said: Vec<String> = peer.listings.iter().map(Listing::to_string).collect();
        assert_eq!(said[0], "good.test lists it (127.0.0.4): see https://good.test/?192.0.2.2");
        assert!(said[1].starts_with("closed.test could not tell"), "{said:?}");
        assert_eq!(said[2], "empty.test does not list it");
        assert!(said[3].starts_with("list.elsewhere could not tell"), "{said:?}");
        // The authority refuses names that are not its own.
        assert!(matches!(peer.name, PeerName::Unknown(_)), "{:?}", peer.name);
    }

    #[tokio::test]
    async fn a_name_counts_if_it_leads_back() {
        let authority =
            Authority::start(&[("mx.test.", a("192.0.2.1")), ("liar.test.", a("192.0.2.9"))]).await;
        let found = |names: &[&str]| {
            let names: Vec<Domain> = names.iter().map(|name| domain(name)).collect();
            let dns = authority.dns.clone();
            async move { confirm(&dns, "192.0.2.1".parse().unwrap(), &names).await }
        };
        assert_eq!(found(&["liar.test", "mx.test"]).await, PeerName::Confirmed(domain("mx.test")));
        assert_eq!(found(&["liar.test"]).await, PeerName::Unconfirmed(domain("liar.test")));
        assert_eq!(found(&[]).await, PeerName::Missing);
        assert!(matches!(found(&["mx.elsewhere"]).await, PeerName::Unknown(_)));
    }
}
