//! What a crash can leave, and what the next start makes of it.

use super::*;

#[test]
fn only_one_process_has_the_queue() {
    let place = Place::new();
    let _queue = place.open();
    let error = Queue::open_at(place.dir.path(), NOW).unwrap_err().to_string();
    assert!(error.contains("another pillarbox"), "{error}");
}

#[test]
fn what_was_not_committed_is_removed_at_the_start() {
    let place = Place::new();
    drop(place.open());
    fs::write(place.path("queue/6b49d200aaaaaaaaaaaa.new"), b"half").unwrap();
    let queue = place.open();
    assert!(place.names("queue").is_empty());
    assert!(queue.entries().unwrap().is_empty() && queue.take_backlog().is_empty());
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let place = Place::new();
    drop(place.open());
    for name in ["queue/notes", "queue/notes.new", "state/6b49d200aaaaaaaaaaa"] {
        fs::write(place.path(name), b"?").unwrap();
    }
    assert!(place.open().entries().unwrap().is_empty());
    assert_eq!(place.names("queue"), ["notes", "notes.new"]);
    assert_eq!(place.names("state").len(), 1);
}

#[test]
fn a_finished_entry_is_gone_and_its_marks_are_not() {
    let place = Place::new();
    let queue = place.open();
    let once = sealed("n", "d", &["s"]);
    let id = place.commit(&queue, Some(once.clone()), None);
    finish_one(&queue, &id);
    finish(&queue, &id);
    assert!(queue.load(&id).unwrap().is_none());
    assert!(queue.entries().unwrap().is_empty());
    assert_eq!(seen(&queue, &once), Seen::Same(id));
    drop(queue);
    assert!(place.names("queue").is_empty() && place.names("state").is_empty());
    assert_eq!(seen(&place.open(), &once), Seen::Same(id));
    assert_eq!(seen(&place.open(), &once), Seen::Same(id), "and after a second rewriting of the log");
}

#[test]
fn a_lost_log_takes_no_mark_of_what_is_queued_along() {
    let place = Place::new();
    let once = sealed("n", "d", &["s"]);
    let id = place.left(Some(once.clone()));
    fs::remove_file(place.path("seen")).unwrap();
    assert_eq!(seen(&place.open(), &once), Seen::Same(id));
}

#[test]
fn a_finished_entry_whose_file_is_there_is_removed_at_the_start() {
    for once in [Some(sealed("n", "d", &["s"])), None] {
        let place = Place::new();
        let queue = place.open();
        let id = place.commit(&queue, once.clone(), None);
        finish_one(&queue, &id);
        let kept = [place.entry(id), place.state(id)].map(|path| (fs::read(&path).unwrap(), path));
        finish(&queue, &id);
        drop(queue);
        // What a power cut makes of an unlink that was not made durable.
        for (content, path) in kept {
            fs::write(path, content).unwrap();
        }
        let queue = place.open_at(NOW + 40 * 86400);
        assert!(queue.entries().unwrap().is_empty() && queue.take_backlog().is_empty());
        assert!(place.names("queue").is_empty() && place.names("state").is_empty());
        if let Some(once) = once {
            drop(queue);
            assert_eq!(seen(&place.open(), &once), Seen::New, "its marks were too old");
        }
    }
}

#[test]
fn a_finished_entry_that_could_not_be_removed_is_no_entry_any_more() {
    let place = Place::new();
    let queue = place.open();
    let id = place.commit(&queue, None, None);
    // What unlink refuses: a directory here, EIO on a failing disk.
    let content = fs::read(place.entry(id)).unwrap();
    let entry = queue.load(&id).unwrap().unwrap();
    fs::remove_file(place.entry(id)).unwrap();
    fs::create_dir(place.entry(id)).unwrap();
    queue.remove(&entry).unwrap();
    assert!(queue.load(&id).unwrap().is_none());
    assert!(queue.entries().unwrap().is_empty());
    drop(queue);
    fs::remove_dir(place.entry(id)).unwrap();
    fs::write(place.entry(id), content).unwrap();
    let look = Queue::look(place.dir.path());
    assert!(look.entries().unwrap().is_empty() && look.load(id).unwrap().is_none());
}

