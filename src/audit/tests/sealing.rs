//! The task that seals: whose turn it is, what a backend that is down comes to, and that sizes only grow.

use super::*;
use crate::audit::checkpoint::{Checkpoint, Note, SealKey};
use crate::audit::seal::Sealer;
use crate::backend::{
    Advice, Ask, BoxFuture, Class, Destroyed, Error, Generated, Health, KeySpec, KeyStore, Listed, Member,
    Opened, Signed, SigningKey, Status, Wanted,
};
use crate::clock::Clock as _;
use crate::jose::{Algorithm, PublicKey, Signature, Verifier};
use crate::keyring::{Keyring, Ring, Version};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use tokio_util::sync::CancellationToken;

/// An Ed25519 key in memory, and the backend that holds it.
pub(super) struct Soft {
    pair: Ed25519KeyPair,
    health: Arc<Health>,
    down: AtomicBool,
}

impl Soft {
    pub(super) fn new(seed: u8) -> Arc<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        Arc::new(Self { pair, health: Health::of_backend("soft", None), down: AtomicBool::new(false) })
    }
    fn public(&self) -> PublicKey {
        PublicKey::ed25519(self.pair.public_key().as_ref()).unwrap()
    }
    fn error(&self) -> Error {
        let (message, code) = ("it is unplugged".to_owned(), "FAULT".to_owned());
        let backend = self.health.backend().to_string();
        Error { backend, class: Class::Down, message, code, advice: Advice::NEVER, retry_after: None }
    }
    /// A version that signs in this time.
    pub(super) fn version(self: &Arc<Self>, from: i64, until: i64) -> Arc<Version> {
        let verifier = Verifier::new(Algorithm::Ed25519, self.public()).unwrap();
        let signer: Arc<dyn SigningKey> = Arc::new(Handle(Arc::clone(self)));
        let store = Arc::new(Handle(Arc::clone(self)));
        let member = Member::new(store, &self.public().thumbprint(), vec![1], Some(signer));
        let version = Version::new("audit".into(), verifier, vec![member]);
        version.open(from, until);
        Arc::new(version)
    }
    pub(super) fn key(&self) -> SealKey {
        SealKey::new("jwsd/test", Algorithm::Ed25519, self.public()).unwrap()
    }
}

struct Handle(Arc<Soft>);
impl SigningKey for Handle {
    fn sign<'a>(&'a self, input: &'a [u8], _: Ask) -> BoxFuture<'a, Signed> {
        Box::pin(async move {
            if self.0.down.load(Ordering::SeqCst) {
                return Err(self.0.error()).into();
            }
            let bytes = self.0.pair.sign(input).as_ref().to_vec();
            Ok(Signature::from_backend(bytes, &self.0.public()).unwrap()).into()
        })
    }
    fn max_input(&self) -> usize {
        4096
    }
}
/// Only its health is used.
impl KeyStore for Handle {
    fn open<'a>(
        &'a self,
        _: Wanted<'a>,
        _: Algorithm,
        _: Option<&'a PublicKey>,
    ) -> BoxFuture<'a, Result<Opened, Error>> {
        Box::pin(async { Err(self.0.error()) })
    }
    fn generate<'a>(
        &'a self,
        _: &'a [u8],
        _: &'a str,
        _: KeySpec,
    ) -> BoxFuture<'a, Result<Generated, Error>> {
        Box::pin(async { Err(self.0.error()) })
    }
    fn find_made<'a>(&'a self, _: &'a [u8], _: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>> {
        Box::pin(async { Err(self.0.error()) })
    }
    fn destroy<'a>(&'a self, _: &'a [u8], _: &'a PublicKey) -> BoxFuture<'a, Result<Destroyed, Error>> {
        Box::pin(async { Err(self.0.error()) })
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn health(&self) -> &Arc<Health> {
        &self.0.health
    }
    fn status(&self) -> BoxFuture<'_, Status> {
        Box::pin(async { Status { ready: true, ..Status::default() } })
    }
    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// A log, and the keys that may seal it.
pub(super) struct Bed {
    pub(super) bench: Bench,
    keyring: Arc<Keyring>,
}

