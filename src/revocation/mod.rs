//! Revocation: what was revoked, and whether a JWT that somebody presents is active.
//!
//! What was acknowledged is on disk, and no answer after it says otherwise. Grows with revocations, not with JWTs: each is
//! kept until the last JWT that it is about has expired. Never keeps an id or a name, only hashes of them.

mod list;
mod presented;
#[cfg(test)]
mod tests;

pub use list::{List, Mark, Target, Term};
pub use presented::{BODY, Inactive, Presented};

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::{digest, hmac};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::keyring::Ring;
use crate::policy::Policy;
use crate::profile::{self, Profile};
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
    /// The latest time that anything was judged by: what was revoked then is so if the clock is set back.
    latest: AtomicI64,
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
            let term = Term { issued: row.issued, from: row.effective, until: row.until };
            list.add(target_of(&row), term);
        }
        Ok(Self { list: RwLock::new(list), latest: AtomicI64::new(0), store, secret })
    }

    /// The mark of one JWT.
    pub fn jwt(jti: &str) -> Mark {
        first(digest::digest(&digest::SHA256, jti.as_bytes()).as_ref())
    }

    /// The mark of a profile. Not by its name: what it made is the same under another one.
    pub fn profile(profile: &Profile) -> Mark {
        let told_by = [profile.key.as_str(), "\0", &profile.typ].concat();
        first(digest::digest(&digest::SHA256, told_by.as_bytes()).as_ref())
    }

    /// The mark of somebody, or of something of theirs, that is called `text` at `issuer`.
    pub fn person(&self, kind: Kind, issuer: &str, text: &str) -> Mark {
        let called = [kind.name(), "\0", issuer, "\0", text].concat();
        first(hmac::sign(&self.secret, called.as_bytes()).as_ref())
    }

    /// The term of a revocation, at once, of JWTs that were issued until `issued`, Unix seconds.
    pub fn term(issued: i64) -> Term {
        Term { issued, from: 0, until: issued.saturating_add_unsigned(profile::LONGEST.as_secs()) }
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
        if jwt.hides_owners() {
            return Err(Inactive::Hidden);
        }
        let latest = self.latest.fetch_max(now, Ordering::Relaxed).max(now);
        if self.is_revoked(&jwt, latest) { Err(Inactive::Revoked) } else { Ok(jwt) }
    }

    /// Whether what was judged active is so yet: neither it nor its key was revoked meanwhile. The latest time that anything was
    /// judged by counts.
    ///
    /// # Errors
    /// It is not.
    pub fn stands(&self, jwt: &Presented, ring: &Ring) -> Result<(), Inactive> {
        ring.verifier(&jwt.kid).ok_or(Inactive::Key)?;
        let latest = self.latest.load(Ordering::Relaxed);
        if self.is_revoked(jwt, latest) { Err(Inactive::Revoked) } else { Ok(()) }
    }

    fn is_revoked(&self, jwt: &Presented, now: i64) -> bool {
        let kinds = [Kind::Subject, Kind::Session, Kind::Consent];
        let said = kinds.into_iter().zip(jwt.owners());
        let said = said.filter_map(|(kind, name)| Some((kind, jwt.text(name?)?)));
        let people = said.map(|(kind, text)| Target::Person(self.person(kind, &jwt.issuer, text)));
        let wider = [Target::Profile(Self::profile(&jwt.profile)), Target::Everything];
        let wider: Vec<Target> = people.chain(wider).collect();
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.has(jwt.iat, &Self::jwt(&jwt.jti), &wider, now)
    }

    /// Spends JWTs that are to be used once: for each, true for the first who does, and for nobody after.
    ///
    /// # Errors
    /// None was spent, or it is not known whether.
    pub async fn spend(&self, jwts: &[&Presented]) -> Result<Vec<bool>, state::Error> {
        let spent: Vec<_> = jwts.iter().map(|jwt| (Self::jwt(&jwt.jti), jwt.end())).collect();
        self.stored(move |store| store.spend(&spent)).await
    }

    /// Forgets what has expired by every clock, in memory and in the state: `now` may be up to a day ahead of the truth, as
    /// after a boot whose clock was not set yet.
    ///
    /// # Errors
    /// The state cannot be changed.
    pub async fn forget(&self, now: i64) -> Result<(), state::Error> {
        let now = now.saturating_sub_unsigned(profile::LONGEST.as_secs());
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
        Target::Profile(mark) => ("profile", mark.to_vec()),
        Target::Everything => ("everything", Vec::new()),
    };
    let reason = reason.name().to_owned();
    let Term { issued, from, until } = term;
    RevocationRow { kind: kind.to_owned(), value, issued, effective: from, until, reason }
}

fn target_of(row: &RevocationRow) -> Target {
    match &*row.kind {
        "jwt" => Target::Jwt(first(&row.value)),
        "person" => Target::Person(first(&row.value)),
        "profile" => Target::Profile(first(&row.value)),
        // The table holds no other; of all there are, this one errs to the safe side.
        _ => Target::Everything,
    }
}
