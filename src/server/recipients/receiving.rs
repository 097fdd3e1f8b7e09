//! Whether a domain can receive mail, as DNS says.

use crate::mail::address::{Address, Domain};
use crate::net::dns::{Dns, MailHosts};
use crate::server::limits::watch;
use crate::server::replies;
use crate::smtp::reply::Reply;

/// The article's `verify = recipient`, while the owner is there to hear it. A fault of DNS is no reason to send
/// him away: the queue asks again.
pub async fn recipient_can_receive(
    dns: &Dns,
    address: &Address,
    watched: Option<&watch::Client>,
) -> Result<(), Reply> {
    let Some(domain) = address.domain() else { return Ok(()) };
    match cannot_receive(dns, domain, watched).await {
        Ok(Some(why)) => Err(replies::recipient_cannot_receive(domain.as_str(), why)),
        Ok(None) | Err(_) => Ok(()),
    }
}

/// Why a domain cannot receive mail; none: it can. A DNS fault is an error, with its reply.
pub(super) async fn cannot_receive(
    dns: &Dns,
    domain: &Domain,
    watched: Option<&watch::Client>,
) -> Result<Option<&'static str>, Reply> {
    match dns.mail_hosts(domain).await {
        Ok(MailHosts::Mx(_) | MailHosts::Implicit) => Ok(None),
        Ok(MailHosts::NullMx) => Ok(Some("its MX record says that it takes none (RFC 7505)")),
        Ok(MailHosts::NoDomain) => Ok(Some("it does not exist in DNS")),
        Ok(MailHosts::NoHosts) => Ok(Some("it has neither MX nor A nor AAAA in DNS")),
        Err(error) => {
            if watched.is_none_or(|client| client.may_tell_refusal("DNS does not say")) {
                tracing::info!(%domain, %error, "DNS does not say whether a domain can receive mail");
            }
            Err(replies::dns_fault(domain.as_str()))
        }
    }
}
