//! A witness over HTTP, as C2SP's `tlog-witness` has it: it is sent each checkpoint with a proof that the log grew from
//! the one that it has, checks that, and cosigns.
//!
//! Believes a cosignature only once it has verified, and sends nothing but what the log holds already.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::Uri;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use jiff::Timestamp;
use tokio::task::spawn_blocking;

use crate::audit::checkpoint::{BadNote, Checkpoint, Note};
use crate::audit::cosignature::Cosigner;
use crate::audit::growth::{NotGrown, grown};
use crate::audit::history::History;
use crate::audit::restore::is_accepted;
use crate::audit::tree::Hash;
use crate::telemetry::Chain;
use crate::transport::{Answer, HttpClient};

/// Longest answer that is read, bytes: cosignatures of many keys.
const LONGEST: usize = 32 * 1024;
/// What remains where there is no proof.
pub(in crate::audit) const ANEW: &str = "it must begin anew with this log: see its operator";
/// A cosignature may be that much older or newer than our clock says, seconds.
const SKEW: i64 = 60 * 60;

/// One `[[audit.witness]]` with a `url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// What `/add-checkpoint` is put after.
    pub url: Uri,
    /// The key that it cosigns with.
    pub key: Cosigner,
    /// Certificate authorities that alone are trusted; those of the system when left out.
    pub ca: Option<PathBuf>,
}

/// A checkpoint that is durable in the log in `dir`, to be shown to a witness.
#[derive(Debug)]
pub(in crate::audit) struct Told {
    pub(in crate::audit) dir: PathBuf,
    pub(in crate::audit) note: String,
    pub(in crate::audit) checkpoint: Checkpoint,
}

impl Told {
    pub(in crate::audit) fn new(dir: &Path, note: &str) -> Result<Self, BadNote> {
        let checkpoint = Note::parse(note)?.unverified()?;
        Ok(Self { dir: dir.to_owned(), note: note.to_owned(), checkpoint })
    }
}

/// What a witness vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::audit) struct Cosigned {
    pub(in crate::audit) size: u64,
    /// The checkpoint, signed by the witness alone.
    pub(in crate::audit) note: String,
    /// When, as it says.
    pub(in crate::audit) time: Timestamp,
}

/// Why it did not cosign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::audit) enum Refused {
    /// It may another time.
    Failed(String),
    /// The log was not read in time for a proof.
    Late(String),
    /// It has seen `there` records of another log than this one, or more of it.
    Contradicted { there: u64, how: Contradicted },
    /// The same, and an operator has accepted that.
    Accepted { there: u64 },
}

/// How the log contradicts what a witness has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::audit) enum Contradicted {
    /// It has seen more.
    Longer,
    /// It has seen something else.
    Other,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Cosigned(Cosigned),
    /// It has a checkpoint of this size, not of the one that was said.
    Has(u64),
    /// Its checkpoint of that size is not of this log.
    Other,
    Failed(String),
}

impl From<NotGrown> for Refused {
    fn from(why: NotGrown) -> Self {
        match why {
            NotGrown::Foreign(there) => Self::Contradicted { there, how: Contradicted::Other },
            NotGrown::Gone(_) => Self::Failed(format!("no proof for it: {why}; {ANEW}")),
            NotGrown::Late(_) => Self::Late(format!("no proof for it: {why}")),
            NotGrown::Read(_) => Self::Failed(format!("no proof for it: {}", Chain(&why))),
        }
    }
}

impl Remote {
    /// Shows it a checkpoint, and asks the log itself whether an operator has accepted what it says.
    pub(in crate::audit) async fn add(
        &self,
        client: &HttpClient,
        told: &Told,
        known: u64,
        limits: (Duration, Duration),
        now: Timestamp,
    ) -> Result<Cosigned, Refused> {
        match self.show(client, told, known, limits, now).await {
            Err(refused) => Err(self.judge(told, refused).await),
            cosigned => cosigned,
        }
    }

    /// Shows it a checkpoint; nobody looks whether a contradiction was accepted. It is taken to have one of `known` records; if it has another one, that is tried once.
    /// Each request takes `within` at most, and so long may the log be read for the proof as `reading` says.
    pub(in crate::audit) async fn show(
        &self,
        client: &HttpClient,
        told: &Told,
        known: u64,
        (within, reading): (Duration, Duration),
        now: Timestamp,
    ) -> Result<Cosigned, Refused> {
        let mut old = known.min(told.checkpoint.size);
        let mut again = true;
        loop {
            let proof = prove(told, old, reading).await?;
            let (there, how) = match self.post(client, told, (old, &proof), within, now).await {
                Said::Cosigned(cosigned) => return Ok(cosigned),
                Said::Failed(problem) => return Err(Refused::Failed(problem)),
                Said::Has(there) if there > told.checkpoint.size => (there, Contradicted::Longer),
                Said::Has(there) if again => {
                    (old, again) = (there, false);
                    continue;
                }
                Said::Has(there) => {
                    let text = format!(
                        "it had {old} records and now {there}: does another daemon seal as this log?"
                    );
                    return Err(Refused::Failed(text));
                }
                Said::Other => (old, Contradicted::Other),
            };
            return Err(Refused::Contradicted { there, how });
        }
    }

