//! `jwsd audit key`, and how commands are given keys.

use std::path::PathBuf;
use std::process::ExitCode;

use super::LogDirectory;
use crate::audit::checkpoint::SealKey;
use crate::audit::{prove, read_limited};
use crate::cli::output::{Failure, NO, Outcome, UNAVAILABLE, USAGE, line};

/// A file of keys is no longer.
const LONGEST: u64 = 64 << 10;

/// Print the keys that seal the log, as the log itself has them
///
/// Auditors keep the first one: `jwsd audit verify --key` begins with it and follows the log from there to those that
/// came after it. Hand it over once, by a way they trust, from a log that you know to be the right one.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    log: LogDirectory,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let directory = arguments.log.resolve()?;
    let keys = prove::keys(&directory).map_err(|error| Failure::because(UNAVAILABLE, &error))?;
    if keys.is_empty() {
        return Err(Failure::new(NO, format_args!("{}: the log has no seal", directory.display())));
    }
    for (from, kid, vkey) in keys {
        // Nobody vouches for it: nothing in it steers the terminal.
        let kid = kid.replace(char::is_control, "\u{fffd}");
        line(format_args!("# seals from size {from} on, kid {kid}"))?;
        match vkey {
            Some(vkey) => line(vkey)?,
            None => line("# the log does not say what key that is")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Keys as they are given: each itself, or a file of them.
pub(super) fn read(given: &[String]) -> Result<Vec<SealKey>, Failure> {
    let mut keys = Vec::new();
    for text in given {
        let Some(path) = text.strip_prefix('@') else {
            keys.push(key(text, "--key")?);
            continue;
        };
        let file = PathBuf::from(path);
        let lines = read_limited(&file, LONGEST)
            .map_err(|error| Failure::new(UNAVAILABLE, format_args!("{path}: {error}")))?;
        let before = keys.len();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            keys.push(key(line, path)?);
        }
        if keys.len() == before {
            return Err(Failure::new(
                USAGE,
                format_args!("{path}: it holds no key: write the output of `jwsd audit key` into it"),
            ));
        }
    }
    Ok(keys)
}

fn key(text: &str, place: &str) -> Result<SealKey, Failure> {
    SealKey::from_vkey(text).map_err(|bad| {
        Failure::new(USAGE, format_args!("{place}: {bad}: give one as `jwsd audit key` prints it, or @FILE"))
    })
}
