//! Reading a request body of a stated and bounded length.
//!
//! Must never read, or make room for, more than the limit. How long a body may take is the connection's business: its
//! deadline for a whole request ([`super::Limits::request`]) ends the read.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::{Request, header};
use std::error::Error;
use std::io;

/// Why there is no body to work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// For status 413. Nothing of it was read.
    #[error("the body is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The most that would have been read, in bytes.
        limit: usize,
    },
    /// For status 411.
    #[error("the body's length is not known; send a content-length")]
    LengthRequired,
    /// For status 408.
    #[error("the body did not arrive in time; send it in one go")]
    Timeout,
    /// The peer hung up; nobody is there for an answer.
    #[error("the peer hung up before the body was complete")]
    Aborted,
}

/// Reads the whole body, of at most `limit` bytes.
///
/// # Errors
/// See [`BodyError`]. After one, the rest of the body is not wanted: hyper closes the connection behind the answer.
pub async fn read_body(request: Request<Incoming>, limit: usize) -> Result<Bytes, BodyError> {
    if !request.headers().contains_key(header::CONTENT_LENGTH) {
        return Err(BodyError::LengthRequired);
    }
    let mut body = request.into_body();
    let length = body.size_hint().exact().ok_or(BodyError::LengthRequired)?;
    let length = match usize::try_from(length) {
        Ok(length) if length <= limit => length,
        _ => return Err(BodyError::TooLarge { limit }),
    };
    let first = next_data(&mut body).await?;
    if first.len() == length {
        // The common case: it came in one read, and is handed on without a copy.
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(length);
    whole.extend_from_slice(&first);
    while whole.len() < length {
        let data = next_data(&mut body).await?;
        if data.is_empty() {
            return Err(BodyError::Aborted);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// The next piece; empty at the end.
async fn next_data(body: &mut Incoming) -> Result<Bytes, BodyError> {
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => return Ok(data),
            Ok(Err(_trailers)) => {}
            Err(error) if is_timeout(&error) => return Err(BodyError::Timeout),
            Err(_) => return Err(BodyError::Aborted),
        }
    }
    Ok(Bytes::new())
}

/// Whether a deadline of the stream is at the root of an error of hyper.
pub(super) fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.kind() == io::ErrorKind::TimedOut;
        }
        next = error.source();
    }
    false
}
