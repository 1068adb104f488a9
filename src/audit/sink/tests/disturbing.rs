//! Sinks that hang disturb nobody: not the log, not each other, not the stop.

use super::servers::{Fault, collector, syslog, tcp};
use super::*;
use std::os::unix::net::UnixDatagram;

/// How long each of so many records took to be durable, sorted.
async fn measure(bed: &Bed, count: usize) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..count {
        let start = Instant::now();
        bed.log.append(vec![denied()]).unwrap().durable().await.unwrap();
        took.push(start.elapsed());
    }
    took.sort();
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sinks_that_hang_disturb_nobody() {
    let bed = Bed::new();
    let before = measure(&bed, 500).await;
    let (stuck, script) = syslog(None).await;
    script.lock().unwrap().faults = vec![Fault::HangAfter(1000); 100].into();
    let (silent, requests) = collector(None).await;
    requests.lock().unwrap().faults = vec![Fault::HangAfter(0); 100].into();
    let full = bed.path("full");
    let _unread = UnixDatagram::bind(&full).unwrap();
    let (working, seen) = syslog(None).await;
    let otlp = |port: u16| Kind::Otlp {
        url: format!("http://127.0.0.1:{port}/v1/logs").parse().unwrap(),
        ca: None,
        headers: Vec::new(),
    };
    let sinks = bed.start_all(&[
        settings("stuck", tcp(stuck)),
        settings("silent", otlp(silent)),
        settings("full", Kind::SyslogUnix(full)),
        settings("working", tcp(working)),
    ]);
    // More than all buffers on the way hold.
    bed.record(40_000).await;
    let during = measure(&bed, 500).await;
    let sinks_of = || bed.log.health().sinks;
    eventually("the one that works has everything", || sinks_of()[3].behind == 0).await;
    eventually("the others are told", || bed.records("alert.raised").len() >= 2).await;
    let health = sinks_of();
    for hanging in &health[..3] {
        assert!(hanging.behind > 10_000, "{hanging:?}");
    }
    assert!(health[1].seconds_behind >= 5, "{:?}", health[1]);
    println!("before {:?} {:?}, during {:?} {:?}", before[250], before[495], during[250], during[495]);
    assert!(during[250] < before[250] * 4 + Duration::from_millis(5), "{:?} {:?}", before[250], during[250]);
    let start = Instant::now();
    sinks.end().await;
    let took = start.elapsed();
    println!("ended within {took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert_all(&seen.lock().unwrap().connections, bed.log.durable());
}
