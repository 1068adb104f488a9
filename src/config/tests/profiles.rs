//! What becomes of a profile as it is written.

use super::*;

#[test]
fn detectors_and_consent_become_part_of_profiles() {
    let with = |profile: &str, claim: &str| {
        let text = GOOD.replace("nbf = false", profile).replace("level = {", claim);
        let detector = "[detector.ward]\npattern = \"W-[0-9]{4}\"\nnames = [\"ward\"]\n[audit]";
        LOADER.parse(&text.replace("[audit]", detector), "x").unwrap_or_else(|faults| panic!("{faults}"))
    };
    let config = with(
        "detectors = { off = [\"entropy\", \"ward\"] }\nconsent = { purposes = [\"care\"], max_age = \"1d\", when = \"personal\", claim = \"cid\" }",
        "password = { personal = true, sensitive = true, may_hold = [\"name\", \"ward\"] }\nlevel = {",
    );
    let [profile, other] = ["access-token", "deploy"]
        .map(|name| config.policy.profiles().find(|profile| profile.name.as_str() == name).unwrap());
    assert_eq!(profile.detectors.names_off().collect::<Vec<_>>(), ["entropy", "ward"]);
    assert_eq!(other.detectors.names_off().count(), 0);
    let own = &other.detectors.own;
    assert!(!own.in_text("W-1234").is_empty() && !other.detectors.of_name("WARD").is_empty());
    let claim = &profile.claims["password"];
    assert!(claim.personal && claim.sensitive);
    let names: Vec<_> = claim.may_hold.iter().map(|detector| own.name(detector)).collect();
    assert_eq!(names, ["name", "ward"]);
    let consent = profile.consent.as_ref().unwrap();
    assert_eq!((consent.purposes.as_slice(), consent.max_age.as_secs()), (&["care".to_owned()][..], 86_400));
    assert_eq!((consent.when, consent.claim.as_deref()), (profile::ConsentWhen::Personal, Some("cid")));
    let lawful = with("legal_basis = \"vital-interests\"", "email = { personal = true }\nlevel = {");
    let profile = lawful.policy.profiles().next().unwrap();
    assert_eq!(profile.legal_basis, Some(profile::LegalBasis::VitalInterests));
    let digest = |text: &str| LOADER.parse(text, "x").unwrap().policy.digest().to_owned();
    let detector =
        |pattern| GOOD.replace("[audit]", &format!("[detector.x]\npattern = {pattern:?}\n[audit]"));
    assert_ne!(digest(&detector("a")), digest(&detector("b")));
}

#[test]
fn what_depends_on_the_caller_is_expanded_for_each_and_every_issuer_is_published() {
    let text = GOOD
        .replace("\"https://login.example.com\"", "\"https://{tenant}.example.com\"")
        .replace("client_id = { required = true }", "client_id = { from_caller = \"{name}-app\" }")
        .replace("rate = \"200/s\"", "vars = { tenant = \"acme\" }")
        .replace(
            "profiles = [\"deploy\"]",
            "profiles = [\"deploy\", \"access-token\"]\nvars = { tenant = \"b\" }",
        );
    let config = LOADER.parse(&text, "x").unwrap_or_else(|faults| panic!("{faults}"));
    let profile = config.policy.profiles().find(|profile| profile.name.as_str() == "access-token").unwrap();
    for (caller, tenant) in [("billing", "acme"), ("deployer", "b")] {
        let fixed = &profile.fixed[caller];
        assert_eq!(fixed.issuer, format!("https://{tenant}.example.com"));
        assert_eq!(fixed.claims["client_id"], format!("{caller}-app"));
    }
    assert_eq!(profile.fixed.len(), 2);
    assert!(config.policy.profiles().any(|profile| profile.fixed.is_empty()));
    let documents = config.publication.discovery.issuers().iter().map(|issuer| issuer.document.body());
    let documents: Vec<serde_json::Value> =
        documents.map(|body| serde_json::from_slice(&body).unwrap()).collect();
    let issuers: Vec<_> = documents.iter().map(|document| document["issuer"].as_str().unwrap()).collect();
    assert_eq!(issuers, ["https://acme.example.com", "https://b.example.com"]);
    let digest = |text: &str| LOADER.parse(text, "x").unwrap().policy.digest().to_owned();
    assert_ne!(digest(&text), digest(&text.replace("\"acme\"", "\"acne\"")));
    let described = LOADER.describe(&text, "x").unwrap();
    assert_eq!(digest(&described), digest(&text));
}

#[test]
fn a_base_gives_what_is_not_written() {
    let text = GOOD
        .replace("typ = \"at+jwt\"", "base = \"service\"\naal = 3\nmax_age = \"8h\"\nsession = \"required\"")
        .replace("nbf = false", "nbf = true\nskew = \"30s\"\nround_iat = \"1m\"")
        .replace("max = \"15m\"", "max = \"2h\", over_ceiling = \"a batch job that runs all night\"")
        .replace(
            "typ = \"JWT\"\nissuer = \"deploy-robot\"\naudiences = [\"https://ci.example.com\"]",
            "base = \"github-app\"\nissuer = \"Iv23li\"",
        );
    let config = LOADER.parse(&text, "x").unwrap_or_else(|faults| panic!("{faults}"));
    let profile =
        |name: &str| config.policy.profiles().find(|profile| profile.name.as_str() == name).unwrap();
    let (service, app) = (profile("access-token"), profile("deploy"));
    assert_eq!((service.typ.as_str(), service.kind), ("at+jwt", Some(Kind::Service)));
    assert_eq!((app.typ.as_str(), app.kind, app.algorithm), ("JWT", Some(Kind::GithubApp), Algorithm::RS256));
    assert!(app.audiences.is_empty());
    let hours = Duration::from_hours;
    let session = SessionRule { required: true, aal: Some(Aal::Three), max_age: Some(hours(8)) };
    assert_eq!(service.session, session);
    assert_eq!((service.skew.as_secs(), service.round_iat.as_secs()), (30, 60));
    assert_eq!(service.overrides().len(), 1);
    assert_eq!(config.keys["access"].longest, hours(2));
    let described = LOADER.describe(&text, "x").unwrap();
    assert_eq!(LOADER.parse(&described, "x").unwrap().policy.digest(), config.policy.digest(), "{described}");
    // The kind of a typ needs no base, and no entries for what it needs.
    let bare = GOOD
        .replace("client_id = { required = true }", "")
        .replace("sub = { required = true, type = \"string\" }", "");
    let config = LOADER.parse(&bare, "x").unwrap_or_else(|faults| panic!("{faults}"));
    assert!(config.policy.profiles().any(|profile| profile.kind == Some(Kind::AccessToken)));
}
