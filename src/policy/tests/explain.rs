//! Sentences say what the profile says.

use super::*;
use crate::profile::ClaimRule;

fn text(profile: &Profile) -> Vec<String> {
    sentences(profile).into_iter().map(|sentence| sentence.text).collect()
}

#[test]
fn every_sentence_names_controls_and_rules_that_there_are() {
    let mut rules = BTreeSet::new();
    for profile in policy().profiles() {
        let said = sentences(profile);
        for Sentence { text, controls, rules: theirs } in said.iter().chain([&open_to(&["billing"])]) {
            assert!(text.ends_with('.') && text.starts_with(char::is_uppercase), "{text}");
            assert!(!controls.is_empty(), "{text}");
            for control in *controls {
                assert!(CONTROLS.iter().any(|(known, _)| known == control), "{control}: {text}");
            }
            rules.extend(theirs.iter().copied());
        }
        let texts: BTreeSet<_> = said.iter().map(|sentence| &sentence.text).collect();
        assert_eq!(texts.len(), said.len(), "{}: nothing is said twice", profile.name);
    }
    // Every rule that a profile can have is in some sentence; coverage counts by them.
    let known: BTreeSet<&str> = RULES.iter().map(|(id, _)| *id).collect();
    assert_eq!(rules, known);
}

#[test]
fn sentences_follow_the_profile() {
    let plain = Profile::sample("plain", "access", "test+jwt");
    let said = text(&plain);
    for due in [
        "It lives for 5m unless the caller asks otherwise, and for 15m at most.",
        "It is for \"https://api.example.com\" and nobody else.",
        "It has no claims of the caller's: all are refused.",
        "The daemon alone writes iss, iat, exp and jti; a caller cannot.",
    ] {
        assert!(said.iter().any(|text| text == due), "{due}\n{said:#?}");
    }
    let claims = [
        ("sub", ClaimRule { required: true, max_length: Some(9), ..ClaimRule::default() }),
        ("role", ClaimRule { one_of: Some(vec![json!("a"), json!(2)]), ..ClaimRule::default() }),
        (
            "scope",
            ClaimRule {
                kind: Some(ClaimType::String),
                pattern: Some(regex::Regex::new("^(?:a|b)$").unwrap()),
                max_length: Some(5),
                ..ClaimRule::default()
            },
        ),
        ("free", ClaimRule::default()),
    ];
    let rich = Profile {
        audiences: vec!["a".into(), "b".into()],
        audience_form: AudienceForm::Array,
        nbf: true,
        claims: claims.into_iter().map(|(name, rule)| (name.to_owned(), rule)).collect(),
        ..Profile::sample("rich", "access", "at+jwt")
    };
    let said = text(&rich);
    for due in [
        "It is for one or more of \"a\" and \"b\", at most eight.",
        "It has the claims \"client_id\" and \"sub\", may have \"free\", \"role\" and \"scope\", and has no others.",
        "Claim \"sub\" is a string, has at most 9 characters.",
        "Claim \"role\" is one of \"a\", 2.",
        "Claim \"scope\" is a string, matches a|b as a whole, has at most 5 characters.",
        "The daemon alone writes iss, iat, nbf, exp and jti; a caller cannot.",
    ] {
        assert!(said.iter().any(|text| text == due), "{due}\n{said:#?}");
    }
    assert!(
        said.iter().any(|text| text.starts_with("Its kind is \"access-token\" (RFC 9068): it always has"))
    );
    assert!(!said.iter().any(|text| text.starts_with("Claim \"free\"")));
    assert_eq!(open_to(&[]).text, "No caller may ask for it.");
    assert_eq!(open_to(&["a", "b"]).text, "Only callers \"a\" and \"b\" may ask for it.");
}
