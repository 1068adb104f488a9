//! State: what must survive a restart and is not evidence. SQLite, WAL, synchronous=FULL, off the signing path.
//!
//! Never holds a private key or a JWT. A change that was answered is on disk; one that was not is not there at all.
//! Several processes may have it open (the daemon and `jwsd keys`): SQLite's locks keep them apart.

mod cache;
mod clock;
mod error;
mod files;
mod keys;
mod quarantine;
mod revocations;
mod schema;
mod sinks;
mod subjects;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use keys::{IntentRow, KeyChange, KeyState, KeyVersionRow, Keys, Tally};
pub use quarantine::QuarantineRow;
pub use revocations::RevocationRow;
pub use sinks::SinkRow;
pub use subjects::{EpochRow, EpochStage, ErasureRow, SubjectRow, Turn};

use files::{prepare_dir, prepare_file};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};
use secrecy::zeroize::Zeroizing;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long to wait for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);
/// Bytes of a secret.
const SECRET: usize = 32;

/// What `[state]` says, resolved.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where `state.db` is. Made (0700) if missing; its parent must exist.
    pub dir: PathBuf,
}

/// An open store. Blocking calls: use it at start or on a blocking thread.
pub struct Store {
    connection: Mutex<Connection>,
    file: PathBuf,
}

impl Store {
    /// Opens or creates `dir/state.db` (0600), migrates, checks that it belongs to `environment`.
    ///
    /// # Errors
    /// If directory or file are not ours alone, cannot be opened, are of a newer schema or another environment.
    pub fn open(settings: &Settings, environment: &str) -> Result<Self, Error> {
        prepare_dir(&settings.dir)?;
        let file = database_path(&settings.dir);
        prepare_file(&file)?;
        let sql = |operation| {
            let file = file.clone();
            move |source| Error::Sql { operation, file, source }
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        // SQLite wants a path without any link for NOFOLLOW; only the last part is ours to judge.
        let real = settings.dir.canonicalize().map_err(|source| Error::Io {
            operation: "resolve",
            path: settings.dir.clone(),
            source,
        })?;
        let mut connection =
            Connection::open_with_flags(database_path(&real), flags).map_err(sql("open the database"))?;
        configure(&connection).map_err(sql("set up the database"))?;
        schema::migrate(&mut connection, &file)?;
        let store = Self { connection: Mutex::new(connection), file: file.clone() };
        store.bind(environment)?;
        Ok(store)
    }

    /// Records the environment on first use, compares it ever after.
    fn bind(&self, environment: &str) -> Result<(), Error> {
        let found: String = self.transact("read the environment", |t| {
            t.execute("INSERT OR IGNORE INTO meta (name, value) VALUES ('environment', ?1)", [environment])?;
            t.query_row("SELECT value FROM meta WHERE name = 'environment'", [], |row| row.get(0))
        })?;
        if found == environment {
            return Ok(());
        }
        Err(Error::Environment { file: self.file.clone(), found, wanted: environment.to_owned() })
    }

    /// The 32-byte secret of this name, made on first use.
    ///
    /// # Errors
    /// [`Error::Sql`]; a secret that was returned is on disk.
    pub fn secret(&self, name: &str) -> Result<secrecy::SecretSlice<u8>, Error> {
        let stored: Vec<u8> = self.transact("read or make a secret", |t| {
            let select = "SELECT value FROM secrets WHERE name = ?1";
            let known = t.query_row(select, [name], |row| row.get(0)).optional()?;
            if let Some(known) = known {
                return Ok(known);
            }
            let mut fresh = Zeroizing::new(vec![0; SECRET]);
            aws_lc_rs::rand::fill(&mut fresh)
                .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
            t.execute("INSERT INTO secrets (name, value) VALUES (?1, ?2)", (name, &*fresh))?;
            Ok(std::mem::take(&mut *fresh))
        })?;
        Ok(stored.into())
    }

    /// Runs one transaction that takes the write lock at its start, so that read-then-write cannot race.
    fn transact<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let run = || {
            let mut connection = self.connection();
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|source| Error::Sql { operation, file: self.file.clone(), source })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic rolled its transaction back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
        let text = format!("journal mode is {mode}, but WAL is needed: use a local file system");
        return Err(rusqlite::Error::SqliteFailure(code, Some(text)));
    }
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF;",
    )
}

/// Where the database is within `dir`.
pub fn database_path(dir: &Path) -> PathBuf {
    dir.join("state.db")
}
