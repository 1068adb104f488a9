//! What waits for the writer, shared between the handles and its thread.
//!
//! The lock is held for moments only, never across a system call that touches the disk.

use super::line::{MAX_LINE, OVERHEAD};
use super::log::{Head, Unavailable};
use super::{Entry, Event};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{Notify, oneshot};

pub(super) type Answer = oneshot::Sender<Result<(), Unavailable>>;
/// Whoever asked for the head of the tree.
pub(super) type HeadAnswer = oneshot::Sender<Result<Head, Unavailable>>;

/// While at most so many holders of tickets are busy elsewhere, records go to the disk at once: the sync overlaps
/// with the signing. With more of them it waits until one is done signing, so that one sync serves them all.
const EAGER: usize = 4;

/// What one `append` handed over: serialized bodies, and whom to tell.
pub(super) struct Group {
    bodies: Vec<u8>,
    ends: Vec<usize>,
    /// How many are in a batch already.
    pub(super) taken: usize,
    pub(super) issues: bool,
    pub(super) answer: Answer,
}

impl Group {
    /// Serializes entries; on the caller's thread, so that the writer only has to copy.
    pub(super) fn new(entries: &[Entry], answer: Answer) -> Result<Self, Unavailable> {
        if entries.is_empty() {
            return Err(Unavailable::new("there is nothing to record"));
        }
        let mut bodies = Vec::with_capacity(512 * entries.len());
        let mut ends = Vec::with_capacity(entries.len());
        for entry in entries {
            let start = bodies.len();
            serialize_body(entry, &mut bodies)?;
            if bodies.len() - start + OVERHEAD > MAX_LINE {
                return Err(Unavailable::new(format!("a record is longer than {MAX_LINE} bytes")));
            }
            ends.push(bodies.len());
        }
        let issues = entries.iter().any(|e| e.event == Event::JwtIssued);
        Ok(Self { bodies, ends, taken: 0, issues, answer })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bodies.len()
    }
    /// Whether it is more than one record.
    pub(super) fn is_batch(&self) -> bool {
        self.ends.len() > 1
    }
    /// Whether a JWT waits for it.
    pub(super) fn issues(&self) -> bool {
        self.issues
    }

    /// The next body that is in no batch yet.
    pub(super) fn body(&self) -> Option<&[u8]> {
        let end = *self.ends.get(self.taken)?;
        let before = self.taken.checked_sub(1).and_then(|i| self.ends.get(i));
        self.bodies.get(before.copied().unwrap_or(0)..end)
    }
}

/// What may be appended.
pub(super) enum Gate {
    Open,
    /// The disk is full: no JWTs.
    DenialsOnly(Arc<str>),
    /// There is no segment to write to.
    Down(Arc<str>),
}

/// What handles and writer share.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    pub(super) wake: Condvar,
    /// Last durable sequence number.
    pub(super) durable: AtomicU64,
    /// The durable sequence number that somebody waits for.
    awaited: AtomicU64,
    reached: Notify,
    /// Tells all who follow the log of more durable records.
    grown: Notify,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            queue: Mutex::default(),
            wake: Condvar::new(),
            durable: AtomicU64::new(0),
            awaited: AtomicU64::new(u64::MAX),
            reached: Notify::new(),
            grown: Notify::new(),
        }
    }
}

pub(super) struct Queue {
    pub(super) groups: VecDeque<Group>,
    /// Whoever wants to know the tree's head.
    pub(super) heads: Vec<HeadAnswer>,
    pub(super) bytes: usize,
    /// Groups ever appended, and how many of them the writer took.
    appended: u64,
    taken: u64,
    /// Tickets whose holders do not wait for them yet.
    busy: usize,
    /// What is in `groups` should go to the disk now.
    due: bool,
    /// When the writer took what it is busy with; `None` while it waits for more.
    pub(super) taken_at: Option<Instant>,
    /// The writer sleeps and wants to be woken.
    pub(super) idle: bool,
    pub(super) closing: bool,
    /// There is no writer any more.
    ended: bool,
    pub(super) gate: Gate,
    pub(super) segment: String,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            groups: VecDeque::new(),
            heads: Vec::new(),
            bytes: 0,
            appended: 0,
            taken: 0,
            busy: 0,
            due: false,
            taken_at: None,
            idle: false,
            closing: false,
            ended: false,
            gate: Gate::Open,
            segment: String::new(),
        }
    }
}

