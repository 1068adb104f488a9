//! `jwsd keys`: make and list keys, and allow a login again after a wrong PIN.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;

use super::ConfigFile;
use super::output::{CONFIG, Failure, Outcome, UNAVAILABLE, line, table};
use super::release;
use crate::audit::{Actor, Entry, Event, Log, OpenError, Outcome as Recorded};
use crate::backend::pkcs11::pin;
use crate::backend::{self, Settings};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config};
use crate::daemon::{self, Foundation, ServeError};
use crate::keyring;
use crate::state;

/// An RSA-4096 key takes a slow HSM this long.
const GENERATE_WITHIN: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make the first version of a configured key inside its backend; the daemon must be stopped
    Generate {
        #[command(flatten)]
        file: ConfigFile,
        /// Name of the key, as in `[key.NAME]`
        key: String,
    },
    /// List configured keys and what the backends hold
    List {
        #[command(flatten)]
        file: ConfigFile,
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
            line(format_args!("key {key}: active version {}", generate(&config, key)?))?;
        }
        Command::List { file, json } => list(&config::load(&file.config)?, *json)?,
        Command::Release(arguments) => return release::run(arguments),
        Command::ClearPin { file, backend } => clear_pin(&config::load(&file.config)?, backend)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the first version of `key` and records it. Gives its `kid`.
pub(super) fn generate(config: &Config, key: &str) -> Result<String, Failure> {
    let settings = config.keys.get(key).ok_or_else(|| {
        let known: Vec<&str> = config.keys.keys().map(String::as_str).collect();
        Failure::new(
            CONFIG,
            format_args!("the configuration has no [key.{key}]; it has: {}", known.join(", ")),
        )
    })?;
    daemon::prepare(config)?;
    daemon::runtime()?.block_on(async {
        let running = "the daemon is running; stop it, generate the key, start it again";
        let log = log_if_free(config)?.ok_or_else(|| Failure::new(UNAVAILABLE, running))?;
        let made = with_backends(config, Some(&log), async |foundation| {
            let first = settings.backends.first().and_then(|name| foundation.backends.get(name));
            let backend = first.ok_or_else(|| Failure::new(CONFIG, "the key has no backend"))?;
            let (store, now) = (&foundation.store, SystemClock.now());
            keyring::generate(key, settings, store, Arc::clone(backend), now, GENERATE_WITHIN)
                .await
                .map_err(|error| Failure::because(UNAVAILABLE, &error))
        })
        .await;
        let outcome = if made.is_ok() { Recorded::Success } else { Recorded::Failed };
        let entry = Entry {
            actor: Some(Actor::ourselves()),
            object: Some(key.to_owned()),
            kid: made.as_ref().ok().map(ToString::to_string),
            alg: Some(settings.algorithm.name()),
            ..Entry::new(Event::KeyGenerated, outcome)
        };
        let recorded = record(&log, entry).await;
        log.close().await;
        let kid = made?;
        recorded.map(|()| kid.to_string())
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

#[derive(Serialize)]
struct Row {
    key: String,
    state: String,
    kid: String,
    algorithm: String,
    backend: String,
    id: String,
    problems: Vec<String>,
}

fn list(config: &Config, json: bool) -> Result<(), Failure> {
    daemon::prepare(config)?;
    let rows = daemon::runtime()?.block_on(async {
        let log = log_if_free(config)?;
        let rows =
            with_backends(config, log.as_ref(), async |foundation| rows(config, foundation).await).await;
        if let Some(log) = log {
            log.close().await;
        }
        rows
    })?;
    if json {
        let text =
            serde_json::to_string_pretty(&rows).map_err(|error| Failure::new(super::output::BUG, error))?;
        return line(text);
    }
    let cells = |row: &Row| {
        let Row { key, state, kid, algorithm, backend, id, problems } = row;
        let problems = if problems.is_empty() { "none".to_owned() } else { problems.join("; ") };
        [key, state, kid, algorithm, backend, id].into_iter().cloned().chain([problems]).collect()
    };
    let header = ["KEY", "STATE", "KID", "ALGORITHM", "BACKEND", "ID", "PROBLEMS"];
    table(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}

async fn rows(config: &Config, foundation: &Foundation) -> Result<Vec<Row>, Failure> {
    let versions = foundation.store.key_versions().map_err(|error| Failure::because(UNAVAILABLE, &error))?;
    let mut held = Vec::new();
    for (name, backend) in &foundation.backends {
        let listed = backend.list().await.map_err(|error| Failure::because(UNAVAILABLE, &error))?;
        held.extend(listed.into_iter().map(|key| (name.clone(), key)));
    }

    let mut rows: Vec<Row> = Vec::new();
    for version in versions {
        let id = backend::show_id(&version.backend_id);
        let mut problems = Vec::new();
        match held.iter().position(|(backend, key)| *backend == version.backend && key.id == id) {
            Some(place) => problems.append(&mut held.swap_remove(place).1.problems),
            None => problems.push("not in the backend".to_owned()),
        }
        if !config.keys.contains_key(&version.key) {
            problems.push("not in the configuration".to_owned());
        }
        let state::KeyVersionRow { key, state, kid, algorithm, backend, .. } = version;
        rows.push(Row { key, state, kid, algorithm, backend, id, problems });
    }
    let missing: Vec<_> =
        config.keys.iter().filter(|(key, _)| rows.iter().all(|row| row.key != **key)).collect();
    for (key, settings) in missing {
        rows.push(Row {
            problems: vec![format!("no version yet; run `jwsd keys generate --config FILE {key}`")],
            state: "missing".to_owned(),
            algorithm: settings.algorithm.name().to_owned(),
            backend: settings.backends.join(", "),
            kid: String::new(),
            id: String::new(),
            key: key.clone(),
        });
    }
    for (backend, mut found) in held {
        found.problems.insert(0, "not ours: unknown to the state".to_owned());
        let (key, state) = (format!("({})", found.label), "foreign".to_owned());
        rows.push(Row {
            key,
            state,
            kid: String::new(),
            algorithm: found.kind,
            backend,
            id: found.id,
            problems: found.problems,
        });
    }
    Ok(rows)
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
