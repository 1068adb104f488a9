//! `jwsd audit prove` and `jwsd audit check-proof`: that a JWT is in the log, and that the log only grew.
//!
//! Of a JWT nothing is printed but its jti and kid, and it is never on a command line.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::{LogDirectory, keys};
use crate::audit::checkpoint::SealKey;
use crate::audit::prove::check::{LONGEST, Proven};
use crate::audit::prove::{self, Facts, NoProof, check as proofs, segment as segments};
use crate::audit::read_limited;
use crate::cli::output::{Failure, NO, Outcome, UNAVAILABLE, USAGE, line};
use crate::jose::{compact, json, sd_jwt};

/// A JWT has at most this many bytes here.
const LIMITS: json::Limits = json::Limits { bytes: 64 << 10, depth: 16, nodes: 4096 };

/// Prove that a JWT is in the log, or that the log only grew
///
/// Prints a proof that can be checked without the log, by `jwsd audit check-proof` or any program that knows C2SP's
/// tlog-proof. The record's stored bytes are in it: they show who asked for the JWT, and never the JWT.
///
/// Example: jwsd audit prove --jwt jwt.txt > jwt.tlog-proof
#[derive(Debug, clap::Args)]
#[group(id = "what", required = true, multiple = false, args = ["jwt", "consistency"])]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    log: LogDirectory,
    /// File with the JWT, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    jwt: Option<PathBuf>,
    /// Also look in this archive, for what is no longer in the log
    #[arg(long, value_name = "DIRECTORY")]
    archive: Option<PathBuf>,
    /// Sizes of two seals, as checkpoints say them; without NEW, the newest
    #[arg(long, value_name = "OLD[..NEW]", value_parser = sizes)]
    consistency: Option<(u64, Option<u64>)>,
}

/// Check a proof, without the log; exit code 1 when it proves nothing
///
/// With --jwt, its jti, kid, alg, iat, exp and aud must be those of the record. Other claims are not in the log, and the
/// JWT's own signature is not checked: `jwsd verify` does that.
///
/// Example: jwsd audit check-proof jwt.tlog-proof --key @audit.vkey --jwt jwt.txt
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Check {
    /// The proof, or `-` for standard input
    #[arg(value_name = "FILE")]
    proof: PathBuf,
    /// The key that seals the log, as `jwsd audit key` printed it once, or @FILE; may be given again
    #[arg(long, value_name = "VKEY|@FILE", required = true)]
    key: Vec<String>,
    /// File with the JWT that must be the proven one, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    jwt: Option<PathBuf>,
    /// The archived segment that the proof is of
    #[arg(long, value_name = "FILE", conflicts_with = "jwt")]
    segment: Option<PathBuf>,
}

