//! Records as their sink sends them, a bounded number at a time. Pure.

use super::cursor::Position;
use super::{Form, Kind, Settings, journal, otlp, syslog};
use crate::audit::Line;
use crate::audit::export::{ocsf, severity};
use crate::audit::select::is_one_of;
use crate::sys::process;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::ops::ControlFlow;

/// Records of a batch, at most.
const RECORDS: usize = 512;
/// Its bytes, about.
pub(super) const BYTES: usize = 1024 * 1024;

/// One record as it is sent.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// The place after it.
    pub(super) after: Position,
    pub(super) bytes: Vec<u8>,
}

/// Some records in order, without those that the sink does not ask for.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    pub(super) messages: Vec<Message>,
    bytes: usize,
    /// When the first of them was written.
    pub(super) oldest: Option<Timestamp>,
}

/// How one sink writes records.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    kind: Kind,
    form: Form,
    events: Vec<String>,
    header: syslog::Header,
}

/// What sinks tell apart of a record.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Said<'a> {
    #[serde(borrow)]
    pub(super) outcome: Cow<'a, str>,
    #[serde(borrow, default)]
    actor: Actor<'a>,
    #[serde(borrow)]
    request: Option<Cow<'a, str>>,
    #[serde(borrow)]
    profile: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    jti: Option<Cow<'a, str>>,
    #[serde(borrow)]
    object: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    rules: Vec<Cow<'a, str>>,
}

#[derive(Debug, Default, Deserialize)]
struct Actor<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

impl Said<'_> {
    /// Members that have one text, by name, in a fixed order.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let texts = [
            ("outcome", Some(&self.outcome)),
            ("caller", self.actor.name.as_ref()),
            ("request", self.request.as_ref()),
            ("profile", self.profile.as_ref()),
            ("kid", self.kid.as_ref()),
            ("jti", self.jti.as_ref()),
            ("object", self.object.as_ref()),
        ];
        texts.into_iter().filter_map(|(name, text)| Some((name, text?.as_ref())))
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(AsRef::as_ref)
    }
}

/// One record, and what is to be sent of it.
pub(super) struct Told<'a> {
    pub(super) line: &'a Line<'a>,
    pub(super) said: Said<'a>,
    /// 1, informational, to 4, high.
    pub(super) severity: (u32, &'static str),
    /// All of it, in the form that was asked for.
    pub(super) text: Cow<'a, str>,
}

impl Writer {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            kind: settings.kind.clone(),
            form: settings.form,
            events: settings.events.clone(),
            header: syslog::Header::new(&process::host_name(), std::process::id()),
        }
    }

    /// Adds a record to a batch, if the sink asks for it; whether there is room for more.
    pub(super) fn add(&self, batch: &mut Batch, line: &Line<'_>, after: &Position) -> ControlFlow<()> {
        if !is_one_of(&self.events, line.event) {
            return ControlFlow::Continue(());
        }
        let bytes = self.encode(line);
        batch.bytes += bytes.len();
        if batch.oldest.is_none() {
            batch.oldest = line.time.parse().ok();
        }
        batch.messages.push(Message { after: after.clone(), bytes });
        if batch.messages.len() >= RECORDS || batch.bytes >= BYTES {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    pub(super) fn encode(&self, line: &Line<'_>) -> Vec<u8> {
        // Of a record that was read all this can be had: it is JSON, in UTF-8.
        let said: Said<'_> = serde_json::from_slice(line.bytes).unwrap_or_default();
        let text = match self.form {
            Form::Json => String::from_utf8_lossy(line.bytes),
            Form::Ocsf => {
                let record: Map<String, Value> = serde_json::from_slice(line.bytes).unwrap_or_default();
                Cow::Owned(ocsf(record).to_string())
            }
        };
        let severity = severity(line.event, &said.outcome);
        let told = Told { line, said, severity, text };
        match &self.kind {
            Kind::SyslogUnix(_) => self.header.message(&told),
            Kind::SyslogTcp { .. } | Kind::SyslogTls { .. } => syslog::framed(&self.header.message(&told)),
            Kind::Journald(_) => journal::entry(&told),
            Kind::Otlp { .. } => otlp::record(&told),
        }
    }
}
