//! Key versions and the steps that make them. [`KeyState`] is what a fleet agrees on: every change names the revision
//! that it was decided on, and is not made when another host was quicker.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rusqlite::{OptionalExtension, Row, Transaction};
use tokio::task::spawn_blocking;

use super::{Error, Store};

/// One version of a key, as journaled. The public key is the pin. Times are Unix seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyVersionRow {
    /// `[key.NAME]`.
    pub key: String,
    /// RFC 7638 thumbprint; unique.
    pub kid: String,
    /// `[backend.NAME]`.
    pub backend: String,
    /// The backend's own id, `CKA_ID` or ARN; unique within the backend.
    pub backend_id: Vec<u8>,
    /// JOSE name.
    pub algorithm: String,
    /// Public JWK, JSON.
    pub public_jwk: String,
    /// `prepared`, `active`, `retired`, `removed`, `revoked`.
    pub state: String,
    /// When it was made or adopted.
    pub created: i64,
    /// When it was first published.
    pub published: Option<i64>,
    /// When it began to sign.
    pub activated: Option<i64>,
    /// When it stopped signing.
    pub retired: Option<i64>,
    /// When it was removed or revoked; until then, when an operator stopped it.
    pub ended: Option<i64>,
    /// When its private half was destroyed, or will be: backends may keep it for a while.
    pub destroyed: Option<i64>,
    /// An operator wants it to sign as soon as it may.
    pub wanted: bool,
    /// Why it was revoked, in the operator's words.
    pub reason: Option<String>,
    /// No JWT that it signs expires later. Never moved back.
    pub exp_bound: Option<i64>,
    /// Greatest `exp` known. Never moved back.
    pub last_exp: Option<i64>,
    /// Signatures known.
    pub signatures: i64,
}

/// A key that is being made: written before the backend is asked, so that it is found again after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntentRow {
    /// `[key.NAME]`; one intent each.
    pub key: String,
    /// `[backend.NAME]`.
    pub backend: String,
    /// What the key is to have as its id, where ids can be chosen.
    pub id: Vec<u8>,
    /// What the key is to have as its label.
    pub label: String,
    /// When it was written, Unix seconds.
    pub started: i64,
}

/// Everything that is known of keys, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// Counts the changes.
    pub revision: i64,
    /// All versions of all keys, by key, oldest first.
    pub versions: Vec<KeyVersionRow>,
    /// Keys being made.
    pub intents: Vec<IntentRow>,
}

/// A change, made as a whole or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// Versions to add or to replace. Counts and bounds of signatures are not touched in those that are there.
    pub versions: Vec<KeyVersionRow>,
    /// An intent to add.
    pub intend: Option<IntentRow>,
    /// Id of the intent that is done with.
    pub settle: Option<Vec<u8>>,
}

/// What a version has signed since the last tally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// The version.
    pub kid: String,
    /// Signatures to add.
    pub signatures: i64,
    /// Greatest `exp` signed, if any was.
    pub last_exp: Option<i64>,
    /// No JWT expires later, from now on.
    pub exp_bound: i64,
}

/// Key versions as all hosts see them. A change that was answered is on disk.
pub trait KeyState: Send + Sync {
    /// Everything, at one moment.
    ///
    /// # Errors
    /// The state cannot be read.
    fn keys(&self) -> BoxFuture<'_, Result<Keys, Error>>;

    /// Makes a change that was decided on `revision`. Gives the new revision; `None` if there is another one by now:
    /// then nothing was changed, and whoever asks decides anew.
    ///
    /// # Errors
    /// The state cannot be written, or two versions of a key would be active or share a backend's id.
    fn change(&self, revision: i64, change: KeyChange) -> BoxFuture<'_, Result<Option<i64>, Error>>;

    /// Adds up what versions signed and moves their bounds ahead, of active ones only. Gives the `kid`s that are not
    /// active any more: their bounds were not moved. Counts as no change.
    ///
    /// # Errors
    /// The state cannot be written.
    fn tally(&self, tallies: Vec<Tally>) -> BoxFuture<'_, Result<Vec<String>, Error>>;

    /// The right to rotate, which one `host` has at a time, until `now` and `lease`. Asked again, it is prolonged.
    ///
    /// # Errors
    /// The state cannot be written.
    fn lease<'a>(&'a self, host: &'a str, now: i64, lease: Duration) -> BoxFuture<'a, Result<bool, Error>>;
}

/// Hosts whose clocks differ by less respect each other's leases, seconds.
const SKEW: i64 = 60;

/// SQLite blocks, so each call runs on a thread of its own.
impl KeyState for Arc<Store> {
    fn keys(&self) -> BoxFuture<'_, Result<Keys, Error>> {
        self.apart(|store| store.read_keys())
    }

    fn change(&self, at: i64, change: KeyChange) -> BoxFuture<'_, Result<Option<i64>, Error>> {
        self.apart(move |store| {
            let made = store.transact("change the keys", |t| {
                if revision(t)? != at {
                    return Ok(None);
                }
                apply(t, &change)?;
                t.execute("UPDATE key_revision SET revision = ?1", [at + 1])?;
                Ok(Some(at + 1))
            });
            made.map_err(|error| {
                let kids: Vec<&str> = change.versions.iter().map(|row| row.kid.as_str()).collect();
                error.or_conflict(&kids.join(", "))
            })
        })
    }

    fn tally(&self, tallies: Vec<Tally>) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        self.apart(move |store| {
            store.transact("count signatures", |t| {
                let mut stopped = Vec::new();
                for tally in &tallies {
                    if !add_up(t, tally)? {
                        stopped.push(tally.kid.clone());
                    }
                }
                Ok(stopped)
            })
        })
    }

    fn lease<'a>(&'a self, host: &'a str, now: i64, lease: Duration) -> BoxFuture<'a, Result<bool, Error>> {
        let (host, until) = (host.to_owned(), now.saturating_add_unsigned(lease.as_secs()));
        self.apart(move |store| {
            store.transact("ask for the right to rotate", |t| {
                // One that reaches far beyond a lease was written by a clock that is wrong.
                let taken = t.execute(
                    "INSERT INTO leases (name, host, until) VALUES ('rotation', ?1, ?2)
                     ON CONFLICT (name) DO UPDATE SET host = ?1, until = ?2
                     WHERE host = ?1 OR until <= ?3 OR until > ?4",
                    (&host, until, now, until.saturating_add(SKEW)),
                )?;
                Ok(taken == 1)
            })
        })
    }
}

