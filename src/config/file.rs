//! Exactly what the operator writes: the keys of the file, their types and defaults, and nothing of what they mean.
//!
//! The first paragraph of each comment is shown to people: by editors through the JSON Schema, and by `jwsd check`
//! where the key is missing. Never holds a secret: there is no key whose value is one.

use super::units::{DurationText, ModeText, RateText, SizeText};
use crate::admin::ActName;
use crate::clock::Mode;
use crate::jose::Algorithm;
use crate::profile::{ClaimType, Encrypt, Kind, LegalBasis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;

/// A table by name.
pub(super) type Named<T> = BTreeMap<String, T>;

macro_rules! table {
    ($(#[$meta:meta])* $name:ident { $($(#[$key_meta:meta])* $key:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(in crate::config) struct $name { $($(#[$key_meta])* pub(in crate::config) $key: $type,)* }
    };
}
/// A table in which every key may be left out; its defaults stand beside the keys.
macro_rules! optional_table {
    ($(#[$meta:meta])* $name:ident { $($(#[$key_meta:meta])* $key:ident: $type:ty = $default:expr,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub(in crate::config) struct $name { $($(#[$key_meta])* pub(in crate::config) $key: $type,)* }
        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default.into(),)* }
            }
        }
    };
}
pub(super) use {optional_table, table};

// After the macros, which they use.
mod audit;
mod backend;
mod data;
mod encryption;
mod misuse;
mod retain;
mod sink;
mod subjects;
pub(super) use audit::{Audit, Checkpoint, Witness};
pub(super) use backend::{AwsKms, Backend, Pin, Pkcs11, Token};
pub(super) use data::{Consent, Detector, Detectors};
pub(super) use encryption::{Recipient, SdJwt};
pub(super) use misuse::{Denials, Hours, Misuse, NewExe, ProfileRate};
pub(super) use retain::Retain;
pub(super) use sink::{Sink, SinkForm, SinkFrom};
pub(super) use subjects::Subjects;

table! {
    /// Configuration of jwsd.
    File {
        /// Name of the environment, such as "production": audit log, state, tokens, keys and issuers of another environment are refused.
        environment: String,
        /// The issuers of each environment, by its name. Those of this one are listed, and a profile has no others.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        issuers: Named<Vec<String>>,
        /// Let the daemon run as root. Leave it off: nothing in it needs root.
        #[serde(default)]
        allow_root: bool,
        /// The sockets.
        #[serde(default)]
        listen: Listen,
        /// What operators may do.
        #[serde(default)]
        admin: Admin,
        /// Limits on requests and connections.
        #[serde(default)]
        limits: Limits,
        /// The audit log.
        #[serde(default)]
        audit: Audit,
        /// What must survive a restart and is not evidence.
        #[serde(default)]
        state: State,
        /// What keeps the keys of people, under which records tell of them.
        #[serde(default)]
        subjects: Subjects,
        /// The clock that JWTs are dated by.
        #[serde(default)]
        clock: Clock,
        /// What is unusual whatever the profile.
        #[serde(default)]
        misuse: Misuse,
        /// The log for operators, on standard error.
        #[serde(default)]
        log: Log,
        /// Where private keys live, by name.
        #[serde(default)]
        backend: Named<Backend>,
        /// Signing keys, by name.
        #[serde(default)]
        key: Named<Key>,
        /// How verifiers find the public keys.
        #[serde(default)]
        publish: Publish,
        /// What claims are searched for besides the built-in detectors, by name.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        detector: Named<Detector>,
        /// Kinds of JWT that may be issued, by name.
        #[serde(default)]
        profile: Named<Profile>,
        /// Whom JWTs are encrypted to, by audience.
        #[serde(default)]
        recipient: Named<Recipient>,
        /// Local processes that may ask, by name.
        #[serde(default)]
        caller: Named<Caller>,
    }
}

