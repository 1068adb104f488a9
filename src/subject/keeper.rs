//! Erasing people, and what is left to do after it. What takes a backend long is done here, one act at a time, while
//! [`Table`](super::table::Table) goes on giving keys.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::table::Ask;
use super::{Erased, Error, Person, Subjects};
use crate::state::{EpochRow, EpochStage, ErasureRow, Store};
use crate::telemetry::Chain;

impl Subjects {
    /// Destroys the keys of these people. `journal` is in [`Store::erasures`] from the moment on in which they are gone.
    /// Nothing is erased before the next epoch's key is on disk; from the one transaction on, everything is; the key of
    /// the epoch before opens nothing more, and goes as soon as it can.
    ///
    /// # Errors
    /// Nothing was erased, or it is not known whether: [`Store::erasures`] tells.
    pub async fn erase(&self, people: &[Person], mut journal: ErasureRow) -> Result<Erased, Arc<Error>> {
        let _one = self.acts.lock().await;
        let count = self.find(people, None).await?.iter().flatten().count();
        journal.count = i64::try_from(count).unwrap_or(i64::MAX);
        if count == 0 {
            return Ok(Erased { count: 0, pending: None });
        }
        let count = journal.count;
        self.turn(Some(people.to_vec()), Some(journal)).await?;
        Ok(self.erased(count).await)
    }

    /// The same for everyone, whether their keys can be opened or not.
    ///
    /// # Errors
    /// As for [`Self::erase`].
    pub async fn erase_everyone(&self, mut journal: ErasureRow) -> Result<Erased, Arc<Error>> {
        let _one = self.acts.lock().await;
        // Makes the first epoch if there is none; that the present one cannot be opened is no hindrance.
        let _ = self.ask(|reply| Ask::Ready { reply }).await?;
        journal.count = self.stored(|store| Ok(store.count_subjects()?)).await?;
        let count = journal.count;
        self.turn(None, Some(journal)).await?;
        Ok(self.erased(count).await)
    }

    /// Destroys keys of epochs that have ended and could not be destroyed then, and moves to where the configuration
    /// wants the current one. Why not all of that is done.
    ///
    /// # Errors
    /// The current epoch cannot be opened, or the state cannot be read.
    pub async fn settle(&self) -> Result<Option<String>, Arc<Error>> {
        let _one = self.acts.lock().await;
        self.clean_up().await
    }

    async fn erased(&self, count: i64) -> Erased {
        let pending = self.clean_up().await.unwrap_or_else(|error| Some(Chain(&*error).to_string()));
        Erased { count: count.unsigned_abs(), pending }
    }

    /// Begins the next epoch, in which these people have no keys; nobody has one where none are named.
    async fn turn(&self, people: Option<Vec<Person>>, erasure: Option<ErasureRow>) -> Result<(), Arc<Error>> {
        let rows = self.stored(|store| Ok(store.epochs()?)).await?;
        let plan = self.epochs.plan(rows.last().map_or(0, |row| row.number).saturating_add(1))?;
        let planned = plan.clone();
        self.stored(move |store| Ok(store.add_epoch(&planned)?)).await?;
        let (made, secret) = self.epochs.make(plan).await?;
        self.ask(|reply| Ask::Turn { people, made, secret, erasure, reply }).await?
    }

    async fn clean_up(&self) -> Result<Option<String>, Arc<Error>> {
        let ready = self.ask(|reply| Ask::Ready { reply }).await?;
        let rows = self.stored(|store| Ok(store.epochs()?)).await?;
        let Some(home) = rows.iter().find(|row| row.stage == EpochStage::Current) else {
            // The first one may be being made.
            return ready.map(|()| None);
        };
        let moves = !self.epochs.is_at_home(home);
        let mut pending = self.destroy_ended(rows).await?;
        ready?;
        if moves {
            match self.turn(Some(Vec::new()), None).await {
                Ok(()) => {
                    let rows = self.stored(|store| Ok(store.epochs()?)).await?;
                    pending = self.destroy_ended(rows).await?;
                }
                Err(error) => pending = Some(Chain(&*error).to_string()),
            }
        }
        Ok(pending)
    }

    /// Why not all of it is destroyed.
    async fn destroy_ended(&self, rows: Vec<EpochRow>) -> Result<Option<String>, Arc<Error>> {
        let ended: Vec<EpochRow> = rows.into_iter().filter(|row| row.stage != EpochStage::Current).collect();
        if ended.is_empty() {
            return Ok(None);
        }
        let wiped = self.stored(|store| Ok(store.wipe()?)).await;
        let mut pending = wiped.as_ref().err().map(|error| Chain(&**error).to_string());
        for row in ended {
            match self.epochs.destroy(&row).await {
                // Its row keeps the erasure open as long as there is something left to wipe.
                Ok(()) if wiped.is_err() && row.stage == EpochStage::Ending => {}
                Ok(()) => self.stored(move |store| Ok(store.drop_epoch(row.number)?)).await?,
                // It never sealed anything, so that no erasure has to wait for its end.
                Err(error) if row.stage == EpochStage::Making => {
                    let error = Chain(&error).to_string();
                    tracing::warn!(
                        epoch = row.number,
                        error,
                        "Key that was being made for subjects stays behind"
                    );
                }
                Err(error) => pending = Some(Chain(&error).to_string()),
            }
        }
        Ok(pending)
    }

    async fn stored<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Arc<Error>> {
        let store = Arc::clone(&self.store);
        // A panic is logged where it happens.
        Ok(spawn_blocking(move || work(&store)).await.unwrap_or(Err(Error::Ended))?)
    }
}
