//! A real daemon whose clock is set back and forth, by libfaketime.
#![allow(unreachable_pub, reason = "modules of one test program")]

#[path = "clock/bed.rs"]
mod bed;
mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bed::{Bed, SYNCHRONISED, UNKNOWN, refusal};
use common::{Connection, Daemon, Dice, eventually, good, rounds};
use jiff::SignedDuration;
use jwsd::clock::Head;
use serde_json::{Value, json};

const UNTRUSTED: &str = "clock.untrusted";
const DAY: i64 = 86_400;

fn of<'r>(records: &'r [Value], event: &str) -> Vec<&'r Value> {
    records.iter().filter(|record| record["event"] == event).collect()
}

/// What a record of a jump by so many seconds says.
fn jump(seconds: i64, trusted: bool) -> String {
    let direction = if seconds < 0 { "back" } else { "forward" };
    let by = SignedDuration::from_secs(seconds.abs());
    format!("{direction} by {by:#}, {}", if trusted { "trusted" } else { "not trusted" })
}

/// Back by a day, while it runs, while it is stopped and in another boot: refused before a key is touched, until an
/// operator accepts it.
#[test]
fn a_clock_that_went_back_is_refused_until_it_is_accepted() {
    let mut bed = Bed::new("warn");
    let daemon = bed.site.start();
    assert_eq!(refusal(&daemon), None);
    assert_eq!(bed.command("show").0, Some(0));
    let (_, said) = bed.command("accept");
    assert!(said.contains("nothing to accept"), "{said}");

    bed.set(-DAY);
    let answer = daemon.sign("access");
    assert_eq!((answer.status, answer.code().as_str()), (503, UNTRUSTED), "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("60"));
    assert!(!String::from_utf8(answer.body).unwrap().contains("24h"));
    let moved = || {
        let before = daemon.signs();
        (0..5).for_each(|_| assert_eq!(refusal(&daemon).as_deref(), Some(UNTRUSTED)));
        daemon.signs() - before
    };
    // A key that is idle for ten seconds signs a self-test, which is the only other reason.
    assert!(moved() == 0 || moved() == 0, "refused requests reached the key");
    assert_eq!(daemon.post("/v1/check", &good("access")).status, 200);
    let ready = daemon.get("public.sock", "/readyz").unwrap();
    assert_eq!((ready.status, &ready.json()["reasons"]), (503, &json!(["the clock is not trusted"])));
    let clock = daemon.status()["clock"].clone();
    assert_eq!((&clock["trusted"], &clock["synchronised"]), (&json!(false), &json!(false)));
    assert_eq!(clock["last_jump"]["seconds"].as_f64().unwrap().round(), -DAY as f64);
    let (code, said) = bed.command("show");
    assert_eq!(code, Some(1));
    assert!(said.contains("trusted: no: the clock is") && said.contains("behind"), "{said}");

    // A restart changes nothing, and tells it again.
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("Clock jumped, nothing is signed"), "{log}");
    let daemon = bed.site.start();
    assert_eq!(refusal(&daemon).as_deref(), Some(UNTRUSTED));
    let (code, said) = bed.command("accept");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("accepted as it is") && said.contains("trusted: yes"), "{said}");
    assert_eq!(refusal(&daemon), None);
    daemon.kill();

    // What was accepted stays so. Another boot, whose clock is behind by a day.
    let daemon = bed.site.start();
    assert_eq!(refusal(&daemon), None);
    daemon.stop();
    let mut head = bed.head();
    head.boot_id = Some("another".to_owned());
    bed.store().keep_clock(|| head.clone()).unwrap();
    bed.set(-2 * DAY);
    let daemon = bed.site.start();
    assert_eq!(refusal(&daemon).as_deref(), Some(UNTRUSTED));
    // Back to where it was, it needs no help.
    bed.set(-DAY);
    assert_eq!(refusal(&daemon), None);

    // What happens to the clock is recorded beside the requests.
    eventually("it is recorded", || !of(&daemon.records(), "clock.trusted").is_empty());
    let records = daemon.records();
    let reasons: Vec<&str> =
        of(&records, "clock.jumped").iter().map(|record| record["reason"].as_str().unwrap()).collect();
    let between = head.greatest.unwrap().as_second();
    assert_eq!(reasons[0], jump(-DAY, false));
    // How long the machine was off nobody knows, so this is from the last time that was kept.
    assert!(
        reasons[1].starts_with("back by 23h 59m") || reasons[1] == jump(-DAY, false),
        "{reasons:?} {between}"
    );
    assert_eq!(&reasons[2..], [jump(DAY, true)]);
    let accepted = of(&records, "clock.accepted");
    assert_eq!(accepted.len(), 1);
    assert_eq!(accepted[0]["actor"]["uid"], json!(nix::unistd::geteuid().as_raw()));
    assert!(accepted[0]["reason"].as_str().unwrap().contains("behind"));
    assert_eq!(of(&records, "clock.untrusted").len(), 1);
    assert_eq!(of(&records, "clock.trusted").len(), 1);
    let refused = records.iter().filter(|record| record["rules"] == json!([UNTRUSTED])).collect::<Vec<_>>();
    assert!(refused.len() >= 8 && refused.iter().all(|record| record["actor"]["name"] == "tester"));
}

