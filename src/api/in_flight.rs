//! How many requests are being issued, in all and by one user.
//!
//! Connections bound this only as long as callers wait for their answers: issuing goes on when they hang up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Seats for requests. A user gets another one only while more are free than it holds: alone it has at most half of
/// them, and however many users there are, there is one left for the next.
pub struct InFlight {
    seats: usize,
    held: Mutex<HashMap<u32, usize>>,
}

/// One request; given back on drop.
pub(super) struct Seat {
    of: Arc<InFlight>,
    uid: u32,
}

impl InFlight {
    /// So many seats.
    pub fn new(seats: usize) -> Arc<Self> {
        Arc::new(Self { seats, held: Mutex::default() })
    }

    /// A seat for a request of `uid`, if it may have one more.
    pub(super) fn enter(self: &Arc<Self>, uid: u32) -> Option<Seat> {
        let mut table = self.lock();
        let free = self.seats.saturating_sub(table.values().sum());
        let held = table.get(&uid).copied().unwrap_or(0);
        if held >= free {
            return None;
        }
        table.insert(uid, held + 1);
        drop(table);
        Some(Seat { of: Arc::clone(self), uid })
    }

    /// The counts hold whatever another thread did: each change is one step.
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.of.lock();
        match table.get_mut(&self.uid) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(table.remove(&self.uid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(seats: &Arc<InFlight>, uid: u32) -> Vec<Seat> {
        std::iter::from_fn(|| seats.enter(uid)).collect()
    }

    #[test]
    fn nobody_takes_all() {
        let seats = InFlight::new(12);
        let first = fill(&seats, 1);
        let second = fill(&seats, 2);
        let third = fill(&seats, 3);
        assert_eq!((first.len(), second.len(), third.len()), (6, 3, 2));
        assert!(seats.enter(4).is_some());
        drop(first);
        assert_eq!(fill(&seats, 2).len(), 2, "what is given back can be had again");
        drop((second, third));
        assert!(seats.lock().is_empty(), "a user who left is forgotten");
        assert_eq!(fill(&InFlight::new(1), 1).len(), 1);
    }
}
