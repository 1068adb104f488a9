//! From what is written to every module's settings, collecting all faults on the way.
//!
//! Never stops at a fault: each function reports and goes on with a harmless value, which nobody sees, because one
//! fault is enough for the whole file to be refused.

mod audit;
mod aws_kms;
mod backend;
mod caller;
mod cases;
mod daemon;
mod environment;
mod misuse;
mod pkcs11;
mod profile;
mod publish;
mod recipient;
mod retain;
mod sink;
mod subjects;
mod witness;

use super::document::{Document, Path};
use super::fault::Fault;
use super::file::{self, File, NameOrNumber};
use super::schema::SCHEMA;
use super::structure::{self, Shape, nearest};
use super::units::{Quantity, RateText, Readable};
use super::{Config, Loader, LogSettings, Written};
use crate::{backend as stores, profile as model, state};
use std::num::NonZeroU32;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

pub(super) use cases::cases;
pub use recipient::read_recipient;

/// Reads a whole file: the settings, and the written form with every default filled in.
///
/// # Errors
/// All faults.
pub(super) fn resolve(text: &str, loader: &Loader<'_>) -> Result<(Config, File), Vec<Fault>> {
    let document = Document::parse(text)?;
    let Shape { file, faults, replaced } = structure::read(&document, &SCHEMA);
    let Some(mut file): Option<File> = file else {
        return Err(faults);
    };
    let mut resolver = Resolver { document: &document, loader, replaced, faults };
    match resolver.config(&mut file) {
        Some(config) if resolver.faults.is_empty() => Ok((config, file)),
        _ => Err(resolver.faults),
    }
}

