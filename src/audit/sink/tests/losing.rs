//! What a sink does not get is counted exactly, recorded, and nothing is said twice or without end.

use super::servers::{Fault, syslog, tcp};
use super::*;

/// Numbers that records of losses speak of, by what they say.
fn lost(bed: &Bed) -> Vec<(u64, u64, String)> {
    let number = |record: &serde_json::Value, name: &str| record[name].as_u64().unwrap();
    let records = bed.records("sink.lost");
    let lost = records.iter().map(|record| {
        assert_eq!((&record["object"], &record["outcome"]), (&"sink".into(), &"failed".into()));
        (number(record, "after"), number(record, "count"), record["reason"].as_str().unwrap().to_owned())
    });
    lost.collect()
}

/// A port where nobody listens.
async fn nobody() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_beyond_the_bound_is_recorded_exactly() {
    let bed = Bed::new();
    let port = nobody().await;
    let behind = 1000;
    let bounded = |port| Settings { behind, ..settings("sink", tcp(port)) };
    let sinks = bed.start_all(&[bounded(port)]);
    for _ in 0..40 {
        bed.record(100).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eventually("it is told", || !bed.records("alert.raised").is_empty() && !lost(&bed).is_empty()).await;
    sinks.end().await;
    // The same sink, at a place where somebody listens.
    let (port, script) = syslog(None).await;
    let sinks = bed.start_all(&[bounded(port)]);
    bed.record(50).await;
    bed.delivered().await;
    let health = bed.log.health();
    sinks.end().await;
    let durable = bed.log.durable();
    let losses = lost(&bed);
    println!("{durable} records, losses {losses:?}");
    let total: u64 = losses.iter().map(|(_, count, _)| count).sum();
    assert!(
        total >= durable - behind - 200 && losses.iter().all(|(.., why)| why.contains("1000 records behind"))
    );
    // Each told once: the ranges do not touch, and whatever is in none of them arrived.
    assert!(losses.is_sorted_by(|a, b| a.0 + a.1 <= b.0), "{losses:?}");
    assert!(losses.len() as u64 <= total / (behind / 8) + 1, "records about losses make few losses");
    let is_lost = |seq: u64| losses.iter().any(|(after, count, _)| seq > *after && seq <= after + count);
    let script = script.lock().unwrap();
    let seen: BTreeSet<u64> = script.connections.iter().flatten().copied().collect();
    for seq in 1..=durable {
        assert_ne!(is_lost(seq), seen.contains(&seq), "record {seq}");
    }
    assert_eq!((health.sinks[0].lost, bed.row().lost), (total, total));
    assert_eq!(bed.records("alert.raised").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_is_sent_again_and_not_lost_though_the_bound_is_small() {
    let bed = Bed::new();
    let (port, script) = syslog(None).await;
    // It breaks the connection after much more than the bound, which all buffers on the way hold.
    script.lock().unwrap().faults.push_back(Fault::CloseAfter(900_000));
    let bounded = [Settings { behind: 1000, ..settings("sink", tcp(port)) }];
    let sinks = bed.start_all(&bounded);
    while script.lock().unwrap().connections.len() < 2 {
        bed.record(100).await;
        bed.delivered().await;
        assert!(bed.log.durable() < 20_000, "it does not break");
    }
    bed.delivered().await;
    assert!(bed.log.durable() > 2000 && lost(&bed).is_empty(), "{:?}", lost(&bed));
    assert_all(&script.lock().unwrap().connections, bed.log.durable());
    // Nor over a kill.
    let durable = bed.log.durable();
    eventually("how far it came is kept", || bed.row().told == durable).await;
    assert_eq!(bed.row().seq, 0, "nothing has certainly arrived");
    kill(sinks).await;
    script.lock().unwrap().connections.clear();
    let sinks = bed.start_all(&bounded);
    bed.record(50).await;
    bed.delivered().await;
    sinks.end().await;
    assert!(lost(&bed).is_empty(), "{:?}", lost(&bed));
    assert_all(&script.lock().unwrap().connections, bed.log.durable());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_segments_are_told() {
    let bed = Bed::new();
    bed.record(2000).await;
    let segments = crate::audit::segment::list(bed.dir()).unwrap().0;
    for segment in &segments[..3] {
        std::fs::remove_file(bed.dir().join(&segment.name)).unwrap();
    }
    let first = segments[3].first;
    let (port, script) = syslog(None).await;
    for _ in 0..2 {
        let sinks = bed.start(tcp(port));
        bed.delivered().await;
        sinks.end().await;
    }
    let losses = lost(&bed);
    assert_eq!((losses.len(), losses[0].0, losses[0].1), (1, 0, first - 1));
    assert!(losses[0].2.contains("removed"), "{losses:?}");
    let seen: Vec<u64> = script.lock().unwrap().connections.iter().flatten().copied().collect();
    assert_eq!(seen, (first..=bed.log.durable()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_recorded_once_it_is_silent() {
    let bed = Bed::new();
    let sinks = bed.start_all(&[
        Settings { behind: 1000, ..settings("sink", tcp(nobody().await)) },
        settings("other", Kind::Journald(bed.path("nobody"))),
    ]);
    sinks.silence();
    bed.record(3000).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let durable = bed.log.durable();
    sinks.end().await;
    assert_eq!((durable, bed.log.durable()), (3000, 3000));
    assert_eq!(bed.row().lost, 0, "what was not recorded is left for the next start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_sink_begins_at_the_end_and_an_old_one_where_it_was() {
    let bed = Bed::new();
    bed.record(200).await;
    let (port, script) = syslog(None).await;
    let own = Settings { from: From::End, ..settings("sink", tcp(port)) };
    let sinks = bed.start_all(std::slice::from_ref(&own));
    assert_eq!(bed.row(), SinkRow { seq: 200, told: 200, ..SinkRow::default() }, "before anything else");
    bed.record(10).await;
    bed.delivered().await;
    sinks.end().await;
    bed.record(10).await;
    let sinks = bed.start_all(std::slice::from_ref(&own));
    bed.delivered().await;
    sinks.end().await;
    let seen: Vec<u64> = script.lock().unwrap().connections.iter().flatten().copied().collect();
    assert_eq!(seen, (201..=220).collect::<Vec<_>>());
    // Of another log it gets everything.
    bed.store.keep_sink("sink", &SinkRow { seq: 9000, told: 9000, ..SinkRow::default() }).unwrap();
    let sinks = bed.start_all(&[own]);
    bed.delivered().await;
    sinks.end().await;
    let seen: Vec<u64> = script.lock().unwrap().connections.iter().flatten().copied().collect();
    assert_eq!(seen[20..], (1..=220).collect::<Vec<_>>());
    assert!(lost(&bed).is_empty());
}
