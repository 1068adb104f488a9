//! The writer: one thread that takes all that waits, writes it with one write and one fdatasync, and answers.
//!
//! Never acknowledges what is not synced, never writes again to a file that failed. Where the log is sealed it keeps the
//! tree, in which nothing is that is not durable.

use super::disk::Fault;
use super::line::{encode, time_text};
use super::log::{Head, Unavailable};
use super::queue::{Answer, Ending, Gate, Group, HeadAnswer, Shared, serialize_body};
use super::recover::Recovered;
use super::segment::{Directory, Segment};
use super::tree::leaf;
use super::{Entry, Event, Outcome};
use crate::clock::Clock;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How often a missing spare or segment is tried again.
const TICK: Duration = Duration::from_millis(200);
/// Bytes of one write, about.
pub(super) const BATCH: usize = 1024 * 1024;

/// Everything the thread owns.
pub(super) struct Writer {
    directory: Directory,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    segment: Option<Segment>,
    /// Number of the next record; numbers that a fault used up are not given again.
    next: u64,
    pending: VecDeque<Group>,
    lines: Vec<u8>,
    waiting: Vec<Answer>,
    /// The tree over all that is durable; none is kept of a log that is not sealed.
    pub(super) head: Option<Head>,
    /// Whoever wants to know it.
    heads: Vec<HeadAnswer>,
    /// What `log.resumed` will say.
    failed: Option<(String, &'static str)>,
    /// When a segment or a spare was tried last, in vain.
    pub(super) tried: Option<Instant>,
    /// Why there is no spare.
    no_spare: Option<Fault>,
}

impl Writer {
    /// Begins the first segment of this run and writes what recovery has to say.
    pub(super) fn begin(
        mut directory: Directory,
        shared: Arc<Shared>,
        clock: Arc<dyn Clock>,
        recovered: Recovered,
        head: Option<Head>,
    ) -> Result<Self, Fault> {
        let segment = directory.begin(recovered.next)?;
        let mut writer = Self {
            directory,
            shared,
            clock,
            segment: None,
            next: recovered.next,
            pending: VecDeque::new(),
            lines: Vec::new(),
            waiting: Vec::new(),
            head,
            heads: Vec::new(),
            failed: None,
            tried: None,
            no_spare: None,
        };
        writer.shared.set_durable(writer.next - 1);
        writer.open_segment(segment, &recovered.entries)?;
        writer.reserve();
        Ok(writer)
    }

    /// The log's directory.
    pub(super) fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// Runs until the log is closed and nothing waits.
    pub(super) fn run(mut self) {
        let _ending = Ending(Arc::clone(&self.shared));
        while self.receive() {
            self.turn();
        }
        self.end();
    }

    /// Writes what was taken, or refuses it; then has a spare made if there is none.
    pub(super) fn turn(&mut self) {
        if self.segment.is_none() {
            self.resume();
        }
        while !self.pending.is_empty() {
            self.commit();
        }
        self.tell_head();
        // After the answers, so that nobody waits for it.
        if self.segment.is_some() && !self.directory.has_spare() && self.may_try() {
            self.reserve();
        }
    }

    /// Gives back the space that is not used.
    pub(super) fn end(mut self) {
        self.directory.close();
        if let Some(segment) = self.segment.take() {
            if segment.is_empty() {
                self.directory.discard(segment);
            } else {
                segment.trim();
            }
        }
    }

