use super::{Body, Spill, SpillRoom};
use crate::store::StoreError;
use std::io::Read;
use std::sync::Arc;
use tempfile::TempDir;

fn room(each: usize, all: usize) -> (TempDir, Arc<SpillRoom>) {
    let top = TempDir::new().unwrap();
    let room = SpillRoom::open(&top.path().join("spill"), each, all).unwrap();
    (top, room)
}

fn in_memory(spill: &Spill) -> bool {
    matches!(spill.body, Body::Memory(_))
}

fn content(spill: &Spill) -> Vec<u8> {
    let mut copy = Vec::new();
    spill.copy_to(&mut copy).unwrap();
    let mut again = Vec::new();
    spill.reader().read_to_end(&mut again).unwrap();
    assert_eq!(copy, again);
    assert_eq!(copy.len() as u64, spill.len());
    copy
}

#[test]
fn small_letters_stay_in_memory_and_larger_ones_go_to_a_file() {
    let (top, room) = room(1000, 10_000);
    let mut spill = Spill::new(room.clone());
    assert!(spill.is_empty());
    let mut expected = Vec::new();
    for part in 0..=100u8 {
        spill.append(&[part; 10]).unwrap();
        expected.extend([part; 10]);
        assert_eq!(in_memory(&spill), expected.len() <= 1000);
    }
    assert_eq!(content(&spill), expected);
    assert_eq!(room.used(), 0);
    // The file has no name.
    assert_eq!(std::fs::read_dir(top.path().join("spill")).unwrap().count(), 0);
}

#[test]
fn a_large_file_is_copied_whole_and_as_often_as_needed() {
    let (_top, room) = room(100, 100);
    let mut spill = Spill::new(room);
    let expected: Vec<u8> = (0..300_000u32).map(|it| it as u8).collect();
    for slice in expected.chunks(7777) {
        spill.append(slice).unwrap();
    }
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| content(&spill));
        let second = scope.spawn(|| content(&spill));
        (first.join().unwrap(), second.join().unwrap())
    });
    assert_eq!(first, expected);
    assert_eq!(second, expected);
}

#[test]
fn all_together_have_one_budget_and_give_it_back() {
    let (_top, room) = room(1000, 1500);
    let mut first = Spill::new(room.clone());
    first.append(&[1; 1000]).unwrap();
    assert!(room.used() >= 1000);
    let mut second = Spill::new(room.clone());
    second.append(&[2; 600]).unwrap();
    assert!(in_memory(&first) && !in_memory(&second));
    drop(first);
    assert_eq!(room.used(), 0);
    let mut third = Spill::new(room.clone());
    third.append(&[3; 600]).unwrap();
    assert!(in_memory(&third));
    assert_eq!(content(&second), [2; 600]);
    drop((second, third));
    assert_eq!(room.used(), 0);
}

#[test]
fn a_file_without_o_tmpfile_has_no_name_either() {
    let (top, room) = room(1, 1);
    let file = room.unlinked_file().unwrap();
    assert_eq!(std::fs::read_dir(top.path().join("spill")).unwrap().count(), 0);
    drop(file);
}

#[test]
fn a_spill_that_lost_its_end_is_a_fault_not_a_shorter_letter() {
    let (_top, room) = room(10, 10);
    let mut spill = Spill::new(room);
    spill.append(&[7; 100_000]).unwrap();
    let Body::File { file, .. } = &spill.body else { panic!() };
    file.set_len(99_999).unwrap();
    assert!(spill.copy_to(&mut Vec::new()).is_err());
    assert!(spill.reader().read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn a_spill_leaves_free_what_is_to_be_kept_free() {
    let top = tempfile::tempdir().unwrap();
    let room = SpillRoom::open_keeping(&top.path().join("spill"), 16, 16, u64::MAX).unwrap();
    let mut spill = Spill::new(room);
    let half = vec![b'x'; 1 << 19];
    spill.append(&half).unwrap();
    assert!(matches!(spill.append(&half), Err(StoreError::Full { .. })));
}
