//! What profiles come to: detectors, consent, what depends on callers, bases, recipients.

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
        "password = { personal = true, may_hold = [\"name\", \"ward\"] }\nlevel = {",
    );
    let [profile, other] = ["access-token", "deploy"]
        .map(|name| config.policy.profiles().find(|profile| profile.name.as_str() == name).unwrap());
    assert_eq!(profile.detectors.names_off().collect::<Vec<_>>(), ["entropy", "ward"]);
    assert_eq!(other.detectors.names_off().count(), 0);
    let own = &other.detectors.own;
    assert!(!own.in_text("W-1234").is_empty() && !other.detectors.of_name("WARD").is_empty());
    let claim = &profile.claims["password"];
    assert!(claim.personal);
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

#[test]
fn a_recipient_s_key_set_is_read_beside_the_configuration() {
    use crate::jose::jwe::{ContentEncryption, KeyManagement, tests::Owner};
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("api.json");
    let owner = Owner::agreement(&aws_lc_rs::agreement::ECDH_P384);
    std::fs::write(&path, owner.set().to_string()).unwrap();
    let loader = Loader { directory: Some(directory.path()), ..LOADER };
    let with = |keys: &str| {
        format!(
            "{}\n[recipient.reports]\njwks = \"api.json\"\n{keys}",
            GOOD.replace("nbf = false", "encrypt = \"when-sensitive\"")
        )
        .replace("level = { type", "level = { sensitive = true, type")
    };
    let config = loader.parse(&with(""), "x").unwrap_or_else(|faults| panic!("{faults}"));
    let recipient = &config.policy.recipients()["reports"];
    assert_eq!((&recipient.jwks, recipient.alg), (&path, None));
    assert_eq!(recipient.key.enc(), ContentEncryption::A256GCM);
    let described = loader.describe(&with(""), "x").unwrap();
    assert_eq!(LOADER.parse(&described, "y").unwrap().policy.digest(), config.policy.digest());
    let chosen = loader.parse(&with("alg = \"ECDH-ES+A256KW\"\nenc = \"A128GCM\""), "x").unwrap();
    let key = &chosen.policy.recipients()["reports"].key;
    assert_eq!((key.alg(), key.enc()), (KeyManagement::EcdhEsA256Kw, ContentEncryption::A128GCM));
    assert_ne!(chosen.policy.digest(), config.policy.digest());

    let fault = |keys: &str| loader.parse(&with(keys), "x").unwrap_err().faults.remove(0);
    for (keys, text) in [
        ("alg = \"RSA1_5\"", "write \"RSA-OAEP-256\", \"ECDH-ES\""),
        ("enc = \"A256CBC-HS512\"", "write \"A256GCM\""),
    ] {
        let fault = fault(keys);
        assert!(fault.line == 72 && fault.message.contains(text), "{fault:?}");
    }
    let misfit = fault("alg = \"RSA-OAEP-256\"");
    assert_eq!((misfit.path.as_str(), misfit.line), ("recipient.reports.jwks", 71));
    assert!(misfit.message.contains("it is no key for RSA-OAEP-256"), "{}", misfit.message);
    for (text, why) in [
        ("{".to_owned(), "not valid JSON"),
        ("{\"keys\": []}".to_owned(), "no key in it can be encrypted to"),
        ("{\"keys\": [], \"keys\": []}".to_owned(), "twice"),
        (owner.set().to_string().replace("\"x\"", "\"d\":\"AA\",\"x\""), "is private or symmetric"),
        (" ".repeat(300 << 10), "is larger than"),
    ] {
        std::fs::write(&path, text).unwrap();
        let fault = fault("");
        assert_eq!(fault.path, "recipient.reports.jwks");
        assert!(fault.message.contains(why), "{}", fault.message);
    }
    std::fs::write(&path, owner.set().to_string()).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o664)).unwrap();
    assert!(fault("").message.contains("chmod go-w"));
}
