//! The fault script: one rule a line, `FUNCTION ACTION [nth N | first N]`, read again whenever the file changes.
//!
//! Actions: `hang`, `delay MS`, `rv CODE`, `corrupt`, `short` (both `C_Sign` only), `abort`, `exit`,
//! `count-wrong N` (`C_Login` only). Calls are counted from the moment the rule was read; a call that an
//! earlier rule took is not counted by later ones. `#` begins a comment.
#![allow(unreachable_pub, reason = "a module of a program")]

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// What happens instead of, before or after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Hang,
    Delay(Duration),
    Return(u64),
    Corrupt,
    Short,
    Abort,
    Exit,
    CountWrong(u64),
}

#[derive(Debug)]
struct Rule {
    function: String,
    action: Action,
    nth: Option<u64>,
    first: Option<u64>,
    calls: u64,
}

#[derive(Default)]
struct Script {
    stamp: Option<(SystemTime, u64)>,
    rules: Vec<Rule>,
}

static SCRIPT: Mutex<Option<Script>> = Mutex::new(None);

/// What the script says about this call of `function`; counts the call.
pub fn next(function: &str) -> Option<Action> {
    let mut guard = SCRIPT.lock().unwrap_or_else(PoisonError::into_inner);
    let script = guard.get_or_insert_default();
    script.refresh();
    script.rules.iter_mut().filter(|rule| rule.function == function).find_map(Rule::hit)
}

/// The `count-wrong` limit in force, if any.
pub fn wrong_limit() -> Option<u64> {
    let mut guard = SCRIPT.lock().unwrap_or_else(PoisonError::into_inner);
    let script = guard.get_or_insert_default();
    script.refresh();
    script.rules.iter().find_map(|rule| match rule.action {
        Action::CountWrong(limit) => Some(limit),
        _ => None,
    })
}

impl Script {
    fn refresh(&mut self) {
        let Some(path) = std::env::var_os("FAULTY_PKCS11_SCRIPT").map(PathBuf::from) else {
            return;
        };
        let stamp = std::fs::metadata(&path).and_then(|meta| Ok((meta.modified()?, meta.len()))).ok();
        if stamp == self.stamp {
            return;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines = text.lines().map(str::trim);
        self.rules = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            // A rule that does nothing would make a test pass that should not.
            .map(|line| Rule::parse(line).unwrap_or_else(|| panic!("bad fault rule: {line}")))
            .collect();
        self.stamp = stamp;
    }
}

impl Rule {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let function = words.next()?.to_owned();
        let number = |words: &mut std::str::SplitWhitespace<'_>| number(words.next()?);
        let action = match words.next()? {
            "hang" => Action::Hang,
            "delay" => Action::Delay(Duration::from_millis(number(&mut words)?)),
            "rv" => Action::Return(number(&mut words)?),
            "corrupt" => Action::Corrupt,
            "short" => Action::Short,
            "abort" => Action::Abort,
            "exit" => Action::Exit,
            "count-wrong" => Action::CountWrong(number(&mut words)?),
            _ => return None,
        };
        let (mut nth, mut first) = (None, None);
        while let Some(word) = words.next() {
            match word {
                "nth" => nth = Some(number(&mut words)?),
                "first" => first = Some(number(&mut words)?),
                _ => return None,
            }
        }
        Some(Self { function, action, nth, first, calls: 0 })
    }

    fn hit(&mut self) -> Option<Action> {
        self.calls += 1;
        let due = self.nth.is_none_or(|nth| self.calls == nth)
            && self.first.is_none_or(|first| self.calls <= first);
        (due && !matches!(self.action, Action::CountWrong(_))).then_some(self.action)
    }
}

fn number(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}
