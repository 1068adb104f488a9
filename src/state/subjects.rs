//! Keys of subjects, sealed: rows in buckets, buckets under an epoch's key. What is deleted here must not come back, so
//! a change of epoch is one transaction, and what was there before leaves the write-ahead log after it.
//!
//! Knows no key and no subject; `crate::subject` does.

use super::{Error, Store};
use rusqlite::{OptionalExtension, Row, Transaction};

/// Where an epoch is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochStage {
    /// Its key is being made, or was when that was broken off.
    Making,
    /// Its key seals the buckets.
    Current,
    /// Its key is to be destroyed.
    Ending,
}

impl EpochStage {
    fn name(self) -> &'static str {
        match self {
            Self::Making => "making",
            Self::Current => "current",
            Self::Ending => "ending",
        }
    }
}

/// One epoch, and where its key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRow {
    /// Counts up.
    pub number: i64,
    /// `[backend.NAME]`; `None` is a file beside the database.
    pub backend: Option<String>,
    /// The backend's id of its key, or what it is to be.
    pub id: Vec<u8>,
    /// Public JWK of its key, where the backend has made one.
    pub public: Option<String>,
    /// Where it is.
    pub stage: EpochStage,
}

/// A subject's key, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectRow {
    /// Stands for the subject, under the bucket's key.
    pub row: Vec<u8>,
    /// In which bucket.
    pub bucket: u16,
    /// Under the bucket's key.
    pub sealed: Vec<u8>,
    /// In which period it was last used.
    pub seen: i64,
}

/// An erasure that is not recorded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureRow {
    /// The id of the request.
    pub id: String,
    /// What the record is to say.
    pub record: String,
    /// Keys that it deleted.
    pub count: i64,
}

/// A bucket's number and its key, under the epoch's.
pub(super) type Bucket = (u16, Vec<u8>);

/// A change of epoch.
#[derive(Debug, Default)]
pub struct Turn {
    /// The current epoch, which ends with this; 0 if there is none.
    pub from: i64,
    /// The one that is current from now on; its row is there.
    pub to: i64,
    /// All buckets, sealed anew.
    pub buckets: Vec<Bucket>,
    /// Buckets whose rows are replaced by these.
    pub rows: Vec<(u16, Vec<SubjectRow>)>,
    /// What comes of it for the log.
    pub erasure: Option<ErasureRow>,
}

