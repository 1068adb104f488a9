//! Records that somebody asks for: by when they were written and what they say.
//!
//! Reads the log itself, never an index beside it. Whether the log is sound is [`super::verify`]'s to say, and comes
//! first.

use std::borrow::Cow;
use std::io::{self, BufReader};
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use super::leaves::open;
use super::line::{Line, Lines, time_text};
use super::segment::list;
use crate::subject::{Kind, SubjectKey};

/// Whom records are to be about.
#[derive(Debug)]
pub struct Person {
    /// Finds their records.
    pub key: SubjectKey,
    /// What of theirs a record must name: the person, a session, a consent.
    pub of: Vec<(Kind, String)>,
}

/// What a record must say; what is empty asks for nothing.
#[derive(Debug, Default)]
pub struct Filter {
    /// One of these events, or of a family of them: `jwt.issued`, `key.*`.
    pub events: Vec<String>,
    /// `success`, `denied` or `failed`.
    pub outcome: Option<String>,
    /// Name of the caller, as configured.
    pub caller: Option<String>,
    /// Name of the profile.
    pub profile: Option<String>,
    /// Key version.
    pub kid: Option<String>,
    /// Id of the JWT.
    pub jti: Option<String>,
    /// Our id of the request.
    pub request: Option<String>,
    /// Id of a rule that it broke.
    pub rule: Option<String>,
    /// Name of a key or a backend.
    pub object: Option<String>,
    /// About this person: their key, and what of theirs a record must name.
    pub person: Option<Person>,
    /// Written then or later.
    pub from: Option<Timestamp>,
    /// Written before.
    pub until: Option<Timestamp>,
}

/// What filters look at.
#[derive(Deserialize)]
struct Said<'a> {
    outcome: &'a str,
    #[serde(default)]
    actor: Actor<'a>,
    #[serde(borrow)]
    profile: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    jti: Option<Cow<'a, str>>,
    #[serde(borrow)]
    request: Option<Cow<'a, str>>,
    #[serde(borrow)]
    object: Option<Cow<'a, str>>,
    #[serde(borrow)]
    subject: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session: Option<Cow<'a, str>>,
    #[serde(borrow)]
    consent: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    rules: Vec<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
struct Actor<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

impl Said<'_> {
    /// Whether the tags are those of the person with this key, and of these things of theirs.
    fn is_of(&self, Person { key, of }: &Person) -> bool {
        let Some(nonce) = self.jti.as_deref().or(self.request.as_deref()) else { return false };
        let has =
            |tag: Option<&str>, kind, text: &str| tag.is_some_and(|tag| tag == key.tag(kind, text, nonce));
        let named = |(kind, text): &(Kind, String)| match kind {
            Kind::Subject => has(self.subject.as_deref(), *kind, ""),
            Kind::Session => has(self.session.as_deref(), *kind, text),
            Kind::Consent => has(self.consent.as_deref(), *kind, text),
        };
        of.iter().all(named)
    }
}

impl Filter {
    /// Calls `found` for each record that says all this, in the order of the log; a line that is no record is passed
    /// over. `progress` gets bytes done and bytes in all.
    ///
    /// # Errors
    /// If the log cannot be read, and whatever `found` says.
    pub fn each(
        &self,
        dir: &Path,
        progress: &mut dyn FnMut(u64, u64),
        found: &mut dyn FnMut(&Line<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let (from, until) = (self.from.map(time_text), self.until.map(time_text));
        let (segments, _) = list(dir)?;
        let total = segments.iter().map(|segment| segment.size).sum();
        let mut done = 0;
        for segment in segments {
            let mut lines = Lines::new(BufReader::with_capacity(256 * 1024, open(dir, &segment.name)?));
            while let Some(raw) = lines.next()? {
                // The rest of a line that is being written is no line of its own.
                if raw.is_torn() {
                    break;
                }
                let Ok(line) = raw.record() else { continue };
                // Times have one form only, so that their texts are in their order.
                let is_then = from.as_deref().is_none_or(|from| line.time >= from)
                    && until.as_deref().is_none_or(|until| line.time < until);
                if is_then && self.matches(&line) {
                    found(&line)?;
                }
            }
            done += segment.size;
            progress(done, total);
        }
        Ok(())
    }

    fn matches(&self, line: &Line<'_>) -> bool {
        if !is_one_of(&self.events, line.event) {
            return false;
        }
        let wanted = [
            &self.outcome,
            &self.caller,
            &self.profile,
            &self.kid,
            &self.jti,
            &self.request,
            &self.object,
            &self.rule,
        ];
        if self.person.is_none() && wanted.iter().all(|wanted| wanted.is_none()) {
            return true;
        }
        let Ok(said) = serde_json::from_slice::<Said<'_>>(line.bytes) else {
            return false;
        };
        let says =
            |wanted: &Option<String>, said: Option<&str>| wanted.is_none() || wanted.as_deref() == said;
        says(&self.outcome, Some(said.outcome))
            && says(&self.caller, said.actor.name.as_deref())
            && says(&self.profile, said.profile.as_deref())
            && says(&self.kid, said.kid.as_deref())
            && says(&self.jti, said.jti.as_deref())
            && says(&self.request, said.request.as_deref())
            && says(&self.object, said.object.as_deref())
            && self.rule.as_ref().is_none_or(|rule| said.rules.iter().any(|said| said == rule))
            && self.person.as_ref().is_none_or(|person| said.is_of(person))
    }
}

/// Whether an event is one of these, or of one of these families; everything is if there are none.
pub(super) fn is_one_of(events: &[String], event: &str) -> bool {
    let is = |wanted: &String| match wanted.strip_suffix('*') {
        Some(family) => event.starts_with(family),
        None => event == wanted,
    };
    events.is_empty() || events.iter().any(is)
}
