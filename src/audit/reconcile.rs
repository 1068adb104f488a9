//! The log against a backend's own: every signature of a key must have a record. One that has none was made behind the
//! daemon's back.
//!
//! Neither side names the other's entries, so they are matched by time. Each record answers for as many signatures as
//! requests were made for it, within a window around it; each signature takes, of the records that may answer for it,
//! the one whose window ends first. That leaves as few unanswered as can be: what is reported is certain in number.

pub mod cloudtrail;
pub mod table;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::select::Filter;

/// How far from its record a signature may be.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// How much earlier the other clock may show it.
    pub skew: SignedDuration,
    /// How much later, skew included: a request has until its deadline.
    pub late: SignedDuration,
}

/// What the other log covers; what is not said goes by its signatures.
#[derive(Debug, Clone, Copy, Default)]
pub struct Period {
    /// From when on.
    pub from: Option<Timestamp>,
    /// Until when.
    pub until: Option<Timestamp>,
}

/// What self-tests are told of at once.
const TOLD_EVERY: SignedDuration = SignedDuration::from_secs(120);
/// A version that is made or adopted proves itself so long before its record, at most.
const PROOF: SignedDuration = SignedDuration::from_secs(120);

/// A signature that the other log shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// When.
    pub at: Timestamp,
    /// What people find it by over there.
    pub id: String,
    /// Who made it, as far as the other log says.
    pub by: String,
}

/// A JWT whose signature the other log does not show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unsigned {
    /// Its record.
    pub seq: u64,
    /// When that was written.
    pub at: Timestamp,
    /// The JWT's id.
    pub jti: String,
}

/// What came of it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// Signatures in the other log.
    pub signatures: u64,
    /// Of those, how many records answer for.
    pub answered: u64,
    /// Those that no record answers for.
    pub unanswered: Vec<Signature>,
    /// JWTs within the time that the other log covers, whose signature it lacks.
    pub unsigned: Vec<Unsigned>,
}

impl Reconciled {
    /// Whether both logs tell the same.
    pub fn agrees(&self) -> bool {
        self.unanswered.is_empty() && self.unsigned.is_empty()
    }
}

/// What a record answers for.
struct Answer {
    from: Timestamp,
    until: Timestamp,
    /// Signatures at most.
    most: u64,
    /// The JWT that was signed for certain.
    jwt: Option<Unsigned>,
}

/// What is read of a record.
#[derive(Deserialize)]
struct Said {
    seq: u64,
    time: Timestamp,
    event: String,
    outcome: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    jti: String,
    object: Option<String>,
    #[serde(default)]
    count: u64,
    #[serde(default)]
    attempts: Vec<String>,
}

/// Compares the log in `dir` with the `signatures` of the key version `kid` that one `backend`, or all of them when
/// none is named, has seen in `period`. The log must have been verified.
///
/// # Errors
/// If the log cannot be read.
pub fn reconcile(
    dir: &Path,
    kid: &str,
    backend: Option<&str>,
    mut signatures: Vec<Signature>,
    (window, period): (Window, Period),
) -> io::Result<Reconciled> {
    signatures.sort_by_key(|signature| signature.at);
    // Where nobody says what the other log covers, it is what lies between its first and its last signature.
    let from = period.from.or_else(|| signatures.first().map(|first| first.at));
    let until = period.until.or_else(|| signatures.last().map(|last| last.at));
    let (Some(from), Some(until)) = (from, until) else { return Ok(Reconciled::default()) };
    signatures.retain(|signature| from <= signature.at && signature.at <= until);
    let mut answers = answers(dir, kid, backend, window)?;
    answers.retain(|answer| answer.until >= from && answer.from <= until);
    answers.sort_by_key(|answer| answer.from);
    let (answered, _) = matched(&signatures, &answers);
    // A test, or another request for the same JWT, may have taken what is a JWT's: whether one lacks its signature is
    // seen among JWTs alone, one for each.
    answers.retain(|answer| answer.jwt.is_some() && answer.most > 0);
    answers.iter_mut().for_each(|answer| answer.most = 1);
    let (_, used) = matched(&signatures, &answers);
    // Only what is wholly within the time of the other log can be missed there.
    let covered = |answer: &Answer| from <= answer.from && answer.until <= until;
    let unused = answers.into_iter().zip(used).filter(|(answer, used)| !used && covered(answer));
    let mut found = Reconciled {
        signatures: signatures.len() as u64,
        answered: answered.iter().filter(|answered| **answered).count() as u64,
        unsigned: unused.filter_map(|(answer, _)| answer.jwt).collect(),
        unanswered: Vec::new(),
    };
    found.unsigned.sort_by_key(|unsigned| unsigned.seq);
    let unanswered = signatures.into_iter().zip(answered).filter(|(_, answered)| !answered);
    found.unanswered = unanswered.map(|(signature, _)| signature).collect();
    Ok(found)
}

