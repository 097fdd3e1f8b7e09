//! What the doors of the running server really show, found out as a client would: by connecting.

use crate::certs::status::Kept;
use crate::error::{Exit, Failure};
use crate::net::session::{Opening, Session, Trouble};
use crate::net::tls::TlsClient;
use crate::net::tls::pair::Facts;
use crate::ops::trial::children::Listening;
use crate::policy::tls::Demand;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one door may take until it has shown its certificate.
const PATIENCE: Duration = Duration::from_secs(30);
/// At most so many names are asked for.
const MAX_NAMES: usize = 20;

/// What a door shows to whoever asks for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// `mx` or `submissions`.
    pub door: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// The name that was asked for (SNI).
    pub name: String,
    /// What was found.
    pub found: Found,
}

/// What was found at a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The certificate that is on disk for the name.
    Same,
    /// Another one.
    Other(Box<Facts>),
    /// No TLS, and why: a sentence about the door ("it …").
    NoTls(String),
    /// It could not be found out, and why.
    Unknown(String),
}

/// Where a server said that it listens, if one ever started on this `state_dir`. Whether it still runs is another question.
pub fn listening(state_dir: &Path) -> Option<Listening> {
    serde_json::from_slice(&std::fs::read(state_dir.join("listening.json")).ok()?).ok()
}

/// Knocks at each door that strangers can come to, once for each name that `kept` is for, and for `hostname`. `own` is what is shown in
/// the place of what cannot be used. Blocks; a door that hangs costs half a minute.
pub fn look(
    listening: &Listening,
    kept: &[Kept],
    own: &Kept,
    hostname: &str,
) -> Result<Vec<Served>, Failure> {
    let os = |error: std::io::Error| Failure::new(Exit::OsErr, error.to_string());
    let tls = TlsClient::new(None).map_err(|error| Failure::new(Exit::TempFail, error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(os)?;
    let wanted = wanted(kept, own, hostname);
    let names = names(&wanted, hostname);
    let mx = listening.mx.iter().map(|address| ("mx", *address));
    let doors = mx.chain(listening.submissions.iter().map(|address| ("submissions", *address)));
    let mut all = Vec::new();
    for (door, address) in doors {
        for name in &names {
            let shown = runtime.block_on(shown(&tls, door == "submissions", address, name));
            let found = compare(shown, &wanted, name);
            // What is so for one name is so for all.
            let over = matches!(found, Found::NoTls(_) | Found::Unknown(_));
            all.push(Served { door, address, name: name.clone(), found });
            if over {
                break;
            }
        }
    }
    Ok(all)
}

/// What ought to be shown, the default first.
fn wanted<'a>(kept: &'a [Kept], own: &'a Kept, hostname: &str) -> Vec<&'a Facts> {
    let own = own.facts.as_ref().ok();
    let one = |kept: &'a Kept| kept.facts.as_ref().ok().or(own.filter(|_| kept.has_stand_in(hostname)));
    let wanted: Vec<&Facts> = kept.iter().filter_map(one).collect();
    if wanted.is_empty() { own.into_iter().collect() } else { wanted }
}

/// The names to ask for, `hostname` first. A wildcard is asked for by a name that it covers.
fn names(wanted: &[&Facts], hostname: &str) -> Vec<String> {
    let mut names = vec![hostname.to_ascii_lowercase()];
    for name in wanted.iter().flat_map(|facts| &facts.names) {
        let name = name.strip_prefix("*.").map_or_else(|| name.clone(), |parent| format!("any.{parent}"));
        if !names.contains(&name) && names.len() < MAX_NAMES {
            names.push(name);
        }
    }
    names
}

fn compare(shown: Result<Facts, Found>, wanted: &[&Facts], name: &str) -> Found {
    let right = wanted.iter().find(|facts| facts.is_for(name)).or(wanted.first());
    match shown {
        Err(found) => found,
        Ok(shown) if right.is_some_and(|right| right.fingerprint == shown.fingerprint) => Found::Same,
        Ok(shown) => Found::Other(Box::new(shown)),
    }
}

/// The certificate that a door shows.
async fn shown(tls: &TlsClient, implicit_tls: bool, address: SocketAddr, name: &str) -> Result<Facts, Found> {
    let opening = Opening {
        helo: "localhost",
        names: &[name],
        demand: &Demand::Encrypted,
        implicit_tls,
        tls,
        login: None,
        patience: PATIENCE,
    };
    let knock = async {
        let stream = TcpStream::connect(reachable(address)).await;
        let stream = stream
            .map_err(|error| Found::Unknown(format!("no connection: {}", crate::error::plainly(&error))))?;
        let session = Session::open(stream, opening).await.map_err(fault)?;
        let facts = session.certificate().map(Facts::of);
        session.quit().await;
        match facts {
            Some(Ok(facts)) => Ok(facts),
            Some(Err(error)) => Err(Found::NoTls(error.to_string())),
            None => Err(Found::NoTls("it went on in clear".into())),
        }
    };
    let slow = || Found::Unknown(format!("no answer within {} seconds", PATIENCE.as_secs()));
    timeout(PATIENCE, knock).await.unwrap_or_else(|_| Err(slow()))
}

fn fault(trouble: Trouble) -> Found {
    match trouble {
        Trouble::NoTls(why) | Trouble::Handshake(why) => Found::NoTls(why),
        Trouble::Refused(reply) => {
            Found::Unknown(format!("it turned us away: {} {}", reply.code, reply.text))
        }
        Trouble::Deferred(why) => Found::Unknown(why),
    }
}

/// An address that can be connected to, for one that means all.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(names: &[&str]) -> Facts {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Facts::of(rcgen::generate_simple_self_signed(names).unwrap().cert.der()).unwrap()
    }

    #[test]
    fn each_name_is_asked_for_once_and_ours_first() {
        let (one, two) = (facts(&["mx.a.example", "*.b.example"]), facts(&["mx.a.example", "c.example"]));
        let asked = names(&[&one, &two], "MX.c.example");
        assert_eq!(asked, ["mx.c.example", "mx.a.example", "any.b.example", "c.example"]);
    }

    #[test]
    fn what_is_right_depends_on_the_name() {
        let (one, two) = (facts(&["a.example"]), facts(&["b.example"]));
        let found = |shown: &Facts, name| compare(Ok(shown.clone()), &[&one, &two], name);
        assert_eq!((found(&one, "a.example"), found(&two, "b.example")), (Found::Same, Found::Same));
        assert_eq!(found(&one, "elsewhere.example"), Found::Same);
        assert_eq!(found(&one, "b.example"), Found::Other(Box::new(one.clone())));
        assert!(matches!(compare(Ok(one.clone()), &[], "a.example"), Found::Other(_)));
    }

    #[test]
    fn all_addresses_are_reached_over_loopback() {
        let rows =
            [("0.0.0.0:25", "127.0.0.1:25"), ("[::]:25", "[::1]:25"), ("192.0.2.1:25", "192.0.2.1:25")];
        for (bound, to) in rows {
            assert_eq!(reachable(bound.parse().unwrap()).to_string(), to);
        }
    }
}
