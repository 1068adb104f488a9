//! Looks whether the key sets that JWTs are encrypted to changed, and puts a policy with the new keys in force.
//!
//! A key set that is missing or not usable changes nothing: the key before it stays in use, and that is recorded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::audit::{Entry, Event, Log, Outcome};
use crate::config::read_recipient;
use crate::policy::Policy;
use crate::sys::secure_file::{Stamp, stamp};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The files as they were when they were last read, by audience.
#[derive(Default)]
pub(super) struct Seen(BTreeMap<String, Option<Stamp>>);

/// Reads what changed since it was seen, everything at first. Gives the policy with the new keys, if there are any,
/// and what to record.
pub(super) fn changed(policy: &Policy, seen: &mut Seen) -> (Option<Policy>, Vec<Entry>) {
    let (mut recipients, mut entries) = (policy.recipients().clone(), Vec::new());
    let mut new = false;
    for (audience, recipient) in &mut recipients {
        // Before the file is read: what is written meanwhile is seen the next time.
        let stamp = stamp(&recipient.jwks);
        if seen.0.insert(audience.clone(), stamp) == Some(stamp) {
            continue;
        }
        let entry = |event, outcome| Entry { object: Some(audience.clone()), ..Entry::new(event, outcome) };
        match read_recipient(&recipient.jwks, recipient.key.enc(), recipient.alg) {
            Ok(key) if key == *recipient.key => {}
            Ok(key) => {
                tracing::info!(audience, kid = key.kid(), "Key of a recipient changed");
                let entry = entry(Event::RecipientReloaded, Outcome::Success);
                let (enc, enc_kid) = (Some(key.enc().name()), Some(key.kid().to_owned()));
                entries.push(Entry { enc, enc_kid, ..entry });
                recipient.key = Arc::new(key);
                new = true;
            }
            Err(error) => {
                tracing::warn!(
                    audience,
                    error,
                    "Key set of a recipient not taken over, the key before it stays in use"
                );
                let entry = entry(Event::RecipientRefused, Outcome::Failed);
                entries.push(Entry { reason: Some(error), ..entry });
            }
        }
    }
    let policy = new.then(|| policy.with_recipients(recipients));
    for entry in &mut entries {
        entry.policy = policy.as_ref().map(|policy| policy.digest().to_owned());
    }
    (policy, entries)
}

/// Runs until `shutdown`. `swap` puts the second policy in force unless another than the first is by then, and says
/// whether it did.
pub(super) async fn watch(
    current: impl Fn() -> Arc<Policy>,
    swap: impl Fn(&Arc<Policy>, Policy) -> bool,
    log: Log,
    shutdown: CancellationToken,
) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Seen::default();
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let old = current();
        let policy = Arc::clone(&old);
        let look = move || {
            let found = changed(&policy, &mut seen);
            (found, seen)
        };
        // It only fails by a panic, which is logged where it happens.
        let Ok(((new, entries), after)) = spawn_blocking(look).await else { return };
        seen = after;
        if entries.is_empty() {
            continue;
        }
        // Recorded before it counts, and looked at again when it could not be.
        let recorded = match log.append(entries) {
            Ok(mut ticket) => ticket.durable().await,
            Err(error) => Err(error),
        };
        if recorded.is_err() || new.is_some_and(|new| !swap(&old, new)) {
            seen = Seen::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::jwe::{ContentEncryption, tests::Owner};
    use crate::profile::{Profile, Recipient};
    use aws_lc_rs::agreement::ECDH_P256;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    const API: &str = "https://api.example.com";

    fn write(path: &Path, text: &str) {
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(&new, path).unwrap();
    }
    /// Event, outcome, whether it says why, and whether there is a new policy.
    fn look(policy: &Policy, seen: &mut Seen) -> (Option<Policy>, Vec<(Event, Outcome, bool)>) {
        let (new, entries) = changed(policy, seen);
        for entry in &entries {
            assert_eq!(entry.object.as_deref(), Some(API));
            assert_eq!(entry.policy.as_deref(), new.as_ref().map(Policy::digest));
        }
        (new, entries.iter().map(|entry| (entry.event, entry.outcome, entry.reason.is_some())).collect())
    }

    #[test]
    fn a_changed_key_set_makes_a_new_policy_and_a_broken_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let jwks = directory.path().join("api.json");
        let (first, second) = (Owner::agreement(&ECDH_P256), Owner::agreement(&ECDH_P256));
        write(&jwks, &first.set().to_string());
        let key = Arc::new(read_recipient(&jwks, ContentEncryption::A128GCM, None).unwrap());
        let recipients = [(API.to_owned(), Recipient { jwks: jwks.clone(), alg: None, key })].into();
        let plain = Policy::new(vec![Profile::sample("one", "access", "at+jwt")], "0123456789abcdef".into());
        let policy = plain.with_recipients(recipients);
        assert_ne!(policy.digest(), plain.digest());
        assert_eq!(policy.with_recipients(BTreeMap::new()).digest(), plain.digest());

        let mut seen = Seen::default();
        assert!(matches!(look(&policy, &mut seen), (None, entries) if entries.is_empty()), "the same key");
        for broken in ["", "{\"keys\": []}", "{\"keys\": [{\"kty\": \"oct\", \"k\": \"AA\"}]}"] {
            write(&jwks, broken);
            let (new, told) = look(&policy, &mut seen);
            assert!(new.is_none());
            assert_eq!(told, [(Event::RecipientRefused, Outcome::Failed, true)]);
            assert!(look(&policy, &mut seen).1.is_empty(), "told once");
        }
        fs::remove_file(&jwks).unwrap();
        assert_eq!(look(&policy, &mut seen).1, [(Event::RecipientRefused, Outcome::Failed, true)]);
        assert!(look(&policy, &mut seen).1.is_empty(), "told once");

        write(&jwks, &second.set().to_string());
        let (new, told) = look(&policy, &mut seen);
        assert_eq!(told, [(Event::RecipientReloaded, Outcome::Success, false)]);
        let new = new.unwrap();
        assert_ne!(new.digest(), policy.digest());
        let jwe = new.recipients()[API].key.encrypt("x").unwrap();
        assert_eq!(first.open(&jwe), None);
        let (header, content) = second.open(&jwe).unwrap();
        assert_eq!((content.as_str(), header["enc"].as_str()), ("x", Some("A128GCM")));
        assert!(look(&new, &mut seen).1.is_empty());

        fs::set_permissions(&jwks, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(
            look(&new, &mut seen).1,
            [(Event::RecipientRefused, Outcome::Failed, true)],
            "open to others"
        );
        write(&jwks, &first.set().to_string());
        assert_eq!(
            look(&new, &mut seen).0.unwrap().digest(),
            policy.digest(),
            "the same keys, the same digest"
        );
    }
}