#[test]
fn modes_differ() {
    let bed = Bed::new("strict");
    let daemon = bed.site.start();
    assert_eq!(refusal(&daemon).as_deref(), Some(UNTRUSTED));
    assert!(daemon.sign("access").header("retry-after").is_none());
    let (_, said) = bed.command("accept");
    assert!(said.contains("nothing to accept") && said.contains("strict"), "{said}");
    bed.kernel(SYNCHRONISED);
    eventually("the clock is synchronised", || refusal(&daemon).is_none());
    bed.kernel(2_500_000);
    eventually("its error is too large", || refusal(&daemon).is_some());
    assert_eq!(daemon.status()["clock"]["max_error_seconds"], json!(2.5));
    let records = daemon.records();
    assert_eq!((of(&records, "clock.untrusted").len(), of(&records, "clock.trusted").len()), (2, 1));

    let mut bed = Bed::new("off");
    let daemon = bed.site.start();
    for offset in [DAY, -DAY, 0] {
        bed.set(offset);
        assert_eq!(refusal(&daemon), None);
    }
    eventually("every jump is recorded", || of(&daemon.records(), "clock.jumped").len() == 3);
}

/// Mode `warn` signs by a clock that nobody vouches for, and says so in the record of each JWT.
#[test]
fn records_say_that_the_clock_is_not_synchronised() {
    let signed = |daemon: &Daemon| {
        assert_eq!(refusal(daemon), None);
        of(&daemon.records(), "jwt.issued").last().unwrap()["clk"].clone()
    };
    let bed = Bed::new("warn");
    let daemon = bed.site.start();
    assert_eq!(signed(&daemon), "unsync");
    bed.kernel(SYNCHRONISED);
    eventually("the kernel's word is heard", || signed(&daemon).is_null());
    bed.kernel(UNKNOWN);
    eventually("and that it takes it back", || signed(&daemon) == "unsync");

    let bed = Bed::new("off");
    assert!(signed(&bed.site.start()).is_null());
    let bed = Bed::new("strict");
    bed.kernel(SYNCHRONISED);
    assert!(signed(&bed.site.start()).is_null());
}

/// The hardware's clock is ahead until it is set right; what nobody used binds nobody.
#[test]
fn a_clock_that_is_put_right_before_it_is_used_is_trusted() {
    let mut bed = Bed::new("strict");
    bed.set(DAY);
    let daemon = bed.site.start();
    assert_eq!(refusal(&daemon).as_deref(), Some(UNTRUSTED));
    bed.set(0);
    bed.kernel(SYNCHRONISED);
    eventually("the clock is trusted", || refusal(&daemon).is_none());
}

/// What the state knows of the clock is damaged, or tells that the clock went back: nothing is done by it, daemon or not.
#[test]
fn without_a_clock_no_key_is_made() {
    let mut bed = Bed::new("warn");
    bed.site.start().stop();
    let config = bed.site.config_path();
    let config = config.to_str().unwrap();
    bed.store().keep_clock(Head::lost).unwrap();
    let generate = |bed: &Bed| {
        let output = bed.site.jwsd(&["keys", "generate", "--config", config, "access"]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = generate(&bed);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("cannot be read") && said.contains("jwsd clock accept"), "{said}");

    let daemon = bed.site.start();
    assert_eq!(refusal(&daemon).as_deref(), Some(UNTRUSTED));
    let shown = bed.site.jwsd(&["clock", "--config", config, "--json"]);
    assert_eq!(shown.status.code(), Some(1));
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown["trusted"], &shown["mode"]), (&json!(false), &json!("warn")));
    let accepted = bed.site.jwsd(&["clock", "accept", "--config", config, "--json"]);
    assert_eq!(accepted.status.code(), Some(0));
    let accepted: Value = serde_json::from_slice(&accepted.stdout).unwrap();
    assert_eq!((&accepted["accepted"], &accepted["clock"]["trusted"]), (&json!(true), &json!(true)));
    assert_eq!(refusal(&daemon), None);

    // A clock of long ago: no key is made by it, nor does it cut short for how long verifiers keep the key set.
    daemon.stop();
    let now = bed.wall() / 1000;
    bed.store().tell_cache(Duration::from_secs(20 * 3600), now).unwrap();
    bed.set(-300 * DAY);
    let (code, said) = generate(&bed);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("behind"), "{said}");
    bed.site.start().stop();
    assert_eq!(bed.store().cache(Duration::from_secs(60), now + 3600).unwrap().as_secs(), 20 * 3600);
    bed.set(0);
    assert_eq!(generate(&bed).0, Some(0));
}

