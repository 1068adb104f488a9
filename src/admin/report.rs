//! What there is to know of keys, for people and programs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Admin, AdminError};
use crate::backend;
use crate::keyring::machine::{Life, Lives, Stage, Step};
use crate::keyring::{Ring, Settings, Version, lives_of};
use crate::state::{KeyVersionRow, Keys};

/// The problem of a key without an active version.
pub const NOTHING_SIGNS: &str = "no version signs";
/// A step that is due for longer than this is a problem, seconds.
const LATE: i64 = 60;

/// One key of the configuration, or one that only the state knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyReport {
    /// `[key.NAME]`.
    pub key: String,
    /// JOSE name; absent if the configuration does not have the key.
    pub algorithm: Option<Cow<'static, str>>,
    /// Where its versions are, the first of them makes them.
    pub backends: Vec<String>,
    /// Whether versions are made by themselves, or adopted.
    pub generate: bool,
    /// What is to be done next.
    pub next: Option<NextStep>,
    /// All versions, oldest first.
    pub versions: Vec<VersionReport>,
    /// What is wrong, one sentence each.
    pub problems: Vec<String>,
}

/// What is to be done for a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NextStep {
    /// `prepare`, `publish`, `activate` or `remove`.
    pub step: Cow<'static, str>,
    /// Which version it is about; a version that is to be prepared is not known yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// One version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VersionReport {
    /// RFC 7638 thumbprint.
    pub kid: String,
    /// `prepared`, `active`, `retired`, `removed` or `revoked`.
    pub state: String,
    /// `[backend.NAME]` that made it.
    pub backend: String,
    /// Its id there.
    pub id: String,
    /// When it was made or adopted.
    pub created: Timestamp,
    /// When verifiers were first shown it.
    pub published: Option<Timestamp>,
    /// Prepared: from when on verifiers know it, so that it may sign.
    pub ready: Option<Timestamp>,
    /// Prepared: an operator wants it to sign from then on.
    pub wanted: bool,
    /// When it began to sign.
    pub activated: Option<Timestamp>,
    /// When it stops signing, whatever comes after it.
    pub stops: Option<Timestamp>,
    /// When it stopped signing.
    pub retired: Option<Timestamp>,
    /// When it was removed or revoked; until then, when an operator stopped it.
    pub ended: Option<Timestamp>,
    /// When its private half was destroyed, or will be: KMS keeps it for a while.
    pub destroyed: Option<Timestamp>,
    /// Why it was revoked.
    pub reason: Option<String>,
    /// Signatures, as last counted: within a second, or at the last stop.
    pub signatures: i64,
    /// Greatest `exp` of its JWTs, as last counted.
    pub last_exp: Option<Timestamp>,
    /// None of its JWTs expires later.
    pub exp_bound: Option<Timestamp>,
    /// Seconds since a signature of it last verified.
    pub proven_seconds_ago: Option<u64>,
}

impl Admin {
    /// All keys, by name.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn keys(&self) -> Result<Vec<KeyReport>, AdminError> {
        let keys = self.state.keys().await?;
        let now = self.clock.now().as_second();
        let mut reports = reports(&self.loader.keys, &keys, &self.keyring.ring(), now);
        if let Some(seals) = self.log.health().checkpoint {
            let cosign = seals.cosign.map(|cosign| (cosign.key, cosign.problem, "cosigned"));
            for (key, problem, what) in [(seals.key, seals.problem, "sealed")].into_iter().chain(cosign) {
                let own = reports.iter_mut().find(|report| report.key == key);
                if let (Some(own), Some(fault)) = (own, problem) {
                    own.problems.push(format!("the audit log is not {what}: {fault}"));
                }
            }
        }
        if let Some(fault) = self.publisher.fault() {
            let problem = format!(
                "the published files are not up to date ({fault}): the web server may still serve a version that was \
                 revoked"
            );
            reports.iter_mut().for_each(|report| report.problems.push(problem.clone()));
        }
        Ok(reports)
    }

    /// One key.
    ///
    /// # Errors
    /// Neither configuration nor state have it, or the state cannot be read.
    pub async fn key(&self, name: &str) -> Result<KeyReport, AdminError> {
        let unknown = || AdminError::Unknown { what: "key", name: name.to_owned() };
        self.keys().await?.into_iter().find(|report| report.key == name).ok_or_else(unknown)
    }
}

