//! The checks. Each gets a backend of its own, without keys.

use crate::fixture::{soon, verifies};
use crate::subjects::{Running, Subject};
use jwsd::backend::{
    Ask, Class, Destroyed, Error, Generated, KeySpec, Opened, Wanted, label_prefix, show_id,
};
use jwsd::jose::{Algorithm, KeyType, Signature};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Longer than any JWT that is worth having; a backend may sign less and say so.
const LARGE: usize = 16 * 1024;
/// Longer than any answer takes that is an answer.
const HANG: Duration = Duration::from_secs(60);

impl Running {
    async fn generate(&self, id: &[u8], algorithm: Algorithm) -> Result<Generated, Error> {
        self.store.generate(id, &label(id), KeySpec { algorithm, rsa_bits: 2048 }).await
    }

    /// A new key, opened.
    async fn key(&self, id: &[u8], algorithm: Algorithm) -> Opened {
        let made = self.generate(id, algorithm).await.unwrap();
        self.store.open(Wanted::Id(&made.id), algorithm, Some(&made.public)).await.unwrap()
    }

    async fn signs(&self) -> u64 {
        self.store.status().await.signs
    }
}

/// What a key that is made under `id` is called.
fn label(id: &[u8]) -> String {
    jwsd::backend::label("test", "access", id)
}

async fn sign(key: &Opened, input: &[u8]) -> Result<Signature, Error> {
    key.signer.sign(input, soon()).await.result
}

fn class<T>(result: Result<T, Error>) -> Class {
    result.err().expect("it must be refused").class
}

pub async fn every_algorithm_signs_what_verifies(subject: &Subject, running: &Running) {
    for algorithm in subject.algorithms() {
        let made = running.generate(algorithm.name().as_bytes(), algorithm).await.unwrap();
        let key = running.store.open(Wanted::Id(&made.id), algorithm, Some(&made.public)).await.unwrap();
        assert_eq!((&key.public, &key.id), (&made.public, &made.id), "{algorithm:?}");
        let large = vec![b'x'; LARGE.min(key.signer.max_input())];
        let inputs = [b"".as_slice(), b"header.payload", &large];
        let ed25519 = algorithm.key_type() == KeyType::Ed25519;
        let skipped = usize::from(ed25519 && !subject.signs_nothing);
        for input in inputs.into_iter().skip(skipped) {
            let signature = sign(&key, input).await.unwrap();
            assert!(
                verifies(algorithm, &key.public, input, &signature),
                "{algorithm:?}, {} bytes",
                input.len()
            );
            assert!(!verifies(algorithm, &key.public, b"another input", &signature), "{algorithm:?}");
        }
    }
}

pub async fn what_it_lacks_it_refuses(subject: &Subject, running: &Running) {
    for algorithm in subject.lacks {
        let refused = class(running.generate(b"k", *algorithm).await);
        assert_eq!(refused, Class::Misconfigured, "{algorithm:?}");
    }
    assert!(running.store.list().await.unwrap().is_empty(), "no half of a key is left behind");
}

pub async fn a_key_opens_only_as_what_it_is(_: &Subject, running: &Running) {
    let ours = running.key(b"ours", Algorithm::ES256).await;
    let other = running.key(b"other", Algorithm::ES256).await;
    assert_ne!(ours.public, other.public);
    let open = |id, algorithm, pinned| running.store.open(Wanted::Id(id), algorithm, pinned);
    assert_eq!(open(&ours.id, Algorithm::ES256, None).await.unwrap().public, ours.public);
    assert_eq!(class(open(&ours.id, Algorithm::ES256, Some(&other.public)).await), Class::Untrusted);
    for algorithm in [Algorithm::ES384, Algorithm::RS256, Algorithm::Ed25519] {
        assert_eq!(class(open(&ours.id, algorithm, None).await), Class::Misconfigured, "{algorithm:?}");
    }
    assert_eq!(class(open(b"nobody", Algorithm::ES256, None).await), Class::Misconfigured);
    assert_eq!(running.signs().await, 0);
}

pub async fn a_key_opens_by_name_and_as_a_copy(_: &Subject, running: &Running) {
    let ours = running.key(b"ours", Algorithm::ES256).await;
    running.key(b"other", Algorithm::ES256).await;
    let name = show_id(&ours.id);
    let copy = Wanted::Copy { of: &ours.public, id: b"what the original is called" };
    for wanted in [Wanted::Name(&name), copy] {
        let opened = running.store.open(wanted, Algorithm::ES256, Some(&ours.public)).await.unwrap();
        assert_eq!(opened.id, ours.id);
        let signature = sign(&opened, b"x").await.unwrap();
        assert!(verifies(Algorithm::ES256, &ours.public, b"x", &signature));
    }
    let nobody = jwsd::jose::PublicKey::ed25519(&[9; 32]).unwrap();
    let absent = Wanted::Copy { of: &nobody, id: &ours.id };
    assert_eq!(class(running.store.open(absent, Algorithm::Ed25519, None).await), Class::Misconfigured);
}

