//! The gate: what it lets through and when, what it counts, and that a revocation leaves nothing behind.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;
use crate::jose::PublicKey;

fn version() -> Arc<Version> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = PublicKey::ed25519(pair.public_key().as_ref()).unwrap();
    let verifier = Verifier::new(Algorithm::Ed25519, public).unwrap();
    // In no backend: nothing is signed here.
    Arc::new(Version::new("access".into(), verifier, Vec::new()))
}

fn open(from: i64, until: i64, bound: i64) -> Arc<Version> {
    let version = version();
    version.open(from, until);
    version.reserve(bound);
    version
}

fn outcome(version: &Arc<Version>, iat: i64, exp: i64) -> Result<(i64, i64), Shut> {
    version.enter(iat, exp).map(|right| (right.iat(), right.exp()))
}

#[test]
fn the_gate_is_shut_until_it_is_opened_and_the_state_knows_how_long_jwts_live() {
    let version = version();
    assert_eq!(outcome(&version, 0, 1), Err(Shut::Early { from: i64::MAX }));
    version.reserve(i64::MAX);
    assert_eq!(outcome(&version, 0, 1), Err(Shut::Early { from: i64::MAX }));
    let version = self::version();
    version.open(10, 20);
    assert_eq!(outcome(&version, 10, 11), Err(Shut::Unbound));
    assert_eq!(version.take_tally(), (0, None), "what was refused leaves no trace");
}

#[test]
fn the_gate_lets_through_what_is_within_its_time_and_its_bound() {
    let version = open(10, 20, 100);
    for (iat, exp, wanted) in [
        (9, 50, Err(Shut::Early { from: 10 })),
        (10, 50, Ok((10, 50))),
        (19, 50, Ok((19, 50))),
        (20, 50, Err(Shut::Over { until: 20 })),
        (10, 100, Ok((10, 100))),
        (10, 101, Err(Shut::Unbound)),
        (i64::MIN, 50, Err(Shut::Early { from: 10 })),
        (i64::MAX, i64::MAX, Err(Shut::Over { until: 20 })),
    ] {
        assert_eq!(outcome(&version, iat, exp), wanted, "{iat} {exp}");
    }
    version.revoke();
    for (iat, exp) in [(9, 50), (10, 50), (20, 50), (10, 101)] {
        assert_eq!(outcome(&version, iat, exp), Err(Shut::Revoked), "{iat} {exp}");
    }
    version.open(10, 20);
    assert_eq!(outcome(&version, 10, 50), Err(Shut::Revoked), "it was opened again");
}

#[test]
fn the_end_of_its_time_moves_forward_only_and_its_bound_on() {
    let version = open(10, 20, 100);
    version.close_at(30);
    assert_eq!(outcome(&version, 20, 50), Err(Shut::Over { until: 20 }));
    version.close_at(15);
    assert_eq!(outcome(&version, 15, 50), Err(Shut::Over { until: 15 }));
    // What it was closed for came to nothing.
    version.open(10, 20);
    assert_eq!(outcome(&version, 15, 50), Ok((15, 50)));
    version.reserve(40);
    assert_eq!((version.bound(), outcome(&version, 15, 100)), (100, Ok((15, 100))));
    version.reserve(200);
    assert_eq!((version.bound(), outcome(&version, 15, 200)), (200, Ok((15, 200))));
}

#[test]
fn signatures_are_counted_when_they_are_made_and_expiries_when_they_are_granted() {
    let version = open(0, 100, 1000);
    assert_eq!(version.take_tally(), (0, None));
    let (first, second) = (version.enter(1, 500).unwrap(), version.enter(1, 400).unwrap());
    assert_eq!(version.take_tally(), (0, Some(500)), "it may be signed in a moment");
    first.signed().unwrap();
    second.signed().unwrap();
    drop(version.enter(1, 600).unwrap());
    assert_eq!(version.take_tally(), (2, Some(600)));
    assert_eq!(version.take_tally(), (0, Some(600)));
    version.return_tally(2);
    version.enter(1, 300).unwrap().signed().unwrap();
    assert_eq!(version.take_tally(), (3, Some(600)));
}

#[test]
fn what_was_let_through_goes_on_when_its_time_is_over_but_not_when_it_is_revoked() {
    let version = open(0, 100, 1000);
    let right = version.enter(50, 500).unwrap();
    version.close_at(i64::MIN);
    right.signed().unwrap();

    let version = open(0, 100, 1000);
    let right = version.enter(50, 500).unwrap();
    version.revoke();
    assert_eq!(right.signed().err(), Some(Shut::Revoked));
    assert_eq!(version.take_tally().0, 0);
}

#[test]
fn a_revocation_waits_for_what_is_signed_and_for_what_is_leaving() {
    let version = open(0, 100, 1000);
    let signing = version.enter(50, 500).unwrap();
    let leaving = version.enter(51, 500).unwrap();
    let leaving = {
        let signed = leaving.signed().unwrap();
        // The right is gone; the JWT is not out yet.
        drop(leaving);
        signed
    };
    version.revoke();
    let mut drained = pin!(version.drained());
    let mut is_drained = || drained.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(());
    assert!(!is_drained(), "one is being signed, one is leaving");
    assert!(signing.signed().is_err());
    drop(signing);
    assert!(!is_drained(), "one is leaving");
    assert_eq!(outcome(&version, 52, 500), Err(Shut::Revoked));
    drop(leaving);
    assert!(is_drained());
}
