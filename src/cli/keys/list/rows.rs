//! What the list is made of: the state's versions, each looked up in its backends, and what else the backends hold.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::offline::{log_if_free, with_backends};
use crate::admin::{self, KeyReport, NextStep, VersionReport};
use crate::backend::{self, Class, Listed, Wanted};
use crate::cli::output::{Failure, UNAVAILABLE};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::daemon::{self, Foundation};
use crate::jose::{Algorithm, PublicKey};
use crate::keyring::Ring;
use crate::state::{KeyVersionRow, QuarantineRow};

/// A key version in one backend, or a key that only a backend knows.
#[derive(Clone, Default, Serialize)]
pub(super) struct Row {
    pub(super) key: String,
    pub(super) state: String,
    pub(super) kid: String,
    pub(super) algorithm: String,
    pub(super) backend: String,
    pub(super) label: String,
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) attributes: Vec<String>,
    pub(super) name: String,
    /// What the state knows of it.
    pub(super) version: Option<VersionReport>,
    /// What is done next for the key, if it is about this version.
    pub(super) next: Option<NextStep>,
    pub(super) problems: Vec<String>,
}

/// What the daemon says of its keys, without looking into the backends.
pub(super) fn of_reports(reports: Vec<KeyReport>) -> Vec<Row> {
    let mut rows = Vec::new();
    for report in &reports {
        let first = rows.len();
        for version in &report.versions {
            rows.push(Row {
                key: report.key.clone(),
                state: version.state.clone(),
                kid: version.kid.clone(),
                algorithm: report.algorithm.as_deref().unwrap_or_default().to_owned(),
                backend: version.backend.clone(),
                id: version.id.clone(),
                version: Some(version.clone()),
                ..Row::default()
            });
        }
        if report.versions.is_empty() {
            rows.push(missing(report));
        }
        if let Some(own) = rows.get_mut(first..) {
            say(own, report);
        }
    }
    rows
}

/// Puts what is said of a key as a whole to that of its rows that it is about.
fn say(rows: &mut [Row], report: &KeyReport) {
    if let Some(next) = &report.next {
        let about = |row: &&mut Row| match &next.kid {
            Some(kid) => row.kid == *kid,
            None => row.state == "active",
        };
        let mut said = false;
        for row in rows.iter_mut().filter(about) {
            (row.next, said) = (Some(next.clone()), true);
        }
        if let (false, Some(last)) = (said, rows.last_mut()) {
            last.next = Some(next.clone());
        }
    }
    if let Some(row) = rows.last_mut().filter(|row| row.state != "missing") {
        row.problems.extend(report.problems.iter().cloned());
    }
}

fn missing(report: &KeyReport) -> Row {
    let key = &report.key;
    let hint = match report.generate {
        true => format!("run `jwsd keys generate {key}`"),
        false => format!("make one in the backend and run `jwsd keys adopt {key} NAME`"),
    };
    Row {
        key: key.clone(),
        state: "missing".to_owned(),
        algorithm: report.algorithm.as_deref().unwrap_or_default().to_owned(),
        backend: report.backends.join(", "),
        problems: vec![format!("no version yet; {hint}")],
        ..Row::default()
    }
}

pub(super) fn collect(config: &Config) -> Result<Vec<Row>, Failure> {
    daemon::prepare(config)?;
    daemon::runtime()?.block_on(async {
        let log = log_if_free(config)?;
        let rows =
            with_backends(config, log.as_ref(), async |foundation| rows(config, foundation).await).await;
        if let Some(log) = log {
            log.close().await;
        }
        rows
    })
}

/// What each backend holds that no row has taken yet, or why it does not say.
type Held = BTreeMap<String, Result<Vec<Listed>, backend::Error>>;

async fn rows(config: &Config, foundation: &Foundation) -> Result<Vec<Row>, Failure> {
    let keys = foundation.store.read_keys().map_err(|error| Failure::because(UNAVAILABLE, &error))?;
    let now = SystemClock.now().as_second();
    let reports = admin::reports(&foundation.keys(config), &keys, &Ring::empty(), now);
    let quarantines =
        foundation.store.quarantines().map_err(|error| Failure::because(UNAVAILABLE, &error))?;
    let epochs = foundation.store.epochs().map_err(|error| Failure::because(UNAVAILABLE, &error))?;
    let mut held = Held::new();
    for (name, backend) in &foundation.backends {
        held.insert(name.clone(), backend.list().await);
    }
    let mut rows: Vec<Row> = Vec::new();
    for report in &reports {
        let first = rows.len();
        for known in &report.versions {
            let Some(version) = keys.versions.iter().find(|row| row.kid == known.kid) else { continue };
            let mut backends = report.backends.clone();
            if !backends.contains(&version.backend) {
                backends.insert(0, version.backend.clone());
            }
            for backend in backends {
                let mut row = in_backend(version, &backend, foundation, &mut held).await;
                row.version = Some(known.clone());
                row.problems.extend(quarantined(&quarantines, version, &backend));
                rows.push(row);
            }
        }
        if report.versions.is_empty() {
            rows.push(missing(report));
        }
        if let Some(own) = rows.get_mut(first..) {
            say(own, report);
        }
    }
    for (backend, listed) in held {
        let unasked = rows.iter().all(|row| row.backend != backend);
        match listed {
            Ok(listed) => {
                let orphans = admin::orphans(&config.environment, (&keys, &epochs), &listed, now);
                let orphans: Vec<String> = orphans.into_iter().map(|key| key.id.clone()).collect();
                rows.extend(listed.into_iter().map(|key| {
                    let orphan = orphans.contains(&key.id);
                    unknown(&backend, key, orphan)
                }));
            }
            Err(error) if unasked => rows.push(Row {
                state: "unknown".to_owned(),
                backend,
                problems: vec![cannot_be_asked(&error)],
                ..Row::default()
            }),
            Err(_) => {}
        }
    }
    Ok(rows)
}

