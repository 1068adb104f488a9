//! What a configuration says to each control, and tables of what it has. Says what is missing as plainly as what is there.

use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;

use crate::audit::report::{Answers, Figures, Listing, Settings};
use crate::backend;
use crate::clock::Mode;
use crate::config::Config;
use crate::policy::{CONTROLS, open_to, sentences};
use crate::profile::{Profile, SessionRule};

/// All of it, and whether the log's policy is the file's.
pub(super) fn of(file: &Path, config: &Config, figures: &Figures) -> Settings {
    let mut answers = Answers::new();
    profiles(&mut answers, config);
    keys(&mut answers, config);
    access(&mut answers, config);
    people(&mut answers, config);
    operations(&mut answers, config, figures);
    Settings {
        file: file.display().to_string(),
        environment: config.environment.clone(),
        policy: config.policy.digest().to_owned(),
        tables: vec![profile_table(config), key_table(config), backend_table(config), caller_table(config)],
        answers,
    }
}

fn set(answers: &mut Answers, control: &'static str, text: impl Into<String>) {
    answers.entry(control).or_default().settings.push(text.into());
}

fn gap(answers: &mut Answers, control: &'static str, text: impl Into<String>) {
    answers.entry(control).or_default().gaps.push(text.into());
}

/// One gap for all things that have it.
fn gap_of(answers: &mut Answers, control: &'static str, names: Vec<&str>, what: &str) {
    if !names.is_empty() {
        gap(answers, control, format!("{}: {what}", names.join(", ")));
    }
}

fn names(config: &Config, has: impl Fn(&Profile) -> bool) -> Vec<&str> {
    let profiles = config.policy.profiles().filter(|profile| has(profile));
    profiles.map(|profile| profile.name.as_str()).collect()
}

/// What policy says of profiles, one text for all that say the same.
fn profiles(answers: &mut Answers, config: &Config) {
    for (control, _) in CONTROLS {
        let mut said: Vec<(String, Vec<&str>)> = Vec::new();
        for profile in config.policy.profiles() {
            let name = profile.name.as_str();
            let callers: Vec<&str> = config.callers.of_profile(name).collect();
            let all = std::iter::once(open_to(&callers)).chain(sentences(profile));
            let about = all.filter(|sentence| sentence.controls.contains(control));
            let text = about.map(|sentence| sentence.text).collect::<Vec<_>>().join(" ");
            match said.iter_mut().find(|(known, _)| *known == text) {
                _ if text.is_empty() => {}
                Some((_, names)) => names.push(name),
                None => said.push((text, vec![name])),
            }
        }
        for (text, names) in said {
            set(answers, control, format!("{}: {text}", names.join(", ")));
        }
    }
    for profile in config.policy.profiles() {
        if let Some(reason) = &profile.lifetime.over_ceiling {
            gap(
                answers,
                "life.max",
                format!("{}: longer than its kind allows, because: {reason}", profile.name),
            );
        }
        let off: Vec<&str> = profile.detectors.names_off().collect();
        if !off.is_empty() {
            gap(answers, "data.secret", format!("{}: detectors are off: {}", profile.name, off.join(", ")));
        }
    }
    let bare = names(config, |profile| profile.session == SessionRule::default());
    gap_of(answers, "life.session", bare, "no session is asked for; one that a request names is kept to.");
    let plain = names(config, |profile| profile.encrypt.is_none());
    gap_of(answers, "data.encrypt", plain, "never encrypted.");
    let unlimited = names(config, |profile| profile.rates.is_empty());
    gap_of(answers, "mon.reissue", unlimited, "no rates: too many reissues are not noticed.");
}

fn keys(answers: &mut Answers, config: &Config) {
    for (name, key) in &config.keys {
        set(answers, "key.hsm", format!("Key {name} is in {}.", key.backends.join(", ")));
        set(
            answers,
            "key.alg",
            format!("Key {name} signs with {}.", algorithm(key.algorithm.name(), key.rsa_bits)),
        );
        let rotation = &key.rotation;
        let every = rotation.every.map(|every| format!("every {}", readable(every)));
        let after = rotation.after.map(|after| format!("after {after} signatures"));
        let terms: Vec<String> = every.into_iter().chain(after).collect();
        if terms.is_empty() {
            gap(answers, "key.rotate", format!("Key {name} has no schedule: operators rotate it."));
        } else {
            let ahead = readable(rotation.publish_ahead);
            set(
                answers,
                "key.rotate",
                format!("Key {name} rotates {}, published {ahead} ahead.", terms.join(" or ")),
            );
        }
    }
    for (name, settings) in &config.backends {
        if is_software(settings) {
            gap(answers, "key.hsm", format!("Backend {name} is a token in software: its keys are in files."));
        }
    }
    match &config.publication.dir {
        Some(dir) => set(answers, "key.rotate", format!("The key set is published in {}.", dir.display())),
        None => set(answers, "key.rotate", "The key set is served on the public socket."),
    }
    let acts: Vec<String> = config.two_person.acts.iter().map(ToString::to_string).collect();
    if acts.is_empty() {
        gap(answers, "key.compromise", "One operator alone can do every act on keys.");
    } else {
        let within = readable(config.two_person.within);
        set(answers, "key.compromise", format!("Two operators within {within} for: {}.", acts.join(", ")));
    }
}

