//! What the log shows of each control: sentences of figures, and gaps that only the log tells.

use super::Verification;
use super::controls::Control;
use super::figures::Figures;
use super::keys::Version;

/// Adds evidence, and the gaps that it reveals, to a control.
pub(super) fn add(control: &mut Control, verification: &Verification, figures: &Figures) {
    let (evidence, gaps) = of(control.id, verification, figures);
    control.evidence.extend(evidence);
    control.gaps.extend(gaps);
}

type Found = (Vec<String>, Vec<String>);

fn of(id: &str, verification: &Verification, figures: &Figures) -> Found {
    let totals = &figures.totals;
    match id {
        "life.max" => (lifetimes(figures), Vec::new()),
        "life.session" => (vec![refused(figures, &["life.", "session."], "Session rules")], Vec::new()),
        "life.claims" => (
            vec![refused(figures, &["claim.reserved", "aud.", "kind."], "Rules on these claims")],
            Vec::new(),
        ),
        "key.hsm" => {
            let quarantines: u64 = figures.keys.0.values().map(|key| key.quarantines).sum();
            (vec![format!("Keys quarantined (key.quarantined): {quarantines} times.")], Vec::new())
        }
        "key.alg" => (vec![algorithms(figures)], Vec::new()),
        "key.rotate" => rotation(figures),
        "key.compromise" => {
            let revoked = acts(figures, "key.revoked");
            (vec![format!("Versions revoked (key.revoked): {revoked}.")], Vec::new())
        }
        "acc.issue" => {
            let unknown = figures.rules.0.get("caller.unknown").map_or(0, |rule| rule.refused);
            let text = format!(
                "JWTs issued: {}, callers that had some: {}; requests denied: {}, of unknown callers: {unknown}.",
                totals.issued,
                figures.callers.0.values().filter(|caller| caller.issued > 0).count(),
                totals.denied
            );
            (vec![text], Vec::new())
        }
        "data.min" => (vec![refused(figures, &["claim.unknown"], "Rules on unknown claims")], Vec::new()),
        "data.secret" => secrets(figures),
        "data.encrypt" => {
            let encrypted: u64 = figures.profiles.0.values().map(|profile| profile.encrypted).sum();
            (vec![format!("Encrypted: {encrypted} of {} JWTs issued.", totals.issued)], Vec::new())
        }
        "data.consent" => {
            let with: u64 = figures.profiles.0.values().map(|profile| profile.with_consent).sum();
            let refused = refused(figures, &["consent."], "Consent rules");
            (vec![format!("JWTs issued on a consent: {with}."), refused], Vec::new())
        }
        "data.erase" => {
            (vec![format!("Erasures (subject.erased): {}.", events(figures, "subject.erased"))], Vec::new())
        }
        "data.access" => {
            let text =
                format!("Searches for a person (subject.searched): {}.", events(figures, "subject.searched"));
            (vec![text], Vec::new())
        }
        "rev.jti" | "rev.near-real-time" => {
            let [revoked, asked] = [acts(figures, "jwt.revoked"), events(figures, "jwt.introspected")];
            let found = figures.rules.0.get("token.revoked").map_or(0, |rule| rule.refused);
            let text = format!(
                "Revocations (jwt.revoked): {revoked}; introspections: {asked}, of revoked JWTs: {found}."
            );
            (vec![text], Vec::new())
        }
        "rev.replay" => {
            let spent = figures.rules.0.get("token.spent").map_or(0, |rule| rule.refused);
            (vec![format!("Used again (token.spent): {spent} times, refused.")], Vec::new())
        }
        "log.all" => {
            let text = format!(
                "Records in the period: {}; acts of operators: {}; acts on keys: {}.",
                figures.records,
                figures.operators.count(),
                figures.key_acts.count()
            );
            (vec![text], Vec::new())
        }
        "log.integrity" => integrity(verification, figures),
        "log.closed" => {
            let [resumed, recovered] = ["log.resumed", "log.recovered"].map(|event| events(figures, event));
            let text = format!(
                "Faults of the disk after which the log went on (log.resumed): {resumed}; unfinished records that a crash left \
                 (log.recovered): {recovered}."
            );
            (vec![text], Vec::new())
        }
        "log.siem" | "mon.reissue" => {
            let text =
                format!("Alerts (alert.raised): {}, kinds: {}.", totals.alerts, figures.alerts.count());
            (vec![text], Vec::new())
        }
        "log.session" => {
            let with: u64 = figures.profiles.0.values().map(|profile| profile.with_session).sum();
            (vec![format!("With a session: {with} of {} JWTs issued.", totals.issued)], Vec::new())
        }
        "mon.service" => {
            let down: u64 = figures.backends.0.values().map(|backend| backend.down).sum();
            let text =
                format!("Failed (jwt.failed): {}; backends that went down: {down} times.", totals.failed);
            (vec![text], Vec::new())
        }
        "time.sync" => clock(figures),
        "gov.policy" => policy(figures),
        "gov.drill" => {
            let revoked = acts(figures, "key.revoked");
            (vec![format!("Versions revoked, rehearsed or not: {revoked}.")], Vec::new())
        }
        _ => (Vec::new(), Vec::new()),
    }
}

