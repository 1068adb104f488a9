//! The second key, which cosigns each checkpoint by ML-DSA-44: which of its versions are introduced, and whether it works.
//!
//! Never keeps the log from being sealed: what it fails to do is told.

use super::report::CosignReport;
use super::tell::alert;
use crate::audit::Entry;
use crate::audit::checkpoint::{BadNote, Note};
use crate::audit::cosignature::Cosigner;
use crate::audit::restore::Seal;
use crate::keyring::{Ring, Version};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) struct Cosigning {
    key: String,
    origin: String,
    /// Versions whose introduction is recorded.
    introduced: BTreeSet<String>,
    pub(super) report: CosignReport,
}

impl Cosigning {
    /// By the key of this name, after `last`.
    pub(super) fn new(key: &str, origin: &str, last: Option<&Seal>, ring: &Ring) -> Self {
        let report = CosignReport { key: key.to_owned(), ..CosignReport::default() };
        let mut own =
            Self { key: key.to_owned(), origin: origin.to_owned(), introduced: BTreeSet::new(), report };
        // What cosigned the last seal was introduced before.
        let note = last.and_then(|seal| Note::parse(&seal.note).ok());
        let cosigned = |version: &&Arc<Version>| {
            let key = own.cosigner(version);
            note.as_ref().zip(key.ok()).is_some_and(|(note, key)| key.open(note).is_ok())
        };
        let versions = ring.versions().filter(|version| version.key() == key);
        own.introduced = versions.filter(cosigned).map(|version| version.kid().to_string()).collect();
        own
    }

    /// Versions that are to be introduced, each as verifiers keep it. One that cannot cosign is told of when it should.
    pub(super) fn newcomers(&self, ring: &Ring) -> Vec<(Arc<Version>, String)> {
        let is_new = |version: &&Arc<Version>| {
            version.key() == self.key && !self.introduced.contains(version.kid().as_str())
        };
        let vkey = |version| Some((Arc::clone(version), self.cosigner(version).ok()?.to_vkey()));
        ring.versions().filter(is_new).filter_map(vkey).collect()
    }

    /// The introduction of a version is on disk.
    pub(super) fn introduced(&mut self, version: &Version) {
        self.introduced.insert(version.kid().to_string());
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
