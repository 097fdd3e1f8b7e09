//! Configuration: TOML, everything has a default, unknown keys are errors with line and column.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

mod relay;

pub use relay::{DomainRules, Relay, TlsLevel};

/// Why a configuration cannot be used: file, line, column and remedy are in the text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// What is said to whom has no server yet.
pub const NO_SERVER: &str = "no server; write in ~/.config/pillarbox/home.toml: \
                             server = \"pillarbox@mx.example.org\" (an ssh destination)";

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
    /// The most connections of one address through the mx door.
    pub connections_per_ip: usize,
    /// Seconds a client may take for a command.
    pub command_timeout: u64,
    /// Octets that must stay free on the disks of `mail_root` and `state_dir`.
    pub free_space: u64,
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

impl Default for Server {
    fn default() -> Server {
        Server {
            hostname: default_hostname(),
            mail_root: "/var/mail".into(),
            state_dir: "/var/lib/pillarbox".into(),
            user: None,
            listen: Listen::default(),
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
        }
    }
}

impl Default for Inbound {
    fn default() -> Inbound {
        Inbound {
            broken_dkim: BrokenDkim::Reject,
            trusted_forwarders: Vec::new(),
            topic_separators: "/+".into(),
        }
    }
}

impl Default for Submission {
    fn default() -> Submission {
        Submission { accept: vec![Accept::Sealed] }
    }
}

/// home.toml.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Home {
    /// The ssh destinations of the server, or servers.
    #[serde(deserialize_with = "one_or_many")]
    pub server: Vec<String>,
    /// The permanent Maildirs and the keys.
    pub mail: PathBuf,
    /// How to reach the submission door: a command, or an `smtp://host:port` URL.
    pub submit_via: Via,
    /// How to reach the gate's export: a command.
    pub pull_via: Via,
    /// How to reach the gate's view of the queue: a command.
    pub queue_via: Via,
    /// Where letters wait that could not be submitted.
    pub outbox: PathBuf,
    /// A command to run when a pull brought something.
    pub after_pull: Vec<String>,
    /// The identity of letters without a usable From.
    pub from: Option<String>,
    /// Exceptions by address.
    pub addresses: BTreeMap<String, HomeAddress>,
}

/// `[addresses."me@example.org"]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HomeAddress {
    /// The Maildir that this address is pulled into.
    pub into: Option<PathBuf>,
    /// Selectors of several keys, picked at random.
    pub keys: Vec<String>,
}

/// The way to a server: a command whose stdin and stdout are the other side, or a URL.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Via {
    /// `smtp://host:port`.
    Url(String),
    /// A command; `{server}` is filled in.
    Command(Vec<String>),
}

impl Default for Home {
    fn default() -> Home {
        let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into()));
        // A server that is gone must not keep whoever wrote a letter waiting for TCP's two minutes.
        let ssh = ["ssh", "-o", "ConnectTimeout=10", "{server}", "pillarbox", "gate"];
        let command =
            |verb: &str| Via::Command(ssh.iter().copied().chain([verb]).map(String::from).collect());
        Home {
            server: Vec::new(),
            mail: home.join(".private/mail"),
            submit_via: command("submit"),
            pull_via: command("export"),
            queue_via: command("queue"),
            outbox: home.join(".local/state/pillarbox/outbox"),
            after_pull: Vec::new(),
            from: None,
            addresses: BTreeMap::new(),
        }
    }
}

/// Where a program's configuration comes from: `--config` or `PILLARBOX_CONFIG`, and `-o key=value` over it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that was named; it must exist.
    pub file: Option<PathBuf>,
    /// `-o key=value`, in order.
    pub overrides: Vec<String>,
}

impl Server {
    /// Reads server.toml: the named file, else /etc/pillarbox/server.toml if it is there, else defaults.
    pub fn load(sources: &Sources) -> Result<Server, ConfigError> {
        let config: Server = load(sources, Path::new("/etc/pillarbox/server.toml"))?;
        Ok(config)
    }
}

