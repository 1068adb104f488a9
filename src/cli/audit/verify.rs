//! `jwsd audit verify`: is this log whole and unchanged?

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{LogDirectory, keys};
use crate::audit::read_limited;
use crate::audit::verify::{self, Accepted, Cosigned, Gap, Late, Report, Sealing, Trust, Vouched};
use crate::cli::output::{BUG, Failure, NO, Outcome, UNAVAILABLE, line};

/// Longest file of a witness, bytes: some years of checkpoints.
const LONGEST: u64 = 512 << 20;

/// Check the log; exit code 1 when there are problems
///
/// Structure, checksums and sequence of every segment, and the tree of its records against its seals. With --key also
/// the seals' signatures: then every change of a sealed record is found, whoever made it. With --checkpoint also that
/// the log's end was not cut off and the log not replaced since a witness kept that file. With --witness what a witness
/// over HTTP cosigned: not even whoever has the log's key has changed what came before that.
///
/// Example: jwsd audit verify --key @audit.vkey --checkpoint /var/lib/jwsd-witness/checkpoints
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    log: LogDirectory,
    #[command(flatten)]
    trusted: Trusted,
    /// Also read segments that were archived here, so that all of the log is checked from its first record on
    #[arg(long, value_name = "DIRECTORY")]
    archive: Option<PathBuf>,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// What a log is checked against.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Trusted {
    /// The key that seals or cosigns the log, as `jwsd audit key` printed it once, or @FILE; may be given again
    #[arg(long, value_name = "VKEY|@FILE")]
    key: Vec<String>,
    /// Checkpoints that a witness kept, which must be of this log; may be given again
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// The key with which a witness cosigned checkpoints, as its operator gives it, or @FILE: its cosignatures in the log
    /// must be there and hold; may be given again
    #[arg(long, value_name = "VKEY|@FILE")]
    witness: Vec<String>,
}

impl Trusted {
    /// Comes before the log is read: what a witness has then, the log has too.
    pub(super) fn read(&self) -> Result<Trust, Failure> {
        let witnesses = keys::read_witnesses(&self.witness)?;
        let (seals, cosigns) = keys::read_all(&self.key)?;
        let mut trust = Trust::new(seals).with_cosigners(cosigns).with_witnesses(witnesses);
        for file in &self.checkpoint {
            let name = file.display().to_string();
            let text = read_limited(file, LONGEST)
                .map_err(|error| Failure::new(UNAVAILABLE, format_args!("{name}: {error}")))?;
            if trust.add_checkpoints(&name, &text) == 0 {
                return Err(Failure::new(
                    UNAVAILABLE,
                    format_args!("{name}: it holds no checkpoint, so nothing can be compared with it"),
                ));
            }
        }
        Ok(trust)
    }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Arguments { log, trusted, archive, json } = arguments;
    let directory = log.resolve()?;
    let report = verified(&directory, &trusted.read()?.with_archive(archive.clone()), *json)?;
    if *json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| Failure::new(BUG, error))?;
        line(text)?;
    } else {
        print(&report)?;
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { NO.into() })
}

/// Over the bytes of the log, on a terminal, unless `hidden`.
pub(super) fn progress_bar(hidden: bool) -> ProgressBar {
    let hidden = hidden || !io::stderr().is_terminal();
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}")
    {
        bar.set_style(style);
    }
    bar
}

