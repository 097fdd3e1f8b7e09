//! `pillarbox try` itself.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
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

#[test]
fn kept_it_stands_until_it_is_interrupted() {
    let place = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pillarbox"))
        .args(["try", "--keep"])
        .env("TMPDIR", place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let swaks = lines.find(|line| line.starts_with("swaks ")).unwrap();
    let door = swaks.split(' ').nth(2).unwrap().to_owned();
    let mut greeting = String::new();
    BufReader::new(TcpStream::connect(&door).unwrap()).read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("220 mx.here.example"), "{greeting}");

    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    // Reads to the end, so that it does not wait for a reader.
    assert!(lines.any(|line| line.starts_with("tail ")));
    assert!(child.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "the directory is removed");
    assert!(TcpStream::connect(&door).is_err(), "the servers are gone");
}
