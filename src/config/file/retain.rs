//! `[audit.retain]`: how long the audit log is kept.

use crate::config::units::DurationText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

table! {
    /// How long the audit log is kept. Profiles may say otherwise for their records (`retain`).
    Retain {
        /// Records are kept so long, 1d to 3650d.
        default: DurationText,
        /// A directory that is there already and takes segments before they are removed, with their proofs; absolute.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        archive: Option<String>,
    }
}
