//! More work than the HSM can do: users share it equally, rates hold, and who would wait in vain hears so at once.
//!
//! The callers are processes of several users, with many connections each; the HSM is slow by script, so that it is
//! the bottleneck and not the machine.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use common::{Connection, Daemon, JWSD, Response, Site, good, percentile, rounds};
use nix::unistd::{geteuid, setgid, setgroups, setuid};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const LOAD: &str = "JWSD_TEST_LOAD";
/// From the start of the callers to the first answer that counts.
const WARM_UP: Duration = Duration::from_millis(3000);

/// What one user's process does.
#[derive(Serialize, Deserialize, Clone)]
struct Load {
    uid: u32,
    socket: String,
    connections: u64,
    /// JWTs asked for in one request.
    batch: usize,
    /// Requests per second on each connection; as fast as answers come when absent.
    rate: Option<f64>,
    /// After a refusal.
    pause_ms: u64,
    /// Answers from then to then count, in milliseconds of the wall clock.
    from: u64,
    until: u64,
}

impl Load {
    fn of(uid: u32, connections: u64) -> Self {
        let (socket, batch, rate, pause_ms, from, until) = (String::new(), 1, None, 0, 0, 0);
        Self { uid, connections, socket, batch, rate, pause_ms, from, until }
    }
}

/// Answers by status and code: how long each took, in microseconds, and whether it said when to try again.
#[derive(Serialize, Deserialize, Default, Debug)]
struct Answers(BTreeMap<String, Vec<(u64, bool)>>);

impl Answers {
    fn count(&self, what: &str) -> usize {
        self.0.get(what).map_or(0, Vec::len)
    }

