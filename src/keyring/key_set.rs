//! What verifiers are given, as it is served: JSON documents with their entity tags, the key set among them
//! (RFC 7517 section 5). Made once per change; whatever is in them is public.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::jose::{Digest, Jwk, Kid, base64url_encode};

/// A key set has at most so many keys: verifiers refuse larger ones.
pub const MOST_KEYS: usize = 100;

/// A JSON document ready to be served.
#[derive(Debug, Clone)]
pub struct Document {
    body: Bytes,
    etag: Arc<str>,
}

impl Document {
    pub(super) fn new(content: &impl Serialize) -> Self {
        // Structs of strings always serialize.
        let body = serde_json::to_vec(content).unwrap_or_default();
        let hash = Digest::Sha256.hash(&body);
        let etag = format!("\"{}\"", base64url_encode(hash.get(..16).unwrap_or_default()));
        Self { body: body.into(), etag: etag.into() }
    }

    /// Its bytes.
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// A strong entity tag (RFC 9110 section 8.8.3), quotes included; it follows from the bytes alone.
    pub fn etag(&self) -> &str {
        &self.etag
    }
}

/// A JWK set.
#[derive(Debug, Clone)]
pub struct KeySet {
    document: Document,
    kids: Vec<Kid>,
}

impl KeySet {
    /// The set of these keys, in this order.
    pub(super) fn new(keys: &[Jwk]) -> Self {
        #[derive(Serialize)]
        struct Content<'a> {
            keys: &'a [Jwk],
        }
        let kids = keys.iter().map(|key| key.kid().clone()).collect();
        Self { document: Document::new(&Content { keys }), kids }
    }

    /// `application/jwk-set+json`.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Which keys are in it.
    pub fn kids(&self) -> &[Kid] {
        &self.kids
    }

    /// Whether the key of this `kid` is in it.
    pub fn has(&self, kid: &str) -> bool {
        self.kids.iter().any(|known| known.as_str() == kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{Algorithm, PublicKey};

    /// RFC 8037 appendix A.2.
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn jwk() -> Jwk {
        let key = serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "x": X });
        PublicKey::from_jwk(&key).unwrap().to_jwk(Algorithm::Ed25519)
    }

    fn text(set: &KeySet) -> String {
        String::from_utf8(set.document().body().to_vec()).unwrap()
    }

    #[test]
    fn a_set_is_these_bytes() {
        let kid = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
        let expected = format!(
            r#"{{"keys":[{{"kty":"OKP","use":"sig","alg":"Ed25519","kid":"{kid}","crv":"Ed25519","x":"{X}"}}]}}"#
        );
        let set = KeySet::new(&[jwk()]);
        assert_eq!(text(&set), expected);
        assert!(set.has(kid) && !set.has("another"));
        assert_eq!(text(&KeySet::new(&[])), r#"{"keys":[]}"#);
    }

    #[test]
    fn certificates_are_standard_base64_and_one_thumbprint() {
        let chain = [vec![0xfb, 0xff, 1], vec![2]];
        let set = text(&KeySet::new(&[jwk().with_certificates(&chain)]));
        // SHA-256 of fb ff 01.
        let thumbprint = base64url_encode(&Digest::Sha256.hash(&chain[0]));
        let expected = format!(r#""x5c":["+/8B","Ag=="],"x5t#S256":"{thumbprint}"}}]}}"#);
        assert!(set.ends_with(&expected), "{set}");
    }

    #[test]
    fn the_tag_changes_with_the_content_and_with_nothing_else() {
        let tag = |keys: &[Jwk]| KeySet::new(keys).document().etag().to_owned();
        let one = tag(&[jwk()]);
        assert_eq!(one, tag(&[jwk()]));
        assert_ne!(one, tag(&[]));
        assert_ne!(one, tag(&[jwk().with_certificates(&[vec![1]])]));
        assert!(one.len() == 24 && one.starts_with('"') && one.ends_with('"'), "{one}");
    }
}
