//! Every code of PKCS#11, and some that are none, at every function that a signature needs: what follows is what the
//! table says. The table is text of its own and not made from the program.

use super::bed::{Bed, until};
use super::common::rounds;
use super::fixture::{Token, kryoptic_module};
use jwsd::backend::pkcs11::pin;
use jwsd::backend::{Class, KeyStore as _};
use std::time::{Duration, Instant};

const TABLE: &str = include_str!("table.txt");

#[derive(Debug, Clone, Copy)]
struct Row {
    number: &'static str,
    name: &'static str,
    class: Class,
    action: &'static str,
}

fn rows() -> Vec<Row> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let class = match words[2] {
                "busy" => Class::Busy,
                "down" => Class::Down,
                "misconfigured" => Class::Misconfigured,
                "untrusted" => Class::Untrusted,
                "bug" => Class::Bug,
                other => panic!("{other} is no class"),
            };
            Row { number: words[0], name: words[1], class, action: words[3].split('/').next().unwrap() }
        })
        .collect()
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    /// Outcomes of the attempts in order.
    attempts: Vec<String>,
    /// `None` is a signature.
    class: Option<Class>,
    /// Workers that the code costs, with the one that is started after a release.
    workers: u64,
    quarantined: Quarantined,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quarantined {
    Nothing,
    Key,
    Backend,
    /// The marker of the PIN forbids logins.
    Pin,
}

impl Expected {
    fn signed(attempts: &[&str], workers: u64) -> Self {
        let attempts = attempts.iter().map(|attempt| (*attempt).to_owned()).collect();
        Self { attempts, class: None, workers, quarantined: Quarantined::Nothing }
    }

    fn failed(row: Row, attempts: &[&str], workers: u64, quarantined: Quarantined) -> Self {
        Self { class: Some(row.class), quarantined, ..Self::signed(attempts, workers) }
    }

    /// When the code comes once, at C_SignInit or C_Sign.
    fn of_signing(row: Row) -> Self {
        let retried = [row.name, "ok"];
        let once = [row.name];
        match row.action {
            "F" | "F+mark" => Self::failed(row, &once, 0, Quarantined::Nothing),
            "F+Qkey" | "Qkey" => Self::failed(row, &once, 0, Quarantined::Key),
            "T" => Self::failed(row, &once, 1, Quarantined::Nothing),
            "Q" | "PIN" => Self::failed(row, &once, 1, Quarantined::Backend),
            "W" | "L" => Self::signed(&retried, 1),
            "S" | "S>W" | "X" | "H" | "H>F+Qkey" | "shrink" | "switch" | "logged-in" => {
                Self::signed(&retried, 0)
            }
            other => panic!("{other} is no action"),
        }
    }

    /// When it comes twice, where there are two attempts.
    fn of_signing_twice(row: Row) -> Self {
        let (workers, quarantined) = match row.action {
            "H>F+Qkey" => (0, Quarantined::Key),
            "S>W" | "X" => (1, Quarantined::Nothing),
            "W" | "L" => (2, Quarantined::Nothing),
            _ => (0, Quarantined::Nothing),
        };
        Self::failed(row, &[row.name; 2], workers, quarantined)
    }

    /// When it comes once while a worker starts: nobody waits for it but the next worker, besides the one restart
    /// that the test asks for.
    fn of_start(row: Row, function: &str) -> Self {
        let next = Self::signed(&["ok"], 2);
        match (row.action, function) {
            ("PIN", "C_Login") => Self::failed(row, &[row.name], 2, Quarantined::Pin),
            ("Q" | "PIN", _) => Self::failed(row, &[row.name], 2, Quarantined::Backend),
            ("logged-in", "C_Login") => Self::signed(&["ok"], 1),
            // Opened once more at once, as the other kind or after a pause.
            ("switch", "C_OpenSession") => Self::signed(&["ok"], 1),
            ("F", "C_OpenSession") if row.name == "CKR_ARGUMENTS_BAD" => Self::signed(&["ok"], 1),
            _ => next,
        }
    }

    /// When it comes once while the key is looked for in a new worker.
    fn of_search(row: Row) -> Self {
        match row.action {
            "F" | "F+mark" => Self::failed(row, &[row.name], 1, Quarantined::Nothing),
            "F+Qkey" | "Qkey" => Self::failed(row, &[row.name], 1, Quarantined::Key),
            "W" | "L" | "T" => Self::signed(&["ok"], 2),
            "Q" | "PIN" => Self::failed(row, &[row.name], 2, Quarantined::Backend),
            _ => Self::signed(&["ok"], 1),
        }
    }
}

/// `C_Sign` again: the retry meets the same fault.
const TWICE: &str = "C_Sign twice";

fn is_signing(function: &str) -> bool {
    matches!(function, "C_SignInit" | "C_Sign" | TWICE)
}

