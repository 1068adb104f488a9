//! The condition of a profile, evaluated over one request. Whatever goes wrong is a no.
//!
//! Only what the expression refers to is looked at, when it is, and texts are not copied.

use super::findings::{Findings, at_claim, claim};
use super::judge::Case;
use crate::jose::json::Pointer;
use crate::profile::{CallerFact, Condition, Input, PATTERN_TYPE, Pattern};
use cel::common::types::STRING_TYPE;
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError};
use serde_json::Value;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// `audience` and `ttl` are what the JWT would have.
pub(super) fn judge(case: &Case<'_>, audience: &[String], ttl: Duration, findings: &mut Findings) {
    let Some(condition) = &case.profile.condition else { return };
    let inputs = Inputs { case, condition, audience, ttl };
    // A defect of the evaluator is the refusal of one request. Nothing is shared that it could leave half done.
    let result = catch_unwind(AssertUnwindSafe(|| inputs.evaluate())).ok().flatten();
    let at = || Pointer::default().name("claims");
    // What breaks another rule may be what it stumbled over, and that is told already.
    if result.is_some() || !findings.has_violation() {
        let missing = || inputs.missing().map_or_else(at, at_claim);
        findings.check("condition.error", result.is_some(), missing, || inputs.trouble());
    }
    if let Some(holds) = result {
        findings.check("condition.holds", holds, at, || {
            let why = condition.message.as_deref();
            let why = why.unwrap_or("ask those who wrote it what it demands");
            format!("the condition of profile \"{}\" does not hold; {why}", case.profile.name)
        });
    }
}

struct Inputs<'a> {
    case: &'a Case<'a>,
    condition: &'a Condition,
    audience: &'a [String],
    ttl: Duration,
}

impl Inputs<'_> {
    /// `None` if it ends in an error or in something else than true or false.
    fn evaluate(&self) -> Option<bool> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(self);
        let result = cel::Value::resolve_val(self.condition.expression(), &context).ok()?;
        result.downcast_ref::<CelBool>().map(|truth| *truth.inner())
    }

    /// The first claim that it refers to and that is not there.
    fn missing(&self) -> Option<&str> {
        self.condition
            .inputs()
            .iter()
            .find_map(|input| match input {
                Input::Claim(path) => path.first().filter(|name| self.case.claims.get(name).is_none()),
                _ => None,
            })
            .map(String::as_str)
    }
    fn trouble(&self) -> String {
        let profile = &self.case.profile.name;
        match self.missing() {
            Some(name) => format!(
                "{} is missing, and the condition of profile \"{profile}\" needs it; send it",
                claim(name)
            ),
            None => format!(
                "the condition of profile \"{profile}\" cannot be judged; something that it looks at is missing or of another type than it expects"
            ),
        }
    }

    fn value(&self, input: &Input) -> Option<Box<dyn Val + '_>> {
        let caller = self.case.caller;
        let facts = caller.peer().facts();
        Some(match input {
            Input::Claim(path) => value(walk(self.case.claims, path)?),
            Input::Caller(CallerFact::Name) => text(caller.name()),
            Input::Caller(CallerFact::Uid) => Box::new(CelInt::from(i64::from(caller.peer().uid()))),
            Input::Caller(CallerFact::Gid) => Box::new(CelInt::from(i64::from(caller.peer().gid()))),
            Input::Caller(CallerFact::Exe) => text(facts.exe.as_ref()?.to_str()?),
            Input::Caller(CallerFact::Unit) => text(facts.unit.as_deref()?),
            Input::Profile => text(self.case.profile.name.as_str()),
            Input::Ttl => Box::new(CelInt::from(i64::try_from(self.ttl.as_secs()).ok()?)),
            Input::Audience => {
                let texts = self.audience.iter().map(|audience| text(audience));
                Box::new(CelList::from(texts.collect::<Vec<_>>()))
            }
            Input::Consent(name) => value(walk(self.case.consent?, name)?),
            Input::Session(name) => value(walk(self.case.session?, name)?),
            Input::Now => Box::new(CelInt::from(self.case.now.as_second())),
            Input::Has(_) | Input::Pattern(_) => return None,
        })
    }
    /// As CEL has it: it is an error to ask for a part of something that is not there.
    fn has(&self, input: &Input) -> Option<bool> {
        let Input::Claim(path) = input else { return Some(self.value(input).is_some()) };
        let (name, above) = path.split_last()?;
        Some(walk(self.case.claims, above)?.as_object()?.contains_key(name))
    }
}

impl VariableResolver for Inputs<'_> {
    /// Names are `@` and a number.
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let number: usize = name.strip_prefix('@')?.parse().ok()?;
        match self.condition.inputs().get(number)? {
            Input::Pattern(pattern) => Some(CowVal::Borrowed(pattern)),
            Input::Has(input) => self.has(input).map(|has| CowVal::owned(CelBool::from(has))),
            input => self.value(input).map(CowVal::Owned),
        }
    }
}

fn walk<'v, 'n>(value: &'v Value, path: impl IntoIterator<Item = &'n String>) -> Option<&'v Value> {
    path.into_iter().try_fold(value, |value, name| value.as_object()?.get(name))
}
fn text(text: &str) -> Box<dyn Val + '_> {
    Box::new(CelString::from(text))
}
/// As deep as the parser allowed.
fn value(json: &Value) -> Box<dyn Val + '_> {
    match json {
        Value::Null => Box::new(CelNull),
        Value::Bool(truth) => Box::new(CelBool::from(*truth)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Box::new(CelInt::from(integer)),
            (None, Some(integer)) => Box::new(CelUInt::from(integer)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(string) => text(string),
        Value::Array(elements) => Box::new(CelList::from(elements.iter().map(value).collect::<Vec<_>>())),
        Value::Object(members) => {
            let entries =
                members.iter().map(|(name, member)| (CelMapKey::from(name.as_str()), value(member)));
            Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
        }
    }
}

/// The standard functions, and `matches` for patterns that are compiled. It is built once.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::default().with_optional_support(false).with_stdlib();
    // It fails only if there is one already; a call without it would be an error, and so a no.
    let _ = environment.add_member_overload(
        "matches",
        "string_matches_pattern",
        STRING_TYPE,
        vec![PATTERN_TYPE.to_owned()],
        matches,
    );
    Arc::new(environment)
});

fn matches<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [text, pattern] = arguments.as_slice() else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    match (text.downcast_ref::<CelString>(), pattern.downcast_ref::<Pattern>()) {
        (Some(text), Some(Pattern(regex))) => Ok(CowVal::owned(CelBool::from(regex.is_match(text.inner())))),
        _ => Err(ExecutionError::missing_argument_or_target()),
    }
}
