//! The fault script, read again whenever the file changes. `#` begins a comment; each other line is a rule or a fact.
//!
//! A rule is `FUNCTION ACTION [nth N | first N | total N]`: what happens instead of, before or after a call.
//!
//! | action | does |
//! | --- | --- |
//! | `hang`, `delay MS` | the call never returns, or later |
//! | `rv CODE` | it returns the code and does nothing |
//! | `then CODE` | `C_Login`: it does what it should and returns the code |
//! | `abort`, `segv`, `exit` | the process ends |
//! | `corrupt`, `short` | `C_Sign`: one bit of the signature is wrong, its last byte is missing |
//! | `der`, `zero` | `C_Sign`: an ECDSA signature as DER, the first half of the signature is zero (`r`, for ECDSA) |
//! | `other-key` | `C_SignInit`: another private key of the same type is used |
//! | `count-wrong N` | `C_Login`: after N wrong PINs in a row the token is locked, with the flags that go with it |
//!
//! `nth` and `first` count the calls that this process made since it read the rule; a call that an earlier rule took
//! is not counted by later ones. `total N` is `first N` over all processes.
//!
//! A fact is about the token as a whole:
//!
//! | fact | means |
//! | --- | --- |
//! | `removed` | no slot holds a token, and its sessions are dead |
//! | `inserted N` | it was put in for the N-th time: sessions from before are dead |
//! | `renumber-slots N` | slots have other numbers; with 0, other ones in every process |
//! | `permute-handles N` | objects have other handles, those from before are invalid |
//! | `idle MS` | sessions that were not used for so long are dead |
//! | `sessions N` | there are at most so many |
//! | `leak KIB` | each signature costs so much memory |
//! | `weight KIB` | each login does |
#![allow(unreachable_pub, reason = "a module of a program")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What happens instead of, before or after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Hang,
    Delay(Duration),
    Return(u64),
    Then(u64),
    Abort,
    Segv,
    Exit,
    Corrupt,
    Short,
    Der,
    Zero,
    OtherKey,
    CountWrong(u64),
}

/// How the token is at present.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts {
    pub removed: bool,
    pub inserted: u64,
    pub slots: Option<u64>,
    pub handles: u64,
    pub idle: Option<Duration>,
    pub sessions: Option<usize>,
    pub leak: usize,
    pub weight: usize,
}

#[derive(Debug)]
struct Rule {
    function: String,
    action: Action,
    nth: Option<u64>,
    first: Option<u64>,
    total: Option<u64>,
    calls: u64,
    /// Grows by one byte with each hit, in whatever process.
    hits: PathBuf,
}

/// Tells one version of the file from another.
type Stamp = (i64, i64, u64, u64);

#[derive(Default)]
struct Script {
    stamp: Option<Stamp>,
    rules: Vec<Rule>,
    facts: Facts,
}

static SCRIPT: Mutex<Option<Script>> = Mutex::new(None);

fn with<T>(look: impl FnOnce(&mut Script) -> T) -> T {
    let mut guard = SCRIPT.lock().unwrap_or_else(PoisonError::into_inner);
    let script = guard.get_or_insert_default();
    script.refresh();
    look(script)
}

/// What the script says about this call of `function`; counts the call.
pub fn next(function: &str) -> Option<Action> {
    with(|script| script.rules.iter_mut().filter(|rule| rule.function == function).find_map(Rule::hit))
}

/// The `count-wrong` limit in force, if any.
pub fn wrong_limit() -> Option<u64> {
    with(|script| {
        script.rules.iter().find_map(|rule| match rule.action {
            Action::CountWrong(limit) => Some(limit),
            _ => None,
        })
    })
}

/// Whether signatures may come as DER, which takes more room.
pub fn wants_room() -> bool {
    with(|script| script.rules.iter().any(|rule| rule.action == Action::Der))
}

/// How the token is.
pub fn facts() -> Facts {
    with(|script| script.facts)
}

impl Script {
    fn refresh(&mut self) {
        let Some(path) = std::env::var_os("FAULTY_PKCS11_SCRIPT").map(PathBuf::from) else {
            return;
        };
        let stamp = fs::metadata(&path).ok().map(|m| (m.mtime(), m.mtime_nsec(), m.len(), m.ino()));
        if stamp == self.stamp {
            return;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        *self = Self { stamp, ..Self::default() };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for (number, line) in lines.enumerate() {
            if self.facts.add(line).is_some() {
                continue;
            }
            let (seconds, nanos, ..) = stamp.unwrap_or_default();
            let hits = path.with_extension(format!("hits-{seconds}-{nanos}-{number}"));
            // A rule that does nothing would make a test pass that should not.
            self.rules.push(Rule::parse(line, hits).unwrap_or_else(|| panic!("bad fault rule: {line}")));
        }
    }
}

impl Facts {
    fn add(&mut self, line: &str) -> Option<()> {
        let (name, value) = line.split_once(' ').map_or((line, None), |(name, value)| (name, number(value)));
        match name {
            "removed" => self.removed = true,
            "inserted" => self.inserted = value?,
            "renumber-slots" => self.slots = Some(value?),
            "permute-handles" => self.handles = value?,
            "idle" => self.idle = Some(Duration::from_millis(value?)),
            "sessions" => self.sessions = Some(usize::try_from(value?).ok()?),
            "leak" => self.leak = usize::try_from(value?).ok()? << 10,
            "weight" => self.weight = usize::try_from(value?).ok()? << 10,
            _ => return None,
        }
        Some(())
    }
}

impl Rule {
    fn parse(line: &str, hits: PathBuf) -> Option<Self> {
        let mut words = line.split_whitespace();
        let function = words.next()?.to_owned();
        let number = |words: &mut std::str::SplitWhitespace<'_>| number(words.next()?);
        let action = match words.next()? {
            "hang" => Action::Hang,
            "delay" => Action::Delay(Duration::from_millis(number(&mut words)?)),
            "rv" => Action::Return(number(&mut words)?),
            "then" => Action::Then(number(&mut words)?),
            "abort" => Action::Abort,
            "segv" => Action::Segv,
            "exit" => Action::Exit,
            "corrupt" => Action::Corrupt,
            "short" => Action::Short,
            "der" => Action::Der,
            "zero" => Action::Zero,
            "other-key" => Action::OtherKey,
            "count-wrong" => Action::CountWrong(number(&mut words)?),
            _ => return None,
        };
        let (mut nth, mut first, mut total) = (None, None, None);
        while let Some(word) = words.next() {
            let limit = match word {
                "nth" => &mut nth,
                "first" => &mut first,
                "total" => &mut total,
                _ => return None,
            };
            *limit = Some(number(&mut words)?);
        }
        Some(Self { function, action, nth, first, total, calls: 0, hits })
    }

    fn hit(&mut self) -> Option<Action> {
        self.calls += 1;
        let due = self.nth.is_none_or(|nth| self.calls == nth)
            && self.first.is_none_or(|first| self.calls <= first)
            && !matches!(self.action, Action::CountWrong(_))
            && self.total.is_none_or(|total| self.count_hit() <= total);
        due.then_some(self.action)
    }

    /// The number of this hit.
    fn count_hit(&self) -> u64 {
        let file = fs::OpenOptions::new().create(true).append(true).open(&self.hits);
        let mut file = file.expect("hits must be countable");
        file.write_all(b".").expect("hits must be countable");
        file.metadata().expect("hits must be countable").len()
    }
}

fn number(word: &str) -> Option<u64> {
    let word = word.trim();
    match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}
