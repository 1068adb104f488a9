//! Keys in AWS KMS, as the emulator plays it: they turn, an orphan is told, a key that is there already is adopted,
//! and a revoked one is destroyed.

use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use jwsd::backend::aws_kms::Backend;
use jwsd::backend::{Health, KeySpec, label};
use jwsd::jose::Algorithm;
use serde_json::{Value, json};

use crate::common::{Daemon, Site, eventually};
use crate::emergency::admin;
use crate::kms_service::{Emulator, credentials, settings};

/// Signs, verifies with what is published, gives the `kid`.
fn signed(daemon: &Daemon) -> Option<String> {
    let answer = daemon.sign("access");
    if answer.status != 200 {
        return None;
    }
    let jwt = answer.jwt();
    let kid = decode_header(&jwt).unwrap().kid.unwrap();
    let set: JwkSet = serde_json::from_value(daemon.key_set()).unwrap();
    let key = DecodingKey::from_jwk(set.find(&kid).expect("a kid that is not published")).unwrap();
    let mut validation = Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&["https://api.test"]);
    decode::<Value>(&jwt, &key, &validation).unwrap();
    Some(kid)
}

fn done(answer: &crate::common::Response) -> String {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()["kid"].as_str().unwrap().to_owned()
}

#[test]
fn keys_in_kms_turn() {
    let Some(emulator) = Emulator::start() else { return };
    let region = "eu-central-1";
    let mut site = Site::with_kms(&[("access", "ES256")], region, &emulator.url());
    site.limits = "jwks_max_age = \"1s\"\ndeadline = \"10s\"".into();
    site.extra = "[key.access.rotation]\npublish_ahead = \"1s\"\n".into();
    site.write_config();

    // Beside jwsd: one that bears its name and is nobody's, and one of the security team's.
    let runtime = jwsd::daemon::runtime().unwrap();
    let spec = KeySpec { algorithm: Algorithm::ES256, rsa_bits: 2048 };
    let store = runtime.block_on(async {
        let health = Health::of_backend("cloud", None);
        let settings = settings("cloud", region, &emulator.url());
        let (store, started) = Backend::start_with(settings, credentials("test"), health).await;
        started.unwrap();
        store
    });
    let make = |id: &[u8], label: &str| {
        let made = runtime.block_on(store.generate(id, label, spec)).unwrap();
        String::from_utf8(made.id).unwrap()
    };
    let orphan = make(&[7; 16], &label("test", "access", &[7; 16]));
    let theirs = make(&[8; 16], "made by the security team");

    let daemon = site.start();
    let first = signed(&daemon).unwrap();
    let told = |event: &str, what: &str| {
        let records = daemon.records();
        records.iter().any(|r| r["event"] == event && r.to_string().contains(what))
    };
    eventually("the orphan is told", || told("key.orphaned", &orphan));
    assert!(!told("key.orphaned", &theirs), "a key of others is not ours to tell of");

    let second = done(&admin(&daemon, "/v1/keys/access/rotate", &json!({})));
    eventually("the next version signs", || signed(&daemon) == Some(second.clone()));

    let third = done(&admin(&daemon, "/v1/keys/access/adopt", &json!({ "name": theirs })));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(signed(&daemon), Some(second.clone()), "an adopted version waits for its turn");
    done(&admin(&daemon, "/v1/keys/access/activate", &json!({})));
    eventually("the adopted version signs", || signed(&daemon) == Some(third.clone()));

    done(&admin(&daemon, "/v1/keys/access/revoke", &json!({ "kid": third, "reason": "a test" })));
    let body = json!({ "kid": third, "confirm": third });
    done(&admin(&daemon, "/v1/keys/access/destroy", &body));
    eventually("a version signs again", || signed(&daemon).is_some_and(|kid| kid != third));
    let listed = runtime.block_on(store.list()).unwrap();
    let pending: Vec<_> = listed.iter().filter(|key| key.pending_deletion).map(|key| &key.id).collect();
    assert_eq!(pending, [&theirs]);
    let set = daemon.key_set().to_string();
    assert!(set.contains(&first) && set.contains(&second) && !set.contains(&third), "{set}");
    assert_eq!(listed.len(), 5, "first, orphan, theirs, second and the one after the revocation: {listed:?}");
}
