//! A daemon whose KMS is played, callers who never rest, and what must be so whatever KMS does.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jwsd::jose::{Algorithm, PublicKey, Signature, Verifier, compact};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::common::{Connection, Daemon, Response, Site, good};
use crate::fake_kms::FakeKms;

pub const REGIONS: [&str; 2] = ["eu-central-1", "eu-west-1"];
const CALLERS: usize = 8;
/// What a request may take, as the configuration has it when it says nothing.
pub const DEADLINE: Duration = Duration::from_secs(2);
/// It has every code that a caller may see.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md");
/// Repeats that a backend allows before any were earned.
const RESERVE: u64 = 10;

/// One key, `access`, in one backend for each Region: `eu-central-1`, `eu-west-1`.
pub struct Bed {
    pub daemon: Daemon,
    pub site: Site,
    pub fakes: Vec<FakeKms>,
    verifier: Verifier,
    /// Records that were looked at.
    seen: usize,
    /// Every `jti` that a caller was given.
    jtis: HashSet<String>,
    /// How many answers each caller has had.
    turns: [AtomicU64; CALLERS],
    /// Where the fakes run; it goes last.
    _runtime: Runtime,
}

/// What callers were answered.
#[derive(Default)]
struct Answers {
    jtis: Vec<String>,
    /// By status and code.
    refusals: BTreeMap<String, usize>,
    slowest: Duration,
}

/// What one fault came to.
pub struct Phase {
    pub jwts: usize,
    pub refused: usize,
}

impl Bed {
    /// The key was made an hour ago, and is taken over by its alias; `settings` are more lines of each backend.
    pub fn new(regions: &[&str], settings: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let fakes: Vec<_> = regions.iter().map(|region| runtime.block_on(FakeKms::start(region))).collect();
        let arn = fakes[0].add("ECC_NIST_P256");
        for fake in &fakes[1..] {
            fake.replicate(&fakes[0], &arn);
        }
        fakes[0].script().aliases.insert("alias/access".to_owned(), arn);

        let mut site = Site::with_kms(&[], regions[0], &fakes[0].url());
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            site.process_env.remove(name);
        }
        let credentials = site.path("credentials").display().to_string();
        site.process_env.insert("AWS_SHARED_CREDENTIALS_FILE".to_owned(), credentials);
        put_credentials(&site, "first");
        site.backends.clear();
        for fake in &fakes {
            let (region, url) = (&fake.region, fake.url());
            site.backends += &format!(
                "[backend.{region}]\nkind = \"aws-kms\"\nregion = {region:?}\nendpoint = {url:?}\nrate = \"10000/s\"\n{settings}\n"
            );
        }
        site.holders = regions.iter().map(|region| (*region).to_owned()).collect();
        site.keys.insert("access".to_owned(), "ES256".to_owned());
        site.write_config();
        let config = site.config_path().display().to_string();
        let adopted = site.jwsd(&["keys", "adopt", "--config", &config, "access", "alias/access"]);
        assert!(adopted.status.success(), "{}", String::from_utf8_lossy(&adopted.stderr));

