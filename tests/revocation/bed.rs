//! A site with a profile for each way in which a JWT can be presented, and short words for what is asked of its daemon.

use std::fs;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use jwsd::jose::base64url_encode;
use serde_json::{Value, json};

use crate::common::{Connection, Daemon, Response, Site};

pub const ISSUER: &str = "https://issuer.test";
pub const API: &str = "https://api.test";

/// Name, lifetimes, and what else is special of each profile besides `access`. `secret` is the one that the caller may
/// use and not ask about.
const PROFILES: [(&str, &str, &str); 6] = [
    (
        "person",
        r#"{ default = "5m", max = "24h" }"#,
        r#"consent = { purposes = ["support"], max_age = "2d", when = "always", claim = "consent_id" }
claims = { sub = {}, sid = {}, note = {} }"#,
    ),
    ("brief", r#"{ default = "2s", max = "1h" }"#, "claims = { sub = {} }"),
    ("secret", r#"{ default = "5m", max = "15m" }"#, "claims = { sub = {} }"),
    (
        "many",
        r#"{ default = "5m", max = "15m" }"#,
        "audience_form = \"array\"\nclaims = { sub = {}, note = {} }",
    ),
    (
        "card",
        r#"{ default = "5m", max = "15m" }"#,
        "sd_jwt = {}\nclaims = { sub = { disclosable = true }, note = { disclosable = true } }",
    ),
    ("sealed", r#"{ default = "5m", max = "15m" }"#, "encrypt = \"always\"\nclaims = { sub = {} }"),
];

/// A site with all of them; the caller may ask about all but `secret`.
pub fn site() -> Site {
    let mut site = Site::new();
    let public = PrivateKey::generate(&ECDH_P256).unwrap().compute_public_key().unwrap();
    let text = |range: std::ops::Range<usize>| base64url_encode(&public.as_ref()[range]);
    let key =
        json!({"kty": "EC", "crv": "P-256", "x": text(1..33), "y": text(33..65), "use": "enc", "kid": "api"});
    fs::write(site.path("api.json"), json!({ "keys": [key] }).to_string()).unwrap();
    for (name, lifetime, special) in PROFILES {
        let typ = if name == "card" { "card+sd-jwt".to_owned() } else { format!("{name}+jwt") };
        // Only the one has a key to encrypt to.
        let audiences = if name == "sealed" { json!([API]) } else { json!([API, "https://other.test"]) };
        site.extra += &format!(
            "[profile.{name}]\nkey = \"access\"\ntyp = {typ:?}\nissuer = {ISSUER:?}\n\
             audiences = {audiences}\nlifetime = {lifetime}\n{special}\n"
        );
        site.profiles.push(name.to_owned());
    }
    site.extra += &format!("[recipient.{API:?}]\njwks = \"api.json\"\n");
    let all = site.profiles.iter().filter(|name| *name != "secret").cloned();
    site.introspect = all.chain(["access".to_owned()]).collect();
    site.write_config();
    site
}

/// A request for a JWT of `person`, with all by which it can be revoked.
pub fn of_person(sub: &str, sid: &str, consent: &str) -> Value {
    let granted = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() - 1;
    json!({
        "profile": "person", "claims": { "aud": API, "sub": sub, "sid": sid },
        "consent": { "id": consent, "purposes": ["support"], "granted_at": granted },
    })
}

/// A request for a JWT of another profile.
pub fn of(profile: &str, sub: &str) -> Value {
    json!({ "profile": profile, "claims": { "aud": API, "sub": sub } })
}

/// One JWT as it was answered.
#[derive(Debug, Clone)]
pub struct Jwt {
    pub token: String,
    pub jti: String,
    pub iat: i64,
}

impl Jwt {
    pub fn from(answer: &Response) -> Self {
        let token = answer.jwt();
        let body = answer.json();
        let jti = body["jti"].as_str().unwrap().to_owned();
        Self { token, jti, iat: body["iat"].as_i64().unwrap() }
    }
}

pub fn sign(daemon: &Daemon, request: &Value) -> Jwt {
    Jwt::from(&daemon.post("/v1/sign", request))
}

pub fn introspect(daemon: &Daemon, token: &str) -> Value {
    ask(daemon, json!({ "token": token }))
}

pub fn ask(daemon: &Daemon, question: Value) -> Value {
    let answer = daemon.post("/v1/introspect", &question);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Whether it is active; what is not says nothing but that.
pub fn is_active(daemon: &Daemon, token: &str) -> bool {
    is_yes(&introspect(daemon, token))
}

pub fn is_yes(answer: &Value) -> bool {
    let is_active = answer["active"].as_bool().unwrap();
    assert!(is_active || *answer == json!({ "active": false }), "it says more: {answer}");
    is_active
}

/// On the admin socket.
pub fn admin(daemon: &Daemon, path: &str, body: &Value) -> Response {
    Connection::open(&daemon.socket("admin.sock")).unwrap().post(path, &body.to_string()).unwrap()
}

/// By an operator, who is told that it is done.
pub fn revoke(daemon: &Daemon, what: &Value) {
    let answer = admin(daemon, "/v1/revoke", what);
    assert_eq!((answer.status, answer.json()), (200, json!({ "revoked": true })), "{what}");
}

/// Records of an event, in order.
pub fn records_of(daemon: &Daemon, event: &str) -> Vec<Value> {
    daemon.records().into_iter().filter(|record| record["event"] == event).collect()
}

/// The rules of the last introspection.
pub fn why(daemon: &Daemon) -> String {
    let records = records_of(daemon, "jwt.introspected");
    records.last().unwrap()["rules"][0].as_str().unwrap_or_default().to_owned()
}

pub fn now() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap()
}