/// Which signatures have an answer, and which answers were used, when as many as can be are matched. Both are in the
/// order of their times.
fn matched(signatures: &[Signature], answers: &[Answer]) -> (Vec<bool>, Vec<bool>) {
    let mut answered = Vec::with_capacity(signatures.len());
    let mut used = vec![false; answers.len()];
    let mut coming = answers.iter().enumerate().peekable();
    // Those whose window is open, and how many signatures they may still answer for; that which ends first first.
    let mut open: BinaryHeap<Reverse<(Timestamp, usize, u64)>> = BinaryHeap::new();
    for signature in signatures {
        while let Some((at, answer)) = coming.next_if(|(_, answer)| answer.from <= signature.at) {
            open.push(Reverse((answer.until, at, answer.most)));
        }
        let mut found = false;
        while let Some(Reverse((until, at, left))) = open.pop() {
            found = until >= signature.at && left > 0;
            if found {
                used.get_mut(at).into_iter().for_each(|used| *used = true);
                open.push(Reverse((until, at, left - 1)));
                break;
            }
        }
        answered.push(found);
    }
    (answered, used)
}

/// All records that speak of signatures of the version.
fn answers(dir: &Path, kid: &str, backend: Option<&str>, window: Window) -> io::Result<Vec<Answer>> {
    let mut answers: Vec<Answer> = Vec::new();
    let mut jwts: HashMap<String, usize> = HashMap::new();
    let is_asked = |name: &str| backend.is_none_or(|backend| backend == name);
    let events = [
        "jwt.issued",
        "jwt.failed",
        "jwt.retried",
        "log.sealed",
        "key.tested",
        "key.generated",
        "key.adopted",
    ];
    let filter = Filter { events: events.map(str::to_owned).to_vec(), ..Filter::default() };
    filter.each(dir, &mut |_, _| {}, &mut |line| {
        let said: Said = serde_json::from_slice(line.bytes)?;
        // What came of a JWT names it, and in older logs not its key version.
        if said.kid != kid && !jwts.contains_key(&said.jti) {
            return Ok(());
        }
        let around = |before: SignedDuration, after: SignedDuration, most, jwt| Answer {
            from: said.time.saturating_sub(before).unwrap_or(said.time),
            until: said.time.saturating_add(after).unwrap_or(said.time),
            most,
            jwt,
        };
        let asked = |attempt: &&String| is_asked(attempt.split(' ').next().unwrap_or_default());
        let requests = said.attempts.iter().filter(asked).count() as u64;
        match said.event.as_str() {
            "jwt.issued" => {
                jwts.insert(said.jti.clone(), answers.len());
                let jwt = Unsigned { seq: said.seq, at: said.time, jti: said.jti.clone() };
                // Which backend signed is told only when more than one request was made.
                // A record is dated when the disk takes it, which may be after its signature.
                answers.push(around(window.late, window.late, 1, backend.is_none().then_some(jwt)));
            }
            "jwt.failed" | "jwt.retried" => {
                if let Some(answer) = jwts.get(&said.jti).and_then(|&at| answers.get_mut(at)) {
                    answer.most = requests;
                    answer.jwt = answer.jwt.take().filter(|_| said.event == "jwt.retried");
                }
            }
            "log.sealed" => answers.push(around(window.late, window.skew, 1, None)),
            "key.tested" if said.object.as_deref().is_none_or(is_asked) => {
                answers.push(around(TOLD_EVERY + window.late, window.skew, said.count, None));
            }
            "key.generated" | "key.adopted" if said.outcome == "success" => {
                answers.push(around(PROOF, window.late, said.count, None));
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(answers)
}

#[cfg(test)]
mod tests;
