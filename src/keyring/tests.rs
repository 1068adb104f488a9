//! Which version signs: at the second in which one gives way to the next, and while the keys are being exchanged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;
use crate::jose::{Kid, PublicKey, Verifier};

const KEY: &str = "access";

/// One in no backend.
fn unbound(seed: u8) -> Arc<Version> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = PublicKey::ed25519(pair.public_key().as_ref()).unwrap();
    let verifier = Verifier::new(Algorithm::Ed25519, public).unwrap();
    Arc::new(Version::new(KEY.into(), verifier, Vec::new()))
}

/// One that signs from and until then.
fn version(seed: u8, from: i64, until: i64) -> Arc<Version> {
    let version = unbound(seed);
    version.open(from, until);
    version.reserve(i64::MAX);
    version
}

fn ring(active: Option<&Arc<Version>>, before: &[&Arc<Version>]) -> Ring {
    let turn = Turn { active: active.cloned(), before: before.iter().map(|one| Arc::clone(one)).collect() };
    Ring { signing: BTreeMap::from([(KEY.to_owned(), turn)]), ..Ring::empty() }
}

/// Who signs at this second.
fn signer(ring: Ring, second: i64) -> Result<Kid, NoVersion> {
    let now = Timestamp::from_second(second).unwrap();
    let right = Keyring::new(ring).enter(KEY, now, Duration::from_secs(60))?;
    assert_eq!((right.iat(), right.exp()), (second, second + 60));
    Ok(right.version().kid().clone())
}

#[test]
fn one_gives_way_to_the_next_within_a_second() {
    let (a, b, c) = (version(1, 0, 100), version(2, 100, 200), version(3, 200, i64::MAX));
    let at = |second| signer(ring(Some(&c), &[&a, &b]), second).unwrap();
    for (second, signs) in [(0, &a), (99, &a), (100, &b), (199, &b), (200, &c), (9999, &c)] {
        assert_eq!(&at(second), signs.kid(), "{second}");
    }
}

#[test]
fn the_newest_that_may_sign_does() {
    let (a, b) = (version(1, 0, 100), version(2, 50, 150));
    assert_eq!(&signer(ring(Some(&b), &[&a]), 60).unwrap(), b.kid());
    b.revoke();
    assert_eq!(&signer(ring(Some(&b), &[&a]), 60).unwrap(), a.kid());
}

#[test]
fn what_the_active_one_says_is_the_reason() {
    let (a, b) = (version(1, 0, 100), version(2, 200, 300));
    let shut = |why| Err(NoVersion::Shut(why));
    assert_eq!(signer(ring(Some(&b), &[&a]), 150), shut(Shut::Early { from: 200 }));
    assert_eq!(signer(ring(Some(&b), &[&a]), 300), shut(Shut::Over { until: 300 }));
    assert_eq!(signer(ring(None, &[&a]), 150), Err(NoVersion::None), "it was stopped");
    assert_eq!(signer(ring(None, &[]), 150), Err(NoVersion::None));
    assert_eq!(signer(Ring::empty(), 150), Err(NoVersion::None));
    let elsewhere = Keyring::new(ring(Some(&b), &[])).enter("other", Timestamp::UNIX_EPOCH, Duration::ZERO);
    assert_eq!(elsewhere.err(), Some(NoVersion::None));
    b.revoke();
    assert_eq!(signer(ring(Some(&b), &[]), 250), shut(Shut::Revoked));
}

#[test]
fn nothing_lives_longer_than_the_state_knows() {
    let b = unbound(1);
    b.open(0, 100);
    b.reserve(109);
    let enter = |ttl| {
        let now = Timestamp::from_second(50).unwrap();
        Keyring::new(ring(Some(&b), &[])).enter(KEY, now, Duration::from_secs(ttl)).map(|right| right.exp())
    };
    assert_eq!(enter(59), Ok(109));
    for ttl in [60, u64::MAX] {
        assert_eq!(enter(ttl), Err(NoVersion::Shut(Shut::Unbound)), "{ttl}");
    }
}

/// The next one is opened, the rings are exchanged, the old one is closed: nobody is turned away meanwhile.
#[test]
fn nobody_is_turned_away_while_the_keys_are_exchanged() {
    let (mut signs, mut rests) = (version(1, 0, i64::MAX), version(2, 0, i64::MIN));
    let keyring = Keyring::new(ring(Some(&signs), &[]));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients = [(); 2].map(|()| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    keyring.enter(KEY, Timestamp::UNIX_EPOCH, Duration::from_secs(1)).map(drop)?;
                }
                Ok::<_, NoVersion>(())
            })
        });
        for _ in 0..20_000 {
            rests.open(0, i64::MAX);
            keyring.replace(Arc::new(ring(Some(&rests), &[])));
            signs.close_at(i64::MIN);
            std::mem::swap(&mut signs, &mut rests);
        }
        done.store(true, Ordering::Relaxed);
        for client in clients {
            assert_eq!(client.join().unwrap(), Ok(()));
        }
    });
}

#[test]
fn a_ring_finds_versions_wherever_they_are() {
    let (a, b, c) = (version(1, 0, 100), version(2, 100, 200), version(3, 200, 300));
    let mut ring = ring(Some(&b), &[&a]);
    ring.prepared.insert(KEY.into(), Arc::clone(&c));
    let kids =
        |versions: Vec<&Arc<Version>>| versions.iter().map(|one| one.kid().clone()).collect::<Vec<_>>();
    for one in [&a, &b, &c] {
        assert!(Arc::ptr_eq(ring.version(one.kid().as_str()).unwrap(), one));
    }
    assert!(ring.version("other").is_none() && ring.active("other").is_none());
    assert!(Arc::ptr_eq(ring.active(KEY).unwrap(), &b));
    assert_eq!(kids(ring.signing().collect()), [b.kid().clone(), a.kid().clone()]);
    assert_eq!(kids(ring.versions().collect()), [b.kid().clone(), c.kid().clone()]);
}
