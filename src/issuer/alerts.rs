//! From alerts to their records and the operators' log. Nothing of a request is in them but its profile and tags.

use crate::audit::{Entry, Event, Outcome};
use crate::misuse::{Alert, Rule};
use crate::subject::Person;

use super::people::Keys;

/// The records of the alerts of one call.
pub(super) struct Alerts<'a> {
    base: &'a Entry,
    /// With whom each is about.
    entries: Vec<(Entry, Option<Person>)>,
}

impl<'a> Alerts<'a> {
    /// `base` is what all records of the call have in common.
    pub(super) fn new(base: &'a Entry) -> Self {
        Self { base, entries: Vec::new() }
    }
    /// Whom they are about.
    pub(super) fn people(&self) -> impl Iterator<Item = Person> {
        self.entries.iter().filter_map(|(_, person)| *person)
    }
    /// The request's id is the nonce of tags here: alerts are not about one JWT.
    pub(super) fn into_entries(self, keys: &Keys) -> impl Iterator<Item = Entry> {
        self.entries.into_iter().map(|(entry, person)| {
            let nonce = entry.request.as_deref().unwrap_or_default();
            Entry { subject: person.and_then(|person| keys.tag(&person, nonce)), ..entry }
        })
    }
    /// About a profile, and a subject of which only an alert about subjects says anything.
    pub(super) fn extend(
        &mut self,
        alerts: impl IntoIterator<Item = Alert>,
        profile: Option<&str>,
        subject: Option<Person>,
    ) {
        for Alert { rule, count, reason } in alerts {
            let (caller, id) = (self.base.actor.as_ref().and_then(|actor| actor.name.as_deref()), rule.id());
            tracing::warn!(rule = id, caller, profile, count, reason, "Alert raised");
            let subject = subject.filter(|_| rule == Rule::RateSubject);
            let entry = Entry {
                event: Event::AlertRaised,
                outcome: Outcome::Success,
                profile: profile.map(str::to_owned),
                rules: vec![id],
                count,
                reason: Some(reason),
                ..self.base.clone()
            };
            self.entries.push((entry, subject));
        }
    }
}