impl Home {
    /// Reads home.toml: the named file, else ~/.config/pillarbox/home.toml if it is there, else defaults.
    pub fn load(sources: &Sources) -> Result<Home, ConfigError> {
        let mut config: Home = load(sources, &default_home_file())?;
        config.mail = expand(&config.mail);
        config.outbox = expand(&config.outbox);
        for address in config.addresses.values_mut() {
            address.into = address.into.as_deref().map(expand);
        }
        Ok(config)
    }
}

fn load<T: serde::de::DeserializeOwned>(sources: &Sources, default: &Path) -> Result<T, ConfigError> {
    let path = sources.file.as_deref().unwrap_or(default);
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && sources.file.is_none() => String::new(),
        Err(error) => return Err(ConfigError(format!("{}: {error}", path.display()))),
    };
    let located = |error: &dyn std::fmt::Display| ConfigError(format!("{}: {error}", path.display()));
    // The file alone first, so that its mistakes are reported with line and column.
    let mut config = toml::from_str(&text).map_err(|error| located(&error))?;
    let mut table: toml::Table = toml::from_str(&text).map_err(|error| located(&error))?;
    for option in &sources.overrides {
        override_key(&mut table, option)?;
        // One after another, so that the mistaken one is named.
        config = table.clone().try_into().map_err(|error: toml::de::Error| {
            ConfigError(format!("-o {option}: {}", error.message()))
        })?;
    }
    Ok(config)
}

/// `dotted.key=value`: the value is TOML, else a string. Keys with dots in them are quoted, as in TOML.
fn override_key(table: &mut toml::Table, option: &str) -> Result<(), ConfigError> {
    let bad = || ConfigError(format!("-o {option}: want key=value, for instance -o limits.recipients=50"));
    let (key, value) = split_option(option).ok_or_else(bad)?;
    let parsed: toml::Table = match toml::from_str(&format!("{key} = {value}")) {
        Ok(parsed) => parsed,
        Err(_) => {
            let quoted = toml::Value::String(value.to_owned());
            toml::from_str(&format!("{key} = {quoted}")).map_err(|_| bad())?
        }
    };
    merge(table, parsed);
    Ok(())
}

/// Splits at the first `=` outside of quotes.
fn split_option(option: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let at = option.find(|c| {
        quoted ^= c == '"';
        c == '=' && !quoted
    })?;
    Some((option[..at].trim(), option[at + 1..].trim()))
}

fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn default_home_file() -> PathBuf {
    let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    base.unwrap_or_else(|| expand(Path::new("~/.config"))).join("pillarbox/home.toml")
}

/// `~/x` → `$HOME/x`.
fn expand(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path.to_owned(),
    }
}

fn default_hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "localhost".into())
}

fn one_or_many<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "want one value of the right form, or a list of them")]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(options: &[&str]) -> Result<Server, ConfigError> {
        Server::load(&Sources { file: None, overrides: options.iter().map(|o| o.to_string()).collect() })
    }

    #[test]
    fn overrides_take_toml_values_else_strings() {
        let config =
            with(&["limits.recipients=7", "hostname=mx.example", "listen.mx=[\"[::1]:0\"]"]).unwrap();
        assert_eq!(config.limits.recipients, 7);
        assert_eq!(config.hostname, "mx.example");
        assert_eq!(config.listen.mx, ["[::1]:0".parse().unwrap()]);
    }

    #[test]
    fn unknown_keys_are_errors() {
        assert!(with(&["limits.recipient=7"]).unwrap_err().0.contains("recipient"));
        let text = with(&["relay.retry_for=9", "relay.warn_after=4h", "hostname=a"]).unwrap_err().0;
        assert!(text.starts_with("-o relay.warn_after=4h: "), "{text}");
        let text = with(&["relay.source=home"]).unwrap_err().0;
        assert!(text.contains("want one value of the right form"), "{text}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hostname = \"a\"\nnonsense = 1\n").unwrap();
        let sources = Sources { file: Some(file.path().to_owned()), overrides: vec![] };
        let text = Server::load(&sources).unwrap_err().0;
        assert!(text.contains("line 2") && text.contains("nonsense"), "{text}");
    }
}
