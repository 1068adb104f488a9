//! Keys of subjects over real state: who has which, what is left of whom, and what a copy of the disk still opens.

mod hung;

use super::*;
use crate::state::{EpochStage, ErasureRow, database_path};
use std::collections::BTreeSet;
use std::path::Path;

const ISSUER: &str = "https://login.example.com";

struct Place {
    directory: tempfile::TempDir,
    store: Arc<Store>,
    subjects: Subjects,
}

fn open(dir: &Path) -> (Arc<Store>, Subjects) {
    let store = Arc::new(Store::open(&state::Settings { dir: dir.to_owned() }, "test").unwrap());
    let epochs =
        Epochs { settings: settings(dir), backends: Default::default(), environment: "test".to_owned() };
    let subjects = Subjects::open(Arc::clone(&store), epochs).unwrap();
    (store, subjects)
}

fn settings(dir: &Path) -> Settings {
    Settings { dir: dir.to_owned(), backend: None, algorithm: Algorithm::Ed25519 }
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (store, subjects) = open(&directory.path().join("state"));
        Self { directory, store, subjects }
    }

    fn dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn reopen(&mut self) {
        (self.store, self.subjects) = open(&self.dir());
    }

    fn person(&self, name: &str) -> Person {
        self.subjects.person(ISSUER, Kind::Subject, name)
    }

    async fn tag(&self, name: &str, nonce: &str) -> String {
        let keys = self.subjects.keys(&[self.person(name)], at(0)).await.unwrap();
        keys[0].tag(Kind::Subject, "", nonce)
    }

    async fn erase(&self, names: &[&str], id: &str) -> Result<Erased, Arc<Error>> {
        let people: Vec<Person> = names.iter().map(|name| self.person(name)).collect();
        let journal = ErasureRow { id: id.to_owned(), record: "{}".to_owned(), count: 0 };
        self.subjects.erase(&people, journal).await
    }
}

fn at(periods: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + periods * PERIOD).unwrap()
}

#[tokio::test]
async fn each_person_has_one_key_for_good() {
    let mut place = Place::new();
    let (alice, bob) = (place.tag("alice", "1").await, place.tag("bob", "1").await);
    assert_ne!(alice, bob);
    assert_ne!(alice, place.tag("alice", "2").await, "two records of one person do not look alike");
    place.reopen();
    assert_eq!((place.tag("alice", "1").await, place.tag("bob", "1").await), (alice, bob.clone()));
    // Many at once, some of them twice, from many sides.
    let names: Vec<String> = (0..300).map(|number| format!("person {}", number % 200)).collect();
    let people: Vec<Person> = names.iter().map(|name| place.person(name)).collect();
    let asked = people.chunks(7).map(|people| place.subjects.keys(people, at(0)));
    let keys: Vec<_> =
        futures_util::future::join_all(asked).await.into_iter().flat_map(Result::unwrap).collect();
    for (name, key) in names.iter().zip(&keys) {
        assert_eq!(key.tag(Kind::Subject, "", "n"), place.tag(name, "n").await);
    }
    let distinct: BTreeSet<_> = keys.iter().map(|key| key.to_text().to_string()).collect();
    assert_eq!(distinct.len(), 200);
    let text = keys[0].to_text();
    assert_eq!(
        SubjectKey::from_text(&text).unwrap().tag(Kind::Session, "s", "n"),
        keys[0].tag(Kind::Session, "s", "n")
    );
    assert!(SubjectKey::from_text("AAAA").is_none() && SubjectKey::from_text("").is_none());
    // The same name elsewhere, or of something else, is somebody else.
    let other = place.subjects.person("https://other.example.com", Kind::Subject, "bob");
    let session = place.subjects.person(ISSUER, Kind::Session, "bob");
    for person in [other, session] {
        assert!(place.subjects.find(&[person], None).await.unwrap()[0].is_none(), "looking makes no key");
        let keys = place.subjects.keys(&[person], at(0)).await.unwrap();
        assert_ne!(keys[0].tag(Kind::Subject, "", "1"), bob);
    }
}