optional_table! {
    /// The sockets.
    Listen {
        /// For callers: sign, check, introspect. /run/jwsd/sign.sock, mode 0660, unless written otherwise.
        signing: Socket = Socket::default(),
        /// For operators: rotate, revoke, reload, status. /run/jwsd/admin.sock, mode 0600, unless written otherwise.
        admin: Socket = Socket::default(),
        /// For everyone: key set, discovery, health. /run/jwsd/public.sock, mode 0666, unless written otherwise.
        public: Socket = Socket::default(),
    }
}
optional_table! {
    /// One socket.
    Socket {
        /// Absolute path, at most 107 bytes.
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String> = None,
        /// Group that owns the socket, by name or number. The daemon's own group when left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<NameOrNumber> = None,
        /// Permission bits, octal: "0660".
        #[serde(skip_serializing_if = "Option::is_none")]
        mode: Option<ModeText> = None,
    }
}
optional_table! {
    /// What operators may do.
    Admin {
        /// Acts that two operators with different uids must ask for: "generate", "adopt", "rotate", "activate", "retire", "revoke", "destroy", "release".
        two_person: Vec<ActName> = Vec::new(),
        /// The second one must ask within this.
        two_person_within: DurationText = "15m",
    }
}
optional_table! {
    /// Limits on requests and connections.
    Limits {
        /// Largest request body.
        body: SizeText = "16KiB",
        /// Largest body of a batch.
        batch_body: SizeText = "1MiB",
        /// Most requests in one batch.
        batch_items: u32 = 256_u32,
        /// Largest request head.
        header_bytes: SizeText = "8KiB",
        /// Most header fields.
        headers: u32 = 32_u32,
        /// From connecting to the first byte.
        first_byte: DurationText = "2s",
        /// From the first byte of a request to the end of its body.
        request: DurationText = "2s",
        /// How long a connection may rest between requests.
        idle: DurationText = "15s",
        /// How long a peer may take to read an answer.
        write: DurationText = "5s",
        /// Open connections per socket.
        connections: u32 = 512_u32,
        /// Open connections per socket and user.
        connections_per_uid: u32 = 64_u32,
        /// A connection is closed after this many requests.
        requests_per_connection: u32 = 100_000_u32,
        /// A connection is closed after its first answer beyond this age: who the peer is was looked up when it connected.
        connection_age: DurationText = "10m",
        /// How long requests in flight get when the daemon stops.
        drain: DurationText = "5s",
        /// From a request read to its answer; a signature that takes longer is given up.
        deadline: DurationText = "2s",
        /// Requests being answered at once; more are refused with 503. One user gets half at most.
        in_flight: u32 = 1024_u32,
        /// How long verifiers may keep the key set.
        jwks_max_age: DurationText = "5m",
    }
}
optional_table! {
    /// What must survive a restart and is not evidence.
    State {
        /// Directory of the database, absolute.
        dir: String = "/var/lib/jwsd",
    }
}
optional_table! {
    /// The clock that JWTs are dated by.
    Clock {
        /// What follows when it cannot be trusted.
        mode: Mode = Mode::Warn,
    }
}
optional_table! {
    /// The log for operators, on standard error.
    Log {
        /// Least level that is written.
        level: Level = Level::Info,
        /// Lines for people or JSON for machines.
        format: Format = Format::Text,
    }
}
/// Levels of the operators' log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
/// Forms of the operators' log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    Text,
    Json,
}

