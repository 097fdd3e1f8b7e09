//! When the authority wants a certificate to be renewed (RFC 9773).

use super::attempt::{Held, Shop};
use super::client::{Client, Trouble};
use super::state::Asked;
use super::{clock, shown_time};
use crate::policy::renewal::Window;
use instant_acme::{CertificateIdentifier, Error};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;

/// How often an authority is asked which does not say how often it wants to be.
const EVERY: i64 = 6 * 3600;
/// How often at most, and at least.
const SOONEST: i64 = 60;
const LATEST: i64 = 86400;
/// How long the question may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A certificate's name among windows.
pub fn label(fingerprint: &[u8; 32]) -> String {
    fingerprint.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The window that is known for the certificate that is there.
pub fn known(held: &Held) -> Option<Window> {
    let of = label(&held.pair.as_ref()?.facts.fingerprint);
    held.state.window.as_ref().filter(|asked| asked.of == of).map(|asked| asked.window)
}

/// When the next question is due: certificates of other authorities are none of this one's business.
pub fn next_question(shop: &Shop, held: &Held) -> Option<i64> {
    let ours = held.state.directory.as_ref() == Some(&shop.settings.directory);
    (ours && held.pair.is_some()).then_some(held.state.ask)
}

/// Asks once. Whatever comes of it, what is known stays, and is bounded where it is used.
pub async fn ask(shop: Arc<Shop>, mut held: Held) -> Held {
    let name = held.name.clone();
    // Durable first: a server that is started again and again does not ask each time.
    held.state.ask = clock() + EVERY;
    if held.store().await.is_err() {
        return held;
    }
    match tokio::time::timeout(PATIENCE, answer(&shop, &held)).await {
        Ok(Ok(Some((window, after)))) => {
            held.state.ask = clock() + after.clamp(SOONEST, LATEST);
            let of = held.pair.as_ref().map(|pair| label(&pair.facts.fingerprint)).unwrap_or_default();
            let asked = Some(Asked { of, window });
            if held.state.window != asked {
                let (from, to) = (shown_time(window.start), shown_time(window.end));
                tracing::info!(name = name.as_str(), from, to, "the authority says when to renew");
                held.state.window = asked;
            }
        }
        Ok(Ok(None)) => held.state.ask = clock() + LATEST,
        Ok(Err(trouble)) => {
            tracing::debug!(
                name = name.as_str(),
                why = trouble.why,
                "the authority does not say when to renew"
            );
        }
        Err(_) => tracing::debug!(name = name.as_str(), "the authority does not say in time when to renew"),
    }
    if let Err(trouble) = held.store().await {
        tracing::debug!(name = name.as_str(), why = trouble.why, "what the authority says is not recorded");
    }
    held
}

/// Its window, and after how many seconds it wants to be asked again; none: it does not have such things.
async fn answer(shop: &Shop, held: &Held) -> Result<Option<(Window, i64)>, Trouble> {
    let Some(pair) = &held.pair else { return Ok(None) };
    let client = Client::new(shop.https.clone());
    let Some(account) = shop.accounts.existing(&client).await? else { return Ok(None) };
    let certificate = CertificateDer::from(pair.certificate());
    let Ok(id) = CertificateIdentifier::try_from(&certificate) else { return Ok(None) };
    match account.renewal_info(&id).await {
        Ok((info, after)) => {
            let window = info.suggested_window;
            let window = Window { start: window.start.unix_timestamp(), end: window.end.unix_timestamp() };
            Ok(Some((window, i64::try_from(after.as_secs()).unwrap_or(LATEST))))
        }
        Err(Error::Unsupported(_)) => Ok(None),
        Err(other) => Err(other.into()),
    }
}
