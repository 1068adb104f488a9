//! The claims of an SD-JWT (RFC 9901) that its holder may keep back: digests for the payload, disclosures beside it.

use crate::jose::sd_jwt::{ALGORITHM, Disclosure, NoSalt, decoy};
use crate::profile::{Profile, SdJwt};
use serde::ser::SerializeMap;
use serde_json::{Map, Value};

/// What stands for the disclosable claims.
pub(super) struct Selective {
    /// Sorted, so that their order tells nothing.
    digests: Vec<String>,
    disclosures: Vec<Disclosure>,
}
impl Selective {
    /// As many digests for every JWT of the profile, whatever claims it has.
    pub(super) fn of(profile: &Profile, sd_jwt: SdJwt, claims: &Map<String, Value>) -> Result<Self, NoSalt> {
        let disclosures: Vec<Disclosure> = claims
            .iter()
            .filter(|(name, _)| is_disclosable(profile, name))
            .map(|(name, value)| Disclosure::new(name, value))
            .collect::<Result<_, _>>()?;
        let disclosable = profile.claims.values().filter(|rule| rule.disclosable).count();
        let mut digests: Vec<String> = disclosures.iter().map(Disclosure::digest).collect();
        while digests.len() < disclosable + sd_jwt.decoys {
            digests.push(decoy()?);
        }
        digests.sort_unstable();
        Ok(Self { digests, disclosures })
    }
    pub(super) fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("_sd", &self.digests)?;
        map.serialize_entry("_sd_alg", ALGORITHM)
    }
    /// What follows the JWS: `~`, and each disclosure with another one.
    pub(super) fn tail(&self) -> String {
        self.disclosures.iter().fold("~".to_owned(), |tail, disclosure| tail + disclosure.as_str() + "~")
    }
}
/// Whether a claim of an SD-JWT stands in it as a digest only.
pub(super) fn is_disclosable(profile: &Profile, name: &str) -> bool {
    profile.claims.get(name).is_some_and(|rule| rule.disclosable)
}
