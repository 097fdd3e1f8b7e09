//! server.toml: the doors, the limits and the rules.

use super::{ConfigError, Network, Relay, Sources, Tls, load};
use serde::Deserialize;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// server.toml.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Our name in greetings and trace fields; the system's host name by default.
    pub hostname: String,
    /// The tree of domains and addresses.
    pub mail_root: PathBuf,
    /// Queue, seen log, dead letters, the root's identity, the submission socket.
    pub state_dir: PathBuf,
    /// The user to become when started as root.
    pub user: Option<String>,
    /// Where the doors are.
    pub listen: Listen,
    /// What the doors show under TLS.
    pub tls: Tls,
    /// How names are looked up.
    pub dns: Dns,
    /// What one client may take.
    pub limits: Limits,
    /// Rules for strangers' letters.
    pub inbound: Inbound,
    /// Rules for the owner's letters.
    pub submission: Submission,
    /// How submitted letters go out.
    pub relay: Relay,
}

/// `[listen]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Strangers' door.
    pub mx: Vec<SocketAddr>,
    /// The owner's door; loopback only.
    pub submission: Vec<SocketAddr>,
    /// The owner's door to the world, under TLS from the first octet (RFC 8314); none by default.
    pub submissions: Vec<SocketAddr>,
}

/// `[dns]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// Name servers; empty: those of /etc/resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// Who checks DNSSEC; unset: `trust` where every server is on loopback, else `validate`, and a server that does
    /// not pass DNSSEC on is worked with, without DANE.
    pub dnssec: Option<Dnssec>,
    /// Trust anchors (DS or DNSKEY records in master file format) instead of the root's.
    pub anchors: Option<PathBuf>,
}

/// Who checks DNSSEC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dnssec {
    /// We do.
    Validate,
    /// The name servers do, and their AD bit is believed.
    Trust,
    /// Nobody: there is no DANE.
    Off,
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest message, in octets.
    pub message_size: u64,
    /// The most recipients of one message.
    pub recipients: usize,
    /// The most connections through the mx door.
    pub connections: usize,
    /// The most connections of one address through the mx door; its network (IPv4 /24, IPv6 /64) may have four times
    /// as many.
    pub connections_per_ip: usize,
    /// Seconds a client may take for a command.
    pub command_timeout: u64,
    /// Octets that must stay free on the disks of `mail_root` and `state_dir`.
    pub free_space: u64,
    /// What one address may do at the mx door.
    pub per_minute: PerMinute,
    /// Networks to which `per_minute` does not apply.
    pub exempt: Vec<Network>,
}

/// `[limits.per_minute]`: what one address may do at the mx door in the long run; 0: as much as it likes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerMinute {
    /// Connections that it opens.
    pub connections: u64,
    /// Commands of any kind.
    pub commands: u64,
    /// `RCPT`s, whatever their answer.
    pub recipients: u64,
    /// Errors of syntax and sequence, and words before the greeting.
    pub errors: u64,
    /// Octets that it sends.
    pub octets: u64,
    /// `MAIL`s, whatever their answer.
    pub messages: u64,
}

/// What to do with a letter whose signatures are broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BrokenDkim {
    /// Refuse it (the article's rule).
    Reject,
    /// Take it, and leave the verdict to DMARC.
    Mark,
}

/// `[inbound]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inbound {
    /// The rule for broken signatures.
    pub broken_dkim: BrokenDkim,
    /// DKIM domains of lists and forwarders that may bring our own domain in From.
    pub trusted_forwarders: Vec<String>,
    /// What separates an address from its topic.
    pub topic_separators: String,
    /// Lists of addresses (DNSBL zones) whose listings are refused.
    pub dnsbl: Vec<String>,
    /// A program that judges each letter, and its arguments; empty: none.
    pub filter: Vec<String>,
    /// Seconds that it may take for a letter.
    pub filter_timeout: u64,
    /// Whom it runs as, where the server is started as root.
    pub filter_user: String,
}

/// What the submission door accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accept {
    /// Letters with an Envelope-Seal.
    Sealed,
    /// Letters with a plain DKIM signature, from loopback.
    Plain,
}

/// `[submission]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Submission {
    /// The accepted forms.
    pub accept: Vec<Accept>,
}

impl Server {
    /// Reads server.toml: the named file, else /etc/pillarbox/server.toml if it is there, else defaults.
    pub fn load(sources: &Sources) -> Result<Server, ConfigError> {
        load(sources, Path::new("/etc/pillarbox/server.toml"))
    }
}

impl Default for Server {
    fn default() -> Server {
        Server {
            hostname: default_hostname(),
            mail_root: "/var/mail".into(),
            state_dir: "/var/lib/pillarbox".into(),
            user: None,
            listen: Listen::default(),
            tls: Tls::default(),
            dns: Dns::default(),
            limits: Limits::default(),
            inbound: Inbound::default(),
            submission: Submission::default(),
            relay: Relay::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Listen {
        Listen {
            mx: vec![SocketAddr::from(([0, 0, 0, 0], 25)), SocketAddr::from(([0u16; 8], 25))],
            submission: vec![
                SocketAddr::from(([127, 0, 0, 1], 587)),
                SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1u16], 587)),
            ],
            submissions: Vec::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_size: 50 << 20,
            recipients: 100,
            connections: 500,
            connections_per_ip: 20,
            command_timeout: 300,
            free_space: 100 << 20,
            per_minute: PerMinute::default(),
            exempt: vec![
                Network::of(Ipv4Addr::LOCALHOST.into(), 8),
                Network::of(Ipv6Addr::LOCALHOST.into(), 128),
            ],
        }
    }
}

/// What the host of a busy list brings, or a provider after a day's outage, and more than that.
impl Default for PerMinute {
    fn default() -> PerMinute {
        PerMinute {
            connections: 300,
            commands: 6000,
            recipients: 2000,
            errors: 20,
            octets: 600 << 20,
            messages: 1000,
        }
    }
}

impl Default for Inbound {
    fn default() -> Inbound {
        Inbound {
            broken_dkim: BrokenDkim::Reject,
            trusted_forwarders: Vec::new(),
            topic_separators: "/+".into(),
            dnsbl: Vec::new(),
            filter: Vec::new(),
            filter_timeout: 30,
            filter_user: "nobody".into(),
        }
    }
}

impl Default for Submission {
    fn default() -> Submission {
        Submission { accept: vec![Accept::Sealed] }
    }
}

fn default_hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "localhost".into())
}
