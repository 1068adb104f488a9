//! Sentences say what the profile says.

use super::*;
use crate::profile::{ClaimRule, LegalBasis, Per, Rate, Threshold};

fn text(profile: &Profile) -> Vec<String> {
    sentences(profile).into_iter().map(|sentence| sentence.text).collect()
}

#[test]
fn every_sentence_names_controls_and_rules_that_there_are() {
    let (mut rules, mut served) = (BTreeSet::new(), BTreeSet::new());
    for profile in policy().profiles() {
        let said = sentences(profile);
        for Sentence { text, controls, rules: theirs } in
            said.iter().chain([&open_to(&["billing"]), &belongs_to("test")])
        {
            assert!(text.ends_with('.') && text.starts_with(char::is_uppercase), "{text}");
            assert!(!controls.is_empty(), "{text}");
            for control in *controls {
                assert!(CONTROLS.iter().any(|(known, _)| known == control), "{control}: {text}");
            }
            rules.extend(theirs.iter().copied());
            served.extend(controls.iter().copied());
        }
        let texts: BTreeSet<_> = said.iter().map(|sentence| &sentence.text).collect();
        assert_eq!(texts.len(), said.len(), "{}: nothing is said twice", profile.name);
    }
    // Every rule that a profile can have is in some sentence; coverage counts by them.
    let known: BTreeSet<&str> = RULES.iter().map(|(id, _)| *id).collect();
    assert_eq!(rules, known);
    let controls: BTreeSet<&str> = CONTROLS.iter().map(|(id, _)| *id).collect();
    assert_eq!(served, controls, "each is served by some sentence");
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
        "Claim \"sub\" is a string and has at most 9 characters.",
        "Claim \"role\" is one of \"a\", 2.",
        "Claim \"scope\" is a string, matches a|b as a whole and has at most 5 characters.",
        "The daemon alone writes iss, iat, nbf, exp and jti; a caller cannot.",
    ] {
        assert!(said.iter().any(|text| text == due), "{due}\n{said:#?}");
    }
    assert!(
        said.iter().any(|text| text.starts_with("Its kind is \"access-token\" (RFC 9068): it always has"))
    );
    assert!(!said.iter().any(|text| text.starts_with("Claim \"free\"")));
    assert_eq!(open_to(&[]).text, "No caller may ask for it.");
    assert!(belongs_to("staging").text.starts_with("It is issued in environment \"staging\" alone"));
    assert_eq!(open_to(&["a", "b"]).text, "Only callers \"a\" and \"b\" may ask for it.");
}

/// One sentence of each station, as it is written.
#[test]
fn every_station_has_its_say() {
    let policy = policy();
    let of = |name: &str| text(policy.profiles().find(|profile| profile.name.as_str() == name).unwrap());
    for (profile, due) in [
        (
            "a-dpop-bound",
            "Its kind is \"dpop-bound\" (RFC 9449 section 6.1): it always has \"sub\", \"client_id\" and \"cnf\".",
        ),
        (
            "a-logout-token",
            "Its kind is \"logout-token\" (OpenID Connect Back-Channel Logout 1.0 section 2.4): it always has \"events\", and it has \"sub\" or \"sid\", or all of them.",
        ),
        (
            "a-logout-token",
            "It has the claims \"events\", may have \"email\", \"extra\", \"sid\" and \"sub\", and has no others.",
        ),
        (
            "a-service",
            "Its \"sub\" is its \"client_id\", because it is about no person (RFC 9068 section 2.2).",
        ),
        ("a-client-assertion", "Its \"sub\" is its issuer, and the daemon writes it."),
        ("a-github-app", "It never has a claim that its kind does not need."),
        ("a-github-app", "It is for nobody in particular: it has no audience, and none may be asked for."),
        ("a-github-app", "Its iat is set back by 1m, for verifiers whose clocks are behind."),
        ("a-security-event", "The daemon alone writes iss, iat and jti; a caller cannot."),
        (
            "a-access-token",
            "The ceiling for its kind is 30m: no more without a reason that every start records.",
        ),
        ("rounded", "Its iat is rounded down to a multiple of 1m, so that it says less of who asked when."),
        ("session", "Every request says when the login session ends, and it never outlives that."),
        ("aal3", "It never outlives the end of the 12 hours after auth_time that AAL 3 allows."),
        ("aged", "It expires 8h after the login (auth_time) at the latest."),
        ("numbers", "Claim \"count\" is at least -1 and is at most 10."),
        (
            "fixed",
            "Claim \"client_id\" is fixed by who the caller is, and filled in when left out: \"id-of-billing\" for caller \"billing\", \"id-of-deployer\" for caller \"deployer\".",
        ),
        ("searched", "It is not searched for these, which every start records: a bank account's number."),
        (
            "searched",
            "Claim \"mail\" is an exception: it may have a name that tells of a secret or an e-mail address, and where it has is recorded.",
        ),
        (
            "consented",
            "It needs the person's consent to \"support\" and \"billing\", given at most 1h ago, and never outlives it.",
        ),
        ("personal", "The id of the consent is its claim \"consent_id\"."),
        ("personal", "These of its claims say something about a person: \"mail\"."),
        (
            "careful",
            "With any of the sensitive claims \"diagnosis\" it leaves encrypted to its one audience, or not at all.",
        ),
        ("bound", "It always names the public key of its holder, as cnf, who proves to have it."),
        (
            "conditional",
            "It is issued only where this is true: claims.amount < 1000 && (!has(claims.any) || caller.name == 'audit').",
        ),
        ("weekend", "It is used sat, sun from 08:00 to 23:00 (UTC); at other times it is refused."),
        ("watched", "It is used sat, sun from 08:00 to 23:00 (UTC); at other times an alert is raised."),
    ] {
        let said = of(profile);
        assert!(said.iter().any(|text| text == due), "{due}\n{said:#?}");
    }
    assert!(of("searched").iter().any(|text| text.contains("; what detector \"customer\" looks for.")));
    assert!(of("fixed")[0].starts_with(
        "It is issued as \"https://billing.example.com\" for caller \"billing\", as \"https://deployer"
    ));

    let mut long = Profile::sample("long", "access", "at+jwt");
    long.lifetime.over_ceiling = Some("a batch job".into());
    (long.nbf, long.skew) = (true, Duration::from_secs(30));
    long.legal_basis = Some(LegalBasis::PublicTask);
    let threshold = |warn, refuse| Threshold { window: Duration::from_mins(1), warn, refuse };
    long.rates = vec![
        Rate { per: Per::Caller, threshold: threshold(Some(50), Some(100)) },
        Rate { per: Per::Subject, threshold: threshold(None, Some(3)) },
        Rate { per: Per::Profile, threshold: threshold(Some(9), None) },
    ];
    let said = text(&long);
    for due in [
        "That is over the ceiling of 30m for its kind, which every start records, for this reason: \"a batch job\".",
        "Its nbf is 30s before its iat, for verifiers whose clocks are behind.",
        "Its legal basis is a task in the public interest (GDPR article 6(1)(e)).",
        "An alert is raised when more than 50 are issued to one caller within 1m; more than 100 are refused.",
        "It is refused when more than 3 are issued about one subject within 1m.",
        "An alert is raised when more than 9 are issued to all callers together within 1m.",
    ] {
        assert!(said.iter().any(|text| text == due), "{due}\n{said:#?}");
    }
}
