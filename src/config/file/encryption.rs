//! `[recipient."AUDIENCE"]` and `sd_jwt` of a profile, as they are written.

use crate::jose::jwe::{ContentEncryption, KeyManagement};
use crate::profile::KeyBinding;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

table! {
    /// Whom the JWTs of an audience are encrypted to.
    Recipient {
        /// Its public keys: a JWK Set in a file, relative to this one or absolute. It is read again when it changes; the first key that fits counts.
        jwks: String,
        /// How the content key is sent. The key's own `alg` when left out; without that "RSA-OAEP-256" or "ECDH-ES".
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alg: Option<KeyManagement>,
        /// How the content is encrypted.
        #[serde(default)]
        enc: ContentEncryption,
    }
}
optional_table! {
    /// An SD-JWT (RFC 9901), whose holder shows only some of its claims.
    SdJwt {
        /// Digests that stand for no claim, 0 to 32, besides one for each disclosable claim that a request leaves out.
        decoys: u32 = 0_u32,
        /// Whether the claim `cnf` names the key that a holder must prove to have. No `cnf` when left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        key_binding: Option<KeyBinding> = None,
    }
}
