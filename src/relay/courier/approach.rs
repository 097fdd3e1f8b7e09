//! From a host's name to an open connection that is protected as it must be.

use super::{Courier, login, words};
use crate::config::TlsLevel;
use crate::mail::address::{Domain, Host};
use crate::mail::dsn::Diagnosis;
use crate::net::dial::dial;
use crate::net::dns::Located;
use crate::net::session::{Login, Opening, Protection, Session, Trouble};
use crate::net::tls::Identity;
use crate::policy::tls::{self, Dane, Demand, Sts};
use crate::relay::plan::Plan;
use crate::relay::rules::Via;
use crate::relay::{Parts, route};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// The longest wait for a reply (RFC 5321 section 4.5.3.2.6).
const PATIENCE: Duration = Duration::from_secs(600);

/// A host, and what a connection to it must be.
pub(super) struct Approach<'a> {
    parts: &'a Parts,
    plan: &'a Plan,
    host: &'a Host,
    addresses: Vec<IpAddr>,
    /// What its certificate may name; the first one is its SNI.
    names: Vec<String>,
    sts: Sts,
    demand: Demand,
    login: Option<Login>,
}

/// Why a server cannot be spoken to.
pub(super) enum Closed {
    /// It refuses us for good.
    Refused(Diagnosis),
    /// It may be different another time; which server, and why.
    Later(String),
}

impl<'a> Approach<'a> {
    /// Where the host is, and what it must show; an error is why it cannot be used for now.
    pub(super) async fn find(
        parts: &'a Parts,
        plan: &'a Plan,
        host: &'a Host,
    ) -> Result<Approach<'a>, String> {
        let say = |why: String| format!("{host}: {why}");
        let located = match host {
            Host::Literal(ip) => {
                Located { addresses: vec![*ip], secure: false, own_secure: false, alias: None }
            }
            Host::Domain(name) => parts.dns.locate(name).await.map_err(|error| say(error.to_string()))?,
        };
        let (base, dane) = dane(parts, plan, host, &located).await.map_err(say)?;
        let names = names(host, base);
        // The owner named his relay himself, wherever it stands.
        let private = parts.config.allow_private || plan.via.is_some();
        let addresses = route::to_be_tried(located.addresses, private).map_err(say)?;
        let sts = plan.sts(host);
        let demand = tls::demand(plan.level, dane, sts).map_err(say)?;
        let login = match plan.via {
            Some(_) => login::read(&parts.config).await.inspect_err(|why| {
                tracing::error!(why, "there is no password for relay.via; nothing leaves until there is");
            })?,
            None => None,
        };
        let demand = match demand {
            // A password goes only to who is certainly meant.
            _ if login.is_some() => Demand::Verified,
            Demand::Clear | Demand::Opportunistic if implicit_tls(plan) => Demand::Encrypted,
            demand => demand,
        };
        Ok(Approach { parts, plan, host, addresses, names, sts, demand, login })
    }

    /// The addresses to be tried, in order.
    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// A connection to one of the addresses.
    pub(super) async fn open(&self, ip: IpAddr) -> Result<Courier, Closed> {
        let (opened, unasked) = match self.connect(ip, &self.demand).await {
            Err(Trouble::Handshake(why) | Trouble::NoTls(why)) if self.demand == Demand::Opportunistic => {
                // Who may speak in clear may do so all the more where TLS is broken (RFC 7435).
                (self.connect(ip, &Demand::Clear).await, Some(format!("TLS failed: {why}")))
            }
            opened => (opened, (self.demand == Demand::Clear).then(|| "relay.tls is off".to_owned())),
        };
        let session = opened.map_err(|trouble| self.closed(ip, trouble))?;
        self.test(ip, session.protection());
        let tls = words::protection(session.protection(), unasked.as_deref());
        let via = self.plan.via.is_some();
        Ok(Courier { session, host: self.host.clone(), ip, tls, via })
    }

    async fn connect(&self, ip: IpAddr, demand: &Demand) -> Result<Session, Trouble> {
        let config = &self.parts.config;
        let peer = SocketAddr::new(ip, self.plan.port);
        let private = config.allow_private || self.plan.via.is_some();
        let stream = dial(peer, &config.source, private, CONNECT).await.map_err(Trouble::Deferred)?;
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let opening = Opening {
            helo: &self.parts.hostname,
            names: &names,
            demand,
            implicit_tls: implicit_tls(self.plan),
            tls: &self.parts.tls,
            login: self.login.as_ref(),
            patience: PATIENCE,
        };
        Session::open(stream, opening).await
    }

    fn closed(&self, ip: IpAddr, trouble: Trouble) -> Closed {
        let place = words::place(self.host, ip);
        let later = |why: String| Closed::Later(words::at(&place, self.host, &why));
        match trouble {
            Trouble::Refused(reply) if self.plan.via.is_none() => {
                Closed::Refused(words::refused(&reply, self.host))
            }
            // What the owner's own relay has against us is between the two of them: no letter's fault.
            Trouble::Refused(reply) => {
                tracing::error!(%place, %reply, "relay.via refuses us; mend that, or relay.user and its password");
                Closed::Later(format!("{place}, which is relay.via, refuses us: {reply}"))
            }
            Trouble::Deferred(why) => later(why),
            Trouble::NoTls(why) | Trouble::Handshake(why) => later(format!("{why} ({})", self.demanded())),
        }
    }

    /// What is demanded, and by whom.
    fn demanded(&self) -> &'static str {
        match (&self.demand, self.sts) {
            (Demand::Clear | Demand::Opportunistic, _) => "TLS is not demanded",
            (Demand::Dane(_), _) => "its TLSA records demand a certificate that one of them matches (DANE)",
            (Demand::Encrypted, _) if implicit_tls(self.plan) => "port 465 of relay.via means TLS",
            (Demand::Encrypted, _) => "its TLSA records demand TLS, though we can use none of them (DANE)",
            (Demand::Verified, _) if self.login.is_some() => {
                "a password goes only to a server with a right certificate"
            }
            (Demand::Verified, Sts::Enforce { .. }) => {
                "the domain's MTA-STS policy demands a right certificate"
            }
            (Demand::Verified, _) => "relay.tls = \"require\" demands a right certificate",
        }
    }

    /// A policy that is only tested changes nothing; what it would have refused is told (RFC 8461 section 5).
    fn test(&self, ip: IpAddr, protection: &Protection) {
        let Sts::Testing { named } = self.sts else { return };
        let found = match protection {
            _ if !named => "it does not name this host",
            Protection::Clear(_) => "there is no TLS",
            Protection::Tls(secured) => match &secured.identity {
                Identity::Unverified(why) => why,
                Identity::Verified | Identity::Dane(_) => return,
            },
        };
        let place = words::place(self.host, ip);
        tracing::warn!(%place, found, "the domain's MTA-STS policy, were it enforced, would refuse this server");
    }
}

