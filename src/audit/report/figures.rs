//! Figures of a period: a fold over records, in the order of the log. Pure.
//!
//! What was before the period counts for nothing but the lives of keys and the policy in force.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::keys::{Keys, Version};
use super::said::{Actor, Said, Told};
use crate::audit::line::{Line, time_text};

/// Names of one kind that are counted apart, and entries of a list that are kept; the rest is counted together.
pub const MOST: usize = 1000;
/// Stands for the names beyond [`MOST`].
const OTHERS: &str = "(others)";
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Bars of the chart, at most.
const BARS: i64 = 130;

/// Records of the kinds that every table counts.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// `jwt.issued`; those that were not made in the end have a `jwt.failed` too.
    pub issued: u64,
    /// `jwt.denied`.
    pub denied: u64,
    /// `jwt.failed`.
    pub failed: u64,
    /// `policy.checked`.
    pub checked: u64,
    /// `request.rejected`.
    pub rejected: u64,
    /// `jwt.undelivered`.
    pub undelivered: u64,
    /// `alert.raised`.
    pub alerts: u64,
}

impl Tally {
    fn add(&mut self, event: &str) {
        let count = match event {
            "jwt.issued" => &mut self.issued,
            "jwt.denied" => &mut self.denied,
            "jwt.failed" => &mut self.failed,
            "policy.checked" => &mut self.checked,
            "request.rejected" => &mut self.rejected,
            "jwt.undelivered" => &mut self.undelivered,
            "alert.raised" => &mut self.alerts,
            _ => return,
        };
        *count += 1;
    }
}

/// Things by name, [`MOST`] at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Named<V>(pub BTreeMap<String, V>);

impl<V> Default for Named<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V: Default> Named<V> {
    pub(super) fn of(&mut self, name: &str) -> &mut V {
        let name = if self.0.len() < MOST || self.0.contains_key(name) { name } else { OTHERS };
        self.0.entry(name.to_owned()).or_default()
    }
}

/// The first [`MOST`], and how many more there were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept<T> {
    /// In the order of the log.
    pub shown: Vec<T>,
    /// Not shown.
    pub more: u64,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { shown: Vec::new(), more: 0 }
    }
}

impl<T> Kept<T> {
    fn push(&mut self, one: T) {
        if self.shown.len() < MOST {
            self.shown.push(one);
        } else {
            self.more += 1;
        }
    }
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.shown.len() as u64 + self.more
    }
}

/// One bar of the chart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// It begins then, in UTC.
    pub from: Timestamp,
    /// Its records.
    #[serde(flatten)]
    pub tally: Tally,
}

/// What a profile was used for.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct ProfileUse {
    /// Its records.
    #[serde(flatten)]
    pub tally: Tally,
    /// Longest `exp - iat` of a JWT issued, seconds.
    pub longest: Option<i64>,
    /// Issued and encrypted.
    pub encrypted: u64,
    /// Issued with the tag of a session.
    pub with_session: u64,
    /// Issued with the tag of a consent.
    pub with_consent: u64,
    /// Issued though a detector found something, which the configuration allows there.
    pub with_exceptions: u64,
    /// What the newest `policy.loaded` says of it.
    pub loaded: Option<String>,
}

/// How often a rule was broken.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct RuleUse {
    /// In `jwt.denied` and `request.rejected`.
    pub refused: u64,
    /// In `jwt.failed`.
    pub failed: u64,
    /// In `policy.checked`.
    pub checked: u64,
    /// When last.
    pub last: String,
}

/// Alerts of one rule, profile and caller.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// What was unusual.
    pub rule: String,
    /// Of this profile.
    pub profile: String,
    /// Of this caller.
    pub caller: String,
    /// `alert.raised` records.
    pub records: u64,
    /// The greatest `count` among them.
    pub greatest: u64,
    /// When first.
    pub first: String,
    /// When last.
    pub last: String,
    /// The last one's words.
    pub reason: String,
}

/// A policy by its digest.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyUse {
    /// Records of requests that it decided.
    pub requests: u64,
    /// When it was first and last named by a record.
    pub first: String,
    /// When last.
    pub last: String,
}

