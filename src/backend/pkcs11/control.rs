//! The control socket, as one task: requests one after the other, whoever gave up waiting in between.
//!
//! A request that takes longer than its limit means a hung worker, and so does an answer that makes no sense.

use super::Fault;
use super::pipe::End;
use super::protocol::{self, BadFrame, Reply, Request};
use super::recovery::CRASH;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Requests that may wait for the control socket.
const QUEUE: usize = 64;
/// RSA key generation on slow tokens takes minutes.
const GENERATE_LIMIT: Duration = Duration::from_secs(300);

type Call = (Request, oneshot::Sender<Result<Reply, Fault>>);

/// Asks the worker of one generation.
#[derive(Clone)]
pub(super) struct Control(mpsc::Sender<Call>);

impl Control {
    /// The handle, and the task that serves it; `limit` bounds one request.
    pub(super) fn new(
        stream: UnixStream,
        limit: Duration,
    ) -> (Self, impl Future<Output = End> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), serve(stream, receiver, limit))
    }

    /// One request and its answer.
    pub(super) async fn call(&self, request: Request) -> Result<Reply, Fault> {
        let gone = || CRASH.fault("the worker went away");
        let (sender, answer) = oneshot::channel();
        self.0.send((request, sender)).await.map_err(|_| gone())?;
        match answer.await.map_err(|_| gone())?? {
            Reply::Failed { fault, .. } => Err(fault),
            reply => Ok(reply),
        }
    }
}

async fn serve(mut stream: UnixStream, mut calls: mpsc::Receiver<Call>, limit: Duration) -> End {
    loop {
        let call = tokio::select! {
            call = calls.recv() => call,
            () = silence_ends(&stream) => return End::Lost("the worker closed its control socket".into()),
        };
        let Some((request, answer)) = call else {
            return End::Lost("the worker is not needed any more".into());
        };
        let limit = match request {
            Request::Generate { .. } => GENERATE_LIMIT,
            _ => limit,
        };
        let exchange = async {
            send(&mut stream, &request).await?;
            receive(&mut stream).await
        };
        match timeout(limit, exchange).await {
            // The one who asked may have given up.
            Ok(Ok(reply)) => drop(answer.send(Ok(reply))),
            Ok(Err(error)) => return End::Lost(format!("control socket: {error}")),
            Err(_) => return End::Hung(format!("no answer on the control socket for {limit:?}")),
        }
    }
}

/// Waits for the peer to close, or to speak when nothing is due, which is as bad. Readiness alone may be stale.
async fn silence_ends(stream: &UnixStream) {
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// Writes one message.
pub(super) async fn send(stream: &mut UnixStream, message: &impl serde::Serialize) -> io::Result<()> {
    send_raw(stream, &serde_json::to_vec(message)?).await
}

/// Writes one frame as it is.
pub(super) async fn send_raw(stream: &mut UnixStream, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&length.to_le_bytes()).await?;
    stream.write_all(body).await
}

/// Reads one answer.
pub(super) async fn receive(stream: &mut UnixStream) -> io::Result<Reply> {
    let length = stream.read_u32_le().await? as usize;
    if length > protocol::MAX_CONTROL {
        return Err(io::Error::other(BadFrame(length)));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}
