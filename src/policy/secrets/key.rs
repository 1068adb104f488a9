//! Private and symmetric keys: PEM, OpenSSH, PuTTY and age as text, JWK (RFC 7517, RFC 7518 section 6) as object or text.

use crate::jose::{PRIVATE_MEMBERS, is_private};
use serde_json::{Map, Value};

/// Characters of the shortest.
pub(super) const LEAST: usize = 10;

/// What is in key files; the third is `openssh-key-v1` in base64.
const MARKS: [&[u8]; 5] = [
    b"PRIVATE KEY-----",
    b"PRIVATE KEY BLOCK-----",
    b"b3BlbnNzaC1rZXktdjE",
    b"PuTTY-User-Key-File",
    b"AGE-SECRET-KEY-1",
];

pub(super) fn is_private_jwk(members: &Map<String, Value>) -> bool {
    members.get("kty").is_some_and(Value::is_string) && is_private(members)
}
pub(super) fn is_in(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_marked =
        |start: usize| MARKS.iter().any(|mark| bytes.get(start..).is_some_and(|rest| rest.starts_with(mark)));
    let mut starts = bytes.iter().enumerate().filter(|(_, byte)| matches!(byte, b'P' | b'b' | b'A'));
    starts.any(|(start, _)| is_marked(start))
        || (text.contains("\"kty\"")
            && PRIVATE_MEMBERS.iter().any(|name| text.contains(&format!("\"{name}\""))))
}
