//! The one task that reads and changes the table of subjects. Whatever waits is answered with one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::seal::{self, Bucket, Sealer, Secret};
use super::{Epochs, Erased, Error, Known, Person, SubjectKey};
use crate::state::{EpochRow, EpochStage, ErasureRow, Store, SubjectRow, Turn};
use crate::telemetry::Chain;

/// Rows are in so many buckets: with a million subjects an erasure seals a thousand rows anew, and these.
const BUCKETS: u16 = 1024;
/// People who are looked up in one transaction, at most.
const BATCH: usize = 512;

type Answer<T> = oneshot::Sender<Result<T, Arc<Error>>>;

/// What the task is asked for.
pub(super) enum Ask {
    /// See [`super::Subjects`] for each.
    Keys {
        people: Vec<Person>,
        period: i64,
        reply: Answer<Vec<Arc<SubjectKey>>>,
    },
    Find {
        people: Vec<Person>,
        reply: Answer<Vec<Option<Arc<SubjectKey>>>>,
    },
    Erase {
        people: Vec<Person>,
        journal: ErasureRow,
        reply: Answer<Erased>,
    },
    Everyone {
        journal: ErasureRow,
        reply: Answer<Erased>,
    },
    Settle {
        reply: Answer<Option<String>>,
    },
    Forget {
        period: i64,
        reply: Answer<usize>,
    },
}

/// The table, and what opens it.
pub(super) struct Table {
    store: Arc<Store>,
    epochs: Epochs,
    known: Known,
    /// Nothing is opened before it is needed: the backend that has the epoch's key may be away.
    current: Option<Arc<Current>>,
}

/// Who has no key in the next epoch.
enum Who {
    /// Of those in the current one, these.
    These(Arc<Current>, Vec<Person>),
    /// Nobody has one.
    All,
}

/// The current epoch and its buckets.
struct Current {
    number: i64,
    /// All of them, by number.
    buckets: Vec<Bucket>,
}

