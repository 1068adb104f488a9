//! `jwsd audit retain`: what retention would take away now, and when it goes on.

use std::process::ExitCode;

use jiff::Timestamp;

use super::super::ConfigFile;
use super::super::output::{CONFIG, Failure, Outcome, UNAVAILABLE, line};
use crate::audit::retain::{Outlook, outlook};
use crate::config;

/// Show which segments of the log are old enough to go, and when the next one is; changes nothing
///
/// The daemon takes them away itself, at start and once an hour, as [audit.retain] says.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let config = config::load(&arguments.file.config)?;
    let Some(terms) = &config.audit.retain else {
        return Err(Failure::new(
            CONFIG,
            "the configuration has no [audit.retain]: the log is kept for ever",
        ));
    };
    let found = outlook(&config.audit.dir, terms, Timestamp::now());
    let Outlook { segments, goes, records, next } =
        found.map_err(|error| Failure::because(UNAVAILABLE, &error))?;
    let where_to = terms
        .archive
        .as_ref()
        .map_or_else(|| "are removed".to_owned(), |archive| format!("go to {}", archive.display()));
    match (goes.first(), goes.last()) {
        (Some(first), Some(last)) => line(format_args!(
            "{} of {segments} segments, {first} to {last}, with {records} records, {where_to} at the next look",
            goes.len()
        ))?,
        _ => line(format_args!("none of {segments} segments goes now"))?,
    }
    match next {
        Some((name, when)) => line(format_args!("{name} stays until {when:.0} at least"))?,
        None => line("the rest is too new to be sealed, or still being written")?,
    }
    Ok(ExitCode::SUCCESS)
}
