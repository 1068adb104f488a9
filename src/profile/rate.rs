//! How often a profile is used before somebody is told, or nobody is served any more. Data only; `misuse` counts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A number of things in a window of time, and what follows from more of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// Whole seconds.
    pub window: Duration,
    /// An alert is raised for more than this.
    pub warn: Option<u32>,
    /// More than this is refused.
    pub refuse: Option<u32>,
}
/// A threshold for the JWTs of one profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Whose are counted together.
    pub per: Per,
    /// How many.
    pub threshold: Threshold,
}
/// Whose JWTs of a profile are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Those of one caller.
    Caller,
    /// All.
    Profile,
    /// Those about one subject (`sub`).
    Subject,
}