/// By the name of the module, which is all that a configuration tells.
fn is_software(settings: &backend::Settings) -> bool {
    let backend::Settings::Pkcs11(settings) = settings else { return false };
    let module = settings.module.to_string_lossy().to_lowercase();
    ["softhsm", "kryoptic"].iter().any(|name| module.contains(name))
}

fn access(answers: &mut Answers, config: &Config) {
    for socket in [&config.signing, &config.admin, &config.public] {
        let group = socket.gid.map(|gid| format!(", group {gid}")).unwrap_or_default();
        let (name, mode) = (socket.name, socket.mode);
        set(
            answers,
            "acc.issue",
            format!("Socket {name}: {}, mode {mode:04o}{group}.", socket.path.display()),
        );
    }
    set(
        answers,
        "acc.env",
        format!(
            "Environment {:?}; log, state, tokens and keys of another one are refused.",
            config.environment
        ),
    );
    if config.allow_root {
        gap(answers, "acc.issue", "The daemon may run as root (allow_root).");
    }
}

fn people(answers: &mut Answers, config: &Config) {
    let is_personal = |profile: &Profile| profile.claims.values().any(|claim| claim.personal);
    let baseless = names(config, |profile| {
        is_personal(profile) && profile.consent.is_none() && profile.legal_basis.is_none()
    });
    gap_of(answers, "data.consent", baseless, "personal claims without consent or another legal basis.");
    match &config.subjects.backend {
        Some(backend) => set(answers, "data.erase", format!("The epoch's key is in backend {backend}.")),
        None => gap(
            answers,
            "data.erase",
            "The epoch's key is a file beside the state (subjects.backend): backups must leave it out.",
        ),
    }
    let impersonal = names(config, |profile| !is_personal(profile));
    if !impersonal.is_empty() {
        set(answers, "data.consent", format!("{}: no claim is marked as personal.", impersonal.join(", ")));
    }
}

fn operations(answers: &mut Answers, config: &Config, figures: &Figures) {
    let (dir, mib) = (config.audit.dir.display(), config.audit.segment / (1 << 20));
    set(answers, "log.all", format!("Log in {dir}, segments of {mib} MiB."));
    match &config.audit.checkpoint {
        Some(sealed) => {
            let (key, every, records) = (&sealed.key, readable(sealed.every), sealed.records);
            let text = format!("Sealed by key {key} every {every} and after {records} records.");
            set(answers, "log.integrity", text);
            if sealed.witnesses.is_empty() {
                let lack = "No witness keeps checkpoints (audit.witness): that the log's end was cut off is not found.";
                gap(answers, "log.integrity", lack);
            } else {
                let count = sealed.witnesses.len();
                set(answers, "log.integrity", format!("Witnesses that keep checkpoints: {count}."));
            }
        }
        None => gap(answers, "log.integrity", "The log is not sealed (audit.checkpoint)."),
    }
    let denials = &config.misuse.denials;
    let window = readable(denials.window);
    let warn = denials.warn.map(|most| format!("alert beyond {most}"));
    let refuse = denials.refuse.map(|most| format!("refusal beyond {most}"));
    let terms: Vec<String> = warn.into_iter().chain(refuse).collect();
    if terms.is_empty() {
        gap(answers, "mon.reissue", "Refused requests of a caller raise no alert.");
    } else {
        set(
            answers,
            "mon.reissue",
            format!("Refused requests of a caller in {window}: {}.", terms.join(", ")),
        );
    }
    let (mode, lack) = match config.clock {
        Mode::Strict => {
            ("strict: nothing is signed after a jump, or while the kernel is unsure by more than 2 s", None)
        }
        Mode::Warn => (
            "warn: nothing is signed after a jump",
            Some(
                "A clock that the kernel does not call synchronised is recorded, and signed with (clock.mode = warn).",
            ),
        ),
        Mode::Off => {
            ("off: jumps are recorded", Some("JWTs are dated by a clock that jumped (clock.mode = off)."))
        }
    };
    set(answers, "time.sync", format!("Clock mode {mode}."));
    lack.into_iter().for_each(|lack| gap(answers, "time.sync", lack));
    let digest = config.policy.digest();
    set(answers, "gov.policy", format!("The configuration's policy is {digest}."));
    match &figures.policy_changed {
        Some((_, logged)) if logged != digest => gap(
            answers,
            "gov.policy",
            format!("The policy last in force ({logged}) is another one than the configuration's."),
        ),
        _ => {}
    }
    match &config.audit.retain {
        Some(terms) => {
            let others = terms.profiles.iter().map(|(name, term)| format!(", of {name} {}", readable(*term)));
            let archive = terms.archive.as_ref().map(|archive| format!(", then in {}", archive.display()));
            let (term, others) = (readable(terms.default), others.collect::<String>());
            let text = format!("Records are kept {term}{others}{}.", archive.unwrap_or_default());
            set(answers, "data.retain", text);
        }
        None => gap(answers, "data.retain", "The log is kept for ever (audit.retain)."),
    }
}

