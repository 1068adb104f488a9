//! The files in `config/` are what they say: they load, they show every key with its true default, and the schema
//! for editors is the one that the daemon reads by.

use jwsd::config::{Loader, json_schema};
use jwsd::sys::users::Users;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A machine that has the users and groups of the shipped files, and no others.
struct Table;
impl Users for Table {
    fn uid(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(["billing", "me"].iter().position(|known| *known == name).map(|at| 1000 + at as u32))
    }
    fn gid(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(["jwsd-callers", "deployers", "us"]
            .iter()
            .position(|known| *known == name)
            .map(|at| 2000 + at as u32))
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}
fn shipped(name: &str) -> String {
    let path = directory().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
fn describe(text: &str, name: &str) -> String {
    let directory = directory();
    let loader = Loader { users: &Table, directory: Some(&directory), running: None };
    loader.describe(text, name).unwrap_or_else(|faults| panic!("{faults}"))
}
/// A template with its three words filled in, as `jwsd dev` does.
fn fill(text: &str) -> String {
    let words =
        [("@DIR@", "/home/me/jwsd"), ("@MODULE@", "/usr/lib/softhsm/libsofthsm2.so"), ("@USER@", "me")];
    words.iter().fold(text.to_owned(), |text, (word, value)| {
        assert!(text.contains(word), "{word} is not in the file");
        text.replace(word, value)
    })
}

#[test]
fn every_file_loads_and_names_the_schema() {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".toml") {
            let text = shipped(&name);
            assert!(text.starts_with("#:schema ./jwsd.schema.json\n"), "{name}");
            describe(&if text.contains("@DIR@") { fill(&text) } else { text }, &name);
            names.push(name);
        }
    }
    names.sort();
    assert_eq!(names, ["aws-kms.toml", "dev.toml", "jwsd.toml", "two-hsms.toml"]);
}

#[test]
fn the_defaults_shown_are_the_defaults() {
    let text = shipped("jwsd.toml");
    let mut shown = 0;
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(assignment) if is_assignment(assignment) => {
                shown += 1;
                assignment
            }
            _ => line,
        })
        // These have no fixed default: as many as there are cores, and none.
        .filter(|line| {
            let key = line.split_once(" = ").map_or("", |(key, _)| key);
            let free = [
                "sessions",
                "schema",
                "uri",
                "endpoint",
                "profile",
                "role",
                "backends",
                "after",
                "stop",
                "jwks_uri",
                "certificates",
                "issuers",
                "legal_basis",
                "condition",
                "condition_message",
                "rates",
                "hours",
                "origin",
            ];
            !free.contains(&key) && *line != r#"dir = "/srv/jwsd""#
        })
        .collect();
    assert!(shown >= 30, "only {shown} defaults are shown");
    let expected = describe(&text, "jwsd.toml");
    assert_eq!(describe(&uncommented.join("\n"), "uncommented"), expected);
}
fn is_assignment(line: &str) -> bool {
    let key = line.split_once(" = ").map_or("", |(key, _)| key);
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[test]
fn every_key_is_shown() {
    let (sections, schema) = (sections(&shipped("jwsd.toml")), json_schema());
    let mut count = 0;
    for (name, value) in schema["properties"].as_object().unwrap() {
        let mut keys = Vec::new();
        collect(&schema, value, &mut keys);
        let (section, keys) = match keys.as_slice() {
            [] => ("", vec![name.clone()]),
            _ => (name.as_str(), keys),
        };
        let text = sections.get(section).unwrap_or_else(|| panic!("[{section}] is not shown"));
        // The token's serial is only named, because the label is enough; `environment` is shown once for all tables.
        for key in keys.iter().filter(|key| !["serial", "environment"].contains(&key.as_str())) {
            let shown =
                regex::Regex::new(&format!(r"(?m)(^|[ {{]){key} = |\[([^\]]*\.)?{key}[.\]]")).unwrap();
            assert!(shown.is_match(text), "{key} is not shown in [{section}]:\n{text}");
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}
/// What stands under the headings of each table, with the comment that leads up to them.
fn sections(text: &str) -> BTreeMap<String, String> {
    let heading = regex::Regex::new(r"^(?:# +)?\[([a-z]+)[.\]]").unwrap();
    let mut sections: BTreeMap<String, String> = BTreeMap::new();
    let (mut name, mut comment) = (String::new(), String::new());
    for line in text.lines() {
        let found = heading.captures(line).map(|found| found[1].to_owned());
        let is_comment = found.is_none() && line.starts_with('#');
        name = found.unwrap_or(name);
        comment.push_str(&format!("{line}\n"));
        if !is_comment {
            sections.entry(name.clone()).or_default().push_str(&std::mem::take(&mut comment));
        }
    }
    sections.entry(name).or_default().push_str(&comment);
    sections
}
/// Names of all keys, at any depth.
fn collect(root: &Value, schema: &Value, keys: &mut Vec<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(at)) = members.get("$ref") {
                collect(root, root.pointer(at.trim_start_matches('#')).unwrap(), keys);
            }
            if let Some(Value::Object(properties)) = members.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            members.values().for_each(|member| collect(root, member, keys));
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(root, element, keys)),
        _ => {}
    }
}

#[test]
fn the_schema_for_editors_is_the_daemons() {
    let present = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("jwsd.schema.json");
    fs::write(&path, &present).unwrap();
    let stored = fs::read_to_string(directory().join("jwsd.schema.json")).unwrap_or_default();
    assert!(
        stored == present,
        "config/jwsd.schema.json is out of date: run `jwsd schema > config/jwsd.schema.json`, or copy {}",
        path.display()
    );
}
