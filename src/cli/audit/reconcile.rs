//! `jwsd audit reconcile`: the log against what the HSM or KMS itself has logged.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};

use super::search::when;
use super::verify::Trusted;
use super::{LogDirectory, checked};
use crate::audit::reconcile::{Period, Reconciled, Signature, Window, cloudtrail, reconcile, table};
use crate::cli::output::{BUG, Failure, NO, Outcome, UNAVAILABLE, USAGE, line};
use crate::telemetry::Chain;

/// Longest list that is printed; `--json` has all.
const SHOWN: usize = 50;

/// Compare the log with CloudTrail's records of KMS, or with an HSM's own log; exit code 1 when they disagree
///
/// Every signature of the key must have a record. One that has none was made behind the daemon's back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  jwsd audit reconcile --kid KID --cloudtrail trail.json --kms-key \
arn:aws:kms:eu-central-1:111122223333:key/1234abcd\n  jwsd audit reconcile --kid KID --csv hsm.csv --time-column when \
--where op=SIGN --where key=7")]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    log: LogDirectory,
    #[command(flatten)]
    trusted: Trusted,
    /// The key version, as `jwsd keys list` shows it
    #[arg(long)]
    kid: String,
    /// Only requests to this backend; needed when the key is in several of them
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// CloudTrail's JSON, as files of a trail have it or lookup-events gives it
    #[arg(
        long,
        value_name = "FILE",
        requires = "kms_key",
        required_unless_present = "csv",
        conflicts_with = "csv"
    )]
    cloudtrail: Vec<PathBuf>,
    /// The key's ARN or id in KMS
    #[arg(long, value_name = "ARN")]
    kms_key: Option<String>,
    /// An HSM's log as CSV with a header
    #[arg(long, value_name = "FILE", requires = "time_column")]
    csv: Vec<PathBuf>,
    /// The column with the time (RFC 3339 or Unix seconds)
    #[arg(long, value_name = "COLUMN")]
    time_column: Option<String>,
    /// What a column says in rows that are signatures of the key
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    wanted: Vec<String>,
    /// From when on the other log covers everything: a time, a day (UTC) or how long ago [default: its first signature]
    #[arg(long, value_name = "WHEN", value_parser = when)]
    from: Option<Timestamp>,
    /// Until when it does [default: its last signature]
    #[arg(long, value_name = "WHEN", value_parser = when)]
    until: Option<Timestamp>,
    /// How far apart both clocks may be
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    skew: SignedDuration,
    /// How long after its record a signature may come: the daemon's deadline for a request
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    late: SignedDuration,
    /// For programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let directory = arguments.log.resolve()?;
    let signatures = signatures(arguments)?;
    // Those before its beginning have no record any more.
    let earliest = arguments.from.or_else(|| signatures.iter().map(|signature| signature.at).min());
    checked(&directory, &arguments.trusted, earliest.or(Some(Timestamp::MAX)), false)?;
    let Arguments { skew, late, from, until, .. } = *arguments;
    let late = late.checked_add(skew).filter(|late| !skew.is_negative() && *late >= skew);
    let late =
        late.ok_or_else(|| Failure::new(USAGE, "--skew and --late: write durations such as 2s and 10s"))?;
    let (window, period) = (Window { skew, late }, Period { from, until });
    let backend = arguments.backend.as_deref();
    let found = reconcile(&directory, &arguments.kid, backend, signatures, (window, period))
        .map_err(|error| Failure::new(UNAVAILABLE, format_args!("{}: {error}", directory.display())))?;
    if arguments.json {
        line(serde_json::to_string_pretty(&found).map_err(|error| Failure::new(BUG, error))?)?;
    } else {
        print(&found)?;
    }
    Ok(if found.agrees() { ExitCode::SUCCESS } else { NO.into() })
}

fn signatures(arguments: &Arguments) -> Result<Vec<Signature>, Failure> {
    let mut all = Vec::new();
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        Failure::new(UNAVAILABLE, format_args!("{}: {error}", path.display()))
    };
    let read = |path: &PathBuf| fs::read(path).map_err(|error| failed(path, &error));
    for path in &arguments.cloudtrail {
        let key = arguments.kms_key.as_deref().unwrap_or_default();
        all.extend(cloudtrail::signatures(&read(path)?, key).map_err(|error| failed(path, &Chain(&error)))?);
    }
    // Files of a trail may overlap.
    let mut seen = HashSet::new();
    all.retain(|signature| seen.insert(signature.id.clone()));
    let wanted = arguments.wanted.iter().map(|wanted| {
        let pair = wanted.split_once('=').map(|(column, value)| (column.to_owned(), value.to_owned()));
        pair.ok_or_else(|| Failure::new(USAGE, format_args!("--where {wanted}: write COLUMN=VALUE")))
    });
    let columns = table::Columns {
        time: arguments.time_column.clone().unwrap_or_default(),
        wanted: wanted.collect::<Result<_, _>>()?,
    };
    for path in &arguments.csv {
        all.extend(table::signatures(&read(path)?[..], &columns).map_err(|error| failed(path, &error))?);
    }
    Ok(all)
}

fn print(found: &Reconciled) -> Result<(), Failure> {
    let Reconciled { signatures, answered, unanswered, unsigned } = found;
    line(format_args!("{signatures} signatures in the other log, {answered} of them with a record"))?;
    for signature in unanswered.iter().take(SHOWN) {
        line(format_args!("NO RECORD of {} at {} {}", signature.id, signature.at, signature.by))?;
    }
    for jwt in unsigned.iter().take(SHOWN) {
        line(format_args!("NO SIGNATURE of JWT {} (record {}, {})", jwt.jti, jwt.seq, jwt.at))?;
    }
    let more = unanswered.len().saturating_sub(SHOWN) + unsigned.len().saturating_sub(SHOWN);
    if more > 0 {
        line(format_args!("and {more} more; --json has all"))?;
    }
    if found.agrees() {
        return line("both logs agree");
    }
    if !unanswered.is_empty() {
        line(format_args!(
            "{} signatures were made behind the daemon's back, at about these times: revoke the key version \
             (`jwsd keys revoke`) unless you know who made them, or the daemon was killed just then (self-tests of its \
             last minute have no record)",
            unanswered.len()
        ))?;
    }
    if !unsigned.is_empty() {
        line(
            "JWTs have a record and no signature in the other log: it is incomplete, or its clock is off (--skew), or \
             another backend signed (--backend)",
        )?;
    }
    Ok(())
}
