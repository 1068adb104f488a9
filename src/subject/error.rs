//! What can go wrong with subjects' keys, and what to do about it.

use crate::backend;
use crate::state;
use crate::sys::secure_file::SecureFileError;

/// Why there is no key for a subject, or why it was not erased.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state cannot be read or changed.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The file of an epoch cannot be read or written.
    #[error("the key of an epoch of subjects cannot be used")]
    File(#[from] SecureFileError),
    /// The file of the current epoch is no key, or of another state.
    #[error(
        "the key of epoch {number} does not open the subjects' keys: bring back the one that belongs to this state; if it is \
         lost, `jwsd erase --everyone` begins anew, and no record until now can be told to be of anybody"
    )]
    Foreign {
        /// The epoch.
        number: i64,
    },
    /// The epoch's key is in a backend that the configuration does not have.
    #[error(
        "the key of epoch {number} of subjects is in backend {backend:?}, which the configuration lacks: put it back"
    )]
    NoBackend {
        /// The epoch.
        number: i64,
        /// The backend.
        backend: String,
    },
    /// The backend with the epochs' keys failed.
    #[error("the key of an epoch of subjects")]
    Backend(#[from] backend::Error),
    /// A key in the backend that gives no secret.
    #[error("backend {backend:?} has no use for epochs of subjects: {problem}")]
    Useless {
        /// The backend.
        backend: String,
        /// What is wrong with its key.
        problem: String,
    },
    /// What was sealed does not open, though the bucket's key does.
    #[error("the key of a subject is damaged in the state: restore the state")]
    Damaged,
    /// Another host changed the epoch at the same time.
    #[error("the epoch of subjects was changed by another at the same time: try again")]
    Contended,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// A defect.
    #[error("a defect; see the daemon's log")]
    Ended,
}

impl From<aws_lc_rs::error::Unspecified> for Error {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Random
    }
}
