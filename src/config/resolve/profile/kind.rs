//! What a profile is based on: `base` and `typ`, and what the kind's specification asks of a profile.

use super::{Path, Resolver};
use crate::config::file::{self, AudienceForm};
use crate::jose::Algorithm;
use crate::profile::{Forbidden, Kind, Subject};

impl Resolver<'_> {
    /// The kind; `typ` is filled in where `base` gives it.
    pub(super) fn kind(&mut self, path: &Path, written: &mut file::Profile) -> Option<Kind> {
        let base = path.key("base");
        if self.replaced.iter().any(|replaced| base.is_within(replaced)) {
            return None;
        }
        let path = path.key("typ");
        match (written.base, &written.typ) {
            (None, None) => {
                self.fault(&path, "missing: write the `typ` header, or the `base` that gives it");
                None
            }
            (None, Some(typ)) => {
                self.typ(&path, typ);
                Kind::of_typ(typ)
            }
            (Some(kind), None) => {
                written.typ = Some(kind.spec().typ.to_owned());
                Some(kind)
            }
            (Some(kind), Some(typ)) => {
                let spec = kind.spec();
                if !spec.typ.eq_ignore_ascii_case(typ) {
                    let message = format!(
                        "base {:?} has the typ {:?}: remove it, or write another base",
                        spec.name, spec.typ
                    );
                    self.fault(&path, message);
                }
                Some(kind)
            }
        }
    }
    /// RFC 8725 section 3.11; RFC 7515 section 4.1.9 says to leave `application/` out.
    fn typ(&mut self, path: &Path, typ: &str) {
        // RFC 6838 section 4.2.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        if typ.to_ascii_lowercase().starts_with("application/") {
            self.fault(path, "write it without \"application/\" (RFC 7515 section 4.1.9)");
        } else if typ.is_empty() || typ.len() > 64 || !typ.bytes().all(fits) {
            self.fault(
                path,
                "write a media subtype such as \"session+jwt\": 1 to 64 of letters, digits and !#$&-^_.+",
            );
        }
    }

    /// `algorithm` is that of the profile's key, if there is such a key.
    pub(super) fn keeps_to(
        &mut self,
        path: &Path,
        kind: Kind,
        written: &file::Profile,
        algorithm: Option<Algorithm>,
    ) {
        let spec = kind.spec();
        let whose = format!("a JWT of kind {:?} ({})", spec.name, spec.source);
        if let (Some(only), Some(found)) = (spec.algorithm, algorithm)
            && only != found
        {
            let message = format!("{whose} is signed with {}: name a key with that algorithm", only.name());
            self.fault(&path.key("key"), message);
        }
        if !spec.audience && !written.audiences.is_empty() {
            self.fault(&path.key("audiences"), format!("{whose} has no audience: remove it"));
        }
        // An authorization server takes its own identifier alone, so that no other one can use the assertion.
        if kind == Kind::ClientAssertion && written.audience_form == AudienceForm::Array {
            self.fault(&path.key("audience_form"), format!("{whose} has one audience: remove it"));
        }
        if matches!(spec.forbidden, Forbidden::Others) && written.nbf {
            self.fault(&path.key("nbf"), format!("{whose} has no such claim: remove it"));
        }
        if !spec.expires {
            let message = format!("{whose} has no `exp`, so that it would outlive this: remove it");
            for (key, is_there) in [
                ("session", written.session == file::Session::Required),
                ("aal", written.aal.is_some()),
                ("max_age", written.max_age.is_some()),
                ("consent", written.consent.is_some()),
            ] {
                if is_there {
                    self.fault(&path.key(key), message.clone());
                }
            }
        }
        for name in written.claims.keys() {
            // Verifiers that ignore case would take it for the other one.
            let lower = name.to_ascii_lowercase();
            if lower != *name && spec.claims.iter().any(|own| own.name == lower) {
                let message =
                    format!("looks like the claim {lower:?} of {whose}: write that, or another name");
                self.fault(&path.key("claims").key(name), message);
                continue;
            }
            if !kind.forbids(name) && !kind.forbids(&lower) {
                continue;
            }
            let message = match lower.as_str() {
                "sub" if spec.subject == Subject::Issuer => {
                    format!("{whose} is about its issuer, and the daemon writes that: remove it")
                }
                _ => format!("{whose} never has this claim: remove it"),
            };
            self.fault(&path.key("claims").key(name), message);
        }
    }
}
