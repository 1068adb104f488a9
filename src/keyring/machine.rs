//! The life of a key's versions: prepared, active, retired, removed, or revoked from any of them; and what is to be
//! done next, and when.
//!
//! Pure: the time is an argument, and a move is refused or made, never half of it. Holds no key and signs nothing.

use std::time::Duration;

/// Where a version is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Published, not signing yet.
    Prepared,
    /// Published and signing; one version of a key at most.
    Active,
    /// Published until the last of its JWTs has expired, and not signing any more.
    Retired,
    /// Not published any more: none of its JWTs is valid.
    Removed,
    /// Taken back: not published, and all its JWTs are void from now on.
    Revoked,
}

impl Stage {
    const ALL: [Self; 5] = [Self::Prepared, Self::Active, Self::Retired, Self::Removed, Self::Revoked];

    /// The word for it, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Removed => "removed",
            Self::Revoked => "revoked",
        }
    }

    /// The stage of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// Whether verifiers are shown it.
    pub fn is_published(self) -> bool {
        matches!(self, Self::Prepared | Self::Active | Self::Retired)
    }
}

/// What `[key.NAME.rotation]` says, resolved, and how long verifiers keep the key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The next version takes over when the active one has signed for so long.
    pub every: Option<Duration>,
    /// The next version takes over when the active one has made so many signatures.
    pub after: Option<u64>,
    /// A version is published for so long before it signs; not less than `cache`.
    pub publish_ahead: Duration,
    /// A version does not sign any more when it has signed for so long, whatever comes after it.
    pub stop: Option<Duration>,
    /// Where versions are not made but adopted: operators are told so long before the next one has to be there.
    pub notice: Duration,
    /// A retired version stays published for so long after its last JWT expired, beside `cache`: clocks differ.
    pub keep: Duration,
    /// How long verifiers may keep a key set: `max-age`, or a longer one that some were told before and still go by.
    /// Web servers that serve the published files must not tell them a longer one.
    pub cache: Duration,
}

/// What is known of one version's life. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// RFC 7638 thumbprint.
    pub kid: String,
    /// Where it is.
    pub stage: Stage,
    /// When it was made or adopted.
    pub created: i64,
    /// When it was first shown to verifiers.
    pub published: Option<i64>,
    /// When it began to sign.
    pub activated: Option<i64>,
    /// When it stopped signing; for one that was revoked while it signed, when the next one took over.
    pub retired: Option<i64>,
    /// When it was removed or revoked; until then, when an operator stopped it.
    pub ended: Option<i64>,
    /// An operator wants it to sign as soon as it has been published for long enough.
    pub wanted: bool,
    /// No JWT that it signs expires later: kept ahead of what is signed.
    pub exp_bound: Option<i64>,
    /// Greatest `exp` that it is known to have signed.
    pub last_exp: Option<i64>,
    /// Signatures that it is known to have made.
    pub signatures: u64,
}

impl Life {
    /// One that was just made.
    pub fn new(kid: String, now: i64) -> Self {
        Self {
            kid,
            stage: Stage::Prepared,
            created: now,
            published: None,
            activated: None,
            retired: None,
            ended: None,
            wanted: false,
            exp_bound: None,
            last_exp: None,
            signatures: 0,
        }
    }

    /// When it stops signing, whatever comes after it.
    pub fn stops(&self, rotation: &Rotation) -> Option<i64> {
        Some(later(self.activated?, rotation.stop?))
    }

    /// From when and until when it signs, as things are `now`. One that gives way to the next signs until then; what
    /// has stopped, and what an operator stopped, does not begin again when the clock is set back.
    pub fn window(&self, now: i64, rotation: &Rotation) -> Option<(i64, i64)> {
        let until = match self.stage {
            Stage::Active => i64::MAX,
            Stage::Retired if self.ended.is_some() => return None,
            Stage::Retired => self.retired.filter(|retired| *retired > now)?,
            Stage::Prepared | Stage::Removed | Stage::Revoked => return None,
        };
        Some((self.activated?, until.min(self.stops(rotation).unwrap_or(i64::MAX))))
    }

    /// Whether it was revoked while it signed, and none has taken over since.
    fn was_torn_away(&self) -> bool {
        self.stage == Stage::Revoked && self.activated.is_some() && self.retired.is_none()
    }

    /// When it has been published for long enough to sign.
    pub fn ready(&self, rotation: &Rotation) -> Option<i64> {
        self.published.map(|published| later(published, rotation.publish_ahead.max(rotation.cache)))
    }

    /// When no verifier can meet a JWT of it that is still valid.
    fn removable(&self, rotation: &Rotation) -> i64 {
        let last = self.exp_bound.max(self.retired).unwrap_or(self.created);
        later(later(last, rotation.keep), rotation.cache)
    }
}

