//! The token that the facts of the script describe: its slots, handles and sessions, on top of the real ones.
#![allow(unreachable_pub, reason = "a module of a program")]

use crate::script;
use cryptoki_sys::{
    CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CKR_DEVICE_REMOVED, CKR_OBJECT_HANDLE_INVALID,
    CKR_SESSION_COUNT, CKR_SESSION_HANDLE_INVALID, CKR_TOKEN_NOT_PRESENT,
};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Real handles fit below; what permutes them goes above.
const EPOCH_SHIFT: u32 = 32;

#[derive(Debug)]
struct Session {
    used: Instant,
    inserted: u64,
    told: bool,
}

static SESSIONS: Mutex<Option<HashMap<CK_SESSION_HANDLE, Session>>> = Mutex::new(None);

struct Sessions(MutexGuard<'static, Option<HashMap<CK_SESSION_HANDLE, Session>>>);

impl Sessions {
    fn lock() -> Self {
        Self(SESSIONS.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn all(&mut self) -> &mut HashMap<CK_SESSION_HANDLE, Session> {
        self.0.get_or_insert_default()
    }
}

fn slot_offset() -> u64 {
    match script::facts().slots {
        None => 0,
        Some(0) => u64::from(std::process::id()),
        Some(number) => number,
    }
}

/// The number that a real slot is shown with.
pub fn shown_slot(real: CK_SLOT_ID) -> CK_SLOT_ID {
    real.wrapping_add(slot_offset())
}

/// The real number of a slot, if there is a token at all.
pub fn real_slot(shown: CK_SLOT_ID) -> Result<CK_SLOT_ID, CK_RV> {
    if script::facts().removed {
        return Err(CKR_TOKEN_NOT_PRESENT);
    }
    Ok(shown.wrapping_sub(slot_offset()))
}

/// The handle that a real object is shown with.
pub fn shown_object(real: CK_OBJECT_HANDLE) -> CK_OBJECT_HANDLE {
    real | (script::facts().handles << EPOCH_SHIFT)
}

/// The real handle of an object, if this one is of the present epoch.
pub fn real_object(shown: CK_OBJECT_HANDLE) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    if shown >> EPOCH_SHIFT != script::facts().handles {
        return Err(CKR_OBJECT_HANDLE_INVALID);
    }
    Ok(shown & ((1 << EPOCH_SHIFT) - 1))
}

/// Whether another session may be opened; `close` ends real ones that are dead here.
pub fn may_open(close: impl Fn(CK_SESSION_HANDLE)) -> Result<(), CK_RV> {
    let facts = script::facts();
    let mut sessions = Sessions::lock();
    let all = sessions.all();
    all.retain(|handle, session| {
        let dead = session.is_dead();
        if dead {
            close(*handle);
        }
        !dead
    });
    match facts.sessions {
        Some(limit) if all.len() >= limit => Err(CKR_SESSION_COUNT),
        _ => Ok(()),
    }
}

/// A session was opened.
pub fn opened(handle: CK_SESSION_HANDLE) {
    let session = Session { used: Instant::now(), inserted: script::facts().inserted, told: false };
    Sessions::lock().all().insert(handle, session);
}

/// A session was closed.
pub fn closed(handle: CK_SESSION_HANDLE) {
    Sessions::lock().all().remove(&handle);
}

/// Whether a session may be used; `close` ends the real one when it is dead here.
pub fn enter(handle: CK_SESSION_HANDLE, close: impl FnOnce(CK_SESSION_HANDLE)) -> Result<(), CK_RV> {
    let mut sessions = Sessions::lock();
    let Some(session) = sessions.all().get_mut(&handle) else {
        return Err(CKR_SESSION_HANDLE_INVALID);
    };
    if !session.is_dead() {
        session.used = Instant::now();
        return Ok(());
    }
    let facts = script::facts();
    let gone = facts.removed || session.inserted != facts.inserted;
    if gone && !session.told {
        session.told = true;
        return Err(CKR_DEVICE_REMOVED);
    }
    sessions.all().remove(&handle);
    close(handle);
    Err(CKR_SESSION_HANDLE_INVALID)
}

impl Session {
    fn is_dead(&self) -> bool {
        let facts = script::facts();
        facts.removed
            || self.inserted != facts.inserted
            || facts.idle.is_some_and(|limit| self.used.elapsed() >= limit)
    }
}

/// Loses memory, and touches it so that it counts.
pub fn leak(size: usize) {
    if size > 0 {
        Box::leak(vec![1_u8; size].into_boxed_slice());
    }
}
