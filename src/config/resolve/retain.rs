//! `[audit.retain]`, and `retain` of each profile.

use super::{Path, Resolver};
use crate::audit::retain::Settings;
use crate::config::file::File;
use crate::config::units::DurationText;
use std::ops::RangeInclusive;
use std::path::Path as FilePath;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const TERMS: RangeInclusive<Duration> = DAY..=Duration::from_secs(3650 * 24 * 60 * 60);

impl Resolver<'_> {
    /// Of the log in `dir`.
    pub(super) fn retain(&mut self, path: &Path, file: &File, dir: &FilePath) -> Option<Settings> {
        let profiles =
            file.profile.iter().filter_map(|(name, profile)| Some((name, profile.retain.as_ref()?)));
        let at = |name: &String| Path::default().key("profile").key(name).key("retain");
        let Some(written) = &file.audit.retain else {
            for (name, _) in profiles {
                self.fault(&at(name), "the log is kept for ever: add [audit.retain] with a default");
            }
            return None;
        };
        if file.audit.checkpoint.is_none() {
            let message = "a log that is not sealed cannot show that nothing but its beginning went: add [audit.checkpoint]";
            self.fault(path, message);
        }
        let term = |this: &mut Self, path: &Path, text: &DurationText| {
            let term = this.quantity(path, text, TERMS);
            this.whole_seconds(path, term);
            term
        };
        let default = term(self, &path.key("default"), &written.default);
        let profiles = profiles.map(|(name, text)| (name.clone(), term(self, &at(name), text))).collect();
        let archive = written.archive.as_ref().map(|archive| {
            let path = path.key("archive");
            let archive = self.absolute(&path, archive);
            if archive.starts_with(dir) || dir.starts_with(&archive) {
                self.fault(
                    &path,
                    "the archive has its own directory, outside of the log's: write another one",
                );
            }
            archive
        });
        Some(Settings { default, profiles, archive })
    }
}
