//! Asking witnesses over HTTP at the start, before anything is written or signed: whether they have seen more of this
//! log than there is. They are shown its last seal, all at once.
//!
//! One that does not answer in time keeps nobody waiting: it is told of, and asked again with the next seal.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::timeout;

use super::Witness;
use super::http::{Contradicted, Refused, Remote, Told};
use crate::audit::history::History;
use crate::audit::open::OpenError;
use crate::audit::restore::{Contradiction, Restored, Seen, is_accepted};
use crate::telemetry::Chain;
use crate::transport::HttpClient;

/// A request at the start takes no longer.
const REQUEST: Duration = Duration::from_secs(3);
/// Nor does the log take longer to read for a proof.
const READING: Duration = Duration::from_secs(3);
/// Nor all of it; whether a contradiction was accepted is looked for after that, however long it takes.
const WITHIN: Duration = Duration::from_secs(8);

/// What one witness came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::audit) struct Asked {
    pub(in crate::audit) name: String,
    /// Size of the checkpoint that it has, or why it did not tell.
    pub(in crate::audit) answer: Result<u64, String>,
}

/// Asks all of them that are reached over HTTP. Without a seal there is nothing to show: those that know the log say so
/// after the first one.
pub(in crate::audit) fn ask(
    (dir, history, restored): (&Path, &History<'_>, &Restored),
    witnesses: &[Witness],
    now: Timestamp,
) -> Result<(Vec<Asked>, Vec<Contradiction>), OpenError> {
    let (mut asked, mut contradictions) = (Vec::new(), Vec::new());
    let mut clients = Vec::new();
    for remote in witnesses.iter().filter_map(Witness::remote) {
        let wrong = |problem: String| OpenError::Witness { witness: remote.key.name().to_owned(), problem };
        let client =
            HttpClient::new(remote.ca.as_deref()).map_err(|error| wrong(Chain(&error).to_string()))?;
        clients.push((remote, client));
    }
    let Some(seal) = restored.seal.as_ref().filter(|_| !clients.is_empty()) else {
        return Ok((asked, contradictions));
    };
    let here = seal.checkpoint.size;
    let told = Told { dir: dir.to_owned(), note: seal.note.clone(), checkpoint: seal.checkpoint.clone() };
    for ((remote, _), answer) in clients.iter().zip(answers(&clients, &told, now)) {
        let name = remote.key.name().to_owned();
        let (path, witness) = (dir.to_owned(), name.clone());
        match answer {
            Ok(size) => asked.push(Asked { name, answer: Ok(size) }),
            Err(Refused::Failed(problem) | Refused::Late(problem)) => {
                tracing::error!(
                    witness = name,
                    problem,
                    "Witness cannot be asked whether it has seen more of the log"
                );
                asked.push(Asked { name, answer: Err(problem) });
            }
            Err(Refused::Accepted { .. }) => {}
            Err(Refused::Contradicted { there, .. }) if is_accepted(history, &name, there)? => {}
            Err(Refused::Contradicted { there, how }) => {
                let error = match how {
                    Contradicted::Longer => OpenError::Truncated { path, witness, there, here },
                    Contradicted::Other => {
                        let problem = "and this log has none like it".to_owned();
                        OpenError::Different { path, witness, there, problem }
                    }
                };
                contradictions.push(Contradiction { witness: name, seen: Seen::Size(there), error });
            }
        }
    }
    Ok((asked, contradictions))
}

/// What each of them says, in order. Opening a log blocks, so this has a thread of its own.
fn answers(clients: &[(&Remote, HttpClient)], told: &Told, now: Timestamp) -> Vec<Result<u64, Refused>> {
    let failed = |problem: &str| Err(Refused::Failed(problem.to_owned()));
    let all = || -> std::io::Result<_> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let one = async |(remote, client): &(&Remote, HttpClient)| {
            let known = told.checkpoint.size;
            let adding = remote.show(client, told, known, (REQUEST, READING), now);
            let answer = timeout(WITHIN, adding).await.unwrap_or_else(|_| failed_in_time());
            answer.map(|cosigned| cosigned.size)
        };
        Ok(runtime.block_on(join_all(clients.iter().map(one))))
    };
    let asked = std::thread::scope(|scope| scope.spawn(all).join());
    match asked {
        Ok(Ok(answers)) => answers,
        Ok(Err(error)) => clients.iter().map(|_| failed(&error.to_string())).collect(),
        // A panic, which is logged where it happens.
        Err(_) => clients.iter().map(|_| failed("a defect")).collect(),
    }
}

fn failed_in_time<T>() -> Result<T, Refused> {
    Err(Refused::Failed("it does not answer in time".to_owned()))
}
