//! Power losses: the writer on a disk that keeps only what was synced, driven step by step without its thread, killed or
//! cut off between any two calls, and started again on what is left.
//!
//! A world is one log's life over several such ends. It depends on its seed alone.

mod model;
mod retain;

use super::*;
use crate::audit::history::History;
use crate::audit::log::Head;
use crate::audit::open::{Begun, begin};
use crate::audit::queue::{Shared, serialize_body};
use crate::audit::restore::restore;
use crate::audit::writer::Writer;
use crate::audit::{OpenError, Ticket, parse, seal, verify};
use crate::clock::Clock;
use jiff::Timestamp;
use model::{Lie, Model};
use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::task::{Context, Poll, Waker};
use tokio::sync::watch;

/// splitmix64: seeds that follow each other give worlds that have nothing in common.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// A microsecond later at each look.
struct Steady(AtomicI64);

impl Clock for Steady {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.fetch_add(1, Ordering::SeqCst)).unwrap()
    }
}

#[derive(Debug, Default)]
struct Counts {
    losses: u64,
    kills: u64,
    closes: u64,
    starts: u64,
    /// Starts that failed, for a fault or an end.
    refused: u64,
    acknowledged: u64,
    faults: u64,
    gaps: u64,
    segments: u64,
    /// Beginnings that were archived and taken away.
    shortened: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.losses += other.losses;
        self.kills += other.kills;
        self.closes += other.closes;
        self.starts += other.starts;
        self.refused += other.refused;
        self.acknowledged += other.acknowledged;
        self.faults += other.faults;
        self.gaps += other.gaps;
        self.segments += other.segments;
        self.shortened += other.shortened;
    }
}

/// A broken promise.
type Broken = String;

struct World {
    _parent: TempDir,
    settings: Settings,
    disk: Arc<Model>,
    clock: Arc<Steady>,
    dice: Dice,
    appended: usize,
    /// The bodies of all records that somebody was told are durable.
    acknowledged: Vec<Vec<u8>>,
    counts: Counts,
}

/// One run of the daemon's log.
struct Life {
    writer: Writer,
    shared: Arc<Shared>,
    log: Log,
    waiting: Vec<(Ticket, Vec<Vec<u8>>)>,
}

