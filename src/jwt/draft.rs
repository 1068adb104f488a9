//! Exact bytes to sign, made from a grant by value. Sets `iss iat nbf exp jti` and the header itself; copies the
//! judged claims and changes nothing in them.

use super::SignedJwt;
use super::selective::{Selective, is_disclosable};
use crate::jose::jwe::{NotEncrypted, Recipient};
use crate::jose::sd_jwt::NoSalt;
use crate::jose::{Algorithm, BadSignature, Kid, Verified, compact};
use crate::keyring::{Shut, Use, Version};
use crate::policy::{Grant, Terms};
use crate::profile::{AudienceForm, LAST_DATE, Profile, Subject};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A JWT id: UUIDv7 text, unique across issuers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jti(String);
impl Jti {
    /// A new one. Counter and random part have 74 bits, seeded anew each millisecond, so two hosts never make the
    /// same; the time part gives indexes an order and is never read as a time.
    pub fn random() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }
    /// Whether a text may be the id of one of ours.
    pub fn is_one(text: &str) -> bool {
        uuid::Uuid::parse_str(text).is_ok_and(|id| id.get_version_num() == 7 && id.to_string() == text)
    }
    /// The text, 36 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why no JWT could be assembled although policy granted it.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// `iat` or `exp` would be no NumericDate that everyone reads alike.
    #[error("the clock reads a time outside 1970..9999; set it")]
    Clock,
    /// One key version signs for its own key's profiles only (RFC 8725 section 3.8).
    #[error("a version of key {found} was offered for a profile of key {expected}")]
    Key {
        /// The version's key.
        found: String,
        /// The profile's key.
        expected: String,
    },
    /// The right to sign is for other times than those that policy granted, which is a defect.
    #[error("the right to sign is for another lifetime than the one granted")]
    Lifetime,
    /// The claims must not leave plain, and policy named nobody to encrypt to, which is a defect.
    #[error("the JWT must be encrypted and nobody is named to encrypt it to")]
    Plain,
    /// The disclosures of an SD-JWT could not be made.
    #[error("the disclosures could not be made")]
    Salt(#[from] NoSalt),
    /// Does not happen with trees that were parsed.
    #[error("the claims could not be written as JSON")]
    Json(#[source] serde_json::Error),
}

/// Why a signature did not become a JWT.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is one of something else, which is a defect.
    #[error("the signature was dropped")]
    Bad(#[from] BadSignature),
    /// The key version was revoked while it signed.
    #[error("the signature was dropped")]
    Shut(#[from] Shut),
    /// It could not be encrypted, and does not leave plain.
    #[error("the signed JWT was dropped")]
    Plain(#[from] NotEncrypted),
}

/// A JWT before its signature. Fixed: header, claims, key version.
#[must_use]
pub struct Draft {
    right: Use,
    signing_input: String,
    iat: i64,
    exp: i64,
    jti: Jti,
    audience: Vec<String>,
    issuer: String,
    subject: Option<String>,
    session: Option<String>,
    consent: Option<String>,
    exceptions: Vec<String>,
    profile: String,
    recipient: Option<Arc<Recipient>>,
    /// The disclosures of an SD-JWT, as they follow it.
    tail: Option<String>,
}
impl Draft {
    /// Spends the grant and the right to sign. The JWT is dated back from the right's time as granted, and never lives
    /// longer than the right.
    ///
    /// # Errors
    /// [`DraftError`]: a clock or a key version that does not fit.
    pub fn assemble(grant: Grant, right: Use, jti: Jti) -> Result<Self, DraftError> {
        let Terms {
            profile,
            issuer,
            audience,
            ttl,
            iat_back,
            session,
            claims,
            consent,
            exceptions,
            recipient,
        } = grant.into_terms();
        let version = right.version();
        if version.key() != profile.key.as_str() {
            return Err(DraftError::Key {
                found: version.key().to_owned(),
                expected: profile.key.to_string(),
            });
        }
        if right.exp().abs_diff(right.iat()) != ttl.as_secs() {
            return Err(DraftError::Lifetime);
        }
        let iat = right.iat().saturating_sub_unsigned(iat_back.as_secs());
        let exp = iat.saturating_add_unsigned(ttl.as_secs());
        if iat < 0 || exp > right.exp() || exp.unsigned_abs() > LAST_DATE {
            return Err(DraftError::Clock);
        }
        if recipient.is_none() && profile.must_encrypt(&claims) {
            return Err(DraftError::Plain);
        }
        let selective = profile.sd_jwt.map(|sd_jwt| Selective::of(&profile, sd_jwt, &claims)).transpose()?;
        let header = serde_json::to_vec(&Header {
            alg: version.algorithm().name(),
            kid: version.kid(),
            typ: &profile.typ,
        });
        let payload = serde_json::to_vec(&Payload {
            profile: &profile,
            issuer: &issuer,
            audience: &audience,
            iat,
            exp,
            jti: &jti,
            claims: &claims,
            selective: selective.as_ref(),
        });
        let signing_input =
            compact::signing_input(&header.map_err(DraftError::Json)?, &payload.map_err(DraftError::Json)?);
        let subject = match claims.get("sub").and_then(Value::as_str) {
            None if profile.spec().is_some_and(|spec| spec.subject == Subject::Issuer) => {
                Some(issuer.clone())
            }
            subject => subject.map(str::to_owned),
        };
        Ok(Self {
            issuer,
            subject,
            session,
            consent,
            exceptions,
            profile: profile.name.to_string(),
            right,
            signing_input,
            iat,
            exp,
            jti,
            audience,
            recipient,
            tail: selective.map(|selective| selective.tail()),
        })
    }
    /// The bytes that the backend signs.
    pub fn signing_input(&self) -> &[u8] {
        self.signing_input.as_bytes()
    }
    /// What signs, and what the signature is checked against.
    pub fn version(&self) -> &Arc<Version> {
        self.right.version()
    }
    /// The header's `kid`.
    pub fn kid(&self) -> &Kid {
        self.version().kid()
    }
    /// The header's `alg`.
    pub fn algorithm(&self) -> Algorithm {
        self.version().algorithm()
    }
    /// The `jti` claim.
    pub fn jti(&self) -> &Jti {
        &self.jti
    }
    /// The `iat` claim, seconds since 1970.
    pub fn iat(&self) -> i64 {
        self.iat
    }
    /// When it expires, seconds since 1970: the `exp` claim, where the profile's kind has one.
    pub fn exp(&self) -> i64 {
        self.exp
    }
    /// The `aud` claim.
    pub fn audience(&self) -> &[String] {
        &self.audience
    }
    /// The `iss` claim.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
    /// The `sub` claim. Personal: for the keyed tag of a record only.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }
    /// The session's id. Personal: for the keyed tag of a record only.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }
    /// Id of the consent that was relied on. Personal: for the keyed tag of a record only.
    pub fn consent(&self) -> Option<&str> {
        self.consent.as_deref()
    }
    /// What claims were allowed to hold and do, as `DETECTOR:CLAIM`.
    pub fn exceptions(&self) -> &[String] {
        &self.exceptions
    }
    /// The profile's name.
    pub fn profile(&self) -> &str {
        &self.profile
    }
    /// Whom it is encrypted to, if at all.
    pub fn recipient(&self) -> Option<&Recipient> {
        self.recipient.as_deref()
    }
    /// Joins the draft with a signature that was verified over its bytes with the pinned key of its version, and
    /// encrypts the whole where that is due.
    ///
    /// # Errors
    /// [`SealError`] for a proof of another key or another input, a version that was revoked meanwhile, or encryption
    /// that failed; nothing may be released then.
    pub fn seal(&self, verified: Verified<'_>) -> Result<SignedJwt, SealError> {
        let signature = verified.of(self.version().verifier(), self.signing_input())?;
        let leaving = self.right.signed()?;
        let signed =
            compact::seal(&self.signing_input, &signature) + self.tail.as_deref().unwrap_or_default();
        let token = match &self.recipient {
            Some(recipient) => recipient.encrypt(&signed)?,
            None => signed,
        };
        Ok(SignedJwt {
            kid: self.kid().clone(),
            token,
            jti: self.jti.0.clone(),
            iat: self.iat,
            exp: self.exp,
            _leaving: leaving,
        })
    }
}

/// All that a header of ours ever has: no input reaches it.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    kid: &'a Kid,
    typ: &'a str,
}

/// The claims in the order in which they are written: ours first, then the caller's in the caller's order.
struct Payload<'a> {
    profile: &'a Profile,
    issuer: &'a str,
    audience: &'a [String],
    iat: i64,
    exp: i64,
    jti: &'a Jti,
    claims: &'a Map<String, Value>,
    selective: Option<&'a Selective>,
}
impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (profile, spec) = (self.profile, self.profile.spec());
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("iss", self.issuer)?;
        if spec.is_some_and(|spec| spec.subject == Subject::Issuer) {
            map.serialize_entry("sub", self.issuer)?;
        }
        match (profile.audience_form, self.audience) {
            // Only kinds that have none: policy grants at least one otherwise.
            (_, []) => {}
            (AudienceForm::String, [one]) => map.serialize_entry("aud", one)?,
            _ => map.serialize_entry("aud", self.audience)?,
        }
        map.serialize_entry("iat", &self.iat)?;
        if profile.nbf {
            let nbf = self.iat.saturating_sub_unsigned(profile.skew.as_secs());
            map.serialize_entry("nbf", &nbf.max(0))?;
        }
        if spec.is_none_or(|spec| spec.expires) {
            map.serialize_entry("exp", &self.exp)?;
        }
        map.serialize_entry("jti", &self.jti.0)?;
        for (name, value) in self.claims {
            if self.selective.is_none() || !is_disclosable(self.profile, name) {
                map.serialize_entry(name, value)?;
            }
        }
        self.selective.map(|selective| selective.write(&mut map)).transpose()?;
        map.end()
    }
}
