//! `[subjects]`: the keys that tell whose records are whose, so that a person can be erased.

use crate::jose::Algorithm;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

optional_table! {
    /// What keeps the keys of people, under which records tell of them.
    Subjects {
        /// A backend whose key opens them: no copy of a disk does then. A file beside the state when left out, which must not
        /// be in backups, or whoever is erased is in them still.
        #[serde(skip_serializing_if = "Option::is_none")]
        backend: Option<String> = None,
        /// The algorithm of that key, one that signs the same alike: Ed25519 or RS256.
        algorithm: Algorithm = Algorithm::Ed25519,
    }
}
