//! OTLP: what a collector answers, and what becomes of the records then.

use super::super::batch::{Message, Writer};
use super::super::cursor::Position;
use super::super::otlp::send_slowly;
use super::servers::{Fault, certificate, collector};
use super::*;
use crate::audit::sink::Secret;
use hyper::header::HeaderName;
use serde_json::Value;

/// Numbers of the records of a request.
pub(super) fn seqs(body: &[u8]) -> Vec<u64> {
    let request: Value = serde_json::from_slice(body).unwrap();
    let records = request["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap();
    let seq = |record: &Value| {
        let own = record["attributes"].as_array().unwrap().iter().find(|a| a["key"] == "jwsd.seq").unwrap();
        let seq = own["value"]["intValue"].as_str().unwrap().parse().unwrap();
        assert_eq!(super::seq(record["body"]["stringValue"].as_str().unwrap().as_bytes()), seq);
        seq
    };
    records.iter().map(seq).collect()
}

fn otlp(scheme: &str, port: u16) -> Kind {
    let url = format!("{scheme}://localhost:{port}/v1/logs").parse().unwrap();
    Kind::Otlp { url, ca: None, headers: Vec::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_over_a_hundred_bad_answers() {
    let bed = Bed::new();
    let (port, script) = collector(None).await;
    let sinks = bed.start(otlp("http", port));
    let mut dice = Dice::new();
    for round in 0..120 {
        let fault = match dice.below(5) {
            0 => Fault::CloseAfter(usize::try_from(dice.below(4000)).unwrap()),
            1 => Fault::CloseAfter(usize::MAX),
            2 => Fault::Answer("HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n"),
            3 => Fault::Answer("HTTP/1.1 502 Bad\r\ncontent-length: 3\r\n\r\nbad"),
            _ => Fault::Answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nhm"),
        };
        // The last one is cut short, so that it is no answer either.
        script.lock().unwrap().faults.push_back(fault);
        if round % 10 == 0 {
            bed.record(usize::try_from(dice.below(300)).unwrap() + 1).await;
        }
        eventually("the faults are used up", || script.lock().unwrap().faults.len() < 5).await;
        bed.record(1).await;
    }
    bed.record(10).await;
    bed.delivered().await;
    sinks.end().await;
    let last = bed.log.durable();
    assert_eq!(bed.row().seq, last);
    assert!(bed.records("sink.lost").is_empty());
    let script = script.lock().unwrap();
    println!("{} requests, {} batches of {last}", script.heads.len(), script.connections.len());
    assert!(script.connections.iter().all(|batch| batch.len() <= 512));
    assert_all(&script.connections, last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_tried_again_when_the_collector_says_so() {
    let bed = Bed::new();
    let (port, script) = collector(None).await;
    let busy = "HTTP/1.1 429 Slow\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n";
    script.lock().unwrap().faults.push_back(Fault::Answer(busy));
    let sinks = bed.start(otlp("http", port));
    bed.record(3).await;
    eventually("the first answer", || script.lock().unwrap().heads.len() == 1).await;
    let start = Instant::now();
    bed.delivered().await;
    let took = start.elapsed();
    assert!(took > Duration::from_millis(1800) && took < Duration::from_secs(8), "{took:?}");
    sinks.end().await;
    assert_eq!(script.lock().unwrap().heads.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_for_good_is_told_and_the_rest_goes_on() {
    let bed = Bed::new();
    let (port, script) = collector(None).await;
    script.lock().unwrap().faults.push_back(Fault::Poison(333));
    bed.record(700).await;
    let sinks = bed.start(otlp("http", port));
    bed.delivered().await;
    eventually("it is recorded", || !bed.records("sink.lost").is_empty()).await;
    let lost = &bed.records("sink.lost")[0];
    assert_eq!((&lost["after"], &lost["count"]), (&332.into(), &1.into()), "{lost}");
    assert!(lost["reason"].as_str().unwrap().contains("400 Bad Request: bad record"), "{lost}");
    // The record of the loss is there already.
    bed.delivered().await;
    for (refused, lost) in [(2, 3), (3, 6)] {
        script.lock().unwrap().faults = [Fault::Partial(refused)].into();
        bed.record(5).await;
        eventually("it is told", || bed.log.health().sinks[0].lost == lost).await;
    }
    sinks.end().await;
    // The second minute's losses are recorded together, at the end at the latest.
    let counts: Vec<u64> =
        bed.records("sink.lost").iter().map(|record| record["count"].as_u64().unwrap()).collect();
    assert_eq!((counts.len(), counts.iter().sum::<u64>()), (2, 6), "{counts:?}");
    let script = script.lock().unwrap();
    let seen: BTreeSet<u64> = script.connections.iter().flatten().copied().collect();
    let missing: Vec<u64> = (1..=711).filter(|seq| !seen.contains(seq)).collect();
    assert_eq!(missing, [333]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_takes_no_refusal_with_it() {
    let bed = Bed::new();
    let (port, script) = collector(None).await;
    let sinks = bed.start(otlp("http", port));
    script.lock().unwrap().faults = [Fault::Partial(2)].into();
    bed.record(5).await;
    eventually("the first is recorded", || !bed.records("sink.lost").is_empty()).await;
    bed.delivered().await;
    eventually("and then kept", || bed.row().seq == 6 && bed.row().lost == 2).await;
    // Within the same minute, so that it waits.
    script.lock().unwrap().faults = [Fault::Partial(3)].into();
    bed.record(5).await;
    bed.delivered().await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!((bed.log.health().sinks[0].lost, bed.row().lost, bed.row().seq), (5, 2, 6));
    kill(sinks).await;
    assert_eq!(bed.records("sink.lost").len(), 1);
    script.lock().unwrap().faults = [Fault::Partial(3)].into();
    let sinks = bed.start(otlp("http", port));
    bed.delivered().await;
    eventually("the other is recorded too", || bed.records("sink.lost").len() == 2).await;
    sinks.end().await;
    let lost = &bed.records("sink.lost")[1];
    assert_eq!((&lost["after"], &lost["count"]), (&6.into(), &3.into()), "{lost}");
    assert_eq!((bed.row().lost, bed.row().seq), (5, bed.log.durable()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_are_sent_at_once_after_one_that_was_not_answered_in_time() {
    let bed = Bed::new();
    bed.record(64).await;
    let (port, script) = collector(None).await;
    script.lock().unwrap().faults = vec![Fault::HangAfter(0); 2].into();
    let kind = otlp("http", port);
    let Kind::Otlp { url, .. } = &kind else { unreachable!() };
    let writer = Writer::new(&settings("sink", kind.clone()));
    let message = |line: &String| {
        let line = crate::audit::parse(line.as_bytes()).unwrap();
        Message { after: Position::new(line.seq, String::new()), bytes: writer.encode(&line) }
    };
    let messages: Vec<Message> = bed.lines().iter().map(message).collect();
    let progress = send_slowly(url, &messages, Duration::from_secs(2)).await;
    assert_eq!((messages.len(), progress.safe.seq), (64, 64));
    let script = script.lock().unwrap();
    let counts: Vec<usize> = script.connections.iter().map(Vec::len).collect();
    assert_eq!(counts, [16, 32, 16], "and more again once it answers");
    assert_all(&script.connections[..1], 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_is_not_sent_again_though_the_answer_is_long() {
    let bed = Bed::new();
    let (port, script) = collector(None).await;
    let long = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 70000\r\nconnection: close\r\n\r\n{}",
        " ".repeat(70_000)
    );
    script.lock().unwrap().faults.push_back(Fault::Answer(long.leak()));
    let sinks = bed.start(otlp("http", port));
    bed.record(3).await;
    bed.delivered().await;
    sinks.end().await;
    assert_eq!((script.lock().unwrap().heads.len(), bed.row().seq), (1, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_go_over_tls_and_are_read_again_when_they_are_refused() {
    let bed = Bed::new();
    let (ca, acceptor) = certificate(bed.directory.path());
    let (port, script) = collector(Some(acceptor)).await;
    let unauthorized = "HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n";
    script.lock().unwrap().faults = vec![Fault::Answer(unauthorized); 1000].into();
    let secret = bed.path("token");
    let write = |text: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(&secret, text).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("Bearer first\n");
    let headers = vec![(HeaderName::from_static("authorization"), Secret::File(secret.clone()))];
    let url = format!("https://localhost:{port}/v1/logs").parse().unwrap();
    let sinks = bed.start(Kind::Otlp { url, ca: Some(ca), headers });
    bed.record(3).await;
    eventually("the first request", || !script.lock().unwrap().heads.is_empty()).await;
    write("Bearer second\n");
    eventually("it is read again", || {
        script.lock().unwrap().heads.iter().any(|head| head.contains("second"))
    })
    .await;
    script.lock().unwrap().faults.clear();
    bed.delivered().await;
    sinks.end().await;
    let script = script.lock().unwrap();
    assert!(script.heads[0].contains("authorization: Bearer first\r\n"), "{}", script.heads[0]);
    let last = script.heads.last().unwrap();
    assert!(
        last.starts_with("POST /v1/logs HTTP/1.1\r\n") && last.contains("authorization: Bearer second"),
        "{last}"
    );
    assert!(last.contains("content-type: application/json\r\n"), "{last}");
    for line in bed.lines() {
        assert!(!line.contains("Bearer"), "{line}");
    }
}
