//! The schema, as the list of steps that lead to it. A step is never edited once released; a change is a new step.

use super::Error;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// Step `n` leads from schema `n` to `n + 1`; `PRAGMA user_version` says how many are done.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE meta (
        name  TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
    CREATE TABLE key_versions (
        kid        TEXT PRIMARY KEY,
        key        TEXT NOT NULL,
        backend    TEXT NOT NULL,
        backend_id BLOB NOT NULL,
        algorithm  TEXT NOT NULL,
        public_jwk TEXT NOT NULL,
        state      TEXT NOT NULL CHECK (state IN ('prepared', 'active', 'retired', 'removed', 'revoked')),
        created    INTEGER NOT NULL,
        UNIQUE (backend, backend_id)
    ) STRICT;
    CREATE UNIQUE INDEX one_active_version ON key_versions (key) WHERE state = 'active';
    CREATE TABLE secrets (
        name  TEXT PRIMARY KEY,
        value BLOB NOT NULL CHECK (length(value) = 32)
    ) STRICT;
",
    "
    CREATE TABLE quarantines (
        backend TEXT NOT NULL,
        kid     TEXT NOT NULL, -- empty: the backend as a whole
        reason  TEXT NOT NULL,
        since   INTEGER NOT NULL,
        PRIMARY KEY (backend, kid)
    ) STRICT;
",
    "
    ALTER TABLE key_versions ADD COLUMN published  INTEGER;
    ALTER TABLE key_versions ADD COLUMN activated  INTEGER;
    ALTER TABLE key_versions ADD COLUMN retired    INTEGER;
    ALTER TABLE key_versions ADD COLUMN ended      INTEGER;
    ALTER TABLE key_versions ADD COLUMN destroyed  INTEGER;
    ALTER TABLE key_versions ADD COLUMN wanted     INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE key_versions ADD COLUMN reason     TEXT;
    ALTER TABLE key_versions ADD COLUMN exp_bound  INTEGER;
    ALTER TABLE key_versions ADD COLUMN last_exp   INTEGER;
    ALTER TABLE key_versions ADD COLUMN signatures INTEGER NOT NULL DEFAULT 0;
    -- Until now a version was active from the moment it was made, and no JWT lived longer than a day.
    UPDATE key_versions SET published = created, activated = created, exp_bound = unixepoch() + 86400
        WHERE state = 'active';
    CREATE UNIQUE INDEX one_prepared_version ON key_versions (key) WHERE state = 'prepared';
    CREATE TABLE key_intents (
        key     TEXT PRIMARY KEY,
        backend TEXT NOT NULL,
        id      BLOB NOT NULL,
        label   TEXT NOT NULL,
        started INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE key_revision (revision INTEGER NOT NULL) STRICT;
    INSERT INTO key_revision VALUES (0);
    CREATE TABLE leases (
        name  TEXT PRIMARY KEY,
        host  TEXT NOT NULL,
        until INTEGER NOT NULL
    ) STRICT;
",
    "
    CREATE TABLE epochs (
        number  INTEGER PRIMARY KEY,
        backend TEXT, -- NULL: a file of this state
        id      BLOB NOT NULL,
        public  TEXT,
        stage   TEXT NOT NULL CHECK (stage IN ('making', 'current', 'ending'))
    ) STRICT;
    CREATE UNIQUE INDEX one_current_epoch ON epochs (stage) WHERE stage = 'current';
    CREATE TABLE subject_buckets (
        bucket INTEGER PRIMARY KEY,
        sealed BLOB NOT NULL -- under the current epoch's key
    ) STRICT;
    CREATE TABLE subjects (
        row    BLOB PRIMARY KEY,
        bucket INTEGER NOT NULL REFERENCES subject_buckets,
        sealed BLOB NOT NULL, -- under the bucket's key
        seen   INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX subjects_of_bucket ON subjects (bucket);
    CREATE TABLE erasures (
        id     TEXT PRIMARY KEY,
        record TEXT NOT NULL,
        count  INTEGER NOT NULL
    ) STRICT;
    -- What it made was never known to anybody but records of that version.
    DELETE FROM secrets WHERE name = 'subject-tag';
",
    "
    CREATE TABLE revocations (
        kind      TEXT NOT NULL CHECK (kind IN ('jwt', 'person', 'profile', 'everything')),
        value     BLOB NOT NULL,
        issued    INTEGER NOT NULL, -- JWTs that were issued then or before are meant
        effective INTEGER NOT NULL, -- from then on; 0: at once
        until     INTEGER NOT NULL,
        reason    TEXT NOT NULL,
        PRIMARY KEY (kind, value, issued, effective)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX revocations_until ON revocations (until);
    CREATE TABLE spent (
        mark  BLOB PRIMARY KEY,
        until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX spent_until ON spent (until);
",
    "
    CREATE TABLE sinks (
        name TEXT PRIMARY KEY,
        seq  INTEGER NOT NULL,
        time TEXT NOT NULL, -- of that record; empty where it is not known
        told INTEGER NOT NULL,
        lost INTEGER NOT NULL
    ) STRICT;
",
];

/// The schema that all steps lead to.
const KNOWN: u32 = MIGRATIONS.len() as u32;

/// Takes all steps that are missing, in one transaction.
pub(super) fn migrate(connection: &mut Connection, file: &Path) -> Result<(), Error> {
    let mut run = || {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let Some(missing) = MIGRATIONS.get(done as usize..) else {
            return Ok(Some(done));
        };
        for step in missing {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", KNOWN)?;
        transaction.commit()?;
        Ok(None)
    };
    match run() {
        Ok(None) => Ok(()),
        Ok(Some(found)) => Err(Error::Newer { file: file.to_owned(), found, known: KNOWN }),
        Err(source) => Err(Error::Sql { operation: "migrate the database", file: file.to_owned(), source }),
    }
}