fn profile_table(config: &Config) -> Listing {
    let row = |profile: &std::sync::Arc<Profile>| {
        let callers: Vec<&str> = config.callers.of_profile(profile.name.as_str()).collect();
        let (default, max) = (readable(profile.lifetime.default), readable(profile.lifetime.max));
        vec![
            profile.name.to_string(),
            profile.typ.clone(),
            profile.issuer.clone(),
            profile.audiences.join(", "),
            format!("{default}, {max} at most"),
            profile.key.as_str().to_owned(),
            profile.claims.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            callers.join(", "),
        ]
    };
    Listing {
        title: "Profiles",
        head: &["Profile", "Type", "Issuer", "Audiences", "Lifetime", "Key", "Claims of callers", "Callers"],
        rows: config.policy.profiles().map(row).collect(),
    }
}

fn key_table(config: &Config) -> Listing {
    let rows = config.keys.iter().map(|(name, key)| {
        let rotation = &key.rotation;
        vec![
            name.clone(),
            algorithm(key.algorithm.name(), key.rsa_bits),
            key.backends.join(", "),
            rotation.every.map(readable).unwrap_or_default(),
            rotation.after.map(|after| after.to_string()).unwrap_or_default(),
            rotation.stop.map(readable).unwrap_or_default(),
            readable(rotation.publish_ahead),
            readable(rotation.keep),
            if key.may_generate { "made by the daemon" } else { "adopted" }.to_owned(),
        ]
    });
    Listing {
        title: "Keys",
        head: &[
            "Key",
            "Algorithm",
            "Backends",
            "Every",
            "Signatures",
            "Stops after",
            "Ahead",
            "Kept",
            "Versions",
        ],
        rows: rows.collect(),
    }
}

fn backend_table(config: &Config) -> Listing {
    let rows = config.backends.iter().map(|(name, settings)| {
        let (kind, place) = match settings {
            backend::Settings::Pkcs11(settings) => ("PKCS#11", settings.module.display().to_string()),
            backend::Settings::AwsKms(settings) => ("AWS KMS", settings.region.clone()),
        };
        let makes = if settings.may_generate() { "yes" } else { "no" };
        vec![name.clone(), kind.to_owned(), place, makes.to_owned()]
    });
    Listing {
        title: "Backends",
        head: &["Backend", "Kind", "Module or region", "May make keys"],
        rows: rows.collect(),
    }
}

fn caller_table(config: &Config) -> Listing {
    let rates: std::collections::BTreeMap<&str, _> = config.callers.rates().collect();
    let row = |name: &str| {
        let profiles = config.policy.profiles().map(|profile| profile.name.as_str());
        let may: Vec<&str> = profiles
            .filter(|profile| config.callers.of_profile(profile).any(|caller| caller == name))
            .collect();
        let rate = rates.get(name).map(|rate| format!("{rate}/s")).unwrap_or_default();
        vec![name.to_owned(), may.join(", "), rate]
    };
    Listing {
        title: "Callers",
        head: &["Caller", "Profiles", "Rate"],
        rows: config.callers.names().map(row).collect(),
    }
}

/// With its size where it has one.
fn algorithm(name: &str, rsa_bits: u32) -> String {
    if name.starts_with("RS") || name.starts_with("PS") {
        format!("{name}, {rsa_bits} bits")
    } else {
        name.to_owned()
    }
}

/// `5m`, `1h 30m`.
fn readable(duration: Duration) -> String {
    format!("{:#}", SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX))
}
