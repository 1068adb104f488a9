//! What verifiers are given, over the public socket and as files for a web server; and that nothing signs, or goes on
//! signing, but what they say.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::{Connection, Daemon, JWSD, Response, Site, eventually};
use jsonwebtoken::decode_header;
use jwsd::admin::{Admin, AdminError, By};
use jwsd::audit;
use jwsd::backend::Settings;
use jwsd::clock::{Clock, SystemClock};
use jwsd::daemon::{self, Foundation};
use serde_json::{Value, json};

const JWKS: &str = "/.well-known/jwks.json";
const CONFIGURATION: &str = "/.well-known/openid-configuration";

fn get(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> Response {
    Connection::open(&daemon.socket("public.sock")).unwrap().request("GET", path, headers, "").unwrap()
}

fn kids(set: &[u8]) -> BTreeSet<String> {
    let set: Value = serde_json::from_slice(set).unwrap();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// A key that turns every few seconds, and files.
fn turning() -> Site {
    let mut site = Site::new();
    site.limits = "jwks_max_age = \"1s\"".into();
    site.extra = format!(
        "[key.access.rotation]\nevery = \"4s\"\npublish_ahead = \"1s\"\n[publish]\ndir = {:?}\n",
        site.path("public")
    );
    site.write_config();
    site
}

/// A file of the only issuer.
fn file(site: &Site, name: &str) -> PathBuf {
    site.path("public/issuer.test/.well-known").join(name)
}

#[test]
fn one_issuer_is_described_alike_on_the_socket_and_in_files() {
    let mut site = Site::new();
    site.extra = format!("[publish]\ndir = {:?}\n", site.path("public"));
    site.write_config();
    let daemon = site.start();
    let described = get(&daemon, CONFIGURATION, &[]);
    assert_eq!((described.status, described.header("content-type")), (200, Some("application/json")));
    assert_eq!(
        described.json(),
        json!({
            "issuer": "https://issuer.test",
            "jwks_uri": "https://issuer.test/.well-known/jwks.json",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    );
    let set = get(&daemon, JWKS, &[]);
    assert_eq!((set.status, set.header("content-type")), (200, Some("application/jwk-set+json")));
    for (path, answer) in [(CONFIGURATION, &described), (JWKS, &set)] {
        assert_eq!(answer.header("cache-control"), Some("public, must-revalidate, max-age=300"), "{path}");
        let tag = answer.header("etag").unwrap();
        for seen in [tag.to_owned(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let again = get(&daemon, path, &[("If-None-Match", &seen)]);
            assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(tag)), "{seen}");
        }
        assert_eq!(get(&daemon, path, &[("If-None-Match", "\"other\"")]).body, answer.body);
        let posted = Connection::open(&daemon.socket("public.sock")).unwrap().post(path, "{}").unwrap();
        assert_eq!((posted.status, posted.header("allow")), (405, Some("GET")), "{path}");
    }
    for unknown in [
        "/t/.well-known/jwks.json",
        "/t/.well-known/openid-configuration",
        "/.well-known/x",
        "//.well-known/jwks.json",
    ] {
        let answer = get(&daemon, unknown, &[]);
        assert_eq!((answer.status, answer.code().as_str()), (404, "route.unknown"), "{unknown}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("issuer.test"));
    }
    let signed =
        Connection::open(&daemon.socket("sign.sock")).unwrap().request("GET", JWKS, &[], "").unwrap();
    assert_eq!(signed.status, 404, "only the public socket has it");

    for (path, answer) in [
        (file(&site, "openid-configuration"), &described),
        (file(&site, "jwks.json"), &set),
        (site.path("public/jwks.json"), &set),
    ] {
        assert_eq!(fs::read(&path).unwrap(), answer.body, "{}", path.display());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o7777, 0o755);
    }
}

#[test]
fn several_issuers_are_told_apart_by_path_and_then_by_the_name_that_a_proxy_gives() {
    let mut site = Site::with_keys(&[("access", "ES256"), ("other", "RS256")]);
    let profile = |name: &str, key: &str, issuer: &str| {
        format!(
            "[profile.{name}]\nkey = {key:?}\ntyp = \"{name}+jwt\"\nissuer = {issuer:?}\naudiences = [\"a\"]\n\
             lifetime = {{ default = \"1m\", max = \"1m\" }}\n"
        )
    };
    site.extra = [
        profile("partner", "access", "https://partner.test:8443/"),
        profile("tenant", "other", "https://issuer.test/tenants/one"),
        profile("robot", "other", "robot"),
        format!("[publish]\ndir = {:?}\njwks_uri = \"https://cdn.test/keys\"\n", site.path("public")),
    ]
    .concat();
    site.write_config();
    let daemon = site.start();
    let forwarded = |path: &str, host: &str| get(&daemon, path, &[("X-Forwarded-Host", host)]);
    let issuer = |answer: Response| {
        assert_eq!((answer.status, answer.header("vary")), (200, Some("x-forwarded-host")));
        let document = answer.json();
        assert_eq!(document["jwks_uri"], "https://cdn.test/keys");
        (document["issuer"].clone(), document["id_token_signing_alg_values_supported"].clone())
    };
    // Both keys have a profile with the first issuer.
    let first = (json!("https://issuer.test"), json!(["ES256", "RS256"]));
    assert_eq!(issuer(forwarded(CONFIGURATION, "Issuer.test")), first);
    let partner = forwarded(CONFIGURATION, "partner.test:8443");
    assert_eq!(issuer(partner.clone()), (json!("https://partner.test:8443/"), json!(["ES256"])));
    for host in ["partner.test", "localhost", "robot", "issuer.test, partner.test:8443", "../partner.test"] {
        assert_eq!(forwarded(CONFIGURATION, host).status, 404, "{host}");
    }
    let twice = [("X-Forwarded-Host", "issuer.test"), ("X-Forwarded-Host", "partner.test:8443")];
    assert_eq!(get(&daemon, CONFIGURATION, &twice).status, 404);
    assert_eq!(get(&daemon, CONFIGURATION, &[]).status, 404);
    let tenant = get(&daemon, "/tenants/one/.well-known/openid-configuration", &[]);
    assert_eq!(issuer(tenant), (json!("https://issuer.test/tenants/one"), json!(["RS256"])));

    let set = get(&daemon, JWKS, &[]).body;
    assert_eq!(kids(&set).len(), 2);
    assert_eq!(get(&daemon, "/tenants/one/.well-known/jwks.json", &[]).body, set);
    for place in [
        "",
        "issuer.test/.well-known/",
        "partner.test_8443/.well-known/",
        "issuer.test/tenants/one/.well-known/",
    ] {
        assert_eq!(fs::read(site.path("public").join(place).join("jwks.json")).unwrap(), set, "{place}");
    }
    assert_eq!(
        fs::read(site.path("public/partner.test_8443/.well-known/openid-configuration")).unwrap(),
        partner.body
    );
    assert_eq!(fs::read_dir(site.path("public")).unwrap().count(), 3);
    // What an older configuration left is told, and stays.
    drop(daemon);
    site.extra = site.extra.replace("partner.test:8443", "partner.test");
    site.write_config();
    let daemon = site.start();
    assert!(daemon.log().contains("partner.test_8443"), "{}", daemon.log());
    assert!(site.path("public/partner.test_8443/.well-known/jwks.json").exists());
}

#[test]
fn files_show_a_key_before_it_signs_and_follow_it_to_its_end() {
    let site = turning();
    let daemon = site.start();
    let (mut signed, mut shown) = (BTreeSet::new(), BTreeSet::new());
    eventually("three versions have signed", || {
        // Read before the JWT is made: what signs it is in there.
        let set = fs::read(file(&site, "jwks.json")).unwrap();
        let jwt = daemon.sign("access").jwt();
        let kid = decode_header(jwt).unwrap().kid.unwrap();
        assert!(kids(&set).contains(&kid), "{kid} signs and is not in the files");
        shown.extend(kids(&set));
        signed.insert(kid);
        signed.len() >= 3
    });
    assert!(shown.is_superset(&signed));
    let set = get(&daemon, JWKS, &[]).body;
    assert!(kids(&set).is_superset(&signed), "their JWTs are valid still");
    let problem = &daemon.status()["published"];
    assert_eq!(problem["problem"], Value::Null);
    assert!(problem["keys"].as_u64().unwrap() >= 3);
}

#[test]
fn no_key_signs_that_the_files_do_not_show() {
    let site = turning();
    let daemon = site.start();
    let first = kids(&fs::read(file(&site, "jwks.json")).unwrap());
    // Tests may run as root, who may write anywhere: a link in the way is refused for everybody.
    fs::rename(site.path("public"), site.path("away")).unwrap();
    symlink(site.path("away"), site.path("public")).unwrap();
    eventually("readiness tells it", || get(&daemon, "/readyz", &[]).status == 503);
    let reasons = get(&daemon, "/readyz", &[]).json()["reasons"].clone();
    assert_eq!(reasons, json!(["the published files are not up to date"]));
    let problem = daemon.status()["published"]["problem"].as_str().unwrap().to_owned();
    assert!(problem.contains("public is a symbolic link"), "{problem}");
    eventually("it was time to turn", || daemon.log().contains("Key not turned"));
    for _ in 0..20 {
        let kid = decode_header(daemon.sign("access").jwt()).unwrap().kid.unwrap();
        assert!(first.contains(&kid), "{kid} signs and is not in the files");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(daemon.log().contains("Published files are behind"));
    // What came before the link is not meant; from the end on nothing was published, so what signs is the last.
    let records = daemon.records();
    let of = |event: &str| records.iter().filter(|record| record["event"] == event).count();
    assert_eq!(of("key.activated"), of("key.published"), "published without its files");

    fs::remove_file(site.path("public")).unwrap();
    fs::rename(site.path("away"), site.path("public")).unwrap();
    eventually("the next version signs", || {
        let kid = decode_header(daemon.sign("access").jwt()).unwrap().kid.unwrap();
        !first.contains(&kid)
    });
    assert_eq!(get(&daemon, "/readyz", &[]).status, 200);
    assert!(daemon.log().contains("Published files are up to date again"));
}

/// The daemon's own parts, without its sockets.
struct Inside {
    admin: Admin,
    foundation: Foundation,
    log: audit::Log,
}

impl Inside {
    async fn open(site: &Site) -> Self {
        let mut config = jwsd::config::load(&site.config_path()).unwrap();
        for settings in config.backends.values_mut() {
            if let Settings::Pkcs11(settings) = settings {
                settings.program = JWSD.into();
            }
        }
        let log = daemon::open_log(&config).unwrap();
        let store = daemon::open_store(&config).unwrap();
        let (notify, _events) = tokio::sync::mpsc::unbounded_channel();
        let foundation = Foundation::open(&config, store, notify).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let admin = daemon::admin(&config, &foundation, &log, &clock);
        admin.refresh().await.unwrap();
        Self { admin, foundation, log }
    }
    fn shown(&self) -> BTreeSet<String> {
        kids(&self.admin.keyring.ring().key_set().document().body())
    }
    async fn close(self) {
        self.foundation.close().await;
        self.log.close().await;
    }
}

#[test]
fn a_revoked_key_leaves_the_files_and_files_do_not_hold_a_revocation_up() {
    let site = turning();
    let files = || kids(&fs::read(file(&site, "jwks.json")).unwrap());
    daemon::runtime().unwrap().block_on(async {
        let inside = Inside::open(&site).await;
        let admin = &inside.admin;
        let first = files();
        let by = By::DAEMON;
        let second = admin.generate(&by, "access").await.unwrap();
        assert!(files().contains(&second));
        let revoked = admin.revoke(&by, "access", None, None).await.unwrap();
        assert!(first.contains(&revoked));
        assert_eq!(files(), BTreeSet::from([second.clone()]));

        // The second signs now. It is revoked while nothing can be written.
        fs::rename(site.path("public"), site.path("away")).unwrap();
        symlink(site.path("away"), site.path("public")).unwrap();
        let third = admin.generate(&by, "access").await.unwrap_err();
        assert!(matches!(third, AdminError::Unpublished { .. }), "{third:?}");
        assert_eq!(inside.shown().len(), 2, "the socket shows it");
        assert_eq!(admin.revoke(&by, "access", None, None).await.unwrap(), second);
        assert!(!inside.shown().contains(&second));
        let problems = admin.key("access").await.unwrap().problems;
        let told = |problem: &String| problem.contains("may still serve a version that was revoked");
        assert!(problems.iter().any(told), "{problems:?}");
        let ring = admin.keyring.ring();
        assert!(ring.active("access").is_none(), "the files do not show the next one");
        assert_eq!(files_at(&site, "away"), BTreeSet::from([second.clone()]), "nothing can be done about it");

        fs::remove_file(site.path("public")).unwrap();
        fs::rename(site.path("away"), site.path("public")).unwrap();
        admin.refresh().await.unwrap();
        assert_eq!(files(), inside.shown());
        assert!(!files().contains(&second) && admin.publisher().fault().is_none());
        // Only the version that was meant.
        let other = admin.activate(&by, "access", Some(&second), false).await;
        assert!(matches!(other, Err(AdminError::Unknown { what: "version", .. })), "{other:?}");
        let third = admin.activate(&by, "access", None, false).await.unwrap();
        let other = admin.retire(&by, "access", Some(&second)).await;
        assert!(matches!(other, Err(AdminError::Unknown { what: "version", .. })), "{other:?}");
        assert!(files().contains(&third));
        inside.close().await;
    });
}

fn files_at(site: &Site, directory: &str) -> BTreeSet<String> {
    kids(&fs::read(site.path(directory).join("issuer.test/.well-known/jwks.json")).unwrap())
}

/// The chain about the key of a JWK: nobody signs anything here, so what the certificate's issuer signed is another key.
fn chain_about(key: &Value) -> String {
    let mut blocks = pem::parse_many(include_str!("publish/chain.pem")).unwrap();
    let mut own = blocks[0].contents().to_vec();
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    // BIT STRING of 66 bytes, none of its last bits unused.
    let at = own.windows(4).position(|window| window == [0x03, 0x42, 0x00, 0x04]).unwrap() + 3;
    own[at..at + 65].copy_from_slice(&point);
    blocks[0] = pem::Pem::new("CERTIFICATE", own);
    pem::encode_many(&blocks)
}

#[test]
fn a_certificate_is_shown_with_the_key_that_it_is_about() {
    let site = Site::new();
    let path = site.path("access.pem");
    let write = |text: &str| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    };
    // As it is, it is about a key that is not here.
    write(include_str!("publish/chain.pem"));
    let config = fs::read_to_string(site.config_path()).unwrap();
    let with = format!("algorithm = \"ES256\"\ncertificates = [{path:?}]");
    fs::write(site.config_path(), config.replace("algorithm = \"ES256\"", &with)).unwrap();
    daemon::runtime().unwrap().block_on(async {
        let inside = Inside::open(&site).await;
        let shown = || {
            let set = inside.admin.keyring.ring().key_set().document().body();
            serde_json::from_slice::<Value>(&set).unwrap()["keys"][0].clone()
        };
        let before = shown();
        assert_eq!(before.get("x5c"), None);
        let chain = chain_about(&before);
        write(&chain);
        inside.admin.refresh().await.unwrap();
        let ders: Vec<String> =
            pem::parse_many(&chain).unwrap().iter().map(|block| STANDARD.encode(block.contents())).collect();
        assert_eq!(shown()["x5c"], json!(ders));
        assert_eq!(shown()["kid"], before["kid"]);
        // What cannot be read any more is shown as it was read last.
        write("");
        inside.admin.refresh().await.unwrap();
        assert_eq!(shown()["x5c"], json!(ders));
        inside.close().await;
    });
    // At a start it is a fault, and the file is named.
    let failed = site.start_with(std::process::Command::new(JWSD)).err().unwrap();
    assert!(failed.contains("78") && failed.contains("access.pem holds no certificate"), "{failed}");
    let daemon = {
        fs::remove_file(&path).unwrap();
        let config = fs::read_to_string(site.config_path()).unwrap();
        fs::write(site.config_path(), config.replace(&with, "algorithm = \"ES256\"")).unwrap();
        let daemon = site.start();
        let chain = chain_about(&daemon.key_set()["keys"][0]);
        drop(daemon);
        write(&chain);
        fs::write(site.config_path(), config).unwrap();
        site.start()
    };
    let key = daemon.key_set()["keys"][0].clone();
    assert_eq!(key["x5c"].as_array().unwrap().len(), 2);
    let own = STANDARD.decode(key["x5c"][0].as_str().unwrap()).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &own);
    assert_eq!(key["x5t#S256"], URL_SAFE_NO_PAD.encode(digest));
    assert!(!daemon.log().contains("Certificate is of little use"), "{}", daemon.log());
}

#[test]
fn a_longer_time_that_verifiers_were_told_counts_after_a_restart() {
    let mut site = Site::new();
    let daemon = site.start();
    let told = get(&daemon, JWKS, &[]).header("cache-control").unwrap().to_owned();
    assert!(told.ends_with("max-age=300"), "{told}");
    daemon.stop();
    site.limits = "jwks_max_age = \"1s\"".into();
    site.write_config();
    daemon::runtime().unwrap().block_on(async {
        let inside = Inside::open(&site).await;
        let rotation = &inside.admin.loader.keys["access"].rotation;
        assert_eq!(rotation.cache, std::time::Duration::from_secs(300));
        inside.close().await;
    });
}
