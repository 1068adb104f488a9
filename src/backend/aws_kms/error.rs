//! KMS's faults, in one table: exception to [`Kind`], and what each kind means.
//!
//! Codes are matched as text because the SDK knows only some of them as types. What the table does not name is judged
//! by the status of the response; nothing unknown is ever repeated unless the service was at fault.

use crate::backend::{Advice, Class, Error, Scope};
use crate::telemetry::Chain;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId as _;
use std::time::Duration;

/// What a fault is, and so what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The account's quota is spent.
    Throttled,
    /// The service failed, or did not answer.
    Service,
    /// There is no connection to it, or it was lost.
    Unreachable,
    /// The service did not answer by the request's deadline.
    Late,
    /// The same, but it was given too little time to be blamed for that.
    Hurried,
    /// The key is out of order for the moment.
    KeyUnavailable,
    /// The key is disabled or being deleted.
    KeyGone,
    /// There is no such key.
    NoKey,
    /// We may not use the key: a policy was edited, by whomever.
    Denied,
    /// Our credentials are too old or unknown.
    Credentials,
    /// Our clock and the service's are too far apart.
    Clock,
    /// What came is no signature of the key.
    Forged,
    /// The key is not what was configured.
    Misconfigured,
    /// We asked for something that makes no sense.
    Bug,
    /// Nothing was sent: the key does not sign inputs of that length.
    Length,
    /// Nothing was sent: there is more to do than can be done in time.
    Shed,
    /// Nothing was sent: this backend was shut down.
    Stopped,
}

/// The table.
#[rustfmt::skip]
const TABLE: &[(&str, Kind)] = &[
    ("ThrottlingException",           Kind::Throttled),
    ("Throttling",                    Kind::Throttled),
    ("TooManyRequestsException",      Kind::Throttled),
    ("RequestLimitExceeded",          Kind::Throttled),
    ("LimitExceededException",        Kind::Throttled),
    ("LimitExceeded",                 Kind::Throttled),
    ("KMSInternalException",          Kind::Service),
    ("DependencyTimeoutException",    Kind::Service),
    ("InternalFailure",               Kind::Service),
    ("InternalServerError",           Kind::Service),
    ("ServiceUnavailable",            Kind::Service),
    ("ServiceUnavailableException",   Kind::Service),
    ("KeyUnavailableException",       Kind::KeyUnavailable),
    ("KMSInvalidStateException",      Kind::KeyGone), // may mean that it is about to be deleted
    ("DisabledException",             Kind::KeyGone),
    ("NotFoundException",             Kind::NoKey),
    ("AccessDeniedException",         Kind::Denied),
    ("AccessDenied",                  Kind::Denied),
    ("InvalidKeyUsageException",      Kind::Misconfigured),
    ("InvalidArnException",           Kind::Misconfigured),
    ("ValidationException",           Kind::Bug),
    ("InvalidGrantTokenException",    Kind::Bug),
    ("UnsupportedOperationException", Kind::Misconfigured), // this endpoint has no such algorithm
    ("ExpiredTokenException",         Kind::Credentials),
    ("ExpiredToken",                  Kind::Credentials),
    ("UnrecognizedClientException",   Kind::Credentials),
    ("InvalidClientTokenId",          Kind::Credentials),
    ("IncompleteSignature",           Kind::Credentials),
    ("IncompleteSignatureException",  Kind::Credentials),
    ("MissingAuthenticationToken",    Kind::Credentials),
    ("MissingAuthenticationTokenException", Kind::Credentials),
    ("InvalidSignatureException",     Kind::Credentials), // unless it speaks of the time: see `of_time`
    ("SignatureDoesNotMatch",         Kind::Credentials),
    ("RequestTimeTooSkewed",          Kind::Clock),
    ("RequestExpired",                Kind::Clock),
];

/// What follows a fault of a kind.
struct Rule {
    class: Class,
    /// Attempts that a request may have made in all for one more to follow.
    retries: u8,
    /// Whether that one may be made here.
    here: bool,
    scope: Scope,
    quarantine: bool,
    /// `retries`, here, while the key was made so lately that not all of KMS's nodes may know it (AWS: "eventual
    /// consistency"; a grant just made: once). Nobody is to blame then.
    fresh: u8,
    /// What an operator does about it.
    remedy: &'static str,
}

