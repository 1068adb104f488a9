//! Exactly what the operator writes: the keys of the file, their types and defaults, and nothing of what they mean.
//!
//! The first paragraph of each comment is shown to people: by editors through the JSON Schema, and by `jwsd check`
//! where the key is missing. Never holds a secret: there is no key whose value is one.

use super::units::{DurationText, ModeText, RateText, SizeText};
use crate::admin::ActName;
use crate::clock::Mode;
use crate::jose::Algorithm;
use crate::profile::ClaimType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
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

table! {
    /// Configuration of jwsd.
    File {
        /// Name of the environment, such as "production": state of another environment is refused.
        environment: String,
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
        /// The clock that JWTs are dated by.
        #[serde(default)]
        clock: Clock,
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
        /// Kinds of JWT that may be issued, by name.
        #[serde(default)]
        profile: Named<Profile>,
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
    /// The audit log.
    Audit {
        /// Directory of the segments, absolute.
        dir: String = "/var/log/jwsd",
        /// Bytes reserved per segment.
        segment: SizeText = "64MiB",
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

/// Where private keys live.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Backend {
    /// A PKCS#11 token, through a worker process.
    Pkcs11(Pkcs11),
    /// AWS KMS, one region of it.
    AwsKms(AwsKms),
}
table! {
    /// A PKCS#11 token, through a worker process.
    Pkcs11 {
        /// Module, token and place of the PIN as a PKCS#11 URI (RFC 7512), or some of the three. Never the PIN itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uri: Option<String>,
        /// The vendor's PKCS#11 library, absolute path; module-path in `uri`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        module: Option<String>,
        /// Which token, by label, serial number or both; token, serial, manufacturer and model in `uri`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Token>,
        /// Where the PIN is read from, never the PIN itself; pin-source in `uri`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pin: Option<Pin>,
        /// Sessions, which is also signing threads, 1 to 256. As many as there are cores when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sessions: Option<u16>,
        /// Environment of the worker, such as SOFTHSM2_CONF; it inherits nothing else. No secrets.
        #[serde(default)]
        env: BTreeMap<String, String>,
        /// Loading the module, logging in and finding the keys must end within this.
        #[serde(default = "start_timeout")]
        start_timeout: DurationText,
        /// Whether jwsd may make keys there; where not, an operator makes them and it adopts them.
        #[serde(default = "generate")]
        generate: bool,
    }
}
fn generate() -> bool {
    true
}
fn start_timeout() -> DurationText {
    "10s".into()
}
optional_table! {
    /// A PKCS#11 token. Slot numbers are not offered: modules renumber slots.
    Token {
        /// The token's label.
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String> = None,
        /// The token's serial number.
        #[serde(skip_serializing_if = "Option::is_none")]
        serial: Option<String> = None,
    }
}
optional_table! {
    /// Where a PIN is read from: exactly one of the two.
    Pin {
        /// Name of a systemd credential (LoadCredential=, LoadCredentialEncrypted=).
        #[serde(skip_serializing_if = "Option::is_none")]
        credential: Option<String> = None,
        /// Absolute path of a file with mode 0600 or 0400.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String> = None,
    }
}
table! {
    /// AWS KMS, one region of it. Credentials come from where the AWS SDK looks for them, never from this file.
    AwsKms {
        /// The region, such as "eu-central-1".
        region: String,
        /// Another address of the service than the region's own, such as that of a VPC endpoint: https, or http on this host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
        /// Profile of the shared AWS configuration files.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        profile: Option<String>,
        /// ARN of an IAM role to assume.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
        /// Most signatures asked for per second: less than the account's quota, which all its users share.
        #[serde(default = "rate")]
        rate: RateText,
        /// Most requests at once, 1 to 1024.
        #[serde(default = "concurrency")]
        concurrency: u32,
        /// Connecting, TLS included, must end within this.
        #[serde(default = "connect_timeout")]
        connect_timeout: DurationText,
        /// One request must end within this.
        #[serde(default = "attempt_timeout")]
        attempt_timeout: DurationText,
        /// Ask a second time when an answer is slow in coming.
        #[serde(default = "hedge")]
        hedge: bool,
        /// Whether jwsd may make keys there; where not, an operator makes them and it adopts them.
        #[serde(default = "generate")]
        generate: bool,
        /// How long a destroyed key can still be had back from AWS, 7d to 30d in whole days.
        #[serde(default = "deletion_window")]
        deletion_window: DurationText,
    }
}
fn deletion_window() -> DurationText {
    "30d".into()
}
/// 80 % of 300 a second, the least that AWS grants for a kind of key.
fn rate() -> RateText {
    "240/s".into()
}
fn concurrency() -> u32 {
    64
}
fn connect_timeout() -> DurationText {
    "300ms".into()
}
fn attempt_timeout() -> DurationText {
    "1s".into()
}
fn hedge() -> bool {
    true
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
        /// The `typ` header, such as "at+jwt".
        typ: String,
        /// The `iss` claim: a URI without query and fragment, or a plain name without a colon.
        issuer: String,
        /// Audiences that may be asked for, 1 to 64.
        audiences: Vec<String>,
        /// Whether `aud` is one string or always an array.
        #[serde(default)]
        audience_form: AudienceForm,
        /// How long it is valid.
        lifetime: Lifetime,
        /// Write `nbf`, equal to `iat`.
        #[serde(default)]
        nbf: bool,
        /// JSON Schema over the caller's claims as a whole: a file, relative to this one or absolute.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schema: Option<String>,
        /// Claims that a caller may set, by name; all others are refused.
        #[serde(default)]
        claims: Named<Claim>,
    }
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
        /// The longest a caller may ask for, at most 24 hours.
        max: DurationText,
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
        /// JSON Schema of its value, written here.
        #[serde(skip_serializing_if = "Option::is_none")]
        schema: Option<Map<String, Value>> = None,
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
        /// Names of the profiles it may use.
        profiles: Vec<String>,
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
