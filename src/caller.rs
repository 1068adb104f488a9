//! Callers: who a local process is under our configuration. Facts come from `transport`; this module only decides.
//!
//! Pure. An unknown process is an answer ([`Unknown`]), never a default caller.

use crate::transport::{FactsWanted, PeerCredentials, ProcessFacts};
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

/// What a `[caller.NAME]` table says. All given parts must match.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name, for logs and records.
    pub name: String,
    /// Of the process, effective when it connected. Resolved at load.
    pub uid: Option<u32>,
    /// Matches the primary or a supplementary group of the process.
    pub gid: Option<u32>,
    /// The executable, as `/proc/PID/exe` shows it.
    pub exe: Option<PathBuf>,
    /// The systemd unit, such as `billing.service`.
    pub unit: Option<String>,
    /// Names of the profiles it may use.
    pub profiles: BTreeSet<String>,
    /// Names of the profiles whose JWTs it may ask about.
    pub introspect: BTreeSet<String>,
    /// Requests per second (batches count each item).
    pub rate: Option<NonZeroU32>,
}
impl Rule {
    /// Whether all given parts match. A fact that is not known matches nothing.
    fn fits(&self, peer: &PeerCredentials) -> bool {
        let facts = peer.facts();
        let in_group =
            |gid| peer.gid() == gid || facts.groups.as_ref().is_some_and(|groups| groups.contains(&gid));
        self.uid.is_none_or(|uid| uid == peer.uid())
            && self.gid.is_none_or(in_group)
            && (self.exe.is_none() || self.exe == facts.exe)
            && (self.unit.is_none() || self.unit == facts.unit)
    }
    /// Given parts.
    fn weight(&self) -> usize {
        [self.uid.is_some(), self.gid.is_some(), self.exe.is_some(), self.unit.is_some()]
            .into_iter()
            .filter(|given| *given)
            .count()
    }
}
/// A process that our configuration knows. Made only by [`Callers::identify`].
#[derive(Debug, Clone)]
pub struct Caller {
    rule: Arc<Rule>,
    peer: Arc<PeerCredentials>,
}
impl Caller {
    /// The rule's name.
    pub fn name(&self) -> &str {
        &self.rule.name
    }
    /// Whether the rule lists the profile.
    pub fn may_use(&self, profile: &str) -> bool {
        self.rule.profiles.contains(profile)
    }
    /// Whether the rule lets it ask whether JWTs of the profile are active.
    pub fn may_introspect(&self, profile: &str) -> bool {
        self.rule.introspect.contains(profile)
    }
    /// Whether it may ask about anything.
    pub fn introspects(&self) -> bool {
        !self.rule.introspect.is_empty()
    }
    /// JWTs per second, at most.
    pub fn rate(&self) -> Option<NonZeroU32> {
        self.rule.rate
    }

