//! home.toml: where the mail lies at home, and the ways to the servers.

use super::{ConfigError, Sources, expand, load, one_or_many};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is said to whom has no server yet.
pub const NO_SERVER: &str = "no server; write in ~/.config/pillarbox/home.toml: \
                             server = \"pillarbox@mx.example.org\" (an ssh destination)";

/// home.toml.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Home {
    /// The ssh destinations of the server, or servers.
    #[serde(deserialize_with = "one_or_many")]
    pub server: Vec<String>,
    /// The permanent Maildirs and the keys.
    pub mail: PathBuf,
    /// How to reach the submission door: a command, or an `smtp://host:port` or `smtps://host:port` URL.
    pub submit_via: Via,
    /// What the certificate behind `smtps://` must match, in place of the system's authorities: TLSA records, `3 1 1 DIGEST`.
    #[serde(deserialize_with = "one_or_many")]
    pub submit_tlsa: Vec<String>,
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
    /// `smtp://host:port`, or `smtps://host:port`.
    Url(String),
    /// A command; `{server}` is filled in.
    Command(Vec<String>),
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
            submit_tlsa: Vec::new(),
            pull_via: command("export"),
            queue_via: command("queue"),
            outbox: home.join(".local/state/pillarbox/outbox"),
            after_pull: Vec::new(),
            from: None,
            addresses: BTreeMap::new(),
        }
    }
}

fn default_home_file() -> PathBuf {
    let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    base.unwrap_or_else(|| expand("~/.config".as_ref())).join("pillarbox/home.toml")
}
