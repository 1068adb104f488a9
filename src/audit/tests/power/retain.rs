//! Beginnings that go while the power does: the log is shortened now and then, on the same disk.
//!
//! The archive is on another disk, which is not lost.

use super::*;
use crate::audit::checkpoint::SealKey;
use crate::audit::retain::{self, NotRetained, archive::Archive, plan};
use crate::audit::tests::restoring::note;
use crate::jose::{Algorithm, PublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::{BTreeMap, BTreeSet};

/// A key whose signatures nobody looks at.
fn key() -> SealKey {
    let mut public = [0; 32];
    public[0] = 9;
    SealKey::new("jwsd/test", Algorithm::Ed25519, PublicKey::ed25519(&public).unwrap()).unwrap()
}

impl World {
    fn archive(&self) -> PathBuf {
        self._parent.path().join("archive")
    }

    /// Files of the log and its archive, each name once.
    pub(super) fn segments(&self) -> Vec<PathBuf> {
        let mut names = BTreeSet::new();
        let listed = |dir: &Path| super::super::super::segment::list_all(dir).map(|(segments, _)| segments);
        let mut files = Vec::new();
        for dir in [self.archive(), self.settings.dir.clone()] {
            for segment in listed(&dir).unwrap_or_default() {
                if names.insert(segment.name.clone()) {
                    files.push(dir.join(segment.name));
                }
            }
        }
        files
    }

    /// Whether these are durable.
    fn durable(&mut self, life: &mut Life, entry: Entry) -> bool {
        let Ok(mut ticket) = life.log.append(vec![entry]) else { return false };
        let _ = told(&mut ticket);
        life.write();
        matches!(told(&mut ticket), Poll::Ready(Ok(())))
    }

    fn seal(&mut self, life: &mut Life) -> bool {
        let Some(Head { tree, last }) = life.writer.head.clone() else { return false };
        let sealed = Entry {
            kid: Some(key().kid().to_string()),
            after: Some(last),
            peaks: tree.peaks().iter().map(|peak| BASE64.encode(peak)).collect(),
            note: Some(note("jwsd/test", &tree)),
            ..Entry::new(Event::LogSealed, Outcome::Success)
        };
        tree.size() > 0 && self.durable(life, sealed)
    }

    /// All that is old goes, and everything is; an end may come anywhere.
    pub(super) fn shorten(&mut self, life: &mut Life) -> Result<(), Broken> {
        let introduced = Entry {
            kid: Some(key().kid().to_string()),
            vkey: Some(key().to_vkey()),
            ..Entry::new(Event::LogKey, Outcome::Success)
        };
        self.settle(life);
        if !self.durable(life, introduced) || !self.seal(life) || !self.seal(life) {
            return Ok(());
        }
        let dir = self.settings.dir.clone();
        let terms =
            retain::Settings { default: Duration::from_secs(1), profiles: BTreeMap::new(), archive: None };
        let store = Arc::clone(&life.log.sealing().unwrap().store);
        let done = (|| {
            retain::finish(&dir, &store)?;
            plan(&dir, &terms, Timestamp::from_second(1_900_000_000).unwrap())
        })();
        let going = match done {
            Ok(plan) => plan.goes,
            // What is being written may be read in part; and calls fail.
            Err(NotRetained::Remove { .. }) => return Ok(()),
            Err(error) => return Err(format!("cannot plan: {error:?}")),
        };
        let Some(going) = going else { return Ok(()) };
        std::fs::create_dir_all(self.archive()).unwrap();
        let taken = Archive::open(&self.archive()).and_then(|archive| archive.take(&dir, &going));
        taken.map_err(|error| format!("cannot archive: {error:?}"))?;
        if self.durable(life, going.record(None)) && self.seal(life) && going.carry_out(&store).is_ok() {
            self.counts.shortened += 1;
        }
        Ok(())
    }
}