/// With a bar that shows how far it is.
pub(super) fn verified(directory: &Path, trust: &Trust, hidden: bool) -> Result<Report, Failure> {
    let bar = progress_bar(hidden);
    let report = verify::verify_with(directory, trust, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    report.map_err(|error| Failure::because(UNAVAILABLE, &error))
}

fn print(report: &Report) -> Result<(), Failure> {
    let Report { records, first, last, segments, bytes, .. } = report;
    line(format_args!("{records} records, {first} to {last}, in {segments} segments of {bytes} bytes"))?;
    if let Some(begins) = &report.begins {
        line(begins)?;
    }
    for gap in &report.gaps {
        let (from, to) = (gap.after + 1, gap.after + gap.unknown);
        let Gap { segment, missing, unknown, .. } = gap;
        let rest = if missing < unknown { ", and no seal covers the others" } else { "" };
        line(format_args!(
            "declared: the disk failed before {segment}; of records {from} to {to}, {missing} are missing{rest}"
        ))?;
    }
    if let Some(tail) = &report.open_tail {
        line(format_args!(
            "open: {} ends in {} bytes of a record that was being written",
            tail.segment, tail.bytes
        ))?;
    }
    if let Some(sealing) = &report.sealing {
        print_sealing(sealing)?;
    }
    let seen = &report.checkpoints;
    if seen.found + seen.accepted + seen.earlier + seen.torn > 0 {
        line(format_args!(
            "witnesses: {} checkpoints are of this log, {} were accepted as lost, {} are older than its beginning, {} are \
             torn and passed over",
            seen.found, seen.accepted, seen.earlier, seen.torn
        ))?;
    }
    for problem in &report.problems {
        line(format_args!("PROBLEM {problem}"))?;
    }
    match report.problem_count {
        0 => line(verdict(report)),
        count => line(format_args!("problems: {count}; this log was changed, damaged or is incomplete")),
    }
}

fn print_sealing(sealing: &Sealing) -> Result<(), Failure> {
    let Sealing { origin, seals, size, after, time, uncovered, .. } = sealing;
    line(format_args!(
        "sealed: {origin:?} has {seals} seals; the last, of {time}, covers {size} records up to {after}, and {uncovered} come after it"
    ))?;
    for epoch in &sealing.epochs {
        let kid = shown(&epoch.kid);
        line(format_args!("key {kid} seals from size {} on", epoch.from))?;
    }
    if let Some(Cosigned { kid, seals, size, time }) = &sealing.cosigned {
        let time = time.map(|time| format!(", at {time}")).unwrap_or_default();
        line(format_args!(
            "cosigned: {seals} seals by ML-DSA-44; the last one{time}, by key {kid}, covers {size} records"
        ))?;
    }
    for Accepted { seq, time, size, witness } in &sealing.accepted {
        let by = witness.as_ref().map(|name| format!(", as {} said", shown(name))).unwrap_or_default();
        line(format_args!(
            "accepted: record {seq} of {time} takes the log as it is, though it had {size} records once{by}"
        ))?;
    }
    for Vouched { witness, count, size, time, .. } in &sealing.vouched {
        let name = shown(witness);
        match time {
            Some(time) => line(format_args!(
                "witness {name} vouches for {size} records: {count} cosignatures, the last one of {time}"
            ))?,
            None => line(format_args!(
                "witness {name} has {count} cosignatures, the last one of {size} records: not checked (give --witness)"
            ))?,
        }
    }
    if let Some(Late { behind, every }) = &sealing.late {
        line(format_args!(
            "late: the last seal is {behind} s older than the last record, and seals came every {every} s: see whether the checkpoint key can sign"
        ))?;
    }
    Ok(())
}

/// Whatever somebody wrote there, nothing in it steers the terminal.
fn shown(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

fn verdict(report: &Report) -> &'static str {
    match &report.sealing {
        Some(sealing) if sealing.checked && report.checkpoints.accepted > 0 => {
            "the log is sound: all of it is sealed as said above, by keys that were introduced; witnesses saw more of it, \
             which is lost, as an operator accepted"
        }
        Some(sealing) if sealing.checked && report.checkpoints.found > 0 => {
            "the log is sound: all of it is sealed as said above, by keys that were introduced, and witnesses saw the same"
        }
        Some(sealing) if sealing.checked => {
            "the log is sound: sealed as said above, by keys that were introduced (without --checkpoint nobody can tell \
             whether its end was cut off)"
        }
        Some(_) => {
            "the log is sound: structure, checksums, sequence and tree hold; seals are not checked against a key (give --key)"
        }
        None => {
            "the log is sound: structure, checksums and sequence hold (a checksum finds damage, not a forger)"
        }
    }
}
