//! Kinds of JWT that have a specification: what each must, may and must never say. A table, not code per kind, so that
//! the differences can be read side by side; no two kinds can be taken for each other (RFC 8725 section 3.12).
//!
//! What a kind needs is allowed and needed without an entry under `[profile.NAME.claims]`; everything else is listed
//! there like any claim, because what is optional is for the operator to allow.

mod form;

pub use form::Form;

use super::LONGEST;
use crate::jose::Algorithm;
use std::time::Duration;

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

const JWT: &str = "JWT";
const AT_JWT: &str = "at+jwt";

const fn need(name: &'static str, form: Form) -> Own {
    Own { name, needed: true, form, rule: None }
}
const fn may(name: &'static str, form: Form) -> Own {
    Own { name, needed: false, form, rule: None }
}
const fn ruled(rule: &'static str, own: Own) -> Own {
    Own { rule: Some(rule), ..own }
}

// Claims that belong together: what one kind lives by is what another must never have.
const OF_ID_TOKENS: &[&str] = &["nonce", "at_hash", "c_hash", "s_hash"];
const OF_LOGINS: &[&str] = &["auth_time", "acr", "amr", "azp"];
const OF_EVENTS: &[&str] = &["events", "sub_id", "toe"];
const OF_ACCESS: &[&str] = &["client_id", "scope", "authorization_details"];
const OF_RIGHTS: &[&str] = &["roles", "groups", "entitlements", "act", "may_act"];
const OF_KEYS: &[&str] = &["cnf"];
const OF_WEBHOOKS: &[&str] = &["content_digest"];
const OF_SUBJECTS: &[&str] = &["sub"];
/// OpenID Connect Core 1.0 section 5.1.
const OF_PEOPLE: &[&str] = &[
    "sid",
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "email",
    "email_verified",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "phone_number",
    "phone_number_verified",
    "address",
];

const SUB: Own = ruled("at.sub", need("sub", Form::Text));
const CLIENT_ID: Own = ruled("at.client_id", need("client_id", Form::Text));
const SCOPE: Own = ruled("at.scope", may("scope", Form::Scope));
const ACR: Own = may("acr", Form::Text);
const AMR: Own = may("amr", Form::Texts);

