//! Telling witnesses over HTTP: what is recorded of it, and that none of them holds anything up.

use super::sealing::{Bed, Soft};
use super::*;
use crate::audit::seal::Sealer;
use crate::audit::witness::http::tests::fake_witness::{FakeWitness, Fault};
use crate::audit::{OpenError, Remote, Witness};
use crate::keyring::Ring;
use tokio_util::sync::CancellationToken;

struct Watched {
    bed: Bed,
    key: Arc<Soft>,
    fake: FakeWitness,
    runtime: tokio::runtime::Runtime,
}

impl Watched {
    fn new() -> Self {
        let (key, fake) = (Soft::new(1), FakeWitness::start("witness.example/w"));
        let mut bed = Bed::new(Ring::sample(Some(&key.version(0, i64::MAX)), None));
        let remote = Remote {
            url: fake.url.parse().unwrap(),
            key: crate::audit::cosignature::Cosigner::from_vkey(&fake.vkey).unwrap(),
            ca: None,
        };
        bed.bench.settings.checkpoint.as_mut().unwrap().witnesses = vec![Witness::Http(remote)];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { bed, key, fake, runtime }
    }
    fn pause(&self, millis: u64) {
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(millis)).await });
    }
    fn seal(&self, sealer: &mut Sealer) {
        assert!(self.runtime.block_on(sealer.seal(true)));
    }
    fn story(&self) -> Vec<String> {
        let all = self.bed.bench.lines().into_iter().map(|line| json(&line));
        let named = |record: serde_json::Value| match record["event"].as_str().unwrap() {
            "alert.raised" => record["rules"][0].as_str().unwrap().to_owned(),
            event => event.to_owned(),
        };
        all.map(named).filter(|event| event != "log.key").collect()
    }
    fn report(log: &Log) -> crate::audit::seal::WitnessReport {
        log.health().checkpoint.unwrap().witnesses[0].clone()
    }
    fn verify(&self) -> crate::audit::verify::Report {
        use crate::audit::verify::{Trust, verify_with};
        let witness = crate::audit::cosignature::Cosigner::from_vkey(&self.fake.vkey).unwrap();
        let trust = Trust::new(vec![self.key.key()]).with_witnesses(vec![witness]);
        let report = verify_with(self.bed.bench.dir(), &trust, &mut |_, _| {}).unwrap();
        assert!(report.is_sound(), "{report:#?}");
        report
    }
}

#[test]
fn what_it_says_is_recorded_first_hourly_and_last() {
    let watched = Watched::new();
    let log = watched.bed.bench.open();
    let mut sealer = watched.bed.sealer(&log);
    (0..3).for_each(|_| watched.seal(&mut sealer));
    let report = Watched::report(&log);
    assert_eq!(report.size, watched.fake.has().map(|(size, _)| size));
    assert!(report.cosigned.is_some() && report.problem.is_none());
    assert_eq!(watched.story(), ["log.sealed", "log.cosigned", "log.sealed", "log.sealed"]);
    let stop = CancellationToken::new();
    stop.cancel();
    watched.runtime.block_on(sealer.run(stop));
    wait(log.close());
    let story = watched.story();
    assert_eq!(story[4..], ["log.sealed", "log.cosigned", "log.sealed"], "nothing follows the last seal");
    let vouched = watched.verify().sealing.unwrap().vouched;
    assert_eq!((vouched.len(), vouched[0].count), (1, 2));
    // It has the last seal too, and the next run goes on from there.
    assert_eq!(watched.fake.has().unwrap().0, watched.bed.bench.lines().len() as u64 - 1);
    let asked = watched.fake.asked().len();
    let log = watched.bed.bench.open();
    watched.seal(&mut watched.bed.sealer(&log));
    assert!(watched.fake.asked()[asked..].iter().all(|(_, _, status)| *status == 200));
}