impl Bed {
    pub(super) fn new(ring: Ring) -> Self {
        Self { bench: Bench::sealed(), keyring: Arc::new(Keyring::new(ring)) }
    }
    pub(super) fn sealer(&self, log: &Log) -> Sealer {
        let settings = self.bench.settings.checkpoint.clone().unwrap();
        let (log, keyring) = (log.clone(), Arc::clone(&self.keyring));
        Sealer::new(settings, log, keyring, Arc::new(SystemClock), Duration::from_secs(1)).unwrap()
    }
    fn turn(&self, active: Option<&Arc<Version>>, prepared: Option<&Arc<Version>>) {
        self.keyring.replace(Arc::new(Ring::sample(active, prepared)));
    }
    /// Events that have to do with seals, and whose; each seal opens with the key that it names, and the sizes increase.
    fn story(&self, keys: &[&Soft]) -> Vec<String> {
        let (mut story, mut sizes) = (Vec::new(), vec![0]);
        for line in self.bench.lines().iter().map(|line| json(line)) {
            let kid = line["kid"].as_str().unwrap_or_default();
            let Some(at) = keys.iter().position(|key| key.key().kid().as_str() == kid) else { continue };
            match line["event"].as_str().unwrap() {
                "log.key" => {
                    assert_eq!(line["vkey"], keys[at].key().to_vkey());
                    story.push(format!("key {at}"));
                }
                "log.sealed" => {
                    let note = Note::parse(line["note"].as_str().unwrap()).unwrap();
                    let Checkpoint { size, .. } = note.open(&keys[at].key()).unwrap();
                    assert!(sizes.last().unwrap() < &size);
                    sizes.push(size);
                    story.push(format!("seal {at}"));
                }
                _ => {}
            }
        }
        story
    }
}

const EVER: i64 = i64::MAX;

#[tokio::test]
async fn the_next_version_seals_once_the_one_before_vouches_for_it() {
    let (a, b) = (Soft::new(1), Soft::new(2));
    let (first, second) = (a.version(0, EVER), b.version(0, EVER));
    let bed = Bed::new(Ring::sample(Some(&first), None));
    let log = bed.bench.open();
    let mut sealer = bed.sealer(&log);
    assert!(sealer.seal(true).await && sealer.seal(true).await);
    // As soon as it is prepared it is introduced, so that it can take over at once.
    bed.turn(Some(&first), Some(&second));
    assert!(sealer.seal(true).await);
    first.close_at(i64::MIN);
    bed.turn(Some(&second), None);
    assert!(sealer.seal(true).await);
    let keys = [&*a, &*b];
    assert_eq!(bed.story(&keys), ["key 0", "seal 0", "seal 0", "key 1", "seal 0", "seal 1"]);
    log.close().await;
    bed.bench.assert_sound();
}

#[tokio::test]
async fn one_that_takes_over_unannounced_waits_for_one_more_seal_of_the_one_before() {
    let (a, b) = (Soft::new(1), Soft::new(2));
    let (first, second) = (a.version(0, EVER), b.version(0, EVER));
    let bed = Bed::new(Ring::sample(Some(&first), None));
    let log = bed.bench.open();
    let mut sealer = bed.sealer(&log);
    assert!(sealer.seal(true).await);
    // Its time is over, and no gate of JWTs opens for it.
    first.close_at(i64::MIN);
    bed.turn(Some(&second), None);
    assert!(first.enter(5, 5).is_err());
    assert!(sealer.seal(true).await && sealer.seal(true).await);
    assert_eq!(bed.story(&[&a, &b]), ["key 0", "seal 0", "key 1", "seal 0", "seal 1"]);
    log.close().await;
}

#[tokio::test]
async fn a_version_that_nobody_vouches_for_seals_nothing() {
    let (a, b) = (Soft::new(1), Soft::new(2));
    let (first, second) = (a.version(0, EVER), b.version(0, EVER));
    let bed = Bed::new(Ring::sample(Some(&first), None));
    let log = bed.bench.open();
    let mut sealer = bed.sealer(&log);
    assert!(sealer.seal(true).await);
    first.revoke();
    bed.turn(Some(&second), None);
    assert!(!sealer.seal(true).await && !sealer.seal(true).await);
    assert_eq!(bed.story(&[&a, &b]), ["key 0", "seal 0", "key 1"]);
    let report = log.health().checkpoint.unwrap();
    assert!(report.problem.as_ref().unwrap().contains("begin a new log"), "{report:?}");
    assert!(report.unsealed >= 2 && report.since.is_some(), "{report:?}");
    log.close().await;
    // Nor after a restart, at which the version before is not known any more.
    let log = bed.bench.open();
    assert!(!bed.sealer(&log).seal(true).await);
    log.close().await;
}

#[tokio::test]
async fn what_an_earlier_run_introduced_is_found() {
    let (a, b) = (Soft::new(1), Soft::new(2));
    let (first, second) = (a.version(0, EVER), b.version(0, EVER));
    let bed = Bed::new(Ring::sample(Some(&first), Some(&second)));
    let log = bed.bench.open();
    let mut sealer = bed.sealer(&log);
    for _ in 0..3 {
        assert!(sealer.seal(true).await);
    }
    log.close().await;
    bed.turn(Some(&second), None);
    let log = bed.bench.open();
    assert!(bed.sealer(&log).seal(true).await);
    let told = ["key 0", "key 1", "seal 0", "seal 0", "seal 0", "key 1", "seal 1"];
    assert_eq!(bed.story(&[&a, &b]), told);
    log.close().await;
}

