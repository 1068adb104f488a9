//! Reloads under load, half of them broken: the broken ones change nothing, and no request is judged by two policies.
//!
//! Two policies differ in issuer, audience, default and longest lifetime, a claim, the caller's name, its profiles and how
//! many denials are an alert.
//! Whatever an answer and its record show of these must be of one of them, and of the same.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::http::format_request;
use crate::common::{Connection, Daemon, Dice, Response, Site, eventually, rounds};
use crate::follows::claims_of;
use crate::{policy, records_of};

/// What is to be seen together.
struct Side {
    name: &'static str,
    default: i64,
    max: i64,
    /// More denials in a second are an alert.
    denials: u32,
}

const SIDES: [Side; 2] = [
    Side { name: "a", default: 240, max: 900, denials: 1 },
    Side { name: "b", default: 120, max: 300, denials: 2 },
];

impl Side {
    fn other(&self) -> &'static str {
        if self.name == "a" { "b" } else { "a" }
    }

    fn text(&self, site: &Site) -> String {
        let Self { name, default, max, denials } = self;
        let base = site.config_text();
        let (head, _) = base.split_once("[caller.tester]").unwrap();
        let profile = |profile: &str, typ: &str| {
            format!(
                "[profile.{profile}]\nkey = \"access\"\ntyp = \"{typ}\"\nissuer = \"https://{name}.test\"\n\
                 audiences = [\"https://api.{name}.test\"]\n\
                 lifetime = {{ default = \"{default}s\", max = \"{max}s\" }}\n\
                 [profile.{profile}.claims]\nside = {{ required = true, const = \"{name}\" }}\n"
            )
        };
        format!(
            "{head}[key.access]\nbackend = \"hsm\"\nalgorithm = \"ES256\"\n{}{}\
             [misuse]\ndenials = {{ window = \"1s\", warn = {denials} }}\n\
             [caller.of-{name}]\nuser = {}\nprofiles = [\"both\", \"only-{name}\"]\n",
            profile("both", "JWT"),
            profile(&format!("only-{name}"), &format!("{name}+jwt")),
            nix::unistd::geteuid(),
        )
    }

    /// A request that this side grants and the other one denies, or that both know in their own way.
    fn wish(&self, which: u64) -> Value {
        let claims = json!({ "side": self.name });
        match which {
            0 => json!({ "profile": format!("only-{}", self.name), "claims": claims }),
            1 => json!({ "profile": "both", "claims": claims, "ttl": self.max }),
            _ => json!({ "profile": "both", "claims": claims }),
        }
    }

    /// The rules that a wish of the other side breaks here.
    fn breaks(&self, which: u64) -> Vec<String> {
        let rules: &[&str] = match which {
            0 => &["caller.profile"],
            1 if self.name == "b" => &["ttl.max", "claim.const"],
            _ => &["claim.const"],
        };
        rules.iter().map(|rule| (*rule).to_owned()).collect()
    }
}

/// What was asked for, and what came.
struct Told {
    side: usize,
    which: u64,
    request: String,
    /// The JWT's claims, or the violated rules.
    answer: Result<Value, Vec<String>>,
}

fn told(side: usize, which: u64, response: &Response) -> Told {
    let request = response.header("x-request-id").unwrap().to_owned();
    let answer = match response.status {
        200 => Ok(claims_of(response.json()["token"].as_str().unwrap())),
        403 => Err(response.rules()),
        _ => panic!("{response:?}"),
    };
    Told { side, which, request, answer }
}

fn load(daemon: &Daemon, stop: &AtomicBool, seed: u64) -> Vec<Told> {
    let mut connection: Connection = daemon.connect();
    let (mut all, mut turn) = (Vec::new(), seed);
    while !stop.load(Ordering::Relaxed) {
        turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (side, which) = ((turn >> 33) as usize % 2, (turn >> 40) % 3);
        if (turn >> 50) % 8 == 0 {
            // All of a batch are of one side, too.
            let wishes: Vec<Value> = (0..4).map(|item| SIDES[item % 2].wish(2)).collect();
            let body = json!({ "requests": wishes }).to_string();
            let response = connection.post("/v1/sign/batch", &body).unwrap();
            assert_eq!(response.status, 200, "{response:?}");
            let request = response.header("x-request-id").unwrap().to_owned();
            for (item, result) in response.json()["results"].as_array().unwrap().iter().enumerate() {
                let answer = match result["token"].as_str() {
                    Some(jwt) => Ok(claims_of(jwt)),
                    None => {
                        let rules = result["error"]["violations"].as_array().unwrap().iter();
                        Err(rules.map(|one| one["rule"].as_str().unwrap().to_owned()).collect())
                    }
                };
                all.push(Told { side: item % 2, which: 2, request: request.clone(), answer });
            }
        } else {
            let body = SIDES[side].wish(which).to_string();
            let request =
                format_request("POST", "/v1/sign", &[("Content-Type", "application/json")], body.as_bytes());
            // Some begin a moment before they end.
            let (begin, end) = request.split_at(request.len() - 1);
            connection.send(begin).unwrap();
            if turn >> 56 & 1 == 0 {
                thread::sleep(Duration::from_millis(turn >> 57 & 7));
            }
            connection.send(end).unwrap();
            let response = connection.receive().unwrap();
            all.push(told(side, which, &response));
        }
    }
    all
}

