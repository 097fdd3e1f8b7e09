use super::*;
use crate::config::HomeAddress;

fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

#[test]
fn labels_are_names_of_places_beneath_mail_and_nothing_else() {
    for good in ["example.org/me", "example.org/me/topic", "example.org/*", "example.org/a b"] {
        assert!(Label::parse(good).is_some(), "{good}");
    }
    let bad = [
        "",
        "/",
        "a",
        "a/",
        "/a",
        "a//b",
        "a/b/",
        "a/b/c/d",
        "../a",
        "a/..",
        "a/.b",
        "a/b/..",
        "a/cur",
        "a/b/new",
        "a/b/tmp",
        "a/b\0",
        "a/b\n",
        ".pillarbox/staging",
    ];
    for bad in bad {
        assert!(Label::parse(bad).is_none(), "{bad:?}");
    }
    assert!(Label::parse(&format!("a/{}", "b".repeat(256))).is_none());
}

#[test]
fn letters_go_where_into_says_and_topics_with_their_address() {
    let mail = tempfile::tempdir().unwrap();
    let mut config = config::Home { mail: mail.path().to_owned(), ..config::Home::default() };
    for (address, into) in [("me@example.org", "me"), ("me/special@example.org", "elsewhere/special")] {
        let into = Some(mail.path().join(into));
        config.addresses.insert(address.into(), HomeAddress { into, keys: vec![] });
    }
    let places = Places::open(&config).unwrap();
    let path = |text: &str| places.path_of(&label(text)).strip_prefix(mail.path()).unwrap().to_owned();
    assert_eq!(path("example.org/me"), Path::new("me"));
    assert_eq!(path("example.org/me/topic"), Path::new("me/topic"));
    assert_eq!(path("example.org/me/special"), Path::new("elsewhere/special"));
    assert_eq!(path("example.org/you"), Path::new("example.org/you"));
    assert_eq!(path("example.net/me"), Path::new("example.net/me"));
}

#[test]
fn maildirs_on_one_mount_share_the_staging_directory_and_others_have_their_own() {
    let mail = tempfile::tempdir().unwrap();
    let config = config::Home { mail: mail.path().to_owned(), ..config::Home::default() };
    let mut places = Places::open(&config).unwrap();
    let own = places.maildir_of(&label("example.org/me")).unwrap();
    assert_eq!(places.staging_for(&own).unwrap().path, mail.path().join(".pillarbox/staging"));
    // Every machine has a second mount that can be written to.
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let foreign = places.maildir(&elsewhere.path().join("me")).unwrap();
    let staging = places.staging_for(&foreign).unwrap();
    assert_eq!(staging.path, elsewhere.path().join("me/.pillarbox"));
    std::fs::write(staging.path.join("staged"), "text").unwrap();
    assert!(crate::home::pull::maildir::appear(&staging.handle, "staged", &foreign, "new/1.a").unwrap());
}

#[test]
fn a_mail_directory_that_cannot_be_written_down_is_a_mistake_in_the_configuration() {
    let config = config::Home { mail: "relative".into(), ..config::Home::default() };
    assert_eq!(Places::open(&config).unwrap_err().exit, Exit::Config);
}
