//! Test cases for a policy. Their files are read as strictly as the configuration: all faults at once, with line and path.
//!
//! Only says what is asked and expected; what a policy answers is for others to find out.

pub(super) mod file;
#[cfg(test)]
mod tests;

use super::schema::FileSchema;
use crate::transport::PeerCredentials;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The id under which a process that no `[caller]` fits is refused, as its record says it.
pub const UNKNOWN_CALLER: &str = "caller.unknown";

/// Of a file of cases.
pub(super) static SCHEMA: LazyLock<FileSchema> =
    LazyLock::new(|| FileSchema::of::<file::Cases>("Cases of a policy"));

/// One request, and what the policy must answer to it.
#[derive(Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Where it begins in its file, 1-based.
    pub line: usize,
    /// The process that asks.
    pub process: Arc<PeerCredentials>,
    /// When it asks.
    pub now: Timestamp,
    /// The request, strictly parsed.
    pub request: Value,
    /// What must come of it.
    pub expect: Expect,
}
/// What must come of a request.
#[derive(Debug)]
pub enum Expect {
    /// A grant within bounds.
    Grant(Bounds),
    /// Exactly these rules are broken; or [`UNKNOWN_CALLER`].
    Denied(BTreeSet<String>),
}
/// What a grant must be; what is `None` or empty may be anything.
#[derive(Debug, Default)]
pub struct Bounds {
    /// From `iat` to `exp`, exactly.
    pub ttl: Option<Duration>,
    /// From `iat` to `exp`, at most.
    pub ttl_max: Option<Duration>,
    /// In this order.
    pub audience: Option<Vec<String>>,
    /// The `iss` claim.
    pub issuer: Option<String>,
    /// Among the claims, with these values.
    pub claims: Map<String, Value>,
    /// Not among the claims.
    pub absent: Vec<String>,
}
