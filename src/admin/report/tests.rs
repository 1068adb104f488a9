//! What is a problem, and that times are those that the machine goes by.

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;
use crate::jose::{Algorithm, PublicKey, Verifier};
use crate::keyring::machine::Rotation;

const DAY: i64 = 86_400;

fn settings() -> BTreeMap<String, Settings> {
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let rotation = Rotation {
        every: Some(days(30)),
        after: None,
        publish_ahead: days(2),
        stop: Some(days(60)),
        notice: days(7),
        keep: days(1),
        cache: days(3),
    };
    let settings = Settings {
        backends: vec!["hsm".into()],
        algorithm: Algorithm::Ed25519,
        rsa_bits: 2048,
        rotation,
        longest: days(1),
        may_generate: true,
        published: true,
        certificates: Vec::new(),
    };
    BTreeMap::from([("access".to_owned(), settings)])
}

fn row(kid: &str, stage: Stage, created: i64) -> KeyVersionRow {
    KeyVersionRow {
        key: "access".into(),
        kid: kid.into(),
        backend: "hsm".into(),
        backend_id: vec![1],
        algorithm: "Ed25519".into(),
        public_jwk: "{}".into(),
        state: stage.name().into(),
        created,
        activated: (stage == Stage::Active).then_some(created),
        ..KeyVersionRow::default()
    }
}

fn report(rows: &[KeyVersionRow], now: i64) -> KeyReport {
    let keys = Keys { versions: rows.to_vec(), ..Keys::default() };
    reports(&settings(), &keys, &Ring::empty(), now).remove(0)
}

#[test]
fn a_step_that_is_late_is_a_problem_after_a_minute() {
    let active = row("a", Stage::Active, 0);
    let shown = KeyVersionRow { published: Some(20 * DAY), ..row("b", Stage::Prepared, 20 * DAY) };
    let hidden = row("b", Stage::Prepared, 20 * DAY);
    for (rows, due, said) in [
        (vec![active.clone()], 27 * DAY, "a new version has been due since 1970-01-28T00:00:00Z"),
        (vec![active.clone(), shown], 30 * DAY, "activate has been due since 1970-01-31T00:00:00Z"),
        (vec![active, hidden], 20 * DAY, "publish has been due since 1970-01-21T00:00:00Z"),
    ] {
        assert_eq!(report(&rows, due + LATE).problems, [""; 0], "{said}");
        let [problem] = &report(&rows, due + LATE + 1).problems[..] else { panic!("one problem: {said}") };
        assert!(problem.starts_with(said), "{problem}");
    }
}

#[test]
fn times_are_those_of_the_machine() {
    let prepared = KeyVersionRow { published: Some(20 * DAY), ..row("b", Stage::Prepared, 20 * DAY) };
    let report = report(&[row("a", Stage::Active, 5), prepared], 21 * DAY);
    let [active, prepared] = &report.versions[..] else { panic!("two versions") };
    assert_eq!((active.ready, active.stops), (None, Some(time(60 * DAY + 5))));
    assert_eq!((prepared.ready, prepared.stops), (Some(time(23 * DAY)), None), "the longer of two times");
}

#[test]
fn a_revocation_that_is_not_recorded_is_told() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = PublicKey::ed25519(pair.public_key().as_ref()).unwrap();
    let version =
        Version::new("access".into(), Verifier::new(Algorithm::Ed25519, public).unwrap(), Vec::new());
    let active = row("a", Stage::Active, 0);
    assert_eq!(torn(&active, &version), None);
    version.revoke();
    assert!(torn(&active, &version).unwrap().contains("version a was revoked, which could not be recorded"));
    assert_eq!(torn(&row("a", Stage::Revoked, 0), &version), None, "the state says so");
}
