//! `[tls.acme]`, read strictly: what is wrong with it is said at the start.

use super::client::printable;
use crate::config;
use crate::error::{Exit, Failure};
use crate::mail::address::{Address, Domain};
use crate::net::dns::Dns;
use crate::net::https::Https;
use crate::net::tls::TlsClient;
use hyper::Uri;
use std::net::SocketAddr;

/// The directories that have a short name.
const KNOWN: [(&str, &str); 2] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
];
/// Octets of a name, which is one of a file too.
const NAME: usize = 240;

/// What is configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The URL of the authority's directory.
    pub directory: String,
    /// `mailto:` URLs.
    pub contact: Vec<String>,
    /// Each once; never empty.
    pub names: Vec<Domain>,
    /// Where the authority asks.
    pub listen: Vec<SocketAddr>,
}

impl Settings {
    /// Reads the table of a server that is called `hostname`.
    pub fn of(acme: &config::Acme, hostname: &Domain) -> Result<Settings, Failure> {
        let mut names = Vec::new();
        for name in &acme.names {
            let name = domain(name)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() {
            names.push(hostname.clone());
        }
        if acme.listen.is_empty() {
            return Err(wrong(
                "listen",
                "[]",
                "the authority must have an address to ask at; port 80 is the rule",
            ));
        }
        let contact = acme.contact.iter().map(|contact| mailto(contact)).collect::<Result<_, _>>()?;
        Ok(Settings { directory: directory(&acme.directory)?, contact, names, listen: acme.listen.clone() })
    }
}

/// What the authority is spoken to through. Its addresses may be private ones: the owner has named it.
pub fn https(config: &config::Server, acme: &config::Acme) -> Result<Https, Failure> {
    let dns = Dns::new(&config.dns).map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    let tls = TlsClient::new(acme.roots.as_deref())
        .map_err(|error| Failure::new(Exit::Config, format!("tls.acme.roots: {error}")))?;
    Ok(Https { dns, tls, port: 443, source: Vec::new(), allow_private: true })
}

fn directory(text: &str) -> Result<String, Failure> {
    if let Some((_, url)) = KNOWN.iter().find(|(name, _)| *name == text) {
        return Ok((*url).to_owned());
    }
    // A password would stand in the log.
    let good = |url: &Uri| {
        let authority = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        url.scheme_str() == Some("https") && authority
    };
    let url = text.parse::<Uri>().ok().filter(good);
    url.map(|_| text.to_owned()).ok_or_else(|| {
        wrong("directory", text, "it is letsencrypt, letsencrypt-staging, or a URL that begins with https:// and has no user's name")
    })
}

fn domain(text: &str) -> Result<Domain, Failure> {
    if text.starts_with("*.") {
        return Err(wrong("names", text, "a wildcard cannot be proved by HTTP; name each host"));
    }
    let name = Domain::parse(text).map_err(|error| wrong("names", text, &error.to_string()))?;
    if name.as_str().len() > NAME { Err(wrong("names", text, "it is too long")) } else { Ok(name) }
}

fn mailto(text: &str) -> Result<String, Failure> {
    let bare = text.strip_prefix("mailto:").unwrap_or(text);
    let address = Address::parse(bare).map_err(|error| wrong("contact", text, &error.to_string()))?;
    Ok(format!("mailto:{address}"))
}

fn wrong(key: &str, value: &str, why: &str) -> Failure {
    Failure::new(Exit::Config, format!("tls.acme.{key} {}: {why}", printable(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(acme: config::Acme) -> Result<Settings, String> {
        let name = Domain::parse("mx.here.example").unwrap();
        Settings::of(&acme, &name).map_err(|failure| {
            assert_eq!(failure.exit, Exit::Config);
            failure.to_string()
        })
    }

    #[test]
    fn defaults_are_lets_encrypt_and_our_own_name() {
        let settings = read(config::Acme::default()).unwrap();
        assert_eq!(settings.directory, "https://acme-v02.api.letsencrypt.org/directory");
        assert_eq!(settings.names, [Domain::parse("mx.here.example").unwrap()]);
    }

    #[test]
    fn names_are_domains_and_each_is_taken_once() {
        let with = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            read(config::Acme { names, ..config::Acme::default() })
        };
        assert_eq!(with(&["A.example", "a.example."]).unwrap().names.len(), 1);
        for bad in ["*.here.example", "a b", "../x", "me@here.example", "192.0.2.1"] {
            let fault = with(&[bad]).unwrap_err();
            assert!(fault.starts_with("tls.acme.names "), "{bad}: {fault}");
        }
    }

    #[test]
    fn contacts_and_directories_are_what_they_must_be() {
        let contact = |text: &str| {
            read(config::Acme { contact: vec![text.into()], ..config::Acme::default() })
                .map(|settings| settings.contact)
        };
        assert_eq!(contact("me@here.example").unwrap(), ["mailto:me@here.example"]);
        assert_eq!(contact("mailto:me@here.example").unwrap(), ["mailto:me@here.example"]);
        contact("me").unwrap_err();
        let directory = |text: &str| read(config::Acme { directory: text.into(), ..config::Acme::default() });
        assert!(directory("https://[::1]:14000/dir").is_ok());
        for bad in [
            "",
            "letsencrypt-production",
            "http://ca.example/",
            "https://",
            "https://me:word@ca.example/",
            "\u{1b}",
        ] {
            assert!(directory(bad).unwrap_err().starts_with("tls.acme.directory "), "{bad}");
        }
    }
}
