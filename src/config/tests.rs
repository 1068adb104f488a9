//! Faulty files, what is said of them, and where.

mod checkpoint;
mod faults;
mod profiles;
mod reload;
mod reports;
mod retain;
mod sink;

use super::*;
use crate::admin::ActName;
use crate::backend::pkcs11::{PinSource, TokenSelector};
use crate::backend::{Settings, aws_kms};
use crate::jose::Algorithm;
use crate::profile::{self, Aal, Kind, SessionRule};
use crate::sys::users::Users;
use proptest::prelude::*;
use std::io;
use std::time::Duration;

/// A machine that has `billing` and `jwsd-callers` whatever the real one has.
struct Table;
impl Users for Table {
    fn uid(&self, name: &str) -> io::Result<Option<u32>> {
        match name {
            "billing" => Ok(Some(1001)),
            "broken" => Err(io::Error::other("the directory is down")),
            _ => Ok(None),
        }
    }
    fn gid(&self, name: &str) -> io::Result<Option<u32>> {
        Ok((name == "jwsd-callers").then_some(2001))
    }
}
const LOADER: Loader<'static> = Loader { users: &Table, directory: None, running: None };

/// A good file; tests change single lines of it.
const GOOD: &str = r#"environment = "production"
allow_root = false

[listen]
signing = { path = "/run/jwsd/sign.sock", group = "jwsd-callers" }
admin = { mode = "0600" }
public = {}

[limits]
body = "16KiB"
headers = 32

[audit]
dir = "/var/log/jwsd"

[state]
dir = "/var/lib/jwsd"

[log]
level = "info"

[backend.hsm]
kind = "pkcs11"
module = "/usr/lib/softhsm/libsofthsm2.so"
token = { label = "jwsd" }
pin = { credential = "hsm-pin" }
env = { SOFTHSM2_CONF = "/etc/softhsm2.conf" }

[key.access]
backend = "hsm"
algorithm = "ES256"

[key.rsa]
backend = "hsm"
algorithm = "RS256"
rsa_bits = 3072

[profile.access-token]
key = "access"
typ = "at+jwt"
issuer = "https://login.example.com"
audiences = ["https://api.example.com", "reports"]
lifetime = { default = "5m", max = "15m" }
nbf = false

[profile.access-token.claims]
sub = { required = true, type = "string" }
client_id = { required = true }
scope = { pattern = "[a-z:]+( [a-z:]+)*" }
level = { type = "integer", enum = [1, 2, 3] }

[profile.deploy]
key = "rsa"
typ = "JWT"
issuer = "deploy-robot"
audiences = ["https://ci.example.com"]
lifetime = { default = "2m", max = "10m" }

[caller.billing]
user = "billing"
profiles = ["access-token"]
rate = "200/s"

[caller.deployer]
user = 1002
exe = "/usr/bin/deployer"
unit = "deployer.service"
profiles = ["deploy"]
"#;

#[test]
fn a_good_file_becomes_settings() {
    let config = LOADER.parse(GOOD, "good.toml").unwrap();
    assert_eq!(config.environment, "production");
    assert_eq!(config.signing.gid, Some(2001));
    assert_eq!((config.signing.mode, config.admin.mode, config.public.mode), (0o660, 0o600, 0o666));
    assert_eq!(config.public.path, Path::new("/run/jwsd/public.sock"));
    assert_eq!(config.limits.body, 16384);
    assert_eq!(config.transport.idle, Duration::from_secs(15));
    assert_eq!(config.transport.requests_per_connection, 100_000);
    assert_eq!(config.audit.segment, 64 << 20);
    assert_eq!(config.log.level, "info");
    assert_eq!(config.clock, clock::Mode::Warn);
    let Settings::Pkcs11(backend) = &config.backends["hsm"] else { panic!("it is a PKCS#11 backend") };
    assert_eq!(backend.marker_dir, Path::new("/var/lib/jwsd/pin"));
    assert!(backend.sessions >= 1);
    assert_eq!(config.keys["access"].algorithm, Algorithm::ES256);
    assert_eq!(config.keys["rsa"].rsa_bits, 3072);
    let profile = config.policy.profiles().find(|profile| profile.name.as_str() == "access-token").unwrap();
    assert_eq!(profile.lifetime.max, Duration::from_secs(900));
    let scope = profile.claims["scope"].pattern.as_ref().unwrap();
    assert!(scope.is_match("a:b c"));
    assert!(!scope.is_match("a:b c\n") && !scope.is_match("a1") && !scope.is_match("xx, a"));
    assert_eq!(config.policy.digest().len(), 16);
    let callers = format!("{:?}", config.callers);
    assert!(callers.contains("uid: Some(1001)") && callers.contains("uid: Some(1002)"), "{callers}");
}

