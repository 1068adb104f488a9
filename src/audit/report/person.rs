//! What a log says of one person, as a page for themselves and as a document: the answer to "what do you have on me?".
//!
//! In plain words, complete, and no more than the records say: the log has nothing of what was in a JWT. Pure.

mod told;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::markup::{Cell, Markup, moment, number, table};
use super::{Verification, frame};
use crate::subject::Kind;
use told::{Issued, duration, when};

/// What somebody or something of theirs is called.
#[derive(Debug, Clone, Serialize)]
pub struct Name {
    /// Of what it is the name.
    pub kind: Kind,
    /// The name.
    pub name: String,
}

/// All that there is of a person.
#[derive(Debug)]
pub struct Account {
    /// Who it is; what follows the first narrows what of theirs.
    pub about: Vec<Name>,
    /// At which issuer, if that was said.
    pub issuer: Option<String>,
    /// Version of the program that made it.
    pub version: &'static str,
    /// When it was made.
    pub made_at: Timestamp,
    /// Records written then or later.
    pub from: Option<Timestamp>,
    /// Records written before.
    pub until: Option<Timestamp>,
    /// The log, as it was named.
    pub log: String,
    /// Whether the log can be relied on.
    pub verification: Verification,
    /// As stored, oldest first.
    pub records: Vec<Value>,
}

impl Account {
    /// For programs.
    pub fn document(&self) -> Value {
        let checked = &self.verification;
        let mut document = json!({ "about": self.about });
        let mut put = |name: &str, value: Option<Value>| {
            if let (Some(value), Value::Object(members)) = (value, &mut document) {
                members.insert(name.to_owned(), value);
            }
        };
        put("issuer", self.issuer.as_deref().map(Value::from));
        put("made_at", Some(self.made_at.to_string().into()));
        put("version", Some(self.version.into()));
        put("from", self.from.map(|time| time.to_string().into()));
        put("until", self.until.map(|time| time.to_string().into()));
        let log = json!({
            "directory": self.log, "verified": checked.sound, "extent": checked.extent, "records": checked.records,
            "first": checked.first, "last": checked.last, "declared": checked.declared, "problems": checked.problems,
        });
        put("log", Some(log));
        put("records", Some(self.records.clone().into()));
        document
    }

    fn of<'a>(&'a self, event: &'a str) -> impl Iterator<Item = &'a Value> {
        self.records.iter().filter(move |record| told::text(record, "event") == event)
    }
}

/// The whole page.
pub fn html(account: &Account) -> String {
    let mut markup = Markup::default();
    frame::begin(&mut markup, "What the records say of you");
    let issued = Issued::all(&account.records, account.made_at);
    head(&mut markup, account, &issued);
    let sections: [(&'static str, &'static str, Content); 6] = [
        (
            "What was issued",
            "Each row is one pass about you: who asked for it, for whom it was meant and how long it counted. Times are UTC.",
            passes,
        ),
        ("Which applications asked, and for whom", "The same passes, counted.", applications),
        ("What went wrong", "Passes that were not made, or that the application did not take.", failures),
        ("Warnings about your account", "Raised when much more was asked about you than is usual.", alerts),
        (
            "Who looked you up",
            "Each time somebody had these records searched for you, this time included.",
            searches,
        ),
        ("What this page is not", "", limits),
    ];
    for (title, source, content) in sections {
        markup.raw("<section>\n<h2>").raw(title).raw("</h2>\n");
        if !source.is_empty() {
            markup.raw("<p class=\"source\">").raw(source).raw("</p>\n");
        }
        content(&mut markup, account, &issued);
        markup.raw("</section>\n");
    }
    frame::end(markup)
}

type Content = fn(&mut Markup, &Account, &[Issued]);

fn head(markup: &mut Markup, account: &Account, issued: &[Issued]) {
    markup.raw("<header>\n<h1>What the records say of you</h1>\n");
    markup.raw("<p>Programs prove to each other who you are, and what they may do for you, with short signed passes (JSON Web Tokens, ");
    markup.raw("or JWTs). This service signs them and keeps a record of each. Here is every record that is about you.</p>\n");
    frame::verdict(markup, &account.verification);
    let mut about = account.about.iter().map(|Name { kind, name }| match kind {
        Kind::Subject => format!("the person known as “{name}”"),
        Kind::Session => format!("the login session “{name}”"),
        Kind::Consent => format!("the consent “{name}”"),
    });
    let about = format!(
        "{}{}",
        about.next().unwrap_or_default(),
        about.map(|more| format!(", only what concerns {more}")).collect::<String>()
    );
    let good = issued.iter().filter(|pass| !pass.failed).count() as u64;
    let valid = issued.iter().filter(|pass| pass.is_valid).count() as u64;
    let time = |time: Option<Timestamp>, otherwise: &str| {
        time.map_or_else(|| otherwise.to_owned(), |time| moment(&time.to_string()))
    };
    let period = match (account.from, account.until) {
        (None, None) => "all that the log still has".to_owned(),
        (from, until) => {
            format!("from {} to before {}", time(from, "the beginning of the log"), time(until, "now"))
        }
    };
    let records = match (account.records.first(), account.records.last()) {
        (Some(first), Some(last)) => {
            let (count, first, last) = (number(account.records.len() as u64), when(first), when(last));
            format!("{count}, from {first} to {last}")
        }
        _ => "none".to_owned(),
    };
    markup.raw("<dl>\n");
    let issuer = account.issuer.clone().unwrap_or_else(|| "the one that this service has".to_owned());
    for (term, text) in [
        ("About", about),
        ("Issuer", issuer),
        ("Time (UTC)", period),
        ("Records", records),
        ("Passes issued", format!("{}, of which {} are valid still", number(good), number(valid))),
        ("Made", format!("{} by jwsd {}", moment(&account.made_at.to_string()), account.version)),
    ] {
        markup.raw("<dt>").raw(term).raw("</dt><dd>").text(text).raw("</dd>\n");
    }
    markup.raw("</dl>\n</header>\n");
}

