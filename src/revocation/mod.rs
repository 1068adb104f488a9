//! Revocation: what was revoked, and whether a JWT that somebody presents is active.
//!
//! What was acknowledged is on disk, and no answer after it says otherwise. Grows with revocations, not with JWTs: each is
//! kept until the last JWT that it is about has expired. Never keeps an id or a name, only hashes of them.

mod list;
mod presented;
#[cfg(test)]
mod tests;

pub use list::{List, Mark, Target, Term};
pub use presented::{Inactive, LONGEST, Presented};

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::{digest, hmac};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::keyring::Ring;
use crate::policy::Policy;
use crate::profile;
use crate::state::{self, RevocationRow, Store};
use crate::subject::Kind;

/// Name of the state's secret that makes marks out of names.
const SECRET: &str = "revocation";

/// Why something is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nobody says.
    #[default]
    Unspecified,
    /// Somebody else may have it.
    Compromised,
    /// The session is over.
    SessionEnded,
    /// The account is closed or locked.
    AccountDisabled,
    /// The person takes consent back.
    ConsentWithdrawn,
    /// The person is erased.
    Erased,
    /// Another one takes its place.
    Superseded,
    /// Rights have changed.
    RightsChanged,
}

impl Reason {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Compromised => "compromised",
            Self::SessionEnded => "session-ended",
            Self::AccountDisabled => "account-disabled",
            Self::ConsentWithdrawn => "consent-withdrawn",
            Self::Erased => "erased",
            Self::Superseded => "superseded",
            Self::RightsChanged => "rights-changed",
        }
    }
}

/// What is asked of a JWT besides being ours.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// It must be for this audience.
    pub audience: Option<&'a str>,
}

/// What was revoked.
pub struct Revocations {
    list: RwLock<List>,
    store: Arc<Store>,
    secret: hmac::Key,
}

impl Revocations {
    /// Reads what `store` has.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(store: Arc<Store>) -> Result<Self, state::Error> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, store.secret(SECRET)?.expose_secret());
        let mut list = List::default();
        for row in store.revocations()? {
            let term = Term { from: row.effective, until: row.until };
            list.add(target_of(&row), term);
        }
        Ok(Self { list: RwLock::new(list), store, secret })
    }

    /// The mark of one JWT.
    pub fn jwt(jti: &str) -> Mark {
        first(digest::digest(&digest::SHA256, jti.as_bytes()).as_ref())
    }

    /// The mark of somebody, or of something of theirs, that is called `text` at `issuer`.
    pub fn person(&self, kind: Kind, issuer: &str, text: &str) -> Mark {
        let called = [kind.name(), "\0", issuer, "\0", text].concat();
        first(hmac::sign(&self.secret, called.as_bytes()).as_ref())
    }

    /// For how long a revocation of all JWTs that were issued until `from` matters, Unix seconds.
    pub fn term(from: i64) -> Term {
        Term { from, until: from.saturating_add_unsigned(profile::LONGEST.as_secs()) }
    }

    /// Revokes all these, or none. They are on disk and in effect when it is done; that they were so before is no error.
    ///
    /// # Errors
    /// Nothing was revoked, or it is not known whether.
    pub async fn revoke(&self, targets: Vec<(Target, Term)>, reason: Reason) -> Result<(), state::Error> {
        let rows: Vec<_> = targets.iter().map(|(target, term)| row(target, *term, reason)).collect();
        self.stored(move |store| store.revoke(&rows)).await?;
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        for (target, term) in targets {
            list.add(target, term);
        }
        Ok(())
    }

    /// Whether `token` is active `now`, Unix seconds, and fulfils what is asked.
    ///
    /// # Errors
    /// Why it is not.
    pub fn judge(
        &self,
        token: &str,
        (ring, policy): (&Ring, &Policy),
        asked: Asked<'_>,
        now: i64,
    ) -> Result<Presented, Inactive> {
        let jwt = Presented::read(token, ring, policy)?;
        jwt.is_in_time(now)?;
        if asked.audience.is_some_and(|wanted| !jwt.audience.iter().any(|one| one == wanted)) {
            return Err(Inactive::Audience);
        }
        if self.is_revoked(&jwt, now) { Err(Inactive::Revoked) } else { Ok(jwt) }
    }

    fn is_revoked(&self, jwt: &Presented, now: i64) -> bool {
        let consent = jwt.profile.consent.as_ref().and_then(|consent| consent.claim.as_deref());
        let said = [
            (Kind::Subject, jwt.text("sub")),
            (Kind::Session, jwt.text("sid")),
            (Kind::Consent, consent.and_then(|claim| jwt.text(claim))),
        ];
        let people: Vec<Mark> =
            said.into_iter().filter_map(|(kind, text)| Some(self.person(kind, &jwt.issuer, text?))).collect();
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.has(jwt, &Self::jwt(&jwt.jti), &people, now)
    }

    /// Spends a JWT that is to be used once, until `until`: true for the first who does, and for nobody after.
    ///
    /// # Errors
    /// It is not known whether it was spent.
    pub async fn spend(&self, jti: &str, until: i64) -> Result<bool, state::Error> {
        let mark = Self::jwt(jti);
        self.stored(move |store| store.spend(&mark, until)).await
    }

    /// Forgets what has expired, in memory and in the state.
    ///
    /// # Errors
    /// The state cannot be changed.
    pub async fn forget(&self, now: i64) -> Result<(), state::Error> {
        self.list.write().unwrap_or_else(PoisonError::into_inner).forget(now);
        self.stored(move |store| store.forget_revocations(now)).await
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.read().unwrap_or_else(PoisonError::into_inner).count()
    }

    async fn stored<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, state::Error> + Send + 'static,
    ) -> Result<T, state::Error> {
        let store = Arc::clone(&self.store);
        // A panic is logged where it happens.
        spawn_blocking(move || work(&store)).await.unwrap_or(Err(state::Error::Interrupted))
    }
}

fn first(bytes: &[u8]) -> Mark {
    bytes.first_chunk().copied().unwrap_or_default()
}

fn row(target: &Target, term: Term, reason: Reason) -> RevocationRow {
    let (kind, value) = match target {
        Target::Jwt(mark) => ("jwt", mark.to_vec()),
        Target::Person(mark) => ("person", mark.to_vec()),
        Target::Profile(name) => ("profile", name.as_bytes().to_vec()),
        Target::Everything => ("everything", Vec::new()),
    };
    let reason = reason.name().to_owned();
    RevocationRow { kind: kind.to_owned(), value, effective: term.from, until: term.until, reason }
}

fn target_of(row: &RevocationRow) -> Target {
    match &*row.kind {
        "jwt" => Target::Jwt(first(&row.value)),
        "person" => Target::Person(first(&row.value)),
        "profile" => Target::Profile(String::from_utf8_lossy(&row.value).into_owned()),
        // The table holds no other; of all there are, this one errs to the safe side.
        _ => Target::Everything,
    }
}