/// `time` and so much more, at the end of time at most.
fn later(time: i64, wait: Duration) -> i64 {
    time.saturating_add(whole_seconds(wait))
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// A move that is against the rules. The version stays where it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalMove {
    /// No version has this `kid`.
    #[error("the key has no version {kid}")]
    Unknown {
        /// What was asked for.
        kid: String,
    },
    /// The key has a version of this `kid` already.
    #[error("the key has a version {kid} already")]
    Known {
        /// The version.
        kid: String,
    },
    /// One is prepared already, and comes first.
    #[error(
        "version {kid} is prepared already: let it take over with `jwsd keys rotate`, or revoke it, first"
    )]
    Prepared {
        /// The version.
        kid: String,
    },
    /// No way leads from here to there.
    #[error("version {kid} is {from} and cannot become {to}", from = from.name(), to = to.name())]
    Stage {
        /// The version.
        kid: String,
        /// Where it is.
        from: Stage,
        /// Where it should go.
        to: Stage,
    },
    /// Verifiers may not know it yet.
    #[error("version {kid} {}", too_early(*.at))]
    TooEarly {
        /// The version.
        kid: String,
        /// From when on, Unix seconds; `i64::MAX` if it is not published yet.
        at: i64,
    },
    /// Verifiers may still need it.
    #[error("JWTs of version {kid} may be valid still; it can be removed from {} on", utc(*.at))]
    InUse {
        /// The version.
        kid: String,
        /// From when on, Unix seconds.
        at: i64,
    },
}

fn too_early(at: i64) -> String {
    match at {
        i64::MAX => "is not published yet".to_owned(),
        at => format!("has not been published for long enough; it may sign from {} on", utc(at)),
    }
}

/// As people read it.
fn utc(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MAX)
}

/// What is to be done for a key next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The next version is to be made, or adopted.
    Prepare,
    /// This version is to be shown to verifiers.
    Publish(String),
    /// This version is to sign, in place of the one that does.
    Activate(String),
    /// This version is not to be shown any more.
    Remove(String),
}

/// A step and when it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What.
    pub step: Step,
    /// Unix seconds; not later than now means now.
    pub at: i64,
}

/// All versions of one key, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lives(Vec<Life>);

impl Lives {
    /// As they were kept.
    pub fn restore(lives: Vec<Life>) -> Self {
        Self(lives)
    }

    /// All of them.
    pub fn all(&self) -> &[Life] {
        &self.0
    }

    /// The version of this `kid`.
    pub fn get(&self, kid: &str) -> Option<&Life> {
        self.0.iter().find(|life| life.kid == kid)
    }

    /// The one in this stage, of which a key has one at most: prepared or active.
    pub fn only(&self, stage: Stage) -> Option<&Life> {
        self.0.iter().find(|life| life.stage == stage)
    }

    /// Whether the version that signed was revoked and none has taken over since: nothing signs and something should.
    /// Not told by times: clocks are set.
    fn is_bereft(&self) -> bool {
        self.only(Stage::Active).is_none() && self.0.iter().any(Life::was_torn_away)
    }

    /// Whether no version has ever signed: no verifier has been shown a JWT of this key.
    fn is_new(&self) -> bool {
        self.0.iter().all(|life| life.activated.is_none())
    }

    fn find(&mut self, kid: &str) -> Result<&mut Life, IllegalMove> {
        let unknown = || IllegalMove::Unknown { kid: kid.to_owned() };
        self.0.iter_mut().find(|life| life.kid == kid).ok_or_else(unknown)
    }

    /// The version of this `kid`, which is to go on from `from` to `to`.
    fn find_in(&mut self, kid: &str, from: Stage, to: Stage) -> Result<&mut Life, IllegalMove> {
        let life = self.find(kid)?;
        if life.stage != from {
            return Err(IllegalMove::Stage { kid: kid.to_owned(), from: life.stage, to });
        }
        Ok(life)
    }

    /// Takes a new version, prepared.
    ///
    /// # Errors
    /// One is prepared already, or it is not new.
    pub fn add(&mut self, kid: &str, now: i64) -> Result<(), IllegalMove> {
        if self.get(kid).is_some() {
            return Err(IllegalMove::Known { kid: kid.to_owned() });
        }
        match self.only(Stage::Prepared) {
            Some(life) => Err(IllegalMove::Prepared { kid: life.kid.clone() }),
            None => {
                self.0.push(Life::new(kid.to_owned(), now));
                Ok(())
            }
        }
    }

    /// Notes that verifiers are shown it; what was noted first stays.
    ///
    /// # Errors
    /// It is not one that is published.
    pub fn publish(&mut self, kid: &str, now: i64) -> Result<(), IllegalMove> {
        let life = self.find(kid)?;
        if !life.stage.is_published() {
            let (from, to) = (life.stage, Stage::Prepared);
            return Err(IllegalMove::Stage { kid: kid.to_owned(), from, to });
        }
        life.published.get_or_insert(now);
        Ok(())
    }

    /// Notes that an operator wants the prepared version to sign as soon as it may.
    ///
    /// # Errors
    /// It is not prepared.
    pub fn want(&mut self, kid: &str) -> Result<(), IllegalMove> {
        self.find_in(kid, Stage::Prepared, Stage::Active)?.wanted = true;
        Ok(())
    }