/// What must follow, worked out apart from the daemon's own judge.
struct Model {
    /// Greatest time signed, milliseconds.
    greatest: i64,
    /// Offset at which the clock was vouched for, seconds.
    line: i64,
    /// Seconds of each jump, and whether the clock is trusted then, unless milliseconds decide that.
    jumps: Vec<(i64, Option<bool>)>,
    accepted: usize,
}

impl Model {
    /// Milliseconds that the clock is behind.
    fn behind(&self, bed: &Bed) -> i64 {
        self.greatest - bed.wall()
    }

    fn is_ahead(&self, bed: &Bed) -> bool {
        bed.offset - self.line > 600
    }

    /// Too near to a limit for a machine that may be slow.
    fn is_close(&self, bed: &Bed, offset: i64) -> bool {
        let behind = self.behind(bed) + (bed.offset - offset) * 1000;
        (offset - self.line - 600).abs() < 5 || (1_000..20_000).contains(&behind)
    }

    fn jumped(&mut self, by: i64, trusted: Option<bool>) {
        if by.abs() > 2 {
            self.jumps.push((by, trusted));
        }
    }

    fn signed(&mut self, bed: &Bed) {
        self.greatest = self.greatest.max(bed.wall());
    }
}

/// Asks without end; answers are a JWT or the one refusal. Fails while the daemon is down, and nobody minds.
fn load(socket: &std::path::Path, stop: &AtomicBool, signed: &AtomicU64, refused: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut connection) = Connection::open(socket) else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let Ok(answer) = connection.post("/v1/sign", &good("access").to_string()) else { break };
            match answer.status {
                200 => signed.fetch_add(1, Ordering::Relaxed),
                _ => {
                    assert_eq!(answer.status, 503, "{answer:?}");
                    // The state must be told first how long JWTs live after a jump.
                    assert!([UNTRUSTED, "key.inactive"].contains(&answer.code().as_str()), "{answer:?}");
                    refused.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
    }
}

/// Steps of a second to a day, back and forth, under requests and restarts.
#[test]
fn steps() {
    let mut dice = Dice::new("clock");
    let mut bed = Bed::new("warn");
    let mut daemon = bed.site.start();
    let (stop, signed, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let socket = daemon.socket("sign.sock");
    let rounds = rounds(24);
    let (mut model, mut restarts) =
        (Model { greatest: bed.wall(), line: 0, jumps: Vec::new(), accepted: 0 }, 0);
    daemon = thread::scope(|scope| {
        let stopping = StopWhenDropped(&stop);
        scope.spawn(|| load(&socket, &stop, &signed, &refused));
        for round in 0..rounds {
            daemon = one_step(&mut bed, daemon, &mut model, &mut dice, round, &mut restarts);
        }
        drop(stopping);
        daemon
    });
    judge(&daemon, &model);
    let (signed, refused) = (signed.into_inner(), refused.into_inner());
    println!(
        "clock: {} jumps in {rounds} rounds, {} accepted, {restarts} restarts; {signed} JWTs, {refused} refusals",
        model.jumps.len(),
        model.accepted
    );
    assert!(signed > rounds && (refused > 0 || rounds < 20), "nothing was tried");
}

/// Also when the test fails, so that it ends.
struct StopWhenDropped<'s>(&'s AtomicBool);
impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn one_step(
    bed: &mut Bed,
    mut daemon: Daemon,
    model: &mut Model,
    dice: &mut Dice,
    round: u64,
    restarts: &mut u64,
) -> Daemon {
    const SIZES: [i64; 8] = [1, 5, 60, 540, 900, 3600, DAY / 2, DAY];
    let before = bed.offset;
    let offset = loop {
        let size = match dice.below(3) {
            0 => i64::try_from(dice.below(86_400)).unwrap() + 1,
            _ => SIZES[usize::try_from(dice.below(8)).unwrap()],
        };
        let offset = if dice.below(2) == 0 { before + size } else { before - size };
        // Two days off is as far as it goes.
        if offset.abs() <= 2 * DAY && (offset - before == -5 || !model.is_close(bed, offset)) {
            break offset;
        }
    };
    let step = offset - before;
    let (synchronised, restart) = (dice.below(4) == 0, dice.below(6));
    // Only what was signed binds it.
    assert_eq!(refusal(&daemon), None);
    model.signed(bed);
    if restart < 2 {
        *restarts += 1;
        bed.kept();
        if restart == 0 {
            daemon.kill()
        } else {
            drop(daemon.stop())
        }
        bed.kernel(if synchronised { SYNCHRONISED } else { UNKNOWN });
        bed.set(offset);
        daemon = bed.site.start();
        if restart == 0 {
            // Nobody knows how far it got, but not beyond the unset clock.
            let unset = bed.wall() - step * 1000;
            model.greatest = (model.greatest + 15_000).min(unset).max(model.greatest);
        }
    } else {
        bed.kernel(if synchronised { SYNCHRONISED } else { UNKNOWN });
        bed.set(offset);
    }
    let (behind, found) = (model.behind(bed), refusal(&daemon));
    if synchronised {
        model.line = offset;
    }
    let what =
        format!("round {round}: {step:+} s from {before:+}, synchronised {synchronised}, behind {behind}");
    let refused = behind > 2_000 || model.is_ahead(bed);
    model.jumped(step, Some(!refused));
    if (2_000..20_000).contains(&behind) {
        // Soon over, without help.
        eventually("the clock has caught up", || refusal(&daemon).is_none());
        model.signed(bed);
        return daemon;
    }
    assert_eq!(found.as_deref(), refused.then_some(UNTRUSTED), "{what}");
    if refused {
        recover(bed, &daemon, model, dice, before, &what);
    }
    (0..25).for_each(|_| assert_eq!(refusal(&daemon), None, "{what}"));
    model.signed(bed);
    daemon
}

