//! An endpoint that plays AWS KMS: real keys and signatures, KMS's limits, and faults by script.
//!
//! JSON 1.1 over HTTP on a free loopback port, in the test's own runtime. It looks at the access key and the time of a
//! request's signature, not at the signature itself.
#![allow(dead_code, unreachable_pub, reason = "every test binary uses another part")]

#[path = "fake_kms/keys.rs"]
pub mod keys;
#[path = "fake_kms/operations.rs"]
mod operations;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use keys::{Exception, Pair};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::task::JoinHandle;

/// What happens to a `Sign` request instead of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// An exception with a status.
    Exception(&'static str, u16),
    /// A gateway's page.
    Html(u16),
    /// 200 with half a body of JSON.
    Garbage,
    /// No answer, ever.
    Hang,
    /// The connection is closed.
    Close,
    /// An answer, but late.
    Late(Duration),
    /// A signature with one bit changed.
    BadSignature,
    /// A signature without its last byte.
    Truncated,
}

/// The key as the service describes it.
pub struct Key {
    pub pair: Arc<Pair>,
    pub spec: String,
    pub state: String,
    pub usage: String,
    pub origin: String,
    /// Seconds since it was made.
    pub age: i64,
    pub description: String,
    pub tags: Value,
    /// When it will be deleted, in seconds since 1970.
    pub deletion: Option<i64>,
    /// Made, but in no list yet.
    pub hidden: bool,
}

#[derive(Default)]
pub struct Script {
    pub keys: BTreeMap<String, Key>,
    pub aliases: BTreeMap<String, String>,
    /// For the next `Sign` requests, one each; `None` is an answer.
    pub next: VecDeque<Option<Fault>>,
    /// For so many in a hundred of all other `Sign` requests.
    pub share: Option<(Fault, u64)>,
    /// Before every answer.
    pub latency: Duration,
    /// Nothing is answered at all.
    pub black_hole: bool,
    /// What this service's clock is ahead of the real one.
    pub ahead: i64,
    /// Access keys that are refused, and how.
    pub refused: BTreeMap<String, &'static str>,
    /// Operations that are refused, and how.
    pub barred: BTreeMap<&'static str, &'static str>,
    /// Operations that are done, and whose answer is lost, once each.
    pub unheard: BTreeSet<&'static str>,
    /// Keys that are made are in no list yet.
    pub lags: bool,
    /// Requests by operation.
    pub asked: BTreeMap<String, u64>,
    /// Requests by access key.
    pub callers: BTreeMap<String, u64>,
    /// `Sign` requests by what became of them.
    pub signs: BTreeMap<String, u64>,
    /// `Sign` requests as CloudTrail records them.
    pub trail: Vec<Value>,
    /// `Sign` requests by MessageType.
    pub forms: BTreeMap<String, u64>,
    dice: u64,
}

/// A running endpoint; it ends when dropped.
pub struct FakeKms {
    pub region: String,
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    accept: JoinHandle<()>,
}

impl Drop for FakeKms {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

const ACCOUNT: &str = "111122223333";

impl FakeKms {
    pub async fn start(region: &str) -> Self {
        Self::start_at(region, "127.0.0.1:0").await
    }

    pub async fn start_at(region: &str, address: &str) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script { dice: 0x9E37_79B9, ..Script::default() }));
        let (shared, place) = (Arc::clone(&script), region.to_owned());
        let accept = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, region) = (Arc::clone(&shared), place.clone());
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        answer(Arc::clone(&script), region.clone(), request)
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { region: region.to_owned(), address, script, accept }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Adds a key that was made an hour ago; gives its ARN.
    pub fn add(&self, spec: &str) -> String {
        let id = uuid::Uuid::now_v7().simple().to_string();
        self.put(&format!("mrk-{id}"), spec, Arc::new(Pair::generate(spec)))
    }

    /// Adds a key with this id and material.
    pub fn put(&self, id: &str, spec: &str, pair: Arc<Pair>) -> String {
        let arn = format!("arn:aws:kms:{}:{ACCOUNT}:key/{id}", self.region);
        let key = Key {
            pair,
            spec: spec.to_owned(),
            state: "Enabled".to_owned(),
            usage: "SIGN_VERIFY".to_owned(),
            origin: "AWS_KMS".to_owned(),
            age: 3600,
            description: String::new(),
            tags: Value::Null,
            deletion: None,
            hidden: false,
        };
        self.script().keys.insert(arn.clone(), key);
        arn
    }

    /// The same multi-Region key here as there.
    pub fn replicate(&self, from: &Self, arn: &str) -> String {
        let (spec, pair) = {
            let script = from.script();
            let key = &script.keys[arn];
            (key.spec.clone(), Arc::clone(&key.pair))
        };
        self.put(arn.rsplit('/').next().unwrap(), &spec, pair)
    }

    /// `Sign` requests so far.
    pub fn signs(&self) -> u64 {
        self.script().signs.values().sum()
    }

    /// `Sign` requests that were not answered with a signature.
    pub fn faults(&self) -> u64 {
        // At one moment: while it works, the number that were signed can pass an older sum.
        let signs = &self.script().signs;
        signs.iter().filter(|(outcome, _)| *outcome != "ok").map(|(_, count)| count).sum()
    }

    /// `Sign` requests with this outcome: `ok`, an exception, or the fault's name.
    pub fn outcome(&self, outcome: &str) -> u64 {
        self.script().signs.get(outcome).copied().unwrap_or(0)
    }
}

