//! From alerts to their records and the operators' log. Nothing of a request is in them but its profile and tags.

use crate::audit::{Entry, Event, Outcome};
use crate::jose::base64url_encode;
use crate::misuse::{Alert, Rule, SubjectTag};

/// The records of the alerts of one call.
pub(super) struct Alerts<'a> {
    base: &'a Entry,
    entries: Vec<Entry>,
}

impl<'a> Alerts<'a> {
    /// `base` is what all records of the call have in common.
    pub(super) fn new(base: &'a Entry) -> Self {
        Self { base, entries: Vec::new() }
    }
    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
    /// About a profile, and a subject of which only an alert about subjects says anything.
    pub(super) fn extend(
        &mut self,
        alerts: impl IntoIterator<Item = Alert>,
        profile: Option<&str>,
        subject: Option<SubjectTag>,
    ) {
        for Alert { rule, count, reason } in alerts {
            let (caller, id) = (self.base.actor.as_ref().and_then(|actor| actor.name.as_deref()), rule.id());
            tracing::warn!(rule = id, caller, profile, count, reason, "Alert raised");
            let subject = subject.filter(|_| rule == Rule::RateSubject);
            self.entries.push(Entry {
                event: Event::AlertRaised,
                outcome: Outcome::Success,
                profile: profile.map(str::to_owned),
                rules: vec![id],
                count,
                subject: subject.map(|tag| base64url_encode(&tag)),
                reason: Some(reason),
                ..self.base.clone()
            });
        }
    }
}
