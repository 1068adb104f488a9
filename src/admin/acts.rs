//! An operator's act as a value: what is asked for, what two must agree on and what is done are the same thing.

use std::fmt;
use std::sync::PoisonError;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::erase::Whom;
use super::two_person::{Proposal, Verdict};
use super::{Admin, AdminError, By, RECORD_WITHIN};
use crate::audit::{Actor, Entry, Event};
use crate::keyring::lives_of;
use crate::keyring::machine::{IllegalMove, Stage};

/// The kinds of acts that operators ask a running daemon for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActName {
    /// Make a key's next version.
    Generate,
    /// Take a key that is in the backend already as the next version.
    Adopt,
    /// Let the next version take over as soon as verifiers know it.
    Rotate,
    /// Let the prepared version sign.
    Activate,
    /// Stop the active version.
    Retire,
    /// Take a version and all its JWTs back.
    Revoke,
    /// Destroy the private half of a version.
    Destroy,
    /// Lift a quarantine.
    Release,
    /// Destroy what tells whose records are whose.
    Erase,
}

impl fmt::Display for ActName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generate => "generate",
            Self::Adopt => "adopt",
            Self::Rotate => "rotate",
            Self::Activate => "activate",
            Self::Retire => "retire",
            Self::Revoke => "revoke",
            Self::Destroy => "destroy",
            Self::Release => "release",
            Self::Erase => "erase",
        })
    }
}