impl Queue {
    /// Adds a group; gives its number.
    pub(super) fn push(&mut self, group: Group) -> u64 {
        self.bytes += group.bytes();
        self.groups.push_back(group);
        self.appended += 1;
        self.busy += 1;
        self.due |= self.busy <= EAGER;
        self.appended
    }

    /// The holder of a ticket waits for it now, or never will.
    pub(super) fn await_group(&mut self, number: u64) {
        self.busy = self.busy.saturating_sub(1);
        self.due |= number > self.taken;
    }

    /// Whether the writer has something to do.
    pub(super) fn is_due(&self) -> bool {
        (!self.groups.is_empty() && (self.due || self.closing)) || !self.heads.is_empty()
    }

    /// Moves all groups to the writer's empty `pending`.
    pub(super) fn take(&mut self, pending: &mut VecDeque<Group>) {
        self.taken = self.appended;
        self.taken_at = Some(Instant::now());
        self.due = false;
        self.bytes = 0;
        std::mem::swap(&mut self.groups, pending);
    }

    /// Whether the writer must be woken; asks once.
    pub(super) fn wakes(&mut self) -> bool {
        self.is_due() && std::mem::take(&mut self.idle)
    }
}

impl Shared {
    /// Has what the ticket `number` stands for written, unless the writer has it already.
    pub(super) fn await_group(&self, number: u64) {
        let mut queue = self.queue();
        queue.await_group(number);
        let wakes = queue.wakes();
        drop(queue);
        if wakes {
            self.wake.notify_one();
        }
    }

    /// Asks for the head of the tree over all that is durable.
    pub(super) fn ask_head(&self, answer: HeadAnswer) {
        let mut queue = self.queue();
        if queue.ended {
            return;
        }
        queue.heads.push(answer);
        let wakes = queue.wakes();
        drop(queue);
        if wakes {
            self.wake.notify_one();
        }
    }

    /// Everything up to this number is durable.
    pub(super) fn set_durable(&self, number: u64) {
        self.durable.store(number, Ordering::SeqCst);
        if number >= self.awaited.load(Ordering::SeqCst) {
            self.reached.notify_one();
        }
        self.grown.notify_waiters();
    }

    /// Waits until more is durable than up to this number. Any number may wait.
    pub(super) async fn beyond(&self, number: u64) {
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            // From here on it is told, also of what happens before it waits.
            grown.as_mut().enable();
            if self.durable.load(Ordering::SeqCst) > number {
                return;
            }
            grown.await;
        }
    }

    /// Waits until the record of this number is durable. One waits at a time.
    pub(super) async fn until(&self, number: u64) {
        self.awaited.store(number, Ordering::SeqCst);
        while self.durable.load(Ordering::SeqCst) < number {
            self.reached.notified().await;
        }
        self.awaited.store(u64::MAX, Ordering::SeqCst);
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Lets the writer end once nothing waits.
    pub(super) fn end(&self) {
        self.queue().closing = true;
        self.wake.notify_one();
    }
    pub(super) fn set_gate(&self, gate: Gate) {
        self.queue().gate = gate;
    }
}

/// Refuses everything once the thread is gone, for whatever reason.
pub(super) struct Ending(pub(super) Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.gate = Gate::Down("its writer has ended".into());
        queue.groups.clear();
        queue.heads.clear();
        queue.ended = true;
    }
}

/// Appends an entry's members, without the braces.
pub(super) fn serialize_body(entry: &Entry, out: &mut Vec<u8>) -> Result<(), Unavailable> {
    let start = out.len();
    serde_json::to_writer(&mut *out, entry)
        .map_err(|e| Unavailable::new(format!("a record cannot be written as JSON: {e}")))?;
    out.pop();
    out.remove(start);
    Ok(())
}
