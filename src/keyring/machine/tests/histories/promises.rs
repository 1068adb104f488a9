//! The witness: what was promised, looked at after each event, by books that the machine and the gate do not keep.

use super::super::super::{Life, Lives, Stage};
use super::{Stop, World, broken};

/// What the witness knows of a version.
pub(super) struct Fact {
    kid: String,
    /// Stands for it in key sets.
    pub(super) bit: u32,
    stage: Stage,
    /// Whether any key set has had it.
    shown: bool,
    /// What the clock showed when it was noted as published, and how wrong the clock was.
    published: Option<(i64, i64)>,
    /// It took over although verifiers may not know it.
    urgent: bool,
    /// An operator is revoking it, or has.
    revoking: bool,
    /// An operator was told that it is revoked, or that it signs no more.
    revoked: bool,
    stopped: bool,
    /// The latest that any of its JWTs expires.
    last: Option<i64>,
    /// How wrong the clock was when it was removed.
    removed: Option<i64>,
}

/// A JWT that has left.
struct Jwt {
    version: usize,
    exp: i64,
    /// Every verifier knows its version.
    known: bool,
}

/// What became of the version that signed last.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Signer {
    #[default]
    Never,
    Signs,
    Stopped,
    Revoked,
}

#[derive(Default)]
pub(super) struct Witness {
    facts: Vec<Fact>,
    jwts: Vec<Jwt>,
    signer: Signer,
    /// The operator who activates takes it on himself that verifiers may not know the version.
    pub(super) early: bool,
}

impl Witness {
    fn position(&self, kid: &str) -> Option<usize> {
        self.facts.iter().position(|fact| fact.kid == kid)
    }

    pub(super) fn knows(&self, kid: &str) -> bool {
        self.position(kid).is_some()
    }

    pub(super) fn of(&self, kid: &str) -> &Fact {
        &self.facts[self.position(kid).unwrap()]
    }

    fn of_mut(&mut self, kid: &str) -> &mut Fact {
        let at = self.position(kid).unwrap();
        &mut self.facts[at]
    }

    pub(super) fn revoking(&mut self, kid: &str) {
        self.of_mut(kid).revoking = true;
    }

    /// What only the process knew is forgotten.
    pub(super) fn died(&mut self) {
        self.facts.iter_mut().for_each(|fact| fact.revoking = fact.stage == Stage::Revoked);
    }

    pub(super) fn revoked(&mut self, kid: &str) {
        self.of_mut(kid).revoked = true;
    }

    pub(super) fn stopped(&mut self, kid: &str) {
        self.of_mut(kid).stopped = true;
    }
}

impl Fact {
    /// Nothing that it still signs may leave.
    pub(super) fn is_void(&self) -> bool {
        self.revoking || !self.stage.is_published()
    }
}

fn seconds(duration: std::time::Duration) -> i64 {
    duration.as_secs() as i64
}

