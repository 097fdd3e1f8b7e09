//! Entries that are damaged, unreadable or of a later version.

use super::*;

type Damage = fn(&Place, EntryId);

/// What is wrong, how it came to be so, and whether the marks can still be read.
const DAMAGES: [(&str, Damage, bool); 11] = [
    ("empty", |place, id| change(place.entry(id), Vec::clear), false),
    ("short message", |place, id| change(place.entry(id), |text| text.truncate(text.len() - 1)), true),
    ("long message", |place, id| change(place.entry(id), |text| text.push(b'x')), true),
    ("half of the envelope", |place, id| change(place.entry(id), |text| text.truncate(150)), false),
    ("zeros for everything", |place, id| change(place.entry(id), |text| text.fill(0)), false),
    ("zeros for the first line", |place, id| change(place.entry(id), |text| text[..73].fill(0)), true),
    ("one bit in the first line", |place, id| change(place.entry(id), |text| text[37] ^= 1), true),
    (
        "one bit in the envelope",
        |place, id| {
            change(place.entry(id), |text| {
                let at = text.windows(8).position(|eight| eight == b"two.test").unwrap();
                text[at] ^= 1;
            });
        },
        true,
    ),
    (
        "the file of another entry",
        |place, id| {
            let other = place.left(Some(sealed("n", "d", &["s"])));
            fs::rename(place.entry(other), place.entry(id)).unwrap();
        },
        true,
    ),
    ("torn state", |place, id| fs::write(place.state(id), b"{\"version\":1,\"recipi").unwrap(), true),
    (
        "foreign state",
        |place, id| fs::write(place.state(id), b"{\"version\":1,\"recipients\":[]}").unwrap(),
        true,
    ),
];

#[test]
fn damaged_entries_are_set_aside_whole_and_stay_spent() {
    for (what, damage, readable) in DAMAGES {
        let place = Place::new();
        let once = sealed("n", "d", &["s"]);
        let id = place.left(Some(once.clone()));
        let sound = place.left(None);
        damage(&place, id);
        let content = fs::read(place.entry(id)).unwrap();

        for start in ["first", "second"] {
            let queue = place.open();
            assert_eq!(queue.entries().unwrap(), [sound], "{what}");
            assert!(queue.load(&id).unwrap().is_none(), "{what}");
            assert_eq!(fs::read(place.path(&format!("corrupt/{id}"))).unwrap(), content, "{what}");
            let state = place.path(&format!("corrupt/{id}.state"));
            assert_eq!(state.exists(), what.ends_with("state"), "{what}");
            assert!(place.names("state").is_empty(), "{what}");
            let wanted = if readable { Seen::Same(id) } else { Seen::New };
            assert_eq!(seen(&queue, &once), wanted, "{what}, {start} start");
        }
    }
}

#[test]
fn a_damaged_entry_that_somebody_repairs_and_puts_back_is_not_taken_for_finished() {
    let place = Place::new();
    let once = sealed("n", "d", &["s"]);
    let id = place.left(Some(once.clone()));
    let whole = fs::read(place.entry(id)).unwrap();
    change(place.entry(id), |text| text.truncate(text.len() - 1));
    drop(place.open());
    assert!(place.names("queue").is_empty());
    fs::write(place.entry(id), whole).unwrap();
    let queue = place.open();
    assert_eq!(queue.entries().unwrap(), [id]);
    assert_eq!(seen(&queue, &once), Seen::Same(id));
}

#[test]
fn an_entry_damaged_while_we_run_is_set_aside_too_and_twice_is_no_collision() {
    for (what, damage, readable) in DAMAGES {
        // Of another one that is queued the queue would have to be open twice.
        if what.contains("another") {
            continue;
        }
        let place = Place::new();
        let queue = place.open();
        let once = sealed("n", "d", &["s"]);
        let id = place.commit(&queue, Some(once.clone()), None);
        fs::write(place.path(&format!("corrupt/{id}")), b"an earlier one").unwrap();
        damage(&place, id);
        assert!(queue.load(&id).unwrap().is_none(), "{what}");
        assert!(place.names("queue").is_empty() && place.names("state").is_empty(), "{what}");
        assert_eq!(place.names("corrupt").len(), 2 + usize::from(what.ends_with("state")), "{what}");
        assert_eq!(seen(&queue, &once), Seen::Same(id), "{what}");
        drop(queue);
        if readable {
            assert_eq!(seen(&place.open(), &once), Seen::Same(id), "{what}");
        }
    }
}

#[test]
fn the_state_of_an_entry_that_was_being_set_aside_goes_where_it_is() {
    let place = Place::new();
    let queue = place.open();
    let id = place.commit(&queue, None, None);
    finish_one(&queue, &id);
    drop(queue);
    fs::rename(place.entry(id), place.path(&format!("corrupt/{id}"))).unwrap();
    drop(place.open());
    assert_eq!(place.names("corrupt"), [id.to_string(), format!("{id}.state")]);
    assert!(place.names("state").is_empty());
}

#[test]
fn an_entry_of_a_later_version_is_left_where_it_is() {
    let later: [Damage; 2] = [
        |place, id| change(place.entry(id), |text| text[10] = b'2'),
        |place, id| fs::write(place.state(id), b"{\"version\":2,\"new\":true}").unwrap(),
    ];
    for make_later in later {
        let place = Place::new();
        let queue = place.open();
        let id = place.commit(&queue, None, None);
        finish_one(&queue, &id);
        drop(queue);
        make_later(&place, id);
        let queue = place.open();
        let error = queue.load(&id).unwrap_err().to_string();
        assert!(error.contains("later pillarbox"), "{error}");
        assert!(queue.take_backlog().is_empty());
        assert_eq!(place.names("queue"), [id.to_string()]);
        assert_eq!(place.names("state"), [id.to_string()]);
    }
}

#[test]
fn an_entry_that_cannot_be_read_is_left_where_it_is_and_said_to_wait() {
    let place = Place::new();
    drop(place.open());
    let id = EntryId::parse("6b49d200aaaaaaaaaaaa").unwrap();
    // What opens and gives an error when it is read: EISDIR here, EIO on a failing disk.
    fs::create_dir(place.entry(id)).unwrap();
    fs::write(place.state(id), b"{}").unwrap();
    let queue = place.open();
    assert!(queue.load(&id).is_err());
    assert_eq!(queue.entries().unwrap(), [id]);
    let waiting = Waiting { id, arrived: id.arrived(), warned: false, parts: Vec::new() };
    assert_eq!(queue.take_backlog(), [waiting]);
    assert!(place.state(id).exists());
}

#[test]
fn what_an_entry_spent_is_known_again_when_it_can_be_read_again() {
    let place = Place::new();
    let once = sealed("n", "d", &["s"]);
    let id = place.left(Some(once.clone()));
    let content = fs::read(place.entry(id)).unwrap();
    fs::remove_file(place.entry(id)).unwrap();
    fs::create_dir(place.entry(id)).unwrap();
    let queue = place.open();
    fs::remove_dir(place.entry(id)).unwrap();
    fs::write(place.entry(id), content).unwrap();
    assert!(queue.load(&id).unwrap().is_some());
    assert_eq!(seen(&queue, &once), Seen::Same(id));
}
