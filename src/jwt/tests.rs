//! Header, claims and dates of a JWT, and that only a good signature seals it.

mod confusion;
mod selective;
mod times;

use super::*;
use crate::caller::{Caller, Callers, Rule};
use crate::jose::{
    Algorithm, BadSignature, Curve, PublicKey, Signature, Verifier, compact, json as strict, jwe,
};
use crate::keyring::{Shut, Use, Version};
use crate::policy::{Grant, Policy, Request};
use crate::profile::{
    AudienceForm, ClaimRule, DetectorSet, Detectors, Encrypt, LAST_DATE, Profile, Recipient, SdJwt,
};
use crate::transport::{PeerCredentials, ProcessFacts};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// An ES256 key in memory.
struct Soft(EcdsaKeyPair);
impl Soft {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }
    fn public(&self) -> PublicKey {
        PublicKey::ec(Curve::P256, self.0.public_key().as_ref()).unwrap()
    }
    fn raw(&self, input: &[u8]) -> Signature {
        let bytes = EcdsaKeyPair::sign(&self.0, &SystemRandom::new(), input).unwrap();
        Signature::from_backend(bytes.as_ref().to_vec(), &self.public()).unwrap()
    }
}
static SOFT: LazyLock<Soft> = LazyLock::new(Soft::new);
static POLICY: LazyLock<Policy> = LazyLock::new(policy);

fn version(key: &str) -> Arc<Version> {
    let verifier = Verifier::new(Algorithm::ES256, SOFT.public()).unwrap();
    // In no backend: these tests sign beside it.
    let version = Version::new(key.into(), verifier, Vec::new());
    version.open(i64::MIN, i64::MAX);
    version.reserve(i64::MAX);
    Arc::new(version)
}
fn right(key: &str, now: Timestamp, ttl: Option<u64>) -> Use {
    let iat = now.as_second();
    version(key).enter(iat, iat.saturating_add_unsigned(ttl.unwrap_or(300))).unwrap()
}
fn policy() -> Policy {
    let profile = |name, audience_form, nbf| Profile {
        audiences: vec!["https://api.example.com".into(), "b".into()],
        audience_form,
        nbf,
        // Values are random here, and what detectors find in them is for the tests of policy.
        detectors: Detectors { off: DetectorSet::ALL, ..Detectors::default() },
        claims: ["sub", "client_id", "z", "a"].map(|name| (name.to_owned(), ClaimRule::default())).into(),
        ..Profile::sample(name, "access", "at+jwt")
    };
    let sealed = Profile { encrypt: Some(Encrypt::Always), ..profile("sealed", AudienceForm::Array, true) };
    let mut person = profile("person", AudienceForm::String, false);
    (person.typ, person.kind) = ("person+sd-jwt".into(), None);
    person.sd_jwt = Some(SdJwt { decoys: 2, key_binding: None });
    for name in ["sub", "a", "z"] {
        person.claims.get_mut(name).unwrap().disclosable = true;
    }
    let (one, array) =
        (profile("one", AudienceForm::String, false), profile("array", AudienceForm::Array, true));
    let profiles = vec![one, array, sealed, person];
    let key = jwe::Recipient::choose(&OWNER.set(), jwe::ContentEncryption::A256GCM, None).unwrap();
    let recipient = Recipient { jwks: "/b.json".into(), alg: None, key: Arc::new(key) };
    Policy::new(profiles, "0123456789abcdef".into()).with_recipients([("b".to_owned(), recipient)].into())
}
static OWNER: LazyLock<jwe::tests::Owner> =
    LazyLock::new(|| jwe::tests::Owner::agreement(&aws_lc_rs::agreement::ECDH_P256));
fn caller() -> Caller {
    let rule = Rule {
        name: "billing".into(),
        uid: Some(1),
        gid: None,
        exe: None,
        unit: None,
        profiles: ["one", "array", "sealed", "person"].map(str::to_owned).into(),
        rate: None,
        introspect: Default::default(),
    };
    let peer = PeerCredentials::assume(1, 1, 1, ProcessFacts::default());
    Callers::new(vec![rule]).identify(Arc::new(peer)).unwrap()
}
fn grant(profile: &str, claims: Value, ttl: Option<u64>) -> Grant {
    let Value::Object(claims) = claims else { panic!("not an object") };
    let request =
        Request { profile: profile.into(), claims, ttl: ttl.map(Duration::from_secs), ..Request::default() };
    POLICY.authorize(&caller(), request, at(1_700_000_000)).unwrap()
}
fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}
fn drafted(profile: &str, claims: Value) -> Draft {
    let grant = grant(profile, claims, None);
    Draft::assemble(grant, right("access", at(1_700_000_000), None), Jti::random()).unwrap()
}
/// Header and payload as text.
fn texts(signing_input: &[u8]) -> (String, String) {
    let token = format!("{}.AAEC", std::str::from_utf8(signing_input).unwrap());
    let parts = compact::split(&token).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(parts.header), text(parts.payload))
}

