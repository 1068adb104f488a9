//! `jwsd verify`: is this JWT good? A verifier's view, with the checks of RFC 8725.
//!
//! Signatures are checked by the `jsonwebtoken` library, so that this is a second opinion on what the daemon made;
//! ES512, which it lacks, by our own verifier.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use hyper::StatusCode;
use jsonwebtoken::{DecodingKey, crypto};
use serde_json::Value;

use super::client;
use super::output::{Failure, NO, Outcome, PERMISSION, UNAVAILABLE, USAGE, line};
use crate::clock::{Clock, SystemClock};
use crate::jose::{Algorithm, PublicKey, Signature, Verifier, base64url_encode, compact, json, sd_jwt};

/// Verify a JWT against a key set and print its claims
///
/// Prints the claims when the JWT is good; says why not and exits 1 otherwise. Of an SD-JWT it checks the signature and
/// that each disclosure belongs to it, and prints the claims that are disclosed; it does not check the holder's proof. It
/// cannot open a JWE: open that with the recipient's key and verify the JWT inside.
///
/// Example: jwsd sign --socket jwsd-dev/run/sign.sock --profile access-token --claim sub=alice --claim client_id=web | jwsd verify --socket jwsd-dev/run/public.sock -
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The JWT, or `-` to read it from standard input
    #[arg(default_value = "-")]
    jwt: String,
    /// Take the key set from the daemon's public socket
    #[arg(long, value_name = "PATH", default_value = "/run/jwsd/public.sock", conflicts_with = "keys")]
    socket: PathBuf,
    /// Take the key set from a file
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Require this issuer
    #[arg(long, value_name = "URI")]
    issuer: Option<String>,
    /// Require this audience
    #[arg(long, value_name = "URI")]
    audience: Option<String>,
    /// Require this `typ` header
    #[arg(long, value_name = "TYP")]
    typ: Option<String>,
    /// Seconds by which clocks may differ
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    leeway: u32,
}

/// A JWT has at most this many bytes here.
const LIMITS: json::Limits = json::Limits { bytes: 64 << 10, depth: 16, nodes: 4096 };

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let jwt = read_jwt(&arguments.jwt)?;
    let keys = key_set(arguments)?;
    match verify_form(&jwt, &keys, arguments, SystemClock.now().as_second()) {
        Ok(claims) => {
            line(format_args!("{claims:#}"))?;
            if sd_jwt::split(&jwt).is_some_and(|parts| parts.key_binding.is_some()) {
                writeln!(
                    std::io::stderr(),
                    "jwsd: the holder's proof at the end (key binding) was not checked"
                )?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => Err(Failure::new(NO, format_args!("not valid: {why}"))),
    }
}

pub(super) fn read_jwt(argument: &str) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    let limit = LIMITS.bytes as u64;
    std::io::stdin()
        .take(limit)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(USAGE, format_args!("standard input: {error}")))?;
    Ok(text.trim_end().to_owned())
}

fn key_set(arguments: &Arguments) -> Result<Value, Failure> {
    let bytes = match &arguments.keys {
        Some(path) => fs::read(path)
            .map_err(|error| Failure::new(PERMISSION, format_args!("{}: {error}", path.display())))?,
        None => match client::call(&arguments.socket, "/.well-known/jwks.json", None)? {
            (StatusCode::OK, body) => body.to_vec(),
            (status, _) => {
                let socket = arguments.socket.display();
                let message = format_args!("{socket}: no key set but {status}; is this the public socket?");
                return Err(Failure::new(UNAVAILABLE, message));
            }
        },
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::new(UNAVAILABLE, format_args!("the key set is not JSON: {error}")))
}

/// Whatever form it has.
fn verify_form(jwt: &str, keys: &Value, expected: &Arguments, now: i64) -> Result<Value, String> {
    let Some(parts) = sd_jwt::split(jwt) else {
        if jwt.split('.').count() == 5 {
            return Err("this is a JWE, which only its recipient can open; decrypt it with the recipient's key and verify the JWT inside".to_owned());
        }
        return verify(jwt, keys, expected, now);
    };
    let Value::Object(claims) = verify(parts.jws, keys, expected, now)? else {
        return Err("the claims are not a JSON object".to_owned());
    };
    let claims = sd_jwt::reveal(claims, &parts.disclosures).map_err(str::to_owned)?;
    Ok(Value::Object(claims))
}

