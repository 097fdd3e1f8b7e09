//! Configuration: TOML, everything has a default, unknown keys are errors with line and column.

mod home;
mod network;
mod relay;
mod server;
mod tls;

pub use home::{Home, HomeAddress, NO_SERVER, Via};
pub use network::Network;
pub use relay::{DomainRules, Relay, TlsLevel};
pub use server::{Accept, BrokenDkim, Dns, Dnssec, Inbound, Limits, Listen, PerMinute, Server, Submission};
pub use tls::{Acme, Tls};

use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Why a configuration cannot be used: file, line, column and remedy are in the text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Where a program's configuration comes from: `--config` or `PILLARBOX_CONFIG`, and `-o key=value` over it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that was named; it must exist.
    pub file: Option<PathBuf>,
    /// `-o key=value`, in order.
    pub overrides: Vec<String>,
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
        config = table
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError(format!("-o {option}: {}", error.message())))?;
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

/// `~/x` → `$HOME/x`.
fn expand(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path.to_owned(),
    }
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
