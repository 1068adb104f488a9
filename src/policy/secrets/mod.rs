//! No secret and no personal data where the profile does not say so: looks at names, strings and numbers of claims at
//! every depth.
//!
//! Finds what was put there by mistake; whoever means to hide something can. Linear time: every look goes over a text
//! once, in steps of bounded size, and a cheap first look spares most texts the others. Never repeats what was found.

mod card;
mod email;
mod iban;
mod key;
mod national;
mod random;
#[cfg(test)]
mod tests;

use super::findings::{Findings, at_claim, claim};
use super::judge::Case;
use crate::jose::PRIVATE_MEMBERS;
use crate::jose::json::Pointer;
use crate::profile::{Detector, DetectorSet, Detectors, Profile};
use serde_json::{Map, Number, Value};

/// A built-in detector, its rule, what it finds and what to do.
type Kind = (Detector, &'static str, &'static str, &'static str);
const KINDS: [Kind; 8] = [
    (
        Detector::NAME,
        "data.name",
        "a name that tells of a secret",
        "remove it, or name it otherwise if it holds none",
    ),
    (Detector::CARD, "data.card", "a payment card's number", "send the last four digits or a reference"),
    (Detector::IBAN, "data.iban", "a bank account's number", "send a reference to the account"),
    (Detector::EMAIL, "data.email", "an e-mail address", "send an identifier that is no address"),
    (
        Detector::NATIONAL_ID,
        "data.national_id",
        "a national identity number",
        "send an identifier of your own",
    ),
    (Detector::PRIVATE_KEY, "data.private_key", "a private key", "remove it, and replace that key"),
    (Detector::JWT, "data.jwt", "a JWT", "send the claims that are needed instead"),
    (Detector::ENTROPY, "data.entropy", "text that looks like a password or access key", "remove it"),
];
const CUSTOM: &str = "data.custom";

/// Standard claims and members that are random or hashed by definition, at any depth: identifiers (RFC 7519, RFC 8693,
/// RFC 8417, OpenID Connect), hashes of other things and thumbprints of keys (RFC 7800, RFC 8705, RFC 9449).
fn is_random_by_definition(name: &str) -> bool {
    matches!(
        name,
        "sub"
            | "client_id"
            | "azp"
            | "sid"
            | "jti"
            | "txn"
            | "nonce"
            | "at_hash"
            | "c_hash"
            | "s_hash"
            | "ath"
            | "jkt"
            | "kid"
            | "x5t"
            | "x5t#S256"
            | "content_digest"
    )
}

/// Judges all claims. Gives the exceptions that were used, as `DETECTOR:CLAIM`.
pub(super) fn judge(case: &Case<'_>, findings: &mut Findings) -> Vec<String> {
    let (profile, detectors) = (case.profile, &case.profile.detectors);
    let (mut exceptions, mut everywhere) = (Vec::new(), DetectorSet::default());
    for (name, value) in case.claims.as_object().into_iter().flatten() {
        let found = in_member(detectors, name, value, detectors.active());
        if found.is_empty() {
            continue;
        }
        let may_hold = profile.claims.get(name).map(|rule| rule.may_hold).unwrap_or_default();
        for detector in found.and(may_hold).iter() {
            exceptions.push(format!("{}:{name}", detectors.own.name(detector)));
        }
        let refused = found.without(may_hold);
        for detector in refused.iter() {
            let at = || locate(detectors, name, value, detector);
            findings.violated(rule(detector), at, || told(profile, &claim(name), detector));
        }
        everywhere = everywhere.or(refused);
    }
    // A dry run says of each once that it holds.
    let mut holds = |rule| findings.check(rule, true, || Pointer::default().name("claims"), String::new);
    for (detector, rule, ..) in KINDS {
        if detectors.active().contains(detector) && !everywhere.contains(detector) {
            holds(rule);
        }
    }
    if !detectors.own.is_empty() && !everywhere.iter().any(Detector::is_own) {
        holds(CUSTOM);
    }
    exceptions
}

/// What is in the id of a consent that becomes a claim. It may look random.
pub(super) fn judge_consent_id(
    profile: &Profile,
    id: &str,
    at: impl Fn() -> Pointer,
    findings: &mut Findings,
) {
    let detectors = &profile.detectors;
    for detector in in_text(detectors, id, without_entropy(detectors.active())).iter() {
        findings.violated(rule(detector), &at, || {
            format!(
                "\"id\" of \"consent\" has {} in it; send an id that says nothing",
                what(profile, detector)
            )
        });
    }
}

/// Whether a text can be told back: nothing is in it that detectors find.
pub(super) fn is_harmless(detectors: &Detectors, text: &str) -> bool {
    in_text(detectors, text, DetectorSet::ALL).is_empty()
}

/// Makes everything that is made once, so that no request waits for it.
pub(super) fn prepare() {
    national::prepare();
}

fn kind(detector: Detector) -> Option<&'static Kind> {
    KINDS.iter().find(|(kind, ..)| *kind == detector)
}
/// The rule that a detector stands for.
pub(super) fn rule(detector: Detector) -> &'static str {
    kind(detector).map_or(CUSTOM, |(_, rule, ..)| rule)
}
/// What a detector finds, for a sentence.
pub(super) fn what(profile: &Profile, detector: Detector) -> String {
    match kind(detector) {
        Some((_, _, what, _)) => (*what).to_owned(),
        None => format!("what detector {:?} looks for", profile.detectors.own.name(detector)),
    }
}
fn told(profile: &Profile, place: &str, detector: Detector) -> String {
    let remedy = kind(detector).map_or("remove it", |(.., remedy)| remedy);
    format!(
        "{place} has {} in it; {remedy}, or ask for may_hold = [{:?}] to be added to the claim under [profile.{}.claims]",
        what(profile, detector),
        profile.detectors.own.name(detector),
        profile.name
    )
}

