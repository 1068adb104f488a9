//! Unusual use: too many JWTs, bursts of refusals, programs that were not there before, use outside the hours. Says what
//! an alert is worth and what must be refused; `issuer` records the one and answers the other.
//!
//! Pure in its results: the time is an argument. Keeps what it counts in memory only, and no more of it than a constant
//! allows: a restart forgets. Never knows a subject, only its tag.

mod recent;
#[cfg(test)]
mod tests;
mod window;

use crate::caller::Caller;
use crate::profile::{Action, Per, Profile, ProfileName, Rate, Threshold};
use jiff::Timestamp;
use recent::Recent;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use window::Window;

/// Subjects that are counted at once, all profiles together, 6 MiB. Whoever has JWTs for more than these in one window
/// makes the counts of those who were there first be forgotten; rates per caller are what helps against that.
pub const SUBJECTS: usize = 32_768;
/// Counters of callers and profiles: more than a configuration has, whatever was reloaded.
const COUNTERS: usize = 16_384;
/// Users whose programs are remembered, and programs of each.
const USERS: usize = 1024;
const PROGRAMS: usize = 32;
/// New programs are told of once in so long, by user.
const NEWS: Duration = Duration::from_secs(3600);
/// Use outside the hours is told once in so long, by caller and profile.
const OUTSIDE: Duration = Duration::from_secs(3600);

/// Stands for a subject.
pub type SubjectTag = [u8; 16];

/// What is looked at for all callers, whatever the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Refused requests of one caller.
    pub denials: Threshold,
    /// Whether a program is told of that a user's callers did not run before.
    pub new_exe: bool,
}

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// One caller had many JWTs of a profile.
    RateCaller,
    /// Many JWTs of a profile were had.
    RateProfile,
    /// Many JWTs of a profile were about one subject.
    RateSubject,
    /// Many requests of one caller were refused.
    Denials,
    /// A user's caller is a program that was none before.
    NewExe,
    /// A profile was used outside its hours.
    Hours,
}
impl Rule {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::RateCaller, Self::RateProfile, Self::RateSubject, Self::Denials, Self::NewExe, Self::Hours];
    /// Stable; documented, and in records.
    pub fn id(self) -> &'static str {
        match self {
            Self::RateCaller => "rate.caller",
            Self::RateProfile => "rate.profile",
            Self::RateSubject => "rate.subject",
            Self::Denials => "denials.caller",
            Self::NewExe => "exe.new",
            Self::Hours => "hours.outside",
        }
    }
    fn of(per: Per) -> Self {
        match per {
            Per::Caller => Self::RateCaller,
            Per::Profile => Self::RateProfile,
            Per::Subject => Self::RateSubject,
        }
    }
}

/// Something that people should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// What it is about.
    pub rule: Rule,
    /// How many there were in the window.
    pub count: Option<u64>,
    /// In words, without anything that a caller says.
    pub reason: String,
}
/// Too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Of what.
    pub rule: Rule,
    /// Until one more is possible.
    pub wait: Duration,
}

/// For status.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Alerts since the daemon started, by rule.
    alerts: BTreeMap<&'static str, u64>,
    /// Requests that were refused because there were too many.
    refused: u64,
    /// Subjects that are counted now.
    subjects: usize,
}

/// Remembers and judges.
#[derive(Debug)]
pub struct Misuse {
    state: Mutex<State>,
}
#[derive(Debug)]
struct State {
    counters: Recent<Key, Counter>,
    subjects: Recent<Key, Counter>,
    outside: Recent<(ProfileName, String), i64>,
    programs: Recent<u32, Programs>,
    raised: BTreeMap<Rule, u64>,
    refused: u64,
}
/// Those of one user, the one that asked last first, and when a new one was last told of.
#[derive(Debug, Default)]
struct Programs {
    known: VecDeque<PathBuf>,
    told: Option<i64>,
}
/// What is counted together. Not by its place in the configuration, which another one may give to something else; with its
/// window, so that requests of before and after a reload do not make each other's counts begin anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    /// None: refusals, whatever they were about.
    profile: Option<ProfileName>,
    window: Duration,
    of: Of,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Of {
    Caller(String),
    Profile,
    Subject(SubjectTag),
}
/// That a JWT was counted, though it is not signed yet. Dropped, it was not.
#[derive(Debug)]
#[must_use = "what is dropped was not counted"]
pub struct Counted<'a> {
    misuse: &'a Misuse,
    keys: Vec<Key>,
    at: i64,
}
/// One count, and when it was last told of.
#[derive(Debug)]
struct Counter {
    window: Window,
    warned: Option<i64>,
    refused: Option<i64>,
}

