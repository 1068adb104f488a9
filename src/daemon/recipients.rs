//! Looks whether the key sets that JWTs are encrypted to changed, and makes a policy with the new keys.
//!
//! A key set that is missing or not usable changes nothing: the key before it stays in use, and that is recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::Changes;
use crate::audit::{Entry, Event, Outcome};
use crate::config::read_recipient;
use crate::jose::jwe;
use crate::policy::Policy;
use crate::profile::Recipient;
use crate::sys::secure_file::{Stamp, stamp};

/// By audience, the files as they were when they were last read, and the keys that were in force after that: whoever has
/// put another one in force meanwhile may have read an older file.
#[derive(Default)]
pub(super) struct Seen(BTreeMap<String, (Option<Stamp>, Arc<jwe::Recipient>)>);

/// Reads what changed since it was seen, everything at first. Gives the policy with the new keys, if there are any,
/// and what to record.
pub(super) fn changed(policy: &Policy, seen: &mut Seen) -> (Option<Policy>, Vec<Entry>) {
    let (mut recipients, mut entries) = (policy.recipients().clone(), Vec::new());
    let mut new = false;
    for (audience, recipient) in &mut recipients {
        // Before the file is read: what is written meanwhile is seen the next time.
        let stamp = stamp(&recipient.jwks);
        let looked = (stamp, Arc::clone(&recipient.key));
        if seen.0.get(audience) == Some(&looked) {
            continue;
        }
        seen.0.insert(audience.clone(), looked);
        let entry = |event, outcome| Entry { object: Some(audience.clone()), ..Entry::new(event, outcome) };
        match read_recipient(&recipient.jwks, recipient.key.enc(), recipient.alg) {
            Ok(key) if key == *recipient.key => {}
            Ok(key) => {
                tracing::info!(audience, kid = key.kid(), "Key of a recipient changed");
                let entry = entry(Event::RecipientReloaded, Outcome::Success);
                let (enc, enc_kid) = (Some(key.enc().name()), Some(key.kid().to_owned()));
                entries.push(Entry { enc, enc_kid, ..entry });
                recipient.key = Arc::new(key);
                seen.0.insert(audience.clone(), (stamp, Arc::clone(&recipient.key)));
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

/// What another policy has of keys that this one has not, and the other way round.
pub(super) fn changes(policy: &Policy, next: &Policy) -> Changes {
    let (old, new) = (policy.recipients(), next.recipients());
    let missing = |from: &BTreeMap<String, Recipient>, of: &BTreeMap<String, Recipient>| {
        from.keys().filter(|audience| !of.contains_key(*audience)).cloned().collect()
    };
    let changed = |(audience, recipient): (&String, &Recipient)| {
        let other = old.get(audience).is_some_and(|old| old.key != recipient.key);
        other.then(|| audience.clone())
    };
    Changes {
        added: missing(new, old),
        removed: missing(old, new),
        changed: new.iter().filter_map(changed).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::jwe::{ContentEncryption, tests::Owner};
    use crate::profile::Profile;
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

        // A reload that had read the file before puts the older key in force: it is mended, not taken for seen.
        let (again, told) = look(&policy, &mut seen);
        assert_eq!(told, [(Event::RecipientReloaded, Outcome::Success, false)]);
        assert_eq!(again.unwrap().digest(), new.digest());
        assert!(look(&new, &mut seen).1.is_empty());
        let names = |changes: Changes| [changes.added, changes.removed, changes.changed];
        let api = || vec![API.to_owned()];
        assert_eq!(names(changes(&policy, &new)), [vec![], vec![], api()]);
        assert_eq!(names(changes(&policy, &plain)), [vec![], api(), vec![]]);
        assert_eq!(names(changes(&plain, &new)), [api(), vec![], vec![]]);
        assert_eq!(changes(&new, &new), Changes::default());

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
