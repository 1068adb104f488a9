//! Keys that turn by themselves: what is due is done, what was broken off is taken up again, and what only people can
//! do is told to them in time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::keys::SWITCH;
use super::{Admin, AdminError, By};
use crate::audit::Event;
use crate::keyring::machine::{Due, Stage, Step};
use crate::keyring::{Settings, lives_of};
use crate::state::Keys;
use crate::telemetry::Chain;

/// How often the keeper looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The right to rotate is asked for so long.
pub(super) const LEASE: Duration = Duration::from_secs(10);
/// Between attempts at a step that fails: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(300)];
/// What only people can do is told again after this, seconds.
const TELL_EVERY: i64 = 86_400;
/// How often backends are looked through for keys that nobody knows.
const ORPHANS_EVERY: Duration = Duration::from_secs(3600);
/// The most steps of one key that follow each other without a pause.
const STEPS: usize = 8;

/// What the keeper remembers of a key.
#[derive(Default)]
struct Memory {
    /// A failed step is tried again then, after such a pause.
    pause: Option<(Instant, Duration)>,
    /// When people were told last that a version is wanted, Unix seconds.
    told: Option<i64>,
    /// What is under way; whether it went well.
    task: Option<JoinHandle<bool>>,
}

impl Admin {
    /// Keeps the keys turning until `shutdown`; long work goes on in `tracker`.
    pub async fn keep(self: Arc<Self>, shutdown: CancellationToken, tracker: TaskTracker) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut memory: BTreeMap<String, Memory> = BTreeMap::new();
        let mut looked: Option<Instant> = None;
        let mut complaint: Option<(Instant, String)> = None;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.nudge.notified() => {}
                _ = ticks.tick() => {}
            }
            // What cannot be written can be read all the same: others may have revoked.
            let (tallied, looked_after) = (self.tally().await, self.look(&mut memory, &tracker).await);
            if let Err(error) = looked_after.and(tallied) {
                // A long outage is not told every second.
                let error = Chain(&error).to_string();
                if complaint.as_ref().is_none_or(|(at, old)| *old != error || at.elapsed() >= PAUSES[1]) {
                    tracing::error!(error, "Keys not looked after");
                    complaint = Some((Instant::now(), error));
                }
            }
            if looked.is_none_or(|looked| looked.elapsed() >= ORPHANS_EVERY) {
                looked = Some(Instant::now());
                let admin = Arc::clone(&self);
                tracker.spawn(async move { admin.find_orphans().await });
            }
        }
        if let Err(error) = self.tally().await {
            tracing::error!(error = %Chain(&error), "Last signatures not counted");
        }
    }

    async fn look(
        self: &Arc<Self>,
        memory: &mut BTreeMap<String, Memory>,
        tracker: &TaskTracker,
    ) -> Result<(), AdminError> {
        let keys = self.state.keys().await?;
        // A gate that was closed for a change that came to nothing is opened again, too.
        let is_behind = self.refreshing.try_lock().is_ok_and(|is_behind| *is_behind);
        let is_old = keys.revision != self.keyring.ring().keys.revision;
        if is_behind || is_old || self.publisher.is_due() {
            let behind = self.publisher.fault().is_some();
            self.refresh().await?;
            if behind && self.publisher.fault().is_none() {
                // What waited for it goes on at once.
                memory.values_mut().for_each(|memory| memory.pause = None);
            }
        }
        let now = self.clock.now().as_second();
        for (key, settings) in &self.loader.keys {
            let memory = memory.entry(key.clone()).or_default();
            if let Err(error) = self.tell(&keys, key, settings, now, memory).await {
                tracing::error!(key, error = %Chain(&error), "That a version is wanted is not recorded");
            }
            if let Some(task) = memory.task.take_if(|task| task.is_finished())
                && task.await.unwrap_or(false)
            {
                memory.pause = None;
            }
            let waits = memory.pause.is_some_and(|(until, _)| Instant::now() < until);
            if waits || memory.task.is_some() {
                continue;
            }
            let Some(due) = self.due(&keys, key, settings, now) else {
                memory.pause = None;
                continue;
            };
            if !self.state.lease(&self.host, now, LEASE).await? {
                continue;
            }
            let pause = memory.pause.map_or(PAUSES[0], |(_, pause)| PAUSES[1].min(pause * 2));
            memory.pause = Some((Instant::now() + pause, pause));
            let (admin, key) = (Arc::clone(self), key.clone());
            // A slow HSM holds up nothing else.
            memory.task = Some(tracker.spawn(async move {
                let carried_on = match admin.turn(&key).await {
                    Ok(_turn) => admin.carry_on(&key).await,
                    Err(error) => Err(error),
                };
                match carried_on {
                    Ok(()) => admin.nudge.notify_one(),
                    // An operator or another host does it, or has just done it.
                    Err(AdminError::Busy { .. } | AdminError::Illegal(_)) => return false,
                    Err(error) => {
                        tracing::error!(key, step = ?due.step, error = %Chain(&error), "Key not turned");
                        return false;
                    }
                }
                true
            }));
        }
        Ok(())
    }

    /// What is due for a key and can be done here.
    fn due(&self, keys: &Keys, key: &str, settings: &Settings, now: i64) -> Option<Due> {
        let lives = lives_of(keys, key);
        // Who takes over from another one is told a moment ahead.
        let switches = lives.only(Stage::Active).is_some();
        let is_due = |due: &Due| {
            let lead = if switches && matches!(due.step, Step::Activate(_)) { SWITCH } else { 0 };
            let possible = due.step != Step::Prepare || settings.may_generate;
            possible && due.at <= now.saturating_add(lead)
        };
        let due = lives.steps(now, &settings.rotation).into_iter().filter(is_due).min_by_key(|due| due.at);
        let is_broken_off = settings.may_generate && keys.intents.iter().any(|intent| intent.key == key);
        due.or_else(|| is_broken_off.then_some(Due { step: Step::Prepare, at: now }))
    }

    /// Does for a key whatever is due, step by step, for whoever has the turn.
    ///
    /// # Errors
    /// Of the first step that fails.
    pub(super) async fn carry_on(&self, key: &str) -> Result<(), AdminError> {
        let settings = self.settings(key)?;
        for _ in 0..STEPS {
            let keys = self.state.keys().await?;
            let Some(due) = self.due(&keys, key, settings, self.clock.now().as_second()) else { break };
            match due.step {
                Step::Prepare => drop(self.make(&By::DAEMON, key).await?),
                Step::Publish(kid) => self.publish(key, &kid).await?,
                Step::Activate(kid) => self.switch(&By::DAEMON, key, &kid, false).await?,
                Step::Remove(kid) => self.remove(key, &kid).await?,
            }
        }
        Ok(())
    }

    /// Tells people in time that they are to bring a version.
    async fn tell(
        &self,
        keys: &Keys,
        key: &str,
        settings: &Settings,
        now: i64,
        memory: &mut Memory,
    ) -> Result<(), AdminError> {
        let mut steps = lives_of(keys, key).steps(now, &settings.rotation).into_iter();
        let wanted = steps.find(|due| due.step == Step::Prepare && !settings.may_generate);
        let notice = i64::try_from(settings.rotation.notice.as_secs()).unwrap_or(i64::MAX);
        let Some(due) = wanted.filter(|due| due.at.saturating_sub(notice) <= now) else {
            memory.told = None;
            return Ok(());
        };
        if memory.told.is_some_and(|told| now.abs_diff(told) < TELL_EVERY.unsigned_abs()) {
            return Ok(());
        }
        let by = jiff::Timestamp::from_second(due.at).unwrap_or(jiff::Timestamp::MAX);
        let mut entry = By::DAEMON.entry(Event::KeyWanted);
        entry.object = Some(key.to_owned());
        entry.reason = Some(format!("a new version must be adopted by {by}"));
        self.record(vec![entry]).await?;
        tracing::warn!(key, %by, "Key needs a new version: make it and run `jwsd keys adopt`");
        memory.told = Some(now);
        Ok(())
    }
}