    /// Takes all that waits; sleeps while there is nothing to do. False: the end.
    pub(super) fn receive(&mut self) -> bool {
        let settled = self.segment.is_some() && self.directory.has_spare();
        let mut queue = self.shared.queue();
        queue.taken_at = None;
        while !queue.is_due() {
            if queue.closing {
                return false;
            }
            queue.idle = true;
            if settled {
                let woken = self.shared.wake.wait(queue);
                queue = woken.unwrap_or_else(PoisonError::into_inner);
            } else {
                let woken = self.shared.wake.wait_timeout(queue, TICK);
                let (woken, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
                queue = woken;
                if timeout.timed_out() {
                    break;
                }
            }
        }
        queue.idle = false;
        queue.take(&mut self.pending);
        self.heads.append(&mut queue.heads);
        true
    }

    /// One batch: fill, write, sync, answer.
    fn commit(&mut self) {
        let Some(mut segment) = self.segment.take() else {
            self.refuse_all(&Unavailable::new("there is no segment to write to"));
            return;
        };
        let count = self.fill(&segment);
        if count == 0 {
            self.rotate(segment);
            return;
        }
        match self.directory.commit(&mut segment, &self.lines) {
            Ok(()) => {
                self.segment = Some(segment);
                self.advance(count);
                for answer in self.waiting.drain(..) {
                    // Nobody has to wait for it.
                    let _ = answer.send(Ok(()));
                }
                // Nobody waits for that.
                let lines = std::mem::take(&mut self.lines);
                self.grow(&lines, count);
                self.lines = lines;
            }
            Err(fault) => {
                self.next += count;
                self.fail(Some(segment), &fault);
                self.resume();
            }
        }
    }

    /// Builds the lines of as many records as fit; how many.
    fn fill(&mut self, segment: &Segment) -> u64 {
        let time = time_text(self.clock.now());
        self.lines.clear();
        let mut count = 0;
        while let Some(group) = self.pending.front_mut() {
            let mut room = segment.room();
            if group.issues && !self.directory.has_spare() {
                room = room.saturating_sub(segment.kept_back());
            }
            while let Some(body) = group.body() {
                let start = self.lines.len();
                encode(&mut self.lines, self.next + count, &time, body);
                let full = self.lines.len() > BATCH && count > 0;
                if full || self.lines.len() as u64 > room {
                    self.lines.truncate(start);
                    return count;
                }
                count += 1;
                group.taken += 1;
            }
            if let Some(group) = self.pending.pop_front() {
                self.waiting.push(group.answer);
            }
        }
        count
    }

    /// The record at the front does not fit: goes on in the spare, or refuses what waits for it.
    fn rotate(&mut self, segment: Segment) {
        if !self.directory.has_spare() && self.may_try() {
            self.reserve();
        }
        if !self.directory.has_spare() {
            self.segment = Some(segment);
            if let Some(group) = self.pending.pop_front() {
                let fault = self.no_spare.as_ref().map(Fault::reason);
                let reason: Arc<str> = fault.unwrap_or_else(|| "there is no spare segment".to_owned()).into();
                let refusal = Unavailable::new(&*reason);
                self.shared.set_gate(if group.issues {
                    Gate::DenialsOnly(reason)
                } else {
                    Gate::Down(reason)
                });
                let _ = group.answer.send(Err(refusal));
            }
            return;
        }
        segment.trim();
        let begun = self.directory.begin(self.next);
        if let Err(fault) = begun.and_then(|segment| self.open_segment(segment, &[])) {
            self.next += 1;
            self.fail(None, &fault);
            self.resume();
        }
    }

    /// Makes a new segment after a fault; its first record says what is of unknown durability.
    fn resume(&mut self) {
        self.tried = Some(Instant::now());
        let checked = self.directory.check().and_then(|()| self.directory.reserve());
        if let Err(fault) = checked {
            self.fail(None, &fault);
            return;
        }
        let begun = self.directory.begin(self.next);
        let durable = self.shared.durable.load(Ordering::Acquire);
        let (segment, code) = self.failed.clone().unwrap_or_default();
        let resumed = Entry {
            segment: (!segment.is_empty()).then_some(segment),
            rules: vec![code],
            after: Some(durable),
            unknown: Some(self.next - 1 - durable),
            ..Entry::new(Event::LogResumed, Outcome::Success)
        };
        match begun.and_then(|segment| self.open_segment(segment, &[resumed])) {
            Ok(()) => {
                self.failed = None;
                self.tried = None;
                tracing::warn!(seq = self.next - 1, "Audit log resumed");
            }
            Err(fault) => {
                self.next += 1;
                self.fail(None, &fault);
            }
        }
    }

    /// Writes a new segment's first records, if there are any, and opens the gate.
    fn open_segment(&mut self, mut segment: Segment, entries: &[Entry]) -> Result<(), Fault> {
        if !entries.is_empty() {
            let time = time_text(self.clock.now());
            let mut lines = Vec::new();
            let mut seq = self.next;
            for entry in entries {
                let mut body = Vec::new();
                if serialize_body(entry, &mut body).is_ok() {
                    encode(&mut lines, seq, &time, &body);
                    seq += 1;
                }
            }
            if let Err(fault) = self.directory.commit(&mut segment, &lines) {
                self.directory.discard(segment);
                return Err(fault);
            }
            let count = seq - self.next;
            self.advance(count);
            self.grow(&lines, count);
        }
        let mut queue = self.shared.queue();
        queue.gate = Gate::Open;
        segment.name().clone_into(&mut queue.segment);
        drop(queue);
        self.segment = Some(segment);
        Ok(())
    }

    /// Tries to have a spare; with one, JWTs may be issued again.
    fn reserve(&mut self) {
        self.tried = Some(Instant::now());
        match self.directory.check().and_then(|()| self.directory.reserve()) {
            Ok(()) => {
                self.tried = None;
                self.no_spare = None;
                self.shared.set_gate(Gate::Open);
            }
            Err(fault) => {
                // Once, not at every try.
                if self.no_spare.is_none() {
                    tracing::warn!(reason = fault.reason(), "Audit log has no spare segment");
                }
                self.no_spare = Some(fault);
            }
        }
    }

    fn may_try(&self) -> bool {
        self.tried.is_none_or(|at| at.elapsed() >= TICK)
    }

    fn advance(&mut self, count: u64) {
        self.next += count;
        self.shared.set_durable(self.next - 1);
    }

    /// Takes the last `count` records, whose lines these are and which are durable, into the tree.
    fn grow(&mut self, lines: &[u8], count: u64) {
        let last = self.next - 1;
        if let Some(head) = self.head.as_mut().filter(|_| count > 0) {
            for line in lines.split_inclusive(|&b| b == b'\n') {
                head.tree.push(leaf(line.strip_suffix(b"\n").unwrap_or(line)));
            }
            head.last = last;
        }
    }

    /// Answers whoever wants to know the tree's head. A log that is down has none that should be signed.
    fn tell_head(&mut self) {
        if self.heads.is_empty() {
            return;
        }
        let head = match (&self.head, &self.shared.queue().gate) {
            (_, Gate::Down(reason)) => Err(Unavailable::new(&**reason)),
            (None, _) => Err(Unavailable::new("it is not sealed")),
            (Some(head), _) => Ok(head.clone()),
        };
        for answer in self.heads.drain(..) {
            let _ = answer.send(head.clone());
        }
    }

    /// Gives up a segment: everything that waits is refused, the file is only trimmed.
    fn fail(&mut self, segment: Option<Segment>, fault: &Fault) {
        let reason = fault.reason();
        if let Some(segment) = segment {
            self.failed = Some((segment.name().to_owned(), fault.code()));
            segment.trim();
        } else if self.failed.is_none() {
            self.failed = Some((String::new(), fault.code()));
        }
        {
            let mut queue = self.shared.queue();
            // Once per fault, not once per try.
            if !matches!(&queue.gate, Gate::Down(known) if **known == *reason) {
                tracing::error!(reason, "Audit log failed");
            }
            queue.gate = Gate::Down(reason.as_str().into());
            queue.segment.clear();
            queue.bytes = 0;
            self.pending.append(&mut queue.groups);
        }
        self.refuse_all(&Unavailable::new(reason));
    }

    fn refuse_all(&mut self, why: &Unavailable) {
        let pending = self.pending.drain(..).map(|group| group.answer);
        for answer in self.waiting.drain(..).chain(pending) {
            let _ = answer.send(Err(why.clone()));
        }
    }
}
