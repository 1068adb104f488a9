//! Which person is meant, in commands that ask a running daemon about one.

use serde_json::{Map, Value};

use crate::subject::Kind;

/// A person, as applications call them.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Person {
    /// The subject with this name: the `sub` of their JWTs
    #[arg(long, value_name = "NAME")]
    pub(super) subject: Option<String>,
    /// The session with this id; beside --subject, theirs alone
    #[arg(long, value_name = "ID")]
    pub(super) session: Option<String>,
    /// The consent with this id; beside --subject, theirs alone
    #[arg(long, value_name = "ID")]
    pub(super) consent: Option<String>,
    /// Whose names these are: the `iss` of the JWTs; goes without saying where there is one
    #[arg(long, value_name = "ISSUER")]
    pub(super) issuer: Option<String>,
}

impl Person {
    /// Who it is: those who have no subject are known by their session, or by their consent.
    pub(super) fn named(&self) -> Option<(Kind, &str)> {
        let all =
            [(Kind::Subject, &self.subject), (Kind::Session, &self.session), (Kind::Consent, &self.consent)];
        all.into_iter().find_map(|(kind, name)| Some((kind, name.as_deref()?)))
    }

    /// What else is said of them.
    pub(super) fn more(&self) -> Vec<(Kind, &str)> {
        let named = self.named().map(|(kind, _)| kind);
        let all = [(Kind::Session, &self.session), (Kind::Consent, &self.consent)];
        let all = all.into_iter().filter_map(|(kind, name)| Some((kind, name.as_deref()?)));
        all.filter(|(kind, _)| Some(*kind) != named).collect()
    }

    /// For the daemon.
    pub(super) fn body(&self, reason: Option<&str>) -> Map<String, Value> {
        let mut body = Map::new();
        let mut put = |name: &str, text: Option<&str>| {
            body.extend(text.map(|text| (name.to_owned(), Value::from(text))));
        };
        if let Some((kind, name)) = self.named() {
            let member = match kind {
                Kind::Subject => "subject",
                Kind::Session => "session",
                Kind::Consent => "consent",
            };
            put(member, Some(name));
        }
        put("issuer", self.issuer.as_deref());
        put("reason", reason);
        body
    }
}
