//! `jwsd audit search --format json` and `--format page`: all that the log says of one person, for them.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::Value;

use super::search::{self, Which};
use super::{checked, report};
use crate::audit::report::person::{Account, Name, html};
use crate::audit::retain;
use crate::audit::select::Filter;
use crate::cli::output::{BUG, Failure, NO, Outcome, UNAVAILABLE, USAGE};

/// A form of what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Form {
    /// The stored records, one a line
    Jsonl,
    /// All about a person as one document, for programs
    Json,
    /// All about a person as one page of HTML, for them
    Page,
}

/// What later records say of a JWT by its id alone.
const OF_A_JWT: [&str; 3] = ["jwt.failed", "jwt.retried", "jwt.undelivered"];

/// Prints all about a person; exit code 1 when there is nothing.
pub(super) fn account(which: &Which, form: Form) -> Outcome {
    if which.person.named().is_none() {
        let message = "this form is about a person: say whom, with --subject, --session or --consent";
        return Err(Failure::new(USAGE, message));
    }
    if let Some(option) = which.others() {
        let message = format_args!(
            "this form has all there is of a person, or of theirs in a time: leave {option} out, or take --format jsonl"
        );
        return Err(Failure::new(USAGE, message));
    }
    let directory = which.log.resolve()?;
    // Before the log is checked: so it is checked with the record that somebody looked.
    let Some(person) = search::person(which)? else { return Ok(NO.into()) };
    let made = Timestamp::now();
    let found = checked(&directory, &which.trusted, which.from, which.unsound)?;
    let oldest = retain::begins(&directory).ok().flatten();
    let late = oldest.filter(|oldest| which.from.is_none_or(|from| from < *oldest));
    let names = person.of.iter().map(|(kind, name)| Name { kind: *kind, name: name.clone() }).collect();
    let filter = |events: &[&str], person| Filter {
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        person,
        from: which.from,
        until: which.until,
        ..Filter::default()
    };
    let mut records = read(&directory, &filter(&[], Some(person)))?;
    let jtis: BTreeSet<String> =
        records.iter().filter_map(|record| Some(record.get("jti")?.as_str()?.to_owned())).collect();
    let theirs =
        |record: &Value| record.get("jti").and_then(Value::as_str).is_some_and(|jti| jtis.contains(jti));
    records.extend(read(&directory, &filter(&OF_A_JWT, None))?.into_iter().filter(theirs));
    records.sort_by_key(|record| record.get("seq").and_then(Value::as_u64));
    let account = Account {
        about: names,
        issuer: which.person.issuer.clone(),
        version: env!("CARGO_PKG_VERSION"),
        made_at: made,
        from: which.from,
        until: which.until,
        log: directory.display().to_string(),
        verification: report::verification(found, late),
        records,
    };
    let text = match form {
        Form::Page => html(&account),
        Form::Json | Form::Jsonl => {
            serde_json::to_string_pretty(&account.document()).map_err(|error| Failure::new(BUG, error))?
                + "\n"
        }
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(if account.records.is_empty() { NO.into() } else { ExitCode::SUCCESS })
}

fn read(directory: &Path, filter: &Filter) -> Result<Vec<Value>, Failure> {
    let mut records = Vec::new();
    let read = filter.each(directory, &mut |_, _| {}, &mut |line| {
        records.push(serde_json::from_slice(line.bytes)?);
        Ok(())
    });
    let failed = |error| Failure::new(UNAVAILABLE, format_args!("{}: {error}", directory.display()));
    read.map(|()| records).map_err(failed)
}
