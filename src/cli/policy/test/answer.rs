//! What a policy answers to a case, and where that differs from what the case expects.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::config::{Bounds, Case, Config, Expect, UNKNOWN_CALLER};
use crate::policy::{Denial, Grant, Terms, Violation};

/// What came of a case's request.
pub(super) enum Answer {
    Granted(Box<Grant>),
    Denied(Vec<Violation>),
    /// No `[caller]` fits the process, or several do.
    Unknown(String),
}

impl Answer {
    /// Identifies and judges as the daemon does.
    pub(super) fn to(case: &Case, config: &Config) -> Self {
        let caller = match config.callers.identify(Arc::clone(&case.process)) {
            Ok(caller) => caller,
            Err(unknown) => return Self::Unknown(unknown.to_string()),
        };
        let judged = (config.policy.read(case.request.clone()))
            .and_then(|request| config.policy.authorize(&caller, request, case.now));
        match judged {
            Ok(grant) => Self::Granted(Box::new(grant)),
            Err(Denial { violations, .. }) => Self::Denied(violations),
        }
    }

    /// Ids of the rules that refused it.
    pub(super) fn rules(&self) -> BTreeSet<&str> {
        match self {
            Self::Granted(_) => BTreeSet::new(),
            Self::Denied(violations) => violations.iter().map(|violation| violation.rule).collect(),
            Self::Unknown(_) => BTreeSet::from([UNKNOWN_CALLER]),
        }
    }

    /// Everything in which it is not what was expected; nothing when the case passes.
    pub(super) fn differences(&self, expect: &Expect) -> Vec<String> {
        match (expect, self) {
            (Expect::Grant(bounds), Self::Granted(grant)) => outside(bounds, grant.terms()),
            (Expect::Grant(_), Self::Unknown(why)) => vec![format!("refused by {UNKNOWN_CALLER}: {why}")],
            (Expect::Grant(_), Self::Denied(violations)) => {
                let line = |v: &Violation| format!("refused by {} at {:?}: {}", v.rule, v.pointer, v.message);
                violations.iter().map(line).collect()
            }
            (Expect::Denied(_), Self::Granted(grant)) => {
                vec![format!("granted: {}", Granted::from(grant.terms()))]
            }
            (Expect::Denied(rules), _) => {
                let broken = self.rules();
                let held = rules.iter().filter(|rule| !broken.contains(rule.as_str()));
                let held = held.map(|rule| format!("{rule} does not refuse it"));
                let more = broken.iter().filter(|rule| !rules.contains(**rule));
                held.chain(more.map(|rule| format!("{rule} refuses it too"))).collect()
            }
        }
    }
}

/// Where a grant is not within its bounds.
fn outside(bounds: &Bounds, terms: &Terms) -> Vec<String> {
    let mut differences = Vec::new();
    let mut note = |what: &str, is: &dyn Display, expected: String| {
        differences.push(format!("{what} is {is}, not {expected}"));
    };
    if let Some(ttl) = bounds.ttl.filter(|ttl| *ttl != terms.ttl) {
        note("ttl", &readable(terms.ttl), readable(ttl));
    }
    if let Some(most) = bounds.ttl_max.filter(|most| *most < terms.ttl) {
        note("ttl", &readable(terms.ttl), format!("at most {}", readable(most)));
    }
    if let Some(audience) = bounds.audience.as_ref().filter(|audience| **audience != terms.audience) {
        note("audience", &format_args!("{:?}", terms.audience), format!("{audience:?}"));
    }
    if let Some(issuer) = bounds.issuer.as_ref().filter(|issuer| **issuer != terms.issuer) {
        note("issuer", &format_args!("{:?}", terms.issuer), format!("{issuer:?}"));
    }
    for (name, value) in &bounds.claims {
        match terms.claims.get(name) {
            Some(found) if found == value => {}
            Some(found) => note(&format!("claim {name:?}"), found, value.to_string()),
            None => note(&format!("claim {name:?}"), &"missing", value.to_string()),
        }
    }
    for name in bounds.absent.iter().filter(|name| terms.claims.contains_key(*name)) {
        differences.push(format!("claim {name:?} is there"));
    }
    differences
}

/// A grant, as far as it is shown.
#[derive(Serialize)]
pub(super) struct Granted<'a> {
    profile: &'a str,
    /// Seconds.
    ttl: u64,
    issuer: &'a str,
    audience: &'a [String],
    /// Names only.
    claims: Vec<&'a str>,
}
impl<'a> From<&'a Terms> for Granted<'a> {
    fn from(terms: &'a Terms) -> Self {
        Self {
            profile: terms.profile.name.as_str(),
            ttl: terms.ttl.as_secs(),
            issuer: &terms.issuer,
            audience: &terms.audience,
            claims: terms.claims.keys().map(String::as_str).collect(),
        }
    }
}
impl Display for Granted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { profile, ttl, issuer, audience, claims } = self;
        let claims = if claims.is_empty() { "none".to_owned() } else { claims.join(" ") };
        let (ttl, audience) = (readable(Duration::from_secs(*ttl)), audience.join(" "));
        write!(f, "profile {profile}, ttl {ttl}, issuer {issuer}, audience {audience}, claims {claims}")
    }
}

fn readable(duration: Duration) -> String {
    format!("{:#}", jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX))
}
