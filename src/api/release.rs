//! `POST /v1/backends/{backend}/release` on the admin socket.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde_json::Value;

use super::exit::Exit;
use super::problem::Problem;
use super::sign::ONE;
use super::{Api, InForce};
use crate::admin::Act;
use crate::transport::PeerCredentials;

/// The backend that a path names.
pub(super) fn backend(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/v1/backends/")?.strip_suffix("/release")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

impl Api {
    /// Lifts quarantines; answers with what was in one.
    pub(super) async fn release(
        &self,
        now: &InForce,
        peer: Arc<PeerCredentials>,
        id: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Exit> {
        let path = request.uri().path().to_owned();
        let backend = backend(&path).ok_or_else(Problem::unknown_route)?;
        let shape = || Problem::release("send {} or {\"key\": \"NAME\"} and nothing else");
        let Value::Object(mut body) = self.read(request, now.limits.body, ONE).await? else {
            return Err(shape().into());
        };
        let key = match body.remove("key") {
            None => None,
            Some(Value::String(key)) => Some(key),
            Some(_) => return Err(shape().into()),
        };
        if !body.is_empty() {
            return Err(shape().into());
        }
        self.act(peer, id, Act::Release { backend: backend.to_owned(), key }).await
    }
}