table! {
    /// A signing key; its versions each have their own `kid`.
    Key {
        /// Name of the backend that holds it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backend: Option<String>,
        /// Names of several backends that hold it, in place of `backend`. New versions are made in the first; the others have copies.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backends: Option<Vec<String>>,
        /// The one algorithm of all its versions.
        algorithm: Algorithm,
        /// Modulus of new versions, RSA only: 2048 (the default), 3072 or 4096.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rsa_bits: Option<u32>,
        /// Certificates to show with its versions: PEM files, relative to this one or absolute, each a chain that begins with a version's own.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        certificates: Vec<String>,
        /// When its versions follow each other.
        #[serde(default)]
        rotation: Rotation,
        /// The environment that it belongs to, to be told apart from another's: that of the file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environment: Option<String>,
    }
}
optional_table! {
    /// When the versions of a key follow each other. Without `every` and `after`: when an operator says so.
    Rotation {
        /// The next version takes over when the active one has signed for so long.
        #[serde(skip_serializing_if = "Option::is_none")]
        every: Option<DurationText> = None,
        /// The next version takes over when the active one has made so many signatures.
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<u64> = None,
        /// A version is published for so long before it signs: at least as long as verifiers keep the key set.
        publish_ahead: DurationText = "24h",
        /// A version never signs any more when it has signed for so long, even if none follows.
        #[serde(skip_serializing_if = "Option::is_none")]
        stop: Option<DurationText> = None,
        /// Where versions are adopted, operators are told so long before the next one must be there.
        notice: DurationText = "14d",
        /// A version stays published for so long after its last JWT expired, for clocks that are behind.
        keep: DurationText = "1h",
    }
}
optional_table! {
    /// How verifiers find the public keys, besides the public socket.
    Publish {
        /// Directory for a web server to serve, absolute: the key set, and the documents of each issuer. Not written when left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        dir: Option<String> = None,
        /// Where the key set is, if not below each issuer.
        #[serde(skip_serializing_if = "Option::is_none")]
        jwks_uri: Option<String> = None,
    }
}
table! {
    /// A kind of JWT that may be issued.
    Profile {
        /// Name of the key that signs it.
        key: String,
        /// The kind of JWT that it extends: "access-token", "service", "dpop-bound", "mtls-bound", "id-token", "client-assertion", "github-app", "security-event", "logout-token" or "webhook".
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<Kind>,
        /// The `typ` header, such as "session+jwt"; that of `base` when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        typ: Option<String>,
        /// The environment that it belongs to, to be told apart from another's: that of the file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environment: Option<String>,
        /// The `iss` claim: a URI without query and fragment, or a plain name without a colon. {name} and the caller's vars are filled in.
        issuer: String,
        /// Audiences that may be asked for, 1 to 64; none where `base` has none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        audiences: Vec<String>,
        /// Whether `aud` is one string or always an array.
        #[serde(default)]
        audience_form: AudienceForm,
        /// How long it is valid.
        lifetime: Lifetime,
        /// Whether each request must say when the login session ends; where it does say so, nothing outlives it.
        #[serde(default)]
        session: Session,
        /// Authentication assurance level of the login (NIST SP 800-63B-4), 1 to 3: nothing lives longer than 30d, 24h or 12h after `auth_time`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = 3))]
        aal: Option<u8>,
        /// How long a login counts: nothing lives longer than this after `auth_time`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_age: Option<DurationText>,
        /// Write `nbf`: `iat` less `skew`.
        #[serde(default)]
        nbf: bool,
        /// How long `nbf` is before `iat`, for verifiers whose clocks are behind; at most 5m.
        #[serde(default = "skew")]
        skew: DurationText,
        /// Round `iat` down to a multiple of this, 1s to 1h; `exp` counts from there.
        #[serde(default = "round_iat")]
        round_iat: DurationText,
        /// Its records are kept so long, 1d to 3650d: the default of [audit.retain] when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retain: Option<DurationText>,
        /// Encrypt it to its audience, whose key is a recipient's: "always", or "when-sensitive", which is when it has a sensitive claim. Not encrypted when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        encrypt: Option<Encrypt>,
        /// Make it an SD-JWT, whose holder shows only some of its claims.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sd_jwt: Option<SdJwt>,
        /// JSON Schema over the caller's claims as a whole: a file, relative to this one or absolute.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schema: Option<String>,
        /// What its claims are searched for.
        #[serde(default, skip_serializing_if = "Detectors::is_default")]
        detectors: Detectors,
        /// The person's consent that its JWTs need.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        consent: Option<Consent>,
        /// Why its claims may say something of a person without consent: "contract", "legal-obligation", "vital-interests", "public-task" or "legitimate-interests" (GDPR article 6).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        legal_basis: Option<LegalBasis>,
        /// What a request must fulfil besides: a CEL expression over claims, caller, request and now, true or false.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        condition: Option<String>,
        /// What callers are told when the condition does not hold: what to change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        condition_message: Option<String>,
        /// How often it may be used before an alert is raised or no more is issued.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rates: Vec<ProfileRate>,
        /// When it may be used. Always when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hours: Option<Hours>,
        /// Claims that a caller may set, by name; all others are refused.
        #[serde(default)]
        claims: Named<Claim>,
    }
}
fn skew() -> DurationText {
    "0s".into()
}
fn round_iat() -> DurationText {
    "1s".into()
}
/// Whether each request must say when the login session ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Session {
    #[default]
    Optional,
    Required,
}
/// Whether `aud` is one string or always an array.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum AudienceForm {
    #[default]
    String,
    Array,
}
table! {
    /// How long a JWT is valid, whole seconds.
    Lifetime {
        /// When the caller asks for nothing.
        default: DurationText,
        /// The longest a caller may ask for, at most the ceiling of `base`, or 24 hours.
        max: DurationText,
        /// Why `max` is over the ceiling of `base`; recorded. 24 hours are never exceeded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        over_ceiling: Option<String>,
    }
}
optional_table! {
    /// What one claim must look like; all that is written must hold.
    Claim {
        /// Refuse requests without it.
        required: bool = false,
        /// JSON type; "date" is a whole number of seconds since 1970.
        #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
        kind: Option<ClaimType> = None,
        /// The one value it may have.
        #[serde(rename = "const", skip_serializing_if = "Option::is_none")]
        constant: Option<Value> = None,
        /// The values it may have.
        #[serde(rename = "enum", skip_serializing_if = "Option::is_none")]
        one_of: Option<Vec<Value>> = None,
        /// Regular expression over a string, matched as a whole.
        #[serde(skip_serializing_if = "Option::is_none")]
        pattern: Option<String> = None,
        /// Most characters of a string, elements of an array or members of an object.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_length: Option<u32> = None,
        /// The least number that it may be.
        #[serde(skip_serializing_if = "Option::is_none")]
        min: Option<Number> = None,
        /// The greatest number that it may be.
        #[serde(skip_serializing_if = "Option::is_none")]
        max: Option<Number> = None,
        /// Its one value, by who the caller is: text with {name} and the caller's vars in it. Filled in when it is not sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        from_caller: Option<String> = None,
        /// It says something of a person.
        personal: bool = false,
        /// It is for its audience's eyes only.
        sensitive: bool = false,
        /// Detectors that it may set off, such as "email"; that it did is recorded.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        may_hold: Vec<String> = Vec::new(),
        /// JSON Schema of its value, written here.
        #[serde(skip_serializing_if = "Option::is_none")]
        schema: Option<Map<String, Value>> = None,
        /// The holder of the SD-JWT may keep it back.
        disclosable: bool = false,
    }
}
table! {
    /// A local process that may ask; all that is written must match, and at least user or group is.
    Caller {
        /// User it runs as, by name or number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<NameOrNumber>,
        /// A group it belongs to, primary or supplementary, by name or number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<NameOrNumber>,
        /// Its executable, absolute path.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exe: Option<String>,
        /// Its systemd unit, such as "billing.service".
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<String>,
        /// Names of the profiles it may use; none only if it may introspect some.
        #[serde(default)]
        profiles: Vec<String>,
        /// Names of the profiles whose JWTs it may ask about: whether they are active, and what they say.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        introspect: Vec<String>,
        /// Texts that `issuer` and `from_caller` of its profiles take in, by name.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        vars: Named<String>,
        /// Requests per second, such as "200/s"; a batch counts each of its items. No limit when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate: Option<RateText>,
    }
}
/// A user or group by name or number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(transform = name_or_number)]
pub(super) enum NameOrNumber {
    Number(u32),
    Name(String),
}
/// A type list instead of `anyOf`, which would hide from faults what was expected.
fn name_or_number(schema: &mut schemars::Schema) {
    schema.remove("anyOf");
    schema.insert("type".to_owned(), Value::from(vec!["string", "integer"]));
    schema.insert("minimum".to_owned(), Value::from(0));
    schema.insert("maximum".to_owned(), Value::from(u32::MAX));
}