#[test]
fn a_slow_one_is_heard_with_the_next_seal_and_one_that_hangs_holds_nothing_up() {
    let watched = Watched::new();
    let log = watched.bed.bench.open();
    let mut sealer = watched.bed.sealer(&log);
    watched.fake.fault(Fault::Slow(2500));
    watched.seal(&mut sealer);
    let report = Watched::report(&log);
    assert_eq!((report.size, report.problem), (None, None), "it is not late yet");
    watched.fake.fault(Fault::Hang);
    watched.pause(1500);
    watched.seal(&mut sealer);
    let report = Watched::report(&log);
    assert!(report.size.is_some() && report.problem.is_none(), "{report:?}");
    let start = Instant::now();
    (0..20).for_each(|_| watched.seal(&mut sealer));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let failures = || watched.story().iter().filter(|event| *event == "witness.failed").count();
    let mut pauses = 0;
    while failures() == 0 {
        assert!(pauses < 60, "it has ten seconds");
        watched.pause(500);
        pauses += 1;
        watched.seal(&mut sealer);
    }
    watched.fake.fault(Fault::None);
    // One that was begun before may hang for as long.
    while Watched::report(&log).problem.is_some() {
        assert!(pauses < 100, "{:?}", Watched::report(&log));
        watched.pause(500);
        pauses += 1;
        watched.seal(&mut sealer);
    }
    assert_eq!(failures(), 1);
    let report = Watched::report(&log);
    assert_eq!((report.size, report.problem), (watched.fake.has().map(|(size, _)| size), None), "it is back");
}

#[test]
fn a_slow_one_still_gets_the_last_seal() {
    let watched = Watched::new();
    let log = watched.bed.bench.open();
    watched.fake.fault(Fault::Slow(2300));
    let stop = CancellationToken::new();
    stop.cancel();
    watched.runtime.block_on(watched.bed.sealer(&log).run(stop));
    wait(log.close());
    assert_eq!(watched.fake.has().unwrap().0, watched.bed.bench.lines().len() as u64 - 1);
}

#[test]
fn one_that_is_down_at_the_start_is_told_of_once() {
    let watched = Watched::new();
    let log = watched.bed.bench.open();
    watched.seal(&mut watched.bed.sealer(&log));
    wait(log.close());
    watched.fake.fault(Fault::Down);
    let log = watched.bed.bench.open();
    let mut sealer = watched.bed.sealer(&log);
    let problem = Watched::report(&log).problem.unwrap();
    assert!(problem.contains("nobody answers"), "{problem}");
    (0..3).for_each(|_| watched.seal(&mut sealer));
    assert_eq!(watched.story().iter().filter(|event| *event == "witness.failed").count(), 1);
    watched.fake.fault(Fault::None);
    watched.seal(&mut sealer);
    assert_eq!(Watched::report(&log).problem, None);
    watched.verify();
}

#[test]
fn what_it_has_seen_of_another_log_comes_out_with_the_first_seal() {
    let watched = Watched::new();
    watched.fake.remember("jwsd/test", 500, &[7; 32]);
    let log = watched.bed.bench.open();
    let mut sealer = watched.bed.sealer(&log);
    (0..3).for_each(|_| watched.seal(&mut sealer));
    let report = Watched::report(&log);
    assert!(report.contradicts && report.problem.unwrap().contains("500 records"));
    assert!(log.health().checkpoint.unwrap().is_contradicted());
    assert_eq!(watched.story().iter().filter(|event| *event == "witness.contradicts").count(), 1);
    assert_eq!(watched.fake.asked().len(), 1, "it is not spoken to again");
    assert!(log.health().healthy, "JWTs go on");
    wait(log.close());
    assert!(matches!(watched.bed.bench.try_open(), Err(OpenError::Truncated { there: 500, .. })));
    let (settings, clock) = (&watched.bed.bench.settings, Arc::new(SystemClock));
    wait(Log::accept(settings, clock, crate::audit::Actor::default(), "a test")).unwrap();
    let log = watched.bed.bench.open();
    watched.seal(&mut watched.bed.sealer(&log));
    let report = Watched::report(&log);
    assert!(!report.contradicts && report.problem.unwrap().contains("accepted as lost"));
}
