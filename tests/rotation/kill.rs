//! kill -9 at every step that is written down or asked of a backend: the next start takes it up, no second key is
//! made, and no key is left that nobody knows.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use jwsd::admin::{Admin, By};
use jwsd::backend::{self, Destroyed, Error, Generated, Health, KeySpec, KeyStore, Listed, Opened, Wanted};
use jwsd::config::Config;
use jwsd::jose::{Algorithm, PublicKey};
use jwsd::state::{self, KeyChange, KeyState, Keys, Tally};
use nix::sys::signal::{Signal, raise};

use crate::common::{Dice, Site, records, rounds};
use crate::host::{Host, active, config_of};

/// Steps are counted; at one of them the process dies.
#[derive(Clone)]
struct Steps {
    passed: Arc<AtomicUsize>,
    last: Option<usize>,
}

impl Steps {
    fn pass(&self, what: &str) {
        let step = self.passed.fetch_add(1, Ordering::SeqCst) + 1;
        println!("step {step} {what}");
        if Some(step) == self.last {
            raise(Signal::SIGKILL).unwrap();
        }
    }

    /// `what` is asked, and was done.
    async fn around<T>(&self, what: &str, done: impl Future<Output = T>) -> T {
        self.pass(&format!("before {what}"));
        let done = done.await;
        self.pass(&format!("after {what}"));
        done
    }
}

struct MortalState(Arc<state::Store>, Steps);

impl KeyState for MortalState {
    fn keys(&self) -> BoxFuture<'_, Result<Keys, state::Error>> {
        self.0.keys()
    }
    fn change(&self, revision: i64, change: KeyChange) -> BoxFuture<'_, Result<Option<i64>, state::Error>> {
        let what = match &change {
            KeyChange { intend: Some(_), .. } => "intent".to_owned(),
            KeyChange { versions, .. } => {
                let states: Vec<&str> = versions.iter().map(|row| row.state.as_str()).collect();
                format!("change to {}", states.join(" and "))
            }
        };
        Box::pin(async move { self.1.around(&what, self.0.change(revision, change)).await })
    }
    fn tally(&self, tallies: Vec<Tally>) -> BoxFuture<'_, Result<Vec<String>, state::Error>> {
        // When it comes is a matter of time; a kill in it costs a second's count.
        self.0.tally(tallies)
    }
    fn lease<'a>(
        &'a self,
        host: &'a str,
        now: i64,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, state::Error>> {
        self.0.lease(host, now, lease)
    }
}

struct MortalStore(Arc<dyn KeyStore>, Steps);

impl KeyStore for MortalStore {
    fn open<'a>(
        &'a self,
        wanted: Wanted<'a>,
        algorithm: Algorithm,
        pinned: Option<&'a PublicKey>,
    ) -> BoxFuture<'a, Result<Opened, Error>> {
        self.0.open(wanted, algorithm, pinned)
    }
    fn generate<'a>(
        &'a self,
        id: &'a [u8],
        label: &'a str,
        spec: KeySpec,
    ) -> BoxFuture<'a, Result<Generated, Error>> {
        Box::pin(self.1.around("generate", self.0.generate(id, label, spec)))
    }
    fn find_made<'a>(
        &'a self,
        id: &'a [u8],
        label: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>> {
        self.0.find_made(id, label)
    }
    fn settling(&self) -> Duration {
        self.0.settling()
    }
    fn destroy<'a>(&'a self, id: &'a [u8], public: &'a PublicKey) -> BoxFuture<'a, Result<Destroyed, Error>> {
        Box::pin(self.1.around("destroy", self.0.destroy(id, public)))
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, Error>> {
        self.0.list()
    }
    fn health(&self) -> &Arc<Health> {
        self.0.health()
    }
    fn status(&self) -> BoxFuture<'_, backend::Status> {
        self.0.status()
    }
    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.0.shutdown()
    }
}

/// Not a test of its own: what [`kill_at_every_step`] starts, again and again.
#[test]
fn child() {
    let Ok(act) = std::env::var("JWSD_TEST_ACT") else { return };
    let config = config_of(std::env::var("JWSD_TEST_CONFIG").unwrap().as_ref());
    let last = std::env::var("JWSD_TEST_KILL_AT").ok().map(|text| text.parse().unwrap());
    let steps = Steps { passed: Arc::default(), last };
    jwsd::daemon::runtime().unwrap().block_on(live(&config, steps, &act));
}

async fn live(config: &Config, steps: Steps, act: &str) {
    let host = Host::start(
        config,
        |store| MortalState(store, steps.clone()),
        |backend| Arc::new(MortalStore(backend, steps.clone())),
    )
    .await;
    let admin = &host.admin;
    if act == "turn" {
        let by = By::DAEMON;
        let first = active(admin).unwrap();
        let second = admin.rotate(&by, "access").await.unwrap();
        until(admin, |now| now == Some(&second)).await;
        admin.revoke(&by, "access", None, Some("a test")).await.unwrap();
        until(admin, |now| now.is_some_and(|now| *now != second && *now != first)).await;
        admin.destroy(&by, "access", &second).await.unwrap();
    } else {
        settled(admin).await;
    }
    // Orphans are looked for when the keeper starts.
    host.stop().await;
}