/// Puts it back, synchronises it or accepts it: then it signs, and nothing was restarted.
fn recover(bed: &mut Bed, daemon: &Daemon, model: &mut Model, dice: &mut Dice, before: i64, what: &str) {
    let behind = model.behind(bed) > 2_000;
    let back = model.behind(bed) + (bed.offset - before) * 1000 <= 1_000 && before - model.line <= 600;
    match dice.below(3) {
        0 if back => {
            let step = before - bed.offset;
            bed.kernel(UNKNOWN);
            bed.set(before);
            // A step back by a second before this one was let pass; now all of it must be made up for.
            let trusted = match model.behind(bed) {
                left if left < -5 => Some(true),
                left if left < 50 => None,
                _ => Some(!behind),
            };
            eventually("what was put back is trusted", || refusal(daemon).is_none());
            model.jumped(step, trusted);
        }
        1 if !behind => {
            bed.kernel(SYNCHRONISED);
            eventually("the kernel's word is heard", || refusal(daemon).is_none());
            model.line = bed.offset;
        }
        _ => {
            let (code, said) = bed.command("accept");
            assert_eq!(code, Some(0), "{what}: {said}");
            assert_eq!(refusal(daemon), None, "{what}, accepted");
            (model.greatest, model.line) = (bed.wall(), bed.offset);
            model.accepted += 1;
        }
    }
}

/// The log tells all of it, and no JWT is dated before an earlier one.
fn judge(daemon: &Daemon, model: &Model) {
    eventually("every jump is recorded", || of(&daemon.records(), "clock.jumped").len() >= model.jumps.len());
    let records = daemon.records();
    let told: Vec<&str> =
        of(&records, "clock.jumped").iter().map(|record| record["reason"].as_str().unwrap()).collect();
    assert_eq!(told.len(), model.jumps.len(), "{told:?}\n{:?}", model.jumps);
    for (told, (by, trusted)) in told.iter().zip(&model.jumps) {
        let may = [true, false].map(|may| jump(*by, may));
        let which =
            may.iter().zip([true, false]).filter(|(_, may)| trusted.is_none_or(|trusted| trusted == *may));
        assert!(which.map(|(text, _)| text).any(|text| text == told), "{told}: {by} {trusted:?}");
    }
    let mut greatest = i64::MIN;
    for record in &records {
        if record["event"] == "clock.accepted" {
            greatest = i64::MIN;
        }
        if record["event"] == "jwt.issued" {
            let iat = record["iat"].as_i64().unwrap();
            assert!(iat >= greatest.saturating_sub(2), "{iat} after {greatest}: {record}");
            greatest = greatest.max(iat);
        }
    }
    assert_eq!(of(&records, "clock.accepted").len(), model.accepted);
}
