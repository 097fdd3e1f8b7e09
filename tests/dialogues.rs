//! Every dialogue of `tests/dialogues/wire/` against one real server.

mod harness;

use harness::{Dns, Plan, ZONE, dialogue};
use std::path::Path;

#[test]
fn the_dialogues_go_as_written() {
    let dns = Dns::start(ZONE);
    let server = Plan::new("mx.here.example", &["me@here.example", "me/topic@here.example"]).start(&dns);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues/wire");
    let mut files: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        dialogue::run(&file, &server);
    }
}
