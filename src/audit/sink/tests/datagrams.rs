//! Syslog and journal over Unix datagrams: nothing is lost with a reader that dies.

use super::*;
use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Reads until told to stop; what it read.
fn reader(
    path: &Path,
    seen: &Arc<Mutex<Vec<u64>>>,
    stop: &Arc<AtomicBool>,
    most: usize,
) -> std::thread::JoinHandle<()> {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (seen, stop) = (Arc::clone(seen), Arc::clone(stop));
    std::thread::spawn(move || {
        let mut buffer = vec![0; 128 * 1024];
        let mut read = 0;
        while !stop.load(Ordering::SeqCst) && read < most {
            let Ok(count) = socket.recv(&mut buffer) else { continue };
            let message = &buffer[..count];
            let at = message.windows(7).position(|window| window == b"{\"seq\":").unwrap();
            let line = message[at..].split(|&byte| byte == b'\n').next().unwrap();
            seen.lock().unwrap().push(seq(line));
            read += 1;
        }
    })
}

async fn campaign(kind: fn(PathBuf) -> Kind) {
    let bed = Bed::new();
    let path = bed.path("log.sock");
    let sinks = bed.start(kind(path.clone()));
    let mut dice = Dice::new();
    let stop = Arc::new(AtomicBool::new(false));
    let mut lives = Vec::new();
    for _ in 0..100 {
        bed.record(usize::try_from(dice.below(40)).unwrap() + 1).await;
        // It reads some and dies with the others in its queue.
        let seen = Arc::default();
        let most = usize::try_from(dice.below(60)).unwrap() + 1;
        let life = reader(&path, &seen, &stop, most);
        let start = Instant::now();
        while !life.is_finished() && bed.log.health().sinks[0].behind > 0 && start.elapsed().as_secs() < 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::fs::remove_file(&path).unwrap();
        if life.is_finished() {
            life.join().unwrap();
            lives.push(seen);
            continue;
        }
        stop.store(true, Ordering::SeqCst);
        life.join().unwrap();
        stop.store(false, Ordering::SeqCst);
        lives.push(seen);
    }
    let seen = Arc::default();
    let last = reader(&path, &seen, &stop, usize::MAX);
    lives.push(seen);
    bed.record(5).await;
    bed.delivered().await;
    sinks.end().await;
    stop.store(true, Ordering::SeqCst);
    last.join().unwrap();
    let durable = bed.log.durable();
    assert!(bed.row().seq >= durable - 1, "all but the last one are known to have arrived");
    assert!(bed.records("sink.lost").is_empty());
    let lives: Vec<Vec<u64>> = lives.iter().map(|seen| seen.lock().unwrap().clone()).collect();
    println!("{} of {durable}, over {} readers", lives.iter().flatten().count(), lives.len());
    let seen: BTreeSet<u64> = lives.iter().flatten().copied().collect();
    let missing: Vec<u64> = (1..=durable).filter(|seq| !seen.contains(seq)).collect();
    assert!(missing.is_empty(), "missing {missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_with_a_syslog_daemon_that_dies() {
    campaign(Kind::SyslogUnix).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_with_a_journal_that_dies() {
    campaign(Kind::Journald).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_record_fits_into_a_datagram_in_every_form() {
    let bed = Bed::new();
    let path = bed.path("log.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    // As long as the log takes it, of characters that JSON has to escape.
    let long = |count: usize| Entry {
        attempts: vec!["\"\\".repeat(120); count],
        ..Entry::new(Event::JwtIssued, Outcome::Success)
    };
    let count = (1..).find(|count| bed.log.append(vec![long(count + 1)]).is_err()).unwrap();
    drop(bed.log.append(vec![long(count)]).unwrap());
    let sinks = [Form::Json, Form::Ocsf].map(|form| {
        let mut settings = settings(&format!("{form:?}").to_lowercase(), Kind::Journald(path.clone()));
        settings.form = form;
        settings
    });
    let sinks = bed.start_all(&sinks);
    let reading = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        let mut longest = 0;
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        while let Ok(read) = socket.recv(&mut buffer) {
            longest = longest.max(read);
        }
        longest
    });
    bed.delivered().await;
    sinks.end().await;
    let longest = reading.join().unwrap();
    println!("longest datagram: {longest} bytes");
    assert!(longest > crate::audit::MAX_LINE, "{longest}");
    assert!(bed.records("sink.lost").is_empty());
}
