//! `[subjects]`.

use super::{Path, Resolver};
use crate::backend;
use crate::config::file::File;
use crate::jose::Algorithm;
use crate::subject::Settings;
use std::collections::BTreeMap;
use std::path::Path as FilePath;

impl Resolver<'_> {
    pub(super) fn subjects(
        &mut self,
        path: &Path,
        file: &File,
        dir: &FilePath,
        backends: &BTreeMap<String, backend::Settings>,
    ) -> Settings {
        let written = &file.subjects;
        if let Some(name) = &written.backend {
            let at = path.key("backend");
            self.reference(&at, "backend", name, &file.backend);
            if backends.get(name).is_some_and(|backend| !backend.may_generate()) {
                let message = "an erasure makes a key there, and destroys one: let it (`generate = true`), or name another";
                self.fault(&at, message);
            }
        }
        if !matches!(written.algorithm, Algorithm::Ed25519 | Algorithm::RS256) {
            self.fault(
                &path.key("algorithm"),
                "its signatures of the same must be the same: write Ed25519 or RS256",
            );
        }
        Settings { dir: dir.to_owned(), backend: written.backend.clone(), algorithm: written.algorithm }
    }
}
