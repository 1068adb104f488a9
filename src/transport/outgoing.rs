//! What we send to others over the network: TLS, and one HTTP request after the other.
//!
//! Trusts only the system's certificate authorities or those of one file; never follows a redirect, never asks a proxy,
//! and never reads an answer beyond a limit.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout_at};

/// An address that may be posted to: `https`, or `http` to this very host.
///
/// # Errors
/// What to write instead.
pub fn read_url(text: &str) -> Result<Uri, &'static str> {
    const FORM: &str = "write an address such as \"https://example.com/path\", without a user, `?` and `#`";
    let uri: Uri = text.parse().map_err(|_| FORM)?;
    let authority = uri.authority().ok_or(FORM)?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(FORM)?;
    if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
        return Err(FORM);
    }
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_own = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_own => Ok(uri),
        Some("http") => Err("write https: only an address of this host may be reached without TLS"),
        _ => Err(FORM),
    }
}

/// Why nobody can be spoken to over TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of certificate authorities cannot be read, or holds something else.
    #[error("{} cannot be used as a file of certificate authorities (PEM): {problem}", .path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The system has none.
    #[error("the system has no certificate authorities: install `ca-certificates`, or name a file with `ca`")]
    None,
    /// A defect.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// It could not be sent, or nobody answered.
    #[error("nobody answers")]
    Connection(#[source] legacy::Error),
    /// The answer is too long: what is known of it, without its body.
    #[error("the answer {} is too long", .0.status)]
    TooLong(Box<Answer>),
    /// The answer broke off.
    #[error("the answer cannot be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is no request.
    #[error("no request can be made of it")]
    Request(#[from] hyper::http::Error),
    /// There was no whole answer at the deadline.
    #[error("no answer in time")]
    Deadline,
}

/// TLS 1.2 and 1.3 towards servers that the authorities in `ca` vouch for, or those of the system.
///
/// # Errors
/// [`TlsError`].
pub fn tls(ca: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let wrong = |problem: String| TlsError::Authorities { path: path.to_owned(), problem };
            for certificate in
                CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?
            {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("it has no certificate".to_owned()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TlsError::None);
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// What somebody answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Header fields.
    pub headers: HeaderMap,
    /// All of it.
    pub body: Bytes,
}

/// Sends requests over HTTP/1.1, on connections that are kept for a while. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpClient(legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl HttpClient {
    /// `ca` is a file of certificate authorities (PEM) that alone are trusted; without it those of the system.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(ca: Option<&Path>) -> Result<Self, TlsError> {
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls(ca)?).https_or_http().enable_http1().build();
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new());
        Ok(Self(builder.build(connector)))
    }

    /// Posts `body` and gives the whole answer, of at most `most` bytes, before the deadline. A redirect is an answer as
    /// any other.
    ///
    /// # Errors
    /// [`PostError`].
    pub async fn post(
        &self,
        url: &Uri,
        content_type: HeaderValue,
        body: Bytes,
        most: usize,
        deadline: Instant,
    ) -> Result<Answer, PostError> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
        self.post_with(url, headers, body, most, deadline).await
    }

    /// The same, with these header fields.
    ///
    /// # Errors
    /// [`PostError`].
    pub async fn post_with(
        &self,
        url: &Uri,
        headers: HeaderMap,
        body: Bytes,
        most: usize,
        deadline: Instant,
    ) -> Result<Answer, PostError> {
        let mut request = Request::builder().method(Method::POST).uri(url).body(Full::new(body))?;
        *request.headers_mut() = headers;
        let exchange = async {
            let (head, body) = self.0.request(request).await.map_err(PostError::Connection)?.into_parts();
            let (status, headers) = (head.status, head.headers);
            match Limited::new(body, most).collect().await {
                Ok(body) => Ok(Answer { status, headers, body: body.to_bytes() }),
                Err(error) if error.is::<LengthLimitError>() => {
                    Err(PostError::TooLong(Box::new(Answer { status, headers, body: Bytes::new() })))
                }
                Err(error) => Err(PostError::Body(error)),
            }
        };
        timeout_at(deadline, exchange).await.unwrap_or(Err(PostError::Deadline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers one request with these bytes, and gives what was asked.
    async fn exchange(answer: &'static str, most: usize) -> (Result<Answer, PostError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Uri = format!("http://{}/a/b", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"hello") {
                assert_ne!(socket.read_buf(&mut asked).await.unwrap(), 0);
            }
            socket.write_all(answer.as_bytes()).await.unwrap();
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
            String::from_utf8(asked).unwrap()
        });
        let deadline = Instant::now() + Duration::from_millis(if answer.is_empty() { 50 } else { 10_000 });
        let kind = HeaderValue::from_static("text/plain");
        let client = HttpClient::new(None).unwrap();
        let answer = client.post(&url, kind, Bytes::from_static(b"hello"), most, deadline).await;
        let asked =
            if matches!(answer, Err(PostError::Deadline)) { String::new() } else { server.await.unwrap() };
        (answer, asked)
    }

    #[tokio::test]
    async fn posts_and_gives_what_is_answered() {
        let conflict =
            "HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\nContent-Length: 3\r\n\r\n17\n";
        let (answer, asked) = exchange(conflict, 3).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::CONFLICT, &b"17\n"[..]));
        assert_eq!(answer.headers[CONTENT_TYPE], "text/x.tlog.size");
        assert!(
            asked.starts_with("POST /a/b HTTP/1.1\r\n") && asked.contains("content-type: text/plain\r\n")
        );
        let Err(PostError::TooLong(answer)) = exchange(conflict, 2).await.0 else { panic!("not too long") };
        assert_eq!((answer.status, answer.body.len()), (StatusCode::CONFLICT, 0));
        let moved = "HTTP/1.1 307 Away\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(exchange(moved, 3).await.0.unwrap().status, StatusCode::TEMPORARY_REDIRECT);
        assert!(matches!(exchange("", 3).await.0, Err(PostError::Deadline)));
        assert!(matches!(
            exchange("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhm", 9).await.0,
            Err(PostError::Body(_))
        ));
        assert!(matches!(exchange("hm", 9).await.0, Err(PostError::Connection(_))));
    }

    #[test]
    fn only_this_host_is_reached_without_tls() {
        for good in ["https://a.example", "https://a.example:444/b/", "http://[::1]:1/", "http://localhost/a"]
        {
            assert!(read_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "/a",
            "ftp://a.example",
            "https://u@a.example",
            "https://a.example?b",
            "https://a.example#b",
        ] {
            assert!(read_url(bad).unwrap_err().contains("write an address"), "{bad}");
        }
        assert!(read_url("http://10.0.0.1/").unwrap_err().contains("write https"));
    }

    #[test]
    fn authorities_come_from_the_file_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        let fails = |text: &str| {
            std::fs::write(&file, text).unwrap();
            tls(Some(&file)).unwrap_err().to_string()
        };
        assert!(fails("").contains("it has no certificate"));
        assert!(
            fails("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
                .contains("cannot be used")
        );
        let missing = directory.path().join("missing");
        assert!(matches!(tls(Some(&missing)), Err(TlsError::Authorities { path, .. }) if path == missing));
    }
}
