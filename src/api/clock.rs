//! `POST /v1/clock/accept` on the admin socket.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde::Serialize;
use serde_json::json as value;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::exit::Exit;
use super::problem::Problem;
use super::sign::ONE;
use super::{Api, InForce, json};
use crate::admin::AdminError;
use crate::audit::{Actor, Entry, Event, Log, Outcome};
use crate::clock::{Guarded, State};
use crate::state::Store;
use crate::transport::PeerCredentials;

#[derive(Serialize)]
struct Accepted {
    /// False when there was nothing that an operator's word could help.
    accepted: bool,
    /// As it is now.
    clock: State,
}

impl Api {
    /// Trusts the clock as it is; answers with what came of it.
    pub(super) async fn accept_clock(
        &self,
        now: &InForce,
        peer: Arc<PeerCredentials>,
        id: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Exit> {
        if self.read(request, now.limits.body, ONE).await? != value!({}) {
            return Err(Problem::accept().into());
        }
        let (clock, log, store) = (Arc::clone(&self.clock), self.log.clone(), Arc::clone(&self.admin.store));
        let (actor, id, deadline) =
            (Actor::of(&peer, None), id.to_owned(), Instant::now() + now.limits.deadline);
        // On a task of its own, so that an operator who hangs up does not leave half of it undone.
        let act = self.tracker.spawn(async move { accept(clock, &log, store, actor, id, deadline).await });
        // The task can only end without an answer by a panic, which is a defect.
        let accepted = act.await.map_err(|_| Problem::internal())??;
        Ok(json(&Accepted { accepted, clock: self.clock.state() }))
    }
}

/// Recorded, durably, before it takes effect, and again if it then does not; kept before it is answered.
async fn accept(
    clock: Arc<Guarded>,
    log: &Log,
    store: Arc<Store>,
    actor: Actor,
    request: String,
    deadline: Instant,
) -> Result<bool, Exit> {
    let Some(seen) = clock.acceptable() else { return Ok(false) };
    let entry = Entry {
        request: Some(request),
        actor: Some(actor),
        reason: Some(seen.fault.to_string()),
        ..Entry::new(Event::ClockAccepted, Outcome::Success)
    };
    log.append(vec![entry.clone()])?.durable_by(deadline).await?;
    let done = if clock.accept(&seen) {
        let keeping = Arc::clone(&clock);
        let kept = spawn_blocking(move || store.keep_clock(|| keeping.head(false))).await;
        kept.map_err(|_| AdminError::Defect).and_then(|kept| Ok(kept?)).map_err(Exit::from)
    } else {
        Err(Problem::changed().into())
    };
    if done.is_err() {
        let failed = Entry { outcome: Outcome::Failed, ..entry };
        log.append(vec![failed])?.durable_by(deadline).await?;
    }
    done.map(|()| true)
}