fn sizes(text: &str) -> Result<(u64, Option<u64>), String> {
    let number =
        |text: &str| text.parse().map_err(|_| "not of the form OLD or OLD..NEW, both sizes".to_owned());
    match text.split_once("..") {
        Some((old, new)) => Ok((number(old)?, Some(number(new)?))),
        None => Ok((number(text)?, None)),
    }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let directory = arguments.log.resolve()?;
    let archive = arguments.archive.as_deref();
    let proof = match (&arguments.jwt, arguments.consistency) {
        (Some(jwt), _) => prove::inclusion_of(&directory, archive, &facts(&read(jwt, LIMITS.bytes as u64)?)?),
        (None, Some((old, new))) => prove::consistency_of(&directory, archive, old, new),
        (None, None) => return Err(Failure::new(USAGE, "give --jwt FILE or --consistency OLD[..NEW]")),
    };
    match proof {
        Ok(proof) => line(proof.trim_end_matches('\n'))?,
        Err(error @ NoProof::Read { .. }) => return Err(Failure::because(UNAVAILABLE, &error)),
        Err(error) => return Err(Failure::because(NO, &error)),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn check(arguments: &Check) -> Outcome {
    let keys = keys::read(&arguments.key)?;
    let text = read(&arguments.proof, LONGEST)?;
    if let Some(path) = &arguments.segment {
        return check_segment(&text, path, &keys);
    }
    let jwt = arguments.jwt.as_deref().map(|path| facts(&read(path, LIMITS.bytes as u64)?)).transpose()?;
    let proven = proofs::check(&text, &keys, jwt.as_ref());
    match proven.map_err(|bad| Failure::new(NO, format_args!("it proves nothing: {bad}")))? {
        Proven::Inclusion { facts, seq, time, checkpoint } => {
            let Facts { jti, kid, .. } = facts;
            line(format_args!(
                "record {seq} of {time} is in the log {:?}, sealed at {} records: JWT {jti:?} by key {kid:?} was issued",
                checkpoint.origin, checkpoint.size
            ))?;
            line(match jwt {
                Some(_) => {
                    "the JWT given has this record's jti, kid, alg, iat, exp and aud; its other claims are not in the log, and \
                     its signature was not checked: `jwsd verify` does that"
                }
                None => "give --jwt to see whether that is the one you have",
            })?;
        }
        Proven::Consistency(old, new) => line(format_args!(
            "the log {:?} of {} records is the beginning of the one of {} records",
            new.origin, old.size, new.size
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn check_segment(proof: &str, path: &Path, keys: &[SealKey]) -> Outcome {
    let failed = |error: io::Error| Failure::new(UNAVAILABLE, format_args!("{}: {error}", path.display()));
    let segment = BufReader::new(File::open(path).map_err(failed)?);
    let proven = segments::check(proof, segment, keys).map_err(failed)?;
    let segments::Proven { segment, records, unvouched, checkpoint } =
        proven.map_err(|bad| Failure::new(NO, format_args!("it proves nothing: {bad}")))?;
    line(format_args!(
        "{records} records are those of {segment} in the log {:?}, sealed at {} records",
        checkpoint.origin, checkpoint.size
    ))?;
    if unvouched > 0 {
        line(format_args!("{unvouched} of them lie in a gap that the log declares: no seal covers these"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path, limit: u64) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::new(UNAVAILABLE, format_args!("{}: {error}", path.display()));
    if path != Path::new("-") {
        return read_limited(path, limit).map_err(failed);
    }
    let mut text = String::new();
    io::stdin().take(limit).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Whom a JWT is for, in either form; nobody if it does not say.
fn audience(aud: Option<&Value>) -> Option<Vec<String>> {
    match aud {
        None => Some(Vec::new()),
        Some(Value::String(one)) => Some(vec![one.clone()]),
        Some(Value::Array(all)) => all.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    }
}

/// What a JWT says of itself.
fn facts(text: &str) -> Result<Facts, Failure> {
    let wrong = |what: &str| Failure::new(USAGE, format_args!("the JWT: {what}"));
    let text = text.trim();
    if text.split('.').count() == 5 {
        return Err(wrong("it is encrypted: decrypt it with the recipient's key, and give the JWT inside"));
    }
    let jws = sd_jwt::split(text).map_or(text, |parts| parts.jws);
    let parts = compact::split(jws).map_err(|bad| wrong(&bad.to_string()))?;
    let read = |bytes| json::parse(bytes, LIMITS).map_err(|bad| wrong(&bad.to_string()));
    let (header, claims) = (read(&parts.header)?, read(&parts.payload)?);
    let text = |from: &Value, name: &str| {
        from.get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| wrong(&format!("it has no {name}")))
    };
    let date = |name: &str| {
        claims
            .get(name)
            .and_then(Value::as_i64)
            .ok_or_else(|| wrong(&format!("it has no {name}, or none in whole seconds")))
    };
    Ok(Facts {
        jti: text(&claims, "jti")?,
        kid: text(&header, "kid")?,
        alg: text(&header, "alg")?,
        iat: date("iat")?,
        exp: date("exp")?,
        aud: audience(claims.get("aud"))
            .ok_or_else(|| wrong("its aud is neither a text nor a list of texts"))?,
    })
}
