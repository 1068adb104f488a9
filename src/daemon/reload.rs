//! Reads the configuration file again: all of it is taken over, or nothing. One reload at a time, and none while the key
//! sets of recipients are looked at: all that changes the policy in force is done by one task.
//!
//! Whatever a new policy needs elsewhere is there, and its record is on disk, before the first request is judged by it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use std::sync::Arc;

use super::recipients::{self, changed};
use crate::admin::{Admin, AdminError, By, Followed};
use crate::api::{Current, Fault, Faulty, NotReloaded, Reload, Reloaded};
use crate::audit::{Entry, Event, Log, Outcome, Unavailable};
use crate::config::{self, Config, FaultKind, Faults, Written};
use crate::policy::Policy;
use crate::profile::Profile;
use crate::sys::process;
use crate::telemetry::Chain;
use crate::transport::FactsWanted;

#[cfg(test)]
mod tests;

/// A record is durable within this, or nothing is reloaded.
const RECORD_WITHIN: Duration = Duration::from_secs(5);

/// The file, and what it names, is read within this: a directory of users may never answer.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// How often the key sets of recipients are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Reads the configuration file again, beside what it said before. Blocks.
type Read = dyn Fn(&Path, &Written) -> Result<Config, Faults> + Send + Sync;

/// How the file is read again.
#[derive(Clone)]
pub(super) struct Reading {
    read: Arc<Read>,
    /// What takes longer is given up, and what comes of it is dropped.
    within: Duration,
}

impl Default for Reading {
    fn default() -> Self {
        Self { read: Arc::new(config::reload), within: READ_WITHIN }
    }
}

/// What is in force, and everything that a reload replaces.
pub(super) struct Reloader {
    /// The configuration file, absolute.
    pub(super) file: PathBuf,
    /// How it is read.
    pub(super) reading: Reading,
    /// What it said.
    pub(super) written: Written,
    /// What follows from its profiles.
    pub(super) followed: Followed,
    /// What requests are judged by.
    pub(super) in_force: Arc<Current>,
    /// What is looked up of callers when they connect.
    pub(super) wanted: watch::Sender<FactsWanted>,
    /// Key sets of recipients as they were last looked at.
    pub(super) seen: recipients::Seen,
    /// For the keys.
    pub(super) admin: Arc<Admin>,
    /// Where it is recorded.
    pub(super) log: Log,
}

impl Reloader {
    /// Reloads at each SIGHUP and whenever somebody asks, one after the other, and looks at recipients in between, until
    /// `shutdown`.
    pub(super) async fn run(
        mut self,
        mut hangups: Signal,
        mut asked: mpsc::Receiver<Reload>,
        shutdown: CancellationToken,
    ) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (by, done) = tokio::select! {
                () = shutdown.cancelled() => return,
                Some(()) = hangups.recv() => (By::DAEMON, None),
                Some(Reload { by, done }) = asked.recv() => (by, Some(done)),
                _ = ticks.tick() => {
                    self.look().await;
                    continue;
                }
            };
            process::notify_reloading();
            let outcome = self.reload(&by).await;
            process::notify_reloaded(&tell(&outcome));
            if let Some(done) = done {
                // Whoever hung up reads it in the record.
                let _ = done.send(outcome);
            }
        }
    }

    async fn reload(&mut self, by: &By) -> Result<Reloaded, NotReloaded> {
        let (file, running) = (self.file.clone(), self.written.clone());
        let Reading { read, within } = self.reading.clone();
        // Files and the system's users are read there, and patterns and schemas compiled.
        let read = spawn_blocking(move || read(&file, &running));
        let Ok(read) = timeout(within, read).await else {
            return Err(self.give_up(by).await?);
        };
        let config = match read.map_err(|_| AdminError::Defect)? {
            Ok(config) => config,
            Err(faults) => return Err(self.refuse(by, faults).await?),
        };
        let reloaded = self.compare(&config);
        if reloaded.changed {
            let followed = Followed::new(&config.keys, &config.publication);
            let done = self.take_over(by, config, &reloaded, &followed).await;
            if done.is_ok() {
                self.followed = followed;
            }
            self.admin.settle(self.followed.clone());
            done?;
        }
        Ok(reloaded)
    }

    /// What the reload will have done.
    fn compare(&self, config: &Config) -> Reloaded {
        let before = Arc::clone(&self.in_force.get().policy);
        let previous = before.digest().to_owned();
        let policy = config.policy.digest().to_owned();
        Reloaded {
            changed: previous != policy || self.written != config.written,
            profiles: self.written.profiles(&config.written),
            callers: self.written.callers(&config.written),
            recipients: recipients::changes(&before, &config.policy),
            settings: self.written.settings(&config.written),
            policy,
            previous,
        }
    }

    async fn take_over(
        &mut self,
        by: &By,
        config: Config,
        reloaded: &Reloaded,
        followed: &Followed,
    ) -> Result<(), AdminError> {
        self.admin.make_room(followed).await?;
        let Reloaded { policy, previous, profiles, .. } = reloaded;
        let is_new = |profile: &&Arc<Profile>| {
            let mut names = profiles.added.iter().chain(&profiles.changed);
            names.any(|name| name == profile.name.as_str())
        };
        let entry = Entry {
            policy: Some(policy.clone()),
            previous: Some(previous.clone()),
            reason: Some(reloaded.to_string()),
            ..entry(by, Event::PolicyReloaded, Outcome::Success)
        };
        let news = config.policy.profiles().filter(is_new).map(|profile| loaded(policy, profile));
        if let Err(error) = self.record(std::iter::once(entry.clone()).chain(news).collect()).await {
            // It may reach the disk all the same.
            let undone = Entry { outcome: Outcome::Failed, ..entry };
            let _ = self.log.append(vec![undone]);
            return Err(error.into());
        }
        let before = self.in_force.get();
        let next = before.followed_by(config.callers, config.policy, config.limits, config.misuse);
        let (known, wanted) = (before.wanted(), next.wanted());
        // Connections that know too little end by themselves; until the exchange both are judged by.
        self.wanted.send_replace(known.or(wanted));
        self.in_force.replace(next);
        self.wanted.send_replace(wanted);
        self.written = config.written;
        Ok(())
    }

    /// Takes over what changed in the key sets of recipients.
    async fn look(&mut self) {
        let before = self.in_force.get();
        if before.policy.recipients().is_empty() {
            return;
        }
        // Whatever does not come to its end below is looked at again.
        let mut seen = std::mem::take(&mut self.seen);
        let policy = Arc::clone(&before.policy);
        let look = spawn_blocking(move || (changed(&policy, &mut seen), seen));
        let ((new, entries), seen) = match timeout(self.reading.within, look).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => return tracing::error!("Key sets of recipients not looked at: this is a defect"),
            Err(_) => return tracing::error!("Key sets of recipients could not be read in time"),
        };
        // Recorded before it counts.
        if !entries.is_empty() && self.record(entries).await.is_err() {
            return;
        }
        self.seen = seen;
        if let Some(new) = new {
            self.in_force.replace(before.with_policy(new));
        }
    }

    /// Records that the file was not read in time.
    async fn give_up(&self, by: &By) -> Result<NotReloaded, AdminError> {
        let refused = Entry {
            policy: Some(self.in_force.get().policy.digest().to_owned()),
            reason: Some(format!("not read within {:?}", self.reading.within)),
            ..entry(by, Event::PolicyRefused, Outcome::Failed)
        };
        self.record(vec![refused]).await?;
        Ok(NotReloaded::Slow)
    }

    /// Records that the file has faults, and where: not what stands there.
    async fn refuse(&self, by: &By, faults: Faults) -> Result<NotReloaded, AdminError> {
        let paths: Vec<&str> = faults.faults.iter().map(|fault| fault.path.as_str()).collect();
        let paths: Vec<&str> = paths.into_iter().filter(|path| !path.is_empty()).collect();
        let reason = match faults.faults.len() {
            1 => format!("1 fault: {}", paths.join(", ")),
            count => format!("{count} faults: {}", paths.join(", ")),
        };
        let refused = Entry {
            policy: Some(self.in_force.get().policy.digest().to_owned()),
            reason: Some(reason.trim_end_matches([' ', ':']).to_owned()),
            ..entry(by, Event::PolicyRefused, Outcome::Denied)
        };
        let (report, insecure) = (faults.to_string(), faults.kind() == FaultKind::Permission);
        let show =
            |fault: config::Fault| Fault { path: fault.path, line: fault.line, message: fault.message };
        let faults: Vec<Fault> = faults.faults.into_iter().map(show).collect();
        for Fault { path, line, message } in &faults {
            tracing::error!(path, line, fault = message, "Configuration refused");
        }
        self.record(vec![refused]).await?;
        Ok(NotReloaded::Refused { faulty: Faulty { faults, report }, insecure })
    }

    async fn record(&self, entries: Vec<Entry>) -> Result<(), Unavailable> {
        self.log.append(entries)?.durable_by(Instant::now() + RECORD_WITHIN).await
    }
}

