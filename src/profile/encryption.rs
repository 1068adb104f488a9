//! Encryption: which profiles ask for it, and whom an audience's JWTs are encrypted to. Data only; `policy` judges.

use super::Profile;
use crate::jose::jwe::{self, KeyManagement};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::Arc;

/// When a profile's JWTs are encrypted to their audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encrypt {
    /// Each one.
    Always,
    /// Those with a sensitive claim.
    WhenSensitive,
}

/// Whom the JWTs of one audience are encrypted to.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// The file that the key is from.
    pub jwks: PathBuf,
    /// The algorithm that the configuration asks for.
    pub alg: Option<KeyManagement>,
    /// The key in force.
    pub key: Arc<jwe::Recipient>,
}

impl Profile {
    /// Whether a JWT with these claims must not leave unless it is encrypted.
    pub fn must_encrypt(&self, claims: &Map<String, Value>) -> bool {
        match self.encrypt {
            None => false,
            Some(Encrypt::Always) => true,
            Some(Encrypt::WhenSensitive) => {
                claims.keys().any(|name| self.claims.get(name).is_some_and(|rule| rule.sensitive))
            }
        }
    }
}
