//! The request, in order: judge, assemble, record, sign, verify, release.
//!
//! One function that reads from top to bottom, and the only way to a key besides the key self-test and the audit log's seals.
//! It is written in one piece on purpose: the only way to a signature is to have come through every line above it,
//! and the only way out is a [`Recorded`] value.

mod alerts;
mod people;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::audit::{self, Actor, Entry, Event, Outcome, Recorded, Unavailable};
use crate::backend::{self, Ask, Attempt, Class, Signing};
use crate::caller::Caller;
use crate::clock::{Guarded, Untrusted};
use crate::jwt::{Draft, DraftError, Jti, SealError, SignedJwt};
use crate::keyring::{Keyring, NoVersion, Shut};
use crate::misuse::{self, Counted, Misuse, Settings};
use crate::policy::{Denial, Grant, Policy, Request, Verdict};
use crate::profile::Per;
use crate::subject::{Kind, Person, Subjects};
use crate::telemetry::Chain;
use alerts::Alerts;
use people::{Keys, owner};

pub use people::NoKeys;

/// How long the records of failures may take beyond the request's deadline.
const FAILURE_GRACE: Duration = Duration::from_secs(1);

/// What came of one request: a JWT, or why there is none.
pub type Issued = Result<SignedJwt, Refusal>;

/// Why a request got no JWT.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Policy said no; the key was not touched.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// There were too many; the key was not touched.
    #[error("there were too many: {}", .of.rule.id())]
    Rate {
        /// Of what, and for how long.
        of: misuse::Refused,
        /// The profile, unless nothing was judged.
        profile: Option<String>,
    },
    /// Nobody knows what time it is.
    #[error("the clock is not trusted")]
    Clock(#[from] Untrusted),
    /// The profile's key has no version that signs.
    #[error("key {key:?} signs nothing now")]
    NoKey {
        /// Name of the key.
        key: String,
        /// Why.
        #[source]
        source: NoVersion,
    },
    /// Its record could not say whom it is about.
    #[error("the subject's key cannot be had")]
    Subject(#[from] NoKeys),
    /// No JWT could be assembled.
    #[error("the JWT could not be assembled")]
    Draft(#[from] DraftError),
    /// It would be longer than the key's backends sign.
    #[error("the JWT's signing input has {bytes} bytes, and the key's backend signs at most {limit}")]
    TooLong {
        /// Bytes to sign.
        bytes: usize,
        /// What the backend takes.
        limit: usize,
    },
    /// No backend gave a signature that verifies.
    #[error("the key did not sign")]
    Backend(#[from] backend::Error),
    /// A signature of something else, which is a defect, or of a key that was revoked meanwhile; it was dropped.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl Refusal {
    /// A stable code for the record and for problem details.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Denied(_) => "policy.denied",
            Self::Rate { .. } => "rate.refused",
            Self::Clock(_) => "clock.untrusted",
            Self::NoKey { source: NoVersion::None, .. } => "key.missing",
            Self::NoKey { source: NoVersion::Shut(Shut::Revoked), .. } | Self::Seal(SealError::Shut(_)) => {
                "key.revoked"
            }
            Self::NoKey { source: NoVersion::Shut(_), .. } => "key.inactive",
            Self::Subject(_) => "subject.unavailable",
            Self::Draft(_) => "jwt.assembly",
            Self::TooLong { .. } => "jwt.too_long",
            Self::Backend(error) => error.class.code(),
            Self::Seal(SealError::Bad(_)) => "signature.bad",
            Self::Seal(SealError::Plain(_)) => "jwt.encryption",
        }
    }

    /// For the record: the code, and what there were too many of.
    fn rules(&self) -> Vec<&'static str> {
        let of = if let Self::Rate { of, .. } = self { Some(of.rule.id()) } else { None };
        std::iter::once(self.code()).chain(of).collect()
    }
}

/// Issues JWTs with one keyring, each under the policy that its request began with.
pub struct Issuer {
    keyring: Arc<Keyring>,
    log: audit::Log,
    clock: Arc<Guarded>,
    misuse: Arc<Misuse>,
    subjects: Subjects,
    deadline: Duration,
}

impl Issuer {
    /// `subjects` stand in records by tags alone; `deadline` bounds one call of [`Self::issue`].
    pub fn new(
        keyring: Arc<Keyring>,
        log: audit::Log,
        clock: Arc<Guarded>,
        misuse: Arc<Misuse>,
        subjects: Subjects,
        deadline: Duration,
    ) -> Self {
        Self { keyring, log, clock, misuse, subjects, deadline }
    }

