//! The rules of the profile's kind, which hold besides its own: a table in `profile`, judged here.

use super::findings::{Findings, at_claim, claim};
use super::judge::Case;
use crate::jose::json::Pointer;
use crate::profile::{Kind, Subject};
use serde_json::Value;

/// Whether a caller may ever set a claim of this name in a JWT of this kind.
pub(super) fn may_have(kind: Option<Kind>, name: &str, findings: &mut Findings) -> bool {
    let Some(kind) = kind else { return true };
    findings.check("kind.forbidden", !kind.forbids(name), || at_claim(name), || forbidden(kind, name))
}

/// Why not, and what to do.
pub(super) fn forbidden(kind: Kind, name: &str) -> String {
    let spec = kind.spec();
    match spec.subject {
        Subject::Issuer if name == "sub" => {
            format!(
                "claim \"sub\" is the issuer in a JWT of kind {:?}, and the daemon writes it; remove it",
                spec.name
            )
        }
        _ => format!(
            "{} never stands in a JWT of kind {:?} ({}); remove it",
            claim(name),
            spec.name,
            spec.source
        ),
    }
}

pub(super) fn judge(case: &Case<'_>, findings: &mut Findings) {
    let (profile, tree) = (case.profile, case.claims);
    let Some(spec) = profile.spec() else { return };
    for own in spec.claims {
        let place = || at_claim(own.name);
        match tree.get(own.name) {
            None | Some(Value::Null) if own.needed => {
                // Not said twice.
                if profile.claims.get(own.name).is_some_and(|rule| rule.required) {
                    continue;
                }
                findings.violated(own.rule.unwrap_or("kind.required"), place, || {
                    format!(
                        "{} is missing, and a JWT of kind {:?} needs it ({}); send it",
                        claim(own.name),
                        spec.name,
                        spec.source
                    )
                });
            }
            None => {}
            Some(value) => {
                let fits = own.form.admits(value, profile.algorithm);
                findings.check(own.rule.unwrap_or("kind.form"), fits, place, || {
                    let form = own.form.described();
                    format!(
                        "{} is not {form}, as a JWT of kind {:?} has it; send that",
                        claim(own.name),
                        spec.name
                    )
                });
            }
        }
    }
    if !spec.either.is_empty() {
        let there = |name: &&str| tree.get(name).is_some_and(|value| !value.is_null());
        findings.check(
            "kind.required",
            spec.either.iter().any(there),
            || Pointer::default().name("claims"),
            || {
                format!(
                    "a JWT of kind {:?} has {} or both ({}); send one",
                    spec.name,
                    spec.either.join(" or "),
                    spec.source
                )
            },
        );
    }
    let text = |name| tree.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let (Some(sub), true) = (text("sub"), spec.subject != Subject::Issuer) {
        let issuer = case.fixed.map_or(&profile.issuer, |fixed| &fixed.issuer);
        findings.check("kind.subject", sub != issuer, || at_claim("sub"), || {
            "claim \"sub\" is the issuer, so that the JWT could pass for a client's assertion (RFC 7523); send whom it is about"
                .into()
        });
    }
    // Where one is missing or empty, that was said already.
    if let (Some(sub), Some(client)) = (text("sub"), text("client_id")) {
        match spec.subject {
            Subject::Any | Subject::Issuer => {}
            Subject::Person => {
                findings.check("at.person", sub != client, || at_claim("sub"), || {
                    "claim \"sub\" is the client's own id, so that a client could pass for a person (RFC 9700 section 4.15); \
                     send the person's, or ask for a profile with base = \"service\""
                        .into()
                });
            }
            Subject::Client => {
                findings.check("service.sub", sub == client, || at_claim("sub"), || {
                    "claim \"sub\" is not the client's own id, which it is where there is no person (RFC 9068 section 2.2); \
                     send the same as in \"client_id\""
                        .into()
                });
            }
        }
    }
}
