//! `[detector.NAME]`, and what profiles and claims say of detectors, consent and personal data.

use super::{HOUR, Path, Resolver};
use crate::config::file::{self, Named};
use crate::config::structure::nearest;
use crate::profile::{
    ClaimRule, Consent, ConsentWhen, DetectorSet, Detectors, Kind, MAX_OWN, OwnDetector, OwnDetectors,
    SD_NAMES, is_claim_name,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Most purposes of one profile.
const PURPOSES: usize = 16;

impl Resolver<'_> {
    pub(super) fn own_detectors(
        &mut self,
        path: &Path,
        written: &Named<file::Detector>,
    ) -> Arc<OwnDetectors> {
        let mut own = Vec::new();
        for (name, detector) in written {
            let path = path.key(name);
            self.name(&path, name);
            if OwnDetectors::default().find(name).is_some() {
                self.fault(&path, "a built-in detector has this name: write another one");
            }
            if detector.pattern.is_none() && detector.names.is_empty() {
                self.fault(&path, "it would find nothing: write `pattern`, `names` or both");
            }
            let pattern = detector.pattern.as_ref().filter(|pattern| {
                let path = path.key("pattern");
                let compiled = self.pattern(&path, pattern);
                if compiled.as_ref().is_some_and(|pattern| pattern.is_match("")) {
                    self.fault(&path, "it is found in every text: write one that needs a character at least");
                }
                compiled.is_some()
            });
            for (index, name) in detector.names.iter().enumerate() {
                let letters = name.bytes().filter(u8::is_ascii_alphanumeric).count();
                if !(1..=64).contains(&letters) || !name.is_ascii() {
                    let path = path.key("names").index(index);
                    self.fault(&path, "a name has 1 to 64 letters and digits, all of it ASCII");
                }
            }
            own.push(OwnDetector {
                name: name.clone(),
                pattern: pattern.cloned(),
                names: detector.names.clone(),
            });
        }
        if own.len() > MAX_OWN {
            self.fault(path, format!("{} detectors: write at most {MAX_OWN}", own.len()));
        }
        match OwnDetectors::new(own) {
            Ok(own) => Arc::new(own),
            Err(_) => {
                self.fault(path, "the patterns are too large together: make their repetitions smaller");
                Arc::default()
            }
        }
    }

    /// Names of detectors, as a set.
    pub(super) fn detector_set(
        &mut self,
        path: &Path,
        own: &OwnDetectors,
        written: &[String],
    ) -> DetectorSet {
        let mut set = DetectorSet::default();
        for (index, name) in written.iter().enumerate() {
            match own.find(name) {
                Some(detector) => set.insert(detector),
                None => {
                    let message = match nearest(name, own.all()) {
                        Some(near) => format!("there is no detector {name:?}: did you mean {near:?}?"),
                        None => {
                            let known: Vec<_> = own.all().collect();
                            format!("there is no detector {name:?}: write some of {}", known.join(", "))
                        }
                    };
                    self.fault(&path.index(index), message);
                }
            }
        }
        set
    }

    /// Claims whose names alone set off a detector could never be sent.
    pub(super) fn claims_of_secrets(
        &mut self,
        path: &Path,
        detectors: &Detectors,
        claims: &BTreeMap<String, ClaimRule>,
    ) {
        for (name, rule) in claims {
            let found = detectors.of_name(name).without(rule.may_hold);
            let Some(detector) = found.iter().next() else { continue };
            let detector = detectors.own.name(detector);
            let message = format!(
                "this name tells of a secret, which has no place in a JWT: remove the claim, name it otherwise, or write may_hold = [{detector:?}]"
            );
            self.fault(&path.key(name), message);
        }
    }

    /// What `[profile.NAME]` says of consent; and personal claims need it or another legal basis.
    pub(super) fn consent(
        &mut self,
        path: &Path,
        (written, kind): (&file::Profile, Option<Kind>),
        claims: &BTreeMap<String, ClaimRule>,
        detectors: &Detectors,
    ) -> Option<Consent> {
        let personal = claims.iter().find(|(_, rule)| rule.personal);
        let Some(consent) = &written.consent else {
            if let Some((name, _)) = personal
                && written.legal_basis.is_none()
            {
                let message = "a claim that says something of a person needs `consent` or `legal_basis` in its profile (GDPR article 6): write one";
                self.fault(&path.key("claims").key(name).key("personal"), message);
            }
            return None;
        };
        let path = path.key("consent");
        if consent.when == ConsentWhen::Personal && personal.is_none() {
            self.fault(
                &path.key("when"),
                "no claim is personal: write personal = true at one, or when = \"always\"",
            );
        }
        let mut seen = BTreeSet::new();
        for (index, purpose) in consent.purposes.iter().enumerate() {
            let path = path.key("purposes").index(index);
            self.name(&path, purpose);
            if !seen.insert(purpose) {
                self.fault(&path, format!("{purpose:?} stands here twice: remove one"));
            }
        }
        if consent.purposes.is_empty() || consent.purposes.len() > PURPOSES {
            self.fault(&path.key("purposes"), format!("write 1 to {PURPOSES} purposes"));
        }
        let max_age = path.key("max_age");
        let age = self.quantity(&max_age, &consent.max_age, Duration::from_secs(60)..=HOUR * 24 * 3650);
        self.whole_seconds(&max_age, age);
        if let Some(name) = &consent.claim {
            let path = path.key("claim");
            // Verifiers that ignore case would take one for the other (attack J7).
            let lower = name.to_ascii_lowercase();
            let is_kinds =
                |kind: Kind| [name, &lower].into_iter().any(|name| kind.brings(name) || kind.forbids(name));
            if !is_claim_name(name) || !is_claim_name(&lower) {
                let message = "a claim's name is 1 to 64 printable ASCII characters without spaces, and none of the daemon's own";
                self.fault(&path, message);
            } else if claims.keys().any(|claim| claim.eq_ignore_ascii_case(name)) {
                self.fault(
                    &path,
                    "callers may set this claim: write another one, or remove it from `claims`",
                );
            } else if let Some(kind) = kind.filter(|kind| is_kinds(*kind)) {
                let message = format!(
                    "a JWT of kind {0:?} never has this claim, or has it with another meaning ({1}): write another one",
                    kind.spec().name,
                    kind.spec().source
                );
                self.fault(&path, message);
            } else if SD_NAMES.contains(&lower.as_str()) {
                self.fault(&path, "means digests in an SD-JWT (RFC 9901): write another name");
            } else if !detectors.of_name(name).is_empty() {
                self.fault(&path, "this name tells of a secret: write another one");
            }
        }
        Some(Consent {
            purposes: consent.purposes.clone(),
            max_age: age,
            when: consent.when,
            claim: consent.claim.clone(),
        })
    }
}
