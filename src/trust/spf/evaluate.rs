//! The evaluation of records (RFC 7208 sections 4 to 6), with its limits, and an account of what was tried.

use super::macros::{DomainSpec, Values, fits_dns};
use super::record::{Directive, Mechanism, Prefixes, Record, TERMS_MAX, is_spf, within};
use super::{Names, Question, printable};
use crate::net::dns::DnsError;
use crate::policy::spf::SpfResult;
use client::Client;
use explanation::Explanation;
use std::net::IpAddr;
use std::pin::Pin;

mod client;
mod explanation;

/// How many hosts of an `mx`, or names of the client, have their addresses asked for (section 4.6.4).
pub(super) const HOSTS_MAX: usize = 10;
/// How many terms may find nothing in DNS (section 4.6.4). The hosts of an `mx` and the client's names are not terms.
const VOIDS_MAX: usize = 2;
/// How many lines the account has.
const STEPS_MAX: usize = 200;

/// One check, from the first record to the explanation.
pub(super) struct Evaluation<'a, N> {
    names: &'a N,
    question: &'a Question<'a>,
    local: &'a str,
    origin: &'a str,
    ip: IpAddr,
    client: Client,
    terms: usize,
    voids: usize,
    steps: Vec<String>,
}

/// What came of it.
pub(super) struct Outcome {
    pub result: SpfResult,
    pub why: String,
    /// On a fail: where the record that decided has its explanation.
    pub explanation: Option<Explanation>,
}

/// What one record says.
struct Said {
    result: SpfResult,
    /// What decided: a term and its record.
    what: String,
    /// What is to be added, and how we got to that record: `, included by example.org`.
    way: String,
    explanation: Option<Explanation>,
}

/// Ends the whole check: a temporary or permanent error, with its reason.
pub(super) struct Stop(SpfResult, String);

impl Said {
    fn sentence(&self) -> String {
        let comma = if self.way.is_empty() { "" } else { "," };
        match self.result {
            SpfResult::None => self.what.clone(),
            result => format!("{}{}{comma} says {result}", self.what, self.way),
        }
    }
}

type Checking<'s> = Pin<Box<dyn Future<Output = Result<Said, Stop>> + Send + 's>>;

