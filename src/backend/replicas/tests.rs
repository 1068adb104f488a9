//! What follows a fault, with backends that do what a script says.

use super::*;
use crate::backend::{
    BoxFuture, Destroyed, Generated, Health, KeySpec, KeyStore, Listed, Opened, Signed, Status, Wanted,
};
use crate::jose::{Algorithm, Curve, PublicKey, Signature};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// What a request to a fake comes to.
#[derive(Clone)]
enum Act {
    Good,
    /// A signature of something else.
    Bad,
    Fail(Advice),
    /// Answers at its deadline.
    Hang,
    /// A signature, after this.
    Late(Duration),
}

/// A backend with one key.
struct Fake {
    pair: Arc<EcdsaKeyPair>,
    health: Arc<Health>,
    script: Mutex<VecDeque<Act>>,
    asked: AtomicUsize,
    distrusted: AtomicBool,
    /// The store shows the key.
    shown: AtomicBool,
}

impl Fake {
    fn then(&self, acts: impl IntoIterator<Item = Act>) {
        self.script.lock().unwrap().extend(acts);
    }
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
    fn error(&self, class: Class, advice: Advice) -> Error {
        let (backend, code) = (self.health.backend().to_string(), "FAULT".to_owned());
        Error { backend, class, message: "a fault".to_owned(), code, advice, retry_after: None }
    }
}

struct Handle(Arc<Fake>);
impl SigningKey for Handle {
    fn sign<'a>(&'a self, input: &'a [u8], ask: Ask) -> BoxFuture<'a, Signed> {
        Box::pin(async move {
            let fake = &self.0;
            fake.asked.fetch_add(1, Ordering::SeqCst);
            let act = fake.script.lock().unwrap().pop_front().unwrap_or(Act::Good);
            let signed = |input: &[u8]| {
                let bytes = EcdsaKeyPair::sign(&fake.pair, &SystemRandom::new(), input).unwrap();
                let signature = Signature::from_backend(bytes.as_ref().to_vec(), &public(&fake.pair));
                Ok(signature.unwrap())
            };
            let result = match act {
                Act::Good => signed(input),
                Act::Late(pause) => {
                    sleep(pause).await;
                    signed(input)
                }
                Act::Bad => signed(b"something else"),
                Act::Fail(advice) => Err(fake.error(Class::Down, advice)),
                Act::Hang => {
                    tokio::time::sleep_until(ask.deadline).await;
                    let advice = Advice { retries: 1, scope: Scope::Backend, ..Advice::NEVER };
                    Err(fake.error(Class::Deadline, advice))
                }
            };
            result.into()
        })
    }
    fn max_input(&self) -> usize {
        100
    }
    fn distrust(&self) {
        self.0.distrusted.store(true, Ordering::SeqCst);
    }
}

/// As a store; only `open` and `health` are used here.
struct Store(Arc<Fake>);
impl KeyStore for Store {
    fn open<'a>(
        &'a self,
        _: Wanted<'a>,
        _: Algorithm,
        _: Option<&'a PublicKey>,
    ) -> BoxFuture<'a, Result<Opened, Error>> {
        Box::pin(async {
            if !self.0.shown.load(Ordering::SeqCst) {
                return Err(self.0.error(Class::Misconfigured, Advice::NEVER));
            }
            let signer = Arc::new(Handle(Arc::clone(&self.0)));
            Ok(Opened { id: vec![1], label: String::new(), public: public(&self.0.pair), signer })
        })
    }
    fn generate<'a>(
        &'a self,
        _: &'a [u8],
        _: &'a str,
        _: KeySpec,
    ) -> BoxFuture<'a, Result<Generated, Error>> {
        Box::pin(async { Err(self.0.error(Class::Bug, Advice::NEVER)) })
    }
    fn find_made<'a>(&'a self, _: &'a [u8], _: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>> {
        Box::pin(async { Ok(None) })
    }
    fn destroy<'a>(&'a self, _: &'a [u8], _: &'a PublicKey) -> BoxFuture<'a, Result<Destroyed, Error>> {
        Box::pin(async { Err(self.0.error(Class::Bug, Advice::NEVER)) })
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

fn public(pair: &EcdsaKeyPair) -> PublicKey {
    PublicKey::ec(Curve::P256, pair.public_key().as_ref()).unwrap()
}