    /// Whether the rule names the executable.
    pub fn is_by_exe(&self) -> bool {
        self.rule.exe.is_some()
    }
    /// The process itself.
    pub fn peer(&self) -> &PeerCredentials {
        &self.peer
    }
}
/// No rule fits, or more than one does with equal weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// Nothing fits.
    #[error("no [caller] of the configuration fits this process")]
    NoMatch,
    /// Two rules fit equally well; the first-come would be an accident.
    #[error("more than one [caller] of the configuration fits this process equally well")]
    Ambiguous,
    /// Rules need facts that were not looked up when it connected.
    #[error("the connection was made before the configuration asked for more about its callers")]
    Outdated,
}
/// The table of known callers.
#[derive(Debug, Default)]
pub struct Callers {
    rules: Vec<Arc<Rule>>,
    wanted: FactsWanted,
}
impl Callers {
    /// The table of these rules. A rule without any part fits no process.
    pub fn new(rules: Vec<Rule>) -> Self {
        let wanted = FactsWanted {
            groups: rules.iter().any(|rule| rule.gid.is_some()),
            exe: rules.iter().any(|rule| rule.exe.is_some()),
            unit: rules.iter().any(|rule| rule.unit.is_some()),
        };
        Self { rules: rules.into_iter().map(Arc::new).collect(), wanted }
    }
    /// The callers that have a rate, by name; per second.
    pub fn rates(&self) -> impl Iterator<Item = (&str, NonZeroU32)> {
        self.rules.iter().filter_map(|rule| Some((rule.name.as_str(), rule.rate?)))
    }
    /// The names of all, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name.as_str())
    }
    /// The names of those that may use the profile, in order.
    pub fn of_profile<'a>(&'a self, profile: &'a str) -> impl Iterator<Item = &'a str> {
        let rules = self.rules.iter().filter(move |rule| rule.profiles.contains(profile));
        rules.map(|rule| rule.name.as_str())
    }
    /// A user and a group that no rule asks for.
    pub fn nobody(&self) -> (u32, u32) {
        // The kernel's own "nobody in particular" is below; there are fewer rules than numbers.
        let unused = |number: &u32| {
            let asks = |rule: &Arc<Rule>| rule.uid == Some(*number) || rule.gid == Some(*number);
            !self.rules.iter().any(asks)
        };
        let number = (0..u32::MAX).rev().find(unused).unwrap_or(u32::MAX);
        (number, number)
    }
    /// A process, with no pid, that has what the rule of this name asks for and nothing more; for trying a policy.
    pub fn example(&self, name: &str) -> Option<PeerCredentials> {
        let rule = self.rules.iter().find(|rule| rule.name == name)?;
        let (uid, gid) = self.nobody();
        let facts = ProcessFacts { groups: Some(Vec::new()), exe: rule.exe.clone(), unit: rule.unit.clone() };
        Some(PeerCredentials::assume(rule.uid.unwrap_or(uid), rule.gid.unwrap_or(gid), 0, facts))
    }
    /// Facts beyond uid and gid that some rule needs.
    pub fn wanted(&self) -> FactsWanted {
        self.wanted
    }
    /// The most specific rule that fits (more matching parts win).
    ///
    /// # Errors
    /// [`Unknown::Ambiguous`] when two rules fit with equally many parts, even if they allow the same;
    /// [`Unknown::Outdated`] when nobody looked up what rules are about, because a rule that does not fit for want of a
    /// fact would leave the process to a less specific one.
    pub fn identify(&self, peer: Arc<PeerCredentials>) -> Result<Caller, Unknown> {
        if !peer.asked().covers(self.wanted) {
            return Err(Unknown::Outdated);
        }
        let mut best = Err(Unknown::NoMatch);
        let mut most = 0;
        for rule in self.rules.iter().filter(|rule| rule.fits(&peer)) {
            let weight = rule.weight();
            if weight > most {
                (most, best) = (weight, Ok(rule));
            } else if weight == most && most > 0 {
                best = Err(Unknown::Ambiguous);
            }
        }
        best.map(|rule| Caller { rule: rule.clone(), peer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, uid: Option<u32>, gid: Option<u32>, exe: &str, unit: &str) -> Rule {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Rule {
            name: name.into(),
            uid,
            gid,
            exe: given(exe).map(Into::into),
            unit: given(unit),
            profiles: BTreeSet::from([format!("profile-{name}")]),
            introspect: BTreeSet::new(),
            rate: NonZeroU32::new(7),
        }
    }
    fn peer(uid: u32, gid: u32, groups: &[u32], exe: &str, unit: &str) -> Arc<PeerCredentials> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let facts = ProcessFacts {
            groups: (!groups.is_empty()).then(|| groups.to_vec()),
            exe: given(exe).map(Into::into),
            unit: given(unit),
        };
        Arc::new(PeerCredentials::assume(uid, gid, 4711, facts))
    }

    #[test]
    fn the_most_specific_rule_wins() {
        let callers = Callers::new(vec![
            rule("nothing", None, None, "", ""),
            rule("user", Some(10), None, "", ""),
            rule("group", None, Some(20), "", ""),
            rule("both", Some(11), Some(20), "", ""),
            rule("program", Some(10), None, "/usr/bin/app", ""),
            rule("unit", None, None, "", "app.service"),
            rule("whole", Some(10), Some(20), "/usr/bin/app", "app.service"),
            rule("twin-a", Some(30), None, "", ""),
            rule("twin-b", Some(30), None, "", ""),
            rule("above-twins", Some(30), Some(31), "", ""),
        ]);
        let no_match = Err(Unknown::NoMatch);
        let ambiguous = Err(Unknown::Ambiguous);
        for (peer, expected) in [
            (peer(10, 1, &[], "", ""), Ok("user")),
            (peer(10, 1, &[], "/usr/bin/other", ""), Ok("user")),
            (peer(10, 1, &[], "/usr/bin/app", ""), Ok("program")),
            (peer(9, 20, &[], "", ""), Ok("group")),
            (peer(9, 1, &[5, 20], "", ""), Ok("group")),
            (peer(11, 20, &[], "", ""), Ok("both")),
            (peer(11, 1, &[20], "", ""), Ok("both")),
            (peer(9, 1, &[], "", "app.service"), Ok("unit")),
            (peer(10, 20, &[], "/usr/bin/app", "app.service"), Ok("whole")),
            (peer(10, 20, &[], "", ""), ambiguous),
            (peer(10, 1, &[], "", "app.service"), ambiguous),
            (peer(30, 1, &[], "", ""), ambiguous),
            (peer(30, 31, &[], "", ""), Ok("above-twins")),
            (peer(9, 1, &[], "", ""), no_match),
            (peer(0, 0, &[], "", ""), no_match),
            (peer(9, 1, &[], "/usr/bin/app", "APP.service"), no_match),
        ] {
            let found = callers.identify(peer.clone());
            assert_eq!(found.as_ref().map(Caller::name).map_err(|e| *e), expected, "{peer:?}");
        }
        assert!(Callers::default().identify(peer(0, 0, &[0], "/x", "y")).is_err());
    }

    #[test]
    fn nobody_is_judged_by_facts_that_were_not_looked_up() {
        let callers = Callers::new(vec![
            rule("user", Some(10), None, "", ""),
            rule("program", Some(10), None, "/usr/bin/app", ""),
        ]);
        let asked =
            |wanted| Arc::new(PeerCredentials::assume(10, 1, 1, ProcessFacts::default()).asking(wanted));
        let none = FactsWanted::default();
        for wanted in [none, FactsWanted { groups: true, unit: true, ..none }] {
            assert_eq!(callers.identify(asked(wanted)).map(drop), Err(Unknown::Outdated), "{wanted:?}");
        }
        let looked = callers.identify(asked(FactsWanted { exe: true, ..none }));
        assert_eq!(
            looked.as_ref().map(Caller::name),
            Ok("user"),
            "looked up and not certain is another thing"
        );
    }

    #[test]
    fn a_caller_is_its_rule_and_its_process() {
        let callers = Callers::new(vec![rule("user", Some(10), None, "", "")]);
        let caller = callers.identify(peer(10, 1, &[], "", "")).unwrap();
        assert!(caller.may_use("profile-user"));
        assert!(!caller.may_use("profile-other") && !caller.may_use(""));
        assert_eq!(caller.peer().pid(), 4711);
        assert!(callers.rates().eq([(caller.name(), NonZeroU32::new(7).unwrap())]));
    }

    #[test]
    fn an_example_of_each_rule_is_taken_for_it() {
        let callers = Callers::new(vec![
            rule("user", Some(u32::MAX - 1), None, "", ""),
            rule("group", None, Some(u32::MAX - 2), "", ""),
            rule("program", Some(u32::MAX - 1), None, "/usr/bin/app", ""),
            rule("whole", Some(7), Some(u32::MAX - 2), "/usr/bin/app", "app.service"),
        ]);
        for name in ["user", "group", "program", "whole"] {
            let process = Arc::new(callers.example(name).unwrap());
            assert_eq!(callers.identify(process).unwrap().name(), name);
        }
        assert!(callers.example("nobody").is_none());
        let (uid, gid) = callers.nobody();
        let nobody = PeerCredentials::assume(uid, gid, 0, ProcessFacts::default());
        assert_eq!(callers.identify(Arc::new(nobody)).unwrap_err(), Unknown::NoMatch);
        assert!(callers.of_profile("profile-whole").eq(["whole"]));
        assert_eq!(callers.names().count(), 4);
    }

    #[test]
    fn only_needed_facts_are_wanted() {
        let wanted = |rule| Callers::new(vec![rule]).wanted();
        let none = FactsWanted::default();
        assert_eq!(wanted(rule("a", Some(1), None, "", "")), none);
        assert_eq!(wanted(rule("a", None, Some(1), "", "")), FactsWanted { groups: true, ..none });
        assert_eq!(wanted(rule("a", None, None, "/x", "")), FactsWanted { exe: true, ..none });
        assert_eq!(wanted(rule("a", None, None, "", "x")), FactsWanted { unit: true, ..none });
    }
}
