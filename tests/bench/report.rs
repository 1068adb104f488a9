//! The table: medians of the rounds, ratios to the bare token of the same run, and the goals beside them.

use crate::cost::Snapshot;
use crate::load::{Outcome, Shape};
use crate::raw::{Algorithm, Samples};
use crate::{Fault, disk};
use serde::Serialize;
use std::time::Duration;

/// Microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Percentiles {
    /// Sorts `times`, of which there must be some.
    pub(crate) fn of(times: &mut [Duration]) -> Self {
        times.sort_unstable();
        let at = |share: f64| {
            times.get((times.len() as f64 * share) as usize).map_or(f64::NAN, |t| t.as_secs_f64() * 1e6)
        };
        Self { p50: at(0.50), p99: at(0.99) }
    }
}

/// One measurement, or the median of several.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    algorithm: Algorithm,
    what: String,
    /// Threads for raw rows, 0 for load rows.
    raw_threads: usize,
    per_second: f64,
    #[serde(flatten)]
    latency: Percentiles,
    /// Processor time per JWT, microseconds: daemon, worker, load generator (or the raw signing threads).
    cpu: [f64; 3],
}

impl Row {
    pub(crate) fn raw(algorithm: Algorithm, threads: usize, samples: &Samples, cpu: Duration) -> Self {
        let count = samples.each.len() as f64;
        Self {
            algorithm,
            what: format!("raw C_Sign, {threads} threads"),
            raw_threads: threads,
            per_second: count / samples.wall.as_secs_f64(),
            latency: Percentiles::of(&mut samples.each.clone()),
            cpu: [0.0, 0.0, micros(cpu) / count],
        }
    }

    pub(crate) fn load(algorithm: Algorithm, shape: Shape, outcome: &Outcome, cost: &Snapshot) -> Self {
        let count = outcome.jwts() as f64;
        Self {
            algorithm,
            what: shape.to_string(),
            raw_threads: 0,
            per_second: count / outcome.wall.as_secs_f64(),
            latency: Percentiles::of(&mut outcome.latencies.clone()),
            cpu: [cost.daemon, cost.worker, cost.load].map(|used| micros(used) / count),
        }
    }
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// In the order of measuring.
    pub(crate) rows: Vec<Row>,
    pub(crate) disk: Vec<disk::Sync>,
    pub(crate) received: u64,
    pub(crate) recorded: u64,
    pub(crate) verified: u64,
    pub(crate) peak_memory_kib: u64,
}

/// A line of the table.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    row: Row,
    /// To the best raw measurement with two threads.
    ratio: f64,
    /// Rates of all rounds, in order.
    rounds: Vec<f64>,
}

/// What issue and promise ask for, and what came out.
#[derive(Serialize)]
struct Goal {
    what: String,
    wanted: String,
    measured: String,
    met: bool,
}

