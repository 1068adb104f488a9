//! The command line as its users meet it: exit codes, messages, and a whole round of signing and verifying.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use common::{JWSD, Site};

fn run(arguments: &[&str]) -> Output {
    Command::new(JWSD).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn wrong_usage_is_64_and_help_teaches() {
    for arguments in
        [&[][..], &["serv"], &["serve", "--nonsense"], &["sign"], &["sign", "--profile", "p", "--claim", "x"]]
    {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    let help = run(&["help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in ["serve", "dev", "check", "sign", "verify", "keys", "audit", "Exit codes"] {
        assert!(text(&help.stdout).contains(word), "the help lacks {word}");
    }
    assert!(!text(&help.stdout).contains("pkcs11-worker"), "the worker is not for people");
    assert!(text(&run(&["sign", "--help"]).stdout).contains("Example:"));
}

#[test]
fn manuals_are_made_from_the_code() {
    let schema: serde_json::Value = serde_json::from_slice(&run(&["schema"]).stdout).unwrap();
    assert!(schema["properties"]["profile"].is_object());
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(&run(&["completions", shell]).stdout).contains("clear-pin"), "{shell}");
    }
    let directory = tempfile::tempdir().unwrap();
    assert!(run(&["man", directory.path().to_str().unwrap()]).status.success());
    for page in ["jwsd.1", "jwsd-sign.1", "jwsd-keys-generate.1", "jwsd-audit-verify.1"] {
        let page = fs::read_to_string(directory.path().join(page)).unwrap_or_else(|e| panic!("{page}: {e}"));
        assert!(page.contains(".SH NAME"));
    }
    assert_eq!(run(&["man", "/nonexistent"]).status.code(), Some(77));
}

#[test]
fn a_configuration_is_checked() {
    let site = Site::new();
    let path = site.config_path();
    let path = path.to_str().unwrap();
    let good = run(&["check", path]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    assert!(text(&good.stdout).contains("jwks_max_age"), "defaults are shown");

    let written = fs::read_to_string(path).unwrap();
    let faulty = written.replace("key = \"access\"", "key = \"acess\"").replace("environment", "enviroment");
    fs::write(path, faulty).unwrap();
    let bad = run(&["check", path]);
    assert_eq!(bad.status.code(), Some(78));
    let said = text(&bad.stderr);
    assert!(said.contains("profile.access.key") && said.contains("enviroment"), "all faults at once: {said}");
    assert_eq!(run(&["serve", "--config", path]).status.code(), Some(78));

    fs::write(path, written).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(run(&["check", path]).status.code(), Some(77), "others could have changed it");
    assert_eq!(run(&["check", "/nonexistent.toml"]).status.code(), Some(78));
}

#[test]
fn a_daemon_that_cannot_start_says_why() {
    let mut site = Site::new();
    let serve = |site: &Site| {
        let log = site.start_with(Command::new(JWSD)).err().expect("it does not start");
        assert!(!log.contains("panicked"), "{log}");
        log
    };
    site.module = "/usr/lib/no-such-module.so".into();
    site.write_config();
    let log = serve(&site);
    assert!(log.contains("exit status: 69") && log.contains("no-such-module"), "{log}");

    site.module = common::SOFTHSM.into();
    site.write_config();
    let changed = fs::read_to_string(site.config_path()).unwrap().replace("ES256", "RS256");
    fs::write(site.config_path(), changed).unwrap();
    let log = serve(&site);
    assert!(log.contains("a version never changes"), "{log}");

    site.write_config();
    let rootless = fs::read_to_string(site.config_path()).unwrap().replace("allow_root = true", "");
    fs::write(site.config_path(), rootless).unwrap();
    if nix::unistd::geteuid().is_root() {
        let log = serve(&site);
        assert!(log.contains("exit status: 77") && log.contains("allow_root"), "{log}");
    }

    site.write_config();
    fs::set_permissions(site.path("pin"), fs::Permissions::from_mode(0o644)).unwrap();
    let log = serve(&site);
    assert!(log.contains("exit status: 77") && log.contains("/pin"), "{log}");
    fs::set_permissions(site.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();

    let daemon = site.start();
    let second = run(&["serve", "--config", site.config_path().to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(69));
    assert!(text(&second.stderr).contains("in use by another daemon"), "{}", text(&second.stderr));
    assert_eq!(daemon.sign("access").status, 200, "the first daemon is not disturbed");
}

#[test]
fn signing_and_verifying() {
    let site = Site::new();
    let daemon = site.start();
    let (sign, public) = (daemon.socket("sign.sock"), daemon.socket("public.sock"));
    let (sign, public) = (sign.to_str().unwrap(), public.to_str().unwrap());
    let base =
        ["sign", "--socket", sign, "--profile", "access", "--claim", "sub=alice", "--claim", "client_id=web"];
    let with = |more: &[&str]| run(&[&base[..], more].concat());

    let signed = with(&["--aud", "https://api.test", "--claim-json", "groups=[\"a\"]", "--ttl", "90s"]);
    assert_eq!(signed.status.code(), Some(0), "{}", text(&signed.stderr));
    let jwt = text(&signed.stdout).trim().to_owned();
    let verified = run(&["verify", "--socket", public, "--issuer", "https://issuer.test", &jwt]);
    let claims: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(claims["groups"], serde_json::json!(["a"]));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 90);

    let mut broken = jwt.clone().into_bytes();
    let middle = broken.len() - 20;
    broken[middle] = if broken[middle] == b'A' { b'B' } else { b'A' };
    let broken = String::from_utf8(broken).unwrap();
    let cases: [(&[&str], &str); 8] = [
        (&["verify", "--socket", public, &broken], "signature"),
        (&["verify", "--socket", public, "--audience", "https://other.test", &jwt], "audience"),
        (&["verify", "--socket", public, "--issuer", "https://evil.test", &jwt], "issuer"),
        (&["verify", "--socket", public, "--typ", "JWT", &jwt], "typ"),
        (&["verify", "--socket", public, "a.b"], "compact form"),
        (&["verify", "--socket", public, "e30.e30.e30.e30.e30"], "decrypt it with the recipient's key"),
        (&["verify", "--socket", public, &format!("{jwt}~WyJhIiwiYiIsMV0~")], "belongs to no digest"),
        (&["verify", "--socket", public, "eyJhbGciOiJub25lIn0.e30."], "not valid"),
    ];
    for (arguments, word) in cases {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(word), "{arguments:?}: {}", text(&output.stderr));
    }

    let refused = with(&["--claim", "admin=yes"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(
        said.contains("claim.unknown") && said.contains("aud.required") && said.contains("request id"),
        "{said}"
    );
    for (option, value, rule) in
        [("--session", r#"{"expires_at": 1}"#, "life.session"), ("--consent", "{}", "consent.unexpected")]
    {
        let refused = with(&["--aud", "https://api.test", option, value]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(rule), "{}", text(&refused.stderr));
        let unreadable = with(&[option, "{"]);
        assert_eq!(unreadable.status.code(), Some(64));
        assert!(text(&unreadable.stderr).contains("not JSON"), "{}", text(&unreadable.stderr));
    }
    let checked = with(&["--check", "--aud", "https://api.test", "--claim", "role=admin"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked.stdout).contains("BROKEN  claim.enum"), "{}", text(&checked.stdout));
    assert_eq!(run(&["sign", "--socket", "/nonexistent", "--profile", "p"]).status.code(), Some(69));
}

#[test]
fn keys_are_listed_and_the_next_one_is_made_once() {
    let site = Site::new();
    let path = site.config_path();
    let path = path.to_str().unwrap();
    assert_eq!(run(&["keys", "generate", "--config", path, "other"]).status.code(), Some(78));

    let rows = |more: &[&str]| -> Vec<serde_json::Value> {
        serde_json::from_slice(&run(&[&["keys", "list", "--json"], more].concat()).stdout).unwrap()
    };
    let listed = rows(&["--config", path]);
    assert_eq!(listed[0]["key"], "access");
    assert_eq!(listed[0]["problems"], serde_json::json!([]));
    assert_eq!((&listed[0]["state"], &listed[0]["version"]["signatures"]), (&"active".into(), &0.into()));
    let table = text(&run(&["keys", "list", "--config", path]).stdout);
    assert!(table.starts_with("KEY") && table.contains("ES256"), "{table}");
    assert!(table.contains("    token test (serial ") && table.contains("CKA_NEVER_EXTRACTABLE"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
    let shown = text(&run(&["keys", "show", "--config", path, "access"]).stdout);
    let kid = listed[0]["kid"].as_str().unwrap();
    for word in [kid, "name        pkcs11:token=test;", "CKA_SENSITIVE", "activated   20", "problems    none"]
    {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    assert_eq!(text(&run(&["keys", "show", "--config", path, &kid[..8]]).stdout), shown, "by its beginning");
    assert_eq!(run(&["keys", "show", "--config", path, "other"]).status.code(), Some(78));

    // Without a daemon, in its place; with one, by it; and only one version is prepared at a time.
    let next = run(&["keys", "generate", "--config", path, "access"]);
    let said = text(&next.stdout);
    assert!(
        next.status.success() && said.contains("`jwsd keys rotate access` has it sign from 20"),
        "{said}"
    );
    let again = run(&["keys", "generate", "--config", path, "access"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("is prepared already"), "{}", text(&again.stderr));
    let daemon = site.start();
    let again = run(&["keys", "generate", "--config", path, "access"]);
    assert_eq!(again.status.code(), Some(1));
    let said = text(&again.stderr);
    assert!(said.contains("is prepared already") && said.contains("request id"), "{said}");
    assert_eq!(run(&["keys", "generate", "--config", path, "other"]).status.code(), Some(78));
    let socket = daemon.socket("admin.sock");
    let listed = rows(&["--socket", socket.to_str().unwrap()]);
    let states: Vec<_> = listed.iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["active", "prepared"], "the daemon says so too, without a PIN");
}

/// Keys that are in the backend already: by name, once, recorded.
#[test]
fn a_key_is_adopted() {
    let mut site = Site::new();
    site.keys.insert("second".to_owned(), "ES256".to_owned());
    site.write_config();
    let path = site.config_path();
    let path = path.to_str().unwrap();
    let adopt = |key: &str, name: &str| run(&["keys", "adopt", "--config", path, key, name]);

    // A second key for the taking: the state forgets where it came from.
    assert!(run(&["keys", "generate", "--config", path, "second"]).status.success());
    let rows = |path: &str| -> Vec<serde_json::Value> {
        serde_json::from_slice(&run(&["keys", "list", "--json", "--config", path]).stdout).unwrap()
    };
    let of = |key: &str| rows(path).into_iter().find(|row| row["key"] == key).unwrap();
    let (access, second) = (of("access"), of("second"));
    let state = site.path("state").join("state.db");
    let database = rusqlite::Connection::open(&state).unwrap();
    assert_eq!(database.execute("DELETE FROM key_versions WHERE key = 'second'", []).unwrap(), 1);
    drop(database);
    let orphan = rows(path).into_iter().find(|row| row["state"] == "orphan").unwrap();
    assert_eq!(orphan["id"], second["id"], "it bears our name and is nobody's");
    assert_eq!(of("second")["state"], "missing");

    let (taken, wanted) = (access["name"].as_str().unwrap(), orphan["name"].as_str().unwrap());
    for (key, name, code, word) in [
        ("other", "00", 78, "has no [key.other]"),
        ("second", "00", 1, "no private key has this name"),
        ("second", taken, 1, "is version"),
    ] {
        let output = adopt(key, name);
        assert_eq!(output.status.code(), Some(code), "{name}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(word), "{name}: {}", text(&output.stderr));
    }
    let adopted = adopt("second", wanted);
    assert!(adopted.status.success(), "{}", text(&adopted.stderr));
    assert!(text(&adopted.stdout).contains(second["kid"].as_str().unwrap()));
    assert!(rows(path).iter().all(|row| row["problems"] == serde_json::json!([])), "{:?}", rows(path));
    let daemon = site.start();
    assert_eq!(daemon.sign("second").status, 200);
    // By the daemon that runs, with the same answers.
    for (name, word) in [("00", "no private key has this name"), (taken, "is version")] {
        let output = adopt("second", name);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(word), "{name}: {}", text(&output.stderr));
    }
    drop(daemon);

    let records = common::records(&site.audit);
    let outcomes: Vec<_> = records.iter().filter(|record| record["event"] == "key.adopted").collect();
    let good: Vec<_> = outcomes.iter().filter(|record| record["outcome"] == "success").collect();
    assert_eq!((outcomes.len(), good.len()), (5, 1), "each attempt: {outcomes:?}");
    assert_eq!(good[0]["kid"], second["kid"]);
}

/// One key in two tokens, the second a copy of the first.
#[test]
fn each_copy_of_a_key_is_listed() {
    let mut site = Site::new();
    let copy =
        Command::new("cp").arg("-a").arg(site.path("tokens")).arg(site.path("copies")).status().unwrap();
    assert!(copy.success());
    let conf = site.path("copies.conf");
    fs::write(
        &conf,
        format!("directories.tokendir = {}\nlog.level = ERROR\n", site.path("copies").display()),
    )
    .unwrap();
    site.holders.push("two".to_owned());
    site.extra = format!(
        "[backend.two]\nkind = \"pkcs11\"\nstart_timeout = \"5s\"\n\
         uri = \"pkcs11:token=test?module-path={}&pin-source=file:{}\"\nenv = {{ SOFTHSM2_CONF = {conf:?} }}\n",
        site.module.display(),
        site.path("pin").display(),
    );
    site.write_config();
    let path = site.config_path();
    let path = path.to_str().unwrap();
    let rows = || -> Vec<serde_json::Value> {
        let output = run(&["keys", "list", "--json", "--config", path]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
    };
    let [first, copy] = &rows()[..] else { panic!("{:?}", rows()) };
    assert_eq!((&first["backend"], &copy["backend"]), (&"hsm".into(), &"two".into()));
    assert_eq!(
        (&first["kid"], &first["id"], &first["problems"]),
        (&copy["kid"], &copy["id"], &copy["problems"])
    );
    assert_eq!(first["problems"], serde_json::json!([]));
    let daemon = site.start();
    assert_eq!(daemon.sign("access").status, 200);
    drop(daemon);

    // The copy is gone, then the token.
    let destroyed = Command::new("find")
        .arg(site.path("copies"))
        .args(["-name", "*.object", "!", "-name", "token.object", "-delete"])
        .status()
        .unwrap();
    assert!(destroyed.success());
    let rows_now = rows();
    assert_eq!(rows_now.len(), 2, "{rows_now:?}");
    assert_eq!(rows_now[0]["problems"], serde_json::json!([]));
    let problem = rows_now[1]["problems"][0].as_str().unwrap();
    assert!(problem.starts_with("missing in two: "), "{problem}");
    let table = text(&run(&["keys", "list", "--config", path]).stdout);
    assert!(table.contains("    ! missing in two: "), "{table}");

    site.extra = site.extra.replace("token=test?", "token=gone?").replace("\"5s\"", "\"1s\"");
    site.write_config();
    let problem = rows()[1]["problems"][0].as_str().unwrap().to_owned();
    assert!(problem.contains("cannot be asked"), "{problem}");
}
