//! The operator's acts on a running daemon, and those that the daemon does by itself in their place: turning keys.
//! Each is recorded, durably, before it takes effect.

mod acts;
mod erase;
mod keys;
mod making;
mod orphans;
mod profiles;
mod refresh;
mod release;
mod report;
mod revoke;
mod rotation;
mod two_person;
mod void;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::audit::{self, Actor, Entry, Event, Outcome, Unavailable};
use crate::clock::Clock;
use crate::keyring::machine::IllegalMove;
use crate::keyring::{Keyring, LoadError, Loader, MakeError, Publisher};
use crate::revocation::Revocations;
use crate::state::{self, KeyState, Store};
use crate::subject::{self, Subjects};

pub use acts::{Act, ActName, Asked, Done};
pub use erase::Whom;
pub use orphans::{Mixed, orphans};
pub use profiles::Followed;
pub use report::{KeyReport, NOTHING_SIGNS, NextStep, VersionReport, reports};
pub use two_person::{Proposal, TwoPerson};
pub use void::Void;

use two_person::Pending;

/// A record of an act is durable within this, or the act is not done.
const RECORD_WITHIN: Duration = Duration::from_secs(5);

/// Why an act was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is no such backend or key, or the key is not in it.
    #[error("there is no {what} {name:?} here; see GET {} for those that are", listed_at(what))]
    Unknown {
        /// `backend`, `key`, `version` or `proposal`.
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// The version is not where the act needs it to be.
    #[error(transparent)]
    Illegal(#[from] IllegalMove),
    /// The key has no version in the state that the act is about.
    #[error("key {key:?} has no {stage} version{hint}")]
    NoVersion {
        /// Name of the key.
        key: String,
        /// Which state.
        stage: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A version of the key is being made already.
    #[error("a version of key {key:?} is being made already; wait for it")]
    Busy {
        /// Name of the key.
        key: String,
    },
    /// A key may have been made that the backend does not show yet.
    #[error(
        "a version of key {key:?} was being made when that was broken off; the backend may show it soon: wait a minute"
    )]
    Settling {
        /// Name of the key.
        key: String,
    },
    /// The security team makes the keys of this backend.
    #[error(
        "backend {backend:?} may not generate keys (`generate = false`): make one there and take it with \
         `jwsd keys adopt`"
    )]
    MayNotGenerate {
        /// Name of the backend.
        backend: String,
    },
    /// It is another key's already: no two keys share a version (RFC 8725 section 3.1).
    #[error("this is version {kid} of key {key:?} already; make or name another one")]
    Taken {
        /// Name of the other key.
        key: String,
        /// The version.
        kid: String,
    },
    /// The version does not sign now, so it cannot take over.
    #[error("version {kid} does not prove that it signs; see GET /v1/keys and the daemon's log")]
    Unproven {
        /// The version.
        kid: String,
    },
    /// The files for verifiers do not show the version.
    #[error(
        "version {kid} is not in the published files ({reason}), so it must not sign; mend that, and see GET /v1/keys for what comes next"
    )]
    Unpublished {
        /// The version.
        kid: String,
        /// What is wrong with the files.
        reason: String,
    },
    /// The files for verifiers do not show a new issuer.
    #[error(
        "the files for verifiers could not be written ({reason}), so no new issuer is used; mend that, and reload again"
    )]
    IssuerUnpublished {
        /// What is wrong with the files.
        reason: String,
    },
    /// So many keys are published already that verifiers might not read the set.
    #[error("{count} keys are published already; wait until retired versions are removed")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// Its private half cannot be destroyed where it is.
    #[error("version {kid} is {stage}; only removed and revoked versions are destroyed")]
    InService {
        /// The version.
        kid: String,
        /// Where it is.
        stage: String,
    },
    /// So many acts wait for a second operator that another one cannot.
    #[error("{count} acts wait for a second operator already; approve or withdraw some (see /v1/proposals)")]
    TooManyProposals {
        /// How many: in all, or of this operator.
        count: usize,
    },
    /// Others changed the keys at the same time, again and again.
    #[error("the keys were changed by others at the same time; try again")]
    Contended,
    /// No version was made.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// A backend did not do its part.
    #[error(transparent)]
    Backend(#[from] crate::backend::Error),
    /// The keys could not be taken over from the state.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It could not be recorded, so it was not done.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Keys of people could not be had or changed.
    #[error(transparent)]
    Subjects(#[from] Arc<subject::Error>),
    /// The key of the epoch before is not destroyed yet.
    #[error(
        "they are erased here, but copies of the state still open with the key of the epoch before, which could not be \
         destroyed yet ({reason}); it is tried every minute, and recorded then"
    )]
    Erasing {
        /// Why not.
        reason: String,
    },
    /// The state could not be read or changed.
    #[error("the state could not be read or changed")]
    State(#[from] state::Error),
    /// A panic.
    #[error("a defect; see the daemon's log")]
    Defect,
}

/// The call that lists things of this kind.
fn listed_at(what: &str) -> &'static str {
    match what {
        "backend" => "/v1/status",
        "proposal" => "/v1/proposals",
        _ => "/v1/keys",
    }
}

