//! Lives of key versions as records tell them. Pure.

use jiff::Timestamp;
use serde::Serialize;

use super::figures::Named;
use super::said::Said;
use crate::audit::line::Line;

/// One version of a key. Times are those of records; what is before the log's begin is not known.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Name of its key; empty when no record says.
    pub key: String,
    /// Its algorithm, as far as records say.
    pub alg: Option<String>,
    /// When it was made or adopted.
    pub made: Option<String>,
    /// It was in a backend already.
    pub adopted: bool,
    /// When verifiers were first shown it.
    pub published: Option<String>,
    /// When it began to sign.
    pub activated: Option<String>,
    /// When it stopped signing.
    pub retired: Option<String>,
    /// When verifiers were no longer shown it.
    pub removed: Option<String>,
    /// When it was taken back.
    pub revoked: Option<String>,
    /// When its private half was destroyed.
    pub destroyed: Option<String>,
    /// What it is at the end of the period.
    pub state: &'static str,
    /// Whole days from when it was made to the end of the period, or to when it was destroyed.
    pub age_days: Option<i64>,
    /// JWTs issued with it in the period.
    pub jwts: u64,
    /// Requests of self-tests in the period.
    pub tests: u64,
    /// Checkpoints signed with it in the period.
    pub seals: u64,
    /// Times in the period that a backend was not to be trusted with it.
    pub quarantines: u64,
}

/// All of them, as the log goes on.
#[derive(Debug, Default)]
pub(super) struct Keys {
    versions: Named<Version>,
}

impl Keys {
    /// What a record says of a life, in the period or before it.
    pub(super) fn life(&mut self, line: &Line<'_>, said: &Said<'_>) {
        let Some(kid) = said.kid.as_deref() else { return };
        let acts = [
            "key.generated",
            "key.adopted",
            "key.published",
            "key.activated",
            "key.retired",
            "key.removed",
            "key.revoked",
            "key.destroyed",
        ];
        if !acts.contains(&line.event) {
            return;
        }
        // Acts are recorded before they take effect: a failure says that the record before came to nothing.
        let is_undone = said.outcome != "success";
        if is_undone && !self.versions.0.contains_key(kid) {
            return;
        }
        let version = self.versions.of(kid);
        if let Some(key) = &said.object {
            version.key = key.to_string();
        }
        if let Some(alg) = &said.alg {
            version.alg = Some(alg.to_string());
        }
        let when = match line.event {
            "key.generated" => &mut version.made,
            "key.adopted" => {
                version.adopted = !is_undone;
                &mut version.made
            }
            "key.published" => &mut version.published,
            "key.activated" => &mut version.activated,
            "key.retired" => &mut version.retired,
            "key.removed" => &mut version.removed,
            "key.revoked" => &mut version.revoked,
            _ => &mut version.destroyed,
        };
        *when = (!is_undone).then(|| line.time.to_owned());
    }

    /// What a record of the period says of its use.
    pub(super) fn used(&mut self, line: &Line<'_>, said: &Said<'_>) {
        let Some(kid) = said.kid.as_deref() else { return };
        let (count, more): (fn(&mut Version) -> &mut u64, u64) = match line.event {
            "jwt.issued" => (|version| &mut version.jwts, 1),
            "log.sealed" => (|version| &mut version.seals, 1),
            "key.tested" => (|version| &mut version.tests, said.count.unwrap_or_default()),
            "key.quarantined" => (|version| &mut version.quarantines, 1),
            _ => return,
        };
        let version = self.versions.of(kid);
        *count(version) += more;
        if version.alg.is_none() {
            version.alg = said.alg.as_deref().map(str::to_owned);
        }
    }

    /// As they are at `end`.
    pub(super) fn finish(mut self, end: Timestamp) -> Named<Version> {
        for version in self.versions.0.values_mut() {
            let states = [
                (&version.destroyed, "destroyed"),
                (&version.revoked, "revoked"),
                (&version.removed, "removed"),
                (&version.retired, "retired"),
                (&version.activated, "active"),
                (&version.published, "published"),
                (&version.made, "prepared"),
            ];
            let state = states.iter().find(|(when, _)| when.is_some());
            version.state = state.map_or("unknown", |(_, state)| state);
            let moment = |text: &Option<String>| text.as_deref()?.parse::<Timestamp>().ok();
            let until = moment(&version.destroyed).unwrap_or(end);
            version.age_days =
                moment(&version.made).map(|made| (until.as_second() - made.as_second()) / (24 * 3600));
        }
        self.versions
    }
}
