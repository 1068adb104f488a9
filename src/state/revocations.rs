//! What is revoked, and JWTs that were used up. Rows go when the last JWT that they are about has expired.

use super::{Error, Store};
use rusqlite::Row;

/// A revocation. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationRow {
    /// `jwt`, `person`, `profile`, `everything`.
    pub kind: String,
    /// A hash, or a profile's name.
    pub value: Vec<u8>,
    /// From when on, and for JWTs that were issued until then.
    pub effective: i64,
    /// The last of them has expired then.
    pub until: i64,
    /// One of a list.
    pub reason: String,
}

impl Store {
    /// Adds revocations, all or none; those that are there already stay.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn revoke(&self, rows: &[RevocationRow]) -> Result<(), Error> {
        self.transact("revoke", |t| {
            let mut put = t.prepare_cached(
                "INSERT INTO revocations (kind, value, effective, until, reason) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (kind, value, effective) DO UPDATE SET until = max(until, ?4)",
            )?;
            for RevocationRow { kind, value, effective, until, reason } in rows {
                put.execute((kind, value, effective, until, reason))?;
            }
            Ok(())
        })
    }

    /// All revocations.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn revocations(&self) -> Result<Vec<RevocationRow>, Error> {
        self.transact("read the revocations", |t| {
            let mut rows = t.prepare("SELECT kind, value, effective, until, reason FROM revocations")?;
            rows.query_map([], row)?.collect()
        })
    }

    /// Notes that a JWT is used up, until `until`. False if it was before.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn spend(&self, mark: &[u8], until: i64) -> Result<bool, Error> {
        self.transact("spend a JWT", |t| {
            let spent = "INSERT OR IGNORE INTO spent (mark, until) VALUES (?1, ?2)";
            Ok(t.prepare_cached(spent)?.execute((mark, until))? == 1)
        })
    }

    /// Deletes what has expired by `now`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn forget_revocations(&self, now: i64) -> Result<(), Error> {
        self.transact("forget revocations that have expired", |t| {
            t.execute("DELETE FROM revocations WHERE until < ?1", [now])?;
            t.execute("DELETE FROM spent WHERE until < ?1", [now]).map(drop)
        })
    }
}

fn row(row: &Row) -> rusqlite::Result<RevocationRow> {
    Ok(RevocationRow {
        kind: row.get(0)?,
        value: row.get(1)?,
        effective: row.get(2)?,
        until: row.get(3)?,
        reason: row.get(4)?,
    })
}
