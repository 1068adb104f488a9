//! Migrations, restarts, environments and damaged stores.

use super::*;
use crate::clock::Head;
use secrecy::ExposeSecret;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};

fn settings(dir: &tempfile::TempDir) -> Settings {
    Settings { dir: dir.path().join("state") }
}

#[test]
fn makes_private_files_and_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&dir);
    let first = Store::open(&settings, "test").unwrap();
    let secret = first.secret("subject").unwrap();
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let mode = settings.dir.join(name).metadata().unwrap().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
    assert_eq!(settings.dir.metadata().unwrap().mode() & 0o7777, 0o700);
    drop(first);
    let second = Store::open(&settings, "test").unwrap();
    assert_eq!(second.secret("subject").unwrap().expose_secret(), secret.expose_secret());
}

#[test]
fn the_clock_is_kept_and_a_damaged_one_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(&dir), "test").unwrap();
    assert_eq!(store.clock().unwrap(), None);
    let at = |second| jiff::Timestamp::new(second, 7).unwrap();
    let mut head = Head { greatest: Some(at(9)), until: None, seen: at(1), lost: false, ..Head::lost() };
    store.keep_clock(|| head.clone()).unwrap();
    head = Head { line: Some(at(2)), boot_id: Some("b".to_owned()), ..head };
    store.keep_clock(|| head.clone()).unwrap();
    drop(store);
    let store = Store::open(&settings(&dir), "test").unwrap();
    assert_eq!(store.clock().unwrap(), Some(head));
    store.transact("spoil", |t| t.execute("UPDATE meta SET value = '{' WHERE name = 'clock'", [])).unwrap();
    assert_eq!(store.clock().unwrap(), Some(Head::lost()));
    store.keep_clock(Head::lost).unwrap();
    assert_eq!(store.clock().unwrap(), Some(Head::lost()));
}

#[test]
fn a_quarantine_stays_until_it_is_lifted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(&dir), "test").unwrap();
    let row = |kid: Option<&str>, reason: &str| QuarantineRow {
        backend: "hsm".to_owned(),
        kid: kid.map(str::to_owned),
        reason: reason.to_owned(),
        since: 7,
    };
    store.quarantine(&row(None, "first")).unwrap();
    store.quarantine(&row(None, "second")).unwrap();
    store.quarantine(&row(Some("k1"), "bad")).unwrap();
    drop(store);
    let store = Store::open(&settings(&dir), "test").unwrap();
    assert_eq!(store.quarantines().unwrap(), [row(None, "first"), row(Some("k1"), "bad")]);
    store.lift_quarantine("hsm", None).unwrap();
    store.lift_quarantine("other", Some("k1")).unwrap();
    assert_eq!(store.quarantines().unwrap(), [row(Some("k1"), "bad")]);
    store.lift_quarantine("hsm", Some("k1")).unwrap();
    assert_eq!(store.quarantines().unwrap(), []);
}

#[test]
fn is_durable_by_settings() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(&dir), "test").unwrap();
    let connection = store.connection();
    let pragma = |name: &str| -> String {
        connection
            .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, rusqlite::types::Value>(0))
            .map(|v| format!("{v:?}"))
            .unwrap()
    };
    assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
    assert_eq!(pragma("synchronous"), "Integer(2)");
    assert_eq!(pragma("foreign_keys"), "Integer(1)");
    assert_eq!(pragma("busy_timeout"), "Integer(5000)");
    assert_eq!(pragma("user_version"), "Integer(4)");
}

#[test]
fn how_far_a_sink_is_outlasts_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(&dir), "test").unwrap();
    assert_eq!(store.sink("siem").unwrap(), None);
    let first = SinkRow { seq: 7, time: "2026-11-24T08:00:00.123456Z".to_owned(), told: 3, lost: 2 };
    store.keep_sink("siem", &first).unwrap();
    store.keep_sink("other", &SinkRow::default()).unwrap();
    drop(store);
    let store = Store::open(&settings(&dir), "test").unwrap();
    assert_eq!(store.sink("siem").unwrap(), Some(first));
    let last = SinkRow { seq: u64::MAX, ..SinkRow::default() };
    store.keep_sink("siem", &last).unwrap();
    let most = i64::MAX as u64;
    assert_eq!(store.sink("siem").unwrap(), Some(SinkRow { seq: most, ..last }));
    assert_eq!(store.sink("other").unwrap(), Some(SinkRow::default()));
}

