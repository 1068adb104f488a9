//! Proof that a key version can sign now: a real signature, verified with the pinned public key.
//!
//! What is signed can never be taken for a JWT: a signing input has only base64url characters and one dot.

use tokio::time::Instant;

use super::Version;
use crate::backend;
use crate::jose::BadSignature;

const INPUT: &[u8] = b"jwsd key self-test, not a JWT\n";

/// Why a version is not usable now.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The backend did not sign.
    #[error("key {key:?} did not sign its self-test")]
    Backend {
        /// Name of the key.
        key: String,
        /// The backend's fault.
        #[source]
        source: backend::Error,
    },
    /// It signed with another key, or wrongly.
    #[error("key {key:?} returned a bad signature in its self-test")]
    Bad {
        /// Name of the key.
        key: String,
        /// What is wrong with it.
        #[source]
        source: BadSignature,
    },
}

/// Signs and verifies a constant before `deadline`.
///
/// # Errors
/// The backend's fault, or a signature that does not verify.
pub async fn run(version: &Version, deadline: Instant) -> Result<(), SelfTestError> {
    let key = || version.key().to_owned();
    let signature = version
        .signer()
        .sign(INPUT, deadline)
        .await
        .map_err(|source| SelfTestError::Backend { key: key(), source })?;
    version.verifier().verify(INPUT, &signature).map_err(|source| SelfTestError::Bad { key: key(), source })
}
