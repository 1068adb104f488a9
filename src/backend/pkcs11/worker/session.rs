//! One session on one thread: read frames, sign, answer. The socket's buffer is the queue.
//!
//! A session is never shared, and never used again after a failure.

use super::super::protocol::{self, Answer, READ_SIZE};
use super::super::recovery::{Quarantine, Remedy, Row, login_lost};
use super::Fault;
use super::fault::{fault, row};
use super::keys::Keys;
use super::pool::{Place, Pool, leaves_others};
use super::token::Token;
use crate::backend::{Advice, Class, Scope};
use bytes::BytesMut;
use cryptoki::error::Error;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A signature that took longer than this is sent at once; quicker ones share a write with their neighbours.
const SLOW: Duration = Duration::from_micros(200);
/// After so many failures in a row of one thread on fresh sessions, the fault is not the session's.
const FAILURES: u32 = 3;

pub(super) struct Server {
    pub(super) token: Arc<Token>,
    pub(super) keys: Arc<Keys>,
    pub(super) signs: Arc<AtomicU64>,
    pub(super) pool: Arc<Pool>,
    /// The thread's place in the pool.
    pub(super) number: usize,
    pub(super) failures: u32,
}

impl Server {
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
        let (token, pool) = (Arc::clone(&self.token), Arc::clone(&self.pool));
        let _gate = token.enter();
        let mut place = pool.take(self.number).map_err(|fault| (fault, true))?;
        let Some(session) = &place.session else {
            return Err((Fault::bug("a place without a session was given out"), true));
        };
        self.signs.fetch_add(1, Ordering::Relaxed);
        match key.plan.sign(session, key.handle, input) {
            Ok(signature) => {
                self.failures = 0;
                if key.renewed {
                    self.keys.proven(index);
                }
                Ok(signature)
            }
            Err(error) => Err(self.recover(&mut place, index, key.renewed, &error)),
        }
    }

    /// Applies the remedy for `error`. Says what the caller gets, and whether the whole worker should be replaced.
    fn recover(&mut self, place: &mut Place, index: u16, renewed: bool, error: &Error) -> (Fault, bool) {
        let row = row(error);
        let mut fault = fault("C_Sign", error);
        // Close the old one first: the token may have no room for both.
        self.pool.close(place);
        match row.remedy {
            Remedy::ReadWrite => self.token.insist_on_read_write(),
            Remedy::Room => self.pool.close_idle(),
            _ => {}
        }
        // Nothing but the deepest trouble of a session counts: a key that is refused says nothing about the worker.
        self.failures = if row.class == Class::Down { self.failures + 1 } else { 0 };
        let too_often = self.pool.is_too_often(&fault.code, row.limit) || self.failures >= FAILURES;
        if row.replaces() || too_often {
            return (fault, true);
        }
        if row.remedy == Remedy::Shrink && self.pool.has_any() {
            place.rest();
            return (fault, false);
        }
        if let Err(refusal) = self.pool.fill(place) {
            let message = format!("{}, then {}", fault.message, refusal.message);
            if !leaves_others(&refusal) {
                return (Fault { message, ..refusal }, true);
            }
            return (Fault { message, ..fault }, !self.pool.has_any());
        }
        let Some(session) = &place.session else {
            return (fault, true);
        };
        if !self.token.is_logged_in(session) {
            return (login_lost(format!("{}, and the login is lost", fault.message)), true);
        }
        if row.remedy == Remedy::Handles {
            if renewed && row.quarantine == Quarantine::WhenUseless {
                fault.advice = Advice { quarantine: true, scope: Scope::Key, ..Advice::NEVER };
            } else if let Err(lost) = self.keys.renew(&self.token, session, index) {
                let replace = lost.row().is_some_and(Row::replaces);
                return (lost, replace);
            }
        }
        (fault, false)
    }
}

fn flush(socket: &mut UnixStream, out: &mut Vec<u8>) -> bool {
    let written = socket.write_all(out).is_ok();
    out.clear();
    written
}