/// All keys that `settings` or the state have, by name, as they are `now` (Unix seconds).
pub fn reports(settings: &BTreeMap<String, Settings>, keys: &Keys, ring: &Ring, now: i64) -> Vec<KeyReport> {
    let mut names: Vec<&str> = settings.keys().map(String::as_str).collect();
    names.extend(keys.versions.iter().map(|row| row.key.as_str()));
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| report(name, settings.get(name), keys, ring, now)).collect()
}

fn report(name: &str, settings: Option<&Settings>, keys: &Keys, ring: &Ring, now: i64) -> KeyReport {
    let lives = lives_of(keys, name);
    let rows = keys.versions.iter().filter(|row| row.key == name);
    let next = settings.and_then(|settings| lives.next(now, &settings.rotation)).map(|due| {
        let (step, kid) = match due.step {
            Step::Prepare => ("prepare", None),
            Step::Publish(kid) => ("publish", Some(kid)),
            Step::Activate(kid) => ("activate", Some(kid)),
            Step::Remove(kid) => ("remove", Some(kid)),
        };
        NextStep { step: step.into(), kid, at: time(due.at) }
    });
    let mut problems = Vec::new();
    match (settings, lives.only(Stage::Active)) {
        (None, _) => {
            problems.push("not in the configuration: nothing signs with it; verifiers are shown it until its last JWT has expired".to_owned())
        }
        (Some(_), None) => problems.push(NOTHING_SIGNS.to_owned()),
        (Some(settings), Some(life)) => {
            if life.stops(&settings.rotation).is_some_and(|stops| stops <= now) {
                problems.push("its active version is past its time and does not sign".to_owned());
            }
        }
    }
    problems.extend(next.as_ref().and_then(|next| late(next, &lives, now)));
    problems.extend(rows.clone().filter_map(|row| torn(row, ring.version(&row.kid)?)));
    for intent in keys.intents.iter().filter(|intent| intent.key == name) {
        problems.push(format!("{} is being made, or was when that was broken off", intent.label));
    }
    KeyReport {
        key: name.to_owned(),
        algorithm: settings.map(|settings| settings.algorithm.name().into()),
        backends: settings.map(|settings| settings.backends.clone()).unwrap_or_default(),
        generate: settings.is_some_and(|settings| settings.may_generate),
        next,
        versions: rows.map(|row| version(row, lives.get(&row.kid), settings, ring)).collect(),
        problems,
    }
}

/// A step that should have been done: the daemon takes each within seconds.
fn late(next: &NextStep, lives: &Lives, now: i64) -> Option<String> {
    let life = next.kid.as_ref().and_then(|kid| lives.get(kid));
    // A version is to be shown as soon as there is one.
    let since = life.filter(|_| next.step == "publish").map_or(next.at, |life| time(life.created));
    let what = match &*next.step {
        "prepare" => "a new version",
        step => step,
    };
    let is_late = since < time(now.saturating_sub(LATE));
    is_late.then(|| format!("{what} has been due since {since}; see what the daemon's log says of the key"))
}

/// Of a version that an operator took back though the state does not say so.
fn torn(row: &KeyVersionRow, version: &Version) -> Option<String> {
    let says_otherwise = row.state != Stage::Revoked.name() && version.is_revoked();
    says_otherwise.then(|| {
        format!(
            "version {} was revoked, which could not be recorded: it signs nothing until the daemon is started anew, \
             and verifiers are still shown it; revoke it again",
            row.kid
        )
    })
}

fn version(
    row: &KeyVersionRow,
    life: Option<&Life>,
    settings: Option<&Settings>,
    ring: &Ring,
) -> VersionReport {
    let known = life.zip(settings.map(|settings| &settings.rotation));
    let stops = known.and_then(|(life, rotation)| life.stops(rotation));
    let prepared = known.filter(|(life, _)| life.stage == Stage::Prepared);
    let ready = prepared.and_then(|(life, rotation)| life.ready(rotation));
    VersionReport {
        kid: row.kid.clone(),
        state: row.state.clone(),
        backend: row.backend.clone(),
        id: backend::show_id(&row.backend_id),
        created: time(row.created),
        published: row.published.map(time),
        ready: ready.map(time),
        wanted: row.wanted,
        activated: row.activated.map(time),
        stops: stops.map(time),
        retired: row.retired.map(time),
        ended: row.ended.map(time),
        destroyed: row.destroyed.map(time),
        reason: row.reason.clone(),
        signatures: row.signatures,
        last_exp: row.last_exp.map(time),
        exp_bound: row.exp_bound.map(time),
        proven_seconds_ago: ring.version(&row.kid).and_then(|version| version.unproven_for()),
    }
}

/// A time outside of what can be written is shown as the end of time.
fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
