//! What holds over a key's whole life, whatever comes: random schedules, clocks that are set, operators, kills between
//! any two steps, and verifiers that keep the key set for as long as they may.
//!
//! A history is a random run of a small world around the machine and the gate, with the steps that `admin` takes;
//! after each event everything that was promised is looked at by a witness that keeps books of its own.

mod host;
mod promises;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use super::super::{IllegalMove, Life, Rotation};
use crate::jose::{Algorithm, PublicKey, Verifier};
use crate::keyring::{Keyring, Ring, Use, Version};
use promises::Witness;

/// The name of the key.
const KEY: &str = "access";
/// A history has fewer versions than this.
const VERSIONS: usize = 24;
/// Random events of one history.
const EVENTS: u64 = 120;
/// Requests end within this, seconds.
const DEADLINE: i64 = 10;
/// A clock that went forward by more is not trusted, as `clock` has it, seconds.
const AHEAD: i64 = 600;
/// Nor one that went back by more.
const TOLERANCE: i64 = 2;

/// splitmix64: seeds that follow each other give histories that have nothing in common.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `limit`; 0 if that is 0.
    fn below(&mut self, limit: i64) -> i64 {
        (self.next() >> 1) as i64 % limit.max(1)
    }

    fn one_in(&mut self, chances: i64) -> bool {
        self.below(chances) == 0
    }

    fn of<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[self.below(choice.len() as i64) as usize]
    }
}

/// Keys for all histories, in the order of their `kid`s.
struct Pool(Vec<(String, PublicKey)>);

impl Pool {
    fn new() -> Self {
        let key = |seed| {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
            let public = PublicKey::ed25519(pair.public_key().as_ref()).unwrap();
            (public.thumbprint().to_string(), public)
        };
        let mut keys: Vec<_> = (0..VERSIONS as u8).map(key).collect();
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        Self(keys)
    }

    fn version(&self, kid: &str) -> Arc<Version> {
        let (_, public) = self.0.iter().find(|(known, _)| known == kid).unwrap();
        let verifier = Verifier::new(Algorithm::Ed25519, public.clone()).unwrap();
        Arc::new(Version::new(KEY.to_owned(), verifier, Vec::new()))
    }
}

/// Why an act was not done to its end.
#[derive(Debug)]
enum Stop {
    /// The process is gone.
    Killed,
    /// The state, the log or a backend was out of order, or somebody else was quicker.
    Failed,
    /// Against the rules.
    Refused(IllegalMove),
    /// Not as it was promised.
    Broken(String),
}

impl From<IllegalMove> for Stop {
    fn from(error: IllegalMove) -> Self {
        Self::Refused(error)
    }
}

fn broken<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Broken(what.into()))
}

/// What a process has in its memory.
struct Host {
    keyring: Keyring,
    /// The revision of the state that it took over.
    revision: u64,
    /// Whether it failed to take over what came later.
    is_behind: bool,
    /// The versions in the key set that it serves, as bits.
    shown: u32,
    /// JWTs that are being signed, whether every verifier must know the version, and since when.
    signing: Vec<(Use, bool, i64)>,
}

/// A verifier's copy of the key set.
#[derive(Clone, Copy)]
struct Cached {
    fetched: i64,
    set: u32,
}

/// How often something happened, over all histories.
#[derive(Default, Debug)]
struct Counts {
    jwts: u64,
    urgent: u64,
    switches: u64,
    removals: u64,
    revocations: u64,
    kills: u64,
    failures: u64,
    steps: u64,
    untrusted: u64,
    fetches: u64,
}

struct World<'a> {
    pool: &'a Pool,
    dice: Dice,
    rotation: Rotation,
    /// The longest life of a JWT.
    longest: Duration,
    may_generate: bool,
    /// How likely kills are: one in so many steps; whether the clock is ever set; and how idle operators are.
    kills: i64,
    steady: bool,
    idle: i64,
    /// Real time, which verifiers' clocks show; and how far ahead the host's clock is. Seconds.
    real: i64,
    offset: i64,
    /// The offset that was last vouched for, and the greatest time that was trusted.
    line: i64,
    greatest: i64,
    /// The state: on disk, in the order in which it is read.
    rows: Vec<Life>,
    revision: u64,
    host: Option<Host>,
    verifiers: [Option<Cached>; 3],
    witness: Witness,
    counts: &'a mut Counts,
    /// What happened, if anyone wants to know.
    story: Option<String>,
}

