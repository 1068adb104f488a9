//! When a profile is open. The zone's rules were read with the configuration; the time is an argument.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Days, as they are written, in the order of the week.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Minutes of a day by the clock on the wall.
const DAY: u16 = 24 * 60;

/// The hours in which a profile is used.
#[derive(Debug, Clone)]
pub struct Hours {
    days: [bool; 7],
    from: u16,
    to: u16,
    zone: TimeZone,
    /// As written, for sentences.
    text: String,
    /// What follows outside of them.
    pub action: Action,
}
/// What follows from a use outside the hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// An alert.
    Warn,
    /// A refusal.
    #[default]
    Refuse,
}

impl Hours {
    /// `days` are [`days`], `from` and `to` minutes of the day as [`minute`] reads them, not equal. Beyond midnight the
    /// hours belong to the day on which they began.
    pub fn new(days: [bool; 7], (from, to): (u16, u16), zone: TimeZone, action: Action) -> Self {
        let names = DAYS.iter().zip(days).filter(|(_, open)| *open).map(|(name, _)| *name);
        let names = names.collect::<Vec<_>>().join(", ");
        let at = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let place = zone.iana_name().unwrap_or("UTC");
        let text = format!("{names} from {} to {} ({place})", at(from), at(to));
        Self { days, from, to, zone, text, action }
    }

    /// Whether they are open at `now`, the last minute not included.
    pub fn is_open(&self, now: Timestamp) -> bool {
        let there = self.zone.to_datetime(now);
        let minute = u16::from(there.hour().unsigned_abs()) * 60 + u16::from(there.minute().unsigned_abs());
        let today = usize::from(there.weekday().to_monday_zero_offset().unsigned_abs());
        let is_on = |day: usize| self.days.get(day % 7).copied().unwrap_or(false);
        if self.from < self.to {
            return is_on(today) && (self.from..self.to).contains(&minute);
        }
        (is_on(today) && minute >= self.from) || (is_on(today + 6) && minute < self.to)
    }
}
impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads `"mon-fri"`, `"sat-mon"` or `"mon, wed, fri-sat"`.
pub fn days(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| DAYS.iter().position(|known| *known == name.trim());
    let mut open = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let last = if last < first { last + 7 } else { last };
        for number in first..=last {
            *open.get_mut(number % 7)? = true;
        }
    }
    Some(open)
}
/// Reads `"08:00"` to `"24:00"`.
pub fn minute(text: &str) -> Option<u16> {
    let two = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u16>().ok().filter(|_| digits)
    };
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (two(hour)?, two(minute)?);
    (minute < 60).then_some(hour * 60 + minute).filter(|minute| *minute <= DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(days_text: &str, from: &str, to: &str, zone: &str) -> Hours {
        let zone = TimeZone::get(zone).unwrap();
        Hours::new(days(days_text).unwrap(), (minute(from).unwrap(), minute(to).unwrap()), zone, Action::Warn)
    }

    #[test]
    fn hours_are_those_of_the_zone() {
        for (days, from, to, zone, at, open) in [
            ("mon-fri", "08:00", "18:00", "UTC", "2026-07-29T07:59:59Z", false),
            ("mon-fri", "08:00", "18:00", "UTC", "2026-07-29T08:00:00Z", true),
            ("mon-fri", "08:00", "18:00", "UTC", "2026-07-29T17:59:59Z", true),
            ("mon-fri", "08:00", "18:00", "UTC", "2026-07-29T18:00:00Z", false),
            ("mon-fri", "08:00", "18:00", "UTC", "2026-08-01T12:00:00Z", false),
            // Summer and winter, and the day on which the one becomes the other.
            ("mon-fri", "08:00", "18:00", "Europe/Berlin", "2026-07-29T06:00:00Z", true),
            ("mon-fri", "08:00", "18:00", "Europe/Berlin", "2026-01-28T06:00:00Z", false),
            ("mon-fri", "08:00", "18:00", "Europe/Berlin", "2026-01-28T07:00:00Z", true),
            ("sun", "02:30", "03:30", "Europe/Berlin", "2026-10-25T00:29:59Z", false),
            ("sun", "02:30", "03:30", "Europe/Berlin", "2026-10-25T00:30:00Z", true),
            ("sun", "02:30", "03:30", "Europe/Berlin", "2026-10-25T01:15:00Z", false),
            ("sun", "02:30", "03:30", "Europe/Berlin", "2026-10-25T01:30:00Z", true),
            // It is another day there.
            ("mon", "00:00", "24:00", "Pacific/Auckland", "2026-07-26T12:00:00Z", true),
            ("mon", "00:00", "24:00", "Pacific/Auckland", "2026-07-27T12:00:00Z", false),
            // Over midnight: the day is that of the evening.
            ("fri", "22:00", "06:00", "UTC", "2026-07-31T21:59:00Z", false),
            ("fri", "22:00", "06:00", "UTC", "2026-07-31T22:00:00Z", true),
            ("fri", "22:00", "06:00", "UTC", "2026-08-01T05:59:00Z", true),
            ("fri", "22:00", "06:00", "UTC", "2026-08-01T22:30:00Z", false),
            ("fri", "22:00", "06:00", "UTC", "2026-07-31T05:00:00Z", false),
            ("sun", "22:00", "06:00", "UTC", "2026-08-03T05:00:00Z", true),
        ] {
            let hours = hours(days, from, to, zone);
            assert_eq!(hours.is_open(at.parse().unwrap()), open, "{hours} {at}");
        }
    }
    #[test]
    fn days_and_times_have_one_form() {
        let on = |text: &str| days(text).map(|days| days.map(u8::from));
        assert_eq!(on("mon-fri"), Some([1, 1, 1, 1, 1, 0, 0]));
        assert_eq!(on("sat-mon"), Some([1, 0, 0, 0, 0, 1, 1]));
        assert_eq!(on("mon, wed,fri-fri"), Some([1, 0, 1, 0, 1, 0, 0]));
        for text in ["", "Mon", "monday", "mon-", "mon,", "mon-fri-sun", "1-5"] {
            assert_eq!(days(text), None, "{text}");
        }
        assert_eq!((minute("00:00"), minute("23:59"), minute("24:00")), (Some(0), Some(1439), Some(1440)));
        for text in ["", "8:00", "08", "08:60", "24:01", "25:00", "08:00:00", "+8:00", " 8:00", "0\u{663}:00"]
        {
            assert_eq!(minute(text), None, "{text}");
        }
        assert_eq!(
            hours("mon-tue", "08:00", "24:00", "UTC").to_string(),
            "mon, tue from 08:00 to 24:00 (UTC)"
        );
    }
}