    /// Whether an operator has accepted a contradiction.
    async fn judge(&self, told: &Told, refused: Refused) -> Refused {
        let Refused::Contradicted { there, .. } = refused else { return refused };
        let (dir, name) = (told.dir.clone(), self.key.name().to_owned());
        let look = move || is_accepted(&History::of(&dir)?, &name, there);
        match spawn_blocking(look).await {
            Ok(Ok(true)) => Refused::Accepted { there },
            // Where nobody can tell now, nobody has.
            _ => refused,
        }
    }

    async fn post(
        &self,
        client: &HttpClient,
        told: &Told,
        (old, proof): (u64, &[Hash]),
        within: Duration,
        now: Timestamp,
    ) -> Said {
        let url =
            match format!("{}/add-checkpoint", self.url.to_string().trim_end_matches('/')).parse::<Uri>() {
                Ok(url) => url,
                Err(error) => return Said::Failed(error.to_string()),
            };
        let hashes: String = proof.iter().map(|hash| format!("{}\n", BASE64.encode(hash))).collect();
        let body = Bytes::from(format!("old {old}\n{hashes}\n{}", told.note));
        let deadline = tokio::time::Instant::now() + within;
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        match client.post(&url, kind, body, LONGEST, deadline).await {
            Ok(answer) => self.read(&answer, told, old, now),
            Err(error) => Said::Failed(Chain(&error).to_string()),
        }
    }

    /// What an answer comes to, when it was told that it had `old` records.
    fn read(&self, answer: &Answer, told: &Told, old: u64, now: Timestamp) -> Said {
        let Told { checkpoint, .. } = told;
        let failed = |text: String| Said::Failed(text);
        match answer.status {
            StatusCode::OK => match self.cosigned(answer, checkpoint, now) {
                Ok(cosigned) => Said::Cosigned(cosigned),
                Err(problem) => failed(problem),
            },
            StatusCode::CONFLICT => match size(answer) {
                Some(there) if there != old => Said::Has(there),
                _ if old == checkpoint.size => Said::Other,
                _ => failed("it refuses the size that it says it has: it is no `tlog-witness`".to_owned()),
            },
            StatusCode::UNPROCESSABLE_ENTITY if old > 0 => Said::Other,
            StatusCode::FORBIDDEN => failed(format!(
                "it does not know the key that seals this log (403): have its operator add the vkey that `jwsd audit key` \
                 prints, for {:?}",
                checkpoint.origin
            )),
            StatusCode::NOT_FOUND => failed(format!(
                "it does not know this log (404): have its operator add {:?} with the vkey that `jwsd audit key` prints, or \
                 correct `url`",
                checkpoint.origin
            )),
            StatusCode::UNPROCESSABLE_ENTITY => {
                failed("it refuses the first checkpoint that it is shown (422): see its operator".to_owned())
            }
            status if status.is_redirection() => failed(format!(
                "it sends us elsewhere ({}): write the address itself as `url`",
                status.as_u16()
            )),
            status => failed(format!("it answers with status {}", status.as_u16())),
        }
    }

    fn cosigned(&self, answer: &Answer, checkpoint: &Checkpoint, now: Timestamp) -> Result<Cosigned, String> {
        let lines = std::str::from_utf8(&answer.body).map_err(|_| "its answer is no text".to_owned())?;
        let (note, time) = self.key.note(checkpoint, lines).map_err(|bad| match bad {
            BadNote::Unsigned => "it cosigns with another key than the one in `vkey`".to_owned(),
            bad => format!("its cosignature is not good: {bad}"),
        })?;
        let time =
            Timestamp::from_second(time).map_err(|_| "its cosignature has no possible time".to_owned())?;
        if (time.as_second() - now.as_second()).abs() > SKEW {
            return Err(format!(
                "its cosignature is of {time}, and our clock says {now}: set the clocks right"
            ));
        }
        Ok(Cosigned { size: checkpoint.size, note, time })
    }
}

/// The size in a 409, if it says one.
fn size(answer: &Answer) -> Option<u64> {
    let kind = answer.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let text = std::str::from_utf8(&answer.body).ok()?.strip_suffix('\n')?;
    let size: u64 = text.parse().ok()?;
    (kind.split(';').next()?.trim() == "text/x.tlog.size" && size.to_string() == text).then_some(size)
}

/// The proof that this log grew from `old` records to the checkpoint. Long ones are read elsewhere.
async fn prove(told: &Told, old: u64, reading: Duration) -> Result<Vec<Hash>, Refused> {
    if old == 0 || old == told.checkpoint.size {
        return Ok(Vec::new());
    }
    let (dir, checkpoint) = (told.dir.clone(), told.checkpoint.clone());
    let until = Instant::now() + reading;
    let read = move || grown(&History::of(&dir)?, old, &checkpoint, until);
    // A panic is logged where it happens.
    let read = spawn_blocking(read).await.map_err(|_| Refused::Failed("a defect".to_owned()))?;
    read.map_err(Refused::from)
}

#[cfg(test)]
pub(in crate::audit) mod tests;
