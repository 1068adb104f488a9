//! How long the JWTs of a profile live, and how they are dated. Data only; `policy` applies it.

use std::time::Duration;

/// The longest any JWT may live, whatever is overridden.
pub const LONGEST: Duration = Duration::from_hours(24);

/// Lifetimes, whole seconds, `1s <= default <= max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifetime {
    /// When the caller asks for none.
    pub default: Duration,
    /// What a caller may ask for at most.
    pub max: Duration,
    /// Why `max` is over the ceiling of the profile's kind; `None` when it is not.
    pub over_ceiling: Option<String>,
}

/// What a profile asks of the person's login session. Empty: a session that is told is kept to, and none is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionRule {
    /// Every request says when the session ends.
    pub required: bool,
    /// How sure the login was of who it is, which bounds how long it counts.
    pub aal: Option<Aal>,
    /// How long a login counts, from `auth_time` on.
    pub max_age: Option<Duration>,
}

/// Authentication assurance level of NIST SP 800-63B-4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aal {
    /// Level 1.
    One,
    /// Level 2.
    Two,
    /// Level 3.
    Three,
}
impl Aal {
    /// The level of this number.
    pub fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            3 => Some(Self::Three),
            _ => None,
        }
    }
    /// How long a login counts in all (sections 2.1.3, 2.2.3 and 2.3.3).
    pub fn limit(self) -> Duration {
        Duration::from_hours(match self {
            Self::One => 30 * 24,
            Self::Two => 24,
            Self::Three => 12,
        })
    }
    /// The end of that time, for a sentence.
    pub fn described(self) -> &'static str {
        match self {
            Self::One => "the end of the 30 days after auth_time that AAL 1 allows",
            Self::Two => "the end of the 24 hours after auth_time that AAL 2 allows",
            Self::Three => "the end of the 12 hours after auth_time that AAL 3 allows",
        }
    }
}
