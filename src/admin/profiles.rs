//! What follows from the profiles elsewhere: how long the JWTs of a key may live, and which issuers verifiers find.
//!
//! Room is made for the next profiles before the first request is judged by them, and taken from those before when none
//! is any more.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use super::{Admin, AdminError};
use crate::keyring::{Publication, Settings};

/// What follows from the profiles of one configuration.
#[derive(Debug, Clone)]
pub struct Followed {
    /// The longest life of a JWT, by key.
    longest: BTreeMap<String, Duration>,
    publication: Publication,
}

impl Followed {
    /// What follows from the profiles of these keys and issuers.
    pub fn new(keys: &BTreeMap<String, Settings>, publication: &Publication) -> Self {
        let longest = keys.iter().map(|(name, settings)| (name.clone(), settings.longest));
        Self { longest: longest.collect(), publication: publication.clone() }
    }
}

impl Admin {
    /// The longest life of a JWT of `key`.
    pub(super) fn longest(&self, key: &str) -> Duration {
        let longest = self.longest.read().unwrap_or_else(PoisonError::into_inner);
        longest.get(key).copied().unwrap_or_default()
    }

    /// Makes room for what `next` allows besides what is allowed now: the state knows how late JWTs may expire, and
    /// every new issuer is published. [`Self::settle`] follows, whatever becomes of it.
    ///
    /// # Errors
    /// The state could not be told, or the files for verifiers could not be written.
    pub async fn make_room(&self, next: &Followed) -> Result<(), AdminError> {
        let refreshing = self.refreshing.lock().await;
        if self.allow_longer(&next.longest) {
            self.tally_of(&self.keyring.ring(), true).await?;
        }
        if self.publisher.add(&next.publication) {
            self.publisher.write(self.keyring.ring().key_set()).await;
            if let Some(reason) = self.publisher.fault() {
                return Err(AdminError::IssuerUnpublished { reason });
            }
        }
        drop(refreshing);
        Ok(())
    }

    /// From now on this is all that is needed.
    pub fn settle(&self, followed: Followed) {
        *self.longest.write().unwrap_or_else(PoisonError::into_inner) = followed.longest;
        self.publisher.replace(followed.publication);
    }

    /// Whether any may live longer than before.
    fn allow_longer(&self, next: &BTreeMap<String, Duration>) -> bool {
        let mut longest = self.longest.write().unwrap_or_else(PoisonError::into_inner);
        let mut any = false;
        for (key, life) in next {
            let known = longest.entry(key.clone()).or_default();
            any |= life > known;
            *known = (*known).max(*life);
        }
        any
    }
}
