//! SD-JWTs (RFC 9901): which profiles make them, and what no holder may keep back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Claims that a verifier must always see (RFC 9901 section 4.1; the types and states that others build on it), besides
/// those that the daemon writes, which have no rules at all.
pub const NEVER_DISCLOSABLE: [&str; 4] = ["cnf", "vct", "vct#integrity", "status"];

pub use crate::jose::sd_jwt::NAMES as SD_NAMES;

/// How a profile makes SD-JWTs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SdJwt {
    /// Digests of nothing, besides one for each disclosable claim that is not there, so that their number tells nothing.
    pub decoys: usize,
    /// Whether the holder's key is in it, as `cnf`.
    pub key_binding: Option<KeyBinding>,
}
/// Whether an SD-JWT names its holder's key (RFC 9901 section 4.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyBinding {
    /// Always.
    Required,
    /// When the caller gives one.
    Optional,
}
