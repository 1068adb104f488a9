//! What is presented and is none of ours, or not any more: a matrix of forgeries, and revocations over real state.

mod forged;

use super::*;
use crate::jose::{Algorithm, Curve, PublicKey, Signature, Verifier, compact};
use crate::keyring::Version;
use crate::profile::{AudienceForm, Consent, ConsentWhen, Profile};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use std::time::Duration;

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://login.example.com";
/// By which clocks may be wrong before anything is forgotten.
const MARGIN: i64 = 24 * 3600;

/// A key in memory that signs whatever it is given.
struct Soft(EcdsaKeyPair);

impl Soft {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn public(&self) -> PublicKey {
        PublicKey::ec(Curve::P256, self.0.public_key().as_ref()).unwrap()
    }

    fn sign(&self, header: &[u8], payload: &[u8]) -> String {
        let input = compact::signing_input(header, payload);
        let bytes = self.0.sign(&SystemRandom::new(), input.as_bytes()).unwrap().as_ref().to_vec();
        compact::seal(&input, &Signature::from_backend(bytes, &self.public()).unwrap())
    }
}

struct World {
    _directory: tempfile::TempDir,
    dir: std::path::PathBuf,
    key: Soft,
    ring: Ring,
    policy: Policy,
    revocations: Revocations,
}

