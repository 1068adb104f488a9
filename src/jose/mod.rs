//! JOSE as pure bytes: algorithms, compact form, public keys and thumbprints, signature forms, strict JSON.
//!
//! Knows nothing of callers, keys in use, clocks, sockets or files. Everything here is a total function of its
//! arguments, and nothing here can sign.

mod algorithm;
mod base64url;
pub mod compact;
mod hex;
pub mod json;
pub mod jwe;
mod jwk;
mod public_key;
pub mod sd_jwt;
mod signature;
mod spki;
mod verifier;

#[cfg(test)]
mod tests;

pub use algorithm::{Algorithm, Curve, Digest, KeyType, MlDsa};
pub use base64url::{decode as base64url_decode, encode as base64url_encode};
pub use hex::encode as hex;
pub use jwk::{Jwk, Kid, PRIVATE_MEMBERS, is_private};
pub use public_key::{PublicKey, PublicKeyError};
pub use signature::{BadSignature, Signature};
pub use verifier::{Verified, Verifier};
