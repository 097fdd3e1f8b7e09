//! Names: the one wrapper around the resolver.

use crate::config;
use crate::mail::address::Domain;
use crate::policy::tls::Tlsa;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as WireError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use oracle::{Oracle, Said};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

mod anchors;
mod delegation;
mod name;
mod oracle;
mod proofs;
mod records;
mod upstream;
mod validator;

#[cfg(test)]
pub(crate) mod tests;

/// No answer, positive or negative, is believed for longer, whatever its TTL: a key that was withdrawn is soon gone.
const MAX_TTL: Duration = Duration::from_secs(300);
/// How long one try may take; there are two.
const TRY: Duration = Duration::from_secs(5);

/// Questions that one stranger may have on their way at once. Each takes a socket until it is answered, and who answers is the
/// stranger's own name server.
const AT_ONCE: usize = 4;

/// How many answers are kept: enough for the few who write to us within five minutes.
const CACHED: u64 = 64;

/// Why DNS gave no answer. Always temporary; "there is no such thing" is an answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("DNS: {0}")]
pub struct DnsError(pub String);

/// One MX record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mx {
    /// The preference; lower comes first.
    pub preference: u16,
    /// The host.
    pub host: Domain,
}

/// What DNS says of a domain as a place that mail goes to (RFC 5321 section 5.1, RFC 7505).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailHosts {
    /// MX records, sorted by preference; never empty.
    Mx(Vec<Mx>),
    /// No MX, but an A or AAAA of the domain itself.
    Implicit,
    /// `MX 0 .`: takes no mail.
    NullMx,
    /// The domain does not exist.
    NoDomain,
    /// The domain exists, with no MX, A or AAAA, or with MX records of which none holds a host name.
    NoHosts,
}

/// An answer, and whether DNSSEC vouches for it (and for every CNAME on the way).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known<T> {
    /// The answer.
    pub value: T,
    /// Whether it is secure in the sense of RFC 4035 section 4.3; what is not is insecure, never bogus.
    pub secure: bool,
}

/// A host's addresses, for a connection that DANE may protect (RFC 7672 section 2.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// A and AAAA, in the order in which they are to be tried.
    pub addresses: Vec<IpAddr>,
    /// Whether all of it is secure.
    pub secure: bool,
    /// Whether the host's own zone is, though an alias in it may lead to where nothing is: then the host's own name is
    /// what TLSA records are asked for.
    pub own_secure: bool,
    /// Where secure CNAMEs led to, if there were any: the first name to ask for TLSA records.
    pub alias: Option<Domain>,
}

/// A resolver; cheap to clone. Answers are cached for five minutes at most.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
    oracle: Arc<Oracle>,
    /// What a question has to wait for; none: it need not.
    turns: Option<Arc<Semaphore>>,
}

impl Dns {
    /// A resolver with the configured servers, or those of the system.
    pub fn new(config: &config::Dns) -> Result<Dns, DnsError> {
        let (resolvers, options) = if config.servers.is_empty() {
            read_system_conf().map_err(|error| {
                DnsError(format!("/etc/resolv.conf cannot be used ({error}); correct it or set dns.servers"))
            })?
        } else {
            (servers_config(&config.servers), ResolverOpts::default())
        };
        let oracle = Arc::new(Oracle::new(config, addresses_of(&resolvers))?);
        let mut builder = TokioResolver::builder_with_config(resolvers, TokioRuntimeProvider::default())
            .with_options(options);
        tune(builder.options_mut());
        let resolver = builder.build().map_err(|error| DnsError(format!("no resolver: {error}")))?;
        Ok(Dns { resolver, oracle, turns: None })
    }

    /// The same resolver, cache included, for what one stranger makes us ask: four questions at a time, in whatever clones
    /// of it. They wait for each other, and for nobody else's.
    pub fn for_a_stranger(&self) -> Dns {
        Dns { turns: Some(Arc::new(Semaphore::new(AT_ONCE))), ..self.clone() }
    }

    /// Where a domain's mail goes.
    pub async fn mail_hosts(&self, domain: &Domain) -> Result<MailHosts, DnsError> {
        let answer = self.ask(domain.as_str(), RecordType::MX).await?;
        Ok(match sort_mx(answer) {
            Some(hosts) => hosts,
            None if self.addresses(domain).await?.is_empty() => MailHosts::NoHosts,
            None => MailHosts::Implicit,
        })
    }