fn lifetimes(figures: &Figures) -> Vec<String> {
    let longest = figures.profiles.0.iter().filter_map(|(name, profile)| {
        Some(format!("{name}: the longest of {} issued lives {} s.", profile.tally.issued, profile.longest?))
    });
    let told: Vec<String> = longest.collect();
    if told.is_empty() { vec!["No JWT with an end was issued.".to_owned()] } else { told }
}

fn refused(figures: &Figures, families: &[&str], what: &str) -> String {
    let is_of = |rule: &str| families.iter().any(|family| rule.starts_with(family));
    let rules = figures.rules.0.iter().filter(|(rule, _)| is_of(rule));
    let (refused, checked) =
        rules.fold((0, 0), |(refused, checked), (_, rule)| (refused + rule.refused, checked + rule.checked));
    format!("{what} broken: {refused} times in requests that were refused, {checked} in dry runs.")
}

fn events(figures: &Figures, event: &str) -> u64 {
    figures.events.0.get(event).map_or(0, super::figures::Outcomes::sum)
}

fn acts(figures: &Figures, event: &str) -> u64 {
    figures.events.0.get(event).map_or(0, |outcomes| outcomes.success.saturating_sub(outcomes.failed))
}

fn algorithms(figures: &Figures) -> String {
    let mut all: Vec<&str> = figures.keys.0.values().filter_map(|key| key.alg.as_deref()).collect();
    all.sort_unstable();
    all.dedup();
    if all.is_empty() {
        return "No key is named with its algorithm.".to_owned();
    }
    format!("Keys in the log sign with {}.", all.join(", "))
}

fn rotation(figures: &Figures) -> Found {
    let [activated, retired] = ["key.activated", "key.retired"].map(|event| acts(figures, event));
    let mut told = vec![format!("Versions that began to sign: {activated}; that stopped: {retired}.")];
    let is_active = |version: &&Version| version.state == "active";
    let oldest = figures.keys.0.values().filter(is_active).filter_map(|version| version.age_days).max();
    told.extend(
        oldest.map(|days| format!("Age of the oldest active version at the period's end: {days} days.")),
    );
    (told, Vec::new())
}

fn secrets(figures: &Figures) -> Found {
    let passed: u64 = figures.exceptions.0.values().sum();
    let told = vec![refused(figures, &["data."], "Rules on secrets")];
    let gap =
        format!("Claims that held what a detector finds and the configuration lets pass there: {passed}.");
    (told, if passed > 0 { vec![gap] } else { Vec::new() })
}

fn integrity(verification: &Verification, figures: &Figures) -> Found {
    let mut told = vec![verification.extent.clone()];
    let mut gaps = Vec::new();
    if !verification.sound {
        gaps.push(format!("The log does not verify; problems: {}.", verification.problem_count));
    }
    match &figures.last_seal {
        Some(last) => {
            told.push(format!("Signed checkpoints (log.sealed): {}, the last at {last}.", figures.seals))
        }
        None => gaps.push(
            "No signed checkpoint in the period: who can write the files can forge all of it.".to_owned(),
        ),
    }
    (told, gaps)
}

fn clock(figures: &Figures) -> Found {
    let [jumped, untrusted, accepted] =
        ["clock.jumped", "clock.untrusted", "clock.accepted"].map(|event| events(figures, event));
    let told = format!(
        "Jumps: {jumped}; untrusted for another reason: {untrusted}; accepted by an operator: {accepted}."
    );
    let unsynchronised = figures.unsynchronised;
    let gap = format!("JWTs dated while the kernel did not call its clock synchronised: {unsynchronised}.");
    (vec![told], if unsynchronised > 0 { vec![gap] } else { Vec::new() })
}

fn policy(figures: &Figures) -> Found {
    let count = figures.policies.0.len();
    let mut told = vec![format!("Versions of the policy that decided in the period: {count}.")];
    match &figures.policy_changed {
        Some((time, digest)) => {
            told.push(format!("The one last in force is {digest}, since {time} at the latest."))
        }
        None => told.push("No record says which policy was loaded.".to_owned()),
    }
    (told, Vec::new())
}
