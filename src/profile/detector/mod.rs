//! Detectors of secrets and personal data: which there are, sets of them, and the own ones of the configuration.
//!
//! Data, and what a name alone tells. Values are looked at by `policy`.

mod names;
#[cfg(test)]
mod tests;

use regex::{RegexSet, RegexSetBuilder};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most own detectors.
pub const MAX_OWN: usize = 32;
/// Compiled size of all own patterns together, bytes.
const PATTERNS_LIMIT: usize = 8 << 20;

/// Finds one kind of secret or personal data: a built-in one, or an own one of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detector(u8);
impl Detector {
    /// A member whose name says that it holds a secret: password, private key, card number, passport.
    pub const NAME: Self = Self(0);
    /// A payment card's number.
    pub const CARD: Self = Self(1);
    /// A bank account's number (ISO 13616).
    pub const IBAN: Self = Self(2);
    /// An e-mail address.
    pub const EMAIL: Self = Self(3);
    /// A number by which a state knows a person.
    pub const NATIONAL_ID: Self = Self(4);
    /// A private or symmetric key: PEM, OpenSSH, JWK.
    pub const PRIVATE_KEY: Self = Self(5);
    /// A JWS or JWE in compact form.
    pub const JWT: Self = Self(6);
    /// Text that looks random, or begins as access keys do.
    pub const ENTROPY: Self = Self(7);
    /// The first own one.
    const OWN: u8 = 8;

    fn own(place: usize) -> Option<Self> {
        let place = u8::try_from(place).ok().filter(|place| usize::from(*place) < MAX_OWN)?;
        Some(Self(Self::OWN + place))
    }
    /// Whether the configuration wrote it.
    pub fn is_own(self) -> bool {
        self.0 >= Self::OWN
    }
}
/// Names of the built-in detectors, as the configuration writes them.
const BUILT_IN: [&str; 8] = ["name", "card", "iban", "email", "national_id", "private_key", "jwt", "entropy"];

/// A set of detectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DetectorSet(u64);
impl DetectorSet {
    /// Everything that there could be.
    pub const ALL: Self = Self((1 << (Detector::OWN as usize + MAX_OWN)) - 1);

    /// Puts one more in.
    pub fn insert(&mut self, detector: Detector) {
        self.0 |= 1 << detector.0;
    }
    /// This one alone, if `found`.
    pub fn when(found: bool, detector: Detector) -> Self {
        Self(u64::from(found) << detector.0)
    }
    /// Whether it is in.
    pub fn contains(self, detector: Detector) -> bool {
        self.0 & (1 << detector.0) != 0
    }
    /// Whether none is in.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// Those of either.
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// Those of both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
    /// Those that are not in `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
    /// One after the other, built-in ones first.
    pub fn iter(self) -> impl Iterator<Item = Detector> {
        (0..Detector::OWN + MAX_OWN as u8).map(Detector).filter(move |detector| self.contains(*detector))
    }
}
impl FromIterator<Detector> for DetectorSet {
    fn from_iter<I: IntoIterator<Item = Detector>>(detectors: I) -> Self {
        let mut set = Self::default();
        detectors.into_iter().for_each(|detector| set.insert(detector));
        set
    }
}

/// What `[detector.NAME]` says.
#[derive(Debug, Clone, Default)]
pub struct OwnDetector {
    /// Its name.
    pub name: String,
    /// A regular expression that is searched for in strings and numbers.
    pub pattern: Option<String>,
    /// Names of members, compared without regard to case and to what is not a letter or digit.
    pub names: Vec<String>,
}
/// All own detectors, ready for use.
#[derive(Debug, Default)]
pub struct OwnDetectors {
    known: Vec<String>,
    names: BTreeMap<String, Detector>,
    /// `None` without any: even an empty set is dear to make, and each request begins with a default of this type.
    patterns: Option<RegexSet>,
    /// Whose pattern it is, in the order of `patterns`.
    owners: Vec<Detector>,
}
impl OwnDetectors {
    /// Takes at most [`MAX_OWN`]; `config` tells of more.
    ///
    /// # Errors
    /// A pattern that is no regular expression, or all of them too large together.
    pub fn new(own: Vec<OwnDetector>) -> Result<Self, regex::Error> {
        let (mut built, mut patterns) = (Self::default(), Vec::new());
        for (place, one) in own.into_iter().enumerate() {
            let Some(detector) = Detector::own(place) else { break };
            built.known.push(one.name);
            built.names.extend(one.names.iter().map(|name| (names::fold(name), detector)));
            if let Some(pattern) = one.pattern {
                patterns.push(pattern);
                built.owners.push(detector);
            }
        }
        if !patterns.is_empty() {
            built.patterns = Some(RegexSetBuilder::new(patterns).size_limit(PATTERNS_LIMIT).build()?);
        }
        Ok(built)
    }
    /// The detector of this name, built-in or own.
    pub fn find(&self, name: &str) -> Option<Detector> {
        if let Some(place) = BUILT_IN.iter().position(|known| *known == name) {
            return u8::try_from(place).ok().map(Detector);
        }
        Detector::own(self.known.iter().position(|known| known == name)?)
    }
    /// Its name, as the configuration writes it.
    pub fn name(&self, detector: Detector) -> &str {
        let place = usize::from(detector.0);
        let own = || self.known.get(place.wrapping_sub(usize::from(Detector::OWN))).map(String::as_str);
        BUILT_IN.get(place).copied().or_else(own).unwrap_or_default()
    }
    /// Names of all detectors.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        BUILT_IN.into_iter().chain(self.known.iter().map(String::as_str))
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
    /// Whether any has a pattern.
    pub fn have_patterns(&self) -> bool {
        self.patterns.is_some()
    }
    /// Those whose pattern is in `text`.
    pub fn in_text(&self, text: &str) -> DetectorSet {
        let Some(patterns) = self.patterns.as_ref().filter(|patterns| patterns.is_match(text)) else {
            return DetectorSet::default();
        };
        patterns.matches(text).into_iter().filter_map(|place| self.owners.get(place).copied()).collect()
    }
}

/// What a profile's claims are searched for.
#[derive(Debug, Clone)]
pub struct Detectors {
    /// Those that are not looked for.
    pub off: DetectorSet,
    /// The own ones of the configuration, the same for all profiles.
    pub own: Arc<OwnDetectors>,
}
impl Default for Detectors {
    /// All built-in ones.
    fn default() -> Self {
        Self { off: DetectorSet::default(), own: Arc::default() }
    }
}
impl Detectors {
    /// Those that are looked for.
    pub fn active(&self) -> DetectorSet {
        DetectorSet::ALL.without(self.off)
    }
    /// Names of those that are not looked for, as configured.
    pub fn names_off(&self) -> impl Iterator<Item = &str> {
        self.off.iter().map(|detector| self.own.name(detector))
    }
    /// What a member's name alone tells, whatever it holds.
    pub fn of_name(&self, name: &str) -> DetectorSet {
        names::look(name, &self.own.names).and(self.active())
    }
}
