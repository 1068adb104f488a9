//! What is revoked, in memory: answers for each JWT that is presented, exactly, and forgets what has expired.
//!
//! Pure. Knows ids and names by hashes only.

use std::collections::HashMap;

/// What is revoked by its hash: an id, a subject, a session, a consent.
pub type Mark = [u8; 16];

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// One JWT.
    Jwt(Mark),
    /// All JWTs of a subject, a session or a consent.
    Person(Mark),
    /// All JWTs of a profile, by what tells them from those of others.
    Profile(Mark),
    /// All JWTs.
    Everything,
}

/// What is meant of a target, from when on, and until when that matters. Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// JWTs that were issued then or before are not active. Of one JWT that says nothing.
    pub issued: i64,
    /// From then on; 0 for at once, so that a clock that is set back does not undo it.
    pub from: i64,
    /// The last of them has expired.
    pub until: i64,
}

/// All that is revoked.
#[derive(Debug, Default)]
pub struct List {
    /// Of a JWT only the first term counts.
    jwts: HashMap<Mark, Term>,
    others: HashMap<Target, Vec<Term>>,
}

impl List {
    /// Adds one. Of those that begin at the same time the one that goes further holds.
    pub fn add(&mut self, target: Target, term: Term) {
        match target {
            Target::Jwt(mark) => {
                let known = self.jwts.entry(mark).or_insert(term);
                known.from = known.from.min(term.from);
                known.until = known.until.max(term.until);
            }
            other => {
                let terms = self.others.entry(other).or_default();
                match terms.iter_mut().find(|known| known.from == term.from) {
                    Some(known) => {
                        known.issued = known.issued.max(term.issued);
                        known.until = known.until.max(term.until);
                    }
                    None => terms.push(term),
                }
            }
        }
    }

    /// Whether a JWT that was issued at `iat` is revoked `now`; `id` is its mark, `wider` what else it is of.
    pub fn has(&self, iat: i64, id: &Mark, wider: &[Target], now: i64) -> bool {
        if self.jwts.get(id).is_some_and(|term| term.from <= now) {
            return true;
        }
        if self.others.is_empty() {
            return false;
        }
        wider.iter().any(|target| {
            let mut terms = self.others.get(target).into_iter().flatten();
            terms.any(|term| term.from <= now && iat <= term.issued)
        })
    }

    /// Forgets what no JWT is of any more.
    pub fn forget(&mut self, now: i64) {
        self.jwts.retain(|_, term| term.until >= now);
        self.others.retain(|_, terms| {
            terms.retain(|term| term.until >= now);
            !terms.is_empty()
        });
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.jwts.len() + self.others.values().map(Vec::len).sum::<usize>()
    }
}
