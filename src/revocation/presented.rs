//! A JWT that somebody presents, read as strictly as it was made: it is one of ours in every byte, or it is none.
//!
//! Pure. Whatever is wrong has a code for the record, and the one who asks is told nothing of it (RFC 7662 section 2.2).

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::jose::{Algorithm, Signature, compact, json, sd_jwt};
use crate::keyring::Ring;
use crate::policy::Policy;
use crate::profile::{self, AudienceForm, Profile};

/// Bytes of a JWT that is read at all.
pub(super) const LONGEST: usize = 64 << 10;
/// Bytes of a request about such a one.
pub const BODY: usize = LONGEST + (4 << 10);
const LIMITS: json::Limits = json::Limits { bytes: LONGEST, depth: 16, nodes: 4096 };
/// How far hosts' clocks may be apart: a JWT of another host may be dated so many seconds ahead.
const APART: i64 = 60;
/// All that the header of one of ours has.
const HEADER: [&str; 3] = ["alg", "kid", "typ"];

/// Why a JWT is not active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inactive {
    /// It is no JWS in compact form, or no SD-JWT that shows what it says.
    Form,
    /// Its header is none of ours: other members, `crit` among them, or not strictly JSON.
    Header,
    /// No key of ours that is valid has this `kid`.
    Key,
    /// The key signs with another algorithm (RFC 8725 section 3.1).
    Algorithm,
    /// No profile in force makes JWTs of this `typ` with this key (RFC 8725 section 3.11).
    Type,
    /// The signature is not one of this key over this JWT.
    Signature,
    /// The claims are not strictly JSON, or one that the daemon writes is not of the form in which it does.
    Claims,
    /// The issuer is not the profile's.
    Issuer,
    /// The audience is not one of the profile's, or not the one that is asked for.
    Audience,
    /// It has expired.
    Expired,
    /// Its time has not come.
    Early,
    /// It, or something that it is of, was revoked.
    Revoked,
    /// It was to be used once, and was.
    Spent,
    /// Its holder keeps back whose it is, so that nobody can say whether that was revoked.
    Hidden,
    /// Whoever asks may not ask about its profile.
    Asker,
}

impl Inactive {
    /// Stable, for records.
    pub fn code(self) -> &'static str {
        match self {
            Self::Form => "token.form",
            Self::Header => "token.header",
            Self::Key => "token.key",
            Self::Algorithm => "token.algorithm",
            Self::Type => "token.type",
            Self::Signature => "token.signature",
            Self::Claims => "token.claims",
            Self::Issuer => "token.issuer",
            Self::Audience => "token.audience",
            Self::Expired => "token.expired",
            Self::Early => "token.early",
            Self::Revoked => "token.revoked",
            Self::Spent => "token.spent",
            Self::Hidden => "token.hidden",
            Self::Asker => "token.asker",
        }
    }
}

/// A JWT of ours whose signature is good, whatever the time is and whatever was revoked.
#[derive(Debug)]
pub struct Presented {
    /// The profile that makes such JWTs.
    pub profile: Arc<Profile>,
    /// The key version that signed it.
    pub kid: String,
    /// Its id.
    pub jti: String,
    /// Its issuer.
    pub issuer: String,
    /// When it was issued, Unix seconds.
    pub iat: i64,
    /// When its time comes, if it says so.
    pub nbf: Option<i64>,
    /// When it expires, where its kind does.
    pub exp: Option<i64>,
    /// Its audiences.
    pub audience: Vec<String>,
    /// All its claims; of an SD-JWT those that are shown.
    pub claims: Map<String, Value>,
}