/// One case; says what was wrong.
async fn case(bed: &Bed, function: &str, row: Row) -> Result<(), String> {
    let expected = match function {
        TWICE => Expected::of_signing_twice(row),
        "C_SignInit" | "C_Sign" => Expected::of_signing(row),
        "C_OpenSession" | "C_Login" => Expected::of_start(row, function),
        _ => Expected::of_search(row),
    };
    let (generation, logins) = (bed.generation().await, bed.logins());
    // The module really is logged in when it says so; to be told so without it is another fault.
    let how = if (row.action, function) == ("logged-in", "C_Login") { "then" } else { "rv" };
    let (called, times) = if function == TWICE { ("C_Sign", 2) } else { (function, 1) };
    bed.token.script(&format!("{called} {how} {} total {times}", row.number));
    if !is_signing(function) {
        bed.restart();
    }
    let signing = bed.sign(Duration::from_secs(8)).await;
    let attempts: Vec<String> = signing.attempts.iter().map(|attempt| attempt.outcome.to_string()).collect();
    let class = signing.result.as_ref().err().map(|error| error.class);
    let why = signing.result.as_ref().err().map(ToString::to_string);

    bed.token.script("");
    let mut quarantined = match bed.quarantined() {
        (true, _) => Quarantined::Backend,
        (false, true) => Quarantined::Key,
        (false, false) => Quarantined::Nothing,
    };
    let waited = bed.logins();
    if pin::state(&bed.token.settings().marker_dir, "hsm").unwrap() == pin::State::Refused {
        quarantined = Quarantined::Pin;
        pin::clear(&bed.token.settings().marker_dir, "hsm").unwrap();
    } else if quarantined == Quarantined::Backend {
        until("the worker is gone", async || {
            bed.backend.status().await.reason.is_some_and(|reason| reason.contains("quarantined"))
        })
        .await;
        // Whatever goes on in there must not be a login.
        tokio::time::sleep(Duration::from_millis(20)).await;
        if bed.logins() != waited {
            return Err("a login while it was in quarantine".into());
        }
    }
    bed.release();
    if expected.workers > 0 {
        let due = generation + expected.workers;
        until(&format!("{function} {row:?}: worker {due}"), async || bed.generation().await >= due).await;
    }
    bed.signs_again(&format!("{function} {}", row.name)).await;
    let workers = bed.generation().await - generation;
    let logins = bed.logins() - logins;
    let seen = Expected { attempts, class, workers, quarantined };
    let mut due = expected.clone();
    if !is_signing(function) && matches!(due.quarantined, Quarantined::Pin | Quarantined::Backend) {
        // Whoever waited for the worker hears that there is none, before or after the breaker knows of it.
        due.attempts.clone_from(&seen.attempts);
        due.class = due.class.map(|_| seen.class.unwrap_or(Class::Bug));
    }
    if seen != due || logins > workers {
        return Err(format!("{seen:?} with {logins} logins, not {expected:?}: {why:?}"));
    }
    Ok(())
}

/// All codes at one function, on a token of its own.
async fn column(function: &'static str, token: Token) -> (usize, Vec<String>) {
    let bed = Bed::of(token, |_| {}).await;
    let mut wrong = Vec::new();
    let rows = rows().into_iter();
    let rows: Vec<Row> = rows.filter(|row| function != TWICE || is_retried(*row)).collect();
    let started = Instant::now();
    for row in &rows {
        if let Err(why) = case(&bed, function, *row).await {
            wrong.push(format!("{function} {} {}: {why}", row.name, row.action));
        }
    }
    println!("recovery: {function}: {} cases in {:?}", rows.len(), started.elapsed());
    bed.backend.shutdown().await;
    (rows.len(), wrong)
}

fn is_retried(row: Row) -> bool {
    Expected::of_signing(row).attempts.len() == 2
}

const FUNCTIONS: [&str; 7] =
    ["C_OpenSession", "C_Login", "C_FindObjectsInit", "C_FindObjects", "C_SignInit", "C_Sign", TWICE];

async fn all(what: &str, token: impl Fn() -> Token) {
    assert!(rows().len() >= 95, "all codes and some unknown ones");
    let (mut cases, mut wrong) = (0, Vec::new());
    for _ in 0..rounds(1) {
        let columns = FUNCTIONS.map(|function| column(function, token()));
        for (count, faults) in futures_util::future::join_all(columns).await {
            cases += count;
            wrong.extend(faults);
        }
    }
    println!("recovery: {what}: {cases} cases, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn recovery() {
    all("SoftHSM", || Token::faulty("")).await;
}

/// The two modules disagree on what is left of a login and a session.
#[tokio::test]
async fn recovery_on_kryoptic() {
    if !kryoptic_module().exists() {
        assert!(std::env::var_os("CI").is_none(), "CI must have Kryoptic");
        println!("SKIPPED recovery_on_kryoptic: bash -c '. scripts/lib.sh; ensure_kryoptic' builds it");
        return;
    }
    all("Kryoptic", || Token::kryoptic().behind_the_faulty_module()).await;
}