fn in_member(detectors: &Detectors, name: &str, value: &Value, active: DetectorSet) -> DetectorSet {
    by_name(detectors, name, value).or(in_value(detectors, value, under(name, active)))
}
fn by_name(detectors: &Detectors, name: &str, value: &Value) -> DetectorSet {
    // Nothing, yes and no are no secrets.
    match value {
        Value::Null | Value::Bool(_) => DetectorSet::default(),
        _ => detectors.of_name(name),
    }
}
/// What is looked for in the value of a member.
fn under(name: &str, active: DetectorSet) -> DetectorSet {
    if is_random_by_definition(name) { without_entropy(active) } else { active }
}
/// As deep as the parser allowed.
fn in_value(detectors: &Detectors, value: &Value, active: DetectorSet) -> DetectorSet {
    match value {
        Value::Null | Value::Bool(_) => DetectorSet::default(),
        Value::Number(number) => in_number(detectors, number, active),
        Value::String(text) => in_text(detectors, text, active),
        Value::Array(elements) => elements
            .iter()
            .fold(DetectorSet::default(), |found, element| found.or(in_value(detectors, element, active))),
        Value::Object(members) => {
            let kty = kty(members);
            members.iter().fold(in_object(members, active), |found, (name, value)| {
                let in_name = in_text(detectors, name, active);
                found.or(in_name).or(in_member(detectors, name, value, beside(kty, name, active)))
            })
        }
    }
}
/// Type of the key, if it is a JWK (RFC 7517).
fn kty(members: &Map<String, Value>) -> Option<&str> {
    members.get("kty").and_then(Value::as_str)
}
/// The key itself is random by definition, and what stands beside it in its JWK is not. A private one is told as what
/// it is.
fn beside(kty: Option<&str>, name: &str, active: DetectorSet) -> DetectorSet {
    let is_public = matches!(kty, Some("EC" | "RSA" | "OKP" | "AKP"))
        && matches!(name, "n" | "e" | "x" | "y" | "pub" | "x5c");
    if is_public || (kty.is_some() && PRIVATE_MEMBERS.contains(&name)) {
        without_entropy(active)
    } else {
        active
    }
}
fn in_object(members: &Map<String, Value>, active: DetectorSet) -> DetectorSet {
    DetectorSet::when(key::is_private_jwk(members), Detector::PRIVATE_KEY).and(active)
}
fn without_entropy(active: DetectorSet) -> DetectorSet {
    active.without(DetectorSet::when(true, Detector::ENTROPY))
}

/// Whole numbers are looked at as they are written.
fn in_number(detectors: &Detectors, number: &Number, active: DetectorSet) -> DetectorSet {
    // Too short for any number that is known; dates are far below.
    const SHORTEST: u64 = 1_000_000_000_000;
    let whole = number.as_i64().map(i64::unsigned_abs).or(number.as_u64()).or_else(|| {
        // The parser lets no number pass whose neighbours a double cannot tell apart.
        number.as_f64().filter(|float| float.fract() == 0.0).map(|float| float.abs() as u64)
    });
    match whole {
        Some(whole) if whole >= SHORTEST || detectors.own.have_patterns() => {
            in_text(detectors, &whole.to_string(), active)
        }
        None if detectors.own.have_patterns() => in_text(detectors, &number.to_string(), active),
        _ => DetectorSet::default(),
    }
}

