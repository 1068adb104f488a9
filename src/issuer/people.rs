//! Whom a call is about: their keys, and what stands for them in records.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use crate::audit::Entry;
use crate::jwt::Draft;
use crate::subject::{self, Kind, Person, SubjectKey, Subjects};

/// Why a record cannot say whom it is about; then nothing is signed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NoKeys {
    /// The state did not answer.
    #[error("the state did not answer in time")]
    Late,
    /// There is a fault.
    #[error(transparent)]
    Fault(#[from] Arc<subject::Error>),
}

/// Whose JWT it is: its subject's, without one its session's, without that its consent's.
pub(super) fn owner(subjects: &Subjects, draft: &Draft) -> Option<Person> {
    let called = [
        (Kind::Subject, draft.subject()),
        (Kind::Session, draft.session()),
        (Kind::Consent, draft.consent()),
    ];
    let (kind, text) = called.into_iter().find_map(|(kind, text)| Some((kind, text?)))?;
    Some(subjects.person(draft.issuer(), kind, text))
}

/// Keys of everybody whom one call is about.
#[derive(Default)]
pub(super) struct Keys(BTreeMap<Person, Arc<SubjectKey>>);

impl Keys {
    pub(super) async fn of(
        subjects: &Subjects,
        people: Vec<Person>,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Self, NoKeys> {
        if people.is_empty() {
            return Ok(Self::default());
        }
        let keys = timeout_at(deadline, subjects.keys(&people, now)).await.map_err(|_| NoKeys::Late)??;
        Ok(Self(people.into_iter().zip(keys).collect()))
    }

    /// The tag of a person in a record with this nonce.
    pub(super) fn tag(&self, person: &Person, nonce: &str) -> Option<String> {
        Some(self.0.get(person)?.tag(Kind::Subject, "", nonce))
    }

    /// The record of a draft says whom it is about, by tags alone.
    pub(super) fn mark(&self, entry: Entry, draft: &Draft, owner: Option<&Person>) -> Entry {
        let Some(key) = owner.and_then(|owner| self.0.get(owner)) else { return entry };
        let nonce = draft.jti().as_str();
        let tag = |kind, text: Option<&str>| text.map(|text| key.tag(kind, text, nonce));
        Entry {
            subject: draft.subject().map(|_| key.tag(Kind::Subject, "", nonce)),
            session: tag(Kind::Session, draft.session()),
            consent: tag(Kind::Consent, draft.consent()),
            ..entry
        }
    }
}