/// A file that must not be taken over; gives the mode that it is to have.
fn broken(site: &Site, dice: &mut Dice) -> Option<(String, u32)> {
    let good = SIDES[dice.below(2) as usize].text(site);
    let text = match dice.below(9) {
        0 => String::new(),
        1 => good.replace("environment = \"test\"", "environment = \"other\""),
        2 => good.replace("issuer = \"https://", "issuer = \"https:// "),
        3 => good.replace("profiles = [\"both\",", "profiles = [\"neither\","),
        4 => good.replace("key = \"access\"", "key = \"gone\""),
        5 => good.replace("/sign.sock", "/sign-other.sock"),
        6 => good.chars().take(good.len() * 2 / 3).chain("\n[[[".chars()).collect(),
        7 => return Some((good, 0o666)),
        _ => return None,
    };
    assert_ne!(text, good);
    Some((text, 0o600))
}

#[test]
fn reload() {
    let rounds = rounds(24);
    let mut dice = Dice::new("reload");
    let site = Site::new();
    site.rewrite(&SIDES[0].text(&site));
    let daemon = site.start();
    // Which policy is which side's, by digest.
    let mut digests = vec![policy(&daemon)];
    site.rewrite(&SIDES[1].text(&site));
    digests.push(daemon.reload().json()["policy"].as_str().unwrap().to_owned());
    let (mut now, mut good, mut bad) = (1, 1, 0);
    let stop = AtomicBool::new(false);
    let told = thread::scope(|scope| {
        let loads: Vec<_> = (1..4)
            .map(|seed| {
                let (daemon, stop) = (&daemon, &stop);
                scope.spawn(move || load(daemon, stop, seed))
            })
            .collect();
        for round in 0..rounds {
            if round % 2 == 0 {
                match broken(&site, &mut dice) {
                    Some((text, mode)) => {
                        site.rewrite(&text);
                        fs::set_permissions(site.config_path(), fs::Permissions::from_mode(mode)).unwrap();
                    }
                    None => fs::remove_file(site.config_path()).unwrap(),
                }
                let refused = daemon.reload();
                assert_eq!(refused.status, 409, "round {round}: {refused:?}");
                assert!(!refused.json()["faults"].as_array().unwrap().is_empty());
                bad += 1;
            } else {
                now = 1 - now;
                site.rewrite(&SIDES[now].text(&site));
                if dice.below(5) == 0 {
                    daemon.signal(Signal::SIGHUP);
                    eventually("the signal is heard", || policy(&daemon) == digests[now]);
                } else {
                    let reloaded = daemon.reload();
                    assert_eq!(
                        (reloaded.status, reloaded.json()["policy"].as_str()),
                        (200, Some(&*digests[now]))
                    );
                }
                good += 1;
            }
            // What begins now is judged by what is in force now.
            let (side, which) = (dice.below(2) as usize, dice.below(3));
            let response = daemon.post("/v1/sign", &SIDES[side].wish(which));
            assert_eq!(response.status == 200, side == now, "round {round}: {response:?}");
            assert_eq!(policy(&daemon), digests[now], "round {round}");
        }
        stop.store(true, Ordering::Relaxed);
        loads.into_iter().flat_map(|load| load.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(records_of(&daemon, "policy.refused").len(), bad);
    assert_eq!(records_of(&daemon, "policy.reloaded").len(), good);
    let alerts = records_of(&daemon, "alert.raised");
    assert!(!alerts.is_empty(), "nobody was denied twice in a second");
    for alert in alerts {
        let judge = digests.iter().position(|digest| alert["policy"] == *digest).unwrap();
        assert_eq!(alert["reason"], format!("more than {} in 1 s", SIDES[judge].denials), "{alert}");
        assert_eq!(alert["actor"]["name"], format!("of-{}", SIDES[judge].name), "{alert}");
    }
    let (granted, denied) = judge(&daemon, &told, &digests);
    println!(
        "reload: {rounds} reloads, {bad} of them broken, {granted} JWTs and {denied} denials meanwhile, 0 under mixed policy"
    );
    assert!(granted > 0 && denied > 0);
}

/// Every answer and its record against the side whose digest the record has.
fn judge(daemon: &Daemon, told: &[Told], digests: &[String]) -> (usize, usize) {
    let mut records: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in daemon.records() {
        if let Some(request) = record["request"].as_str() {
            records.entry(request.to_owned()).or_default().push(record);
        }
    }
    let mut granted = 0;
    for Told { side, which, request, answer } in told {
        let records = &records[request];
        let digest = records[0]["policy"].as_str().unwrap();
        assert!(records.iter().all(|record| record["policy"] == digest), "{request}: {records:?}");
        let judge = digests.iter().position(|known| known == digest).unwrap();
        let Side { name, default, max, .. } = &SIDES[judge];
        assert!(records.iter().all(|record| record["actor"]["name"] == format!("of-{name}")), "{records:?}");
        match answer {
            Ok(claims) => {
                granted += 1;
                assert_eq!(judge, *side, "{request}: granted by a policy that knows no such wish");
                assert_eq!(claims["iss"], format!("https://{name}.test"), "{request}");
                assert_eq!(claims["aud"], format!("https://api.{name}.test"), "{request}");
                assert_eq!(claims["side"], *name, "{request}");
                let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
                assert_eq!(life, if *which == 1 { *max } else { *default }, "{request}");
                let issued = records.iter().find(|record| record["jti"] == claims["jti"]).unwrap();
                assert_eq!((&issued["event"], &issued["aud"][0]), (&"jwt.issued".into(), &claims["aud"]));
            }
            Err(rules) => {
                assert_eq!(SIDES[judge].other(), SIDES[*side].name, "{request}: {rules:?}");
                let (mut rules, mut due) = (rules.clone(), SIDES[judge].breaks(*which));
                rules.sort();
                due.sort();
                assert_eq!(rules, due, "{request}");
            }
        }
    }
    (granted, told.len() - granted)
}
