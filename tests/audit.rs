//! A sealed log as files, kept beside this test: two keys, a gap, and what a witness had of it. Both verifiers, and
//! proofs, as their users meet them. If one of these files must change, so must every log there is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tempfile::TempDir;

const JWSD: &str = env!("CARGO_BIN_EXE_jwsd");

/// A copy, with the rights that the daemon gives.
struct Log(TempDir);

impl Log {
    fn new() -> Self {
        let log = Self(tempfile::tempdir().unwrap());
        fs::create_dir(log.path("log")).unwrap();
        fs::set_permissions(log.path("log"), fs::Permissions::from_mode(0o700)).unwrap();
        for segment in fs::read_dir(kept("log")).unwrap() {
            let segment = segment.unwrap();
            let copy = log.path("log").join(segment.file_name());
            fs::copy(segment.path(), &copy).unwrap();
            fs::set_permissions(copy, fs::Permissions::from_mode(0o600)).unwrap();
        }
        log
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `LOG` stands for the directory, `KEY` for the file of its first key, `WITNESS` for that of the witness.
    fn run(&self, program: &mut Command, arguments: &[&str]) -> Output {
        for argument in arguments {
            match *argument {
                "LOG" => program.arg(self.path("log")),
                "KEY" => program.arg(format!("@{}", kept("vkey").display())),
                "WITNESS" => program.arg(kept("witness")),
                "JWT" => program.arg(kept("jwt")),
                other => program.arg(other),
            };
        }
        program.stdin(Stdio::null()).output().unwrap()
    }

    fn jwsd(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run(Command::new(JWSD).arg("audit"), arguments);
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }

    /// What both verifiers say, if they agree.
    fn verify(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let (code, said) = self.jwsd(&[&["verify", "LOG"], arguments].concat());
        let python = Path::new(JWSD).ancestors().nth(2).unwrap().join("venv/bin/python");
        if !python.exists() {
            println!("SKIPPED: {} is not there; scripts/test makes it", python.display());
            return (code, said);
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/audit_verify.py");
        let other = self.run(Command::new(python).arg("-B").arg(script), &[&["LOG"], arguments].concat());
        assert_eq!(other.status.code(), code, "{said}{}{}", text(&other.stdout), text(&other.stderr));
        (code, said)
    }

    fn change(&self, segment: &str, change: impl Fn(String) -> String) {
        let path = self.path("log").join(segment);
        let text = fs::read_to_string(&path).unwrap();
        let changed = change(text.clone());
        assert_ne!(changed, text);
        fs::write(path, changed).unwrap();
    }
}

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit").join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const NEWEST: &str = "00000000000000000014.jsonl";

#[test]
fn a_sound_log_is_told_with_all_that_vouches_for_it() {
    let log = Log::new();
    let (code, said) = log.verify(&["--key", "KEY", "--checkpoint", "WITNESS"]);
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "covers 14 records",
        "0 come after it",
        "seals from size 14 on",
        "3 checkpoints are of this log",
        "is sound",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains("of records 12 to 13, 1 are missing, and no seal covers the others"), "{said}");
    let (code, said) = log.verify(&[]);
    assert!(code == Some(0) && said.contains("not checked against a key (give --key)"), "{said}");
    let (code, said) = log.jwsd(&["verify", "LOG", "--key", "KEY", "--json"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, report["sealing"]["size"].as_u64()), (Some(0), Some(14)));
    assert_eq!(report["sealing"]["epochs"][1]["from"], 14);
}

#[test]
fn a_name_beyond_all_numbers_is_no_segment() {
    let log = Log::new();
    let path = log.path("log").join("99999999999999999999.jsonl");
    fs::write(&path, "").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let (code, said) = log.verify(&["--key", "KEY"]);
    assert!(code == Some(1) && said.contains("not a segment"), "{said}");
}

#[test]
fn problems_are_told_with_their_place() {
    let log = Log::new();
    log.change("00000000000000000001.jsonl", |text| text.replacen("jti-3", "jti-4", 1));
    let (code, said) = log.verify(&["--key", "KEY"]);
    assert!(code == Some(1) && said.contains("PROBLEM 00000000000000000001.jsonl line 3 at byte"), "{said}");
    assert!(said.contains("crc does not match"), "{said}");

    let log = Log::new();
    log.change(NEWEST, |text| {
        let end = text.trim_end().rfind('\n').unwrap();
        text[..=end].to_owned()
    });
    assert_eq!(log.verify(&["--key", "KEY"]).0, Some(0), "only a witness knows");
    let (code, said) = log.verify(&["--key", "KEY", "--checkpoint", "WITNESS"]);
    assert!(code == Some(1) && said.contains("checkpoint 3 of"), "{said}");
    fs::remove_file(log.path("log").join(NEWEST)).unwrap();
    let (code, said) = log.verify(&["--key", "KEY", "--checkpoint", "WITNESS"]);
    assert!(code == Some(1) && said.contains("its end was cut off"), "{said}");
    let (_, second) = Log::new().jwsd(&["key", "LOG"]);
    let second = second.lines().last().unwrap().to_owned();
    assert_eq!(Log::new().verify(&["--key", &second]).0, Some(1), "not the key that it began with");
}

/// What only a key or a witness tells is told before anything is shown.
#[test]
fn search_and_export_go_by_keys_and_checkpoints() {
    let log = Log::new();
    let (code, said) = log.jwsd(&["search", "LOG", "--key", "KEY", "--checkpoint", "WITNESS"]);
    assert!(code == Some(0) && said.contains("jwt.issued"), "{said}");
    log.change(NEWEST, |text| {
        let end = text.trim_end().rfind('\n').unwrap();
        text[..=end].to_owned()
    });
    for command in ["search", "export"] {
        assert_eq!(log.jwsd(&[command, "LOG", "--key", "KEY"]).0, Some(0));
        let (code, said) = log.jwsd(&[command, "LOG", "--key", "KEY", "--checkpoint", "WITNESS"]);
        assert!(code == Some(1) && !said.contains("jwt.issued"), "{said}");
    }
}

#[test]
fn wrong_usage_is_no_verdict() {
    let log = Log::new();
    for (arguments, code) in [
        (&["verify", "LOG", "--key", "nonsense"][..], 64),
        (&["verify", "LOG", "--key", "@/nonexistent"], 69),
        (&["verify", "LOG", "--key", "@/dev/null"], 64),
        (&["verify", "LOG", "--checkpoint", "/nonexistent"], 69),
        (&["verify", "LOG", "--checkpoint", "/dev/null"], 69),
        (&["verify", "/nonexistent"], 69),
        (&["key", "/nonexistent"], 69),
        (&["search", "LOG", "--key", "@/dev/null"], 64),
        (&["export", "LOG", "--checkpoint", "/nonexistent"], 69),
        (&["prove", "LOG"], 64),
        (&["prove", "LOG", "--jwt", "/nonexistent"], 69),
        (&["prove", "LOG", "--jwt", "/dev/null"], 64),
        (&["prove", "LOG", "--consistency", "x"], 64),
        (&["prove", "LOG", "--consistency", "3"], 1),
        (&["check-proof", "/nonexistent", "--key", "KEY"], 69),
        (&["check-proof", "/dev/null", "--key", "KEY"], 1),
        (&["check-proof", "/dev/null"], 64),
    ] {
        let (found, said) = log.jwsd(arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    let python = Path::new(JWSD).ancestors().nth(2).unwrap().join("venv/bin/python");
    if python.exists() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/audit_verify.py");
        let refused = log.run(Command::new(python).arg("-B").arg(script), &["LOG", "--key", "@/dev/null"]);
        assert_eq!(refused.status.code(), Some(2), "without a key nothing would be checked");
        assert!(text(&refused.stderr).contains("holds no key"));
    }
}

#[test]
fn a_jwt_is_proven_without_the_log() {
    let log = Log::new();
    let (code, keys) = log.jwsd(&["key", "LOG"]);
    assert_eq!(code, Some(0), "{keys}");
    assert!(keys.contains(fs::read_to_string(kept("vkey")).unwrap().trim()), "{keys}");
    fs::write(log.path("keys"), &keys).unwrap();
    let (code, proof) = log.jwsd(&["prove", "LOG", "--jwt", "JWT"]);
    assert_eq!(code, Some(0), "{proof}");
    fs::write(log.path("proof"), &proof).unwrap();
    let jwt = fs::read_to_string(kept("jwt")).unwrap();
    assert!(!proof.contains(jwt.split('.').nth(1).unwrap()));
    let (path, keys) = (log.path("proof"), format!("@{}", log.path("keys").display()));
    let check = ["check-proof", path.to_str().unwrap(), "--key", &keys];
    let (code, said) = log.jwsd(&check);
    assert!(code == Some(0) && said.contains("give --jwt"), "{said}");
    let (code, said) = log.jwsd(&[&check[..], &["--jwt", "JWT"]].concat());
    assert!(code == Some(0) && said.contains("JWT \"jti-3\" by key"), "{said}");
    assert!(
        said.contains("jti, kid, alg, iat, exp and aud") && said.contains("signature was not checked"),
        "{said}"
    );
    let (header, rest) = jwt.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let claims = URL_SAFE_NO_PAD
        .encode(r#"{"jti":"jti-3","iat":1780000000,"exp":1780000300,"aud":["https://api.example.com","b"]}"#);
    fs::write(log.path("other"), format!("{header}.{claims}.{signature}")).unwrap();
    let other = log.path("other").display().to_string();
    let (code, said) = log.jwsd(&[&check[..], &["--jwt", &other]].concat());
    assert!(code == Some(1) && said.contains("or aud differ"), "{said}");
    // By the first key alone nothing is known of the last seal.
    assert_eq!(log.jwsd(&["check-proof", path.to_str().unwrap(), "--key", "KEY"]).0, Some(1));
    fs::write(&path, proof.replacen("index 2", "index 3", 1)).unwrap();
    let (code, said) = log.jwsd(&check);
    assert!(code == Some(1) && said.contains("proves nothing"), "{said}");

    let (code, proof) = log.jwsd(&["prove", "LOG", "--consistency", "5..14"]);
    assert_eq!(code, Some(0), "{proof}");
    fs::write(&path, proof).unwrap();
    let (code, said) = log.jwsd(&check);
    assert!(code == Some(0) && said.contains("of 5 records is the beginning of the one of 14"), "{said}");
}
