//! Quantities as the operator writes them: `"5m"`, `"16KiB"`, `"200/s"`, `"0660"`.
//!
//! Kept as text, so that one that cannot be read is a fault beside others and not the end of reading. Never guesses
//! a unit: a bare number is refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use std::num::NonZeroU32;
use std::time::Duration;

/// Seconds of a day: 24 hours, always.
const DAY: u64 = 24 * 60 * 60;

/// Text that stands for a quantity.
pub(super) trait Quantity {
    /// What it stands for.
    type Value;
    /// Reads it; the error says how it is written.
    fn value(&self) -> Result<Self::Value, String>;
}

macro_rules! quantity {
    ($(#[$meta:meta])* $name:ident, $value:ty, $read:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub(super) struct $name(String);
        impl Quantity for $name {
            type Value = $value;
            fn value(&self) -> Result<$value, String> {
                $read(&self.0)
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
        /// One spelling per value, so that the same policy has the same digest however it is written.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self.value() {
                    Ok(value) => serializer.serialize_str(&value.readable()),
                    Err(_) => serializer.serialize_str(&self.0),
                }
            }
        }
    };
}
quantity!(
    /// A duration with its unit: "90s", "5m", "1h 30m", "30d" or ISO 8601 "PT5M".
    DurationText, Duration, read_duration
);
quantity!(
    /// A size with its unit: "512B", "16KiB", "64MiB", "1GiB".
    SizeText, u64, read_size
);
quantity!(
    /// A rate per second: "200/s".
    RateText, Rate, read_rate
);
quantity!(
    /// Permission bits, octal: "0660".
    ModeText, Mode, read_mode
);

/// Requests per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate(pub(super) NonZeroU32);
/// Permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode(pub(super) u32);

/// The one way a value is written out.
pub(super) trait Readable {
    /// As the operator would write it.
    fn readable(&self) -> String;
}
impl Readable for Duration {
    fn readable(&self) -> String {
        let (days, rest) = (self.as_secs() / DAY, self.as_secs() % DAY);
        if days > 0 && rest == 0 && self.subsec_nanos() == 0 {
            return format!("{days}d");
        }
        let duration = jiff::SignedDuration::try_from(*self);
        format!("{:#}", duration.unwrap_or(jiff::SignedDuration::MAX))
    }
}
/// Bytes.
impl Readable for u64 {
    fn readable(&self) -> String {
        let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let whole = |(_, shift): &&(&str, u32)| *self > 0 && self.trailing_zeros() >= *shift;
        let (unit, shift) = units.iter().find(whole).unwrap_or(&("B", 0));
        format!("{}{unit}", self >> shift)
    }
}
/// A count.
impl Readable for u32 {
    fn readable(&self) -> String {
        self.to_string()
    }
}
impl Readable for Rate {
    fn readable(&self) -> String {
        format!("{}/s", self.0)
    }
}
impl Readable for Mode {
    fn readable(&self) -> String {
        format!("{:04o}", self.0)
    }
}

fn read_duration(text: &str) -> Result<Duration, String> {
    // Months and years have no length.
    let span = text.parse::<jiff::Span>().ok();
    let duration = span.and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok());
    duration.and_then(|duration| Duration::try_from(duration).ok()).ok_or_else(|| {
        format!("{text:?} is not a duration: write a number and a unit, such as \"90s\", \"5m\" or \"30d\"")
    })
}
fn read_size(text: &str) -> Result<u64, String> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(end);
    let factor: Option<u64> = match unit.trim_start() {
        "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let number = number.parse::<u64>().ok();
    number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor)).ok_or_else(|| {
        format!("{text:?} is not a size: write a whole number and B, KiB, MiB or GiB, such as \"16KiB\"")
    })
}
fn read_rate(text: &str) -> Result<Rate, String> {
    let number = text.strip_suffix("/s").filter(|number| starts_with_digit(number));
    number
        .and_then(|number| number.parse().ok())
        .map(Rate)
        .ok_or_else(|| format!("{text:?} is not a rate: write requests per second, such as \"200/s\""))
}
fn read_mode(text: &str) -> Result<Mode, String> {
    let mode = Some(text).filter(|text| text.len() <= 4 && starts_with_digit(text));
    mode.and_then(|text| u32::from_str_radix(text, 8).ok())
        .map(Mode)
        .ok_or_else(|| format!("{text:?} is not a file mode: write octal digits, such as \"0660\""))
}
/// Rust's parsers take a leading plus; we do not.
fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical<T: Serialize>(value: &T) -> String {
        serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn each_quantity_has_one_spelling() {
        for (written, value, spelling) in [
            ("5m", 300, "5m"),
            ("300s", 300, "5m"),
            ("PT5M", 300, "5m"),
            ("1h 30m", 5400, "1h 30m"),
            ("0s", 0, "0s"),
            ("30d", 30 * 86400, "30d"),
            ("1w", 7 * 86400, "7d"),
            ("P1DT12H", 36 * 3600, "36h"),
        ] {
            let text = DurationText::from(written);
            assert_eq!(text.value(), Ok(Duration::from_secs(value)), "{written}");
            assert_eq!(canonical(&text), spelling, "{written}");
        }
        for (written, value, spelling) in [
            ("16KiB", 16384, "16KiB"),
            ("16384B", 16384, "16KiB"),
            ("1000 B", 1000, "1000B"),
            ("2GiB", 2 << 30, "2GiB"),
            ("0MiB", 0, "0B"),
        ] {
            let text = SizeText::from(written);
            assert_eq!(text.value(), Ok(value), "{written}");
            assert_eq!(canonical(&text), spelling, "{written}");
        }
        assert_eq!(canonical(&ModeText::from("660")), "0660");
        assert_eq!(canonical(&RateText::from("0200/s")), "200/s");
    }
    #[test]
    fn what_has_no_unit_or_no_number_is_refused() {
        for text in ["", "5", "m", "-5m", "5x", "1 year", "1mo", "1e3s", "5m5"] {
            assert!(DurationText::from(text).value().is_err(), "{text:?}");
        }
        for text in ["", "16", "16KB", "16kb", "KiB", "-1KiB", "+1KiB", "1.5MiB", "99999999999GiB"] {
            assert!(SizeText::from(text).value().is_err(), "{text:?}");
        }
        for text in ["", "200", "0/s", "200/m", "+2/s", "-2/s", "2.5/s", "5000000000/s"] {
            assert!(RateText::from(text).value().is_err(), "{text:?}");
        }
        for text in ["", "0888", "rw-rw----", "+660", "00660", "0o660"] {
            assert!(ModeText::from(text).value().is_err(), "{text:?}");
        }
    }
}
