use super::{MARK, RECORD, Record};
use crate::store::StoreError;
use crate::store::tree::Store;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Server {
    top: TempDir,
}

impl Server {
    fn new() -> Server {
        let top = TempDir::new().unwrap();
        fs::create_dir_all(top.path().join("mail/example.org/me")).unwrap();
        Server { top }
    }

    fn mail(&self) -> PathBuf {
        self.top.path().join("mail")
    }

    fn mark(&self) -> PathBuf {
        self.mail().join(MARK)
    }

    fn record(&self) -> PathBuf {
        self.top.path().join("state").join(RECORD)
    }

    /// What a server that starts now says.
    fn check(&self) -> Result<(), StoreError> {
        Store::open(&self.mail(), &self.top.path().join("state"), "/+").unwrap().check()
    }
}

fn copy_tree(from: &Path, to: &Path, with_mark: bool) {
    fs::create_dir_all(to.join("example.org/me")).unwrap();
    if with_mark {
        fs::copy(from.join(MARK), to.join(MARK)).unwrap();
    }
}

#[test]
fn the_first_domain_makes_the_root_remembered() {
    let server = Server::new();
    server.check().unwrap();
    let mark = fs::read_to_string(server.mark()).unwrap();
    assert!(fs::read_to_string(server.record()).unwrap().contains(mark.trim()));
    assert_eq!(mark.trim().len(), 32);
    server.check().unwrap();
}

#[test]
fn a_restored_copy_with_its_mark_is_the_same_root() {
    let server = Server::new();
    server.check().unwrap();
    let copy = server.top.path().join("copy");
    copy_tree(&server.mail(), &copy, true);
    fs::rename(server.mail(), server.top.path().join("old")).unwrap();
    fs::rename(copy, server.mail()).unwrap();
    server.check().unwrap();
}

#[test]
fn a_copy_without_a_mark_is_another_root() {
    let server = Server::new();
    server.check().unwrap();
    let copy = server.top.path().join("copy");
    copy_tree(&server.mail(), &copy, false);
    fs::rename(server.mail(), server.top.path().join("old")).unwrap();
    fs::rename(copy, server.mail()).unwrap();
    let Err(StoreError::WrongRoot(text)) = server.check() else { panic!() };
    assert!(text.contains("remove") && text.contains(RECORD), "{text}");
    // The remedy works.
    fs::remove_file(server.record()).unwrap();
    server.check().unwrap();
}

#[test]
fn another_mark_is_another_root_even_in_the_same_directory() {
    let server = Server::new();
    server.check().unwrap();
    fs::remove_file(server.mark()).unwrap();
    fs::write(server.mark(), "0123\n").unwrap();
    assert!(matches!(server.check(), Err(StoreError::WrongRoot(_))));
}

#[test]
fn a_mark_that_was_removed_from_the_same_directory_is_made_again() {
    let server = Server::new();
    server.check().unwrap();
    fs::remove_file(server.mark()).unwrap();
    server.check().unwrap();
    let mark = fs::read_to_string(server.mark()).unwrap();
    assert!(fs::read_to_string(server.record()).unwrap().contains(mark.trim()));
}

#[test]
fn a_root_that_was_remembered_without_a_mark_is_marked_later() {
    let server = Server::new();
    server.check().unwrap();
    let text = fs::read_to_string(server.record()).unwrap();
    let unmarked = Record { mark: None, ..Record::parse(&text).unwrap() }.to_text();
    fs::write(server.record(), &unmarked).unwrap();
    fs::remove_file(server.mark()).unwrap();
    server.check().unwrap();
    let mark = fs::read_to_string(server.mark()).unwrap();
    assert!(fs::read_to_string(server.record()).unwrap().contains(mark.trim()));
    // Without a mark on either side, the place decides.
    let elsewhere = Record { inode: 1, ..Record::parse(&unmarked).unwrap() }.to_text();
    fs::write(server.record(), elsewhere).unwrap();
    assert!(matches!(server.check(), Err(StoreError::WrongRoot(_))));
}

#[test]
fn a_record_that_is_not_ours_is_a_fault_with_a_remedy() {
    let server = Server::new();
    server.check().unwrap();
    for text in ["", "pillarbox mail_root 2\ninode 1\nfile-system 1\n", "nonsense\n"] {
        fs::write(server.record(), text).unwrap();
        let Err(StoreError::Io { source, .. }) = server.check() else { panic!("{text:?}") };
        assert!(source.to_string().contains("remove this file"));
    }
}

#[test]
fn a_record_reads_as_it_was_written() {
    for mark in [None, Some("abc".to_owned())] {
        let record = Record { mark, inode: 7, file_system: u64::MAX };
        assert_eq!(Record::parse(&record.to_text()), Some(record));
    }
}