impl Store {
    /// All epochs that have a key or may have one, oldest first.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn epochs(&self) -> Result<Vec<EpochRow>, Error> {
        self.transact("read the epochs", |t| {
            let mut rows =
                t.prepare("SELECT number, backend, id, public, stage FROM epochs ORDER BY number")?;
            rows.query_map([], epoch)?.collect()
        })
    }

    /// Adds an epoch that is to be made.
    ///
    /// # Errors
    /// [`Error::Sql`]; one of this number is there.
    pub fn add_epoch(&self, row: &EpochRow) -> Result<(), Error> {
        self.transact("plan an epoch", |t| write_epoch(t, "INSERT", row))
    }

    /// Adds an epoch, or replaces the one of this number.
    ///
    /// # Errors
    /// [`Error::Sql`]; two cannot be current.
    pub fn put_epoch(&self, row: &EpochRow) -> Result<(), Error> {
        self.transact("write an epoch", |t| write_epoch(t, "INSERT OR REPLACE", row))
    }

    /// Forgets an epoch whose key is no more. Its number is not given again while a later one is known.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn drop_epoch(&self, number: i64) -> Result<(), Error> {
        self.transact("forget an epoch", |t| {
            t.execute("DELETE FROM epochs WHERE number = ?1 AND stage <> 'current'", [number]).map(drop)
        })
    }

    /// The current epoch's number, 0 for none, and all buckets as it seals them.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn buckets(&self) -> Result<(i64, Vec<Bucket>), Error> {
        self.transact("read the buckets of subjects", |t| {
            let mut rows = t.prepare("SELECT bucket, sealed FROM subject_buckets ORDER BY bucket")?;
            let buckets =
                rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
            Ok((current(t)?, buckets))
        })
    }

    /// Those of these rows that are there; `None` if `epoch` is not the current one, in which they have other names.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn subjects(&self, epoch: i64, rows: &[Vec<u8>]) -> Result<Option<Vec<Option<SubjectRow>>>, Error> {
        self.transact("read subjects", |t| {
            if current(t)? != epoch {
                return Ok(None);
            }
            let mut select =
                t.prepare_cached("SELECT row, bucket, sealed, seen FROM subjects WHERE row = ?1")?;
            let found = rows.iter().map(|row| select.query_row([row], subject).optional());
            found.collect::<rusqlite::Result<_>>().map(Some)
        })
    }

    /// All rows of a bucket.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn subjects_of(&self, bucket: u16) -> Result<Vec<SubjectRow>, Error> {
        self.transact("read a bucket of subjects", |t| {
            let mut rows = t.prepare("SELECT row, bucket, sealed, seen FROM subjects WHERE bucket = ?1")?;
            rows.query_map([bucket], subject)?.collect()
        })
    }

    /// How many there are.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn count_subjects(&self) -> Result<i64, Error> {
        self.transact("count subjects", |t| {
            t.query_row("SELECT count(*) FROM subjects", [], |row| row.get(0))
        })
    }

    /// Adds rows that are `fresh`, and moves `seen` of others ahead, while `epoch` is the current one. False, and nothing
    /// was done, if it is not any more, or another process has added one of them.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn add_subjects(&self, epoch: i64, fresh: &[SubjectRow], seen: &[SubjectRow]) -> Result<bool, Error> {
        self.transact("add subjects", |t| {
            if current(t)? != epoch {
                return Ok(false);
            }
            let mut there = t.prepare_cached("SELECT 1 FROM subjects WHERE row = ?1")?;
            for row in fresh {
                if there.exists([&row.row])? {
                    return Ok(false);
                }
            }
            add(t, fresh)?;
            let mut move_on = t.prepare_cached("UPDATE subjects SET seen = max(seen, ?2) WHERE row = ?1")?;
            for row in seen {
                move_on.execute((&row.row, row.seen))?;
            }
            Ok(true)
        })
    }

    /// Changes the epoch. False, and nothing was done, if another one is current than the one that is to end.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn turn_epoch(&self, turn: &Turn) -> Result<bool, Error> {
        self.transact("change the epoch of subjects", |t| {
            if current(t)? != turn.from {
                return Ok(false);
            }
            t.execute("UPDATE epochs SET stage = 'ending' WHERE stage = 'current'", [])?;
            t.execute("UPDATE epochs SET stage = 'current' WHERE number = ?1", [turn.to])?;
            for (bucket, _) in &turn.rows {
                t.execute("DELETE FROM subjects WHERE bucket = ?1", [bucket])?;
            }
            let mut put = t.prepare(
                "INSERT INTO subject_buckets (bucket, sealed) VALUES (?1, ?2)
                 ON CONFLICT (bucket) DO UPDATE SET sealed = ?2",
            )?;
            for (bucket, sealed) in &turn.buckets {
                put.execute((bucket, sealed))?;
            }
            for (_, rows) in &turn.rows {
                add(t, rows)?;
            }
            if let Some(ErasureRow { id, record, count }) = &turn.erasure {
                t.execute(
                    "INSERT INTO erasures (id, record, count) VALUES (?1, ?2, ?3)",
                    (id, record, count),
                )?;
            }
            Ok(true)
        })
    }

    /// Empties the write-ahead log into the database, so that what was deleted is in neither.
    ///
    /// # Errors
    /// [`Error::Sql`]; also while another process reads.
    pub fn wipe(&self) -> Result<(), Error> {
        let failed =
            |source| Error::Sql { operation: "wipe what was deleted", file: self.file.clone(), source };
        let busy: i64 = self
            .connection()
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(failed)?;
        if busy == 0 {
            return Ok(());
        }
        Err(failed(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            None,
        )))
    }

    /// Erasures that are not recorded yet.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn erasures(&self) -> Result<Vec<ErasureRow>, Error> {
        self.transact("read the erasures", |t| {
            let mut rows = t.prepare("SELECT id, record, count FROM erasures ORDER BY rowid")?;
            let erasure =
                |row: &Row| Ok(ErasureRow { id: row.get(0)?, record: row.get(1)?, count: row.get(2)? });
            rows.query_map([], erasure)?.collect()
        })
    }

    /// Forgets an erasure that is recorded.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn drop_erasure(&self, id: &str) -> Result<(), Error> {
        self.transact("forget an erasure", |t| {
            t.execute("DELETE FROM erasures WHERE id = ?1", [id]).map(drop)
        })
    }

    /// Deletes rows that were last seen before `period`. How many there were.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn drop_subjects(&self, period: i64) -> Result<usize, Error> {
        self.transact("drop subjects without records", |t| {
            t.execute("DELETE FROM subjects WHERE seen < ?1", [period])
        })
    }
}

fn current(t: &Transaction) -> rusqlite::Result<i64> {
    let number = "SELECT number FROM epochs WHERE stage = 'current'";
    Ok(t.query_row(number, [], |row| row.get(0)).optional()?.unwrap_or(0))
}

fn write_epoch(t: &Transaction, how: &str, row: &EpochRow) -> rusqlite::Result<()> {
    t.execute(
        &format!("{how} INTO epochs (number, backend, id, public, stage) VALUES (?1, ?2, ?3, ?4, ?5)"),
        (row.number, &row.backend, &row.id, &row.public, row.stage.name()),
    )
    .map(drop)
}

fn add(t: &Transaction, rows: &[SubjectRow]) -> rusqlite::Result<()> {
    let mut put =
        t.prepare_cached("INSERT INTO subjects (row, bucket, sealed, seen) VALUES (?1, ?2, ?3, ?4)")?;
    for SubjectRow { row, bucket, sealed, seen } in rows {
        put.execute((row, bucket, sealed, seen))?;
    }
    Ok(())
}

fn epoch(row: &Row) -> rusqlite::Result<EpochRow> {
    let stage: String = row.get(4)?;
    let stage = match &*stage {
        "making" => EpochStage::Making,
        "current" => EpochStage::Current,
        // The table holds no other.
        _ => EpochStage::Ending,
    };
    Ok(EpochRow { number: row.get(0)?, backend: row.get(1)?, id: row.get(2)?, public: row.get(3)?, stage })
}

fn subject(row: &Row) -> rusqlite::Result<SubjectRow> {
    Ok(SubjectRow { row: row.get(0)?, bucket: row.get(1)?, sealed: row.get(2)?, seen: row.get(3)? })
}