    /// A and AAAA of a host; empty where there are none. IPv4 comes first: an IPv6 address without a PTR is what
    /// most receivers refuse a small sender for.
    pub async fn addresses(&self, host: &Domain) -> Result<Vec<IpAddr>, DnsError> {
        let (v4, v6) =
            tokio::join!(self.ask(host.as_str(), RecordType::A), self.ask(host.as_str(), RecordType::AAAA));
        let found: Vec<IpAddr> = [&v4, &v6]
            .into_iter()
            .filter_map(|answer| answer.as_ref().ok())
            .flat_map(Answer::records)
            .filter_map(RData::ip_addr)
            .collect();
        // One family's fault does not hide what the other one found, but it does keep "there is none" from being said.
        if found.is_empty() {
            v4?;
            v6?;
        }
        Ok(found)
    }

    /// Sees whether DNSSEC arrives here, which goes into the log, before the first letter depends on it.
    pub async fn see_dnssec(&self) {
        let _ = self.oracle.vouches().await;
    }

    /// Where a domain's mail goes, with what DNSSEC says of it. A bogus answer is an error whose text says what to do.
    pub async fn route(&self, domain: &Domain) -> Result<Known<MailHosts>, DnsError> {
        let Said { answer, mut secure, .. } = self.vouched(domain.as_str(), RecordType::MX).await?;
        let value = match sort_mx(answer) {
            Some(hosts) => hosts,
            None => {
                let own = self.locate(domain).await?;
                secure &= own.secure;
                if own.addresses.is_empty() { MailHosts::NoHosts } else { MailHosts::Implicit }
            }
        };
        Ok(Known { value, secure })
    }

    /// A and AAAA of a host, with what DNSSEC says of them; empty where there are none.
    pub async fn locate(&self, host: &Domain) -> Result<Located, DnsError> {
        let ask = |kind| self.vouched(host.as_str(), kind);
        let (v4, v6) = tokio::join!(ask(RecordType::A), ask(RecordType::AAAA));
        let found = |said: &&Said| !said.answer.records().is_empty();
        let mut said: Vec<&Said> = [&v4, &v6].into_iter().flatten().filter(found).collect();
        // As in `addresses`: what one family found counts, whatever became of the other.
        if said.is_empty() {
            said = vec![v4.as_ref().map_err(Clone::clone)?, v6.as_ref().map_err(Clone::clone)?];
        }
        let secure = said.iter().all(|said| said.secure);
        let alias = said.iter().find_map(|said| said.alias.as_ref()).filter(|_| secure);
        let records = said.iter().flat_map(|said| said.answer.records());
        Ok(Located {
            addresses: records.filter_map(RData::ip_addr).collect(),
            secure,
            own_secure: said.iter().all(|said| said.own_secure),
            alias: alias.and_then(host_name),
        })
    }

    /// TLSA records of a host's port, `_25._tcp.host`; empty where there are none. Secure and empty is a secure denial.
    pub async fn tlsa(&self, host: &Domain, port: u16) -> Result<Known<Vec<Tlsa>>, DnsError> {
        let said = self.vouched(&format!("_{port}._tcp.{host}"), RecordType::TLSA).await?;
        let records = said.answer.records().iter().filter_map(|data| match data {
            RData::TLSA(tlsa) => Some(Tlsa {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            }),
            _ => None,
        });
        Ok(Known { value: records.collect(), secure: said.secure })
    }

    /// One question, with what DNSSEC says of the answer; insecure where nobody vouches for anything.
    async fn vouched(&self, name: &str, kind: RecordType) -> Result<Said, DnsError> {
        match self.oracle.ask(name, kind).await? {
            Some(said) => Ok(said),
            None => Ok(Said {
                answer: self.ask(name, kind).await?,
                secure: false,
                own_secure: false,
                alias: None,
            }),
        }
    }

    /// TXT records, the strings of each joined; empty where there are none. `name` may have underscores.
    pub async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
        Ok(texts(&self.ask(name, RecordType::TXT).await?))
    }

    /// The same, with what DNSSEC says of them.
    pub async fn known_txt(&self, name: &str) -> Result<Known<Vec<String>>, DnsError> {
        let said = self.vouched(name, RecordType::TXT).await?;
        Ok(Known { value: texts(&said.answer), secure: said.secure })
    }

    /// One question, with the three kinds of answer told apart. CNAMEs are followed by the resolver.
    async fn ask(&self, name: &str, kind: RecordType) -> Result<Answer, DnsError> {
        // A name that DNS cannot carry cannot exist there.
        let Some(fqdn) = name::read(name) else { return Ok(Answer::NoDomain) };
        let _turn = match &self.turns {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        match self.resolver.lookup(fqdn, kind).await {
            Ok(lookup) => {
                let records: Vec<RData> = lookup
                    .answers()
                    .iter()
                    .filter(|record| record.record_type() == kind)
                    .map(|record| record.data.clone())
                    .collect();
                Ok(if records.is_empty() { Answer::NoRecords } else { Answer::Records(records) })
            }
            Err(error) => {
                denial(&error).ok_or_else(|| DnsError(format!("{kind} of {name}: {}", told(&error))))
            }
        }
    }
}

