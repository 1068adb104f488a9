//! What an expression can refer to, and how it is written there.

use super::Pattern;
use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};
use std::collections::BTreeSet;

/// Something that an expression has from outside.
#[derive(Debug, Clone)]
pub enum Input {
    /// `claims.NAME`, and members in it: never empty.
    Claim(Vec<String>),
    /// `caller.NAME`.
    Caller(CallerFact),
    /// `request.profile`: the name of the profile.
    Profile,
    /// `request.ttl`: seconds, the profile's default if the caller asks for none.
    Ttl,
    /// `request.audience`: the audiences that the JWT would have.
    Audience,
    /// `request.consent.NAME`; the consent as a whole if empty, for `has` only.
    Consent(Option<String>),
    /// `request.session.NAME`; the session as a whole if empty, for `has` only.
    Session(Option<String>),
    /// `now`: a NumericDate, as the dates in claims are.
    Now,
    /// `has(...)` of another one.
    Has(Box<Input>),
    /// What `matches` looks for.
    Pattern(Pattern),
}
impl Input {
    /// What `has` asks for, or it itself.
    pub fn known(&self) -> &Self {
        match self {
            Self::Has(input) => input.known(),
            other => other,
        }
    }
}
/// Facts of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerFact {
    /// The name that the configuration gives it.
    Name,
    /// User id.
    Uid,
    /// Group id.
    Gid,
    /// Path of the executable, if it is known.
    Exe,
    /// systemd unit, if it is known.
    Unit,
}

const CALLER: [(&str, CallerFact); 5] = [
    ("name", CallerFact::Name),
    ("uid", CallerFact::Uid),
    ("gid", CallerFact::Gid),
    ("exe", CallerFact::Exe),
    ("unit", CallerFact::Unit),
];
const CONSENT: [&str; 4] = ["id", "purposes", "granted_at", "expires_at"];
const SESSION: [&str; 3] = ["id", "auth_time", "expires_at"];

/// What a node refers to; `None` if it is no reference. Names are written as `a.b` or `a["b"]`.
pub(super) fn input(node: &IdedExpr, claims: &BTreeSet<&str>) -> Option<Result<Input, String>> {
    if let Expr::Select(select) = &node.expr
        && select.test
    {
        let mut path = path(&select.operand)?;
        path.push(&select.field);
        return Some(resolve(&path, claims, true).map(|input| Input::Has(Box::new(input))));
    }
    path(node).map(|path| resolve(&path, claims, false))
}

fn path(node: &IdedExpr) -> Option<Vec<&str>> {
    let (operand, name) = match &node.expr {
        Expr::Ident(name) => return Some(vec![name]),
        Expr::Select(select) if !select.test => (&*select.operand, select.field.as_str()),
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }] => {
                (operand, name.inner())
            }
            _ => return None,
        },
        _ => return None,
    };
    let mut path = path(operand)?;
    path.push(name);
    Some(path)
}

fn resolve(path: &[&str], claims: &BTreeSet<&str>, has: bool) -> Result<Input, String> {
    match *path {
        ["now"] => Ok(Input::Now),
        ["now", ..] => Err("now is a number of seconds since 1970 and has no parts: compare it".into()),
        ["claims"] => Err("say which claim: write claims.NAME or claims[\"NAME\"]".into()),
        ["claims", name, ..] if !claims.contains(name) => Err(match name {
            "aud" => "the audiences are in request.audience: use that".into(),
            _ => format!("this profile has no claim {name:?}: use another, or add it under claims"),
        }),
        ["claims", ref names @ ..] => Ok(Input::Claim(names.iter().map(|name| (*name).to_owned()).collect())),
        ["caller", name] => {
            let fact = CALLER.iter().find(|(known, _)| *known == name).map(|(_, fact)| Input::Caller(*fact));
            fact.ok_or_else(|| members(path, 1, &CALLER.map(|(name, _)| name)))
        }
        ["caller", ..] => Err(members(path, 1, &CALLER.map(|(name, _)| name))),
        ["request", "profile"] => Ok(Input::Profile),
        ["request", "ttl"] => Ok(Input::Ttl),
        ["request", "audience"] => Ok(Input::Audience),
        ["request", "consent"] if has => Ok(Input::Consent(None)),
        ["request", "consent", name] if CONSENT.contains(&name) => Ok(Input::Consent(Some(name.to_owned()))),
        ["request", "consent", ..] => Err(members(path, 2, &CONSENT)),
        ["request", "session"] if has => Ok(Input::Session(None)),
        ["request", "session", name] if SESSION.contains(&name) => Ok(Input::Session(Some(name.to_owned()))),
        ["request", "session", ..] => Err(members(path, 2, &SESSION)),
        ["request", ..] => Err(members(path, 1, &["profile", "ttl", "audience", "consent", "session"])),
        [name, ..] => {
            Err(format!("there is no {name:?} here: use claims.NAME, caller.NAME, request.NAME or now"))
        }
        [] => Err("this refers to nothing: remove it".into()),
    }
}
/// What to write for `path`, whose first `known` names are right.
fn members(path: &[&str], known: usize, names: &[&str]) -> String {
    let (of, written) = (path.get(..known).unwrap_or_default().join("."), path.join("."));
    let wrong = if path.len() > known { format!("there is no {written}: ") } else { String::new() };
    format!("{wrong}write one of {of}.{}", names.join(&format!(", {of}.")))
}
