//! A stream that ends when its peer is too slow: first byte, request, idle, write.
//!
//! hyper's own header timer starts late, covers neither bodies nor writes, and costs an allocation per request. This one
//! follows the bytes: [`Framing`] says whether a request is under way or whole, [`Exchange`] whether it has been answered.
//! One timer per connection, moved only when a deadline comes nearer than the one it waits for, so that a busy connection
//! never touches it. Must never limit how long a handler takes.

use super::Rejection;
use super::framing::Framing;
use super::serve::Limits;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::{Instant, Sleep};

/// What the stream and the service of one connection tell each other.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    answered: AtomicU64,
    receiving: AtomicBool,
    closing: AtomicBool,
    cut: AtomicBool,
    fault: OnceLock<Rejection>,
}

impl Exchange {
    /// The service has an answer for one more request; hyper writes it next.
    pub(super) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// What is wrong with the framing of the bytes so far.
    pub(super) fn fault(&self) -> Option<Rejection> {
        self.fault.get().copied()
    }

    /// Part of a request has come, but not all.
    pub(super) fn receiving(&self) -> bool {
        self.receiving.load(Ordering::Relaxed)
    }

    /// The next answer is to be the last.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Whether the next answer is to be the last.
    pub(super) fn closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// A deadline passed with part of a request received.
    pub(super) fn cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }
}

/// The limits of each phase.
#[derive(Debug, Clone, Copy)]
struct Phases {
    first_byte: Duration,
    request: Duration,
    idle: Duration,
    write: Duration,
}

/// A connected socket under deadlines.
pub(super) struct Timed {
    stream: UnixStream,
    framing: Framing,
    exchange: Arc<Exchange>,
    phases: Phases,
    /// When the phase of reading began: connected, first byte of a request, or answer written.
    since: Instant,
    /// When writing stopped making progress.
    stalled: Option<Instant>,
    answered: u64,
    timer: Pin<Box<Sleep>>,
}

impl Timed {
    pub(super) fn new(stream: UnixStream, limits: &Limits, exchange: Arc<Exchange>) -> Self {
        let since = Instant::now();
        Self {
            stream,
            framing: Framing::default(),
            exchange,
            phases: Phases {
                first_byte: limits.first_byte,
                request: limits.request,
                idle: limits.idle,
                write: limits.write,
            },
            since,
            stalled: None,
            answered: 0,
            timer: Box::pin(tokio::time::sleep_until(since + limits.first_byte)),
        }
    }

    /// When the peer must have moved; never while we owe it an answer that it is ready to take.
    fn deadline(&self) -> Option<Instant> {
        if let Some(stalled) = self.stalled {
            return Some(stalled + self.phases.write);
        }
        if self.framing.whole() > self.exchange.answered.load(Ordering::Relaxed) {
            return None;
        }
        let limit = if self.framing.mid_request() {
            self.phases.request
        } else if self.framing.whole() > 0 {
            self.phases.idle
        } else {
            self.phases.first_byte
        };
        Some(self.since + limit)
    }

    /// Waits for the deadline, and fails once it has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(deadline) = self.deadline() else {
            return Poll::Pending;
        };
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                break;
            }
            // The timer was set for an earlier phase.
            self.timer.as_mut().reset(deadline);
        }
        if self.stalled.is_none() && self.framing.mid_request() {
            self.exchange.cut.store(true, Ordering::Relaxed);
        }
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    fn follow(&mut self, bytes: &[u8]) {
        let between = !self.framing.mid_request();
        let whole = self.framing.whole();
        self.framing.follow(bytes);
        if self.framing.mid_request() && (between || self.framing.whole() > whole) {
            self.since = Instant::now();
        }
        let receiving = self.framing.mid_request();
        self.exchange.receiving.store(receiving, Ordering::Relaxed);
        if let Some(fault) = self.framing.fault() {
            // Only the first is kept, here as there.
            let _ = self.exchange.fault.set(fault);
        }
    }

    /// Everything written so far is on its way. If that was an answer, the peer's time to ask again begins, and the timer with
    /// it: hyper, which waits for bytes already, will not ask to read once more.
    fn flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answered = self.exchange.answered.load(Ordering::Relaxed);
        if answered != self.answered {
            self.answered = answered;
            self.since = Instant::now();
            if let Poll::Ready(late) = self.poll_deadline(cx) {
                return Poll::Ready(Err(late));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Puts the write deadline around what a write came to.
    fn progress(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        self.stalled.get_or_insert_with(Instant::now);
        self.poll_deadline(cx).map(Err)
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                this.follow(buf.filled().get(before..).unwrap_or_default());
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.poll_deadline(cx).map(Err),
        }
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.progress(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.progress(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.flushed(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