/// One key in backends `a`, `b`, ...
fn key(count: u8) -> (Replicas, Vec<Arc<Fake>>) {
    let pair = Arc::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
    let fakes: Vec<_> = (0..count)
        .map(|at| {
            Arc::new(Fake {
                pair: Arc::clone(&pair),
                health: Health::of_backend(&char::from(b'a' + at).to_string(), None),
                script: Mutex::default(),
                asked: AtomicUsize::new(0),
                distrusted: AtomicBool::new(false),
                shown: AtomicBool::new(true),
            })
        })
        .collect();
    let kid = public(&pair).thumbprint();
    let member = |fake: &Arc<Fake>| {
        let signer: Arc<dyn SigningKey> = Arc::new(Handle(Arc::clone(fake)));
        Member::new(Arc::new(Store(Arc::clone(fake))), &kid, vec![1], Some(signer))
    };
    let verifier = Verifier::new(Algorithm::ES256, public(&pair)).unwrap();
    (Replicas::new(verifier, fakes.iter().map(member).collect()), fakes)
}

fn soon() -> Ask {
    Ask { flow: 1, ..Ask::own(Instant::now() + Duration::from_secs(2)) }
}

/// The outcome in short, and what the record will say.
async fn sign(replicas: &Replicas, ask: Ask) -> (Result<(), Class>, Vec<String>) {
    let Signing { result, attempts } = replicas.sign(b"input", ask).await;
    let told = attempts.iter().map(|attempt| format!("{} {}", attempt.backend, attempt.outcome)).collect();
    (result.map(drop).map_err(|error| error.class), told)
}

const HERE: Advice = Advice { retries: 1, here: true, scope: Scope::Backend, ..Advice::NEVER };
const ELSEWHERE: Advice = Advice { here: false, ..HERE };

#[tokio::test]
async fn a_fault_is_repeated_as_often_as_its_advice_allows_and_no_more() {
    for (advice, acts, expected) in [
        (Advice::NEVER, 1, Err(Class::Down)),
        (HERE, 1, Ok(())),
        (HERE, 2, Err(Class::Down)),
        (ELSEWHERE, 1, Err(Class::Down)),
        (Advice { retries: 2, ..HERE }, 2, Ok(())),
        (Advice { retries: 2, ..HERE }, 3, Err(Class::Down)),
    ] {
        let (replicas, fakes) = key(1);
        fakes[0].then(vec![Act::Fail(advice); acts]);
        let (result, attempts) = sign(&replicas, soon()).await;
        assert_eq!(result, expected, "{advice:?} {acts}");
        assert_eq!(attempts.len(), fakes[0].asked(), "each attempt is told");
        let most = if advice.here { usize::from(advice.retries) + 1 } else { 1 };
        assert!(attempts.len() <= most);
    }
}

#[tokio::test]
async fn another_backend_is_asked_before_the_same_one_again() {
    for advice in [HERE, ELSEWHERE] {
        let (replicas, fakes) = key(2);
        for fake in &fakes {
            fake.then([Act::Fail(advice)]);
        }
        let (result, attempts) = sign(&replicas, soon()).await;
        assert_eq!(result, Err(Class::Down), "two attempts in all");
        assert_eq!(attempts.len(), 2);
        assert_ne!(attempts[0], attempts[1], "one each");
        assert_eq!(sign(&replicas, soon()).await.0, Ok(()));
    }
}

/// One that refuses at once is never busy.
#[tokio::test]
async fn who_fails_at_once_does_not_get_them_all() {
    let (replicas, fakes) = key(2);
    let shed = Advice { retries: 1, ..Advice::NEVER };
    fakes[0].then(vec![Act::Fail(shed); 50]);
    let _busy = fakes[1].health.enter();
    for _ in 0..50 {
        assert_eq!(sign(&replicas, soon()).await.0, Ok(()));
    }
    assert!(fakes[0].asked() <= 2, "{}", fakes[0].asked());
}

#[tokio::test]
async fn a_pause_is_kept_and_a_deadline_is_not_passed() {
    let (replicas, fakes) = key(1);
    let advice = Advice { pause: Duration::from_millis(300), ..HERE };
    fakes[0].then([Act::Fail(advice)]);
    let began = Instant::now();
    assert_eq!(sign(&replicas, soon()).await.0, Ok(()));
    assert!(began.elapsed() >= advice.pause);
    fakes[0].then([Act::Fail(advice)]);
    let ask = Ask { flow: 1, ..Ask::own(Instant::now() + Duration::from_millis(200)) };
    assert_eq!(sign(&replicas, ask).await, (Err(Class::Down), vec!["a FAULT".to_owned()]));
    assert!(Instant::now() < ask.deadline, "no use in waiting");
}

