//! Telling the witnesses of a checkpoint, all at once and within a short time each.
//!
//! One that fails or hangs is told of once, until it works again, and never holds up the next seal. One over HTTP that
//! has seen something else is not spoken to again in this run: until an operator accepts that, the log counts as
//! contradicted.

use super::WitnessReport;
use crate::audit::witness::http::{ANEW, Contradicted, Cosigned, Refused, Remote, Told};
use crate::audit::witness::{Asked, Witness};
use crate::audit::{Entry, Event, Outcome};
use crate::telemetry::Chain;
use crate::transport::HttpClient;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout_at};

/// A file or the system's log that takes longer counts as one that fails. Witnesses over HTTP may take longer: what they
/// say then is heard with the next seal.
const WITHIN: Duration = Duration::from_secs(2);
/// How long is waited for those at the end, for what they have not said yet and for what they say of the last seal.
const LAST: Duration = Duration::from_secs(4);
/// One request over HTTP takes no longer, and the log is read no longer for the proof in it.
const REQUEST: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(120));
/// What a witness says is recorded that often.
const RECORD_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// Of so many seals the last ones: verifiers keep twice as many.
const RECENT: u64 = 50;

pub(super) struct Teller {
    dir: PathBuf,
    ones: Vec<One>,
    /// How many checkpoints were told.
    told: u64,
}

struct One {
    witness: Witness,
    /// For one over HTTP.
    client: Option<Result<HttpClient, String>>,
    report: WitnessReport,
    /// It has not answered yet.
    busy: Option<JoinHandle<Answer>>,
    /// Size of the checkpoint that it has, as far as that is known.
    known: u64,
    /// It is not told any more.
    ended: bool,
    /// What it has vouched for since that was last recorded, and which checkpoint told that was.
    cosigned: Option<(u64, Cosigned)>,
    recorded: Option<Timestamp>,
}

/// How telling one ended.
enum Answer {
    Told,
    Cosigned(u64, Cosigned),
    Refused(Refused),
}

impl Teller {
    /// Of a log in this directory. At the start, `asked` came of asking them.
    pub(super) fn new(dir: &Path, witnesses: &[Witness], asked: &[Asked], now: Timestamp) -> Self {
        let ones = witnesses.iter().map(|witness| One::new(witness, asked, now)).collect();
        Self { dir: dir.to_owned(), ones, told: 0 }
    }

    pub(super) fn reports(&self) -> Vec<WitnessReport> {
        self.ones.iter().map(|one| one.report.clone()).collect()
    }

    /// Gives records of those that have failed from now on. The last time it waits longer.
    pub(super) async fn tell(&mut self, note: &str, last: bool, now: Timestamp) -> Vec<Entry> {
        // It is our own, so that it can be read.
        let Ok(told) = Told::new(&self.dir, note) else { return Vec::new() };
        let told = Arc::new(told);
        self.told += 1;
        let all = self.ones.iter_mut().map(|one| one.tell(&told, self.told, last, now));
        join_all(all).await.into_iter().flatten().collect()
    }

    /// Records of what witnesses have vouched for: now and then, or whatever is new.
    pub(super) fn cosigned(&mut self, now: Timestamp, all: bool) -> Vec<Entry> {
        let last = self.told;
        let due = |one: &mut One| {
            let is_due = one.recorded.is_none_or(|before| now.duration_since(before) >= RECORD_EVERY);
            let (nth, cosigned) = one.cosigned.take_if(|(nth, _)| all || is_due || *nth + RECENT < last)?;
            if nth + RECENT < last {
                return None;
            }
            one.recorded = Some(now);
            let (object, note) = (Some(one.report.name.clone()), Some(cosigned.note));
            Some(Entry { object, note, ..Entry::new(Event::LogCosigned, Outcome::Success) })
        };
        self.ones.iter_mut().filter_map(due).collect()
    }
}

impl One {
    fn new(witness: &Witness, asked: &[Asked], now: Timestamp) -> Self {
        let mut report = WitnessReport::new(witness.name());
        let answer = asked.iter().find(|asked| asked.name == report.name).map(|asked| &asked.answer);
        report.problem = answer.and_then(|answer| answer.as_ref().err().cloned());
        report.since = report.problem.as_ref().map(|_| now);
        let client = witness
            .remote()
            .map(|remote| HttpClient::new(remote.ca.as_deref()).map_err(|error| Chain(&error).to_string()));
        Self {
            witness: witness.clone(),
            client,
            known: answer.and_then(|answer| answer.as_ref().ok().copied()).unwrap_or_default(),
            report,
            busy: None,
            ended: false,
            cosigned: None,
            recorded: None,
        }
    }