/// One act and all its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "act", rename_all = "lowercase")]
pub enum Act {
    /// See [`Admin::generate`].
    Generate {
        /// `[key.NAME]`.
        key: String,
    },
    /// See [`Admin::adopt`].
    Adopt {
        /// `[key.NAME]`.
        key: String,
        /// Which key in the backend.
        name: String,
    },
    /// See [`Admin::rotate`].
    Rotate {
        /// `[key.NAME]`.
        key: String,
    },
    /// See [`Admin::activate`].
    Activate {
        /// `[key.NAME]`.
        key: String,
        /// The prepared version; whichever it is when left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        kid: Option<String>,
        /// Even if verifiers may not know it yet.
        early: bool,
    },
    /// See [`Admin::retire`].
    Retire {
        /// `[key.NAME]`.
        key: String,
        /// The active version; whichever it is when left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        kid: Option<String>,
    },
    /// See [`Admin::revoke`].
    Revoke {
        /// `[key.NAME]`.
        key: String,
        /// The active version when left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        kid: Option<String>,
        /// In the operator's words.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// See [`Admin::destroy`].
    Destroy {
        /// `[key.NAME]`.
        key: String,
        /// The version.
        kid: String,
    },
    /// See [`Admin::release`].
    Release {
        /// `[backend.NAME]`.
        backend: String,
        /// Only this key in it.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Erase a person from the records.
    Erase {
        /// Who; everyone when left out.
        #[serde(flatten)]
        whom: Option<Whom>,
        /// In the operator's words, without a name.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

impl Act {
    /// Which kind it is.
    pub fn name(&self) -> ActName {
        match self {
            Self::Generate { .. } => ActName::Generate,
            Self::Adopt { .. } => ActName::Adopt,
            Self::Rotate { .. } => ActName::Rotate,
            Self::Activate { .. } => ActName::Activate,
            Self::Retire { .. } => ActName::Retire,
            Self::Revoke { .. } => ActName::Revoke,
            Self::Destroy { .. } => ActName::Destroy,
            Self::Release { .. } => ActName::Release,
            Self::Erase { .. } => ActName::Erase,
        }
    }

    /// Whether doing the other is doing this: all is the same but the words that say why.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let mute = |act: &Self| match act.clone() {
            Self::Revoke { key, kid, .. } => Self::Revoke { key, kid, reason: None },
            Self::Erase { whom, .. } => Self::Erase { whom, reason: None },
            act => act,
        };
        mute(self) == mute(other)
    }

    /// A record about the act as such.
    fn entry(&self, by: &By, event: Event) -> Entry {
        let mut entry = by.entry(event);
        let (object, kid, more) = match self {
            Self::Generate { key } | Self::Rotate { key } => (Some(key), None, None),
            Self::Adopt { key, name } => (Some(key), None, Some(name.as_str())),
            Self::Activate { key, kid, early } => (Some(key), kid.clone(), early.then_some("early")),
            Self::Retire { key, kid } => (Some(key), kid.clone(), None),
            Self::Revoke { key, kid, reason } => (Some(key), kid.clone(), reason.as_deref()),
            Self::Destroy { key, kid } => (Some(key), Some(kid.clone()), None),
            Self::Release { backend, key } => (Some(backend), None, key.as_deref()),
            // Never whom.
            Self::Erase { reason, .. } => (None, None, reason.as_deref()),
        };
        let word = more.map_or_else(|| self.name().to_string(), |more| format!("{}: {more}", self.name()));
        (entry.object, entry.kid, entry.reason) = (object.cloned(), kid, Some(word));
        entry
    }
}

/// What came of an act that was done.
#[derive(Debug)]
pub enum Done {
    /// The version that it was about.
    Version {
        /// Name of its key.
        key: String,
        /// RFC 7638 thumbprint.
        kid: String,
    },
    /// What was in quarantine.
    Released(Vec<String>),
    /// How many keys of people were destroyed.
    Erased(u64),
}

/// What came of asking for an act.
#[derive(Debug)]
pub enum Asked {
    /// It was done.
    Done(Done),
    /// A second operator must ask for it too.
    Proposed(Box<Proposal>),
}

impl Admin {
    /// Does what an operator asks for in the request `request`, or has it wait for a second operator. Must run to
    /// its end.
    ///
    /// # Errors
    /// It was not done and does not wait.
    pub async fn ask(&self, actor: Actor, request: String, act: Act) -> Result<Asked, AdminError> {
        let mut by = By::operator(actor.clone(), Some(request.clone()));
        let mut act = self.pinned(act).await?;
        let (verdict, ticket) = {
            // The records stand in the order in which operators asked.
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            let verdict = pending.ask(&act, &actor, &request, Instant::now(), self.clock.now());
            let ticket = match &verdict {
                Verdict::Free => None,
                Verdict::Full(count) => return Err(AdminError::TooManyProposals { count: *count }),
                Verdict::Waits(_) => Some(self.log.append(vec![act.entry(&by, Event::AdminProposed)])),
                Verdict::Approved(proposal) => {
                    by.proposed_by = Some(proposal.by.clone());
                    Some(self.log.append(vec![act.entry(&by, Event::AdminApproved)]))
                }
            };
            (verdict, ticket)
        };
        let recorded = match ticket {
            Some(Ok(mut ticket)) => ticket.durable_by(Instant::now() + RECORD_WITHIN).await,
            Some(Err(error)) => Err(error),
            None => Ok(()),
        };
        match (verdict, recorded) {
            (Verdict::Waits(proposal), Ok(())) => return Ok(Asked::Proposed(Box::new(proposal))),
            (Verdict::Waits(proposal), Err(error)) => {
                let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
                pending.withdraw(&proposal.id, Instant::now());
                return Err(error.into());
            }
            (Verdict::Approved(proposal), Ok(())) => {
                if let (
                    Act::Revoke { reason: reason @ None, .. } | Act::Erase { reason: reason @ None, .. },
                    Act::Revoke { reason: first, .. } | Act::Erase { reason: first, .. },
                ) = (&mut act, proposal.act)
                {
                    *reason = first;
                }
            }
            (_, recorded) => recorded?,
        }
        self.perform(&by, act).await.map(Asked::Done)
    }

    /// Acts that wait for a second operator, oldest first.
    pub fn proposals(&self) -> Vec<Proposal> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).list(Instant::now())
    }

    /// Calls a proposed act off, whoever proposed it.
    ///
    /// # Errors
    /// No such act waits, or it could not be recorded that it does not any more.
    pub async fn withdraw(&self, actor: Actor, request: String, id: &str) -> Result<Proposal, AdminError> {
        let (proposal, ticket) = {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            let unknown = || AdminError::Unknown { what: "proposal", name: id.to_owned() };
            let proposal = pending.withdraw(id, Instant::now()).ok_or_else(unknown)?;
            let mut by = By::operator(actor, Some(request));
            by.proposed_by = Some(proposal.by.clone());
            let ticket = self.log.append(vec![proposal.act.entry(&by, Event::AdminWithdrawn)]);
            (proposal, ticket)
        };
        ticket?.durable_by(Instant::now() + RECORD_WITHIN).await?;
        Ok(proposal)
    }