impl Default for Misuse {
    /// Nothing has happened yet.
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                counters: Recent::new(COUNTERS),
                subjects: Recent::new(SUBJECTS),
                outside: Recent::new(COUNTERS),
                programs: Recent::new(USERS),
                raised: BTreeMap::new(),
                refused: 0,
            }),
        }
    }
}

impl Misuse {
    /// Looks at who asks, once for each call.
    pub fn see(&self, settings: Settings, caller: &Caller, now: Timestamp) -> Option<Alert> {
        if !settings.new_exe {
            return None;
        }
        // A program that the configuration names is no news.
        let exe = caller.peer().facts().exe.as_ref().filter(|_| !caller.is_by_exe())?;
        let mut state = self.lock();
        let Programs { known, told } = state.programs.entry(caller.peer().uid(), Programs::default);
        let found = known.iter().position(|known| known == exe).and_then(|at| known.remove(at));
        let is_news = found.is_none() && !known.is_empty();
        known.truncate(PROGRAMS - 1);
        known.push_front(found.unwrap_or_else(|| exe.clone()));
        let now = now.as_millisecond();
        if !is_news || !is_due(*told, now, NEWS) {
            return None;
        }
        *told = Some(now);
        let reason = format!("uid {} had not asked by this program before", caller.peer().uid());
        Some(state.raise(Rule::NewExe, None, reason))
    }

    /// Whether the caller may ask at all, before policy: whoever was refused too often may not.
    ///
    /// # Errors
    /// [`Refused`], with the alert about it if there was none yet.
    pub fn may_ask(
        &self,
        settings: Settings,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), (Refused, Option<Alert>)> {
        let threshold = settings.denials;
        let Some(most) = threshold.refuse else { return Ok(()) };
        let mut state = self.lock();
        let now = now.as_millisecond();
        let counter = state.counter(&Key::denials(threshold, caller), now);
        let count = counter.window.count(now);
        if count <= u64::from(most) {
            return Ok(());
        }
        let wait = counter.window.wait(now, most.saturating_add(1));
        let tell = counter.tells_refusal(now, threshold);
        state.refused += 1;
        let alert = tell.then(|| state.raise(Rule::Denials, Some(count), refusing(threshold, most)));
        Err((Refused { rule: Rule::Denials, wait }, alert))
    }

    /// A request of the caller was refused, by policy or for its size.
    pub fn denied(&self, settings: Settings, caller: &Caller, now: Timestamp) -> Option<Alert> {
        let threshold = settings.denials;
        let mut state = self.lock();
        let now = now.as_millisecond();
        let counter = state.counter(&Key::denials(threshold, caller), now);
        counter.window.add(now);
        let count = counter.window.count(now);
        let (most, tell) = counter.tells_warning(now, threshold, count)?;
        tell.then(|| state.raise(Rule::Denials, Some(count), warning(threshold, most)))
    }

