//! The published key set (RFC 7517 section 5), made once per change of the keyring.

use bytes::Bytes;
use serde::Serialize;

use super::Version;
use crate::jose::{Digest, Jwk, base64url_encode};

/// A JWK set ready to be served.
#[derive(Debug, Clone)]
pub struct KeySet {
    body: Bytes,
    etag: String,
}

impl KeySet {
    /// Every version's public key, ordered by key name, then `kid`.
    pub(super) fn new(versions: &[Version]) -> Self {
        #[derive(Serialize)]
        struct Document {
            keys: Vec<Jwk>,
        }
        let mut ordered: Vec<&Version> = versions.iter().collect();
        ordered.sort_by(|a, b| (a.key(), a.kid()).cmp(&(b.key(), b.kid())));
        let keys =
            ordered.iter().map(|version| version.verifier().public().to_jwk(version.algorithm())).collect();
        // A struct of strings always serializes; an empty set is the safe answer all the same.
        let body = serde_json::to_vec(&Document { keys }).unwrap_or_else(|_| br#"{"keys":[]}"#.to_vec());
        let etag =
            format!("\"{}\"", base64url_encode(Digest::Sha256.hash(&body).get(..16).unwrap_or_default()));
        Self { body: body.into(), etag }
    }

    /// `application/jwk-set+json`.
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// A strong entity tag (RFC 9110 section 8.8.3), quotes included.
    pub fn etag(&self) -> &str {
        &self.etag
    }
}
