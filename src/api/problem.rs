//! The only place where errors become responses (RFC 9457), each with a stable `code` and the `request_id`.
//!
//! Every match here is exhaustive, so a new error must be given its status. To callers, nothing of a backend, a path
//! or a value of theirs ever appears in a problem; operators, on the admin socket, are told what a backend says.
#![deny(clippy::wildcard_enum_match_arm)]

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;
use std::time::Duration;

use super::reload::Faulty;
use crate::admin::AdminError;
use crate::audit::Unavailable;
use crate::backend::Class;
use crate::caller::Unknown;
use crate::issuer::Refusal;
use crate::jose::json::JsonError;
use crate::jwt::SealError;
use crate::keyring::{MakeError, NoVersion};
use crate::misuse;
use crate::policy::{Denial, Violation, may_be_told};
use crate::telemetry::Chain;
use crate::transport::{BodyError, Rejection};

/// When to try again if nobody knows.
const SOON: Duration = Duration::from_secs(1);

/// A refusal or failure as the caller sees it.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// Stable; documented in the OpenAPI file and recorded.
    pub(super) code: &'static str,
    /// What happened and what to do, for people.
    pub(super) detail: Option<String>,
    pub(super) violations: Vec<Violation>,
    /// What is wrong with the configuration file, for operators.
    faulty: Option<Box<Faulty>>,
    /// Seconds.
    retry_after: Option<u64>,
    allow: Option<&'static str>,
    close: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    violations: &'a [Violation],
    #[serde(flatten)]
    faulty: Option<&'a Faulty>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: Some(detail.into()),
            violations: Vec::new(),
            faulty: None,
            retry_after: None,
            allow: None,
            close: false,
        }
    }

    /// Rounded up, and never "at once".
    fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
        Self { retry_after: Some(seconds.max(1)), ..self }
    }

    fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    pub(super) fn unknown_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "route.unknown",
            "there is no such call on this socket; callers, operators and verifiers have a socket each",
        )
    }

    pub(super) fn method(allow: &'static str) -> Self {
        let detail = format!("this call takes {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method.unsupported", detail) }
    }

    pub(super) fn media_type() -> Self {
        let detail = "send the body as \"Content-Type: application/json\", without parameters";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "body.media_type", detail)
    }

    pub(super) fn batch(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "batch.malformed", detail)
    }

    pub(super) fn release(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "release.malformed", detail)
    }

    pub(super) fn accept() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "accept.malformed", "send {} and nothing else")
    }

    pub(super) fn changed() -> Self {
        let detail = "the clock changed meanwhile and is not accepted: look at it again";
        Self::new(StatusCode::CONFLICT, "clock.changed", detail)
    }

    pub(super) fn reload() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "reload.malformed", "send {} and nothing else")
    }

    /// The configuration that is to be loaded is not good.
    pub(super) fn not_reloaded(faulty: Faulty, insecure: bool) -> Self {
        let detail = "the configuration is not taken over and nothing changed; every fault is listed";
        let code = if insecure { "reload.insecure" } else { "reload.refused" };
        Self { faulty: Some(Box::new(faulty)), ..Self::new(StatusCode::CONFLICT, code, detail) }
    }

    pub(super) fn reload_deadline() -> Self {
        let detail = "the reload has not ended yet and goes on; look at `policy` in GET /v1/status";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "reload.deadline", detail)
    }

    pub(super) fn reload_slow() -> Self {
        let detail = "the configuration, or the users and files that it names, could not be read in time; \
                      nothing changed";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "reload.slow", detail)
    }

    pub(super) fn introspection(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "introspection.malformed", detail)
    }

    pub(super) fn revocation(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "revocation.malformed", detail)
    }

    pub(super) fn state() -> Self {
        let detail = "the state could not be read or changed; see the daemon's log";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "state.unavailable", detail)
    }

    pub(super) fn act(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "act.malformed", detail)
    }

    pub(super) fn act_deadline() -> Self {
        let detail = "the act has not ended yet and goes on; look at GET /v1/keys";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "act.deadline", detail)
    }

    pub(super) fn revocation_deadline() -> Self {
        let detail = "the revocation goes on, and is not known to be in effect yet: send it again; the same again is no error";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "act.deadline", detail)
    }

    pub(super) fn overloaded() -> Self {
        let detail = "too many requests are being worked on; try again after Retry-After";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(SOON)
    }

    pub(super) fn internal() -> Self {
        Self { detail: None, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "") }
    }

    /// `wait`: until the rate allows it, `None` when it never will.
    pub(super) fn rate(wait: Option<Duration>) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        match wait {
            Some(wait) => {
                let detail = "over the rate that [caller] allows; try again after Retry-After";
                Self::new(status, "rate.exceeded", detail).retry_after(wait)
            }
            None => {
                let detail = "the batch has more items than the rate of [caller] allows in one second; send smaller ones";
                Self::new(status, "rate.batch", detail)
            }
        }
    }

    /// As an element of a batch's answer.
    pub(super) fn to_json(&self, request_id: &str) -> serde_json::Value {
        serde_json::to_value(self.body(request_id)).unwrap_or_default()
    }

    fn body<'a>(&'a self, request_id: &'a str) -> Body<'a> {
        Body {
            kind: format!("urn:jwsd:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail.as_deref(),
            request_id,
            violations: &self.violations,
            faulty: self.faulty.as_deref(),
        }
    }

    pub(super) fn into_response(self, request_id: &str) -> Response<Full<Bytes>> {
        let body = serde_json::to_vec(&self.body(request_id)).unwrap_or_default();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<&Denial> for Problem {
    fn from(denial: &Denial) -> Self {
        let detail = "policy refused the request; every violated rule is listed";
        let violations = denial.violations.clone();
        Self { violations, ..Self::new(StatusCode::FORBIDDEN, "policy.denied", detail) }
    }
}

impl From<Unknown> for Problem {
    /// A bare 403: who is not known learns nothing.
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::NoMatch | Unknown::Ambiguous => {
                Self { detail: None, ..Self::new(StatusCode::FORBIDDEN, "caller.unknown", "") }
            }
            Unknown::Outdated => {
                let detail = "this connection is older than the configuration; ask again on a new one";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "connection.outdated", detail)
                    .retry_after(SOON)
                    .closing()
            }
        }
    }
}