fn verify(jwt: &str, keys: &Value, expected: &Arguments, now: i64) -> Result<Value, String> {
    let parts = compact::split(jwt).map_err(|error| error.to_string())?;
    let header = json::parse(&parts.header, LIMITS).map_err(|error| format!("header: {error}"))?;
    let text = |member: &str| {
        header.get(member).and_then(Value::as_str).ok_or_else(|| format!("the header has no {member:?}"))
    };
    let algorithm =
        Algorithm::from_name(text("alg")?).ok_or("the header's alg is not one this program accepts")?;
    if header.get("crit").is_some() {
        return Err("the header has critical extensions, which this program does not know".to_owned());
    }
    if let Some(typ) = &expected.typ
        && text("typ")? != typ
    {
        return Err(format!("typ is not {typ:?}"));
    }
    let kid = text("kid")?;
    let jwk = keys["keys"].as_array().into_iter().flatten().find(|jwk| jwk["kid"] == kid);
    let jwk = jwk.ok_or_else(|| format!("the key set has no key {kid:?}"))?;
    if jwk["alg"] != algorithm.name() {
        return Err("the key is for another algorithm".to_owned());
    }
    check_signature(&parts, algorithm, jwk)?;

    let claims = json::parse(&parts.payload, LIMITS).map_err(|error| format!("claims: {error}"))?;
    check_claims(&claims, expected, now)?;
    Ok(claims)
}

fn check_signature(parts: &compact::Parts<'_>, algorithm: Algorithm, jwk: &Value) -> Result<(), String> {
    let key = PublicKey::from_jwk(jwk).map_err(|error| error.to_string())?;
    let bad = || "the signature does not verify".to_owned();
    let Some(known) = in_jsonwebtoken(algorithm) else {
        let verifier = Verifier::new(algorithm, key.clone()).map_err(|error| error.to_string())?;
        let signature = Signature::from_backend(parts.signature.clone(), &key);
        let signature = signature.map_err(|error| error.to_string())?;
        return verifier
            .verify(parts.signing_input.as_bytes(), &signature)
            .map_err(|error| error.to_string());
    };
    let member = |name: &str| jwk[name].as_str().unwrap_or_default();
    let decoding = match member("kty") {
        "RSA" => DecodingKey::from_rsa_components(member("n"), member("e")),
        "EC" => DecodingKey::from_ec_components(member("x"), member("y")),
        _ => DecodingKey::from_ed_components(member("x")),
    };
    let decoding = decoding.map_err(|error| error.to_string())?;
    let signature = base64url_encode(&parts.signature);
    match crypto::verify(&signature, parts.signing_input.as_bytes(), &decoding, known) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(bad()),
    }
}

/// `None` for what the library does not have.
fn in_jsonwebtoken(algorithm: Algorithm) -> Option<jsonwebtoken::Algorithm> {
    use jsonwebtoken::Algorithm as Theirs;
    Some(match algorithm {
        Algorithm::RS256 => Theirs::RS256,
        Algorithm::RS384 => Theirs::RS384,
        Algorithm::RS512 => Theirs::RS512,
        Algorithm::PS256 => Theirs::PS256,
        Algorithm::PS384 => Theirs::PS384,
        Algorithm::PS512 => Theirs::PS512,
        Algorithm::ES256 => Theirs::ES256,
        Algorithm::ES384 => Theirs::ES384,
        Algorithm::ES512 | Algorithm::MlDsa44 | Algorithm::MlDsa65 | Algorithm::MlDsa87 => return None,
        Algorithm::Ed25519 | Algorithm::EdDSA => Theirs::EdDSA,
    })
}

/// RFC 7519 section 4.1: wrong types are faults, never "absent".
fn check_claims(claims: &Value, expected: &Arguments, now: i64) -> Result<(), String> {
    let leeway = i64::from(expected.leeway);
    let date = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| format!("{name} is not an integer date")),
    };
    match date("exp")? {
        None => return Err("exp is missing".to_owned()),
        Some(exp) if now >= exp.saturating_add(leeway) => return Err(format!("expired {} s ago", now - exp)),
        Some(_) => {}
    }
    if date("nbf")?.is_some_and(|nbf| now.saturating_add(leeway) < nbf) {
        return Err("not valid yet".to_owned());
    }
    if date("iat")?.is_some_and(|iat| now.saturating_add(leeway) < iat) {
        return Err("issued in the future; do the clocks differ?".to_owned());
    }
    if let Some(issuer) = &expected.issuer
        && claims["iss"] != issuer.as_str()
    {
        return Err(format!("the issuer is not {issuer:?}"));
    }
    let Some(audience) = &expected.audience else { return Ok(()) };
    let named = match &claims["aud"] {
        Value::String(one) => one == audience,
        Value::Array(several) => several.iter().any(|one| one == audience.as_str()),
        _ => false,
    };
    if named { Ok(()) } else { Err(format!("not for the audience {audience:?}")) }
}
