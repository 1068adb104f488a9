//! `--kms`: what the daemon spends on a JWT whose key is in AWS KMS, against one of SoftHSM, and how much of what
//! KMS's latency allows comes through.

use crate::bed::Bed;
use crate::cost::Snapshot;
use crate::load::{Load, Shape};
use crate::report::Percentiles;
use crate::{Fault, Options, progress, raw};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::path::Path;
use std::time::{Duration, Instant};

#[path = "../common/fake_kms.rs"]
mod fake_kms;

use fake_kms::FakeKms;

const ALGORITHM: raw::Algorithm = raw::Algorithm::ES256;
const FEW: Shape = Shape { connections: 32, batch: 1 };
const MANY: Shape = Shape { connections: 500, batch: 1 };
/// What KMS in the same region takes.
const LATENCY: Duration = Duration::from_millis(20);
const CONCURRENCY: u32 = 32;
/// Daemon's processor time per JWT, in times of SoftHSM's path without its worker.
const WANTED_COST: f64 = 2.0;
/// Of concurrency through latency.
const WANTED_SHARE: f64 = 0.90;

/// One measurement.
struct Row {
    what: &'static str,
    per_second: f64,
    latency: Percentiles,
    /// Daemon's microseconds of processor time per JWT.
    cost: f64,
}

pub(crate) fn run(options: &Options, jwsd: &Path) -> Result<(), Fault> {
    // For this process's children: the endpoint looks at nothing but the access key. No other thread runs yet.
    set_credentials();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let fake = runtime.block_on(FakeKms::start("eu-central-1"));
    let soft = Bed::make(&options.dir, &options.module, &[ALGORITHM])?;
    let cloud = Bed::kms(&options.dir, &fake.url(), CONCURRENCY, &[ALGORITHM])?;
    let mut rows = Vec::new();
    for (bed, what) in [(&soft, "SoftHSM, 32 connections"), (&cloud, "KMS at once, 32 connections")] {
        bed.generate(jwsd)?;
        let daemon = bed.start(jwsd)?;
        for _ in 0..options.rounds {
            progress(what);
            rows.push(measure(options, bed, &daemon, what, FEW)?);
        }
        if std::ptr::eq(bed, &cloud) {
            fake.script().latency = LATENCY;
            for _ in 0..options.rounds {
                let what = "KMS after 20 ms, 500 connections";
                progress(what);
                rows.push(measure(options, bed, &daemon, what, MANY)?);
            }
        }
        daemon.stop()?;
        bed.verify_audit(jwsd)?;
    }
    let alone = runtime.block_on(round_trip(&fake))?;
    println!("{:36} {:>10} {:>10} {:>10} {:>12}", "", "per second", "p50 us", "p99 us", "daemon CPU us");
    for Row { what, per_second, latency, cost } in &rows {
        println!("{what:36} {per_second:10.0} {:10.0} {:10.0} {cost:12.1}", latency.p50, latency.p99);
    }
    let median = |what: &str, value: fn(&Row) -> f64| {
        let mut all: Vec<f64> = rows.iter().filter(|row| row.what.starts_with(what)).map(value).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let ratio = median("KMS at once", |row| row.cost) / median("SoftHSM", |row| row.cost);
    // What one request alone takes, timers and all.
    let possible = f64::from(CONCURRENCY) / alone.as_secs_f64();
    let share = median("KMS after", |row| row.per_second) / possible;
    let say = |met: bool| if met { "met   " } else { "MISSED" };
    println!(
        "{} daemon CPU per JWT with KMS: {ratio:.2} times that with SoftHSM, wanted at most {WANTED_COST}",
        say(ratio <= WANTED_COST)
    );
    println!(
        "{} 500 connections, {CONCURRENCY} requests at once of {:.1} ms each: {:.1} % of {possible:.0} a second, wanted at \
         least {:.0} %",
        say(share >= WANTED_SHARE),
        alone.as_secs_f64() * 1e3,
        share * 100.0,
        WANTED_SHARE * 100.0
    );
    Ok(())
}

/// The median time of a request to the endpoint that nobody else is asking.
async fn round_trip(fake: &FakeKms) -> Result<Duration, Fault> {
    let stream = tokio::net::TcpStream::connect(fake.url().trim_start_matches("http://")).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut times = Vec::new();
    for _ in 0..51 {
        let request = hyper::Request::post("/")
            .header("host", "localhost")
            .header("x-amz-target", "TrentService.ListKeys")
            // Long ago: it is refused, after the same time.
            .header("x-amz-date", "20200101T000000Z")
            .body(Full::new(Bytes::from_static(b"{}")))?;
        let began = Instant::now();
        sender.ready().await?;
        sender.send_request(request).await?.into_body().collect().await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn measure(
    options: &Options,
    bed: &Bed,
    daemon: &crate::bed::Daemon,
    what: &'static str,
    shape: Shape,
) -> Result<Row, Fault> {
    let mut load = Load::connect(bed.signing_socket(), ALGORITHM.name(), shape)?;
    load.run(Duration::from_secs_f64(options.seconds * 0.1))?;
    let before = Snapshot::take(daemon.pid())?;
    let mut outcome = load.run(Duration::from_secs_f64(options.seconds))?;
    let cost = Snapshot::take(daemon.pid())?.since(&before).daemon;
    bed.verify(&outcome.kept)?;
    let count = outcome.jwts() as f64;
    Ok(Row {
        what,
        per_second: count / outcome.wall.as_secs_f64(),
        latency: Percentiles::of(&mut outcome.latencies),
        cost: cost.as_secs_f64() * 1e6 / count,
    })
}

#[allow(unsafe_code)]
fn set_credentials() {
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "bench"),
        ("AWS_SECRET_ACCESS_KEY", "not-a-secret"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ] {
        // SAFETY: no other thread has been started yet.
        unsafe { std::env::set_var(name, value) };
    }
}
