//! `POST /v1/reload` on the admin socket. The daemon does it; this asks, and says what came of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::json as value;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::exit::Exit;
use super::problem::Problem;
use super::sign::ONE;
use super::{Api, InForce, json};
use crate::admin::{AdminError, By};
use crate::audit::Actor;
use crate::transport::PeerCredentials;

/// Longer than reading it, writing the files for verifiers and recording it may take together.
const RELOAD_WITHIN: Duration = Duration::from_secs(60);

/// That the configuration file is to be read again.
pub struct Reload {
    /// Who asks.
    pub by: By,
    /// Where to say what came of it.
    pub done: oneshot::Sender<Result<Reloaded, NotReloaded>>,
}

/// Names that another configuration adds, removes and changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Only there.
    pub added: Vec<String>,
    /// Not there any more.
    pub removed: Vec<String>,
    /// Not the same.
    pub changed: Vec<String>,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// False when the file says what is in force already.
    pub changed: bool,
    /// Digest of the policy in force now.
    pub policy: String,
    /// Digest of the policy before.
    pub previous: String,
    /// What became of profiles.
    pub profiles: Changes,
    /// What became of callers.
    pub callers: Changes,
    /// What became of the keys that JWTs are encrypted to, by audience.
    pub recipients: Changes,
    /// Other sections that changed.
    pub settings: Vec<String>,
}

impl fmt::Display for Reloaded {
    /// Only what changed, on one line: `profiles +new -old ~other; callers ~billing; limits`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let named =
            [("profiles", &self.profiles), ("callers", &self.callers), ("recipients", &self.recipients)];
        for (what, changes) in named {
            let Changes { added, removed, changed } = changes;
            let all = [("+", added), ("-", removed), ("~", changed)];
            let names: Vec<String> = all
                .iter()
                .flat_map(|(mark, names)| names.iter().map(move |name| format!("{mark}{name}")))
                .collect();
            if !names.is_empty() {
                parts.push(format!("{what} {}", names.join(" ")));
            }
        }
        parts.extend(self.settings.iter().cloned());
        f.write_str(&parts.join("; "))
    }
}

/// One fault of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Of the key, such as `profile.access-token.lifetime.max`; empty for the file as a whole.
    pub path: String,
    /// 1-based; 0 when it has no place in the text.
    pub line: usize,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// Everything that is wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Faulty {
    /// Never empty.
    pub faults: Vec<Fault>,
    /// The same as `jwsd check` prints it.
    pub report: String,
}

/// Why nothing changed.
#[derive(Debug)]
pub enum NotReloaded {
    /// The file has faults, or changes what only a restart changes. Recorded.
    Refused {
        /// All of them.
        faulty: Faulty,
        /// The file may not be read, or others could have changed it.
        insecure: bool,
    },
    /// The file is good, but what has to be done first was not done.
    Failed(AdminError),
    /// The file, or what it names, was not read in time. Recorded.
    Slow,
}

impl From<AdminError> for NotReloaded {
    fn from(error: AdminError) -> Self {
        Self::Failed(error)
    }
}

impl Api {
    /// Has the file read again; answers with what came of it. Goes on if the operator hangs up.
    pub(super) async fn reload(
        &self,
        now: &InForce,
        peer: Arc<PeerCredentials>,
        id: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Exit> {
        if self.read(request, now.limits.body, ONE).await? != value!({}) {
            return Err(Problem::reload().into());
        }
        let (done, answer) = oneshot::channel();
        let by = By::operator(Actor::of(&peer, None), Some(id.to_owned()));
        self.reloads.try_send(Reload { by, done }).map_err(|_| Problem::overloaded())?;
        match timeout(RELOAD_WITHIN, answer).await {
            Ok(Ok(outcome)) => outcome.map(|reloaded| json(&reloaded)).map_err(exit),
            // The daemon ends.
            Ok(Err(_)) => Err(Problem::overloaded().into()),
            Err(_) => Err(Problem::reload_deadline().into()),
        }
    }
}

/// What is said of a reload that changed nothing.
fn exit(why: NotReloaded) -> Exit {
    let problem = match why {
        NotReloaded::Failed(error) => return error.into(),
        NotReloaded::Refused { faulty, insecure } => Problem::not_reloaded(faulty, insecure),
        NotReloaded::Slow => Problem::reload_slow(),
    };
    Exit { recorded: true, ..problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_nothing_says_so() {
        let faulty = || Faulty { faults: Vec::new(), report: String::new() };
        let refused = |insecure| NotReloaded::Refused { faulty: faulty(), insecure };
        for (why, status, code, recorded) in [
            (NotReloaded::Slow, 504, "reload.slow", true),
            (refused(false), 409, "reload.refused", true),
            (refused(true), 409, "reload.insecure", true),
            (NotReloaded::Failed(AdminError::Contended), 409, "key.busy", false),
        ] {
            let Exit { problem, recorded: is, .. } = exit(why);
            assert_eq!((problem.status.as_u16(), problem.code, is), (status, code, recorded));
        }
    }

    #[test]
    fn what_changed_is_told_on_one_line() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let recipients = Changes { changed: names(&["https://api.example.com"]), ..Changes::default() };
        let keys_alone = Reloaded {
            changed: true,
            policy: String::new(),
            previous: String::new(),
            profiles: Changes::default(),
            callers: Changes::default(),
            recipients,
            settings: Vec::new(),
        };
        assert_eq!(keys_alone.to_string(), "recipients ~https://api.example.com");
        let callers = Changes { added: names(&["a"]), removed: names(&["b"]), ..Changes::default() };
        let more = Reloaded { callers, settings: names(&["limits"]), ..keys_alone };
        assert_eq!(more.to_string(), "callers +a -b; recipients ~https://api.example.com; limits");
        let told = serde_json::to_value(&more).unwrap();
        assert_eq!(told["recipients"]["changed"], value!(["https://api.example.com"]));
    }
}
