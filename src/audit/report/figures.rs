//! What records of a period come to, in numbers and short lists. Pure data: `fold` fills it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::keys::Version;
use super::said::Told;

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
    pub(super) fn add(&mut self, event: &str) {
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
    pub(super) fn push(&mut self, one: T) {
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

/// Empty buckets over the period, whole hours, days or weeks of UTC, and the seconds of one.
pub(super) fn buckets(from: Timestamp, to: Timestamp) -> (Vec<Bucket>, i64) {
    // The end is not in it, but what is left of its second is.
    let end = to.as_second() + i64::from(to.subsec_nanosecond() > 0);
    let span = (end - from.as_second()).max(1);
    let mut width = [HOUR, DAY, 7 * DAY].into_iter().find(|width| span <= width * BARS).unwrap_or(7 * DAY);
    // Years: several weeks at once.
    width *= (span - 1) / (width * BARS) + 1;
    // 1970-01-01 was a Thursday; weeks begin on Monday.
    let shift = if width >= 7 * DAY { 4 * DAY } else { 0 };
    let first = (from.as_second() - shift).div_euclid(width) * width + shift;
    let starts = (0..).map(|place| first + place * width).take_while(|start| *start < end);
    let bucket = |start| Some(Bucket { from: Timestamp::from_second(start).ok()?, tally: Tally::default() });
    (starts.filter_map(bucket).collect(), width)
}
