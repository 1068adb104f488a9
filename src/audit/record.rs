//! What a record says. Typed, so that nothing else can be written, and bounded, so that no JWT fits into it.
//!
//! A compact JWT of this daemon is more than 300 characters long (its header alone has a 43-character `kid`), and every text here is
//! cut to [`TEXT`] characters, only `exe`, which the kernel fills in, to [`PATH`], and what the log says of itself to [`NOTE`].

use crate::transport::PeerCredentials;
use serde::{Deserialize, Serialize, Serializer};

/// Longest text of a record, bytes; longer ones are cut and end in `…`.
pub(super) const TEXT: usize = 256;
/// Longest executable path, bytes.
pub(super) const PATH: usize = 1024;
/// Longest key or checkpoint, bytes: one that is cosigned by ML-DSA-44 has 3.3 KB of signature.
pub(super) const NOTE: usize = 5 * 1024;

/// Who did it: what the kernel said, and the name our configuration gives.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Actor {
    /// `[caller.NAME]`; absent when unknown.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub name: Option<String>,
    /// Effective user id, from the kernel.
    pub uid: u32,
    /// Effective group id, from the kernel.
    pub gid: u32,
    /// Process id when it connected.
    pub pid: i32,
    /// The executable, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "path")]
    pub exe: Option<String>,
    /// The systemd unit, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub unit: Option<String>,
}

impl Actor {
    /// The process at the other end, under the name that the configuration gives it.
    pub fn of(peer: &PeerCredentials, name: Option<&str>) -> Self {
        let facts = peer.facts();
        Self {
            name: name.map(str::to_owned),
            uid: peer.uid(),
            gid: peer.gid(),
            pid: peer.pid(),
            exe: facts.exe.as_ref().map(|exe| exe.display().to_string()),
            unit: facts.unit.clone(),
        }
    }

    /// The operator who runs this very command.
    pub fn ourselves() -> Self {
        Self::of(&PeerCredentials::ours(), None)
    }
}

