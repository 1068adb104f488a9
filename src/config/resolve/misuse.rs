//! `[misuse]`, and `rates` and `hours` of a profile.

use super::{HOUR, Path, Resolver, SECOND};
use crate::config::file::{self, NewExe};
use crate::config::units::DurationText;
use crate::misuse::Settings;
use crate::profile::{self, Hours, Per, Rate, Threshold};
use jiff::tz::TimeZone;

/// Most rates of one profile: each is looked at for each JWT.
const RATES: usize = 8;

impl Resolver<'_> {
    pub(super) fn misuse(&mut self, path: &Path, written: &file::Misuse) -> Settings {
        let file::Denials { window, warn, refuse } = &written.denials;
        Settings {
            denials: self.threshold(&path.key("denials"), window, *warn, *refuse),
            new_exe: written.new_exe == NewExe::Warn,
        }
    }

    pub(super) fn rates(&mut self, path: &Path, profile: &file::Profile) -> Vec<Rate> {
        let written = &profile.rates;
        if written.len() > RATES {
            self.fault(path, format!("write at most {RATES} rates"));
        }
        let rate = |(index, rate): (usize, &file::ProfileRate)| {
            let path = path.index(index);
            if rate.per == Per::Subject && !profile.claims.contains_key("sub") {
                self.fault(
                    &path.key("per"),
                    "this profile has no claim \"sub\": add it under claims, or count by something else",
                );
            }
            if rate.warn.is_none() && rate.refuse.is_none() {
                self.fault(&path, "nothing would follow: write `warn`, `refuse` or both");
            }
            Rate { per: rate.per, threshold: self.threshold(&path, &rate.window, rate.warn, rate.refuse) }
        };
        let rates: Vec<Rate> = written.iter().enumerate().map(rate).collect();
        let counts = |rate: &Rate| (rate.per, rate.threshold.window);
        for (index, rate) in rates.iter().enumerate() {
            if rates.iter().take(index).any(|other| counts(other) == counts(rate)) {
                let message = "another rate counts the same in the same window: write one in place of both";
                self.fault(&path.index(index), message);
            }
        }
        rates
    }

    fn threshold(
        &mut self,
        path: &Path,
        window: &DurationText,
        warn: Option<u32>,
        refuse: Option<u32>,
    ) -> Threshold {
        let key = path.key("window");
        let window = self.quantity(&key, window, SECOND..=HOUR * 24);
        self.whole_seconds(&key, window);
        for (name, most) in [("warn", warn), ("refuse", refuse)] {
            if most == Some(0) {
                self.fault(&path.key(name), "nothing would be allowed: write at least 1");
            }
        }
        if let (Some(warn), Some(refuse)) = (warn, refuse)
            && warn >= refuse
        {
            self.fault(
                &path.key("warn"),
                "whoever is warned could do nothing any more: write less than `refuse`",
            );
        }
        Threshold { window, warn, refuse }
    }

    /// `None` only after a fault.
    pub(super) fn hours(&mut self, path: &Path, written: &file::Hours) -> Option<Hours> {
        let days = profile::days(&written.days);
        if days.is_none() {
            self.fault(&path.key("days"), "write days such as \"mon-fri\" or \"mon, wed-fri\"");
        }
        let [from, to] = [("from", &written.from), ("to", &written.to)].map(|(key, text)| {
            let minute = profile::minute(text);
            if minute.is_none() {
                self.fault(&path.key(key), "write a time of day such as \"08:00\"");
            }
            minute
        });
        if from.is_some() && from == to {
            self.fault(
                &path.key("to"),
                "the same as `from`: write \"00:00\" and \"24:00\" for the whole day",
            );
        }
        let zone = TimeZone::get(&written.zone);
        if zone.is_err() {
            self.fault(
                &path.key("zone"),
                "this machine knows no such time zone: write one such as \"Europe/Berlin\", or \"UTC\"",
            );
        }
        Some(Hours::new(days?, (from?, to?), zone.ok()?, written.action))
    }
}
