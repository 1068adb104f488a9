//! The README and the documents say what is so: their commands run, their examples load, their tables are complete.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use jwsd::backend::Class;
use jwsd::policy::{CONTROLS, RULES};
use jwsd::transport::Rejection;

const DOCUMENTS: [&str; 9] = [
    "README.md",
    "docs/api.md",
    "docs/policy.md",
    "docs/audit.md",
    "docs/audit-format.md",
    "docs/operations.md",
    "docs/backends.md",
    "docs/keys.md",
    "docs/revocation.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The fenced blocks of one language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let text = read(document);
    let opening = format!("```{language}\n");
    text.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// `jwsd dev` in a directory of its own, as the README starts it.
struct Dev {
    directory: tempfile::TempDir,
    child: Child,
}

impl Dev {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Self::command(directory.path()).spawn().unwrap();
        let dev = Self { directory, child };
        dev.wait();
        dev
    }

    fn command(directory: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jwsd"));
        command.arg("dev").current_dir(directory).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn wait(&self) {
        let began = Instant::now();
        while !self
            .shell("curl --unix-socket jwsd-dev/run/public.sock http://localhost/readyz")
            .status
            .success()
        {
            assert!(began.elapsed() < Duration::from_secs(60), "`jwsd dev` is not ready in a minute");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn shell(&self, script: &str) -> std::process::Output {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_jwsd"));
        let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
        // As written, but an answer that is an error fails.
        let strict = "curl() { command curl --fail-with-body --silent --show-error \"$@\"; }\n";
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", &format!("{strict}{script}")])
            .env("PATH", path)
            .current_dir(self.directory.path())
            .output()
            .unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_command_and_example_works() {
    let mut dev = Dev::start();
    let configuration = fs::read_to_string(dev.directory.path().join("jwsd-dev/jwsd.toml")).unwrap();
    // The keys of a recipient that an example names.
    fs::copy(root().join("config/examples/gateway.jwks.json"), dev.directory.path().join("bank.jwks.json"))
        .unwrap();
    let (mut commands, mut examples) = (0, 0);
    for document in DOCUMENTS {
        for script in blocks(document, "sh") {
            let output = dev.shell(&script);
            let said = [&output.stdout[..], &output.stderr[..]].concat();
            assert!(output.status.success(), "{document}:\n{script}\n{}", String::from_utf8_lossy(&said));
            commands += 1;
        }
        for example in blocks(document, "toml") {
            let path = dev.directory.path().join("example.toml");
            fs::write(&path, format!("{configuration}\n{example}")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let output = dev.shell("jwsd check --quiet example.toml");
            assert!(output.status.success(), "{document}: {}", String::from_utf8_lossy(&output.stderr));
            examples += 1;
        }
        for example in blocks(document, "json") {
            serde_json::from_str::<serde_json::Value>(&example).unwrap_or_else(|e| panic!("{document}: {e}"));
            examples += 1;
        }
    }
    assert!(commands >= 9 && examples >= 4, "{commands} commands, {examples} examples");

    // The second start uses what the first one made.
    let keys = |dev: &Dev| {
        dev.shell("curl --unix-socket jwsd-dev/run/public.sock http://localhost/.well-known/jwks.json").stdout
    };
    // What was revoked is followed by another version.
    dev.wait();
    let before = keys(&dev);
    dev.child.kill().unwrap();
    dev.child.wait().unwrap();
    dev.child = Dev::command(dev.directory.path()).spawn().unwrap();
    dev.wait();
    assert_eq!(String::from_utf8_lossy(&keys(&dev)), String::from_utf8_lossy(&before));
}

/// What stands between `<!-- NAME -->` and `<!-- end of NAME -->`.
fn between(document: &str, name: &str) -> String {
    let text = read(document);
    let (_, rest) = text.split_once(&format!("<!-- {name} -->\n")).unwrap();
    rest.split_once(&format!("<!-- end of {name} -->")).unwrap().0.to_owned()
}

#[test]
fn rules_and_controls_are_documented_as_the_code_has_them() {
    let printed = Command::new(env!("CARGO_BIN_EXE_jwsd")).args(["policy", "rules"]).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(printed.lines().count(), RULES.len() + 2);
    assert_eq!(between("docs/policy.md", "rules"), printed, "put in what `jwsd policy rules` prints");
    let rows = CONTROLS.iter().map(|(id, what)| format!("| {id} | {what} |\n"));
    let controls: String =
        std::iter::once("| id | what is asked |\n| --- | --- |\n".to_owned()).chain(rows).collect();
    assert_eq!(between("docs/policy.md", "controls"), controls);
}

#[test]
fn every_code_and_event_is_documented() {
    let api = read("docs/api.md");
    let classes =
        [Class::Busy, Class::Down, Class::Deadline, Class::Misconfigured, Class::Untrusted, Class::Bug];
    let mut codes: Vec<String> = classes.iter().map(|class| class.code().to_owned()).collect();
    codes.extend(Rejection::ALL.iter().map(|rejection| rejection.code().to_owned()));
    let quoted = regex::Regex::new(r#""([a-z]+\.[a-z_]+)""#).unwrap();
    for source in ["src/api/problem.rs", "src/issuer.rs", "src/jose/json/mod.rs"] {
        codes.extend(quoted.captures_iter(&read(source)).map(|found| found[1].to_owned()));
    }
    for code in codes {
        assert!(api.contains(&format!("`{code}`")), "docs/api.md lacks {code}");
    }
    let audit = read("docs/audit.md");
    let renamed = regex::Regex::new(r#"rename = "([a-z]+\.[a-z]+)""#).unwrap();
    let source = read("src/audit/record.rs");
    let events: Vec<_> = renamed.captures_iter(&source).map(|found| found[1].to_owned()).collect();
    assert!(events.len() >= 16);
    for event in events {
        assert!(audit.contains(&format!("`{event}`")), "docs/audit.md lacks {event}");
    }
}

#[test]
fn the_readme_is_short_and_its_links_lead_somewhere() {
    let readme = read("README.md");
    assert!(readme.lines().count() < 200);
    for needed in ["scripts/quickstart", "scripts/test", "curl --unix-socket"] {
        assert!(readme.lines().take(25).any(|line| line.contains(needed)), "the opening lacks {needed}");
    }
    let link = regex::Regex::new(r"\]\(([^)]+)\)").unwrap();
    for document in DOCUMENTS {
        for target in link.captures_iter(&read(document)) {
            let from = root().join(document);
            let (file, _) = target[1].split_once('#').unwrap_or((&target[1], ""));
            assert!(from.parent().unwrap().join(file).exists(), "{document} links to {}", &target[1]);
        }
    }
}

#[test]
fn the_description_of_the_interface_names_every_call_of_the_document() {
    let described: serde_json::Value = serde_json::from_str(&read("src/api/openapi.json")).unwrap();
    let paths = described["paths"].as_object().unwrap();
    let document = read("docs/api.md");
    for (path, operations) in paths {
        for method in operations.as_object().unwrap().keys() {
            let call = format!("`{} {path}`", method.to_uppercase());
            assert!(document.contains(&call), "docs/api.md lacks {call}");
        }
    }
}
