//! `jwsd audit report`: what auditors ask for, out of the log and the configuration, as one page or as JSON.

mod settings;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jiff::Timestamp;

use super::search::when;
use super::tell_beginning;
use super::verify::{Trusted, progress_bar, verified};
use crate::audit::report::{self, Report, Verification};
use crate::audit::retain;
use crate::audit::verify;
use crate::cli::output::{BUG, Failure, NO, Outcome, UNAVAILABLE, USAGE, line};
use crate::config;
use crate::sys::users::Assumed;

/// Write a report for auditors: controls with settings, evidence and gaps, and figures of a period
///
/// The page needs nothing else: no network, no script. A log that does not verify is reported on all the same, with that
/// in its first line and exit code 1.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  jwsd audit report --from 2026-07-01 --to 2026-10-01 --output 2026-q3.html"
)]
pub(in crate::cli) struct Arguments {
    /// The log's directory; settings are shown only with --config
    #[arg(value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    /// The configuration to report on; without a directory, its log [default: /etc/jwsd/jwsd.toml]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    trusted: Trusted,
    /// First moment of the period: a time (2026-11-24T08:00:00Z), a day (2026-11-24, UTC), or how long ago (90m, 2h)
    #[arg(long, value_name = "WHEN", value_parser = when)]
    from: Timestamp,
    /// Its end, which is not in it [default: now]
    #[arg(long, value_name = "WHEN", value_parser = when)]
    to: Option<Timestamp>,
    /// In which form
    #[arg(long, value_enum, default_value = "html")]
    format: Form,
    /// Into this new file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// A page for people
    Html,
    /// The same for programs
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let made = Timestamp::now();
    let (from, to) = (arguments.from, arguments.to.unwrap_or(made));
    if from >= to {
        let message =
            format_args!("the period ends ({to}) before it begins ({from}): write an earlier --from");
        return Err(Failure::new(USAGE, message));
    }
    let (directory, settings) = sources(arguments)?;
    let found = verified(&directory, &arguments.trusted.read()?, false)?;
    tell_beginning(&directory, &found, Some(from))?;
    let oldest = retain::begins(&directory).ok().flatten();
    let verification = verification(found, oldest.filter(|oldest| from < *oldest));
    let bar = progress_bar(false);
    let figures = report::read(&directory, from, to, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let failed =
        |error: io::Error| Failure::new(UNAVAILABLE, format_args!("{}: {error}", directory.display()));
    let figures = figures.map_err(failed)?;
    let settings = settings.map(|(file, config)| settings::of(&file, &config, &figures));
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        made,
        log: directory.display().to_string(),
        controls: report::controls(
            settings.as_ref().map(|settings| &settings.answers),
            &verification,
            &figures,
        ),
        verification,
        figures,
        settings,
    };
    write(&report, arguments)?;
    if report.verification.sound {
        return Ok(ExitCode::SUCCESS);
    }
    let (directory, count) = (directory.display(), report.verification.problem_count);
    writeln!(
        io::stderr(),
        "jwsd: {directory} has {count} problems: what is reported may be forged or incomplete"
    )?;
    Ok(NO.into())
}

/// The log, and the configuration where one is asked for.
fn sources(arguments: &Arguments) -> Result<(PathBuf, Option<(PathBuf, config::Config)>), Failure> {
    let file = match (&arguments.config, &arguments.directory) {
        (None, Some(directory)) => return Ok((directory.clone(), None)),
        (None, None) => PathBuf::from("/etc/jwsd/jwsd.toml"),
        (Some(file), _) => file.clone(),
    };
    // An auditor's machine need not have the users of the daemon's.
    let config = config::load_for(&file, &Assumed::default())?;
    let directory = arguments.directory.clone().unwrap_or_else(|| config.audit.dir.clone());
    Ok((directory, Some((file, config))))
}

