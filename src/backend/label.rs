//! What the keys that we make are called in their backends: `jwsd/ENVIRONMENT/KEY/ID`.
//!
//! Pure. The part that tells one version from the other stands last and what finds all keys of an environment stands
//! first, so that a token which cuts labels off still shows whose key it is. Most tokens keep 64 bytes or more; the
//! shortest known limit is 40 (YubiHSM 2), which is kept when the two names have 21 bytes together. A label proves
//! nothing alone: anybody who makes keys there can write it.

use crate::jose::hex;

/// What all our labels begin with.
pub const PREFIX: &str = "jwsd/";

/// Bytes of a version's id that its label has.
const ID_BYTES: usize = 6;

/// The label of the version of `key` that is made under `id`. Environments and keys have names of 1 to 63 characters
/// (`[a-z0-9._-]`), so a label has at most 145 and parses in one way.
pub fn label(environment: &str, key: &str, id: &[u8]) -> String {
    format!("{}{key}/{}", label_prefix(environment), hex(id.get(..ID_BYTES).unwrap_or(id)))
}

/// What the labels of all keys of an environment begin with, and no other environment's.
pub fn label_prefix(environment: &str) -> String {
    format!("{PREFIX}{environment}/")
}

/// The environment that a label of ours names; `None` if it is not one of ours.
pub fn environment_of(label: &str) -> Option<&str> {
    let mut parts = label.strip_prefix(PREFIX)?.split('/');
    // A token may have cut the end off.
    parts.next().filter(|environment| !environment.is_empty() && parts.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_written_as_documented() {
        let id = [0x9f, 0x3a, 0x21, 0xc0, 0x7b, 0x5d, 0xff, 0xff];
        let made = label("production", "access", &id);
        assert_eq!(made, "jwsd/production/access/9f3a21c07b5d");
        assert!(made.len() <= 40);
        assert_eq!(label("e", "k", &[1]), "jwsd/e/k/01", "a short id is shown whole");
        assert_eq!(label("e", "k", &[]), "jwsd/e/k/");
    }

    #[test]
    fn others_labels_name_no_environment() {
        for label in [
            "",
            "jwsd",
            "jwsd/",
            "jwsd/production",
            "jwsd//access/00",
            "other/production/access/00",
            " jwsd/e/k/00",
        ] {
            assert_eq!(environment_of(label), None, "{label}");
        }
        assert_eq!(environment_of("jwsd/production/acc"), Some("production"), "cut off");
    }

    #[test]
    fn the_longest_names_fit() {
        let name = "n".repeat(63);
        assert_eq!(label(&name, &name, &[0xff; 16]).len(), 145);
    }

    proptest! {
        #[test]
        fn only_the_own_environment_has_its_prefix(
            environment in "[a-z0-9][a-z0-9._-]{0,62}",
            other in "[a-z0-9][a-z0-9._-]{0,62}",
            key in "[a-z0-9][a-z0-9._-]{0,62}",
            id in any::<[u8; 16]>(),
        ) {
            let made = label(&environment, &key, &id);
            prop_assert!(made.starts_with(&label_prefix(&environment)));
            prop_assert_eq!(environment_of(&made), Some(&*environment));
            prop_assert_eq!(made.starts_with(&label_prefix(&other)), environment == other);
            prop_assert_eq!(made.split('/').collect::<Vec<_>>(), ["jwsd", &environment, &key, &hex(&id[..6])]);
        }
    }
}
