//! Kinds of JWT that have a specification: what each must, may and must never say. A table, not code per kind, so that
//! the differences can be read side by side; no two kinds can be taken for each other (RFC 8725 section 3.12).
//!
//! What a kind needs is allowed and needed without an entry under `[profile.NAME.claims]`; everything else is listed
//! there like any claim, because what is optional is for the operator to allow.

mod form;
mod table;

pub use form::Form;

use super::LONGEST;
use crate::jose::Algorithm;
use std::time::Duration;
use table::{
    ACCESS_TOKEN, CLIENT_ASSERTION, DPOP_BOUND, GITHUB_APP, ID_TOKEN, JWT, LOGOUT_TOKEN, MTLS_BOUND,
    SECURITY_EVENT, SERVICE, WEBHOOK,
};

/// A kind of JWT that a profile is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An access token of a person (RFC 9068).
    AccessToken,
    /// An ID token (OpenID Connect Core 1.0 section 2).
    IdToken,
    /// What an OAuth client authenticates itself with (RFC 7523 section 3).
    ClientAssertion,
    /// What a GitHub App authenticates itself with.
    GithubApp,
    /// A security event token (RFC 8417).
    SecurityEvent,
    /// A logout token (OpenID Connect Back-Channel Logout 1.0 section 2.4).
    LogoutToken,
    /// An access token that only who holds a key can use (RFC 9449 section 6).
    DpopBound,
    /// An access token that only who holds a certificate can use (RFC 8705 section 3).
    MtlsBound,
    /// An access token of a service, without a person (RFC 9068 section 2.2).
    Service,
    /// A signature over what is sent beside it, by its digest (RFC 9530).
    Webhook,
}

/// What a kind's specification says.
#[derive(Debug)]
pub struct Spec {
    /// As configured.
    pub name: &'static str,
    /// The specification, for sentences.
    pub source: &'static str,
    /// The `typ` header.
    pub typ: &'static str,
    /// What `lifetime.max` exceeds only by a recorded override.
    pub ceiling: Duration,
    /// How far `iat` is set back.
    pub backdate: Duration,
    /// Whether `aud` is written.
    pub audience: bool,
    /// Whether `exp` is written.
    pub expires: bool,
    /// Whether verifiers look the issuer up, so that it is a URL.
    pub issuer_is_url: bool,
    /// The only algorithm that its verifiers take, if there is one.
    pub algorithm: Option<Algorithm>,
    /// Whom it is about.
    pub subject: Subject,
    /// Claims of its own.
    pub claims: &'static [Own],
    /// At least one of them is there, if there are any.
    pub either: &'static [&'static str],
    /// Claims that it never has.
    pub forbidden: Forbidden,
}

/// A claim that a kind's specification speaks of.
#[derive(Debug)]
pub struct Own {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be there.
    pub needed: bool,
    /// What it looks like.
    pub form: Form,
    /// The rule's own id, where it has one.
    pub rule: Option<&'static str>,
}

/// Whom a JWT is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Nothing is said of it.
    Any,
    /// A person: `sub` is not `client_id` (RFC 9700 section 4.15).
    Person,
    /// A client: `sub` is `client_id` (RFC 9068 section 2.2).
    Client,
    /// Its issuer: the daemon writes `sub`.
    Issuer,
}

/// Claims that a kind never has.
#[derive(Debug)]
pub enum Forbidden {
    /// These.
    These(&'static [&'static [&'static str]]),
    /// All that it does not need.
    Others,
}

impl Kind {
    /// Every kind, in the order in which they are shown to people.
    pub const ALL: [Self; 10] = [
        Self::AccessToken,
        Self::Service,
        Self::DpopBound,
        Self::MtlsBound,
        Self::IdToken,
        Self::ClientAssertion,
        Self::GithubApp,
        Self::SecurityEvent,
        Self::LogoutToken,
        Self::Webhook,
    ];

    /// The kind that a `typ` alone tells, compared as media types are; `JWT` tells none.
    pub fn of_typ(typ: &str) -> Option<Self> {
        let tells = |kind: &Self| kind.spec().typ != JWT && kind.spec().typ.eq_ignore_ascii_case(typ);
        Self::ALL.into_iter().find(tells)
    }

    /// What its specification says.
    pub fn spec(self) -> &'static Spec {
        match self {
            Self::AccessToken => &ACCESS_TOKEN,
            Self::IdToken => &ID_TOKEN,
            Self::ClientAssertion => &CLIENT_ASSERTION,
            Self::GithubApp => &GITHUB_APP,
            Self::SecurityEvent => &SECURITY_EVENT,
            Self::LogoutToken => &LOGOUT_TOKEN,
            Self::DpopBound => &DPOP_BOUND,
            Self::MtlsBound => &MTLS_BOUND,
            Self::Service => &SERVICE,
            Self::Webhook => &WEBHOOK,
        }
    }

    /// Whether JWTs of this kind have the claim without an entry in the profile.
    pub fn brings(self, name: &str) -> bool {
        let spec = self.spec();
        spec.either.contains(&name) || spec.claims.iter().any(|own| own.needed && own.name == name)
    }

    /// Whether JWTs of this kind never have the claim from a caller.
    pub fn forbids(self, name: &str) -> bool {
        let spec = self.spec();
        match spec.forbidden {
            Forbidden::These(groups) => groups.iter().any(|group| group.contains(&name)),
            Forbidden::Others => !self.brings(name),
        }
    }

    /// The longest that a JWT of this kind may live, or of none.
    pub fn ceiling(kind: Option<Self>) -> Duration {
        kind.map_or(LONGEST, |kind| kind.spec().ceiling)
    }
}

#[cfg(test)]
mod tests;
