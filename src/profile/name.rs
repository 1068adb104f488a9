//! Names of profiles and keys: safe in logs, file names and metrics labels. Never anything a request says.

use std::sync::Arc;

macro_rules! name {
    ($(#[$m:meta])* $t:ident) => {
        $(#[$m])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $t(Arc<str>);
        impl $t {
            /// `[a-z0-9]([a-z0-9._-]{0,62})`: safe in logs, file names and metrics labels.
            ///
            /// # Errors
            /// [`BadName`] for anything else.
            pub fn new(text: &str) -> Result<Self, BadName> {
                is_name(text).then(|| Self(text.into())).ok_or(BadName)
            }
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $t {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
name!(
    /// The name of a profile.
    ProfileName
);
name!(
    /// The name of a key; its versions each have a `kid`.
    KeyName
);
fn is_name(text: &str) -> bool {
    let lower = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 63
        && text.as_bytes().first().is_some_and(lower)
        && text.bytes().all(|byte| lower(&byte) || b"._-".contains(&byte))
}
/// A name that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("names are 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit")]
pub struct BadName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "0", "access-token", "a.b_c-d", &"x".repeat(63)] {
            assert_eq!(ProfileName::new(good).unwrap().as_str(), good);
            assert_eq!(KeyName::new(good).unwrap().to_string(), good);
        }
        for bad in ["", "-a", ".a", "_a", "A", "aB", "a b", "a/b", "a\n", "é", "../a", &"x".repeat(64)] {
            assert_eq!(ProfileName::new(bad), Err(BadName), "{bad:?}");
        }
    }
}
