//! What a profile's claims are searched for, and how those are protected that not everybody may read.

use super::{Sentence, listed, quoted};
use crate::policy::secrets;
use crate::profile::{AudienceForm, ClaimRule, Detector, Encrypt, KeyBinding, Profile};

pub(super) fn detectors(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let detectors = &profile.detectors;
    let known = || detectors.own.all().filter_map(|name| detectors.own.find(name));
    let described = |detectors: &[Detector]| -> Vec<String> {
        detectors.iter().map(|detector| secrets::what(profile, *detector)).collect()
    };
    let mut say = |text: String, rules| sentences.push(Sentence { text, controls: &["data.secret"], rules });
    let (on, off): (Vec<_>, Vec<_>) = known().partition(|detector| detectors.active().contains(*detector));
    if !on.is_empty() {
        let mut rules: Vec<&str> = on.iter().map(|detector| secrets::rule(*detector)).collect();
        rules.dedup();
        let text =
            format!("No claim of it, at any depth, has any of these in it: {}.", described(&on).join("; "));
        say(text, rules);
    }
    if !off.is_empty() {
        let text = format!(
            "It is not searched for these, which every start records: {}.",
            described(&off).join("; ")
        );
        say(text, Vec::new());
    }
    for (name, rule) in &profile.claims {
        let may_hold: Vec<_> =
            on.iter().copied().filter(|detector| rule.may_hold.contains(*detector)).collect();
        if !may_hold.is_empty() {
            let what = listed(&described(&may_hold), "or");
            let text =
                format!("Claim {name:?} is an exception: it may have {what}, and where it has is recorded.");
            say(text, Vec::new());
        }
    }
}

pub(super) fn encryption(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let sensitive = names(profile, |rule| rule.sensitive);
    let text = match profile.encrypt {
        None => return,
        Some(Encrypt::Always) => "It leaves encrypted to its one audience, or not at all.".to_owned(),
        Some(Encrypt::WhenSensitive) => format!(
            "With any of the sensitive claims {} it leaves encrypted to its one audience, or not at all.",
            quoted(&sensitive)
        ),
    };
    let mut rules = vec!["encrypt.recipient"];
    rules.extend((profile.audience_form == AudienceForm::Array).then_some("encrypt.audience"));
    sentences.push(Sentence { text, controls: &["data.encrypt"], rules });
}

pub(super) fn selective(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let mut say = |text: String, rules| sentences.push(Sentence { text, controls: &["data.min"], rules });
    say(
        "No member of a claim is named _sd, _sd_alg or ..., which mean digests in an SD-JWT.".into(),
        vec!["sd.reserved"],
    );
    let Some(sd_jwt) = profile.sd_jwt else { return };
    let disclosable = names(profile, |rule| rule.disclosable);
    say(
        format!(
            "It is an SD-JWT (RFC 9901): its holder may keep back {}, and how many there are is hidden among {} decoys.",
            quoted(&disclosable),
            sd_jwt.decoys
        ),
        Vec::new(),
    );
    match sd_jwt.key_binding {
        None => {}
        Some(KeyBinding::Required) => say(
            "It always names the public key of its holder, as cnf, who proves to have it.".into(),
            vec!["sd.key_binding", "sd.holder_key"],
        ),
        Some(KeyBinding::Optional) => say(
            "It names the public key of its holder, as cnf, where the caller gives it.".into(),
            vec!["sd.holder_key"],
        ),
    }
}

/// Names of the claims with this mark.
fn names(profile: &Profile, mark: impl Fn(&ClaimRule) -> bool) -> Vec<&str> {
    profile.claims.iter().filter(|(_, rule)| mark(rule)).map(|(name, _)| name.as_str()).collect()
}