async fn until(admin: &Admin, holds: impl Fn(Option<&String>) -> bool) {
    let began = Instant::now();
    while !holds(active(admin).as_ref()) {
        assert!(began.elapsed() < Duration::from_secs(60), "not within a minute");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until nothing is half done any more.
async fn settled(admin: &Admin) {
    let began = Instant::now();
    loop {
        let report = admin.key("access").await.unwrap();
        let waits = report.next.as_ref().is_some_and(|next| next.step != "remove");
        if report.problems.is_empty() && !waits {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "not settled: {report:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn site() -> Site {
    let mut site = Site::new();
    site.limits = "jwks_max_age = \"1s\"".into();
    site.extra = "[key.access.rotation]\npublish_ahead = \"1s\"\n".into();
    site.write_config();
    site
}

/// Runs [`child`]; gives the steps that it passed, and whether it lived to its end.
fn run(site: &Site, act: &str, kill_at: Option<usize>) -> (Vec<String>, bool) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
        .env("JWSD_TEST_ACT", act)
        .env("JWSD_TEST_CONFIG", site.config_path())
        .stdin(Stdio::null());
    if let Some(step) = kill_at {
        command.env("JWSD_TEST_KILL_AT", step.to_string());
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let steps = text.lines().filter_map(|line| line.find("step ").map(|at| line[at..].to_owned())).collect();
    let killed = output.status.code().is_none();
    assert!(killed || output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    (steps, !killed)
}

/// Every key of the token is a version that was not destroyed, or was told to be an orphan; and the other way round.
fn check(site: &Site, step: &str) {
    let config = site.config_path();
    let listed = site.jwsd(&["keys", "list", "--json", "--config", config.to_str().unwrap()]);
    assert!(listed.status.success(), "{step}: {}", String::from_utf8_lossy(&listed.stderr));
    let store = state::Store::open(&state::Settings { dir: site.path("state") }, "test").unwrap();
    let keys = store.read_keys().unwrap();
    assert!(keys.intents.is_empty(), "{step}: {keys:#?}");
    let active: Vec<_> = keys.versions.iter().filter(|row| row.state == "active").collect();
    assert_eq!(active.len(), 1, "{step}: {keys:#?}");
    let kept: BTreeSet<String> = keys
        .versions
        .iter()
        .filter(|row| row.destroyed.is_none())
        .map(|row| backend::show_id(&row.backend_id))
        .collect();
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).unwrap();
    let held: Vec<&serde_json::Value> = rows.iter().filter(|row| row["type"] != "").collect();
    let ids: BTreeSet<String> = held.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    let known: BTreeSet<String> = keys.versions.iter().map(|row| backend::show_id(&row.backend_id)).collect();
    let strangers: Vec<_> = ids.difference(&known).collect();
    assert!(strangers.is_empty(), "{step}: a second key was made: {strangers:?}\n{rows:#?}");
    // A key that was being destroyed may be gone before the state knows it.
    let lost: Vec<_> = kept.difference(&ids).collect();
    let destroying = step.contains("destroy") || step.contains("revoked");
    assert!(lost.is_empty() || (destroying && lost.len() == 1), "{step}: keys are lost: {lost:?}");
    let records = records(&site.audit);
    for row in &keys.versions {
        let told = |event: &str| records.iter().any(|r| r["event"] == event && r["kid"] == row.kid.as_str());
        assert!(told("key.generated"), "{step}: {} was made unrecorded", row.kid);
        assert!(row.activated.is_none() || told("key.activated"), "{step}: {} unrecorded", row.kid);
        assert!(row.state != "revoked" || told("key.revoked"), "{step}: {} unrecorded", row.kid);
    }
    let verified = site.jwsd(&["audit", "verify", site.audit.to_str().unwrap()]);
    assert!(verified.status.success(), "{step}: {}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn kill_at_every_step() {
    let whole = site();
    let (steps, lived) = run(&whole, "turn", None);
    assert!(lived);
    check(&whole, "no kill");
    // All of them, unless fewer are asked for.
    let mut dice = Dice::new("kill-rotation");
    let mut chosen: Vec<usize> = (1..=steps.len()).collect();
    while chosen.len() as u64 > rounds(1000) {
        let at = dice.below(chosen.len() as u64);
        chosen.remove(usize::try_from(at).unwrap());
    }
    for step in &chosen {
        let site = site();
        let (passed, lived) = run(&site, "turn", Some(*step));
        let name = passed.last().cloned().unwrap_or_default();
        assert!(!lived, "step {step} was not reached: {passed:#?}");
        let (_, lived) = run(&site, "settle", None);
        assert!(lived);
        check(&site, &name);
        println!("kill-rotation: killed at {name}: taken up");
    }
    println!("kill-rotation: {} of {} steps", chosen.len(), steps.len());
}
