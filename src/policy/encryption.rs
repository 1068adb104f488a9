//! Encryption: where it is due, there is one audience, and a key of it. Never leaves a JWT plain for want of a key.

use super::findings::{Findings, at_claim};
use super::judge::Case;
use crate::jose::jwe::Recipient;
use std::sync::Arc;

/// Whom to encrypt to; `None` where nothing is to be encrypted, or something was violated.
pub(super) fn judge(case: &Case<'_>, audience: &[String], findings: &mut Findings) -> Option<Arc<Recipient>> {
    let profile = case.profile;
    if !case.claims.as_object().is_some_and(|claims| profile.must_encrypt(claims)) {
        return None;
    }
    let at = || at_claim("aud");
    // Without a known audience there is a violation already.
    let (first, others) = audience.split_first().filter(|(first, _)| profile.audiences.contains(first))?;
    let only = findings.check("encrypt.audience", others.is_empty(), at, || {
        "this JWT is encrypted, and only one audience can read it then; name one, and ask again for each other"
            .into()
    });
    let recipient = case.recipients.get(first).filter(|_| only);
    if only {
        findings.check("encrypt.recipient", recipient.is_some(), at, || {
            format!(
                "this JWT must be encrypted, and no key of the audience is known; leave sensitive claims out if profile \"{}\" allows that, or ask for [recipient.\"AUDIENCE\"] to be added",
                profile.name
            )
        });
    }
    Some(Arc::clone(&recipient?.key))
}
