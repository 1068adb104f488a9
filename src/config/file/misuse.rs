//! `[misuse]`, and what profiles say of how often and when they are used.

use super::DurationText;
use crate::profile::{Action, Per};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

optional_table! {
    /// What is unusual whatever the profile.
    Misuse {
        /// Refused requests of one caller.
        denials: Denials = Denials::default(),
        /// What follows from a caller whose program its user had not run before, where the kernel shows it.
        new_exe: NewExe = NewExe::Warn,
    }
}
optional_table! {
    /// Refused requests of one caller.
    Denials {
        /// What lies longer behind does not count.
        window: DurationText = "1m",
        /// More than this raise an alert, once in a window.
        #[serde(skip_serializing_if = "Option::is_none")]
        warn: Option<u32> = Some(100_u32),
        /// After more than this, all requests of the caller are refused.
        #[serde(skip_serializing_if = "Option::is_none")]
        refuse: Option<u32> = None,
    }
}
/// What follows from a new program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum NewExe {
    Warn,
    Off,
}
table! {
    /// How often a profile may be used: `warn`, `refuse` or both.
    ProfileRate {
        /// Whose JWTs are counted together: of one caller, of the whole profile, about one subject (`sub`).
        per: Per,
        /// What lies longer behind does not count.
        window: DurationText,
        /// More than this raise an alert, once in a window.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warn: Option<u32>,
        /// More than this are refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refuse: Option<u32>,
    }
}
table! {
    /// When a profile may be used.
    Hours {
        /// Days, such as "mon-fri" or "mon, wed-fri".
        #[serde(default = "all_days")]
        days: String,
        /// Time of day, such as "08:00".
        from: String,
        /// Time of day, up to "24:00"; hours over midnight belong to the day on which they began.
        to: String,
        /// Time zone, such as "Europe/Berlin".
        #[serde(default = "utc")]
        zone: String,
        /// What follows from other times: a refusal or an alert.
        #[serde(default)]
        action: Action,
    }
}
fn all_days() -> String {
    "mon-sun".to_owned()
}
fn utc() -> String {
    "UTC".to_owned()
}