impl Kind {
    fn rule(self) -> Rule {
        let rule = |class, retries, here, scope, remedy| Rule {
            class,
            retries,
            here,
            scope,
            quarantine: false,
            fresh: 0,
            remedy,
        };
        match self {
            Self::Throttled => rule(
                Class::Busy,
                2,
                true,
                Scope::Request,
                "the account's quota is spent: lower `rate`, or ask AWS for more",
            ),
            Self::Service => rule(Class::Down, 2, true, Scope::Backend, "look at the AWS health dashboard"),
            Self::Unreachable => rule(
                Class::Down,
                2,
                true,
                Scope::Backend,
                "see that this host reaches KMS: name, route, firewall, proxy, certificates, `endpoint`",
            ),
            Self::Late => rule(Class::Deadline, 2, true, Scope::Backend, "look at the AWS health dashboard"),
            Self::Hurried => rule(Class::Deadline, 2, false, Scope::Request, "give requests more time"),
            Self::KeyUnavailable => {
                rule(Class::Down, 2, true, Scope::Key, "a copy in another Region would help")
            }
            Self::KeyGone => Rule {
                quarantine: true,
                fresh: 2,
                ..rule(
                    Class::Misconfigured,
                    1,
                    false,
                    Scope::Key,
                    "enable the key or cancel its deletion; find out who did that",
                )
            },
            Self::NoKey => Rule {
                quarantine: true,
                fresh: 2,
                ..rule(
                    Class::Misconfigured,
                    1,
                    false,
                    Scope::Key,
                    "see that its name, the account and the region are right; if it was deleted, find out by whom",
                )
            },
            Self::Denied => Rule {
                quarantine: true,
                fresh: 1,
                ..rule(
                    Class::Misconfigured,
                    1,
                    false,
                    Scope::Key,
                    "mend the key policy or IAM policy; if it worked before, find out who changed it",
                )
            },
            Self::Credentials => rule(
                Class::Down,
                1,
                true,
                Scope::Backend,
                "see where this host has its credentials from: environment, `profile`, `role`, instance",
            ),
            Self::Clock => rule(Class::Down, 1, true, Scope::Backend, "set this host's clock right"),
            Self::Forged => Rule {
                quarantine: true,
                ..rule(Class::Untrusted, 1, false, Scope::Key, "find out what answers in the place of KMS")
            },
            Self::Misconfigured => rule(
                Class::Misconfigured,
                0,
                false,
                Scope::Key,
                "mend the key or the configuration: see docs/backends.md",
            ),
            Self::Bug => rule(Class::Bug, 0, false, Scope::Key, "report it"),
            Self::Length => rule(Class::Bug, 0, false, Scope::Request, "report it"),
            Self::Shed => rule(Class::Busy, 2, false, Scope::Request, "raise `concurrency` or `rate`"),
            Self::Stopped => rule(Class::Down, 2, false, Scope::Request, "the daemon is going down"),
        }
    }
}

/// For so long after a key was made its faults may be those of nodes that do not know it yet.
pub(super) const FRESH: Duration = Duration::from_secs(60);
/// Longest pause before the same service is asked again; the actual one is anything up to it (full jitter).
const PAUSE: Duration = Duration::from_millis(100);
/// The same while a key is fresh.
const FRESH_PAUSE: Duration = Duration::from_millis(800);
/// What callers are told of a spent quota, which is counted by the second, and where nothing better is known.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Characters of a text from outside that are kept.
const MAX_TEXT: usize = 300;

/// A fault on its way through this backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}: {}", .kind.rule().remedy)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// The exception and the beginning of the request's id, or our own word.
    pub(super) code: String,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
    /// Date header of the response, whose clock counts.
    pub(super) date: Option<String>,
    /// What was wrong on our side was put right, so that a repeat is another request.
    pub(super) cured: bool,
}

impl Fault {
    pub(super) fn new(kind: Kind, code: &str, message: impl Into<String>) -> Self {
        let retry_after = (kind == Kind::Throttled).then_some(RETRY_AFTER);
        Self { kind, code: code.to_owned(), message: message.into(), retry_after, date: None, cured: false }
    }