/// How a backend fared.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct BackendUse {
    /// `backend.down` with outcome `failed`.
    pub down: u64,
    /// `backend.up`.
    pub up: u64,
    /// `breaker.opened`.
    pub breakers: u64,
    /// `backend.quarantined` and `key.quarantined`.
    pub quarantines: u64,
    /// `pin.refused`.
    pub pins: u64,
    /// When last something failed.
    pub last: Option<String>,
    /// The record's words.
    pub reason: Option<String>,
}

/// Records of one event by outcome.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Outcomes {
    /// It was done.
    pub success: u64,
    /// It was refused.
    pub denied: u64,
    /// It could not be done.
    pub failed: u64,
}

impl Outcomes {
    /// All of them.
    pub fn sum(&self) -> u64 {
        self.success + self.denied + self.failed
    }
}

/// What records of the period say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// The period's begin.
    pub from: Timestamp,
    /// Its end, which is not in it.
    pub to: Timestamp,
    /// Records in it.
    pub records: u64,
    /// Number and time of its first.
    pub first: Option<(u64, String)>,
    /// Number and time of its last.
    pub last: Option<(u64, String)>,
    /// Records that could not be read as such; none in a sound log.
    pub unread: u64,
    /// All of it.
    pub totals: Tally,
    /// Seconds of one bucket.
    pub bucket_seconds: i64,
    /// Over time.
    pub buckets: Vec<Bucket>,
    /// By caller.
    pub callers: Named<Tally>,
    /// By profile.
    pub profiles: Named<ProfileUse>,
    /// By rule broken, or code of a failure.
    pub rules: Named<RuleUse>,
    /// What was unusual.
    pub alerts: Kept<Alert>,
    /// `DETECTOR:CLAIM` that the configuration let pass, by how often.
    pub exceptions: Named<u64>,
    /// JWTs issued while the kernel did not call the clock synchronised.
    pub unsynchronised: u64,
    /// Versions of keys, by `kid`.
    pub keys: Named<Version>,
    /// Acts on keys.
    pub key_acts: Kept<Told>,
    /// Policies that decided, by digest.
    pub policies: Named<PolicyUse>,
    /// Loads and changes of policy.
    pub policy_acts: Kept<Told>,
    /// When the policy last became another one, in or before the period, and its digest.
    pub policy_changed: Option<(String, String)>,
    /// What operators did.
    pub operators: Kept<Told>,
    /// The clock.
    pub clock: Kept<Told>,
    /// Starts and ends of the daemon, and what the log says of itself, seals left out.
    pub log: Kept<Told>,
    /// `log.sealed` records.
    pub seals: u64,
    /// When the last one was written.
    pub last_seal: Option<String>,
    /// Backends by name.
    pub backends: Named<BackendUse>,
    /// All records, by event.
    pub events: Named<Outcomes>,
}

/// Makes figures of lines.
pub struct Fold {
    figures: Figures,
    from: String,
    to: String,
    /// Where an alert is in the list, by rule, profile and caller.
    alerts: BTreeMap<(String, String, String), usize>,
    keys: Keys,
    digest: Option<String>,
}