#[test]
fn a_finished_entry_that_no_start_can_remove_ends_no_start_and_stays_finished() {
    let place = Place::new();
    let queue = place.open();
    let (id, other) = (place.commit(&queue, None, None), place.commit(&queue, None, None));
    let content = fs::read(place.entry(id)).unwrap();
    finish(&queue, &id);
    drop(queue);
    fs::create_dir(place.entry(id)).unwrap();
    for _ in 0..2 {
        assert_eq!(place.open().entries().unwrap(), [other]);
    }
    fs::remove_dir(place.entry(id)).unwrap();
    fs::write(place.entry(id), content).unwrap();
    assert_eq!(place.open().entries().unwrap(), [other]);
    assert_eq!(place.names("queue"), [other.to_string()]);
}

#[test]
fn a_state_without_an_entry_is_removed_at_the_start() {
    let place = Place::new();
    drop(place.open());
    fs::write(place.path("state/6b49d200aaaaaaaaaaaa"), b"{\"version\":1,\"recipients\":[]}").unwrap();
    drop(place.open());
    assert!(place.names("state").is_empty());
}

#[test]
fn a_line_for_an_entry_without_marks_is_gone_after_the_next_start() {
    let place = Place::new();
    let queue = place.open();
    let (plain, marked) =
        (place.commit(&queue, None, None), place.commit(&queue, Some(sealed("n", "d", &["s"])), None));
    finish(&queue, &plain);
    finish(&queue, &marked);
    drop(queue);
    let log = fs::read_to_string(place.path("seen")).unwrap();
    assert!(log.contains(&log_line(Left::Finished, plain, None)), "{log}");
    drop(place.open());
    let log = fs::read_to_string(place.path("seen")).unwrap();
    assert_eq!(log, log_line(Left::Finished, marked, Some(&sealed("n", "d", &["s"]))));
}

#[test]
fn a_torn_last_line_of_the_log_is_left_out_and_does_not_spoil_the_next() {
    let place = Place::new();
    let queue = place.open();
    let (first, second) = (sealed("n1", "d1", &["s1"]), sealed("n2", "d2", &["s2"]));
    let id = place.commit(&queue, Some(first.clone()), None);
    finish(&queue, &id);
    drop(queue);
    let still = place.left(None);
    let torn = log_line(Left::Finished, still, None);
    let mut log = fs::read(place.path("seen")).unwrap();
    log.extend_from_slice(&torn.as_bytes()[..torn.len() - 3]);
    fs::write(place.path("seen"), log).unwrap();

    let queue = place.open();
    assert_eq!(queue.entries().unwrap(), [still], "what is not known to be finished is not");
    assert_eq!(seen(&queue, &second), Seen::New);
    let other = place.commit(&queue, Some(second.clone()), None);
    finish(&queue, &other);
    drop(queue);
    let queue = place.open();
    assert_eq!(seen(&queue, &first), Seen::Same(id));
    assert_eq!(seen(&queue, &second), Seen::Same(other));
}

#[test]
fn a_log_that_was_being_rewritten_is_overwritten() {
    let place = Place::new();
    let queue = place.open();
    let once = sealed("n", "d", &["s"]);
    let id = place.commit(&queue, Some(once.clone()), None);
    finish(&queue, &id);
    drop(queue);
    let still = place.left(None);
    fs::write(place.path("seen.new"), log_line(Left::Finished, still, None)).unwrap();
    let queue = place.open();
    assert_eq!(queue.entries().unwrap(), [still]);
    assert_eq!(seen(&queue, &once), Seen::Same(id));
    assert!(!place.path("seen.new").exists());
}