    fn total(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    fn summary(&self) -> String {
        let one = |(what, answers): (&String, &Vec<(u64, bool)>)| {
            let mut times: Vec<_> =
                answers.iter().map(|(micros, _)| Duration::from_micros(*micros)).collect();
            let (half, most) = (percentile(&mut times, 50), percentile(&mut times, 100));
            format!("{} x {what} (p50 {half:.0?}, max {most:.0?})", answers.len())
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

fn now() -> u64 {
    u64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// A caller: becomes its user, asks, and prints what it was answered.
#[test]
#[ignore = "gives up its privileges: the others run it in a child"]
fn child_calls() {
    let load: Load = serde_json::from_str(&std::env::var(LOAD).unwrap()).unwrap();
    if load.uid != geteuid().as_raw() {
        setgroups(&[]).unwrap();
        setgid(load.uid.into()).unwrap();
        setuid(load.uid.into()).unwrap();
    }
    let all = thread::scope(|scope| {
        let load = &load;
        let threads: Vec<_> =
            (0..load.connections).map(|number| scope.spawn(move || call(load, number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let mut sum = Answers::default();
    for (what, answers) in all.into_iter().flat_map(|answers| answers.0) {
        sum.0.entry(what).or_default().extend(answers);
    }
    println!("\n{}", serde_json::to_string(&sum).unwrap());
}

fn call(load: &Load, number: u64) -> Answers {
    let want = good("access");
    let (path, body) = match load.batch {
        1 => ("/v1/sign", want.to_string()),
        count => ("/v1/sign/batch", json!({ "requests": vec![want; count] }).to_string()),
    };
    let mut answers = Answers::default();
    let mut connection = Connection::open(Path::new(&load.socket)).unwrap();
    let every = load.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
    // Connections do not ask all at the same moment.
    let mut next =
        Instant::now() + every.unwrap_or_default().mul_f64(number as f64 / load.connections as f64);
    while now() < load.until {
        if let Some(every) = every {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += every;
        }
        let asked = Instant::now();
        let answer = connection.post(path, &body).unwrap();
        let took = u64::try_from(asked.elapsed().as_micros()).unwrap();
        if (load.from..load.until).contains(&now()) {
            let says_when =
                answer.header("retry-after").is_some_and(|s| s.parse().is_ok_and(|s: u64| s >= 1));
            for what in outcomes(&answer) {
                answers.0.entry(what).or_default().push((took, says_when));
            }
        }
        if outcomes(&answer).iter().any(|what| what != "200") {
            thread::sleep(Duration::from_millis(load.pause_ms));
        }
    }
    answers
}

/// Status and code of the answer, or of each element of a batch's.
fn outcomes(answer: &Response) -> Vec<String> {
    let of = |problem: &Value| match &problem["code"] {
        Value::String(code) => format!("{} {code}", problem["status"]),
        _ => "200".to_owned(),
    };
    let body = answer.json();
    match &body["results"] {
        Value::Array(results) => results.iter().map(|result| of(&result["error"])).collect(),
        _ => vec![of(&body)],
    }
}

/// Runs all loads at once, for so many seconds. Gives the answers of each, and how much the HSM signed meanwhile.
fn run<const N: usize>(daemon: &Daemon, loads: [Load; N], seconds: u64) -> ([Answers; N], u64) {
    let from = now() + u64::try_from(WARM_UP.as_millis()).unwrap();
    let until = from + seconds * 1000;
    let socket = daemon.socket("sign.sock").display().to_string();
    let start = |load: Load| {
        let load = Load { socket: socket.clone(), from, until, ..load };
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_calls", "--ignored", "--nocapture", "--test-threads=1"])
            .env(LOAD, serde_json::to_string(&load).unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children = loads.map(start);
    let signs_at = |moment: u64| {
        thread::sleep(Duration::from_millis(moment.saturating_sub(now())));
        daemon.signs()
    };
    let before = signs_at(from);
    let signs = signs_at(until) - before;
    let end = |child: Child| {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let line = said.lines().find(|line| line.starts_with('{')).unwrap();
        serde_json::from_str(line).unwrap()
    };
    (children.map(end), signs)
}

/// A daemon with two sessions whose signatures take `delay` milliseconds, and one caller per uid.
fn slow_site(delay: u64, uids: &[u32], caller: &str, limits: &str) -> (Site, Daemon) {
    let mut site = Site::new();
    let module = Path::new(JWSD).with_file_name("examples").join("libfaulty_pkcs11.so");
    assert!(module.exists(), "{} is missing; run `cargo build --examples`", module.display());
    // A module that others could replace is refused, and a checkout may be writable by a group.
    site.module = site.path("libfaulty_pkcs11.so");
    fs::copy(module, &site.module).unwrap();
    site.env.insert("FAULTY_PKCS11_MODULE".to_owned(), common::SOFTHSM.to_owned());
    site.env.insert("FAULTY_PKCS11_SCRIPT".to_owned(), site.path("script").display().to_string());
    fs::write(site.path("script"), format!("C_Sign delay {delay}\n")).unwrap();
    for uid in uids {
        site.extra += &format!("[caller.u{uid}]\nuser = {uid}\nprofiles = [\"access\"]\n{caller}\n");
    }
    site.limits = limits.to_owned();
    site.write_config();
    let daemon = site.start();
    // Other users pass through to the socket.
    fs::set_permissions(site.path("run"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(daemon.socket("sign.sock"), fs::Permissions::from_mode(0o666)).unwrap();
    (site, daemon)
}

/// Whether processes of several users can be had.
fn has_users(test: &str) -> bool {
    if !geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI must be root to have several users");
        println!("SKIPPED {test}: several users need root");
    }
    geteuid().is_root()
}

const FLOOD: u32 = 54_321;
const OTHERS: [u32; 2] = [54_322, 54_323];

/// One user floods, and no caller has a rate: each gets the same.
fn equal_shares(what: &str, flood: Load) -> Answers {
    let (_site, daemon) = slow_site(10, &[FLOOD, OTHERS[0], OTHERS[1]], "", "connections_per_uid = 128");
    // Enough that each always has a request waiting.
    let loads = [flood, Load::of(OTHERS[0], 12), Load::of(OTHERS[1], 12)];
    let seconds = rounds(3);
    let ([flood, others @ ..], signs) = run(&daemon, loads, seconds);
    println!("{what}: of {signs} signatures, {FLOOD} got {}", flood.summary());
    let share = signs as f64 / 3.0;
    assert!(share > 50.0, "too few to judge by: {signs}");
    for (uid, answers) in OTHERS.iter().zip(&others) {
        let part = answers.count("200") as f64 / share;
        println!("{what}: {uid} got {:.1} % of its fair share: {}", part * 100.0, answers.summary());
        // A few seconds on a noisy machine say less than a campaign; without turns it is a third.
        assert!(part >= if seconds > 3 { 0.95 } else { 0.80 }, "{uid} got {part}");
        assert!(answers.count("200") * 50 >= answers.total() * 49, "{}", answers.summary());
    }
    flood
}

/// Ten times the connections of each other.
#[test]
fn flood() {
    if has_users("flood") {
        let flood = equal_shares("flood", Load::of(FLOOD, 120));
        let answered = flood.count("200") + flood.count("503 backend.busy");
        // The pace is measured, so on a noisy machine a few wait in vain all the same.
        let waited = flood.total() - answered;
        assert_eq!(flood.count("504 backend.deadline"), waited, "{}", flood.summary());
        assert!(waited * 100 <= flood.total(), "who would wait in vain hears so: {}", flood.summary());
    }
}

/// Far more at once than can be signed before the deadline.
#[test]
fn flood_in_batches() {
    if has_users("flood_in_batches") {
        let flood =
            equal_shares("flood-in-batches", Load { batch: 64, pause_ms: 500, ..Load::of(FLOOD, 10) });
        let (served, late) = (flood.count("200"), flood.count("504 backend.deadline"));
        assert_eq!(served + late + flood.count("503 backend.busy"), flood.total(), "{}", flood.summary());
        assert!(late * 10 <= served, "what is accepted makes it: {}", flood.summary());
    }
}

/// With rates, one user asks for ten times its rate: it gets that, and the others all that they ask for.
#[test]
fn flood_beyond_its_rate() {
    if !has_users("flood_beyond_its_rate") {
        return;
    }
    let (_site, daemon) = slow_site(10, &[FLOOD, OTHERS[0], OTHERS[1]], "rate = \"50/s\"", "");
    let seconds = rounds(3);
    let load = |uid, connections, rate| Load { rate: Some(rate), ..Load::of(uid, connections) };
    let loads = [load(FLOOD, 50, 10.0), load(OTHERS[0], 8, 5.0), load(OTHERS[1], 8, 5.0)];
    let ([flood, others @ ..], _) = run(&daemon, loads, seconds);
    println!("flood: {FLOOD} with a rate: {}", flood.summary());
    let (served, refused) = (flood.count("200"), flood.count("429 rate.exceeded"));
    assert_eq!(served + refused, flood.total());
    assert!(served as u64 <= 50 * (seconds + 2) && refused > served, "{}", flood.summary());
    assert!(flood.0["429 rate.exceeded"].iter().all(|(_, says_when)| *says_when));
    for (uid, others) in OTHERS.iter().zip(others) {
        println!("flood: {uid} with a rate: {}", others.summary());
        // All that they ask for; a few are late where the machine itself is too busy.
        assert!(others.count("200") * 50 >= others.total() * 49, "{}", others.summary());
        assert!(others.total() as f64 >= 0.80 * 40.0 * seconds as f64, "{}", others.summary());
    }
}

/// More than can be done before the deadline: the rest is refused at once, and what is accepted makes it.
#[test]
fn overload() {
    let limits = "deadline = \"500ms\"\nconnections_per_uid = 200\n";
    let (_site, daemon) = slow_site(20, &[], "", limits);
    let seconds = rounds(3);
    let load = Load { pause_ms: 250, ..Load::of(geteuid().as_raw(), 120) };
    let ([answers], signs) = run(&daemon, [load], seconds);
    println!("overload: of {signs} signatures: {}", answers.summary());
    let (served, refused, late) =
        (answers.count("200"), answers.count("503 backend.busy"), answers.count("504 backend.deadline"));
    assert_eq!(served + refused + late, answers.total(), "{}", answers.summary());
    // Two sessions, fifty signatures a second each; a third of that leaves room for a noisy machine.
    assert!(served as u64 >= 33 * seconds, "refusing must not leave the HSM idle: {}", answers.summary());
    assert!(late * 5 <= served, "what is accepted makes it: {}", answers.summary());
    assert!(refused > served / 2, "{}", answers.summary());
    let refusals = &answers.0["503 backend.busy"];
    assert!(refusals.iter().all(|(_, says_when)| *says_when));
    let mut times: Vec<_> = refusals.iter().map(|(micros, _)| Duration::from_micros(*micros)).collect();
    let most = percentile(&mut times, 95);
    assert!(most < Duration::from_millis(500), "refused before the deadline: {most:?}");
}
