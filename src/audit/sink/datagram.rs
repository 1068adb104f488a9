//! Messages as datagrams on a Unix socket: syslog's and the journal's.
//!
//! What was handed over but not read dies with its reader. The kernel says how much was not read yet, and it refuses the
//! next datagram once the reader is gone: so what had been read before a datagram went out has arrived.

use super::batch::Message;
use super::cursor::Position;
use super::target::{Failure, Progress, Refused};
use crate::sys::kernel::unread;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixDatagram;
use tokio::time::{Instant, sleep, timeout};

/// A reader that reads nothing for so long hangs.
const WITHIN: Duration = Duration::from_secs(10);
/// Between looks at whether it has read everything.
const LOOK: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

pub(super) struct Datagrams {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    /// Everything before this place had been read, unless the reader was gone.
    read: Option<Position>,
}

impl Datagrams {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), socket: None, read: None }
    }

    pub(super) fn is_sure(&self) -> bool {
        self.read.is_none()
    }

    pub(super) fn reset(&mut self) {
        (self.socket, self.read) = (None, None);
    }

    pub(super) async fn send(
        &mut self,
        messages: &[Message],
        end: &Position,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let Some((last, before)) = messages.split_last() else {
            // What it did not ask for has arrived with what is before that.
            match &mut self.read {
                Some(read) => *read = end.clone(),
                None => progress.safe = end.clone(),
            }
            return Ok(());
        };
        for message in before {
            self.put(message, progress).await?;
        }
        if let Some(message) = before.last() {
            self.is_read(&message.after).await?;
        }
        self.put(last, progress).await?;
        self.is_read(end).await
    }

    async fn put(&mut self, message: &Message, progress: &mut Progress) -> Result<(), Failure> {
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(connect(&self.path)?),
        };
        match timeout(WITHIN, socket.send(&message.bytes)).await {
            Ok(Ok(_)) => {
                progress.sent = progress.sent.max(message.after.seq);
                if let Some(read) = self.read.take() {
                    progress.safe = read;
                }
                Ok(())
            }
            Ok(Err(error)) if error.raw_os_error() == Some(nix::libc::EMSGSIZE) => {
                let reason = format!("{} bytes are too long for a datagram here", message.bytes.len());
                let after = message.after.seq.saturating_sub(1);
                progress.refused.push(Refused { after, count: 1, reason });
                Ok(())
            }
            Ok(Err(error)) => Err(self.failure(&error)),
            Err(_) => Err(hangs()),
        }
    }

    /// Waits until everything was read, which is all before `end`.
    async fn is_read(&mut self, end: &Position) -> Result<(), Failure> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let [mut pause, longest] = LOOK;
        let (mut least, mut since) = (usize::MAX, Instant::now());
        loop {
            let left = unread(socket.as_fd()).map_err(|error| self.failure(&error))?;
            if left == 0 {
                self.read = Some(end.clone());
                return Ok(());
            }
            if left < least {
                (least, since) = (left, Instant::now());
            }
            if since.elapsed() > WITHIN {
                return Err(hangs());
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    fn failure(&self, error: &io::Error) -> Failure {
        Failure::new(format!("{}: {error}", self.path.display()))
    }
}

fn connect(path: &Path) -> Result<UnixDatagram, Failure> {
    let connected = UnixDatagram::unbound().and_then(|socket| socket.connect(path).map(|()| socket));
    connected.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ": does its daemon run?",
            _ => "",
        };
        Failure::new(format!("{}: {error}{hint}", path.display()))
    })
}

fn hangs() -> Failure {
    Failure::new(format!("it has read nothing for {} s", WITHIN.as_secs()))
}