/// What happened. Serialized as the text in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Event {
    /// The daemon began to serve.
    #[serde(rename = "daemon.started")]
    DaemonStarted,
    /// The daemon ended in good order.
    #[serde(rename = "daemon.stopped")]
    DaemonStopped,
    /// A JWT was about to be signed. Without a later `jwt.failed` of the same `request` and `jti`, it was or may have been released.
    #[serde(rename = "jwt.issued")]
    JwtIssued,
    /// The JWT of an earlier `jwt.issued` was not made.
    #[serde(rename = "jwt.failed")]
    JwtFailed,
    /// The JWT of an earlier `jwt.issued` took more than one request to a backend: `attempts` lists them all.
    #[serde(rename = "jwt.retried")]
    JwtRetried,
    /// Signed and recorded, but the caller was gone.
    #[serde(rename = "jwt.undelivered")]
    JwtUndelivered,
    /// Somebody asked whether a JWT is active: `success`, it is; `denied`, it is not, and `rules` says why.
    #[serde(rename = "jwt.introspected")]
    JwtIntrospected,
    /// JWTs were taken back: `object` says what they are of, one (`jti`), those of a person (`subject`), of a `profile`, or
    /// everything; with outcome `failed` that came to nothing, with `denied` a caller asked who may not, or for none of ours.
    #[serde(rename = "jwt.revoked")]
    JwtRevoked,
    /// Policy said no, or the caller is unknown.
    #[serde(rename = "jwt.denied")]
    JwtDenied,
    /// A request that could not be read as one.
    #[serde(rename = "request.rejected")]
    RequestRejected,
    /// A dry run of policy.
    #[serde(rename = "policy.checked")]
    PolicyChecked,
    /// The policy of the start: one record for all of it, then one for each profile.
    #[serde(rename = "policy.loaded")]
    PolicyLoaded,
    /// Another configuration is in force from now on; `policy.loaded` for each profile that it adds or changes follows.
    #[serde(rename = "policy.reloaded")]
    PolicyReloaded,
    /// A configuration with faults was to be loaded; nothing changed.
    #[serde(rename = "policy.refused")]
    PolicyRefused,
    /// A key version was made.
    #[serde(rename = "key.generated")]
    KeyGenerated,
    /// A key that was in a backend already was taken into use.
    #[serde(rename = "key.adopted")]
    KeyAdopted,
    /// An operator asked that the next version take over as soon as verifiers know it.
    #[serde(rename = "key.rotated")]
    KeyRotated,
    /// A key version is shown to verifiers.
    #[serde(rename = "key.published")]
    KeyPublished,
    /// A key version begins to sign.
    #[serde(rename = "key.activated")]
    KeyActivated,
    /// A key version stops signing; verifiers are still shown it.
    #[serde(rename = "key.retired")]
    KeyRetired,
    /// A key version is not shown to verifiers any more.
    #[serde(rename = "key.removed")]
    KeyRemoved,
    /// A key version was taken back, and all its JWTs with it.
    #[serde(rename = "key.revoked")]
    KeyRevoked,
    /// The private half of a key version is destroyed.
    #[serde(rename = "key.destroyed")]
    KeyDestroyed,
    /// Requests of a key version to the backend `object` that no other record speaks of, `count` of them since the last
    /// such record: self-tests, for the most part.
    #[serde(rename = "key.tested")]
    KeyTested,
    /// People must bring a key's next version.
    #[serde(rename = "key.wanted")]
    KeyWanted,
    /// A backend holds a key that bears our name and is no version of any key.
    #[serde(rename = "key.orphaned")]
    KeyOrphaned,
    /// An operator asked for an act that two must ask for; nothing was done yet.
    #[serde(rename = "admin.proposed")]
    AdminProposed,
    /// A second operator asked for the same; the act follows.
    #[serde(rename = "admin.approved")]
    AdminApproved,
    /// A proposed act was called off.
    #[serde(rename = "admin.withdrawn")]
    AdminWithdrawn,
    /// A token refused our PIN, now or earlier, and no login is tried.
    #[serde(rename = "pin.refused")]
    PinRefused,
    /// An operator allowed the PIN to be tried again.
    #[serde(rename = "pin.cleared")]
    PinCleared,
    /// A key showed another public half than the pinned one, or signed wrongly, in one backend; it is not used there.
    #[serde(rename = "key.quarantined")]
    KeyQuarantined,
    /// A backend may hold foreign keys or is broken; nothing in it is used.
    #[serde(rename = "backend.quarantined")]
    BackendQuarantined,
    /// A backend or a key in it failed again and again and is left alone for a moment.
    #[serde(rename = "breaker.opened")]
    BreakerOpened,
    /// It works again.
    #[serde(rename = "breaker.closed")]
    BreakerClosed,
    /// An operator lifted a quarantine.
    #[serde(rename = "quarantine.lifted")]
    QuarantineLifted,
    /// Somebody set the clock: `reason` says how far, and whether it is trusted now.
    #[serde(rename = "clock.jumped")]
    ClockJumped,
    /// The clock is not trusted any more, for another reason than a jump just then; nothing is signed.
    #[serde(rename = "clock.untrusted")]
    ClockUntrusted,
    /// The clock is trusted again.
    #[serde(rename = "clock.trusted")]
    ClockTrusted,
    /// An operator said that the clock is right as it is.
    #[serde(rename = "clock.accepted")]
    ClockAccepted,
    /// Something unusual, which people should look at: `rules` says what.
    #[serde(rename = "alert.raised")]
    AlertRaised,
    /// A backend stopped working.
    #[serde(rename = "backend.down")]
    BackendDown,
    /// A backend works again.
    #[serde(rename = "backend.up")]
    BackendUp,
    /// An operator erased people, `count` of them: nothing tells any more which records are theirs.
    #[serde(rename = "subject.erased")]
    SubjectErased,
    /// An operator was given the key that finds a person's records; `denied` if there are none.
    #[serde(rename = "subject.searched")]
    SubjectSearched,
    /// JWTs of an audience are encrypted to another key from now on.
    #[serde(rename = "recipient.reloaded")]
    RecipientReloaded,
    /// An audience's changed key set was not taken over; the key before it stays in use.
    #[serde(rename = "recipient.refused")]
    RecipientRefused,
    /// Written by the log itself: a torn tail was dropped at open (`dropped` bytes).
    #[serde(rename = "log.recovered")]
    LogRecovered,
    /// Written by the log itself: the previous segment failed; `unknown` records after `after` are of unknown durability.
    #[serde(rename = "log.resumed")]
    LogResumed,
    /// Written by the log itself: a checkpoint of all records up to `after`, signed by the key `kid`.
    #[serde(rename = "log.sealed")]
    LogSealed,
    /// The key `kid` (`vkey`) seals the log from its first `log.sealed` on, which comes after one that covers this record;
    /// or it cosigns such seals.
    #[serde(rename = "log.key")]
    LogKey,
    /// An operator takes the log as it is, though it contradicts the checkpoint `note` that was seen elsewhere, or the one
    /// of `size` records that the witness `object` has.
    #[serde(rename = "log.accepted")]
    LogAccepted,
    /// Written by the log itself: the `segment` and those before it are no longer kept; the log begins after number `after`.
    #[serde(rename = "log.archived")]
    LogArchived,
    /// The sink `object` does not get `count` records after number `after`; `reason` says why.
    #[serde(rename = "sink.lost")]
    SinkLost,
    /// The witness `object` has cosigned the checkpoint in `note`, which is of one of the last seals.
    #[serde(rename = "log.cosigned")]
    LogCosigned,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was refused.
    Denied,
    /// It could not be done.
    Failed,
}

