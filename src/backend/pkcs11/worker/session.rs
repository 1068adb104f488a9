//! One session on one thread: read frames, sign, answer. The socket's buffer is the queue.
//!
//! A session is never shared, and never used again after a failure.

use super::super::protocol::{self, Answer, READ_SIZE};
use super::Fault;
use super::fault::{Remedy, fault, judge};
use super::keys::Keys;
use super::token::Token;
use bytes::BytesMut;
use cryptoki::session::Session;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A signature that took longer than this is sent at once; quicker ones share a write with their neighbours.
const SLOW: Duration = Duration::from_micros(200);
/// After so many failures in a row on fresh sessions, the fault is not the session's.
const FAILURES: u32 = 3;

pub(super) struct Server {
    token: Arc<Token>,
    keys: Arc<Keys>,
    signs: Arc<AtomicU64>,
    /// `None` when no new one could be opened.
    session: Option<Session>,
    failures: u32,
}

impl Server {
    pub(super) fn new(token: Arc<Token>, keys: Arc<Keys>, signs: Arc<AtomicU64>, session: Session) -> Self {
        Self { token, keys, signs, session: Some(session), failures: 0 }
    }

    /// Serves until the parent closes the socket or breaks the protocol. The closed socket tells the parent.
    pub(super) fn run(mut self, mut socket: UnixStream) {
        let mut scratch = vec![0; READ_SIZE];
        let mut buffer = BytesMut::with_capacity(READ_SIZE);
        let mut out = Vec::with_capacity(READ_SIZE);
        loop {
            match socket.read(&mut scratch) {
                Ok(0) => return,
                Ok(read) => buffer.extend_from_slice(scratch.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            }
            loop {
                let frame = match protocol::take_frame(&mut buffer) {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(_) => return,
                };
                let Ok((id, index, input)) = protocol::parse_request(&frame) else {
                    return;
                };
                let started = Instant::now();
                let answer = self.answer(id, index, input);
                protocol::write_answer(&mut out, &answer);
                if started.elapsed() > SLOW && !flush(&mut socket, &mut out) {
                    return;
                }
            }
            if !flush(&mut socket, &mut out) {
                return;
            }
        }
    }

    fn answer(&mut self, id: u32, index: u16, input: &[u8]) -> Answer {
        let (result, replace) = match self.sign(index, input) {
            Ok(signature) => (Ok(signature), false),
            Err((fault, replace)) => (Err(fault), replace),
        };
        Answer { id, result, replace }
    }

    /// Signs, or says why not and whether the whole worker should be replaced.
    fn sign(&mut self, index: u16, input: &[u8]) -> Result<Vec<u8>, (Fault, bool)> {
        let Some(key) = self.keys.get(index) else {
            return Err((Fault::bug(format!("no key has index {index}")), false));
        };
        let _gate = self.token.enter();
        let Some(session) = &self.session else {
            return Err((Fault::down("the session is lost"), true));
        };
        self.signs.fetch_add(1, Ordering::Relaxed);
        let error = match key.plan.sign(session, key.handle, input) {
            Ok(signature) => {
                self.failures = 0;
                return Ok(signature);
            }
            Err(error) => error,
        };
        self.failures += 1;
        // Close the old one first: the token may have no room for both.
        self.session = None;
        self.session = self.token.open_session().ok();
        let (_, remedy) = judge(&error);
        let replace = remedy == Remedy::Worker || self.session.is_none() || self.failures >= FAILURES;
        Err((fault("C_Sign", &error), replace))
    }
}

fn flush(socket: &mut UnixStream, out: &mut Vec<u8>) -> bool {
    let written = socket.write_all(out).is_ok();
    out.clear();
    written
}
