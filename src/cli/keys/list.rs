//! `jwsd keys list` and `show`: every key version in each of its backends, what else the backends hold, and what is
//! wrong with any of it.

mod rows;

use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;

use super::daemon::ask;
use super::print::{self, due, indented, short, span};
use crate::cli::ConfigFile;
use crate::cli::output::{BUG, CONFIG, Failure, Outcome, USAGE, columns};
use crate::clock::{Clock, SystemClock};
use crate::config;
use rows::Row;

/// How far what belongs to a row is moved in.
const INDENT: usize = 4;
/// Characters of a `kid` or id that `show` takes for it, at least.
const PREFIX: usize = 4;

/// List configured keys, what the backends hold, what is wrong with it and what happens next
///
/// Starts the backends of the configuration by itself, beside a running daemon. With --socket, only what the daemon
/// knows is shown, and no PIN is needed.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    source: Source,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Show all there is to know of a key and its versions, in each of its backends
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    #[command(flatten)]
    source: Source,
    /// Name of the key; or kid, label or id of one version, also in part
    key: String,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Who is asked.
#[derive(Debug, clap::Args)]
struct Source {
    #[command(flatten)]
    file: ConfigFile,
    /// Ask the daemon behind this admin socket in place of the backends
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
}

impl Source {
    fn rows(&self) -> Result<Vec<Row>, Failure> {
        let Some(socket) = &self.socket else {
            return rows::collect(&config::load(&self.file.config)?);
        };
        let mut whole = ask(hyper::Method::GET, socket, "/v1/keys")?;
        let keys = whole.get_mut("keys").map(serde_json::Value::take).unwrap_or_default();
        let reports = serde_json::from_value(keys).map_err(|error| {
            Failure::new(BUG, format_args!("the daemon's answer is not what is due: {error}"))
        })?;
        Ok(rows::of_reports(reports))
    }
}

