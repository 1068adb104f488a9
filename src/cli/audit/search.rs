//! `jwsd audit search` and `export`: records by what they say, out of a log that verifies.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::verify::Trusted;
use super::{LogDirectory, checked};
use crate::audit::export::{Export, Format};
use crate::audit::select::{self, Filter};
use crate::cli::erase::search_key;
use crate::cli::keys::daemon::Daemon;
use crate::cli::output::{BUG, Failure, NO, Outcome, UNAVAILABLE};
use crate::cli::person::Person;
use crate::subject::{Kind, SubjectKey};

/// Which records.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Which {
    #[command(flatten)]
    pub(super) log: LogDirectory,
    #[command(flatten)]
    pub(super) trusted: Trusted,
    /// Such as `jwt.denied`, or `key.*` for a family; more than one is any of them
    #[arg(long, value_name = "EVENT")]
    event: Vec<String>,
    /// How it ended
    #[arg(long, value_parser = ["success", "denied", "failed"])]
    outcome: Option<String>,
    /// Asked by this caller, as configured
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// Of this profile
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Of this key version
    #[arg(long)]
    kid: Option<String>,
    /// Of the JWT with this id
    #[arg(long)]
    jti: Option<String>,
    /// Of the request with this id
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Where this rule was broken
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// About this key or backend
    #[arg(long, value_name = "NAME")]
    object: Option<String>,
    #[command(flatten)]
    pub(super) person: Person,
    /// Why a person's records are looked for, for the record of that: at most 200 bytes, no names
    #[arg(long, value_name = "WHY")]
    reason: Option<String>,
    /// The daemon's admin socket, where records of a person are asked for [default: that of --config]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Written then or later: a time (2026-11-24T08:00:00Z), a day (2026-11-24, UTC), or how long ago (90m, 2h)
    #[arg(long, value_name = "WHEN", value_parser = when)]
    pub(super) from: Option<Timestamp>,
    /// Written before
    #[arg(long, value_name = "WHEN", value_parser = when)]
    pub(super) until: Option<Timestamp>,
    /// Go on although the log has problems: what is shown may be forged, and records may be missing
    #[arg(long)]
    pub(super) unsound: bool,
}

impl Which {
    /// What else than a person and a time it asks for.
    pub(super) fn others(&self) -> Option<&'static str> {
        let singles = [
            ("--outcome", &self.outcome),
            ("--caller", &self.caller),
            ("--profile", &self.profile),
            ("--kid", &self.kid),
            ("--jti", &self.jti),
            ("--request", &self.request),
            ("--rule", &self.rule),
            ("--object", &self.object),
        ];
        let single = singles.into_iter().find_map(|(option, said)| said.as_ref().map(|_| option));
        single.or_else(|| (!self.event.is_empty()).then_some("--event"))
    }
}

/// A form of export.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(in crate::cli) enum Form {
    /// The stored records, one a line
    Jsonl,
    /// For spreadsheets, with a header
    Csv,
    /// Events of the Open Cybersecurity Schema Framework, one a line
    Ocsf,
}

/// A moment as people give it.
pub(super) fn when(text: &str) -> Result<Timestamp, String> {
    let ago = |ago: SignedDuration| Timestamp::now().checked_sub(ago).ok();
    text.parse::<Timestamp>()
        .ok()
        .or_else(|| TimeZone::UTC.to_timestamp(text.parse::<Date>().ok()?.at(0, 0, 0, 0)).ok())
        .or_else(|| text.parse::<SignedDuration>().ok().and_then(ago))
        .ok_or_else(|| {
            "write a time (2026-11-24T08:00:00Z), a day (2026-11-24, UTC) or how long ago (90m, 2h)"
                .to_owned()
        })
}

/// Prints the records as they are stored; exit code 1 when there are none.
pub(super) fn search(which: &Which) -> Outcome {
    let found = write(which, &verified(which)?, Format::JsonLines, io::stdout().lock())?;
    Ok(if found > 0 { ExitCode::SUCCESS } else { NO.into() })
}

/// Writes the records to a new file (0600), or to stdout.
pub(super) fn export(which: &Which, form: Form, output: Option<&Path>) -> Outcome {
    let format = match form {
        Form::Jsonl => Format::JsonLines,
        Form::Csv => Format::Csv,
        Form::Ocsf => Format::Ocsf,
    };
    // Before the file is made: an export that is refused leaves none.
    let directory = verified(which)?;
    let Some(path) = output else {
        write(which, &directory, format, io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    };
    let failed = |error: io::Error| Failure::new(UNAVAILABLE, format_args!("{}: {error}", path.display()));
    let file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let found = write(which, &directory, format, &file)?;
    file.sync_all().map_err(failed)?;
    crate::cli::output::line(format_args!("{found} records in {}", path.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The log's directory, once the log has verified.
fn verified(which: &Which) -> Result<PathBuf, Failure> {
    let directory = which.log.resolve()?;
    checked(&directory, &which.trusted, which.from, which.unsound)?;
    Ok(directory)
}

/// Whom the records are to be about: the daemon alone knows their key, and records that it gave it.
pub(super) fn person(which: &Which) -> Result<Option<select::Person>, Failure> {
    let Some((kind, name)) = which.person.named() else { return Ok(None) };
    let daemon = match &which.socket {
        Some(_) => Daemon { socket: which.socket.clone(), config: None },
        None => Daemon { socket: None, config: Some(which.log.config.clone()) },
    };
    let Some(key) = search_key(&daemon, &which.person, which.reason.as_deref())? else {
        let hint = match kind {
            Kind::Subject => "",
            Kind::Session | Kind::Consent => "; where JWTs have a subject, say --subject too",
        };
        let message = format!("no record is of them: they had no JWT, or were erased{hint}");
        return Err(Failure::new(NO, message));
    };
    let key = SubjectKey::from_text(&key)
        .ok_or_else(|| Failure::new(BUG, "the daemon's answer is not what is due: no key is in it"))?;
    let named = std::iter::once((kind, name)).chain(which.person.more());
    let of = named.map(|(kind, name)| (kind, name.to_owned())).collect();
    Ok(Some(select::Person { key, of }))
}

/// How many were written.
fn write(which: &Which, directory: &Path, format: Format, out: impl Write) -> Result<u64, Failure> {
    let filter = Filter {
        events: which.event.clone(),
        outcome: which.outcome.clone(),
        caller: which.caller.clone(),
        profile: which.profile.clone(),
        kid: which.kid.clone(),
        jti: which.jti.clone(),
        request: which.request.clone(),
        rule: which.rule.clone(),
        object: which.object.clone(),
        person: person(which)?,
        from: which.from,
        until: which.until,
    };
    let mut export = Export::new(format, BufWriter::new(out))?;
    let (mut found, mut written) = (0, Ok(()));
    let read = filter.each(directory, &mut |_, _| {}, &mut |line| {
        found += 1;
        export.add(line).map_err(|error| {
            let kind = error.kind();
            written = Err(error);
            kind.into()
        })
    });
    written?;
    read.map_err(|error| Failure::new(UNAVAILABLE, format_args!("{}: {error}", directory.display())))?;
    export.finish()?;
    Ok(found)
}
