//! Questions to the name servers as they are: the crate's resolver hides of a denial what DNSSEC says of it.

use super::{MAX_TTL, TRY};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::tcp::TcpClientStream;
use hickory_resolver::net::udp::UdpClientStream;
use hickory_resolver::net::xfer::{DnsHandle, DnsResponseStream, FirstAnswer};
use hickory_resolver::net::{DnsError as WireError, NetError};
use hickory_resolver::proto::op::{DnsRequest, DnsResponse, Query, ResponseCode};
use hickory_resolver::proto::rr::{LowerName, RecordType};
use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How many questions may be on their way at once.
const ASKED: usize = 64;
/// How many answers are kept: a chain of trust takes a dozen.
const KEPT: usize = 1024;
/// The largest answer that is kept, in octets; no honest one is larger.
const KEPT_SIZE: usize = 4096;

tokio::task_local! {
    static PURSE: Purse;
}

/// What one question may cost, and what went wrong with those that it led to.
struct Purse {
    left: Cell<u32>,
    fault: Cell<Option<String>>,
}

/// Lets `work` ask no more than `questions`, what is kept included; whatever it asks beyond that is an error. Each
/// signature of an answer is a question for keys, whose own signatures are more questions: a hostile zone can make
/// millions of one. The last question that got no answer is told as well, since the crate calls bogus what it could not
/// ask for.
pub(super) async fn frugal<T>(questions: u32, work: impl Future<Output = T>) -> (T, Option<String>) {
    let purse = Purse { left: Cell::new(questions), fault: Cell::new(None) };
    PURSE.scope(purse, async { (work.await, PURSE.with(|purse| purse.fault.take())) }).await
}

fn spend() -> Result<(), NetError> {
    let spent = |purse: &Purse| purse.left.replace(purse.left.get().saturating_sub(1)) == 0;
    if PURSE.try_with(spent).unwrap_or(false) { Err(NetError::Busy) } else { Ok(()) }
}

fn note(query: Option<&Query>, error: &NetError) {
    if !matches!(error, NetError::Dns(_)) {
        let what =
            query.map(|query| format!("{} of {}", query.query_type(), query.name())).unwrap_or_default();
        // Outside of a question there is nobody to tell.
        let _ = PURSE.try_with(|purse| purse.fault.set(Some(format!("{what}: {error}"))));
    }
}

/// The name servers, and what they said lately. Answers are kept as they came, so that they are checked anew each time.
#[derive(Clone)]
pub(super) struct Upstream(Arc<Shared>);

struct Shared {
    servers: Vec<SocketAddr>,
    /// Dropping it would end the tasks that connections live by.
    runtime: TokioRuntimeProvider,
    /// The index of the server that answered last: a dead one is not asked first again and again.
    favourite: AtomicUsize,
    asked: Semaphore,
    kept: Mutex<HashMap<Key, Kept>>,
}

type Key = (LowerName, RecordType, Flags);

/// What of a question makes another answer: DO, AD and CD.
type Flags = (bool, bool, bool);

struct Kept {
    until: Instant,
    wire: Vec<u8>,
}

impl Upstream {
    pub(super) fn new(servers: Vec<SocketAddr>) -> Upstream {
        Upstream(Arc::new(Shared {
            servers,
            runtime: TokioRuntimeProvider::default(),
            favourite: AtomicUsize::new(0),
            asked: Semaphore::new(ASKED),
            kept: Mutex::default(),
        }))
    }

    pub(super) fn servers(&self) -> &[SocketAddr] {
        &self.0.servers
    }

    /// What was said is asked anew.
    pub(super) fn forget(&self) {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// One question; the denials are `Ok`, and every other code is an error.
    pub(super) async fn ask(&self, request: DnsRequest) -> Result<DnsResponse, NetError> {
        self.send(request).first_answer().await
    }
}

impl DnsHandle for Upstream {
    type Response = DnsResponseStream;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> DnsResponseStream {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { shared.answer(request).await }).into()
    }
}

impl Shared {
    async fn answer(&self, request: DnsRequest) -> Result<DnsResponse, NetError> {
        let key = key(&request);
        spend().inspect_err(|error| note(request.queries.first(), error))?;
        if let Some(kept) = key.as_ref().and_then(|key| self.recall(key)) {
            return Ok(kept);
        }
        let _permit = self.asked.acquire().await.map_err(|_| NetError::Busy)?;
        let answer = tokio::time::timeout(2 * TRY, self.exchange(&request)).await;
        let answer = answer.unwrap_or(Err(NetError::Timeout));
        let answer = answer.inspect_err(|error| note(request.queries.first(), error))?;
        if let Some(key) = key {
            self.keep(key, &answer);
        }
        Ok(answer)
    }

    /// Every server once, and once more where none of them said anything.
    async fn exchange(&self, request: &DnsRequest) -> Result<DnsResponse, NetError> {
        let (first, count) = (self.favourite.load(Ordering::Relaxed), self.servers.len());
        let mut fault = NetError::NoConnections;
        let mut refused = None;
        for turn in 0..2 * count {
            let index = (first + turn) % count;
            let Some(&server) = self.servers.get(index) else { continue };
            match self.one(server, request).await {
                Ok(answer)
                    if matches!(answer.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
                {
                    self.favourite.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(answer) => refused = Some(answer.response_code),
                Err(error) => fault = error,
            }
            if let (true, Some(code)) = (turn + 1 >= count, refused) {
                return Err(NetError::Dns(WireError::ResponseCode(code)));
            }
        }
        Err(fault)
    }

    /// By UDP, and by TCP where that was too short.
    async fn one(&self, server: SocketAddr, request: &DnsRequest) -> Result<DnsResponse, NetError> {
        // Half of a try: within the time that a question has, another server is reached as well.
        let patience = TRY / 2;
        let udp =
            UdpClientStream::builder(server, self.runtime.clone()).with_timeout(Some(patience)).exchange();
        let answer = udp.send(request.clone()).first_answer().await?;
        if !answer.truncation {
            return Ok(answer);
        }
        let tcp = TcpClientStream::exchange(server, None, patience, None, self.runtime.clone()).await?;
        let answer = tcp.send(request.clone()).first_answer().await?;
        if answer.truncation { Err(NetError::Truncated) } else { Ok(answer) }
    }

    fn recall(&self, key: &Key) -> Option<DnsResponse> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = kept.get(key).filter(|kept| Instant::now() < kept.until)?;
        DnsResponse::from_buffer(answer.wire.clone()).ok()
    }

    fn keep(&self, key: Key, answer: &DnsResponse) {
        let records = answer.answers.iter().chain(answer.authorities.iter());
        // What says nothing is not worth keeping, and neither is what is true for no time at all.
        let ttl = records.map(|record| record.ttl).min().unwrap_or(0);
        if ttl == 0 || answer.as_buffer().len() > KEPT_SIZE {
            return;
        }
        let now = Instant::now();
        let ttl = Duration::from_secs(ttl.into()).min(MAX_TTL);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.retain(|_, kept| now < kept.until);
        }
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, Kept { until: now + ttl, wire: answer.as_buffer().to_vec() });
    }
}

fn key(request: &DnsRequest) -> Option<Key> {
    let query = request.queries.first()?;
    let dnssec = request.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
    let flags = (dnssec, request.authentic_data, request.checking_disabled);
    Some((LowerName::from(query.name()), query.query_type(), flags))
}
