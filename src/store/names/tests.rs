use super::{Component, Readings, fold, is_domain};
use proptest::prelude::*;

fn component(text: &str) -> Option<String> {
    Component::parse(text).map(|it| it.as_str().to_owned())
}

/// The literal reading, and the topic's with `-` for a topic that cannot be.
fn readings(local: &str) -> Option<(Option<String>, Option<String>)> {
    let Readings { literal, topic } = Readings::of(local, "/+")?;
    let topic =
        topic.map(|(of, topic)| format!("{} {}", of.as_str(), topic.as_ref().map_or("-", Component::as_str)));
    Some((literal.map(|it| it.as_str().to_owned()), topic))
}

#[test]
fn a_component_cannot_leave_its_directory_nor_be_part_of_a_maildir() {
    for good in ["me", "*", "+", "a b", "me.laptop", "newer", "a..", "café", &"x".repeat(255)] {
        assert_eq!(component(good).as_deref(), Some(good));
    }
    for bad in
        ["", ".", "..", ".hidden", "a/b", "/", "a\0", "a\nb", "\u{7f}", "new", "Cur", "TMP", &"x".repeat(256)]
    {
        assert_eq!(component(bad), None, "{bad:?}");
    }
    // 255 octets, not characters.
    assert_eq!(component(&"é".repeat(128)), None);
}

#[test]
fn folding_is_of_ascii_case_and_composes() {
    assert_eq!(fold("ME"), "me");
    assert_eq!(fold("CAFE\u{301}"), "cafÉ");
    assert_eq!(fold("cafe\u{301}"), "café");
    assert_eq!(fold("É"), "É");
    // Composable only after folding.
    assert_eq!(fold("H\u{331}"), "\u{1e96}");
}

#[test]
fn a_local_part_has_at_most_two_readings() {
    let both = |literal: &str, topic: &str| Some((Some(literal.to_owned()), Some(topic.to_owned())));
    assert_eq!(readings("me"), Some((Some("me".to_owned()), None)));
    assert_eq!(readings("Me+Topic"), both("me+topic", "me topic"));
    assert_eq!(readings("me+a+b"), both("me+a+b", "me a+b"));
    assert_eq!(readings("me/a+b"), Some((None, Some("me a+b".to_owned()))));
    assert_eq!(readings("me+new"), both("me+new", "me -"));
    assert_eq!(readings("+x"), Some((Some("+x".to_owned()), None)));
    for none in ["me/new", "me/a/b", "me//x", "me/.", "/x", "../x", "", "me+a/b", "new"] {
        assert_eq!(readings(none), None, "{none}");
    }
}

#[test]
fn domains_have_the_letters_of_domains() {
    for good in ["example.org", "xn--bcher-kva.example", "localhost", "_x.org"] {
        assert!(is_domain(good), "{good}");
    }
    for bad in ["lost+found", ".snapshot", "Example.org", "a b", "", "new", "bücher.example"] {
        assert!(!is_domain(bad), "{bad}");
    }
}

proptest! {
    #[test]
    fn folding_twice_changes_nothing(text in "\\PC*") {
        let once = fold(&text);
        prop_assert_eq!(fold(&once), once);
    }

    #[test]
    fn whatever_the_local_part_its_readings_are_single_harmless_names(local in "([a-c./+*\\x00-\\x1f]|new|\\PC){0,12}") {
        let readings = Readings::of(&local, "/+");
        let (literal, topic) = readings.map_or((None, None), |it| (it.literal, it.topic));
        let (of, topic) = topic.map_or((None, None), |(of, topic)| (Some(of), topic));
        for name in [literal, of, topic].iter().flatten().map(Component::as_str) {
            prop_assert!(!name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']), "{:?}", name);
            prop_assert!(!["new", "cur", "tmp"].contains(&name));
        }
    }
}