impl World<'_> {
    /// A version is published for so long before it signs.
    fn ahead(&self) -> i64 {
        seconds(self.rotation.publish_ahead.max(self.rotation.cache))
    }

    /// The state is about to say this: only legal moves, and what was noted stays.
    pub(super) fn witness_change(&mut self, lives: &Lives) -> Result<(), Stop> {
        for stage in [Stage::Prepared, Stage::Active] {
            if lives.all().iter().filter(|life| life.stage == stage).count() > 1 {
                return broken(format!("two versions are {}", stage.name()));
            }
        }
        if self.rows.iter().any(|row| lives.get(&row.kid).is_none()) {
            return broken("a version was forgotten");
        }
        // Those that stop come first.
        let (begin, others): (Vec<_>, Vec<_>) =
            lives.all().iter().partition(|life| life.stage == Stage::Active);
        for life in others.into_iter().chain(begin) {
            match self.witness.position(&life.kid) {
                Some(at) => self.witness_move(at, life)?,
                None if life.stage == Stage::Prepared => {
                    let bit = 1 << self.witness.facts.len();
                    let (kid, stage) = (life.kid.clone(), life.stage);
                    self.witness.facts.push(Fact {
                        kid,
                        bit,
                        stage,
                        shown: false,
                        published: None,
                        urgent: false,
                        revoking: false,
                        revoked: false,
                        stopped: false,
                        last: None,
                        removed: None,
                    });
                }
                None => return broken("a version did not begin as prepared"),
            }
        }
        Ok(())
    }

    fn witness_move(&mut self, at: usize, life: &Life) -> Result<(), Stop> {
        let row = self.rows.iter().find(|row| row.kid == life.kid).unwrap();
        let kept = |old: Option<i64>, new: Option<i64>| old.is_none() || old == new;
        if !(kept(row.published, life.published) && kept(row.activated, life.activated))
            || row.created != life.created
        {
            return broken(format!("times of {} were changed", life.kid));
        }
        if life.retired.is_some_and(|retired| life.activated.is_none_or(|began| retired < began)) {
            return broken(format!("{} stopped before it began", life.kid));
        }
        let (now, wrong) = (self.time(), self.time() - self.real);
        let (keep, cache) = (seconds(self.rotation.keep), seconds(self.rotation.cache));
        let Self { witness: Witness { facts, signer, early, .. }, counts, .. } = self;
        let fact = &mut facts[at];
        let from = std::mem::replace(&mut fact.stage, life.stage);
        if fact.published.is_none() && life.published.is_some() {
            if !fact.shown && life.stage != Stage::Active {
                return broken(format!("{} was noted as published and was not", life.kid));
            }
            fact.published = Some((now, wrong));
        }
        match (from, life.stage) {
            (from, to) if from == to => {}
            (Stage::Prepared, Stage::Active) => {
                fact.urgent = *early || matches!(*signer, Signer::Never | Signer::Revoked);
                *signer = Signer::Signs;
                counts.urgent += u64::from(fact.urgent);
                counts.switches += 1;
            }
            (Stage::Active, Stage::Retired) => *signer = Signer::Stopped,
            (Stage::Retired, Stage::Removed) => {
                if fact.last.is_some_and(|last| now < last + keep + cache) {
                    return broken(format!("{} was removed while its JWTs may be valid", life.kid));
                }
                fact.removed = Some(wrong);
                counts.removals += 1;
            }
            (from, Stage::Revoked) => {
                if from == Stage::Active {
                    *signer = Signer::Revoked;
                }
                counts.revocations += 1;
            }
            (from, to) => return broken(format!("{} went from {} to {}", life.kid, from.name(), to.name())),
        }
        Ok(())
    }

    /// A key set with these versions is served from now on.
    pub(super) fn witness_shown(&mut self, shown: u32) {
        self.witness.facts.iter_mut().filter(|fact| fact.bit & shown != 0).for_each(|fact| fact.shown = true);
    }

    /// The gate let a JWT through. Tells whether every verifier must know its version.
    pub(super) fn witness_entered(&mut self, kid: &str, iat: i64, exp: i64) -> Result<bool, Stop> {
        let (ahead, offset) = (self.ahead(), self.offset);
        let (margin, stop) = (ahead - seconds(self.rotation.cache), self.rotation.stop.map(seconds));
        let row = self.rows.iter().find(|row| row.kid == kid).unwrap();
        let fact = self.witness.of_mut(kid);
        let its_time = match row.stage {
            Stage::Active => true,
            Stage::Retired => row.retired.is_some_and(|retired| iat < retired),
            Stage::Prepared | Stage::Removed | Stage::Revoked => false,
        };
        // A host that could not read the state yet goes on with what it knows, and nobody was told otherwise.
        let is_behind = self.host.as_ref().is_some_and(|host| host.revision < self.revision);
        let Some((published, wrong)) = fact.published.filter(|_| fact.shown) else {
            return broken(format!("{kid} signs and was not published"));
        };
        let rules = [
            (its_time || is_behind, "is not active"),
            (row.activated.is_some_and(|from| from <= iat), "signs before it was activated"),
            (
                row.activated.zip(stop).is_none_or(|(from, stop)| iat < from + stop),
                "signs after its last day",
            ),
            (row.exp_bound.is_some_and(|bound| exp <= bound), "signs beyond its bound"),
            (!fact.revoking, "signs although it is revoked"),
            (!fact.stopped, "signs although it was stopped"),
            (fact.urgent || iat >= published + ahead, "signs before verifiers are sure to know it"),
        ];
        if let Some((_, what)) = rules.iter().find(|(holds, _)| !holds) {
            return broken(format!("{kid} {what}"));
        }
        fact.last = fact.last.max(Some(exp));
        // A clock that was set forward meanwhile makes the wait shorter than it looks.
        Ok(!fact.urgent && offset - wrong <= margin)
    }

    /// A JWT leaves.
    pub(super) fn witness_released(&mut self, kid: &str, exp: i64, known: bool) -> Result<(), Stop> {
        let version = self.witness.position(kid).unwrap();
        if self.witness.facts[version].revoking {
            return broken(format!("a JWT left although {kid} is revoked"));
        }
        self.witness.jwts.push(Jwt { version, exp, known });
        Ok(())
    }

    /// The keeper has done all that it can.
    pub(super) fn witness_kept(&mut self) -> Result<(), Stop> {
        if self.due().is_some() || !self.is_trusted() {
            return Ok(());
        }
        let (now, ahead) = (self.time(), self.ahead());
        let lives = Lives::restore(self.rows.clone());
        if self.may_generate && self.witness.signer == Signer::Revoked {
            return broken("the version that signed was revoked, and none took over");
        }
        let Some(active) = lives.only(Stage::Active) else { return Ok(()) };
        let from = active.activated.unwrap();
        let over = self.rotation.every.map(|every| from + seconds(every));
        let prepared = lives.only(Stage::Prepared);
        if self.may_generate && over.is_some_and(|over| now >= over - ahead) && prepared.is_none() {
            return broken("the next version is due and none is prepared");
        }
        let ready = prepared.and_then(|life| life.published).map(|published| published + ahead);
        if over.zip(ready).is_some_and(|(over, ready)| now >= over && now >= ready) {
            return broken("the next version is due, and ready, and did not take over");
        }
        let its_time = !self.witness.of(&active.kid).revoking
            && from <= now
            && self.rotation.stop.is_none_or(|stop| now < from + seconds(stop));
        let host = self.host.as_ref().unwrap();
        let at = jiff::Timestamp::from_second(now).unwrap();
        match host.keyring.enter(super::KEY, at, self.longest) {
            Err(why) if its_time => broken(format!("{} does not sign in its time: {why}", active.kid)),
            _ => Ok(()),
        }
    }

    /// After each event.
    pub(super) fn look(&mut self) -> Result<(), String> {
        let (real, cache) = (self.real, seconds(self.rotation.cache));
        let grace = seconds(self.rotation.keep) + cache;
        let Witness { facts, jwts, .. } = &mut self.witness;
        jwts.retain(|jwt| real < jwt.exp && facts[jwt.version].stage != Stage::Revoked);
        let shown = self.host.as_ref().map(|host| host.shown);
        for fact in facts.iter().filter(|fact| fact.revoked) {
            if fact.stage != Stage::Revoked || shown.is_some_and(|shown| shown & fact.bit != 0) {
                return Err(format!("{} was revoked and is back", fact.kid));
            }
        }
        for jwt in jwts {
            let fact = &facts[jwt.version];
            // That a clock is no more wrong than this is what `keep` is for.
            if fact.stage == Stage::Removed && fact.removed.is_some_and(|wrong| wrong > grace) {
                continue;
            }
            if !fact.stage.is_published() || shown.is_some_and(|shown| shown & fact.bit == 0) {
                return Err(format!("a JWT of {} is valid and its version is not published", fact.kid));
            }
            let mut cached = self.verifiers.iter().flatten().filter(|cached| real < cached.fetched + cache);
            if jwt.known && cached.any(|cached| cached.set & fact.bit == 0) {
                return Err(format!("a verifier does not know {}", fact.kid));
            }
        }
        match self.rows.iter().find(|row| row.last_exp > row.exp_bound) {
            Some(row) => Err(format!("{} has signed beyond its bound", row.kid)),
            None => Ok(()),
        }
    }
}