fn passes(markup: &mut Markup, _: &Account, issued: &[Issued]) {
    let row = |pass: &Issued| {
        let until = match (pass.failed, pass.is_valid) {
            (true, _) => Cell::text("was not made"),
            (_, true) => Cell::Text(format!("{}, valid still", pass.until)),
            _ => Cell::Text(pass.until.clone()),
        };
        vec![
            Cell::Text(pass.when.clone()),
            Cell::text(pass.application),
            Cell::text(pass.purpose),
            Cell::Lines(pass.recipients.iter().map(|to| (*to).to_owned()).collect()),
            Cell::Text(pass.lasts.map(duration).unwrap_or_default()),
            until,
            Cell::Lines(pass.remarks.clone()),
            Cell::Number(pass.seq),
        ]
    };
    let head = ["When", "Application", "Purpose", "Meant for", "Counts for", "Until", "Remarks", "Record"];
    table(markup, &head, issued.iter().map(row).collect());
}

fn applications(markup: &mut Markup, _: &Account, issued: &[Issued]) {
    let mut counts = BTreeMap::<_, (u64, &str, &str)>::new();
    for pass in issued.iter().filter(|pass| !pass.failed) {
        let to = pass.recipients.join(", ");
        let (count, _, last) =
            counts.entry((pass.application, pass.purpose, to)).or_insert((0, &pass.when, &pass.when));
        *count += 1;
        *last = &pass.when;
    }
    let row =
        |((application, purpose, to), (count, first, last)): ((&str, &str, String), (u64, &str, &str))| {
            let texts = [application, purpose, &to, first, last].map(Cell::text);
            texts.into_iter().chain([Cell::Number(count)]).collect()
        };
    let head = ["Application", "Purpose", "Meant for", "First", "Last", "Passes"];
    table(markup, &head, counts.into_iter().map(row).collect());
}

fn failures(markup: &mut Markup, account: &Account, issued: &[Issued]) {
    let failed = account.of("jwt.failed").chain(account.of("jwt.undelivered"));
    let row = |record: &Value| {
        let what = match told::text(record, "event") {
            "jwt.failed" => "it was not made, for a fault of the service",
            _ => "it was made, but the application was gone before it could be handed over",
        };
        let jti = told::text(record, "jti");
        let pass = issued.iter().find(|pass| pass.jti == jti);
        let which = pass.map(|pass| format!("the pass of {} (record {})", pass.when, pass.seq));
        let whose = told::caller(record);
        vec![
            Cell::Text(when(record)),
            Cell::text(whose),
            Cell::Text(which.unwrap_or_default()),
            Cell::text(what),
            Cell::Number(told::seq(record)),
        ]
    };
    let head = ["When", "Application", "Which", "What happened", "Record"];
    table(markup, &head, failed.map(row).collect());
}

fn alerts(markup: &mut Markup, account: &Account, _: &[Issued]) {
    let row = |record: &Value| {
        vec![
            Cell::Text(when(record)),
            Cell::text(told::caller(record)),
            Cell::text(told::text(record, "profile")),
            Cell::text(told::text(record, "reason")),
            Cell::Number(told::seq(record)),
        ]
    };
    let head = ["When", "Application", "Purpose", "In the service's words", "Record"];
    table(markup, &head, account.of("alert.raised").map(row).collect());
}

fn searches(markup: &mut Markup, account: &Account, _: &[Issued]) {
    let row = |record: &Value| {
        let reason = match told::text(record, "reason") {
            "" => "none was given",
            reason => reason,
        };
        vec![
            Cell::Text(when(record)),
            Cell::Text(told::operator(record)),
            Cell::text(reason),
            Cell::Number(told::seq(record)),
        ]
    };
    let head = ["When", "Who (user on the service's machine)", "Why", "Record"];
    table(markup, &head, account.of("subject.searched").map(row).collect());
}

fn limits(markup: &mut Markup, _: &Account, _: &[Issued]) {
    markup.raw("<ul>\n");
    for line in [
        "Not what was in a pass. The service keeps no pass and none of its content, only what is listed above: when, for which \
         application and purpose, for whom, until when.",
        "Not what others did with it. Applications and those whom a pass was meant for keep data of their own: ask them.",
        "Not what was refused. When a request is refused, no pass is made, and the record does not say about whom it was.",
        "Not a list with your name. The records name nobody: a secret key of your own ties them to you. When that key is \
         destroyed (“erased”), nobody can tell any more which records are yours, and this page cannot be made again.",
        "Not about other names of yours, and not about another issuer of the same name: those count as somebody else.",
        "Not what is no longer there: older parts of the log may have been archived and removed.",
    ] {
        markup.raw("<li>").raw(line).raw("</li>\n");
    }
    markup.raw("</ul>\n");
}
