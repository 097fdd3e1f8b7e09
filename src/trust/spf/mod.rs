//! SPF (RFC 7208): may this client use this name? [`check_host`] asks DNS and says what it found, and why.

use crate::mail::address::{Address, Domain, Host};
use crate::net::dns::{Dns, DnsError};
use crate::policy::spf::{SpfEvidence, SpfIdentity, SpfResult};
use evaluate::Evaluation;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

mod evaluate;
mod macros;
mod record;

/// How long a check may take (section 4.6.4 wants 20 seconds at least); what has no answer then is a temporary fault.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The most questions that one check can be made to ask: the record, ten `mx` terms with ten hosts each, the client's names and
/// ten addresses of them, the explanation.
pub const QUESTIONS_MAX: usize =
    1 + record::TERMS_MAX * (1 + evaluate::HOSTS_MAX) + 1 + evaluate::HOSTS_MAX + 1;

/// The longest line of what is reported, in characters.
const LINE_MAX: usize = 200;
/// The longest reason: where includes are nested, it has several lines' worth of names.
const WHY_MAX: usize = 600;

/// Where answers come from: DNS, or a table in tests. An empty answer says that there is nothing; an error is a temporary
/// fault. Names are in presentation format (RFC 1035 section 5.1) without the final dot; aliases are followed.
pub trait Names: Sync {
    /// TXT records, the strings of each joined.
    fn txt(&self, name: &str) -> impl Future<Output = Result<Vec<Vec<u8>>, DnsError>> + Send;
    /// A records.
    fn ipv4(&self, name: &str) -> impl Future<Output = Result<Vec<Ipv4Addr>, DnsError>> + Send;
    /// AAAA records.
    fn ipv6(&self, name: &str) -> impl Future<Output = Result<Vec<Ipv6Addr>, DnsError>> + Send;
    /// The hosts of MX records; the root is empty.
    fn exchanges(&self, name: &str) -> impl Future<Output = Result<Vec<String>, DnsError>> + Send;
    /// The names of PTR records of an address.
    fn names_of(&self, ip: IpAddr) -> impl Future<Output = Result<Vec<String>, DnsError>> + Send;
}

impl Names for Dns {
    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        self.txt_octets(name).await
    }
    async fn ipv4(&self, name: &str) -> Result<Vec<Ipv4Addr>, DnsError> {
        Dns::ipv4(self, name).await
    }
    async fn ipv6(&self, name: &str) -> Result<Vec<Ipv6Addr>, DnsError> {
        Dns::ipv6(self, name).await
    }
    async fn exchanges(&self, name: &str) -> Result<Vec<String>, DnsError> {
        Dns::exchanges(self, name).await
    }
    async fn names_of(&self, ip: IpAddr) -> Result<Vec<String>, DnsError> {
        Dns::names_of(self, ip).await
    }
}

/// Names that have no answer any more when the time is up: what was learnt before it stays, and the check ends by itself.
pub struct Within<'a, N> {
    names: &'a N,
    until: Instant,
}

impl<'a, N: Names> Within<'a, N> {
    /// From now on for `patience`, which is [`PATIENCE`] but in tests.
    pub fn new(names: &'a N, patience: Duration) -> Within<'a, N> {
        Within { names, until: Instant::now() + patience }
    }

    async fn wait<T>(&self, answer: impl Future<Output = Result<T, DnsError>>) -> Result<T, DnsError> {
        let late = |_| Err(DnsError("the time for this check is up".into()));
        timeout_at(self.until, answer).await.unwrap_or_else(late)
    }
}

impl<N: Names> Names for Within<'_, N> {
    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        self.wait(self.names.txt(name)).await
    }
    async fn ipv4(&self, name: &str) -> Result<Vec<Ipv4Addr>, DnsError> {
        self.wait(self.names.ipv4(name)).await
    }
    async fn ipv6(&self, name: &str) -> Result<Vec<Ipv6Addr>, DnsError> {
        self.wait(self.names.ipv6(name)).await
    }
    async fn exchanges(&self, name: &str) -> Result<Vec<String>, DnsError> {
        self.wait(self.names.exchanges(name)).await
    }
    async fn names_of(&self, ip: IpAddr) -> Result<Vec<String>, DnsError> {
        self.wait(self.names.names_of(ip)).await
    }
}

/// What is asked about.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The client. IPv4 in the guise of IPv6 is IPv4 (section 5).
    pub ip: IpAddr,
    /// What the client said in HELO or EHLO.
    pub helo: &'a str,
    /// MAIL FROM; none for `<>`, where the name in HELO is asked instead (section 2.4).
    pub sender: Option<&'a Address>,
    /// Our own name, and the time in seconds since 1970: for explanations only.
    pub receiver: &'a str,
    /// See `receiver`.
    pub now: i64,
}

/// Whether the client may use the domain of MAIL FROM, or for `<>` the name in HELO.
pub async fn check_host(names: &impl Names, question: &Question<'_>) -> SpfEvidence {
    match question.sender.map(|sender| (sender.local(), sender.host())) {
        Some((local, Host::Domain(domain))) => {
            check_name(names, question, SpfIdentity::MailFrom, local, domain.as_str()).await
        }
        Some((local, literal)) => {
            check_name(names, question, SpfIdentity::MailFrom, local, &literal.to_string()).await
        }
        None => check_helo(names, question).await,
    }
}

/// Whether the client may use the name in HELO, whatever MAIL FROM says (section 2.3).
pub async fn check_helo(names: &impl Names, question: &Question<'_>) -> SpfEvidence {
    // U-labels become A-labels; what IDNA refuses is looked at as it stands.
    let ascii = Domain::parse(question.helo);
    let name = ascii.as_ref().map_or(question.helo, Domain::as_str);
    check_name(names, question, SpfIdentity::Helo, "", name).await
}

/// `check_host` of section 4.1: `local` and `domain` are of the sender, whatever they look like; an empty `local` is
/// `postmaster`.
pub async fn check_name(
    names: &impl Names,
    question: &Question<'_>,
    identity: SpfIdentity,
    local: &str,
    domain: &str,
) -> SpfEvidence {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let mut evidence = SpfEvidence {
        result: SpfResult::None,
        identity,
        domain: printable(&domain.to_ascii_lowercase()),
        why: String::new(),
        steps: Vec::new(),
        explanation: None,
    };
    if !is_domain(domain) {
        evidence.why = format!("\"{}\" is no domain name that could have a record", printable(domain));
        return evidence;
    }
    let local = if local.is_empty() { "postmaster" } else { local };
    let mut evaluation = Evaluation::new(names, question, local, domain);
    let outcome = evaluation.run().await;
    evidence.result = outcome.result;
    evidence.why = one_line(&outcome.why, WHY_MAX);
    evidence.explanation = evaluation.explain(outcome.explanation).await;
    evidence.steps = evaluation.into_steps();
    evidence
}

/// A name with a dot in it that can be a mail domain or a host (section 4.3); underscores are in use.
fn is_domain(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    macros::fits_dns(name)
        && name.bytes().all(inner)
        && name.rsplit_once('.').is_some_and(|(_, last)| !number(last))
}

/// Text from outside in one line of visible ASCII, cut short.
fn printable(text: &str) -> String {
    one_line(text, LINE_MAX)
}

fn one_line(text: &str, most: usize) -> String {
    let shown = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    if text.chars().nth(most).is_none() {
        return text.chars().map(shown).collect();
    }
    text.chars().take(most - 3).map(shown).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests;
