//! AWS KMS as a backend: against an endpoint that plays it with every fault, and against an emulator.
//!
//! Signing goes through `Replicas`, as it does in the daemon: a signature that comes out of it was verified.
#![allow(unreachable_pub, reason = "modules of one test program")]

#[path = "common/fake_kms.rs"]
mod fake_kms;
#[path = "common/kms.rs"]
mod kms;

#[path = "kms/credentials.rs"]
mod credentials;
#[path = "kms/emulator.rs"]
mod emulator;
#[path = "kms/faults.rs"]
mod faults;
#[path = "kms/hedges.rs"]
mod hedges;
#[path = "kms/keys.rs"]
mod keys;
#[path = "kms/lifecycle.rs"]
mod lifecycle;
#[path = "kms/limits.rs"]
mod limits;
#[path = "kms/regions.rs"]
mod regions;

use fake_kms::FakeKms;
use jwsd::backend::aws_kms::{Backend, Settings};
use jwsd::backend::{Ask, Class, Health, KeyStore, Member, Replicas, Wanted};
use jwsd::jose::{Algorithm, Verifier};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const REGION: &str = "eu-central-1";

/// Rounds of a campaign: a few in `scripts/test`, as many as asked for in `scripts/torture`.
fn rounds(few: u64) -> u64 {
    std::env::var("JWSD_TORTURE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

async fn open_store(settings: Settings) -> Arc<dyn KeyStore> {
    let health = Health::of_backend(&settings.name, None);
    let (store, started) = Backend::start_with(settings, kms::credentials("test"), health).await;
    started.unwrap();
    store
}

async fn store(fake: &FakeKms) -> Arc<dyn KeyStore> {
    open_store(kms::settings("cloud", &fake.region, &fake.url())).await
}

/// The key `arn` of the first store, in all stores.
async fn replicas(stores: &[Arc<dyn KeyStore>], arn: &str, algorithm: Algorithm) -> Replicas {
    let first = stores[0].open(Wanted::Id(arn.as_bytes()), algorithm, None).await.unwrap();
    let verifier = Verifier::new(algorithm, first.public.clone()).unwrap();
    let kid = first.public.thumbprint();
    let mut members = Vec::new();
    for store in stores {
        let wanted = Wanted::Copy { of: &first.public, id: &first.id };
        let opened = store.open(wanted, algorithm, Some(&first.public)).await.unwrap();
        assert!(opened.public == first.public);
        members.push(Member::new(Arc::clone(store), &kid, first.id.clone(), Some(opened.signer)));
    }
    Replicas::new(verifier, members)
}

/// A fake service with one ES256 key, and that key.
async fn one_key() -> (FakeKms, Replicas) {
    let fake = FakeKms::start(REGION).await;
    let arn = fake.add("ECC_NIST_P256");
    let replicas = replicas(&[store(&fake).await], &arn, Algorithm::ES256).await;
    (fake, replicas)
}

/// What came of one request: how many attempts, and the fault if there was one.
struct Outcome {
    attempts: usize,
    fault: Option<jwsd::backend::Error>,
}

impl Outcome {
    fn class(&self) -> Option<Class> {
        self.fault.as_ref().map(|fault| fault.class)
    }

    fn assert_ok(&self) {
        assert!(self.fault.is_none(), "{:?}", self.fault);
    }
}

async fn sign(replicas: &Replicas, limit: Duration) -> Outcome {
    let ask = Ask { flow: 1, ..Ask::own(Instant::now() + limit) };
    let signing = replicas.sign(b"header.payload", ask).await;
    Outcome { attempts: signing.attempts.len(), fault: signing.result.err() }
}

/// Enough for everything that is not about time.
const LONG: Duration = Duration::from_secs(60);