fn texts(answer: &Answer) -> Vec<String> {
    let texts = answer.records().iter().filter_map(|data| match data {
        RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
        _ => None,
    });
    texts.collect()
}

/// An error in an administrator's words.
fn told(error: &NetError) -> String {
    match error {
        NetError::Dns(WireError::ResponseCode(ResponseCode::ServFail)) => {
            "the name server answers SERVFAIL".into()
        }
        NetError::Dns(WireError::ResponseCode(code)) => format!("the name server answers {code}"),
        error => error.to_string(),
    }
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dns")
    }
}

enum Answer {
    Records(Vec<RData>),
    NoRecords,
    NoDomain,
}

impl Answer {
    fn records(&self) -> &[RData] {
        match self {
            Answer::Records(records) => records,
            Answer::NoRecords | Answer::NoDomain => &[],
        }
    }
}

fn servers_config(servers: &[SocketAddr]) -> ResolverConfig {
    let servers = servers.iter().map(|server| {
        let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
        udp.port = server.port();
        tcp.port = server.port();
        NameServerConfig::new(server.ip(), true, vec![udp, tcp])
    });
    ResolverConfig::from_parts(None, Vec::new(), servers.collect())
}

fn addresses_of(config: &ResolverConfig) -> Vec<SocketAddr> {
    let port =
        |server: &NameServerConfig| server.connections.first().map_or(53, |connection| connection.port);
    config.name_servers.iter().map(|server| SocketAddr::new(server.ip, port(server))).collect()
}

fn tune(options: &mut ResolverOpts) {
    options.timeout = TRY;
    // The crate counts the tries that follow the first one.
    options.attempts = 1;
    options.positive_max_ttl = Some(MAX_TTL);
    options.negative_max_ttl = Some(MAX_TTL);
    // One answer of a hostile zone can hold four thousand long names, some megabytes; the crate would keep 8192 of them.
    options.cache_size = CACHED;
    // Mail goes by DNS alone: /etc/hosts would send a domain's letters to whatever the host calls by that name.
    options.use_hosts_file = ResolveHosts::Never;
}

/// A denial (NXDOMAIN, no such records) is an answer; everything else is a fault.
fn denial(error: &NetError) -> Option<Answer> {
    let NetError::Dns(WireError::NoRecordsFound(none)) = error else { return None };
    match none.response_code {
        ResponseCode::NXDomain => Some(Answer::NoDomain),
        ResponseCode::NoError => Some(Answer::NoRecords),
        _ => None,
    }
}

/// What MX records say; nothing where there are none, and the domain may be a host itself.
///
/// RFC 7505: a null MX is a single record with the root as its host. Hosts that are no host names are dropped: they
/// come from strangers and go into logs and look-ups.
fn sort_mx(answer: Answer) -> Option<MailHosts> {
    let records = match answer {
        Answer::Records(records) => records,
        Answer::NoRecords => return None,
        Answer::NoDomain => return Some(MailHosts::NoDomain),
    };
    let mut hosts = Vec::new();
    let mut roots = 0;
    for data in &records {
        let RData::MX(mx) = data else { continue };
        if mx.exchange.is_root() {
            roots += 1;
        } else if let Some(host) = host_name(&mx.exchange) {
            hosts.push(Mx { preference: mx.preference, host });
        }
    }
    hosts.sort_by(|a, b| (a.preference, &a.host).cmp(&(b.preference, &b.host)));
    Some(match hosts.is_empty() {
        false => MailHosts::Mx(hosts),
        true if roots == records.len() => MailHosts::NullMx,
        true => MailHosts::NoHosts,
    })
}

fn host_name(name: &Name) -> Option<Domain> {
    let plain = |label: &[u8]| label.iter().all(|&c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
    if !name.iter().all(plain) {
        return None;
    }
    Domain::parse(name.to_ascii().trim_end_matches('.')).ok()
}
