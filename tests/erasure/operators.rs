//! Where two operators must ask for an erasure, one alone erases nobody; the records name nobody.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use serde_json::Value;

use crate::bed::{Form, assert_nameless, issue, name, search_key, site};
use crate::common::JWSD;

/// The second operator.
const SECOND: u32 = 54_324;

#[test]
fn two_operators() {
    if !geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI must be root to have several users");
        println!("SKIPPED two_operators: several users need root");
        return;
    }
    let mut site = site(Form::File);
    site.extra += "[admin]\ntwo_person = [\"erase\"]\n";
    let text = site.config_text();
    let open = format!("admin.sock\", mode = \"0660\", group = {SECOND} }}");
    site.rewrite(&text.replace("admin.sock\" }", &open));
    let daemon = site.start();
    fs::set_permissions(site.path("run"), fs::Permissions::from_mode(0o755)).unwrap();
    let program = site.path("jwsd");
    fs::copy(JWSD, &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let socket = daemon.socket("admin.sock");
    let erase = |uid: u32, name: &str| {
        let mut command = Command::new(&program);
        command.args(["erase", "--yes", "--json", "--reason", "request 4711", "--subject", name, "--socket"]);
        command.arg(&socket).stdin(Stdio::null());
        if uid != 0 {
            command.uid(uid).gid(uid);
        }
        let output = command.output().unwrap();
        let answer = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code(), answer)
    };
    let names = [name(1), name(2)];
    issue(&daemon, &names);
    let keys = names.clone().map(|name| search_key(&daemon, &name));

    let (code, waits) = erase(0, &names[0]);
    assert_eq!((code, waits["proposal"]["act"].as_str()), (Some(75), Some("erase")));
    assert_eq!(erase(0, &names[0]).0, Some(75), "the same operator is no second one");
    assert_eq!(erase(SECOND, &names[1]).0, Some(75), "somebody else is somebody else");
    assert_eq!(names.clone().map(|name| search_key(&daemon, &name)), keys, "nobody is erased yet");
    let (code, erased) = erase(SECOND, &names[0]);
    assert_eq!((code, &erased["erased"]), (Some(0), &1.into()));
    assert_eq!([search_key(&daemon, &names[0]), search_key(&daemon, &names[1])], [None, keys[1]]);

    let records = daemon.records();
    let of = |event: &str| records.iter().filter(|record| record["event"] == event).collect::<Vec<_>>();
    let by = |record: &Value, name: &str| record[name]["uid"].as_u64();
    assert_eq!((of("admin.proposed").len(), of("admin.approved").len()), (3, 1));
    let [erased] = of("subject.erased")[..] else { panic!("one record") };
    assert_eq!((by(erased, "actor"), by(erased, "proposed_by")), (Some(SECOND.into()), Some(0)));
    assert_eq!((&erased["reason"], &erased["count"]), (&"request 4711".into(), &1.into()));
    let (code, told) = daemon.stop();
    assert_eq!(code, Some(0));
    assert_nameless(&site, &told);
}