impl Presented {
    /// Reads and verifies a JWT.
    ///
    /// # Errors
    /// It is none of ours.
    pub fn read(token: &str, ring: &Ring, policy: &Policy) -> Result<Self, Inactive> {
        if token.len() > LONGEST {
            return Err(Inactive::Form);
        }
        let shown = sd_jwt::split(token);
        // The holder's proof is for one verifier, who checks it: here it would only seem to be.
        if shown.as_ref().is_some_and(|shown| shown.key_binding.is_some()) {
            return Err(Inactive::Form);
        }
        let jws = shown.as_ref().map_or(token, |shown| shown.jws);
        let parts = compact::split(jws).map_err(|_| Inactive::Form)?;
        let header = object(&parts.header).ok_or(Inactive::Header)?;
        let text = |name: &str| header.get(name).and_then(Value::as_str).ok_or(Inactive::Header);
        if header.len() != HEADER.len() {
            return Err(Inactive::Header);
        }
        let (algorithm, kid, typ) = (text("alg")?, text("kid")?, text("typ")?);
        let (key, verifier) = ring.verifier(kid).ok_or(Inactive::Key)?;
        if Algorithm::from_name(algorithm) != Some(verifier.algorithm()) {
            return Err(Inactive::Algorithm);
        }
        let makes = |profile: &&Arc<Profile>| profile.key.as_str() == key && profile.typ == typ;
        let profile = policy.profiles().find(makes).ok_or(Inactive::Type)?;
        if profile.sd_jwt.is_some() != shown.is_some() {
            return Err(Inactive::Form);
        }
        let signature = Signature::from_backend(parts.signature, verifier.public());
        let signature = signature.map_err(|_| Inactive::Signature)?;
        verifier.verify(parts.signing_input.as_bytes(), &signature).map_err(|_| Inactive::Signature)?;
        let mut claims = object(&parts.payload).ok_or(Inactive::Claims)?;
        if let Some(shown) = shown {
            claims = sd_jwt::reveal(claims, &shown.disclosures).map_err(|_| Inactive::Form)?;
        }
        Self::of(Arc::clone(profile), kid, claims)
    }

    /// What it claims, where that has the form in which we write it.
    fn of(profile: Arc<Profile>, kid: &str, claims: Map<String, Value>) -> Result<Self, Inactive> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).ok_or(Inactive::Claims);
        let date = |name: &str| match claims.get(name) {
            None => Ok(None),
            // A whole number, never a text or a fraction, whatever others make of those.
            Some(value) => value.as_i64().filter(|date| *date >= 0).map(Some).ok_or(Inactive::Claims),
        };
        let (issuer, jti) = (text("iss")?.to_owned(), text("jti")?.to_owned());
        let (iat, nbf, exp) = (date("iat")?.ok_or(Inactive::Claims)?, date("nbf")?, date("exp")?);
        if exp.is_none() && profile.spec().is_none_or(|spec| spec.expires) {
            return Err(Inactive::Claims);
        }
        if !profile.issuers().any(|one| one == issuer) {
            return Err(Inactive::Issuer);
        }
        let audience = audience(&profile, claims.get("aud"))?;
        let kid = kid.to_owned();
        Ok(Self { profile, kid, jti, issuer, iat, nbf, exp, audience, claims })
    }

    /// When it is over, Unix seconds. One that does not say so is held against nobody for longer than any JWT lives, as
    /// its key is shown, and a revocation of it kept, for no longer than that.
    pub fn end(&self) -> i64 {
        self.exp.unwrap_or_else(|| self.iat.saturating_add_unsigned(profile::LONGEST.as_secs()))
    }

    /// Claims that say of whom it is: subject, session, consent.
    pub fn owners(&self) -> [Option<&str>; 3] {
        let consent = self.profile.consent.as_ref().and_then(|consent| consent.claim.as_deref());
        [Some("sub"), Some("sid"), consent]
    }

    /// Whether its holder may have kept back of whom it is.
    pub fn hides_owners(&self) -> bool {
        let rule = |name: &str| self.profile.claims.get(name);
        let mut owners = self.owners().into_iter().flatten();
        owners.any(|name| !self.claims.contains_key(name) && rule(name).is_some_and(|rule| rule.disclosable))
    }

    /// Whether this is its time, `now` in Unix seconds. No leeway: who is late by a second is late.
    ///
    /// # Errors
    /// It is not.
    pub fn is_in_time(&self, now: i64) -> Result<(), Inactive> {
        if now >= self.end() {
            return Err(Inactive::Expired);
        }
        let is_early = self.nbf.is_some_and(|nbf| now < nbf) || self.iat > now.saturating_add(APART);
        if is_early { Err(Inactive::Early) } else { Ok(()) }
    }

    /// A claim that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }
}

/// The audiences, in the one form that the profile has, all of them the profile's.
fn audience(profile: &Profile, claim: Option<&Value>) -> Result<Vec<String>, Inactive> {
    let named = match (profile.audience_form, claim) {
        (_, None) if profile.audiences.is_empty() => Vec::new(),
        (AudienceForm::String, Some(Value::String(one))) => vec![one.clone()],
        (AudienceForm::Array, Some(Value::Array(all))) if !all.is_empty() => {
            let texts = all.iter().map(|one| one.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or(Inactive::Audience)?
        }
        _ => return Err(Inactive::Audience),
    };
    let is_known = named.iter().all(|one| profile.audiences.contains(one));
    if is_known { Ok(named) } else { Err(Inactive::Audience) }
}

/// An object of strict JSON.
fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    match json::parse(bytes, LIMITS).ok()? {
        Value::Object(members) => Some(members),
        _ => None,
    }
}
