//! Figures of a period: a fold over records, in the order of the log. Pure.
//!
//! What was before the period counts for nothing but the lives of keys and the policy in force.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::figures::{Alert, Figures, Kept, MOST, Named, Tally, buckets};
use super::keys::Keys;
use super::said::{Actor, Said, Told};
use crate::audit::line::{Line, time_text};

/// Makes figures of lines.
pub struct Fold {
    figures: Figures,
    from: String,
    to: String,
    /// Where an alert is in the list, by rule, profile and caller.
    alerts: BTreeMap<(String, String, String), usize>,
    keys: Keys,
    digest: Option<String>,
}

impl Fold {
    /// For the period of `from` to before `to`.
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        let (buckets, bucket_seconds) = buckets(from, to);
        let figures = Figures {
            from,
            to,
            records: 0,
            first: None,
            last: None,
            unread: 0,
            totals: Tally::default(),
            bucket_seconds,
            buckets,
            callers: Named::default(),
            profiles: Named::default(),
            rules: Named::default(),
            alerts: Kept::default(),
            exceptions: Named::default(),
            unsynchronised: 0,
            keys: Named::default(),
            key_acts: Kept::default(),
            policies: Named::default(),
            policy_acts: Kept::default(),
            policy_changed: None,
            operators: Kept::default(),
            clock: Kept::default(),
            log: Kept::default(),
            seals: 0,
            last_seal: None,
            backends: Named::default(),
            events: Named::default(),
        };
        let (from, to) = (time_text(from), time_text(to));
        Self { figures, from, to, alerts: BTreeMap::new(), keys: Keys::default(), digest: None }
    }

    /// Takes the next record; one after the period is passed over.
    pub fn add(&mut self, line: &Line<'_>) {
        let is_in = line.time >= self.from.as_str();
        // Of what was before, only this is looked at.
        let is_known_still = line.event.starts_with("key.") || line.event.starts_with("policy.");
        if line.time >= self.to.as_str() || (!is_in && !is_known_still) {
            return;
        }
        let Ok(said) = serde_json::from_slice::<Said<'_>>(line.bytes) else {
            self.figures.unread += 1;
            return;
        };
        self.keys.life(line, &said);
        self.policy(line, &said);
        if is_in {
            self.count(line, &said);
            self.tell(line, &said);
        }
    }

    /// What came of it.
    pub fn finish(self) -> Figures {
        let mut figures = self.figures;
        figures.keys = self.keys.finish(figures.to);
        figures
    }

    fn policy(&mut self, line: &Line<'_>, said: &Said<'_>) {
        let is_in_force =
            matches!(line.event, "policy.loaded" | "policy.reloaded") && said.outcome == "success";
        let Some(digest) = said.policy.as_deref().filter(|_| is_in_force) else { return };
        if let (Some(profile), Some(reason)) = (&said.profile, &said.reason) {
            self.figures.profiles.of(profile).loaded = Some(reason.to_string());
        }
        if self.digest.as_deref() != Some(digest) {
            self.digest = Some(digest.to_owned());
            self.figures.policy_changed = Some((line.time.to_owned(), digest.to_owned()));
        }
    }

    fn count(&mut self, line: &Line<'_>, said: &Said<'_>) {
        let figures = &mut self.figures;
        let place = || Some((line.seq, line.time.to_owned()));
        figures.records += 1;
        figures.first = figures.first.take().or_else(place);
        figures.last = place();
        let outcomes = figures.events.of(line.event);
        match said.outcome {
            "success" => outcomes.success += 1,
            "denied" => outcomes.denied += 1,
            _ => outcomes.failed += 1,
        }
        figures.totals.add(line.event);
        if let Ok(time) = line.time.parse::<Timestamp>() {
            let first = figures.buckets.first().map_or(0, |bucket| bucket.from.as_second());
            let place = (time.as_second() - first) / figures.bucket_seconds;
            let bucket = usize::try_from(place).ok().and_then(|place| figures.buckets.get_mut(place));
            bucket.into_iter().for_each(|bucket| bucket.tally.add(line.event));
        }
        let is_request = line.event.starts_with("jwt.")
            || matches!(line.event, "policy.checked" | "request.rejected" | "alert.raised");
        if is_request {
            self.request(line, said);
        }
        self.keys.used(line, said);
    }

    fn request(&mut self, line: &Line<'_>, said: &Said<'_>) {
        let figures = &mut self.figures;
        let caller = said.actor.as_ref().map(Actor::caller);
        if let Some(caller) = &caller {
            figures.callers.of(caller).add(line.event);
        }
        if let Some(name) = &said.profile {
            let profile = figures.profiles.of(name);
            profile.tally.add(line.event);
            if line.event == "jwt.issued" {
                let lifetime = said.exp.zip(said.iat).map(|(exp, iat)| exp.saturating_sub(iat));
                profile.longest = profile.longest.max(lifetime);
                profile.encrypted += u64::from(said.enc.is_some());
                profile.with_session += u64::from(said.session.is_some());
                profile.with_consent += u64::from(said.consent.is_some());
                profile.with_exceptions += u64::from(!said.exceptions.is_empty());
            }
        }
        if line.event == "jwt.issued" {
            figures.unsynchronised += u64::from(said.clk.is_some());
            said.exceptions.iter().for_each(|exception| *figures.exceptions.of(exception) += 1);
        }
        if let Some(digest) = &said.policy {
            let policy = figures.policies.of(digest);
            policy.requests += 1;
            policy.last = line.time.to_owned();
            if policy.first.is_empty() {
                policy.first.clone_from(&policy.last);
            }
        }
        if line.event == "alert.raised" {
            return self.alert(line, said, caller.unwrap_or_default());
        }
        for rule in &said.rules {
            let rule = figures.rules.of(rule);
            match line.event {
                "policy.checked" => rule.checked += 1,
                "jwt.failed" => rule.failed += 1,
                _ => rule.refused += 1,
            }
            line.time.clone_into(&mut rule.last);
        }
    }

    fn alert(&mut self, line: &Line<'_>, said: &Said<'_>, caller: String) {
        let alerts = &mut self.figures.alerts;
        let rule = said.rules.first().map(ToString::to_string).unwrap_or_default();
        let profile = said.profile.as_deref().unwrap_or_default().to_owned();
        let name = (rule, profile, caller);
        let at = match self.alerts.get(&name) {
            Some(at) => *at,
            None if alerts.shown.len() < MOST => {
                let (rule, profile, caller) = name.clone();
                alerts.push(Alert { rule, profile, caller, first: line.time.to_owned(), ..Alert::default() });
                let at = alerts.shown.len() - 1;
                self.alerts.insert(name, at);
                at
            }
            None => {
                alerts.more += 1;
                return;
            }
        };
        if let Some(alert) = alerts.shown.get_mut(at) {
            alert.records += 1;
            alert.greatest = alert.greatest.max(said.count.unwrap_or_default());
            line.time.clone_into(&mut alert.last);
            alert.reason = said.reason.as_deref().unwrap_or_default().to_owned();
        }
    }

    /// Puts it on the lists where it belongs.
    fn tell(&mut self, line: &Line<'_>, said: &Said<'_>) {
        let figures = &mut self.figures;
        let family = line.event.split('.').next().unwrap_or_default();
        let told = || Told::of(line, said);
        match (family, line.event) {
            (_, "key.tested" | "key.quarantined") => {}
            ("key", _) => figures.key_acts.push(told()),
            // Those of single profiles only repeat what is in force.
            ("policy", "policy.loaded") if said.profile.is_some() => {}
            ("policy", "policy.loaded" | "policy.reloaded" | "policy.refused") => {
                figures.policy_acts.push(told())
            }
            ("clock", _) => figures.clock.push(told()),
            (_, "log.sealed") => {
                figures.seals += 1;
                figures.last_seal = Some(line.time.to_owned());
            }
            ("log" | "daemon", _) => figures.log.push(told()),
            _ => {}
        }
        let is_by_caller = matches!(family, "jwt" | "request" | "alert") || line.event == "policy.checked";
        if said.actor.is_some() && !is_by_caller {
            figures.operators.push(told());
        }
        self.backend(line, said);
    }

    fn backend(&mut self, line: &Line<'_>, said: &Said<'_>) {
        let Some(name) = said.object.as_deref() else { return };
        let is_failed = match line.event {
            "backend.up" => false,
            "backend.down" => said.outcome == "failed",
            "breaker.opened" | "key.quarantined" | "backend.quarantined" | "pin.refused" => true,
            _ => return,
        };
        let backend = self.figures.backends.of(name);
        match line.event {
            "backend.up" => backend.up += 1,
            "backend.down" => backend.down += u64::from(is_failed),
            "breaker.opened" => backend.breakers += 1,
            "pin.refused" => backend.pins += 1,
            _ => backend.quarantines += 1,
        }
        if is_failed {
            backend.last = Some(line.time.to_owned());
            backend.reason = said.reason.as_deref().map(str::to_owned);
        }
    }
}
