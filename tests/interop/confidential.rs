//! What the daemon encrypts is opened, and the SD-JWTs that it makes are shown and verified, by others.

use serde_json::{Value, json};
use std::fs;

use crate::common::{Daemon, Site};
use crate::{judged_by_all, keys_of};

const ISSUER: &str = "https://issuer.test";

/// Starts the daemon with profiles of this text besides, which the caller may use.
fn start(site: &mut Site, profiles: &[&str], text: &str) -> Daemon {
    site.extra = text.to_owned();
    site.write_config();
    let config = fs::read_to_string(site.config_path()).unwrap();
    let more = profiles.iter().map(|name| format!("{name:?}, ")).collect::<String>();
    fs::write(site.config_path(), config.replace("\nprofiles = [", &format!("\nprofiles = [{more}")))
        .unwrap();
    site.start()
}

/// Every kind of key with every algorithm and content encryption that goes with it.
#[test]
fn encrypted_jwts_are_opened_by_their_recipients() {
    let Some(keys) = keys_of("recipient") else { return };
    let keys = keys.as_array().unwrap();
    let mut site = Site::new();
    let audience = |index: usize| format!("https://r{index}.test");
    let audiences: Vec<String> = (0..keys.len()).map(audience).collect();
    let mut text = format!(
        "[profile.sealed]\nkey = \"access\"\ntyp = \"sealed+jwt\"\nissuer = {ISSUER:?}\naudiences = {audiences:?}\n\
         lifetime = {{ default = \"5m\", max = \"15m\" }}\nencrypt = \"always\"\nclaims = {{ sub = {{}} }}\n"
    );
    for (index, key) in keys.iter().enumerate() {
        let name = format!("r{index}.json");
        fs::write(site.path(&name), json!({"keys": [key["public"]]}).to_string()).unwrap();
        let (audience, alg, enc) = (audience(index), &key["alg"], &key["enc"]);
        text.push_str(&format!("[recipient.{audience:?}]\njwks = {name:?}\nalg = {alg}\nenc = {enc}\n"));
    }
    let daemon = start(&mut site, &["sealed"], &text);
    let jwes: Vec<Value> = keys
        .iter()
        .enumerate()
        .map(|(index, key)| {
            let want = json!({"profile": "sealed", "claims": {"sub": "alice", "aud": audience(index)}});
            let jwe = daemon.post("/v1/sign", &want).jwt();
            json!({"token": jwe, "private": key["private"], "alg": key["alg"], "enc": key["enc"],
                   "issuer": ISSUER, "audience": audience(index), "typ": "sealed+jwt"})
        })
        .collect();
    assert!(jwes.len() >= 20, "{} keys", jwes.len());
    let document = json!({"jwks": daemon.key_set(), "jwes": jwes}).to_string();
    judged_by_all("recipient", &["open"], &document);
}

#[test]
fn sd_jwts_are_shown_by_their_holders_and_verified() {
    let Some(holders) = keys_of("selective") else { return };
    let [holder, stranger] = &holders.as_array().unwrap()[..] else { panic!("two keys are due") };
    let mut public = holder.clone();
    public.as_object_mut().unwrap().remove("d");
    let algorithms = ["ES256", "PS256", "EdDSA"];
    let keys: Vec<(String, &str)> = algorithms.map(|name| (name.to_lowercase(), name)).into();
    let mut site = Site::with_keys(&keys.iter().map(|(key, name)| (key.as_str(), *name)).collect::<Vec<_>>());
    let (mut text, mut profiles) = (String::new(), Vec::new());
    for (key, _) in &keys {
        let profile = format!("{key}-person");
        text.push_str(&format!(
            "[profile.{profile}]\nkey = {key:?}\ntyp = \"person+sd-jwt\"\nissuer = {ISSUER:?}\n\
             audiences = [\"https://wallet.test\"]\nlifetime = {{ default = \"5m\", max = \"15m\" }}\n\
             sd_jwt = {{ decoys = 2, key_binding = \"optional\" }}\n[profile.{profile}.claims]\nsub = {{}}\ncnf = {{}}\n\
             birthdate = {{ disclosable = true }}\naddress = {{ disclosable = true }}\nnames = {{ disclosable = true }}\n"
        ));
        profiles.push(profile);
    }
    let names: Vec<&str> = profiles.iter().map(String::as_str).collect();
    let daemon = start(&mut site, &names, &text);
    let disclosable =
        json!({"birthdate": "1970-01-01", "address": {"city": "Köln", "lines": ["\"a\"", 1.5, null]}});
    let mut sd_jwts = Vec::new();
    for (profile, algorithm) in names.iter().zip(algorithms) {
        for bound in [false, true] {
            let mut claims = disclosable.clone();
            claims["sub"] = "alice".into();
            if bound {
                claims["cnf"] = json!({"jwk": public});
            }
            let token = daemon.post("/v1/sign", &json!({"profile": profile, "claims": claims})).jwt();
            let socket = daemon.socket("public.sock");
            let ours = site.jwsd(&[
                "verify",
                "--socket",
                socket.to_str().unwrap(),
                "--typ",
                "person+sd-jwt",
                &token,
            ]);
            assert!(ours.status.success(), "{}", String::from_utf8_lossy(&ours.stderr));
            let ours: Value = serde_json::from_slice(&ours.stdout).unwrap();
            assert_eq!((&ours["address"], ours.get("_sd")), (&disclosable["address"], None));
            sd_jwts.push(
                json!({"token": token, "alg": algorithm, "typ": "person+sd-jwt", "always": {"sub": "alice"},
                                "disclosable": disclosable, "holder": bound.then_some(holder)}),
            );
        }
    }
    let document = json!({"jwks": daemon.key_set(), "stranger": stranger, "sd_jwts": sd_jwts}).to_string();
    judged_by_all("selective", &["verify"], &document);
}