fn in_text(detectors: &Detectors, text: &str, active: DetectorSet) -> DetectorSet {
    let mut found = detectors.own.in_text(text);
    let first = FirstLook::at(text);
    let mut look = |worth: bool, detector, holds: fn(&str) -> bool| {
        if worth && active.contains(detector) && holds(text) {
            found.insert(detector);
        }
    };
    look(first.digits >= card::LEAST, Detector::CARD, card::is_in);
    look(first.digits >= iban::LEAST_DIGITS && first.longest_run >= 4, Detector::IBAN, iban::is_in);
    look(first.signs & AT != 0, Detector::EMAIL, email::is_in);
    look(first.digits >= national::LEAST_DIGITS, Detector::NATIONAL_ID, national::is_in);
    look(first.signs & KEY != 0 || first.longest_run >= key::LEAST, Detector::PRIVATE_KEY, key::is_in);
    // Keys are random too, and are told as what they are.
    if first.longest_run >= random::LEAST && !found.contains(Detector::PRIVATE_KEY) {
        let (jwt, entropy) = random::look(text);
        found =
            found.or(DetectorSet::when(jwt, Detector::JWT)).or(DetectorSet::when(entropy, Detector::ENTROPY));
    }
    found.and(active)
}

/// Whether a text has what detectors need, found in one pass.
struct FirstLook {
    digits: usize,
    signs: u8,
    /// Longest run of characters that base64, base64url and decimal numbers are written with.
    longest_run: usize,
}
const DIGIT: u8 = 1;
const WORD: u8 = 2;
const AT: u8 = 4;
const KEY: u8 = 8;
fn class(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => DIGIT | WORD,
        b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'+' | b'/' | b'=' | b'.' => WORD,
        b'@' | b'%' => AT,
        b'"' => KEY,
        _ => 0,
    }
}
impl FirstLook {
    fn at(text: &str) -> Self {
        let mut look = Self { digits: 0, signs: 0, longest_run: 0 };
        let mut run = 0;
        for byte in text.bytes() {
            let class = class(byte);
            look.signs |= class;
            look.digits += usize::from(class & DIGIT);
            run = if class & WORD == 0 { 0 } else { run + 1 };
            look.longest_run = look.longest_run.max(run);
        }
        look
    }
}

/// The first place where `detector` finds something in a claim.
fn locate(detectors: &Detectors, name: &str, value: &Value, detector: Detector) -> Pointer {
    locate_member(detectors, name, value, detector, detectors.active(), at_claim(name))
}
fn locate_member(
    detectors: &Detectors,
    name: &str,
    value: &Value,
    detector: Detector,
    active: DetectorSet,
    at: Pointer,
) -> Pointer {
    if by_name(detectors, name, value).contains(detector) {
        return at;
    }
    locate_in(detectors, value, detector, under(name, active), at)
}
fn locate_in(
    detectors: &Detectors,
    value: &Value,
    detector: Detector,
    active: DetectorSet,
    at: Pointer,
) -> Pointer {
    let is_there = |found: DetectorSet| found.contains(detector);
    match value {
        Value::Array(elements) => {
            let mut places = elements.iter().enumerate();
            match places.find(|(_, element)| is_there(in_value(detectors, element, active))) {
                Some((index, element)) => locate_in(detectors, element, detector, active, at.index(index)),
                None => at,
            }
        }
        Value::Object(members) => {
            if is_there(in_object(members, active)) {
                return at;
            }
            let kty = kty(members);
            for (name, value) in members {
                let active_there = beside(kty, name, active);
                if is_there(in_text(detectors, name, active)) {
                    return at;
                } else if is_there(in_member(detectors, name, value, active_there)) {
                    return locate_member(detectors, name, value, detector, active_there, at.name(name));
                }
            }
            at
        }
        _ => at,
    }
}

/// One step of a look at a text; tests count them.
#[inline]
fn step() {
    #[cfg(test)]
    tests::STEPS.with(|steps| steps.set(steps.get() + 1));
}
/// Length of the separator at the beginning of `rest`, bytes: a space or dash, as people and word processors write them.
fn separator(rest: &[u8]) -> usize {
    match rest {
        [b' ' | b'-', ..] => 1,
        [0xc2, 0xa0, ..] => 2,                                       // no-break space
        [0xe2, 0x80, 0x90..=0x95, ..] | [0xe2, 0x80, 0xaf, ..] => 3, // dashes, narrow no-break space
        _ => 0,
    }
}
