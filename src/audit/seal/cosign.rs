//! The second key, which cosigns each checkpoint by ML-DSA-44: which of its versions are introduced, and whether it works.
//!
//! Each start introduces all of them again, and each day, so that a log whose beginning went still says which they are.
//! Never keeps the log from being sealed: what it fails to do is told.

use super::report::CosignReport;
use super::tell::alert;
use crate::audit::Entry;
use crate::audit::checkpoint::BadNote;
use crate::audit::cosignature::Cosigner;
use crate::keyring::{Ring, Version};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A version is introduced again after this: segments are kept for a day at least.
const AGAIN: Duration = Duration::from_secs(20 * 3600);

pub(super) struct Cosigning {
    key: String,
    origin: String,
    /// Versions whose introduction was recorded in this run, and when.
    introduced: BTreeMap<String, Instant>,
    pub(super) report: CosignReport,
}

impl Cosigning {
    /// By the key of this name.
    pub(super) fn new(key: &str, origin: &str) -> Self {
        let report = CosignReport { key: key.to_owned(), ..CosignReport::default() };
        Self { key: key.to_owned(), origin: origin.to_owned(), introduced: BTreeMap::new(), report }
    }

    /// Versions that are to be introduced, each as verifiers keep it. One that cannot cosign is told of when it should.
    pub(super) fn newcomers(&self, ring: &Ring) -> Vec<(Arc<Version>, String)> {
        let is_new = |version: &&Arc<Version>| {
            let introduced = self.introduced.get(version.kid().as_str());
            version.key() == self.key && introduced.is_none_or(|at| at.elapsed() >= AGAIN)
        };
        let vkey = |version| Some((Arc::clone(version), self.cosigner(version).ok()?.to_vkey()));
        ring.versions().filter(is_new).filter_map(vkey).collect()
    }

    /// The introduction of a version is on disk.
    pub(super) fn introduced(&mut self, version: &Version) {
        self.introduced.insert(version.kid().to_string(), Instant::now());
    }

    /// The version that cosigns now.
    pub(super) fn active(&self, ring: &Ring) -> Option<Arc<Version>> {
        ring.active(&self.key).filter(|active| !active.is_revoked()).map(Arc::clone)
    }

    pub(super) fn cosigner(&self, version: &Version) -> Result<Cosigner, BadNote> {
        Cosigner::new(&self.origin, version.algorithm(), version.verifier().public().clone())
    }

    /// A checkpoint of so many records was cosigned, and is on disk.
    pub(super) fn cosigned(&mut self, key: &Cosigner, size: u64) {
        if self.report.problem.take().is_some() {
            tracing::info!(key = self.key, "Seals are cosigned again");
        }
        (self.report.size, self.report.since) = (Some(size), None);
        (self.report.kid, self.report.vkey) = (Some(key.kid().to_string()), Some(key.to_vkey()));
    }

    /// One was not. Gives a record if that is so from now on.
    pub(super) fn failed(&mut self, problem: String, now: Timestamp) -> Option<Entry> {
        let first = self.report.problem.replace(problem.clone()).is_none();
        self.report.since.get_or_insert(now);
        first.then(|| {
            tracing::error!(key = self.key, problem, "Seals are not cosigned");
            alert(self.key.clone(), problem, "cosign.failed")
        })
    }
}
