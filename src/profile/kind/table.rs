//! The table: what each kind must, may and must never say, in the words of its specification. Data only.

use super::{Forbidden, Form, Own, Spec, Subject};
use crate::jose::Algorithm;
use std::time::Duration;

pub(super) const JWT: &str = "JWT";
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

pub(super) const ACCESS_TOKEN: Spec = Spec {
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
pub(super) const SERVICE: Spec = Spec {
    name: "service",
    ceiling: Duration::from_hours(1),
    subject: Subject::Client,
    claims: &[SUB, CLIENT_ID, SCOPE],
    forbidden: Forbidden::These(&[OF_ID_TOKENS, OF_LOGINS, OF_PEOPLE, OF_EVENTS, OF_KEYS, OF_WEBHOOKS]),
    ..ACCESS_TOKEN
};
pub(super) const DPOP_BOUND: Spec = Spec {
    name: "dpop-bound",
    source: "RFC 9449 section 6.1",
    subject: Subject::Any,
    claims: &[SUB, CLIENT_ID, SCOPE, ACR, AMR, need("cnf", Form::Thumbprint("jkt"))],
    forbidden: Forbidden::These(&[OF_ID_TOKENS, OF_EVENTS, OF_WEBHOOKS]),
    ..ACCESS_TOKEN
};
pub(super) const MTLS_BOUND: Spec = Spec {
    name: "mtls-bound",
    source: "RFC 8705 section 3.1",
    claims: &[SUB, CLIENT_ID, SCOPE, ACR, AMR, need("cnf", Form::Thumbprint("x5t#S256"))],
    ..DPOP_BOUND
};
pub(super) const ID_TOKEN: Spec = Spec {
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
pub(super) const CLIENT_ASSERTION: Spec = Spec {
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
pub(super) const GITHUB_APP: Spec = Spec {
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
pub(super) const SECURITY_EVENT: Spec = Spec {
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
pub(super) const LOGOUT_TOKEN: Spec = Spec {
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
pub(super) const WEBHOOK: Spec = Spec {
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