    /// Issues a JWT under `policy` and `settings` of misuse for each of `wants`, or says why not; every one of them is recorded, whatever comes of it.
    ///
    /// Must run to its end: callers put it on a task that a hang-up does not cancel.
    ///
    /// # Errors
    /// [`Unavailable`] when it could not be recorded: then nothing is released.
    pub async fn issue(
        &self,
        (policy, settings): (&Policy, Settings),
        caller: &Caller,
        request_id: &str,
        wants: Vec<Result<Request, Denial>>,
    ) -> Result<Recorded<Vec<Issued>>, Unavailable> {
        let deadline = Instant::now() + self.deadline;
        let base = base(policy, caller, request_id);

        let mut alerts = Alerts::new(&base);
        alerts.extend(self.misuse.see(settings, caller, self.clock.shown()), None, None);
        // Policy before key: a request that breaks a rule never becomes a draft.
        let mut drafts: Vec<Result<(Draft, Counted<'_>), Refusal>> =
            wants.into_iter().map(|want| self.draft((policy, settings), caller, want, &mut alerts)).collect();
        let (owners, keys) = self.owners(&mut drafts, &alerts, deadline).await;

        // The record is appended before the key is used. It syncs while the key signs; when many sign, once for all of
        // them, as soon as the first has signed.
        let mut intents: Vec<Entry> = drafts
            .iter()
            .zip(&owners)
            .map(|(drafted, owner)| match drafted {
                Ok((draft, _)) => keys.mark(self.intent(&base, draft), draft, owner.as_ref()),
                Err(refusal) => refused(&base, refusal),
            })
            .collect();
        // What later records say of the same JWT.
        let drafted: Vec<Entry> = intents
            .iter()
            .map(|intent| Entry {
                jti: intent.jti.clone(),
                kid: intent.kid.clone(),
                profile: intent.profile.clone(),
                ..Entry::new(Event::JwtFailed, Outcome::Failed)
            })
            .collect();
        intents.extend(alerts.into_entries(&keys));
        let ticket = self.log.append(intents)?;

        // Only what verified with the pinned key comes back from there.
        let ask = Ask { deadline, flow: caller.peer().uid(), attempt: 0 };
        let (issued, (attempts, counted)): (Vec<Issued>, (Vec<_>, Vec<_>)) =
            join_all(drafts.into_iter().map(async |draft| {
                let (draft, counted) = match draft {
                    Ok(draft) => draft,
                    Err(refusal) => return (Err(refusal), (Vec::new(), None)),
                };
                let Signing { result, attempts } =
                    draft.version().replicas().sign(draft.signing_input(), ask).await;
                let sealed = result.map_err(Refusal::from).and_then(|verified| Ok(draft.seal(verified)?));
                (sealed, (attempts, Some(counted)))
            }))
            .await
            .into_iter()
            .unzip();

        self.record_outcomes(&base, drafted, &issued, &attempts).await?;
        let released = ticket.release(issued, deadline).await?;
        // What did not leave, here or on the way to here, was not counted.
        for (_, counted) in released.get().iter().zip(counted).filter(|(issued, _)| issued.is_ok()) {
            counted.into_iter().for_each(Counted::keep);
        }
        Ok(released)
    }

    /// What `issue` would decide, without a key and without a JWT. Asking for what is denied counts as there: whoever
    /// did so too often is refused.
    ///
    /// # Errors
    /// [`Unavailable`] when it could not be recorded.
    pub async fn check(
        &self,
        (policy, settings): (&Policy, Settings),
        caller: &Caller,
        request_id: &str,
        want: Result<Request, Denial>,
    ) -> Result<Recorded<Result<Vec<Verdict>, Refusal>>, Unavailable> {
        let base = base(policy, caller, request_id);
        let (mut alerts, shown) = (Alerts::new(&base), self.clock.shown());
        let checked = self.may_ask(settings, caller, shown, &mut alerts).map(|()| match want {
            Ok(want) => policy.explain(caller, want, shown),
            Err(denial) => denial.violations.into_iter().map(Verdict::from).collect(),
        });
        let rules: Vec<_> = match &checked {
            Ok(verdicts) => {
                verdicts.iter().filter(|verdict| !verdict.holds).map(|verdict| verdict.rule).collect()
            }
            Err(refusal) => refusal.rules(),
        };
        if checked.is_ok() && !rules.is_empty() {
            alerts.extend(self.misuse.denied(settings, caller, shown), None, None);
        }
        let outcome = if rules.is_empty() { Outcome::Success } else { Outcome::Denied };
        let mut entries = vec![Entry { rules, event: Event::PolicyChecked, outcome, ..base.clone() }];
        entries.extend(alerts.into_entries(&Keys::default()));
        self.log.append(entries)?.release(checked, Instant::now() + self.deadline).await
    }

    /// Records that these JWTs, signed and recorded, did not reach their caller.
    pub fn record_undelivered(&self, policy: &Policy, caller: &Caller, request_id: &str, issued: &[Issued]) {
        let base = base(policy, caller, request_id);
        let entries = issued
            .iter()
            .filter_map(|issued| issued.as_ref().ok())
            .map(|signed| Entry {
                event: Event::JwtUndelivered,
                jti: Some(signed.jti().to_owned()),
                kid: Some(signed.kid().to_string()),
                ..base.clone()
            })
            .collect::<Vec<_>>();
        if entries.is_empty() {
            return;
        }
        if let Err(error) = self.log.append(entries).map(drop) {
            tracing::error!(request = request_id, %error, "Undelivered JWTs not recorded");
        }
    }

    /// Not whoever was refused too often.
    fn may_ask(
        &self,
        settings: Settings,
        caller: &Caller,
        now: Timestamp,
        alerts: &mut Alerts<'_>,
    ) -> Result<(), Refusal> {
        self.misuse.may_ask(settings, caller, now).map_err(|(of, alert)| {
            alerts.extend(alert, None, None);
            Refusal::Rate { of, profile: None }
        })
    }

    fn draft(
        &self,
        (policy, settings): (&Policy, Settings),
        caller: &Caller,
        want: Result<Request, Denial>,
        alerts: &mut Alerts<'_>,
    ) -> Result<(Draft, Counted<'_>), Refusal> {
        let now = self.clock.now();
        let shown = now.unwrap_or_else(|_| self.clock.shown());
        self.may_ask(settings, caller, shown, alerts)?;
        let drafted = want.map_err(Refusal::from).and_then(|want| {
            // What breaks a rule is told so whatever the clock does.
            let grant = policy.authorize(caller, want, shown)?;
            self.assemble(caller, grant, now?, alerts)
        });
        // What a caller did wrong; what failed here is no misuse.
        if let Err(Refusal::Denied(_) | Refusal::TooLong { .. }) = drafted {
            alerts.extend(self.misuse.denied(settings, caller, shown), None, None);
        }
        drafted
    }

    fn assemble(
        &self,
        caller: &Caller,
        grant: Grant,
        now: Timestamp,
        alerts: &mut Alerts<'_>,
    ) -> Result<(Draft, Counted<'_>), Refusal> {
        let profile = Arc::clone(&grant.terms().profile);
        let key = &profile.key;
        let right = self
            .keyring
            .enter(key.as_str(), now, grant.terms().ttl)
            .map_err(|source| Refusal::NoKey { key: key.to_string(), source })?;
        let draft = Draft::assemble(grant, right, Jti::random())?;
        let (bytes, limit) = (draft.signing_input().len(), draft.version().replicas().max_input());
        if bytes > limit {
            return Err(Refusal::TooLong { bytes, limit });
        }
        // Last, so that only what a key signs is counted.
        let subject = draft.subject().filter(|_| profile.rates.iter().any(|rate| rate.per == Per::Subject));
        let subject = subject.map(|subject| self.subjects.person(draft.issuer(), Kind::Subject, subject));
        let (raised, admitted) =
            self.misuse.admit(caller, &profile, subject.map(|person| person.short()), now);
        alerts.extend(raised, Some(profile.name.as_str()), subject);
        match admitted {
            Ok(counted) => Ok((draft, counted)),
            Err(of) => Err(Refusal::Rate { of, profile: Some(profile.name.to_string()) }),
        }
    }

    /// Whom the drafts are about, and their keys. Without keys no record can say so, and no draft goes on.
    async fn owners(
        &self,
        drafts: &mut [Result<(Draft, Counted<'_>), Refusal>],
        alerts: &Alerts<'_>,
        deadline: Instant,
    ) -> (Vec<Option<Person>>, Keys) {
        let owner_of = |drafted: &Result<(Draft, _), _>| owner(&self.subjects, &drafted.as_ref().ok()?.0);
        let owners: Vec<Option<Person>> = drafts.iter().map(owner_of).collect();
        let people = owners.iter().flatten().copied().chain(alerts.people()).collect();
        let keys =
            Keys::of(&self.subjects, people, self.clock.shown(), deadline).await.unwrap_or_else(|fault| {
                for (drafted, _) in drafts.iter_mut().zip(&owners).filter(|(_, owner)| owner.is_some()) {
                    *drafted = Err(Refusal::Subject(fault.clone()));
                }
                Keys::default()
            });
        (owners, keys)
    }

    fn intent(&self, base: &Entry, draft: &Draft) -> Entry {
        Entry {
            event: Event::JwtIssued,
            outcome: Outcome::Success,
            profile: Some(draft.profile().to_owned()),
            kid: Some(draft.kid().to_string()),
            alg: Some(draft.algorithm().name()),
            enc: draft.recipient().map(|recipient| recipient.enc().name()),
            enc_kid: draft.recipient().map(|recipient| recipient.kid().to_owned()),
            jti: Some(draft.jti().as_str().to_owned()),
            aud: draft.audience().to_vec(),
            iat: Some(draft.iat()),
            exp: Some(draft.exp()),
            clk: self.clock.is_doubtful().then_some("unsync"),
            exceptions: draft.exceptions().to_vec(),
            ..base.clone()
        }
    }

    /// Says of drafts that came to nothing that they did, and of those that took more than one attempt, which.
    async fn record_outcomes(
        &self,
        base: &Entry,
        drafted: Vec<Entry>,
        issued: &[Issued],
        attempts: &[Vec<Attempt>],
    ) -> Result<(), Unavailable> {
        let mut entries = Vec::new();
        for ((drafted, issued), attempts) in drafted.into_iter().zip(issued).zip(attempts) {
            let Some(jti) = drafted.jti.clone() else { continue };
            let attempts = attempts.iter().map(Attempt::to_string).collect::<Vec<_>>();
            let told = attempts.len();
            let Entry { jti: id, kid, profile, .. } = drafted;
            let entry = Entry { jti: id, kid, profile, attempts, ..base.clone() };
            match issued {
                Ok(_) if told <= 1 => {}
                Ok(_) => {
                    tracing::warn!(jti, attempts = ?entry.attempts, "JWT took more than one attempt");
                    entries.push(Entry { event: Event::JwtRetried, outcome: Outcome::Success, ..entry });
                }
                Err(refusal) => {
                    let (attempts, error) = (&entry.attempts, Chain(refusal));
                    match refusal {
                        // Too much work is no fault of anything here, and comes in masses.
                        Refusal::Backend(fault) if fault.class == Class::Busy => {
                            tracing::debug!(jti, %error, "JWT not signed");
                        }
                        _ => tracing::error!(jti, ?attempts, %error, "JWT not signed"),
                    }
                    entries.push(Entry { rules: vec![refusal.code()], ..entry });
                }
            }
        }
        if entries.is_empty() {
            return Ok(());
        }
        // The request's own deadline may be what failed it.
        self.log.append(entries)?.durable_by(Instant::now() + FAILURE_GRACE).await
    }
}

/// The record of a request that came to no draft.
fn refused(base: &Entry, refusal: &Refusal) -> Entry {
    let (event, outcome) = (Event::JwtDenied, Outcome::Denied);
    match refusal {
        Refusal::Denied(denial) => {
            let rules = denial.violations.iter().map(|violation| violation.rule).collect();
            Entry { event, outcome, profile: denial.profile.clone(), rules, ..base.clone() }
        }
        Refusal::Rate { profile, .. } => {
            Entry { event, outcome, profile: profile.clone(), rules: refusal.rules(), ..base.clone() }
        }
        refusal => {
            match refusal {
                // Told once, when it happened, and not by every request.
                Refusal::Clock(fault) => tracing::debug!(%fault, "JWT not assembled"),
                _ => tracing::error!(error = %Chain(refusal), "JWT not assembled"),
            }
            Entry { rules: vec![refusal.code()], ..base.clone() }
        }
    }
}

/// What every record of one call has in common.
fn base(policy: &Policy, caller: &Caller, request_id: &str) -> Entry {
    Entry {
        request: Some(request_id.to_owned()),
        actor: Some(Actor::of(caller.peer(), Some(caller.name()))),
        policy: Some(policy.digest().to_owned()),
        ..Entry::new(Event::JwtFailed, Outcome::Failed)
    }
}