impl<'a> World<'a> {
    fn new(seed: u64, pool: &'a Pool, counts: &'a mut Counts, tell: bool) -> Self {
        let mut dice = Dice(seed);
        let unit = dice.of(&[1, 30, 600, 3600]);
        let mut times = |least: i64, units| least + unit * dice.below(units);
        let (cache, ahead, keep) = (times(0, 5), times(0, 10), times(0, 4));
        let (longest, every, stop) = (times(1, 6), times(ahead.max(cache), 20), times(1, 10));
        let seconds = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
        let every = (!dice.one_in(4)).then(|| seconds(every));
        let rotation = Rotation {
            every,
            after: dice.one_in(3).then(|| 1 + dice.below(15).unsigned_abs()),
            publish_ahead: seconds(ahead),
            stop: dice.one_in(3).then(|| every.unwrap_or_default() + seconds(stop)),
            notice: Duration::ZERO,
            keep: seconds(keep),
            cache: seconds(cache),
        };
        let real = 1_700_000_000;
        Self {
            pool,
            rotation,
            longest: seconds(longest),
            may_generate: !dice.one_in(5),
            kills: dice.of(&[25, 100, i64::MAX]),
            steady: dice.one_in(3),
            idle: dice.of(&[1, 6]),
            real,
            offset: 0,
            line: 0,
            greatest: real,
            rows: Vec::new(),
            revision: 0,
            host: None,
            verifiers: [None; 3],
            witness: Witness::default(),
            counts,
            story: tell.then(String::new),
            dice,
        }
    }

    /// What the host's clock shows.
    fn now(&self) -> i64 {
        self.real + self.offset
    }

    /// What the keys go by: it stands still while the clock is not trusted.
    fn time(&self) -> i64 {
        if self.is_trusted() { self.now() } else { self.greatest }
    }

    fn tell(&mut self, what: impl FnOnce(&Self) -> String) {
        let Some(mut story) = self.story.take() else { return };
        let (real, now) = (self.real - 1_700_000_000, self.now() - 1_700_000_000);
        writeln!(story, "{real:>8} clock {now:>8}: {}", what(self)).unwrap();
        self.story = Some(story);
    }

    fn is_trusted(&self) -> bool {
        self.now() >= self.greatest - TOLERANCE && self.offset - self.line <= AHEAD
    }

    fn live(&mut self) -> Result<(), String> {
        self.tell(|world| {
            format!("{:?}, longest {:?}, generate {}", world.rotation, world.longest, world.may_generate)
        });
        for _ in 0..EVENTS {
            match self.event() {
                Ok(()) | Err(Stop::Refused(_)) => {}
                Err(Stop::Failed) => self.counts.failures += 1,
                Err(Stop::Killed) => self.die(),
                Err(Stop::Broken(what)) => return Err(what),
            }
            if self.is_trusted() && self.host.is_some() {
                self.greatest = self.greatest.max(self.now());
            }
            self.look()?;
            for which in 0..self.verifiers.len() {
                let cache = self.rotation.cache.as_secs() as i64;
                let is_old = self.verifiers[which].is_none_or(|cached| self.real >= cached.fetched + cache);
                if is_old && self.dice.one_in(2) {
                    self.fetch(which);
                }
            }
        }
        Ok(())
    }

    fn event(&mut self) -> Result<(), Stop> {
        if self.host.is_none() && !self.dice.one_in(4) {
            return self.start();
        }
        let which = self.dice.below(3) as usize;
        match self.dice.below(100) {
            0..30 => self.wait(),
            30..50 => self.keeper()?,
            50..68 => self.begin_jwt()?,
            68..80 => self.end_jwt()?,
            80..82 => self.fetch(which),
            82..88 => self.set_clock(),
            88..99 => self.operator()?,
            _ => return Err(Stop::Killed),
        }
        Ok(())
    }

    /// Time goes by: a moment, or until shortly before or after something is to happen.
    fn wait(&mut self) {
        let now = self.time();
        let due = super::super::Lives::restore(self.rows.clone()).next(now, &self.rotation).map(|due| due.at);
        let by = match self.dice.below(7) {
            0 => 1,
            1 => self.dice.below(5),
            2 => self.dice.below(self.rotation.cache.as_secs() as i64 + 2),
            3 => self.dice.below(self.longest.as_secs() as i64 + 2),
            4 => self.rotation.stop.map_or(1, |stop| self.dice.below(stop.as_secs() as i64)),
            _ => due.map_or(1, |due| (due - now).min(86_400) + self.dice.below(4) - 2),
        };
        self.real += by.max(0);
        if let Some(host) = &mut self.host {
            host.signing.retain(|(_, _, since)| self.real - since <= DEADLINE);
        }
        self.tell(|_| "time went by".to_owned());
    }

    fn set_clock(&mut self) {
        if self.steady {
            return;
        }
        if !self.is_trusted() {
            self.counts.untrusted += 1;
        }
        match self.dice.below(8) {
            // The operator says that it is right.
            0 | 1 if !self.is_trusted() => (self.line, self.greatest) = (self.offset, self.now()),
            // It is set right, and the kernel says so.
            2 => (self.offset, self.line) = (0, 0),
            3 | 4 => self.offset = self.line,
            _ => {
                let most = self.dice.of(&[1, 2, 30, 600, 3600, 86_400]);
                let by = 1 + self.dice.below(most);
                self.offset += self.dice.of(&[-by, by]);
            }
        }
        self.counts.steps += 1;
        self.tell(|world| format!("the clock was set; trusted: {}", world.is_trusted()));
    }

