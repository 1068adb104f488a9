//! One host: what `admin` does on it, step by step, with a kill or a fault possible between any two.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::super::{Due, Life, Lives, Stage, Step};
use super::{Host, KEY, Keyring, Ring, Rotation, Stop, Use, Version, World, broken, host_of};
use crate::keyring::Turn;

/// As `admin` has them.
const SWITCH: i64 = 2;
const SLACK: Duration = Duration::from_secs(60);
const STEPS: usize = 8;

impl World<'_> {
    /// Between two steps.
    fn point(&mut self) -> Result<(), Stop> {
        if self.dice.one_in(self.kills) { Err(Stop::Killed) } else { Ok(()) }
    }

    /// A fault of what is asked next.
    fn fault(&mut self, chances: i64) -> Result<(), Stop> {
        if self.dice.one_in(chances) { Err(Stop::Failed) } else { Ok(()) }
    }

    fn lives(&self) -> Lives {
        Lives::restore(self.rows.clone())
    }

    fn ring(&self) -> Arc<Ring> {
        self.host.as_ref().unwrap().keyring.ring()
    }

    pub(super) fn start(&mut self) -> Result<(), Stop> {
        let keyring = Keyring::new(ring_of(BTreeMap::new(), BTreeMap::new()));
        self.host = Some(Host { keyring, revision: 0, is_behind: true, shown: 0, signing: Vec::new() });
        let started = self.refresh();
        if started.is_err() {
            self.host = None;
            self.witness.died();
        }
        self.tell(|_| format!("started: {started:?}"));
        started
    }

    /// `Admin::decide`: read, decide, record, change; then whatever follows.
    fn decide(&mut self, moves: impl FnOnce(&mut Lives, i64) -> Result<(), Stop>) -> Result<(), Stop> {
        self.point()?;
        let (mut lives, now) = (self.lives(), self.time());
        moves(&mut lives, now)?;
        if lives.all() == self.rows {
            return Ok(());
        }
        self.point()?;
        self.fault(40)?;
        self.commit(&lives)?;
        self.point()
    }

    /// `KeyState::change`: bounds and counts are not touched.
    fn commit(&mut self, lives: &Lives) -> Result<(), Stop> {
        self.witness_change(lives)?;
        for life in lives.all() {
            match self.rows.iter_mut().find(|row| row.kid == life.kid) {
                Some(row) => {
                    let Life { exp_bound, last_exp, signatures, .. } = *row;
                    *row = Life { exp_bound, last_exp, signatures, ..life.clone() };
                }
                None => self.rows.push(life.clone()),
            }
        }
        self.revision += 1;
        self.tell(|world| {
            let short = |life: &Life| format!("{} {}", life.kid, life.stage.name());
            format!("the state says: {}", world.rows.iter().map(short).collect::<Vec<_>>().join(", "))
        });
        Ok(())
    }

    /// `Admin::refresh` and `Loader::build`.
    fn refresh(&mut self) -> Result<(), Stop> {
        host_of(&mut self.host).is_behind = true;
        self.point()?;
        self.fault(40)?;
        let previous = self.ring();
        let (mut turn, mut prepared, mut shown) = (Turn::default(), BTreeMap::new(), 0);
        let now = self.time();
        for row in &self.rows {
            let known = previous.version(&row.kid).cloned();
            let made = || self.pool.version(&row.kid);
            match row.stage {
                Stage::Prepared => drop(prepared.insert(KEY.to_owned(), known.unwrap_or_else(made))),
                Stage::Active => turn.active = Some(known.unwrap_or_else(made)),
                Stage::Retired if known.is_none() && row.window(now, &self.rotation).is_none() => {}
                Stage::Retired => turn.before.push(known.unwrap_or_else(made)),
                Stage::Removed | Stage::Revoked => continue,
            }
            shown |= self.witness.of(&row.kid).bit;
        }
        let revision = self.revision;
        let ring = ring_of(BTreeMap::from([(KEY.to_owned(), turn)]), prepared);
        self.tally_of(&ring, true)?;
        for life in &self.rows {
            if let Some(version) = ring.version(&life.kid).or_else(|| previous.version(&life.kid)) {
                set(version, life, &self.rotation, now);
            }
        }
        let host = host_of(&mut self.host);
        host.keyring.replace(Arc::new(ring));
        (host.revision, host.is_behind, host.shown) = (revision, false, shown);
        self.witness_shown(shown);
        self.point()
    }

    /// `Admin::tally_of` and `KeyState::tally`.
    fn tally_of(&mut self, ring: &Ring, only_bounds: bool) -> Result<(), Stop> {
        let mut told = Vec::new();
        for version in ring.signing() {
            let signs = ring.active(KEY).is_some_and(|active| Arc::ptr_eq(active, version));
            let bound = if signs { bound(version, self.longest, self.time()) } else { version.bound() };
            let (signatures, last_exp) = if only_bounds { (0, None) } else { version.take_tally() };
            if signatures > 0 || bound != version.bound() {
                told.push((version, signatures, last_exp, bound));
            }
        }
        if told.is_empty() {
            return Ok(());
        }
        self.point()?;
        if let Err(fault) = self.fault(40) {
            told.iter().for_each(|(version, signatures, ..)| version.return_tally(*signatures));
            return Err(fault);
        }
        let mut active = Vec::new();
        for (version, signatures, last_exp, bound) in told {
            let row = self.rows.iter_mut().find(|row| row.kid == version.kid().as_str()).unwrap();
            row.signatures += signatures;
            row.last_exp = row.last_exp.max(last_exp);
            if row.stage == Stage::Active {
                row.exp_bound = row.exp_bound.max(Some(bound));
                active.push((version, bound));
            }
        }
        self.point()?;
        active.into_iter().for_each(|(version, bound)| version.reserve(bound));
        Ok(())
    }

    /// `Admin::keep`: one look.
    pub(super) fn keeper(&mut self) -> Result<(), Stop> {
        if self.host.is_none() {
            return Ok(());
        }
        let ring = self.ring();
        self.tally_of(&ring, false)?;
        if self.host.as_ref().is_some_and(|host| host.is_behind || host.revision != self.revision) {
            self.refresh()?;
        }
        let kept = self.carry_on();
        self.tell(|_| format!("the keeper looked: {kept:?}"));
        kept?;
        self.witness_kept()
    }

    pub(super) fn due(&self) -> Option<Due> {
        let due = self.lives().next(self.time(), &self.rotation).filter(|due| {
            let lead = if matches!(due.step, Step::Activate(_)) { SWITCH } else { 0 };
            due.at <= self.time() + lead
        });
        due.filter(|due| due.step != Step::Prepare || self.may_generate)
    }

    fn carry_on(&mut self) -> Result<(), Stop> {
        for _ in 0..STEPS {
            let Some(due) = self.due() else { break };
            match due.step {
                Step::Prepare => self.make()?,
                Step::Publish(kid) => self.publish(&kid)?,
                Step::Activate(kid) => self.switch(&kid, false)?,
                Step::Remove(kid) => {
                    let rotation = self.rotation.clone();
                    self.decide(|lives, now| Ok(lives.remove(&kid, now, &rotation)?))?;
                    self.refresh()?;
                }
            }
        }
        Ok(())
    }

    fn make(&mut self) -> Result<(), Stop> {
        self.fault(10)?;
        let unused: Vec<&String> =
            self.pool.0.iter().map(|(kid, _)| kid).filter(|kid| !self.witness.knows(kid)).collect();
        if unused.is_empty() {
            return Err(Stop::Failed);
        }
        let kid = self.dice.of(&unused).clone();
        let now = self.time();
        self.decide(|lives, _| Ok(lives.add(&kid, now)?))?;
        self.refresh()
    }

    pub(super) fn generate(&mut self) -> Result<(), Stop> {
        self.make()?;
        self.carry_on()
    }

    pub(super) fn rotate(&mut self) -> Result<(), Stop> {
        if self.lives().only(Stage::Prepared).is_none() {
            self.make()?;
        }
        self.decide(|lives, _| {
            let Some(kid) = lives.only(Stage::Prepared).map(|life| life.kid.clone()) else {
                return Err(Stop::Failed);
            };
            Ok(lives.want(&kid)?)
        })?;
        self.carry_on()
    }

    pub(super) fn activate(&mut self, early: bool) -> Result<(), Stop> {
        let lives = self.lives();
        let Some(life) = lives.only(Stage::Prepared) else { return Ok(()) };
        if life.published.is_none() {
            self.publish(&life.kid)?;
        }
        self.switch(&life.kid, early)
    }

    fn publish(&mut self, kid: &str) -> Result<(), Stop> {
        if self.ring().version(kid).is_none() {
            self.refresh()?;
        }
        self.decide(|lives, now| Ok(lives.publish(kid, now)?))?;
        self.refresh()
    }

    fn switch(&mut self, kid: &str, early: bool) -> Result<(), Stop> {
        if self.ring().version(kid).is_none() {
            return Err(Stop::Failed);
        }
        let before = self.ring().active(KEY).cloned();
        let rotation = self.rotation.clone();
        self.witness.early = early;
        let switched = self.decide(|lives, now| {
            let at = if lives.only(Stage::Active).is_some() { now + SWITCH } else { now };
            lives.activate(kid, at, &rotation, early)?;
            if let Some(before) = &before {
                before.close_at(at);
            }
            Ok(())
        });
        self.witness.early = false;
        if !matches!(switched, Err(Stop::Killed | Stop::Broken(_))) {
            self.refresh()?;
        }
        switched
    }

    pub(super) fn retire(&mut self) -> Result<(), Stop> {
        let lives = self.lives();
        let Some(life) = lives.only(Stage::Active) else { return Ok(()) };
        self.decide(|lives, now| Ok(lives.retire(&life.kid, now)?))?;
        self.refresh()?;
        self.witness.stopped(&life.kid);
        Ok(())
    }

    /// A move that nobody has asked whether it is due or legal.
    pub(super) fn anything(&mut self) -> Result<(), Stop> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let kid = self.rows[self.dice.below(self.rows.len() as i64) as usize].kid.clone();
        let rotation = self.rotation.clone();
        match self.dice.below(6) {
            0 => self.publish(&kid)?,
            1 => self.switch(&kid, false)?,
            2 => self.decide(|lives, now| Ok(lives.activate(&kid, now, &rotation, false)?))?,
            3 => self.decide(|lives, now| Ok(lives.remove(&kid, now, &rotation)?))?,
            4 => self.decide(|lives, now| Ok(lives.add(&kid, now)?))?,
            _ => self.decide(|lives, _| Ok(lives.want(&kid)?))?,
        }
        self.refresh()
    }

    pub(super) fn revoke(&mut self) -> Result<(), Stop> {
        let lives = self.lives();
        let any = (!lives.all().is_empty())
            .then(|| &lives.all()[self.dice.below(lives.all().len() as i64) as usize]);
        let active = lives.only(Stage::Active).filter(|_| !self.dice.one_in(3));
        let Some(kid) = active.or(any).map(|life| life.kid.clone()) else { return Ok(()) };
        let version = self.ring().version(&kid).cloned();
        if let Some(version) = &version {
            version.revoke();
            self.witness.revoking(&kid);
        }
        let was_revoked = lives.get(&kid).is_some_and(|life| life.stage == Stage::Revoked);
        let rotation = self.rotation.clone();
        let revoked = self.decide(|lives, now| {
            let was_active = lives.get(&kid).is_some_and(|life| life.stage == Stage::Active);
            lives.revoke(&kid, now)?;
            let next = lives.only(Stage::Prepared).filter(|_| was_active).map(|life| life.kid.clone());
            if let Some(next) = next {
                lives.publish(&next, now)?;
                lives.activate(&next, now, &rotation, false)?;
            }
            Ok(())
        });
        if let Err(Stop::Refused(why)) = &revoked
            && !was_revoked
        {
            return broken(format!("{kid} could not be revoked: {why}"));
        }
        revoked?;
        self.refresh()?;
        // What was let through before must not leave any more.
        let host = host_of(&mut self.host);
        let is_its = |(right, ..): &mut (Use, bool, i64)| right.version().kid().as_str() == kid;
        if host.signing.extract_if(.., is_its).any(|(right, ..)| right.signed().is_ok()) {
            return broken(format!("{kid} signed after it was revoked"));
        }
        self.witness.revoked(&kid);
        Ok(())
    }
}

fn ring_of(signing: BTreeMap<String, Turn>, prepared: BTreeMap<String, Arc<Version>>) -> Ring {
    Ring { signing, prepared, ..Ring::empty() }
}

/// As `admin` does it.
fn bound(version: &Version, longest: Duration, now: i64) -> i64 {
    let slack = SLACK.max(longest / 2);
    let least = now.saturating_add_unsigned((longest + slack / 2).as_secs());
    if version.bound() >= least {
        return version.bound();
    }
    now.saturating_add_unsigned((longest + slack).as_secs())
}

/// As `admin` does it.
fn set(version: &Version, life: &Life, rotation: &Rotation, now: i64) {
    match life.window(now, rotation) {
        Some((from, until)) => {
            version.open(from, until);
            version.reserve(life.exp_bound.unwrap_or(i64::MIN));
        }
        None if !life.stage.is_published() => version.revoke(),
        None => version.close_at(i64::MIN),
    }
}
