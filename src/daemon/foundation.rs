//! What `serve` and the key commands have in common: a hardened process, the audit log, the state, the backends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::ServeError;
use crate::admin::{Admin, Parts};
use crate::audit::{Entry, Event, Log, Outcome};
use crate::backend::pkcs11::{self, Backend, PinSource, pin};
use crate::backend::{self, BackendEvent, Health, KeyStore, Settings, aws_kms};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::keyring::{self, Backends, Keyring, Loader, Publisher, Ring};
use crate::state::{QuarantineRow, Store};
use crate::subject::{Epochs, Subjects};
use crate::sys::{process, secure_file};
use crate::telemetry::Chain;

/// Refuses root unless the configuration allows it, and hardens the process. Comes first: before threads, files, PINs.
///
/// # Errors
/// [`ServeError::Root`] or [`ServeError::Harden`].
pub fn prepare(config: &Config) -> Result<(), ServeError> {
    if process::is_root() && !config.allow_root {
        return Err(ServeError::Root);
    }
    Ok(process::harden()?)
}

/// Opens the audit log of a configuration.
///
/// # Errors
/// See [`crate::audit::OpenError`]; the running daemon holds its lock.
pub fn open_log(config: &Config) -> Result<Log, ServeError> {
    Ok(Log::open(&config.audit, Arc::new(SystemClock))?)
}

/// Opens the state of a configuration.
///
/// # Errors
/// [`ServeError::File`] or [`ServeError::State`].
pub fn open_store(config: &Config) -> Result<Arc<Store>, ServeError> {
    secure_file::private_dir(&config.state.dir)?;
    Ok(Arc::new(Store::open(&config.state, &config.environment)?))
}

/// Who turns keys under a configuration: the daemon, or a key command in its place.
pub fn admin(config: &Config, foundation: &Foundation, log: &Log, clock: &Arc<dyn Clock>) -> Admin {
    let keys = foundation.keys(config);
    let certificates = keys.values().any(|settings| !settings.certificates.is_empty());
    let publisher = Publisher::new(config.publication.clone(), certificates);
    // Of all that share a state, one host alone holds the lock of this log.
    let host = format!("{} {}", process::host_name(), config.audit.dir.display());
    Admin::new(Parts {
        store: Arc::clone(&foundation.store),
        state: Arc::new(Arc::clone(&foundation.store)),
        keyring: Arc::new(Keyring::new(Ring::empty())),
        loader: Loader { keys, backends: foundation.backends.clone() },
        log: log.clone(),
        clock: Arc::clone(clock),
        environment: config.environment.clone(),
        host,
    })
    .with_publisher(publisher)
    .with_two_person(config.two_person.clone())
}

/// The keys of people of a configuration.
///
/// # Errors
/// [`ServeError::State`].
pub(super) fn subjects(config: &Config, foundation: &Foundation) -> Result<Subjects, ServeError> {
    let epochs = Epochs {
        settings: config.subjects.clone(),
        backends: foundation.backends.clone(),
        environment: config.environment.clone(),
    };
    Ok(Subjects::open(Arc::clone(&foundation.store), epochs)?)
}

/// Between attempts to write down what could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// State and backends of a configuration.
pub struct Foundation {
    /// Key versions, secrets, quarantines.
    pub store: Arc<Store>,
    /// Every configured backend, ready.
    pub backends: Backends,
    /// How long verifiers may keep the key set: what they are told now, or were told before and may still go by.
    pub cache: Duration,
}

impl Foundation {
    /// The keys of the configuration, as they turn while verifiers go by what they were told before.
    pub fn keys(&self, config: &Config) -> BTreeMap<String, keyring::Settings> {
        let mut keys = config.keys.clone();
        for settings in keys.values_mut() {
            settings.rotation.cache = settings.rotation.cache.max(self.cache);
        }
        keys
    }

