//! What a report reads of a record. Pure.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

type Text<'a> = Option<Cow<'a, str>>;

/// The members that figures are made of.
#[derive(Deserialize)]
pub(super) struct Said<'a> {
    pub(super) outcome: &'a str,
    #[serde(borrow)]
    pub(super) actor: Option<Actor<'a>>,
    #[serde(borrow)]
    pub(super) proposed_by: Option<Actor<'a>>,
    #[serde(borrow)]
    pub(super) profile: Text<'a>,
    #[serde(borrow)]
    pub(super) policy: Text<'a>,
    #[serde(borrow)]
    pub(super) previous: Text<'a>,
    #[serde(borrow, default)]
    pub(super) rules: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) kid: Text<'a>,
    #[serde(borrow)]
    pub(super) alg: Text<'a>,
    #[serde(borrow)]
    pub(super) enc: Text<'a>,
    pub(super) iat: Option<i64>,
    pub(super) exp: Option<i64>,
    #[serde(borrow)]
    pub(super) clk: Text<'a>,
    pub(super) count: Option<u64>,
    #[serde(borrow)]
    pub(super) session: Text<'a>,
    #[serde(borrow)]
    pub(super) consent: Text<'a>,
    #[serde(borrow, default)]
    pub(super) exceptions: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) object: Text<'a>,
    #[serde(borrow)]
    pub(super) reason: Text<'a>,
    #[serde(borrow)]
    pub(super) segment: Text<'a>,
    dropped: Option<u64>,
    after: Option<u64>,
    unknown: Option<u64>,
}

impl Said<'_> {
    /// What the log says of a fault of its own.
    fn fault(&self) -> Option<String> {
        let segment = self.segment.as_ref()?;
        let dropped = self.dropped.map(|bytes| format!(", {bytes} bytes dropped"));
        let unknown = self.unknown.zip(self.after);
        let unknown =
            unknown.map(|(count, after)| format!(", {count} records after {after} of unknown durability"));
        Some([Some(format!("segment {segment}")), dropped, unknown].into_iter().flatten().collect())
    }
}

/// Who did it, as recorded.
#[derive(Deserialize)]
pub(super) struct Actor<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    uid: u32,
    #[serde(borrow)]
    unit: Option<Cow<'a, str>>,
}

impl Actor<'_> {
    /// The caller's name, or the user where the configuration knows no caller.
    pub(super) fn caller(&self) -> String {
        self.name.as_deref().map_or_else(|| format!("(unknown, uid {})", self.uid), str::to_owned)
    }

    /// All that tells one operator from another.
    pub(super) fn operator(&self) -> String {
        let name = self.name.iter().map(|name| format!("{name}, "));
        let unit = self.unit.iter().map(|unit| format!(", {unit}"));
        name.chain([format!("uid {}", self.uid)]).chain(unit).collect()
    }
}

/// One record, for lists of what happened.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Its number.
    pub seq: u64,
    /// When it was written.
    pub time: String,
    /// What happened.
    pub event: String,
    /// How it ended.
    pub outcome: String,
    /// Who did it; the daemon itself when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Who asked first, where two must.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposed_by: Option<String>,
    /// Key or backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Key version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// Digest of the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Digest of the policy before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// In the record's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Told {
    pub(super) fn of(line: &crate::audit::Line<'_>, said: &Said<'_>) -> Self {
        let owned = |text: &Text<'_>| text.as_deref().map(str::to_owned);
        Self {
            seq: line.seq,
            time: line.time.to_owned(),
            event: line.event.to_owned(),
            outcome: said.outcome.to_owned(),
            by: said.actor.as_ref().map(Actor::operator),
            proposed_by: said.proposed_by.as_ref().map(Actor::operator),
            object: owned(&said.object),
            kid: owned(&said.kid),
            policy: owned(&said.policy),
            previous: owned(&said.previous),
            reason: owned(&said.reason).or_else(|| said.fault()),
        }
    }
}
