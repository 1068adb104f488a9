//! One sink's task: waits for records, reads some, sends them, and keeps how far it is.
//!
//! Whatever fails is tried again from the last place that is known to be safe, after a pause that grows.

use super::batch::{Batch, Writer};
use super::cursor::{Bounds, Found, Gap, Position, Reader, Why};
use super::report::SinkReport;
use super::target::{Failure, Progress, Target};
use super::voice::{Loss, Unsaid, Voice, failed, lost};
use super::{Ending, Settings};
use crate::audit::Line;
use crate::clock::Clock;
use crate::state::{SinkRow, Store};
use crate::telemetry::Chain;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Records are gathered for so long, so that few are not sent one by one.
const GATHER: Duration = Duration::from_millis(50);
/// How far it is is kept this often.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// The record of a loss is durable within this, or it is tried again.
const RECORD_WITHIN: Duration = Duration::from_secs(5);
/// And at the end, that of what was refused.
const TOLD_WITHIN: Duration = Duration::from_secs(1);
/// Failures are recorded no more often than this.
const TELL_EVERY: Duration = Duration::from_secs(300);
/// A pause that somebody asks for is no longer than this.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

const MINUTE: Duration = Duration::from_secs(60);

/// How soon it is tried again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) first: Duration,
    pub(super) longest: Duration,
    /// After so many failures in a minute it is not tried at once any more, and that is told, though it works in between.
    pub(super) flaps: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first: Duration::from_millis(200), longest: Duration::from_secs(30), flaps: 10 }
    }
}

pub(super) struct Sink {
    index: usize,
    name: String,
    behind: u64,
    dir: PathBuf,
    target: Target,
    writer: Arc<Writer>,
    reader: Option<Reader>,
    progress: Progress,
    voice: Arc<Voice>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    ending: Ending,
    pace: Pace,
    /// Everything up to here was looked at.
    seen: Option<u64>,
    /// Whether the log was found to be the one that the cursor is of.
    is_known: bool,
    /// What is missing up to this number is recorded, and how much that is in all.
    told: u64,
    lost: u64,
    kept: (SinkRow, Instant),
    trouble: Trouble,
}

/// What went wrong lately.
#[derive(Default)]
struct Trouble {
    /// One after the other.
    failures: u32,
    /// In this minute.
    recent: Option<(Instant, u32)>,
    /// Operators know that it fails.
    is_told: bool,
    recorded: Option<Instant>,
}

