//! `encrypt` and `sd_jwt` of `[profile.NAME]`, and the claims that they are about.

use super::{Path, Resolver};
use crate::config::file::{self, Named};
use crate::profile::{Encrypt, NEVER_DISCLOSABLE, SdJwt};

/// Most decoys.
const DECOYS: u32 = 32;

impl Resolver<'_> {
    pub(super) fn encryption(
        &mut self,
        path: &Path,
        written: &file::Profile,
        recipients: &Named<file::Recipient>,
    ) {
        let sensitive = written.claims.iter().find(|(_, claim)| claim.sensitive);
        match (written.encrypt, sensitive) {
            (None, Some((name, _))) => {
                let path = path.key("claims").key(name).key("sensitive");
                self.fault(&path, "a profile with a sensitive claim encrypts: write encrypt = \"always\" or \"when-sensitive\" in it");
            }
            (Some(Encrypt::WhenSensitive), None) => {
                self.fault(
                    &path.key("encrypt"),
                    "no claim is sensitive: mark one with sensitive = true, or write \"always\"",
                );
            }
            (Some(Encrypt::Always), _) => {
                for (index, audience) in written.audiences.iter().enumerate() {
                    if !recipients.contains_key(audience) {
                        let message = format!(
                            "nothing could be issued for it: add [recipient.{audience:?}] with the key to encrypt to"
                        );
                        self.fault(&path.key("audiences").index(index), message);
                    }
                }
            }
            (None, None) | (Some(Encrypt::WhenSensitive), Some(_)) => {}
        }
    }

    pub(super) fn sd_jwt(&mut self, path: &Path, written: &file::Profile) -> Option<SdJwt> {
        let disclosable: Vec<&str> = written
            .claims
            .iter()
            .filter(|(_, claim)| claim.disclosable)
            .map(|(name, _)| name.as_str())
            .collect();
        let at = |name: &str| path.key("claims").key(name).key("disclosable");
        let Some(sd_jwt) = &written.sd_jwt else {
            if let Some(name) = disclosable.first() {
                self.fault(&at(name), "only claims of an SD-JWT are: write sd_jwt = {} in the profile");
            }
            return None;
        };
        let path_sd = path.key("sd_jwt");
        for name in &disclosable {
            if NEVER_DISCLOSABLE.contains(name) {
                self.fault(&at(name), "verifiers must always see this claim (RFC 9901): remove the mark");
            }
        }
        if disclosable.is_empty() {
            self.fault(
                &path_sd,
                "no claim is disclosable: mark those that a holder may keep back with disclosable = true",
            );
        }
        if written.encrypt.is_some() {
            self.fault(&path_sd, "an SD-JWT is for its holder to show, and `encrypt` hides it from everyone but the audience: remove one");
        }
        // RFC 9901 section 10.11: nobody takes it for a JWT that has all its claims.
        if !written.typ.as_deref().unwrap_or_default().to_ascii_lowercase().ends_with("+sd-jwt") {
            self.fault(
                &path.key("typ"),
                "the typ of an SD-JWT ends in \"+sd-jwt\", such as \"person+sd-jwt\": write one that does",
            );
        }
        if sd_jwt.key_binding.is_some() && !written.claims.contains_key("cnf") {
            self.fault(
                &path.key("claims"),
                "with `key_binding` a caller gives the holder's key as the claim \"cnf\": add cnf = {} here",
            );
        }
        let decoys = self.count(&path_sd.key("decoys"), sd_jwt.decoys, 0..=DECOYS);
        Some(SdJwt { decoys, key_binding: sd_jwt.key_binding })
    }
}