    /// Nothing is asked after the end.
    pub(super) fn stopped() -> Self {
        Self::new(Kind::Stopped, "shut down", "no request is taken any more")
    }

    /// What the SDK says went wrong.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let response = error.raw_response();
        let status = response.map(|response| response.status().as_u16());
        let text = error.message().map_or_else(|| Chain(error).to_string(), str::to_owned);
        let code = match (error.code(), error) {
            (Some(code), _) => clean(code, 64),
            (None, SdkError::TimeoutError(_)) => "timeout".to_owned(),
            (None, SdkError::DispatchFailure(_)) => "connection".to_owned(),
            (None, _) => status.map_or_else(|| "not sent".to_owned(), |status| format!("HTTP {status}")),
        };
        let kind = match error {
            SdkError::DispatchFailure(_) => Kind::Unreachable,
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Kind::Service,
            SdkError::ConstructionFailure(_) => Kind::Bug,
            _ => judge(&code, status.unwrap_or(0), &text),
        };
        let id = error.meta().request_id().or_else(|| response.and_then(|response| response.request_id()));
        let id = id.map(|id| clean(id, 8)).filter(|id| !id.is_empty());
        let date = response.and_then(|response| response.headers().get("date")).map(str::to_owned);
        let code = id.map_or_else(|| code.clone(), |id| format!("{code} {id}"));
        Self { date, ..Self::new(kind, &code, clean(text.trim_end_matches('.'), MAX_TEXT)) }
    }

    /// As the backend's error. `fresh`: its key was made within [`FRESH`]. What only a cure helps against is repeated
    /// after one only, and then at once: [`is_cured`].
    pub(super) fn settle(self, backend: &str, fresh: bool) -> Error {
        let mut rule = self.kind.rule();
        let fresh = fresh && rule.fresh > 0;
        if fresh {
            rule = Rule {
                retries: rule.fresh,
                here: true,
                scope: Scope::Request,
                quarantine: false,
                class: Class::Down,
                ..rule
            };
        }
        let here = match self.kind {
            Kind::Credentials | Kind::Clock => self.cured,
            _ => rule.here,
        };
        let longest = if fresh { FRESH_PAUSE } else { PAUSE };
        Error {
            backend: backend.to_owned(),
            class: rule.class,
            message: self.to_string(),
            advice: Advice {
                retries: rule.retries,
                here,
                pause: if here && !self.cured { jitter(longest) } else { Duration::ZERO },
                // What was put right is nobody's fault any more.
                scope: if self.cured { Scope::Request } else { rule.scope },
                quarantine: rule.quarantine,
            },
            code: self.code,
            retry_after: self.retry_after,
        }
    }
}

/// Whether the fault's cause was put right, which is what a repeat without a pause means. No budget pays for that
/// one: a cure is not to be had twice.
pub(super) fn is_cured(advice: &Advice) -> bool {
    advice.here && advice.pause.is_zero()
}

/// The kind of a response that is a fault.
fn judge(code: &str, status: u16, text: &str) -> Kind {
    match TABLE.iter().find(|(known, _)| *known == code) {
        Some((_, Kind::Credentials)) if of_time(text) => Kind::Clock,
        Some((_, kind)) => *kind,
        None if status == 429 => Kind::Throttled,
        // Also what is no fault but cannot be read.
        None if !(400..500).contains(&status) => Kind::Service,
        None => Kind::Misconfigured,
    }
}

/// "Signature expired: T is now earlier than T'", "Signature not yet current: T is still later than T'".
fn of_time(text: &str) -> bool {
    text.starts_with("Signature expired") || text.starts_with("Signature not yet current")
}

/// Anything up to `longest`, but never nothing.
fn jitter(longest: Duration) -> Duration {
    let mut dice = [0; 2];
    // Without randomness it is the longest.
    if aws_lc_rs::rand::fill(&mut dice).is_err() {
        return longest;
    }
    longest.mul_f64((f64::from(u16::from_be_bytes(dice)) + 1.0) / 65536.0)
}

