//! Records as the OpenTelemetry protocol has them over HTTP, in JSON, and what collectors answer.
//!
//! What a collector refuses for good is given up record by record, and told; whatever else fails is tried again.

mod answer;
mod request;

pub(super) use request::record;

use super::Secret;
use super::batch::Message;
use super::target::{Failure, Progress, Refused};
use crate::sys::{process, secure_file};
use crate::telemetry::Chain;
use crate::transport::{HttpClient, PostError, TlsError};
use answer::{Verdict, judge};
use hyper::Uri;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use secrecy::ExposeSecret;
use std::path::Path;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// A collector answers within this.
const WITHIN: Duration = Duration::from_secs(10);
/// Bytes of an answer, at most.
const ANSWER: usize = 64 * 1024;

/// One collector.
pub(super) struct Collector {
    client: HttpClient,
    url: Uri,
    secrets: Vec<(HeaderName, Secret)>,
    /// With the secrets, once they are read.
    headers: Option<HeaderMap>,
    head: Vec<u8>,
    /// Records of a request, at most: fewer after one that was not answered in time.
    most: usize,
    /// A request is answered within this.
    within: Duration,
}

impl Collector {
    pub(super) fn new(
        url: &Uri,
        ca: Option<&Path>,
        secrets: &[(HeaderName, Secret)],
    ) -> Result<Self, TlsError> {
        Ok(Self {
            client: HttpClient::new(ca)?,
            url: url.clone(),
            secrets: secrets.to_vec(),
            headers: None,
            head: request::head(&process::host_name()),
            most: usize::MAX,
            within: WITHIN,
        })
    }

    pub(super) async fn send(
        &mut self,
        mut messages: &[Message],
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let mut most = messages.len();
        while !messages.is_empty() {
            let (now, later) = messages.split_at(most.min(self.most).clamp(1, messages.len()));
            let (Some(first), Some(last)) = (now.first(), now.last()) else { break };
            match self.post(now).await? {
                Verdict::Taken(refused) => {
                    self.most = self.most.saturating_mul(2);
                    if let Some((count, reason)) = refused {
                        // Which ones they were, it does not say.
                        let after = first.after.seq.saturating_sub(1);
                        let count = count.min(now.len() as u64);
                        progress.refused.push(Refused { after, count, reason });
                    }
                }
                Verdict::Refused(_) if now.len() > 1 => {
                    most = now.len() / 2;
                    continue;
                }
                Verdict::Refused(reason) => {
                    let after = first.after.seq.saturating_sub(1);
                    progress.refused.push(Refused { after, count: 1, reason });
                    // The others may be good.
                    most = later.len();
                    self.most = self.most.saturating_mul(2);
                }
                Verdict::Later(failure) => {
                    // A secret may have been replaced.
                    self.headers = None;
                    return Err(failure);
                }
            }
            progress.safe = last.after.clone();
            messages = later;
        }
        Ok(())
    }

    async fn post(&mut self, messages: &[Message]) -> Result<Verdict, Failure> {
        let headers = match &self.headers {
            Some(headers) => headers.clone(),
            None => self.headers.insert(read_headers(self.secrets.clone()).await?).clone(),
        };
        let body = request::body(&self.head, messages);
        let deadline = Instant::now() + self.within;
        let has_secrets = !self.secrets.is_empty();
        match self.client.post_with(&self.url, headers, body.into(), ANSWER, deadline).await {
            Ok(answer) => Ok(judge(&answer, has_secrets)),
            // Its status says what became of the records.
            Err(PostError::TooLong(answer)) => Ok(judge(&answer, has_secrets)),
            Err(error) => {
                if matches!(error, PostError::Deadline) {
                    // On a slow line fewer may get out in time.
                    self.most = (messages.len() / 2).max(1);
                }
                Err(Failure::new(Chain(&error).to_string()))
            }
        }
    }
}

/// Secrets are read when they are needed, and again after a request failed.
async fn read_headers(secrets: Vec<(HeaderName, Secret)>) -> Result<HeaderMap, Failure> {
    let read = spawn_blocking(move || {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("jwsd/", env!("CARGO_PKG_VERSION"))));
        for (name, secret) in secrets {
            let path = match secret {
                Secret::File(path) => path,
                Secret::Credential(credential) => process::credentials_directory()
                    .ok_or_else(|| {
                        format!(
                            "credential {credential:?}: systemd passed none (is LoadCredential= set in the unit?)"
                        )
                    })?
                    .join(credential),
            };
            let secret = secure_file::read_secret(&path)
                .map_err(|error| format!("header {name}: it cannot be read: {}", Chain(&error)))?;
            let mut value = HeaderValue::from_str(secret.expose_secret())
                .map_err(|_| format!("header {name}: {} is no value of a header field", path.display()))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    });
    // A panic, which is logged where it happens.
    read.await.unwrap_or_else(|_| Err("a defect".to_owned())).map_err(Failure::new)
}

/// Sends these to a collector that is to answer within so long, until all are out or after many tries; how far that came.
#[cfg(test)]
pub(super) async fn send_slowly(url: &Uri, messages: &[Message], within: Duration) -> Progress {
    let mut collector = Collector::new(url, None, &[]).unwrap();
    collector.within = within;
    let mut progress = Progress::default();
    for _ in 0..20 {
        let left = messages.iter().filter(|message| message.after.seq > progress.safe.seq);
        let left: Vec<Message> = left.cloned().collect();
        if collector.send(&left, &mut progress).await.is_ok() {
            break;
        }
    }
    progress
}

/// What an answer is taken for, in words.
#[cfg(test)]
pub(super) fn judged(
    status: u16,
    retry: Option<&'static str>,
    (body, has_secrets): (&'static str, bool),
    now: jiff::Timestamp,
) -> String {
    let headers = retry.map(|retry| (hyper::header::RETRY_AFTER, HeaderValue::from_static(retry)));
    let answer = crate::transport::Answer {
        status: hyper::StatusCode::from_u16(status).unwrap(),
        headers: headers.into_iter().collect(),
        body: body.into(),
    };
    match answer::judge_at(&answer, has_secrets, now) {
        Verdict::Taken(None) => "taken".to_owned(),
        Verdict::Taken(Some((count, reason))) => format!("taken but {count}: {reason}"),
        Verdict::Refused(reason) => format!("refused: {reason}"),
        Verdict::Later(Failure { problem, after: None }) => format!("later: {problem}"),
        Verdict::Later(Failure { problem, after: Some(after) }) => format!("later, {after:?}: {problem}"),
    }
}
