//! The controls that auditors ask about: what each asks, where it comes from, and what jwsd does not do about it.

use serde::Serialize;

use super::figures::Figures;
use super::{Answers, Verification, evidence};
use crate::policy::CONTROLS;

/// One control, answered as far as it can be.
#[derive(Debug, Clone, Serialize)]
pub struct Control {
    /// Never renamed.
    pub id: &'static str,
    /// What is asked.
    pub asked: &'static str,
    /// Where it is asked.
    pub sources: &'static str,
    /// What is in force by the configuration, or always.
    pub settings: Vec<String>,
    /// What records of the period say.
    pub evidence: Vec<String>,
    /// What is missing.
    pub gaps: Vec<String>,
}

/// What is known of a control without configuration and log.
struct Topic {
    id: &'static str,
    /// What is asked; where it is empty, policy has the words.
    asked: &'static str,
    sources: &'static str,
    /// What holds whatever is configured.
    always: &'static str,
    /// What jwsd does not do.
    lacks: &'static str,
}

const fn topic(
    id: &'static str,
    asked: &'static str,
    sources: &'static str,
    always: &'static str,
    lacks: &'static str,
) -> Topic {
    Topic { id, asked, sources, always, lacks }
}

/// In the order of the report. ISO/IEC 27001 by the numbers of 2013, with that of 2022 in brackets.
const TOPICS: &[Topic] = &[
    topic("life.max", "", "SOC 2 CC6.1; ISO A.9.4.2 (8.5); PCI 8.2.8", "", ""),
    topic("life.session", "", "NIST 800-63B-4 2.2.3, 2.3.3", "", ""),
    topic(
        "life.claims",
        "",
        "SOC 2 CC6.1; ISO A.9.4",
        "Introspection refuses whatever is expired, early, of another issuer or audience, or of another form than is issued.",
        "",
    ),
    topic(
        "key.hsm",
        "private keys in an HSM or KMS, never in files, environment or memory of the issuer",
        "ISO A.10.1.2 (8.24); PCI 3.6, 3.7; SOC 2 CC6.1",
        "Backends sign: the daemon's own process never has a private key.",
        "",
    ),
    topic(
        "key.alg",
        "",
        "ISO A.10.1.1 (8.24); NIST SP 800-131A",
        "One algorithm per key; HMAC and none do not exist here.",
        "",
    ),
    topic(
        "key.rotate",
        "keys rotate on a schedule with overlap, and the key set is published",
        "PCI 3.7.4; ISO A.10.1.2; SOC 2 CC6.1",
        "",
        "",
    ),
    topic(
        "key.compromise",
        "a compromised key is stopped at once and its JWTs are invalid",
        "PCI 3.7.5; ISO A.16 (5.26); SOC 2 CC7.4",
        "jwsd keys revoke stops a version and takes it out of the key set.",
        "JWTs of a revoked version stay valid with verifiers that keep an older key set and do not ask the daemon.",
    ),
    topic("acc.issue", "", "ISO A.9.1, A.9.2 (5.15, 5.18); SOC 2 CC6.3; HIPAA 164.312(a)", "", ""),
    topic("acc.env", "", "SOC 2 CC8.1; ISO A.12.1.4 (8.31)", "", ""),
    topic("data.min", "", "GDPR 5(1)(c), 25; CCPA", "", ""),
    topic("data.secret", "", "GDPR 32; PCI 3.3, 3.5; HIPAA 164.312", "", ""),
    topic("data.encrypt", "", "GDPR 32; HIPAA 164.312(e); SOC 2 C1.1", "", ""),
    topic(
        "data.consent",
        "",
        "GDPR 6, 7",
        "jwsd revoke --consent takes back what relies on it, where the profile writes the consent's id into a claim.",
        "Withdrawal does not reach JWTs without that claim, nor verifiers that do not ask the daemon.",
    ),
    topic(
        "data.retain",
        "JWTs and traces of people do not persist without need",
        "GDPR 5(1)(e)",
        "JWTs are not stored; records have keyed tags of people.",
        "",
    ),
    topic(
        "data.erase",
        "a person's JWTs are invalidated and traces unlinked on erasure",
        "GDPR 17",
        "jwsd erase revokes the person's JWTs, destroys the key under which records tell of them, and then the key of the epoch before.",
        "Verifiers that do not ask the daemon accept the person's JWTs until they expire.",
    ),
    topic(
        "data.access",
        "a person can see what was issued about them, and revoke it",
        "GDPR 15",
        "jwsd audit search --subject finds a person's records, jwsd revoke --subject takes their JWTs back.",
        "",
    ),
    topic(
        "rev.jti",
        "JWTs are denied by their jti until they expire",
        "SOC 2 CC6.2; ISO A.9.2.6 (5.18)",
        "Revoked ids are kept, as hashes, until the JWTs have expired; introspection says of these that they are not active.",
        "",
    ),
    topic(
        "rev.near-real-time",
        "revocation that a user asks for takes effect at once, everywhere",
        "SOC 2 CC6.2",
        "A revocation by subject, session, consent, profile or of everything is in effect at introspection before it is acknowledged.",
        "Hosts do not share revocations, and verifiers that do not ask are not told: fleets and Token Status Lists are not built.",
    ),
    topic(
        "rev.replay",
        "a JWT that should be used once is used once",
        "ISO A.9.4; OWASP",
        "Introspection with replay=once says active to the first who asks, and to nobody after, over restarts.",
        "Hosts do not share what is used up: fleets are not built.",
    ),
    topic(
        "log.all",
        "every issuance, refusal, validation, revocation, key and policy act is recorded: who, what, when, from where, result",
        "SOC 2 CC7.2; ISO A.12.4.1 (8.15); PCI 10.2; HIPAA 164.312(b)",
        "Issuance, refusals, dry runs, introspections, revocations, erasures, acts on keys, loads of policy and operators' acts are always recorded; nothing turns that off.",
        "",
    ),
    topic(
        "log.clean",
        "no JWTs, secrets or unmasked identifiers in logs",
        "GDPR 32; PCI 10.3",
        "Records have typed members that cannot hold a JWT or a claim; subjects, sessions and consents are keyed tags.",
        "",
    ),
    topic(
        "log.integrity",
        "logs cannot be changed unnoticed",
        "PCI 10.3.4; ISO A.12.4.2 (8.15); SOC 2 CC7.2",
        "Records are numbered without gaps, carry checksums and are leaves of a Merkle tree.",
        "",
    ),
    topic(
        "log.closed",
        "what cannot be recorded does not happen, and a failure of logging is noticed",
        "PCI 10.7",
        "No JWT is released before its record is on the disk; nothing turns that off.",
        "",
    ),
    topic(
        "log.siem",
        "misuse reaches the SIEM",
        "ISO A.16.1 (5.25); SOC 2 CC7.3",
        "jwsd audit export writes OCSF events, and jwsd audit tail --follow records as they come.",
        "Sinks that send records by themselves (syslog, journald, OTLP) are not built.",
    ),
    topic(
        "log.session",
        "JWT activity can be tied to a user's session",
        "SOC 2 CC7.2",
        "A session that a request names is recorded as a tag; jwsd audit search and jwsd revoke take one.",
        "",
    ),
    topic("mon.reissue", "", "SOC 2 CC7.2, A1.1; ISO A.12.4", "", "Metrics of alerts are not built."),
    topic(
        "mon.service",
        "health, latency, errors, age of keys and state of HSMs are visible",
        "SOC 2 A1.1, CC7.1",
        "jwsd status and the health end points.",
        "Metrics, traces, dashboards and alert rules are not built.",
    ),
    topic("time.sync", "", "PCI 10.6; ISO A.12.4.4 (8.17)", "", ""),
    topic(
        "gov.policy",
        "policy is written, versioned, reviewed",
        "ISO A.5.1; SOC 2 CC5.3",
        "The policy is a file; every record of a request names its digest.",
        "A review that changes nothing leaves no record: it has to be shown otherwise.",
    ),
    topic("gov.evidence", "controls map to requirements and can be shown", "all", "This report.", ""),
    topic(
        "gov.drill",
        "the response to an incident is rehearsed",
        "ISO A.16.1 (5.24); SOC 2 CC7.4",
        "",
        "A drill and its script are not built; records of revoked test keys are all that there can be.",
    ),
];