#[tokio::test]
async fn a_hang_leaves_the_other_backend_half_of_the_time() {
    let (replicas, fakes) = key(2);
    for fake in &fakes {
        fake.then([Act::Hang]);
    }
    let ask = || Ask { flow: 1, ..Ask::own(Instant::now() + Duration::from_millis(400)) };
    let began = Instant::now();
    assert_eq!(sign(&replicas, ask()).await.0, Err(Class::Deadline), "both hang");
    assert!(began.elapsed() >= Duration::from_millis(400));
    fakes[0].then([Act::Hang]);
    for _ in 0..2 {
        let ask = ask();
        assert_eq!(sign(&replicas, ask).await.0, Ok(()));
        assert!(Instant::now() < ask.deadline);
    }
    assert_eq!(fakes[0].asked() + fakes[1].asked(), 5, "two hung, one hung and was repeated, one did not");
}

#[tokio::test]
async fn equals_take_turns_and_the_busy_one_is_spared() {
    let (replicas, fakes) = key(3);
    for _ in 0..30 {
        assert_eq!(sign(&replicas, soon()).await.0, Ok(()));
    }
    let asked = || fakes.iter().map(|fake| fake.asked()).collect::<Vec<_>>();
    assert_eq!(asked(), [10, 10, 10]);
    let _busy = (fakes[0].health.enter(), fakes[2].health.enter());
    for _ in 0..10 {
        assert_eq!(sign(&replicas, soon()).await.0, Ok(()));
    }
    assert_eq!(asked(), [10, 20, 10]);
}

#[tokio::test]
async fn a_bad_signature_is_never_released_and_its_key_never_asked_again() {
    let (replicas, fakes) = key(2);
    for fake in &fakes {
        fake.then([Act::Bad]);
    }
    let (result, attempts) = sign(&replicas, soon()).await;
    assert_eq!(result, Err(Class::Untrusted));
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert!(attempts.iter().all(|attempt| attempt.ends_with("bad signature")));
    assert!(fakes.iter().all(|fake| fake.distrusted.load(Ordering::SeqCst)));
    let asked = fakes[0].asked() + fakes[1].asked();
    for _ in 0..10 {
        assert_eq!(sign(&replicas, soon()).await, (Err(Class::Untrusted), vec![]));
        assert!(replicas.probe(b"test", Duration::ZERO, Duration::from_secs(1)).await.is_empty());
    }
    assert_eq!(fakes[0].asked() + fakes[1].asked(), asked, "nobody was asked");
    // The operator's way back.
    assert!(replicas.members()[1].health().release());
    assert!(!replicas.members()[1].health().release());
    assert_eq!(sign(&replicas, soon()).await, (Ok(()), vec!["b ok".to_owned()]));
    assert_eq!(fakes[0].asked(), 1);
}

#[tokio::test]
async fn one_bad_signature_costs_the_caller_nothing_when_another_backend_has_the_key() {
    let (replicas, fakes) = key(2);
    fakes[0].then([Act::Bad]);
    fakes[1].then([Act::Bad]);
    // Whichever is first is bad; the other one must be made good for that.
    let first = replicas.turn.load(Ordering::SeqCst) % 2;
    fakes[1 - first].script.lock().unwrap().clear();
    let (result, attempts) = sign(&replicas, soon()).await;
    assert_eq!((result, attempts.len()), (Ok(()), 2), "{attempts:?}");
}

#[tokio::test]
async fn a_backend_that_fails_and_fails_is_left_alone_and_comes_back() {
    let (replicas, fakes) = key(2);
    fakes[0].then(vec![Act::Fail(HERE); 5]);
    for _ in 0..3 {
        replicas.probe(b"test", Duration::ZERO, Duration::from_secs(1)).await;
    }
    assert!(!fakes[0].health.is_good());
    let asked = fakes[0].asked();
    for _ in 0..30 {
        assert_eq!(sign(&replicas, soon()).await.0, Ok(()), "the other one serves");
    }
    assert_eq!(fakes[0].asked(), asked, "it was left alone");
    sleep(Duration::from_millis(150)).await;
    assert!(replicas.probe(b"test", Duration::from_secs(3600), Duration::from_secs(1)).await.is_empty());
    assert!(fakes[0].health.is_good(), "the self-test closed the breaker");
}