impl From<Unavailable> for Problem {
    fn from(_: Unavailable) -> Self {
        let detail =
            "the audit log cannot record now, so nothing is released; operators: see `jwsd` logs and /readyz";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "audit.unavailable", detail).retry_after(SOON)
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let code = refusal.code();
        let unavailable = |detail: &str| Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        match refusal {
            Refusal::Denied(denial) => denial.into(),
            Refusal::Rate { of, .. } => {
                let detail = if of.rule == misuse::Rule::Denials {
                    "too many requests of this caller were refused lately, and none is judged now"
                } else {
                    "as many JWTs as the profile allows in its time were issued"
                };
                let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, code, "").retry_after(of.wait);
                let seconds = problem.retry_after.unwrap_or_default();
                Self { detail: Some(format!("{detail}; try again in {seconds} s")), ..problem }
            }
            Refusal::Clock(fault) => {
                let problem = unavailable("the daemon's clock is not trusted now; an operator must look");
                fault.retry_after().into_iter().fold(problem, Self::retry_after)
            }
            Refusal::NoKey { source: NoVersion::Shut(_), .. } => {
                unavailable("the profile's key does not sign now").retry_after(SOON)
            }
            Refusal::NoKey { .. } => unavailable("the profile's key is not ready"),
            Refusal::Subject(_) => {
                unavailable("the state does not give the subject's key now; an operator must look")
                    .retry_after(SOON)
            }
            Refusal::Draft(_) | Refusal::Seal(SealError::Plain(_)) => Self { code, ..Self::internal() },
            Refusal::TooLong { .. } => {
                let detail =
                    "the JWT would be longer than the key's backend can sign; send fewer or shorter claims";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
            }
            Refusal::Seal(SealError::Shut(_)) => {
                unavailable("the profile's key was revoked while it signed; ask again").retry_after(SOON)
            }
            Refusal::Seal(SealError::Bad(_)) => {
                unavailable("the key's backend misbehaved and its answer was dropped")
            }
            Refusal::Backend(error) => match error.class {
                Class::Busy => {
                    let detail = "the key's backend is busy; try again after Retry-After";
                    unavailable(detail).retry_after(error.retry_after.unwrap_or(SOON))
                }
                Class::Down => unavailable("the key's backend is down and being recovered")
                    .retry_after(error.retry_after.unwrap_or(SOON)),
                Class::Deadline => {
                    let detail = "the key's backend did not sign in time";
                    Self::new(StatusCode::GATEWAY_TIMEOUT, code, detail)
                        .retry_after(error.retry_after.unwrap_or(SOON))
                }
                Class::Misconfigured => unavailable("the key's backend needs an operator"),
                Class::Untrusted => {
                    unavailable("the key's backend gave what must not be used; an operator must look")
                }
                Class::Bug => Self { code, ..Self::internal() },
            },
        }
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        let told = |status, code| Self::new(status, code, Chain(&error).to_string());
        let failed = |code, detail: &str| {
            tracing::error!(error = %Chain(&error), "Act not done");
            Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
        };
        match error {
            AdminError::Unknown { .. } => told(StatusCode::NOT_FOUND, "object.unknown"),
            AdminError::Illegal(_)
            | AdminError::NoVersion { .. }
            | AdminError::Taken { .. }
            | AdminError::TooMany { .. }
            | AdminError::InService { .. } => told(StatusCode::CONFLICT, "key.state"),
            AdminError::Unpublished { .. } => told(StatusCode::CONFLICT, "key.unpublished"),
            AdminError::IssuerUnpublished { .. } => told(StatusCode::CONFLICT, "issuer.unpublished"),
            AdminError::TooManyProposals { .. } => told(StatusCode::CONFLICT, "proposals.full"),
            AdminError::Unproven { .. } => told(StatusCode::CONFLICT, "key.unproven"),
            AdminError::Busy { .. } | AdminError::Settling { .. } | AdminError::Contended => {
                told(StatusCode::CONFLICT, "key.busy").retry_after(SOON)
            }
            AdminError::MayNotGenerate { .. } => told(StatusCode::FORBIDDEN, "key.generate"),
            // The key that was named is not there or not fit, or the backend is not set up for it: no use to try again.
            AdminError::Make(MakeError::Unusable { .. }) => told(StatusCode::CONFLICT, "key.refused"),
            AdminError::Make(MakeError::Backend(ref source)) if source.class == Class::Misconfigured => {
                told(StatusCode::CONFLICT, "key.refused")
            }
            // Operators are told what the backend says: they must act on it.
            AdminError::Make(_) | AdminError::Backend(_) | AdminError::Load(_) => {
                failed("key.backend", &Chain(&error).to_string())
            }
            AdminError::Subjects(_) => failed("subject.unavailable", &Chain(&error).to_string()),
            AdminError::Erasing { .. } => failed("erasure.pending", &error.to_string()),
            AdminError::State(_) => {
                failed("state.unavailable", "the state could not be read or changed; see the daemon's log")
            }
            AdminError::Unavailable(unavailable) => unavailable.into(),
            AdminError::Defect => Self::internal(),
        }
    }
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        let status = match error {
            JsonError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            JsonError::Syntax { .. }
            | JsonError::Duplicate { .. }
            | JsonError::TooDeep { .. }
            | JsonError::TooMany { .. }
            | JsonError::Number { .. }
            | JsonError::Control { .. } => StatusCode::BAD_REQUEST,
        };
        let error = error.without(|name| !may_be_told(name));
        Self::new(status, error.code(), error.to_string())
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let (status, code) = match error {
            BodyError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body.too_large"),
            BodyError::LengthRequired => (StatusCode::LENGTH_REQUIRED, "body.length_required"),
            BodyError::Timeout => (StatusCode::REQUEST_TIMEOUT, "http.timeout"),
            // Nobody reads this answer; the record says what happened.
            BodyError::Aborted => (StatusCode::BAD_REQUEST, "body.aborted"),
        };
        Self::new(status, code, error.to_string()).closing()
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        Self::new(rejection.status(), rejection.code(), rejection.to_string()).closing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Advice, Error};

    fn busy(retry_after: Option<Duration>) -> Response<Full<Bytes>> {
        let (backend, message, code) = ("hsm".to_owned(), String::new(), String::new());
        let advice = Advice::NEVER;
        let error = Error { backend, class: Class::Busy, message, code, advice, retry_after };
        Problem::from(&Refusal::from(error)).into_response("id")
    }

    #[test]
    fn names_that_are_secrets_are_not_told() {
        let limits = crate::jose::json::Limits { bytes: 1000, depth: 9, nodes: 99 };
        for (body, pointer) in [
            (r#"{"claims":{"a":{"alice@example.com":-0}}}"#, "/claims/a"),
            (r#"{"claims":{"4111 1111 1111 1111":{"b":1,"b":1}}}"#, "/claims"),
            (r#"{"x/AKIAIOSFODNN7EXAMPLE":[{"a":"\u0000"}]}"#, ""),
            (r#"{"claims":{"a/b":[-0]}}"#, "/claims/a~1b/0"),
        ] {
            let error = crate::jose::json::parse(body.as_bytes(), limits).unwrap_err();
            let detail = Problem::from(error).detail.unwrap();
            assert!(detail.contains(&format!("at \"{pointer}\"")), "{detail}");
        }
    }

    #[test]
    fn retry_after_is_what_the_backend_says_in_whole_seconds() {
        let millis = |millis| Some(Duration::from_millis(millis));
        for (wait, header) in
            [(None, "1"), (millis(0), "1"), (millis(10), "1"), (millis(2000), "2"), (millis(2001), "3")]
        {
            let response = busy(wait);
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[RETRY_AFTER], header, "{wait:?}");
        }
    }
}
