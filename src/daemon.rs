//! Composition root: builds every module from the configuration, serves, drains. The only file that knows everyone.

mod clock;
mod foundation;
mod recipients;
mod reload;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{Admin, AdminError, Followed, Mixed};
use crate::api::{Api, Current, Endpoint, InFlight, InForce, Socket};
use crate::audit::retain::Retainer;
use crate::audit::seal::Sealer;
use crate::audit::sink::{Sinks, StartError};
use crate::audit::{Entry, Event, Log, OpenError, Outcome, Unavailable};
use crate::backend;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::issuer::Issuer;
use crate::keyring::{LoadError, selftest};
use crate::misuse::Misuse;
use crate::revocation::Revocations;
use crate::state;
use crate::sys::{process, secure_file};
use crate::telemetry;
use crate::transport::{self, BindError, Counters, FactsWanted, Listener};

pub use clock::{Watched, open as open_clock};
use reload::{Reading, Reloader};

pub use foundation::{Foundation, admin, open_log, open_store, prepare, record_pending};

/// A key that has not signed for so long in one of its backends proves that it can.
const SELF_TEST_EVERY: Duration = Duration::from_secs(10);
/// Reloads that wait for the one under way, at most.
const RELOADS: usize = 8;
/// Work that blocks gets so long when all else has ended.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How often the log says how many self-tests there were. No longer than `audit::reconcile` takes it to be.
const RECORD_TESTS_EVERY: Duration = Duration::from_secs(60);
/// A signature of a checkpoint takes no longer, whatever JWTs are given.
const SEAL_WITHIN: Duration = Duration::from_secs(5);
/// The last seal gets so long, and one that is under way before it: signatures, records, and the witnesses.
const LAST_SEAL_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked whether erasures are done.
const SETTLE_EVERY: Duration = Duration::from_secs(60);
/// How often those that failed lately are tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why the daemon did not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Running as root was not asked for.
    #[error("refusing to run as root; run as a user of its own, or set `allow_root = true`")]
    Root,
    /// The runtime or a signal handler could not be made.
    #[error("the runtime could not be started")]
    Runtime(#[source] std::io::Error),
    /// The process could not be hardened.
    #[error("the process could not be hardened")]
    Harden(#[from] process::HardenError),
    /// Operator logs could not be started.
    #[error("operator logs could not be started")]
    Telemetry(#[source] telemetry::TelemetryError),
    /// A directory of ours, the module or the PIN file is missing or not secure.
    #[error("a file or directory is not usable")]
    File(#[from] secure_file::SecureFileError),
    /// The state could not be opened.
    #[error("the state could not be opened")]
    State(#[from] state::Error),
    /// The audit log could not be opened.
    #[error("the audit log could not be opened")]
    AuditOpen(#[from] OpenError),
    /// The audit log stopped recording.
    #[error("the audit log could not record the daemon's start")]
    Audit(#[from] Unavailable),
    /// A backend did not start.
    #[error("a backend is unavailable")]
    Backend(#[from] Box<backend::Error>),
    /// A key cannot be used.
    #[error("the keyring could not be built")]
    Keyring(#[from] LoadError),
    /// The keys could not be taken over from the state.
    #[error("the keyring could not be built")]
    Admin(#[source] AdminError),
    /// A token has keys of another environment.
    #[error(transparent)]
    Mixed(#[from] Mixed),
    /// A key did not sign its self-test.
    #[error("key {key:?} failed its self-test")]
    SelfTest {
        /// Name of the key.
        key: String,
        /// The first fault.
        #[source]
        source: Box<backend::Error>,
    },
    /// A sink of the audit log cannot be used.
    #[error(transparent)]
    Sink(#[from] StartError),
    /// A socket could not be had.
    #[error("a socket could not be opened")]
    Bind(#[from] BindError),
}

impl From<AdminError> for ServeError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Load(error) => Self::Keyring(error),
            AdminError::State(error) => Self::State(error),
            AdminError::Unavailable(error) => Self::Audit(error),
            error => Self::Admin(error),
        }
    }
}

/// Runs the daemon until SIGTERM or SIGINT; `ready` is called once all sockets answer. `file` is what `config` was read
/// from, and is read again at SIGHUP.
///
/// # Errors
/// Whatever kept it from starting. Everything that was started is stopped again.
pub fn serve(config: Config, file: &Path, ready: impl FnOnce()) -> Result<(), ServeError> {
    prepare(&config)?;
    process::raise_nofile()?;
    telemetry::init(&config.log.level, config.log.json).map_err(ServeError::Telemetry)?;
    let file = std::path::absolute(file).map_err(ServeError::Runtime)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(run(config, file, ready));
    // A directory of users that does not answer a reload must not keep the process.
    runtime.shutdown_timeout(END_WITHIN);
    outcome
}

/// A runtime for everything that talks to a backend. Half the cores: the workers' sessions need the others, and
/// fewer threads hand fewer requests to each other (measured by `scripts/bench`).
///
/// # Errors
/// When the system has no threads or descriptors left.
pub fn runtime() -> Result<tokio::runtime::Runtime, ServeError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads((cores / 2).max(1))
        .enable_all()
        .build()
        .map_err(ServeError::Runtime)
}

async fn run(config: Config, file: PathBuf, ready: impl FnOnce()) -> Result<(), ServeError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let started = clock.now();
    // It would end the process otherwise.
    let hangups = signal(SignalKind::hangup()).map_err(ServeError::Runtime)?;
    let log = open_log(&config)?;
    let store = open_store(&config)?;
    let (time, happenings) = clock::open(config.clock, Arc::clone(&clock), &store)?;
    // A clock that is not trusted must not make it forget what verifiers still go by.
    store.tell_cache(config.limits.jwks_max_age, time.steady().now().as_second())?;
    let sinks = Sinks::start(&config.sinks, &config.audit.dir, &log, &store, &clock)?;
    let shutdown = CancellationToken::new();
    let (notify, events) = mpsc::unbounded_channel();
    // What backends do is recorded until the log is about to end.
    let silence = CancellationToken::new();
    let kept = Arc::clone(&store);
    let recording = foundation::record_events(events, log.clone(), Arc::clone(&store), silence.clone());
    let recorder = tokio::spawn(recording);
    let mut sealing = Sealing::default();
    let (opened, outcome) = match Foundation::open(&config, store, notify).await {
        Ok(foundation) => {
            let (watched, shutdown) = ((time, happenings), shutdown.clone());
            let parts = (&foundation, &log, &mut sealing);
            let served = serve_from(config, (file, hangups), parts, watched, shutdown, ready).await;
            (Some(foundation), served)
        }
        Err(error) => (None, Err(error)),
    };

    shutdown.cancel();
    // Nothing may follow the last seal, and no backend may end before it.
    silence.cancel();
    sinks.silence();
    // It only fails by a panic, which is logged where it happens.
    let events = recorder.await.ok();
    let stopped = Entry { object: Some(version()), ..Entry::new(Event::DaemonStopped, outcome_of(&outcome)) };
    let recorded = match log.append(vec![stopped]) {
        Ok(mut ticket) => ticket.durable_by(Instant::now() + END_WITHIN).await,
        Err(unavailable) => Err(unavailable),
    };
    if let Err(error) = recorded {
        tracing::error!(%error, "Stop not recorded");
    }
    sealing.end().await;
    sinks.end().await;
    if let Some(foundation) = opened {
        foundation.close().await;
    }
    // What was found out meanwhile about a backend outlasts the restart, though no record may say so any more.
    if let Some(mut events) = events {
        foundation::keep_quarantines(&mut events, &kept);
    }
    log.close().await;
    tracing::info!(seconds = clock.now().duration_since(started).as_secs(), "Stopped");
    outcome
}

/// The task that seals the log, once there are keys.
#[derive(Default)]
struct Sealing {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Sealing {
    fn begin(&mut self, sealer: Sealer) {
        self.task = Some(tokio::spawn(sealer.run(self.stop.clone())));
    }

    /// The last seal is made, if it can be.
    async fn end(self) {
        self.stop.cancel();
        let Some(mut task) = self.task else { return };
        match timeout(LAST_SEAL_WITHIN, &mut task).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("Audit log not sealed at the end: a defect ended that"),
            Err(_) => {
                // Its record must not come after all others have ended.
                task.abort();
                tracing::error!("Audit log not sealed at the end: it did not come to that in time");
            }
        }
    }
}

async fn serve_from(
    config: Config,
    (file, hangups): (PathBuf, Signal),
    (foundation, log, sealing): (&Foundation, &Log, &mut Sealing),
    (time, happenings): Watched,
    shutdown: CancellationToken,
    ready: impl FnOnce(),
) -> Result<(), ServeError> {
    let Foundation { store, backends, .. } = foundation;
    let subjects = foundation::subjects(&config, foundation)?;
    let revocations = Arc::new(Revocations::open(Arc::clone(store))?);
    let admin = admin(&config, foundation, log, &time.steady());
    let admin = admin.with_subjects(subjects.clone()).with_revocations(Arc::clone(&revocations));
    let admin = Arc::new(admin);
    if let Some(fault) = admin.refresh().await?.into_iter().next() {
        return Err(fault.into());
    }
    admin.refuse_mixed().await?;
    let keyring = Arc::clone(&admin.keyring);
    let ring = keyring.ring();
    for key in config.keys.keys().filter(|key| ring.active(key).is_none()) {
        tracing::error!(
            key,
            "Key has no active version and signs nothing: run `jwsd keys generate` or `adopt`"
        );
    }
    let tests = ring
        .actives()
        .map(async |version| (version, selftest::run(version, Duration::ZERO, config.limits.deadline).await));
    for (version, mut faults) in join_all(tests).await {
        if version.replicas().is_quarantined() {
            tracing::error!(key = version.key(), kid = %version.kid(), "Key is in quarantine and does not sign");
        } else if version.unproven_for().is_none() && !faults.is_empty() {
            return Err(ServeError::SelfTest {
                key: version.key().to_owned(),
                source: Box::new(faults.swap_remove(0)),
            });
        }
    }
    match config.audit.checkpoint.clone() {
        Some(settings) => {
            let within = config.limits.deadline.min(SEAL_WITHIN);
            let (keyring, clock) = (Arc::clone(&keyring), time.steady());
            Sealer::new(settings, log.clone(), keyring, clock, within)
                .into_iter()
                .for_each(|sealer| sealing.begin(sealer));
        }
        None => {
            tracing::warn!("Audit log is not sealed: add [audit.checkpoint], so that changes to it are found")
        }
    }
    let misuse = Arc::new(Misuse::default());
    let issuer = Issuer::new(
        Arc::clone(&keyring),
        log.clone(),
        Arc::clone(&time),
        Arc::clone(&misuse),
        subjects,
        config.limits.deadline,
    );
    let (reloads, asked) = mpsc::channel(RELOADS);
    let in_force =
        Current::new(InForce::new(config.callers, config.policy, config.limits.clone(), config.misuse));
    let wanted = watch::Sender::new(in_force.get().wanted());
    let tracker = TaskTracker::new();
    let counters: [Arc<Counters>; 3] = Default::default();
    let api = Arc::new(Api {
        in_flight: InFlight::new(config.limits.in_flight),
        in_force: Arc::clone(&in_force),
        reloads,
        issuer: Arc::new(issuer),
        admin: Arc::clone(&admin),
        keyring: Arc::clone(&keyring),
        revocations,
        backends: backends.clone(),
        clock: Arc::clone(&time),
        misuse: Arc::clone(&misuse),
        log: log.clone(),
        tracker: tracker.clone(),
        counters: counters.clone(),
        started: SystemClock.now(),
    });

    let settings =
        [(config.signing, Socket::Signing), (config.admin, Socket::Admin), (config.public, Socket::Public)];
    let mut listeners = Vec::with_capacity(settings.len());
    for (settings, socket) in settings {
        listeners.push((Listener::open(&settings)?, socket));
    }
    record_start(log, &config.environment, &in_force.get().policy).await?;

    let background = TaskTracker::new();
    // Records in an archive are somebody's still.
    let forgets = config.audit.retain.as_ref().is_some_and(|terms| terms.archive.is_none());
    let retainer = config.audit.retain.and_then(|terms| Retainer::new(terms, log.clone(), time.steady()));
    retainer.into_iter().for_each(|retainer| drop(background.spawn(retainer.run(shutdown.clone()))));
    background.spawn(prove_keys(Arc::clone(&admin), config.limits.deadline, shutdown.clone()));
    background.spawn(look_after_people(Arc::clone(&admin), forgets, shutdown.clone()));
    background.spawn(Arc::clone(&admin).keep(shutdown.clone(), tracker.clone()));
    let (end, ended) = oneshot::channel();
    let keeping = self::clock::keep(time, happenings, Arc::clone(store), log.clone(), ended);
    let timekeeper = tokio::spawn(keeping);
    let sockets = TaskTracker::new();
    for ((listener, socket), counters) in listeners.into_iter().zip(counters) {
        let endpoint = Arc::new(Endpoint::new(Arc::clone(&api), socket));
        let transport = config.transport.clone();
        // Only callers are judged by facts; whoever else connects must not make us look at paths of their choice.
        let wanted = match socket {
            Socket::Signing => wanted.subscribe(),
            Socket::Admin | Socket::Public => watch::channel(FactsWanted::default()).1,
        };
        sockets.spawn(transport::serve(listener, transport, wanted, endpoint, counters, shutdown.clone()));
    }

    let reloader = Reloader {
        file,
        reading: Reading::default(),
        written: config.written,
        followed: Followed::new(&config.keys, &config.publication),
        in_force,
        wanted,
        seen: recipients::Seen::default(),
        admin,
        log: log.clone(),
    };
    background.spawn(reloader.run(hangups, asked, shutdown.clone()));
    process::notify_ready();
    tracing::info!(pid = std::process::id(), "Ready");
    ready();
    let stopped = stop_signal().await;
    process::notify_stopping();
    shutdown.cancel();
    let drained = async {
        for tasks in [&sockets, &tracker, &background] {
            tasks.close();
            tasks.wait().await;
        }
    };
    let drained = timeout(config.transport.drain, drained).await.is_ok();
    if !drained {
        tracing::warn!("Requests were still in flight at the end of the drain");
    }
    // It is there until it is told.
    let _ = end.send(drained);
    // It only fails by a panic, which is logged where it happens.
    let _ = timekeeper.await;
    stopped.map_err(ServeError::Runtime)
}

fn version() -> String {
    format!("jwsd {}", env!("CARGO_PKG_VERSION"))
}

fn outcome_of<T, E>(result: &Result<T, E>) -> Outcome {
    if result.is_ok() { Outcome::Success } else { Outcome::Failed }
}

async fn record_start(
    log: &Log,
    environment: &str,
    policy: &crate::policy::Policy,
) -> Result<(), Unavailable> {
    let started = Entry {
        object: Some(version()),
        reason: Some(format!("environment {environment}")),
        policy: Some(policy.digest().to_owned()),
        ..Entry::new(Event::DaemonStarted, Outcome::Success)
    };
    let entries = std::iter::once(started).chain(reload::in_force(policy));
    log.append(entries.collect())?.durable().await
}

/// Keeps readiness true and brings back what failed: a key that no caller has used lately, or that failed, signs a
/// self-test in each of its backends.
async fn prove_keys(admin: Arc<Admin>, deadline: Duration, shutdown: CancellationToken) {
    let keyring = Arc::clone(&admin.keyring);
    let record = async || {
        let ring = keyring.ring();
        admin.record_tests(ring.signing().chain(ring.versions())).await;
    };
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    let mut recorded = Instant::now();
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let ring = keyring.ring();
        let tests = ring.versions().map(|version| selftest::run(version, SELF_TEST_EVERY, deadline));
        let faults = join_all(tests).await.into_iter().flatten();
        // A long outage is not told every second.
        if told.is_none_or(|told: Instant| told.elapsed() >= SELF_TEST_EVERY) {
            for error in faults {
                told = Some(Instant::now());
                tracing::error!(%error, "Key self-test failed");
            }
        }
        if recorded.elapsed() >= RECORD_TESTS_EVERY {
            recorded = Instant::now();
            record().await;
        }
    }
    record().await;
}

/// Finishes erasures that were broken off, or that a backend held up, and forgets revocations of what has expired, and
/// people of whom nothing is kept.
async fn look_after_people(admin: Arc<Admin>, forgets: bool, shutdown: CancellationToken) {
    let mut ticks = interval(SETTLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        admin.settle_erasures().await;
        admin.forget_revocations().await;
        if forgets {
            admin.forget_people().await;
        }
    }
}

/// Waits for SIGTERM or SIGINT.
async fn stop_signal() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