impl Table {
    pub(super) fn new(store: Arc<Store>, epochs: Epochs, known: Known) -> Self {
        Self { store, epochs, known, current: None }
    }

    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        let mut next = None;
        while let Some(ask) = match next.take() {
            Some(ask) => Some(ask),
            None => asked.recv().await,
        } {
            // Whoever asked may be gone: then nobody wants the answer.
            match ask {
                Ask::Keys { people, period, reply } => {
                    let mut waiting = vec![(people.len(), reply)];
                    let mut all = people;
                    let mut latest = period;
                    while all.len() < BATCH && next.is_none() {
                        match asked.try_recv() {
                            Ok(Ask::Keys { people, period, reply }) => {
                                waiting.push((people.len(), reply));
                                all.extend(people);
                                latest = latest.max(period);
                            }
                            Ok(other) => next = Some(other),
                            Err(_) => break,
                        }
                    }
                    let keys = self.keys(all, latest).await.map_err(Arc::new);
                    let mut from = keys.as_deref().unwrap_or_default();
                    for (count, reply) in waiting {
                        let (own, rest) = from.split_at_checked(count).unwrap_or_default();
                        from = rest;
                        let _ = reply.send(keys.as_ref().map(|_| own.to_vec()).map_err(Arc::clone));
                    }
                }
                Ask::Find { people, reply } => drop(reply.send(self.find(people).await.map_err(Arc::new))),
                Ask::Erase { people, journal, reply } => {
                    let erased = self.erase(people, journal).await.map_err(Arc::new);
                    drop(reply.send(erased));
                }
                Ask::Everyone { journal, reply } => {
                    let erased = self.erase_everyone(journal).await.map_err(Arc::new);
                    drop(reply.send(erased));
                }
                Ask::Settle { reply } => drop(reply.send(self.settle().await.map_err(Arc::new))),
                Ask::Forget { period, reply } => {
                    let dropped = self.blocking(move |store| Ok(store.drop_subjects(period)?)).await;
                    drop(reply.send(dropped.map_err(Arc::new)));
                }
            }
        }
    }

    /// Keys of these people, on disk; of those who are there twice the same.
    async fn keys(&mut self, people: Vec<Person>, period: i64) -> Result<Vec<Arc<SubjectKey>>, Error> {
        let current = self.current().await?;
        let wanted: BTreeSet<Person> = people.iter().copied().collect();
        let found = self.blocking(move |store| current.find_or_make(store, &wanted, period)).await;
        let found = match found {
            // Opened anew by whoever comes next.
            Err(Error::Contended) => {
                self.current = None;
                return Err(Error::Contended);
            }
            found => found?,
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (person, key) in &found {
            known.insert(*person, (Arc::clone(key), period));
        }
        drop(known);
        people.iter().map(|person| found.get(person).cloned().ok_or(Error::Ended)).collect()
    }

    async fn find(&mut self, people: Vec<Person>) -> Result<Vec<Option<Arc<SubjectKey>>>, Error> {
        let current = self.current().await?;
        self.blocking(move |store| {
            let found = current.find(store, &people.iter().copied().collect())?;
            Ok(people.iter().map(|person| found.get(person).map(|(key, _)| Arc::clone(key))).collect())
        })
        .await
    }

    /// Nothing is erased before the next epoch's key is on disk; from the one transaction on, everything is; the key of
    /// the epoch before opens nothing more, and goes as soon as it can.
    async fn erase(&mut self, people: Vec<Person>, mut journal: ErasureRow) -> Result<Erased, Error> {
        let current = self.current().await?;
        let (reader, asked) = (Arc::clone(&current), people.iter().copied().collect());
        let count = self.blocking(move |store| Ok(reader.find(store, &asked)?.len())).await?;
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        journal.count = count;
        if count == 0 {
            return Ok(Erased { count: 0, pending: None });
        }
        self.turn(Who::These(current, people.clone()), Some(journal)).await?;
        self.forget(&people);
        Ok(self.erased(count).await)
    }

    /// The same for all there are, whether their keys can be opened or not.
    async fn erase_everyone(&mut self, mut journal: ErasureRow) -> Result<Erased, Error> {
        let count = self.blocking(|store| Ok(store.count_subjects()?)).await?;
        journal.count = count;
        self.turn(Who::All, Some(journal)).await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(self.erased(count).await)
    }

    async fn erased(&mut self, count: i64) -> Erased {
        let pending = self.settle().await.unwrap_or_else(|error| Some(Chain(&error).to_string()));
        Erased { count: count.unsigned_abs(), pending }
    }

    fn forget(&self, people: &[Person]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for person in people {
            known.remove(person);
        }
    }

    /// Begins the next epoch, in which these people have no keys.
    async fn turn(&mut self, who: Who, erasure: Option<ErasureRow>) -> Result<(), Error> {
        let rows = self.blocking(|store| Ok(store.epochs()?)).await?;
        let plan = self.epochs.plan(rows.last().map_or(0, |row| row.number).saturating_add(1))?;
        let (number, planned) = (plan.number, plan.clone());
        self.blocking(move |store| Ok(store.put_epoch(&planned)?)).await?;
        let (made, secret) = self.epochs.make(plan).await?;
        let next = self
            .blocking(move |store| {
                store.put_epoch(&made)?;
                let (next, mut turn) = Current::after(&who, store, number, &secret)?;
                turn.erasure = erasure;
                if store.turn_epoch(&turn)? { Ok(next) } else { Err(Error::Contended) }
            })
            .await;
        // Whatever came of it, it is read anew unless it is known.
        self.current = next.as_ref().ok().map(Arc::clone);
        next.map(drop)
    }

    /// Destroys what has ended. `None` when nothing is left to do.
    async fn settle(&mut self) -> Result<Option<String>, Error> {
        let mut pending = None;
        let mut tell = |error: Error| pending = Some(Chain(&error).to_string());
        let current = self.current().await?;
        let rows = self.blocking(|store| Ok(store.epochs()?)).await?;
        let home = rows.iter().find(|row| row.number == current.number);
        if home.is_some_and(|row| !self.epochs.is_at_home(row)) {
            self.turn(Who::These(current, Vec::new()), None).await?;
        }
        let rows = self.blocking(|store| Ok(store.epochs()?)).await?;
        let ended: Vec<EpochRow> = rows.into_iter().filter(|row| row.stage != EpochStage::Current).collect();
        if !ended.is_empty()
            && let Err(error) = self.blocking(|store| Ok(store.wipe()?)).await
        {
            tell(error);
        }
        for row in ended {
            match self.epochs.destroy(&row).await {
                Ok(()) => self.blocking(move |store| Ok(store.drop_epoch(row.number)?)).await?,
                // It never sealed anything, so that no erasure has to wait for its end.
                Err(error) if row.stage == EpochStage::Making => {
                    let error = Chain(&error).to_string();
                    tracing::warn!(
                        epoch = row.number,
                        error,
                        "Key that was being made for subjects stays behind"
                    );
                }
                Err(error) => tell(error),
            }
        }
        Ok(pending)
    }

    /// The current epoch, the first one made if there is none.
    async fn current(&mut self) -> Result<Arc<Current>, Error> {
        if let Some(current) = &self.current {
            return Ok(Arc::clone(current));
        }
        let rows = self.blocking(|store| Ok(store.epochs()?)).await?;
        match rows.into_iter().find(|row| row.stage == EpochStage::Current) {
            Some(row) => {
                let (secret, number) = (self.epochs.open(&row).await?, row.number);
                self.current = Some(self.blocking(move |store| Current::open(store, number, &secret)).await?);
            }
            None => self.turn(Who::All, None).await?,
        }
        self.current.clone().ok_or(Error::Ended)
    }

    /// Work with the state, which blocks.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = Arc::clone(&self.store);
        // A panic is logged where it happens.
        spawn_blocking(move || work(&store)).await.unwrap_or(Err(Error::Ended))
    }
}

