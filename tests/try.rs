//! `pillarbox try` itself.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

use std::process::{Command, Stdio};

#[test]
fn all_is_well_and_nothing_is_left_behind() {
    let place = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pillarbox"))
        .args(["try", "--json"])
        .env("TMPDIR", place.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    let cases = report["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for (case, number) in cases.iter().zip(1..) {
        assert_eq!(case["case"], number);
        assert_eq!(case["ok"], true, "{case}");
        for key in ["door", "from", "to", "reply", "expected"] {
            assert!(case[key].is_string(), "{case}");
        }
    }
    let ways: Vec<_> = report["letters"].as_array().unwrap().iter().map(|way| way["way"].as_str()).collect();
    assert_eq!(ways, [Some("in"), Some("out")]);
    assert_eq!(report["ok"], true);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "the directory is removed");
}
