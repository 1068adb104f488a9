//! Private and symmetric keys: PEM, OpenSSH, PuTTY and age as text, JWK (RFC 7517, RFC 7518 section 6) as object or text.

use serde_json::{Map, Value};

/// Characters of the shortest.
pub(super) const LEAST: usize = 10;

/// Members that are private in a JWK of some type: RSA, elliptic curves, symmetric, and `AKP` of post-quantum keys.
const PRIVATE: [&str; 9] = ["d", "k", "p", "q", "dp", "dq", "qi", "oth", "priv"];
/// The same with quotes, as JSON in a string has them.
const QUOTED: [&str; 9] =
    ["\"d\"", "\"k\"", "\"p\"", "\"q\"", "\"dp\"", "\"dq\"", "\"qi\"", "\"oth\"", "\"priv\""];
/// What is in key files; the third is `openssh-key-v1` in base64.
const MARKS: [&[u8]; 5] = [
    b"PRIVATE KEY-----",
    b"PRIVATE KEY BLOCK-----",
    b"b3BlbnNzaC1rZXktdjE",
    b"PuTTY-User-Key-File",
    b"AGE-SECRET-KEY-1",
];

pub(super) fn is_private_jwk(members: &Map<String, Value>) -> bool {
    members.get("kty").is_some_and(Value::is_string) && PRIVATE.iter().any(|name| members.contains_key(*name))
}
pub(super) fn is_in(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_marked =
        |start: usize| MARKS.iter().any(|mark| bytes.get(start..).is_some_and(|rest| rest.starts_with(mark)));
    let mut starts = bytes.iter().enumerate().filter(|(_, byte)| matches!(byte, b'P' | b'b' | b'A'));
    starts.any(|(start, _)| is_marked(start))
        || (text.contains("\"kty\"") && QUOTED.iter().any(|name| text.contains(name)))
}