    /// A verifier takes the key set, as it may at any time.
    fn fetch(&mut self, which: usize) {
        let Some(host) = &self.host else { return };
        self.verifiers[which] = Some(Cached { fetched: self.real, set: host.shown });
        self.counts.fetches += 1;
        self.tell(|world| {
            format!("verifier {which} took the key set {:b}", world.host.as_ref().unwrap().shown)
        });
    }

    fn operator(&mut self) -> Result<(), Stop> {
        if self.host.is_none() || !self.dice.one_in(self.idle) {
            return Ok(());
        }
        let act = self.dice.below(10);
        let done = match act {
            0 | 1 => self.generate(),
            2 | 3 => self.rotate(),
            4 => self.activate(false),
            5 => self.activate(true),
            6 => self.retire(),
            7 => self.anything(),
            _ => self.revoke(),
        };
        self.tell(|_| format!("operator's act {act}: {done:?}"));
        done
    }

    fn die(&mut self) {
        self.host = None;
        self.witness.died();
        self.counts.kills += 1;
        self.tell(|_| "killed".to_owned());
    }

    fn begin_jwt(&mut self) -> Result<(), Stop> {
        let (now, trusted) = (self.now(), self.is_trusted());
        let ttl = Duration::from_secs(1 + self.dice.below(self.longest.as_secs() as i64).unsigned_abs());
        let Some(host) = self.host.as_ref().filter(|_| trusted) else { return Ok(()) };
        let at = jiff::Timestamp::from_second(now).unwrap();
        let Ok(right) = host.keyring.enter(KEY, at, ttl) else { return Ok(()) };
        let (kid, exp) = (right.version().kid().to_string(), right.exp());
        self.tell(|_| format!("{kid} signs a JWT until {}", exp - 1_700_000_000));
        let known = self.witness_entered(&kid, now, exp)?;
        host_of(&mut self.host).signing.push((right, known, self.real));
        if self.dice.one_in(3) { Ok(()) } else { self.end_jwt() }
    }

    fn end_jwt(&mut self) -> Result<(), Stop> {
        let Some(host) = self.host.as_mut().filter(|host| !host.signing.is_empty()) else { return Ok(()) };
        let (right, known, _) = host.signing.remove(self.dice.below(host.signing.len() as i64) as usize);
        let (kid, exp) = (right.version().kid().to_string(), right.exp());
        let signed = right.signed();
        self.tell(|_| format!("{kid} has signed: {}", signed.is_ok()));
        match signed {
            Ok(_) => {
                self.counts.jwts += 1;
                self.witness_released(&kid, exp, known)
            }
            Err(_) if self.witness.of(&kid).is_void() => Ok(()),
            Err(why) => broken(format!("a JWT of {kid} was dropped, which is in use: {why}")),
        }
    }
}

fn host_of(host: &mut Option<Host>) -> &mut Host {
    host.as_mut().unwrap()
}

/// `scripts/torture histories` asks for more, and repeats one: `--seed S --rounds 1`.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn histories() {
    let rounds = number("JWSD_TORTURE_ROUNDS").unwrap_or(20_000);
    let seed = number("JWSD_TORTURE_SEED").unwrap_or_else(|| {
        u64::from_le_bytes(std::array::from_fn({
            let mut bytes = [0; 8];
            aws_lc_rs::rand::fill(&mut bytes).unwrap();
            move |at| bytes[at]
        })) >> 1
    });
    println!("histories: {rounds} from seed {seed} (repeat with JWSD_TORTURE_SEED={seed})");
    let (pool, mut counts) = (Pool::new(), Counts::default());
    for seed in seed..seed + rounds {
        let Err(what) = World::new(seed, &pool, &mut counts, false).live() else { continue };
        let mut again = World::new(seed, &pool, &mut counts, true);
        let _ = again.live();
        let story = again.story.unwrap_or_default();
        panic!("{story}{what}\nrepeat with JWSD_TORTURE_SEED={seed} JWSD_TORTURE_ROUNDS=1");
    }
    println!("histories: {counts:?}");
    // A world in which nothing happens keeps every promise.
    let Counts { jwts, urgent, switches, removals, revocations, kills, failures, steps, untrusted, fetches } =
        counts;
    let rare = [switches, removals, revocations, urgent, kills, failures, steps, untrusted, fetches]
        .into_iter()
        .min();
    assert!(rounds < 1000 || (jwts > rounds && rare > Some(rounds / 20)), "too little happened");
}
