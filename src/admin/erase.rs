//! Erasing people from the log's records, and who looks them up.
//!
//! The one act whose record comes after it, since only then it is true: what is to be recorded is in the state from
//! the moment on in which the keys are gone, and is written by whoever comes to it, once their copies open nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::void::Void;
use super::{Admin, AdminError, By};
use crate::audit::{Actor, Entry, Event, Outcome};
use crate::revocation::Reason;
use crate::state::{self, ErasureRow, Store};
use crate::subject::{Erased, Error, Kind, Person, SubjectKey, Subjects};
use crate::telemetry::Chain;

/// A person, as applications call them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Whom {
    /// Whose names they are: the `iss` of the JWTs.
    pub issuer: String,
    /// Of what it is the name.
    pub kind: Kind,
    /// The name.
    pub name: String,
}

/// What is recorded of an erasure.
#[derive(Serialize, Deserialize)]
struct Journal {
    actor: Option<Actor>,
    proposed_by: Option<Actor>,
    reason: Option<String>,
}

impl Admin {
    /// Destroys the keys of somebody, or of everyone, and records that without a name.
    ///
    /// # Errors
    /// Nothing was erased, or it is not recorded yet, which is told: that is made up for.
    pub(super) async fn erase(
        &self,
        by: &By,
        whom: Option<&Whom>,
        reason: Option<String>,
    ) -> Result<Erased, AdminError> {
        let subjects = self.subjects()?;
        // What was issued until now is void, whatever comes of the rest.
        let what = whom.map_or(Void::Everything, |whom| Void::Person(whom.clone()));
        self.void(by, what, None, Reason::Erased).await?;
        let (actor, proposed_by) = (by.actor.clone(), by.proposed_by.clone());
        let journal = Journal { actor, proposed_by, reason };
        let record = serde_json::to_string(&journal).map_err(|_| AdminError::Defect)?;
        let row = ErasureRow { id: by.request.clone().unwrap_or_default(), record, count: 0 };
        let erased = match whom {
            Some(whom) => subjects.erase(&[person(subjects, whom)], row.clone()).await?,
            None => subjects.erase_everyone(row.clone()).await?,
        };
        match &erased.pending {
            _ if erased.count == 0 && whom.is_some() => self.record(vec![entry(&row)?]).await?,
            None => self.record_erasures(|other| other.id == row.id).await?,
            Some(reason) => return Err(AdminError::Erasing { reason: reason.clone() }),
        }
        Ok(erased)
    }

    /// The key with which the log can be searched for somebody, if there are records of them.
    ///
    /// # Errors
    /// It could not be had, or that it was given could not be recorded.
    pub async fn search_key(
        &self,
        by: &By,
        whom: &Whom,
        reason: Option<String>,
    ) -> Result<Option<Arc<SubjectKey>>, AdminError> {
        let subjects = self.subjects()?;
        let key = subjects.find(&[person(subjects, whom)], Some(self.clock.now())).await?.pop().flatten();
        // Whoever is looked up can see by whom.
        let subject = key.as_deref().map(|key| tag(by, key));
        let outcome = if key.is_some() { Outcome::Success } else { Outcome::Denied };
        self.record(vec![Entry { subject, reason, outcome, ..by.entry(Event::SubjectSearched) }]).await?;
        Ok(key)
    }

    /// What stands for somebody in a record of an operator's act; none if there is no key to say it with.
    pub(super) async fn tag_of(&self, by: &By, whom: &Whom) -> Option<String> {
        let subjects = self.subjects().ok()?;
        let key =
            subjects.find(&[person(subjects, whom)], Some(self.clock.now())).await.ok()?.pop().flatten()?;
        Some(tag(by, &key))
    }

    /// Does what is left of erasures: destroys keys, records.
    pub async fn settle_erasures(&self) {
        let Ok(subjects) = self.subjects() else { return };
        let settle = async {
            // One that comes after this settles itself.
            let done = self.stored(Store::erasures).await?;
            match subjects.settle().await? {
                None => self.record_erasures(|row| done.contains(row)).await,
                Some(reason) => Err(AdminError::Erasing { reason }),
            }
        };
        if let Err(error) = settle.await {
            tracing::error!(error = %Chain(&error), "Subjects' keys not looked after");
        }
    }

    /// Drops the keys of people whose records are no longer kept.
    pub async fn forget_people(&self) {
        let (Ok(subjects), log) = (self.subjects(), self.log.clone()) else { return };
        let Ok(Ok(Some(oldest))) = spawn_blocking(move || log.begins()).await else { return };
        match subjects.forget(oldest).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "Keys of people dropped whose records are no longer kept"),
            Err(error) => tracing::error!(error = %Chain(&*error), "Keys of people not looked after"),
        }
    }

    /// Records those for which nothing is left to do.
    async fn record_erasures(&self, is_done: impl Fn(&ErasureRow) -> bool) -> Result<(), AdminError> {
        for row in self.stored(Store::erasures).await?.into_iter().filter(is_done) {
            self.record(vec![entry(&row)?]).await?;
            self.stored(move |store| store.drop_erasure(&row.id)).await?;
        }
        Ok(())
    }

    fn subjects(&self) -> Result<&Subjects, AdminError> {
        self.subjects.as_ref().ok_or(AdminError::Defect)
    }

    pub(super) async fn stored<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, state::Error> + Send + 'static,
    ) -> Result<T, AdminError> {
        let store = Arc::clone(&self.store);
        // A panic is logged where it happens.
        Ok(spawn_blocking(move || work(&store)).await.unwrap_or(Err(state::Error::Interrupted))?)
    }
}

fn tag(by: &By, key: &SubjectKey) -> String {
    key.tag(Kind::Subject, "", by.request.as_deref().unwrap_or_default())
}

fn person(subjects: &Subjects, whom: &Whom) -> Person {
    subjects.person(&whom.issuer, whom.kind, &whom.name)
}

/// The record of an erasure.
fn entry(row: &ErasureRow) -> Result<Entry, AdminError> {
    let journal: Journal =
        serde_json::from_str(&row.record).map_err(|_| AdminError::Subjects(Arc::new(Error::Damaged)))?;
    Ok(Entry {
        request: Some(row.id.clone()),
        actor: journal.actor,
        proposed_by: journal.proposed_by,
        reason: journal.reason,
        count: Some(row.count.unsigned_abs()),
        ..Entry::new(Event::SubjectErased, Outcome::Success)
    })
}
