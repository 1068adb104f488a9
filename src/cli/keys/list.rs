//! `jwsd keys list` and `show`: every key version in each of its backends, what else the backends hold, and what is
//! wrong with any of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::output::{BUG, CONFIG, Failure, UNAVAILABLE, columns, line, wrap};
use super::{log_if_free, with_backends};
use crate::backend::{self, Class, Listed, Wanted};
use crate::config::Config;
use crate::daemon::{self, Foundation};
use crate::jose::{Algorithm, PublicKey};
use crate::state::{KeyVersionRow, QuarantineRow};

/// Columns of a terminal that the list fits into, and how far what belongs to a row is moved in.
const WIDTH: usize = 120;
const INDENT: usize = 4;

/// A key version in one backend, or a key that only a backend knows.
#[derive(Clone, Default, Serialize)]
struct Row {
    key: String,
    state: String,
    kid: String,
    algorithm: String,
    backend: String,
    label: String,
    id: String,
    #[serde(rename = "type")]
    kind: String,
    attributes: Vec<String>,
    name: String,
    problems: Vec<String>,
}

pub(super) fn list(config: &Config, json: bool) -> Result<(), Failure> {
    let rows = collect(config)?;
    if json { print_json(&rows) } else { print(&brief(&rows)) }
}

pub(super) fn show(config: &Config, key: &str, json: bool) -> Result<(), Failure> {
    let all = collect(config)?;
    let is_meant = |row: &&Row| [&row.key, &row.label, &row.id, &row.name].iter().any(|name| *name == key);
    let configured: Vec<Row> = all.iter().filter(|row| row.key == key).cloned().collect();
    let rows = match configured.is_empty() {
        false => configured,
        true => all.iter().filter(is_meant).cloned().collect(),
    };
    if rows.is_empty() {
        let known: Vec<&str> = config.keys.keys().map(String::as_str).collect();
        let message = format!("no key {key:?}; the configuration has: {}", known.join(", "));
        return Err(Failure::new(CONFIG, message));
    }
    if json { print_json(&rows) } else { print(&full(&rows)) }
}

fn print_json(rows: &[Row]) -> Result<(), Failure> {
    line(serde_json::to_string_pretty(rows).map_err(|error| Failure::new(BUG, error))?)
}

/// Labels are whatever somebody wrote into the token: nothing in them steers the terminal.
fn print(lines: &[String]) -> Result<(), Failure> {
    let printable = |text: &String| text.replace(char::is_control, "\u{fffd}");
    lines.iter().map(printable).try_for_each(line)
}

/// One line for each row, with its attributes and problems below it.
fn brief(rows: &[Row]) -> Vec<String> {
    let header = ["KEY", "STATE", "KID", "ALGORITHM", "BACKEND", "LABEL", "ID", "TYPE", "PROBLEMS"];
    let cells = |row: &Row| {
        let problems = match row.problems.len() {
            0 => "none".to_owned(),
            count => count.to_string(),
        };
        // Of an ARN the account and the region are the same for all.
        let id = row.id.rsplit_once("key/").map_or(row.id.as_str(), |(_, id)| id);
        vec![
            short(&row.key, 16),
            row.state.clone(),
            short(&row.kid, 12),
            row.algorithm.clone(),
            short(&row.backend, 14),
            short(&row.label, 14),
            short(id, 12),
            row.kind.clone(),
            problems,
        ]
    };
    let mut table = columns(&header, &rows.iter().map(cells).collect::<Vec<_>>()).into_iter();
    let mut lines: Vec<String> = table.next().into_iter().collect();
    for (row, text) in rows.iter().zip(table) {
        lines.push(text);
        lines.extend(indented("", &row.attributes.join(", ")));
        for problem in &row.problems {
            lines.extend(indented("! ", problem));
        }
    }
    lines
}

fn indented(mark: &str, text: &str) -> Vec<String> {
    let lines = wrap(text, WIDTH - INDENT - mark.len()).into_iter().enumerate();
    let mark = |at| if at == 0 { mark.to_owned() } else { " ".repeat(mark.len()) };
    lines.map(|(at, line)| format!("{:INDENT$}{}{line}", "", mark(at))).collect()
}

fn short(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// Everything, nothing shortened.
fn full(rows: &[Row]) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let texts = [
            ("key", &row.key),
            ("state", &row.state),
            ("kid", &row.kid),
            ("algorithm", &row.algorithm),
            ("backend", &row.backend),
            ("name", &row.name),
            ("label", &row.label),
            ("id", &row.id),
            ("type", &row.kind),
        ];
        let none = ["none".to_owned()];
        let problems = if row.problems.is_empty() { &none[..] } else { &row.problems };
        let given = texts.iter().filter(|(_, text)| !text.is_empty());
        lines.extend(given.map(|(title, text)| format!("{title:<12}{text}")));
        for (title, texts) in [("attributes", &row.attributes[..]), ("problems", problems)] {
            let title = |at| if at == 0 { title } else { "" };
            let texts = texts.iter().enumerate();
            lines.extend(texts.map(|(at, text)| format!("{:<12}{text}", title(at))));
        }
    }
    lines
}

