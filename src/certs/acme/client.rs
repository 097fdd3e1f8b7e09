//! What the ACME crate speaks through, and what went wrong, in words.

use crate::net::https::{Answer, Https};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{DATE, RETRY_AFTER};
use hyper::{Request, Response};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Octets of an answer: a chain of certificates is a tenth of it.
const LIMIT: usize = 256 << 10;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Seconds of a wait that may be meant.
const LONGEST: i64 = 366 * 86400;
/// Characters of what an authority says.
const WORDS: usize = 400;

/// Sends the crate's requests. One for each attempt: it remembers what it was told about waiting.
#[derive(Clone)]
pub struct Client {
    https: Https,
    /// Seconds of the last refusal's Retry-After; 0: none.
    imposed: Arc<AtomicI64>,
}

impl Client {
    /// Through `https`.
    pub fn new(https: Https) -> Client {
        Client { https, imposed: Arc::default() }
    }

    /// As the crate wants it.
    pub fn boxed(&self) -> Box<dyn HttpClient> {
        Box::new(self.clone())
    }

    /// For how many seconds the authority has told us to stay away, if its last refusal did.
    pub fn imposed(&self) -> Option<i64> {
        Some(self.imposed.load(Ordering::Relaxed)).filter(|seconds| *seconds > 0)
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (head, body) = request.into_parts();
        // Infallible.
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let request = Request::from_parts(head, Full::new(body));
        let mut answer =
            self.https.send(request, LIMIT, PATIENCE).await.map_err(|error| Error::Other(error.0.into()))?;
        if answer.status.is_client_error() || answer.status.is_server_error() {
            self.imposed.store(retry_after(&answer).unwrap_or(0), Ordering::Relaxed);
            // The crate takes every refusal for a problem document; one that is none would lose its number.
            let problem = serde_json::from_slice::<Problem>(&answer.body).ok();
            if problem.is_none_or(|problem| problem.r#type.is_none()) {
                let (status, host) = (answer.status.as_u16(), "the certificate authority");
                return Err(Error::Other(
                    format!("{host} answers {status}, without a word about why").into(),
                ));
            }
        }
        tame(&mut answer);
        let mut response = Response::new(Full::new(answer.body));
        (*response.status_mut(), *response.headers_mut()) = (answer.status, answer.headers);
        Ok(BytesResponse::from(response))
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().exchange(request))
    }
}

/// Seconds (RFC 9110 section 10.2.3); a date counts from the answer's own, whose clock is the same.
fn retry_after(answer: &Answer) -> Option<i64> {
    let text = |name| answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let after = text(RETRY_AFTER)?;
    if let Ok(seconds) = after.parse::<i64>() {
        return Some(seconds);
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp().as_second());
    let from = text(DATE).and_then(date)?;
    Some(date(after)?.saturating_sub(from))
}

/// Takes a Retry-After out that is none, or longer than anybody means: the crate adds it to the time that it is, however long it
/// is, and there is not so much time.
fn tame(answer: &mut Answer) {
    if retry_after(answer).is_none_or(|seconds| seconds > LONGEST) {
        answer.headers.remove(RETRY_AFTER);
    }
}

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In printable characters, with the remedy where one is known.
    pub why: String,
    /// The authority's own word for it, without what all have in common: `rateLimited`.
    pub problem: Option<String>,
}

impl Trouble {
    /// Something that is ours to mend.
    pub fn ours(why: impl Into<String>) -> Trouble {
        Trouble { why: printable(&why.into()), problem: None }
    }

    /// Something that is wrong with what the authority sent.
    pub fn wrong(why: impl std::fmt::Display) -> Trouble {
        Trouble::ours(format!("what the certificate authority sent cannot be used: {why}"))
    }

    /// What an authority says.
    pub fn told(problem: &Problem) -> Trouble {
        Trouble::with(problem, remedy)
    }

    /// What went wrong where our account was spoken of, or a new order: an authority that says `unauthorized` there does not
    /// mean the name, which it has not looked at yet.
    pub fn of_account(error: Error) -> Trouble {
        let of = |kind: &str| if kind == "unauthorized" { Some(CLOSED) } else { remedy(kind) };
        match error {
            Error::Api(problem) => Trouble::with(&problem, of),
            other => other.into(),
        }
    }

