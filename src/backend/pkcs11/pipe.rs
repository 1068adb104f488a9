//! One session's socket on the parent's side: frames out, answers in.

use super::Fault;
use super::client::Dispatcher;
use super::protocol::{self, READ_SIZE};
use bytes::BytesMut;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

/// Why a generation of the worker has to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// It is gone already, or spoke nonsense.
    Lost(String),
    /// It hangs: kill it.
    Hung(String),
    /// It has to be replaced because of this: let it finish what it has.
    Replace(Fault),
}

/// One session's socket, the side that writes.
pub(super) struct Pipe {
    socket: OwnedWriteHalf,
    /// What the socket had no room for.
    spill: Mutex<Vec<u8>>,
    spilled: Notify,
}

impl Pipe {
    /// The side that writes, to share, and the side that reads, for [`read`].
    pub(super) fn new(stream: UnixStream) -> (Arc<Self>, OwnedReadHalf) {
        let (reading, socket) = stream.into_split();
        let pipe = Self { socket, spill: Mutex::default(), spilled: Notify::new() };
        (Arc::new(pipe), reading)
    }

    /// Writes whole frames, now if the socket has room. A broken socket is the reading task's to notice.
    pub(super) fn send(&self, frames: &[u8]) {
        let mut spill = self.spill.lock().unwrap_or_else(PoisonError::into_inner);
        let written = if spill.is_empty() { self.socket.try_write(frames).unwrap_or(0) } else { 0 };
        if let Some(rest @ [_, ..]) = frames.get(written..) {
            spill.extend_from_slice(rest);
            self.spilled.notify_one();
        }
    }

    /// Writes what spilled, as the socket takes it. Ends with the socket.
    pub(super) async fn pump(&self) -> io::Result<()> {
        loop {
            self.spilled.notified().await;
            loop {
                self.socket.writable().await?;
                let mut spill = self.spill.lock().unwrap_or_else(PoisonError::into_inner);
                match self.socket.try_write(&spill) {
                    Ok(written) => {
                        spill.drain(..written);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
                if spill.is_empty() {
                    break;
                }
            }
        }
    }
}

/// Reads answers and delivers them until the socket ends; says why it ended.
pub(super) async fn read(
    mut socket: OwnedReadHalf,
    dispatcher: &Dispatcher,
    generation: u64,
    lane: usize,
) -> End {
    let mut buffer = BytesMut::with_capacity(READ_SIZE);
    let mut answers = Vec::new();
    loop {
        buffer.reserve(READ_SIZE / 4);
        match socket.read_buf(&mut buffer).await {
            Ok(0) => return End::Lost("the worker closed a session".into()),
            Ok(_) => {}
            Err(error) => return End::Lost(format!("session socket: {error}")),
        }
        loop {
            let answer = match protocol::take_frame(&mut buffer) {
                Ok(Some(frame)) => protocol::parse_answer(&frame),
                Ok(None) => break,
                Err(bad) => Err(bad),
            };
            match answer {
                Ok(answer) => answers.push(answer),
                Err(bad) => return End::Lost(bad.to_string()),
            }
        }
        if !answers.is_empty()
            && let Err(end) = dispatcher.settle(generation, lane, &mut answers)
        {
            return end;
        }
    }
}
