//! Private and symmetric keys: PEM, OpenSSH, PuTTY and age as text, JWK (RFC 7517, RFC 7518 section 6) as object or text.

use serde_json::{Map, Value};

/// Characters of the shortest.
pub(super) const LEAST: usize = 10;

/// Members that are private in a JWK of some type: RSA, elliptic curves, symmetric, and `AKP` of post-quantum keys.
const PRIVATE: [&str; 9] = ["d", "k", "p", "q", "dp", "dq", "qi", "oth", "priv"];
/// The same with quotes, as JSON in a string has them.
const QUOTED: [&str; 9] =
    ["\"d\"", "\"k\"", "\"p\"", "\"q\"", "\"dp\"", "\"dq\"", "\"qi\"", "\"oth\"", "\"priv\""];
/// What key files begin with; the second is `openssh-key-v1` in base64.
const MARKS: [&str; 4] = ["PRIVATE KEY", "b3BlbnNzaC1rZXktdjE", "PuTTY-User-Key-File", "AGE-SECRET-KEY-1"];

pub(super) fn is_private_jwk(members: &Map<String, Value>) -> bool {
    members.get("kty").is_some_and(Value::is_string) && PRIVATE.iter().any(|name| members.contains_key(*name))
}
pub(super) fn is_in(text: &str) -> bool {
    let is_pem = || text.contains("BEGIN") || text.contains("---");
    MARKS.iter().any(|mark| text.contains(mark) && (*mark != "PRIVATE KEY" || is_pem()))
        || (text.contains("\"kty\"") && QUOTED.iter().any(|name| text.contains(name)))
}
