//! Quarantines, so that a restart does not lift them.

use super::{Error, Store};

/// One backend, or one key version in it, that is not used before an operator releases it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineRow {
    /// `[backend.NAME]`.
    pub backend: String,
    /// The version; `None` is the backend as a whole.
    pub kid: Option<String>,
    /// What it did.
    pub reason: String,
    /// Unix seconds.
    pub since: i64,
}

impl Store {
    /// All that are in quarantine.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn quarantines(&self) -> Result<Vec<QuarantineRow>, Error> {
        self.transact("read the quarantines", |t| {
            let mut statement =
                t.prepare("SELECT backend, kid, reason, since FROM quarantines ORDER BY backend, kid")?;
            let rows = statement.query_map([], |row| {
                let kid: String = row.get(1)?;
                Ok(QuarantineRow {
                    backend: row.get(0)?,
                    kid: (!kid.is_empty()).then_some(kid),
                    reason: row.get(2)?,
                    since: row.get(3)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Notes one; what is noted already stays as it is.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn quarantine(&self, row: &QuarantineRow) -> Result<(), Error> {
        let kid = row.kid.as_deref().unwrap_or_default();
        let noted = self.transact("note a quarantine", |t| {
            t.execute(
                "INSERT OR IGNORE INTO quarantines (backend, kid, reason, since) VALUES (?1, ?2, ?3, ?4)",
                (&row.backend, kid, &row.reason, row.since),
            )
        });
        noted.map(drop)
    }

    /// Lifts one.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn lift_quarantine(&self, backend: &str, kid: Option<&str>) -> Result<(), Error> {
        let lifted = self.transact("lift a quarantine", |t| {
            let delete = "DELETE FROM quarantines WHERE backend = ?1 AND kid = ?2";
            t.execute(delete, [backend, kid.unwrap_or_default()])
        });
        lifted.map(drop)
    }
}
