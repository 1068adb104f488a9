//! What `[audit.checkpoint]` and `[[audit.witness]]` say, resolved.

use crate::audit::Witness;
use std::time::Duration;

/// How a log is sealed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the checkpoint key, which no profile uses.
    pub key: String,
    /// Name of the key that cosigns by ML-DSA-44, which no profile uses either.
    pub cosign: Option<String>,
    /// The log's name, if the configuration says one.
    pub origin: Option<String>,
    /// A seal is made after this, whatever was recorded.
    pub every: Duration,
    /// And after so many records.
    pub records: u32,
    /// Where copies go.
    pub witnesses: Vec<Witness>,
}
