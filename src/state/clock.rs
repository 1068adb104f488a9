//! What the clock's judge knows, so that a restart does not make it forget. A time of the past is kept, no secret.

use super::{Error, Store};
use crate::clock::Head;
use rusqlite::OptionalExtension;
use rusqlite::types::Type;

impl Store {
    /// What was kept last; `None` before the first time.
    ///
    /// # Errors
    /// [`Error::Sql`], also when what was kept cannot be read.
    pub fn clock(&self) -> Result<Option<Head>, Error> {
        self.transact("read the clock's head", |t| {
            let select = "SELECT value FROM meta WHERE name = 'clock'";
            let kept: Option<String> = t.query_row(select, [], |row| row.get(0)).optional()?;
            let read = |text: String| serde_json::from_str(&text);
            kept.map(read)
                .transpose()
                .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(e)))
        })
    }

    /// Keeps it in place of what was kept before.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn keep_clock(&self, head: &Head) -> Result<(), Error> {
        let kept = self.transact("keep the clock's head", |t| {
            let text = serde_json::to_string(head)
                .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
            t.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('clock', ?1)", [text])
        });
        kept.map(drop)
    }
}
