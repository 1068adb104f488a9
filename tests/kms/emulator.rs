//! An emulator that others wrote, over HTTP: our reading of the protocol is not only our own.

use super::*;
use jwsd::backend::{KeySpec, label};
use kms::Emulator;

#[tokio::test(flavor = "multi_thread")]
async fn the_emulator_makes_keys_and_signs() {
    let Some(emulator) = Emulator::start() else { return };
    let store = emulator.store("cloud").await;
    assert!(store.status().await.ready);
    let mut made = 0;
    for algorithm in Algorithm::ALL {
        // ML-DSA is all that it lacks.
        if matches!(algorithm, Algorithm::MlDsa44 | Algorithm::MlDsa65 | Algorithm::MlDsa87) {
            continue;
        }
        let key = store.generate(&[made; 16], "access", KeySpec { algorithm, rsa_bits: 2048 }).await.unwrap();
        made += 1;
        let arn = String::from_utf8(key.id).unwrap();
        let replicas = replicas(&[Arc::clone(&store)], &arn, algorithm).await;
        for _ in 0..3 {
            let outcome = sign(&replicas, LONG).await;
            assert!(outcome.fault.is_none(), "{algorithm:?}: {:?}", outcome.fault);
        }
    }
    let listed = store.list().await.unwrap();
    assert_eq!(listed.len(), usize::from(made));
    assert!(listed.iter().all(|key| key.problems.is_empty() && key.label == "access"), "{listed:?}");
    assert_eq!(store.status().await.signs, u64::from(made) * 3);
    let error = store.open(Wanted::Name("alias/none"), Algorithm::ES256, None).await.err().unwrap();
    assert!(error.code.starts_with("NotFoundException"), "{error}");
    store.shutdown().await;
}

/// Killed between `CreateKey` and `CreateAlias`, as the emulator has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_its_alias_is_found_and_given_it() {
    let Some(emulator) = Emulator::start() else { return };
    let store = emulator.store("cloud").await;
    let (id, label) = ([7; 16], label("test", "access", &[7; 16]));
    let made =
        store.generate(&id, &label, KeySpec { algorithm: Algorithm::ES256, rsa_bits: 2048 }).await.unwrap();
    let config = aws_sdk_kms::Config::builder()
        .behavior_version_latest()
        .region(aws_sdk_kms::config::Region::new(REGION))
        .credentials_provider(kms::credentials("test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(emulator.url());
    let client = aws_sdk_kms::Client::from_conf(config.build());
    let alias = format!("alias/{label}");
    client.delete_alias().alias_name(&alias).send().await.unwrap();
    assert_eq!(store.find_made(&id, &label).await.unwrap(), Some(made.id.clone()));
    let behind = client.describe_key().key_id(&alias).send().await.unwrap().key_metadata.unwrap();
    assert_eq!(behind.arn.map(String::into_bytes), Some(made.id.clone()));
    store.destroy(&made.id, &made.public).await.unwrap();
    assert!(client.describe_key().key_id(&alias).send().await.is_err(), "the alias went with it");
    store.shutdown().await;
}
