//! `[audit]`.

use super::{HOUR, KIB, MIB, Path, Resolver, SECOND};
use crate::audit::checkpoint::{LONGEST_NAME, is_name};
use crate::audit::seal::Settings as Sealing;
use crate::audit::{Settings, Witness};
use crate::config::file::{self, File};
use crate::jose::Algorithm;

impl Resolver<'_> {
    pub(super) fn audit(&mut self, path: &Path, file: &File) -> Settings {
        let dir = self.absolute(&path.key("dir"), &file.audit.dir);
        let witnesses = self.witnesses(&path.key("witness"), &file.audit, &dir);
        let checkpoint = file.audit.checkpoint.as_ref();
        Settings {
            environment: file.environment.clone(),
            retain: self.retain(&path.key("retain"), file, &dir),
            segment: self.quantity(&path.key("segment"), &file.audit.segment, 64 * KIB..=4096 * MIB),
            checkpoint: checkpoint
                .map(|checkpoint| self.checkpoint(&path.key("checkpoint"), checkpoint, file, witnesses)),
            dir,
        }
    }

    fn checkpoint(
        &mut self,
        path: &Path,
        written: &file::Checkpoint,
        file: &File,
        witnesses: Vec<Witness>,
    ) -> Sealing {
        let is_fit =
            |algorithm| matches!(algorithm, Algorithm::Ed25519 | Algorithm::EdDSA | Algorithm::ES256);
        self.own_key(&path.key("key"), &written.key, file, is_fit, "a checkpoint key is Ed25519 or ES256");
        if let Some(cosign) = &written.cosign {
            let is_fit = |algorithm| algorithm == Algorithm::MlDsa44;
            self.own_key(&path.key("cosign"), cosign, file, is_fit, "the key that cosigns is ML-DSA-44");
        }
        if written.origin.as_ref().is_some_and(|origin| !is_name(origin)) {
            let message =
                format!("write 1 to {LONGEST_NAME} bytes without spaces, control characters and `+`");
            self.fault(&path.key("origin"), message);
        }
        Sealing {
            key: written.key.clone(),
            cosign: written.cosign.clone(),
            origin: written.origin.clone(),
            every: self.quantity(&path.key("every"), &written.every, SECOND..=HOUR),
            records: self.in_range(&path.key("records"), written.records, 100..=1_000_000),
            witnesses,
        }
    }
    /// A key of the log's own.
    fn own_key(&mut self, path: &Path, name: &str, file: &File, is_fit: fn(Algorithm) -> bool, what: &str) {
        self.reference(path, "key", name, &file.key);
        if file.key.get(name).is_some_and(|key| !is_fit(key.algorithm)) {
            self.fault(path, format!("{what}: name another one"));
        }
        let user = file.profile.iter().find(|(_, profile)| profile.key == name);
        if let Some((profile, _)) = user {
            let message = format!(
                "profile {profile:?} signs JWTs with it: write a [key.NAME] that no profile uses, so that neither is taken \
                 for the other"
            );
            self.fault(path, message);
        }
    }
}
