//! SD-JWTs (RFC 9901): names that mean digests there, and the holder's key.

use super::findings::{Findings, at_claim, claim, holds, locate};
use super::judge::Case;
use crate::jose::json::Pointer;
use crate::jose::{Algorithm, PublicKey};
use crate::profile::{KeyBinding, SD_NAMES};
use serde_json::{Map, Value};

pub(super) fn judge(case: &Case<'_>, findings: &mut Findings) {
    let Some(claims) = case.claims.as_object() else { return };
    judge_names(case, claims, findings);
    if let Some(binding) = case.profile.sd_jwt.and_then(|sd_jwt| sd_jwt.key_binding) {
        judge_key(case, binding, claims.get("cnf"), findings);
    }
}

/// In every profile: a verifier that does not look at `typ` would let the holder add claims that were never judged.
fn judge_names(case: &Case<'_>, claims: &Map<String, Value>, findings: &mut Findings) {
    let mut clean = true;
    for (name, value) in claims.iter().filter(|(_, value)| has_sd_name(value)) {
        clean = false;
        findings.violated(
            "sd.reserved",
            || locate(value, has_sd_name, at_claim(name)),
            || {
                format!(
                    "{} has a member named \"_sd\", \"_sd_alg\" or \"...\" in it, which mean digests in an SD-JWT; give it another name",
                    claim(name)
                )
            },
        );
    }
    if clean && case.profile.sd_jwt.is_some() {
        findings.check("sd.reserved", true, || Pointer::default().name("claims"), String::new);
    }
}
fn has_sd_name(value: &Value) -> bool {
    holds(value, &|name| SD_NAMES.contains(&name), &|_| false)
}

fn judge_key(case: &Case<'_>, binding: KeyBinding, cnf: Option<&Value>, findings: &mut Findings) {
    let at = || at_claim("cnf");
    // Not said twice.
    let required_anyway = case.profile.claims.get("cnf").is_some_and(|rule| rule.required);
    if binding == KeyBinding::Required && !(cnf.is_none() && required_anyway) {
        findings.check("sd.key_binding", cnf.is_some(), at, || {
            "claim \"cnf\" is missing; send the public key of the holder as {\"jwk\": ...}".into()
        });
    }
    if let Some(cnf) = cnf {
        findings.check("sd.holder_key", is_holder_key(cnf), at, || {
            "claim \"cnf\" is not {\"jwk\": ...} with a public key for signatures, strong enough and on its curve; send that, and never a private key".into()
        });
    }
}
/// RFC 7800 section 3.2, with nothing else in it that a verifier could take for the key.
fn is_holder_key(cnf: &Value) -> bool {
    let members = cnf.as_object().filter(|members| members.len() == 1);
    let jwk = members.and_then(|members| members.get("jwk"));
    jwk.is_some_and(|jwk| PublicKey::from_jwk(jwk).is_ok_and(|key| says_only(jwk, &key)))
}
/// The key, `use`, `kid`, and an `alg` of such keys: nothing that leads elsewhere (`x5u`) or to another use of it.
fn says_only(jwk: &Value, key: &PublicKey) -> bool {
    jwk.as_object().into_iter().flatten().all(|(name, value)| match name.as_str() {
        "kty" | "crv" | "x" | "y" | "n" | "e" | "pub" | "use" => true,
        "kid" => value.is_string(),
        "alg" => Algorithm::ALL.iter().any(|of| value == of.name() && of.key_type() == key.key_type()),
        _ => false,
    })
}
