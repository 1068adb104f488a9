//! The one task that reads and changes the table of subjects. Whatever waits is answered with one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::seal::{self, Bucket, Sealer, Secret};
use super::{Epochs, Error, Known, Person, SubjectKey};
use crate::state::{EpochRow, EpochStage, ErasureRow, Store, SubjectRow, Turn};

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
        /// In which period a record is about to tell of them, if one is.
        seen: Option<i64>,
        reply: Answer<Vec<Option<Arc<SubjectKey>>>>,
    },
    /// Opens the current epoch, made if there is none, and sees whether it is the current one still.
    Ready {
        reply: Answer<()>,
    },
    /// Begins an epoch whose key is made, in which these people have no keys; nobody has one where none are named.
    Turn {
        people: Option<Vec<Person>>,
        made: EpochRow,
        secret: Secret,
        erasure: Option<ErasureRow>,
        reply: Answer<()>,
    },
    Forget {
        period: i64,
        reply: Answer<usize>,
    },
}

/// The table, and what opens it.
pub(super) struct Table {
    store: Arc<Store>,
    epochs: Arc<Epochs>,
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
    pub(super) fn new(store: Arc<Store>, epochs: Arc<Epochs>, known: Known) -> Self {
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
                Ask::Find { people, seen, reply } => {
                    drop(reply.send(self.find(people, seen).await.map_err(Arc::new)));
                }
                Ask::Ready { reply } => drop(reply.send(self.ready().await.map_err(Arc::new))),
                Ask::Turn { people, made, secret, erasure, reply } => {
                    let turned = self.turn(people, (made, secret), erasure).await;
                    drop(reply.send(turned.map_err(Arc::new)));
                }
                Ask::Forget { period, reply } => {
                    let dropped = self.blocking(move |store| Ok(store.drop_subjects(period)?)).await;
                    if !matches!(dropped, Ok(0)) {
                        self.forget(None);
                    }
                    drop(reply.send(dropped.map_err(Arc::new)));
                }
            }
        }
    }

    /// Keys of these people, on disk; of those who are there twice the same.
    async fn keys(&mut self, people: Vec<Person>, period: i64) -> Result<Vec<Arc<SubjectKey>>, Error> {
        let wanted: Arc<BTreeSet<Person>> = Arc::new(people.iter().copied().collect());
        let found = self.look(move |current, store| current.find_or_make(store, &wanted, period)).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (person, key) in &found {
            known.insert(*person, (Arc::clone(key), period));
        }
        drop(known);
        people.iter().map(|person| found.get(person).cloned().ok_or(Error::Ended)).collect()
    }

    async fn find(
        &mut self,
        people: Vec<Person>,
        seen: Option<i64>,
    ) -> Result<Vec<Option<Arc<SubjectKey>>>, Error> {
        let wanted: Arc<BTreeSet<Person>> = Arc::new(people.iter().copied().collect());
        let found = self.look(move |current, store| current.find_seen(store, &wanted, seen)).await?;
        Ok(people.iter().map(|person| found.get(person).map(Arc::clone)).collect())
    }

    /// Looks into the table. Another process may have changed the epoch: then it is opened again, once.
    async fn look<T: Send + 'static>(
        &mut self,
        work: impl Fn(&Current, &Store) -> Result<T, Error> + Clone + Send + 'static,
    ) -> Result<T, Error> {
        let (current, first) = (self.current().await?, work.clone());
        match self.blocking(move |store| first(&current, store)).await {
            Err(Error::Contended) => {
                self.begin_anew();
                let current = self.current().await?;
                self.blocking(move |store| work(&current, store)).await
            }
            looked => looked,
        }
    }

    async fn ready(&mut self) -> Result<(), Error> {
        let (number, _) = self.blocking(|store| Ok(store.buckets()?)).await?;
        if self.current.as_ref().is_some_and(|current| current.number != number) {
            self.begin_anew();
        }
        self.current().await.map(drop)
    }

    /// Another process has changed the epoch, and may have erased anybody.
    fn begin_anew(&mut self) {
        self.current = None;
        self.forget(None);
    }

    /// Of these people, or of all.
    fn forget(&self, people: Option<&[Person]>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(people) = people else { return known.clear() };
        for person in people {
            known.remove(person);
        }
    }

    async fn turn(
        &mut self,
        people: Option<Vec<Person>>,
        (made, secret): (EpochRow, Secret),
        erasure: Option<ErasureRow>,
    ) -> Result<(), Error> {
        // Before: this task alone adds to what is known, so that nobody is given a key that is about to go, whatever
        // comes of the rest.
        self.forget(people.as_deref());
        let who = match people {
            Some(people) => Who::These(self.current().await?, people),
            None => Who::All,
        };
        self.begin(who, (made, secret), erasure).await
    }

    async fn begin(
        &mut self,
        who: Who,
        (made, secret): (EpochRow, Secret),
        erasure: Option<ErasureRow>,
    ) -> Result<(), Error> {
        let number = made.number;
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

    /// The current epoch, the first one made if there is none.
    async fn current(&mut self) -> Result<Arc<Current>, Error> {
        if let Some(current) = &self.current {
            return Ok(Arc::clone(current));
        }
        let rows = self.blocking(|store| Ok(store.epochs()?)).await?;
        match rows.iter().find(|row| row.stage == EpochStage::Current) {
            Some(row) => {
                let (secret, number) = (self.epochs.open(row).await?, row.number);
                self.current = Some(self.blocking(move |store| Current::open(store, number, &secret)).await?);
            }
            None => {
                let plan = self.epochs.plan(rows.last().map_or(0, |row| row.number).saturating_add(1))?;
                let planned = plan.clone();
                self.blocking(move |store| Ok(store.add_epoch(&planned)?)).await?;
                let made = self.epochs.make(plan).await?;
                self.begin(Who::All, made, None).await?;
            }
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
        let rows = store.subjects(self.number, &rows.collect::<Result<Vec<_>, Error>>()?)?;
        let rows = rows.ok_or(Error::Contended)?;
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
        let (mut fresh, mut seen) = (Vec::new(), Vec::new());
        for person in people {
            let row = |key| self.bucket(person)?.subject(bucket_of(person), person, key, period);
            let key = match found.remove(person) {
                Some((key, last)) => {
                    if last < period {
                        seen.push(row(&key)?);
                    }
                    key
                }
                None => {
                    let key = Arc::new(SubjectKey::new(seal::random()?));
                    fresh.push(row(&key)?);
                    key
                }
            };
            keys.insert(*person, key);
        }
        let is_nothing = fresh.is_empty() && seen.is_empty();
        if is_nothing || store.add_subjects(self.number, &fresh, &seen)? {
            Ok(keys)
        } else {
            Err(Error::Contended)
        }
    }

    /// Keys of those who have one, who are seen in this period, if one is given.
    fn find_seen(
        &self,
        store: &Store,
        people: &BTreeSet<Person>,
        seen: Option<i64>,
    ) -> Result<BTreeMap<Person, Arc<SubjectKey>>, Error> {
        let found = self.find(store, people)?;
        match seen {
            Some(period) => self.find_or_make(store, &found.into_keys().collect(), period),
            None => Ok(found.into_iter().map(|(person, (key, _))| (person, key)).collect()),
        }
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
