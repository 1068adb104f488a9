//! How far the log is sealed, for people. Decides nothing.

use super::Settings;
use crate::audit::restore::Seal;
use jiff::Timestamp;
use serde::Serialize;

/// How far a log is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The log's name.
    pub origin: String,
    /// Name of the checkpoint key.
    pub key: String,
    /// Its version that made the last seal.
    pub kid: Option<String>,
    /// The same version as verifiers keep it, once it has sealed in this run.
    pub vkey: Option<String>,
    /// Records of the last checkpoint.
    pub size: u64,
    /// When that was made.
    pub sealed: Option<Timestamp>,
    /// Records since.
    pub unsealed: u64,
    /// Why no seal is made now.
    pub problem: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// How far it is cosigned by a second key; absent where there is none.
    pub cosign: Option<CosignReport>,
    /// Where copies go.
    pub witnesses: Vec<WitnessReport>,
    #[serde(skip)]
    after: u64,
}

/// How far the second key cosigns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CosignReport {
    /// Name of the key.
    pub key: String,
    /// Its version that cosigned last in this run.
    pub kid: Option<String>,
    /// The same as verifiers keep it.
    pub vkey: Option<String>,
    /// Records of the checkpoint that it cosigned last in this run.
    pub size: Option<u64>,
    /// Why it does not cosign now.
    pub problem: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// Whether one witness has the newest checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WitnessReport {
    /// The file, `syslog`, or the name of one over HTTP.
    pub name: String,
    /// Records of the checkpoint that it got last in this run.
    pub size: Option<u64>,
    /// When it cosigned that, as it says; only those over HTTP do.
    pub cosigned: Option<Timestamp>,
    /// Why it does not get any.
    pub problem: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// It has seen more of the log than there is, or another one; until an operator accepts that.
    pub contradicts: bool,
}

impl WitnessReport {
    pub(super) fn new(name: String) -> Self {
        Self { name, size: None, cosigned: None, problem: None, since: None, contradicts: false }
    }
}

/// A seal that was made.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) size: u64,
    pub(super) after: u64,
    pub(super) kid: String,
    pub(super) vkey: String,
}

impl Report {
    pub(super) fn new(
        settings: &Settings,
        origin: &str,
        last: Option<&Seal>,
        cosign: Option<CosignReport>,
        witnesses: Vec<WitnessReport>,
    ) -> Self {
        Self {
            origin: origin.to_owned(),
            key: settings.key.clone(),
            kid: last.map(|seal| seal.kid.clone()),
            vkey: None,
            size: last.map_or(0, |seal| seal.checkpoint.size),
            sealed: last.map(|seal| seal.time),
            unsealed: 0,
            problem: None,
            since: None,
            cosign,
            witnesses,
            after: last.map_or(0, |seal| seal.after),
        }
    }

    /// A seal was made; whether that is worth telling.
    pub(super) fn done(&mut self, done: Done, now: Timestamp) -> bool {
        let news = self.problem.take().is_some() || self.vkey.as_ref() != Some(&done.vkey);
        (self.size, self.after, self.sealed, self.since) = (done.size, done.after, Some(now), None);
        (self.kid, self.vkey) = (Some(done.kid), Some(done.vkey));
        news
    }

    /// None was made; whether that is worth telling.
    pub(super) fn failed(&mut self, problem: String, now: Timestamp) -> bool {
        let news = self.problem.is_none();
        self.problem = Some(problem);
        self.since.get_or_insert(now);
        news
    }

    /// Number of the last record that it covers.
    pub(in crate::audit) fn after(&self) -> u64 {
        self.after
    }

    /// Whether a witness has seen more of it, or another log.
    pub fn is_contradicted(&self) -> bool {
        self.witnesses.iter().any(|witness| witness.contradicts)
    }

    /// When records up to this number are durable.
    pub(in crate::audit) fn at(&self, durable: u64) -> Self {
        Self { unsealed: durable.saturating_sub(self.after), ..self.clone() }
    }
}