impl World {
    fn new(seed: u64, lie: Lie) -> Self {
        let parent = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let dir = parent.path().join("audit");
        let disk = Model::new(dir.clone(), Dice(seed ^ 0x5eed));
        disk.state().lie = lie;
        Self {
            _parent: parent,
            settings: Settings {
                dir,
                environment: "test".into(),
                segment: MIN_SEGMENT,
                checkpoint: Some(unsealed()),
                retain: None,
            },
            disk: Arc::new(disk),
            clock: Arc::new(Steady(AtomicI64::new(1_780_000_000_000_000))),
            dice: Dice(seed),
            appended: 0,
            acknowledged: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Some lives, then a last one without faults.
    fn live(&mut self) -> Result<(), Broken> {
        for _ in 0..3 + self.dice.below(8) {
            self.life(false)?;
        }
        self.life(true)?;
        self.counts.faults = self.disk.state().failed;
        Ok(())
    }

    fn life(&mut self, easy: bool) -> Result<(), Broken> {
        {
            let mut state = self.disk.state();
            let short = self.dice.one_in(6);
            state.fuse = if easy { u64::MAX } else { 1 + self.dice.below(if short { 20 } else { 200 }) };
            state.faults =
                if easy || self.dice.one_in(2) { 0 } else { [4, 10, 30, 100][self.dice.below(4) as usize] };
            state.full = false;
        }
        self.counts.starts += 1;
        let disk = Arc::<Model>::clone(&self.disk);
        let opened = Log::look(&self.settings, disk, jiff::Timestamp::UNIX_EPOCH).and_then(
            |(directory, recovered, found, _)| {
                begin(&self.settings, Arc::<Steady>::clone(&self.clock), directory, recovered, found)
            },
        );
        match opened {
            Ok(Begun { writer, shared, sealing }) => {
                self.check_sound()?;
                let (_, ended) = watch::channel(false);
                let log = Log::over(Arc::clone(&shared), sealing, ended);
                self.run(Life { writer, shared, log, waiting: Vec::new() })?;
            }
            Err(error @ (OpenError::Io { .. } | OpenError::Begin { .. })) if !easy => {
                drop(error);
                self.counts.refused += 1;
            }
            Err(error) => return Err(format!("it does not start again: {error:?}")),
        }
        if self.dice.one_in(4) {
            self.counts.kills += 1;
        } else {
            self.counts.losses += 1;
            self.disk.lose_power();
        }
        self.check_acknowledged().map(drop)
    }

    fn run(&mut self, mut life: Life) -> Result<(), Broken> {
        for _ in 0..self.dice.below(60) {
            if self.disk.is_dead() {
                return Ok(());
            }
            match self.dice.below(16) {
                7 if self.dice.one_in(3) => self.shorten(&mut life)?,
                8 => drop(life.waiting.pop()),
                0..8 => self.append(&mut life),
                9 => {
                    let full = self.dice.one_in(2);
                    self.disk.state().full = full;
                }
                10 => {
                    // The time for another try has come.
                    life.writer.tried = None;
                    life.writer.turn();
                }
                _ => self.settle(&mut life),
            }
            life.write();
        }
        self.settle(&mut life);
        if self.dice.one_in(3) {
            life.shared.end();
            while life.writer.receive() {
                life.writer.turn();
            }
            let head = life.writer.head.take();
            life.writer.end();
            self.counts.closes += 1;
            // What failed last may be for the next start to declare.
            if !self.disk.is_dead() && self.disk.state().faults == 0 {
                self.check_sound()?;
                self.check_tree(head)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, life: &mut Life) {
        let count = if self.dice.one_in(3) { 1 + self.dice.below(8) } else { 1 };
        let entries: Vec<Entry> = (0..count).map(|_| self.entry()).collect();
        let bodies = entries.iter().map(|entry| {
            let mut body = Vec::new();
            serialize_body(entry, &mut body).unwrap();
            body
        });
        let bodies = bodies.collect();
        if let Ok(ticket) = life.log.append(entries) {
            life.waiting.push((ticket, bodies));
        }
    }

    fn entry(&mut self) -> Entry {
        self.appended += 1;
        if self.dice.one_in(5) {
            return denied(self.appended);
        }
        let audiences = if self.dice.one_in(6) { self.dice.below(600) } else { 1 };
        Entry { aud: vec!["https://api.example.com".to_owned(); audiences as usize], ..issued(self.appended) }
    }

    /// Some of those who wait ask, the writer works, and what they were told is noted.
    fn settle(&mut self, life: &mut Life) {
        for (ticket, _) in &mut life.waiting {
            if self.dice.one_in(2) {
                let _ = told(ticket);
            }
        }
        life.write();
        let mut still = Vec::new();
        for (mut ticket, bodies) in life.waiting.drain(..) {
            match told(&mut ticket) {
                Poll::Ready(Ok(())) => {
                    self.counts.acknowledged += bodies.len() as u64;
                    self.acknowledged.extend(bodies);
                }
                Poll::Ready(Err(_)) => {}
                Poll::Pending => still.push((ticket, bodies)),
            }
        }
        life.waiting = still;
    }

    /// Every acknowledged record is there, once and with its bytes; the number of each.
    fn check_acknowledged(&self) -> Result<HashMap<Vec<u8>, u64>, Broken> {
        let mut found = HashMap::new();
        for path in self.segments() {
            let bytes = std::fs::read(path).unwrap();
            for line in bytes.split(|&b| b == b'\n').filter_map(|line| parse(line).ok()) {
                let start = "{'seq':,'time':'',".len() + line.seq.to_string().len() + line.time.len();
                let body = line.bytes[start..line.bytes.len() - 18].to_vec();
                let again = found.insert(body, line.seq).is_some();
                if again && line.event.starts_with("jwt.") {
                    return Err(format!("record {} is there twice", line.seq));
                }
            }
        }
        let missing = self.acknowledged.iter().find(|body| !found.contains_key(*body));
        match missing {
            Some(body) => Err(format!("released without a record: {}", String::from_utf8_lossy(body))),
            None => Ok(found),
        }
    }

    /// The tree that the writer kept is that of what is on the disk.
    fn check_tree(&self, kept: Option<Head>) -> Result<(), Broken> {
        let kept = kept.ok_or("it kept no tree")?;
        let found = restore(&History::of(&self.settings.dir).unwrap()).unwrap();
        if (&kept.tree, kept.last) == (&found.tree, found.last) {
            return Ok(());
        }
        let (kept, found) = ((kept.tree.size(), kept.last), (found.tree.size(), found.last));
        Err(format!("the writer's tree is of {kept:?}, the disk's of {found:?} (size, last record)"))
    }

    /// The log verifies, and no gap that it states takes in an acknowledged record.
    fn check_sound(&mut self) -> Result<(), Broken> {
        let report = verify::verify(&self.settings.dir, &mut |_, _| {}).unwrap();
        // An end in this very moment may leave part of a line.
        if !report.is_sound() {
            return Err(format!("not sound: {report:#?}"));
        }
        self.counts.gaps = self.counts.gaps.max(report.gaps.len() as u64);
        self.counts.segments = self.counts.segments.max(report.segments);
        let found = self.check_acknowledged()?;
        for body in &self.acknowledged {
            let seq = found[body];
            if let Some(gap) =
                report.gaps.iter().find(|gap| gap.after < seq && seq <= gap.after + gap.unknown)
            {
                return Err(format!("record {seq} was acknowledged, and is of unknown durability: {gap:?}"));
            }
        }
        Ok(())
    }
}

/// A tree is kept, and nobody signs it.
fn unsealed() -> seal::Settings {
    seal::Settings {
        key: "audit".to_owned(),
        cosign: None,
        origin: Some("jwsd/test".to_owned()),
        every: Duration::from_secs(60),
        records: 1000,
        witnesses: Vec::new(),
    }
}

impl Life {
    /// The writer works, if there is something to do.
    fn write(&mut self) {
        let due = self.shared.queue().is_due();
        if due && self.writer.receive() {
            self.writer.turn();
        }
        // Real time does not count here.
        if let Some(tried) = &mut self.writer.tried {
            *tried = Instant::now() + Duration::from_secs(3600);
        }
    }
}

/// What a ticket's holder is told now.
fn told(ticket: &mut Ticket) -> Poll<Result<(), Unavailable>> {
    pin!(ticket.durable()).poll(&mut Context::from_waker(Waker::noop()))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Worlds from `seed` on until so many power losses were survived, or one was not.
fn worlds(seed: u64, losses: u64, lie: Lie) -> Result<Counts, Broken> {
    let (next, lost) = (AtomicU64::new(0), AtomicU64::new(0));
    let total = std::sync::Mutex::new(Ok(Counts::default()));
    std::thread::scope(|scope| {
        let work = || {
            while lost.load(Ordering::SeqCst) < losses && total.lock().unwrap().is_ok() {
                let seed = seed.wrapping_add(next.fetch_add(1, Ordering::SeqCst));
                let mut world = World::new(seed, lie);
                let lived = world.live();
                lost.fetch_add(world.counts.losses, Ordering::SeqCst);
                let mut total = total.lock().unwrap();
                match (lived, &mut *total) {
                    (Ok(()), Ok(total)) => total.add(&world.counts),
                    (Err(what), total @ Ok(_)) => {
                        *total = Err(format!(
                            "{what}\nrepeat with JWSD_TORTURE_SEED={seed} JWSD_TORTURE_ROUNDS=1"
                        ));
                    }
                    (_, Err(_)) => {}
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        (0..if losses == 1 { 1 } else { threads }).for_each(|_| drop(scope.spawn(work)));
    });
    total.into_inner().unwrap()
}

fn seed() -> u64 {
    number("JWSD_TORTURE_SEED").unwrap_or_else(|| {
        let mut bytes = [0; 8];
        aws_lc_rs::rand::fill(&mut bytes).unwrap();
        u64::from_le_bytes(bytes) >> 1
    })
}

#[test]
fn power_loss() {
    let (rounds, seed) = (number("JWSD_TORTURE_ROUNDS").unwrap_or(1000), seed());
    println!("power-loss: {rounds} from seed {seed} (repeat with JWSD_TORTURE_SEED={seed})");
    let started = Instant::now();
    let counts = worlds(seed, rounds, Lie::None).unwrap_or_else(|what| panic!("{what}"));
    println!("power-loss: 0 released without a record, in {:?}: {counts:?}", started.elapsed());
    let Counts { losses, kills, closes, starts, refused, acknowledged, faults, gaps, segments, shortened } =
        counts;
    let rare = [kills, closes, refused, faults, gaps, segments, shortened].into_iter().min();
    assert!(
        rounds < 500 || (rare > Some(rounds / 50) && acknowledged > losses && starts > losses),
        "too little"
    );
}

/// A disk that says it has synced and has not: each kind is found out.
#[test]
fn a_sync_left_out_is_found() {
    let seed = seed();
    println!("power-loss: lies from seed {seed} (repeat with JWSD_TORTURE_SEED={seed})");
    for lie in [Lie::Data, Lie::File, Lie::Directory, Lie::Parent, Lie::Cache] {
        let what = worlds(seed, 20_000, lie).expect_err("it was left out, and nothing was lost");
        println!("power-loss: {lie:?}: {}", what.lines().next().unwrap());
    }
}
