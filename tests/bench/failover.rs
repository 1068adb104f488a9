//! `--failover`: the same key in two tokens. What callers feel while one of them hangs, against the other one alone.

use crate::bed::{Bed, Daemon};
use crate::load::{Load, Shape};
use crate::report::Percentiles;
use crate::{Fault, Options, progress, raw};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::time::{Duration, Instant};

const SHAPE: Shape = Shape { connections: 8, batch: 1 };
/// The other token's p99 may be so much worse while one hangs.
const WANTED: f64 = 1.10;

pub(crate) fn run(options: &Options, jwsd: &Path) -> Result<(), Fault> {
    // A module that others could replace is refused, and a checkout may be writable by a group.
    let built = std::env::current_exe()?.with_file_name("libfaulty_pkcs11.so");
    let module = tempfile::Builder::new().prefix("module-").suffix(".so").tempfile_in(&options.dir)?;
    std::fs::copy(built, module.path())?;
    let module_path = module.path().canonicalize()?;
    let algorithms = [raw::Algorithm::ES256];
    let bed = Bed::twins(&options.dir, &module_path, jwsd, &algorithms)?;
    let daemon = bed.start(jwsd)?;
    let duration = Duration::from_secs_f64(options.seconds);

    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        progress(&format!("round {round}: one token alone"));
        bed.script("b", "C_GetSlotList rv 0xe0")?;
        end_workers(&daemon)?;
        alone.push(measure(&bed, duration)?);
        progress(&format!("round {round}: beside one that hangs"));
        bed.script("b", "")?;
        let until = Instant::now() + Duration::from_secs(30);
        while daemon.workers()?.len() < 2 {
            if Instant::now() > until {
                return Err("the second token did not come back".into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        // Let it sign again before it hangs.
        measure(&bed, Duration::from_secs(3))?;
        bed.script("b", "C_Sign hang")?;
        beside.push(measure(&bed, duration)?);
    }
    daemon.stop()?;
    bed.verify_audit(jwsd)?;
    println!("{:28} {:>10} {:>10} {:>12} {:>12}", "", "p50 us", "p99 us", "slowest ms", "per second");
    for (what, rounds) in [("one token alone", &alone), ("beside one that hangs", &beside)] {
        for Felt { latency, slowest, per_second } in rounds {
            println!("{what:28} {:10.0} {:10.0} {slowest:12.0} {per_second:12.0}", latency.p50, latency.p99);
        }
    }
    let median = |rounds: &[Felt]| {
        let mut all: Vec<f64> = rounds.iter().map(|felt| felt.latency.p99).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let ratio = median(&beside) / median(&alone);
    let met = if ratio <= WANTED { "met   " } else { "MISSED" };
    println!(
        "{met} p99 beside a token that hangs: {ratio:.2} times that of the token alone, wanted at most {WANTED}"
    );
    Ok(())
}

/// What the callers felt.
struct Felt {
    latency: Percentiles,
    /// Milliseconds.
    slowest: f64,
    per_second: f64,
}

fn measure(bed: &Bed, duration: Duration) -> Result<Felt, Fault> {
    let mut load = Load::connect(bed.signing_socket(), raw::Algorithm::ES256.name(), SHAPE)?;
    let mut outcome = load.run(duration)?;
    bed.verify(&outcome.kept)?;
    let per_second = outcome.jwts() as f64 / outcome.wall.as_secs_f64();
    let latency = Percentiles::of(&mut outcome.latencies);
    let slowest = outcome.latencies.last().map_or(0.0, |last| last.as_secs_f64() * 1e3);
    Ok(Felt { latency, slowest, per_second })
}

/// Ends both workers; the script of the second token keeps its next one from finding it.
fn end_workers(daemon: &Daemon) -> Result<(), Fault> {
    for worker in daemon.workers()? {
        kill(Pid::from_raw(i32::try_from(worker)?), Signal::SIGKILL)?;
    }
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}
