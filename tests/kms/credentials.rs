//! Credentials that end, and clocks that differ.

use super::*;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use std::process::Command;
use std::sync::Mutex;

/// Hands out the access key that it holds.
#[derive(Debug, Clone)]
struct Desk(Arc<Mutex<Option<&'static str>>>);

impl Desk {
    fn put(&self, id: Option<&'static str>) {
        *self.0.lock().unwrap() = id;
    }
}

impl ProvideCredentials for Desk {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let id = *self.0.lock().unwrap();
        future::ProvideCredentials::ready(match id {
            Some(id) => Ok(Credentials::new(id, "not-a-secret", None, None, "test")),
            None => Err(CredentialsError::not_loaded("the desk is empty")),
        })
    }
}

async fn with_desk() -> (FakeKms, Desk, Replicas) {
    let fake = FakeKms::start(REGION).await;
    let arn = fake.add("ECC_NIST_P256");
    let desk = Desk(Arc::new(Mutex::new(Some("first"))));
    let provider = SharedCredentialsProvider::new(desk.clone());
    let settings = kms::settings("cloud", REGION, &fake.url());
    let (store, started) = Backend::start_with(settings, provider, Health::of_backend("cloud", None)).await;
    started.unwrap();
    let replicas = replicas(&[store], &arn, Algorithm::ES256).await;
    (fake, desk, replicas)
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_are_renewed_and_nothing_is_lost() {
    for code in ["ExpiredTokenException", "UnrecognizedClientException", "IncompleteSignature"] {
        let (fake, desk, replicas) = with_desk().await;
        let replicas = Arc::new(replicas);
        let ids: [&'static str; 2] = ["first", "second"];
        for round in 0..usize::try_from(rounds(4)).unwrap() {
            let (old, new) = (ids[round % 2], ids[(round + 1) % 2]);
            desk.put(Some(new));
            fake.script().refused = [(old.to_owned(), code)].into();
            // All are refused at once; one renewal helps them all.
            let requests = (0..20).map(|_| {
                let replicas = Arc::clone(&replicas);
                tokio::spawn(async move { sign(&replicas, LONG).await })
            });
            for request in requests.collect::<Vec<_>>() {
                let outcome = request.await.unwrap();
                outcome.assert_ok();
                assert!(outcome.attempts <= 2, "{code}");
            }
            for _ in 0..60 {
                sign(&replicas, LONG).await.assert_ok();
            }
        }
        let asked = rounds(4) * 80;
        assert!(fake.signs() * 10 <= asked * 13, "{code}: {} for {asked}", fake.signs());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_newer_credentials_requests_fail_until_there_are_some() {
    let (fake, desk, replicas) = with_desk().await;
    desk.put(None);
    sign(&replicas, LONG).await.assert_ok();
    fake.script().refused = [("first".to_owned(), "ExpiredTokenException")].into();
    let outcome = sign(&replicas, LONG).await;
    let fault = outcome.fault.unwrap();
    assert!(fault.class == Class::Down && fault.code.starts_with("ExpiredTokenException"), "{fault}");
    assert!(outcome.attempts <= 2);
    let status = replicas.members()[0].store().status().await;
    assert!(!status.ready && status.reason.unwrap().contains("ExpiredTokenException"));
    desk.put(Some("second"));
    let over = Instant::now();
    while sign(&replicas, LONG).await.fault.is_some() {
        assert!(over.elapsed() < Duration::from_secs(30), "it does not recover");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(replicas.members()[0].store().status().await.ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credentials_at_all_is_a_fault_that_says_so() {
    let fake = FakeKms::start(REGION).await;
    let desk = SharedCredentialsProvider::new(Desk(Arc::default()));
    let settings = kms::settings("cloud", REGION, &fake.url());
    let (store, started) = Backend::start_with(settings, desk, Health::of_backend("cloud", None)).await;
    let error = started.unwrap_err();
    assert!(error.class == Class::Down && error.message.contains("the desk is empty"), "{error}");
    assert!(!store.status().await.ready);
    assert!(fake.script().asked.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_ten_minutes_off_costs_one_repeat() {
    for ahead in [600, -600] {
        let (fake, replicas) = one_key().await;
        for round in 0..rounds(3) {
            // The clock jumps, and back.
            fake.script().ahead = if round % 2 == 0 { ahead } else { 0 };
            let outcome = sign(&replicas, LONG).await;
            outcome.assert_ok();
            assert_eq!(outcome.attempts, 2, "{ahead}");
            for _ in 0..4 {
                let outcome = sign(&replicas, LONG).await;
                outcome.assert_ok();
                assert_eq!(outcome.attempts, 1, "{ahead}: the difference is kept");
            }
        }
        assert_eq!(fake.outcome("InvalidSignatureException"), rounds(3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_starts_with_a_clock_ten_minutes_off() {
    for ahead in [600, -600] {
        let fake = FakeKms::start(REGION).await;
        fake.script().ahead = ahead;
        let arn = fake.add("ML_DSA_44");
        let replicas = replicas(&[store(&fake).await], &arn, Algorithm::MlDsa44).await;
        let outcome = sign(&replicas, LONG).await;
        outcome.assert_ok();
        assert_eq!(outcome.attempts, 1);
    }
}

/// Runs an ignored test of this file in a process of its own, whose environment is where credentials come from.
fn in_child(name: &str, env: &[(&str, &str)]) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&child.stderr)
    );
}

async fn callers(fake: &FakeKms, settings: Settings) -> Vec<String> {
    let arn = fake.add("ECC_NIST_P256");
    let (store, started) = Backend::start(settings, Health::of_backend("cloud", None)).await;
    started.unwrap();
    sign(&replicas(&[store], &arn, Algorithm::ES256).await, LONG).await.assert_ok();
    fake.script().callers.keys().cloned().collect()
}

#[test]
fn the_profile_is_read_and_a_loopback_endpoint_is_not_behind_a_proxy() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("credentials");
    let profile = |name| format!("[{name}]\naws_access_key_id = of-{name}\naws_secret_access_key = x\n");
    std::fs::write(&file, profile("default") + &profile("signer")).unwrap();
    let env = [
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1"),
    ];
    in_child("credentials::profile_in_a_child", &env);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run in a child"]
async fn profile_in_a_child() {
    let fake = FakeKms::start(REGION).await;
    let settings = kms::settings("cloud", REGION, &fake.url());
    assert_eq!(callers(&fake, settings.clone()).await, ["of-default"]);
    let settings = Settings { profile: Some("signer".to_owned()), ..settings };
    assert_eq!(callers(&fake, settings).await, ["of-default", "of-signer"]);
}

#[test]
fn a_role_is_assumed() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let env = [
        ("AWS_ACCESS_KEY_ID", "base"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("AWS_ENDPOINT_URL_STS", &url),
    ];
    in_child("credentials::role_in_a_child", &env);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run in a child"]
async fn role_in_a_child() {
    let url = std::env::var("AWS_ENDPOINT_URL_STS").unwrap();
    let fake = FakeKms::start_at(REGION, url.trim_start_matches("http://")).await;
    let mut settings = kms::settings("cloud", REGION, &fake.url());
    settings.role = Some("arn:aws:iam::111122223333:role/signer".to_owned());
    assert_eq!(callers(&fake, settings).await, ["role-of-base"]);
    assert_eq!(fake.script().asked["AssumeRole"], 1);
}