impl Fold {
    /// For the period of `from` to before `to`.
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        let (buckets, bucket_seconds) = buckets(from, to);
        let figures = Figures {
            from,
            to,
            records: 0,
            first: None,
            last: None,
            unread: 0,
            totals: Tally::default(),
            bucket_seconds,
            buckets,
            callers: Named::default(),
            profiles: Named::default(),
            rules: Named::default(),
            alerts: Kept::default(),
            exceptions: Named::default(),
            unsynchronised: 0,
            keys: Named::default(),
            key_acts: Kept::default(),
            policies: Named::default(),
            policy_acts: Kept::default(),
            policy_changed: None,
            operators: Kept::default(),
            clock: Kept::default(),
            log: Kept::default(),
            seals: 0,
            last_seal: None,
            backends: Named::default(),
            events: Named::default(),
        };
        let (from, to) = (time_text(from), time_text(to));
        Self { figures, from, to, alerts: BTreeMap::new(), keys: Keys::default(), digest: None }
    }

    /// Takes the next record; one after the period is passed over.
    pub fn add(&mut self, line: &Line<'_>) {
        let is_in = line.time >= self.from.as_str();
        // Of what was before, only this is looked at.
        let is_known_still = line.event.starts_with("key.") || line.event.starts_with("policy.");
        if line.time >= self.to.as_str() || (!is_in && !is_known_still) {
            return;
        }
        let Ok(said) = serde_json::from_slice::<Said<'_>>(line.bytes) else {
            self.figures.unread += 1;
            return;
        };
        self.keys.life(line, &said);
        self.policy(line, &said);
        if is_in {
            self.count(line, &said);
            self.tell(line, &said);
        }
    }

    /// What came of it.
    pub fn finish(self) -> Figures {
        let mut figures = self.figures;
        figures.keys = self.keys.finish(figures.to);
        figures
    }

    fn policy(&mut self, line: &Line<'_>, said: &Said<'_>) {
        let is_in_force =
            matches!(line.event, "policy.loaded" | "policy.reloaded") && said.outcome == "success";
        let Some(digest) = said.policy.as_deref().filter(|_| is_in_force) else { return };
        if let (Some(profile), Some(reason)) = (&said.profile, &said.reason) {
            self.figures.profiles.of(profile).loaded = Some(reason.to_string());
        }
        if self.digest.as_deref() != Some(digest) {
            self.digest = Some(digest.to_owned());
            self.figures.policy_changed = Some((line.time.to_owned(), digest.to_owned()));
        }
    }

    fn count(&mut self, line: &Line<'_>, said: &Said<'_>) {
        let figures = &mut self.figures;
        let place = || Some((line.seq, line.time.to_owned()));
        figures.records += 1;
        figures.first = figures.first.take().or_else(place);
        figures.last = place();
        let outcomes = figures.events.of(line.event);
        match said.outcome {
            "success" => outcomes.success += 1,
            "denied" => outcomes.denied += 1,
            _ => outcomes.failed += 1,
        }
        figures.totals.add(line.event);
        if let Ok(time) = line.time.parse::<Timestamp>() {
            let first = figures.buckets.first().map_or(0, |bucket| bucket.from.as_second());
            let place = (time.as_second() - first) / figures.bucket_seconds;
            let bucket = usize::try_from(place).ok().and_then(|place| figures.buckets.get_mut(place));
            bucket.into_iter().for_each(|bucket| bucket.tally.add(line.event));
        }
        let is_request = line.event.starts_with("jwt.")
            || matches!(line.event, "policy.checked" | "request.rejected" | "alert.raised");
        if is_request {
            self.request(line, said);
        }
        self.keys.used(line, said);
    }

    fn request(&mut self, line: &Line<'_>, said: &Said<'_>) {
        let figures = &mut self.figures;
        let caller = said.actor.as_ref().map(Actor::caller);
        if let Some(caller) = &caller {
            figures.callers.of(caller).add(line.event);
        }
        if let Some(name) = &said.profile {
            let profile = figures.profiles.of(name);
            profile.tally.add(line.event);
            if line.event == "jwt.issued" {
                let lifetime = said.exp.zip(said.iat).map(|(exp, iat)| exp.saturating_sub(iat));
                profile.longest = profile.longest.max(lifetime);
                profile.encrypted += u64::from(said.enc.is_some());
                profile.with_session += u64::from(said.session.is_some());
                profile.with_consent += u64::from(said.consent.is_some());
                profile.with_exceptions += u64::from(!said.exceptions.is_empty());
            }
        }
        if line.event == "jwt.issued" {
            figures.unsynchronised += u64::from(said.clk.is_some());
            said.exceptions.iter().for_each(|exception| *figures.exceptions.of(exception) += 1);
        }
        if let Some(digest) = &said.policy {
            let policy = figures.policies.of(digest);
            policy.requests += 1;
            policy.last = line.time.to_owned();
            if policy.first.is_empty() {
                policy.first.clone_from(&policy.last);
            }
        }
        if line.event == "alert.raised" {
            return self.alert(line, said, caller.unwrap_or_default());
        }
        for rule in &said.rules {
            let rule = figures.rules.of(rule);
            match line.event {
                "policy.checked" => rule.checked += 1,
                "jwt.failed" => rule.failed += 1,
                _ => rule.refused += 1,
            }
            line.time.clone_into(&mut rule.last);
        }
    }

    fn alert(&mut self, line: &Line<'_>, said: &Said<'_>, caller: String) {
        let alerts = &mut self.figures.alerts;
        let rule = said.rules.first().map(ToString::to_string).unwrap_or_default();
        let profile = said.profile.as_deref().unwrap_or_default().to_owned();
        let name = (rule, profile, caller);
        let at = match self.alerts.get(&name) {
            Some(at) => *at,
            None if alerts.shown.len() < MOST => {
                let (rule, profile, caller) = name.clone();
                alerts.push(Alert { rule, profile, caller, first: line.time.to_owned(), ..Alert::default() });
                let at = alerts.shown.len() - 1;
                self.alerts.insert(name, at);
                at
            }
            None => {
                alerts.more += 1;
                return;
            }
        };
        if let Some(alert) = alerts.shown.get_mut(at) {
            alert.records += 1;
            alert.greatest = alert.greatest.max(said.count.unwrap_or_default());
            line.time.clone_into(&mut alert.last);
            alert.reason = said.reason.as_deref().unwrap_or_default().to_owned();
        }
    }

    /// Puts it on the lists where it belongs.
    fn tell(&mut self, line: &Line<'_>, said: &Said<'_>) {
        let figures = &mut self.figures;
        let family = line.event.split('.').next().unwrap_or_default();
        let told = || Told::of(line, said);
        match (family, line.event) {
            (_, "key.tested" | "key.quarantined") => {}
            ("key", _) => figures.key_acts.push(told()),
            // Those of single profiles only repeat what is in force.
            ("policy", "policy.loaded") if said.profile.is_some() => {}
            ("policy", "policy.loaded" | "policy.reloaded" | "policy.refused") => {
                figures.policy_acts.push(told())
            }
            ("clock", _) => figures.clock.push(told()),
            (_, "log.sealed") => {
                figures.seals += 1;
                figures.last_seal = Some(line.time.to_owned());
            }
            ("log" | "daemon", _) => figures.log.push(told()),
            _ => {}
        }
        let is_by_caller = matches!(family, "jwt" | "request" | "alert") || line.event == "policy.checked";
        if said.actor.is_some() && !is_by_caller {
            figures.operators.push(told());
        }
        self.backend(line, said);
    }

    fn backend(&mut self, line: &Line<'_>, said: &Said<'_>) {
        let Some(name) = said.object.as_deref() else { return };
        let is_failed = match line.event {
            "backend.up" => false,
            "backend.down" => said.outcome == "failed",
            "breaker.opened" | "key.quarantined" | "backend.quarantined" | "pin.refused" => true,
            _ => return,
        };
        let backend = self.figures.backends.of(name);
        match line.event {
            "backend.up" => backend.up += 1,
            "backend.down" => backend.down += u64::from(is_failed),
            "breaker.opened" => backend.breakers += 1,
            "pin.refused" => backend.pins += 1,
            _ => backend.quarantines += 1,
        }
        if is_failed {
            backend.last = Some(line.time.to_owned());
            backend.reason = said.reason.as_deref().map(str::to_owned);
        }
    }
}

/// Empty buckets over the period, whole hours, days or weeks of UTC, and the seconds of one.
fn buckets(from: Timestamp, to: Timestamp) -> (Vec<Bucket>, i64) {
    let span = (to.as_second() - from.as_second()).max(1);
    let mut width = [HOUR, DAY, 7 * DAY].into_iter().find(|width| span <= width * BARS).unwrap_or(7 * DAY);
    // Years: several weeks at once.
    width *= (span / (width * BARS) + 1).max(1);
    // 1970-01-01 was a Thursday; weeks begin on Monday.
    let shift = if width >= 7 * DAY { 4 * DAY } else { 0 };
    let first = (from.as_second() - shift).div_euclid(width) * width + shift;
    let starts = (0..).map(|place| first + place * width).take_while(|start| *start < to.as_second());
    let bucket = |start| Some(Bucket { from: Timestamp::from_second(start).ok()?, tally: Tally::default() });
    (starts.filter_map(bucket).collect(), width)
}
