//! The backends under test, and the only places where they may differ.

use crate::fake_kms::FakeKms;
use crate::fixture::{self, Token};
use crate::kms::{self, Emulator};
use jwsd::backend::{BoxFuture, Health, KeyStore, aws_kms, pkcs11};
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
    /// Days for which a destroyed key is kept, where it is not gone at once.
    pub keeps_destroyed: Option<i64>,
}

/// Starts the same backend once more, with other settings.
type Start = Box<dyn Fn() -> BoxFuture<'static, Arc<dyn KeyStore>> + Send + Sync>;

/// A backend that runs, and what must outlive it.
pub struct Running {
    pub store: Arc<dyn KeyStore>,
    /// The same keys, where none may be made.
    pub strict: Start,
    _holds: Box<dyn Any + Send + Sync>,
}

pub const SOFTHSM: Subject = Subject {
    name: "SoftHSM",
    missing: || installed(Path::new(fixture::SOFTHSM), "apt-get install softhsm2"),
    start: || Box::pin(async { of_token(Token::new()).await }),
    kind: "pkcs11",
    lacks: &[Algorithm::MlDsa44, Algorithm::MlDsa65, Algorithm::MlDsa87],
    chooses_ids: true,
    signs_nothing: true,
    keeps_destroyed: None,
};

pub const KRYOPTIC: Subject = Subject {
    name: "Kryoptic",
    missing: || installed(&fixture::kryoptic_module(), "bash -c '. scripts/lib.sh; ensure_kryoptic'"),
    start: || Box::pin(async { of_token(Token::kryoptic()).await }),
    kind: "pkcs11",
    lacks: &[],
    chooses_ids: true,
    signs_nothing: true,
    keeps_destroyed: None,
};

/// AWS KMS as an emulator of others plays it.
pub const KMS_EMULATOR: Subject = Subject {
    name: "AWS KMS emulator",
    missing: || installed(&kms::emulator(), "bash -c '. scripts/lib.sh; ensure_kms_emulator'"),
    start: || {
        Box::pin(async {
            let emulator = Emulator::start().expect("it is not missing");
            let url = emulator.url();
            of_service(kms::settings("cloud", "eu-central-1", &url), emulator).await
        })
    },
    kind: "aws-kms",
    lacks: &[Algorithm::MlDsa44, Algorithm::MlDsa65, Algorithm::MlDsa87],
    chooses_ids: false,
    signs_nothing: false,
    keeps_destroyed: Some(30),
};

/// AWS KMS as our own tests play it.
pub const KMS: Subject = Subject {
    name: "AWS KMS",
    missing: || None,
    start: || {
        Box::pin(async {
            let fake = FakeKms::start("eu-central-1").await;
            let settings = kms::settings("cloud", &fake.region, &fake.url());
            of_service(settings, fake).await
        })
    },
    kind: "aws-kms",
    lacks: &[],
    chooses_ids: false,
    signs_nothing: false,
    keeps_destroyed: Some(30),
};

async fn of_token(token: Token) -> Running {
    let token = Arc::new(token);
    let (store, again) = (token.start().await, Arc::clone(&token));
    let strict: Start = Box::new(move || {
        let token = Arc::clone(&again);
        Box::pin(async move {
            let settings = pkcs11::Settings { generate: false, ..token.settings() };
            let store: Arc<dyn KeyStore> = token.try_start(settings).await.unwrap();
            store
        })
    });
    Running { store, strict, _holds: Box::new(token) }
}

async fn of_service(settings: aws_kms::Settings, service: impl Any + Send + Sync) -> Running {
    async fn start(settings: aws_kms::Settings) -> Arc<dyn KeyStore> {
        let health = Health::of_backend("cloud", None);
        let (store, started) = aws_kms::Backend::start_with(settings, kms::credentials("test"), health).await;
        started.unwrap();
        store
    }
    let store = start(settings.clone()).await;
    let strict = move || -> BoxFuture<'static, _> {
        Box::pin(start(aws_kms::Settings { generate: false, ..settings.clone() }))
    };
    Running { store, strict: Box::new(strict), _holds: Box::new(service) }
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
