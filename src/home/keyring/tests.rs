use super::*;
use crate::config::HomeAddress;
use crate::home::fake::Place;
use crate::trust::keys::generate_pem;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn selectors(config: &config::Home, sender: &str) -> Result<Vec<String>, Failure> {
    let keys = Keyring::new(config).pick(&address(sender))?;
    Ok(keys.into_iter().map(|key| format!("{}@{}", key.selector, key.domain)).collect())
}

fn with_keys(mut config: config::Home, name: &str, keys: &[&str]) -> config::Home {
    let keys = keys.iter().map(|key| key.to_string()).collect();
    config.addresses.insert(name.into(), HomeAddress { into: None, keys });
    config
}

#[test]
fn an_address_its_suffixes_and_its_capitals_have_one_key() {
    let place = Place::new();
    let config = place.home(&[]);
    for sender in ["me@example.org", "me+list@example.org", "me/topic@example.org", "Me+X@Example.ORG"] {
        assert_eq!(selectors(&config, sender).unwrap(), ["me@example.org"], "{sender}");
        assert!(Keyring::new(&config).holds(&address(sender)), "{sender}");
    }
    for sender in ["you@example.org", "me@example.com", "meme@example.org", "me-x@example.org"] {
        assert!(!Keyring::new(&config).holds(&address(sender)), "{sender}");
        let failure = selectors(&config, sender).unwrap_err();
        assert_eq!(failure.exit, Exit::Config);
        assert!(failure.message.contains(&format!("{sender}-dkim.pem")), "{failure}");
    }
}

#[test]
fn a_key_of_the_suffix_itself_comes_first() {
    let place = Place::new();
    place.key("me+list@example.org");
    let config = place.home(&[]);
    assert_eq!(selectors(&config, "me+list@example.org").unwrap(), ["me+list@example.org"]);
    assert_eq!(selectors(&config, "me+other@example.org").unwrap(), ["me@example.org"]);
}

#[test]
fn names_cannot_leave_the_folder() {
    let place = Place::new();
    std::fs::create_dir(place.dir.path().join("mail/me")).unwrap();
    place.key("me/x@example.org");
    place.key("../up@example.org");
    let config = place.home(&[]);
    assert_eq!(selectors(&config, "me/x@example.org").unwrap(), ["me@example.org"]);
    assert!(selectors(&config, "\"../up\"@example.org").is_err());
    assert!(selectors(&config, "\"/up\"@example.org").is_err());
    let config = with_keys(config, "me@example.org", &["../up"]);
    assert_eq!(selectors(&config, "me@example.org").unwrap_err().exit, Exit::Config);
}

#[test]
fn an_ed25519_key_beside_signs_too() {
    let place = Place::new();
    let pem = generate_pem(Algorithm::Ed25519).unwrap();
    std::fs::write(place.dir.path().join("mail/me.ed25519@example.org-dkim.pem"), pem).unwrap();
    let config = place.home(&[]);
    let both = ["me@example.org", "me.ed25519@example.org"];
    assert_eq!(selectors(&config, "me@example.org").unwrap(), both);
}

#[test]
fn several_keys_are_picked_at_random() {
    let place = Place::new();
    place.key("x7f3@example.org");
    place.key("k9q2@example.org");
    let config = with_keys(place.home(&[]), "Me@example.org", &["x7f3", "k9q2"]);
    let mut seen = BTreeSet::new();
    // Both are seen, but for one case in 2^63.
    for _ in 0..64 {
        let picked = selectors(&config, "me+list@example.org").unwrap();
        assert_eq!(picked.len(), 1);
        seen.extend(picked);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["k9q2@example.org", "x7f3@example.org"]);

    let config = with_keys(config, "me@example.org", &["x7f3", "lost"]);
    let config = config::Home {
        addresses: config.addresses.into_iter().filter(|(name, _)| name.starts_with('m')).collect(),
        ..config
    };
    let failure = selectors(&config, "me@example.org").unwrap_err();
    assert!(failure.message.contains("lost@example.org-dkim.pem"), "{failure}");
}

#[test]
fn an_alias_signs_with_its_owners_key() {
    let place = Place::new();
    let config = with_keys(place.home(&[]), "blog@example.org", &["me"]);
    assert_eq!(selectors(&config, "blog@example.org").unwrap(), ["me@example.org"]);
}

#[test]
fn a_broken_key_is_named() {
    let place = Place::new();
    std::fs::write(place.dir.path().join("mail/me@example.org-dkim.pem"), "no key").unwrap();
    let config = place.home(&[]);
    assert!(Keyring::new(&config).holds(&address("me@example.org")));
    let failure = selectors(&config, "me@example.org").unwrap_err();
    assert_eq!(failure.exit, Exit::Config);
    assert!(failure.message.contains("me@example.org-dkim.pem"), "{failure}");
}

#[test]
fn the_only_address() {
    let place = Place::new();
    let sole = |config: &config::Home| Keyring::new(config).sole_address().map(|a| a.to_string());
    place.key("me.ed25519@example.org");
    assert_eq!(sole(&place.home(&[])).as_deref(), Some("me@example.org"));
    place.key("x7f3@example.org");
    assert_eq!(sole(&place.home(&[])), None);
    let config = with_keys(place.home(&[]), "me@example.org", &["x7f3"]);
    assert_eq!(sole(&config).as_deref(), Some("me@example.org"));
    place.key("me@example.com");
    assert_eq!(sole(&config), None);
}
