//! The published key set (RFC 7517 section 5), made once per change of the keyring.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::jose::{Digest, Jwk, base64url_encode};

/// A JWK set ready to be served.
#[derive(Debug, Clone)]
pub struct KeySet {
    body: Bytes,
    etag: Arc<str>,
}

impl KeySet {
    /// The set of these keys, in this order.
    pub(super) fn new(keys: &[Jwk]) -> Self {
        #[derive(Serialize)]
        struct Document<'a> {
            keys: &'a [Jwk],
        }
        // A struct of strings always serializes; an empty set is the safe answer all the same.
        let body = serde_json::to_vec(&Document { keys }).unwrap_or_else(|_| br#"{"keys":[]}"#.to_vec());
        let etag =
            format!("\"{}\"", base64url_encode(Digest::Sha256.hash(&body).get(..16).unwrap_or_default()));
        Self { body: body.into(), etag: etag.into() }
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
