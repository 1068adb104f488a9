//! Syslog over TCP and TLS: nothing is lost whatever the server does.

use super::servers::{Fault, certificate, syslog, tcp};
use super::*;

async fn campaign(bed: &Bed, kind: Kind, script: servers::Shared, rounds: usize) {
    let sinks = bed.start(kind);
    let mut dice = Dice::new();
    for round in 0..rounds {
        let fault = match dice.below(4) {
            0 => Fault::CloseAfter(usize::try_from(dice.below(300)).unwrap()),
            1 => Fault::Slow(usize::try_from(dice.below(20_000)).unwrap()),
            _ => Fault::CloseAfter(usize::try_from(dice.below(60_000)).unwrap()),
        };
        script.lock().unwrap().faults.push_back(fault);
        // It has to get enough to come to its fault.
        let start = Instant::now();
        while script.lock().unwrap().faults.len() > if round + 1 == rounds { 0 } else { 2 } {
            let health = bed.log.health();
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "round {round}: {:?} {health:?}",
                script.lock().unwrap().faults
            );
            bed.record(usize::try_from(dice.below(40)).unwrap() + 1).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    bed.record(10).await;
    bed.delivered().await;
    sinks.end().await;
    let last = bed.log.durable();
    // A good end is known to have arrived.
    assert_eq!(bed.row().seq, last);
    let script = script.lock().unwrap();
    assert!(script.connections.len() >= rounds, "{} connections", script.connections.len());
    let lost = bed.records("sink.lost");
    assert!(lost.is_empty(), "{lost:?}");
    println!("{} connections, {} messages of {last}", script.connections.len(), script.messages.len());
    assert_all(&script.connections, last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_over_a_hundred_broken_connections() {
    let (port, script) = syslog(None).await;
    campaign(&Bed::new(), tcp(port), script, 150).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_over_tls() {
    let bed = Bed::new();
    let (ca, acceptor) = certificate(bed.directory.path());
    let (port, script) = syslog(Some(acceptor)).await;
    let kind = Kind::SyslogTls { host: "localhost".to_owned(), port, ca: Some(ca) };
    campaign(&bed, kind, script, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_nobody_vouches_for_gets_nothing() {
    let bed = Bed::new();
    let (_, acceptor) = certificate(bed.directory.path());
    let other = tempfile::tempdir().unwrap();
    let (ca, _) = certificate(other.path());
    let (port, script) = syslog(Some(acceptor)).await;
    let kind = Kind::SyslogTls { host: "localhost".to_owned(), port, ca: Some(ca) };
    let sinks = bed.start(kind);
    bed.record(5).await;
    eventually("it is told", || !bed.records("alert.raised").is_empty()).await;
    let told = &bed.records("alert.raised")[0];
    assert_eq!((&told["rules"][0], &told["object"]), (&"sink.failed".into(), &"sink".into()));
    assert!(told["reason"].as_str().unwrap().contains("certificate"), "{told}");
    let health = bed.log.health();
    assert!(health.sinks[0].problem.as_ref().unwrap().contains("certificate"), "{health:?}");
    assert!(health.sinks[0].behind >= 5 && health.sinks[0].since.is_some() && health.healthy);
    sinks.end().await;
    assert!(script.lock().unwrap().messages.is_empty());
    assert_eq!(bed.records("alert.raised").len(), 1, "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_idle_connections_gets_nothing_twice() {
    let bed = Bed::new();
    let (port, script) = syslog(None).await;
    let sinks = bed.start(tcp(port));
    let idle = Duration::from_millis(150);
    for round in 1..=10 {
        script.lock().unwrap().faults.push_back(Fault::Idle(idle));
        bed.record(7).await;
        bed.delivered().await;
        assert_eq!(bed.log.durable(), round * 7);
        tokio::time::sleep(idle * 4).await;
    }
    sinks.end().await;
    let script = script.lock().unwrap();
    assert_eq!((script.messages.len(), script.connections.len()), (70, 10));
    assert_all(&script.connections, 70);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_where_it_was() {
    let bed = Bed::new();
    let (port, script) = syslog(None).await;
    for round in 1..=3 {
        let sinks = bed.start(tcp(port));
        bed.record(100).await;
        bed.delivered().await;
        sinks.end().await;
        assert_eq!(bed.row().seq, round * 100);
    }
    assert_eq!(script.lock().unwrap().messages.len(), 300);
    assert_all(&script.lock().unwrap().connections, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_asked_for_is_sent_and_the_rest_is_passed() {
    let bed = Bed::new();
    let (port, script) = syslog(None).await;
    let mut wanted = settings("sink", tcp(port));
    wanted.events = vec!["key.*".to_owned(), "daemon.stopped".to_owned()];
    let sinks = bed.start_all(&[wanted]);
    for event in [Event::KeyRetired, Event::DaemonStarted, Event::DaemonStopped, Event::JwtDenied] {
        bed.log.append(vec![Entry::new(event, Outcome::Success)]).unwrap().durable().await.unwrap();
    }
    bed.record(300).await;
    bed.delivered().await;
    sinks.end().await;
    assert_eq!(bed.row().seq, 304);
    assert_eq!(script.lock().unwrap().connections, [[1, 3]]);
}