/// Why it does not go on at once.
enum Halt {
    Failed(Failure),
    Over,
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Sink {
    pub(super) fn new(
        index: usize,
        (settings, target, row, pace): (Settings, Target, SinkRow, Pace),
        (dir, store, clock, ending): (&Path, Arc<Store>, Arc<dyn Clock>, Ending),
        voice: Arc<Voice>,
    ) -> Self {
        let safe = Position::new(row.seq, row.time.clone());
        Self {
            index,
            behind: settings.behind,
            dir: dir.to_owned(),
            target,
            writer: Arc::new(Writer::new(&settings)),
            name: settings.name,
            reader: None,
            progress: Progress { safe, sent: row.told, refused: Vec::new() },
            voice,
            store,
            clock,
            ending,
            pace,
            seen: None,
            is_known: false,
            told: row.told,
            lost: row.lost,
            kept: (row, Instant::now()),
            trouble: Trouble::default(),
        }
    }

    pub(super) async fn run(mut self) {
        while self.wait().await {
            match self.turn().await {
                Ok(()) => self.trouble.failures = 0,
                Err(Halt::Over) => break,
                Err(Halt::Failed(failure)) => {
                    if !self.pause(failure).await {
                        break;
                    }
                }
            }
            self.keep(false).await;
        }
        tokio::select! {
            () = self.target.finish(&mut self.progress) => {}
            () = self.ending.over.cancelled() => {}
        }
        let told = async {
            while self.voice.untold(self.index).is_some() {
                sleep(GATHER).await;
            }
        };
        // If it takes longer, they are sent again.
        let _ = timeout(TOLD_WITHIN, told).await;
        self.keep(true).await;
    }

    /// Until there is something to do; false at the end.
    async fn wait(&mut self) -> bool {
        let Ending { stop, over } = self.ending.clone();
        let log = self.voice.log().clone();
        while let Some(seen) = self.seen {
            if over.is_cancelled() {
                return false;
            }
            if stop.is_cancelled() {
                return log.durable() > seen;
            }
            let due = self.voice.due(self.index).map(Instant::from_std);
            let keep = (self.kept.0 != self.row()).then(|| self.kept.1 + KEEP_EVERY);
            let later = [due, keep].into_iter().flatten().min();
            tokio::select! {
                () = log.beyond(seen) => break,
                () = stop.cancelled() => continue,
                () = sleep_until(later.unwrap_or_else(Instant::now)), if later.is_some() => {}
            }
            self.keep(false).await;
        }
        if self.seen.is_some() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(GATHER) => {}
            }
        }
        !over.is_cancelled()
    }

    /// Sends some records, or says that some are lost.
    async fn turn(&mut self) -> Result<(), Halt> {
        let durable = self.voice.log().durable();
        let (found, batch) = self.read(durable).await?;
        let more = match found {
            Found::Gap(gap) => return self.lose(&gap).await,
            Found::Records { more } => more,
        };
        if let Some(oldest) = batch.oldest {
            let age = self.clock.now().duration_since(oldest).as_secs();
            self.report(|report| report.waits(age.try_into().unwrap_or(0)));
        }
        let end =
            self.reader.as_ref().map_or_else(|| self.progress.safe.clone(), |reader| reader.at().clone());
        let sent = tokio::select! {
            sent = self.target.send(&batch, &end, &mut self.progress) => sent.map_err(Halt::Failed),
            () = self.ending.over.cancelled() => Err(Halt::Over),
        };
        self.give_up();
        if sent.is_err() {
            self.target.reset();
            self.reader = None;
        }
        sent?;
        self.progress.sent = self.progress.sent.max(end.seq);
        self.seen = (!more).then_some(durable);
        self.report(|report| report.sent(end.seq));
        if std::mem::take(&mut self.trouble.is_told) {
            tracing::info!(sink = self.name, "Sink takes records again");
        }
        Ok(())
    }

    async fn read(&mut self, durable: u64) -> Result<(Found, Batch), Failure> {
        let safe = self.progress.safe.clone();
        let mut reader = self.reader.take().unwrap_or_else(|| Reader::new(&self.dir, safe));
        let newest = self.voice.log().segment();
        let (writer, is_known) = (Arc::clone(&self.writer), self.is_known);
        let bounds = Bounds { behind: self.behind, told: self.told, sent: self.progress.sent };
        let read = spawn_blocking(move || {
            if !is_known && !reader.is_its_own(durable)? {
                return Ok(None);
            }
            let mut batch = Batch::default();
            let take = |line: &Line<'_>, after: &Position| writer.add(&mut batch, line, after);
            let found = reader.read((durable, &newest), bounds, take)?;
            Ok(Some((reader, found, batch)))
        });
        // A panic, which is logged where it happens.
        let read = read.await.unwrap_or_else(|_| Err(std::io::Error::other("a defect")));
        let read = read.map_err(|error| Failure::new(format!("the log cannot be read: {error}")))?;
        self.is_known = true;
        match read {
            Some((reader, found, batch)) => {
                self.reader = Some(reader);
                Ok((found, batch))
            }
            None => {
                let seq = self.progress.safe.seq;
                tracing::warn!(
                    sink = self.name,
                    seq,
                    "Sink begins anew: it was at a record that the log does not have"
                );
                (self.progress.safe, self.progress.sent, self.told) = (Position::default(), 0, 0);
                Ok((Found::Records { more: true }, Batch::default()))
            }
        }
    }

    /// Goes on after numbers without records, once that is recorded.
    async fn lose(&mut self, gap: &Gap) -> Result<(), Halt> {
        if gap.count > 0 {
            let reason = match gap.why {
                Why::Behind => format!("it is more than {} records behind", self.behind),
                Why::Removed => "they were removed from the log before it took them".to_owned(),
                Why::Damaged => "they are damaged or missing in the log: run `jwsd audit verify`".to_owned(),
            };
            let loss = Loss { after: gap.after, count: gap.count, reason };
            let recorded = match self.voice.say(lost(&self.name, &loss)) {
                Ok(mut ticket) => ticket.durable_by(Instant::now() + RECORD_WITHIN).await,
                Err(Unsaid::Silent) => return Err(Halt::Over),
                Err(Unsaid::Log(error)) => Err(error),
            };
            recorded.map_err(|error| Failure::new(format!("a loss cannot be recorded: {error}")))?;
            self.count(&loss);
        }
        self.told = self.told.max(gap.next - 1);
        if let Some(reader) = &mut self.reader {
            reader.skip(gap.next - 1);
        }
        if self.target.is_sure() {
            self.progress.safe = Position::new(gap.next - 1, String::new());
        }
        self.keep(true).await;
        Ok(())
    }

    /// Tells of what the other side refused for good.
    fn give_up(&mut self) {
        for refused in std::mem::take(&mut self.progress.refused) {
            let loss = Loss { after: refused.after, count: refused.count, reason: refused.reason };
            self.count(&loss);
            self.voice.refused(self.index, &self.name, loss);
        }
    }

    fn count(&mut self, loss: &Loss) {
        let Loss { after, count, reason } = loss;
        tracing::error!(sink = self.name, after, count, reason, "Sink does not get some records");
        self.lost = self.lost.saturating_add(*count);
        let lost = self.lost;
        self.report(|report| report.lost = lost);
    }

    /// Says what failed, once, and waits before it is tried again. False if it is not.
    async fn pause(&mut self, failure: Failure) -> bool {
        let Failure { problem, after } = failure;
        let (seq, now) = (self.progress.safe.seq, self.clock.now());
        (self.reader, self.seen) = (None, None);
        self.report(|report| report.failed(seq, problem.clone(), now));
        let trouble = &mut self.trouble;
        trouble.failures = trouble.failures.saturating_add(1);
        let recent = trouble.recent.filter(|(since, _)| since.elapsed() < MINUTE);
        let (since, count) = recent.unwrap_or_else(|| (Instant::now(), 0));
        trouble.recent = Some((since, count.saturating_add(1)));
        let flaps = count >= self.pace.flaps;
        // A daemon that was restarted is there again at the second try.
        if trouble.failures > 1 || flaps {
            self.tell(&problem);
        }
        let Ending { stop, over } = self.ending.clone();
        if stop.is_cancelled() {
            return false;
        }
        let Pace { first, longest, .. } = self.pace;
        let doubled = first.saturating_mul(1 << (self.trouble.failures - 1).min(16));
        let backoff = if flaps { doubled.max(first * 5) } else { doubled };
        let pause = jittered(backoff.min(longest)).max(after.unwrap_or_default().min(LONGEST_ASKED));
        tokio::select! {
            // A last try.
            () = stop.cancelled() => {}
            () = sleep(pause) => {}
        }
        !over.is_cancelled()
    }

    fn tell(&mut self, problem: &str) {
        let trouble = &mut self.trouble;
        if trouble.is_told || trouble.recorded.is_some_and(|recorded| recorded.elapsed() < TELL_EVERY) {
            return;
        }
        tracing::error!(sink = self.name, problem, "Sink does not take records");
        trouble.is_told = true;
        match self.voice.say(failed(&self.name, problem)) {
            Ok(_) => trouble.recorded = Some(Instant::now()),
            Err(Unsaid::Silent) => {}
            Err(Unsaid::Log(error)) => {
                trouble.is_told = false;
                tracing::error!(sink = self.name, %error, "Failure of a sink not recorded yet");
            }
        }
    }

    fn row(&self) -> SinkRow {
        let Position { seq, time, .. } = &self.progress.safe;
        // What became of everything up to there is known: it was sent, or told.
        let told = self.told.max(self.progress.sent);
        let row = SinkRow { seq: *seq, time: time.clone(), told, lost: self.lost };
        // Except for what it refused while no record tells of that: this is sent again after a kill, and refused again.
        match self.voice.untold(self.index) {
            None => row,
            Some((after, count)) => {
                let lost = self.lost.saturating_sub(count);
                if after < *seq {
                    SinkRow { seq: after, time: String::new(), lost, ..row }
                } else {
                    SinkRow { lost, ..row }
                }
            }
        }
    }

    /// Keeps how far it is: now, or if that is due.
    async fn keep(&mut self, now: bool) {
        let row = self.row();
        if row == self.kept.0 || (!now && self.kept.1.elapsed() < KEEP_EVERY) {
            return;
        }
        let (store, name, kept) = (Arc::clone(&self.store), self.name.clone(), row.clone());
        let outcome = spawn_blocking(move || store.keep_sink(&name, &kept)).await;
        self.kept.1 = Instant::now();
        match outcome {
            Ok(Ok(())) => self.kept.0 = row,
            Ok(Err(error)) => {
                tracing::error!(sink = self.name, error = %Chain(&error), "Sink's place not kept: after a restart it would send records again");
            }
            // A panic, which is logged where it happens.
            Err(_) => {}
        }
    }

    fn report(&self, change: impl FnOnce(&mut SinkReport)) {
        if let Some(report) = self.voice.log().sinks().get_mut(self.index) {
            change(report);
        }
    }
}

/// Between a half and all of it, so that sinks that failed together are not tried together.
fn jittered(pause: Duration) -> Duration {
    let mut dice = [0; 4];
    if aws_lc_rs::rand::fill(&mut dice).is_err() {
        return pause;
    }
    pause / 2 + pause.mul_f64(f64::from(u32::from_le_bytes(dice)) / f64::from(u32::MAX) / 2.0)
}
