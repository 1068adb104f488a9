//! Encryption through the daemon: nothing sensitive leaves plain, whatever happens to the recipient's key set.

mod common;

use std::fs;
use std::path::Path;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use common::{Daemon, Site, eventually};
use jwsd::jose::{base64url_decode, base64url_encode};
use serde_json::{Value, json};

const API: &str = "https://api.test";
const CANARY: &str = "diagnosis-4711";

/// A public key with this name.
fn key(kid: &str) -> Value {
    let public = PrivateKey::generate(&ECDH_P256).unwrap().compute_public_key().unwrap();
    let text = |range: std::ops::Range<usize>| base64url_encode(&public.as_ref()[range]);
    json!({"kty": "EC", "crv": "P-256", "x": text(1..33), "y": text(33..65), "use": "enc", "kid": kid})
}
/// As people replace files that others read.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}
fn start(site: &mut Site) -> Daemon {
    site.extra = format!(
        "[profile.health]\nkey = \"access\"\ntyp = \"health+jwt\"\nissuer = \"https://issuer.test\"\n\
         audiences = [{API:?}, \"https://other.test\"]\nlifetime = {{ default = \"5m\", max = \"15m\" }}\n\
         encrypt = \"when-sensitive\"\nclaims = {{ sub = {{}}, diagnosis = {{ sensitive = true }} }}\n\
         [recipient.{API:?}]\njwks = \"api.json\"\n"
    );
    site.write_config();
    let config = fs::read_to_string(site.config_path()).unwrap();
    fs::write(site.config_path(), config.replace("\nprofiles = [", "\nprofiles = [\"health\", ")).unwrap();
    site.start()
}
fn want(claims: Value) -> Value {
    json!({"profile": "health", "claims": claims})
}
fn sensitive() -> Value {
    want(json!({"aud": API, "diagnosis": CANARY}))
}
/// The `kid` of a JWE.
fn kid(jwe: &str) -> String {
    assert_eq!(jwe.split('.').count(), 5, "it is no JWE");
    let header = base64url_decode(jwe.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}
fn events(daemon: &Daemon, event: &str) -> Vec<Value> {
    daemon.records().into_iter().filter(|record| record["event"] == event).collect()
}

#[test]
fn what_is_sensitive_leaves_encrypted_or_not_at_all() {
    let mut site = Site::new();
    fs::write(site.path("api.json"), json!({"keys": [key("api-1")]}).to_string()).unwrap();
    let daemon = start(&mut site);

    let plain = daemon.post("/v1/sign", &want(json!({"aud": API, "sub": "alice"}))).jwt();
    assert_eq!(plain.split('.').count(), 3);
    let answer = daemon.post("/v1/sign", &sensitive());
    assert_eq!(kid(&answer.jwt()), "api-1");
    let issued = events(&daemon, "jwt.issued");
    let told: Vec<_> = issued.iter().map(|record| (&record["enc"], &record["enc_kid"])).collect();
    assert_eq!(told, [(&Value::Null, &Value::Null), (&json!("A256GCM"), &json!("api-1"))]);

    let signs = daemon.signs();
    let refused = daemon.post("/v1/sign", &want(json!({"aud": "https://other.test", "diagnosis": CANARY})));
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json()["violations"][0]["rule"], "encrypt.recipient");
    assert_eq!(daemon.signs(), signs, "the key was not touched");
    let checked = daemon.post("/v1/check", &sensitive());
    let held = checked.json()["rules"].as_array().is_some_and(|rules| {
        rules.iter().any(|rule| rule["rule"] == "encrypt.recipient" && rule["holds"] == true)
    });
    assert!(held, "{}", checked.json());
    let batch = json!({"requests": [sensitive(), want(json!({"aud": API}))]});
    let batch = daemon.post("/v1/sign/batch", &batch).json().to_string();

    // Nowhere in clear, and as no part of what is base64url.
    let records = daemon.records().iter().map(Value::to_string).collect::<String>();
    let answers = [answer.json().to_string(), refused.json().to_string(), batch].concat();
    let decoded: String = answers
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
        .filter_map(base64url_decode)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect();
    let (_, log) = daemon.stop();
    for text in [&records, &answers, &decoded, &log] {
        assert!(!text.contains(CANARY), "{text}");
    }
    assert!(decoded.contains("\"cty\":\"JWT\""), "it does look into what is base64url");
}

#[test]
fn a_changed_key_set_is_used_and_a_broken_one_is_not() {
    let mut site = Site::new();
    let path = site.path("api.json");
    fs::write(&path, json!({"keys": [key("api-1")]}).to_string()).unwrap();
    let daemon = start(&mut site);
    let encrypted_to = || kid(&daemon.post("/v1/sign", &sensitive()).jwt());
    assert_eq!(encrypted_to(), "api-1");

    let mut private = key("api-2");
    private["d"] = "AAAA".into();
    replace(&path, &json!({"keys": [private]}).to_string());
    eventually("the refusal is recorded", || !events(&daemon, "recipient.refused").is_empty());
    let refused = &events(&daemon, "recipient.refused")[0];
    assert_eq!((refused["object"].as_str(), refused["outcome"].as_str()), (Some(API), Some("failed")));
    assert!(refused["reason"].as_str().unwrap().contains("private or symmetric"), "{refused}");
    assert_eq!(encrypted_to(), "api-1", "the key before it stays in use");

    replace(&path, &json!({"keys": [key("api-2")]}).to_string());
    eventually("the new key is used", || encrypted_to() == "api-2");
    let reloaded = &events(&daemon, "recipient.reloaded")[0];
    assert_eq!((&reloaded["object"], &reloaded["enc_kid"]), (&json!(API), &json!("api-2")));
    assert_eq!(events(&daemon, "recipient.refused").len(), 1, "told once");
    // Each record names the policy that it was issued under.
    for record in events(&daemon, "jwt.issued") {
        assert_eq!(record["enc_kid"] == "api-2", record["policy"] == reloaded["policy"], "{record}");
    }
    fs::remove_file(&path).unwrap();
    eventually("the loss is recorded", || events(&daemon, "recipient.refused").len() == 2);
    assert_eq!(encrypted_to(), "api-2");
}