#[test]
fn another_environment_is_refused_with_both_names() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(&settings(&dir), "staging").unwrap());
    let text = Store::open(&settings(&dir), "production").err().unwrap().to_string();
    assert!(text.contains("\"staging\"") && text.contains("\"production\""), "{text}");
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&dir);
    let store = Store::open(&settings, "test").unwrap();
    store.connection().pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    let error = Store::open(&settings, "test").err().unwrap();
    assert!(matches!(error, Error::Newer { found: 99, .. }), "{error}");
    let again = Store::open(&settings, "test").err().unwrap();
    assert!(again.to_string().contains("schema 99"), "{again}");
}

#[test]
fn a_half_done_migration_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&dir);
    prepare_dir(&settings.dir).unwrap();
    prepare_file(&database_path(&settings.dir)).unwrap();
    // Killed before the commit: SQLite rolls back at the next open, which then starts from nothing.
    let mut connection = Connection::open(database_path(&settings.dir)).unwrap();
    configure(&connection).unwrap();
    let transaction = connection.transaction().unwrap();
    transaction.execute_batch("CREATE TABLE meta (name TEXT)").unwrap();
    drop(transaction);
    drop(connection);
    let store = Store::open(&settings, "test").unwrap();
    assert_eq!(store.read_keys().unwrap(), Keys::default());
}

#[test]
fn secrets_differ_by_name_and_two_processes_agree() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&dir);
    let secrets: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let open = || Store::open(&settings, "test").unwrap().secret("subject").unwrap();
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|t| t.join().unwrap().expose_secret().to_vec()).collect()
    });
    assert_eq!(secrets[0].len(), 32);
    assert_ne!(secrets[0], [0; 32]);
    assert!(secrets.iter().all(|s| *s == secrets[0]));
    let other = Store::open(&settings, "test").unwrap().secret("other").unwrap();
    assert_ne!(other.expose_secret(), secrets[0]);
}

#[test]
fn a_returned_secret_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&dir);
    let store = Store::open(&settings, "test").unwrap();
    let secret = store.secret("subject").unwrap();
    // What a killed process leaves: the files as they are now, the WAL not checkpointed.
    let copy = dir.path().join("copy");
    DirBuilder::new().mode(0o700).create(&copy).unwrap();
    for name in ["state.db", "state.db-wal"] {
        std::fs::copy(settings.dir.join(name), copy.join(name)).unwrap();
    }
    let survivor = Store::open(&Settings { dir: copy }, "test").unwrap();
    assert_eq!(survivor.secret("subject").unwrap().expose_secret(), secret.expose_secret());
}

#[test]
fn files_that_others_can_read_or_that_are_links_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&dir);
    drop(Store::open(&settings, "test").unwrap());
    let file = database_path(&settings.dir);
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(&file, 0o640);
    assert!(matches!(Store::open(&settings, "test"), Err(Error::Insecure { .. })));
    set(&file, 0o600);
    set(&settings.dir, 0o750);
    assert!(matches!(Store::open(&settings, "test"), Err(Error::Insecure { .. })));
    set(&settings.dir, 0o700);
    let real = settings.dir.join("real.db");
    std::fs::rename(&file, &real).unwrap();
    std::os::unix::fs::symlink(&real, &file).unwrap();
    assert!(matches!(Store::open(&settings, "test"), Err(Error::Io { .. })));
}

#[test]
fn a_damaged_file_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&dir);
    prepare_dir(&settings.dir).unwrap();
    prepare_file(&database_path(&settings.dir)).unwrap();
    std::fs::write(database_path(&settings.dir), "not a database, but long enough to look at").unwrap();
    let error = Store::open(&settings, "test").err().unwrap();
    assert!(error.to_string().contains("state.db"), "{error}");
}