/// Says what is in force at the start: the policy as a whole, then each profile.
pub(super) fn in_force(policy: &Policy) -> Vec<Entry> {
    let digest = policy.digest();
    let whole = Entry {
        policy: Some(digest.to_owned()),
        ..entry(&By::DAEMON, Event::PolicyLoaded, Outcome::Success)
    };
    std::iter::once(whole).chain(policy.profiles().map(|profile| loaded(digest, profile))).collect()
}

/// One profile as evidence: how long its JWTs live, and what it allows that people must answer for.
fn loaded(policy: &str, profile: &Profile) -> Entry {
    let (default, max) = (profile.lifetime.default.as_secs(), profile.lifetime.max.as_secs());
    let mut told = vec![format!("lives for {default} s, {max} s at most")];
    told.extend(profile.overrides());
    Entry {
        policy: Some(policy.to_owned()),
        profile: Some(profile.name.to_string()),
        reason: Some(told.join("; ")),
        ..entry(&By::DAEMON, Event::PolicyLoaded, Outcome::Success)
    }
}

fn entry(by: &By, event: Event, outcome: Outcome) -> Entry {
    let By { actor, request, .. } = by.clone();
    Entry { actor, request, ..Entry::new(event, outcome) }
}

/// For operators, and on one line for the service manager.
fn tell(outcome: &Result<Reloaded, NotReloaded>) -> String {
    match outcome {
        Ok(reloaded) if reloaded.changed => {
            tracing::info!(policy = reloaded.policy, previous = reloaded.previous, changes = %reloaded, "Configuration reloaded");
            format!("Policy {}", reloaded.policy)
        }
        Ok(reloaded) => {
            tracing::info!(policy = reloaded.policy, "Configuration unchanged");
            format!("Policy {}", reloaded.policy)
        }
        Err(NotReloaded::Refused { faulty, .. }) => {
            let count = faulty.faults.len();
            tracing::error!(faults = count, "Configuration not reloaded, nothing changed");
            format!("Configuration not reloaded, faults: {count}; see the log")
        }
        Err(NotReloaded::Slow) => {
            tracing::error!("Configuration not read in time, nothing changed");
            "Configuration not read in time".to_owned()
        }
        Err(NotReloaded::Failed(error)) => {
            tracing::error!(error = %Chain(error), "Configuration not reloaded, nothing changed");
            "Configuration not reloaded; see the log".to_owned()
        }
    }
}