impl Report {
    pub(crate) fn print(&self, json: bool) -> Result<(), Fault> {
        if json {
            let document = serde_json::json!({
                "lines": self.lines(), "goals": self.goals(), "fdatasync": self.disk(), "jwts_received": self.received,
                "audit_records": self.recorded, "jwts_verified": self.verified, "peak_memory_kib": self.peak_memory_kib,
            });
            println!("{}", serde_json::to_string_pretty(&document)?);
            return Ok(());
        }
        println!(
            "\n{:36} {:>8} {:>8} {:>8}   {:^27} {:>7}",
            "", "per", "p50", "p99", "CPU us per JWT", "to raw,"
        );
        println!(
            "{:36} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9} {:>7}",
            "", "second", "us", "us", "daemon", "worker", "load", "2 thr."
        );
        for line in self.lines() {
            let Row { algorithm, what, per_second, latency, cpu: [daemon, worker, load], .. } = &line.row;
            println!(
                "{:36} {per_second:8.0} {:8.0} {:8.0} {daemon:9.1} {worker:9.1} {load:9.1} {:6.1}%",
                format!("{algorithm:?} {what}"),
                latency.p50,
                latency.p99,
                line.ratio * 100.0
            );
        }
        println!("\nRaw, 2 threads, in order of time (does the machine drift?):");
        for line in self.lines().iter().filter(|line| line.row.raw_threads == 2) {
            let rates: Vec<String> = line.rounds.iter().map(|r| format!("{r:.0}")).collect();
            println!("  {:?} {}", line.row.algorithm, rates.join(" "));
        }
        let disk::Sync { growing, reserved } = self.disk();
        println!(
            "fdatasync of 300 bytes: p50 {:.0} us, p99 {:.0} us; into reserved space p50 {:.0} us, p99 {:.0} us",
            growing.p50, growing.p99, reserved.p50, reserved.p99
        );
        println!(
            "{} JWTs received, {} records of them in the audit log; {} JWTs verified by another library\n",
            self.received, self.recorded, self.verified
        );
        for Goal { what, wanted, measured, met } in self.goals() {
            println!("{} {what}: {measured}, wanted {wanted}", if met { "met   " } else { "MISSED" });
        }
        Ok(())
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for row in &self.rows {
            let same = |other: &Row| other.algorithm == row.algorithm && other.what == row.what;
            if lines.iter().any(|line| same(&line.row)) {
                continue;
            }
            let all: Vec<&Row> = self.rows.iter().filter(|other| same(other)).collect();
            let of = |value: fn(&Row) -> f64| median(all.iter().map(|row| value(row)).collect());
            let row = Row {
                per_second: of(|r| r.per_second),
                latency: Percentiles { p50: of(|r| r.latency.p50), p99: of(|r| r.latency.p99) },
                cpu: [of(|r| r.cpu[0]), of(|r| r.cpu[1]), of(|r| r.cpu[2])],
                ..row.clone()
            };
            let ratio = row.per_second / self.best_raw(row.algorithm);
            lines.push(Line { row, ratio, rounds: all.iter().map(|r| r.per_second).collect() });
        }
        lines
    }

    /// Medians of the rounds.
    fn disk(&self) -> disk::Sync {
        let of = |value: fn(&disk::Sync) -> f64| median(self.disk.iter().map(value).collect());
        disk::Sync {
            growing: Percentiles { p50: of(|s| s.growing.p50), p99: of(|s| s.growing.p99) },
            reserved: Percentiles { p50: of(|s| s.reserved.p50), p99: of(|s| s.reserved.p99) },
        }
    }

    fn best_raw(&self, algorithm: Algorithm) -> f64 {
        let two = self.rows.iter().filter(|row| row.algorithm == algorithm && row.raw_threads == 2);
        two.map(|row| row.per_second).fold(f64::NAN, f64::max)
    }

    fn goals(&self) -> Vec<Goal> {
        let lines = self.lines();
        let find = |algorithm: Algorithm, what: &str| {
            lines.iter().find(|l| l.row.algorithm == algorithm && l.row.what == what)
        };
        let mut goals = Vec::new();
        for (algorithm, what, wanted) in [
            (Algorithm::RS256, "32 connections", 0.85),
            (Algorithm::ES256, "32 connections", 0.38),
            (Algorithm::ES256, "4 connections, batches of 64", 0.52),
        ] {
            goals.extend(find(algorithm, what).map(|line| Goal {
                what: format!("{algorithm:?}, {what}"),
                wanted: format!("at least {:.0} % of raw", wanted * 100.0),
                measured: format!("{:.1} %", line.ratio * 100.0),
                met: line.ratio >= wanted,
            }));
        }
        let one = find(Algorithm::ES256, "1 connection").zip(find(Algorithm::ES256, "raw C_Sign, 1 threads"));
        goals.extend(one.map(|(line, raw)| {
            // The stricter of the two ways to write a record.
            let limit =
                raw.row.latency.p50.max(self.disk().reserved.p50.min(self.disk().growing.p50)) + 150.0;
            Goal {
                what: "ES256, 1 connection, p50".to_owned(),
                wanted: format!("at most max(raw sign, fdatasync) + 150 us = {limit:.0} us"),
                measured: format!("{:.0} us", line.row.latency.p50),
                met: line.row.latency.p50 <= limit,
            }
        }));
        let mib = self.peak_memory_kib as f64 / 1024.0;
        goals.push(Goal {
            what: "memory of the daemon, peak".to_owned(),
            wanted: "at most 64 MiB".to_owned(),
            measured: format!("{mib:.1} MiB"),
            met: mib <= 64.0,
        });
        goals
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
