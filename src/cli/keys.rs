//! `jwsd keys`: make, adopt and list keys, and allow a login again after a wrong PIN.

mod list;
mod release;

use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::ConfigFile;
use super::output::{CONFIG, Failure, Outcome, UNAVAILABLE, line};

use crate::admin::{Admin, AdminError, By};
use crate::audit::{Actor, Entry, Event, Log, OpenError, Outcome as Recorded};
use crate::backend::Settings;
use crate::backend::pkcs11::pin;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config};
use crate::daemon::{self, Foundation, ServeError};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make the first version of a configured key inside its backend; the daemon must be stopped
    Generate {
        #[command(flatten)]
        file: ConfigFile,
        /// Name of the key, as in `[key.NAME]`
        key: String,
    },
    /// Take a key into use that is inside its backend already; the daemon must be stopped
    Adopt {
        #[command(flatten)]
        file: ConfigFile,
        /// Name of the key, as in `[key.NAME]`
        key: String,
        /// The key there: a PKCS#11 URI such as 'pkcs11:object=LABEL', a CKA_ID in hex, or a KMS key ARN, id or alias
        name: String,
    },
    /// List configured keys and what the backends hold
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Show all there is to know of a key, in each of its backends
    Show {
        #[command(flatten)]
        file: ConfigFile,
        /// Name of the key, or label or id of one that is only in a backend
        key: String,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// After a wrong PIN was corrected: allow one more login to the backend
    ClearPin {
        #[command(flatten)]
        file: ConfigFile,
        /// Name of the backend, as in `[backend.NAME]`
        backend: String,
    },
    Release(release::Arguments),
}

pub(super) fn run(command: &Command) -> Outcome {
    match command {
        Command::Generate { file, key } => {
            let config = config::load(&file.config)?;
            line(format_args!("key {key}: version {}", generate(&config, key)?))?;
        }
        Command::Release(arguments) => return release::run(arguments),
        Command::Adopt { file, key, name } => {
            let config = config::load(&file.config)?;
            line(format_args!("key {key}: version {}", adopt(&config, key, name)?))?;
        }
        Command::List { file, json } => list::list(&config::load(&file.config)?, *json)?,
        Command::Show { file, key, json } => list::show(&config::load(&file.config)?, key, *json)?,
        Command::ClearPin { file, backend } => clear_pin(&config::load(&file.config)?, backend)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the next version of `key` and records it. Gives its `kid`.
pub(super) fn generate(config: &Config, key: &str) -> Result<String, Failure> {
    by_ourselves(config, key, async |admin| admin.generate(&operator(), key).await)
}

/// Takes what `name` names in the backend as the next version of `key`, and records it. Gives its `kid`.
fn adopt(config: &Config, key: &str, name: &str) -> Result<String, Failure> {
    by_ourselves(config, key, async |admin| admin.adopt(&operator(), key, name).await)
}

fn operator() -> By {
    By::operator(Actor::ourselves(), None)
}

/// Acts in place of the daemon, which is not running.
fn by_ourselves(
    config: &Config,
    key: &str,
    act: impl AsyncFnOnce(&Admin) -> Result<String, AdminError>,
) -> Result<String, Failure> {
    if !config.keys.contains_key(key) {
        let known: Vec<&str> = config.keys.keys().map(String::as_str).collect();
        let message = format!("the configuration has no [key.{key}]; it has: {}", known.join(", "));
        return Err(Failure::new(CONFIG, message));
    }
    daemon::prepare(config)?;
    daemon::runtime()?.block_on(async {
        let running = "the daemon is running; stop it, run this again, start it again";
        let log = log_if_free(config)?.ok_or_else(|| Failure::new(UNAVAILABLE, running))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let done = with_backends(config, Some(&log), async |foundation| {
            let admin = daemon::admin(config, foundation, &log, &clock);
            act(&admin).await.map_err(|error| Failure::because(UNAVAILABLE, &error))
        })
        .await;
        log.close().await;
        done
    })
}

/// The log to record in; `None` while the daemon runs, which holds it.
fn log_if_free(config: &Config) -> Result<Option<Log>, Failure> {
    match daemon::open_log(config) {
        Ok(log) => Ok(Some(log)),
        Err(ServeError::AuditOpen(OpenError::Locked { .. })) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Starts the backends, acts, ends them; what happened to them is recorded if `log` is ours.
async fn with_backends<T>(
    config: &Config,
    log: Option<&Log>,
    act: impl AsyncFnOnce(&Foundation) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (notify, mut events) = mpsc::unbounded_channel();
    let store = daemon::open_store(config)?;
    let outcome = match Foundation::open(config, Arc::clone(&store), notify).await {
        Ok(foundation) => {
            let outcome = act(&foundation).await;
            foundation.close().await;
            outcome
        }
        Err(error) => Err(error.into()),
    };
    if let Some(log) = log {
        daemon::record_pending(&mut events, log, &store);
    }
    outcome
}

fn clear_pin(config: &Config, backend: &str) -> Result<(), Failure> {
    let settings = config
        .backends
        .get(backend)
        .ok_or_else(|| Failure::new(CONFIG, format_args!("the configuration has no [backend.{backend}]")))?;
    let Settings::Pkcs11(settings) = settings else {
        return Err(Failure::new(CONFIG, format_args!("backend {backend} has no PIN")));
    };
    daemon::prepare(config)?;
    let unreadable = |error| Failure::new(UNAVAILABLE, format_args!("the PIN marker of {backend}: {error}"));
    let state = pin::state(&settings.marker_dir, backend).map_err(unreadable)?;
    if state.allows_login() {
        return line(format_args!("backend {backend}: no login is blocked"));
    }
    // Recorded before it is done; the running daemon records it when it notices.
    let log = log_if_free(config)?;
    if let Some(log) = &log {
        let entry = Entry {
            actor: Some(Actor::ourselves()),
            object: Some(backend.to_owned()),
            ..Entry::new(Event::PinCleared, Recorded::Success)
        };
        daemon::runtime()?.block_on(async {
            let recorded = record(log, entry).await;
            log.close().await;
            recorded
        })?;
    }
    pin::clear(&settings.marker_dir, backend).map_err(unreadable)?;
    let who = if log.is_some() { "the next start" } else { "the running daemon" };
    line(format_args!("backend {backend}: {who} logs in once"))
}

/// Records one act of an operator, durably.
async fn record(log: &Log, entry: Entry) -> Result<(), Failure> {
    let recorded = match log.append(vec![entry]) {
        Ok(mut ticket) => ticket.durable().await,
        Err(error) => Err(error),
    };
    recorded.map_err(|error| Failure::because(UNAVAILABLE, &error))
}
