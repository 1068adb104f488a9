//! Changes as a whole or not at all, on the revision that they were decided on; leases; counts that only grow.

use super::*;
use crate::state::Settings;
use rusqlite::Connection;

fn store(dir: &tempfile::TempDir) -> Arc<Store> {
    Arc::new(Store::open(&Settings { dir: dir.path().join("state") }, "test").unwrap())
}

fn row(key: &str, kid: &str, state: &str) -> KeyVersionRow {
    KeyVersionRow {
        key: key.to_owned(),
        kid: kid.to_owned(),
        backend: "hsm".to_owned(),
        backend_id: kid.as_bytes().to_vec(),
        algorithm: "ES256".to_owned(),
        public_jwk: "{}".to_owned(),
        state: state.to_owned(),
        created: 1_780_000_000,
        ..KeyVersionRow::default()
    }
}

fn versions(rows: &[KeyVersionRow]) -> KeyChange {
    KeyChange { versions: rows.to_vec(), ..KeyChange::default() }
}

#[tokio::test]
async fn a_change_is_made_on_the_revision_it_was_decided_on_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (store(&dir), store(&dir));
    let first = row("access", "k1", "active");
    assert_eq!(one.change(0, versions(std::slice::from_ref(&first))).await.unwrap(), Some(1));
    let late = row("access", "k2", "prepared");
    assert_eq!(other.change(0, versions(&[late])).await.unwrap(), None, "decided on an older state");
    assert_eq!(other.keys().await.unwrap(), Keys { revision: 1, versions: vec![first], intents: vec![] });
}

#[tokio::test]
async fn one_active_and_one_prepared_version_per_key() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let (k1, k2) = (row("access", "k1", "active"), row("access", "k2", "prepared"));
    let start = [k1.clone(), k2.clone(), row("id", "k3", "active")];
    assert_eq!(store.change(0, versions(&start)).await.unwrap(), Some(1));
    for second in [row("access", "k4", "active"), row("access", "k4", "prepared")] {
        let error = store.change(1, versions(&[second])).await.unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error}");
    }
    let half = store.change(1, versions(&[KeyVersionRow { state: "active".into(), ..k2.clone() }])).await;
    assert!(matches!(half, Err(Error::Conflict { .. })));
    // In whatever order they are written.
    let next = KeyVersionRow { state: "active".into(), activated: Some(7), ..k2 };
    let last = KeyVersionRow { state: "retired".into(), retired: Some(7), ..k1 };
    assert_eq!(store.change(1, versions(&[next, last])).await.unwrap(), Some(2));
    let found = store.keys().await.unwrap().versions;
    let mut states: Vec<_> = found.iter().map(|row| (row.kid.as_str(), row.state.as_str())).collect();
    states.sort_unstable();
    assert_eq!(states, [("k1", "retired"), ("k2", "active"), ("k3", "active")]);
}

#[tokio::test]
async fn the_tables_refuse_nonsense() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let error = store.change(0, versions(&[row("access", "k1", "asleep")])).await.unwrap_err();
    assert!(matches!(error, Error::Sql { .. }), "{error}");
    assert_eq!(store.change(0, versions(&[row("access", "k1", "prepared")])).await.unwrap(), Some(1));
    let same_id = KeyVersionRow { backend_id: b"k1".to_vec(), ..row("other", "k2", "prepared") };
    assert!(matches!(store.change(1, versions(&[same_id])).await, Err(Error::Conflict { .. })));
}

#[tokio::test]
async fn an_intent_is_there_until_it_is_settled_with_its_version() {
    let dir = tempfile::tempdir().unwrap();
    let intent = IntentRow {
        key: "access".into(),
        backend: "hsm".into(),
        id: vec![1, 2],
        label: "jwsd/test/access/0102".into(),
        started: 5,
    };
    let begun = KeyChange { intend: Some(intent.clone()), ..KeyChange::default() };
    assert_eq!(store(&dir).change(0, begun.clone()).await.unwrap(), Some(1));
    let store = store(&dir);
    assert_eq!(store.keys().await.unwrap().intents, [intent]);
    assert!(matches!(store.change(1, begun.clone()).await, Err(Error::Conflict { .. })), "one for each key");
    let done = KeyChange {
        versions: vec![row("access", "k1", "prepared")],
        settle: Some(vec![1, 2]),
        ..KeyChange::default()
    };
    assert_eq!(store.change(1, done).await.unwrap(), Some(2));
    let keys = store.keys().await.unwrap();
    assert_eq!((keys.versions.len(), keys.intents.len()), (1, 0));
}

#[tokio::test]
async fn counts_and_bounds_only_grow_and_changes_leave_them_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let active = row("access", "k1", "active");
    store.change(0, versions(std::slice::from_ref(&active))).await.unwrap();
    let tally =
        |signatures, last_exp, exp_bound| vec![Tally { kid: "k1".into(), signatures, last_exp, exp_bound }];
    assert!(store.tally(tally(3, Some(100), 200)).await.unwrap().is_empty());
    assert!(store.tally(tally(2, None, 150)).await.unwrap().is_empty());
    let counts = async || {
        let row = store.keys().await.unwrap().versions.remove(0);
        (row.signatures, row.last_exp, row.exp_bound)
    };
    assert_eq!(counts().await, (5, Some(100), Some(200)));
    store.change(1, versions(&[KeyVersionRow { state: "retired".into(), ..active }])).await.unwrap();
    assert_eq!(counts().await, (5, Some(100), Some(200)), "what was signed stays");
    let stopped = store.tally(tally(1, Some(120), 900)).await.unwrap();
    assert_eq!(stopped, ["k1"], "one that is not active gets no new bound");
    assert_eq!(counts().await, (6, Some(120), Some(200)));
    assert_eq!(store.tally(vec![]).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn one_host_rotates_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (store(&dir), store(&dir));
    let lease = Duration::from_secs(10);
    assert!(one.lease("a", 100, lease).await.unwrap());
    assert!(!other.lease("b", 109, lease).await.unwrap(), "another host has it");
    assert!(one.lease("a", 109, lease).await.unwrap(), "prolonged");
    assert!(!other.lease("b", 118, lease).await.unwrap());
    assert!(other.lease("b", 119, lease).await.unwrap(), "it was not prolonged");
    assert!(!one.lease("a", 120, lease).await.unwrap());
    // Written by a host whose clock ran a day ahead.
    assert!(one.lease("a", 86_400, lease).await.unwrap());
    assert!(other.lease("b", 200, lease).await.unwrap());
}

#[tokio::test]
async fn an_active_version_of_an_older_schema_is_published_and_bound() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = store(&dir);
    let active = KeyVersionRow { published: None, ..row("access", "k1", "active") };
    fresh.change(0, versions(&[active])).await.unwrap();
    drop(fresh);
    // As schema 2 had it.
    let file = crate::state::database_path(&dir.path().join("state"));
    let old = Connection::open(&file).unwrap();
    let columns = "published activated retired ended destroyed wanted reason exp_bound last_exp signatures";
    for column in columns.split(' ') {
        old.execute_batch(&format!("ALTER TABLE key_versions DROP COLUMN {column}")).unwrap();
    }
    old.execute_batch(
        "DROP INDEX one_prepared_version; DROP TABLE key_intents; DROP TABLE key_revision; DROP TABLE leases;
         DROP TABLE sinks;
         PRAGMA user_version = 2",
    )
    .unwrap();
    drop(old);
    let row = store(&dir).keys().await.unwrap().versions.remove(0);
    assert_eq!((row.published, row.activated), (Some(row.created), Some(row.created)));
    assert!(row.exp_bound.unwrap() > row.created);
}