fn implicit_tls(plan: &Plan) -> bool {
    plan.via.as_ref().is_some_and(Via::has_implicit_tls)
}

/// The name that the TLSA records stand at comes first (RFC 7672 section 3.2.3 has it in SNI).
fn names(host: &Host, base: Option<&Domain>) -> Vec<String> {
    let own = match host {
        Host::Domain(name) => name.to_string(),
        Host::Literal(ip) => ip.to_string(),
    };
    let base = base.map(Domain::to_string).filter(|base| *base != own);
    base.into_iter().chain([own]).collect()
}

/// What DNSSEC says of the host's TLSA records, and at which name they stand. They are asked for only where the way to
/// the host is secure (RFC 7672 section 2.2): first those of the name that secure aliases lead to, then its own, which
/// count even where an alias leads to what is not secure. An error
/// is no answer: whoever can suppress one must not get the letter by that.
async fn dane<'a>(
    parts: &Parts,
    plan: &Plan,
    host: &'a Host,
    located: &'a Located,
) -> Result<(Option<&'a Domain>, Dane), String> {
    let Host::Domain(name) = host else { return Ok((None, Dane::Absent)) };
    if !plan.secure || !located.own_secure || plan.level == TlsLevel::Off {
        return Ok((None, Dane::Absent));
    }
    for name in located.alias.iter().chain([name]) {
        let known = parts.dns.tlsa(name, plan.port).await.map_err(|error| {
            format!(
                "what its TLSA records demand (DANE) cannot be found out, so it gets nothing now: {error}"
            )
        })?;
        let dane = tls::dane_of(known.value, known.secure);
        if dane != Dane::Absent {
            return Ok((Some(name), dane));
        }
    }
    Ok((None, Dane::Absent))
}
