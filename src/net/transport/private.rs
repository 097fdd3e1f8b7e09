//! The way to one's own server through the world: TLS from the first octet, to a certificate that is the right one.

use super::{CONNECT, Stream, TransportError, connect_host, place_of, with_port};
use crate::net::tls::TlsClient;
use crate::policy::tls::{Demand, Tlsa};

/// The port of submission where TLS begins with the first octet (RFC 8314 section 3.3).
const PORT: u16 = 465;

/// What shows that a server is one's own. There is no way without: a seal protects a letter from being sent by others, not from being
/// read.
#[derive(Debug)]
pub struct Assurance {
    tls: TlsClient,
    demand: Demand,
}

impl Assurance {
    /// A certificate that one of `pins` matches; without any, one that the system's authorities vouch for. An error says why TLS cannot
    /// be had here.
    pub fn new(pins: Vec<Tlsa>) -> Result<Assurance, String> {
        let tls = TlsClient::new(None).map_err(|error| error.to_string())?;
        let demand = if pins.is_empty() { Demand::Verified } else { Demand::Dane(pins) };
        Ok(Assurance { tls, demand })
    }

    /// Goes `smtps://host:port` (465 where there is no port) with `{server}` filled in.
    pub async fn reach(&self, url: &str, server: &str) -> Result<Stream, TransportError> {
        let place = place_of(url, "smtps", server)?;
        let place = with_port(&place, PORT);
        let Stream::Tcp(stream) = connect_host(&place).await? else {
            return Err(TransportError(format!("{place}: no connection")));
        };
        let host = place.rsplit_once(':').map_or(place.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let shaken = self.tls.handshake(stream, &[host], &self.demand, CONNECT).await;
        match shaken {
            Ok((stream, _)) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) => {
                let wanted = match self.demand {
                    Demand::Dane(_) => "submit_tlsa in home.toml says which certificate it must be",
                    _ => "submit_tlsa in home.toml can name a certificate that no authority vouches for",
                };
                let shows = "`pillarbox cert status` on the server shows what belongs there";
                Err(TransportError(format!("{place}: TLS: {error}; {wanted}; {shows}")))
            }
        }
    }
}