    /// The act with the version that it is about, as things are now: what was proposed is never done to another one.
    async fn pinned(&self, act: Act) -> Result<Act, AdminError> {
        let (key, kid, stage, to, hint) = match &act {
            Act::Generate { key } | Act::Adopt { key, .. } | Act::Rotate { key } => {
                self.settings(key)?;
                return Ok(act);
            }
            Act::Erase { .. } => return Ok(act),
            Act::Release { backend, key } => {
                let unknown = |what, name: &String| AdminError::Unknown { what, name: name.clone() };
                if !self.loader.backends.contains_key(backend) {
                    return Err(unknown("backend", backend));
                }
                if let Some(key) = key
                    && !self.loader.keys.contains_key(key)
                    && !self.state.keys().await?.versions.iter().any(|row| row.key == *key)
                {
                    return Err(unknown("key", key));
                }
                return Ok(act);
            }
            Act::Activate { key, kid, .. } => {
                let hint = "; make one with `jwsd keys generate` or take one with `jwsd keys adopt`";
                (key, kid.as_ref(), Some(Stage::Prepared), Stage::Active, hint)
            }
            Act::Retire { key, kid } => (key, kid.as_ref(), Some(Stage::Active), Stage::Retired, ""),
            Act::Revoke { key, kid: None, .. } => {
                (key, None, Some(Stage::Active), Stage::Revoked, "; name the version that is to be revoked")
            }
            Act::Revoke { key, kid, .. } => (key, kid.as_ref(), None, Stage::Revoked, ""),
            Act::Destroy { key, kid } => (key, Some(kid), None, Stage::Removed, ""),
        };
        let lives = lives_of(&self.state.keys().await?, key);
        // A key that was taken out of the configuration can still be revoked and destroyed.
        if lives.all().is_empty() {
            self.settings(key)?;
        }
        let life = match kid {
            Some(kid) => {
                let unknown = || AdminError::Unknown { what: "version", name: kid.clone() };
                lives.get(kid).ok_or_else(unknown)?
            }
            None => {
                let stage = stage.unwrap_or(Stage::Active);
                let none = || AdminError::NoVersion { key: key.clone(), stage: stage.name(), hint };
                lives.only(stage).ok_or_else(none)?
            }
        };
        if stage.is_some_and(|stage| life.stage != stage) {
            return Err(IllegalMove::Stage { kid: life.kid.clone(), from: life.stage, to }.into());
        }
        if matches!(act, Act::Destroy { .. }) && !matches!(life.stage, Stage::Removed | Stage::Revoked) {
            let stage = life.stage.name().to_owned();
            return Err(AdminError::InService { kid: life.kid.clone(), stage });
        }
        let pinned = Some(life.kid.clone());
        Ok(match act {
            Act::Activate { key, early, .. } => Act::Activate { key, kid: pinned, early },
            Act::Retire { key, .. } => Act::Retire { key, kid: pinned },
            Act::Revoke { key, reason, .. } => Act::Revoke { key, kid: pinned, reason },
            act => act,
        })
    }

    async fn perform(&self, by: &By, act: Act) -> Result<Done, AdminError> {
        let (kid, key) = match act {
            Act::Generate { key } => (self.generate(by, &key).await, key),
            Act::Adopt { key, name } => (self.adopt(by, &key, &name).await, key),
            Act::Rotate { key } => (self.rotate(by, &key).await, key),
            Act::Activate { key, kid, early } => (self.activate(by, &key, kid.as_deref(), early).await, key),
            Act::Retire { key, kid } => (self.retire(by, &key, kid.as_deref()).await, key),
            Act::Revoke { key, kid, reason } => {
                (self.revoke(by, &key, kid.as_deref(), reason.as_deref()).await, key)
            }
            Act::Destroy { key, kid } => (self.destroy(by, &key, &kid).await.map(|()| kid), key),
            Act::Release { backend, key } => {
                return self.release(by, &backend, key.as_deref()).await.map(Done::Released);
            }
            Act::Erase { whom, reason } => {
                let erased = self.erase(by, whom.as_ref(), reason).await?;
                return Ok(Done::Erased(erased.count));
            }
        };
        Ok(Done::Version { key, kid: kid? })
    }
}
