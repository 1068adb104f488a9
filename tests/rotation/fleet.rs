//! Two hosts that share a state and a token: one of them rotates at a time, and both agree on what signs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::common::{Site, records};
use crate::host::{Host, active, config_of};

const TURNS: usize = 4;

#[test]
fn one_host_rotates_and_all_agree() {
    let mut site = Site::new();
    site.limits = "jwks_max_age = \"1s\"".into();
    site.extra = "[key.access.rotation]\nevery = \"2s\"\npublish_ahead = \"1s\"\nkeep = \"0s\"\n".into();
    site.write_config();
    let configs = ["audit-a", "audit-b"].map(|name| {
        let mut config = config_of(&site.config_path());
        config.audit.dir = site.path(name);
        config
    });
    let runtime = jwsd::daemon::runtime().unwrap();
    let seen = runtime.block_on(async {
        let mut hosts = Vec::new();
        for config in &configs {
            hosts.push(Host::start(config, |store| store, |backend| backend).await);
        }
        // By kid: when any host first signed with it, and when one last did.
        let mut seen: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        let began = Instant::now();
        while seen.len() <= TURNS {
            assert!(began.elapsed() < Duration::from_secs(120), "{seen:#?}");
            for host in &hosts {
                let right = host.admin.keyring.enter("access", Timestamp::now(), Duration::from_secs(300));
                let right = right.unwrap_or_else(|error| panic!("a host signs nothing: {error}"));
                let kid = right.version().kid().to_string();
                let set = String::from_utf8(host.admin.keyring.ring().key_set().document().body().to_vec())
                    .unwrap();
                assert!(set.contains(&kid), "signed before it was published here");
                let span = seen.entry(kid).or_insert((right.iat(), right.iat()));
                span.1 = span.1.max(right.iat());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Both have taken over the last change.
        let began = Instant::now();
        while active(&hosts[0].admin) != active(&hosts[1].admin) {
            assert!(began.elapsed() < Duration::from_secs(30), "the hosts do not agree");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for host in hosts {
            host.stop().await;
        }
        seen
    });
    let store = Arc::new(jwsd::state::Store::open(&configs[0].state, "test").unwrap());
    let keys = store.read_keys().unwrap();
    let told: Vec<_> = configs.iter().flat_map(|config| records(&config.audit.dir)).collect();
    let count = |event: &str, kid: &str| {
        told.iter().filter(|r| r["event"] == event && r["kid"] == kid && r["outcome"] == "success").count()
    };
    let made = |kid: &str| count("key.generated", kid);
    for row in keys.versions.iter().skip(1) {
        assert_eq!(made(&row.kid), 1, "{} was made by one host", row.kid);
    }
    // A second one, of the host that came too late, would be in the token and in its records.
    let tries = told.iter().filter(|record| record["event"] == "key.generated").count();
    assert_eq!(tries, keys.versions.len() - 1, "{told:#?}");
    let list = ["keys", "list", "--json", "--config"];
    let listed = site.jwsd(&[&list[..], &[site.config_path().to_str().unwrap()]].concat());
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).unwrap();
    let strangers = rows.iter().filter(|row| row["state"] == "orphan" || row["state"] == "foreign").count();
    assert_eq!((strangers, rows.len()), (0, keys.versions.len()), "{rows:#?}");
    for (kid, (first, last)) in &seen {
        let row = keys.versions.iter().find(|row| row.kid == *kid).unwrap();
        assert!(row.activated.unwrap() <= *first, "{kid} signed before its time");
        assert!(
            row.retired.is_none_or(|retired| *last < retired),
            "{kid} signed after its time: {last} {row:?}"
        );
    }
    println!("fleet: {} versions signed on two hosts, each made by one of them", seen.len());
}
