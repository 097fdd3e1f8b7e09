//! DNSSEC checked by ourselves (RFC 4035 section 5), by the crate that knows how.

use super::anchors::Anchors;
use super::delegation::{self, Cut};
use super::upstream::Upstream;
use super::{DnsError, MAX_TTL, TRY};
use hickory_resolver::net::dnssec::DnssecDnsHandle;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError as WireError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, Message, Query};
use hickory_resolver::proto::rr::{Name, RecordType};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// After how long it is tried again whether DNSSEC arrives here.
const AGAIN: Duration = Duration::from_secs(60);

/// Validates, once it is known that the name servers let it.
pub(super) struct Validator {
    upstream: Upstream,
    anchors: Anchors,
    /// Whether nothing is answered without validation.
    strict: bool,
    /// There as soon as a chain of signatures was once seen whole: from then on nothing is taken for less.
    handle: OnceLock<DnssecDnsHandle<Upstream>>,
    doubt: Mutex<Option<Doubt>>,
}

/// Why it is not there yet.
struct Doubt {
    until: Instant,
    why: String,
    /// Whether the servers say nothing at all.
    silent: bool,
}

/// What a validated question brought.
pub(super) struct Checked {
    /// The message; its records have their proofs.
    pub(super) message: Message,
    /// What is wrong with the proof that something does not exist.
    pub(super) unproven: Option<Proof>,
}

impl Validator {
    pub(super) fn new(upstream: Upstream, anchors: Anchors, strict: bool) -> Validator {
        Validator { upstream, anchors, strict, handle: OnceLock::new(), doubt: Mutex::new(None) }
    }

    pub(super) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Whether answers can be validated; where they cannot, that is an error, or (unless it was asked for) a reason to
    /// do without.
    pub(super) async fn ready(&self) -> Result<bool, DnsError> {
        if self.handle.get().is_some() {
            return Ok(true);
        }
        let mut doubt = self.doubt.lock().await;
        if self.handle.get().is_some() {
            return Ok(true);
        }
        if let Some(known) = doubt.as_ref().filter(|doubt| Instant::now() < doubt.until) {
            return self.without(known);
        }
        match self.probe().await {
            Ok(handle) => {
                if doubt.take().is_some() {
                    tracing::info!("DNS: DNSSEC arrives here now");
                }
                Ok(self.handle.set(handle).is_ok())
            }
            Err(new) => {
                // Once for each trouble: it is tried again and again.
                if doubt.as_ref().is_none_or(|old| old.silent != new.silent) {
                    let then =
                        if self.strict || new.silent { "no mail goes out" } else { "there is no DANE" };
                    tracing::error!("DNS: {}. Until then {then}", new.why);
                }
                self.without(doubt.insert(new))
            }
        }
    }

    fn without(&self, doubt: &Doubt) -> Result<bool, DnsError> {
        if self.strict || doubt.silent { Err(DnsError(doubt.why.clone())) } else { Ok(false) }
    }

    /// One question, validated.
    pub(super) async fn ask(&self, name: &Name, kind: RecordType) -> Result<Checked, NetError> {
        let handle = self.handle.get().ok_or(NetError::NoConnections)?;
        match handle.send(request(name, kind, true)).first_answer().await {
            Ok(response) => Ok(Checked { message: response.into_message(), unproven: None }),
            Err(NetError::Dns(WireError::Nsec { response, proof, .. })) => {
                Ok(Checked { message: response.into_message(), unproven: Some(proof) })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether there is an insecure delegation at the name or above it.
    pub(super) async fn is_insecure(&self, name: &Name) -> Result<bool, NetError> {
        let mut zone = self.anchors.zone().clone();
        if !zone.zone_of(name) {
            return Ok(false);
        }
        for labels in zone.iter().count() + 1..=name.iter().count() {
            let below = name.trim_to(labels);
            let answer = self.ask(&below, RecordType::DS).await?;
            match delegation::cut(&zone, &below, &answer.message) {
                Some(Cut::Signed) => zone = below,
                Some(Cut::None) => {}
                Some(Cut::Insecure) => return Ok(true),
                None => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Whether the anchor's zone has keys that verify.
    async fn probe(&self) -> Result<DnssecDnsHandle<Upstream>, Doubt> {
        let why = match self.verify_zone().await {
            Ok(Some(handle)) => return Ok(handle),
            Ok(None) => "no valid signature".to_owned(),
            Err(error) => error.to_string(),
        };
        self.upstream.forget();
        let servers: Vec<String> = self.upstream.servers().iter().map(ToString::to_string).collect();
        let (servers, zone) = (servers.join(", "), self.anchors.zone());
        // Whoever takes away all answers must not have DNSSEC forgotten; one who takes away the signatures alone may be
        // somebody's old router.
        if let Err(error) = self.upstream.ask(request(zone, RecordType::NS, false)).await
            && !matches!(error, NetError::Dns(_))
        {
            let why = format!(
                "the name servers ({servers}) do not answer: {error}; see whether the network is there"
            );
            return Err(Doubt { until: Instant::now() + TRY, why, silent: true });
        }
        let why = format!(
            "DNSSEC does not come through the name servers ({servers}; DNSKEY of {zone}: {why}); install unbound on this \
             machine and set dns.servers = [\"127.0.0.1:53\"], or choose another dns.dnssec, and see that the clock is right"
        );
        Err(Doubt { until: Instant::now() + AGAIN, why, silent: false })
    }

    async fn verify_zone(&self) -> Result<Option<DnssecDnsHandle<Upstream>>, NetError> {
        let keys = self.anchors.keys(&self.upstream).await?;
        let handle = DnssecDnsHandle::with_trust_anchor(self.upstream.clone(), keys.into())
            .positive_validation_ttl(Duration::ZERO..=MAX_TTL);
        let zone = request(self.anchors.zone(), RecordType::DNSKEY, true);
        let answer = handle.send(zone).first_answer().await?;
        let secure = |kind| {
            answer.answers.iter().any(|record| record.record_type() == kind && record.proof == Proof::Secure)
        };
        Ok((secure(RecordType::DNSKEY) && secure(RecordType::RRSIG)).then_some(handle))
    }
}

fn request(name: &Name, kind: RecordType, dnssec: bool) -> DnsRequest {
    let mut options = DnsRequestOptions::default();
    options.edns_set_dnssec_ok = dnssec;
    DnsRequest::from_query(Query::query(name.clone(), kind), options)
}