    /// Starts every backend, which tell `events` what happens to them from then on. One that does not start goes on
    /// trying, as long as every key is in another one that did.
    ///
    /// # Errors
    /// The first that is not usable; what was started before it is ended.
    pub async fn open(
        config: &Config,
        store: Arc<Store>,
        events: mpsc::UnboundedSender<BackendEvent>,
    ) -> Result<Self, ServeError> {
        let quarantines = store.quarantines()?;
        let cache = store.cache(config.limits.jwks_max_age, SystemClock.now().as_second())?;
        let mut foundation = Self { store, backends: BTreeMap::new(), cache };
        let mut faults = BTreeMap::new();
        for (name, settings) in &config.backends {
            let health = Health::of_backend(name, Some(events.clone()));
            if let Some(row) = quarantines.iter().find(|row| row.backend == *name && row.kid.is_none()) {
                health.restore(&row.reason);
            }
            if let Err(error) = check(settings) {
                let needed = |key: &keyring::Settings| key.backends == [name.as_str()];
                if config.keys.values().any(needed) || config.backends.len() == 1 {
                    foundation.close().await;
                    return Err(error);
                }
                tracing::error!(backend = name, error = %Chain(&error), "Backend is not usable");
            }
            let (backend, started) = start(settings, health).await;
            if let Err(fault) = started
                && backend.health().quarantined().is_none()
            {
                faults.insert(name, fault);
            }
            foundation.backends.insert(name.clone(), backend);
        }
        // A key that another backend holds too is served from there meanwhile.
        for settings in config.keys.values() {
            if settings.backends.iter().all(|name| faults.contains_key(name))
                && let Some(fault) = settings.backends.iter().find_map(|name| faults.remove(name))
            {
                foundation.close().await;
                return Err(Box::new(fault).into());
            }
        }
        Ok(foundation)
    }

    /// Ends every backend.
    pub async fn close(&self) {
        for backend in self.backends.values() {
            backend.shutdown().await;
        }
    }
}

type Started = (Arc<dyn KeyStore>, Result<(), backend::Error>);

async fn start(settings: &Settings, health: Arc<Health>) -> Started {
    match settings {
        Settings::Pkcs11(settings) => {
            let (backend, started) = Backend::start(settings.clone(), pin_reader(settings), health).await;
            (backend, started)
        }
        Settings::AwsKms(settings) => aws_kms::Backend::start(settings.clone(), health).await,
    }
}

/// What each start of a worker looks at again; here its faults still have their type.
fn check(settings: &Settings) -> Result<(), ServeError> {
    let Settings::Pkcs11(settings) = settings else {
        return Ok(());
    };
    secure_file::private_dir(&settings.marker_dir)?;
    secure_file::check_trusted_path(&settings.module)?;
    if let PinSource::File(path) = &settings.pin
        && pin::state(&settings.marker_dir, &settings.name).is_ok_and(pin::State::allows_login)
    {
        secure_file::read_secret(path)?;
    }
    Ok(())
}

fn pin_reader(settings: &pkcs11::Settings) -> pkcs11::ReadPin {
    let (source, module) = (settings.pin.clone(), settings.module.clone());
    Box::new(move || {
        // The module gets the PIN, so nobody else may be able to replace it.
        secure_file::check_trusted_path(&module).map_err(|error| Chain(&error).to_string())?;
        let path = match &source {
            PinSource::File(path) => path.clone(),
            PinSource::Credential(name) => credential(name)?,
        };
        secure_file::read_secret(&path).map_err(|error| format!("the PIN cannot be read: {}", Chain(&error)))
    })
}

fn credential(name: &str) -> Result<PathBuf, String> {
    let directory = process::credentials_directory().ok_or_else(|| {
        format!("credential {name:?}: systemd passed none (is LoadCredential= set in the unit?)")
    })?;
    Ok(directory.join(name))
}