pub(super) fn list(arguments: &List) -> Outcome {
    let rows = arguments.source.rows()?;
    if arguments.json {
        print::json(&rows)?
    } else {
        print::lines(&brief(&rows, SystemClock.now()))?
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn show(arguments: &Show) -> Outcome {
    let rows = meant(arguments.source.rows()?, &arguments.key)?;
    if arguments.json {
        print::json(&rows)?
    } else {
        print::lines(&full(&rows))?
    }
    Ok(ExitCode::SUCCESS)
}

/// The rows that `name` is about: of a key, else of what bears it, else of the one version that it is the beginning of.
fn meant(all: Vec<Row>, name: &str) -> Result<Vec<Row>, Failure> {
    let whole = |row: &Row| [&row.kid, &row.label, &row.id, &row.name].iter().any(|text| *text == name);
    let part = |row: &Row| {
        let starts = |text: &str| text.starts_with(name);
        name.len() >= PREFIX && (starts(&row.kid) || starts(&row.id) || starts(of_arn(&row.id)))
    };
    let of_key = |row: &Row| row.key == name;
    let fits: [&dyn Fn(&Row) -> bool; 3] = [&of_key, &whole, &part];
    for (index, fits) in fits.iter().enumerate() {
        let rows: Vec<Row> = all.iter().filter(|row| fits(row)).cloned().collect();
        let other =
            |row: &Row| rows.first().is_some_and(|first| (&first.kid, &first.id) != (&row.kid, &row.id));
        if index == 2 && rows.iter().any(other) {
            let kids: Vec<&str> = rows.iter().map(|row| row.kid.as_str()).collect();
            let message = format!("several begin with {name}: {}", kids.join(", "));
            return Err(Failure::new(USAGE, message));
        }
        if !rows.is_empty() {
            return Ok(rows);
        }
    }
    let mut known: Vec<&str> =
        all.iter().map(|row| row.key.as_str()).filter(|key| !key.starts_with('(')).collect();
    known.dedup();
    Err(Failure::new(CONFIG, format!("no key {name:?}; there are: {}", known.join(", "))))
}

/// Of an ARN the account and the region are the same for all.
fn of_arn(id: &str) -> &str {
    id.rsplit_once("key/").map_or(id, |(_, id)| id)
}

/// One line for each row; what is in the backend, and problems, below it.
fn brief(rows: &[Row], now: Timestamp) -> Vec<String> {
    let header =
        ["KEY", "STATE", "KID", "ALGORITHM", "BACKEND", "AGE", "SIGNED", "LAST EXP", "NEXT", "PROBLEMS"];
    let cells = |row: &Row| {
        let problems = match row.problems.len() {
            0 => "none".to_owned(),
            count => count.to_string(),
        };
        let version = row.version.as_ref();
        let age = version.map(|version| span(now.as_second() - version.created.as_second()));
        let last = version.and_then(|version| version.last_exp).map(|at| match at > now {
            true => due(at, now),
            false => "over".to_owned(),
        });
        let next = row.next.as_ref().map(|next| format!("{} {}", next.step, due(next.at, now)));
        vec![
            short(&row.key, 16),
            row.state.clone(),
            short(&row.kid, 12),
            row.algorithm.clone(),
            short(&row.backend, 12),
            age.unwrap_or_default(),
            version.map(|version| count(version.signatures)).unwrap_or_default(),
            last.unwrap_or_default(),
            short(&next.unwrap_or_default(), 17),
            problems,
        ]
    };
    let mut table = columns(&header, &rows.iter().map(cells).collect::<Vec<_>>()).into_iter();
    let mut lines: Vec<String> = table.next().into_iter().collect();
    for (row, text) in rows.iter().zip(table) {
        lines.push(text);
        lines.extend(indented(INDENT, "", &row.attributes.join(", ")));
        let there = [("label", row.label.as_str()), ("id", of_arn(&row.id)), ("type", &row.kind)];
        let there = there.iter().filter(|(_, text)| !text.is_empty());
        let there: Vec<String> = there.map(|(title, text)| format!("{title} {}", short(text, 44))).collect();
        lines.extend(indented(INDENT, "", &there.join(", ")));
        for problem in &row.problems {
            lines.extend(indented(INDENT, "! ", problem));
        }
    }
    lines
}

/// At most 7 characters.
fn count(signatures: i64) -> String {
    let mut many = signatures.unsigned_abs();
    if many < 10_000_000 {
        return many.to_string();
    }
    let mut units = ["k", "M", "G", "T", "P"].iter();
    let mut unit = "";
    while many >= 10_000
        && let Some(next) = units.next()
    {
        (many, unit) = (many / 1000, next);
    }
    format!("{many}{unit}")
}

/// Everything, nothing shortened.
fn full(rows: &[Row]) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let mut texts: Vec<(&str, String)> = vec![
            ("key", row.key.clone()),
            ("state", row.state.clone()),
            ("kid", row.kid.clone()),
            ("algorithm", row.algorithm.clone()),
            ("backend", row.backend.clone()),
            ("name", row.name.clone()),
            ("label", row.label.clone()),
            ("id", row.id.clone()),
            ("type", row.kind.clone()),
        ];
        if let Some(version) = &row.version {
            let times = [
                ("created", Some(version.created)),
                ("published", version.published),
                ("ready", version.ready),
                ("activated", version.activated),
                ("stops", version.stops),
                ("retired", version.retired),
                ("ended", version.ended),
                ("destroyed", version.destroyed),
                ("last exp", version.last_exp),
                ("exp bound", version.exp_bound),
            ];
            texts.extend(times.into_iter().filter_map(|(title, at)| Some((title, at?.to_string()))));
            texts.push(("signatures", version.signatures.to_string()));
            texts.push(("reason", version.reason.clone().unwrap_or_default()));
            let proven = version.proven_seconds_ago.map(|age| format!("{age} s ago"));
            texts.push(("proven", proven.unwrap_or_default()));
        }
        texts.extend(row.next.as_ref().map(|next| ("next", format!("{} {}", next.step, next.at))));
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

#[cfg(test)]
mod tests;
