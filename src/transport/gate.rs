//! What a request must be before any handler sees it, and every reason why it may not be.
//!
//! The socket speaks one narrow HTTP/1.1: bodies with one length, one host, no intermediary, no browser. Everything that two
//! readers could frame differently is refused and the connection closed (RFC 9112 section 11.2). Must never rewrite a request.

use hyper::http::uri::Uri;
use hyper::{Request, StatusCode, Version, header};

/// Why something never became a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejection {
    /// Not HTTP/1.1 as RFC 9112 writes it: a bad line, a bare line feed, a folded header.
    #[error("the request is not well-formed HTTP/1.1; send it with an HTTP library")]
    Malformed,
    /// Part of a request came, and then the rest came too slowly.
    #[error("the request did not arrive in time; send it in one go")]
    Timeout,
    /// The caller's user has as many connections as one may have.
    #[error("this user has too many connections; reuse them")]
    TooManyConnections,
    /// Too many header fields, or too many bytes of them.
    #[error("the header is too large; send only the fields that are needed")]
    HeaderTooLarge,
    /// Any `Transfer-Encoding` (RFC 9112 section 6.1).
    #[error("a body needs a content-length here; transfer-encoding is not accepted")]
    TransferEncoding,
    /// More than one `Content-Length`, even if equal (RFC 9112 section 6.3).
    #[error("more than one content-length; send one")]
    ContentLength,
    /// Any `Expect` (RFC 9110 section 10.1.1).
    #[error("expect is not supported; send the body at once")]
    Expect,
    /// Any `Upgrade` (RFC 9110 section 7.8).
    #[error("upgrade is not supported; speak HTTP/1.1")]
    Upgrade,
    /// A version other than 1.1.
    #[error("only HTTP/1.1 is spoken here")]
    Version,
    /// A target that is not a path (RFC 9112 section 3.2).
    #[error("the request target must be a path")]
    Target,
    /// Not exactly one `Host` of `localhost` or `jwsd` (RFC 9112 section 3.2).
    #[error("host must be given once, as localhost or jwsd")]
    Host,
    /// `Origin` or `Sec-Fetch-*`: a browser, or a proxy that one can reach.
    #[error("requests on behalf of a browser are refused")]
    CrossSite,
}

impl Rejection {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::Timeout,
        Self::TooManyConnections,
        Self::HeaderTooLarge,
        Self::TransferEncoding,
        Self::ContentLength,
        Self::Expect,
        Self::Upgrade,
        Self::Version,
        Self::Target,
        Self::Host,
        Self::CrossSite,
    ];

    /// The stable code, for problem bodies and the audit log.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "http.malformed",
            Self::Timeout => "http.timeout",
            Self::TooManyConnections => "http.connections",
            Self::HeaderTooLarge => "http.header_size",
            Self::TransferEncoding => "http.transfer_encoding",
            Self::ContentLength => "http.content_length",
            Self::Expect => "http.expect",
            Self::Upgrade => "http.upgrade",
            Self::Version => "http.version",
            Self::Target => "http.target",
            Self::Host => "http.host",
            Self::CrossSite => "http.browser",
        }
    }

    /// The status to answer with, where there is an answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed
            | Self::TransferEncoding
            | Self::ContentLength
            | Self::Upgrade
            | Self::Target
            | Self::Host => StatusCode::BAD_REQUEST,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooManyConnections => StatusCode::TOO_MANY_REQUESTS,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Expect => StatusCode::EXPECTATION_FAILED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::CrossSite => StatusCode::FORBIDDEN,
        }
    }
}

/// Judges a request head. `framing` is what the bytes themselves showed, which the parsed head no longer does.
pub(super) fn check<B>(
    request: &Request<B>,
    fields: usize,
    framing: Option<Rejection>,
) -> Result<(), Rejection> {
    if let Some(fault) = framing {
        return Err(fault);
    }
    if request.version() != Version::HTTP_11 {
        return Err(Rejection::Version);
    }
    if !is_path(request.uri()) {
        return Err(Rejection::Target);
    }
    if request.headers().len() > fields {
        return Err(Rejection::HeaderTooLarge);
    }
    let mut hosts = 0;
    for (name, value) in request.headers() {
        match *name {
            header::TRANSFER_ENCODING => return Err(Rejection::TransferEncoding),
            header::EXPECT => return Err(Rejection::Expect),
            header::UPGRADE => return Err(Rejection::Upgrade),
            header::ORIGIN => return Err(Rejection::CrossSite),
            header::HOST if !matches!(value.as_bytes(), b"localhost" | b"jwsd") => {
                return Err(Rejection::Host);
            }
            header::HOST => hosts += 1,
            _ if name.as_str().starts_with("sec-fetch-") => return Err(Rejection::CrossSite),
            _ => {}
        }
    }
    if hosts != 1 {
        return Err(Rejection::Host);
    }
    Ok(())
}

/// Origin form: neither a URL, nor an authority, nor `*`.
fn is_path(target: &Uri) -> bool {
    target.scheme().is_none() && target.authority().is_none() && target.path().starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn judged(target: &str, headers: &[(&str, &str)]) -> Result<(), Rejection> {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap(), 4, None)
    }

    #[test]
    fn judges_heads() {
        let host = ("host", "localhost");
        assert_eq!(judged("/v1/sign?x=y", &[host]), Ok(()));
        assert_eq!(judged("/", &[("host", "jwsd"), ("accept", "*/*")]), Ok(()));
        for (target, headers, why) in [
            ("http://localhost/", &[host][..], Rejection::Target),
            ("localhost:80", &[host], Rejection::Target),
            ("*", &[host], Rejection::Target),
            ("/", &[], Rejection::Host),
            ("/", &[host, host], Rejection::Host),
            ("/", &[("host", "localhost:80")], Rejection::Host),
            ("/", &[("host", "")], Rejection::Host),
            ("/", &[host, ("transfer-encoding", "identity")], Rejection::TransferEncoding),
            ("/", &[host, ("expect", "")], Rejection::Expect),
            ("/", &[host, ("upgrade", "h2c")], Rejection::Upgrade),
            ("/", &[host, ("origin", "null")], Rejection::CrossSite),
            ("/", &[host, ("sec-fetch-site", "none")], Rejection::CrossSite),
            ("/", &[host, ("a", "1"), ("a", "2"), ("a", "3"), ("b", "4")], Rejection::HeaderTooLarge),
        ] {
            assert_eq!(judged(target, headers), Err(why), "{target} {headers:?}");
        }
    }

    #[test]
    fn framing_comes_first() {
        let request = Request::builder().uri("*").body(()).unwrap();
        assert_eq!(check(&request, 4, Some(Rejection::Malformed)), Err(Rejection::Malformed));
    }

    #[test]
    fn old_versions_are_refused() {
        for version in [Version::HTTP_09, Version::HTTP_10, Version::HTTP_2] {
            let request = Request::builder().version(version).header("host", "jwsd").body(()).unwrap();
            assert_eq!(check(&request, 4, None), Err(Rejection::Version));
        }
    }

    #[test]
    fn codes_are_distinct_and_statuses_are_errors() {
        let codes: BTreeSet<_> = Rejection::ALL.iter().map(|why| why.code()).collect();
        assert_eq!(codes.len(), Rejection::ALL.len());
        assert!(Rejection::ALL.iter().all(|why| why.status().as_u16() >= 400));
    }
}
