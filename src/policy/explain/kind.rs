//! The kind that a profile is based on: what its specification needs, allows and never has.

use super::{Sentence, listed, quoted};
use crate::profile::{Forbidden, Profile, Subject};

pub(super) fn kind(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let Some(spec) = profile.spec() else { return };
    let mut say = |text: String, rules| sentences.push(Sentence { text, controls: &["life.claims"], rules });
    let needed: Vec<&str> = spec.claims.iter().filter(|own| own.needed).map(|own| own.name).collect();
    let mut has = Vec::new();
    if !needed.is_empty() {
        has.push(format!("it always has {}", quoted(&needed)));
    }
    if !spec.either.is_empty() {
        let names: Vec<String> = spec.either.iter().map(|name| format!("{name:?}")).collect();
        has.push(format!("it has {}, or all of them", listed(&names, "or")));
    }
    let text = match has.as_slice() {
        [] => format!("Its kind is {:?} ({}).", spec.name, spec.source),
        has => format!("Its kind is {:?} ({}): {}.", spec.name, spec.source, has.join(", and ")),
    };
    let mut rules: Vec<_> =
        spec.claims.iter().filter(|own| own.needed).map(|own| own.rule.unwrap_or("kind.required")).collect();
    rules.extend((!spec.either.is_empty()).then_some("kind.required"));
    rules.sort_unstable();
    rules.dedup();
    say(text, rules);

    let theirs = || spec.claims.iter().filter(|own| own.needed || profile.claims.contains_key(own.name));
    let forms: Vec<String> =
        theirs().map(|own| format!("{:?} is {}", own.name, own.form.described())).collect();
    if !forms.is_empty() {
        let mut rules: Vec<_> = theirs().map(|own| own.rule.unwrap_or("kind.form")).collect();
        rules.sort_unstable();
        rules.dedup();
        say(format!("As that kind has them, {}.", forms.join("; ")), rules);
    }
    match spec.subject {
        Subject::Any => {}
        Subject::Person => say(
            "Its \"sub\" is never its \"client_id\", so that no client passes for a person (RFC 9700 section 4.15)."
                .into(),
            vec!["at.person"],
        ),
        Subject::Client => say(
            "Its \"sub\" is its \"client_id\", because it is about no person (RFC 9068 section 2.2).".into(),
            vec!["service.sub"],
        ),
        Subject::Issuer => say(
            "Its \"sub\" is its issuer, and the daemon writes it.".into(),
            vec!["kind.forbidden"],
        ),
    }
    if spec.subject != Subject::Issuer && !profile.kind.is_some_and(|kind| kind.forbids("sub")) {
        say(
            "Its \"sub\" is never its issuer, so that it does not pass for a client's assertion.".into(),
            vec!["kind.subject"],
        );
    }
    let never = match spec.forbidden {
        Forbidden::These(groups) => {
            // A subject that the daemon writes is there, and was told of.
            let written = |name: &&str| spec.subject == Subject::Issuer && *name == "sub";
            let names: Vec<&str> =
                groups.iter().flat_map(|group| group.iter().copied()).filter(|name| !written(name)).collect();
            format!("It never has a claim that belongs to another kind: {}.", quoted(&names))
        }
        Forbidden::Others => "It never has a claim that its kind does not need.".to_owned(),
    };
    say(never, vec!["kind.forbidden"]);
}