#[test]
fn two_operators_need_a_socket_that_lets_both_in() {
    let text = GOOD.replace("admin = { mode = \"0600\" }", "admin = { mode = \"0660\", group = 2001 }")
        + "[admin]\ntwo_person = [\"destroy\", \"activate\"]\ntwo_person_within = \"5m\"\n";
    let config = LOADER.parse(&text, "x").unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.two_person.acts.into_iter().collect::<Vec<_>>(), [ActName::Activate, ActName::Destroy]);
    assert_eq!(config.two_person.within, Duration::from_secs(300));
    assert!(LOADER.parse(GOOD, "x").unwrap().two_person.acts.is_empty(), "nothing needs two by itself");
}

#[test]
fn what_is_described_reads_back_to_the_same() {
    let first = LOADER.describe(GOOD, "good.toml").unwrap();
    let second = LOADER.describe(&first, "described").unwrap_or_else(|faults| panic!("{faults}\n{first}"));
    assert_eq!(first, second);
    let digest = |text| LOADER.parse(text, "x").unwrap().policy.digest().to_owned();
    assert_eq!(digest(GOOD), digest(&first));
    for shown in [
        "sessions = ",
        "batch_body = \"1MiB\"",
        "start_timeout = \"10s\"",
        "path = \"/run/jwsd/admin.sock\"",
        "mode = \"0666\"",
        "audience_form = \"string\"",
    ] {
        assert!(first.contains(shown), "{shown} is not in\n{first}");
    }
}

#[test]
fn the_clock_has_three_modes() {
    for (text, mode) in
        [("strict", clock::Mode::Strict), ("warn", clock::Mode::Warn), ("off", clock::Mode::Off)]
    {
        let file = GOOD.replace("[log]", &format!("[clock]\nmode = {text:?}\n[log]"));
        assert_eq!(LOADER.parse(&file, "x").unwrap().clock, mode);
    }
}

#[test]
fn the_digest_follows_the_policy_and_nothing_else() {
    let digest = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        LOADER.parse(&GOOD.replace(from, to), "x").unwrap().policy.digest().to_owned()
    };
    let same = digest("environment", "environment");
    assert_eq!(same, digest("max = \"15m\"", "max = \"PT900S\""));
    assert_eq!(same, digest("body = \"16KiB\"", "body = \"32KiB\""));
    assert_ne!(same, digest("max = \"15m\"", "max = \"16m\""));
    assert_ne!(same, digest("rate = \"200/s\"", "rate = \"201/s\""));
    assert_ne!(same, digest("user = \"billing\"", "user = 1001"));
    assert_ne!(same, digest("[a-z:]+)*", "[a-z]+)*"));
}

