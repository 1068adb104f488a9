//! How long the JWTs of a profile live, how they are dated, and what is asked of the login session.

use super::{HOUR, Path, Resolver, SECOND};
use crate::config::file;
use crate::config::units::{DurationText, Quantity, Readable};
use crate::profile::{Aal, Kind, LONGEST, Lifetime, SessionRule};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Characters of a reason.
const REASON: RangeInclusive<usize> = 10..=200;
const YEAR: Duration = Duration::from_hours(24 * 365);
const MAX_SKEW: Duration = Duration::from_mins(5);

impl Resolver<'_> {
    pub(super) fn lifetime(&mut self, path: &Path, kind: Option<Kind>, written: &file::Lifetime) -> Lifetime {
        let mut read = |key: &str, text| self.seconds(&path.key(key), text, SECOND..=YEAR);
        let (default, max) = (read("default", &written.default), read("max", &written.max));
        let ceiling = Kind::ceiling(kind);
        if max > LONGEST {
            let message =
                "this version issues nothing that lives longer than 24 hours: write at most \"24h\"";
            self.fault(&path.key("max"), message);
        } else if let (Some(kind), None) = (kind, &written.over_ceiling)
            && max > ceiling
        {
            let (ceiling, name) = (ceiling.readable(), kind.spec().name);
            let message = format!(
                "over the ceiling of kind {name:?}: write at most {ceiling:?}, or say why in `over_ceiling`, which is recorded"
            );
            self.fault(&path.key("max"), message);
        } else if default > max && written.max.value().is_ok() {
            self.fault(&path.key("default"), "longer than `max`: write at most that");
        }
        if let Some(reason) = &written.over_ceiling {
            let path = path.key("over_ceiling");
            if max <= ceiling {
                self.fault(&path, "`max` is not over the ceiling: remove this");
            } else if !REASON.contains(&reason.trim().chars().count()) || reason.chars().any(char::is_control)
            {
                self.fault(&path, "say why in 10 to 200 characters on one line");
            }
        }
        Lifetime { default, max, over_ceiling: written.over_ceiling.clone() }
    }

    pub(super) fn session(&mut self, path: &Path, written: &file::Profile) -> SessionRule {
        let age = |age| self.seconds(&path.key("max_age"), age, SECOND..=YEAR);
        SessionRule {
            required: written.session == file::Session::Required,
            aal: written.aal.and_then(Aal::of),
            max_age: written.max_age.as_ref().map(age),
        }
    }

    /// `skew` and `round_iat`. A JWT that has expired when it is issued is of no use to anyone.
    pub(super) fn dating(
        &mut self,
        path: &Path,
        kind: Option<Kind>,
        written: &file::Profile,
        default: Duration,
    ) -> (Duration, Duration) {
        let skew = self.seconds(&path.key("skew"), &written.skew, Duration::ZERO..=MAX_SKEW);
        if !skew.is_zero() && !written.nbf {
            self.fault(&path.key("skew"), "there is no `nbf` to set back: write nbf = true, or remove this");
        }
        let round_iat = self.seconds(&path.key("round_iat"), &written.round_iat, SECOND..=HOUR);
        let backdate = kind.map_or(Duration::ZERO, |kind| kind.spec().backdate);
        if default < backdate + round_iat && (round_iat > SECOND || !backdate.is_zero()) {
            let least = (backdate + round_iat).readable();
            let message =
                format!("counts from `iat`, which is set back by nearly as much: write at least {least:?}");
            self.fault(&path.key("lifetime").key("default"), message);
        }
        (skew, round_iat)
    }

    fn seconds(&mut self, path: &Path, text: &DurationText, range: RangeInclusive<Duration>) -> Duration {
        let value = self.quantity(path, text, range);
        self.whole_seconds(path, value);
        value
    }
}
