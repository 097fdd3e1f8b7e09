//! What `[relay]` says, understood: the checks at start, and the answers for one destination.

use crate::config::{self, ConfigError, TlsLevel};
use crate::mail::address::{Domain, Host};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// The port of submission where TLS begins with the first octet (RFC 8314 section 3.3).
const IMPLICIT_TLS: u16 = 465;

/// Whether `[relay]` can be worked with; an error names the key and the remedy.
pub fn check(config: &config::Relay) -> Result<(), ConfigError> {
    check_source(&config.source)?;
    check_domains(config)?;
    let via = config.via.as_deref().map(Via::parse).transpose().map_err(ConfigError)?;
    check_login(config, via.is_some())?;
    if via.is_some_and(|via| via.has_implicit_tls()) && config.tls == TlsLevel::Off {
        return Err(ConfigError(
            "relay.tls = \"off\": port 465 of relay.via is TLS; use another port".into(),
        ));
    }
    Ok(())
}

/// `relay.via`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Via {
    pub(super) host: Host,
    pub(super) port: u16,
}

impl Via {
    /// An error names the key and the remedy.
    pub(super) fn parse(text: &str) -> Result<Via, String> {
        let want = |why: &str| {
            format!("relay.via = \"{text}\": {why}; want host:port, for instance \"smtp.isp.example:587\"")
        };
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Via { host: Host::Literal(address.ip()), port: address.port() });
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| want("there is no port"))?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| want("that is no port"))?;
        let host = Domain::parse(host).map_err(|error| want(&error.to_string()))?;
        Ok(Via { host: Host::Domain(host), port })
    }

    pub(super) fn has_implicit_tls(&self) -> bool {
        self.port == IMPLICIT_TLS
    }
}

/// How much protection connections for a destination need.
pub(super) fn level(config: &config::Relay, destination: &Host) -> TlsLevel {
    let Host::Domain(domain) = destination else { return config.tls };
    let own = config.domains.iter().find(|(name, _)| Domain::parse(name).as_ref() == Ok(domain));
    own.and_then(|(_, rules)| rules.tls).unwrap_or(config.tls)
}

fn check_source(source: &[IpAddr]) -> Result<(), ConfigError> {
    for (n, ip) in source.iter().enumerate() {
        if ip.is_unspecified() || ip.is_multicast() {
            let text = format!("relay.source: {ip} is no address to connect from; name one of this host's");
            return Err(ConfigError(text));
        }
        if source.iter().skip(n + 1).any(|other| other.is_ipv4() == ip.is_ipv4()) {
            let text = "relay.source: two addresses of one family; name one of IPv4 and one of IPv6 at most";
            return Err(ConfigError(text.into()));
        }
    }
    Ok(())
}

fn check_domains(config: &config::Relay) -> Result<(), ConfigError> {
    let mut known = BTreeSet::new();
    for name in config.domains.keys() {
        let key = format!("relay.domains.\"{name}\"");
        let domain = Domain::parse(name)
            .map_err(|error| ConfigError(format!("{key}: {error}; write the part behind the @")))?;
        if !known.insert(domain) {
            return Err(ConfigError(format!("{key}: the same domain is there twice; remove one")));
        }
    }
    Ok(())
}

fn check_login(config: &config::Relay, via: bool) -> Result<(), ConfigError> {
    let (file, command) = (config.password_file.is_some(), !config.password_command.is_empty());
    let fault = match (config.user.is_some(), file, command) {
        (false, false, false) => return Ok(()),
        (_, true, true) => "relay.password_file and relay.password_command: use one of the two",
        (false, ..) => "relay.user is missing: the password is for nobody; set it to the user at relay.via",
        (true, false, false) => {
            "relay.user has no password: set relay.password_file or relay.password_command"
        }
        (true, ..) if !via => "relay.user: nobody asks for it; set relay.via to the server that does",
        (true, ..) if config.tls == TlsLevel::Off => {
            "relay.tls = \"off\": a password goes only over TLS; remove relay.tls, or relay.user"
        }
        (true, ..) => return Ok(()),
    };
    Err(ConfigError(fault.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(text: &str) -> config::Relay {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_cannot_be_worked_with_is_named_with_its_remedy() {
        let refused = [
            ("source = [\"192.0.2.1\", \"192.0.2.2\"]", "relay.source: two addresses of one family"),
            ("source = \"::\"", "relay.source: :: is no address to connect from"),
            ("domains.\"a b\".tls = \"off\"", "relay.domains.\"a b\": "),
            ("domains.\"b.test\" = {}\ndomains.\"B.test\" = {}", "twice"),
            ("via = \"smtp.isp.test\"", "no port; want host:port"),
            ("via = \"smtp.isp.test:0\"", "no port; want host:port"),
            ("via = \"smtp_isp:25\"", "want host:port"),
            ("via = \"[::1]\"", "want host:port"),
            ("via = \"a.test:587\"\nuser = \"me\"", "relay.user has no password"),
            ("via = \"a.test:587\"\npassword_file = \"x\"", "relay.user is missing"),
            ("user = \"me\"\npassword_file = \"x\"", "set relay.via"),
            (
                "via = \"a.test:587\"\nuser = \"me\"\npassword_file = \"x\"\npassword_command = [\"y\"]",
                "use one of the two",
            ),
            ("via = \"a.test:587\"\nuser = \"me\"\npassword_file = \"x\"\ntls = \"off\"", "only over TLS"),
            ("via = \"a.test:465\"\ntls = \"off\"", "use another port"),
        ];
        for (text, why) in refused {
            let error = check(&relay(text)).unwrap_err().0;
            assert!(error.contains(why), "{text}: {error}");
        }
        let accepted = [
            "",
            "source = [\"192.0.2.1\", \"2001:db8::1\"]",
            "via = \"[::1]:25\"",
            "via = \"a.test:465\"\nuser = \"me\"\npassword_command = [\"pass\", \"isp\"]",
            "domains.\"b.test\".tls = \"off\"",
        ];
        for text in accepted {
            check(&relay(text)).unwrap();
        }
    }

    #[test]
    fn tls_begins_at_once_at_its_own_port_only() {
        let implicit = |text| Via::parse(text).unwrap().has_implicit_tls();
        assert!(implicit("a.test:465") && implicit("[::1]:465"));
        assert!(!implicit("a.test:587") && !implicit("192.0.2.1:25"));
    }

    #[test]
    fn a_domains_own_level_comes_first_however_it_is_written() {
        let config =
            relay("tls = \"require\"\ndomains.\"Bücher.test\".tls = \"off\"\ndomains.\"c.test\" = {}");
        let level = |text: &str| level(&config, &Host::parse(text).unwrap());
        assert_eq!(level("xn--bcher-kva.test"), TlsLevel::Off);
        assert_eq!(level("c.test"), TlsLevel::Require);
        assert_eq!(level("sub.xn--bcher-kva.test"), TlsLevel::Require, "a domain, not what is below it");
        assert_eq!(level("[192.0.2.1]"), TlsLevel::Require);
    }
}
