//! The page: one HTML file that needs nothing else, no script, no network. Each section says from which records it is.

use super::figures::{Kept, ProfileUse, Tally};
use super::markup::{Cell, Markup, moment, number, table};
use super::said::Told;
use super::{Report, chart, frame};
use crate::policy::RULES;

/// Id, title, whence it is, content.
type Section = (&'static str, &'static str, &'static str, fn(&mut Markup, &Report));
const SECTIONS: [Section; 14] = [
    (
        "controls",
        "Controls",
        "Settings are the configuration's, evidence is the period's records; ISO/IEC 27001 by Annex A of 2013, in brackets of 2022.",
        controls,
    ),
    (
        "time",
        "JWTs over time",
        "From jwt.issued, jwt.denied, jwt.failed and policy.checked. A JWT of jwt.issued that was not made after all has a jwt.failed too.",
        over_time,
    ),
    (
        "callers",
        "Callers",
        "From the same records, request.rejected, jwt.undelivered and alert.raised, by actor.name.",
        callers,
    ),
    (
        "profiles",
        "Profiles",
        "From the same records, by profile; lifetimes are exp less iat of jwt.issued; what is in force is the newest policy.loaded.",
        profiles,
    ),
    (
        "rules",
        "Rules broken",
        "From rules of jwt.denied and request.rejected (refused), jwt.failed (failed) and policy.checked (dry runs).",
        rules,
    ),
    ("alerts", "Alerts", "From alert.raised, one row for each rule, profile and caller.", alerts),
    (
        "keys",
        "Keys",
        "From key.*, those before the period too; JWTs from jwt.issued, checkpoints from log.sealed, tests from key.tested of the period.",
        keys,
    ),
    ("key-acts", "Acts on keys", "From key.*, but key.tested and key.quarantined.", |markup, report| {
        told(markup, &report.figures.key_acts)
    }),
    (
        "policy",
        "Policy",
        "From policy.loaded of whole policies, policy.reloaded and policy.refused; requests by the digest that their records name.",
        policy,
    ),
    (
        "operators",
        "Operators' acts",
        "From all records with an actor that are not a caller's requests; two operators where one proposed it (admin.proposed).",
        |markup, report| told(markup, &report.figures.operators),
    ),
    ("clock", "Clock", "From clock.*.", |markup, report| told(markup, &report.figures.clock)),
    ("log", "Daemon and log", "From daemon.* and log.*, but log.sealed.", |markup, report| {
        told(markup, &report.figures.log)
    }),
    (
        "backends",
        "Backends",
        "From backend.*, breaker.opened, key.quarantined and pin.refused, by object.",
        backends,
    ),
    ("events", "All records", "Every record of the period, by event and outcome.", events),
];
/// After those, if there is a configuration.
const SETTINGS: (&str, &str) = ("settings", "Settings");

/// The whole page.
pub fn html(report: &Report) -> String {
    let mut markup = Markup::default();
    frame::begin(&mut markup, format_args!("Audit report {}", period(report)));
    head(&mut markup, report);
    for (id, title, source, content) in SECTIONS {
        markup.raw("<section id=\"").raw(id).raw("\">\n<h2>").raw(title).raw("</h2>\n<p class=\"source\">");
        markup.raw(source).raw("</p>\n");
        content(&mut markup, report);
        markup.raw("</section>\n");
    }
    settings(&mut markup, report);
    frame::end(markup)
}

fn period(report: &Report) -> String {
    let [from, to] = [report.figures.from, report.figures.to].map(|time| moment(&time.to_string()));
    format!("{from} to {to}")
}

fn head(markup: &mut Markup, report: &Report) {
    let figures = &report.figures;
    markup.raw("<header>\n<h1>Audit report</h1>\n");
    frame::verdict(markup, &report.verification);
    let place = |place: &Option<(u64, String)>| {
        place
            .as_ref()
            .map_or_else(|| "none".to_owned(), |(seq, time)| format!("number {seq} ({})", moment(time)))
    };
    let records = match figures.records {
        0 => "none".to_owned(),
        count => format!("{}, {} to {}", number(count), place(&figures.first), place(&figures.last)),
    };
    let totals = &figures.totals;
    let requests = format!(
        "{} issued, {} denied, {} failed, {} checked, {} alerts",
        number(totals.issued),
        number(totals.denied),
        number(totals.failed),
        number(totals.checked),
        number(totals.alerts)
    );
    let configuration = report.settings.as_ref().map_or_else(
        || "none given: settings are not shown".to_owned(),
        |settings| {
            format!("{}, environment {:?}, policy {}", settings.file, settings.environment, settings.policy)
        },
    );
    markup.raw("<dl>\n");
    for (term, text) in [
        ("Period (UTC)", format!("{}, the end not included", period(report))),
        ("Log", report.log.clone()),
        ("Records of the period", records),
        ("JWTs", requests),
        ("Configuration", configuration),
        ("Made", format!("{} by jwsd {}", moment(&report.made.to_string()), report.version)),
    ] {
        markup.raw("<dt>").raw(term).raw("</dt><dd>").text(text).raw("</dd>\n");
    }
    markup.raw("</dl>\n</header>\n<nav aria-label=\"Contents\"><ol>\n");
    let last = report.settings.as_ref().map(|_| SETTINGS);
    for (id, title) in SECTIONS.iter().map(|(id, title, ..)| (*id, *title)).chain(last) {
        markup.raw("<li><a href=\"#").raw(id).raw("\">").raw(title).raw("</a></li>\n");
    }
    markup.raw("</ol></nav>\n");
}

fn controls(markup: &mut Markup, report: &Report) {
    markup.raw("<div class=\"wide controls\"><table>\n<thead><tr><th scope=\"col\">Control</th><th scope=\"col\">Asked</th>");
    markup.raw("<th scope=\"col\">Setting in force</th><th scope=\"col\">Evidence</th><th scope=\"col\">Gaps</th></tr>");
    markup.raw("</thead>\n<tbody>\n");
    for control in &report.controls {
        markup.raw("<tr id=\"control-").text(control.id).raw("\"><td><code>").text(control.id);
        markup
            .raw("</code></td><td><p>")
            .text(control.asked)
            .raw("</p><p class=\"from\">")
            .text(control.sources);
        markup.raw("</p></td>");
        for (cell, lines, nothing) in [
            ("<td>", &control.settings, "none"),
            ("<td>", &control.evidence, "no record speaks of it"),
            ("<td class=\"gap\">", &control.gaps, "none known"),
        ] {
            markup.raw(cell);
            if lines.is_empty() {
                markup.raw("<p class=\"none\">").raw(nothing).raw("</p>");
            }
            for line in lines {
                markup.raw("<p>").text(line).raw("</p>");
            }
            markup.raw("</td>");
        }
        markup.raw("</tr>\n");
    }
    markup.raw("</tbody></table></div>\n");
}

fn counts(tally: &Tally) -> [Cell; 7] {
    let Tally { issued, denied, failed, checked, rejected, undelivered, alerts } = tally;
    [issued, denied, failed, checked, rejected, undelivered, alerts].map(|count| Cell::Number(*count))
}

fn over_time(markup: &mut Markup, report: &Report) {
    let figures = &report.figures;
    markup.raw("<p>One bar is one ").text(chart::width(figures)).raw(". Each row has its own scale.</p>\n");
    chart::draw(markup, figures);
    let is_used = |tally: &Tally| *tally != Tally::default();
    let used = figures.buckets.iter().filter(|bucket| is_used(&bucket.tally));
    let row = |bucket: &super::figures::Bucket| {
        let from = Cell::text(moment(&bucket.from.to_string()).get(..16).unwrap_or_default());
        std::iter::once(from).chain(counts(&bucket.tally)).collect()
    };
    markup.raw("<details><summary>The same in numbers</summary>\n");
    let head = ["From (UTC)", "Issued", "Denied", "Failed", "Checked", "Rejected", "Undelivered", "Alerts"];
    table(markup, &head, used.map(row).collect());
    markup.raw("</details>\n");
}

fn callers(markup: &mut Markup, report: &Report) {
    let row =
        |(name, tally): (&String, &Tally)| std::iter::once(Cell::text(name)).chain(counts(tally)).collect();
    let rows = report.figures.callers.0.iter().map(row).collect();
    let head = ["Caller", "Issued", "Denied", "Failed", "Checked", "Rejected", "Undelivered", "Alerts"];
    table(markup, &head, rows);
}

fn profiles(markup: &mut Markup, report: &Report) {
    let row = |(name, profile): (&String, &ProfileUse)| {
        let ProfileUse { tally, longest, encrypted, with_session, with_consent, with_exceptions, loaded } =
            profile;
        let more = [encrypted, with_session, with_consent, with_exceptions].map(|count| Cell::Number(*count));
        let longest = longest.map(|seconds| format!("{seconds} s")).unwrap_or_default();
        let Tally { issued, denied, failed, checked, .. } = tally;
        let counts = [issued, denied, failed, checked].map(|count| Cell::Number(*count));
        let last = [Cell::Text(longest), Cell::text(loaded.as_deref().unwrap_or_default())];
        std::iter::once(Cell::text(name)).chain(counts).chain(more).chain(last).collect()
    };
    let rows = report.figures.profiles.0.iter().map(row).collect();
    let head = [
        "Profile",
        "Issued",
        "Denied",
        "Failed",
        "Checked",
        "Encrypted",
        "Session",
        "Consent",
        "Exceptions",
        "Longest",
        "In force",
    ];
    table(markup, &head, rows);
    let exceptions = &report.figures.exceptions.0;
    if !exceptions.is_empty() {
        markup.raw("<h3>Exceptions used</h3>\n<p class=\"source\">From exceptions of jwt.issued.</p>\n");
        let row = |(name, count): (&String, &u64)| vec![Cell::code(name), Cell::Number(*count)];
        table(markup, &["Detector and claim", "JWTs"], exceptions.iter().map(row).collect());
    }
}

fn rules(markup: &mut Markup, report: &Report) {
    let mut rules: Vec<_> = report.figures.rules.0.iter().collect();
    rules.sort_by_key(|(_, rule)| std::cmp::Reverse(rule.refused + rule.failed + rule.checked));
    let demands = |id: &str| RULES.iter().find(|(known, _)| *known == id).map_or("", |(_, demands)| demands);
    let rows = rules.into_iter().map(|(id, rule)| {
        vec![
            Cell::code(id),
            Cell::Number(rule.refused),
            Cell::Number(rule.failed),
            Cell::Number(rule.checked),
            Cell::time(&rule.last),
            Cell::text(demands(id)),
        ]
    });
    table(
        markup,
        &["Rule", "Refused", "Failed", "Dry runs", "Last (UTC)", "What it demands"],
        rows.collect(),
    );
}

fn alerts(markup: &mut Markup, report: &Report) {
    let alerts = &report.figures.alerts;
    let rows = alerts.shown.iter().map(|alert| {
        vec![
            Cell::code(&alert.rule),
            Cell::text(&alert.profile),
            Cell::text(&alert.caller),
            Cell::Number(alert.records),
            Cell::Number(alert.greatest),
            Cell::time(&alert.first),
            Cell::time(&alert.last),
            Cell::text(&alert.reason),
        ]
    });
    let head = [
        "Alert",
        "Profile",
        "Caller",
        "Records",
        "Greatest",
        "First (UTC)",
        "Last (UTC)",
        "Last one's words",
    ];
    table(markup, &head, rows.collect());
    more(markup, alerts.more);
}

fn keys(markup: &mut Markup, report: &Report) {
    let mut keys: Vec<_> = report.figures.keys.0.iter().collect();
    keys.sort_by(|(_, a), (_, b)| (&a.key, &a.made).cmp(&(&b.key, &b.made)));
    let rows = keys.into_iter().map(|(kid, version)| {
        let made = if version.adopted { "adopted" } else { "made" };
        let steps = [
            (made, &version.made),
            ("published", &version.published),
            ("active", &version.activated),
            ("retired", &version.retired),
            ("removed", &version.removed),
            ("revoked", &version.revoked),
            ("destroyed", &version.destroyed),
        ];
        let steps =
            steps.iter().filter_map(|(step, time)| Some(format!("{step} {}", moment(time.as_ref()?))));
        let is_bad = matches!(version.state, "revoked") || version.quarantines > 0;
        vec![
            Cell::text(&version.key),
            Cell::code(kid),
            Cell::text(version.alg.as_deref().unwrap_or_default()),
            if is_bad { Cell::Bad(version.state.to_owned()) } else { Cell::text(version.state) },
            version.age_days.map_or_else(|| Cell::text("unknown"), |days| Cell::Text(format!("{days} d"))),
            Cell::Lines(steps.collect()),
            Cell::Number(version.jwts),
            Cell::Number(version.seals),
            Cell::Number(version.tests),
            Cell::Number(version.quarantines),
        ]
    });
    let head = [
        "Key",
        "Version",
        "Algorithm",
        "State",
        "Age",
        "Life (UTC)",
        "JWTs",
        "Checkpoints",
        "Tests",
        "Quarantines",
    ];
    table(markup, &head, rows.collect());
}

fn policy(markup: &mut Markup, report: &Report) {
    let figures = &report.figures;
    if let Some((time, digest)) = &figures.policy_changed {
        markup.raw("<p>Last in force: <code>").text(digest).raw("</code>, first loaded ").text(moment(time));
        markup.raw(" UTC after another one or as the first of the log.</p>\n");
    }
    let rows = figures.policies.0.iter().map(|(digest, policy)| {
        vec![
            Cell::code(digest),
            Cell::Number(policy.requests),
            Cell::time(&policy.first),
            Cell::time(&policy.last),
        ]
    });
    table(markup, &["Digest", "Requests", "First (UTC)", "Last (UTC)"], rows.collect());
    markup.raw("<h3>Loads and changes</h3>\n");
    told(markup, &figures.policy_acts);
}

fn backends(markup: &mut Markup, report: &Report) {
    let rows = report.figures.backends.0.iter().map(|(name, backend)| {
        vec![
            Cell::text(name),
            Cell::Number(backend.down),
            Cell::Number(backend.up),
            Cell::Number(backend.breakers),
            Cell::Number(backend.quarantines),
            Cell::Number(backend.pins),
            Cell::time_of(backend.last.as_ref()),
            Cell::text(backend.reason.as_deref().unwrap_or_default()),
        ]
    });
    let head =
        ["Backend", "Down", "Up", "Breaker", "Quarantined", "PIN refused", "Last fault (UTC)", "Its reason"];
    table(markup, &head, rows.collect());
}

fn events(markup: &mut Markup, report: &Report) {
    let rows = report.figures.events.0.iter().map(|(event, outcomes)| {
        let counts = [outcomes.success, outcomes.denied, outcomes.failed, outcomes.sum()].map(Cell::Number);
        std::iter::once(Cell::code(event)).chain(counts).collect()
    });
    table(markup, &["Event", "Success", "Denied", "Failed", "All"], rows.collect());
}

/// A list of single records.
fn told(markup: &mut Markup, kept: &Kept<Told>) {
    let rows = kept.shown.iter().map(|told| {
        let about = [&told.object, &told.kid].into_iter().flatten().cloned();
        let policies = [told.previous.as_ref().map(|digest| format!("was {digest}")), told.policy.clone()];
        let by = told.by.clone().unwrap_or_else(|| "the daemon".to_owned());
        let proposed = told.proposed_by.as_ref().map(|by| format!("proposed by {by}"));
        vec![
            Cell::time(&told.time),
            Cell::Number(told.seq),
            Cell::code(&told.event),
            if told.outcome == "success" { Cell::text("success") } else { Cell::Bad(told.outcome.clone()) },
            Cell::Lines(std::iter::once(by).chain(proposed).collect()),
            Cell::Lines(about.chain(policies.into_iter().flatten()).collect()),
            Cell::text(told.reason.as_deref().unwrap_or_default()),
        ]
    });
    table(markup, &["Time (UTC)", "Record", "Event", "Outcome", "By", "About", "Reason"], rows.collect());
    more(markup, kept.more);
}

fn more(markup: &mut Markup, count: u64) {
    if count > 0 {
        markup
            .raw("<p class=\"more\">And ")
            .text(number(count))
            .raw(" more records: see jwsd audit search.</p>\n");
    }
}

fn settings(markup: &mut Markup, report: &Report) {
    let Some(settings) = &report.settings else { return };
    let (id, title) = SETTINGS;
    markup.raw("<section id=\"").raw(id).raw("\">\n<h2>").raw(title).raw("</h2>\n<p class=\"source\">From ");
    markup.text(&settings.file).raw(", as it was when the report was made.</p>\n");
    for listing in &settings.tables {
        markup.raw("<h3>").raw(listing.title).raw("</h3>\n");
        let row = |row: &Vec<String>| row.iter().map(|text| Cell::text(text)).collect();
        table(markup, listing.head, listing.rows.iter().map(row).collect());
    }
    markup.raw("</section>\n");
}
