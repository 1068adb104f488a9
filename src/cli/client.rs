//! A small HTTP client for the daemon's own sockets.

use std::io::ErrorKind;
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::output::{BUG, Failure, PERMISSION, UNAVAILABLE};

/// No answer of the daemon is larger, bytes.
const ANSWER_LIMIT: usize = 4 << 20;

/// Sends one request to the daemon behind `socket`; `body` makes it a POST of JSON.
pub(super) fn call(
    socket: &Path,
    path: &str,
    body: Option<&serde_json::Value>,
) -> Result<(StatusCode, Bytes), Failure> {
    request(if body.is_some() { Method::POST } else { Method::GET }, socket, path, body)
}

/// Sends one request to the daemon behind `socket`.
pub(super) fn request(
    method: Method,
    socket: &Path,
    path: &str,
    body: Option<&serde_json::Value>,
) -> Result<(StatusCode, Bytes), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(BUG, format_args!("no runtime: {error}")))?;
    runtime.block_on(exchange(method, socket, path, body))
}

/// Whether a daemon listens on `socket`.
///
/// # Errors
/// One may, but not to us.
pub(super) fn listens(socket: &Path) -> Result<bool, Failure> {
    match std::os::unix::net::UnixStream::connect(socket) {
        Ok(_) => Ok(true),
        Err(error) if [ErrorKind::NotFound, ErrorKind::ConnectionRefused].contains(&error.kind()) => {
            Ok(false)
        }
        Err(error) => Err(unreachable(socket, &error)),
    }
}

fn unreachable(socket: &Path, error: &std::io::Error) -> Failure {
    let (code, hint) = match error.kind() {
        ErrorKind::PermissionDenied => (PERMISSION, "; is this user in the socket's group?"),
        _ => (UNAVAILABLE, "; is the daemon running, and is this its socket?"),
    };
    Failure::new(code, format_args!("{}: {error}{hint}", socket.display()))
}

async fn exchange(
    method: Method,
    socket: &Path,
    path: &str,
    body: Option<&serde_json::Value>,
) -> Result<(StatusCode, Bytes), Failure> {
    let stream = UnixStream::connect(socket).await.map_err(|error| unreachable(socket, &error))?;
    let gone = |error| Failure::new(UNAVAILABLE, format_args!("{}: {error}", socket.display()));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(gone)?;
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.map(ToString::to_string).unwrap_or_default())))
        .map_err(|error| Failure::new(BUG, error))?;
    let response = sender.send_request(request).await.map_err(gone)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_LIMIT)
        .collect()
        .await
        .map_err(|error| Failure::new(UNAVAILABLE, format_args!("{}: {error}", socket.display())))?;
    driver.abort();
    Ok((status, body.to_bytes()))
}
