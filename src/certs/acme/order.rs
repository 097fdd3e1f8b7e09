//! One order, from its beginning, or from wherever an earlier attempt left it, to the certificate.

use super::client::Trouble;
use super::http01::Responder;
use crate::mail::address::Domain;
use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Identifier,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls_pki_types::CertificateDer;
use std::net::SocketAddr;
use std::time::Duration;

/// How often the authority is asked whether it is ready: at first, and how that grows.
const POLL: Duration = Duration::from_millis(500);
const SLOWER: f32 = 1.4;
/// How long it may take over one step.
const STEP: Duration = Duration::from_secs(120);
/// Problems that say nothing of the order itself.
const NOT_NOW: [&str; 4] = ["rateLimited", "badNonce", "serverInternal", "accountDoesNotExist"];
/// Problems of an authority that has asked, and had no answer or a wrong one.
const ASKED: [&str; 3] = ["connection", "unauthorized", "incorrectResponse"];
/// How often it is asked why it has given an order up.
const QUESTIONS: usize = 5;
/// Characters of a token (RFC 8555 section 8.3 has 22 and more).
const TOKEN: usize = 256;

/// What is wanted.
pub struct Wanted<'a> {
    /// The name.
    pub name: &'a Domain,
    /// The key that the certificate is to be for, PEM.
    pub key: &'a str,
    /// Where the authority will ask.
    pub listen: &'a [SocketAddr],
    /// The certificate that is replaced, DER, if the authority wants to know (RFC 9773 section 5).
    pub replaces: Option<&'a [u8]>,
}

/// Takes an order up again, which may be one that was given up; none: the authority has no such order any more.
pub async fn resume(account: &Account, url: &str) -> Result<Option<Order>, Trouble> {
    match account.order(url.to_owned()).await {
        Ok(order) => Ok(Some(order)),
        // What only says "not now" leaves the order where it is.
        Err(instant_acme::Error::Api(problem)) => {
            let trouble = Trouble::told(&problem);
            if NOT_NOW.iter().any(|kind| trouble.is(kind)) { Err(trouble) } else { Ok(None) }
        }
        Err(other) => Err(other.into()),
    }
}

/// Begins a new one.
pub async fn begin(account: &Account, wanted: &Wanted<'_>) -> Result<Order, Trouble> {
    let names = [Identifier::Dns(wanted.name.to_string())];
    let replaced = wanted.replaces.map(CertificateDer::from);
    if let Some(old) = replaced.as_ref().and_then(|old| CertificateIdentifier::try_from(old).ok()) {
        match account.new_order(&NewOrder::new(&names).replaces(old)).await.map_err(Trouble::of_account) {
            Ok(order) => return Ok(order),
            Err(trouble) if trouble.is("rateLimited") || trouble.is("accountDoesNotExist") => {
                return Err(trouble);
            }
            // To name what is replaced is a courtesy: an order that is refused for it is placed without.
            Err(trouble) => {
                tracing::debug!(why = trouble.why, "the order is placed without naming what it replaces")
            }
        }
    }
    account.new_order(&NewOrder::new(&names)).await.map_err(Trouble::of_account)
}

/// Leads it to its end: the chain of certificates, PEM, unchecked.
pub async fn fulfil(order: &mut Order, wanted: &Wanted<'_>) -> Result<String, Trouble> {
    let policy = RetryPolicy::new().initial_delay(POLL).backoff(SLOWER).timeout(STEP);
    if order.state().status == OrderStatus::Pending {
        // Listens no longer than the authority has questions.
        let responder = Responder::bind(wanted.listen).map_err(Trouble::ours)?;
        prove(order, wanted.name, &policy, &responder).await.map_err(|trouble| match responder.rival() {
            Some(rival) if ASKED.iter().any(|kind| trouble.is(kind)) => {
                Trouble { why: format!("{}; {rival}", trouble.why), ..trouble }
            }
            _ => trouble,
        })?;
    }
    if order.state().status == OrderStatus::Ready {
        order.finalize_csr(&request(wanted)?).await?;
    }
    match order.state().status {
        OrderStatus::Valid => {
            let chain = order.certificate().await?;
            chain.ok_or_else(|| Trouble::wrong("the order is fulfilled and has no certificate"))
        }
        OrderStatus::Processing => Ok(order.poll_certificate(&policy).await?),
        _ => Err(refusal(order).await),
    }
}

/// Waits until the authority has asked, and knows that the name is ours.
async fn prove(
    order: &mut Order,
    name: &Domain,
    policy: &RetryPolicy,
    responder: &Responder,
) -> Result<(), Trouble> {
    authorize(order, name, responder).await?;
    match order.poll_ready(policy).await {
        Ok(OrderStatus::Ready) => Ok(()),
        Ok(_) => Err(refusal(order).await),
        Err(_) if order.state().status == OrderStatus::Invalid => Err(refusal(order).await),
        Err(other) => Err(other.into()),
    }
}

/// Gets ready to answer, and says so.
async fn authorize(order: &mut Order, name: &Domain, responder: &Responder) -> Result<(), Trouble> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let Some(mut challenge) = authorization.challenge(ChallengeType::Http01) else {
            return Err(Trouble::wrong(format!("it does not offer to ask {name} by HTTP (http-01)")));
        };
        let safe = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
        if challenge.token.is_empty() || challenge.token.len() > TOKEN || !challenge.token.bytes().all(safe) {
            return Err(Trouble::wrong("its token is none"));
        }
        responder.say(&challenge.token, challenge.key_authorization().as_str());
        // An earlier attempt may have said it already; then the authority is on its way.
        if challenge.status == ChallengeStatus::Pending {
            challenge.set_ready().await?;
        }
    }
    Ok(())
}

/// Why the authority has given an order up: it says so at the challenge, if anywhere.
pub async fn refusal(order: &mut Order) -> Trouble {
    let own = order.state().error.as_ref().map(Trouble::told);
    for _ in 0..QUESTIONS {
        match refused_challenge(order).await {
            // A nonce that was refused, most likely.
            Err(_) => {}
            Ok(Some(trouble)) => return trouble,
            Ok(None) => break,
        }
    }
    own.unwrap_or_else(|| {
        Trouble::ours("the certificate authority has given the order up, without saying why")
    })
}

async fn refused_challenge(order: &mut Order) -> Result<Option<Trouble>, instant_acme::Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        // What is known of it may be as old as the attempt.
        authorization.refresh().await?;
        let refused = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = refused {
            return Ok(Some(Trouble::told(problem)));
        }
    }
    Ok(None)
}

/// What is to be signed: the name, and our own key, which stays the same (so that a TLSA record `3 1 1` stays true).
fn request(wanted: &Wanted<'_>) -> Result<Vec<u8>, Trouble> {
    let made = || -> Result<Vec<u8>, rcgen::Error> {
        let key = KeyPair::from_pem(wanted.key)?;
        let mut parameters = CertificateParams::new([wanted.name.to_string()])?;
        parameters.distinguished_name = DistinguishedName::new();
        Ok(parameters.serialize_request(&key)?.der().to_vec())
    };
    made().map_err(|error| Trouble::ours(format!("the request for a certificate cannot be made: {error}")))
}
