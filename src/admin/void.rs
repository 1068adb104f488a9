//! Taking JWTs back: one, or all of a subject, a session, a consent, a profile, or all there are.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::audit::{Event, Outcome};
use crate::profile::Profile;
use crate::revocation::{Reason, Revocations, Target, Term};
use crate::telemetry::Chain;

use super::erase::Whom;
use super::{Admin, AdminError, By};

/// A record does without the tag of the person when a backend takes longer over its key.
const TAG_WITHIN: Duration = Duration::from_secs(1);

/// What is to be taken back.
#[derive(Debug)]
pub enum Void {
    /// One JWT by its id.
    Jwt {
        /// The id.
        jti: String,
        /// When it expires, where that is known.
        end: Option<i64>,
        /// Its profile, where that is known.
        profile: Option<String>,
    },
    /// All of somebody.
    Person(Whom),
    /// All of a profile.
    Profile(Arc<Profile>),
    /// All.
    Everything,
}

impl Admin {
    /// Revokes JWTs that were issued until `from` (Unix seconds; now, unless it is to be later), and from then on. It is recorded
    /// before it takes effect.
    ///
    /// # Errors
    /// Nothing was revoked, or it is not known whether, and recorded as failed.
    pub async fn void(
        &self,
        by: &By,
        what: Void,
        from: Option<i64>,
        reason: Reason,
    ) -> Result<(), AdminError> {
        let revocations = self.revocations()?;
        let now = self.clock.now();
        let later = from.filter(|from| *from > now.as_second());
        // Never less than all that there is: the clock may have gone back behind the date of one.
        let latest = self.clock.latest().as_second();
        let term = Term { from: later.unwrap_or(0), ..Revocations::term(latest.max(from.unwrap_or(latest))) };
        let mut entry = by.entry(Event::JwtRevoked);
        let later = later.and_then(|later| jiff::Timestamp::from_second(later).ok());
        let later = later.map_or_else(String::new, |later| format!(", from {later} on"));
        entry.reason = Some(format!("{}{later}", reason.name()));
        let (target, term) = match what {
            Void::Jwt { jti, end, profile } => {
                let target = Target::Jwt(Revocations::jwt(&jti));
                (entry.object, entry.jti, entry.profile) = (Some("jwt".to_owned()), Some(jti), profile);
                // Of one JWT the date says nothing: the same again is the same row.
                (target, Term { issued: 0, until: end.unwrap_or(term.until), ..term })
            }
            Void::Person(whom) => {
                entry.object = Some(whom.kind.word().to_owned());
                entry.subject = timeout(TAG_WITHIN, self.tag_of(by, &whom)).await.ok().flatten();
                (Target::Person(revocations.person(whom.kind, &whom.issuer, &whom.name)), term)
            }
            Void::Profile(profile) => {
                entry.object = Some("profile".to_owned());
                entry.profile = Some(profile.name.to_string());
                (Target::Profile(Revocations::profile(&profile)), term)
            }
            Void::Everything => {
                entry.object = Some("everything".to_owned());
                (Target::Everything, term)
            }
        };
        self.record(vec![entry.clone()]).await?;
        if let Err(error) = revocations.revoke(vec![(target, term)], reason).await {
            entry.outcome = Outcome::Failed;
            entry.reason = Some(Chain(&error).to_string());
            self.record(vec![entry]).await?;
            return Err(error.into());
        }
        Ok(())
    }

    /// Forgets revocations of what has expired.
    pub async fn forget_revocations(&self) {
        let Ok(revocations) = self.revocations() else { return };
        if let Err(error) = revocations.forget(self.clock.now().as_second()).await {
            tracing::error!(error = %Chain(&error), "Expired revocations not forgotten");
        }
    }

    fn revocations(&self) -> Result<&Revocations, AdminError> {
        self.revocations.as_deref().ok_or(AdminError::Defect)
    }
}
