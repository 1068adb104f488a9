//! Who is next when a backend has more work than it can do: every user gets one turn, then the next one does.
//!
//! [`FairQueue`] is pure and knows nothing of time; [`Limiter`] makes a limit on concurrency of it. Must never hold
//! more than its capacity, and never lose an item: what is refused or thrown out is handed back.

mod limiter;
#[cfg(test)]
mod tests;

pub use limiter::{Limiter, Permit, Shed};

use super::Ask;
use std::collections::{HashMap, VecDeque};

/// One queue per flow, served in turns, bounded in all.
pub struct FairQueue<T> {
    /// Flows that have items; never empty ones.
    flows: HashMap<u32, VecDeque<T>>,
    /// The same flows, the next one first.
    turns: VecDeque<u32>,
    len: usize,
    capacity: usize,
    /// How many flows had items when one was served: a moving average over some [`TURNS`], in units of 1/`TURNS`².
    crowd: usize,
}

const TURNS: usize = 64;

impl<T> FairQueue<T> {
    /// An empty queue for at most so many items.
    pub fn new(capacity: usize) -> Self {
        Self { flows: HashMap::new(), turns: VecDeque::new(), len: 0, capacity, crowd: 0 }
    }

    /// Adds an item behind the others of its flow. When the queue is full, this costs the longest flow its newest
    /// item, which is returned.
    ///
    /// # Errors
    /// The item itself, when the queue is full and its flow has an equal share of it already.
    pub fn push(&mut self, flow: u32, item: T) -> Result<Option<T>, T> {
        let mut evicted = None;
        if self.len >= self.capacity {
            let held = self.held(flow);
            let active = self.flows.len() + usize::from(held == 0);
            if held >= self.capacity / active.max(1) {
                return Err(item);
            }
            // Longer than this one: it has more than an equal share.
            let longest = self.flows.iter().max_by_key(|(_, items)| items.len()).map(|(other, _)| *other);
            let Some(longest) = longest else {
                return Err(item);
            };
            evicted = self.take(longest, VecDeque::pop_back);
        }
        let items = self.flows.entry(flow).or_default();
        if items.is_empty() {
            // Self-tests do not wait for anybody: they decide whether anybody is served at all.
            if flow == Ask::OWN { self.turns.push_front(flow) } else { self.turns.push_back(flow) }
        }
        items.push_back(item);
        self.len += 1;
        Ok(evicted)
    }

    /// The oldest item of the flow whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let flow = *self.turns.front()?;
        self.crowd = self.crowd - self.crowd / TURNS + self.flows.len() * TURNS;
        if flow != Ask::OWN {
            self.turns.rotate_left(1);
        }
        self.take(flow, VecDeque::pop_front)
    }

    /// Takes out the first item of `flow` that is meant.
    pub fn remove(&mut self, flow: u32, is_meant: impl FnMut(&T) -> bool) -> Option<T> {
        self.take(flow, |items| items.iter().position(is_meant).and_then(|place| items.remove(place)))
    }

    /// Takes one item out of a flow, and forgets the flow when it was the last.
    fn take(&mut self, flow: u32, take: impl FnOnce(&mut VecDeque<T>) -> Option<T>) -> Option<T> {
        let items = self.flows.get_mut(&flow)?;
        let item = take(items)?;
        self.len -= 1;
        if self.len == 0 {
            self.crowd = 0;
        }
        if items.is_empty() {
            self.flows.remove(&flow);
            // Whose turn it just was stands last.
            if let Some(place) = self.turns.iter().rposition(|other| *other == flow) {
                self.turns.remove(place);
            }
        }
        Some(item)
    }

    /// How many items are served before one that is added to `flow` now: those that are here already, or more when
    /// the others go on taking as many turns as they did.
    pub fn ahead(&self, flow: u32) -> usize {
        let held = self.held(flow);
        if flow == Ask::OWN {
            return held;
        }
        let others = self.flows.iter().filter(|(other, _)| **other != flow);
        let here = held + others.map(|(_, items)| items.len().min(held + 1)).sum::<usize>();
        here.max(held.saturating_mul(self.crowd) / (TURNS * TURNS))
    }

    /// Items of one flow.
    pub fn held(&self, flow: u32) -> usize {
        self.flows.get(&flow).map_or(0, VecDeque::len)
    }

    /// Items in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