#[test]
fn bytes_are_these_and_no_others() {
    let claims =
        json!({"z": {"b": 1, "a": [0.1, null]}, "sub": "alice", "aud": "b", "a": "é\"\\", "client_id": "c"});
    let draft = drafted("one", claims);
    let (header, payload) = texts(draft.signing_input());
    let (kid, jti) = (draft.kid().as_str(), draft.jti().as_str());
    assert_eq!(header, format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"at+jwt"}}"#));
    assert_eq!(
        payload,
        format!(
            r#"{{"iss":"https://login.example.com","aud":"b","iat":1700000000,"exp":1700000300,"jti":"{jti}","z":{{"b":1,"a":[0.1,null]}},"sub":"alice","a":"é\"\\","client_id":"c"}}"#
        )
    );
    assert_eq!(draft.subject(), Some("alice"));
    assert_eq!(draft.audience(), ["b"]);
    assert_eq!(draft.profile(), "one");
    assert_eq!((draft.iat(), draft.exp()), (1_700_000_000, 1_700_000_300));
    assert_eq!(draft.kid(), &SOFT.public().thumbprint());
}

#[test]
fn audience_and_nbf_take_the_profile_s_form() {
    for (profile, asked, written) in [
        ("one", json!(["b"]), r#""aud":"b","iat":1700000000,"exp""#),
        ("array", json!("b"), r#""aud":["b"],"iat":1700000000,"nbf":1700000000,"exp""#),
        (
            "array",
            json!(["b", "https://api.example.com"]),
            r#""aud":["b","https://api.example.com"],"iat":1700000000,"nbf":1700000000,"exp""#,
        ),
    ] {
        let draft = drafted(profile, json!({"sub": "s", "client_id": "c", "aud": asked}));
        let (_, payload) = texts(draft.signing_input());
        assert!(payload.contains(written), "{payload}");
    }
}

#[test]
fn only_a_good_signature_seals() {
    let claims = || json!({"sub": "s", "client_id": "c", "aud": "b"});
    let draft = drafted("one", claims());
    let (iat, exp) = (draft.iat(), draft.exp());
    let jti = draft.jti().clone();
    let signature = SOFT.raw(draft.signing_input());
    let verified = draft.version().verifier().prove(draft.signing_input(), signature).ok().unwrap();
    let Ok(jwt) = draft.seal(verified) else { panic!("a good signature was refused") };
    assert_eq!((jwt.iat(), jwt.exp(), jwt.jti()), (iat, exp, jti.as_str()));
    assert_eq!(jwt.kid(), &SOFT.public().thumbprint());

    // Another library agrees.
    let jwk = serde_json::to_value(SOFT.public().to_jwk(Algorithm::ES256)).unwrap();
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwk).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.validate_exp = false;
    validation.set_audience(&["b"]);
    validation.set_issuer(&["https://login.example.com"]);
    let read = jsonwebtoken::decode::<Value>(jwt.expose(), &key, &validation).unwrap();
    assert_eq!(read.claims["sub"], "s");
    assert_eq!(read.header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(read.header.kid.as_deref(), Some(jwt.kid().as_str()));

    let mismatch = Some(SealError::Bad(BadSignature::Mismatch));
    let proof = |by: &Soft, input| {
        let verifier = Verifier::new(Algorithm::ES256, by.public()).unwrap();
        (verifier, by.raw(input))
    };
    let other = drafted("one", claims());
    let (verifier, signature) = proof(&SOFT, draft.signing_input());
    let verified = verifier.prove(draft.signing_input(), signature).ok().unwrap();
    assert_eq!(other.seal(verified).err(), mismatch, "of another draft");
    let (verifier, signature) = proof(&Soft::new(), draft.signing_input());
    let verified = verifier.prove(draft.signing_input(), signature.clone()).ok().unwrap();
    assert_eq!(draft.seal(verified).err(), mismatch, "of another key");
    let refused = draft.version().verifier().prove(draft.signing_input(), signature);
    assert_eq!(refused.err(), Some(BadSignature::Mismatch));
}

/// What is released of a draft.
fn sealed(draft: &Draft) -> String {
    let signature = SOFT.raw(draft.signing_input());
    let verified = draft.version().verifier().prove(draft.signing_input(), signature).ok().unwrap();
    let Ok(jwt) = draft.seal(verified) else { panic!("a good signature was refused") };
    jwt.expose().to_owned()
}

#[test]
fn what_must_be_encrypted_leaves_as_a_jwe_and_the_rest_does_not() {
    let claims = json!({"sub": "s", "client_id": "c", "aud": "b"});
    let plain = drafted("one", claims.clone());
    assert!(plain.recipient().is_none());
    assert_eq!(sealed(&plain).split('.').count(), 3);
    let draft = drafted("sealed", claims);
    let jwe = sealed(&draft);
    let (header, jws) = OWNER.open(&jwe).unwrap();
    let kid = draft.recipient().unwrap().kid();
    assert_eq!((header["cty"].as_str(), header["kid"].as_str()), (Some("JWT"), Some(kid)));
    let parts = compact::split(&jws).unwrap();
    assert_eq!(parts.signing_input.as_bytes(), draft.signing_input());
    // The kind of JWT is told inside (RFC 8725bis section 3.11).
    let inner: Value = serde_json::from_slice(&parts.header).unwrap();
    assert_eq!((inner["typ"].as_str(), header.get("typ")), (Some("at+jwt"), None));
}

#[test]
fn a_version_that_is_revoked_while_it_signs_seals_nothing() {
    let draft = drafted("one", json!({"sub": "s", "client_id": "c", "aud": "b"}));
    let signature = SOFT.raw(draft.signing_input());
    let verified = draft.version().verifier().prove(draft.signing_input(), signature).ok().unwrap();
    draft.version().revoke();
    assert_eq!(draft.seal(verified).err(), Some(SealError::Shut(Shut::Revoked)));
    assert_eq!(draft.version().enter(0, 1).err(), Some(Shut::Revoked));
}

#[test]
fn the_right_to_sign_is_for_the_granted_lifetime() {
    let grant = grant("one", json!({"sub": "s", "client_id": "c", "aud": "b"}), Some(60));
    let longer = Draft::assemble(grant, right("access", at(0), Some(61)), Jti::random());
    assert!(matches!(longer.err(), Some(DraftError::Lifetime)));
}

#[test]
fn clocks_and_keys_that_do_not_fit_are_refused() {
    let assemble = |key: &str, now| {
        let grant = grant("one", json!({"sub": "s", "client_id": "c", "aud": "b"}), None);
        Draft::assemble(grant, right(key, now, None), Jti::random())
    };
    assert!(matches!(assemble("other", at(0)).err(), Some(DraftError::Key { .. })));
    for now in [at(-1), Timestamp::MIN] {
        assert!(matches!(assemble("access", now).err(), Some(DraftError::Clock)), "{now}");
    }
    // The latest time that a clock can show leaves a day up to the last date.
    for now in [at(0), Timestamp::MAX] {
        let draft = assemble("access", now).unwrap();
        assert_eq!(draft.exp(), now.as_second() + 300);
        assert!(draft.exp().unsigned_abs() <= LAST_DATE);
    }
}

#[test]
fn ids_are_version_7_and_differ() {
    let ids: std::collections::BTreeSet<String> =
        (0..10_000).map(|_| Jti::random().as_str().to_owned()).collect();
    assert_eq!(ids.len(), 10_000);
    for id in &ids {
        let id = uuid::Uuid::parse_str(id).unwrap();
        assert_eq!(id.get_version_num(), 7);
    }
}

proptest! {
    #[test]
    fn times_add_up_and_claims_stay(
        now in 0i64..253_402_000_000,
        ttl in proptest::option::of(1u64..=900),
        nanos in 0i32..1_000_000_000,
        text in "[^\\x00-\\x1f\\x7f-\\u{2070}]{0,20}",
        number in -9007199254740991i64..=9007199254740991,
        encrypted in any::<bool>(),
    ) {
        prop_assume!(!text.contains(['\u{feff}', '\u{fff9}', '\u{fffa}', '\u{fffb}']));
        prop_assume!(!text.chars().any(|c| ('\u{e0000}'..='\u{e007f}').contains(&c) || c == '\u{202e}'));
        let claims = json!({"client_id": "c", "z": [text, number], "sub": "s", "a": number as f64 / 3.0});
        let mut asked = claims.clone();
        asked["aud"] = json!("b");
        let now = Timestamp::new(now, nanos).unwrap();
        let grant = grant(if encrypted { "sealed" } else { "array" }, asked, ttl);
        let draft = Draft::assemble(grant, right("access", now, ttl), Jti::random()).unwrap();
        prop_assert_eq!(draft.iat(), now.as_second());
        prop_assert_eq!(draft.exp(), draft.iat() + ttl.unwrap_or(300) as i64);
        let released = sealed(&draft);
        let jws = if encrypted { OWNER.open(&released).unwrap().1 } else { released };
        let payload = String::from_utf8(compact::split(&jws).unwrap().payload).unwrap();
        let limits = strict::Limits { bytes: 16 * 1024, depth: 8, nodes: 512 };
        let payload = strict::parse(payload.as_bytes(), limits).unwrap();
        let mut payload = payload.as_object().unwrap().clone();
        for (name, value) in [
            ("iss", json!("https://login.example.com")), ("aud", json!(["b"])), ("iat", json!(draft.iat())),
            ("nbf", json!(draft.iat())), ("exp", json!(draft.exp())), ("jti", json!(draft.jti().as_str())),
        ] {
            prop_assert_eq!(payload.shift_remove(name), Some(value));
        }
        prop_assert_eq!(serde_json::to_string(&payload).unwrap(), claims.to_string());
    }
}
