//! The sessions of all signing threads, one each. A thread whose session is gone borrows one that is free.
//!
//! A session is used by whoever holds its lock and by nobody else. A thread never waits for a session while it holds
//! another one.

use super::super::recovery::Remedy;
use super::Fault;
use super::token::Token;
use cryptoki::session::Session;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the token is left alone after it refused a session, as long as there are others.
const REOPEN: Duration = Duration::from_secs(1);
/// In which faults of one kind are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Pool {
    token: Arc<Token>,
    places: Vec<Mutex<Place>>,
    open: AtomicUsize,
    /// Codes with a limit, as they came.
    recent: Mutex<VecDeque<(Instant, String)>>,
}

/// Where one thread's session is, if it has one.
pub(super) struct Place {
    pub(super) session: Option<Session>,
    refused: Option<Instant>,
}

impl Place {
    /// No session is opened here for a while, as long as there are others.
    pub(super) fn rest(&mut self) {
        self.refused = Some(Instant::now());
    }
}

impl Pool {
    /// One place for each thread; `None` where the token gave no session yet.
    pub(super) fn new(token: Arc<Token>, sessions: Vec<Option<Session>>) -> Self {
        let now = Instant::now();
        let open = AtomicUsize::new(sessions.iter().flatten().count());
        let place = |session: Option<Session>| {
            let refused = session.is_none().then_some(now);
            Mutex::new(Place { session, refused })
        };
        Self { token, places: sessions.into_iter().map(place).collect(), open, recent: Mutex::default() }
    }

    /// The session of thread `own`, or another one that is free, waiting for it if need be.
    ///
    /// # Errors
    /// When no session is left and none can be opened.
    pub(super) fn take(&self, own: usize) -> Result<MutexGuard<'_, Place>, Fault> {
        let Some(mine) = self.places.get(own) else {
            return Err(Fault::bug(format!("there is no session {own}")));
        };
        let mut mine = lock(mine);
        if mine.session.is_none() && mine.refused.is_none_or(|at| at.elapsed() >= REOPEN) {
            // What it says is worth hearing only when there is no other.
            let _ = self.fill(&mut mine);
        }
        if mine.session.is_some() {
            return Ok(mine);
        }
        drop(mine);
        let free = self.places.iter().filter_map(|place| place.try_lock().ok());
        let waited = self.places.iter().map(lock);
        if let Some(place) = free.chain(waited).find(|place| place.session.is_some()) {
            return Ok(place);
        }
        let mut last = self.places.get(own).map(lock).ok_or_else(|| Fault::bug("it was there before"))?;
        self.fill(&mut last)?;
        Ok(last)
    }

    /// Opens a session where there is none.
    pub(super) fn fill(&self, place: &mut Place) -> Result<(), Fault> {
        match self.token.open_session() {
            Ok(session) => {
                self.open.fetch_add(1, Ordering::Relaxed);
                *place = Place { session: Some(session), refused: None };
                Ok(())
            }
            Err(fault) => {
                place.refused = Some(Instant::now());
                Err(fault)
            }
        }
    }

    /// Closes the session of a place.
    pub(super) fn close(&self, place: &mut Place) {
        if place.session.take().is_some() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Closes the sessions that nobody uses; they are opened again when somebody does.
    pub(super) fn close_idle(&self) {
        for place in &self.places {
            if let Ok(mut place) = place.try_lock() {
                self.close(&mut place);
            }
        }
    }

    /// Whether any session is open.
    pub(super) fn has_any(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    /// Counts a fault with a limit; says whether it is reached.
    pub(super) fn is_too_often(&self, code: &str, limit: u8) -> bool {
        if limit == 0 {
            return false;
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(at, _)| at.elapsed() < WINDOW);
        recent.push_back((Instant::now(), code.to_owned()));
        recent.iter().filter(|(_, other)| other == code).count() >= usize::from(limit)
    }
}

fn lock(place: &Mutex<Place>) -> MutexGuard<'_, Place> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether another session may still do what this fault refused.
pub(super) fn leaves_others(fault: &Fault) -> bool {
    fault.row().is_none_or(|row| row.remedy < Remedy::Worker && !fault.advice.quarantine)
}
