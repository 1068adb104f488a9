//! What is revoked, and JWTs that were used up. Rows go when the last JWT that they are about has expired.

use super::{Error, Store};
use rusqlite::Row;

/// A revocation. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationRow {
    /// `jwt`, `person`, `profile`, `everything`.
    pub kind: String,
    /// A hash; of everything, nothing.
    pub value: Vec<u8>,
    /// JWTs that were issued then or before are meant.
    pub issued: i64,
    /// From when on; 0 for at once, whatever the clock shows later.
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
                "INSERT INTO revocations (kind, value, issued, effective, until, reason)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (kind, value, issued, effective) DO UPDATE SET until = max(until, ?5)",
            )?;
            for RevocationRow { kind, value, issued, effective, until, reason } in rows {
                put.execute((kind, value, issued, effective, until, reason))?;
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
            let mut rows =
                t.prepare("SELECT kind, value, issued, effective, until, reason FROM revocations")?;
            rows.query_map([], row)?.collect()
        })
    }

    /// Notes that JWTs are used up, each until its time: all, or none on an error. False for each that was before.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn spend(&self, jwts: &[([u8; 16], i64)]) -> Result<Vec<bool>, Error> {
        self.transact("spend JWTs", |t| {
            let mut put = t.prepare_cached("INSERT OR IGNORE INTO spent (mark, until) VALUES (?1, ?2)")?;
            jwts.iter().map(|(mark, until)| Ok(put.execute((mark, until))? == 1)).collect()
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
        issued: row.get(2)?,
        effective: row.get(3)?,
        until: row.get(4)?,
        reason: row.get(5)?,
    })
}