fn collect(config: &Config) -> Result<Vec<Row>, Failure> {
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
    let versions =
        foundation.store.read_keys().map_err(|error| Failure::because(UNAVAILABLE, &error))?.versions;
    let quarantines =
        foundation.store.quarantines().map_err(|error| Failure::because(UNAVAILABLE, &error))?;
    let mut held = Held::new();
    for (name, backend) in &foundation.backends {
        held.insert(name.clone(), backend.list().await);
    }
    let mut rows: Vec<Row> = Vec::new();
    for version in &versions {
        let settings = config.keys.get(&version.key);
        let mut backends = settings.map(|settings| settings.backends.clone()).unwrap_or_default();
        if !backends.contains(&version.backend) {
            backends.insert(0, version.backend.clone());
        }
        for backend in backends {
            let mut row = in_backend(version, &backend, foundation, &mut held).await;
            let of = |q: &&QuarantineRow| {
                q.backend == backend && q.kid.as_ref().is_none_or(|kid| *kid == version.kid)
            };
            for QuarantineRow { reason, kid, .. } in quarantines.iter().filter(of) {
                let only = kid.as_ref().map_or_else(String::new, |_| format!(" --key {}", version.key));
                row.problems.push(format!(
                    "in quarantine: {reason}; find out why, then run `jwsd keys release {backend}{only}`"
                ));
            }
            if settings.is_none() {
                row.problems.push("not in the configuration".to_owned());
            }
            rows.push(row);
        }
    }
    for (key, settings) in &config.keys {
        if rows.iter().all(|row| row.key != *key) {
            rows.push(Row {
                key: key.clone(),
                state: "missing".to_owned(),
                algorithm: settings.algorithm.name().to_owned(),
                backend: settings.backends.join(", "),
                problems: vec![format!("no version yet; run `jwsd keys generate --config FILE {key}`")],
                ..Row::default()
            });
        }
    }
    for (backend, listed) in held {
        let unasked = rows.iter().all(|row| row.backend != backend);
        match listed {
            Ok(listed) => rows.extend(listed.into_iter().map(|key| foreign(&backend, key))),
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

fn foreign(backend: &str, listed: Listed) -> Row {
    let mut row = Row {
        key: format!("({})", listed.label),
        state: "foreign".to_owned(),
        backend: backend.to_owned(),
        problems: vec!["not ours: unknown to the state".to_owned()],
        ..Row::default()
    };
    take(&mut row, listed);
    row
}

fn cannot_be_asked(error: &backend::Error) -> String {
    format!("the backend cannot be asked: {}", error.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_fits_into_its_width_and_shows_every_problem() {
        let long = |letter: &str| letter.repeat(300);
        let row = Row {
            key: long("k"),
            state: "prepared".into(),
            kid: long("i"),
            algorithm: "ML-DSA-87".into(),
            backend: long("b"),
            label: long("\u{e4}"),
            id: format!("arn:aws:kms:eu-central-1:111122223333:key/{}", long("0")),
            kind: "unreadable".into(),
            attributes: ["CKA_NEVER_EXTRACTABLE"; 9].map(str::to_owned).into(),
            problems: vec!["one thing ".repeat(20), "another".into()],
            ..Row::default()
        };
        let lines = brief(&[row, Row::default()]);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:#?}");
        assert!(lines[1].starts_with("kkkkkkkkkkkkkkk…  prepared  iiiiiiiiiii…  ML-DSA-87"), "{lines:#?}");
        assert!(lines[1].contains("00000000000…  unreadable  2"), "{lines:#?}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("    ! ")).count(), 2, "{lines:#?}");
        assert!(lines.iter().filter(|line| line.contains("CKA_")).count() >= 2, "{lines:#?}");
        assert!(lines.last().unwrap().ends_with("none"), "{lines:#?}");
    }

    #[test]
    fn everything_is_shown_in_full() {
        let row = Row {
            key: "access".into(),
            kid: "k".repeat(43),
            name: "pkcs11:id=%01".into(),
            attributes: vec!["slot 1".into(), "CKA_SIGN".into()],
            ..Row::default()
        };
        let lines = full(&[row.clone(), row]);
        let kid = format!("kid         {}", "k".repeat(43));
        let first = ["key         access", &kid, "name        pkcs11:id=%01", "attributes  slot 1"];
        assert_eq!(lines[..4], first);
        assert_eq!(lines[4..7], ["            CKA_SIGN", "problems    none", ""]);
        assert_eq!(lines.len(), 13);
    }
}
