//! The backends under test, and the only places where they may differ.

use crate::fake_kms::FakeKms;
use crate::fixture::{self, Token};
use crate::kms::{self, Emulator};
use jwsd::backend::aws_kms::Backend;
use jwsd::backend::{BoxFuture, Health, KeyStore};
use jwsd::jose::Algorithm;
use std::any::Any;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

/// One kind of backend.
pub struct Subject {
    /// For people.
    name: &'static str,
    /// How to get what it needs, when that is not there.
    missing: fn() -> Option<String>,
    /// A fresh one, without keys.
    start: fn() -> BoxFuture<'static, Running>,
    /// As its status calls it.
    pub kind: &'static str,
    /// The algorithms that it has no keys for.
    pub lacks: &'static [Algorithm],
    /// Whoever makes a key chooses its id; otherwise the backend does.
    pub chooses_ids: bool,
    /// Its Ed25519 keys sign the empty input, which no JWT has.
    pub signs_nothing: bool,
}

/// A backend that runs, and what must outlive it.
pub struct Running {
    pub store: Arc<dyn KeyStore>,
    _holds: Box<dyn Any + Send + Sync>,
}

pub const SOFTHSM: Subject = Subject {
    name: "SoftHSM",
    missing: || installed(Path::new(fixture::SOFTHSM), "apt-get install softhsm2"),
    start: || Box::pin(async { pkcs11(Token::new()).await }),
    kind: "pkcs11",
    lacks: &[Algorithm::MlDsa44, Algorithm::MlDsa65, Algorithm::MlDsa87],
    chooses_ids: true,
    signs_nothing: true,
};

pub const KRYOPTIC: Subject = Subject {
    name: "Kryoptic",
    missing: || installed(&fixture::kryoptic_module(), "bash -c '. scripts/lib.sh; ensure_kryoptic'"),
    start: || Box::pin(async { pkcs11(Token::kryoptic()).await }),
    kind: "pkcs11",
    lacks: &[],
    chooses_ids: true,
    signs_nothing: true,
};

/// AWS KMS as an emulator of others plays it.
pub const KMS_EMULATOR: Subject = Subject {
    name: "AWS KMS emulator",
    missing: || installed(&kms::emulator(), "bash -c '. scripts/lib.sh; ensure_kms_emulator'"),
    start: || {
        Box::pin(async {
            let emulator = Emulator::start().expect("it is not missing");
            Running { store: emulator.store("cloud").await, _holds: Box::new(emulator) }
        })
    },
    kind: "aws-kms",
    lacks: &[Algorithm::MlDsa44, Algorithm::MlDsa65, Algorithm::MlDsa87],
    chooses_ids: false,
    signs_nothing: false,
};

/// AWS KMS as our own tests play it.
pub const KMS: Subject = Subject {
    name: "AWS KMS",
    missing: || None,
    start: || {
        Box::pin(async {
            let fake = FakeKms::start("eu-central-1").await;
            let settings = kms::settings("cloud", &fake.region, &fake.url());
            let health = Health::of_backend("cloud", None);
            let (store, started) = Backend::start_with(settings, kms::credentials("test"), health).await;
            started.unwrap();
            Running { store, _holds: Box::new(fake) }
        })
    },
    kind: "aws-kms",
    lacks: &[],
    chooses_ids: false,
    signs_nothing: false,
};

async fn pkcs11(token: Token) -> Running {
    Running { store: token.start().await, _holds: Box::new(token) }
}

fn installed(module: &Path, remedy: &str) -> Option<String> {
    (!module.exists()).then(|| format!("{} is not there: {remedy}", module.display()))
}

impl Subject {
    /// Starts one; `None` where it is not installed, which CI does not forgive.
    pub async fn start(&self) -> Option<Running> {
        if let Some(why) = (self.missing)() {
            assert!(std::env::var_os("CI").is_none(), "{}: {why}", self.name);
            // Not by `eprintln`, which the harness keeps to itself when a test passes.
            std::io::stderr().write_all(format!("SKIPPED, {}: {why}\n", self.name).as_bytes()).unwrap();
            return None;
        }
        Some((self.start)().await)
    }

    /// What it makes keys for.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.into_iter().filter(|algorithm| !self.lacks.contains(algorithm))
    }
}