impl<'a, N: Names> Evaluation<'a, N> {
    pub fn new(
        names: &'a N,
        question: &'a Question<'a>,
        local: &'a str,
        origin: &'a str,
    ) -> Evaluation<'a, N> {
        let ip = question.ip.to_canonical();
        Evaluation {
            names,
            question,
            local,
            origin,
            ip,
            client: Client::default(),
            terms: 0,
            voids: 0,
            steps: Vec::new(),
        }
    }

    /// Checks the sender's own domain, and what its record leads to.
    pub async fn run(&mut self) -> Outcome {
        match self.check(self.origin.to_owned()).await {
            Ok(said) => Outcome { result: said.result, why: said.sentence(), explanation: said.explanation },
            Err(Stop(result, why)) => Outcome { result, why, explanation: None },
        }
    }

    pub fn into_steps(self) -> Vec<String> {
        self.steps
    }

    /// `check_host` for one domain, in a box since records lead to records.
    fn check(&mut self, domain: String) -> Checking<'_> {
        Box::pin(async move {
            let Some(text) = self.fetch(&domain).await? else {
                let what = format!("{} has no SPF record", printable(&domain));
                return Ok(Said { result: SpfResult::None, what, way: String::new(), explanation: None });
            };
            let record = Record::parse(&text)
                .map_err(|why| permanent(format!("in the SPF record of {}, {why}", printable(&domain))))?;
            self.evaluate(record, domain).await
        })
    }

    /// The one record of a domain (sections 4.4 and 4.5).
    async fn fetch(&mut self, domain: &str) -> Result<Option<Vec<u8>>, Stop> {
        let shown = printable(domain);
        // A name without a dot has no record (section 4.3).
        if !fits_dns(domain) || !domain.contains('.') {
            self.step(format!("{shown}: not a name that could have a record"));
            return Ok(None);
        }
        let texts = self.names.txt(&presented(domain)).await;
        let texts = texts.map_err(|error| temporary(format!("the SPF record of {shown}"), &error))?;
        let mut records: Vec<Vec<u8>> = texts.into_iter().filter(|text| is_spf(text)).collect();
        match (records.pop(), records.len()) {
            (None, _) => self.step(format!("{shown}: no SPF record")),
            (Some(record), 0) => {
                self.step(format!("{shown}: {}", String::from_utf8_lossy(&record)));
                return Ok(Some(record));
            }
            (Some(_), others) => {
                let count = others + 1;
                self.step(format!("{shown}: {count} SPF records"));
                return Err(permanent(format!("{shown} has {count} SPF records")));
            }
        }
        Ok(None)
    }

    /// Sections 4.6 and 4.7.
    async fn evaluate(&mut self, record: Record, domain: String) -> Result<Said, Stop> {
        let shown = printable(&domain);
        let explanation = record.explanation.map(|spec| Explanation { spec, domain: domain.clone() });
        for (place, directive) in record.directives.iter().enumerate() {
            if directive.mechanism.asks_dns() {
                self.count_term(&directive.text, &shown)?;
            }
            let Some((what, mut way)) = self.matches(directive, &domain).await? else { continue };
            if directive.mechanism == Mechanism::All && place > 0 {
                way.push_str(", where nothing else matched");
            }
            let explanation = explanation.filter(|_| directive.result == SpfResult::Fail);
            return Ok(Said { result: directive.result, what, way, explanation });
        }
        let Some(spec) = record.redirect.filter(|spec| !self.is_beyond_dns(spec)) else {
            let what = format!("the record of {shown}");
            let way = ", where nothing matched".into();
            return Ok(Said { result: SpfResult::Neutral, what, way, explanation: None });
        };
        self.count_term("redirect", &shown)?;
        let Some(target) = self.target(Some(&spec), &domain).await? else {
            return Err(permanent(format!("the record of {shown} redirects to what is no name")));
        };
        let mut said = self.check(target).await?;
        if said.result == SpfResult::None {
            return Err(permanent(format!("{}, to which {shown} redirects", said.what)));
        }
        said.way.push_str(&format!(", to which {shown} redirects"));
        Ok(said)
    }

    /// Whether the directive matches; then what did, and how we got there.
    async fn matches(
        &mut self,
        directive: &Directive,
        domain: &str,
    ) -> Result<Option<(String, String)>, Stop> {
        let text = &directive.text;
        let shown = printable(domain);
        let spec = directive.mechanism.domain();
        if spec.is_some_and(|spec| self.is_beyond_dns(spec)) {
            self.step(format!("{shown}: {text} does not match a local part beyond ASCII"));
            return Ok(None);
        }
        let Some(target) = self.target(spec, domain).await? else {
            // A name that DNS cannot carry does not exist (section 4.8 leaves it open); included, it has no record.
            if matches!(directive.mechanism, Mechanism::Include(_)) {
                return Err(permanent(format!("{text} in the record of {shown} leads to what is no name")));
            }
            self.step(format!("{shown}: {text} does not match: DNS cannot carry such a name"));
            return Ok(None);
        };
        let matched = match &directive.mechanism {
            Mechanism::Include(_) => return self.include(directive, domain, target).await,
            Mechanism::All => true,
            Mechanism::Ip4(network, bits) => within(self.ip, (*network).into(), *bits),
            Mechanism::Ip6(network, bits) => within(self.ip, (*network).into(), *bits),
            Mechanism::A(_, prefixes) => {
                let found = self.addresses(&presented(&target)).await;
                let found = found.map_err(|error| temporary(format!("{text} of {shown}"), &error))?;
                self.count_void(found.is_empty(), text, &shown)?;
                found.iter().any(|found| near(self.ip, *found, *prefixes))
            }
            Mechanism::Mx(_, prefixes) => self.mx(directive, &target, &shown, *prefixes).await?,
            Mechanism::Ptr(_) => {
                let asked = self.client.learn(self.names, self.ip).await;
                self.count_void(asked.is_void(), text, &shown)?;
                self.client.is_below(self.names, self.ip, &presented(&target)).await.is_some()
            }
            // A even where the client has IPv6 (section 5.7).
            Mechanism::Exists(_) => {
                let found = self.names.ipv4(&presented(&target)).await;
                let found = found.map_err(|error| temporary(format!("{text} of {shown}"), &error))?;
                self.count_void(found.is_empty(), text, &shown)?;
                !found.is_empty()
            }
        };
        let verb = if matched { "matches" } else { "does not match" };
        let about = if target == domain { String::new() } else { format!(" ({})", printable(&target)) };
        let about = if text.contains('%') { about } else { String::new() };
        self.step(format!("{shown}: {text}{about} {verb}"));
        Ok(matched.then(|| (format!("{text} in the record of {shown}"), String::new())))
    }

    /// Section 5.2: only a pass matches, and what cannot be read there cannot be read here.
    async fn include(
        &mut self,
        directive: &Directive,
        domain: &str,
        target: String,
    ) -> Result<Option<(String, String)>, Stop> {
        let (text, shown) = (&directive.text, printable(domain));
        let said = self.check(target).await?;
        if said.result == SpfResult::None {
            return Err(permanent(format!("{}, but {shown} includes it", said.what)));
        }
        let verb = if said.result == SpfResult::Pass { "matches" } else { "does not match" };
        self.step(format!("{shown}: {text} {verb}: {}", said.result));
        Ok(match (said.result, directive.result) {
            (SpfResult::Pass, SpfResult::Pass) => {
                Some((said.what, format!("{}, included by {shown}", said.way)))
            }
            (SpfResult::Pass, _) => {
                Some((format!("{text} in the record of {shown} ({})", said.sentence()), String::new()))
            }
            _ => None,
        })
    }

    /// Section 5.4; without MX records there is nothing to match. To need an eleventh host is an error (section 4.6.4).
    async fn mx(
        &mut self,
        directive: &Directive,
        target: &str,
        shown: &str,
        prefixes: Prefixes,
    ) -> Result<bool, Stop> {
        let text = &directive.text;
        let fault = |error| temporary(format!("{text} of {shown}"), &error);
        let hosts = self.names.exchanges(&presented(target)).await.map_err(fault)?;
        self.count_void(hosts.is_empty(), text, shown)?;
        for host in hosts.iter().take(HOSTS_MAX).filter(|host| !host.is_empty()) {
            let found = self.addresses(host).await.map_err(fault)?;
            if found.iter().any(|found| near(self.ip, *found, prefixes)) {
                return Ok(true);
            }
        }
        if hosts.len() > HOSTS_MAX {
            return Err(permanent(format!(
                "{text} in the record of {shown} has more than {HOSTS_MAX} hosts"
            )));
        }
        Ok(false)
    }

    /// Addresses of the client's family only.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
        addresses(self.names, self.ip, name).await
    }

    /// The name that a term means, where there can be one; without a domain-spec it is the record's own.
    async fn target(&mut self, spec: Option<&DomainSpec>, domain: &str) -> Result<Option<String>, Stop> {
        let Some(spec) = spec else { return Ok(Some(domain.to_owned())) };
        // The question for the client's names counts like a term (section 4.6.4), when it is asked.
        if spec.wants_validated() && !self.client.is_known() {
            self.count_term("%{p}", &printable(domain))?;
        }
        let validated = self.validated(spec.wants_validated(), domain).await;
        let name = spec.expand(&self.values(domain, &validated));
        Ok(Some(name).filter(|name| fits_dns(name)))
    }

    /// What `%{p}` stands for, where it is wanted.
    async fn validated(&mut self, wanted: bool, domain: &str) -> String {
        if !wanted {
            return String::new();
        }
        self.client.learn(self.names, self.ip).await;
        self.client.best_name(self.names, self.ip, &presented(domain)).await
    }

    /// Terms with a local part beyond ASCII in them match nothing (RFC 8616 section 4).
    fn is_beyond_dns(&self, spec: &DomainSpec) -> bool {
        spec.wants_local() && !self.local.is_ascii()
    }

    fn values<'v>(&'v self, domain: &'v str, validated: &'v str) -> Values<'v> {
        Values {
            local: self.local,
            origin: self.origin,
            domain,
            ip: self.ip,
            helo: self.question.helo,
            validated,
            receiver: self.question.receiver,
            now: self.question.now,
        }
    }

    fn count_term(&mut self, text: &str, shown: &str) -> Result<(), Stop> {
        self.terms += 1;
        if self.terms <= TERMS_MAX {
            return Ok(());
        }
        Err(permanent(format!(
            "{text} in the record of {shown} is one term too many: only {TERMS_MAX} may ask DNS"
        )))
    }

    fn count_void(&mut self, void: bool, text: &str, shown: &str) -> Result<(), Stop> {
        if !void {
            return Ok(());
        }
        self.voids += 1;
        self.step(format!("{shown}: {text} finds nothing in DNS"));
        if self.voids <= VOIDS_MAX {
            return Ok(());
        }
        Err(permanent(format!(
            "{text} in the record of {shown} finds nothing in DNS, as {VOIDS_MAX} terms before it: more may not"
        )))
    }

    fn step(&mut self, line: String) {
        match self.steps.len() {
            STEPS_MAX => self.steps.push("(further steps are not shown)".into()),
            shown if shown < STEPS_MAX => self.steps.push(printable(&line)),
            _ => {}
        }
    }
}

/// A or AAAA records, as the client has IPv4 or IPv6 (section 5).
async fn addresses(names: &impl Names, ip: IpAddr, name: &str) -> Result<Vec<IpAddr>, DnsError> {
    Ok(match ip {
        IpAddr::V4(_) => names.ipv4(name).await?.into_iter().map(IpAddr::V4).collect(),
        IpAddr::V6(_) => names.ipv6(name).await?.into_iter().map(IpAddr::V6).collect(),
    })
}

fn near(ip: IpAddr, found: IpAddr, prefixes: Prefixes) -> bool {
    within(ip, found, if ip.is_ipv4() { prefixes.v4 } else { prefixes.v6 })
}

/// A name as questions have it: what would be read as an escape is escaped.
fn presented(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c if c.is_ascii_graphic() => out.push(c),
            c => out.push_str(&format!("\\{:03}", u32::from(c))),
        }
    }
    out
}

fn permanent(why: String) -> Stop {
    Stop(SpfResult::PermError, why)
}

fn temporary(what: String, error: &DnsError) -> Stop {
    Stop(SpfResult::TempError, format!("{what} cannot be looked up now ({})", printable(&error.to_string())))
}

#[cfg(test)]
mod tests;
