//! Syslog over TCP and TLS, with octet counting (RFC 6587, RFC 5425).
//!
//! Nobody acknowledges a message there. What a reader had not taken out of its kernel's buffers dies with the connection,
//! so after one that broke everything that may have stood in them is sent again; not after one that the other side ended
//! in good order when it had read all.

use super::batch::Message;
use super::cursor::Position;
use super::target::{Failure, Progress};
use crate::sys::kernel::unread;
use crate::telemetry::Chain;
use futures_util::FutureExt;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// A connection is there within this, or a piece taken.
const WITHIN: Duration = Duration::from_secs(10);
/// A peer that acknowledges nothing for so long is gone, milliseconds.
const GONE: u32 = 30_000;
/// Bytes written at once.
const PIECE: usize = 16 * 1024;
/// So many bytes may wait unread on the way: more than what Linux buffers at both ends.
const UNREAD: u64 = 16 * 1024 * 1024;
/// What a server may send us at once; it has nothing to say, and it is not listened to.
const HEARD: usize = 64;

type Wire = Either<TcpStream, TlsStream<TcpStream>>;

pub(super) struct Stream {
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    wire: Option<Wire>,
    window: Window,
}

/// What was written on one connection and may not have been read.
#[derive(Default)]
struct Window {
    written: u64,
    /// Places, and how much was written up to each.
    ends: VecDeque<(u64, Position)>,
}

impl Window {
    /// So many bytes more were written, up to a place; gives the last one that must have been read by now.
    fn wrote(&mut self, bytes: usize, end: &Position) -> Option<Position> {
        self.written += bytes as u64;
        self.ends.push_back((self.written, end.clone()));
        let mut read = None;
        let oldest = self.written.saturating_sub(UNREAD);
        while let Some((_, end)) = self.ends.pop_front_if(|(written, _)| *written <= oldest) {
            read = Some(end);
        }
        read
    }
}

/// How a connection stands.
enum Standing {
    Open,
    /// The other side ended it, and has read everything.
    Ended,
    Broken(String),
}

impl Stream {
    pub(super) fn new(host: &str, port: u16, tls: Option<ClientConfig>) -> Self {
        Self {
            host: host.to_owned(),
            port,
            tls: tls.map(|config| TlsConnector::from(Arc::new(config))),
            wire: None,
            window: Window::default(),
        }
    }

    pub(super) fn is_sure(&self) -> bool {
        self.window.ends.is_empty()
    }

    pub(super) fn reset(&mut self) {
        (self.wire, self.window) = (None, Window::default());
    }

    pub(super) async fn send(
        &mut self,
        messages: &[Message],
        end: &Position,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        if let Some(wire) = &mut self.wire {
            match look(wire) {
                Standing::Open => {}
                Standing::Ended => self.confirm(progress),
                Standing::Broken(problem) => return Err(Failure::new(problem)),
            }
        }
        let wire = match &mut self.wire {
            Some(wire) => wire,
            None if messages.is_empty() => {
                progress.safe = end.clone();
                return Ok(());
            }
            None => {
                let connecting = connect(&self.host, self.port, self.tls.as_ref());
                let wire = timeout(WITHIN, connecting)
                    .await
                    .map_err(|_| Failure::new("there is no connection in time"))?;
                self.wire.insert(wire?)
            }
        };
        let mut piece = Vec::with_capacity(PIECE);
        for (index, message) in messages.iter().enumerate() {
            piece.extend_from_slice(&message.bytes);
            let next = messages.get(index + 1).map_or(PIECE, |next| next.bytes.len());
            if piece.len() + next > PIECE {
                // Of a piece that did not get out wholly the other side may have some.
                progress.sent = progress.sent.max(message.after.seq);
                write(wire, &piece).await?;
                if let Some(read) = self.window.wrote(piece.len(), &message.after) {
                    progress.safe = read;
                }
                piece.clear();
            }
        }
        // What it did not ask for arrives with what is before that.
        match self.window.ends.back_mut() {
            Some((_, last)) => *last = end.clone(),
            None => progress.safe = end.clone(),
        }
        Ok(())
    }

    /// Ends the connection in good order. The other side does so too once it has read everything.
    pub(super) async fn finish(&mut self, progress: &mut Progress) {
        let Some(wire) = &mut self.wire else { return };
        if wire.shutdown().await.is_err() {
            return;
        }
        let mut heard = [0; 1024];
        loop {
            match wire.read(&mut heard).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => return,
            }
        }
        if has_all(wire) {
            self.confirm(progress);
        }
    }

    /// Everything was read, and the connection is over.
    fn confirm(&mut self, progress: &mut Progress) {
        if let Some((_, end)) = self.window.ends.pop_back() {
            progress.safe = end;
        }
        self.reset();
    }
}

/// Whether the other side has ended it meanwhile. Over TLS that is only in good order if it says so (`close_notify`): what
/// it had not decrypted yet may be lost otherwise, which its kernel knows nothing of.
fn look(wire: &mut Wire) -> Standing {
    let mut heard = [0; 1024];
    for _ in 0..HEARD {
        match wire.read(&mut heard).now_or_never() {
            None => break,
            Some(Ok(0)) => return ended(wire),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Standing::Broken(format!("the connection broke: {error}")),
        }
    }
    Standing::Open
}

fn ended(wire: &Wire) -> Standing {
    if has_all(wire) {
        Standing::Ended
    } else {
        Standing::Broken("it ended the connection before it had read everything".to_owned())
    }
}

/// Whether the other kernel has acknowledged everything. One that is asked to close a connection from which not all was
/// read resets it, and never ends it in good order.
fn has_all(wire: &Wire) -> bool {
    let tcp = match wire {
        Either::Left(tcp) => tcp,
        Either::Right(tls) => tls.get_ref().0,
    };
    unread(tcp.as_fd()).is_ok_and(|left| left == 0)
}

async fn write(wire: &mut Wire, piece: &[u8]) -> Result<(), Failure> {
    let write = async {
        wire.write_all(piece).await?;
        wire.flush().await
    };
    match timeout(WITHIN, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::new(format!("the connection broke: {error}"))),
        Err(_) => Err(Failure::new(format!("it has read nothing for {} s", WITHIN.as_secs()))),
    }
}

async fn connect(host: &str, port: u16, tls: Option<&TlsConnector>) -> Result<Wire, Failure> {
    let failed = |error: io::Error| Failure::new(format!("{host}, port {port}: {}", Chain(&error)));
    let tcp = TcpStream::connect((host, port)).await.map_err(failed)?;
    tcp.set_nodelay(true).map_err(failed)?;
    setsockopt(&tcp, sockopt::TcpUserTimeout, &GONE).map_err(|error| failed(error.into()))?;
    let Some(tls) = tls else { return Ok(Either::Left(tcp)) };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::new(format!("{host:?} is no name that a certificate can be for")))?;
    Ok(Either::Right(tls.connect(name, tcp).await.map_err(failed)?))
}