/// Turns what happens to backends into records and state, until `silence`, and what has happened by then.
pub(super) async fn record_events(
    mut events: mpsc::UnboundedReceiver<BackendEvent>,
    log: Log,
    store: Arc<Store>,
    silence: CancellationToken,
) -> mpsc::UnboundedReceiver<BackendEvent> {
    let mut unwritten = Vec::new();
    while !silence.is_cancelled() {
        let event = tokio::select! {
            event = events.recv(), if !events.is_closed() => event,
            () = silence.cancelled() => None,
            () = sleep(RETRY), if !unwritten.is_empty() => None,
        };
        unwritten.extend(event.and_then(|event| record(&log, event)));
        let (rows, store) = (std::mem::take(&mut unwritten), Arc::clone(&store));
        // The state blocks; a panic in there is logged where it happens.
        unwritten = spawn_blocking(move || write(&store, rows)).await.unwrap_or_default();
    }
    record_pending(&mut events, &log, &store);
    events
}

/// Keeps quarantines that came too late to be recorded. Blocks on the state.
pub(super) fn keep_quarantines(events: &mut mpsc::UnboundedReceiver<BackendEvent>, store: &Store) {
    while let Ok(event) = events.try_recv() {
        let row = quarantine(&event);
        if let Some(row) = &row {
            tracing::error!(
                backend = row.backend,
                reason = row.reason,
                "Quarantined at the end, and not recorded"
            );
        }
        write(store, row.into_iter().collect());
    }
}

/// The quarantine that an event is about.
fn quarantine(event: &BackendEvent) -> Option<QuarantineRow> {
    let (backend, kid, reason) = match event {
        BackendEvent::KeyQuarantined { backend, kid, reason } => (backend, Some(kid.clone()), reason),
        BackendEvent::BackendQuarantined { backend, reason } => (backend, None, reason),
        _ => return None,
    };
    let since = SystemClock.now().as_second();
    Some(QuarantineRow { backend: backend.clone(), kid, reason: reason.clone(), since })
}

/// Records what has happened to backends so far. Blocks on the state.
pub fn record_pending(events: &mut mpsc::UnboundedReceiver<BackendEvent>, log: &Log, store: &Store) {
    while let Ok(event) = events.try_recv() {
        write(store, record(log, event).into_iter().collect());
    }
}

/// Keeps quarantines over a restart; gives back what could not be written.
fn write(store: &Store, mut rows: Vec<QuarantineRow>) -> Vec<QuarantineRow> {
    rows.retain(|row| match store.quarantine(row) {
        Ok(()) => false,
        Err(error) => {
            tracing::error!(backend = row.backend, error = %Chain(&error), "Quarantine would not outlast a restart");
            true
        }
    });
    rows
}

/// Records an event; gives the quarantine that it is about.
fn record(log: &Log, event: BackendEvent) -> Option<QuarantineRow> {
    use BackendEvent::{
        BackendQuarantined, BreakerClosed, BreakerOpened, KeyQuarantined, PinCleared, PinRefused, WorkerDown,
        WorkerUp,
    };
    use Outcome::{Denied, Failed, Success};
    let quarantine = quarantine(&event);
    let (kind, outcome, backend, kid, reason) = match event {
        WorkerUp { backend, .. } => (Event::BackendUp, Success, backend, None, None),
        WorkerDown { backend, stopping, reason, .. } => {
            let outcome = if stopping { Success } else { Failed };
            (Event::BackendDown, outcome, backend, None, Some(reason))
        }
        PinRefused { backend, reason } => (Event::PinRefused, Denied, backend, None, Some(reason)),
        PinCleared { backend } => (Event::PinCleared, Success, backend, None, None),
        KeyQuarantined { backend, kid, reason } => {
            (Event::KeyQuarantined, Failed, backend, Some(kid), Some(reason))
        }
        BackendQuarantined { backend, reason } => {
            (Event::BackendQuarantined, Failed, backend, None, Some(reason))
        }
        BreakerOpened { backend, kid, reason } => (Event::BreakerOpened, Failed, backend, kid, Some(reason)),
        BreakerClosed { backend, kid } => (Event::BreakerClosed, Success, backend, kid, None),
    };
    let entry = Entry { object: Some(backend), kid, reason, ..Entry::new(kind, outcome) };
    if let Err(error) = log.append(vec![entry]).map(drop) {
        tracing::error!(%error, "Backend event not recorded");
    }
    quarantine
}