/// One row for each, of what a configuration answers, where there is one, and what the log shows.
pub fn controls(answers: Option<&Answers>, verification: &Verification, figures: &Figures) -> Vec<Control> {
    let row = |topic: &Topic| {
        let mut control = Control {
            id: topic.id,
            asked: asked(topic),
            sources: topic.sources,
            settings: some(topic.always),
            evidence: Vec::new(),
            gaps: some(topic.lacks),
        };
        match answers {
            Some(answers) => {
                if let Some(answer) = answers.get(topic.id) {
                    control.settings.extend(answer.settings.iter().cloned());
                    control.gaps.extend(answer.gaps.iter().cloned());
                }
                let has_nothing = control.settings.is_empty() && control.gaps.is_empty();
                control
                    .gaps
                    .extend(has_nothing.then(|| "The configuration says nothing about it.".to_owned()));
            }
            None if control.settings.is_empty() && control.gaps.is_empty() || topic.id == "gov.evidence" => {
                control
                    .gaps
                    .push("Settings are not shown: no configuration was given (--config).".to_owned());
            }
            None => {}
        }
        evidence::add(&mut control, verification, figures);
        control
    };
    TOPICS.iter().map(row).collect()
}

fn asked(topic: &Topic) -> &'static str {
    match topic.asked {
        "" => CONTROLS.iter().find(|(id, _)| *id == topic.id).map_or("", |(_, asked)| asked),
        asked => asked,
    }
}

fn some(text: &str) -> Vec<String> {
    if text.is_empty() { Vec::new() } else { vec![text.to_owned()] }
}
