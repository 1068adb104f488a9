//! One backend with one key, asked the way the daemon asks: through `Replicas`.

use super::fixture::{PIN, Token};
use jwsd::backend::pkcs11::{Backend, Settings};
use jwsd::backend::{Ask, BackendEvent, Health, KeyStore, Member, Opened, Replicas, Signing, SigningKey};
use jwsd::jose::{Algorithm, Verifier};
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::Instant;

pub const INPUT: &[u8] = b"header.payload";

pub struct Bed {
    pub token: Token,
    pub backend: Arc<Backend>,
    pub replicas: Arc<Replicas>,
    pub events: UnboundedReceiver<BackendEvent>,
    signer: Arc<dyn SigningKey>,
}

impl Bed {
    /// A token behind the faulty module, two sessions, one ES256 key.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::of(Token::faulty(""), change).await
    }

    /// The same of another token.
    pub async fn of(token: Token, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = token.settings();
        change(&mut settings);
        let (sender, events) = mpsc::unbounded_channel();
        let health = Health::of_backend("hsm", Some(sender));
        let (backend, outcome) =
            Backend::start(settings, Box::new(|| Ok(SecretString::from(PIN))), health).await;
        outcome.unwrap();
        let Opened { id, public, signer, .. } = token.generate(&backend, b"k", Algorithm::ES256).await;
        let kid = public.thumbprint();
        let verifier = Verifier::new(Algorithm::ES256, public).unwrap();
        let store = Arc::clone(&backend) as Arc<dyn KeyStore>;
        let member = Member::new(store, &kid, id, Some(Arc::clone(&signer)));
        let replicas = Arc::new(Replicas::new(verifier, vec![member]));
        Self { token, backend, replicas, events, signer }
    }

    /// One request; a good signature is a verified one.
    pub async fn sign(&self, limit: Duration) -> Signing<'_> {
        self.replicas.sign(INPUT, Ask { flow: 1, ..Ask::own(Instant::now() + limit) }).await
    }

    /// Signs again and again until it works; says how long that took. Panics after 20 seconds.
    pub async fn signs_again(&self, after: &str) -> Duration {
        let since = Instant::now();
        loop {
            match self.sign(Duration::from_secs(5)).await.result {
                Ok(_) => return since.elapsed(),
                Err(error) => {
                    assert!(since.elapsed() < Duration::from_secs(20), "stuck after {after}: {error}");
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Has the worker replaced, without any fault of it.
    pub fn restart(&self) {
        self.signer.distrust();
    }

    pub async fn generation(&self) -> u64 {
        self.backend.status().await.generation
    }

    /// Logins that reached the token.
    pub fn logins(&self) -> u64 {
        let counts = std::fs::read_to_string(self.token.path("logins")).unwrap_or_default();
        counts.split_whitespace().nth(1).and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// Whether backend and key are in quarantine.
    pub fn quarantined(&self) -> (bool, bool) {
        let key = self.replicas.members()[0].health().quarantined().is_some();
        (self.backend.health().quarantined().is_some(), key)
    }

    /// What an operator does after the cause was found.
    pub fn release(&self) {
        self.replicas.members()[0].health().release();
        self.backend.health().release();
    }
}

/// Waits until it holds, ten seconds at most.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !holds().await {
        assert!(since.elapsed() < Duration::from_secs(10), "not within ten seconds: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