/// On whose behalf something is done.
#[derive(Debug, Clone, Default)]
pub struct By {
    /// The operator; `None` is the daemon itself.
    pub actor: Option<Actor>,
    /// The request that asked for it.
    pub request: Option<String>,
    /// Whoever asked for it first, where two must.
    pub proposed_by: Option<Actor>,
}

impl By {
    /// The daemon itself.
    pub const DAEMON: Self = Self { actor: None, request: None, proposed_by: None };

    /// An operator.
    pub fn operator(actor: Actor, request: Option<String>) -> Self {
        Self { actor: Some(actor), request, proposed_by: None }
    }

    /// A record of something that is done for them.
    fn entry(&self, event: Event) -> Entry {
        Entry {
            actor: self.actor.clone(),
            request: self.request.clone(),
            proposed_by: self.proposed_by.clone(),
            ..Entry::new(event, Outcome::Success)
        }
    }
}

/// What acts work on.
pub struct Parts {
    /// Where quarantines are kept.
    pub store: Arc<Store>,
    /// Where key versions are kept, which other hosts may share.
    pub state: Arc<dyn KeyState>,
    /// The keys in use.
    pub keyring: Arc<Keyring>,
    /// Configured keys and backends.
    pub loader: Loader,
    /// Where acts are recorded.
    pub log: audit::Log,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Name of the environment, part of the names of keys.
    pub environment: String,
    /// Names this host among those that share the state.
    pub host: String,
}

/// What an operator may do, and the daemon does by itself.
pub struct Admin {
    parts: Parts,
    publisher: Publisher,
    /// Whose records are whose; the daemon alone knows.
    subjects: Option<Subjects>,
    /// What JWTs were taken back; the daemon alone knows.
    revocations: Option<Arc<Revocations>>,
    /// By key: the longest life of a JWT.
    longest: RwLock<BTreeMap<String, Duration>>,
    /// One takes over the state at a time. Whether the last one did not, so that it is to be done again.
    refreshing: tokio::sync::Mutex<bool>,
    /// By key: one turns it at a time.
    turns: BTreeMap<String, tokio::sync::Mutex<()>>,
    /// Orphans that were recorded.
    told: Mutex<BTreeSet<String>>,
    /// Something may be due at once.
    nudge: Notify,
    /// Acts that wait for a second operator.
    pending: Mutex<Pending>,
}

impl std::ops::Deref for Admin {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Admin {
    /// Knows nothing of the keys before [`Self::refresh`].
    pub fn new(parts: Parts) -> Self {
        let turns =
            parts.loader.keys.keys().map(|key| (key.clone(), tokio::sync::Mutex::default())).collect();
        let longest = parts.loader.keys.iter().map(|(key, settings)| (key.clone(), settings.longest));
        let longest = RwLock::new(longest.collect());
        Self {
            parts,
            publisher: Publisher::default(),
            subjects: None,
            revocations: None,
            longest,
            refreshing: tokio::sync::Mutex::default(),
            turns,
            told: Mutex::default(),
            nudge: Notify::new(),
            pending: Mutex::default(),
        }
    }

    /// With files for verifiers, beside the sockets.
    pub fn with_publisher(self, publisher: Publisher) -> Self {
        Self { publisher, ..self }
    }

    /// With the keys of people.
    #[must_use]
    pub fn with_subjects(self, subjects: Subjects) -> Self {
        Self { subjects: Some(subjects), ..self }
    }

    /// With what was revoked.
    #[must_use]
    pub fn with_revocations(self, revocations: Arc<Revocations>) -> Self {
        Self { revocations: Some(revocations), ..self }
    }

    /// What verifiers are given beside the key set, and whether files of all that are up to date.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Whether verifiers are to be shown versions of this key.
    fn is_published(&self, key: &str) -> bool {
        self.loader.keys.get(key).is_none_or(|settings| settings.published)
    }

    /// Whether verifiers are shown this version wherever they are to be.
    fn shows(&self, key: &str, kid: &str) -> bool {
        !self.is_published(key) || self.publisher.shows(kid)
    }

    /// Lets two operators ask for some acts before they are done.
    #[must_use]
    pub fn with_two_person(self, settings: TwoPerson) -> Self {
        Self { pending: Mutex::new(Pending::new(settings)), ..self }
    }

    /// Records what is about to be done.
    async fn record(&self, entries: Vec<Entry>) -> Result<(), Unavailable> {
        self.log.append(entries)?.durable_by(Instant::now() + RECORD_WITHIN).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_looked_up_where_it_is_listed() {
        for (what, place) in [
            ("backend", "/v1/status"),
            ("key", "/v1/keys"),
            ("version", "/v1/keys"),
            ("proposal", "/v1/proposals"),
        ] {
            let text = AdminError::Unknown { what, name: "x".into() }.to_string();
            assert_eq!(text, format!("there is no {what} \"x\" here; see GET {place} for those that are"));
        }
    }

    #[test]
    fn a_version_that_is_not_published_is_not_told_of_the_end_of_time() {
        let early = |at| AdminError::from(IllegalMove::TooEarly { kid: "x".into(), at }).to_string();
        assert_eq!(early(i64::MAX), "version x is not published yet");
        assert!(early(0).ends_with("it may sign from 1970-01-01T00:00:00Z on"), "{}", early(0));
    }
}