#[test]
fn a_schema_file_is_read_beside_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let with = |schema: &str| GOOD.replace("nbf = false", &format!("schema = {schema:?}"));
    let loader = Loader { directory: Some(directory.path()), ..LOADER };
    write("claims.json", r#"{"required": ["scope"]}"#);
    let config = loader.parse(&with("claims.json"), "x").unwrap();
    let profile = config.policy.profiles().find(|profile| profile.schema.is_some()).unwrap();
    let schema = profile.schema.as_ref().unwrap();
    assert!(schema.is_valid(&serde_json::json!({"scope": "a"})) && !schema.is_valid(&serde_json::json!({})));
    let described = loader.describe(&with("claims.json"), "x").unwrap();
    let elsewhere = LOADER.parse(&described, "y").unwrap();
    assert_eq!(config.policy.digest(), elsewhere.policy.digest());
    write("claims.json", r#"{"required": ["sub"]}"#);
    assert_ne!(config.policy.digest(), LOADER.parse(&described, "y").unwrap().policy.digest());

    let fault = |schema: &str| loader.parse(&with(schema), "x").unwrap_err().faults.remove(0);
    write("broken.json", "{");
    write("far.json", r#"{"$ref": "https://example.com/schema"}"#);
    write("look.json", r#"{"pattern": "(?=a)"}"#);
    for (schema, text) in [
        ("none.json", "No such file"),
        ("broken.json", "is not JSON"),
        ("far.json", "not a usable JSON Schema"),
        ("look.json", "not a usable JSON Schema"),
        ("", "write the absolute path"),
    ] {
        let fault = fault(schema);
        assert_eq!((fault.path.as_str(), fault.line), ("profile.access-token.schema", 44), "{schema}");
        assert!(fault.message.contains(text), "{schema}: {}", fault.message);
    }
    let relative = LOADER.parse(&with("claims.json"), "x").unwrap_err();
    assert!(relative.faults[0].message.contains("write the absolute path"));
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault_of_its_kind() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwsd.toml");
    let missing = load(&path).unwrap_err();
    assert_eq!(missing.kind(), FaultKind::Configuration);
    assert!(missing.to_string().contains("No such file"), "{missing}");
    std::fs::write(&path, "environment = 3").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let open = load(&path).unwrap_err();
    assert_eq!(open.kind(), FaultKind::Permission);
    assert!(open.to_string().contains("chmod go-w"), "{open}");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let wrong = describe_file(&path).unwrap_err();
    assert_eq!((wrong.kind(), wrong.faults[0].line), (FaultKind::Configuration, 1));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    /// Bytes cut out, doubled or replaced anywhere: faults or settings, never a panic, and faults can be shown.
    #[test]
    fn no_mutation_of_a_file_panics(edits in prop::collection::vec((any::<prop::sample::Index>(), 0..30_usize, "\\PC{0,4}|[\\[\\]{}=\"\\n.0-9]{1,3}"), 1..6)) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, length, new) in edits {
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, new.chars());
            text.push('\n');
        }
        let text: String = text.into_iter().collect();
        if let Err(faults) = LOADER.parse(&text, "mutated.toml") {
            prop_assert!(!faults.faults.is_empty());
            let shown = faults.to_string();
            prop_assert!(shown.ends_with("in mutated.toml"));
            let lines = text.split('\n').count();
            prop_assert!(faults.faults.iter().all(|fault| fault.line <= lines));
        }
    }
    /// Values of any type anywhere a key can stand.
    #[test]
    fn no_value_of_any_type_panics(line in 0..70_usize, value in prop::sample::select(vec!["3", "-1", "\"\"", "true", "[]", "{}", "[[1]]", "1.5", "nan", "1979-05-27", "99999999999999999999", "{ x = { y = 1 } }", "\"99999999999h\"", "\"\\u0000\""])) {
        let mut changed = false;
        let text: Vec<String> = GOOD.lines().enumerate().map(|(number, text)| match text.split_once(" = ") {
            Some((key, _)) if number == line => { changed = true; format!("{key} = {value}") }
            _ => text.to_owned(),
        }).collect();
        let result = LOADER.parse(&text.join("\n"), "mutated.toml");
        if let Err(faults) = result {
            prop_assert!(changed, "{}", faults);
            prop_assert!(faults.faults.iter().any(|fault| fault.line == line + 1), "{}", faults);
        }
    }
}

#[test]
fn a_uri_says_what_three_keys_say() {
    let keys = "module = \"/usr/lib/softhsm/libsofthsm2.so\"\ntoken = { label = \"jwsd\" }\npin = { credential = \"hsm-pin\" }";
    let with = |text: &str| {
        assert!(GOOD.contains(keys));
        let config = LOADER.parse(&GOOD.replace(keys, text), "x").unwrap_or_else(|faults| panic!("{faults}"));
        let Settings::Pkcs11(backend) = &config.backends["hsm"] else { panic!("it is a PKCS#11 backend") };
        backend.clone()
    };
    let all = with(
        "uri = \"pkcs11:token=jw%73d;serial=12;manufacturer=Snake%20Oil;model=m?module-path=/lib/p.so&pin-source=file:/etc/pin\"",
    );
    assert_eq!(all.module, Path::new("/lib/p.so"));
    assert_eq!(all.pin, PinSource::File("/etc/pin".into()));
    let text = |text: &str| Some(text.to_owned());
    let token = TokenSelector {
        label: text("jwsd"),
        serial: text("12"),
        manufacturer: text("Snake Oil"),
        model: text("m"),
    };
    assert_eq!(all.token, token);
    let some = with("uri = \"pkcs11:serial=12\"\nmodule = \"/lib/p.so\"\npin = { credential = \"p\" }");
    assert_eq!(some.pin, PinSource::Credential("p".into()));
    assert_eq!((some.token.label, some.token.serial), (None, text("12")));
    for source in ["file:///etc/pin", "/etc/pin"] {
        let uri = format!("uri = \"pkcs11:token=a?module-path=/lib/p.so&pin-source={source}\"");
        assert_eq!(with(&uri).pin, PinSource::File("/etc/pin".into()), "{source}");
    }
}

