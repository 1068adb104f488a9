//! `jwsd audit key`, and how commands are given keys.

use std::path::PathBuf;
use std::process::ExitCode;

use super::LogDirectory;
use crate::audit::checkpoint::SealKey;
use crate::audit::cosignature::Cosigner;
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
    if keys.seals.is_empty() {
        return Err(Failure::new(NO, format_args!("{}: the log has no seal", directory.display())));
    }
    for (from, kid, vkey) in keys.seals {
        // Nobody vouches for it: nothing in it steers the terminal.
        let kid = kid.replace(char::is_control, "\u{fffd}");
        line(format_args!("# seals from size {from} on, kid {kid}"))?;
        match vkey {
            Some(vkey) => line(vkey)?,
            None => line("# the log does not say what key that is")?,
        }
    }
    for (from, kid, vkey) in keys.cosigns {
        line(format_args!("# cosigns from size {from} on, by ML-DSA-44, kid {kid}"))?;
        line(vkey)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Keys of logs as they are given, each itself or a file of them: those that seal, and those that cosign.
pub(super) fn read_all(given: &[String]) -> Result<(Vec<SealKey>, Vec<Cosigner>), Failure> {
    enum Key {
        Seals(SealKey),
        Cosigns(Cosigner),
    }
    let keys = texts(given, "--key", "write the output of `jwsd audit key` into it", &|place, text| {
        if let Some(key) = Cosigner::from_vkey(text).ok().filter(Cosigner::is_post_quantum) {
            return Ok(Key::Cosigns(key));
        }
        SealKey::from_vkey(text).map(Key::Seals).map_err(|bad| {
            let hint = "give one as `jwsd audit key` prints it, or @FILE";
            Failure::new(USAGE, format_args!("{place}: {bad}: {hint}"))
        })
    })?;
    let (mut seals, mut cosigns) = (Vec::new(), Vec::new());
    for key in keys {
        match key {
            Key::Seals(key) => seals.push(key),
            Key::Cosigns(key) => cosigns.push(key),
        }
    }
    Ok((seals, cosigns))
}

/// The same, but those that seal alone.
pub(super) fn read(given: &[String]) -> Result<Vec<SealKey>, Failure> {
    read_all(given).map(|(seals, _)| seals)
}

/// The same, for keys of witnesses.
pub(super) fn read_witnesses(given: &[String]) -> Result<Vec<Cosigner>, Failure> {
    texts(given, "--witness", "write the witness's vkey into it", &|place, text| {
        Cosigner::from_vkey(text).map_err(|bad| {
            let hint = "give the witness's vkey as its operator gives it, or @FILE";
            Failure::new(USAGE, format_args!("{place}: {bad}: {hint}"))
        })
    })
}

fn texts<T>(
    given: &[String],
    option: &str,
    hint: &str,
    read: &dyn Fn(&str, &str) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut keys = Vec::new();
    for text in given {
        let Some(path) = text.strip_prefix('@') else {
            keys.push(read(option, text)?);
            continue;
        };
        let lines = read_limited(&PathBuf::from(path), LONGEST)
            .map_err(|error| Failure::new(UNAVAILABLE, format_args!("{path}: {error}")))?;
        let before = keys.len();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            keys.push(read(path, line)?);
        }
        if keys.len() == before {
            return Err(Failure::new(USAGE, format_args!("{path}: it holds no key: {hint}")));
        }
    }
    Ok(keys)
}
