//! Every type of key signs; what may not be opened is not; making and listing.

use super::*;
use jwsd::backend::{KeySpec, Scope};

const SPECS: [(&str, &[Algorithm]); 10] = {
    use Algorithm::*;
    const RSA: &[Algorithm] = &[RS256, RS384, RS512, PS256, PS384, PS512];
    [
        ("RSA_2048", RSA),
        ("RSA_3072", RSA),
        ("RSA_4096", RSA),
        ("ECC_NIST_P256", &[ES256]),
        ("ECC_NIST_P384", &[ES384]),
        ("ECC_NIST_P521", &[ES512]),
        ("ECC_NIST_EDWARDS25519", &[Ed25519, EdDSA]),
        ("ML_DSA_44", &[MlDsa44]),
        ("ML_DSA_65", &[MlDsa65]),
        ("ML_DSA_87", &[MlDsa87]),
    ]
};

#[tokio::test(flavor = "multi_thread")]
async fn every_key_type_signs_what_our_verifier_accepts() {
    let fake = FakeKms::start(REGION).await;
    let store = store(&fake).await;
    let mut seen = std::collections::BTreeSet::new();
    for (spec, algorithms) in SPECS {
        let arn = fake.add(spec);
        for algorithm in algorithms {
            seen.insert(*algorithm);
            let replicas = replicas(&[Arc::clone(&store)], &arn, *algorithm).await;
            for length in [1, 300, 4096, 4097, 70_000].into_iter().filter(|n| *n <= replicas.max_input()) {
                let input = vec![b'a'; length];
                let signing = replicas.sign(&input, Ask::own(Instant::now() + LONG)).await;
                let fault = signing.result.err();
                assert!(fault.is_none(), "{spec} {algorithm:?} {length}: {fault:?}");
                assert_eq!(signing.attempts.len(), 1);
            }
        }
    }
    assert_eq!(seen.len(), Algorithm::ALL.len(), "each algorithm once at least");
    let forms = fake.script().forms.clone();
    // 3 RSA keys with 6 algorithms and 3 curves; 2 names of Ed25519 and 3 of ML-DSA; what of it is long.
    let expected = [("DIGEST", (3 * 6 + 3) * 5), ("EXTERNAL_MU", 3 * 2), ("RAW", 2 * 3 + 3 * 3)];
    assert_eq!(forms, expected.map(|(form, count)| (form.to_owned(), count)).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_input_for_ed25519_is_refused_before_it_is_sent() {
    let fake = FakeKms::start(REGION).await;
    let arn = fake.add("ECC_NIST_EDWARDS25519");
    let replicas = replicas(&[store(&fake).await], &arn, Algorithm::EdDSA).await;
    assert_eq!(replicas.max_input(), 4096);
    for _ in 0..10 {
        let signing = replicas.sign(&[b'a'; 4097], Ask::own(Instant::now() + LONG)).await;
        assert_eq!(signing.result.err().map(|error| error.class), Some(Class::Bug));
    }
    assert_eq!(fake.signs(), 0);
    assert!(replicas.members()[0].health().is_good(), "the key is not to blame");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_aliases_become_arns_when_a_key_is_opened() {
    let fake = FakeKms::start(REGION).await;
    let store = store(&fake).await;
    let (arn, other) = (fake.add("ECC_NIST_P256"), fake.add("ECC_NIST_P256"));
    fake.script().aliases.insert("alias/jwsd".to_owned(), arn.clone());
    let id = arn.rsplit('/').next().unwrap();
    for name in [arn.as_str(), id, "alias/jwsd"] {
        let opened = store.open(Wanted::Name(name), Algorithm::ES256, None).await.unwrap();
        assert_eq!(String::from_utf8(opened.id).unwrap(), arn, "{name}");
        // Whoever moves the alias moves nothing here.
        fake.script().aliases.insert("alias/jwsd".to_owned(), other.clone());
        let verifier = Verifier::new(Algorithm::ES256, opened.public).unwrap();
        let signed = opened.signer.sign(b"input", Ask::own(Instant::now() + LONG)).await;
        verifier.verify(b"input", &signed.result.unwrap()).unwrap();
        fake.script().aliases.insert("alias/jwsd".to_owned(), arn.clone());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_does_not_fit_is_not_opened() {
    let fake = FakeKms::start(REGION).await;
    let store = store(&fake).await;
    let arn = fake.add("ECC_NIST_P256");
    let open = |name: String, algorithm| {
        let store = Arc::clone(&store);
        async move { store.open(Wanted::Name(&name), algorithm, None).await.err().expect("it must not open") }
    };
    let change = |field: fn(&mut fake_kms::Key) -> &mut String, value: &str| {
        *field(fake.script().keys.get_mut(&arn).unwrap()) = value.to_owned();
    };
    for (state, said) in [
        ("Disabled", "disabled"),
        ("PendingDeletion", "about to be deleted"),
        ("PendingImport", "imported"),
        ("Unavailable", "must be Enabled"),
    ] {
        change(|key| &mut key.state, state);
        let error = open(arn.clone(), Algorithm::ES256).await;
        assert!(error.class == Class::Misconfigured && error.message.contains(said), "{error}");
    }
    change(|key| &mut key.state, "Enabled");
    change(|key| &mut key.usage, "KEY_AGREEMENT");
    assert!(open(arn.clone(), Algorithm::ES256).await.message.contains("SIGN_VERIFY"));
    change(|key| &mut key.usage, "SIGN_VERIFY");
    let error = open(arn.clone(), Algorithm::ES384).await;
    assert!(error.message.contains("does not sign ES384"), "{error}");
    let error = open("alias/none".to_owned(), Algorithm::ES256).await;
    assert!(error.class == Class::Misconfigured && error.code.starts_with("NotFoundException"), "{error}");
    let secp = fake.put("secp", "ECC_NIST_P384", Arc::new(fake_kms::keys::Pair::generate("ECC_NIST_P384")));
    fake.script().keys.get_mut(&secp).unwrap().spec = "ECC_SECG_P256K1".to_owned();
    assert!(open(secp, Algorithm::ES256).await.message.contains("ECC_SECG_P256K1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_public_key_is_not_taken_for_the_pinned_one() {
    let fake = FakeKms::start(REGION).await;
    let store = store(&fake).await;
    let arn = fake.add("ECC_NIST_P256");
    let pinned = store.open(Wanted::Id(arn.as_bytes()), Algorithm::ES256, None).await.unwrap().public;
    let id = arn.rsplit('/').next().unwrap();
    fake.put(id, "ECC_NIST_P256", Arc::new(fake_kms::keys::Pair::generate("ECC_NIST_P256")));
    let opened = store.open(Wanted::Id(arn.as_bytes()), Algorithm::ES256, Some(&pinned)).await;
    let error = opened.err().expect("it is another key");
    assert_eq!((error.class, error.advice.scope), (Class::Untrusted, Scope::Key));
    assert!(error.advice.quarantine, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_found_again_and_shown() {
    let fake = FakeKms::start(REGION).await;
    let store = store(&fake).await;
    for (algorithm, kind) in
        [(Algorithm::PS256, "RSA-2048"), (Algorithm::ES512, "P-521"), (Algorithm::MlDsa65, "ML-DSA-65")]
    {
        let spec = KeySpec { algorithm, rsa_bits: 2048 };
        let made = store.generate(&[0xab; 16], "access", spec).await.unwrap();
        let arn = String::from_utf8(made.id.clone()).unwrap();
        let tags = fake.script().keys[&arn].tags.clone();
        assert_eq!(tags[0]["TagValue"], "access");
        assert_eq!(tags[1]["TagValue"], "ab".repeat(16));
        let opened = store.open(Wanted::Id(&made.id), algorithm, Some(&made.public)).await.unwrap();
        let verifier = Verifier::new(algorithm, opened.public).unwrap();
        let signed = opened.signer.sign(b"input", Ask::own(Instant::now() + LONG)).await;
        verifier.verify(b"input", &signed.result.unwrap()).unwrap();
        let listed = store.list().await.unwrap();
        let own = listed.iter().find(|key| key.id == arn).unwrap();
        assert_eq!((own.kind.as_str(), own.label.as_str()), (kind, "access"));
        assert!(own.problems.is_empty() && own.name == arn);
    }
    // More than one page, and one that is of no use.
    for _ in 0..30 {
        fake.add("ECC_NIST_P256");
    }
    let disabled = fake.add("ECC_NIST_P256");
    fake.script().keys.get_mut(&disabled).unwrap().state = "Disabled".to_owned();
    let cipher = fake.add("RSA_2048");
    fake.script().keys.get_mut(&cipher).unwrap().usage = "ENCRYPT_DECRYPT".to_owned();
    let listed = store.list().await.unwrap();
    assert_eq!(listed.len(), 3 + 30 + 1);
    let bad: Vec<_> = listed.iter().filter(|key| !key.problems.is_empty()).collect();
    assert!(bad.len() == 1 && bad[0].id == disabled, "{bad:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_in_the_clear_is_refused() {
    let settings = kms::settings("cloud", REGION, "http://kms.example.com");
    let (store, started) =
        Backend::start_with(settings, kms::credentials("test"), Health::of_backend("cloud", None)).await;
    let error = started.unwrap_err();
    assert!(error.class == Class::Misconfigured && error.message.contains("write https"), "{error}");
    let status = store.status().await;
    assert!(!status.ready && status.reason.unwrap().contains("write https"));
}
