//! Where a log begins whose older segments went: the file `base`, and the record `log.archived` that says the same.
//!
//! The file alone proves nothing. It is believed where a `log.archived` that a seal covers says the same, and only as far
//! as the seals after it give their roots with its peaks.

use super::checkpoint::SealKey;
use super::leaves::open;
use super::line::Line;
use super::tree::{Hash, Tree};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::path::Path;

/// The file's name.
pub(super) const BASE: &str = "base";
/// It is no longer.
const LONGEST: u64 = 16 * 1024;

/// The place from which on a log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    /// Number of the last leaf that is not kept.
    pub(super) after: u64,
    /// Over all leaves that are not kept.
    pub(super) tree: Tree,
    /// The key that sealed there.
    pub(super) vkey: String,
}

#[derive(Serialize, Deserialize)]
struct Written {
    after: u64,
    size: u64,
    peaks: Vec<String>,
    vkey: String,
}

impl Written {
    fn read(self) -> Option<Base> {
        let peak = |text: &String| -> Option<Hash> { BASE64.decode(text).ok()?.try_into().ok() };
        let tree = Tree::from_peaks(self.size, self.peaks.iter().map(peak).collect::<Option<_>>()?)?;
        SealKey::from_vkey(&self.vkey).ok()?;
        (0 < self.size && self.size <= self.after).then_some(Base {
            after: self.after,
            tree,
            vkey: self.vkey,
        })
    }
}

impl Base {
    /// That of the log in `dir`, if it has one; the inner error is for one that is not written as it should be.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Result<Self, &'static str>>> {
        let mut bytes = Vec::new();
        match open(dir, BASE) {
            Ok(file) => file.take(LONGEST).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Self::parse(&bytes).ok_or("it is not written as the log writes one: it was changed")))
    }

    /// The file's content.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let base = serde_json::from_slice::<Written>(bytes).ok()?.read()?;
        (base.text().as_bytes() == bytes).then_some(base)
    }

    /// What a `log.archived` says.
    ///
    /// # Errors
    /// What is wrong with it, a sentence.
    pub(super) fn stated(line: &Line<'_>) -> Result<Self, String> {
        let read = serde_json::from_slice::<Written>(line.bytes).ok().and_then(Written::read);
        read.ok_or_else(|| "log.archived lacks after, size, peaks or vkey, or they do not fit".to_owned())
    }

    /// As the file has it.
    pub(super) fn text(&self) -> String {
        let Self { after, tree, vkey } = self;
        let written = Written { after: *after, size: tree.size(), peaks: self.peaks(), vkey: vkey.clone() };
        // Texts and numbers are always JSON.
        serde_json::to_string(&written).unwrap_or_default() + "\n"
    }

    /// The peaks, base64.
    pub(super) fn peaks(&self) -> Vec<String> {
        self.tree.peaks().iter().map(|peak| BASE64.encode(peak)).collect()
    }
}
