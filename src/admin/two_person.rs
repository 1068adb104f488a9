//! Acts that two operators must ask for: the first asks and is told to wait, the second asks for the very same, and
//! it is done.
//!
//! Who somebody is, the kernel says: one uid is one operator, root included. What waits is in memory only, so that a
//! restart forgets it; it is never done late, and never by one operator alone.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::acts::{Act, ActName};
use crate::audit::Actor;

/// Acts that wait at once, in all.
const MOST: usize = 32;
/// Acts of one operator that wait at once, so that nobody keeps others from asking.
const MOST_OF_ONE: usize = 8;

/// What `[admin]` says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TwoPerson {
    /// The acts that two must ask for.
    pub acts: BTreeSet<ActName>,
    /// The second must ask within this.
    pub within: Duration,
}

/// An act that waits for a second operator.
#[derive(Debug, Clone, Serialize)]
pub struct Proposal {
    /// Names it; the id of the request that proposed it.
    pub id: String,
    /// What is to be done.
    #[serde(flatten)]
    pub act: Act,
    /// Who asked for it.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// It is forgotten then.
    pub until: Timestamp,
}

/// What an operator's asking comes to.
#[derive(Debug)]
pub(super) enum Verdict {
    /// One operator is enough for this act.
    Free,
    /// This is the second operator. The proposal is used up.
    Approved(Proposal),
    /// This is the first operator, or the same again.
    Waits(Proposal),
    /// So many wait already.
    Full(usize),
}

/// The acts that wait.
#[derive(Debug, Default)]
pub(super) struct Pending {
    settings: TwoPerson,
    /// With the moment from which on each counts no more, on a clock that nobody sets.
    waiting: Vec<(Instant, Proposal)>,
}

impl Pending {
    pub(super) fn new(settings: TwoPerson) -> Self {
        Self { settings, waiting: Vec::new() }
    }

    /// An operator asks for `act` in the request `id`; `at` is only shown.
    pub(super) fn ask(&mut self, act: &Act, who: &Actor, id: &str, now: Instant, at: Timestamp) -> Verdict {
        if !self.settings.acts.contains(&act.name()) {
            return Verdict::Free;
        }
        self.forget(now);
        let place = self.waiting.iter().position(|(_, known)| known.act.is_same(act));
        let own = |known: &Proposal| known.by.uid == who.uid;
        match place.and_then(|place| self.waiting.get(place).map(|(_, known)| (place, known))) {
            Some((_, known)) if own(known) => return Verdict::Waits(known.clone()),
            Some((place, _)) => return Verdict::Approved(self.waiting.swap_remove(place).1),
            None => {}
        }
        let of_one = self.waiting.iter().filter(|(_, known)| own(known)).count();
        if of_one >= MOST_OF_ONE || self.waiting.len() >= MOST {
            return Verdict::Full(if of_one >= MOST_OF_ONE { of_one } else { self.waiting.len() });
        }
        let until = at.checked_add(self.settings.within).unwrap_or(Timestamp::MAX);
        let proposal = Proposal { id: id.to_owned(), act: act.clone(), by: who.clone(), at, until };
        self.waiting.push((now + self.settings.within, proposal.clone()));
        Verdict::Waits(proposal)
    }

    /// Those that wait, oldest first.
    pub(super) fn list(&mut self, now: Instant) -> Vec<Proposal> {
        self.forget(now);
        let mut waiting = self.waiting.clone();
        waiting.sort_by_key(|(until, _)| *until);
        waiting.into_iter().map(|(_, proposal)| proposal).collect()
    }

    /// Takes one back.
    pub(super) fn withdraw(&mut self, id: &str, now: Instant) -> Option<Proposal> {
        self.forget(now);
        let place = self.waiting.iter().position(|(_, known)| known.id == id)?;
        Some(self.waiting.swap_remove(place).1)
    }