/// One record before it has a sequence number and a time. Empty fields are left out of the line.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// How it ended.
    pub outcome: Outcome,
    /// Our id of the request.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub request: Option<String>,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// `admin.*` and acts that two must ask for: the operator who asked first; `actor` is the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposed_by: Option<Actor>,
    /// Name of the profile, as configured.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub profile: Option<String>,
    /// Digest of the policy that decided.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub policy: Option<String>,
    /// `policy.reloaded`: digest of the policy before.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub previous: Option<String>,
    /// Ids of violated rules or a stable error code; never text of the caller.
    /// Each is written once, however often it is here.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "distinct")]
    pub rules: Vec<&'static str>,
    /// Key version.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub kid: Option<String>,
    /// JOSE algorithm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alg: Option<&'static str>,
    /// How the JWT was encrypted; absent when it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enc: Option<&'static str>,
    /// The key that it was encrypted to, as its recipient calls it, or by its thumbprint.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub enc_kid: Option<String>,
    /// Id of the JWT.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub jti: Option<String>,
    /// Audiences granted, from the profile's list.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "texts")]
    pub aud: Vec<String>,
    /// Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// `unsync`: the kernel did not call the clock synchronised that dated the JWT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clk: Option<&'static str>,
    /// `alert.raised`, `key.tested`, `subject.erased`, `sink.lost`: how many there were. `key.generated`, `key.adopted`:
    /// requests of the key's proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Stands for the subject: a tag under the subject's key, another one in each record (see [`crate::subject`]).
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub subject: Option<String>,
    /// Stands for the session's id: a tag under the subject's key.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub session: Option<String>,
    /// Stands for the consent's id: a tag under the subject's key.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub consent: Option<String>,
    /// What the configuration let claims hold and they did: `DETECTOR:CLAIM`, both as configured.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "texts")]
    pub exceptions: Vec<String>,
    /// Requests to backends, in order: the backend and `ok` or the vendor's word for the fault.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "texts")]
    pub attempts: Vec<String>,
    /// Free of caller text: a backend name, a key name, a software version.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub object: Option<String>,
    /// Why, in our own and the vendor's words.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub reason: Option<String>,
    /// `log.*`: file name of the segment spoken of.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub segment: Option<String>,
    /// `log.resumed`: last acknowledged sequence number. `log.sealed`: number of the last record that it covers.
    /// `log.archived`: of the last that is no longer kept.
    /// `sink.lost`: number of the last record before those that are lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// `log.resumed`: how many numbers after `after` are of unknown durability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<u64>,
    /// `log.recovered`: bytes cut off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// `log.recovered`: SHA-256 of the bytes cut off, hex. `log.archived`: of all bytes that went, one segment after the other.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub sha256: Option<String>,
    /// `log.sealed`, `log.archived`: roots of the complete subtrees that the tree is made of, largest first, base64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peaks: Vec<String>,
    /// `log.key`: the key as verifiers keep it, `name+id+key`. `log.archived`: the one that sealed at the log's new beginning.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "note")]
    pub vkey: Option<String>,
    /// `log.sealed`, `log.accepted`: the checkpoint, a signed note. `log.cosigned`: the same, signed by the witness alone.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "note")]
    pub note: Option<String>,
    /// `log.archived`: leaves of the tree of `peaks`, over all that is no longer kept. `log.accepted`: how many records the
    /// checkpoint is of that a witness has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl Entry {
    /// An entry with only these; the rest is filled in by struct update or assignment.
    pub fn new(event: Event, outcome: Outcome) -> Self {
        Self {
            event,
            outcome,
            request: None,
            actor: None,
            proposed_by: None,
            profile: None,
            policy: None,
            previous: None,
            rules: Vec::new(),
            kid: None,
            alg: None,
            enc: None,
            enc_kid: None,
            jti: None,
            aud: Vec::new(),
            iat: None,
            exp: None,
            clk: None,
            count: None,
            subject: None,
            session: None,
            consent: None,
            exceptions: Vec::new(),
            attempts: Vec::new(),
            reason: None,
            object: None,
            segment: None,
            after: None,
            unknown: None,
            dropped: None,
            sha256: None,
            peaks: Vec::new(),
            vkey: None,
            note: None,
            size: None,
        }
    }
}

/// A text cut to its limit.
struct Cut<'a>(&'a str, usize);

impl Serialize for Cut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.len() <= self.1 {
            return serializer.serialize_str(self.0);
        }
        let end = self.0.floor_char_boundary(self.1);
        let kept = self.0.get(..end).unwrap_or_default();
        serializer.serialize_str(&format!("{kept}…"))
    }
}

fn text<S: Serializer>(value: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_deref().map(|v| Cut(v, TEXT)).serialize(serializer)
}

fn path<S: Serializer>(value: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_deref().map(|v| Cut(v, PATH)).serialize(serializer)
}

fn note<S: Serializer>(value: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_deref().map(|v| Cut(v, NOTE)).serialize(serializer)
}

fn texts<S: Serializer>(values: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|v| Cut(v, TEXT)))
}

/// First occurrences, in order: a request that breaks one rule a thousand times makes no larger record. There are few
/// rules, so looking through the list is quick.
fn distinct<S: Serializer>(values: &[&'static str], serializer: S) -> Result<S::Ok, S::Error> {
    let mut kept = Vec::new();
    for value in values {
        if !kept.contains(value) {
            kept.push(*value);
        }
    }
    kept.serialize(serializer)
}