#[test]
fn a_key_has_one_backend_or_several() {
    let cloud = "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"us-gov-west-1\"\n[audit]";
    let text = GOOD
        .replace("[audit]", cloud)
        .replace("[key.access]\nbackend = \"hsm\"", "[key.access]\nbackends = [\"hsm\", \"cloud\"]");
    let config = LOADER.parse(&text, "x").unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.keys["access"].backends, ["hsm", "cloud"]);
    assert_eq!(config.keys["rsa"].backends, ["hsm"]);
    let Settings::AwsKms(kms) = &config.backends["cloud"] else { panic!("it is a KMS backend") };
    let millis = Duration::from_millis;
    let expected = aws_kms::Settings {
        name: "cloud".to_owned(),
        region: "us-gov-west-1".to_owned(),
        endpoint: None,
        profile: None,
        role: None,
        rate: 240,
        concurrency: 64,
        connect_timeout: millis(300),
        attempt_timeout: millis(1000),
        hedge: true,
        generate: true,
        deletion_days: 30,
    };
    assert_eq!(*kms, expected);
    for endpoint in [
        "https://vpce-1.kms.eu-central-1.vpce.amazonaws.com",
        "http://127.0.0.1:4566",
        "http://[::1]:1",
        "http://localhost:80/",
    ] {
        let line = format!(
            "region = \"eu-central-1\"\nendpoint = {endpoint:?}\nrole = \"arn:aws-cn:iam::111122223333:role/a/jwsd\""
        );
        let text = text.replace("region = \"us-gov-west-1\"", &line);
        LOADER.parse(&text, "x").unwrap_or_else(|faults| panic!("{faults}"));
    }
}

#[test]
fn where_jwsd_may_make_keys_is_said_for_each_backend() {
    let cloud = "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-west-1\"\ngenerate = false\ndeletion_window = \"1w\"\n[audit]";
    let config =
        LOADER.parse(&GOOD.replace("[audit]", cloud), "x").unwrap_or_else(|faults| panic!("{faults}"));
    assert!(config.backends["hsm"].may_generate() && !config.backends["cloud"].may_generate());
    let Settings::AwsKms(kms) = &config.backends["cloud"] else { panic!("it is a KMS backend") };
    assert_eq!(kms.deletion_days, 7);
    let strict = GOOD.replace("kind = \"pkcs11\"", "kind = \"pkcs11\"\ngenerate = false");
    assert!(!LOADER.parse(&strict, "x").unwrap().backends["hsm"].may_generate());
}

#[test]
fn issuers_have_documents_and_with_a_directory_they_need_plain_names() {
    let odd = GOOD.replace("\"deploy-robot\"", "\"https://ci.example.com/%7Edeploy\"");
    let issuers = |text: &str| LOADER.parse(text, "x").unwrap().publication.discovery.issuers().len();
    assert_eq!(issuers(GOOD), 1);
    assert_eq!(issuers(&odd), 1);
    assert_eq!(issuers(&odd.replace("%7E", "~")), 2);
    let published = |text: &str| {
        format!("{text}\n[publish]\ndir = \"/srv//jwsd/\"\njwks_uri = \"https://cdn.example.com/keys\"\n")
    };
    let publication = LOADER.parse(&published(GOOD), "x").unwrap().publication;
    assert_eq!(publication.dir.as_deref(), Some(Path::new("/srv/jwsd")));
    let document = publication.discovery.find("", None).unwrap().body();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document["jwks_uri"], "https://cdn.example.com/keys");
    assert_eq!(document["id_token_signing_alg_values_supported"], serde_json::json!(["ES256"]));
    let fault = LOADER.parse(&published(&odd), "x").unwrap_err().faults.remove(0);
    assert_eq!((fault.path.as_str(), fault.line), ("profile.deploy.issuer", 55));
    assert!(fault.message.contains("no directory can be named after it"), "{}", fault.message);
}

#[test]
fn certificates_are_read_beside_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.pem");
    let chain = include_str!("../../tests/publish/chain.pem");
    std::fs::write(&path, chain).unwrap();
    let loader = Loader { directory: Some(directory.path()), ..LOADER };
    let text =
        GOOD.replace("algorithm = \"ES256\"", "algorithm = \"ES256\"\ncertificates = [\"access.pem\"]");
    assert_eq!(loader.parse(&text, "x").unwrap().keys["access"].certificates, std::slice::from_ref(&path));
    std::fs::write(&path, chain.replace("END CERTIFICATE", "END X")).unwrap();
    let fault = loader.parse(&text, "x").unwrap_err().faults.remove(0);
    assert_eq!((fault.path.as_str(), fault.line), ("key.access.certificates[0]", 32));
    assert!(fault.message.contains("access.pem is not PEM"), "{}", fault.message);
}
