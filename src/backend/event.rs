//! What happens to backends and deserves evidence. The daemon turns these into records and into state.

/// Something that happened to a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendEvent {
    /// A worker logged in, found every key again and signs.
    WorkerUp {
        /// The backend's name.
        backend: String,
        /// Number of the worker since the daemon started.
        generation: u64,
        /// Its process id.
        pid: u32,
    },
    /// A worker ended or was ended.
    WorkerDown {
        /// The backend's name.
        backend: String,
        /// Number of the worker since the daemon started.
        generation: u64,
        /// Whether it ended because the daemon stops.
        stopping: bool,
        /// Why, for people.
        reason: String,
    },
    /// The HSM refused the PIN; it is not tried again before an operator clears the marker.
    PinRefused {
        /// The backend's name.
        backend: String,
        /// Why, and what to do about it.
        reason: String,
    },
    /// An operator cleared the marker while the backend waited for it: a login is tried again.
    PinCleared {
        /// The backend's name.
        backend: String,
    },
    /// A key version is not used in this backend any more before an operator releases it.
    KeyQuarantined {
        /// The backend's name.
        backend: String,
        /// The version, RFC 7638 thumbprint.
        kid: String,
        /// What it did.
        reason: String,
    },
    /// The whole backend is not used any more before an operator releases it.
    BackendQuarantined {
        /// The backend's name.
        backend: String,
        /// What it did.
        reason: String,
    },
    /// A backend or key failed so often that it is left alone for a while.
    BreakerOpened {
        /// The backend's name.
        backend: String,
        /// The version, where it is not the backend as a whole.
        kid: Option<String>,
        /// The last fault.
        reason: String,
    },
    /// It works again.
    BreakerClosed {
        /// The backend's name.
        backend: String,
        /// The version, where it is not the backend as a whole.
        kid: Option<String>,
    },
}