#[tokio::test]
async fn a_self_test_is_repeated_as_any_request_but_only_there() {
    let (replicas, fakes) = key(2);
    fakes[0].then([Act::Fail(HERE)]);
    assert!(replicas.probe(b"test", Duration::ZERO, Duration::from_secs(1)).await.is_empty());
    assert_eq!((fakes[0].asked(), fakes[1].asked()), (2, 1));
    fakes[0].then(vec![Act::Fail(HERE); 2]);
    assert_eq!(replicas.probe(b"test", Duration::ZERO, Duration::from_secs(1)).await.len(), 1);
    assert_eq!((fakes[0].asked(), fakes[1].asked()), (4, 2));
}

#[tokio::test]
async fn an_only_backend_that_rests_says_when_to_come_back() {
    let (replicas, fakes) = key(1);
    fakes[0].then(vec![Act::Fail(Advice { retries: 0, ..HERE }); 5]);
    for _ in 0..5 {
        assert_eq!(sign(&replicas, soon()).await.0, Err(Class::Down));
    }
    let signing = replicas.sign(b"input", soon()).await;
    let error = signing.result.err().unwrap();
    assert!(error.retry_after.is_some() && signing.attempts.is_empty(), "{error}");
}

#[tokio::test]
async fn faults_of_a_request_trip_nothing() {
    let (replicas, fakes) = key(1);
    fakes[0].then(vec![Act::Fail(Advice::NEVER); 50]);
    for _ in 0..50 {
        assert_eq!(sign(&replicas, soon()).await.0, Err(Class::Down));
    }
    assert!(fakes[0].health.is_good());
    assert_eq!(sign(&replicas, soon()).await.0, Ok(()));
}

#[tokio::test]
async fn a_fault_of_one_key_leaves_the_backend_to_the_others() {
    let (replicas, fakes) = key(1);
    let advice = Advice { quarantine: true, scope: Scope::Key, ..Advice::NEVER };
    fakes[0].then([Act::Fail(advice)]);
    assert_eq!(sign(&replicas, soon()).await.0, Err(Class::Down));
    assert_eq!(sign(&replicas, soon()).await.0, Err(Class::Untrusted));
    assert!(fakes[0].health.is_good());
    let whole = Advice { scope: Scope::Backend, ..advice };
    replicas.members()[0].health().release();
    fakes[0].then([Act::Fail(whole)]);
    assert_eq!(sign(&replicas, soon()).await.0, Err(Class::Down));
    assert!(fakes[0].health.quarantined().is_some());
}

#[tokio::test]
async fn a_key_that_a_backend_shows_later_is_found_by_the_self_test() {
    let (whole, fakes) = key(1);
    let fake = &fakes[0];
    fake.shown.store(false, Ordering::SeqCst);
    let kid = whole.verifier().public().thumbprint();
    let member = Member::new(Arc::new(Store(Arc::clone(fake))), &kid, vec![1], None);
    let verifier = Verifier::new(Algorithm::ES256, public(&fake.pair)).unwrap();
    let replicas = Replicas::new(verifier, vec![member]);
    assert_eq!(replicas.max_input(), usize::MAX);
    assert_eq!(sign(&replicas, soon()).await, (Err(Class::Misconfigured), vec![]));
    let limit = Duration::from_secs(1);
    assert_eq!(replicas.probe(b"test", Duration::ZERO, limit).await.len(), 1);
    assert_eq!(replicas.unproven_for(), None);
    fake.shown.store(true, Ordering::SeqCst);
    assert!(replicas.probe(b"test", Duration::ZERO, limit).await.is_empty());
    assert_eq!(replicas.unproven_for(), None, "not looked for again so soon");
    sleep(Duration::from_millis(1100)).await;
    assert!(replicas.probe(b"test", Duration::ZERO, limit).await.is_empty());
    assert_eq!(replicas.unproven_for(), Some(0));
    assert_eq!((sign(&replicas, soon()).await.0, replicas.max_input()), (Ok(()), 100));
}

/// Requests that were under way when the key was put in quarantine.
#[tokio::test]
async fn what_a_key_in_quarantine_signed_meanwhile_is_not_released() {
    let (replicas, fakes) = key(1);
    fakes[0].then([Act::Late(Duration::from_millis(50)), Act::Bad]);
    let (slow, bad) = tokio::join!(sign(&replicas, soon()), sign(&replicas, soon()));
    assert_eq!(bad.0, Err(Class::Untrusted));
    assert_eq!(slow, (Err(Class::Untrusted), vec!["a quarantined".to_owned()]));
}