/// `late`: when the log begins, if the period begins before that.
pub(super) fn verification(found: verify::Report, late: Option<Timestamp>) -> Verification {
    let begins = found.begins.iter().map(|verify::Begins { after, .. }| match late {
        Some(oldest) => format!(
            "Gap: the log begins at {oldest}; records of the period up to number {after} are no longer kept, and no figure \
             here counts them."
        ),
        None => format!("Begins: records up to number {after} are no longer kept, all from before the period."),
    });
    let declared = found.gaps.iter().map(|gap| {
        let (from, to) = (gap.after + 1, gap.after + gap.unknown);
        let verify::Gap { segment, missing, unknown, .. } = gap;
        let rest = if missing < unknown { ", and no seal covers the others" } else { "" };
        format!(
            "Declared: the disk failed before {segment}; of records {from} to {to}, {missing} are missing{rest}."
        )
    });
    let open = found.open_tail.iter().map(|tail| {
        format!("Open: {} ends in {} bytes of a record that was being written.", tail.segment, tail.bytes)
    });
    let sealing = found.sealing.as_ref();
    let accepted = sealing.iter().flat_map(|sealing| &sealing.accepted).map(|accepted| {
        let verify::Accepted { seq, time, size, .. } = accepted;
        format!("Accepted: record {seq} of {time} takes the log as it is, though it had {size} records once.")
    });
    let lost = Some(found.checkpoints.accepted)
        .filter(|lost| *lost > 0)
        .map(|lost| format!("Accepted as lost: {lost} checkpoints that witnesses kept and the log has not."));
    let late = sealing.and_then(|sealing| sealing.late.as_ref()).map(|verify::Late { behind, every }| {
        format!(
            "Late: the last seal is {behind} s older than the last record, and seals came every {every} s."
        )
    });
    let told = begins.chain(declared).chain(open).chain(accepted).chain(lost).chain(late).collect();
    Verification {
        sound: found.is_sound(),
        records: found.records,
        first: found.first,
        last: found.last,
        segments: found.segments,
        bytes: found.bytes,
        extent: extent(&found),
        declared: told,
        problems: found.problems.iter().take(report::MOST).map(ToString::to_string).collect(),
        problem_count: found.problem_count,
    }
}

/// What was checked.
fn extent(found: &verify::Report) -> String {
    const PLAIN: &str = "Structure, checksums and sequence were checked";
    let Some(verify::Sealing { checked, seals, size, uncovered, .. }) = &found.sealing else {
        return format!("{PLAIN}, which finds damage but no forger: the log is not sealed.");
    };
    let covered = format!(
        "{PLAIN}, and {seals} seals against the tree of the records; the last covers {size} records, {uncovered} follow it"
    );
    if !checked {
        return format!("{covered}. Their signatures were not checked, for want of the key (--key).");
    }
    let kept = found.checkpoints.found;
    format!(
        "{covered}. Each is signed by the given key or its successors. Checkpoints of witnesses that the log has: {kept}."
    )
}

fn write(report: &Report, arguments: &Arguments) -> Result<(), Failure> {
    let text = match arguments.format {
        Form::Html => report::html(report),
        Form::Json => serde_json::to_string_pretty(report).map_err(|error| Failure::new(BUG, error))? + "\n",
    };
    let Some(path) = &arguments.output else {
        return Ok(io::stdout().lock().write_all(text.as_bytes())?);
    };
    let failed = |error: io::Error| Failure::new(UNAVAILABLE, format_args!("{}: {error}", path.display()));
    save(path, &text).map_err(failed)?;
    line(format_args!("report on {} records in {}", report.figures.records, path.display()))
}

fn save(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_accepted_or_is_late_or_wrong_is_told() {
        let problem = |segment: &str, line| verify::Problem {
            segment: segment.to_owned(),
            line,
            offset: 7,
            what: "is\u{1b}[2J wrong".to_owned(),
        };
        let found = verify::Report {
            sealing: Some(verify::Sealing {
                late: Some(verify::Late { behind: 900, every: 60 }),
                accepted: vec![verify::Accepted {
                    seq: 12,
                    time: "then".to_owned(),
                    size: 40,
                    witness: None,
                }],
                ..verify::Sealing::default()
            }),
            checkpoints: verify::Checkpoints { found: 1, accepted: 3, ..verify::Checkpoints::default() },
            begins: Some(verify::Begins { after: 77, size: 70, archived: None }),
            problems: vec![problem("", 0), problem("a", 0), problem("a", 2)],
            problem_count: 3,
            ..verify::Report::default()
        };
        let told = verification(found, Some(Timestamp::UNIX_EPOCH));
        let declared = told.declared.join("\n");
        for part in [
            "Gap: the log begins at 1970",
            "up to number 77",
            "record 12 of then",
            "40 records once",
            "3 checkpoints",
            "900 s older",
        ] {
            assert!(declared.contains(part), "{part}: {declared}");
        }
        let wrong = "is\u{fffd}[2J wrong";
        assert_eq!(
            told.problems,
            [wrong.to_owned(), format!("a: {wrong}"), format!("a line 2 at byte 7: {wrong}")]
        );
    }
}
