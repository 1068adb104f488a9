//! `--seals`: what the tree and the checkpoints of the audit log cost, two daemons taking turns.

use crate::bed::Bed;
use crate::load::{Load, Shape};
use crate::{Fault, Options, progress, raw};
use std::path::Path;
use std::time::Duration;

const ALGORITHM: raw::Algorithm = raw::Algorithm::ES256;
const SHAPE: Shape = Shape { connections: 32, batch: 1 };
/// Of the JWTs a second without.
const WANTED_COST: f64 = 0.05;

pub(crate) fn run(options: &Options, jwsd: &Path) -> Result<(), Fault> {
    let plain = Bed::make(&options.dir, &options.module, &[ALGORITHM])?;
    let sealed = Bed::sealed(&options.dir, &options.module, &[ALGORITHM])?;
    let mut daemons = Vec::new();
    for bed in [&plain, &sealed] {
        bed.generate(jwsd)?;
        daemons.push(bed.start(jwsd)?);
    }
    let mut rates = [Vec::new(), Vec::new()];
    let seconds = Duration::from_secs_f64(options.seconds);
    for round in 0..options.rounds {
        // Neither is always the first.
        let turns = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in turns {
            let bed = [&plain, &sealed][which];
            progress(&format!("round {}: {}", round + 1, ["plain segments", "tree and checkpoints"][which]));
            let mut load = Load::connect(bed.signing_socket(), ALGORITHM.name(), SHAPE)?;
            load.run(seconds.mul_f64(0.1))?;
            let outcome = load.run(seconds)?;
            bed.verify(&outcome.kept)?;
            rates[which].push(outcome.jwts() as f64 / outcome.wall.as_secs_f64());
        }
    }
    for daemon in daemons {
        daemon.stop()?;
    }
    for bed in [&plain, &sealed] {
        bed.verify_audit(jwsd)?;
    }
    let seals = sealed.count_records("log.sealed")?;
    if seals < 3 || plain.count_records("log.sealed")? > 0 {
        return Err(format!("{seals} checkpoints: this measured something else").into());
    }
    // Each round is compared with itself: the machine drifts.
    let mut costs: Vec<f64> =
        rates[0].iter().zip(&rates[1]).map(|(plain, sealed)| 1.0 - sealed / plain).collect();
    costs.sort_by(f64::total_cmp);
    let [plain, sealed] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    let cost = costs[costs.len() / 2];
    println!("plain segments        {plain:8.0} JWT/s (median of {} rounds)", options.rounds);
    println!("tree and checkpoints  {sealed:8.0} JWT/s, {seals} checkpoints");
    let met = if cost <= WANTED_COST { "met   " } else { "MISSED" };
    println!(
        "{met} the tree and its checkpoints cost {:.1} % of JWT/s (rounds: {:.1} to {:.1} %), wanted at most {:.0} %",
        cost * 100.0,
        costs[0] * 100.0,
        costs[costs.len() - 1] * 100.0,
        WANTED_COST * 100.0,
    );
    Ok(())
}