pub async fn an_id_is_used_once(subject: &Subject, running: &Running) {
    let first = running.key(b"k", Algorithm::ES256).await;
    for algorithm in [Algorithm::ES256, Algorithm::Ed25519] {
        match running.generate(b"k", algorithm).await {
            Err(error) => assert_eq!(error.class, Class::Misconfigured, "{error}"),
            Ok(second) => {
                assert!(!subject.chooses_ids, "two keys with one id");
                assert_ne!(second.id, first.id);
            }
        }
    }
    let again = running.store.open(Wanted::Id(&first.id), Algorithm::ES256, Some(&first.public)).await;
    again.unwrap();
}

pub async fn every_key_is_listed(subject: &Subject, running: &Running) {
    let mut made = BTreeSet::new();
    for algorithm in subject.algorithms() {
        let key = running.generate(algorithm.name().as_bytes(), algorithm).await.unwrap();
        made.insert((show_id(&key.id), label(algorithm.name().as_bytes()), kind(algorithm)));
    }
    let listed = running.store.list().await.unwrap();
    for key in &listed {
        assert!(key.problems.is_empty() && !key.pending_deletion, "{key:?}");
        assert!(key.label.starts_with(&label_prefix("test")), "{key:?}");
    }
    assert_eq!(listed.len(), made.len());
    assert_eq!(listed.into_iter().map(|key| (key.id, key.label, key.kind)).collect::<BTreeSet<_>>(), made);
}

/// What people call a key for `algorithm`.
fn kind(algorithm: Algorithm) -> String {
    match algorithm.name() {
        "ES256" => "P-256".into(),
        "ES384" => "P-384".into(),
        "ES512" => "P-521".into(),
        "EdDSA" => "Ed25519".into(),
        name if name.starts_with(['R', 'P']) => "RSA-2048".into(),
        name => name.to_owned(),
    }
}

pub async fn only_signatures_count(subject: &Subject, running: &Running) {
    let key = running.key(b"k", Algorithm::ES256).await;
    running.store.list().await.unwrap();
    let status = running.store.status().await;
    assert_eq!((status.kind, status.ready, status.reason, status.signs), (subject.kind, true, None, 0));
    for count in 1..=5 {
        sign(&key, b"x").await.unwrap();
        assert_eq!(running.signs().await, count);
    }
    assert_eq!(running.signs().await, 5);
}

pub async fn many_at_once_all_get_their_own(_: &Subject, running: &Running) {
    let key = Arc::new(running.key(b"k", Algorithm::ES256).await);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..64 {
        let key = Arc::clone(&key);
        tasks.spawn(async move {
            let input = format!("input {number}").repeat(1 + number);
            let signature = sign(&key, input.as_bytes()).await.unwrap();
            assert!(verifies(Algorithm::ES256, &key.public, input.as_bytes(), &signature), "{number}");
        });
    }
    assert_eq!(tasks.join_all().await.len(), 64);
    assert_eq!(running.signs().await, 64);
}

pub async fn too_late_and_too_long_never_reach_the_key(_: &Subject, running: &Running) {
    let key = running.key(b"k", Algorithm::ES256).await;
    let late = Ask::own(Instant::now() - Duration::from_secs(1));
    assert_eq!(class(key.signer.sign(b"x", late).await.result), Class::Deadline);
    // Who asks is told the limit beforehand, so to pass it is a defect.
    let long = vec![b'x'; key.signer.max_input() + 1];
    assert_eq!(class(sign(&key, &long).await), Class::Bug);
    assert_eq!(running.signs().await, 0);
    sign(&key, b"x").await.unwrap();
}

pub async fn after_the_end_nothing_signs(_: &Subject, running: &Running) {
    let key = running.key(b"k", Algorithm::ES256).await;
    sign(&key, b"x").await.unwrap();
    let ended = async {
        running.store.shutdown().await;
        assert_eq!(class(sign(&key, b"x").await), Class::Down);
        assert_eq!(class(running.store.open(Wanted::Id(&key.id), Algorithm::ES256, None).await), Class::Down);
        assert_eq!(class(running.store.list().await), Class::Down);
        let status = running.store.status().await;
        assert_eq!((status.ready, status.reason.is_some()), (false, true));
        running.store.shutdown().await;
    };
    timeout(HANG, ended).await.expect("the end is quick");
}

