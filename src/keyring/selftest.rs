//! Proof that a key version can sign now: a real signature, verified with the pinned public key.
//!
//! What is signed can never be taken for a JWT: a signing input has only base64url characters and one dot.

use std::time::Duration;

use super::Version;
use crate::backend;

const INPUT: &[u8] = b"jwsd key self-test, not a JWT\n";

/// Has every backend of the version that has not signed for `idle` sign and verify a constant, each within `limit`.
/// Returns the faults, none of which matters to callers as long as [`Version::unproven_for`] is young.
pub async fn run(version: &Version, idle: Duration, limit: Duration) -> Vec<backend::Error> {
    version.replicas().probe(INPUT, idle, limit).await
}