        let daemon = site.start();
        let public = PublicKey::from_jwk(&daemon.key_set()["keys"][0]).unwrap();
        let verifier = Verifier::new(Algorithm::ES256, public).unwrap();
        let seen = daemon.records().len();
        let (jtis, turns) = Default::default();
        Self { daemon, site, fakes, verifier, seen, jtis, turns, _runtime: runtime }
    }

    /// What the first Region's backend, or its key, is in quarantine for.
    pub fn is_quarantined(&self) -> bool {
        let replica = &self.daemon.status()["keys"]["access"]["backends"][REGIONS[0]];
        replica["quarantine"].is_string()
    }

    /// As an operator does it.
    pub fn release(&self) {
        let path = format!("/v1/backends/{}/release", REGIONS[0]);
        let mut admin = Connection::open(&self.daemon.socket("admin.sock")).unwrap();
        let answer = admin.post(&path, &json!({ "key": "access" }).to_string()).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Lets callers ask without a pause until `act` is done, and looks at everything that came of it. They may be
    /// refused with `codes` and nothing else.
    pub fn under_load(&mut self, what: &str, codes: &[&str], act: impl FnOnce(&Self)) -> Phase {
        let sent = || self.fakes.iter().map(FakeKms::signs).collect::<Vec<_>>();
        let (before, began, stop) = (sent(), Instant::now(), AtomicBool::new(false));
        let answers = thread::scope(|scope| {
            let callers: Vec<_> =
                self.turns.iter().map(|turn| scope.spawn(|| self.call(turn, &stop))).collect();
            // Callers end even when it fails, or its failure would never be told.
            let acted = catch_unwind(AssertUnwindSafe(|| act(self)));
            stop.store(true, Ordering::Relaxed);
            acted.unwrap_or_else(|panic| resume_unwind(panic));
            callers.into_iter().map(|caller| caller.join().unwrap()).fold(Answers::default(), add)
        });
        let sent: Vec<_> = sent().into_iter().zip(before).map(|(after, before)| after - before).collect();
        let took = began.elapsed();
        for refusal in answers.refusals.keys() {
            assert!(codes.iter().any(|code| refusal.ends_with(&format!(" {code}"))), "{what}: {refusal}");
        }
        self.account(what, &answers, &sent, took)
    }

    /// Waits until all that callers are asking for now has been answered, and a few things that they ask for later.
    pub fn take_turns(&self) {
        let turns = || self.turns.iter().map(|turn| turn.load(Ordering::Relaxed));
        let wanted: Vec<u64> = turns().map(|turn| turn + 5).collect();
        let began = Instant::now();
        while turns().zip(&wanted).any(|(turn, wanted)| turn < *wanted) {
            assert!(began.elapsed() < Duration::from_secs(60), "a caller waits for ever");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// One caller: every JWT that it gets is good, every refusal a documented one.
    fn call(&self, turn: &AtomicU64, stop: &AtomicBool) -> Answers {
        let documented = fs::read_to_string(DOCUMENT).unwrap();
        let body = good("access").to_string();
        let mut connection = self.daemon.connect();
        let mut answers = Answers::default();
        while !stop.load(Ordering::Relaxed) {
            let asked = Instant::now();
            let answer = connection.post("/v1/sign", &body).unwrap();
            turn.fetch_add(1, Ordering::Relaxed);
            answers.slowest = answers.slowest.max(asked.elapsed());
            if answer.status == 200 {
                self.verify(&answer.jwt());
                answers.jtis.push(answer.json()["jti"].as_str().unwrap().to_owned());
                continue;
            }
            let (status, code) = (answer.status, answer.code());
            let is_row =
                |row: &str| row.starts_with(&format!("| {status} ")) && row.contains(&format!("`{code}`"));
            assert!(documented.lines().any(is_row), "{answer:?}");
            let passes = matches!(code.as_str(), "backend.busy" | "backend.down" | "backend.deadline");
            assert_eq!(says_when(&answer), passes, "{answer:?}");
            *answers.refusals.entry(format!("{status} {code}")).or_default() += 1;
            // Long enough that what is refused at once does not take the whole machine.
            thread::sleep(Duration::from_millis(20));
        }
        answers
    }

    fn verify(&self, jwt: &str) {
        let parts = compact::split(jwt).unwrap();
        let signature = Signature::from_backend(parts.signature, self.verifier.public()).unwrap();
        self.verifier
            .verify(parts.signing_input.as_bytes(), &signature)
            .expect("a bad signature was released");
    }

    /// Compares what callers have, what is recorded and what KMS was asked. All requests have been answered.
    fn account(&mut self, what: &str, answers: &Answers, sent: &[u64], took: Duration) -> Phase {
        let records = self.daemon.records();
        let (mut issued, mut failed, mut untried) = (HashSet::new(), HashSet::new(), 0);
        for record in &records[self.seen..] {
            let attempts =
                record["attempts"].as_array().map_or(0, |tries| tries.iter().filter(is_try).count());
            assert!(attempts <= 3, "{what}: {record}");
            let jti = || record["jti"].as_str().unwrap().to_owned();
            match record["event"].as_str().unwrap() {
                "jwt.issued" => assert!(issued.insert(jti()), "{what}: {record}"),
                "jwt.failed" => {
                    untried += u64::from(attempts == 0);
                    assert!(failed.insert(jti()), "{what}: {record}");
                }
                "jwt.undelivered" => panic!("{what}: {record}"),
                "jwt.retried" => assert!(attempts >= 1 && issued.contains(&jti()), "{what}: {record}"),
                _ => {}
            }
        }
        self.seen = records.len();
        let refused = answers.refusals.values().sum::<usize>();
        for jti in &answers.jtis {
            assert!(issued.contains(jti) && !failed.contains(jti), "{what}: {jti} has no record");
            assert!(self.jtis.insert(jti.clone()), "{what}: {jti} was given out twice");
        }
        assert_eq!(failed.len(), refused, "{what}: each refusal has its record, and nothing else has");
        assert_eq!(issued.len(), answers.jtis.len() + refused, "{what}: each request has its record");

        let asked = issued.len() as u64;
        let total = sent.iter().sum::<u64>();
        println!(
            "kms-daemon: {what}: {} JWTs, refused {:?}, {total} Sign requests for {asked} asked ({} tried): \
             amplification {:.2}, for each JWT {:.2}, slowest answer {:.0?}",
            answers.jtis.len(),
            answers.refusals,
            asked - untried,
            total as f64 / asked as f64,
            total as f64 / answers.jtis.len() as f64,
            answers.slowest,
        );
        // Each Region is a service of its own. What was refused without having been sent is not counted here; nor are
        // the daemon's self-tests, one a second with two repeats each, and what may be repeated before it was earned.
        let others = (took.as_secs() + 2) * 3 + RESERVE;
        let most = (asked - untried) * 13 / 10 + others;
        assert!(sent.iter().all(|sent| *sent <= most), "{what}: {sent:?} requests, not {most}");
        assert!(answers.slowest < DEADLINE + Duration::from_secs(5), "{what}: {:?}", answers.slowest);
        Phase { jwts: answers.jtis.len(), refused }
    }

    /// Signing goes on without help, within half a minute; says after how long.
    pub fn recovers(&mut self) -> Duration {
        let over = Instant::now();
        while self.daemon.sign("access").status != 200 {
            assert!(over.elapsed() < Duration::from_secs(30), "it does not recover");
            thread::sleep(Duration::from_millis(20));
        }
        self.seen = self.daemon.records().len();
        over.elapsed()
    }

    /// Ends the daemon: its log is sound, and nothing panicked.
    pub fn end(self) {
        let (code, log) = self.daemon.stop();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("panicked"), "{log}");
        let verified = self.site.jwsd(&["audit", "verify", self.site.audit.to_str().unwrap()]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    }
}

/// Makes `id` the access key that a daemon finds when it looks.
pub fn put_credentials(site: &Site, id: &str) {
    let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = not-a-secret\n");
    fs::write(site.path("credentials.new"), text).unwrap();
    fs::rename(site.path("credentials.new"), site.path("credentials")).unwrap();
}

fn add(mut sum: Answers, other: Answers) -> Answers {
    sum.jtis.extend(other.jtis);
    for (refusal, count) in other.refusals {
        *sum.refusals.entry(refusal).or_default() += count;
    }
    sum.slowest = sum.slowest.max(other.slowest);
    sum
}

/// Whether it says when to come back.
fn says_when(answer: &Response) -> bool {
    answer.header("retry-after").is_some_and(|seconds| seconds.parse().is_ok_and(|seconds: u64| seconds >= 1))
}

/// A request that was made because of the JWT or because an earlier one failed, not because one was slow.
fn is_try(attempt: &&Value) -> bool {
    attempt.as_str().is_some_and(|text| !text.ends_with(" hedged, not awaited"))
}