    fn with(problem: &Problem, remedy: impl Fn(&str) -> Option<&'static str>) -> Trouble {
        let kind = problem.r#type.as_deref().unwrap_or_default();
        let kind = printable(kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind));
        let mut detail = problem.detail.clone().unwrap_or_default();
        for sub in &problem.subproblems {
            detail = format!("{detail}; {}", sub.detail.as_deref().unwrap_or_default());
        }
        let remedy = remedy(&kind).map(|remedy| format!("; {remedy}")).unwrap_or_default();
        let why = format!("the certificate authority says {kind}: {}{remedy}", printable(&detail));
        Trouble { why, problem: Some(kind) }
    }

    /// Whether it is the authority's own answer, of this kind.
    pub fn is(&self, kind: &str) -> bool {
        self.problem.as_deref() == Some(kind)
    }
}

/// What to do about an account that is not valid any more.
const CLOSED: &str =
    "our account there may have been closed: move its file in tls/accounts away, and another is made";

fn remedy(kind: &str) -> Option<&'static str> {
    match kind {
        "connection" | "unauthorized" | "incorrectResponse" => Some(
            "see that the name's A and AAAA records lead to this host and that port 80 of tls.acme.listen can be \
             reached from everywhere",
        ),
        "dns" => Some("the name needs an A or AAAA record that leads to this host"),
        "caa" => Some("the domain's CAA record does not name this authority"),
        "rateLimited" => Some("it goes on by itself when the wait is over; nothing need be done"),
        "rejectedIdentifier" => {
            Some("the authority gives nobody a certificate for this name; see tls.acme.names")
        }
        "externalAccountRequired" => Some(
            "an authority that wants an account to be opened elsewhere is not supported; see tls.acme.directory",
        ),
        "invalidContact" | "unsupportedContact" => Some("see tls.acme.contact"),
        _ => None,
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        match error {
            Error::Api(problem) => Trouble::told(&problem),
            Error::Other(error) => Trouble::ours(error.to_string()),
            Error::Json(error) => Trouble::wrong(format!("it is not the JSON that it should be ({error})")),
            Error::Timeout(_) => Trouble::ours("the certificate authority takes long over the order"),
            other => Trouble::wrong(other),
        }
    }
}

/// Printable characters only, and not too many of them: the words are the other side's.
pub fn printable(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let mut shown: String = text.chars().take(WORDS).map(safe).collect();
    if text.chars().nth(WORDS).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::{HeaderMap, StatusCode};

    fn answer(fields: &[(hyper::header::HeaderName, &str)]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(name, value.parse().unwrap());
        }
        Answer { status: StatusCode::SERVICE_UNAVAILABLE, headers, body: Bytes::new() }
    }

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        assert_eq!(retry_after(&answer(&[(RETRY_AFTER, " 120 ")])), Some(120));
        let dates = [(DATE, "Sat, 28 Nov 2026 18:00:00 GMT"), (RETRY_AFTER, "Sat, 28 Nov 2026 19:00:00 GMT")];
        assert_eq!(retry_after(&answer(&dates)), Some(3600));
        assert_eq!(retry_after(&answer(&[(RETRY_AFTER, "soon")])), None);
        assert_eq!(retry_after(&answer(&[])), None);
    }

    #[test]
    fn a_wait_without_end_is_none() {
        for (after, kept) in
            [("60", true), ("18446744073709551615", false), ("9999999999", false), ("x", false)]
        {
            let mut answer = answer(&[(RETRY_AFTER, after)]);
            tame(&mut answer);
            assert_eq!(answer.headers.contains_key(RETRY_AFTER), kept, "{after}");
        }
    }

    #[test]
    fn an_authoritys_words_are_printable_and_bounded_and_come_with_a_remedy() {
        let detail = format!("no\r\nentry \u{1b}[2J{}", "x".repeat(9999));
        let problem = serde_json::json!({"type": "urn:ietf:params:acme:error:connection", "detail": detail});
        let trouble = Trouble::told(&serde_json::from_value(problem).unwrap());
        assert!(trouble.is("connection") && trouble.why.len() < 800, "{}", trouble.why);
        assert!(trouble.why.contains("connection: no??entry ?[2Jxx"), "{}", trouble.why);
        assert!(trouble.why.contains("A and AAAA"), "{}", trouble.why);
    }
}
