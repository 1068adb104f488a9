//! How many connections one user may hold, so that no user can take them all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A refusal of the same user is worth telling once in this time.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Connections held, by uid.
#[derive(Debug)]
pub(super) struct Caps {
    most: usize,
    held: Mutex<HashMap<u32, Held>>,
}

#[derive(Debug, Default)]
struct Held {
    connections: usize,
    told: Option<Instant>,
}

/// One connection of a user; given back on drop.
#[derive(Debug)]
pub(super) struct Seat {
    caps: Arc<Caps>,
    uid: u32,
}

/// The user has as many as it may have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full {
    /// Nobody has been told of it lately.
    pub(super) tell: bool,
}

impl Caps {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default() })
    }

    /// Takes a seat for a connection of `uid`.
    pub(super) fn seat(self: &Arc<Self>, uid: u32) -> Result<Seat, Full> {
        let mut table = self.lock();
        let held = table.entry(uid).or_default();
        if held.connections >= self.most {
            let tell = held.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
            if tell {
                held.told = Some(Instant::now());
            }
            return Err(Full { tell });
        }
        held.connections += 1;
        Ok(Seat { caps: Arc::clone(self), uid })
    }

    /// The counts hold whatever another thread did: each change is one step.
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.caps.lock();
        if let Some(held) = table.get_mut(&self.uid) {
            held.connections = held.connections.saturating_sub(1);
            let told_lately = held.told.is_some_and(|told| told.elapsed() < TELL_EVERY);
            if held.connections == 0 && !told_lately {
                table.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_gets_its_share_and_gives_it_back() {
        let caps = Caps::new(2);
        let first = caps.seat(7).unwrap();
        let _second = caps.seat(7).unwrap();
        assert_eq!(caps.seat(7).unwrap_err(), Full { tell: true });
        assert_eq!(caps.seat(7).unwrap_err(), Full { tell: false });
        let other = caps.seat(8).unwrap();
        drop(first);
        assert!(caps.seat(7).is_ok());
        drop(other);
        assert_eq!(caps.lock().len(), 1, "a user who left is forgotten");
    }
}
