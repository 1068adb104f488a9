//! How far each sink of the audit log is, so that a restart goes on there.

use super::{Error, Store};
use rusqlite::OptionalExtension;

/// How far a sink is. Numbers of records beyond what SQLite holds are cut to that, which no log reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkRow {
    /// Number of the last record that it need not be sent again.
    pub seq: u64,
    /// When that was written, as it says itself; empty where that is not known.
    pub time: String,
    /// Records up to this number that are missing are recorded as lost.
    pub told: u64,
    /// Records that were lost.
    pub lost: u64,
}

impl Store {
    /// How far the sink of this name is; `None` if it is new.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn sink(&self, name: &str) -> Result<Option<SinkRow>, Error> {
        self.transact("read how far a sink is", |t| {
            let select = "SELECT seq, time, told, lost FROM sinks WHERE name = ?1";
            let number = |value: i64| u64::try_from(value).unwrap_or_default();
            t.query_row(select, [name], |row| {
                Ok(SinkRow {
                    seq: number(row.get(0)?),
                    time: row.get(1)?,
                    told: number(row.get(2)?),
                    lost: number(row.get(3)?),
                })
            })
            .optional()
        })
    }

    /// Keeps how far a sink is.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn keep_sink(&self, name: &str, row: &SinkRow) -> Result<(), Error> {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let kept = self.transact("keep how far a sink is", |t| {
            t.execute(
                "INSERT OR REPLACE INTO sinks (name, seq, time, told, lost) VALUES (?1, ?2, ?3, ?4, ?5)",
                (name, number(row.seq), &row.time, number(row.told), number(row.lost)),
            )
        });
        kept.map(drop)
    }
}