#[tokio::test]
async fn a_version_seals_in_its_time_only() {
    let now = SystemClock.now().as_second();
    for (from, until, word) in [(now + 1000, EVER, "from"), (0, now - 5, "stopped")] {
        let soft = Soft::new(1);
        let bed = Bed::new(Ring::sample(Some(&soft.version(from, until)), None));
        let log = bed.bench.open();
        assert!(!bed.sealer(&log).seal(true).await);
        let problem = log.health().checkpoint.unwrap().problem.unwrap();
        assert!(problem.contains(word), "{problem}");
        log.close().await;
    }
    let bed = Bed::new(Ring::empty());
    let log = bed.bench.open();
    assert!(!bed.sealer(&log).seal(true).await);
    assert!(log.health().checkpoint.unwrap().problem.unwrap().contains("no active version"));
    log.close().await;
}

#[tokio::test]
async fn a_backend_that_is_down_is_shown_and_sealing_goes_on_when_it_is_back() {
    let soft = Soft::new(1);
    let bed = Bed::new(Ring::sample(Some(&soft.version(0, EVER)), None));
    let log = bed.bench.open();
    let mut sealer = bed.sealer(&log);
    assert!(sealer.seal(true).await);
    let before = log.health().checkpoint.unwrap();
    assert_eq!((before.size, before.unsealed, before.problem.as_ref()), (1, 1, None));
    soft.down.store(true, Ordering::SeqCst);
    for n in 0..3 {
        log.append(vec![issued(n)]).unwrap().durable().await.unwrap();
    }
    assert!(!sealer.seal(true).await);
    let report = log.health().checkpoint.unwrap();
    assert!(report.problem.as_ref().unwrap().contains("unplugged"), "{report:?}");
    assert_eq!((report.size, report.unsealed), (1, 4));
    soft.down.store(false, Ordering::SeqCst);
    assert!(sealer.seal(true).await);
    let after = log.health().checkpoint.unwrap();
    assert_eq!((after.size, after.problem, after.since), (5, None, None));
    log.close().await;
}

#[tokio::test]
async fn a_failing_disk_never_makes_a_seal_smaller() {
    let soft = Soft::new(1);
    let bed = Bed::new(Ring::sample(Some(&soft.version(0, EVER)), None));
    let log = bed.bench.open();
    let mut sealer = bed.sealer(&log);
    for n in 0..20 {
        if n % 3 == 1 {
            bed.bench.disk.sync.store(1, Ordering::SeqCst);
        }
        // The seal itself, or a record before it, meets the fault.
        if n % 2 == 0
            && let Ok(mut ticket) = log.append(vec![denied(n)])
        {
            let _ = ticket.durable().await;
        }
        let _ = sealer.seal(true).await;
        while !log.health().healthy {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    log.close().await;
    assert!(bed.bench.assert_sound().gaps.len() >= 6);
    assert!(bed.story(&[&soft]).iter().filter(|what| *what == "seal 0").count() >= 8);
}

#[tokio::test]
async fn it_seals_at_start_by_time_by_count_and_at_stop() {
    let soft = Soft::new(1);
    let mut bed = Bed::new(Ring::sample(Some(&soft.version(0, EVER)), None));
    bed.bench.settings.checkpoint.as_mut().unwrap().records = 100;
    let log = bed.bench.open();
    let stop = CancellationToken::new();
    let task = tokio::spawn(bed.sealer(&log).run(stop.clone()));
    let sealed = async |least: u64| {
        let started = Instant::now();
        while log.health().checkpoint.unwrap().size < least {
            assert!(started.elapsed() < Duration::from_secs(10), "{:?}", log.health());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    sealed(1).await;
    for n in 0..99 {
        log.append(vec![issued(n)]).unwrap().durable().await.unwrap();
    }
    sealed(100).await;
    log.append(vec![issued(100)]).unwrap().durable().await.unwrap();
    stop.cancel();
    task.await.unwrap();
    let health = log.health();
    assert_eq!(health.checkpoint.as_ref().unwrap().size, health.durable - 1, "{health:?}");
    log.close().await;
    // An empty interval is sealed, too.
    bed.bench.settings.checkpoint.as_mut().unwrap().every = Duration::from_millis(20);
    let log = bed.bench.open();
    let stop = CancellationToken::new();
    let task = tokio::spawn(bed.sealer(&log).run(stop.clone()));
    let (before, started) = (log.health().durable, Instant::now());
    while log.health().durable < before + 5 {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    task.await.unwrap();
    log.close().await;
    assert_eq!(json(bed.bench.lines().last().unwrap())["event"], "log.sealed");
}