fn store(dir: &std::path::Path) -> Arc<Store> {
    Arc::new(Store::open(&state::Settings { dir: dir.to_owned() }, "test").unwrap())
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("state");
        let key = Soft::new();
        let verifier = Verifier::new(Algorithm::ES256, key.public()).unwrap();
        let version = Arc::new(Version::new("access".to_owned(), verifier, Vec::new()));
        let consent = Consent {
            purposes: ["support".to_owned()].into_iter().collect(),
            max_age: Duration::from_secs(1),
            when: ConsentWhen::Always,
            claim: Some("consent_id".to_owned()),
        };
        let profiles = vec![
            Profile { consent: Some(consent), ..Profile::sample("access-token", "access", "at+jwt") },
            Profile { audience_form: AudienceForm::Array, ..Profile::sample("many", "access", "many+jwt") },
        ];
        let policy = Policy::new(profiles, "digest".to_owned());
        let ring = Ring::sample(Some(&version), None);
        let revocations = Revocations::open(store(&dir)).unwrap();
        Self { _directory: directory, dir, key, ring, policy, revocations }
    }

    fn header(&self) -> Value {
        json!({ "alg": "ES256", "kid": self.key.public().thumbprint().as_str(), "typ": "at+jwt" })
    }

    fn claims(&self) -> Value {
        json!({
            "iss": ISSUER, "sub": "alice", "sid": "s1", "consent_id": "c1", "aud": "https://api.example.com",
            "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 290, "jti": "id-1",
        })
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        self.key.sign(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    fn good(&self) -> String {
        self.token(&self.header(), &self.claims())
    }

    fn judge(&self, token: &str) -> Result<Presented, Inactive> {
        self.revocations.judge(token, (&self.ring, &self.policy), Asked::default(), NOW)
    }
}

#[tokio::test]
async fn what_is_revoked_is_so_for_all_that_it_is_of_and_outlasts_a_restart() {
    let world = World::new();
    let term = Revocations::term(NOW);
    let person = |kind, text| Target::Person(world.revocations.person(kind, ISSUER, text));
    let profile = |name| {
        let found = world.policy.profiles().find(|profile| profile.name.as_str() == name);
        Target::Profile(Revocations::profile(found.unwrap()))
    };
    for target in [
        Target::Jwt(Revocations::jwt("id-1")),
        person(Kind::Subject, "alice"),
        person(Kind::Session, "s1"),
        person(Kind::Consent, "c1"),
        profile("access-token"),
        Target::Everything,
    ] {
        let world = World { revocations: Revocations::open(store(&world.dir)).unwrap(), ..World::new() };
        // Of another world, whose key it is; the state is the same as before.
        assert!(world.judge(&world.good()).is_ok(), "{target:?}");
        for _ in 0..2 {
            world.revocations.revoke(vec![(target.clone(), term)], Reason::Compromised).await.unwrap();
            assert_eq!(world.judge(&world.good()).unwrap_err(), Inactive::Revoked);
        }
        assert_eq!(world.revocations.count(), 1, "the same again is the same");
        let again = Revocations::open(Arc::clone(&world.revocations.store)).unwrap();
        let judged = again.judge(&world.good(), (&world.ring, &world.policy), Asked::default(), NOW);
        assert_eq!(judged.unwrap_err(), Inactive::Revoked);
        // What is issued later is not meant, unless it is that very JWT.
        let mut later = world.claims();
        later["iat"] = json!(NOW + 1);
        let later = world.token(&world.header(), &later);
        let judged = again.judge(&later, (&world.ring, &world.policy), Asked::default(), NOW + 1);
        assert_eq!(judged.is_ok(), !matches!(target, Target::Jwt(_)), "{target:?}");
        again.forget(term.until + MARGIN).await.unwrap();
        assert_eq!(again.count(), 1, "clocks may be apart");
        again.forget(term.until + MARGIN + 1).await.unwrap();
        assert_eq!(again.count(), 0);
        assert!(again.store.revocations().unwrap().is_empty());
    }
    let others = [
        Target::Jwt(Revocations::jwt("id-2")),
        person(Kind::Subject, "bob"),
        person(Kind::Session, "alice"),
        Target::Person(world.revocations.person(Kind::Subject, "https://other.example.com", "alice")),
        profile("many"),
    ];
    for other in others {
        world.revocations.revoke(vec![(other, term)], Reason::Unspecified).await.unwrap();
    }
    assert!(world.judge(&world.good()).is_ok());
}

#[tokio::test]
async fn what_was_active_is_looked_at_again() {
    let world = World::new();
    let jwt = world.judge(&world.good()).unwrap();
    assert_eq!(world.revocations.stands(&jwt, &world.ring), Ok(()));
    let what = Target::Jwt(Revocations::jwt("id-1"));
    world.revocations.revoke(vec![(what, Revocations::term(NOW))], Reason::Compromised).await.unwrap();
    assert_eq!(world.revocations.stands(&jwt, &world.ring), Err(Inactive::Revoked));
    // The key is revoked, and this ring is from before that.
    world.ring.active("access").unwrap().revoke();
    assert_eq!(world.revocations.stands(&jwt, &world.ring), Err(Inactive::Key));
    assert_eq!(world.judge(&world.good()).unwrap_err(), Inactive::Key);
}

#[tokio::test]
async fn a_profile_that_is_revoked_stays_so_under_another_name() {
    let world = World::new();
    let jwt = world.judge(&world.good()).unwrap();
    let what = Target::Profile(Revocations::profile(&jwt.profile));
    world.revocations.revoke(vec![(what, Revocations::term(NOW))], Reason::Compromised).await.unwrap();
    let renamed = Policy::new(vec![Profile::sample("renamed", "access", "at+jwt")], "digest".to_owned());
    let judged = world.revocations.judge(&world.good(), (&world.ring, &renamed), Asked::default(), NOW);
    assert_eq!(judged.unwrap_err(), Inactive::Revoked);
}

#[tokio::test]
async fn a_revocation_takes_effect_when_it_is_to() {
    let world = World::new();
    let term = Term { from: NOW + 100, ..Revocations::term(NOW + 100) };
    world.revocations.revoke(vec![(Target::Everything, term)], Reason::Superseded).await.unwrap();
    let at = |now| {
        let judged =
            world.revocations.judge(&world.good(), (&world.ring, &world.policy), Asked::default(), now);
        judged.map(drop)
    };
    assert_eq!((at(NOW), at(NOW + 99), at(NOW + 100)), (Ok(()), Ok(()), Err(Inactive::Revoked)));
    assert_eq!(at(NOW + 98), Err(Inactive::Revoked), "the clock was set back");
}

#[tokio::test]
async fn what_is_revoked_stays_so_when_the_clock_is_set_back() {
    let world = World::new();
    for target in [Target::Jwt(Revocations::jwt("id-1")), Target::Everything] {
        world.revocations.revoke(vec![(target, Revocations::term(NOW))], Reason::Compromised).await.unwrap();
    }
    for revocations in [&world.revocations, &Revocations::open(store(&world.dir)).unwrap()] {
        let judged =
            revocations.judge(&world.good(), (&world.ring, &world.policy), Asked::default(), NOW - 5);
        assert_eq!(judged.unwrap_err(), Inactive::Revoked);
    }
}

/// A security event has no `exp` (RFC 8417 section 2.2).
#[tokio::test]
async fn what_does_not_say_when_it_ends_ends_when_no_jwt_lives_any_more() {
    let world = World::new();
    let (mut header, mut claims) = (world.header(), world.claims());
    header["typ"] = json!("secevent+jwt");
    claims.as_object_mut().unwrap().remove("exp");
    let event = world.token(&header, &claims);
    let policy = Policy::new(vec![Profile::sample("event", "access", "secevent+jwt")], "digest".to_owned());
    let at = |now| world.revocations.judge(&event, (&world.ring, &policy), Asked::default(), now);
    let end = NOW - 10 + 24 * 3600;
    assert_eq!(at(NOW).unwrap().end(), end);
    assert!(at(end - 1).is_ok());
    assert_eq!(at(end).unwrap_err(), Inactive::Expired);
    let term = Revocations::term(NOW);
    world.revocations.revoke(vec![(Target::Everything, term)], Reason::Compromised).await.unwrap();
    world.revocations.forget(end - 1).await.unwrap();
    assert_eq!(at(end - 1).unwrap_err(), Inactive::Revoked, "it is forgotten only when it has ended");
}

#[tokio::test]
async fn one_of_many_spends_it() {
    let world = World::new();
    let jwt = world.judge(&world.good()).unwrap();
    let spend = || async { world.revocations.spend(&[&jwt]).await };
    let won = futures_util::future::join_all((0..64).map(|_| spend())).await;
    assert_eq!(won.into_iter().filter(|won| *won.as_ref().unwrap() == [true]).count(), 1);
    let again = Revocations::open(store(&world.dir)).unwrap();
    let mut claims = world.claims();
    claims["jti"] = json!("id-2");
    let other = world.judge(&world.token(&world.header(), &claims)).unwrap();
    let spent = again.spend(&[&jwt, &other, &other]).await.unwrap();
    assert_eq!(spent, [false, true, false], "a restart forgets nothing, nor does a batch");
    again.forget(NOW + 291).await.unwrap();
    assert_eq!(again.spend(&[&jwt]).await.unwrap(), [false], "the clock may be set back");
    again.forget(NOW + 291 + MARGIN).await.unwrap();
    assert_eq!(
        again.spend(&[&jwt]).await.unwrap(),
        [true],
        "nobody can use it any more, so nobody must know"
    );
}
