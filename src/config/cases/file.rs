//! Exactly what a file of test cases says, as `super::super::file` is for the configuration.

use crate::config::file::{NameOrNumber, optional_table, table};
use crate::config::units::DurationText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

table! {
    /// Requests, and what a policy must answer to them.
    Cases {
        /// The cases.
        case: Vec<Case>,
    }
}
table! {
    /// One request, and what the policy must answer to it.
    Case {
        /// What it shows, in a few words; no two cases of a file have the same.
        name: String,
        /// Name of a `[caller]`: the process is one that has what that asks for, and nothing more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caller: Option<String>,
        /// The process that asks, in place of `caller`, to see who it is taken for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        process: Option<Process>,
        /// When it asks (RFC 3339).
        #[serde(default = "now")]
        now: String,
        /// The request: a table, or JSON in quotes where TOML cannot say it.
        request: Request,
        /// What must come of it: `grant` or `denied`.
        expect: Expect,
    }
}
fn now() -> String {
    "2026-01-01T00:00:00Z".into()
}
optional_table! {
    /// A process, as the kernel would name it.
    Process {
        /// User it runs as, by name or number. One that no `[caller]` names when left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<NameOrNumber> = None,
        /// Its primary group, by name or number. One that no `[caller]` names when left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<NameOrNumber> = None,
        /// Its supplementary groups, by name or number.
        groups: Vec<NameOrNumber> = Vec::new(),
        /// Its executable, absolute path.
        #[serde(skip_serializing_if = "Option::is_none")]
        exe: Option<String> = None,
        /// Its systemd unit.
        #[serde(skip_serializing_if = "Option::is_none")]
        unit: Option<String> = None,
    }
}
/// A request as a table, or as the text that a caller would send.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(transform = table_or_text)]
pub(in crate::config) enum Request {
    Table(Map<String, Value>),
    Text(String),
}
/// A type list instead of `anyOf`, which would hide from faults what was expected.
fn table_or_text(schema: &mut schemars::Schema) {
    schema.remove("anyOf");
    schema.insert("type".to_owned(), Value::from(vec!["object", "string"]));
}
optional_table! {
    /// What must come of a request: exactly one of the two.
    Expect {
        /// It is granted, within these bounds.
        #[serde(skip_serializing_if = "Option::is_none")]
        grant: Option<Bounds> = None,
        /// It breaks exactly these rules, in any order. "caller.unknown" is for a process that no `[caller]` fits.
        #[serde(skip_serializing_if = "Option::is_none")]
        denied: Option<Vec<String>> = None,
    }
}
optional_table! {
    /// What a grant must be; what is left out may be anything.
    Bounds {
        /// Exactly so long from `iat` to `exp`.
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl: Option<DurationText> = None,
        /// At most so long from `iat` to `exp`.
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl_max: Option<DurationText> = None,
        /// The audiences, in this order.
        #[serde(skip_serializing_if = "Option::is_none")]
        audience: Option<Vec<String>> = None,
        /// The `iss` claim.
        #[serde(skip_serializing_if = "Option::is_none")]
        issuer: Option<String> = None,
        /// Claims that are there with these values, among others.
        claims: Map<String, Value> = Map::new(),
        /// Claims that are not there.
        absent: Vec<String> = Vec::new(),
    }
}