impl Store {
    fn apart<'a, T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, Error>> {
        let store = Arc::clone(self);
        Box::pin(async move {
            let done = spawn_blocking(move || work(&store)).await;
            // A panic in there is logged where it happens, and its transaction was rolled back.
            done.unwrap_or(Err(Error::Interrupted))
        })
    }

    /// Everything that is known of keys. Blocks.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn read_keys(&self) -> Result<Keys, Error> {
        self.transact("read the keys", |t| {
            let mut versions = t.prepare(
                "SELECT key, kid, backend, backend_id, algorithm, public_jwk, state, created, published, activated,
                        retired, ended, destroyed, wanted, reason, exp_bound, last_exp, signatures
                 FROM key_versions ORDER BY key, created, rowid",
            )?;
            let versions = versions.query_map([], version)?.collect::<rusqlite::Result<_>>()?;
            let mut intents =
                t.prepare("SELECT key, backend, id, label, started FROM key_intents ORDER BY key")?;
            let intents = intents
                .query_map([], |row| {
                    Ok(IntentRow {
                        key: row.get(0)?,
                        backend: row.get(1)?,
                        id: row.get(2)?,
                        label: row.get(3)?,
                        started: row.get(4)?,
                    })
                })?
                .collect::<rusqlite::Result<_>>()?;
            Ok(Keys { revision: revision(t)?, versions, intents })
        })
    }
}

fn revision(t: &Transaction) -> rusqlite::Result<i64> {
    t.query_row("SELECT revision FROM key_revision", [], |row| row.get(0))
}

fn version(row: &Row) -> rusqlite::Result<KeyVersionRow> {
    Ok(KeyVersionRow {
        key: row.get(0)?,
        kid: row.get(1)?,
        backend: row.get(2)?,
        backend_id: row.get(3)?,
        algorithm: row.get(4)?,
        public_jwk: row.get(5)?,
        state: row.get(6)?,
        created: row.get(7)?,
        published: row.get(8)?,
        activated: row.get(9)?,
        retired: row.get(10)?,
        ended: row.get(11)?,
        destroyed: row.get(12)?,
        wanted: row.get(13)?,
        reason: row.get(14)?,
        exp_bound: row.get(15)?,
        last_exp: row.get(16)?,
        signatures: row.get(17)?,
    })
}

fn apply(t: &Transaction, change: &KeyChange) -> rusqlite::Result<()> {
    // Those that stop being active come first: two must not be so even for a moment.
    let (active, others): (Vec<_>, Vec<_>) = change.versions.iter().partition(|row| row.state == "active");
    for row in others.into_iter().chain(active) {
        t.execute(
            "INSERT INTO key_versions (key, kid, backend, backend_id, algorithm, public_jwk, state, created,
                                       published, activated, retired, ended, destroyed, wanted, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT (kid) DO UPDATE SET
                state = ?7, published = ?9, activated = ?10, retired = ?11, ended = ?12, destroyed = ?13,
                wanted = ?14, reason = ?15",
            (
                &row.key,
                &row.kid,
                &row.backend,
                &row.backend_id,
                &row.algorithm,
                &row.public_jwk,
                &row.state,
                row.created,
                row.published,
                row.activated,
                row.retired,
                row.ended,
                row.destroyed,
                row.wanted,
                &row.reason,
            ),
        )?;
    }
    if let Some(id) = &change.settle {
        t.execute("DELETE FROM key_intents WHERE id = ?1", [id])?;
    }
    if let Some(intent) = &change.intend {
        t.execute(
            "INSERT INTO key_intents (key, backend, id, label, started) VALUES (?1, ?2, ?3, ?4, ?5)",
            (&intent.key, &intent.backend, &intent.id, &intent.label, intent.started),
        )?;
    }
    Ok(())
}

/// Counts what was signed, whatever the version is now; its bound is moved while it is active only.
fn add_up(t: &Transaction, tally: &Tally) -> rusqlite::Result<bool> {
    t.execute(
        "UPDATE key_versions SET signatures = signatures + ?2, last_exp = coalesce(max(last_exp, ?3), last_exp, ?3)
         WHERE kid = ?1",
        (&tally.kid, tally.signatures, tally.last_exp),
    )?;
    let active = t
        .query_row("SELECT 1 FROM key_versions WHERE kid = ?1 AND state = 'active'", [&tally.kid], |_| Ok(()))
        .optional()?
        .is_some();
    if active {
        t.execute(
            "UPDATE key_versions SET exp_bound = coalesce(max(exp_bound, ?2), ?2) WHERE kid = ?1",
            (&tally.kid, tally.exp_bound),
        )?;
    }
    Ok(active)
}

#[cfg(test)]
mod tests;