pub async fn what_was_made_is_found_and_nothing_else(_: &Subject, running: &Running) {
    let store = &running.store;
    let found = async |id: &[u8]| store.find_made(id, &label(id)).await.unwrap();
    assert_eq!(found(b"before").await, None);
    for (id, algorithm) in [(&b"first k"[..], Algorithm::ES256), (b"second k", Algorithm::RS256)] {
        let made = running.generate(id, algorithm).await.unwrap();
        // Whether the answer was heard or not, and as often as it takes.
        assert_eq!(found(id).await, Some(made.id.clone()));
        assert_eq!(found(id).await, Some(made.id.clone()));
        store.open(Wanted::Id(&made.id), algorithm, Some(&made.public)).await.unwrap();
    }
    for id in [&b"third k"[..], b"first", b"first k\0", b"\0"] {
        assert_eq!(found(id).await, None, "{id:?}");
    }
    // One whose label is the same, as far as that goes.
    assert_eq!(label(b"first k"), label(b"first kk"));
    assert_eq!(found(b"first kk").await, None);
    assert_eq!(store.list().await.unwrap().len(), 2, "looking makes nothing");
}

pub async fn exactly_one_key_is_destroyed(subject: &Subject, running: &Running) {
    let store = &running.store;
    for algorithm in subject.algorithms() {
        let ours = running.key(algorithm.name().as_bytes(), algorithm).await;
        let other = running.key(format!("not {algorithm:?}").as_bytes(), algorithm).await;
        let first = store.destroy(&ours.id, &ours.public).await.unwrap();
        match subject.keeps_destroyed {
            None => assert_eq!(first, Destroyed { pending_until: None }),
            Some(days) => {
                let left = first.pending_until.unwrap().duration_since(jiff::Timestamp::now()).as_secs();
                assert!((left - days * 86_400).abs() < 3600, "{left}");
            }
        }
        assert_eq!(store.destroy(&ours.id, &ours.public).await.unwrap(), first, "twice is as good");
        assert_eq!(
            store.find_made(algorithm.name().as_bytes(), &label(algorithm.name().as_bytes())).await.unwrap(),
            None
        );
        assert_eq!(class(store.open(Wanted::Id(&ours.id), algorithm, None).await), Class::Misconfigured);
        let listed = store.list().await.unwrap();
        let shown = listed.iter().find(|key| key.id == show_id(&ours.id));
        match subject.keeps_destroyed {
            None => assert!(shown.is_none(), "{shown:?}"),
            Some(_) => {
                let shown = shown.expect("it is kept");
                assert!(shown.pending_deletion && !shown.problems.is_empty(), "{shown:?}");
            }
        }
        let signature = sign(&other, b"x").await.unwrap();
        assert!(verifies(algorithm, &other.public, b"x", &signature), "{algorithm:?}");
    }
}

pub async fn another_key_is_not_destroyed(_: &Subject, running: &Running) {
    let store = &running.store;
    let ours = running.key(b"ours", Algorithm::ES256).await;
    let other = running.key(b"other", Algorithm::ES256).await;
    let refused = store.destroy(&ours.id, &other.public).await;
    assert_eq!(class(refused), Class::Untrusted);
    let listed = store.list().await.unwrap();
    assert!(listed.len() == 2 && listed.iter().all(|key| !key.pending_deletion), "{listed:?}");
    for key in [ours, other] {
        let signature = sign(&key, b"x").await.unwrap();
        assert!(verifies(Algorithm::ES256, &key.public, b"x", &signature));
    }
}

pub async fn where_no_key_may_be_made_none_is(_: &Subject, running: &Running) {
    let ours = running.key(b"ours", Algorithm::ES256).await;
    let strict = (running.strict)().await;
    let made =
        strict.generate(b"k", &label(b"k"), KeySpec { algorithm: Algorithm::ES256, rsa_bits: 2048 }).await;
    let error = made.err().expect("it must be refused");
    assert_eq!(error.class, Class::Misconfigured);
    assert!(error.message.contains("not allowed") && error.message.contains("adopt"), "{error}");
    assert_eq!(strict.find_made(b"k", &label(b"k")).await.unwrap(), None);
    // What an operator made there is used.
    let name = show_id(&ours.id);
    let adopted = strict.open(Wanted::Name(&name), Algorithm::ES256, Some(&ours.public)).await.unwrap();
    assert!(verifies(Algorithm::ES256, &ours.public, b"x", &sign(&adopted, b"x").await.unwrap()));
    strict.shutdown().await;
}