impl Script {
    /// The same fault for the next `count` `Sign` requests.
    pub fn fail(&mut self, count: usize, fault: &Fault) {
        self.next.extend(std::iter::repeat_n(Some(fault.clone()), count));
    }

    fn fault(&mut self) -> Option<Fault> {
        if let Some(next) = self.next.pop_front() {
            return next;
        }
        let (fault, percent) = self.share.clone()?;
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice % 100 < percent).then_some(fault)
    }

    fn key(&self, name: &str, region: &str) -> Result<(String, &Key), Exception> {
        let arn = match self.aliases.get(name) {
            Some(arn) => arn.clone(),
            None if name.starts_with("arn:") => name.to_owned(),
            None => format!("arn:aws:kms:{region}:{ACCOUNT}:key/{name}"),
        };
        match self.keys.get(&arn) {
            Some(key) => Ok((arn, key)),
            None => Err(("NotFoundException", format!("Key '{name}' does not exist"))),
        }
    }
}

type Answer = Result<Response<Full<Bytes>>, std::io::Error>;

/// How a `Sign` request will end; counted when it comes, so that an abandoned one counts too.
fn decide(script: &mut Script, header: &Headers) -> (Option<Fault>, Option<Exception>) {
    let now = Timestamp::now().as_second() + script.ahead;
    *script.asked.entry(header.action.clone()).or_default() += 1;
    *script.callers.entry(header.access_key.clone()).or_default() += 1;
    let refused = script.refused.get(&header.access_key).map(|code| (*code, "refused".to_owned()));
    let skew = header.signed - now;
    let skewed = (skew.abs() > 300).then(|| {
        let what = if skew < 0 { "Signature expired" } else { "Signature not yet current" };
        ("InvalidSignatureException", format!("{what}: {} against {now}", header.signed))
    });
    let barred = script.barred.get(header.action.as_str()).map(|code| (*code, "barred".to_owned()));
    let exception = refused.or(skewed).or(barred);
    let fault = (header.action == "Sign" && exception.is_none()).then(|| script.fault()).flatten();
    (fault, exception)
}

struct Headers {
    action: String,
    access_key: String,
    signed: i64,
}

impl Headers {
    fn of(request: &Request<Incoming>) -> Self {
        let text = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let signed = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text("x-amz-date")).unwrap();
        let credential = text("authorization").split("Credential=").nth(1).unwrap_or_default();
        Self {
            action: text("x-amz-target").trim_start_matches("TrentService.").to_owned(),
            access_key: credential.split('/').next().unwrap_or_default().to_owned(),
            signed: jiff::tz::TimeZone::UTC.to_timestamp(signed).unwrap().as_second(),
        }
    }
}