    async fn tell(&mut self, told: &Arc<Told>, nth: u64, last: bool, now: Timestamp) -> Vec<Entry> {
        let mut records = Vec::new();
        let patient = self.client.is_some();
        let until = Instant::now() + if last && patient { LAST } else { WITHIN };
        // What came too late the last time.
        if let Some(busy) = self.busy.take_if(|busy| busy.is_finished() || (last && patient)) {
            let late = timeout_at(until, busy).await;
            if let Some(late) = late.ok().filter(|_| patient) {
                // A panic is logged where it happens.
                let late = late.unwrap_or_else(|_| failed("a defect"));
                records.extend(self.heard(late, told.checkpoint.size, now));
            }
        }
        if self.ended {
            return records;
        }
        let answer = if self.busy.is_some() {
            Some(failed("it still has not answered")).filter(|_| !patient)
        } else {
            let busy = self.busy.insert(self.begin(told, nth, now));
            match timeout_at(until, busy).await {
                Ok(answer) => {
                    self.busy = None;
                    Some(answer.unwrap_or_else(|_| failed("a defect")))
                }
                Err(_) => Some(failed("it does not answer")).filter(|_| !patient),
            }
        };
        records.extend(answer.and_then(|answer| self.heard(answer, told.checkpoint.size, now)));
        records
    }

    /// Begins to tell it.
    fn begin(&self, told: &Arc<Told>, nth: u64, now: Timestamp) -> JoinHandle<Answer> {
        let told = Arc::clone(told);
        match (self.witness.clone(), self.client.clone()) {
            (Witness::Http(remote), Some(client)) => {
                tokio::spawn(add(remote, client, told, self.known, nth, now))
            }
            (witness, _) => spawn_blocking(move || match witness.tell(&told.note, now) {
                Ok(()) => Answer::Told,
                Err(error) => failed(&error.to_string()),
            }),
        }
    }

    /// Takes note of how telling it ended. Gives a record if it has failed from now on.
    fn heard(&mut self, answer: Answer, size: u64, now: Timestamp) -> Option<Entry> {
        let (problem, rule) = match answer {
            Answer::Told => return self.works(size),
            Answer::Cosigned(nth, cosigned) => {
                (self.known, self.report.cosigned) = (cosigned.size, Some(cosigned.time));
                self.cosigned = Some((nth, cosigned));
                return self.works(self.known);
            }
            Answer::Refused(Refused::Failed(problem)) => (problem, "witness.failed"),
            Answer::Refused(Refused::Late(problem)) => (format!("{problem}; {ANEW}"), "witness.failed"),
            Answer::Refused(Refused::Accepted { there }) => {
                self.ended = true;
                let text = format!(
                    "it has a checkpoint of {there} records, which an operator accepted as lost: it can never cosign this \
                     log again; remove it, or begin a new log"
                );
                (text, "witness.failed")
            }
            Answer::Refused(Refused::Contradicted { there, how }) => {
                (self.ended, self.report.contradicts) = (true, true);
                let seen = match how {
                    Contradicted::Longer => "more than this log",
                    Contradicted::Other => "and this log has none like it",
                };
                let text = format!(
                    "it has a checkpoint of {there} records, {seen}: the log was cut off, put back or replaced; find out, and \
                     then `jwsd audit accept-truncation`"
                );
                (text, "witness.contradicts")
            }
        };
        let name = self.report.name.clone();
        let first = self.report.problem.replace(problem.clone()).is_none() || self.report.contradicts;
        self.report.since.get_or_insert(now);
        first.then(|| {
            tracing::error!(witness = name, problem, "Witness does not take checkpoints");
            alert(name, problem, rule)
        })
    }

    fn works(&mut self, size: u64) -> Option<Entry> {
        if self.report.problem.take().is_some() {
            tracing::info!(witness = self.report.name, "Witness takes checkpoints again");
        }
        (self.report.size, self.report.since) = (Some(size), None);
        None
    }
}

/// Shows a checkpoint to a witness over HTTP.
async fn add(
    remote: Remote,
    client: Result<HttpClient, String>,
    told: Arc<Told>,
    known: u64,
    nth: u64,
    now: Timestamp,
) -> Answer {
    match client {
        Ok(client) => match remote.add(&client, &told, known, REQUEST, now).await {
            Ok(cosigned) => Answer::Cosigned(nth, cosigned),
            Err(refused) => Answer::Refused(refused),
        },
        Err(problem) => failed(&problem),
    }
}

fn failed(problem: &str) -> Answer {
    Answer::Refused(Refused::Failed(problem.to_owned()))
}

/// A record that a witness fails, or worse.
pub(super) fn alert(name: String, problem: String, rule: &'static str) -> Entry {
    let (object, reason, rules) = (Some(name), Some(problem), vec![rule]);
    Entry { object, reason, rules, ..Entry::new(Event::AlertRaised, Outcome::Failed) }
}