    /// A JWT of this profile is about to be signed. Counts it, unless it must be refused: then nothing was counted. What
    /// comes to nothing later is taken back by dropping [`Counted`].
    pub fn admit(
        &self,
        caller: &Caller,
        profile: &Profile,
        subject: Option<SubjectTag>,
        now: Timestamp,
    ) -> (Vec<Alert>, Result<Counted<'_>, Refused>) {
        let hours = profile.hours.as_ref();
        let outside = hours.filter(|hours| hours.action == Action::Warn && !hours.is_open(now));
        let mut alerts = Vec::new();
        let now = now.as_millisecond();
        let mut counted = Counted { misuse: self, keys: Vec::new(), at: now };
        if profile.rates.is_empty() && outside.is_none() {
            return (alerts, Ok(counted));
        }
        // One about subjects counts nothing where there is none.
        let key = |rate| Some((rate, Key::of(rate, caller, profile, subject)?));
        let rates: Vec<(&Rate, Key)> = profile.rates.iter().filter_map(key).collect();
        let mut state = self.lock();
        let mut refused: Option<Refused> = None;
        for (rate, key) in &rates {
            let Some(most) = rate.threshold.refuse else { continue };
            let counter = state.counter(key, now);
            let count = counter.window.count(now);
            if count < u64::from(most) {
                continue;
            }
            let rule = Rule::of(rate.per);
            let wait = counter.window.wait(now, most);
            if counter.tells_refusal(now, rate.threshold) {
                alerts.push(state.raise(rule, Some(count), refusing(rate.threshold, most)));
            }
            if refused.is_none_or(|refused| refused.wait < wait) {
                refused = Some(Refused { rule, wait });
            }
        }
        if let Some(refused) = refused {
            state.refused += 1;
            return (alerts, Err(refused));
        }
        for (rate, key) in rates {
            let counter = state.counter(&key, now);
            counter.window.add(now);
            let count = counter.window.count(now);
            if let Some((most, true)) = counter.tells_warning(now, rate.threshold, count) {
                alerts.push(state.raise(Rule::of(rate.per), Some(count), warning(rate.threshold, most)));
            }
            counted.keys.push(key);
        }
        if let Some(hours) = outside {
            let told = state.outside.entry((profile.name.clone(), caller.name().to_owned()), || i64::MIN);
            if is_due(Some(*told), now, OUTSIDE) {
                *told = now;
                alerts.push(state.raise(Rule::Hours, None, format!("used outside {hours}")));
            }
        }
        (alerts, Ok(counted))
    }

    /// For status.
    pub fn report(&self) -> Report {
        let state = self.lock();
        let count = |rule: Rule| (rule.id(), state.raised.get(&rule).copied().unwrap_or(0));
        Report {
            alerts: Rule::ALL.into_iter().map(count).collect(),
            refused: state.refused,
            subjects: state.subjects.len(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A count may be one off after a panic, no more.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn raise(&mut self, rule: Rule, count: Option<u64>, reason: String) -> Alert {
        *self.raised.entry(rule).or_default() += 1;
        Alert { rule, count, reason }
    }
    fn counter(&mut self, key: &Key, now: i64) -> &mut Counter {
        let counters = match key.of {
            Of::Caller(_) | Of::Profile => &mut self.counters,
            Of::Subject(_) => &mut self.subjects,
        };
        counters.entry(key.clone(), || Counter::new(key.window, now))
    }
}

impl Key {
    fn denials(threshold: Threshold, caller: &Caller) -> Self {
        Self { profile: None, window: threshold.window, of: Of::Caller(caller.name().to_owned()) }
    }
    /// `None` if the rate is about subjects and there is none.
    fn of(rate: &Rate, caller: &Caller, profile: &Profile, subject: Option<SubjectTag>) -> Option<Self> {
        let of = match rate.per {
            Per::Caller => Of::Caller(caller.name().to_owned()),
            Per::Profile => Of::Profile,
            Per::Subject => Of::Subject(subject?),
        };
        Some(Self { profile: Some(profile.name.clone()), window: rate.threshold.window, of })
    }
}

impl Counted<'_> {
    /// The JWT left.
    pub fn keep(mut self) {
        self.keys.clear();
    }
}
impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let mut state = self.misuse.lock();
        for key in &self.keys {
            state.counter(key, self.at).window.remove(self.at);
        }
    }
}

impl Counter {
    fn new(window: Duration, now: i64) -> Self {
        Self { window: Window::new(window, now), warned: None, refused: None }
    }
    /// The number that is exceeded, if one is, and whether to tell of it: once in a window.
    fn tells_warning(&mut self, now: i64, threshold: Threshold, count: u64) -> Option<(u32, bool)> {
        let most = threshold.warn.filter(|most| count > u64::from(*most))?;
        let due = is_due(self.warned, now, threshold.window);
        if due {
            self.warned = Some(now);
        }
        Some((most, due))
    }
    fn tells_refusal(&mut self, now: i64, threshold: Threshold) -> bool {
        let due = is_due(self.refused, now, threshold.window);
        if due {
            self.refused = Some(now);
        }
        due
    }
}

/// Also when the clock was set back behind what was told.
fn is_due(told: Option<i64>, now: i64, window: Duration) -> bool {
    let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    told.is_none_or(|told| now.abs_diff(told) >= window)
}
fn warning(threshold: Threshold, most: u32) -> String {
    format!("more than {most} in {} s", threshold.window.as_secs())
}
fn refusing(threshold: Threshold, most: u32) -> String {
    format!("more than {most} in {} s; more are refused", threshold.window.as_secs())
}
