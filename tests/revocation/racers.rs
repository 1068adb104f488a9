//! Many who use up the same JWT at once: one of them may. One daemon here; two on one state come with a shared state.

use std::sync::{Barrier, Mutex};
use std::thread;

use serde_json::json;

use super::bed::{Jwt, site};
use crate::common::rounds;

const RACERS: usize = 64;

#[test]
fn racers() {
    let rounds = rounds(20);
    let mut site = site();
    site.limits = "connections_per_uid = 80\nconnection_age = \"24h\"\n".to_owned();
    site.write_config();
    let daemon = site.start();
    let (start, end) = (Barrier::new(RACERS + 1), Barrier::new(RACERS + 1));
    let (question, winners) = (Mutex::new(String::new()), Mutex::new(Vec::new()));
    let faults = Mutex::new(Vec::new());
    let mut signing = daemon.connect();
    let request = crate::common::good("access").to_string();
    let mut wrong = Vec::new();
    thread::scope(|scope| {
        for racer in 0..RACERS {
            let mut connection = daemon.connect();
            let (start, end, question, winners, faults) = (&start, &end, &question, &winners, &faults);
            scope.spawn(move || {
                for _ in 0..rounds {
                    start.wait();
                    let body = question.lock().unwrap().clone();
                    // One in four within a batch, as the second question of it.
                    let answer = if racer % 4 == 0 {
                        let batch = format!(r#"{{"tokens":[{{"token":"x"}},{body}]}}"#);
                        connection.post("/v1/introspect/batch", &batch)
                    } else {
                        connection.post("/v1/introspect", &body)
                    };
                    // Never panics here: the others would wait for this one for ever.
                    let text = answer.map(|answer| String::from_utf8_lossy(&answer.body).into_owned());
                    match text {
                        Ok(text) if text.ends_with(r#"{"active":false}"#) => {}
                        Ok(text) if text.ends_with(r#"{"active":false}]}"#) => {}
                        Ok(text) if text.contains(r#"{"active":true,"#) => {
                            winners.lock().unwrap().push(racer)
                        }
                        other => faults.lock().unwrap().push(format!("{other:?}")),
                    }
                    end.wait();
                }
            });
        }
        for round in 0..rounds {
            let jwt = Jwt::from(&signing.post("/v1/sign", &request).unwrap());
            *question.lock().unwrap() = json!({ "token": jwt.token, "replay": "once" }).to_string();
            start.wait();
            end.wait();
            let won = std::mem::take(&mut *winners.lock().unwrap());
            if won.len() != 1 {
                wrong.push((round, won));
            }
        }
    });
    println!(
        "racers: {rounds} rounds of {RACERS} racers on one daemon, {} without exactly one winner",
        wrong.len()
    );
    let faults = faults.into_inner().unwrap();
    assert!(wrong.is_empty() && faults.is_empty(), "{wrong:?} {:?}", faults.first());
}