    /// Lets a prepared version sign; the active one retires. A key's first version, and one that follows a revoked
    /// one, need not have been published for long: that a verifier may meet an unknown `kid` is the lesser evil.
    ///
    /// # Errors
    /// It is not prepared, or verifiers may not know it yet and it is not to be `early`.
    pub fn activate(
        &mut self,
        kid: &str,
        now: i64,
        rotation: &Rotation,
        early: bool,
    ) -> Result<(), IllegalMove> {
        let urgent = early || self.is_new() || self.is_bereft();
        let life = self.find_in(kid, Stage::Prepared, Stage::Active)?;
        let at = life.ready(rotation).unwrap_or(i64::MAX);
        if life.published.is_none() || (now < at && !urgent) {
            return Err(IllegalMove::TooEarly { kid: kid.to_owned(), at });
        }
        (life.stage, life.activated, life.wanted) = (Stage::Active, Some(now), false);
        for other in self.0.iter_mut().filter(|life| life.kid != kid) {
            if other.stage == Stage::Active {
                other.stage = Stage::Retired;
                stop(other, now);
            } else if other.was_torn_away() {
                stop(other, now);
            }
        }
        Ok(())
    }

    /// Stops the active version from signing, for good; nothing signs then until another one is activated.
    ///
    /// # Errors
    /// It is not active.
    pub fn retire(&mut self, kid: &str, now: i64) -> Result<(), IllegalMove> {
        let life = self.find_in(kid, Stage::Active, Stage::Retired)?;
        (life.stage, life.ended) = (Stage::Retired, Some(now));
        stop(life, now);
        Ok(())
    }

    /// Takes a retired version out of the key set.
    ///
    /// # Errors
    /// It is not retired, or one of its JWTs may be valid still.
    pub fn remove(&mut self, kid: &str, now: i64, rotation: &Rotation) -> Result<(), IllegalMove> {
        let life = self.find_in(kid, Stage::Retired, Stage::Removed)?;
        let at = life.removable(rotation);
        if now < at {
            return Err(IllegalMove::InUse { kid: kid.to_owned(), at });
        }
        (life.stage, life.ended) = (Stage::Removed, Some(now));
        Ok(())
    }

    /// Takes a version back, from wherever it is: it does not sign, is not published, and its JWTs are void.
    ///
    /// # Errors
    /// It is revoked already, or unknown.
    pub fn revoke(&mut self, kid: &str, now: i64) -> Result<(), IllegalMove> {
        let life = self.find(kid)?;
        if life.stage == Stage::Revoked {
            let (from, to) = (life.stage, Stage::Revoked);
            return Err(IllegalMove::Stage { kid: kid.to_owned(), from, to });
        }
        (life.stage, life.ended, life.wanted) = (Stage::Revoked, Some(now), false);
        Ok(())
    }

    /// What is to be done next, and when; what is due first comes first.
    pub fn next(&self, now: i64, rotation: &Rotation) -> Option<Due> {
        self.steps(now, rotation).into_iter().min_by_key(|due| due.at)
    }

    /// Everything that is planned as things are, in no order.
    pub fn steps(&self, now: i64, rotation: &Rotation) -> Vec<Due> {
        let mut steps = Vec::new();
        let mut plan = |step, at| steps.push(Due { step, at });
        for life in self.0.iter().filter(|life| life.stage == Stage::Retired) {
            plan(Step::Remove(life.kid.clone()), life.removable(rotation));
        }
        let active = self.only(Stage::Active);
        let over = active.and_then(|life| rotates(life, now, rotation));
        match self.only(Stage::Prepared) {
            Some(life) => match life.ready(rotation) {
                None => plan(Step::Publish(life.kid.clone()), now),
                Some(_) if self.is_new() || self.is_bereft() => plan(Step::Activate(life.kid.clone()), now),
                Some(ready) if life.wanted => plan(Step::Activate(life.kid.clone()), ready),
                Some(ready) => {
                    if let Some(over) = over {
                        plan(Step::Activate(life.kid.clone()), ready.max(over));
                    }
                }
            },
            None if self.is_bereft() => plan(Step::Prepare, now),
            None => {
                let ahead = whole_seconds(rotation.publish_ahead.max(rotation.cache));
                let soon = active
                    .zip(rotation.after)
                    .is_some_and(|(life, after)| life.signatures >= after.saturating_sub(after / ALLOWANCE));
                if soon {
                    plan(Step::Prepare, now);
                } else if let Some(over) = over {
                    plan(Step::Prepare, over.saturating_sub(ahead));
                }
            }
        }
        steps
    }
}

/// The next version is prepared when less than one part in so many of the signatures is left.
const ALLOWANCE: u64 = 10;

/// When the active version should stop; `None` is never.
fn rotates(active: &Life, now: i64, rotation: &Rotation) -> Option<i64> {
    if rotation.after.is_some_and(|after| active.signatures >= after) {
        return Some(now);
    }
    Some(later(active.activated?, rotation.every?))
}

fn stop(life: &mut Life, now: i64) {
    // A clock that was set back does not make it stop before it began.
    life.retired = Some(life.activated.map_or(now, |began| began.max(now)));
}

#[cfg(test)]
mod tests;