    fn forget(&mut self, now: Instant) {
        self.waiting.retain(|(until, _)| now < *until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(900);

    fn pending(acts: &[ActName]) -> Pending {
        Pending::new(TwoPerson { acts: acts.iter().copied().collect(), within: WITHIN })
    }

    fn uid(uid: u32) -> Actor {
        Actor { uid, ..Actor::default() }
    }

    fn revoke(key: &str, kid: &str, reason: Option<&str>) -> Act {
        Act::Revoke { key: key.to_owned(), kid: Some(kid.to_owned()), reason: reason.map(str::to_owned) }
    }

    fn ask(pending: &mut Pending, act: &Act, who: u32, now: Instant) -> Verdict {
        pending.ask(act, &uid(who), &format!("{who}/{act:?}"), now, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_second_operator_makes_it_happen_once() {
        let (mut pending, now) = (pending(&[ActName::Revoke]), Instant::now());
        let act = revoke("access", "k1", None);
        let Verdict::Waits(first) = ask(&mut pending, &act, 0, now) else { panic!("root waits too") };
        assert_eq!(first.until, Timestamp::UNIX_EPOCH + WITHIN);
        let Verdict::Waits(again) = ask(&mut pending, &act, 0, now + WITHIN / 2) else {
            panic!("the same operator is no second one")
        };
        assert_eq!((again.id, again.until), (first.id, first.until), "asking again wins no time");
        let Verdict::Approved(given) = ask(&mut pending, &act, 1000, now + WITHIN / 2) else {
            panic!("the second operator asked")
        };
        assert_eq!(given.by.uid, 0);
        assert!(matches!(ask(&mut pending, &act, 1000, now), Verdict::Waits(_)), "a consent is used once");
    }

    #[test]
    fn only_the_very_same_act_counts() {
        let (mut pending, now) = (pending(&[ActName::Revoke, ActName::Activate]), Instant::now());
        assert!(matches!(ask(&mut pending, &revoke("access", "k1", None), 1, now), Verdict::Waits(_)));
        for other in [
            revoke("access", "k2", None),
            revoke("other", "k1", None),
            Act::Activate { key: "access".to_owned(), kid: Some("k1".to_owned()), early: true },
            Act::Activate { key: "access".to_owned(), kid: Some("k1".to_owned()), early: false },
        ] {
            assert!(matches!(ask(&mut pending, &other, 2, now), Verdict::Waits(_)), "{other:?}");
        }
        assert_eq!(pending.list(now).len(), 5);
        // People say why in their own words.
        let worded = revoke("access", "k1", Some("the laptop was stolen"));
        assert!(matches!(ask(&mut pending, &worded, 2, now), Verdict::Approved(_)));
        let free = Act::Rotate { key: "access".to_owned() };
        assert!(matches!(ask(&mut pending, &free, 1, now), Verdict::Free));
    }

    #[test]
    fn what_waits_too_long_or_is_withdrawn_is_forgotten() {
        let (mut pending, now) = (pending(&[ActName::Revoke]), Instant::now());
        let act = revoke("access", "k1", None);
        ask(&mut pending, &act, 1, now);
        assert!(matches!(ask(&mut pending, &act, 2, now + WITHIN), Verdict::Waits(_)), "too late");
        let [waiting] = &pending.list(now + WITHIN)[..] else { panic!("the second one's waits now") };
        assert_eq!(waiting.by.uid, 2);
        let id = waiting.id.clone();
        assert!(pending.withdraw("another", now + WITHIN).is_none());
        assert!(pending.withdraw(&id, now + WITHIN).is_some());
        assert!(matches!(ask(&mut pending, &act, 1, now + WITHIN), Verdict::Waits(_)));
        assert_eq!(pending.list(now + WITHIN * 3).len(), 0);
    }

    #[test]
    fn nobody_fills_it_alone() {
        let (mut pending, now) = (pending(&[ActName::Revoke]), Instant::now());
        let act = |number: usize| revoke("access", &number.to_string(), None);
        for number in 0..MOST_OF_ONE {
            assert!(matches!(ask(&mut pending, &act(number), 1, now), Verdict::Waits(_)));
        }
        assert!(matches!(ask(&mut pending, &act(99), 1, now), Verdict::Full(MOST_OF_ONE)));
        for number in MOST_OF_ONE..MOST {
            let who = u32::try_from(number / MOST_OF_ONE).unwrap() + 1;
            assert!(matches!(ask(&mut pending, &act(number), who, now), Verdict::Waits(_)), "{number}");
        }
        assert!(matches!(ask(&mut pending, &act(99), 77, now), Verdict::Full(MOST)));
        assert!(
            matches!(ask(&mut pending, &act(0), 77, now), Verdict::Approved(_)),
            "approving is no adding"
        );
        assert!(matches!(ask(&mut pending, &act(99), 77, now + WITHIN), Verdict::Waits(_)), "room again");
    }
}
