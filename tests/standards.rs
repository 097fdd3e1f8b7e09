//! The pages on standards are true: every test that they name exists, and every clause that is "done" names one.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The overview, and what lies below it.
fn pages() -> Vec<PathBuf> {
    let below = fs::read_dir(root().join("docs/standards")).unwrap().map(|entry| entry.unwrap().path());
    [root().join("docs/standards.md")].into_iter().chain(below).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether a quoted word names a test, and why there is none of that name.
fn fault(word: &str) -> Option<String> {
    if let Some(dialogue) = word.strip_prefix("dialogues/") {
        let missing = !root().join("tests/dialogues").join(dialogue).is_file();
        return missing.then(|| format!("no dialogue {word}"));
    }
    let (file, name) = word.split_once(".rs::")?;
    let text = fs::read_to_string(root().join(format!("{file}.rs"))).unwrap_or_default();
    let is_test = text.split_once(&format!("fn {name}(")).is_some_and(|(before, _)| {
        let attributes: Vec<&str> = before.lines().rev().take(4).collect();
        attributes.iter().any(|line| line.contains("#[test]") || line.contains("#[tokio::test"))
    });
    (!is_test).then(|| format!("no test {word}"))
}

#[test]
fn every_test_that_is_named_exists() {
    let mut named = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let faults: Vec<String> = quoted(&text).filter_map(fault).collect();
        assert!(faults.is_empty(), "{}:\n{}", page.display(), faults.join("\n"));
        named +=
            quoted(&text).filter(|word| word.contains(".rs::") || word.starts_with("dialogues/")).count();
    }
    assert!(named > 150, "only {named} tests are named");
}

#[test]
fn every_clause_that_is_done_names_its_test() {
    let text = fs::read_to_string(root().join("docs/standards/smtp.md")).unwrap();
    let mut done = 0;
    for row in text.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if let [_, clause, _, state, shown, _] = cells.as_slice()
            && state.starts_with("done")
        {
            assert!(quoted(shown).next().is_some(), "{clause}: done, and nothing shows it");
            done += 1;
        }
    }
    assert!(done > 80, "only {done} clauses are done");
}

#[test]
fn a_name_that_is_none_would_be_found() {
    assert_eq!(fault("tests/standards.rs::a_name_that_is_none_would_be_found"), None);
    assert_eq!(fault("dialogues/plain.smtp"), None);
    assert_eq!(fault("RET=FULL"), None);
    assert!(fault("tests/standards.rs::quoted").is_some());
    assert!(fault("tests/standards.rs::missing").is_some());
    assert!(fault("tests/missing.rs::fault").is_some());
    assert!(fault("dialogues/missing.smtp").is_some());
}
