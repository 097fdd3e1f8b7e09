//! `[relay]`: how submitted letters go out.

use super::one_or_many;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// How much a connection must be protected before a letter goes over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsLevel {
    /// No TLS at all, whatever is offered: for a server whose TLS is broken.
    Off,
    /// The best that the other side has; what DANE and MTA-STS demand is demanded.
    Opportunistic,
    /// Only over TLS with a certificate that is right, by DANE or by the usual authorities.
    Require,
}

/// `[relay]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Relay {
    /// The port of other people's MX.
    pub port: u16,
    /// Whether loopback and private addresses may be connected to.
    pub allow_private: bool,
    /// The addresses that connections are made from, one of a family at most; a family that is not named is the
    /// system's choice.
    #[serde(deserialize_with = "one_or_many")]
    pub source: Vec<IpAddr>,
    /// A server that everything goes to, `host:port`, instead of the recipients' own: for those whose provider blocks
    /// port 25. Port 465 is TLS from the first octet. It may stand at any address: the owner named it himself.
    pub via: Option<String>,
    /// The user name at that server.
    pub user: Option<String>,
    /// The file whose first line is the password there.
    pub password_file: Option<PathBuf>,
    /// The command whose first line of output is the password there.
    pub password_command: Vec<String>,
    /// How much protection a connection needs.
    pub tls: TlsLevel,
    /// Certificates of authorities, PEM, in place of the system's.
    pub roots: Option<PathBuf>,
    /// The port of the HTTPS servers that MTA-STS policies come from.
    pub sts_port: u16,
    /// Exceptions by recipient domain.
    pub domains: BTreeMap<String, DomainRules>,
    /// Seconds until a letter that cannot be delivered comes back.
    pub retry_for: u64,
    /// Seconds until the sender is told of a delay.
    pub warn_after: u64,
}

/// `[relay.domains."example.org"]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DomainRules {
    /// In place of `relay.tls`.
    pub tls: Option<TlsLevel>,
}

impl Default for Relay {
    fn default() -> Relay {
        Relay {
            port: 25,
            allow_private: false,
            source: Vec::new(),
            via: None,
            user: None,
            password_file: None,
            password_command: Vec::new(),
            tls: TlsLevel::Opportunistic,
            roots: None,
            sts_port: 443,
            domains: BTreeMap::new(),
            retry_for: 5 * 24 * 3600,
            warn_after: 4 * 3600,
        }
    }
}
