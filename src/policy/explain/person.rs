//! What a profile says of persons, and on what grounds.

use super::{Sentence, quoted, readable};
use crate::profile::{ConsentWhen, LegalBasis, Profile};

pub(super) fn consent(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let mut say = |text: String, rules| sentences.push(Sentence { text, controls: &["data.consent"], rules });
    let Some(consent) = &profile.consent else {
        return say("It needs no consent, and none may be sent.".into(), vec!["consent.unexpected"]);
    };
    let purposes: Vec<&str> = consent.purposes.iter().map(String::as_str).collect();
    let when = match consent.when {
        ConsentWhen::Always => "",
        ConsentWhen::Personal => " where it has a personal claim",
    };
    say(
        format!(
            "It needs the person's consent to {}{when}, given at most {} ago, and never outlives it.",
            quoted(&purposes),
            readable(consent.max_age)
        ),
        vec![
            "consent.required",
            "consent.form",
            "consent.purposes",
            "consent.future",
            "consent.age",
            "consent.expired",
        ],
    );
    if let Some(claim) = &consent.claim {
        say(format!("The id of the consent is its claim {claim:?}."), Vec::new());
    }
}

pub(super) fn personal(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let mut say =
        |text: String| sentences.push(Sentence { text, controls: &["data.consent"], rules: Vec::new() });
    let marked = profile.claims.iter().filter(|(_, rule)| rule.personal);
    let personal: Vec<&str> = marked.map(|(name, _)| name.as_str()).collect();
    if !personal.is_empty() {
        say(format!("These of its claims say something about a person: {}.", quoted(&personal)));
    }
    if let Some(basis) = profile.legal_basis {
        let (what, letter) = match basis {
            LegalBasis::Contract => ("a contract with the person", 'b'),
            LegalBasis::LegalObligation => ("a legal obligation", 'c'),
            LegalBasis::VitalInterests => ("someone's vital interests", 'd'),
            LegalBasis::PublicTask => ("a task in the public interest", 'e'),
            LegalBasis::LegitimateInterests => ("legitimate interests", 'f'),
        };
        say(format!("Its legal basis is {what} (GDPR article 6(1)({letter}))."));
    }
}
