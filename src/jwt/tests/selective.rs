//! SD-JWTs: what is in the JWT, what is beside it, and that both together are what was judged.

use super::*;
use crate::jose::{base64url_decode, base64url_encode, sd_jwt};
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::BTreeSet;

/// The payload, and the disclosures.
fn apart(released: &str) -> (serde_json::Map<String, Value>, Vec<String>) {
    let parts = sd_jwt::split(released).unwrap();
    assert_eq!(parts.key_binding, None);
    let payload = compact::split(parts.jws).unwrap().payload;
    let limits = strict::Limits { bytes: 64 * 1024, depth: 9, nodes: 512 };
    let Value::Object(payload) = strict::parse(&payload, limits).unwrap() else { panic!() };
    (payload, parts.disclosures.into_iter().map(str::to_owned).collect())
}
/// Written without the code that makes them.
fn digested(disclosure: &str) -> Value {
    base64url_encode(digest(&SHA256, disclosure.as_bytes()).as_ref()).into()
}
fn person(claims: Value) -> String {
    sealed(&drafted("person", claims))
}

#[test]
fn disclosable_claims_are_digests_in_the_jwt_and_whole_beside_it() {
    let (payload, disclosures) =
        apart(&person(json!({"a": {"city": "é"}, "sub": "s", "aud": "b", "client_id": "c"})));
    let names: Vec<&String> = payload.keys().collect();
    assert_eq!(names, ["iss", "aud", "iat", "exp", "jti", "client_id", "_sd", "_sd_alg"]);
    assert_eq!(payload["_sd_alg"], "sha-256");
    let digests = payload["_sd"].as_array().unwrap();
    assert!(digests.is_sorted_by_key(|digest| digest.as_str().unwrap()));
    assert_eq!(digests.len(), 3 + 2, "one for each disclosable claim, and the decoys");
    assert_eq!(digests.iter().map(Value::to_string).collect::<BTreeSet<_>>().len(), 5);
    let shown: Vec<Value> = disclosures
        .iter()
        .map(|text| serde_json::from_slice(&base64url_decode(text).unwrap()).unwrap())
        .collect();
    assert_eq!((&shown[0][1], &shown[0][2]), (&json!("a"), &json!({"city": "é"})));
    assert_eq!((&shown[1][1], &shown[1][2]), (&json!("sub"), &json!("s")));
    assert_eq!(shown.len(), 2);
    assert!(disclosures.iter().all(|text| digests.contains(&digested(text))));
    assert_ne!(shown[0][0], shown[1][0], "salts differ");
    assert_eq!(drafted("person", json!({"sub": "s", "aud": "b"})).subject(), Some("s"));
}

#[test]
fn number_and_order_of_digests_tell_nothing() {
    let count = |claims| apart(&person(claims)).0["_sd"].as_array().unwrap().len();
    assert_eq!(count(json!({"aud": "b"})), 5);
    assert_eq!(count(json!({"aud": "b", "a": 1, "z": 2, "sub": "s"})), 5);
    assert!(person(json!({"aud": "b"})).ends_with('~'), "an SD-JWT without disclosures ends so too");
    // Where the digest of one claim stands differs from JWT to JWT.
    let places: BTreeSet<_> = (0..40)
        .map(|_| {
            let (payload, disclosures) = apart(&person(json!({"aud": "b", "a": 1})));
            payload["_sd"].as_array().unwrap().iter().position(|known| *known == digested(&disclosures[0]))
        })
        .collect();
    assert!(places.len() > 2 && !places.contains(&None), "{places:?}");
}

proptest! {
    #[test]
    fn what_is_signed_and_disclosed_is_what_was_judged(
        values in proptest::collection::vec(("sub|client_id|z|a", "[^\\x00-\\x1f\\x7f-\\u{2070}\\u{202e}\\u{e000}-\\u{10ffff}]{0,20}", any::<i32>()), 0..4),
    ) {
        let mut claims = serde_json::Map::new();
        for (name, text, number) in values {
            let text = text.replace(['\u{feff}', '\u{fff9}', '\u{fffa}', '\u{fffb}'], "");
            let nested = name == "z" || name == "a";
            claims.insert(name, if nested { json!([text, {"n": number}]) } else { json!(text) });
        }
        let mut asked = claims.clone();
        asked.insert("aud".into(), "b".into());
        let (mut payload, disclosures) = apart(&person(Value::Object(asked)));
        let digests = payload.shift_remove("_sd").unwrap();
        payload.shift_remove("_sd_alg").unwrap();
        for name in ["iss", "aud", "iat", "exp", "jti"] {
            prop_assert!(payload.shift_remove(name).is_some());
        }
        prop_assert!(payload.keys().all(|name| name == "client_id"), "the others are digests");
        for text in &disclosures {
            prop_assert!(digests.as_array().unwrap().contains(&digested(text)));
            let shown: Vec<Value> = serde_json::from_slice(&base64url_decode(text).unwrap()).unwrap();
            let [_, Value::String(name), value] = &shown[..] else { panic!("{shown:?}") };
            prop_assert!(payload.insert(name.clone(), value.clone()).is_none());
        }
        prop_assert_eq!(Value::Object(payload), Value::Object(claims));
    }
}
