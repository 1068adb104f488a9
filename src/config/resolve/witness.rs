//! `[[audit.witness]]`.

use super::{Path, Resolver};
use crate::audit::cosignature::Cosigner;
use crate::audit::{Remote, SYSLOG, Witness};
use crate::config::file;
use crate::transport::read_url;

impl Resolver<'_> {
    pub(super) fn witnesses(
        &mut self,
        path: &Path,
        audit: &file::Audit,
        dir: &std::path::Path,
    ) -> Vec<Witness> {
        if audit.checkpoint.is_none() && !audit.witness.is_empty() {
            self.fault(path, "there are no checkpoints to keep: add [audit.checkpoint]");
        }
        let mut witnesses = Vec::new();
        for (index, written) in audit.witness.iter().enumerate() {
            let path = path.index(index);
            if let Some(witness) = self.witness(&path, written, dir) {
                let name = witness.name();
                let is_remote = matches!(witness, Witness::Http(_));
                if witnesses.contains(&witness) {
                    self.fault(&path, "stands here twice: remove one");
                } else if is_remote && witnesses.iter().any(|other: &Witness| other.name() == name) {
                    let message =
                        format!("another witness is named {name:?} too: each needs a name of its own");
                    self.fault(&path.key("vkey"), message);
                }
                witnesses.push(witness);
            }
        }
        witnesses
    }

    /// `None` only after a fault.
    fn witness(&mut self, path: &Path, written: &file::Witness, dir: &std::path::Path) -> Option<Witness> {
        let file::Witness { file, syslog, url, vkey, ca } = written;
        if url.is_none() {
            for (name, _) in [("vkey", vkey), ("ca", ca)].iter().filter(|(_, written)| written.is_some()) {
                self.fault(&path.key(*name), "belongs to a witness with a `url`: remove it");
            }
        }
        match (file, syslog, url) {
            (Some(file), false, None) => {
                let path = path.key("file");
                let file = self.absolute(&path, file);
                if file.starts_with(dir) {
                    self.fault(&path, "whoever removes the log removes it too: write another place");
                }
                Some(Witness::File(file))
            }
            (None, true, None) => Some(Witness::Syslog(SYSLOG.into())),
            (None, false, Some(url)) => {
                let url = read_url(url).map_err(|problem| self.fault(&path.key("url"), problem));
                let ca = ca.as_ref().map(|ca| self.absolute(&path.key("ca"), ca));
                let at = path.key("vkey");
                let key = match vkey.as_ref().map(|vkey| Cosigner::from_vkey(vkey)) {
                    Some(Ok(key)) => Some(key),
                    Some(Err(bad)) => {
                        self.fault(&at, format!("{bad}: write the witness's vkey as its operator gives it"));
                        None
                    }
                    None => {
                        self.fault(
                            &at,
                            "missing: write the witness's vkey, so that what it says is believed",
                        );
                        None
                    }
                };
                Some(Witness::Http(Remote { url: url.ok()?, key: key?, ca }))
            }
            _ => {
                self.fault(path, "write one of `file`, `syslog = true` and `url`");
                None
            }
        }
    }
}