struct Resolver<'d> {
    document: &'d Document<'d>,
    loader: &'d Loader<'d>,
    /// Paths whose values are not the operator's: nothing is said of them.
    replaced: Vec<Path>,
    faults: Vec<Fault>,
}
impl Resolver<'_> {
    fn fault(&mut self, path: &Path, message: impl Into<String>) {
        if !self.replaced.iter().any(|replaced| path.is_within(replaced)) {
            let place = self.document.locate(path);
            self.faults.push(Fault::new(path, message, place));
        }
    }

    /// A fault of a part (bytes) of a key's text.
    fn fault_within(&mut self, path: &Path, text: &str, part: Range<usize>, message: impl Into<String>) {
        if !self.replaced.iter().any(|replaced| path.is_within(replaced)) {
            let place = self.document.locate_part(path, text, part);
            self.faults.push(Fault::new(path, message, place));
        }
    }

    /// `None` only after a fault.
    fn config(&mut self, file: &mut File) -> Option<Config> {
        let root = Path::default();
        self.name(&root.key("environment"), &file.environment);
        let [signing, admin, public] = self.listen(&root.key("listen"), &mut file.listen);
        let two_person = self.two_person(&root.key("admin"), &file.admin, &admin);
        let (transport, limits) = self.limits(&root.key("limits"), &file.limits);
        let audit = self.audit(&root.key("audit"), file);
        let sinks = self.sinks(&root.key("audit").key("sink"), &file.audit.sink);
        let state = state::Settings { dir: self.absolute(&root.key("state").key("dir"), &file.state.dir) };
        if audit.dir == state.dir {
            let message = "the audit log has its own directory: write another one here";
            self.fault(&root.key("state").key("dir"), message);
        }
        let misuse = self.misuse(&root.key("misuse"), &file.misuse);
        let log = LogSettings {
            level: format!("{:?}", file.log.level).to_lowercase(),
            json: file.log.format == file::Format::Json,
        };
        let backends = self.backends(&root.key("backend"), &mut file.backend, &state.dir);
        let subjects = self.subjects(&root.key("subjects"), file, &state.dir, &backends);
        let mut keys = self.keys(&root.key("key"), file, limits.jwks_max_age);
        let (profiles, issuers, schemas) = self.profiles(&root.key("profile"), file);
        self.environments(&root, file, &issuers);
        for key in keys.values_mut() {
            let first = key.backends.first().and_then(|name| backends.get(name));
            key.may_generate = first.is_some_and(stores::Settings::may_generate);
        }
        for name in audit.checkpoint.iter().flat_map(|own| [Some(&own.key), own.cosign.as_ref()]).flatten() {
            if let Some(key) = keys.get_mut(name) {
                key.published = false;
            }
        }
        for profile in profiles.iter().flatten() {
            if let Some(key) = keys.get_mut(profile.key.as_str()) {
                key.longest = key.longest.max(profile.lifetime.max);
            }
        }
        let forbidden = [&audit.dir, &state.dir];
        let publication = self.publication(&root, file, &keys, &issuers, forbidden);
        let recipients = self.recipients(&root.key("recipient"), file);
        let callers = self.callers(&root.key("caller"), file);
        let written = Written::new(file, &schemas, &callers);
        let digest = profile::digest(&written);
        for path in self.loader.running.iter().flat_map(|running| running.needs_restart(&written)) {
            let message = "the running daemon has this otherwise, and a reload does not change it: restart the daemon, \
                           or write it as it was";
            self.fault(&path, message);
        }
        Some(Config {
            environment: file.environment.clone(),
            allow_root: file.allow_root,
            signing,
            admin,
            public,
            two_person,
            transport,
            limits,
            audit,
            sinks,
            state,
            subjects,
            clock: file.clock.mode,
            misuse,
            log,
            backends,
            keys,
            publication,
            policy: crate::policy::Policy::new(profiles?, digest).with_recipients(recipients),
            callers: crate::caller::Callers::new(callers),
            written,
        })
    }

    /// Reads a quantity and checks its range; the least of the range after a fault.
    fn quantity<Q: Quantity>(&mut self, path: &Path, text: &Q, range: RangeInclusive<Q::Value>) -> Q::Value
    where
        Q::Value: PartialOrd + Copy + Readable,
    {
        match text.value() {
            Ok(value) => self.in_range(path, value, range),
            Err(message) => {
                self.fault(path, message);
                *range.start()
            }
        }
    }
    /// At least one a second; one after a fault.
    fn rate(&mut self, path: &Path, text: &RateText) -> NonZeroU32 {
        text.value().map_or_else(
            |message| {
                self.fault(path, message);
                NonZeroU32::MIN
            },
            |rate| rate.0,
        )
    }
    fn count(&mut self, path: &Path, value: u32, range: RangeInclusive<u32>) -> usize {
        usize::try_from(self.in_range(path, value, range)).unwrap_or(usize::MAX)
    }
    fn in_range<T: PartialOrd + Copy + Readable>(
        &mut self,
        path: &Path,
        value: T,
        range: RangeInclusive<T>,
    ) -> T {
        if range.contains(&value) {
            return value;
        }
        let (least, most) = (range.start().readable(), range.end().readable());
        self.fault(path, format!("out of range: write {least} to {most}"));
        *range.start()
    }
    fn whole_seconds(&mut self, path: &Path, duration: Duration) {
        if duration.subsec_nanos() != 0 {
            self.fault(path, "write whole seconds");
        }
    }
    /// A path that means the same wherever the daemon is started.
    fn absolute(&mut self, path: &Path, text: &str) -> PathBuf {
        let file = PathBuf::from(text);
        let climbs = file.components().any(|part| part == std::path::Component::ParentDir);
        if !file.is_absolute() || climbs || text.contains('\0') {
            self.fault(path, "write an absolute path without `..`");
        }
        // Drops doubled and trailing slashes.
        file.components().collect()
    }
    /// A file relative to the configuration or absolute; `written` becomes absolute. `None` only after a fault.
    fn beside(&mut self, path: &Path, written: &mut String, what: &str) -> Option<PathBuf> {
        let file = match self.loader.directory {
            Some(directory) => directory.join(&*written),
            None => written.as_str().into(),
        };
        if written.is_empty() || !file.is_absolute() {
            self.fault(path, format!("write the absolute path of a {what}"));
            return None;
        }
        *written = file.to_string_lossy().into_owned();
        Some(file)
    }
    fn name(&mut self, path: &Path, text: &str) {
        if let Err(error) = model::ProfileName::new(text) {
            self.fault(path, error.to_string());
        }
    }
    /// A name that must be that of a `[table.NAME]`.
    fn reference<T>(&mut self, path: &Path, kind: &str, name: &str, table: &file::Named<T>) {
        if table.contains_key(name) {
            return;
        }
        let hint = match nearest(name, table.keys().map(String::as_str)) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("write the name of one, or add [{kind}.{name}]"),
        };
        self.fault(path, format!("there is no {kind} {name:?}: {hint}"));
    }
    fn uid(&mut self, path: &Path, user: &NameOrNumber) -> Option<u32> {
        self.number(path, user, "user", |name| self.loader.users.uid(name))
    }
    fn gid(&mut self, path: &Path, group: &NameOrNumber) -> Option<u32> {
        self.number(path, group, "group", |name| self.loader.users.gid(name))
    }
    /// `None` only after a fault.
    fn number(
        &mut self,
        path: &Path,
        given: &NameOrNumber,
        what: &str,
        look_up: impl FnOnce(&str) -> std::io::Result<Option<u32>>,
    ) -> Option<u32> {
        let (number, problem) = match given {
            // The kernel's "nobody in particular".
            NameOrNumber::Number(u32::MAX) => (None, format!("{} is not a {what}", u32::MAX)),
            NameOrNumber::Number(number) => (Some(*number), String::new()),
            NameOrNumber::Name(name) if name.is_empty() || name.contains('\0') => {
                (None, format!("write the name or number of a {what}"))
            }
            NameOrNumber::Name(name) => match look_up(name) {
                Ok(Some(number)) => (Some(number), String::new()),
                Ok(None) => {
                    (None, format!("this machine has no {what} {name:?}: create it, or write its number"))
                }
                Err(error) => (None, format!("cannot look up the {what} {name:?}: {error}")),
            },
        };
        if number.is_none() {
            self.fault(path, problem);
        }
        number
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