/// Printable ASCII of a text from outside, at most `most` characters.
fn clean(text: &str, most: usize) -> String {
    text.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(code: &str, fresh: bool) -> Error {
        Fault::new(judge(code, 400, ""), code, "told").settle("cloud", fresh)
    }

    #[test]
    fn a_cure_allows_one_repeat_that_no_budget_pays_for() {
        for kind in [Kind::Credentials, Kind::Clock] {
            let settle = |cured| {
                let fault = Fault { cured, ..Fault::new(kind, "code", "told") };
                fault.settle("cloud", false).advice
            };
            let advice = settle(true);
            assert_eq!((advice.retries, advice.here, advice.scope), (1, true, Scope::Request));
            assert!(is_cured(&advice));
            let advice = settle(false);
            assert_eq!((advice.retries, advice.here, advice.scope), (1, false, Scope::Backend));
        }
        let throttled = settled("ThrottlingException", false).advice;
        assert!(throttled.here && !is_cured(&throttled));
    }

    #[test]
    fn the_table_says_what_follows() {
        use Class::{Bug, Busy, Down, Misconfigured};
        for (code, class, retries, here, scope, quarantine) in [
            ("ThrottlingException", Busy, 2, true, Scope::Request, false),
            ("LimitExceededException", Busy, 2, true, Scope::Request, false),
            ("KMSInternalException", Down, 2, true, Scope::Backend, false),
            ("DependencyTimeoutException", Down, 2, true, Scope::Backend, false),
            ("KeyUnavailableException", Down, 2, true, Scope::Key, false),
            ("KMSInvalidStateException", Misconfigured, 1, false, Scope::Key, true),
            ("DisabledException", Misconfigured, 1, false, Scope::Key, true),
            ("NotFoundException", Misconfigured, 1, false, Scope::Key, true),
            ("AccessDeniedException", Misconfigured, 1, false, Scope::Key, true),
            ("InvalidKeyUsageException", Misconfigured, 0, false, Scope::Key, false),
            ("ValidationException", Bug, 0, false, Scope::Key, false),
            ("InvalidGrantTokenException", Bug, 0, false, Scope::Key, false),
            ("ExpiredTokenException", Down, 1, false, Scope::Backend, false),
            ("UnrecognizedClientException", Down, 1, false, Scope::Backend, false),
            ("IncompleteSignature", Down, 1, false, Scope::Backend, false),
            ("RequestTimeTooSkewed", Down, 1, false, Scope::Backend, false),
            ("NeverHeardOfException", Misconfigured, 0, false, Scope::Key, false),
        ] {
            let error = settled(code, false);
            let Advice { retries: r, here: h, scope: s, quarantine: q, pause } = error.advice;
            assert_eq!((error.class, r, h, s, q), (class, retries, here, scope, quarantine), "{code}");
            assert!(pause <= PAUSE && (here || pause.is_zero()));
        }
    }

    #[test]
    fn a_key_just_made_gets_its_time() {
        for (code, retries) in [
            ("KMSInvalidStateException", 2),
            ("NotFoundException", 2),
            ("DisabledException", 2),
            ("AccessDeniedException", 1),
        ] {
            let advice = settled(code, true).advice;
            assert_eq!((advice.retries, advice.here, advice.quarantine), (retries, true, false), "{code}");
        }
        let never = Advice { scope: Scope::Key, ..Advice::NEVER };
        assert_eq!(settled("ValidationException", true).advice, never);
    }

    #[test]
    fn statuses_count_where_no_code_is_known_and_times_are_not_taken_for_wrong_secrets() {
        for (code, status, text, kind) in [
            ("HTTP 502", 502, "<html>", Kind::Service),
            ("HTTP 200", 200, "unexpected end of stream", Kind::Service),
            ("HTTP 429", 429, "", Kind::Throttled),
            ("HTTP 404", 404, "", Kind::Misconfigured),
            (
                "InvalidSignatureException",
                400,
                "Signature expired: 20261124T1 is now earlier than 2",
                Kind::Clock,
            ),
            ("InvalidSignatureException", 400, "Signature not yet current: 1", Kind::Clock),
            ("InvalidSignatureException", 400, "The request signature we calculated", Kind::Credentials),
        ] {
            assert_eq!(judge(code, status, text), kind, "{code} {text}");
        }
    }

    #[test]
    fn texts_from_outside_are_tamed() {
        assert_eq!(clean("a\u{1b}[2J\nb\u{202e}c", 64), "a[2Jbc");
        assert_eq!(clean(&"x".repeat(1000), 8).len(), 8);
    }
}