#[tokio::test]
async fn whoever_is_erased_is_so_in_every_copy() {
    let mut place = Place::new();
    let names: Vec<String> = (0..50).map(|number| format!("person {number}")).collect();
    let mut before = Vec::new();
    for name in &names {
        before.push(place.tag(name, "n").await);
    }
    let copy = place.directory.path().join("copy");
    copy_dir(&place.dir(), &copy);
    let gone: Vec<&str> = names[..5].iter().map(String::as_str).collect();
    assert_eq!(place.erase(&gone, "e1").await.unwrap(), Erased { count: 5, pending: None });
    assert_eq!(place.erase(&["nobody"], "e2").await.unwrap(), Erased { count: 0, pending: None });
    assert_eq!(
        place.store.erasures().unwrap(),
        [ErasureRow { id: "e1".into(), record: "{}".into(), count: 5 }]
    );
    place.store.drop_erasure("e1").unwrap();
    for _ in 0..2 {
        for (name, tag) in names.iter().zip(&before) {
            let key = place.subjects.find(&[place.person(name)], None).await.unwrap().remove(0);
            assert_eq!(key.is_none(), gone.contains(&name.as_str()), "{name}");
            assert!(
                key.is_none_or(|key| key.tag(Kind::Subject, "", "n") == *tag),
                "the others are unchanged"
            );
        }
        place.reopen();
    }
    // One that comes back is a new person.
    assert_ne!(place.tag(gone[0], "n").await, before[0]);
    // The old table, with any key that is left: what it needs is nowhere.
    let left = place.store.epochs().unwrap();
    assert_eq!((left.len(), left[0].stage), (1, EpochStage::Current));
    assert!(!place.dir().join("epoch-1.key").exists());
    let key = place.dir().join("epoch-2.key");
    for name in ["epoch-1.key", "epoch-2.key"] {
        let _ = std::fs::remove_file(copy.join("epoch-1.key"));
        std::fs::copy(&key, copy.join(name)).unwrap();
        let (_, subjects) = open(&copy);
        let error = subjects.find(&[place.person(gone[0])], None).await.unwrap_err();
        assert!(matches!(*error, Error::Foreign { number: 1 }), "{error}");
    }
    let (_, log) = (database_path(&place.dir()), place.dir().join("state.db-wal"));
    assert!(std::fs::metadata(log).map_or(0, |log| log.len()) < 100_000, "wiped since");
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[tokio::test]
async fn what_was_broken_off_is_finished() {
    let mut place = Place::new();
    let tag = place.tag("alice", "n").await;
    // A key was being made; another has ended and is there still.
    for (number, stage) in [(7, EpochStage::Making), (5, EpochStage::Ending)] {
        let row = crate::state::EpochRow { number, backend: None, id: vec![7], public: None, stage };
        place.store.put_epoch(&row).unwrap();
        std::fs::write(place.dir().join(format!("epoch-{number}.key")), "x").unwrap();
        std::fs::write(place.dir().join(format!(".epoch-{number}.key.1.0.tmp")), "x").unwrap();
    }
    place.reopen();
    assert_eq!(place.subjects.settle().await.unwrap(), None);
    let left: Vec<i64> = place.store.epochs().unwrap().iter().map(|row| row.number).collect();
    assert_eq!(left, [1]);
    let files = std::fs::read_dir(place.dir()).unwrap().map(|file| file.unwrap().file_name());
    let epochs: Vec<_> = files.filter(|name| name.to_str().unwrap().contains("epoch-")).collect();
    assert_eq!(epochs, ["epoch-1.key"]);
    assert_eq!(place.tag("alice", "n").await, tag);
    // A backend that is gone keeps what ended, and what was never used holds nothing up; everything else works.
    for (number, stage, name) in [(20, EpochStage::Making, "alice"), (40, EpochStage::Ending, "bob")] {
        let tag = place.tag(name, "n").await;
        let backend = Some("hsm".into());
        let row = crate::state::EpochRow { number, backend, id: vec![7], public: None, stage };
        place.store.put_epoch(&row).unwrap();
        let erased = place.erase(&[name], name).await.unwrap();
        assert_eq!(erased.count, 1);
        let waits = erased.pending.is_some_and(|reason| reason.contains("backend \"hsm\""));
        assert_eq!(waits, stage == EpochStage::Ending);
        assert_ne!(place.tag(name, "n").await, tag);
    }
}

#[tokio::test]
async fn whoever_was_not_seen_for_long_is_forgotten() {
    let mut place = Place::new();
    let (alice, bob) = (place.person("alice"), place.person("bob"));
    let first = place.subjects.keys(&[alice, bob], at(0)).await.unwrap();
    let again = place.subjects.keys(&[alice], at(3)).await.unwrap();
    assert_eq!(*first[0].to_text(), *again[0].to_text());
    assert_eq!(place.subjects.forget(at(0)).await.unwrap(), 0);
    assert_eq!(place.subjects.forget(at(3)).await.unwrap(), 1);
    place.reopen();
    let found = place.subjects.find(&[alice, bob], None).await.unwrap();
    assert_eq!((found[0].is_some(), found[1].is_some()), (true, false));
}

#[tokio::test]
async fn a_key_that_is_lost_or_another_is_told() {
    let mut place = Place::new();
    place.tag("alice", "n").await;
    let file = place.dir().join("epoch-1.key");
    for wrong in [Some("AAAA"), Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), None] {
        match wrong {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        place.reopen();
        let error = place.subjects.keys(&[place.person("alice")], at(0)).await.unwrap_err();
        assert!(error.to_string().contains("jwsd erase --everyone"), "{error}");
        assert!(place.erase(&["alice"], "e").await.is_err());
    }
    assert!(place.store.erasures().unwrap().is_empty());
    let journal = ErasureRow { id: "all".to_owned(), record: "{}".to_owned(), count: 0 };
    let erased = place.subjects.erase_everyone(journal).await.unwrap();
    assert_eq!(erased, Erased { count: 1, pending: None });
    assert!(place.subjects.find(&[place.person("alice")], None).await.unwrap()[0].is_none());
    let tag = place.tag("alice", "n").await;
    place.reopen();
    assert_eq!(place.tag("alice", "n").await, tag);
}

#[tokio::test]
async fn two_processes_agree_on_who_is_who() {
    let place = Place::new();
    place.tag("alice", "n").await;
    let (_, other) = open(&place.dir());
    // Each learns of whom the other made a key.
    for name in ["bob", "carol", "dave"] {
        let here = place.tag(name, "n").await;
        let there = other.keys(&[place.person(name)], at(0)).await.unwrap();
        assert_eq!(there[0].tag(Kind::Subject, "", "n"), here);
    }
    let people: Vec<Person> = (0..200).map(|number| place.person(&format!("person {number}"))).collect();
    let both =
        futures_util::future::join(place.subjects.keys(&people, at(0)), other.keys(&people, at(0))).await;
    let (here, there) = (both.0.unwrap(), both.1.unwrap());
    for (one, two) in here.iter().zip(&there) {
        assert_eq!(*one.to_text(), *two.to_text());
    }
    // Whoever is erased in one is so in the other, once that looks.
    let erased = place.erase(&["alice", "bob"], "e").await.unwrap();
    assert_eq!(erased, Erased { count: 2, pending: None });
    assert!(other.find(&[place.person("alice")], None).await.unwrap()[0].is_none());
    assert!(other.find(&[place.person("carol")], None).await.unwrap()[0].is_some());
    assert_eq!(place.erase(&["carol"], "f").await.unwrap().count, 1);
    assert_eq!(other.settle().await.unwrap(), None);
    let fresh = other.keys(&[place.person("carol")], at(0)).await.unwrap();
    assert_ne!(*fresh[0].to_text(), *there[0].to_text());
    assert_eq!(fresh[0].tag(Kind::Subject, "", "n"), place.tag("carol", "n").await);
}

#[tokio::test]
async fn whoever_is_looked_up_is_seen() {
    let place = Place::new();
    let (alice, bob) = (place.person("alice"), place.person("bob"));
    place.subjects.keys(&[alice, bob], at(0)).await.unwrap();
    assert!(place.subjects.find(&[alice], Some(at(3))).await.unwrap()[0].is_some());
    assert_eq!(place.subjects.forget(at(2)).await.unwrap(), 1);
    let found = place.subjects.find(&[alice, bob], None).await.unwrap();
    assert_eq!((found[0].is_some(), found[1].is_some()), (true, false));
    // What was dropped is given to nobody from memory.
    let again = place.subjects.keys(&[bob], at(0)).await.unwrap();
    assert_eq!(
        *again[0].to_text(),
        *place.subjects.find(&[bob], None).await.unwrap()[0].as_ref().unwrap().to_text()
    );
}
