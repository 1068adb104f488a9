//! Every state, every outcome, and what is left when something goes wrong in between.

use super::*;
use std::os::unix::fs::PermissionsExt as _;

const NAME: &str = "hsm";

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn put(dir: &tempfile::TempDir, state: State) {
    Marker::lock(dir.path(), NAME).unwrap().write(state).unwrap();
}

fn now(dir: &tempfile::TempDir) -> State {
    state(dir.path(), NAME).unwrap()
}

#[test]
fn what_is_not_a_word_of_ours_forbids() {
    let dir = dir();
    assert_eq!((now(&dir), now(&dir).allows_login()), (State::Absent, true));
    for (line, expected, allowed) in [
        ("good\n", State::Good, true),
        ("trying", State::Trying, false),
        ("again 1\n", State::Again(1), true),
        ("again 2", State::Again(2), true),
        ("again 3\n", State::Again(3), false),
        ("again 0", State::Refused, false),
        ("again 4", State::Refused, false),
        ("again", State::Refused, false),
        ("refused\n", State::Refused, false),
        ("", State::Refused, false),
        ("good PIN", State::Refused, false),
    ] {
        std::fs::write(dir.path().join("hsm.pin"), line).unwrap();
        assert_eq!((now(&dir), now(&dir).allows_login()), (expected, allowed), "{line:?}");
    }
}

#[test]
fn every_login_is_written_down_before_and_after() {
    use State::{Absent, Again, Good, Refused, Trying};
    for (before, during, unknown) in [
        (Absent, Trying, Trying),
        (Good, Again(1), Again(1)),
        (Again(1), Again(2), Again(2)),
        (Again(2), Again(3), Again(3)),
    ] {
        for (outcome, after) in [
            (Outcome::Good, Good),
            (Outcome::Refused, Refused),
            (Outcome::NotTried, before),
            (Outcome::Unknown, unknown),
        ] {
            let dir = dir();
            put(&dir, before);
            let marker = Marker::lock(dir.path(), NAME).unwrap();
            assert_eq!(marker.begin(false).unwrap(), before);
            assert_eq!(now(&dir), during);
            marker.end(before, outcome).unwrap();
            assert_eq!(now(&dir), after, "{before:?} {outcome:?}");
        }
    }
}

#[test]
fn a_marker_that_forbids_is_left_alone() {
    for forbids in [State::Trying, State::Again(3), State::Refused] {
        let dir = dir();
        put(&dir, forbids);
        assert_eq!(Marker::lock(dir.path(), NAME).unwrap().begin(false).unwrap(), forbids);
        assert_eq!(now(&dir), forbids);
    }
}

#[test]
fn no_login_begins_unwritten() {
    let dir = dir();
    put(&dir, State::Good);
    let marker = Marker::lock(dir.path(), NAME).unwrap();
    std::fs::rename(dir.path(), dir.path().with_extension("away")).unwrap();
    let fault = Fault::from(marker.begin(false).unwrap_err());
    std::fs::rename(dir.path().with_extension("away"), dir.path()).unwrap();
    assert_eq!(fault.class, crate::backend::Class::Down);
    assert!(fault.message.contains("must be writable"), "{}", fault.message);
    assert_eq!(now(&dir), State::Good);
}

#[test]
fn a_refusal_that_was_not_written_is_no_clearance() {
    for (left, cleared_by, after) in [
        (State::Again(1), false, State::Refused),
        (State::Again(3), false, State::Again(3)),
        (State::Trying, false, State::Trying),
        (State::Refused, false, State::Refused),
        (State::Absent, true, State::Absent),
        (State::Good, true, State::Good),
    ] {
        let dir = dir();
        put(&dir, left);
        assert_eq!(cleared(dir.path(), NAME).unwrap(), cleared_by, "{left:?}");
        assert_eq!(now(&dir), after);
    }
    assert!(cleared(Path::new("/nonexistent"), NAME).is_err(), "a directory that is gone clears nothing");
}

#[test]
fn one_process_at_a_time() {
    let dir = dir();
    let marker = Marker::lock(dir.path(), NAME).unwrap();
    assert!(Marker::try_lock(dir.path(), NAME).unwrap().is_none());
    assert!(!cleared(dir.path(), NAME).unwrap(), "a login under way says nothing yet");
    drop(marker);
    assert!(Marker::try_lock(dir.path(), NAME).unwrap().is_some());
    let mode = std::fs::metadata(dir.path().join("hsm.pin.lock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn clearing_forgets_a_refusal() {
    let dir = dir();
    put(&dir, State::Refused);
    assert!(clear(dir.path(), NAME).unwrap());
    assert!(!clear(dir.path(), NAME).unwrap());
    assert_eq!(now(&dir), State::Absent);
}

#[test]
fn a_name_cannot_leave_the_directory() {
    for name in ["", "..", "../x", "a/b", ".hidden"] {
        assert!(state(Path::new("/tmp"), name).is_err(), "{name:?}");
        assert!(Marker::lock(Path::new("/tmp"), name).is_err(), "{name:?}");
    }
}

/// The token is asked where the marker does not know.
#[test]
fn a_wrong_pin_that_the_token_counted_is_ours_only_after_an_unknown_outcome() {
    use State::{Absent, Again, Good, Refused, Trying};
    for (before, said, during) in [
        (Absent, Absent, Trying),
        (Good, Good, Again(1)),
        (Again(1), Refused, Refused),
        (Again(2), Refused, Refused),
        (Trying, Trying, Trying),
    ] {
        let dir = dir();
        put(&dir, before);
        assert_eq!(Marker::lock(dir.path(), NAME).unwrap().begin(true).unwrap(), said, "{before:?}");
        assert_eq!(now(&dir), during, "{before:?}");
    }
}