const ACCESS_TOKEN: Spec = Spec {
    name: "access-token",
    source: "RFC 9068",
    typ: AT_JWT,
    ceiling: Duration::from_mins(30),
    backdate: Duration::ZERO,
    audience: true,
    expires: true,
    issuer_is_url: true,
    algorithm: None,
    subject: Subject::Person,
    claims: &[SUB, CLIENT_ID, SCOPE, ACR, AMR],
    either: &[],
    forbidden: Forbidden::These(&[OF_ID_TOKENS, OF_EVENTS, OF_KEYS, OF_WEBHOOKS]),
};
const SERVICE: Spec = Spec {
    name: "service",
    ceiling: Duration::from_hours(1),
    subject: Subject::Client,
    claims: &[SUB, CLIENT_ID, SCOPE],
    forbidden: Forbidden::These(&[OF_ID_TOKENS, OF_LOGINS, OF_PEOPLE, OF_EVENTS, OF_KEYS, OF_WEBHOOKS]),
    ..ACCESS_TOKEN
};
const DPOP_BOUND: Spec = Spec {
    name: "dpop-bound",
    source: "RFC 9449 section 6.1",
    subject: Subject::Any,
    claims: &[SUB, CLIENT_ID, SCOPE, ACR, AMR, need("cnf", Form::Thumbprint("jkt"))],
    forbidden: Forbidden::These(&[OF_ID_TOKENS, OF_EVENTS, OF_WEBHOOKS]),
    ..ACCESS_TOKEN
};
const MTLS_BOUND: Spec = Spec {
    name: "mtls-bound",
    source: "RFC 8705 section 3.1",
    claims: &[SUB, CLIENT_ID, SCOPE, ACR, AMR, need("cnf", Form::Thumbprint("x5t#S256"))],
    ..DPOP_BOUND
};
const ID_TOKEN: Spec = Spec {
    name: "id-token",
    source: "OpenID Connect Core 1.0 section 2",
    typ: JWT,
    ceiling: Duration::from_hours(1),
    subject: Subject::Any,
    claims: &[
        need("sub", Form::Text),
        may("nonce", Form::Text),
        ACR,
        AMR,
        may("azp", Form::Text),
        may("sid", Form::Text),
        may("at_hash", Form::HalfHash),
        may("c_hash", Form::HalfHash),
        may("s_hash", Form::HalfHash),
    ],
    forbidden: Forbidden::These(&[OF_ACCESS, OF_KEYS, OF_EVENTS, OF_WEBHOOKS]),
    ..ACCESS_TOKEN
};
const CLIENT_ASSERTION: Spec = Spec {
    name: "client-assertion",
    source: "RFC 7523 section 3",
    typ: "client-authentication+jwt",
    ceiling: Duration::from_mins(5),
    issuer_is_url: false,
    subject: Subject::Issuer,
    claims: &[],
    forbidden: Forbidden::These(&[
        OF_SUBJECTS,
        OF_ACCESS,
        OF_RIGHTS,
        OF_ID_TOKENS,
        OF_LOGINS,
        OF_PEOPLE,
        OF_EVENTS,
        OF_KEYS,
        OF_WEBHOOKS,
    ]),
    ..ACCESS_TOKEN
};
/// GitHub takes no `iat` of its future and no `exp` more than ten minutes ahead, and knows no other claims.
const GITHUB_APP: Spec = Spec {
    name: "github-app",
    source: "GitHub's documentation",
    typ: JWT,
    ceiling: Duration::from_mins(10),
    backdate: Duration::from_mins(1),
    audience: false,
    issuer_is_url: false,
    algorithm: Some(Algorithm::RS256),
    subject: Subject::Any,
    claims: &[],
    forbidden: Forbidden::Others,
    ..ACCESS_TOKEN
};
/// `exp` is not written because an event stays true (RFC 8417 section 2.2), nor `sub`, which would make it pass as
/// another kind (section 4.6): the subject is in `sub_id` (RFC 9493) or in the event.
const SECURITY_EVENT: Spec = Spec {
    name: "security-event",
    source: "RFC 8417 section 2.2",
    typ: "secevent+jwt",
    ceiling: Duration::from_hours(24),
    expires: false,
    issuer_is_url: false,
    subject: Subject::Any,
    claims: &[
        need("events", Form::Events),
        may("sub_id", Form::SubjectId),
        may("toe", Form::Date),
        may("txn", Form::Text),
    ],
    forbidden: Forbidden::These(&[
        OF_SUBJECTS,
        OF_ACCESS,
        OF_RIGHTS,
        OF_ID_TOKENS,
        OF_LOGINS,
        OF_KEYS,
        OF_WEBHOOKS,
    ]),
    ..ACCESS_TOKEN
};
const LOGOUT_TOKEN: Spec = Spec {
    name: "logout-token",
    source: "OpenID Connect Back-Channel Logout 1.0 section 2.4",
    typ: "logout+jwt",
    ceiling: Duration::from_mins(2),
    subject: Subject::Any,
    claims: &[need("events", Form::Logout), may("sub", Form::Text), may("sid", Form::Text)],
    either: &["sub", "sid"],
    forbidden: Forbidden::These(&[
        &["sub_id", "toe"],
        OF_ACCESS,
        OF_RIGHTS,
        OF_ID_TOKENS,
        OF_LOGINS,
        OF_KEYS,
        OF_WEBHOOKS,
    ]),
    ..ACCESS_TOKEN
};
const WEBHOOK: Spec = Spec {
    name: "webhook",
    source: "RFC 9530",
    typ: "webhook+jwt",
    ceiling: Duration::from_mins(5),
    issuer_is_url: false,
    subject: Subject::Any,
    claims: &[need("content_digest", Form::ContentDigest)],
    forbidden: Forbidden::These(&[
        OF_SUBJECTS,
        OF_ACCESS,
        OF_RIGHTS,
        OF_ID_TOKENS,
        OF_LOGINS,
        OF_PEOPLE,
        OF_EVENTS,
        OF_KEYS,
    ]),
    ..ACCESS_TOKEN
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{RESERVED_CLAIMS, is_claim_name};

    #[test]
    fn the_table_agrees_with_itself_and_with_what_is_written() {
        for kind in Kind::ALL {
            let spec = kind.spec();
            assert_eq!(serde_json::to_value(kind).unwrap(), spec.name);
            assert!(spec.ceiling <= LONGEST && spec.backdate < spec.ceiling, "{kind:?}");
            let names = spec.claims.iter().map(|own| own.name).chain(spec.either.iter().copied());
            for name in names {
                assert!(is_claim_name(name) && !kind.forbids(name), "{kind:?} {name}");
            }
            for reserved in RESERVED_CLAIMS {
                assert!(!kind.brings(reserved), "{kind:?} {reserved}");
            }
            assert_eq!(
                spec.subject == Subject::Issuer,
                kind.forbids("sub") && spec.name == "client-assertion"
            );
        }
    }

    #[test]
    fn a_typ_of_its_own_tells_the_kind() {
        for (typ, kind) in [
            ("at+jwt", Some(Kind::AccessToken)),
            ("AT+JWT", Some(Kind::AccessToken)),
            ("secevent+jwt", Some(Kind::SecurityEvent)),
            ("logout+jwt", Some(Kind::LogoutToken)),
            ("client-authentication+jwt", Some(Kind::ClientAssertion)),
            ("webhook+jwt", Some(Kind::Webhook)),
            ("JWT", None),
            ("jwt", None),
            ("session+jwt", None),
            ("", None),
        ] {
            assert_eq!(Kind::of_typ(typ), kind, "{typ}");
        }
    }

    /// Whatever any other kind needs besides a subject is forbidden, or needed in another form.
    #[test]
    fn what_another_kind_lives_by_is_forbidden() {
        for kind in Kind::ALL {
            for other in Kind::ALL.into_iter().filter(|other| other.spec().typ != kind.spec().typ) {
                for own in other.spec().claims.iter().filter(|own| own.needed && own.name != "sub") {
                    let mine = kind.spec().claims.iter().find(|mine| mine.name == own.name);
                    let differs = mine.is_some_and(|mine| mine.form != own.form);
                    assert!(kind.forbids(own.name) || differs, "{kind:?} {other:?} {}", own.name);
                }
            }
        }
    }
}