impl Current {
    /// What the state has, opened by its epoch's key.
    fn open(store: &Store, number: i64, secret: &Secret) -> Result<Arc<Self>, Error> {
        let sealer = Sealer::new(secret)?;
        let (current, sealed) = store.buckets()?;
        if current != number {
            return Err(Error::Contended);
        }
        let open = |(bucket, sealed): (u16, Vec<u8>)| {
            Bucket::open(&sealer, bucket, &sealed)?.ok_or(Error::Foreign { number })
        };
        let buckets: Vec<Bucket> = sealed.into_iter().map(open).collect::<Result<_, _>>()?;
        if buckets.len() != usize::from(BUCKETS) {
            Err(Error::Damaged)
        } else {
            Ok(Arc::new(Self { number, buckets }))
        }
    }

    /// The epoch that follows, and how the state gets there.
    fn after(who: &Who, store: &Store, number: i64, secret: &Secret) -> Result<(Arc<Self>, Turn), Error> {
        let (before, people) = match who {
            Who::These(before, people) => (Some(before), people.as_slice()),
            Who::All => (None, &[][..]),
        };
        let from = before.map_or_else(|| Ok(store.buckets()?.0), |before| Ok::<_, Error>(before.number))?;
        let sealer = Sealer::new(secret)?;
        let mut turn = Turn { from, to: number, ..Turn::default() };
        let changed: BTreeSet<u16> = people.iter().map(bucket_of).collect();
        let mut buckets = Vec::new();
        for at in 0..BUCKETS {
            let old = before.and_then(|before| before.buckets.get(usize::from(at)));
            let bucket = match old.filter(|_| !changed.contains(&at)) {
                Some(old) => old.again()?,
                None => {
                    let bucket = Bucket::new(seal::random()?)?;
                    turn.rows.push((at, moved(store, at, (old, &bucket), people)?));
                    bucket
                }
            };
            turn.buckets.push((at, bucket.seal(&sealer, at)?));
            buckets.push(bucket);
        }
        Ok((Arc::new(Self { number, buckets }), turn))
    }

    fn bucket(&self, person: &Person) -> Result<&Bucket, Error> {
        self.buckets.get(usize::from(bucket_of(person))).ok_or(Error::Damaged)
    }

    /// Keys of those who have one, and when they were last seen.
    fn find(
        &self,
        store: &Store,
        people: &BTreeSet<Person>,
    ) -> Result<BTreeMap<Person, (Arc<SubjectKey>, i64)>, Error> {
        let rows = people.iter().map(|person| Ok(self.bucket(person)?.row(person)));
        let rows = store.subjects(&rows.collect::<Result<Vec<_>, Error>>()?)?;
        let mut found = BTreeMap::new();
        for (person, row) in people.iter().zip(rows) {
            let Some(row) = row else { continue };
            let (whose, key) = self.bucket(person)?.open_subject(&row.row, &row.sealed)?;
            if whose != *person {
                return Err(Error::Damaged);
            }
            found.insert(*person, (Arc::new(key), row.seen));
        }
        Ok(found)
    }

    /// Keys of all of them, new ones for those who have none, seen in `period`.
    fn find_or_make(
        &self,
        store: &Store,
        people: &BTreeSet<Person>,
        period: i64,
    ) -> Result<BTreeMap<Person, Arc<SubjectKey>>, Error> {
        let mut keys = BTreeMap::new();
        let mut found = self.find(store, people)?;
        let mut rows = Vec::new();
        for person in people {
            let (key, seen) = match found.remove(person) {
                Some(found) => found,
                None => (Arc::new(SubjectKey::new(seal::random()?)), i64::MIN),
            };
            if seen < period {
                rows.push(self.bucket(person)?.subject(bucket_of(person), person, &key, period)?);
            }
            keys.insert(*person, key);
        }
        if !rows.is_empty() && !store.add_subjects(self.number, &rows)? {
            return Err(Error::Contended);
        }
        Ok(keys)
    }
}

/// The rows of a bucket as they are under its next key, but those of `people`.
fn moved(
    store: &Store,
    at: u16,
    (old, new): (Option<&Bucket>, &Bucket),
    people: &[Person],
) -> Result<Vec<SubjectRow>, Error> {
    let Some(old) = old else { return Ok(Vec::new()) };
    let mut rows = Vec::new();
    for row in store.subjects_of(at)? {
        let (person, key) = old.open_subject(&row.row, &row.sealed)?;
        if !people.contains(&person) {
            rows.push(new.subject(at, &person, &key, row.seen)?);
        }
    }
    Ok(rows)
}

fn bucket_of(person: &Person) -> u16 {
    let [.., high, low] = person.0;
    u16::from_be_bytes([high, low]) % BUCKETS
}
