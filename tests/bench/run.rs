//! `scripts/bench`: the whole path of a JWT against the bare token, in one run on one machine.
//!
//! Raw `C_Sign` is measured before, between and after the daemon's turns, so that a machine that drifts shows it.
//! Figures that disagree with the audit log, a JWT that does not verify, or an answer other than 200 end the run: it
//! must never print the speed of something that did not work.

mod bed;
mod cost;
mod disk;
mod failover;
mod kms;
mod load;
mod raw;
mod report;
mod seals;

use clap::Parser;
use report::{Report, Row};
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

/// What a turn may fail with: said to the person who started it, and final.
pub(crate) type Fault = Box<dyn Error + Send + Sync>;

/// Measures jwsd against the bare PKCS#11 token, on SoftHSM, with durable audit on.
#[derive(Parser)]
struct Options {
    /// Seconds per measurement.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Repetitions; medians are shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Algorithms, of ES256 and RS256.
    #[arg(long, value_delimiter = ',', default_value = "ES256,RS256")]
    algs: Vec<raw::Algorithm>,
    /// Instead: what one of two tokens feels when the other one hangs.
    #[arg(long)]
    failover: bool,
    /// Instead: AWS KMS, as an endpoint in this process plays it, against the same path with SoftHSM.
    #[arg(long)]
    kms: bool,
    /// Instead: what the audit log's tree and checkpoints cost, against a daemon without them.
    #[arg(long)]
    seals: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// The daemon; by default the one built beside this program.
    #[arg(long)]
    jwsd: Option<PathBuf>,
    /// PKCS#11 module.
    #[arg(long, default_value = "/usr/lib/softhsm/libsofthsm2.so")]
    module: PathBuf,
    /// A directory on a real disk for token, state and audit log; removed at the end.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

const RAW_THREADS: [usize; 3] = [1, 2, 4];
const LOADS: [load::Shape; 4] = [
    load::Shape { connections: 1, batch: 1 },
    load::Shape { connections: 8, batch: 1 },
    load::Shape { connections: 32, batch: 1 },
    load::Shape { connections: 4, batch: 64 },
];

fn main() -> Result<(), Fault> {
    let options = Options::parse();
    let jwsd = options.jwsd.clone().map_or_else(beside_us, Ok)?;
    if options.failover {
        return failover::run(&options, &jwsd);
    }
    if options.kms {
        return kms::run(&options, &jwsd);
    }
    if options.seals {
        return seals::run(&options, &jwsd);
    }
    let bed = bed::Bed::make(&options.dir, &options.module, &options.algs)?;
    bed.generate(&jwsd)?;
    let daemon = bed.start(&jwsd)?;
    // The module reads its configuration from the environment, here as in the worker.
    bed.point_module_here();
    let token = raw::Token::open(&options.module, bed::LABEL, bed::PIN)?;
    let run = Run { options: &options, bed: &bed, daemon: &daemon, token: &token };
    let mut report = Report::default();
    for algorithm in &options.algs {
        run.algorithm(*algorithm, &mut report)?;
    }
    report.peak_memory_kib = daemon.peak_memory_kib()?;
    let received: u64 = report.received;
    daemon.stop()?;
    bed.verify_audit(&jwsd)?;
    let recorded = bed.issued_records()?;
    if recorded != received {
        return Err(format!("{received} JWTs were received but {recorded} are in the audit log").into());
    }
    report.recorded = recorded;
    report.print(options.json)
}

/// `target/release/jwsd` for `target/release/examples/bench`.
fn beside_us() -> Result<PathBuf, Fault> {
    let exe = std::env::current_exe()?;
    let found = exe.ancestors().skip(1).map(|dir| dir.join("jwsd")).find(|path| path.is_file());
    found.ok_or_else(|| "no jwsd beside this program: build it first, or name it with --jwsd".into())
}

struct Run<'a> {
    options: &'a Options,
    bed: &'a bed::Bed,
    daemon: &'a bed::Daemon,
    token: &'a raw::Token,
}

impl Run<'_> {
    fn algorithm(&self, algorithm: raw::Algorithm, report: &mut Report) -> Result<(), Fault> {
        for round in 1..=self.options.rounds {
            self.raw(algorithm, report)?;
            report.disk.push(disk::measure(self.bed.dir())?);
            for shape in LOADS {
                progress(&format!("{algorithm:?} round {round}: {shape}"));
                self.load(algorithm, shape, report)?;
            }
        }
        self.raw(algorithm, report)
    }

    fn raw(&self, algorithm: raw::Algorithm, report: &mut Report) -> Result<(), Fault> {
        for threads in RAW_THREADS {
            progress(&format!("{algorithm:?} raw C_Sign, {threads} threads"));
            let before = cost::own_cpu()?;
            let samples =
                self.token.measure(algorithm, self.daemon.key_id(algorithm)?, threads, self.duration())?;
            let row = Row::raw(algorithm, threads, &samples, cost::own_cpu()? - before);
            report.rows.push(row);
        }
        Ok(())
    }

    fn load(&self, algorithm: raw::Algorithm, shape: load::Shape, report: &mut Report) -> Result<(), Fault> {
        let mut load = load::Load::connect(self.bed.signing_socket(), algorithm.name(), shape)?;
        report.received += load.run(self.duration().mul_f64(0.1))?.jwts();
        let before = cost::Snapshot::take(self.daemon.pid())?;
        let outcome = load.run(self.duration())?;
        let cost = cost::Snapshot::take(self.daemon.pid())?.since(&before);
        report.received += outcome.jwts();
        report.verified += self.bed.verify(&outcome.kept)?;
        report.rows.push(Row::load(algorithm, shape, &outcome, &cost));
        Ok(())
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.options.seconds)
    }
}

fn progress(what: &str) {
    eprintln!("{what}");
}