async fn answer(script: Arc<Mutex<Script>>, region: String, request: Request<Incoming>) -> Answer {
    let header = Headers::of(&request);
    let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    if body.starts_with(b"Action=AssumeRole&") {
        let body = assume_role(&mut script.lock().unwrap(), &header.access_key, &body);
        return Ok(Response::builder()
            .header("content-type", "text/xml")
            .body(Full::new(body.into()))
            .unwrap());
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (fault, exception, latency, hole) = {
        let mut script = script.lock().unwrap();
        let (fault, exception) = decide(&mut script, &header);
        (fault, exception, script.latency, script.black_hole)
    };
    let count = |outcome: &str| {
        if header.action == "Sign" {
            let mut script = script.lock().unwrap();
            *script.signs.entry(outcome.to_owned()).or_default() += 1;
            script.trail.push(trailed(&body, &header.access_key, outcome));
        }
    };
    if hole {
        count("black hole");
        return std::future::pending().await;
    }
    tokio::time::sleep(latency).await;
    let respond = |status: u16, kind: &str, body: String| {
        let now = Timestamp::now().as_second() + script.lock().unwrap().ahead;
        let date = Timestamp::from_second(now).unwrap();
        Ok(Response::builder()
            .status(status)
            .header("content-type", kind)
            .header("x-amzn-requestid", uuid::Uuid::now_v7().to_string())
            .header(
                "date",
                jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap(),
            )
            .body(Full::new(Bytes::from(body)))
            .unwrap())
    };
    let refuse = |(code, text): Exception, status: u16| {
        count(code);
        let body = json!({ "__type": code, "message": text }).to_string();
        respond(status, "application/x-amz-json-1.1", body)
    };
    if let Some(exception) = exception {
        return refuse(exception, 400);
    }
    match &fault {
        Some(Fault::Exception(code, status)) => return refuse((code, "by script".to_owned()), *status),
        Some(Fault::Html(status)) => {
            count("html");
            return respond(*status, "text/html", "<html>Bad Gateway</html>".to_owned());
        }
        Some(Fault::Garbage) => {
            count("garbage");
            return respond(200, "application/x-amz-json-1.1", r#"{"Signature":"AA"#.to_owned());
        }
        Some(Fault::Hang) => {
            count("hang");
            return std::future::pending().await;
        }
        Some(Fault::Close) => {
            count("close");
            return Err(std::io::Error::other("closed by script"));
        }
        Some(Fault::Late(delay)) => {
            // Whoever asked may not wait for it.
            count("late");
            tokio::time::sleep(*delay).await;
        }
        Some(Fault::BadSignature | Fault::Truncated) | None => {}
    }
    let done = operations::perform(&mut script.lock().unwrap(), &region, &header.action, &body);
    if done.is_ok() && script.lock().unwrap().unheard.remove(header.action.as_str()) {
        return Err(std::io::Error::other("closed by script"));
    }
    match done {
        Ok(mut answer) => {
            match fault {
                Some(Fault::BadSignature | Fault::Truncated) => count("bad signature"),
                Some(Fault::Late(_)) => {}
                _ => count("ok"),
            }
            spoil(&mut answer, fault.as_ref());
            respond(200, "application/x-amz-json-1.1", answer.to_string())
        }
        Err(exception) => refuse(exception, 400),
    }
}

/// As CloudTrail records it, to the second.
fn trailed(body: &Value, access_key: &str, outcome: &str) -> Value {
    json!({
        "eventVersion": "1.11",
        "userIdentity": { "arn": format!("arn:aws:iam::{ACCOUNT}:user/{access_key}"), "accessKeyId": access_key },
        "eventTime": Timestamp::from_second(Timestamp::now().as_second()).unwrap().to_string(),
        "eventSource": "kms.amazonaws.com",
        "eventName": "Sign",
        "sourceIPAddress": "127.0.0.1",
        "requestParameters": { "keyId": body["KeyId"], "signingAlgorithm": body["SigningAlgorithm"] },
        "errorCode": (outcome != "ok").then_some(outcome),
        "eventID": uuid::Uuid::now_v7().to_string(),
    })
}

/// What STS answers: credentials whose access key is `role`.
fn assume_role(script: &mut Script, by: &str, body: &[u8]) -> String {
    *script.asked.entry("AssumeRole".to_owned()).or_default() += 1;
    assert!(String::from_utf8_lossy(body).contains("RoleSessionName=jwsd"));
    let until = Timestamp::from_second(Timestamp::now().as_second() + 3600).unwrap();
    format!(
        r#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
        <AccessKeyId>role-of-{by}</AccessKeyId><SecretAccessKey>not-a-secret</SecretAccessKey>
        <SessionToken>session</SessionToken><Expiration>{until}</Expiration></Credentials>
        </AssumeRoleResult></AssumeRoleResponse>"#
    )
}

fn spoil(answer: &mut Value, fault: Option<&Fault>) {
    let Some(text) = answer["Signature"].as_str() else { return };
    let mut bytes = STANDARD.decode(text).unwrap();
    match fault {
        Some(Fault::BadSignature) => *bytes.last_mut().unwrap() ^= 1,
        Some(Fault::Truncated) => bytes.truncate(bytes.len() - 1),
        _ => {}
    }
    answer["Signature"] = STANDARD.encode(bytes).into();
}
