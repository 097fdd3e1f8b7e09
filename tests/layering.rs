//! The house stands: a floor imports only floors above it in the reading order, and the pure floors stay pure.

#![allow(clippy::unwrap_used)] // In a test a panic is the answer.

use std::fs;
use std::path::{Path, PathBuf};

/// The reading order, as `src/lib.rs` lists the floors. A floor may use itself and those before it.
fn floors() -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let name = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
    text.lines().filter_map(name).collect()
}

/// Floors without a clock, files, sockets or threads: time and answers are their arguments.
const PURE: &[&str] = &["mail", "smtp", "policy"];

const IMPURE: &[&str] = &[
    "tokio",
    "rustix",
    "nix",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
];

#[test]
fn every_floor_imports_only_floors_above_it() {
    let faults: Vec<String> = sources().iter().flat_map(upward_imports).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_pure_floors_touch_nothing() {
    let faults: Vec<String> = sources().iter().flat_map(impurities).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_lowest_floors_stand_first() {
    let floors = floors();
    let place = |name: &str| floors.iter().position(|floor| floor == name).unwrap();
    let known = ["error", "mail", "smtp", "policy", "store", "queue", "trust", "relay", "home"];
    assert!(known.windows(2).all(|pair| place(pair[0]) < place(pair[1])), "{floors:?}");
}

#[test]
fn the_architecture_page_lists_the_floors_in_their_order() {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md")).unwrap();
    let rows = page.lines().skip_while(|line| !line.starts_with("| floor |")).skip(2);
    let cells = rows.map_while(|row| row.strip_prefix("| ")?.split(" | ").next());
    let listed: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let listed: Vec<&str> = listed.into_iter().map(|name| name.trim_end_matches('/')).collect();
    assert_eq!(listed, floors());
}

#[test]
fn the_check_itself_notices() {
    let upward = |floor: &str, depth, code: &str| upward_imports(&Source::new(floor, depth, code)).len();
    assert_eq!(upward("mail", 2, "use crate::smtp::Door;"), 1);
    assert_eq!(upward("mail", 2, "use crate::{error::Exit, queue::{Queue, Seen}};"), 1);
    assert_eq!(upward("store", 2, "fn a() -> crate::trust::keys::PrivateKey {}"), 1);
    assert_eq!(upward("store", 2, "use super::super::trust;"), 1);
    assert_eq!(upward("store", 2, "use super::maildir; use crate::mail::address::Address;"), 0);
    assert_eq!(upward("mail", 2, "// use crate::smtp::Door;\n"), 0);
    let impure = |code: &str| impurities(&Source::new("smtp", 2, code)).len();
    assert_eq!(impure("use std::{fmt, fs};"), 1);
    assert_eq!(impure("use std::net::{IpAddr, TcpStream};"), 1);
    assert_eq!(impure("let now = std::time::Instant::now();"), 1);
    assert_eq!(impure("use std::net::IpAddr; use std::time::{Duration, Instant};"), 0);
    assert_eq!(impure("fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }"), 0);
}

struct Source {
    path: PathBuf,
    floor: String,
    /// How many `super::` lead out of the floor's module path to the crate's root.
    depth: usize,
    /// The product code: without comments and without the tests at the end.
    code: String,
}

impl Source {
    fn new(floor: &str, depth: usize, text: &str) -> Source {
        Source { path: PathBuf::from(floor), floor: floor.into(), depth, code: product_code(text) }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !is_test_file(&path) {
                found.push(read(&root, path));
            }
        }
    }
    assert!(found.len() > 20, "the sources are where they should be");
    found
}

fn is_test_file(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_stem().is_some_and(|stem| stem == "tests")
}

fn read(root: &Path, path: PathBuf) -> Source {
    let inside = path.strip_prefix(root).unwrap().with_extension("");
    let mut parts: Vec<String> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    let text = fs::read_to_string(&path).unwrap();
    Source { floor: parts[0].clone(), depth: parts.len(), code: product_code(&text), path }
}

fn product_code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..tests].lines().map(|line| format!("{}\n", before_comment(line))).collect()
}

/// The line without its `//` comment; a `//` inside of a string is none.
fn before_comment(line: &str) -> &str {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            '/' if !quoted && line[at..].starts_with("//") => return &line[..at],
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    line
}

fn upward_imports(source: &Source) -> Vec<String> {
    let order = floors();
    let Some(height) = order.iter().position(|floor| *floor == source.floor) else { return Vec::new() };
    let mut used = imports(&source.code);
    used.extend(paths_after(&source.code, "crate::"));
    let to_root = "super::".repeat(source.depth);
    used.extend(paths_after(&source.code, &to_root));
    let mut floors: Vec<&str> = used
        .iter()
        .filter_map(|path| path.strip_prefix("crate::").or_else(|| path.strip_prefix(&to_root)))
        .filter_map(|path| path.split("::").next())
        .filter(|floor| order.iter().position(|known| known == floor).is_some_and(|place| place > height))
        .collect();
    floors.sort();
    floors.dedup();
    let fault = |floor: &&str| format!("{}: {} imports {floor}", source.path.display(), source.floor);
    floors.iter().map(fault).collect()
}

fn impurities(source: &Source) -> Vec<String> {
    if !PURE.contains(&source.floor.as_str()) {
        return Vec::new();
    }
    let mut text = source.code.clone();
    text.push_str(&imports(&source.code).join(";\n"));
    let touches = |name: &&&str| {
        text.match_indices(**name).any(|(at, _)| {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            !text[..at].ends_with(word) && !text[at + name.len()..].starts_with(word)
        })
    };
    IMPURE.iter().filter(touches).map(|name| format!("{}: {name}", source.path.display())).collect()
}

/// Every path of every `use`, with the braces multiplied out.
fn imports(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let starts_a_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if let (true, Some(end)) = (starts_a_word, code[at..].find(';')) {
            let tree: String = code[at + 4..at + end].split_whitespace().collect::<Vec<_>>().join(" ");
            expand("", &tree.replace(", ", ",").replace("{ ", "{").replace(" }", "}"), &mut paths);
        }
    }
    paths
}

fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let Some((head, group)) = tree.split_once('{') else {
        paths.push(format!("{prefix}{tree}"));
        return;
    };
    let group = group.strip_suffix('}').unwrap_or(group);
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&format!("{prefix}{head}"), &group[start..at], paths);
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Paths written out in the code, such as `crate::trust::keys::PrivateKey`.
fn paths_after(code: &str, lead: &str) -> Vec<String> {
    let path = |(at, _): (usize, &str)| {
        let rest = &code[at..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        rest[..end].to_owned()
    };
    code.match_indices(lead).map(path).collect()
}
