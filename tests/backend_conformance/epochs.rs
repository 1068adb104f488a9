//! Keys of epochs of subjects in a backend: made, opened again after a restart, and destroyed with whoever is erased.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jwsd::jose::Algorithm;
use jwsd::state::{ErasureRow, Settings as StateSettings, Store};
use jwsd::subject::{Epochs, Erased, Kind, Settings, Subjects as Table};

use crate::subjects::{Running, Subject};

const ISSUER: &str = "https://login.example.com";

/// What a daemon opens when it starts.
fn open(running: &Running, dir: &Path, algorithm: Algorithm) -> (Arc<Store>, Table) {
    let store = Arc::new(Store::open(&StateSettings { dir: dir.to_owned() }, "test").unwrap());
    let settings = Settings { dir: dir.to_owned(), backend: Some("hsm".to_owned()), algorithm };
    let backends = BTreeMap::from([("hsm".to_owned(), Arc::clone(&running.store))]);
    let epochs = Epochs { settings, backends, environment: "test".to_owned() };
    let table = Table::open(Arc::clone(&store), epochs).unwrap();
    (store, table)
}

async fn tag(table: &Table, name: &str) -> String {
    let person = table.person(ISSUER, Kind::Subject, name);
    let keys = table.keys(&[person], jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    keys[0].tag(Kind::Subject, "", "nonce")
}

/// Those that are not destroyed.
async fn listed(running: &Running) -> Vec<String> {
    let listed = running.store.list().await.unwrap().into_iter();
    listed.filter(|key| key.label.contains("+epoch") && !key.pending_deletion).map(|key| key.id).collect()
}

pub async fn who_is_erased_is_so_with_a_key_of_it(_: &Subject, running: &Running) {
    for algorithm in [Algorithm::Ed25519, Algorithm::RS256] {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("state");
        let (store, table) = open(running, &dir, algorithm);
        let before = [tag(&table, "alice").await, tag(&table, "bob").await];
        let first = listed(running).await;
        assert_eq!(first.len(), 1, "{first:?}");
        drop((store, table));

        let (store, table) = open(running, &dir, algorithm);
        assert_eq!([tag(&table, "alice").await, tag(&table, "bob").await], before, "opened again");
        let alice = table.person(ISSUER, Kind::Subject, "alice");
        let journal = ErasureRow { id: "e".to_owned(), record: "{}".to_owned(), count: 0 };
        assert_eq!(table.erase(&[alice], journal).await.unwrap(), Erased { count: 1, pending: None });
        let second = listed(running).await;
        assert!(second.len() == 1 && second != first, "{second:?}");
        drop((store, table));

        let (store, table) = open(running, &dir, algorithm);
        assert!(table.find(&[alice], None).await.unwrap()[0].is_none());
        assert_eq!(tag(&table, "bob").await, before[1]);
        assert_ne!(tag(&table, "alice").await, before[0], "somebody new");
        // So that the next algorithm begins anew.
        let journal = ErasureRow { id: "all".to_owned(), record: "{}".to_owned(), count: 0 };
        assert_eq!(table.erase_everyone(journal).await.unwrap().pending, None);
        let last = store.epochs().unwrap().remove(0);
        let key =
            jwsd::jose::PublicKey::from_jwk(&serde_json::from_str(&last.public.unwrap()).unwrap()).unwrap();
        running.store.destroy(&last.id, &key).await.unwrap();
        assert_eq!(listed(running).await, [""; 0]);
    }
}
