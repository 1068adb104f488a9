//! What the clock's judge knows, so that a restart does not make it forget. A time of the past is kept, no secret.

use super::{Error, Store};
use crate::clock::Head;
use rusqlite::OptionalExtension;

impl Store {
    /// What was kept last; `None` before the first time. [`Head::lost`] if it cannot be read: it is logged why.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn clock(&self) -> Result<Option<Head>, Error> {
        let kept: Option<String> = self.transact("read the clock's head", |t| {
            let select = "SELECT value FROM meta WHERE name = 'clock'";
            t.query_row(select, [], |row| row.get(0)).optional()
        })?;
        Ok(kept.map(|text| {
            serde_json::from_str(&text).unwrap_or_else(|error| {
                tracing::error!(%error, file = %self.file.display(), "Clock's head in the state is damaged");
                Head::lost()
            })
        }))
    }

    /// Keeps what `head` gives when it is its turn, in place of what was kept before: of two heads the newer one stays.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn keep_clock(&self, head: impl FnOnce() -> Head) -> Result<(), Error> {
        let kept = self.transact("keep the clock's head", |t| {
            let text = serde_json::to_string(&head())
                .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
            t.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('clock', ?1)", [text])
        });
        kept.map(drop)
    }
}
