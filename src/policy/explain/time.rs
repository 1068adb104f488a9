//! How long a JWT lives, how it is dated, and the login session that it never outlives.

use super::{Sentence, readable};
use crate::profile::{Kind, LONGEST, Profile};
use std::time::Duration;

pub(super) fn lifetime(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let (default, max) = (readable(profile.lifetime.default), readable(profile.lifetime.max));
    let mut rules = vec!["ttl.form", "ttl.positive", "ttl.max"];
    rules.extend((!profile.set_back().is_zero()).then_some("ttl.min"));
    sentences.push(Sentence {
        text: match default == max {
            true => format!("It lives for {max}, or for less if the caller asks for less."),
            false => {
                format!("It lives for {default} unless the caller asks otherwise, and for {max} at most.")
            }
        },
        controls: &["life.max"],
        rules,
    });
    let ceiling = readable(Kind::ceiling(profile.kind));
    let text = match &profile.lifetime.over_ceiling {
        Some(reason) => format!(
            "That is over the ceiling of {ceiling} for its kind, which every start records, for this reason: {reason:?}."
        ),
        None if profile.kind.is_some() => {
            format!(
                "The ceiling for its kind is {ceiling}: no more without a reason that every start records."
            )
        }
        None => format!("No JWT lives longer than {}, whatever a profile says.", readable(LONGEST)),
    };
    sentences.push(Sentence { text, controls: &["life.max"], rules: Vec::new() });
}

pub(super) fn dates(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let expires = profile.spec().is_none_or(|spec| spec.expires);
    let mut written = vec!["iss", "iat"];
    written.extend(profile.nbf.then_some("nbf"));
    written.extend(expires.then_some("exp"));
    sentences.push(Sentence {
        text: format!("The daemon alone writes {} and jti; a caller cannot.", written.join(", ")),
        controls: &["life.claims"],
        rules: vec!["claim.reserved"],
    });
    let mut say = |text| sentences.push(Sentence { text, controls: &["time.sync"], rules: Vec::new() });
    if let Some(spec) = profile.spec() {
        if !expires {
            say(format!(
                "It has no exp, because what it tells of stays true ({}); its record has one.",
                spec.source
            ));
        }
        if !spec.backdate.is_zero() {
            say(format!(
                "Its iat is set back by {}, for verifiers whose clocks are behind.",
                readable(spec.backdate)
            ));
        }
    }
    if profile.round_iat > Duration::from_secs(1) {
        say(format!(
            "Its iat is rounded down to a multiple of {}, so that it says less of who asked when.",
            readable(profile.round_iat)
        ));
    }
    if profile.nbf && !profile.skew.is_zero() {
        say(format!(
            "Its nbf is {} before its iat, for verifiers whose clocks are behind.",
            readable(profile.skew)
        ));
    }
}

pub(super) fn session(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let mut say = |text: String, rules| sentences.push(Sentence { text, controls: &["life.session"], rules });
    let mut rules = vec!["session.form", "life.session", "life.auth_time"];
    if profile.claims.contains_key("auth_time") {
        rules.push("session.auth_time");
    }
    if profile.session.required {
        rules.push("session.required");
        say("Every request says when the login session ends, and it never outlives that.".into(), rules);
    } else {
        say("Where a request tells of a login session, it never outlives that.".into(), rules);
    }
    if let Some(aal) = profile.session.aal {
        say(format!("It never outlives {}.", aal.described()), vec!["life.aal", "life.auth_time"]);
    }
    if let Some(age) = profile.session.max_age {
        let text = format!("It expires {} after the login (auth_time) at the latest.", readable(age));
        say(text, vec!["life.max_age", "life.auth_time"]);
    }
}