/// One version in one of its backends: found as the daemon finds it, by its id or by its public half.
async fn in_backend(version: &KeyVersionRow, backend: &str, foundation: &Foundation, held: &mut Held) -> Row {
    let mut row = Row {
        key: version.key.clone(),
        state: version.state.clone(),
        kid: version.kid.clone(),
        algorithm: version.algorithm.clone(),
        backend: backend.to_owned(),
        ..Row::default()
    };
    let is_origin = backend == version.backend;
    let (Some(store), Some(held)) = (foundation.backends.get(backend), held.get_mut(backend)) else {
        row.problems.push(format!("the configuration has no [backend.{backend}]"));
        return row;
    };
    if let Err(error) = &*held
        && error.class != Class::Misconfigured
    {
        row.problems.push(cannot_be_asked(error));
        return row;
    }
    let pinned =
        serde_json::from_str(&version.public_jwk).ok().and_then(|jwk| PublicKey::from_jwk(&jwk).ok());
    let algorithm = Algorithm::from_name(&version.algorithm);
    let (Some(pinned), Some(algorithm)) = (pinned, algorithm) else {
        row.problems.push("the state's record of it is damaged; restore the state from a backup".to_owned());
        return row;
    };
    let wanted = if is_origin {
        Wanted::Id(&version.backend_id)
    } else {
        Wanted::Copy { of: &pinned, id: &version.backend_id }
    };
    let opened = store.open(wanted, algorithm, Some(&pinned)).await;
    let id = match &opened {
        Ok(opened) => Some(backend::show_id(&opened.id)),
        Err(_) => is_origin.then(|| backend::show_id(&version.backend_id)),
    };
    match held {
        Ok(held) => {
            let place = held.iter().position(|key| Some(&key.id) == id.as_ref());
            if let Some(place) = place {
                take(&mut row, held.swap_remove(place));
            }
            match opened {
                // What was destroyed is not missed.
                Err(_) if place.is_none() && version.destroyed.is_some() => {}
                Err(error) if place.is_none() => {
                    row.problems.push(format!("missing in {backend}: {}", error.message));
                }
                Err(error) if row.problems.is_empty() => row.problems.push(error.message),
                _ => {}
            }
        }
        // Whoever may use a key need not be allowed to list them all.
        Err(error) => match opened {
            Ok(_) => row.attributes.push(format!("the backend lists no keys: {}", error.message)),
            Err(error) => row.problems.push(error.message),
        },
    }
    row.id = id.unwrap_or_default();
    row
}

fn take(row: &mut Row, listed: Listed) {
    let Listed { id, label, kind, attributes, name, problems, .. } = listed;
    (row.id, row.label, row.kind, row.attributes, row.name) = (id, label, kind, attributes, name);
    row.problems.extend(problems);
}

/// A key of which the state knows nothing; an orphan bears our name.
fn unknown(backend: &str, listed: Listed, orphan: bool) -> Row {
    let (state, problem) = match orphan {
        true => {
            ("orphan", "made here, and no version of a key: adopt it, or destroy it with the vendor's tools")
        }
        false => ("foreign", "not ours: unknown to the state"),
    };
    let mut row = Row {
        key: format!("({})", listed.label),
        state: state.to_owned(),
        backend: backend.to_owned(),
        problems: vec![problem.to_owned()],
        ..Row::default()
    };
    take(&mut row, listed);
    row
}

fn quarantined<'a>(
    quarantines: &'a [QuarantineRow],
    version: &'a KeyVersionRow,
    backend: &'a str,
) -> impl Iterator<Item = String> + 'a {
    let of = move |q: &&QuarantineRow| {
        q.backend == backend && q.kid.as_ref().is_none_or(|kid| *kid == version.kid)
    };
    quarantines.iter().filter(of).map(move |QuarantineRow { reason, kid, .. }| {
        let only = kid.as_ref().map_or_else(String::new, |_| format!(" --key {}", version.key));
        format!("in quarantine: {reason}; find out why, then run `jwsd keys release {backend}{only}`")
    })
}

fn cannot_be_asked(error: &backend::Error) -> String {
    format!("the backend cannot be asked: {}", error.message)
}
