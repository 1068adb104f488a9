//! For how long verifiers may keep what they were given, over changes of configuration.

use super::{Error, Store};
use rusqlite::{OptionalExtension, Transaction};
use std::time::Duration;

const NAME: &str = "jwks-max-age";
/// What configuration allows at most: a clock that was wrong once holds nothing up for longer, seconds.
const MOST: i64 = 24 * 3600;

/// Seconds.
struct Cache {
    /// What verifiers are told.
    age: i64,
    /// The longest that any was told before and may still go by; 0 if none does.
    longest: i64,
    /// Until when that counts, Unix seconds.
    until: i64,
}

impl Store {
    /// Notes that verifiers are told to keep the key set for `max_age` from `now` (Unix seconds) on.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn tell_cache(&self, max_age: Duration, now: i64) -> Result<(), Error> {
        self.transact("note how long key sets are kept", |t| {
            let Cache { age, longest, until } = read(t, max_age, now)?;
            let replace = "INSERT INTO meta (name, value) VALUES (?1, ?2)
                           ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            t.execute(replace, (NAME, format!("{age} {longest} {until}")))?;
            Ok(())
        })
    }

    /// The longest time for which any verifier may keep the key set, if they are told `max_age` `now`, Unix seconds.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub fn cache(&self, max_age: Duration, now: i64) -> Result<Duration, Error> {
        let known = self.transact("read how long key sets are kept", |t| read(t, max_age, now))?;
        Ok(max_age.max(Duration::from_secs(known.longest.unsigned_abs())))
    }
}

/// What is noted, carried on to a new time that verifiers are told.
fn read(t: &Transaction, max_age: Duration, now: i64) -> rusqlite::Result<Cache> {
    let age = i64::try_from(max_age.as_secs()).unwrap_or(MOST);
    let select = "SELECT value FROM meta WHERE name = ?1";
    let text: Option<String> = t.query_row(select, [NAME], |row| row.get(0)).optional()?;
    let mut words = text.iter().flat_map(|text| text.split(' ')).map_while(|word| word.parse::<i64>().ok());
    let mut next = || words.next().unwrap_or(0);
    let (last, mut longest, mut until) = (next(), next(), next());
    if until <= now {
        longest = 0;
    }
    if last > age {
        (longest, until) = (longest.max(last), until.max(now.saturating_add(last)));
    }
    Ok(Cache { age, longest, until: until.min(now.saturating_add(MOST)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Settings;

    #[test]
    fn a_longer_time_counts_until_it_has_passed() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings { dir: directory.path().join("state") };
        let told = |age, now| {
            let store = Store::open(&settings, "test").unwrap();
            let age = Duration::from_secs(age);
            // Looking alone changes nothing.
            let found = store.cache(age, now).unwrap();
            store.tell_cache(age, now).unwrap();
            assert_eq!(store.cache(age, now).unwrap(), found);
            found.as_secs()
        };
        assert_eq!(told(300, 1_000), 300);
        // Longer at once; shorter only when the last who was told the longer has come back.
        assert_eq!(told(3600, 2_000), 3600);
        assert_eq!(told(60, 10_000), 3600);
        assert_eq!(told(600, 11_000), 3600);
        assert_eq!(told(60, 13_599), 3600);
        // Until 13 600 from the longest; but 600 s were told until 13 599.
        assert_eq!(told(60, 13_600), 3600);
        assert_eq!(told(60, 14_199), 60);
        // A clock that was far ahead once is believed for a day.
        assert_eq!(told(600, 4_000_000_000), 600);
        assert_eq!(told(60, 4_000_000_000), 600);
        assert_eq!(told(60, 20_000), 600);
        assert_eq!(told(60, 20_000 + MOST), 60);
    }
}
