//! kill -9 under revocations of every kind: every one that was acknowledged holds, from the answer on and after every
//! restart, and nothing is active that was not any more.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bed::{Jwt, now, of_person, site};
use crate::common::{Connection, Daemon, Dice, percentile, records, rounds};

const WORKERS: u64 = 4;
/// Of JWTs of earlier rounds, so many are asked about after each restart.
const SAMPLE: u64 = 200;
const BATCH: usize = 200;

/// A JWT and what is known of it.
struct Held {
    jwt: Jwt,
    /// A revocation of it was asked for.
    tried: bool,
    /// One was acknowledged.
    void: bool,
    /// It was seen not to be active.
    seen: bool,
}

/// Revocations of more than one JWT: until when, in issuing times, they hold for certain, and until when perhaps.
#[derive(Default)]
struct Wide {
    acknowledged: AtomicI64,
    tried: AtomicI64,
}

/// What a worker does now, for the one who watches.
type Slot = Mutex<Option<(String, bool)>>;

#[derive(Default)]
struct Tally {
    acknowledged: AtomicU64,
    answers: AtomicU64,
    active: AtomicU64,
    untouched: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl Tally {
    fn fault(&self, text: String) {
        self.faults.lock().unwrap().push(text);
    }

    /// Compares an answer with what is known, and was known before the question was sent.
    fn judge(&self, held: &mut Held, wide_then: i64, wide: &Wide, is_active: bool, when: &str) {
        let _ = self.answers.fetch_add(1, Ordering::Relaxed);
        let jti = &held.jwt.jti;
        if is_active {
            let _ = self.active.fetch_add(1, Ordering::Relaxed);
            if held.void || held.jwt.iat <= wide_then {
                self.fault(format!("{when}: {jti} is active after its revocation was acknowledged"));
            }
            if held.seen {
                self.fault(format!("{when}: {jti} is active after it was not"));
            }
            if !held.tried {
                let _ = self.untouched.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        held.seen = true;
        if !held.tried && held.jwt.iat > wide.tried.load(Ordering::SeqCst) {
            self.fault(format!("{when}: {jti} is not active, but nobody revoked it"));
        }
    }
}

/// The answer to one question; none if the daemon was killed.
fn ask(connection: &mut Connection, token: &str) -> Option<bool> {
    let answer = connection.post("/v1/introspect", &json!({ "token": token }).to_string()).ok()?;
    (answer.status == 200).then(|| answer.json()["active"].as_bool().unwrap())
}

struct Worker<'a> {
    name: String,
    signing: Connection,
    admin: Connection,
    dice: Dice,
    may_go_wide: bool,
    wide: &'a Wide,
    slot: &'a Slot,
    tally: &'a Tally,
    held: Vec<Held>,
}

impl Worker<'_> {
    /// Until the daemon is gone.
    fn work(mut self) -> Vec<Held> {
        while self.step().is_some() {}
        self.held
    }

    fn step(&mut self) -> Option<()> {
        let name = |what: &str| format!("{what}-{}-{}", self.name, self.held.len());
        let (sub, sid, consent) = (name("sub"), name("sid"), name("consent"));
        let mut request = of_person(&sub, &sid, &consent);
        request["ttl"] = "24h".into();
        let answer = self.signing.post("/v1/sign", &request.to_string()).ok()?;
        if answer.status != 200 {
            self.tally.fault(format!("not signed: {} {}", answer.status, answer.json()));
            return None;
        }
        let jwt = Jwt::from(&answer);
        *self.slot.lock().unwrap() = Some((jwt.token.clone(), false));
        let (token, jti) = (jwt.token.clone(), jwt.jti.clone());
        self.held.push(Held { jwt, tried: false, void: false, seen: false });
        let kind = self.dice.below(if self.may_go_wide { 10 } else { 8 });
        let what = match kind {
            0 => json!({ "token": token }),
            1 => json!({ "jti": jti }),
            2 => json!({ "subject": sub }),
            3 => json!({ "session": sid, "reason": "session-ended" }),
            4 => json!({ "consent": consent, "reason": "consent-withdrawn" }),
            5 => json!({ "token": token, "reason": "superseded" }),
            // Left as it is.
            6 | 7 => Value::Null,
            8 => json!({ "profile": "person" }),
            _ => json!({ "everything": true }),
        };
        if kind >= 8 {
            self.go_wide(&what)?;
        } else if !what.is_null() {
            self.held.last_mut().unwrap().tried = true;
            let connection = if kind == 5 { &mut self.signing } else { &mut self.admin };
            let answer = connection.post("/v1/revoke", &what.to_string()).ok()?;
            if answer.status != 200 {
                self.tally.fault(format!("{what}: {} {}", answer.status, answer.json()));
                return None;
            }
            self.held.last_mut().unwrap().void = true;
            *self.slot.lock().unwrap() = Some((token, true));
            let _ = self.tally.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        let last = self.held.len() - 1;
        self.look(last)?;
        let any = usize::try_from(self.dice.below(self.held.len() as u64)).unwrap();
        self.look(any)
    }

    fn go_wide(&mut self, what: &Value) -> Option<()> {
        // Nobody else does meanwhile. Until the answer nobody knows how far it goes.
        self.wide.tried.store(i64::MAX, Ordering::SeqCst);
        let before = now();
        let answer = self.admin.post("/v1/revoke", &what.to_string()).ok()?;
        if answer.status != 200 {
            self.tally.fault(format!("{what}: {} {}", answer.status, answer.json()));
            return None;
        }
        let _ = self.wide.acknowledged.fetch_max(before, Ordering::SeqCst);
        self.wide.tried.store(now(), Ordering::SeqCst);
        let _ = self.tally.acknowledged.fetch_add(1, Ordering::Relaxed);
        Some(())
    }

    fn look(&mut self, index: usize) -> Option<()> {
        let wide_then = self.wide.acknowledged.load(Ordering::SeqCst);
        let held = &mut self.held[index];
        let is_active = ask(&mut self.signing, &held.jwt.token)?;
        self.tally.judge(held, wide_then, self.wide, is_active, "under load");
        Some(())
    }
}

/// Looks at what the workers revoke, meanwhile.
fn watch(socket: &Path, slots: &[Slot], tally: &Tally, stop: &AtomicBool) {
    let mut gone = HashSet::new();
    let Ok(mut connection) = Connection::open(socket) else { return };
    while !stop.load(Ordering::Relaxed) {
        for slot in slots {
            let Some((token, void)) = slot.lock().unwrap().clone() else { continue };
            let Some(is_active) = ask(&mut connection, &token) else { return };
            if is_active && (void || gone.contains(&token)) {
                tally.fault(format!("watched: active after void: acknowledged {void}"));
            }
            if !is_active {
                let _ = gone.insert(token);
            }
        }
    }
}

/// After a restart: all of these, in batches.
fn look_again(daemon: &Daemon, held: &mut [&mut Held], wide: &Wide, tally: &Tally) {
    let mut connection = daemon.connect();
    let wide_then = wide.acknowledged.load(Ordering::SeqCst);
    for some in held.chunks_mut(BATCH) {
        let questions: Vec<_> = some.iter().map(|held| json!({ "token": held.jwt.token })).collect();
        let answer = connection.post("/v1/introspect/batch", &json!({ "tokens": questions }).to_string());
        let results = answer.unwrap().json()["results"].clone();
        for (held, result) in some.iter_mut().zip(results.as_array().unwrap()) {
            tally.judge(held, wide_then, wide, result["active"].as_bool().unwrap(), "after a restart");
        }
    }
}

#[test]
fn revocations() {
    let rounds = rounds(6);
    let mut dice = Dice::new("revocations");
    let site = site();
    let (wide, tally) = (Wide::default(), Tally::default());
    let mut held: Vec<Held> = Vec::new();
    let (mut starts, mut newest) = (Vec::new(), 0);
    for round in 0..=rounds {
        let began = Instant::now();
        let daemon = site.start();
        starts.push(began.elapsed());
        // All of the last round, and some of those before; in the end all.
        let sample = if round == rounds { u64::MAX } else { SAMPLE };
        let older = newest as u64;
        let mut chosen: Vec<&mut Held> = held
            .iter_mut()
            .enumerate()
            .filter(|(index, _)| *index >= newest || sample >= older || dice.below(older) < sample)
            .map(|(_, held)| held)
            .collect();
        look_again(&daemon, &mut chosen, &wide, &tally);
        if round == rounds {
            break;
        }
        newest = held.len();
        let slots: Vec<Slot> = (0..WORKERS).map(|_| Slot::default()).collect();
        let pause = Duration::from_millis(20 + dice.below(180));
        let goes_wide = round > 0 && dice.below(3) == 0;
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let workers: Vec<_> = slots
                .iter()
                .enumerate()
                .map(|(number, slot)| {
                    let worker = Worker {
                        name: format!("{round}-{number}"),
                        signing: daemon.connect(),
                        admin: Connection::open(&daemon.socket("admin.sock")).unwrap(),
                        dice: dice.fork(),
                        may_go_wide: goes_wide && number == 0,
                        wide: &wide,
                        slot,
                        tally: &tally,
                        held: Vec::new(),
                    };
                    scope.spawn(|| worker.work())
                })
                .collect();
            let socket = daemon.socket("sign.sock");
            let (slots, tally, stop) = (&slots, &tally, &stop);
            let watcher = scope.spawn(move || watch(&socket, slots, tally, stop));
            thread::sleep(pause);
            daemon.kill();
            stop.store(true, Ordering::Relaxed);
            for worker in workers {
                held.extend(worker.join().unwrap());
            }
            watcher.join().unwrap();
        });
        // What was on its way when the daemon died goes as far as this, if it goes.
        let _ = wide.tried.fetch_min(now(), Ordering::SeqCst);
        if round % 50 == 49 {
            println!("revocations: {} kills, {} JWTs", round + 1, held.len());
        }
    }
    let verified = site.jwsd(&["audit", "verify", site.audit.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let records = records(&site.audit);
    let told =
        records.iter().filter(|record| record["event"] == "jwt.revoked" && record["outcome"] == "success");
    let (told, acknowledged) = (told.count() as u64, tally.acknowledged.into_inner());
    let faults = tally.faults.into_inner().unwrap();
    println!(
        "revocations: {rounds} kills, {} JWTs, {acknowledged} acknowledged revocations, {told} recorded, {} answers \
         ({} active), {} wrong, start to ready p95 {:?}",
        held.len(),
        tally.answers.into_inner(),
        tally.active.into_inner(),
        faults.len(),
        percentile(&mut starts, 95)
    );
    assert!(faults.is_empty(), "{:#?}", &faults[..faults.len().min(20)]);
    assert!(told >= acknowledged, "acknowledged without a record");
    assert!(acknowledged >= rounds, "the load never revoked anything");
    assert!(tally.untouched.into_inner() > 0, "everything was revoked, which proves little");
}
